/* How an engine's tensors lie in memory, and the operations on them that are no convolutions.
 *
 * A tensor is images x height x width pixels of `channels` numbers, f32 or bf16 (the upper half of an f32, rounded to nearest even).
 *   NHWC     the channels of a pixel are neighbours
 *   BLOCK16  channels in blocks of 16, one plane of pixels a block (oneDNN's nChw16c); channels % 16 == 0
 *   PLANAR   one plane of pixels a channel, as the caller's tensors
 * For 16 channels NHWC and BLOCK16 are the same memory.
 *
 * Every operation runs on `threads` threads and gives the same bits for any number of them. Nothing here allocates. */
#ifndef DUKD_LAYOUT_H
#define DUKD_LAYOUT_H

#include <stdint.h>

typedef enum { DUKD_TYPE_F32, DUKD_TYPE_BF16 } dukd_type;
typedef enum { DUKD_NHWC, DUKD_BLOCK16, DUKD_PLANAR } dukd_layout;

typedef struct {
    void *data;
    int32_t images, channels, height, width;
    dukd_type type;
    dukd_layout layout;
} dukd_tensor;

static inline int64_t dukd_type_bytes(dukd_type t) {
    return t == DUKD_TYPE_F32 ? 4 : 2;
}

/* Instruction sets that the operations are compiled for. */
typedef enum {
    DUKD_ISA_BASE,
    DUKD_ISA_AVX2,
    DUKD_ISA_AVX512,
    DUKD_ISA_AVX512_BF16, /* and products of bf16 */
    DUKD_ISA_COUNT
} dukd_isa;

typedef struct {
    dukd_isa isa;
    int32_t threads;
} dukd_worker;

/* Element by element; tensors of equal shape, type and layout. */
void dukd_run_relu(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x); /* may be in place */
void dukd_run_relu_mask(const dukd_worker *w, const dukd_tensor *d,
                        const dukd_tensor *y); /* d = y > 0 ? d : 0 */
void dukd_run_scale(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                    float factor); /* in place */
void dukd_run_add(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *a,
                  const dukd_tensor *b); /* in place */

/* out (+)= x, one f32 and the other bf16; not in place. */
void dukd_run_cast(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, int accumulate);

/* out = x * factors[n] of image n + b; b may be out. */
void dukd_run_image_add(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                        const float *factors, const dukd_tensor *b);
/* out[c] = the sum of channel c over all images and pixels; NHWC. */
void dukd_run_channel_sums(const dukd_worker *w, float *out, const dukd_tensor *x);

/* x * factors[c] + shifts[c], by the graph's channel; factors NULL: 1, shifts NULL: 0. accumulate: added to `out`. */
void dukd_run_affine(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                     const float *shifts, int accumulate);

/* out = pixel shuffle by r of x, whose channels have order `order` (fusion.h): r or 1. */
void dukd_run_shuffle(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, int32_t r,
                      int32_t order);
/* The gradient of it: dx (+)= the inverse of it on d. */
void dukd_run_unshuffle(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d, int32_t r,
                        int32_t order, int accumulate);

/* The caller's f32 tensor, N x channels x H x W, and memory. `order` and `spread` as in fusion.h: with spread r the caller's height
 * is r times the tensor's and `channels` counts the caller's. `images` of the caller's are there, the others read as 0. */
typedef struct {
    int32_t images, channels, order, spread;
    int32_t first_row,
        total_rows; /* the tensor is a band of an image's rows; total_rows 0: it is all of them */
    const float *factors, *shifts; /* NULL: 1 and 0 */
} dukd_exchange;
/* memory (+)= caller * factors + shifts; channels that only pad are 0 */
void dukd_run_import(const dukd_worker *w, const dukd_tensor *out, const float *caller,
                     const dukd_exchange *x, int accumulate);
/* caller = memory * factors + shifts */
void dukd_run_export(const dukd_worker *w, float *caller, const dukd_tensor *in, const dukd_exchange *x);

#endif
