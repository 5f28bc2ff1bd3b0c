/* The numbers of a tensor as floats, and a shape in words. [thread-safe] */
#ifndef DUKD_TENSOR_NUMBERS_H
#define DUKD_TENSOR_NUMBERS_H

#include <stdint.h>

#include "common/safetensors.h"

/* Fills out[t->count] from F32, F64 (rounded), F16 or BF16; 0 where the type is none of these. */
int dukd_tensor_floats(const dukd_st_tensor *t, float *out);

/* "64x3x3x3"; "a scalar". */
typedef struct {
    char text[96];
} dukd_shape_text;
dukd_shape_text dukd_shape_show(int32_t ndim, const int64_t *dims);

#endif
