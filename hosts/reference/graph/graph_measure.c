/* What a graph costs in arithmetic, in the convention of the paper's tables. */
#include <stdbool.h>
#include <stdint.h>

#include "common/checked.h"
#include "graph/graph.h"

/* Pixels of a value, or false where they are more than INT64_MAX. */
static bool pixels_of(const dukd_graph *g, dukd_value v, int64_t h, int64_t w, int64_t *out) {
    int64_t size[2];
    dukd_graph_size(g, v, h, w, size);
    return size[0] < INT64_MAX && size[1] < INT64_MAX && dukd_checked_mul(size[0], size[1], out);
}

/* Multiply-adds of one operation for an input image of h x w, or false where they are more than INT64_MAX. */
static bool op_multiply_adds(const dukd_graph *g, int32_t i, int64_t h, int64_t w, int64_t *out) {
    const dukd_op *op = dukd_graph_op(g, i);
    dukd_value counted = i; /* the value whose pixels are counted, and what each of them costs */
    int64_t each, pixels;
    switch (op->kind) {
    case DUKD_OP_CONV:
        each = dukd_graph_param(g, op->weight)->count;
        break;
    case DUKD_OP_ATTENTION: /* q k^T and its product with v */
        each = INT64_C(2) * op->channels * op->kernel * op->kernel;
        break;
    case DUKD_OP_LAYER_NORM:
        each = INT64_C(5) * op->channels;
        break;
    case DUKD_OP_MEAN:
        counted = op->in[0];
        each = op->channels;
        break;
    case DUKD_OP_RESIZE:
        each = INT64_C(4) * op->channels;
        break;
    default:
        *out = 0;
        return true;
    }
    return pixels_of(g, counted, h, w, &pixels) && dukd_checked_mul(pixels, each, out);
}

int64_t dukd_graph_multiply_adds(const dukd_graph *g, int64_t h, int64_t w) {
    int64_t total = 0;
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        int64_t macs;
        if (!op_multiply_adds(g, i, h, w, &macs) || !dukd_checked_add(total, macs, &total)) return INT64_MAX;
    }
    return total;
}
