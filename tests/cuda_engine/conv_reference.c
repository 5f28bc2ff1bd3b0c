#include "conv_reference.h"

#include <math.h>
#include <string.h>

/* Calls nothing: walks through every product, and adds to the one of the three that is asked for. */
static void each(const gpu_conv_spec *s, double *to, const double *x, const double *w, const double *d) {
    const int64_t oh = gpu_conv_out_side(s, s->height), ow = gpu_conv_out_side(s, s->width);
    const int64_t gin = s->in_channels / s->groups, gout = s->out_channels / s->groups;
    for (int64_t n = 0; n < s->images; n++) {
        for (int64_t row = 0; row < oh; row++) {
            for (int64_t col = 0; col < ow; col++) {
                for (int64_t k = 0; k < s->out_channels; k++) {
                    const int64_t at_d = ((n * oh + row) * ow + col) * s->out_channels + k;
                    for (int64_t r = 0; r < s->side; r++) {
                        for (int64_t q = 0; q < s->side; q++) {
                            const int64_t i = row * s->stride + r - s->padding,
                                          j = col * s->stride + q - s->padding;
                            if (i < 0 || j < 0 || i >= s->height || j >= s->width) continue;
                            const int64_t at_x =
                                ((n * s->height + i) * s->width + j) * s->in_channels + k / gout * gin;
                            const int64_t at_w = ((k * s->side + r) * s->side + q) * gin;
                            for (int64_t c = 0; c < gin; c++) {
                                if (d == NULL) {
                                    to[at_d] += x[at_x + c] * w[at_w + c];
                                } else if (x == NULL) {
                                    to[at_x + c] += d[at_d] * w[at_w + c];
                                } else {
                                    to[at_w + c] += d[at_d] * x[at_x + c];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

static void zero(double *p, int64_t count) {
    memset(p, 0, (size_t)count * sizeof *p);
}

void conv_reference(const gpu_conv_spec *s, double *out, const double *x, const double *w) {
    zero(out, s->images * gpu_conv_out_side(s, s->height) * gpu_conv_out_side(s, s->width) * s->out_channels);
    each(s, out, x, w, NULL);
}

void conv_reference_data(const gpu_conv_spec *s, double *dx, const double *d, const double *w) {
    zero(dx, (int64_t)s->images * s->height * s->width * s->in_channels);
    each(s, dx, NULL, w, d);
}

void conv_reference_weights(const gpu_conv_spec *s, double *dw, const double *x, const double *d) {
    zero(dw, (int64_t)s->out_channels * s->side * s->side * (s->in_channels / s->groups));
    each(s, dw, x, NULL, d);
}

double conv_reference_rest(const gpu_conv_spec *s, double value, double bias, double addend) {
    double v = value + bias;
    if (s->act == DUKD_ACT_RELU) v = v > 0 ? v : s->slope * v;
    if (s->act == DUKD_ACT_GELU) v = v / 2 * erfc(-v / sqrt(2));
    return v + addend;
}
