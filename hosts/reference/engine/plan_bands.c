/* Bands: the end of a network on a large image, some rows at a time.
 *
 * An upsampler's values are many times the size of the body's. For inference on one image the nodes from the first such value on
 * are run for a band of rows after the other, so that only bands of them exist. A band computes, beside its own rows, those
 * that the convolutions behind it look at (its halo); neighbouring bands compute them twice. Rows outside the image are the
 * zeros that convolutions pad with. */
#include "engine/planner.h"

enum { BAND_PIXELS = 8 * 1024, MIN_ROWS = 8 };

/* Numbers for each pixel of the input. */
static int64_t size_of(const dukd_node *n) {
    return (int64_t)n->channels * n->up * n->up;
}

/* The first node that is half as large again as everything before it; the number of nodes where there is none. */
static int32_t first_large(const dukd_fused *f) {
    int64_t most = 0;
    for (int32_t i = 0; i < f->count; i++) {
        const dukd_node *n = &f->nodes[i];
        if (n->kind == DUKD_NODE_OUTPUT) continue;
        if (n->kind == DUKD_NODE_CONV && f->nodes[n->in[0]].kind != DUKD_NODE_INPUT &&
            2 * size_of(n) > 3 * most)
            return i;
        if (size_of(n) > most) most = size_of(n);
    }
    return f->count;
}

/* Whether a node can run on a band of rows. */
static int knows_bands(const dukd_fused *f, const dukd_node *n) {
    switch (n->kind) {
    case DUKD_NODE_CONV:
        return dukd_node_is_plain(n);
    case DUKD_NODE_OUTPUT:
        return f->nodes[n->in[0]].up > 0;
    case DUKD_NODE_RELU:
    case DUKD_NODE_SCALE:
    case DUKD_NODE_ADD:
    case DUKD_NODE_AFFINE:
    case DUKD_NODE_SHUFFLE:
        return n->up > 0;
    default:
        return 0;
    }
}

static void need(int32_t *halo, int32_t node, int32_t rows) {
    if (node >= 0 && halo[node] < rows) halo[node] = rows;
}

void dukd_planner_choose_bands(dukd_planner *s) {
    dukd_plan *p = s->plan;
    const dukd_fused *f = &p->fused;
    p->band_node = f->count;
    p->band_rows = BAND_PIXELS / p->width > MIN_ROWS ? BAND_PIXELS / p->width : MIN_ROWS;
    if (!s->backend->bands || p->purpose != DUKD_INFER || p->part != 1 || p->height < 2 * p->band_rows)
        return;
    int32_t first = first_large(f);
    for (int32_t i = first; i < f->count; i++)
        if (!knows_bands(f, &f->nodes[i])) return;
    p->band_node = first;
    for (int32_t i = f->count - 1; i >= first; i--) {
        const dukd_node *n = &f->nodes[i];
        if (n->kind == DUKD_NODE_SHUFFLE) {
            int32_t r = n->op->kernel;
            s->halo[i] = (s->halo[i] + r - 1) / r * r;
            need(s->halo, n->in[0], s->halo[i] / r);
        } else if (n->kind == DUKD_NODE_CONV) {
            need(s->halo, n->in[0], s->halo[i] + dukd_node_padding(n));
            need(s->halo, n->in[1], s->halo[i]);
        } else {
            int32_t rows = n->kind == DUKD_NODE_OUTPUT ? 0 : s->halo[i];
            need(s->halo, n->in[0], rows);
            need(s->halo, n->in[1], rows);
        }
    }
}

dukd_plan_value dukd_planner_operand(const dukd_planner *s, int32_t i, int32_t from, int32_t radius) {
    const dukd_plan *p = s->plan;
    const dukd_node *n = dukd_planner_node(s, i);
    if (from < 0) return dukd_plan_none;
    dukd_plan_value v = s->value[from];
    if (i < p->band_node) return v;
    int32_t beside = s->value[i].halo;
    if (n->kind == DUKD_NODE_OUTPUT) beside = 0;
    if (n->kind == DUKD_NODE_SHUFFLE) beside /= n->op->kernel;
    v.skip = v.halo - beside - radius;
    v.rows = p->band_rows * v.up + 2 * (beside + radius);
    v.moves = !v.banded;
    return v;
}

void dukd_planner_emit_edges(dukd_planner *s, int32_t i) {
    dukd_plan_step step = dukd_planner_step(s, DUKD_STEP_EDGES, i);
    step.out = s->value[i];
    if (step.out.halo == 0) return;
    int32_t rows = step.out.banded ? s->plan->band_rows * step.out.up : step.out.height;
    step.out.skip = 0;
    step.out.rows = rows + 2 * step.out.halo;
    dukd_planner_emit(s, step);
}
