/* Forward and backward of every operation of a graph, in double precision. */
#include "support/graph_ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct dukd_graph_ref {
    const dukd_graph *g;
    int32_t images, h, w;
    double *weights;
    double **values; /* one per operation */
};

static double *zeros(int64_t count) {
    double *p = calloc((size_t)(count ? count : 1), sizeof *p);
    assert_non_null(p);
    return p;
}

int64_t dukd_graph_ref_count(const dukd_graph_ref *r, dukd_value v) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    return (int64_t)r->images * op->channels * r->h * op->up * r->w * op->up;
}

const double *dukd_graph_ref_value(const dukd_graph_ref *r, dukd_value v) {
    return r->values[v];
}

/* One plane of a value: rows x columns of image n and channel c. */
static double *plane(const dukd_graph_ref *r, double *value, dukd_value v, int32_t n, int32_t c) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    return value + ((int64_t)n * op->channels + c) * r->h * op->up * r->w * op->up;
}

typedef struct {
    int64_t rows, columns;  /* of the value */
    int64_t y0, y1, x0, x1; /* output pixels for which the tap's input pixel is inside */
    int64_t dy, dx;         /* input = output + (dy, dx) */
} tap;

static tap make_tap(const dukd_graph_ref *r, const dukd_op *op, int32_t ky, int32_t kx) {
    tap t = {.rows = (int64_t)r->h * op->up, .columns = (int64_t)r->w * op->up};
    t.dy = ky - op->kernel / 2;
    t.dx = kx - op->kernel / 2;
    t.y0 = t.dy < 0 ? -t.dy : 0;
    t.x0 = t.dx < 0 ? -t.dx : 0;
    t.y1 = t.dy > 0 ? t.rows - t.dy : t.rows;
    t.x1 = t.dx > 0 ? t.columns - t.dx : t.columns;
    return t;
}

static void conv_forward(const dukd_graph_ref *r, dukd_value v) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    int32_t ins = dukd_graph_op(r->g, op->in[0])->channels;
    const double *weight = r->weights + dukd_graph_param(r->g, op->weight)->offset;
    const double *bias = op->bias < 0 ? NULL : r->weights + dukd_graph_param(r->g, op->bias)->offset;
    int64_t pixels = (int64_t)r->h * op->up * r->w * op->up;
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t o = 0; o < op->channels; o++) {
            double *out = plane(r, r->values[v], v, n, o);
            for (int64_t p = 0; p < pixels; p++) out[p] = bias ? bias[o] : 0;
            for (int32_t i = 0; i < ins; i++)
                for (int32_t k = 0; k < op->kernel * op->kernel; k++) {
                    double factor = weight[((int64_t)o * ins + i) * op->kernel * op->kernel + k];
                    tap t = make_tap(r, op, k / op->kernel, k % op->kernel);
                    const double *in = plane(r, r->values[op->in[0]], op->in[0], n, i);
                    for (int64_t y = t.y0; y < t.y1; y++)
                        for (int64_t x = t.x0; x < t.x1; x++)
                            out[y * t.columns + x] += factor * in[(y + t.dy) * t.columns + x + t.dx];
                }
        }
}

static void conv_backward(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    int32_t ins = dukd_graph_op(r->g, op->in[0])->channels;
    int64_t weight = dukd_graph_param(r->g, op->weight)->offset;
    int64_t pixels = (int64_t)r->h * op->up * r->w * op->up;
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t o = 0; o < op->channels; o++) {
            const double *d_out = plane(r, grads[v], v, n, o);
            for (int64_t p = 0; op->bias >= 0 && p < pixels; p++)
                d_weights[dukd_graph_param(r->g, op->bias)->offset + o] += d_out[p];
            for (int32_t i = 0; i < ins; i++)
                for (int32_t k = 0; k < op->kernel * op->kernel; k++) {
                    int64_t place = weight + ((int64_t)o * ins + i) * op->kernel * op->kernel + k;
                    tap t = make_tap(r, op, k / op->kernel, k % op->kernel);
                    const double *in = plane(r, r->values[op->in[0]], op->in[0], n, i);
                    double *d_in = plane(r, grads[op->in[0]], op->in[0], n, i);
                    double sum = 0;
                    for (int64_t y = t.y0; y < t.y1; y++)
                        for (int64_t x = t.x0; x < t.x1; x++) {
                            int64_t from = (y + t.dy) * t.columns + x + t.dx;
                            sum += d_out[y * t.columns + x] * in[from];
                            d_in[from] += d_out[y * t.columns + x] * r->weights[place];
                        }
                    d_weights[place] += sum;
                }
        }
}

/* Where element (c, y, x) of the shuffled image n comes from. */
static int64_t shuffle_source(const dukd_graph_ref *r, const dukd_op *op, int64_t n, int64_t c, int64_t y,
                              int64_t x) {
    int64_t by = op->kernel, rows = (int64_t)r->h * op->up / by, columns = (int64_t)r->w * op->up / by;
    int64_t channel = c * by * by + y % by * by + x % by;
    return ((n * op->channels * by * by + channel) * rows + y / by) * columns + x / by;
}

/* Element-wise operations see a value as a list; `channel` is what AFFINE needs to know of a place in it. */
static int32_t channel_of(const dukd_graph_ref *r, const dukd_op *op, int64_t element) {
    return (int32_t)(element / ((int64_t)r->h * op->up * r->w * op->up) % op->channels);
}

static void shuffle(const dukd_graph_ref *r, dukd_value v, double *out, double *in, int backward) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    int64_t rows = (int64_t)r->h * op->up, columns = (int64_t)r->w * op->up, place = 0;
    for (int64_t n = 0; n < r->images; n++)
        for (int64_t c = 0; c < op->channels; c++)
            for (int64_t y = 0; y < rows; y++)
                for (int64_t x = 0; x < columns; x++, place++) {
                    int64_t source = shuffle_source(r, op, n, c, y, x);
                    if (backward)
                        in[source] += out[place];
                    else
                        out[place] = in[source];
                }
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
        conv_forward(r, v);
        return;
    case DUKD_OP_RELU:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] > 0 ? a[i] : 0;
        return;
    case DUKD_OP_SCALE:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] * op->factor;
        return;
    case DUKD_OP_ADD:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] + b[i];
        return;
    case DUKD_OP_PIXEL_SHUFFLE:
        shuffle(r, v, out, a, 0);
        return;
    case DUKD_OP_AFFINE:
        for (int64_t i = 0; i < count; i++) {
            int32_t c = channel_of(r, op, i);
            out[i] = a[i] * op->factors[c] + op->shifts[c];
        }
        return;
    }
    fail_msg("operation %d is unknown", (int)op->kind);
}

static void backward(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights,
                     double *d_input) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    double *d = grads[v];
    double *da = op->in[0] < 0 ? NULL : grads[op->in[0]], *db = op->in[1] < 0 ? NULL : grads[op->in[1]];
    int64_t count = dukd_graph_ref_count(r, v);
    switch (op->kind) {
    case DUKD_OP_INPUT:
        for (int64_t i = 0; d_input && i < count; i++) d_input[i] += d[i];
        return;
    case DUKD_OP_CONV:
        conv_backward(r, v, grads, d_weights);
        return;
    case DUKD_OP_RELU:
        for (int64_t i = 0; i < count; i++) da[i] += r->values[v][i] > 0 ? d[i] : 0;
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
    case DUKD_OP_PIXEL_SHUFFLE:
        shuffle(r, v, d, da, 1);
        return;
    case DUKD_OP_AFFINE:
        for (int64_t i = 0; i < count; i++) da[i] += d[i] * op->factors[channel_of(r, op, i)];
        return;
    }
    fail_msg("operation %d is unknown", (int)op->kind);
}

dukd_graph_ref *dukd_graph_ref_run(const dukd_graph *g, const float *weights, int32_t images, int32_t h,
                                   int32_t w, const float *input) {
    assert_true(images >= 1 && h >= 1 && w >= 1);
    dukd_graph_ref *r = calloc(1, sizeof *r);
    assert_non_null(r);
    *r = (dukd_graph_ref){.g = g, .images = images, .h = h, .w = w};
    r->weights = zeros(dukd_graph_weights(g));
    for (int64_t i = 0; i < dukd_graph_weights(g); i++) r->weights[i] = weights[i];
    r->values = calloc((size_t)dukd_graph_op_count(g), sizeof *r->values);
    assert_non_null(r->values);
    for (dukd_value v = 0; v < dukd_graph_op_count(g); v++) {
        r->values[v] = zeros(dukd_graph_ref_count(r, v));
        forward(r, v, input);
    }
    return r;
}

void dukd_graph_ref_backward(const dukd_graph_ref *r, int32_t count, const dukd_value *outputs,
                             const float *const *d_outputs, double *d_weights, double *d_input) {
    int32_t ops = dukd_graph_op_count(r->g);
    double **grads = calloc((size_t)ops, sizeof *grads);
    assert_non_null(grads);
    for (dukd_value v = 0; v < ops; v++) grads[v] = zeros(dukd_graph_ref_count(r, v));
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
    free(r->weights);
    free(r);
}
