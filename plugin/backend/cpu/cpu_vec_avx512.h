/* Sixteen f32 at a time, by AVX-512 (F, BW, DQ, VL). Same names and same results as cpu_vec_avx2.h.
 *
 * v16: 16 x f32 in element order. d16: 16 x f64 in element order. "part" takes the first n of 16 elements, 1
 * <= n <= 16, and touches no memory past them; the rest is zero. raw16: 16-bit elements zero-extended into
 * the bits of an f32 lane. */
#ifndef DUKD_CPU_VEC_AVX512_H
#define DUKD_CPU_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512 v16;
typedef struct {
    __m512d lo, hi;
} d16;

static inline __mmask16 v16_first(int64_t n) {
    return (__mmask16)((1u << n) - 1u);
}

/* ---- loads and stores */
static inline v16 v16_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline v16 v16_load_part(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps(v16_first(n), p);
}
static inline void v16_store(float *p, v16 x) {
    _mm512_storeu_ps(p, x);
}
static inline void v16_store_part(float *p, v16 x, int64_t n) {
    _mm512_mask_storeu_ps(p, v16_first(n), x);
}
static inline void v16_stream(float *p, v16 x) {
    _mm512_stream_ps(p, x);
}

typedef __m256i h16; /* 16 x 16 bits */
static inline h16 h16_load(const uint16_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline h16 h16_load_part(const uint16_t *p, int64_t n) {
    return _mm256_maskz_loadu_epi16(v16_first(n), p);
}
static inline void h16_store(uint16_t *p, h16 x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}
static inline void h16_store_part(uint16_t *p, h16 x, int64_t n) {
    _mm256_mask_storeu_epi16(p, v16_first(n), x);
}
static inline void h16_stream(uint16_t *p, h16 x) {
    _mm256_stream_si256((__m256i *)(void *)p, x);
}

/* ---- conversions */
static inline v16 v16_of_raw16(h16 x) {
    return _mm512_castsi512_ps(_mm512_cvtepu16_epi32(x));
}
static inline v16 v16_of_bf16(h16 x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
static inline v16 v16_of_f16(h16 x) {
    return _mm512_cvtph_ps(x);
}
static inline h16 raw16_of_v16(v16 x) {
    return _mm512_cvtepi32_epi16(_mm512_castps_si512(x));
}
static inline h16 f16_of_v16(v16 x) {
    return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* By integers, as the instruction of AVX512_BF16 takes subnormal numbers for zero. */
static inline h16 bf16_of_v16(v16 x) {
    const __m512i u = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, is_nan, quiet), 16));
}

/* ---- f32 */
static inline v16 v16_set(float x) {
    return _mm512_set1_ps(x);
}
static inline v16 v16_add(v16 a, v16 b) {
    return _mm512_add_ps(a, b);
}
static inline v16 v16_sub(v16 a, v16 b) {
    return _mm512_sub_ps(a, b);
}
static inline v16 v16_xor(v16 a, v16 b) {
    return _mm512_xor_ps(a, b);
}
/* factor x sign(d), where sign(0) is 0; with d NaN, anything */
static inline __m512 v16_signed(v16 factor, v16 d) {
    const __mmask16 not_zero = _mm512_cmp_ps_mask(d, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    return _mm512_castsi512_ps(_mm512_maskz_ternarylogic_epi32(
        not_zero, _mm512_castps_si512(factor), _mm512_castps_si512(d), sign, 0x78)); /* a ^ (b & c) */
}
static inline __m512 v16_nan(void) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
}
/* f x sign(d); NaN where d is */
static inline v16 v16_gradient(v16 f, v16 d) {
    return _mm512_mask_mov_ps(v16_nan(), _mm512_cmp_ps_mask(d, d, _CMP_ORD_Q), v16_signed(f, d));
}
/* f x sign(d) + g x sign(e); NaN where d or e is */
static inline v16 v16_gradient_two(v16 f, v16 d, v16 g, v16 e) {
    return _mm512_mask_add_ps(v16_nan(), _mm512_cmp_ps_mask(d, e, _CMP_ORD_Q), v16_signed(f, d),
                              v16_signed(g, e));
}
/* a b + c, rounded once */
static inline v16 v16_fma(v16 a, v16 b, v16 c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* What a product holds in registers: so many rows of so many v16 of the result. */
#define PRODUCT_ROWS    12
#define PRODUCT_VECTORS 2
static inline v16 v16_reverse(v16 x) {
    const __m512i order = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_permutexvar_ps(order, x);
}
/* x[i][j] and x[j][i] exchanged */
static inline void v16_transpose(v16 x[16]) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    /* b[i + j]: column j of every 128 bits, of rows i .. i + 3 */
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    /* then the 4 x 4 transpose of the groups of 128 bits */
    for (int j = 0; j < 4; j++) {
        const __m512 p = _mm512_shuffle_f32x4(b[j], b[j + 4], 0x88),
                     q = _mm512_shuffle_f32x4(b[j], b[j + 4], 0xdd);
        const __m512 r = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0x88),
                     s = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0xdd);
        x[j] = _mm512_shuffle_f32x4(p, r, 0x88);
        x[j + 4] = _mm512_shuffle_f32x4(q, s, 0x88);
        x[j + 8] = _mm512_shuffle_f32x4(p, r, 0xdd);
        x[j + 12] = _mm512_shuffle_f32x4(q, s, 0xdd);
    }
}

/* ---- f64 */
static inline d16 d16_zero(void) {
    return (d16){_mm512_setzero_pd(), _mm512_setzero_pd()};
}
static inline d16 d16_load(const double *p) {
    return (d16){_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)};
}
static inline void d16_store(double *p, d16 x) {
    _mm512_storeu_pd(p, x.lo);
    _mm512_storeu_pd(p + 8, x.hi);
}
static inline d16 d16_of_v16(v16 x) {
    return (d16){_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
}
static inline v16 v16_of_d16(d16 x) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(x.lo)), _mm512_cvtpd_ps(x.hi), 1);
}
/* sum + |x| */
static inline d16 d16_add_abs(d16 sum, v16 x) {
    const d16 y = d16_of_v16(_mm512_abs_ps(x));
    return (d16){_mm512_add_pd(sum.lo, y.lo), _mm512_add_pd(sum.hi, y.hi)};
}
/* sum + weight x, rounded twice as plain C does */
static inline d16 d16_add_times(d16 sum, double weight, d16 x) {
    const __m512d w = _mm512_set1_pd(weight);
    return (d16){_mm512_add_pd(sum.lo, _mm512_mul_pd(w, x.lo)),
                 _mm512_add_pd(sum.hi, _mm512_mul_pd(w, x.hi))};
}

static inline void v16_fence(void) {
    _mm_sfence();
}
static inline void v16_prefetch(const void *p) {
    _mm_prefetch((const char *)p, _MM_HINT_NTA);
}

#endif
