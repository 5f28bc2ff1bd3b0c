/* Elements of tensors of any strides and type. */
#include "fitnets.h"

#include <math.h>
#include <string.h>

const dukd_dtype fit_f32 = {DUKD_TYPE_FLOAT, 32, 1}, fit_f16 = {DUKD_TYPE_FLOAT, 16, 1},
                 fit_bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

fit_view fit_view_of(const dukd_tensor *t) {
    fit_view v = {(uint8_t *)t->data + t->byte_offset, {0}, t->dtype};
    int64_t dense = t->dtype.bits / 8;
    for (int d = 3; d >= 0; d--) {
        v.stride[d] = t->strides ? t->strides[d] * (t->dtype.bits / 8) : dense;
        dense *= t->shape[d];
    }
    return v;
}

uint8_t *fit_at(const fit_view *v, int64_t n, int64_t c, int64_t y, int64_t x) {
    return v->base + n * v->stride[0] + c * v->stride[1] + y * v->stride[2] + x * v->stride[3];
}

static double from_f16(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = ldexp(fraction + (exponent ? 1024 : 0), (exponent ? exponent : 1) - 25);
    if (exponent == 31) size = fraction ? (double)NAN : (double)INFINITY;
    return bits & 0x8000 ? -size : size;
}

static double from_bf16(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* The nearest multiple of the spacing that f16 has there, ties to even. */
static uint16_t to_f16(float value) {
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const float size = fabsf(value);
    if (isnan(value)) return 0x7e00;
    int exponent = size >= 0x1p-14f && !isinf(size) ? ilogbf(size) : isinf(size) ? 16 : -14;
    double units = nearbyint(ldexp((double)size, 10 - exponent)); /* of 2^(exponent - 10) */
    if (units >= 2048) exponent++, units /= 2;
    if (exponent > 15) return sign | 0x7c00;
    return (uint16_t)(sign | (units < 1024 ? 0 : (exponent + 15) << 10) | ((int)units & 1023));
}

double fit_load(const fit_view *v, const uint8_t *at) {
    uint16_t half;
    float value;
    if (v->type.bits == 16) {
        memcpy(&half, at, sizeof half);
        return v->type.code == DUKD_TYPE_BFLOAT ? from_bf16(half) : from_f16(half);
    }
    memcpy(&value, at, sizeof value);
    return (double)value;
}

void fit_store(const fit_view *v, uint8_t *at, double value) {
    const float single = (float)value;
    if (v->type.bits == 16) {
        const uint16_t half = v->type.code == DUKD_TYPE_BFLOAT ? to_bf16(single) : to_f16(single);
        memcpy(at, &half, sizeof half);
    } else {
        memcpy(at, &single, sizeof single);
    }
}
