/* Eight f32 at a time, by AVX2 and FMA; see ops_vec.h. */
#ifndef DUKD_OPS_VEC_AVX2_H
#define DUKD_OPS_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define LANES 8
typedef __m256 vec;

ALWAYS_INLINE __m256i vec_first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
ALWAYS_INLINE vec vec_set(float x) {
    return _mm256_set1_ps(x);
}
ALWAYS_INLINE vec vec_load(const float *p) {
    return _mm256_loadu_ps(p);
}
ALWAYS_INLINE void vec_store(float *p, vec x) {
    _mm256_storeu_ps(p, x);
}
ALWAYS_INLINE vec vec_get_f32(const float *p, int64_t left) {
    return left >= LANES ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, vec_first(left));
}
ALWAYS_INLINE void vec_put_f32(float *p, vec x, int64_t left) {
    if (left >= LANES)
        _mm256_storeu_ps(p, x);
    else
        _mm256_maskstore_ps(p, vec_first(left), x);
}
ALWAYS_INLINE vec vec_get_bf16(const uint16_t *p, int64_t left) {
    __m128i h = _mm_setzero_si128();
    if (left >= LANES) {
        h = _mm_loadu_si128((const __m128i *)(const void *)p);
    } else {
        uint16_t part[LANES] = {0};
        memcpy(part, p, (size_t)left * sizeof *p);
        h = _mm_loadu_si128((const __m128i *)(const void *)part);
    }
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
ALWAYS_INLINE void vec_put_bf16(uint16_t *p, vec x, int64_t left) {
    __m256i u = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7FFF)), odd);
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    __m256i bits = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(bits, bits), 0x08);
    __m128i h = _mm256_castsi256_si128(halves);
    if (left >= LANES) {
        _mm_storeu_si128((__m128i *)(void *)p, h);
    } else {
        uint16_t part[LANES];
        _mm_storeu_si128((__m128i *)(void *)part, h);
        memcpy(p, part, (size_t)left * sizeof *p);
    }
}
ALWAYS_INLINE vec vec_keep(vec x, int64_t left) {
    return left >= LANES ? x : _mm256_and_ps(x, _mm256_castsi256_ps(vec_first(left)));
}
ALWAYS_INLINE vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
ALWAYS_INLINE vec vec_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}
ALWAYS_INLINE vec vec_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
ALWAYS_INLINE vec vec_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}
ALWAYS_INLINE vec vec_sqrt(vec a) {
    return _mm256_sqrt_ps(a);
}
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
ALWAYS_INLINE vec vec_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
ALWAYS_INLINE vec vec_min(vec a, vec b) {
    return _mm256_min_ps(a, b);
}
ALWAYS_INLINE vec vec_abs(vec a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a);
}
ALWAYS_INLINE vec vec_greater(vec a, vec b, vec x, vec y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
ALWAYS_INLINE vec vec_equal(vec a, vec b, vec x, vec y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
ALWAYS_INLINE vec vec_round(vec a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
ALWAYS_INLINE vec vec_scale(vec a, vec n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
ALWAYS_INLINE float vec_sum(vec h) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
ALWAYS_INLINE void vec_transpose(vec x[LANES]) {
    vec a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int j = 0; j < 4; j++) {
        x[j] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x20);
        x[j + 4] = _mm256_permute2f128_ps(b[j], b[j + 4], 0x31);
    }
}

#endif
