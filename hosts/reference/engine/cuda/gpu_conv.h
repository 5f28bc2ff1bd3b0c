/* Convolutions on the device: cuDNN's graph API, and cuBLASLt where the kernel is 1 x 1.
 *
 * NHWC tensors, filters out x side x side x in / groups (gpu_pack_weights). f32 or bf16 with f32 sums; TF32 only where it was asked
 * for. Deterministic engines alone. What a library cannot fuse (bias, activation, addend) is done by gpu_epilogue afterwards: callers do
 * not see the difference. In bf16 that rounds once more in between; a bias is rounded to bf16 where a library takes no other.
 *
 * Both libraries are opened at run time: a machine without them, or with another major version, gets a message. */
#ifndef DUKD_GPU_CONV_H
#define DUKD_GPU_CONV_H

#include "engine/fusion.h"
#include "engine/layout.h"

typedef struct gpu_libraries gpu_libraries; /* gpu_libraries.h */
typedef struct gpu_conv gpu_conv;

/* Opens cuDNN 9 and cuBLASLt (beside this module first, then as the loader finds them) and makes their handles on the current device.
 * A library that is missing, too old, of another major version, or lacks a function: a message that names it and says what to install. */
int gpu_libraries_open(gpu_libraries **out, void *stream, dukd_failure *f);
void gpu_libraries_close(gpu_libraries *l); /* NULL allowed */
void gpu_libraries_text(const gpu_libraries *l, char *out,
                        size_t room); /* "cuDNN 9.13.1, cuBLASLt 13.1, no NVRTC" */

typedef enum {
    GPU_CONV_FORWARD,          /* out = act(conv(x, w) + bias) + addend; see below */
    GPU_CONV_DATA_GRADIENT,    /* dx (+)= from d and w */
    GPU_CONV_WEIGHTS_GRADIENT, /* dw = from x and d; of gpu_conv_gradient_type */
} gpu_conv_kind;

/* Equal shapes may share one gpu_conv. */
typedef struct {
    gpu_conv_kind kind;
    int32_t images, in_channels, height, width; /* of x */
    int32_t out_channels, side, stride, padding, groups;
    dukd_type type;      /* of x, filters and what is computed from them (but for dw) */
    int32_t has_bias;    /* FORWARD; f32, out_channels */
    dukd_activation act; /* FORWARD, with slope; an addend comes after it */
    float slope;
    int32_t
        has_addend; /* FORWARD: of out's shape and type, may be out itself (which may cost a pass over it). DATA_GRADIENT: dx is added to */
    int32_t tf32;   /* f32 products may be rounded to TF32 */
} gpu_conv_spec;

/* Height and width of out and d. */
int64_t gpu_conv_out_side(const gpu_conv_spec *s, int32_t size);

int gpu_conv_create(gpu_conv **out, gpu_libraries *l, const gpu_conv_spec *spec, dukd_failure *f);
void gpu_conv_destroy(gpu_conv *c); /* NULL allowed */
/* Of dw: f32, or bf16 where the libraries give no f32 for operands in bf16. Its sums are in f32 all the same, and rounded once. */
dukd_type gpu_conv_gradient_type(const gpu_conv *c);
/* Device memory that a run needs, besides its arguments; needs no contents. */
int64_t gpu_conv_workspace(const gpu_conv *c);

typedef struct {
    const void *x, *w, *d; /* those that the kind reads */
    const float *bias;     /* NULL without */
    const void
        *narrow_bias;   /* the same in bf16, where `type` is; which of them is read is the library's choice */
    const void *addend; /* NULL without */
    void *out;          /* out, dx or dw */
    void *workspace;    /* gpu_conv_workspace bytes, aligned to 256 */
} gpu_conv_operands;
/* Enqueues on the libraries' stream. */
int gpu_conv_run(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f);

#endif
