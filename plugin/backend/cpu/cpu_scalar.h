/* One element of any of the three types as f32, in plain C: the reference's arithmetic and everybody's edges.
 *
 * Rounding to 16 bits is to nearest, ties to even; NaN stays NaN (made quiet, payload cut) and gives the same
 * bits as the instructions of F16C, so that every instruction set stores the same gradient. [thread-safe] */
#ifndef DUKD_CPU_SCALAR_H
#define DUKD_CPU_SCALAR_H

#include <stdint.h>
#include <string.h>

typedef enum {
    DUKD_ELEMENT_F32,
    DUKD_ELEMENT_F16,
    DUKD_ELEMENT_BF16,
    DUKD_ELEMENT_RAW16, /* 16 bits that are only moved: in an f32 they are its low bits */
} dukd_element;

/* The type by which elements are copied without being looked at. */
static inline dukd_element dukd_element_raw(dukd_element type) {
    return type == DUKD_ELEMENT_F32 ? type : DUKD_ELEMENT_RAW16;
}

static inline int64_t dukd_element_size(dukd_element type) {
    return type == DUKD_ELEMENT_F32 ? 4 : 2;
}

static inline uint32_t dukd_bits_of_f32(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float dukd_f32_of_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float dukd_f32_of_bf16(uint16_t h) {
    return dukd_f32_of_bits((uint32_t)h << 16);
}

static inline uint16_t dukd_bf16_of_f32(float x) {
    const uint32_t u = dukd_bits_of_f32(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline float dukd_f32_of_f16(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu, mantissa = h & 0x3ffu;
    if (exponent == 0x1fu) { /* Inf, NaN */
        return dukd_f32_of_bits(sign | 0x7f800000u | (mantissa << 13) | (mantissa != 0 ? 0x400000u : 0u));
    }
    if (exponent == 0) { /* zero, subnormal: mantissa x 2^-24, exact in f32 */
        const float magnitude = (float)mantissa * 0x1p-24f;
        return dukd_f32_of_bits(sign | dukd_bits_of_f32(magnitude));
    }
    return dukd_f32_of_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

static inline uint16_t dukd_f16_of_f32(float x) {
    const uint32_t u = dukd_bits_of_f32(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to Inf */
    if (magnitude < 0x38800000u) {
        /* below 2^-14: adding 0.5 puts the last bit of an f16 subnormal, 2^-24, at the last bit of the f32 */
        return (uint16_t)(sign | (dukd_bits_of_f32(dukd_f32_of_bits(magnitude) + 0.5f) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}

/* Element `index` of an array of `type` that begins at `base`. */
static inline float dukd_element_load(const void *base, dukd_element type, int64_t index) {
    if (type == DUKD_ELEMENT_F32) return ((const float *)base)[index];
    const uint16_t h = ((const uint16_t *)base)[index];
    if (type == DUKD_ELEMENT_F16) return dukd_f32_of_f16(h);
    return type == DUKD_ELEMENT_BF16 ? dukd_f32_of_bf16(h) : dukd_f32_of_bits(h);
}

static inline void dukd_element_store(void *base, dukd_element type, int64_t index, float x) {
    if (type == DUKD_ELEMENT_F32) {
        ((float *)base)[index] = x;
        return;
    }
    uint16_t *h = (uint16_t *)base + index;
    if (type == DUKD_ELEMENT_F16) {
        *h = dukd_f16_of_f32(x);
    } else {
        *h = type == DUKD_ELEMENT_BF16 ? dukd_bf16_of_f32(x) : (uint16_t)dukd_bits_of_f32(x);
    }
}

#endif
