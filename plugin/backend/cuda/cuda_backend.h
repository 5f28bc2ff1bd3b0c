/* The CUDA backend's own state, and what its files share. Host code: C, with the CUDA runtime. */
#ifndef DUKD_CUDA_BACKEND_H
#define DUKD_CUDA_BACKEND_H

#include "backend.h"
#include "cuda_kernels.h"

#include <cuda_runtime_api.h>
#include <sys/types.h>

#define DUKD_CUDA_LANDING 64 /* doubles */
#ifndef DUKD_CUDA_OLDEST
#define DUKD_CUDA_OLDEST 75 /* ten times the oldest compute capability of those that are built by default */
#endif

/* The driver's own functions for the thread's context; NULL: not found. A context is opaque here. */
typedef struct {
    int (*get)(void **context); /* cuCtxGetCurrent */
    int (*set)(void *context);  /* cuCtxSetCurrent */
} dukd_cuda_contexts;

typedef struct {
    dukd_backend base; /* first: a dukd_backend * is a dukd_cuda_backend * */
    int32_t device;
    pid_t owner; /* the process that made it: in a forked one CUDA may not be called */
    dukd_cuda_contexts contexts;
    cudaStream_t stream; /* of the last begin; the default stream before */
    /* the host's memory, or NULL */
    void *ctx;
    void *(*alloc)(void *ctx, int32_t device_type, int32_t device_id, uint64_t size, uint64_t align,
                   void *stream);
    void (*free)(void *ctx, void *p, int32_t device_type, int32_t device_id, void *stream);
    dukd_cuda_pair *partial; /* [2][partials] sums of blocks */
    int64_t partials;
    double *column; /* [columns] sums of hardest; NULL: never asked for */
    int64_t columns;
    char *features; /* [features_size] bytes: the workspace of affinity and contrast; NULL: never asked for */
    int64_t features_size;
    double landing
        [DUKD_CUDA_LANDING]; /* where copies to the host arrive: one that was not waited for may still do so */
    bool landing_busy;
} dukd_cuda_backend;

static inline dukd_cuda_backend *dukd_cuda_backend_of(dukd_backend *b) {
    return (dukd_cuda_backend *)b;
}

/* ---- cuda_turn.c ---- */

/* DUKD_OK, or what a failed call of the runtime means, with a message that names `what` ("launching zoom in"). The runtime forgets the
 * failure: it is no error of a later launch. */
int32_t dukd_cuda_check(int status, const char *what, dukd_error *error);

/* A pair around everything that asks for a device: makes the backend's device current, and what the caller's thread had before current
 * again. That is its context and not its device's number: a thread that has none gets none, neither on the session's device nor, half
 * a gigabyte of it, on device 0. */
typedef struct {
    int (*restore)(void *context); /* cuCtxSetCurrent; NULL: by the device's number, or nothing to put back */
    void *context;                 /* of the caller; NULL: none */
    int before;                    /* its device; -1: nothing to put back */
} dukd_cuda_turn;
int32_t dukd_cuda_enter(const dukd_cuda_backend *b, dukd_cuda_turn *turn, dukd_error *error);
void dukd_cuda_leave(dukd_cuda_turn *turn);
dukd_cuda_contexts dukd_cuda_find_contexts(void);
/* Gives the thread a capture mode and returns the one that it had in *mode. cudaStreamCaptureModeRelaxed: it may allocate, free and load
 * although some stream of the process is captured. Whether it worked. */
bool dukd_cuda_swap_capture_mode(enum cudaStreamCaptureMode *mode);

/* The operations of backend.h (cuda_ops.c). */
int32_t dukd_cuda_zoom_in_op(dukd_backend *b, const dukd_zoom_in_args *a, dukd_error *error);
int32_t dukd_cuda_zoom_out_op(dukd_backend *b, const dukd_zoom_out_args *a, dukd_error *error);
int32_t dukd_cuda_l1_op(dukd_backend *b, dukd_l1_args *a, dukd_error *error);
int32_t dukd_cuda_hardest_op(dukd_backend *b, const dukd_hardest_args *a, dukd_error *error);
int32_t dukd_cuda_place_op(dukd_backend *b, void *to, const void *from, uint64_t size, dukd_error *error);
/* The same (cuda_features.c). */
int32_t dukd_cuda_affinity_op(dukd_backend *b, dukd_affinity_args *a, dukd_error *error);
int32_t dukd_cuda_contrast_op(dukd_backend *b, dukd_contrast_args *a, dukd_error *error);
int32_t dukd_cuda_upscale_op(dukd_backend *b, const dukd_upscale_args *a, dukd_error *error);
void dukd_cuda_prepare_products(dukd_backend *b, char detail[256]);
/* Workspaces that the operations need for this load, in elements; 0 where it overflows. */
int64_t dukd_cuda_partials(const int64_t shape[4]);
int64_t dukd_cuda_columns(const dukd_backend_load *load);
/* Bytes that affinity and contrast need; -1 where a map is too large. */
int64_t dukd_cuda_features_room(const dukd_backend_load *load);

/* Between the files of operations: a tensor as kernels see it (NULL: no data); the product of four sizes, -1 where it does not fit a
 * grid of 31 bits; what that means. */
dukd_cuda_view dukd_cuda_view_of(const dukd_tensor *t);
int64_t dukd_cuda_grid(int64_t a, int64_t b, int64_t c, int64_t d);
int32_t dukd_cuda_too_large(const char *what, dukd_error *error);

/* Whether CUDA can be used here at all, and what it is: DUKD_OK and the number of devices, or why not (cuda_describe.c). */
int32_t dukd_cuda_look(int *devices, dukd_error *error);
/* Whether there is code for this device: DUKD_OK and its compute capability, or why not. */
int32_t dukd_cuda_look_at(int device, int *major, int *minor, dukd_error *error);
void dukd_cuda_describe(dukd_backend_info *out);

#endif
