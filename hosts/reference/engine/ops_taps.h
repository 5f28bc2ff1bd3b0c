/* Which pixels a resized pixel is made of (PyTorch's bilinear, align_corners=False, in f32 as there), and which windows or
 * pixels a pixel goes into. Included by ops_body.h. */
#ifndef DUKD_OPS_TAPS_H
#define DUKD_OPS_TAPS_H

#include <math.h>
#include <stdint.h>

typedef struct {
    int64_t begin, end;
} dukd_range;

/* (1 - weight) in[first] + weight in[second] */
typedef struct {
    int64_t first, second;
    float weight;
} resize_tap;

static inline resize_tap resize_tap_of(int64_t o, int64_t in, int64_t out) {
    float at = ((float)o + .5f) * ((float)in / (float)out) - .5f;
    if (at < 0) at = 0;
    int64_t first = (int64_t)at;
    if (first > in - 1) first = in - 1;
    return (resize_tap){first, first + (first < in - 1), at - (float)first};
}

/* Weight of in[i] in out[o]. */
static inline float resize_weight(int64_t o, int64_t i, int64_t in, int64_t out) {
    resize_tap t = resize_tap_of(o, in, out);
    return (t.first == i ? 1 - t.weight : 0) + (t.second == i ? t.weight : 0);
}

/* All out[o] that in[i] goes into lie there, and a few others. */
static inline dukd_range resize_takers(int64_t i, int64_t in, int64_t out) {
    double ratio = (double)out / (double)in;
    int64_t begin = (int64_t)floor(((double)i - .5) * ratio) - 2,
            end = (int64_t)ceil(((double)i + 1.5) * ratio) + 2;
    return (dukd_range){begin < 0 ? 0 : begin, end > out ? out : end};
}

/* Windows of `kernel` at every stride that hold pixel i of a side: of `count`. */
static inline dukd_range windows_of(int64_t i, int32_t kernel, int32_t stride, int64_t count) {
    int64_t end = i / stride + 1;
    return (dukd_range){i < kernel ? 0 : (i - kernel) / stride + 1, end > count ? count : end};
}

#endif
