/* Bicubic weights as integers, and indices beyond the border. */
#include "data/resample.h"

#include <stdlib.h>

int32_t dukd_resample_kernel(int32_t n, int32_t s) {
    const int32_t d = abs(n);
    if (d <= 2 * s) return (3 * d - 10 * s) * d * d + 16 * s * s * s;
    if (d <= 4 * s) return ((10 * s - d) * d - 32 * s * s) * d + 32 * s * s * s;
    return 0;
}

static int32_t common_divisor(int32_t a, int32_t b) {
    while (b) {
        const int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return abs(a);
}

/* Drops taps of weight 0 at both ends, and divides by what all weights have in common: small numbers for the sums. */
static void shorten(dukd_resample_taps *t, int32_t total) {
    int32_t begin = 0, end = t->count;
    while (!t->weights[begin]) begin++;
    while (!t->weights[end - 1]) end--;
    int32_t divisor = total;
    for (int32_t i = begin; i < end; i++) divisor = common_divisor(divisor, t->weights[i]);
    for (int32_t i = begin; i < end; i++) t->weights[i - begin] = t->weights[i] / divisor;
    t->first += begin;
    t->count = end - begin;
    t->total = total / divisor;
}

void dukd_resample_down(dukd_resample_taps *t, int32_t s) {
    /* Output 0 is centred on (s - 1) / 2, and the support reaches 2 s to both sides: inputs from (s - 1) / 2 - 2 s on. In units of
     * half a sample, input i is 2 i - (s - 1) away; the kernel widened by s sees that divided by s. */
    t->first = -2 * s + s / 2;
    t->count = 4 * s;
    for (int32_t i = 0; i < t->count; i++)
        t->weights[i] = dukd_resample_kernel(2 * (t->first + i) - (s - 1), s);
    shorten(t, 16 * s * s * s * s);
}

void dukd_resample_up(dukd_resample_taps *t, int32_t s, int32_t phase) {
    /* Output o = s q + phase is centred on (o + 1/2) / s - 1/2 = q + (2 phase + 1 - s) / (2 s). */
    const int32_t centre = 2 * phase + 1 - s;
    t->first = -2;
    t->count = 5;
    for (int32_t i = 0; i < t->count; i++)
        t->weights[i] = dukd_resample_kernel(2 * s * (t->first + i) - centre, s);
    shorten(t, 16 * s * s * s);
}

int32_t dukd_resample_index(int64_t i, int32_t n, int32_t clamp_border) {
    if (i >= 0 && i < n) return (int32_t)i;
    if (clamp_border) return i < 0 ? 0 : n - 1;
    int64_t m = i % (2 * (int64_t)n); /* the mirrored row repeats after 2 n */
    if (m < 0) m += 2 * (int64_t)n;
    return (int32_t)(m < n ? m : 2 * (int64_t)n - 1 - m);
}
