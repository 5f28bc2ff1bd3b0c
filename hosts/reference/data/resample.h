/* The bicubic kernel of MATLAB's imresize for whole factors, in integers.
 *
 * Keys' cubic with a = -0.5: k(x) = 1.5|x|^3 - 2.5|x|^2 + 1 up to 1, -0.5|x|^3 + 2.5|x|^2 - 4|x| + 2 up to 2, else 0.
 * All distances between samples and outputs are multiples of 1/(2s), so 16 s^3 k(n / (2s)) is an integer: sums are exact in any
 * order and ties are ties. Outputs are sums / total; totals are powers of s times powers of two, and what the kernel gives sums to
 * them exactly (it is a partition of unity), so "normalised" needs no division. */
#ifndef DUKD_RESAMPLE_H
#define DUKD_RESAMPLE_H

#include <stdint.h>

#define DUKD_RESAMPLE_MAX_SCALE 8
#define DUKD_RESAMPLE_MAX_TAPS  (4 * DUKD_RESAMPLE_MAX_SCALE)

/* 16 s^3 k(n / (2s)); s: 1..8. Within +-16 s^3. */
int32_t dukd_resample_kernel(int32_t n, int32_t s);

/* Output o = sum of weights[i] * input[o * s + first + i] over i < count, divided by total. */
typedef struct {
    int32_t count, first;
    int32_t weights[DUKD_RESAMPLE_MAX_TAPS]; /* |sum of products with bytes| < 2^31 */
    int32_t total;
} dukd_resample_taps;

/* Down by s: the kernel widened by s, the same for every output. */
void dukd_resample_down(dukd_resample_taps *t, int32_t s);
/* Up by s, for outputs o with o mod s == phase: output = sum weights[i] * input[o / s + first + i] / total; 4 or 3 taps. */
void dukd_resample_up(dukd_resample_taps *t, int32_t s, int32_t phase);

/* Where index i, which may lie outside 0..n-1, is read: mirrored with the edge sample repeated, or the nearest edge. */
int32_t dukd_resample_index(int64_t i, int32_t n, int32_t clamp_border);

#endif
