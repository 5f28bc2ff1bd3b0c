/* Tensors for tests of the backend's kernels: any type, in any layout, in memory that ends exactly where they
 * do.
 *
 * Numbers go in and out as double by code of its own (ldexp and rint), which shares nothing with the backend.
 */
#ifndef DUKD_TEST_KERNEL_TENSOR_H
#define DUKD_TEST_KERNEL_TENSOR_H

#include "dukd_plugin.h"
#include "support/guard.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum { KERNEL_F32, KERNEL_F16, KERNEL_BF16, KERNEL_TYPES } kernel_type;

typedef enum {
    KERNEL_DENSE_NULL,                /* strides NULL */
    KERNEL_DENSE,                     /* the same, written out */
    KERNEL_CHANNELS_LAST,             /* h, w, c in memory */
    KERNEL_SLICED,                    /* every second column and every second row of something larger */
    KERNEL_PADDED,                    /* rows, channels and samples with room between them */
    KERNEL_NEGATIVE,                  /* all strides negative */
    KERNEL_TRANSPOSED,                /* w, h in memory */
    KERNEL_OUTPUTS,                   /* from here on: for inputs only */
    KERNEL_REPEATED = KERNEL_OUTPUTS, /* one sample and one channel for all: strides of zero */
    KERNEL_LAYOUTS
} kernel_layout;

typedef struct {
    dukd_tensor t;
    int64_t shape[4], strides[4];
    kernel_type type;
    kernel_layout layout;
    unsigned char *memory; /* guarded, `bytes` of it, filled with 0xA5 */
    size_t bytes;
    dukd_guard_side side;
} kernel_tensor;

/* shape n, c, h, w. Fails the running test where there is no memory. */
void kernel_tensor_make(kernel_tensor *k, kernel_type type, const int64_t shape[4], kernel_layout layout,
                        dukd_guard_side side);
void kernel_tensor_free(kernel_tensor *k); /* a zeroed one is allowed */

/* Uniform draws in [low, high), on a grid of `step` where step > 0. */
void kernel_tensor_fill(kernel_tensor *k, uint64_t seed, double low, double high, double step);
double kernel_tensor_get(const kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w);
/* Rounds to nearest, ties to even. */
void kernel_tensor_set(kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w, double x);
uint32_t kernel_tensor_bits(const kernel_tensor *k, int64_t n, int64_t c, int64_t h, int64_t w);
double kernel_round(double x, kernel_type type);

/* Whether two tensors of one type and shape hold the same bits, whatever their layouts. */
bool kernel_tensor_same(const kernel_tensor *a, const kernel_tensor *b);
/* Whether every byte of the memory that belongs to no element is as it was. */
bool kernel_tensor_margins_whole(const kernel_tensor *k);

/* Where element (h, w) of an image of height x width is after the augmentation: flip columns, flip rows,
 * transpose. */
void kernel_augment_place(uint32_t augment, int64_t height, int64_t width, int64_t h, int64_t w, int64_t *row,
                          int64_t *col);

#endif
