#include "toy_tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CANARY = 64, PATTERN = 0xff, GAP = 3 };

const dukd_dtype toy_f32 = {DUKD_TYPE_FLOAT, 32, 1}, toy_f16 = {DUKD_TYPE_FLOAT, 16, 1},
                 toy_bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

const char *const toy_layout_names[TOY_LAYOUTS] = {
    [TOY_DENSE] = "dense",
    [TOY_NULL_STRIDES] = "strides NULL",
    [TOY_CHANNELS_LAST] = "channels_last",
    [TOY_PADDED] = "rows with a gap",
    [TOY_BACKWARDS] = "negative strides",
    [TOY_OFFSET] = "a byte_offset",
    [TOY_BROADCAST] = "a stride of zero",
};

/* ---- numbers ---- */

static uint64_t mix(uint64_t x) {
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

double toy_unit(uint64_t key) {
    return (double)(mix(key) >> 11) * 0x1p-53;
}

void toy_hash(uint64_t *hash, const void *data, uint64_t size) {
    const uint8_t *b = data;
    uint64_t h = *hash + 0x9e3779b97f4a7c15u;
    for (; size >= 8; size -= 8, b += 8) {
        uint64_t word;
        memcpy(&word, b, sizeof word);
        h = (h ^ word) * 0x9ddfea08eb382d69u;
        h ^= h >> 29;
    }
    for (; size > 0; size--, b++) h = (h ^ *b) * 0x100000001b3u;
    *hash = mix(h);
}

void toy_hash_tensor(uint64_t *hash, const dukd_tensor *t) {
    float *values = toy_values(t);
    toy_hash(hash, &t->dtype, sizeof t->dtype);
    toy_hash(hash, t->shape, 4 * sizeof *t->shape);
    if (values) toy_hash(hash, values, (uint64_t)toy_count(t->shape) * sizeof *values);
    free(values);
}

static float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_f16(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    float fraction = (float)(bits & 1023), value;
    if (exponent == 31)
        value = bits & 1023 ? NAN : INFINITY;
    else if (exponent == 0)
        value = ldexpf(fraction, -24);
    else
        value = ldexpf(fraction + 1024, exponent - 25);
    return bits & 0x8000 ? -value : value;
}

/* To nearest, ties to even. */
static uint16_t to_f16(float value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    float a = fabsf(value);
    if (isnan(value)) return sign | 0x7e00;
    if (a >= 65520) return sign | 0x7c00;
    if (a == 0) return sign;
    int exponent = 0;
    frexpf(a, &exponent); /* a = m 2^exponent, m in [0.5, 1) */
    if (exponent < -13) exponent = -13;
    float steps = rintf(ldexpf(a, 11 - exponent)); /* 11 significant bits; fewer below 2^-14 */
    uint32_t bits = (uint32_t)(exponent + 13) * 1024 + (uint32_t)steps;
    return (uint16_t)(sign | bits);
}

int toy_same_type(dukd_dtype a, dukd_dtype b) {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

float toy_round(float value, dukd_dtype type) {
    if (toy_same_type(type, toy_bf16)) return from_bf16(to_bf16(value));
    if (toy_same_type(type, toy_f16)) return from_f16(to_f16(value));
    return value;
}

/* ---- elements ---- */

static float load(const uint8_t *p, dukd_dtype type) {
    float value;
    uint16_t half;
    if (type.bits == 16) {
        memcpy(&half, p, sizeof half);
        return type.code == DUKD_TYPE_BFLOAT ? from_bf16(half) : from_f16(half);
    }
    memcpy(&value, p, sizeof value);
    return value;
}

static void store(uint8_t *p, dukd_dtype type, float value) {
    if (type.bits == 16) {
        uint16_t half = type.code == DUKD_TYPE_BFLOAT ? to_bf16(value) : to_f16(value);
        memcpy(p, &half, sizeof half);
    } else {
        memcpy(p, &value, sizeof value);
    }
}

static void byte_strides(const dukd_tensor *t, int64_t out[4]) {
    int64_t dense = 1;
    for (int d = 3; d >= 0; d--) {
        out[d] = (t->strides ? t->strides[d] : dense) * (t->dtype.bits / 8);
        dense *= t->shape[d];
    }
}

int64_t toy_count(const int64_t shape[4]) {
    return shape[0] * shape[1] * shape[2] * shape[3];
}

void toy_read(const dukd_tensor *t, float *out) {
    const uint8_t *base = (const uint8_t *)t->data + t->byte_offset;
    int64_t s[4];
    byte_strides(t, s);
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t c = 0; c < t->shape[1]; c++)
            for (int64_t y = 0; y < t->shape[2]; y++) {
                const uint8_t *row = base + n * s[0] + c * s[1] + y * s[2];
                for (int64_t x = 0; x < t->shape[3]; x++) *out++ = load(row + x * s[3], t->dtype);
            }
}

void toy_write(const dukd_tensor *t, const float *in) {
    uint8_t *base = (uint8_t *)t->data + t->byte_offset;
    int64_t s[4];
    byte_strides(t, s);
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t c = 0; c < t->shape[1]; c++)
            for (int64_t y = 0; y < t->shape[2]; y++) {
                uint8_t *row = base + n * s[0] + c * s[1] + y * s[2];
                for (int64_t x = 0; x < t->shape[3]; x++) store(row + x * s[3], t->dtype, *in++);
            }
}

float *toy_values(const dukd_tensor *t) {
    float *values = malloc((uint64_t)toy_count(t->shape) * sizeof *values);
    if (values) toy_read(t, values);
    return values;
}

/* ---- tensors ---- */

int toy_tensor_make(toy_tensor *t, const int64_t shape[4], dukd_dtype type, toy_layout layout) {
    int64_t n = shape[0], c = shape[1], h = shape[2], w = shape[3], first = 0;
    int64_t row = layout == TOY_PADDED ? w + GAP : w;
    *t = (toy_tensor){.shape = {n, c, h, w}, .strides = {c * h * row, h * row, row, 1}};
    if (layout == TOY_CHANNELS_LAST) t->strides[1] = 1, t->strides[2] = w * c, t->strides[3] = c;
    if (layout == TOY_BROADCAST) t->strides[0] = h * w, t->strides[1] = 0;
    if (layout == TOY_BACKWARDS) t->strides[2] = -w, t->strides[3] = -1, first = h * w - 1;
    uint64_t element = type.bits / 8;
    t->bytes = (uint64_t)(n * (layout == TOY_BROADCAST ? 1 : c) * h * row) * element;
    t->memory = malloc(t->bytes + 2 * CANARY);
    if (!t->memory) return -1;
    memset(t->memory, PATTERN, t->bytes + 2 * CANARY);
    uint64_t start = CANARY + (uint64_t)first * element, offset = layout == TOY_OFFSET ? CANARY / 2 : 0;
    t->t = (dukd_tensor){.data = t->memory + start - offset,
                         .device = {DUKD_DEVICE_CPU, 0},
                         .ndim = 4,
                         .dtype = type,
                         .shape = t->shape,
                         .strides = layout == TOY_NULL_STRIDES ? NULL : t->strides,
                         .byte_offset = offset};
    return 0;
}

void toy_tensor_free(toy_tensor *t) {
    free(t->memory);
    t->memory = NULL;
}

/* Calls for each element; returns the sum of what it gave. */
static int64_t each(const toy_tensor *t, uint8_t *base, int64_t (*visit)(uint8_t *p, uint64_t size)) {
    uint64_t element = t->t.dtype.bits / 8;
    int64_t s[4], sum = 0;
    byte_strides(&t->t, s);
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t c = 0; c < t->shape[1]; c++)
            for (int64_t y = 0; y < t->shape[2]; y++)
                for (int64_t x = 0; x < t->shape[3]; x++)
                    sum += visit(base + n * s[0] + c * s[1] + y * s[2] + x * s[3], element);
    return sum;
}

static int64_t is_pattern(uint8_t *p, uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        if (p[i] != PATTERN) return 0;
    return 1;
}

static int64_t set_pattern(uint8_t *p, uint64_t size) {
    memset(p, PATTERN, size);
    return 0;
}

int64_t toy_unwritten(const toy_tensor *t) {
    return each(t, (uint8_t *)t->t.data + t->t.byte_offset, is_pattern);
}

int toy_spilled(const toy_tensor *t) {
    uint64_t size = t->bytes + 2 * CANARY;
    uint8_t *copy = malloc(size);
    if (!copy) return 1;
    memcpy(copy, t->memory, size);
    each(t, copy + ((uint8_t *)t->t.data + t->t.byte_offset - t->memory), set_pattern);
    int spilled = !is_pattern(copy, size);
    free(copy);
    return spilled;
}
