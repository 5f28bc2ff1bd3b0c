/* How far a graph's output sees: the reach of every value, from the output back to the input. */
#include "graph/graph.h"
#include "graph/graph_state.h"

static void reach_at_least(dukd_graph *g, dukd_value x, int32_t pixels) {
    if (x >= 0 && g->ops[x].reach < pixels) g->ops[x].reach = pixels;
}

static int32_t limited(int64_t pixels) {
    return pixels < DUKD_REACH_ALL ? (int32_t)pixels : DUKD_REACH_ALL;
}

/* A k x k window at steps of `stride` that begins `padding` pixels before its place. Pixel q of the output stands
 * for q stride .. q stride + stride - 1 here, of which any may be the one to count from: exact for stride 1, one
 * or two pixels too far otherwise. */
static int32_t reach_of_window(int32_t reach, const dukd_op *op) {
    int32_t before = op->stride - 1 + op->padding, behind = op->kernel - 1 - op->padding;
    return limited((int64_t)reach * op->stride + (before > behind ? before : behind));
}

/* A resize to r times the size, r known when the graph is made, sees the nearest pixel and one beside it. Any other
 * finds its positions by the image's size, so that every pixel of the image has a say. */
static int32_t reach_of_resize(const dukd_graph *g, int32_t reach, const dukd_op *op) {
    int32_t from = g->ops[op->in[0]].grid;
    const dukd_grid *to = &g->grids[op->grid];
    int32_t factor = dukd_graph_grid_factor(g, from);
    int32_t base = g->grids[from].kind == DUKD_GRID_UP ? g->grids[from].base : from;
    if (op->grid == from) return reach;
    if (to->kind != DUKD_GRID_UP || to->base != base || to->up % factor != 0) return DUKD_REACH_ALL;
    int32_t by = to->up / factor;
    return limited(((int64_t)reach + by - 1) / by + 1);
}

/* An output pixel depends on the pixels p - reach .. p + reach of a value, p being where it lies there. From
 * the output back to the input a k x k convolution adds k/2; a pixel shuffle divides by r, and rounding up is
 * exact: over all positions p of a pixel in its r x r cell, the farthest cell is ceil(reach / r) away. A window of
 * attention is a square somewhere around the pixel. */
void dukd_graph_find_reach(dukd_graph *g) {
    g->ops[g->output].reach = 0;
    for (int32_t i = g->output; i >= 0; i--) {
        const dukd_op *op = &g->ops[i];
        int32_t reach = op->reach;
        if (reach < 0) continue;
        if (reach == DUKD_REACH_ALL || op->kind == DUKD_OP_MEAN || op->kind == DUKD_OP_DEVIATION)
            reach = DUKD_REACH_ALL;
        else if (op->kind == DUKD_OP_CONV || op->kind == DUKD_OP_MAX_POOL)
            reach = reach_of_window(reach, op);
        else if (op->kind == DUKD_OP_PIXEL_SHUFFLE)
            reach = reach / op->kernel + (reach % op->kernel != 0);
        else if (op->kind == DUKD_OP_ATTENTION)
            reach = limited((int64_t)reach + op->kernel - 1);
        else if (op->kind == DUKD_OP_RESIZE)
            reach = reach_of_resize(g, reach, op);
        int32_t operands = op->kind == DUKD_OP_RESIZE ? 1 : DUKD_OP_MAX_OPERANDS;
        for (int32_t k = 0; k < operands; k++) reach_at_least(g, op->in[k], reach);
    }
}

int32_t dukd_graph_receptive_radius(const dukd_graph *g) {
    if (g->ops[g->output].up == 0) return DUKD_REACH_ALL; /* no place in it belongs to a place in the input */
    return g->ops[0].reach < 0 ? 0 : g->ops[0].reach;
}
