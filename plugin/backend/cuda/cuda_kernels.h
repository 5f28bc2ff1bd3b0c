/* The kernels as C functions: what each needs, and a wrapper that launches it on a stream.
 *
 * Written for nvcc and, against tests/cuda_emulation, for g++. All pointers but those of the parameter structs themselves are
 * device memory. A wrapper only enqueues; it returns a cudaError_t as an int, 0 where all is well, and never waits. Grids
 * must fit 31 bits: the operations of cuda_ops.c see to it. */
#ifndef DUKD_CUDA_KERNELS_H
#define DUKD_CUDA_KERNELS_H

#include "cuda_divide.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DUKD_CUDA_F32, DUKD_CUDA_F16, DUKD_CUDA_BF16 };

/* N x C x H x W elements from `data` on; strides count elements. data NULL: there is no tensor. */
typedef struct {
    char *data;
    int64_t stride[4];
    int32_t type; /* DUKD_CUDA_... */
    int32_t pad0;
} dukd_cuda_view;

/* A sum of f32 and what its roundings lost: cuda_reduce.h. */
typedef struct {
    float high, low;
} dukd_cuda_pair;

/* ---- l1: as dukd_l1_args. A block is a tile of 32 x 32 pixels of one channel of one image, or of three with the channels last. n, c, h, w
 * are below 2^31 - 32. ---- */

#define DUKD_CUDA_TILE 32

typedef struct {
    dukd_cuda_view value, grad, target[2];
    int64_t n, c, h, w; /* of value */
    int64_t tiles_h, tiles_w;
    double factor[2];
    const float *scale;      /* multiplies the factors; NULL: 1 */
    const uint32_t *back;    /* [n]; NULL: identity */
    dukd_cuda_pair *partial; /* [n_targets][blocks]: the sum of each block, in the order of the tiles */
    double *mean[2];
    uint32_t n_targets; /* 1 or 2 */
    dukd_cuda_divider by_tiles, by_tiles_w,
        by_planes; /* of a plane, of its row; planes of an image: the wrapper fills them */
} dukd_cuda_l1;

/* Two launches: the tiles, and the sum of their sums in their order. */
int dukd_cuda_launch_l1(const dukd_cuda_l1 *p, void *stream);

/* ---- zeros for a gradient: n, c, h, w of *p alone are read beside grad ---- */
int dukd_cuda_launch_zero(const dukd_cuda_l1 *p, void *stream);

/* ---- zoom in: as dukd_zoom_in_args; h x w of plain, before D ---- */
typedef struct {
    dukd_cuda_view hr, plain, augmented;
    int64_t n, c, h, w;
    const int32_t *image, *row, *col;
    const uint32_t *augment;
    dukd_cuda_divider by_w, by_h, by_c; /* of these; like all divisors, the wrapper fills them */
} dukd_cuda_zoom_in;

int dukd_cuda_launch_zoom_in(const dukd_cuda_zoom_in *p, void *stream);

/* ---- zoom out: as dukd_zoom_out_args. A block makes up to 32 pixels of one row. ---- */
#define DUKD_CUDA_MOST_TAPS   256       /* 4 * the largest scale */
#define DUKD_CUDA_MOST_PIXELS (1 << 29) /* of a side of lr */

typedef struct {
    dukd_cuda_view lr, plain, augmented;
    int64_t n, c, h, w;    /* of lr */
    int64_t out_h, out_w;  /* before D */
    int64_t scale, first;  /* output o is the sum over t of weight[t] * input[o * scale + first + t] */
    int64_t taps, tiles_w; /* of 32 outputs */
    const uint32_t *augment;
    dukd_cuda_divider by_tiles_w, by_out_h, by_c;
    double weight[DUKD_CUDA_MOST_TAPS];
} dukd_cuda_zoom_out;

int dukd_cuda_launch_zoom_out(const dukd_cuda_zoom_out *p, void *stream);

/* ---- hardest: as dukd_hardest_args. Two launches: sums over columns, sums over rows and the largest. ---- */
typedef struct {
    dukd_cuda_view a, b;
    int64_t n, c, h, w;
    int64_t window_h, window_w;
    double *column; /* [n][w][h - window_h + 1]: sums of |a - b| over channels and window_h rows */
    int32_t *row, *col;
} dukd_cuda_hardest;

int dukd_cuda_launch_hardest(const dukd_cuda_hardest *p, void *stream);

/* ---- affinity: as dukd_affinity_args, for images first .. first + images - 1. Three launches: the columns of norm 1; tiles of 64 x 64
 * pixels; back through the norm, and after the last images the mean. ---- */
#define DUKD_CUDA_AFFINITY_TILE 64

typedef struct {
    dukd_cuda_view student, teacher, grad;
    int64_t n, student_c, teacher_c;
    int64_t w, pixels;      /* of a map: h w */
    int64_t tiles;          /* of 64 pixels */
    int64_t first, images;  /* that are worked on */
    float *unit_s, *unit_t; /* [images][C][64 tiles]: columns of norm 1, zeros after the last pixel */
    float *slope;           /* [images][C][64 tiles]: the gradient of unit_s up to its factor */
    float *inverse;  /* [images][2][64 tiles]: 1 / (norm + eps) of the student's columns; 1 / norm, 0 for 0 */
    double *partial; /* [n][tiles] */
    double factor;   /* of unit_s's gradient: twice that of the sum */
    const float *scale; /* multiplies it; NULL: 1 */
    double *mean;       /* NULL: not wanted */
    uint32_t add;       /* to *mean */
    uint32_t pad0;
} dukd_cuda_affinity;

int dukd_cuda_launch_affinity(const dukd_cuda_affinity *p, void *stream);

/* ---- contrast: as dukd_contrast_args; an image has less than 2^31 elements. Two launches or, with a gradient, three: distances; their ratio; signs. ---- */
#define DUKD_CUDA_CONTRAST_THREADS 256 /* a thread has an element of the map, of all images */

typedef struct {
    dukd_cuda_view student, teacher, negatives, grad_student, grad_teacher;
    int64_t n, negative_n, c, h, w;
    double factor;
    const float *scale;      /* multiplies it; NULL: 1 */
    dukd_cuda_pair *partial; /* [2][blocks]: sums to the teacher and to the negatives, a block each */
    float *slope;  /* [2]: of one sign, to the teacher and to a negative, in the student's gradient */
    double *mean;  /* NULL: not wanted */
    double weight; /* of the ratio in it */
    uint32_t add;  /* to *mean */
    dukd_cuda_divider by_w, by_h;
} dukd_cuda_contrast;

int dukd_cuda_launch_contrast(const dukd_cuda_contrast *p, void *stream);

/* ---- upscale: as dukd_upscale_args. A thread a pixel. ---- */
#define DUKD_CUDA_MOST_PHASES 64 /* the largest scale */

typedef struct {
    dukd_cuda_view lr, out;
    int64_t n, c, h, w; /* of out */
    int64_t lr_h, lr_w, scale;
    dukd_cuda_divider by_w, by_h, by_c, by_scale;
    double weight[DUKD_CUDA_MOST_PHASES][4]; /* of output o = i scale + phase */
    int32_t first[DUKD_CUDA_MOST_PHASES];    /* input of the first of the four, relative to i */
} dukd_cuda_upscale;

int dukd_cuda_launch_upscale(const dukd_cuda_upscale *p, void *stream);

/* ---- place: small host memory into device memory, as the kernel's own arguments: nothing to wait for, nothing to keep. ---- */
#define DUKD_CUDA_PLACE_WORDS 960

typedef struct {
    uint32_t *to;
    uint32_t count; /* words, 1 .. DUKD_CUDA_PLACE_WORDS */
    uint32_t pad0;
    uint32_t word[DUKD_CUDA_PLACE_WORDS];
} dukd_cuda_place;

int dukd_cuda_launch_place(const dukd_cuda_place *p, void *stream);

/* Loads every kernel on the current device, so that no launch has to: 0, or the error of the first that cannot be had
 * (cudaErrorNoKernelImageForDevice where the module was not built for this device). */
int dukd_cuda_load_l1(void);
int dukd_cuda_load_images(void);
int dukd_cuda_load_hardest(void);
int dukd_cuda_load_affinity(void);
int dukd_cuda_load_contrast(void);

#ifdef __cplusplus
}
#endif

#endif
