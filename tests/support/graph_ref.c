/* Forward and backward of every operation of a graph, in double precision. */
#include "support/graph_ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/graph_ref_state.h"

double *dukd_ref_zeros(int64_t count) {
    double *p = calloc((size_t)(count ? count : 1), sizeof *p);
    assert_non_null(p);
    return p;
}

int64_t dukd_graph_ref_count(const dukd_graph_ref *r, dukd_value v) {
    return (int64_t)r->images * dukd_graph_op(r->g, v)->channels * r->sizes[v][0] * r->sizes[v][1];
}

const double *dukd_graph_ref_value(const dukd_graph_ref *r, dukd_value v) {
    return r->values[v];
}

double *dukd_ref_plane(const dukd_graph_ref *r, double *all, dukd_value v, int32_t n, int32_t c) {
    return all + ((int64_t)n * dukd_graph_op(r->g, v)->channels + c) * r->sizes[v][0] * r->sizes[v][1];
}

/* Element-wise operations see a value as a list. Of the place of an element in it they may need the channel (AFFINE), the
 * image (DROP_PATH), or both (the one factor of its channel, MUL). */
static int64_t plane_of(const dukd_graph_ref *r, dukd_value v, int64_t element) {
    return element / (r->sizes[v][0] * r->sizes[v][1]);
}

static double drop_of(const dukd_graph_ref *r, dukd_value v, int64_t element) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    return r->drops[(int64_t)op->drop * r->images + plane_of(r, v, element) / op->channels];
}

/* The element of MUL's second operand that belongs to an element of its first. */
static int64_t factor_of(const dukd_graph_ref *r, dukd_value v, int64_t element) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    return op->grid == dukd_graph_op(r->g, op->in[1])->grid ? element : plane_of(r, v, element);
}

static double gelu_slope(double x) {
    return .5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846);
}

static void forward(const dukd_graph_ref *r, dukd_value v, const float *input) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    double *out = r->values[v];
    double *a = op->in[0] < 0 ? NULL : r->values[op->in[0]], *b = op->in[1] < 0 ? NULL : r->values[op->in[1]];
    int64_t count = dukd_graph_ref_count(r, v);
    switch (op->kind) {
    case DUKD_OP_INPUT:
        for (int64_t i = 0; i < count; i++) out[i] = input[i];
        return;
    case DUKD_OP_CONV:
        dukd_ref_conv(r, v);
        return;
    case DUKD_OP_RELU:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] > 0 ? a[i] : op->factor * a[i];
        return;
    case DUKD_OP_GELU:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] / 2 * (1 + erf(a[i] / sqrt(2)));
        return;
    case DUKD_OP_SIGMOID:
        for (int64_t i = 0; i < count; i++) out[i] = 1 / (1 + exp(-a[i]));
        return;
    case DUKD_OP_SCALE:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] * op->factor;
        return;
    case DUKD_OP_ADD:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] + b[i];
        return;
    case DUKD_OP_MUL:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] * b[factor_of(r, v, i)];
        return;
    case DUKD_OP_DROP_PATH:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] * drop_of(r, v, i);
        return;
    case DUKD_OP_AFFINE:
        for (int64_t i = 0; i < count; i++) {
            int64_t c = plane_of(r, v, i) % op->channels;
            out[i] = a[i] * op->factors[c] + op->shifts[c];
        }
        return;
    case DUKD_OP_PIXEL_SHUFFLE:
        dukd_ref_shuffle(r, v, r->values, 0);
        return;
    case DUKD_OP_CONCAT:
    case DUKD_OP_SLICE:
        dukd_ref_channels(r, v, r->values, 0);
        return;
    case DUKD_OP_LAYER_NORM:
        dukd_ref_layer_norm(r, v);
        return;
    case DUKD_OP_ATTENTION:
        dukd_ref_attention(r, v);
        return;
    case DUKD_OP_MEAN:
    case DUKD_OP_DEVIATION:
        dukd_ref_pool(r, v, NULL, 0);
        return;
    case DUKD_OP_MAX_POOL:
        dukd_ref_max_pool(r, v, NULL, 0);
        return;
    case DUKD_OP_RESIZE:
        dukd_ref_resize(r, v, r->values, 0);
        return;
    }
    fail_msg("operation %d is unknown", (int)op->kind);
}

static void backward(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights,
                     double *d_input) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    const double *y = r->values[v], *d = grads[v];
    const double *a = op->in[0] < 0 ? NULL : r->values[op->in[0]];
    const double *b = op->in[1] < 0 ? NULL : r->values[op->in[1]];
    double *da = op->in[0] < 0 ? NULL : grads[op->in[0]], *db = op->in[1] < 0 ? NULL : grads[op->in[1]];
    int64_t count = dukd_graph_ref_count(r, v);
    switch (op->kind) {
    case DUKD_OP_INPUT:
        for (int64_t i = 0; d_input && i < count; i++) d_input[i] += d[i];
        return;
    case DUKD_OP_CONV:
        dukd_ref_conv_back(r, v, grads, d_weights);
        return;
    case DUKD_OP_RELU:
        for (int64_t i = 0; i < count; i++) da[i] += y[i] > 0 ? d[i] : op->factor * d[i];
        return;
    case DUKD_OP_GELU:
        for (int64_t i = 0; i < count; i++) da[i] += d[i] * gelu_slope(a[i]);
        return;
    case DUKD_OP_SIGMOID:
        for (int64_t i = 0; i < count; i++) da[i] += d[i] * y[i] * (1 - y[i]);
        return;
    case DUKD_OP_SCALE:
        for (int64_t i = 0; i < count; i++) da[i] += d[i] * op->factor;
        return;
    case DUKD_OP_ADD:
        for (int64_t i = 0; i < count; i++) {
            da[i] += d[i];
            db[i] += d[i];
        }
        return;
    case DUKD_OP_MUL:
        for (int64_t i = 0; i < count; i++) {
            int64_t k = factor_of(r, v, i);
            da[i] += d[i] * b[k];
            db[k] += d[i] * a[i];
        }
        return;
    case DUKD_OP_DROP_PATH:
        for (int64_t i = 0; i < count; i++) da[i] += d[i] * drop_of(r, v, i);
        return;
    case DUKD_OP_AFFINE:
        for (int64_t i = 0; i < count; i++) da[i] += d[i] * op->factors[plane_of(r, v, i) % op->channels];
        return;
    case DUKD_OP_PIXEL_SHUFFLE:
        dukd_ref_shuffle(r, v, grads, 1);
        return;
    case DUKD_OP_CONCAT:
    case DUKD_OP_SLICE:
        dukd_ref_channels(r, v, grads, 1);
        return;
    case DUKD_OP_LAYER_NORM:
        dukd_ref_layer_norm_back(r, v, grads, d_weights);
        return;
    case DUKD_OP_ATTENTION:
        dukd_ref_attention_back(r, v, grads, d_weights);
        return;
    case DUKD_OP_MEAN:
    case DUKD_OP_DEVIATION:
        dukd_ref_pool(r, v, grads, 1);
        return;
    case DUKD_OP_MAX_POOL:
        dukd_ref_max_pool(r, v, grads, 1);
        return;
    case DUKD_OP_RESIZE:
        dukd_ref_resize(r, v, grads, 1);
        return;
    }
    fail_msg("operation %d is unknown", (int)op->kind);
}

dukd_graph_ref *dukd_graph_ref_run(const dukd_graph *g, const float *weights, int32_t images, int32_t h,
                                   int32_t w, const float *input) {
    return dukd_graph_ref_run_drops(g, weights, images, h, w, input, NULL);
}

dukd_graph_ref *dukd_graph_ref_run_drops(const dukd_graph *g, const float *weights, int32_t images, int32_t h,
                                         int32_t w, const float *input, const float *drops) {
    dukd_failure f = {0};
    assert_true(images >= 1);
    if (dukd_graph_check_size(g, h, w, &f) != DUKD_DONE) fail_msg("%s", f.message);
    dukd_graph_ref *r = calloc(1, sizeof *r);
    assert_non_null(r);
    *r = (dukd_graph_ref){.g = g, .images = images};
    r->weights = dukd_ref_zeros(dukd_graph_weights(g));
    for (int64_t i = 0; i < dukd_graph_weights(g); i++) r->weights[i] = weights[i];
    int64_t drop_count = (int64_t)dukd_graph_drop_count(g) * images;
    r->drops = dukd_ref_zeros(drop_count);
    for (int64_t i = 0; i < drop_count; i++) r->drops[i] = drops ? drops[i] : 1;
    r->sizes = calloc((size_t)dukd_graph_op_count(g), sizeof *r->sizes);
    r->values = calloc((size_t)dukd_graph_op_count(g), sizeof *r->values);
    assert_true(r->sizes && r->values);
    for (dukd_value v = 0; v < dukd_graph_op_count(g); v++) {
        dukd_graph_size(g, v, h, w, r->sizes[v]);
        r->values[v] = dukd_ref_zeros(dukd_graph_ref_count(r, v));
        forward(r, v, input);
    }
    return r;
}

void dukd_graph_ref_backward(const dukd_graph_ref *r, int32_t count, const dukd_value *outputs,
                             const float *const *d_outputs, double *d_weights, double *d_input) {
    int32_t ops = dukd_graph_op_count(r->g);
    double **grads = calloc((size_t)ops, sizeof *grads);
    assert_non_null(grads);
    for (dukd_value v = 0; v < ops; v++) grads[v] = dukd_ref_zeros(dukd_graph_ref_count(r, v));
    for (int32_t o = 0; o < count; o++) {
        assert_true(outputs[o] >= 0 && outputs[o] < ops);
        int64_t elements = dukd_graph_ref_count(r, outputs[o]);
        for (int64_t i = 0; d_outputs[o] && i < elements; i++) grads[outputs[o]][i] += d_outputs[o][i];
    }
    for (dukd_value v = ops - 1; v >= 0; v--) backward(r, v, grads, d_weights, d_input);
    for (dukd_value v = 0; v < ops; v++) free(grads[v]);
    free(grads);
}

void dukd_graph_ref_free(dukd_graph_ref *r) {
    if (!r) return;
    for (dukd_value v = 0; v < dukd_graph_op_count(r->g); v++) free(r->values[v]);
    free(r->values);
    free(r->sizes);
    free(r->drops);
    free(r->weights);
    free(r);
}
