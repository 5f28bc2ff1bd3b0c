/* Tensors of any type and any strides for tests of sessions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_tensors.h"

const dukd_dtype fixture_f32 = {DUKD_TYPE_FLOAT, 32, 1}, fixture_f16 = {DUKD_TYPE_FLOAT, 16, 1},
                 fixture_bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

size_t fixture_dtype_size(dukd_dtype type) {
    return type.bits / 8u;
}

/* The biased exponent of infinities and NaN. */
static int special(int least_exponent) {
    return 3 - 2 * least_exponent;
}

/* By the definition of the formats: sign, exponent, `mantissa` bits; to nearest, ties to even. */
static uint16_t to_half(double x, int mantissa, int least_exponent) {
    const uint16_t sign = signbit(x) ? 0x8000u : 0;
    int exponent;
    x = fabs(x);
    if (x == 0) return sign;
    if (isnan(x)) return 0x7fffu;
    if (isinf(x)) return (uint16_t)(sign | (unsigned)special(least_exponent) << mantissa);
    frexp(x, &exponent);
    if (exponent - 1 < least_exponent) exponent = least_exponent + 1;
    const double unit = ldexp(1, exponent - 1 - mantissa);
    const double units = nearbyint(x / unit); /* may reach the next power of two: the sum below carries */
    const int biased = exponent - 1 - least_exponent;
    return (uint16_t)(sign | (((unsigned)biased << mantissa) + (unsigned)units));
}

static double from_half(uint16_t h, int mantissa, int least_exponent) {
    const int biased = (h & 0x7fff) >> mantissa, fraction = h & ((1 << mantissa) - 1);
    if (biased == special(least_exponent) && fraction != 0) return NAN;
    const double x = biased == special(least_exponent) ? (double)INFINITY
                     : biased == 0
                         ? ldexp(fraction, least_exponent - mantissa)
                         : ldexp(fraction + (1 << mantissa), biased - 1 + least_exponent - mantissa);
    return (h & 0x8000u) != 0 ? -x : x;
}

static char *element(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j) {
    const int64_t index[4] = {n, c, i, j};
    int64_t at = 0, dense = 1;
    for (int d = 3; d >= 0; d--) {
        at += index[d] * (t->strides != NULL ? t->strides[d] : dense);
        dense *= t->shape[d];
    }
    return (char *)t->data + t->byte_offset + at * (int64_t)fixture_dtype_size(t->dtype);
}

double fixture_get(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j) {
    const char *p = element(t, n, c, i, j);
    if (t->dtype.bits == 32) {
        float x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return t->dtype.code == DUKD_TYPE_FLOAT ? from_half(h, 10, -14) : from_half(h, 7, -126);
}

void fixture_set(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j, double value) {
    char *p = element(t, n, c, i, j);
    if (t->dtype.bits == 32) {
        const float x = (float)value;
        memcpy(p, &x, sizeof x);
        return;
    }
    const uint16_t h = t->dtype.code == DUKD_TYPE_FLOAT ? to_half(value, 10, -14) : to_half(value, 7, -126);
    memcpy(p, &h, sizeof h);
}

int64_t fixture_count(const dukd_tensor *t) {
    return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
}

void fixture_tensor_make(fixture_tensor *t, const int64_t shape[4], dukd_dtype type, fixture_layout layout) {
    const int64_t n = shape[0], c = shape[1], h = shape[2], w = shape[3],
                  size = (int64_t)fixture_dtype_size(type);
    int64_t elements = n * c * h * w, first = 0;
    memset(t, 0, sizeof *t);
    memcpy(t->shape, shape, sizeof t->shape);
    t->tensor = (dukd_tensor){
        .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = type, .shape = t->shape, .strides = t->strides};
    switch (layout) {
    case LAYOUT_CHANNELS_LAST:
        memcpy(t->strides, ((const int64_t[4]){h * w * c, 1, w * c, c}), sizeof t->strides);
        break;
    case LAYOUT_REVERSED:
        memcpy(t->strides, ((const int64_t[4]){c * h * w, h * w, -w, -1}), sizeof t->strides);
        first = h * w - 1;
        break;
    case LAYOUT_SLICED:
        memcpy(t->strides,
               ((const int64_t[4]){c * (h + 1) * (2 * w + 3) + 5, (h + 1) * (2 * w + 3), 2 * w + 3, 2}),
               sizeof t->strides);
        first = 7;
        elements = first + n * t->strides[0];
        t->tensor.byte_offset = (uint64_t)(first * size);
        break;
    default:
        t->tensor.strides = NULL;
    }
    t->bytes = (size_t)(elements * size);
    t->memory = malloc(t->bytes);
    assert_non_null(t->memory);
    memset(t->memory, 0xff, t->bytes);
    t->tensor.data = (char *)t->memory + (t->tensor.byte_offset != 0 ? 0 : first * size);
}

void fixture_tensor_free(fixture_tensor *t) {
    free(t->memory);
    memset(t, 0, sizeof *t);
}
