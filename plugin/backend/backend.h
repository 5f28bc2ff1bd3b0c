/* What a session asks of a device: one table of operations.
 *
 * A backend fills the table with its plain reference first and then overrides what this machine does faster.
 * The session (session.c and what it calls) decides what is computed; a backend only computes. All tensors
 * are N x C x H x W, f32, f16 or bf16, any strides, on the backend's device; arithmetic is f32, sums are f64
 * in an order that does not depend on the number of threads. Arguments are checked before they come here.
 *
 * "The backend's memory" is what its tensors lie in: plain memory on the CPU; on a device what `alloc` gives,
 * which the session holds pointers into and never reads. Operations of a device are only enqueued, on the
 * stream of the last `begin`.
 *
 * D, the augmentation of a sample, is a set of DUKD_AUGMENT_ bits in the normal form of dukd_plugin.h: flip
 * columns, flip rows, transpose, invert, in this order. augment/ turns every other description into that form
 * and gives inverses. */
#ifndef DUKD_BACKEND_H
#define DUKD_BACKEND_H

#include "dukd_plugin.h"

#include <stdbool.h>

typedef struct dukd_backend dukd_backend;

/* Zoom in: sample k of `plain` is the window of HR image `image[k]` whose first pixel is (row[k], col[k]);
 * sample k of `augmented` is D_k of it. Either may be NULL. Same type as hr. */
typedef struct {
    const dukd_tensor *hr;
    const dukd_tensor *plain, *augmented;
    const int32_t *image, *row, *col; /* [samples], the backend's memory */
    const uint32_t *augment;          /* [samples], likewise */
} dukd_zoom_in_args;

/* Zoom out: `plain` is lr scaled down by `scale`: antialiased bicubic, a = -0.5, kernel widened by the scale,
 * weights normalised, symmetric border, size ceil(h / scale) x ceil(w / scale), height first, not rounded,
 * not clamped. Output o is centred on (o + 1/2) scale - 1/2. `augmented` is D_k of it. Either may be NULL. */
typedef struct {
    const dukd_tensor *lr;
    const dukd_tensor *plain, *augmented;
    const uint32_t *augment; /* [N], the backend's memory */
    int32_t scale;
    int32_t pad0;
} dukd_zoom_out_args;

/* L1 terms of one student output against up to two targets, and their gradient, in one pass over memory:
 *     sum[t]  = sum over all elements of |B_k(value) - target_t|          (f64; t < n_targets)
 *     grad    = sum over t of factor[t] * d sum[t] / d value              (value's indices; sign(0) = 0)
 * B_k maps the augmented output back: it is given in normal form too (D^-1 in paper mode, D applied again in
 * official mode), shape of target = shape of B(value). grad NULL: sums only. NaN and Inf go through. */
typedef struct {
    const dukd_tensor *value;
    const dukd_tensor *grad;      /* f32 or the value's type */
    const dukd_tensor *target[2]; /* any of the three types */
    double factor[2];
    uint32_t n_targets; /* 1 or 2; 0: grad is filled with zeros */
    uint32_t pad0;
    const uint32_t *back; /* [N] B_k, the backend's memory; NULL: identity for all */
    double sum[2];        /* out, where the backend computes at once */
    /* For a backend whose results come later: where sum[t] / elements of value goes, in its memory. */
    double *mean[2];
    /* One f32 in the backend's memory that multiplies the gradient too; NULL: none. A device's alone. */
    const float *scale_dev;
} dukd_l1_args;

/* The hardest window of each image: error = mean over channels of |a - b|, and for every integer offset the
 * mean of it over a window of window_h x window_w; row[n], col[n] is the offset where that is largest, ties
 * to the first in row order. */
typedef struct {
    const dukd_tensor *a, *b; /* T(x) and y */
    int32_t window_h, window_w;
    int32_t *row, *col; /* out, [N], the backend's memory */
} dukd_hardest_args;

/* FAKD (He et al. 2020): the affinity A = F^T F of a feature map F, C x HW with each column divided by its norm plus
 * 1e-8, of student and teacher, HW x HW each:
 *     sum  = sum over images and all elements of |A_S - A_T|                (f64)
 *     grad = factor * d sum / d student                                    (sign(0) = 0)
 * student: N x C x H x W, teacher: N x C' x H x W. A is never held: no more than tiles of it. A column of zeros gets the gradient
 * zero (its derivative, 1e8 times that of a column of norm 1, would drown all others). NaN and Inf go through. The same
 * bits for any number of threads, and at every level without oneDNN. */
typedef struct {
    const dukd_tensor *student, *teacher;
    const dukd_tensor *grad; /* f32 or the student's type; NULL: the sum only */
    double factor;
    double sum; /* out, where the backend computes at once */
    /* For a backend whose results come later: where sum / (N (HW)^2) goes, in its memory; `add`: to what is there. */
    double *mean;
    const float *scale_dev; /* as in dukd_l1_args */
    bool add;
} dukd_affinity_args;

/* CSD (Wang et al. 2021), one layer of L_con: ratio = d_T / (d_N + 1e-7), d_T = mean |teacher - student| over all elements,
 * d_N = mean |negatives_k - student_n| over all k, n and elements; grad_student = factor * d ratio / d student, the same for the
 * teacher. student, teacher: N x C x H x W; negatives: K x C x H x W. sign(0) = 0. NaN and Inf go through. */
typedef struct {
    const dukd_tensor *student, *teacher, *negatives;
    const dukd_tensor *grad_student, *grad_teacher; /* f32 or the value's type; NULL: not wanted */
    double factor;
    double ratio; /* out, where the backend computes at once */
    /* For a backend whose results come later: where weight * ratio goes, in its memory; `add`: to what is there. */
    double *mean;
    double weight;
    const float *scale_dev; /* as in dukd_l1_args */
    bool add;
} dukd_contrast_args;

/* The first images of lr scaled up: bicubic, a = -0.75, not antialiased, weights of the pixel centres, edge pixels repeated, not
 * rounded, not clamped: torch's interpolate(mode='bicubic', align_corners=False). out: K x C x scale h x scale w, K <= N. */
typedef struct {
    const dukd_tensor *lr, *out;
    int32_t scale;
    int32_t pad0;
} dukd_upscale_args;

/* One affinity or contrast that a session will ask for. */
typedef struct {
    int64_t student[4],
        other[4]; /* shapes; the other: of the teacher's map (affinity), of the negatives (contrast) */
} dukd_feature_load;

/* What a session will ask for, so that a device has its workspaces before the first step. */
typedef struct {
    int64_t l1_shape[4];      /* the largest `value` in blocks of 32 x 32 pixels */
    int64_t hardest_shape[4]; /* of `a`; all 0: hardest is never asked for */
    int32_t window_h, window_w;
    uint32_t n_affinities, n_contrasts;
    const dukd_feature_load *affinity, *contrast; /* one for each; the caller's */
} dukd_backend_load;

struct dukd_backend {
    const char *name; /* "cpu" */
    void *state;      /* the backend's own */
    /* The operations of a device; NULL in a backend that computes in plain memory, at once. All of them or
     * none: `begin` tells which kind it is. */
    /* Memory for images, choices and means; aligned for any type. NULL: there is none. */
    void *(*alloc)(dukd_backend *b, uint64_t size);
    void (*free)(dukd_backend *b, void *p);
    int32_t (*reserve)(dukd_backend *b, const dukd_backend_load *load, dukd_error *error);
    /* What follows is ordered by `stream`. *recorded: it is being captured into a graph, so nothing is computed
     * now. */
    int32_t (*begin)(dukd_backend *b, void *stream, bool *recorded, dukd_error *error);
    /* Copies host memory (a multiple of 4 bytes), which may change when this returns, into the backend's; never
     * recorded: a graph that reads `to` finds what was placed last before it runs. */
    int32_t (*place)(dukd_backend *b, void *to, const void *from, uint64_t size, dukd_error *error);
    /* Waits for `stream` and copies from the backend's memory. */
    int32_t (*read)(dukd_backend *b, void *stream, void *to, const void *from, uint64_t size,
                    dukd_error *error);
    /* Whether a tensor's data are memory of this device. `name` is for the message. */
    int32_t (*owns)(dukd_backend *b, const dukd_tensor *t, const char *name, dukd_error *error);
    /* The operations of every backend. */
    int32_t (*zoom_in)(dukd_backend *b, const dukd_zoom_in_args *a, dukd_error *error);
    int32_t (*zoom_out)(dukd_backend *b, const dukd_zoom_out_args *a, dukd_error *error);
    int32_t (*l1)(dukd_backend *b, dukd_l1_args *a, dukd_error *error);
    int32_t (*hardest)(dukd_backend *b, const dukd_hardest_args *a, dukd_error *error);
    int32_t (*affinity)(dukd_backend *b, dukd_affinity_args *a, dukd_error *error);
    int32_t (*contrast)(dukd_backend *b, dukd_contrast_args *a, dukd_error *error);
    int32_t (*upscale)(dukd_backend *b, const dukd_upscale_args *a, dukd_error *error);
    /* Before the first affinity: looks for a library of matrix products, and says in one line what does them. */
    void (*prepare_products)(dukd_backend *b, char detail[256]);
    void (*destroy)(dukd_backend *b);
};

/* backend/cpu: `level` limits the instruction set, for tests: "ref", "avx2", "avx512", NULL the best one
 * here. host may offer parallel_for, which is then used instead of OpenMP; alloc and free for workspaces. */
int32_t dukd_backend_cpu_create(dukd_backend **out, const dukd_host *host, const char *level,
                                dukd_error *error);
/* What prepare_products does where no level was asked for, with the module at `path` (NULL: beside this code's file), for tests and
 * benchmarks. */
void dukd_backend_cpu_open_products(dukd_backend *b, const char *path, char detail[256]);
/* Whether and how the CPU backend works here (for query_backend). */
void dukd_backend_cpu_describe(dukd_backend_info *out);

/* backend/cuda: opens the module libdukd-cuda.so, which lies beside this library. Whatever is missing (the module, a
 * driver, a device, memory) is DUKD_E_UNSUPPORTED, _BACKEND or _MEMORY with its own message. host may offer alloc and
 * free, which then give the device's memory, too. */
int32_t dukd_backend_cuda_create(dukd_backend **out, const dukd_host *host, int32_t device_id,
                                 dukd_error *error);
/* Whether and how the CUDA backend works here; makes no context on a device. */
void dukd_backend_cuda_describe(dukd_backend_info *out);

#endif
