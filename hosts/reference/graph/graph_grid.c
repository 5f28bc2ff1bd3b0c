/* Sizes: grids, the rules by which a value's height and width follow from the input's. */
#include <stddef.h>

#include "graph/graph.h"
#include "graph/graph_state.h"

static int32_t add_grid(dukd_graph *g, dukd_grid wanted) {
    for (int32_t i = 0; i < g->grid_count; i++) {
        const dukd_grid *have = &g->grids[i];
        if (have->kind == wanted.kind && have->base == wanted.base && have->up == wanted.up &&
            have->kernel == wanted.kernel && have->stride == wanted.stride && have->padding == wanted.padding)
            return i;
    }
    void *grids = g->grids;
    bool fits = dukd_graph_grow(g, &grids, g->grid_count, &g->grid_room, sizeof *g->grids);
    g->grids = grids;
    if (!fits) return -1;
    g->grids[g->grid_count] = wanted;
    return g->grid_count++;
}

int32_t dukd_graph_grid_input(dukd_graph *g) {
    return add_grid(g, (dukd_grid){.kind = DUKD_GRID_INPUT, .base = -1});
}

int32_t dukd_graph_grid_one(dukd_graph *g) {
    return add_grid(g, (dukd_grid){.kind = DUKD_GRID_ONE, .base = -1});
}

int32_t dukd_graph_grid_up(dukd_graph *g, int32_t base, int32_t up) {
    if (up == 1) return base;
    const dukd_grid *from = &g->grids[base];
    if (from->kind == DUKD_GRID_UP)
        return add_grid(g, (dukd_grid){.kind = DUKD_GRID_UP, .base = from->base, .up = from->up * up});
    return add_grid(g, (dukd_grid){.kind = DUKD_GRID_UP, .base = base, .up = up});
}

int32_t dukd_graph_grid_cut(dukd_graph *g, int32_t base, int32_t kernel, int32_t stride, int32_t padding) {
    if (stride == 1 && 2 * padding == kernel - 1) return base;
    return add_grid(
        g, (dukd_grid){
               .kind = DUKD_GRID_CUT, .base = base, .kernel = kernel, .stride = stride, .padding = padding});
}

int32_t dukd_graph_grid_factor(const dukd_graph *g, int32_t grid) {
    return g->grids[grid].kind == DUKD_GRID_UP ? g->grids[grid].up : 1;
}

int32_t dukd_graph_grid_scale(const dukd_graph *g, int32_t grid) {
    const dukd_grid *at = &g->grids[grid];
    int32_t base = at->kind == DUKD_GRID_UP ? at->base : grid;
    return g->grids[base].kind == DUKD_GRID_INPUT ? dukd_graph_grid_factor(g, grid) : 0;
}

bool dukd_graph_grid_is_one(const dukd_graph *g, int32_t grid) {
    return g->grids[grid].kind == DUKD_GRID_ONE;
}

/* One side of a grid for an input of side n. */
static int64_t side(const dukd_graph *g, int32_t grid, int64_t n) {
    const dukd_grid *at = &g->grids[grid];
    if (at->kind == DUKD_GRID_ONE) return 1;
    if (at->kind == DUKD_GRID_INPUT) return n > 0 ? n : 0;
    int64_t from = side(g, at->base, n);
    if (at->kind == DUKD_GRID_UP) return from > INT64_MAX / at->up ? INT64_MAX : from * at->up;
    if (from == INT64_MAX) return INT64_MAX;
    int64_t spare = from - (at->kernel - 2 * at->padding); /* not more than `from`: 2 padding < kernel */
    return from < 1 || spare < 0 ? 0 : spare / at->stride + 1;
}

void dukd_graph_size(const dukd_graph *g, dukd_value v, int64_t h, int64_t w, int64_t out[2]) {
    out[0] = side(g, g->ops[v].grid, h);
    out[1] = side(g, g->ops[v].grid, w);
}

int32_t dukd_graph_multiple(const dukd_graph *g) {
    return g->multiple;
}

static bool side_fits(const dukd_graph *g, int64_t n) {
    for (int32_t i = 0; i < g->grid_count; i++)
        if (side(g, i, n) < 1) return false;
    return true;
}

int dukd_graph_check_size(const dukd_graph *g, int64_t h, int64_t w, dukd_failure *f) {
    int64_t by = g->multiple;
    if (h < 1 || w < 1 || !side_fits(g, h) || !side_fits(g, w)) {
        /* All kernels together are no larger than this; the loop ends long before. */
        int64_t least = by;
        while (!side_fits(g, least) && least < INT64_C(1) << 20) least += by;
        return dukd_fail(
            f, DUKD_MISUSED,
            "an image of %lld x %lld is too small for this network, which needs %lld x %lld or more",
            (long long)h, (long long)w, (long long)least, (long long)least);
    }
    if (h % by == 0 && w % by == 0) return DUKD_DONE;
    int64_t low_h = h - h % by, low_w = w - w % by;
    int64_t high_h = h % by ? low_h + by : h, high_w = w % by ? low_w + by : w;
    if (low_h < 1 || low_w < 1 || !side_fits(g, low_h) || !side_fits(g, low_w))
        return dukd_fail(f, DUKD_MISUSED,
                         "an image of %lld x %lld does not fit this network's windows: both sides must be "
                         "multiples of %d, such as %lld x %lld",
                         (long long)h, (long long)w, (int)by, (long long)high_h, (long long)high_w);
    return dukd_fail(f, DUKD_MISUSED,
                     "an image of %lld x %lld does not fit this network's windows: both sides must be "
                     "multiples of %d, such as %lld x %lld or %lld x %lld",
                     (long long)h, (long long)w, (int)by, (long long)low_h, (long long)low_w,
                     (long long)high_h, (long long)high_w);
}
