/* What a graph costs in arithmetic, in the convention of the paper's tables. */
#include <stdbool.h>
#include <stdint.h>

#include "common/checked.h"
#include "graph/graph.h"

/* Multiply-adds of one convolution for an input image of h x w, or false where they are more than INT64_MAX.
 */
static bool conv_multiply_adds(const dukd_graph *g, const dukd_op *op, int64_t h, int64_t w, int64_t *out) {
    int64_t rows, columns, pixels;
    return dukd_checked_mul(h, op->up, &rows) && dukd_checked_mul(w, op->up, &columns) &&
           dukd_checked_mul(rows, columns, &pixels) &&
           dukd_checked_mul(pixels, dukd_graph_param(g, op->weight)->count, out);
}

int64_t dukd_graph_multiply_adds(const dukd_graph *g, int64_t h, int64_t w) {
    int64_t total = 0;
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        int64_t macs;
        if (op->kind != DUKD_OP_CONV) continue;
        if (!conv_multiply_adds(g, op, h, w, &macs) || !dukd_checked_add(total, macs, &total))
            return INT64_MAX;
    }
    return total;
}
