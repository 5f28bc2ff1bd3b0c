#include "tensors/tensor_numbers.h"

#include <stdio.h>
#include <string.h>

static float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023, bits;
    if (exponent == 31)
        bits = sign | 0x7f800000u | fraction << 13;
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    else { /* zero and subnormals: fraction * 2^-24 is exact */
        float value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

int dukd_tensor_floats(const dukd_st_tensor *t, float *out) {
    const uint16_t *half = t->data;
    switch (t->type) {
    case DUKD_ST_F32:
        memcpy(out, t->data, (size_t)t->count * sizeof *out);
        return 1;
    case DUKD_ST_F64:
        for (int64_t i = 0; i < t->count; i++) out[i] = (float)((const double *)t->data)[i];
        return 1;
    case DUKD_ST_F16:
        for (int64_t i = 0; i < t->count; i++) out[i] = half_to_float(half[i]);
        return 1;
    case DUKD_ST_BF16:
        for (int64_t i = 0; i < t->count; i++) {
            uint32_t bits = (uint32_t)half[i] << 16;
            memcpy(&out[i], &bits, sizeof bits);
        }
        return 1;
    default:
        return 0;
    }
}

dukd_shape_text dukd_shape_show(int32_t ndim, const int64_t *dims) {
    dukd_shape_text s = {"a scalar"};
    size_t used = 0;
    for (int32_t i = 0; i < ndim && used < sizeof s.text; i++) {
        const int n =
            snprintf(s.text + used, sizeof s.text - used, "%s%lld", i ? "x" : "", (long long)dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return s;
}
