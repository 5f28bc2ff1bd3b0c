/* Messages, checks of structs and tensors, elements. */
#include "small.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const dukd_dtype small_f32 = {DUKD_TYPE_FLOAT, 32, 1}, small_f16 = {DUKD_TYPE_FLOAT, 16, 1},
                 small_bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

/* ---- messages ---- */

/* Length of the UTF-8 character at s; 0: it is none, or was cut. */
static int character(const unsigned char *s) {
    int n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return *s > 0xf4 ? 0 : n;
}

int32_t small_error(dukd_error *error, int32_t code, const char *format, ...) {
    if (!error || (error->struct_size < DUKD_ERROR_SIZE && !BROKEN(writes_small_error))) return code;
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    if (BROKEN(message_not_utf8)) return code;
    for (unsigned char *s = (unsigned char *)error->message; *s;) {
        int n = character(s);
        if (n <= 1 && (!n || *s < 0x20 || *s == 0x7f)) *s = '?';
        s += n ? n : 1;
    }
    return code;
}

/* ---- structs ---- */

int32_t small_check_struct(const void *object, uint32_t known, const char *name, dukd_error *error) {
    if (!object) return small_error(error, DUKD_E_ARGUMENT, "%s is NULL", name);
    uint32_t size;
    memcpy(&size, object, sizeof size);
    if (size < known && !(BROKEN(option_size) && known == DUKD_OPTION_SIZE))
        return small_error(error, DUKD_E_ARGUMENT, "%s: struct_size is %u, not %u", name, size, known);
    if ((BROKEN(params_tail) && known == DUKD_SESSION_PARAMS_SIZE) ||
        (BROKEN(host_tail) && known == DUKD_HOST_SIZE) || (BROKEN(step_tail) && known == DUKD_STEP_SIZE) ||
        (BROKEN(submit_tail) && known == DUKD_SUBMIT_SIZE))
        return DUKD_OK;
    for (uint32_t i = known; i < size; i++)
        if (((const uint8_t *)object)[i])
            return small_error(error, DUKD_E_UNSUPPORTED, "%s: byte %u is of a later version", name, i);
    return DUKD_OK;
}

/* ---- tensors ---- */

static bool same_type(dukd_dtype a, dukd_dtype b) {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

int32_t small_check_tensor(const dukd_tensor *t, const int64_t shape[4], const dukd_dtype *types, int n_types,
                           const char *name, dukd_error *error) {
    int k = 0;
    if (!t || !t->data) return small_error(error, DUKD_E_ARGUMENT, "%s is NULL, or has no data", name);
    if (t->ndim != 4) return small_error(error, DUKD_E_ARGUMENT, "%s: ndim is %d, not 4", name, t->ndim);
    for (int d = 0; d < 4; d++)
        if (!t->shape || t->shape[d] != shape[d])
            return small_error(error, DUKD_E_ARGUMENT, "%s: its shape is not %lld x %lld x %lld x %lld", name,
                               (long long)shape[0], (long long)shape[1], (long long)shape[2],
                               (long long)shape[3]);
    while (k < n_types && !same_type(t->dtype, types[k])) k++;
    if (k == n_types && !(BROKEN(any_lr_type) && !strcmp(name, "lr")))
        return small_error(error, DUKD_E_ARGUMENT, "%s: not of a type that is taken", name);
    if (t->device.device_type != DUKD_DEVICE_CPU && t->device.device_type != DUKD_DEVICE_CUDA_HOST)
        return small_error(error, DUKD_E_ARGUMENT, "%s: is on device %d, not in memory of the CPU", name,
                           t->device.device_type);
    return DUKD_OK;
}

/* Dimensions by falling stride: each step must pass over all that the smaller ones reach. */
bool small_overlaps(const dukd_tensor *t) {
    bool used[4] = {false};
    int64_t reach = 1;
    if (!t->strides) return false;
    for (int round = 0; round < 4; round++) {
        int least = -1;
        for (int d = 0; d < 4; d++)
            if (!used[d] && (least < 0 || llabs(t->strides[d]) < llabs(t->strides[least]))) least = d;
        used[least] = true;
        if (t->shape[least] == 1) continue;
        if (llabs(t->strides[least]) < reach) return true;
        reach += (t->shape[least] - 1) * llabs(t->strides[least]);
    }
    return false;
}

small_view small_view_of(const dukd_tensor *t) {
    small_view v = {(uint8_t *)t->data + t->byte_offset, {0}, t->dtype};
    int64_t dense = t->dtype.bits / 8;
    for (int d = 3; d >= 0; d--) {
        v.stride[d] = t->strides ? t->strides[d] * (t->dtype.bits / 8) : dense;
        dense *= t->shape[d];
    }
    return v;
}

static float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static float from_f16(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    float size = exponent == 31
                     ? (bits & 1023 ? NAN : INFINITY)
                     : ldexpf((float)((bits & 1023) + (exponent ? 1024 : 0)), (exponent ? exponent : 1) - 25);
    return bits & 0x8000 ? -size : size;
}

static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* By the nearest multiple of the spacing that f16 has there, ties to even. */
static uint16_t to_f16(float value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    float size = fabsf(value);
    if (isnan(value)) return 0x7e00;
    int exponent = size >= 0x1p-14f ? ilogbf(size) : -14;
    double units = nearbyint(ldexp((double)size, 10 - exponent)); /* of 2^(exponent - 10) */
    if (units >= 2048) exponent++, units /= 2;
    if (exponent > 15) return sign | 0x7c00;
    return (uint16_t)(sign | (units < 1024 ? 0 : (exponent + 15) << 10) | ((int)units & 1023));
}

float small_load(const small_view *v, int64_t n, int64_t c, int64_t y, int64_t x) {
    const uint8_t *p = v->base + n * v->stride[0] + c * v->stride[1] + y * v->stride[2] + x * v->stride[3];
    uint16_t half;
    float value;
    if (v->type.bits == 16) {
        memcpy(&half, p, sizeof half);
        bool brain = v->type.code == DUKD_TYPE_BFLOAT || BROKEN(f16_read_as_bf16);
        return brain ? from_bf16(half) : from_f16(half);
    }
    memcpy(&value, p, sizeof value);
    return value;
}

void small_store(const small_view *v, int64_t n, int64_t c, int64_t y, int64_t x, float value) {
    uint8_t *p = v->base + n * v->stride[0] + c * v->stride[1] + y * v->stride[2] + x * v->stride[3];
    if (v->type.bits == 16) {
        bool brain = v->type.code == DUKD_TYPE_BFLOAT || BROKEN(f16_written_as_bf16);
        uint16_t half = brain ? to_bf16(value) : to_f16(value);
        memcpy(p, &half, sizeof half);
    } else {
        memcpy(p, &value, sizeof value);
    }
}
