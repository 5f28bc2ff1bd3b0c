/* Constants of windows: what BasicSR's SwinIR stores beside its parameters. */
#include <stdlib.h>

#include "graph/graph.h"
#include "graph/graph_state.h"

static bool add_constant(dukd_graph *g, const dukd_constant *c) {
    void *constants = g->constants;
    bool fits = dukd_graph_grow(g, &constants, g->constant_count, &g->constant_room, sizeof *g->constants);
    g->constants = constants;
    if (fits) g->constants[g->constant_count++] = *c;
    return fits;
}

void dukd_graph_window_constants(dukd_graph *g, const char *name, const char *mask_name, int32_t window,
                                 int32_t shift, int32_t height, int32_t width) {
    enum { MOST = 1 << 12 }; /* pixels a side, so that no count overflows */
    if (!dukd_graph_is_building(g)) return;
    if (window < 1 || window > 64 || shift < 0 || shift >= window || height < window || width < window ||
        height > MOST || width > MOST || height % window != 0 || width % window != 0) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "an image of %d x %d cannot be cut into windows of %d shifted by %d", (int)height,
                  (int)width, (int)window, (int)shift);
        return;
    }
    int64_t tokens = (int64_t)window * window, windows = (int64_t)(height / window) * (width / window);
    dukd_constant c = {.window = window, .shift = shift, .height = height, .width = width};
    if (name) {
        c.name = dukd_graph_join_name(g, name, "relative_position_index");
        if (!c.name) return;
        c.ndim = 2;
        c.dims[0] = c.dims[1] = tokens;
        c.count = tokens * tokens;
        c.is_integer = 1;
        if (!add_constant(g, &c)) {
            free((void *)(uintptr_t)c.name);
            return;
        }
    }
    if (mask_name && shift > 0) {
        c.name = dukd_graph_copy_name(g, mask_name);
        if (!c.name) return;
        c.ndim = 3;
        c.dims[0] = windows;
        c.dims[1] = c.dims[2] = tokens;
        c.count = windows * tokens * tokens;
        c.is_integer = 0;
        if (!add_constant(g, &c)) free((void *)(uintptr_t)c.name);
    }
}

int32_t dukd_graph_constant_count(const dukd_graph *g) {
    return g->constant_count;
}
const dukd_constant *dukd_graph_constant(const dukd_graph *g, int32_t i) {
    return &g->constants[i];
}

/* Which of the three strips of a rolled image a row or column lies in: before the last window, before the seam,
 * behind it. */
static int32_t strip(int32_t at, int32_t side, int32_t window, int32_t shift) {
    return at < side - window ? 0 : at < side - shift ? 1 : 2;
}

static int32_t region(const dukd_constant *c, int64_t at_window, int32_t token) {
    int32_t across = c->width / c->window;
    int32_t y = (int32_t)(at_window / across) * c->window + token / c->window;
    int32_t x = (int32_t)(at_window % across) * c->window + token % c->window;
    return 3 * strip(y, c->height, c->window, c->shift) + strip(x, c->width, c->window, c->shift);
}

void dukd_constant_fill(const dukd_constant *c, void *out) {
    int32_t w = c->window, tokens = w * w;
    int64_t place = 0;
    if (c->is_integer) {
        int64_t *index = out;
        for (int32_t i = 0; i < tokens; i++)
            for (int32_t j = 0; j < tokens; j++)
                index[place++] = (int64_t)(i / w - j / w + w - 1) * (2 * w - 1) + i % w - j % w + w - 1;
        return;
    }
    float *mask = out;
    for (int64_t n = 0; n < c->dims[0]; n++)
        for (int32_t i = 0; i < tokens; i++)
            for (int32_t j = 0; j < tokens; j++)
                mask[place++] = region(c, n, i) == region(c, n, j) ? 0 : -100;
}
