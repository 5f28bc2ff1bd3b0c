/* Four f32 at a time, by the compiler's own vectors: any processor; see ops_vec.h. */
#ifndef DUKD_OPS_VEC_PLAIN_H
#define DUKD_OPS_VEC_PLAIN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 4
typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_bits __attribute__((vector_size(16)));

ALWAYS_INLINE vec vec_set(float x) {
    return (vec){x, x, x, x};
}
ALWAYS_INLINE vec vec_blend(vec_bits mask, vec x, vec y) {
    return (vec)((mask & (vec_bits)x) | (~mask & (vec_bits)y));
}
ALWAYS_INLINE vec vec_load(const float *p) {
    vec x;
    memcpy(&x, p, sizeof x);
    return x;
}
ALWAYS_INLINE void vec_store(float *p, vec x) {
    memcpy(p, &x, sizeof x);
}
ALWAYS_INLINE vec vec_get_f32(const float *p, int64_t left) {
    vec x = {0};
    memcpy(&x, p, left >= LANES ? sizeof x : (size_t)left * sizeof *p);
    return x;
}
ALWAYS_INLINE void vec_put_f32(float *p, vec x, int64_t left) {
    memcpy(p, &x, left >= LANES ? sizeof x : (size_t)left * sizeof *p);
}
ALWAYS_INLINE vec vec_get_bf16(const uint16_t *p, int64_t left) {
    uint16_t h[LANES] = {0};
    memcpy(h, p, left >= LANES ? sizeof h : (size_t)left * sizeof *p);
    vec_bits x = {h[0], h[1], h[2], h[3]};
    return (vec)(x << 16);
}
ALWAYS_INLINE void vec_put_bf16(uint16_t *p, vec x, int64_t left) {
    uint32_t bits[LANES];
    uint16_t h[LANES];
    memcpy(bits, &x, sizeof bits);
    for (int i = 0; i < LANES; i++) {
        uint32_t rounded = (bits[i] + 0x7FFFu + ((bits[i] >> 16) & 1u)) >> 16;
        uint32_t nan = (bits[i] >> 16) | 0x40u;
        h[i] = (uint16_t)((bits[i] & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded);
    }
    memcpy(p, h, left >= LANES ? sizeof h : (size_t)left * sizeof *p);
}
ALWAYS_INLINE vec vec_keep(vec x, int64_t left) {
    for (int i = (int)(left < LANES ? left : LANES); i < LANES; i++) x[i] = 0;
    return x;
}
ALWAYS_INLINE vec vec_add(vec a, vec b) {
    return a + b;
}
ALWAYS_INLINE vec vec_sub(vec a, vec b) {
    return a - b;
}
ALWAYS_INLINE vec vec_mul(vec a, vec b) {
    return a * b;
}
ALWAYS_INLINE vec vec_div(vec a, vec b) {
    return a / b;
}
ALWAYS_INLINE vec vec_sqrt(vec a) {
    for (int i = 0; i < LANES; i++) a[i] = sqrtf(a[i]);
    return a;
}
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) {
    return a * b + c;
}
ALWAYS_INLINE vec vec_max(vec a, vec b) {
    return vec_blend(a > b, a, b);
}
ALWAYS_INLINE vec vec_min(vec a, vec b) {
    return vec_blend(a < b, a, b);
}
ALWAYS_INLINE vec vec_abs(vec a) {
    return (vec)((vec_bits)a & 0x7FFFFFFF);
}
ALWAYS_INLINE vec vec_greater(vec a, vec b, vec x, vec y) {
    return vec_blend(a > b, x, y);
}
ALWAYS_INLINE vec vec_equal(vec a, vec b, vec x, vec y) {
    return vec_blend(a == b, x, y);
}
ALWAYS_INLINE vec vec_round(vec a) {
    vec big = vec_set(12582912); /* 1.5 2^23: no bits are left for a fraction */
    return a + big - big;
}
ALWAYS_INLINE vec vec_scale(vec a, vec n) {
    vec_bits exponent = __builtin_convertvector(n, vec_bits) + 127;
    return a * (vec)(exponent << 23);
}
ALWAYS_INLINE float vec_sum(vec a) {
    return (a[0] + a[2]) + (a[1] + a[3]);
}
ALWAYS_INLINE void vec_transpose(vec x[LANES]) {
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < i; j++) {
            float t = x[i][j];
            x[i][j] = x[j][i];
            x[j][i] = t;
        }
}

#endif
