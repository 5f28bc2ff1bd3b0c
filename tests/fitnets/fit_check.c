/* Messages, and checks of structs and tensors. */
#include "fitnets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages: one line of UTF-8, whatever the host's texts are ---- */

/* Bytes of the UTF-8 character at s; 0: it is none, or was cut. */
static int character(const unsigned char *s) {
    int n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return *s > 0xf4 ? 0 : n;
}

int32_t fit_error(dukd_error *error, int32_t code, const char *format, ...) {
    if (!error || error->struct_size < DUKD_ERROR_SIZE) return code;
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    for (unsigned char *s = (unsigned char *)error->message; *s;) {
        const int n = character(s);
        if (n <= 1 && (!n || *s < 0x20 || *s == 0x7f)) *s = '?';
        s += n ? n : 1;
    }
    return code;
}

/* ---- structs ---- */

int32_t fit_check_struct(const void *object, uint32_t known, const char *name, dukd_error *error) {
    uint32_t size;
    if (!object) return fit_error(error, DUKD_E_ARGUMENT, "%s is NULL", name);
    memcpy(&size, object, sizeof size);
    if (size < known)
        return fit_error(error, DUKD_E_ARGUMENT, "%s: struct_size is %u; this plugin knows %u bytes", name,
                         size, known);
    for (uint32_t i = known; i < size; i++)
        if (((const uint8_t *)object)[i])
            return fit_error(error, DUKD_E_UNSUPPORTED,
                             "%s: byte %u is of a later version of the ABI: rebuild the plugin", name, i);
    return DUKD_OK;
}

/* ---- tensors ---- */

static bool same_type(dukd_dtype a, dukd_dtype b) {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

int32_t fit_check_tensor(const dukd_tensor *t, int32_t ndim, const int64_t *shape, const dukd_dtype *types,
                         int n_types, const char *name, dukd_error *error) {
    int k = 0;
    if (!t || !t->data) return fit_error(error, DUKD_E_ARGUMENT, "%s is NULL, or has no data", name);
    if (t->ndim != ndim)
        return fit_error(error, DUKD_E_ARGUMENT, "%s: ndim is %d, not %d", name, t->ndim, ndim);
    for (int32_t d = 0; d < ndim; d++)
        if (!t->shape || t->shape[d] != shape[d])
            return fit_error(error, DUKD_E_ARGUMENT, "%s: shape[%d] is %lld, not %lld", name, d,
                             (long long)(t->shape ? t->shape[d] : 0), (long long)shape[d]);
    while (k < n_types && !same_type(t->dtype, types[k])) k++;
    if (k == n_types)
        return fit_error(error, DUKD_E_ARGUMENT, "%s: type %u of %u bits is not taken here", name,
                         t->dtype.code, t->dtype.bits);
    if (t->device.device_type != DUKD_DEVICE_CPU && t->device.device_type != DUKD_DEVICE_CUDA_HOST)
        return fit_error(error, DUKD_E_ARGUMENT, "%s: is on device %d, not in memory of the CPU", name,
                         t->device.device_type);
    return DUKD_OK;
}

/* Dimensions by growing stride: each step must pass over all that the smaller ones reach. */
bool fit_overlaps(const dukd_tensor *t) {
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

bool fit_is_dense(const dukd_tensor *t) {
    int64_t dense = 1;
    for (int32_t d = t->ndim - 1; d >= 0 && t->strides; d--) {
        if (t->shape[d] != 1 && t->strides[d] != dense) return false;
        dense *= t->shape[d];
    }
    return true;
}
