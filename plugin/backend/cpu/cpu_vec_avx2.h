/* Sixteen f32 at a time, by AVX2 and F16C, as two halves. Same names and same results as cpu_vec_avx512.h.
 *
 * v16: 16 x f32 in element order. d16: 16 x f64 in element order. "part" takes the first n of 16 elements, 1
 * <= n <= 16, and touches no memory past them; the rest is zero. raw16: 16-bit elements zero-extended into
 * the bits of an f32 lane. */
#ifndef DUKD_CPU_VEC_AVX2_H
#define DUKD_CPU_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    __m256 lo, hi;
} v16;
typedef struct {
    __m256d q[4];
} d16;

/* lanes 8 * half .. of the first n */
static inline __m256i v16_first(int64_t n, int half) {
    const __m256i lane =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(8 * half));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* ---- loads and stores */
static inline v16 v16_load(const float *p) {
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline v16 v16_load_part(const float *p, int64_t n) {
    return (v16){_mm256_maskload_ps(p, v16_first(n, 0)), _mm256_maskload_ps(p + 8, v16_first(n, 1))};
}
static inline void v16_store(float *p, v16 x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
static inline void v16_store_part(float *p, v16 x, int64_t n) {
    _mm256_maskstore_ps(p, v16_first(n, 0), x.lo);
    _mm256_maskstore_ps(p + 8, v16_first(n, 1), x.hi);
}
static inline void v16_stream(float *p, v16 x) {
    _mm256_stream_ps(p, x.lo);
    _mm256_stream_ps(p + 8, x.hi);
}

typedef __m256i h16; /* 16 x 16 bits */
static inline h16 h16_load(const uint16_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline h16 h16_load_part(const uint16_t *p, int64_t n) {
    uint16_t all[16] = {0};
    memcpy(all, p, (size_t)n * sizeof *p);
    return h16_load(all);
}
static inline void h16_store(uint16_t *p, h16 x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}
static inline void h16_store_part(uint16_t *p, h16 x, int64_t n) {
    uint16_t all[16];
    h16_store(all, x);
    memcpy(p, all, (size_t)n * sizeof *p);
}
static inline void h16_stream(uint16_t *p, h16 x) {
    _mm256_stream_si256((__m256i *)(void *)p, x);
}

/* ---- conversions */
static inline v16 v16_of_integers(__m256i lo, __m256i hi) {
    return (v16){_mm256_castsi256_ps(lo), _mm256_castsi256_ps(hi)};
}
static inline v16 v16_of_raw16(h16 x) {
    return v16_of_integers(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),
                           _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)));
}
static inline v16 v16_of_bf16(h16 x) {
    return v16_of_integers(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)), 16),
                           _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)), 16));
}
static inline v16 v16_of_f16(h16 x) {
    return (v16){_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))};
}
/* packus works within 128 bits: the quarters come out as lo0 hi0 lo1 hi1 */
static inline h16 h16_pack(__m256i lo, __m256i hi) {
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8);
}
static inline h16 raw16_of_v16(v16 x) {
    return h16_pack(_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi));
}
static inline h16 f16_of_v16(v16 x) {
    return _mm256_set_m128i(_mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                            _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline __m256i bf16_half(__m256 x) {
    const __m256i u = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
}
static inline h16 bf16_of_v16(v16 x) {
    return h16_pack(bf16_half(x.lo), bf16_half(x.hi));
}

/* ---- f32 */
static inline v16 v16_set(float x) {
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
static inline v16 v16_add(v16 a, v16 b) {
    return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
static inline v16 v16_sub(v16 a, v16 b) {
    return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
static inline v16 v16_xor(v16 a, v16 b) {
    return (v16){_mm256_xor_ps(a.lo, b.lo), _mm256_xor_ps(a.hi, b.hi)};
}
/* factor x sign(d), where sign(0) is 0; with d NaN, anything */
static inline __m256 signed_half(__m256 factor, __m256 d) {
    const __m256 negative =
        _mm256_xor_ps(factor, _mm256_set1_ps(-0.0f)); /* the same in every round of a loop */
    return _mm256_and_ps(_mm256_blendv_ps(factor, negative, d),
                         _mm256_cmp_ps(d, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}
/* x, or NaN where d or e is */
static inline __m256 nan_half(__m256 x, __m256 d, __m256 e) {
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return _mm256_blendv_ps(x, nan, _mm256_cmp_ps(d, e, _CMP_UNORD_Q));
}
/* f x sign(d); NaN where d is */
static inline v16 v16_gradient(v16 f, v16 d) {
    return (v16){nan_half(signed_half(f.lo, d.lo), d.lo, d.lo),
                 nan_half(signed_half(f.hi, d.hi), d.hi, d.hi)};
}
/* f x sign(d) + g x sign(e); NaN where d or e is */
static inline v16 v16_gradient_two(v16 f, v16 d, v16 g, v16 e) {
    const __m256 lo = _mm256_add_ps(signed_half(f.lo, d.lo), signed_half(g.lo, e.lo));
    const __m256 hi = _mm256_add_ps(signed_half(f.hi, d.hi), signed_half(g.hi, e.hi));
    return (v16){nan_half(lo, d.lo, e.lo), nan_half(hi, d.hi, e.hi)};
}
/* a b + c, rounded once */
static inline v16 v16_fma(v16 a, v16 b, v16 c) {
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/* What a product holds in registers: so many rows of so many v16 of the result. */
#define PRODUCT_ROWS    6
#define PRODUCT_VECTORS 1
static inline v16 v16_reverse(v16 x) {
    const __m256i order = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return (v16){_mm256_permutevar8x32_ps(x.hi, order), _mm256_permutevar8x32_ps(x.lo, order)};
}
static inline void transpose_8x8(__m256 x[8]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) {
        x[j] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x20);
        x[j + 4] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x31);
    }
}
/* x[i][j] and x[j][i] exchanged */
static inline void v16_transpose(v16 x[16]) {
    __m256 corner[4][8]; /* top left, top right, bottom left, bottom right */
    for (int i = 0; i < 8; i++) {
        corner[0][i] = x[i].lo;
        corner[1][i] = x[i].hi;
        corner[2][i] = x[i + 8].lo;
        corner[3][i] = x[i + 8].hi;
    }
    for (int i = 0; i < 4; i++) {
        transpose_8x8(corner[i]);
    }
    for (int i = 0; i < 8; i++) {
        x[i] = (v16){corner[0][i], corner[2][i]};
        x[i + 8] = (v16){corner[1][i], corner[3][i]};
    }
}

/* ---- f64 */
static inline d16 d16_zero(void) {
    const __m256d zero = _mm256_setzero_pd();
    return (d16){{zero, zero, zero, zero}};
}
static inline d16 d16_load(const double *p) {
    return (d16){
        {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4), _mm256_loadu_pd(p + 8), _mm256_loadu_pd(p + 12)}};
}
static inline void d16_store(double *p, d16 x) {
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_pd(p + 4 * i, x.q[i]);
    }
}
static inline d16 d16_of_v16(v16 x) {
    return (d16){
        {_mm256_cvtps_pd(_mm256_castps256_ps128(x.lo)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.lo, 1)),
         _mm256_cvtps_pd(_mm256_castps256_ps128(x.hi)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.hi, 1))}};
}
static inline v16 v16_of_d16(d16 x) {
    return (v16){_mm256_set_m128(_mm256_cvtpd_ps(x.q[1]), _mm256_cvtpd_ps(x.q[0])),
                 _mm256_set_m128(_mm256_cvtpd_ps(x.q[3]), _mm256_cvtpd_ps(x.q[2]))};
}
/* sum + |x| */
static inline d16 d16_add_abs(d16 sum, v16 x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const d16 y = d16_of_v16((v16){_mm256_andnot_ps(sign, x.lo), _mm256_andnot_ps(sign, x.hi)});
    for (int i = 0; i < 4; i++) {
        sum.q[i] = _mm256_add_pd(sum.q[i], y.q[i]);
    }
    return sum;
}
/* sum + weight x, rounded twice as plain C does */
static inline d16 d16_add_times(d16 sum, double weight, d16 x) {
    const __m256d w = _mm256_set1_pd(weight);
    for (int i = 0; i < 4; i++) {
        sum.q[i] = _mm256_add_pd(sum.q[i], _mm256_mul_pd(w, x.q[i]));
    }
    return sum;
}

static inline void v16_fence(void) {
    _mm_sfence();
}
static inline void v16_prefetch(const void *p) {
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

#endif
