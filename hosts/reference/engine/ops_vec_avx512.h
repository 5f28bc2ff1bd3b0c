/* Sixteen f32 at a time, by AVX-512 (F, BW, DQ, VL); see ops_vec.h. */
#ifndef DUKD_OPS_VEC_AVX512_H
#define DUKD_OPS_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define LANES 16
typedef __m512 vec;

ALWAYS_INLINE __mmask16 vec_first(int64_t n) {
    return (__mmask16)((1u << n) - 1u);
}
ALWAYS_INLINE vec vec_set(float x) {
    return _mm512_set1_ps(x);
}
ALWAYS_INLINE vec vec_load(const float *p) {
    return _mm512_loadu_ps(p);
}
ALWAYS_INLINE void vec_store(float *p, vec x) {
    _mm512_storeu_ps(p, x);
}
ALWAYS_INLINE vec vec_get_f32(const float *p, int64_t left) {
    return left >= LANES ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(vec_first(left), p);
}
ALWAYS_INLINE void vec_put_f32(float *p, vec x, int64_t left) {
    if (left >= LANES)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, vec_first(left), x);
}
ALWAYS_INLINE vec vec_get_bf16(const uint16_t *p, int64_t left) {
    __m256i h = left >= LANES ? _mm256_loadu_si256((const __m256i *)(const void *)p)
                              : _mm256_maskz_loadu_epi16(vec_first(left), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
#ifdef __AVX512BF16__
#define VEC_PAIRS 1
ALWAYS_INLINE void vec_put_bf16(uint16_t *p, vec x, int64_t left) {
    __m256i h = (__m256i)_mm512_cvtneps_pbh(x);
    if (left >= LANES)
        _mm256_storeu_si256((__m256i *)(void *)p, h);
    else
        _mm256_mask_storeu_epi16(p, vec_first(left), h);
}
ALWAYS_INLINE vec vec_dot(vec a, vec b, vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}
ALWAYS_INLINE vec vec_row(vec a, vec b) {
    return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(b, a));
}
ALWAYS_INLINE vec vec_pairs(vec a, vec b) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(vec_row(a, b))));
}
ALWAYS_INLINE vec vec_zip(vec a, vec b) {
    return _mm512_castsi512_ps(
        _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(a), 16), _mm512_castps_si512(b)));
}
ALWAYS_INLINE vec vec_get_row(const uint16_t *p, int64_t left) {
    __mmask32 there = left >= 2 * LANES ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(there, p));
}
ALWAYS_INLINE void vec_put_row(uint16_t *p, vec x, int64_t left) {
    __mmask32 there = left >= 2 * LANES ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    _mm512_mask_storeu_epi16(p, there, _mm512_castps_si512(x));
}
/* 2^x to a relative 8e-5, which bf16 does not see; what is less than 2^-126 is nearly 0. */
ALWAYS_INLINE vec vec_exp2_rough(vec x) {
    x = _mm512_max_ps(_mm512_set1_ps(-126), x); /* in this order of operands a NaN stays */
    vec r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vec p = _mm512_fmadd_ps(_mm512_set1_ps(.0780245226f), r, _mm512_set1_ps(.226067155f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(.695833540f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(.999925219f));
    return _mm512_scalef_ps(p, x); /* by the whole part of x */
}
#else
ALWAYS_INLINE void vec_put_bf16(uint16_t *p, vec x, int64_t left) {
    __m512i u = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), one);
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7FFF)), odd);
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    __m512i bits = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet);
    const __m512i odds =
        _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 31, 29, 27, 25, 23, 21,
                         19, 17, 15, 13, 11, 9, 7, 5, 3, 1); /* upper halves */
    __m256i h = _mm512_castsi512_si256(_mm512_permutexvar_epi16(odds, bits));
    if (left >= LANES)
        _mm256_storeu_si256((__m256i *)(void *)p, h);
    else
        _mm256_mask_storeu_epi16(p, vec_first(left), h);
}
#endif
ALWAYS_INLINE vec vec_keep(vec x, int64_t left) {
    return left >= LANES ? x : _mm512_maskz_mov_ps(vec_first(left), x);
}
ALWAYS_INLINE vec vec_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
ALWAYS_INLINE vec vec_sub(vec a, vec b) {
    return _mm512_sub_ps(a, b);
}
ALWAYS_INLINE vec vec_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
ALWAYS_INLINE vec vec_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}
ALWAYS_INLINE vec vec_sqrt(vec a) {
    return _mm512_sqrt_ps(a);
}
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) { /* a b + c */
    return _mm512_fmadd_ps(a, b, c);
}
/* b where either is NaN */
ALWAYS_INLINE vec vec_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}
ALWAYS_INLINE vec vec_min(vec a, vec b) {
    return _mm512_min_ps(a, b);
}
ALWAYS_INLINE vec vec_abs(vec a) {
    return _mm512_abs_ps(a);
}
/* a > b ? x : y; y where either is NaN */
ALWAYS_INLINE vec vec_greater(vec a, vec b, vec x, vec y) {
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), x);
}
/* a == b ? x : y */
ALWAYS_INLINE vec vec_equal(vec a, vec b, vec x, vec y) {
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), x);
}
ALWAYS_INLINE vec vec_round(vec a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for a whole n of -126 .. 127 */
ALWAYS_INLINE vec vec_scale(vec a, vec n) {
    return _mm512_scalef_ps(a, n);
}
ALWAYS_INLINE float vec_sum(vec a) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
ALWAYS_INLINE void vec_transpose(vec x[LANES]) {
    vec a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int j = 0; j < 4; j++) { /* 4 x 4 groups of 128 bits */
        vec p = _mm512_shuffle_f32x4(b[j], b[j + 4], 0x88), q = _mm512_shuffle_f32x4(b[j], b[j + 4], 0xDD);
        vec r = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0x88);
        vec s = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0xDD);
        x[j] = _mm512_shuffle_f32x4(p, r, 0x88);
        x[j + 4] = _mm512_shuffle_f32x4(q, s, 0x88);
        x[j + 8] = _mm512_shuffle_f32x4(p, r, 0xDD);
        x[j + 12] = _mm512_shuffle_f32x4(q, s, 0xDD);
    }
}

#endif
