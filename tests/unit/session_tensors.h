/* Tensors of any type and any strides for tests of sessions, read and written element by element. */
#ifndef DUKD_TEST_SESSION_TENSORS_H
#define DUKD_TEST_SESSION_TENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "dukd_plugin.h"

extern const dukd_dtype fixture_f32, fixture_f16, fixture_bf16;
size_t fixture_dtype_size(dukd_dtype type);

/* How the elements lie in memory. */
typedef enum {
    LAYOUT_DENSE,         /* strides NULL */
    LAYOUT_CHANNELS_LAST, /* N, H, W, C */
    LAYOUT_REVERSED,      /* rows and columns from the end: negative strides */
    LAYOUT_SLICED,        /* a window of a larger tensor, by byte_offset, with gaps everywhere */
    LAYOUTS
} fixture_layout;

typedef struct {
    dukd_tensor tensor;
    int64_t shape[4], strides[4];
    void *memory;
    size_t bytes;
    /* the same tensor on a device (fixture_device); NULL where there is none */
    dukd_tensor there;
    void *there_memory;
} fixture_tensor;

/* Memory for a tensor, every byte 0xff (NaN in all three types). Fails the running test where there is none.
 * Do not copy the struct. */
void fixture_tensor_make(fixture_tensor *t, const int64_t shape[4], dukd_dtype type, fixture_layout layout);
void fixture_tensor_free(fixture_tensor *t); /* may be all zeros */

int64_t fixture_count(const dukd_tensor *t);
double fixture_get(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j);
void fixture_set(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j, double value);

/* for (...) over all indices of *t */
#define EACH_ELEMENT(t, n, c, i, j)                                                                          \
    for (int64_t n = 0; n < (t)->shape[0]; n++)                                                              \
        for (int64_t c = 0; c < (t)->shape[1]; c++)                                                          \
            for (int64_t i = 0; i < (t)->shape[2]; i++)                                                      \
                for (int64_t j = 0; j < (t)->shape[3]; j++)

#endif
