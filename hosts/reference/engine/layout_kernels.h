/* The operations of layout.h on a part of the work, one table for an instruction set. Between layout.c and layout_*.c. */
#ifndef DUKD_LAYOUT_KERNELS_H
#define DUKD_LAYOUT_KERNELS_H

#include "engine/layout.h"

/* Elements [0, n); in place where layout.h allows it. */
typedef struct {
    void (*relu)(void *out, const void *x, int64_t n);
    void (*relu_mask)(void *d, const void *y, int64_t n);
    void (*scale)(void *out, const void *x, float factor, int64_t n);
    void (*add)(void *out, const void *a, const void *b, int64_t n);
    void (*cast)(void *out, const void *x, int accumulate,
                 int64_t n); /* from the table's type to the other */
    void (*scale_add)(void *out, const void *x, float factor, const void *b, int64_t n);
    /* Channels begin .. begin + width - 1 of all pixels of an NHWC tensor; width is 64, 32 or less. Those from `from` on are
     * written. */
    void (*channel_sums)(float *out, const dukd_tensor *x, int64_t begin, int64_t width, int64_t from);
    /* Rows [begin, end) of all images, counted through: row y of image n is n * height + y. Shuffles count the rows
     * of the larger tensor. */
    void (*affine)(const dukd_tensor *out, const dukd_tensor *x, const float *factors, const float *shifts,
                   int accumulate, int64_t begin, int64_t end);
    void (*shuffle)(const dukd_tensor *out, const dukd_tensor *x, int32_t r, int32_t order, int64_t begin,
                    int64_t end);
    void (*unshuffle)(const dukd_tensor *dx, const dukd_tensor *d, int32_t r, int32_t order, int accumulate,
                      int64_t begin, int64_t end);
    void (*import)(const dukd_tensor *out, const float *caller, const dukd_exchange *x, int accumulate,
                   int64_t begin, int64_t end);
    void (*export)(float *caller, const dukd_tensor *in, const dukd_exchange *x, int64_t begin, int64_t end);
} dukd_layout_kernels;

/* [dukd_type] */
extern const dukd_layout_kernels dukd_layout_base[2], dukd_layout_avx2[2], dukd_layout_avx512[2];

#endif
