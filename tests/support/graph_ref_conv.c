/* Convolutions and layer norms in double precision: the operations with weights of their own. */
#include <math.h>

#include "support/graph_ref_state.h"

typedef struct {
    int64_t in_rows, in_columns, out_rows, out_columns;
    int64_t y0, y1, x0, x1; /* output pixels for which the tap's input pixel is inside */
    int64_t dy, dx, stride; /* input = output * stride + (dy, dx) */
} tap;

/* The first and the last + 1 output place o of n with 0 <= o stride + d < in. */
static void inside(int64_t in, int64_t n, int64_t stride, int64_t d, int64_t *first, int64_t *end) {
    *first = 0;
    *end = n;
    while (*first < n && *first * stride + d < 0) ++*first;
    while (*end > *first && (*end - 1) * stride + d >= in) --*end;
}

static tap make_tap(const dukd_graph_ref *r, dukd_value v, int32_t k) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    const int64_t *in = r->sizes[op->in[0]], *out = r->sizes[v];
    tap t = {.in_rows = in[0],
             .in_columns = in[1],
             .out_rows = out[0],
             .out_columns = out[1],
             .dy = k / op->kernel - op->padding,
             .dx = k % op->kernel - op->padding,
             .stride = op->stride};
    inside(in[0], out[0], op->stride, t.dy, &t.y0, &t.y1);
    inside(in[1], out[1], op->stride, t.dx, &t.x0, &t.x1);
    return t;
}

/* Weights of output channel o, and the first input channel that it sees. */
static int64_t weights_of(const dukd_graph_ref *r, dukd_value v, int32_t o, int32_t *first, int32_t *count) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    *count = dukd_graph_op(r->g, op->in[0])->channels / op->groups;
    *first = o / (op->channels / op->groups) * *count;
    return dukd_graph_param(r->g, op->weight)->offset + (int64_t)o * *count * op->kernel * op->kernel;
}

void dukd_ref_conv(const dukd_graph_ref *r, dukd_value v) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    const double *bias = op->bias < 0 ? NULL : r->weights + dukd_graph_param(r->g, op->bias)->offset;
    int64_t pixels = r->sizes[v][0] * r->sizes[v][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t o = 0; o < op->channels; o++) {
            double *out = dukd_ref_plane(r, r->values[v], v, n, o);
            int32_t first, count;
            int64_t weight = weights_of(r, v, o, &first, &count);
            for (int64_t p = 0; p < pixels; p++) out[p] = bias ? bias[o] : 0;
            for (int32_t i = 0; i < count; i++)
                for (int32_t k = 0; k < op->kernel * op->kernel; k++) {
                    double factor = r->weights[weight + (int64_t)i * op->kernel * op->kernel + k];
                    tap t = make_tap(r, v, k);
                    const double *in = dukd_ref_plane(r, r->values[op->in[0]], op->in[0], n, first + i);
                    for (int64_t y = t.y0; y < t.y1; y++)
                        for (int64_t x = t.x0; x < t.x1; x++)
                            out[y * t.out_columns + x] +=
                                factor * in[(y * t.stride + t.dy) * t.in_columns + x * t.stride + t.dx];
                }
        }
}

void dukd_ref_conv_back(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    int64_t pixels = r->sizes[v][0] * r->sizes[v][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int32_t o = 0; o < op->channels; o++) {
            const double *d_out = dukd_ref_plane(r, grads[v], v, n, o);
            int32_t first, count;
            int64_t weight = weights_of(r, v, o, &first, &count);
            for (int64_t p = 0; op->bias >= 0 && p < pixels; p++)
                d_weights[dukd_graph_param(r->g, op->bias)->offset + o] += d_out[p];
            for (int32_t i = 0; i < count; i++)
                for (int32_t k = 0; k < op->kernel * op->kernel; k++) {
                    int64_t place = weight + (int64_t)i * op->kernel * op->kernel + k;
                    tap t = make_tap(r, v, k);
                    const double *in = dukd_ref_plane(r, r->values[op->in[0]], op->in[0], n, first + i);
                    double *d_in = dukd_ref_plane(r, grads[op->in[0]], op->in[0], n, first + i);
                    double sum = 0;
                    for (int64_t y = t.y0; y < t.y1; y++)
                        for (int64_t x = t.x0; x < t.x1; x++) {
                            int64_t from = (y * t.stride + t.dy) * t.in_columns + x * t.stride + t.dx;
                            sum += d_out[y * t.out_columns + x] * in[from];
                            d_in[from] += d_out[y * t.out_columns + x] * r->weights[place];
                        }
                    d_weights[place] += sum;
                }
        }
}

/* Mean and 1 / sqrt(variance + eps) of one pixel, whose channels lie `pixels` apart. */
static void statistics(const double *x, int64_t pixels, int32_t channels, double eps, double *mean,
                       double *inverse) {
    double sum = 0, squares = 0;
    for (int32_t c = 0; c < channels; c++) sum += x[c * pixels];
    *mean = sum / channels;
    for (int32_t c = 0; c < channels; c++) squares += (x[c * pixels] - *mean) * (x[c * pixels] - *mean);
    *inverse = 1 / sqrt(squares / channels + eps);
}

void dukd_ref_layer_norm(const dukd_graph_ref *r, dukd_value v) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    const double *weight = r->weights + dukd_graph_param(r->g, op->weight)->offset;
    const double *bias = r->weights + dukd_graph_param(r->g, op->bias)->offset;
    int64_t pixels = r->sizes[v][0] * r->sizes[v][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int64_t p = 0; p < pixels; p++) {
            const double *x = dukd_ref_plane(r, r->values[op->in[0]], op->in[0], n, 0) + p;
            double *out = dukd_ref_plane(r, r->values[v], v, n, 0) + p, mean, inverse;
            statistics(x, pixels, op->channels, op->factor, &mean, &inverse);
            for (int32_t c = 0; c < op->channels; c++)
                out[c * pixels] = (x[c * pixels] - mean) * inverse * weight[c] + bias[c];
        }
}

/* With x^ = (x - mean) / deviation and g = d weight: dx = (g - mean(g) - x^ mean(g x^)) / deviation. */
void dukd_ref_layer_norm_back(const dukd_graph_ref *r, dukd_value v, double *const *grads,
                              double *d_weights) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    int64_t weight = dukd_graph_param(r->g, op->weight)->offset;
    int64_t bias = dukd_graph_param(r->g, op->bias)->offset;
    int64_t pixels = r->sizes[v][0] * r->sizes[v][1];
    for (int32_t n = 0; n < r->images; n++)
        for (int64_t p = 0; p < pixels; p++) {
            const double *x = dukd_ref_plane(r, r->values[op->in[0]], op->in[0], n, 0) + p;
            const double *d = dukd_ref_plane(r, grads[v], v, n, 0) + p;
            double *dx = dukd_ref_plane(r, grads[op->in[0]], op->in[0], n, 0) + p;
            double mean, inverse, sum = 0, along = 0;
            statistics(x, pixels, op->channels, op->factor, &mean, &inverse);
            for (int32_t c = 0; c < op->channels; c++) {
                double centred = (x[c * pixels] - mean) * inverse, g = d[c * pixels] * r->weights[weight + c];
                d_weights[weight + c] += d[c * pixels] * centred;
                d_weights[bias + c] += d[c * pixels];
                sum += g;
                along += g * centred;
            }
            for (int32_t c = 0; c < op->channels; c++) {
                double centred = (x[c * pixels] - mean) * inverse, g = d[c * pixels] * r->weights[weight + c];
                dx[c * pixels] += (g - sum / op->channels - centred * along / op->channels) * inverse;
            }
        }
}
