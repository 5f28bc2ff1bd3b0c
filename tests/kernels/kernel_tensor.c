/* Tensors for tests of the backend's kernels. */
#include "kernel_tensor.h"
#include "support/fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILLED_WITH 0xA5

static size_t element_bytes(kernel_type type) {
    return type == KERNEL_F32 ? 4 : 2;
}

static dukd_dtype dtype_of(kernel_type type) {
    const dukd_dtype types[KERNEL_TYPES] = {
        {DUKD_TYPE_FLOAT, 32, 1}, {DUKD_TYPE_FLOAT, 16, 1}, {DUKD_TYPE_BFLOAT, 16, 1}};
    return types[type];
}

void kernel_tensor_make(kernel_tensor *k, kernel_type type, const int64_t shape[4], kernel_layout layout,
                        dukd_guard_side side) {
    *k = (kernel_tensor){.type = type, .layout = layout, .side = side};
    memcpy(k->shape, shape, sizeof k->shape);
    const int64_t c = shape[1], h = shape[2], w = shape[3];
    int64_t *s = k->strides;
    switch (layout) {
    case KERNEL_CHANNELS_LAST:
        s[1] = 1;
        s[3] = c;
        s[2] = s[3] * w;
        s[0] = s[2] * h;
        break;
    case KERNEL_SLICED:
        s[3] = 2;
        s[2] = 2 * (2 * w + 1);
        s[1] = s[2] * h;
        s[0] = s[1] * c;
        break;
    case KERNEL_PADDED:
        s[3] = 1;
        s[2] = w + 3;
        s[1] = s[2] * h + 5;
        s[0] = s[1] * c + 7;
        break;
    case KERNEL_TRANSPOSED:
        s[2] = 1;
        s[3] = h;
        s[1] = h * w;
        s[0] = s[1] * c;
        break;
    case KERNEL_REPEATED:
        s[3] = 1;
        s[2] = w;
        break;
    default:
        s[3] = 1;
        s[2] = w;
        s[1] = w * h;
        s[0] = w * h * c;
        break;
    }
    int64_t last = 0;
    for (int i = 0; i < 4; i++) {
        last += s[i] * (shape[i] - 1);
    }
    int64_t first = 0;
    if (layout == KERNEL_NEGATIVE) {
        first = last;
        for (int i = 0; i < 4; i++) {
            s[i] = -s[i];
        }
    }
    k->bytes = (size_t)(last + 1) * element_bytes(type);
    k->memory = dukd_guard_alloc(k->bytes, side);
    k->t = (dukd_tensor){
        .data = k->memory,
        .device = {DUKD_DEVICE_CPU, 0},
        .ndim = 4,
        .dtype = dtype_of(type),
        .shape = k->shape,
        .strides = layout == KERNEL_DENSE_NULL ? NULL : s,
        .byte_offset = (uint64_t)first * element_bytes(type),
    };
}

void kernel_tensor_free(kernel_tensor *k) {
    dukd_guard_free(k->memory, k->bytes, k->side);
    *k = (kernel_tensor){0};
}

static size_t place(const kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t *s = k->strides, element = n * s[0] + c * s[1] + h * s[2] + w * s[3];
    return (size_t)((int64_t)k->t.byte_offset + element * (int64_t)element_bytes(k->type));
}

uint32_t kernel_tensor_bits(const kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w) {
    uint32_t bits = 0; /* little-endian */
    memcpy(&bits, k->memory + place(k, n, c, h, w), element_bytes(k->type));
    return bits;
}

/* fraction bits and exponent bits of the types */
static const int fraction_bits[KERNEL_TYPES] = {23, 10, 7}, exponent_bits[KERNEL_TYPES] = {8, 5, 8};

double kernel_tensor_get(const kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w) {
    const uint32_t bits = kernel_tensor_bits(k, n, c, h, w);
    const int fraction = fraction_bits[k->type], exponent = exponent_bits[k->type],
              bias = (1 << (exponent - 1)) - 1;
    const int e = (int)((bits >> fraction) & ((1u << exponent) - 1u));
    const uint32_t m = bits & ((1u << fraction) - 1u);
    double x;
    if (e == (1 << exponent) - 1) {
        x = m != 0 ? NAN : INFINITY;
    } else if (e == 0) {
        x = ldexp((double)m, 1 - bias - fraction);
    } else {
        x = ldexp((double)m + (double)(1u << fraction), e - bias - fraction);
    }
    return (bits >> (fraction + exponent)) != 0 ? -x : x;
}

double kernel_round(double x, kernel_type type) {
    if (!isfinite(x) || x == 0.0) return x;
    const int fraction = fraction_bits[type], bias = (1 << (exponent_bits[type] - 1)) - 1;
    int e;
    (void)frexp(x, &e); /* |x| in [2^(e-1), 2^e) */
    int unit = e - 1 - fraction;
    if (unit < 1 - bias - fraction) unit = 1 - bias - fraction;
    const double rounded = ldexp(rint(ldexp(x, -unit)), unit);
    return fabs(rounded) >= ldexp(1.0, bias + 1) ? copysign(INFINITY, x) : rounded;
}

void kernel_tensor_set(kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w, double x) {
    const int fraction = fraction_bits[k->type], exponent = exponent_bits[k->type],
              bias = (1 << (exponent - 1)) - 1;
    const uint32_t all = (1u << exponent) - 1u, sign = signbit(x) ? 1u << (fraction + exponent) : 0u;
    const double a = fabs(kernel_round(x, k->type));
    uint32_t bits;
    if (isnan(x)) {
        bits = all << fraction | 1u << (fraction - 1) | 1u; /* quiet, with a payload */
    } else if (isinf(a)) {
        bits = all << fraction;
    } else if (a < ldexp(1.0, 1 - bias)) {
        bits = (uint32_t)ldexp(a, bias - 1 + fraction);
    } else {
        int e;
        (void)frexp(a, &e);
        bits =
            (uint32_t)(e - 1 + bias) << fraction | ((uint32_t)ldexp(a, fraction + 1 - e) - (1u << fraction));
    }
    bits |= sign;
    memcpy(k->memory + place(k, n, c, h, w), &bits, element_bytes(k->type));
}

void kernel_tensor_fill(kernel_tensor *k, uint64_t seed, double low, double high, double step) {
    uint64_t i = 0;
    for (int64_t n = 0; n < k->shape[0]; n++) {
        for (int64_t c = 0; c < k->shape[1]; c++) {
            for (int64_t h = 0; h < k->shape[2]; h++) {
                for (int64_t w = 0; w < k->shape[3]; w++) {
                    double x = low + (high - low) * ldexp((double)(dukd_fill_bits(seed, i++) >> 11), -53);
                    if (step > 0.0) x = step * floor(x / step);
                    kernel_tensor_set(k, n, c, h, w, x);
                }
            }
        }
    }
}

bool kernel_tensor_same(const kernel_tensor *a, const kernel_tensor *b) {
    if (a->type != b->type || memcmp(a->shape, b->shape, sizeof a->shape) != 0) return false;
    for (int64_t n = 0; n < a->shape[0]; n++) {
        for (int64_t c = 0; c < a->shape[1]; c++) {
            for (int64_t h = 0; h < a->shape[2]; h++) {
                for (int64_t w = 0; w < a->shape[3]; w++) {
                    if (kernel_tensor_bits(a, n, c, h, w) != kernel_tensor_bits(b, n, c, h, w)) return false;
                }
            }
        }
    }
    return true;
}

bool kernel_tensor_margins_whole(const kernel_tensor *k) {
    unsigned char *taken = calloc(k->bytes, 1);
    if (taken == NULL) return false;
    for (int64_t n = 0; n < k->shape[0]; n++) {
        for (int64_t c = 0; c < k->shape[1]; c++) {
            for (int64_t h = 0; h < k->shape[2]; h++) {
                for (int64_t w = 0; w < k->shape[3]; w++) {
                    memset(taken + place(k, n, c, h, w), 1, element_bytes(k->type));
                }
            }
        }
    }
    bool whole = true;
    for (size_t i = 0; i < k->bytes; i++) {
        whole = whole && (taken[i] != 0 || k->memory[i] == FILLED_WITH);
    }
    free(taken);
    return whole;
}

void kernel_augment_place(uint32_t augment, int64_t height, int64_t width, int64_t h, int64_t w, int64_t *row,
                          int64_t *col) {
    const int64_t r = (augment & DUKD_AUGMENT_FLIP_H) != 0 ? height - 1 - h : h;
    const int64_t c = (augment & DUKD_AUGMENT_FLIP_W) != 0 ? width - 1 - w : w;
    const bool transposed = (augment & DUKD_AUGMENT_TRANSPOSE) != 0;
    *row = transposed ? c : r;
    *col = transposed ? r : c;
}
