/* See packed_weights.h. */
#include "engine/packed_weights.h"

#include <stddef.h>
#include <string.h>

dukd_run_conv dukd_run_conv_of(const dukd_graph *g, const dukd_node *conv, const dukd_node *source,
                               int32_t in_memory, int32_t pad) {
    const dukd_op *op = conv->op;
    int32_t padded = op->groups > 1 ? conv->channels : (conv->channels + pad - 1) / pad * pad;
    return (dukd_run_conv){.out_channels = padded,
                           .in_channels = in_memory,
                           .groups = op->groups,
                           .stride = op->stride,
                           .kernel = op->kernel,
                           .side = dukd_node_side(conv),
                           .order = conv->order,
                           .source_order = source->order,
                           .spread = conv->spread,
                           .scale = conv->scale,
                           .weight = dukd_graph_param(g, op->weight),
                           .bias = op->bias >= 0 ? dukd_graph_param(g, op->bias) : NULL};
}

int dukd_run_conv_same(const dukd_run_conv *a, const dukd_run_conv *b) {
    return a->weight == b->weight && a->bias == b->bias && a->out_channels == b->out_channels &&
           a->in_channels == b->in_channels && a->groups == b->groups && a->side == b->side &&
           a->order == b->order && a->source_order == b->source_order && a->spread == b->spread &&
           memcmp(&a->scale, &b->scale, sizeof a->scale) == 0;
}

int64_t dukd_run_conv_elements(const dukd_run_conv *c) {
    return (int64_t)c->out_channels * (c->in_channels / c->groups) * c->side * c->side;
}

/* Channel of memory of channel c of `count` in order r: where it lies in (i, j, c / r^2). */
static int64_t memory_channel(int64_t c, int64_t count, int64_t r) {
    return c % (r * r) * (count / (r * r)) + c / (r * r);
}

/* Where one element of the parameter lies in the run weights. Without a swallowed shuffle it is there once (i = j = 0);
 * with one it is there for each of the r^2 pixels (i, j) that a low pixel holds. */
static int64_t run_index(const dukd_run_conv *c, int64_t out, int64_t in, int64_t ky, int64_t kx, int64_t i,
                         int64_t j, int transposed) {
    int64_t r = c->spread, half = c->kernel / 2, radius = c->side / 2;
    int64_t m, s, dy = ky, dx = kx;
    if (r == 1) {
        m = memory_channel(out, c->weight->dims[0], c->order);
        s = memory_channel(in, c->weight->dims[1], c->source_order);
    } else {
        /* Row of the large image, from the low pixel's first; shifted to be positive. */
        int64_t y = i + ky - half + radius * r, x = j + kx - half + radius * r;
        dy = y / r;
        dx = x / r;
        m = (i * r + j) * c->weight->dims[0] + out;
        s = memory_channel(in * r * r + y % r * r + x % r, c->weight->dims[1] * r * r, c->source_order);
    }
    if (transposed)
        return ((s * c->out_channels + m) * c->side + c->side - 1 - dy) * c->side + c->side - 1 - dx;
    return ((m * (c->in_channels / c->groups) + s) * c->side + dy) * c->side + dx;
}

/* Whole kernels are copied, each turned where it is transposed: no shuffle was swallowed. */
static void pack_kernels(const dukd_run_conv *c, const float *w, float *run, int transposed) {
    int64_t outs = c->weight->dims[0], ins = c->weight->dims[1], size = (int64_t)c->kernel * c->kernel;
    for (int64_t out = 0; out < outs; out++) {
        int64_t m = memory_channel(out, outs, c->order);
        for (int64_t in = 0; in < ins; in++, w += size) {
            int64_t s = memory_channel(in, ins, c->source_order);
            if (transposed) {
                float *to = run + (s * c->out_channels + m) * size + size - 1;
                for (int64_t k = 0; k < size; k++) to[-k] = w[k] * c->scale;
            } else {
                float *to = run + (m * (c->in_channels / c->groups) + s) * size;
                for (int64_t k = 0; k < size; k++) to[k] = w[k] * c->scale;
            }
        }
    }
}

/* No reordering at all: the parameter's elements are the run weights'. */
static int is_plain(const dukd_run_conv *c) {
    return c->spread == 1 && c->order == 1 && c->source_order == 1 && c->out_channels == c->weight->dims[0];
}

void dukd_run_conv_pack(const dukd_run_conv *c, const float *flat, float *run, float *bias, int transposed) {
    const float *w = flat + c->weight->offset;
    const int64_t *dims = c->weight->dims;
    if (is_plain(c) && !transposed) {
        for (int64_t e = 0; e < c->weight->count; e++) run[e] = w[e] * c->scale;
    } else if (c->spread == 1) {
        if (dukd_run_conv_elements(c) != c->weight->count) /* channels that only pad */
            memset(run, 0, (size_t)dukd_run_conv_elements(c) * sizeof *run);
        pack_kernels(c, w, run, transposed);
    } else {
        memset(run, 0, (size_t)dukd_run_conv_elements(c) * sizeof *run);
        for (int64_t out = 0; out < dims[0]; out++)
            for (int64_t in = 0; in < dims[1]; in++)
                for (int64_t ky = 0; ky < c->kernel; ky++)
                    for (int64_t kx = 0; kx < c->kernel; kx++, w++)
                        for (int64_t i = 0; i < c->spread; i++)
                            for (int64_t j = 0; j < c->spread; j++)
                                run[run_index(c, out, in, ky, kx, i, j, transposed)] = *w * c->scale;
    }
    if (!bias) return;
    memset(bias, 0, (size_t)c->out_channels * sizeof *bias);
    if (!c->bias) return;
    for (int64_t out = 0; out < dims[0]; out++)
        for (int64_t p = 0; p < (int64_t)c->spread * c->spread; p++) {
            int64_t m = c->spread > 1 ? p * dims[0] + out : memory_channel(out, dims[0], c->order);
            bias[m] = flat[c->bias->offset + out] * c->scale;
        }
}

void dukd_run_conv_unpack(const dukd_run_conv *c, float *d_flat, const float *d_run, const float *d_bias) {
    float *w = d_flat + c->weight->offset;
    const int64_t *dims = c->weight->dims;
    if (is_plain(c)) {
        for (int64_t e = 0; e < c->weight->count; e++) w[e] += d_run[e] * c->scale;
    } else if (c->spread == 1) {
        int64_t size = (int64_t)c->kernel * c->kernel, ins = c->in_channels / c->groups;
        for (int64_t out = 0; out < dims[0]; out++)
            for (int64_t in = 0; in < dims[1]; in++, w += size) {
                const float *from = d_run + (memory_channel(out, dims[0], c->order) * ins +
                                             memory_channel(in, dims[1], c->source_order)) *
                                                size;
                for (int64_t k = 0; k < size; k++) w[k] += from[k] * c->scale;
            }
    } else {
        for (int64_t out = 0; out < dims[0]; out++)
            for (int64_t in = 0; in < dims[1]; in++)
                for (int64_t ky = 0; ky < c->kernel; ky++)
                    for (int64_t kx = 0; kx < c->kernel; kx++, w++) {
                        float sum = 0;
                        for (int64_t i = 0; i < c->spread; i++)
                            for (int64_t j = 0; j < c->spread; j++)
                                sum += d_run[run_index(c, out, in, ky, kx, i, j, 0)];
                        *w += sum * c->scale;
                    }
    }
    if (!c->bias) return;
    for (int64_t out = 0; out < dims[0]; out++) {
        float sum = 0;
        for (int64_t p = 0; p < (int64_t)c->spread * c->spread; p++)
            sum += d_bias[c->spread > 1 ? p * dims[0] + out : memory_channel(out, dims[0], c->order)];
        d_flat[c->bias->offset + out] += sum * c->scale;
    }
}
