/* Checks of the tensors that a host hands in. */
#include "tensor_check.h"

#include "report.h"

#include <stddef.h>
#include <stdio.h>

uint32_t dukd_dtype_bit(dukd_dtype type) {
    if (type.lanes != 1) return 0;
    if (type.code == DUKD_TYPE_FLOAT)
        return type.bits == 32 ? DUKD_ALLOW_F32 : type.bits == 16 ? DUKD_ALLOW_F16 : 0;
    return type.code == DUKD_TYPE_BFLOAT && type.bits == 16 ? DUKD_ALLOW_BF16 : 0;
}

const char *dukd_dtype_name(dukd_dtype type) {
    switch (dukd_dtype_bit(type)) {
    case DUKD_ALLOW_F32:
        return "f32";
    case DUKD_ALLOW_F16:
        return "f16";
    case DUKD_ALLOW_BF16:
        return "bf16";
    default:
        return "a type this plugin does not know";
    }
}

uint32_t dukd_dtype_size(dukd_dtype type) {
    return type.bits / 8u;
}

const char *dukd_device_name(dukd_device device, char text[DUKD_DEVICE_NAME_SIZE]) {
    const int type = device.device_type, number = device.device_id;
    if (type == DUKD_DEVICE_CPU) return "the CPU";
    if (type == DUKD_DEVICE_CUDA_HOST) return "the CPU (pinned)";
    if (type == DUKD_DEVICE_CUDA) {
        (void)snprintf(text, DUKD_DEVICE_NAME_SIZE, "CUDA device %d", number);
    } else {
        (void)snprintf(text, DUKD_DEVICE_NAME_SIZE, "device (%d, %d)", type, number);
    }
    return text;
}

static const char *allowed_names(uint32_t types) {
    switch (types) {
    case DUKD_ALLOW_F32:
        return "f32";
    case DUKD_ALLOW_F16:
        return "f16";
    case DUKD_ALLOW_BF16:
        return "bf16";
    case DUKD_ALLOW_F32 | DUKD_ALLOW_F16:
        return "f32 or f16";
    case DUKD_ALLOW_F32 | DUKD_ALLOW_BF16:
        return "f32 or bf16";
    default:
        return "f32, f16 or bf16";
    }
}

/* CPU and pinned memory are one kind of device, whatever its number. */
static bool same_device(dukd_device a, dukd_device b) {
    if (a.device_type == DUKD_DEVICE_CUDA_HOST) a.device_type = DUKD_DEVICE_CPU;
    if (b.device_type == DUKD_DEVICE_CUDA_HOST) b.device_type = DUKD_DEVICE_CPU;
    if (a.device_type != b.device_type) return false;
    return a.device_type == DUKD_DEVICE_CPU || a.device_id == b.device_id;
}

static uint64_t magnitude(int64_t x) {
    return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

/* Whether every element lies within INT64_MAX bytes of the first. */
static bool reach_is_sane(const int64_t shape[4], const int64_t strides[4], uint64_t element) {
    uint64_t reach = element;
    for (int i = 0; i < 4; i++) {
        const uint64_t steps = (uint64_t)shape[i] - 1, stride = magnitude(strides[i]);
        if (steps == 0 || stride == 0) continue;
        if (stride > (uint64_t)INT64_MAX / steps / element) return false;
        reach += steps * stride * element;
        if (reach > (uint64_t)INT64_MAX) return false;
    }
    return true;
}

int32_t dukd_tensor_check(const dukd_tensor *t, const dukd_tensor_rule *rule, const char *name,
                          dukd_error *error) {
    if (t == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "%s is NULL", name);
    if (t->ndim != 4)
        return dukd_report(error, DUKD_E_ARGUMENT, "%s: ndim is %d, expected 4 (N, C, H, W)", name, t->ndim);
    if (t->shape == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "%s: shape is NULL", name);
    for (int i = 0; i < 4; i++) {
        if (t->shape[i] == rule->shape[i]) continue;
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "%s: shape is %lld x %lld x %lld x %lld, expected %lld x %lld x %lld x %lld", name,
                           (long long)t->shape[0], (long long)t->shape[1], (long long)t->shape[2],
                           (long long)t->shape[3], (long long)rule->shape[0], (long long)rule->shape[1],
                           (long long)rule->shape[2], (long long)rule->shape[3]);
    }
    const uint32_t type = dukd_dtype_bit(t->dtype);
    if ((type & rule->types) == 0) {
        return dukd_report(error, DUKD_E_ARGUMENT, "%s: type is %s (code %u, %u bits, %u lanes), expected %s",
                           name, dukd_dtype_name(t->dtype), t->dtype.code, t->dtype.bits, t->dtype.lanes,
                           allowed_names(rule->types));
    }
    if (!same_device(t->device, rule->device)) {
        char is[DUKD_DEVICE_NAME_SIZE], expected[DUKD_DEVICE_NAME_SIZE];
        return dukd_report(error, DUKD_E_ARGUMENT, "%s: is on %s, the session on %s", name,
                           dukd_device_name(t->device, is), dukd_device_name(rule->device, expected));
    }
    if (t->data == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "%s: data is NULL", name);
    const uint32_t element = dukd_dtype_size(t->dtype);
    if (t->byte_offset > (uint64_t)INT64_MAX || ((uintptr_t)t->data + t->byte_offset) % element != 0) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "%s: data + byte_offset (%llu) is not aligned to its elements of %u bytes", name,
                           (unsigned long long)t->byte_offset, element);
    }
    if (t->strides != NULL && !reach_is_sane(t->shape, t->strides, element)) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "%s: strides %lld, %lld, %lld, %lld reach further than memory can", name,
                           (long long)t->strides[0], (long long)t->strides[1], (long long)t->strides[2],
                           (long long)t->strides[3]);
    }
    return DUKD_OK;
}

int32_t dukd_tensor_check_writable(const dukd_tensor *t, const dukd_tensor_rule *rule, const char *name,
                                   dukd_error *error) {
    const int32_t status = dukd_tensor_check(t, rule, name, error);
    if (status != DUKD_OK || t->strides == NULL || !dukd_strides_overlap(t->shape, t->strides)) return status;
    return dukd_report(
        error, DUKD_E_ARGUMENT,
        "%s: strides %lld, %lld, %lld, %lld let elements overlap, and it is written to: give a dense copy",
        name, (long long)t->strides[0], (long long)t->strides[1], (long long)t->strides[2],
        (long long)t->strides[3]);
}

/* ---------------------------------------------------------------- overlap */

/* The bytes [first, end) from the lowest element to the highest, and how many of them are elements. */
typedef struct {
    uintptr_t start, first, end;
    uint64_t filled;
} range;

static range range_of(const dukd_tensor *t) {
    const uint64_t element = dukd_dtype_size(t->dtype);
    range r = {.start = (uintptr_t)t->data + t->byte_offset, .filled = element};
    uint64_t dense = 1;
    r.first = r.start;
    r.end = r.start + element;
    for (int i = 3; i >= 0; i--) {
        const int64_t stride = t->strides != NULL ? t->strides[i] : (int64_t)dense;
        const uint64_t reach = ((uint64_t)t->shape[i] - 1) * magnitude(stride) * element;
        if (stride < 0) r.first -= reach;
        if (stride > 0) r.end += reach;
        dense *= (uint64_t)t->shape[i];
    }
    r.filled *= dense;
    return r;
}

bool dukd_tensors_meet(const dukd_tensor *a, const dukd_tensor *b) {
    const range ra = range_of(a), rb = range_of(b);
    if (ra.start == rb.start) return true;
    if (ra.first >= rb.end || rb.first >= ra.end) return false;
    return ra.filled == ra.end - ra.first && rb.filled == rb.end - rb.first;
}

/* Dimensions of more than one element, by falling stride; reach[i] is how far dimensions i and later go
 * together. */
typedef struct {
    int64_t steps[4], stride[4], reach[5];
} dimensions;

/* Two indices are one element where their difference d, |d_i| <= steps_i, has sum d_i stride_i = 0. Searches
 * for such a d (not all zero) from the largest stride on; what smaller strides cannot make up for is cut off,
 * so strides of the usual kinds take a handful of trials. */
static bool meets_zero(const dimensions *dims, int i, int64_t sum, bool moved) {
    if (i == 4) return moved && sum == 0;
    const int64_t stride = dims->stride[i], rest = dims->reach[i + 1];
    /* d with |sum + d stride| <= rest */
    const int64_t below = -rest - sum, above = rest - sum;
    int64_t first = below / stride, last = above / stride;
    if (first * stride < below) first++;
    if (last * stride > above) last--;
    if (first < -dims->steps[i]) first = -dims->steps[i];
    if (last > dims->steps[i]) last = dims->steps[i];
    if (!moved && first < 0) first = 0; /* d and -d are the same pair of indices */
    for (int64_t d = first; d <= last; d++) {
        if (meets_zero(dims, i + 1, sum + d * stride, moved || d != 0)) return true;
    }
    return false;
}

bool dukd_strides_overlap(const int64_t shape[4], const int64_t strides[4]) {
    /* dimensions of one element take no step, and their stride is never used but must not be 0 */
    dimensions dims = {.stride = {1, 1, 1, 1}};
    int n = 0;
    for (int i = 0; i < 4; i++) {
        if (shape[i] <= 1) continue;
        if (strides[i] == 0) return true;
        const int64_t stride = (int64_t)magnitude(strides[i]);
        int at = n++;
        for (; at > 0 && dims.stride[at - 1] < stride; at--) {
            dims.stride[at] = dims.stride[at - 1];
            dims.steps[at] = dims.steps[at - 1];
        }
        dims.stride[at] = stride;
        dims.steps[at] = shape[i] - 1;
    }
    for (int i = 3; i >= 0; i--) dims.reach[i] = dims.reach[i + 1] + dims.steps[i] * dims.stride[i];
    return meets_zero(&dims, 0, 0, false);
}
