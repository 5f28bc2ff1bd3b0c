/* Operations that move pixels or channels, in double precision; each forward and backward in one loop where the same
 * places are read and written. */
#include <math.h>
#include <stdlib.h>

#include "support/graph_ref_state.h"

/* Where element (c, y, x) of the shuffled image n comes from. */
static int64_t shuffle_source(const dukd_graph_ref *r, dukd_value v, int64_t n, int64_t c, int64_t y,
                              int64_t x) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    int64_t by = op->kernel, rows = r->sizes[v][0] / by, columns = r->sizes[v][1] / by;
    int64_t channel = c * by * by + y % by * by + x % by;
    return ((n * op->channels * by * by + channel) * rows + y / by) * columns + x / by;
}

void dukd_ref_shuffle(const dukd_graph_ref *r, dukd_value v, double *const *all, int back) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    double *out = all[v], *in = all[op->in[0]];
    int64_t place = 0;
    for (int64_t n = 0; n < r->images; n++)
        for (int64_t c = 0; c < op->channels; c++)
            for (int64_t y = 0; y < r->sizes[v][0]; y++)
                for (int64_t x = 0; x < r->sizes[v][1]; x++, place++) {
                    int64_t source = shuffle_source(r, v, n, c, y, x);
                    if (back)
                        in[source] += out[place];
                    else
                        out[place] = in[source];
                }
}

/* CONCAT and SLICE: channels `from` .. of one value are channels `to` .. of another. */
static void move(const dukd_graph_ref *r, double *out, dukd_value v, int32_t to, double *in, dukd_value x,
                 int32_t from, int32_t count, int back) {
    int64_t pixels = r->sizes[v][0] * r->sizes[v][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t c = 0; c < count; c++) {
            double *a = dukd_ref_plane(r, out, v, n, to + c), *b = dukd_ref_plane(r, in, x, n, from + c);
            for (int64_t p = 0; p < pixels; p++)
                if (back)
                    b[p] += a[p];
                else
                    a[p] = b[p];
        }
}

void dukd_ref_channels(const dukd_graph_ref *r, dukd_value v, double *const *all, int back) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    if (op->kind == DUKD_OP_SLICE) {
        move(r, all[v], v, 0, all[op->in[0]], op->in[0], op->first, op->channels, back);
        return;
    }
    int32_t to = 0;
    for (int32_t i = 0; i < DUKD_OP_MAX_OPERANDS && op->in[i] >= 0; i++) {
        int32_t count = dukd_graph_op(r->g, op->in[i])->channels;
        move(r, all[v], v, to, all[op->in[i]], op->in[i], 0, count, back);
        to += count;
    }
}

/* MEAN and DEVIATION. A deviation of 0 gives no gradient: there is none. */
void dukd_ref_pool(const dukd_graph_ref *r, dukd_value v, double *const *grads, int back) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    dukd_value x = op->in[0];
    int64_t pixels = r->sizes[x][0] * r->sizes[x][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t c = 0; c < op->channels; c++) {
            const double *in = dukd_ref_plane(r, r->values[x], x, n, c);
            double mean = 0, squares = 0, *out = dukd_ref_plane(r, r->values[v], v, n, c);
            for (int64_t p = 0; p < pixels; p++) mean += in[p] / (double)pixels;
            for (int64_t p = 0; p < pixels; p++) squares += (in[p] - mean) * (in[p] - mean) / (double)pixels;
            if (!back) {
                *out = op->kind == DUKD_OP_MEAN ? mean : sqrt(squares);
                continue;
            }
            double d = *dukd_ref_plane(r, grads[v], v, n, c) / (double)pixels;
            double *dx = dukd_ref_plane(r, grads[x], x, n, c);
            for (int64_t p = 0; p < pixels; p++)
                if (op->kind == DUKD_OP_MEAN)
                    dx[p] += d;
                else if (*out > 0)
                    dx[p] += d * (in[p] - mean) / *out;
        }
}

/* The largest of a window, the first in row order where several are, and NaN where there is one. */
static int64_t largest(const double *in, int64_t columns, int64_t y, int64_t x, int32_t kernel) {
    int64_t best = y * columns + x;
    for (int32_t k = 1; k < kernel * kernel; k++) {
        int64_t p = (y + k / kernel) * columns + x + k % kernel;
        if (in[p] > in[best] || (isnan(in[p]) && !isnan(in[best]))) best = p;
    }
    return best;
}

void dukd_ref_max_pool(const dukd_graph_ref *r, dukd_value v, double *const *grads, int back) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    dukd_value x = op->in[0];
    int64_t columns = r->sizes[x][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t c = 0; c < op->channels; c++)
            for (int64_t i = 0; i < r->sizes[v][0]; i++)
                for (int64_t k = 0; k < r->sizes[v][1]; k++) {
                    const double *in = dukd_ref_plane(r, r->values[x], x, n, c);
                    int64_t from = largest(in, columns, i * op->stride, k * op->stride, op->kernel);
                    int64_t to = i * r->sizes[v][1] + k;
                    if (back)
                        dukd_ref_plane(r, grads[x], x, n, c)[from] +=
                            dukd_ref_plane(r, grads[v], v, n, c)[to];
                    else
                        dukd_ref_plane(r, r->values[v], v, n, c)[to] = in[from];
                }
}

/* Where place i of `out` lies among `in` places, as two neighbours and the second's share. */
static void between(int64_t i, int64_t in, int64_t out, int64_t near[2], double share[2]) {
    double at = ((double)i + .5) * (double)in / (double)out - .5;
    if (at < 0) at = 0;
    near[0] = (int64_t)floor(at);
    near[1] = near[0] + 1 < in ? near[0] + 1 : near[0];
    share[1] = at - (double)near[0];
    share[0] = 1 - share[1];
}

void dukd_ref_resize(const dukd_graph_ref *r, dukd_value v, double *const *all, int back) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    dukd_value from = op->in[0];
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t c = 0; c < op->channels; c++) {
            double *out = dukd_ref_plane(r, all[v], v, n, c), *in = dukd_ref_plane(r, all[from], from, n, c);
            for (int64_t p = 0; p < r->sizes[v][0] * r->sizes[v][1]; p++) {
                int64_t ys[2], xs[2];
                double dy[2], dx[2], sum = 0;
                between(p / r->sizes[v][1], r->sizes[from][0], r->sizes[v][0], ys, dy);
                between(p % r->sizes[v][1], r->sizes[from][1], r->sizes[v][1], xs, dx);
                for (int k = 0; k < 4; k++) {
                    double *pixel = &in[ys[k / 2] * r->sizes[from][1] + xs[k % 2]];
                    if (back)
                        *pixel += out[p] * dy[k / 2] * dx[k % 2];
                    else
                        sum += *pixel * dy[k / 2] * dx[k % 2];
                }
                if (!back) out[p] = sum;
            }
        }
}
