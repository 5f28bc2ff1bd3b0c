/* The CUDA engine's own kernels, as C functions that launch them: everything that is no convolution and no product of matrices.
 *
 * Tensors are dukd_tensor (layout.h) in device memory, always DUKD_NHWC, f32 or bf16 (all of a call of one type unless it says
 * otherwise), dense, aligned to 256 bytes at their beginning. Each function does what the dukd_run_* of the same name in layout.h and ops.h does on the
 * processor, and its comment is there: values agree to rounding (sums in f32 or f64, functions in f32). Sums over pixels and images
 * have a fixed order: the same bits from run to run, no atomics. Parameters, their gradients, statistics and factors are f32 in
 * device memory.
 *
 * `stream` is a cudaStream_t. Every function enqueues on it and returns the launch's cudaError_t (0: none); none waits, allocates or
 * reads device memory, so that all can be captured into a graph. A tensor of no elements launches nothing. Sizes that do not fit a grid are
 * looped over. `scratch`: device memory of the bytes that the _scratch function says (0: NULL will do). `sum`: out is added to. */
#ifndef DUKD_GPU_KERNELS_H
#define DUKD_GPU_KERNELS_H

#include "engine/arrays.h"
#include "engine/layout.h"
#include "engine/packed_weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- gpu_elements.cu: element by element; out may be x ---- */
int gpu_leaky_relu(void *stream, const dukd_tensor *out, const dukd_tensor *x, float slope); /* 0: ReLU */
int gpu_leaky_relu_back(void *stream, const dukd_tensor *d, const dukd_tensor *y, float slope);
int gpu_gelu(void *stream, const dukd_tensor *out, const dukd_tensor *x);
int gpu_gelu_back(void *stream, const dukd_tensor *d, const dukd_tensor *x);
int gpu_sigmoid(void *stream, const dukd_tensor *out, const dukd_tensor *x);
int gpu_sigmoid_back(void *stream, const dukd_tensor *d, const dukd_tensor *y);
int gpu_scale(void *stream, const dukd_tensor *out, const dukd_tensor *x, float factor);
int gpu_add(void *stream, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b);
int gpu_cast(void *stream, const dukd_tensor *out, const dukd_tensor *x,
             int sum); /* to the other type, or the same */
int gpu_image_add(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                  const dukd_tensor *b);
int gpu_image_scale(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                    int sum);
int gpu_affine(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
               const float *shifts, int sum);
int gpu_mul(void *stream, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b,
            const dukd_tensor *addend, float factor);
int gpu_mul_back(void *stream, const dukd_tensor *da, const dukd_tensor *d, const dukd_tensor *b,
                 float factor, int sum);
int64_t gpu_mul_back_channels_scratch(const dukd_tensor *d);
int gpu_mul_back_channels(void *stream, const dukd_tensor *db, const dukd_tensor *d, const dukd_tensor *a,
                          float factor, int sum, void *scratch);
int gpu_copy_channels(void *stream, const dukd_tensor *out, int32_t out_first, const dukd_tensor *x,
                      int32_t x_first, int32_t count, int sum);

/* What follows a convolution or product whose library call could not do it: out = act(x + bias[c]) + addend, for out of either type; bias
 * and addend may be NULL; act as in fusion.h (slope: of RELU). out may be x or addend (of the same type). */
int gpu_epilogue(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *bias,
                 dukd_activation act, float slope, const dukd_tensor *addend);
/* Sums of channels over all images and pixels, in parts: parts x channels, f32, which gpu_unpack_gradients adds up to a bias's gradient. How
 * many there are follows from the tensor's size. */
int32_t gpu_channel_part_count(const dukd_tensor *x);
int gpu_channel_parts(void *stream, float *parts, const dukd_tensor *x);
/* gpu_leaky_relu_back that leaves the parts of d, masked; and in the same launch those of another tensor of as many channels (NULL: none). */
int gpu_leaky_relu_back_parts(void *stream, const dukd_tensor *d, const dukd_tensor *y, float slope,
                              float *parts, const dukd_tensor *other, float *other_parts);

/* ---- gpu_exchange.cu: pixel shuffles, and the caller's N x C x H x W f32 tensors ---- */
int gpu_shuffle(void *stream, const dukd_tensor *out, const dukd_tensor *x, int32_t r, int32_t order);
int gpu_unshuffle(void *stream, const dukd_tensor *dx, const dukd_tensor *d, int32_t r, int32_t order,
                  int sum);
/* dukd_exchange (layout.h): factors and shifts in device memory; first_row and total_rows are 0 (no bands here). */
int gpu_import(void *stream, const dukd_tensor *out, const float *caller, const dukd_exchange *x, int sum);
int gpu_export(void *stream, float *caller, const dukd_tensor *in, const dukd_exchange *x);

/* ---- gpu_weights.cu: parameters and the weights that are run (packed_weights.h) ----
 * Packed weights are out x side x side x in / groups (cuDNN's NHWC filters; of a 1 x 1 convolution rows of `in`), f32 or bf16.
 *
 * One launch does many: by a table, which is made in the processor's memory (gpu_*_table: `out` NULL says how long it is, else it is
 * filled) and copied to the device's. */
typedef struct {
    int32_t out_channels, in_channels, groups, kernel, side, order, source_order, spread;
    int32_t param_out, param_in; /* dims 0 and 1 of the parameter */
    float scale;
} gpu_packing;
gpu_packing gpu_packing_of(const dukd_run_conv *c); /* in C, gpu_packing.c */

typedef struct {
    int64_t bytes;  /* of the table */
    int64_t blocks; /* of its launch */
    int32_t count;  /* what is in it */
} gpu_table;

/* Packed weights, and the parameters they are made from: where these begin among all; bias -1: none. */
typedef struct {
    gpu_packing how;
    int64_t weight, bias;
    void *packed;
    dukd_type type;
    float *packed_bias; /* out_channels; NULL: not wanted; zeros without a bias */
    void *narrow_bias;  /* the same in bf16, likewise */
} gpu_pack_job;
gpu_table gpu_pack_table(void *out, const gpu_pack_job *jobs, int32_t count);
int gpu_pack_weights(void *stream, const gpu_table *t, const void *table, const float *weights);

/* A gradient of packed weights, and of their bias in parts (gpu_channel_parts): bytes from where all gradients of the table lie. Jobs may have the
 * same parameters: then weight and bias both, and they are added in the table's order. */
typedef struct {
    gpu_packing how;
    int64_t weight, bias; /* as above */
    int64_t packed, parts;
    dukd_type type;
    int32_t part_count; /* of the bias */
} gpu_unpack_job;
gpu_table gpu_unpack_table(void *out, const gpu_unpack_job *jobs, int32_t count);
/* d_weights += the parameters' gradients. */
int gpu_unpack_gradients(void *stream, const gpu_table *t, const void *table, float *d_weights,
                         const void *gradients);

/* ---- gpu_norm.cu, gpu_attention.cu, gpu_pool.cu: see ops.h ---- */
int gpu_layer_norm(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *weight,
                   const float *bias, float eps, float *stats);
int64_t gpu_layer_norm_back_scratch(const dukd_tensor *d);
int gpu_layer_norm_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, const dukd_tensor *x,
                        const float *weight, const float *stats, float *d_weight, float *d_bias, int sum,
                        void *scratch);
typedef struct {
    int32_t heads, window, shift;
    const float *table; /* device: (2 window - 1)^2 x heads */
} gpu_attention;
int64_t gpu_attention_scratch(const dukd_tensor *qkv, const gpu_attention *a);
int gpu_attention_run(void *stream, const dukd_tensor *out, const dukd_tensor *qkv, const gpu_attention *a,
                      void *scratch);
int64_t gpu_attention_back_scratch(const dukd_tensor *qkv, const gpu_attention *a);
int gpu_attention_back(void *stream, const dukd_tensor *d_qkv, const dukd_tensor *d, const dukd_tensor *qkv,
                       const gpu_attention *a, float *d_table, void *scratch);
int64_t gpu_pool_scratch(const dukd_tensor *x);
int gpu_mean(void *stream, const dukd_tensor *out, const dukd_tensor *x, void *scratch);
int gpu_mean_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, int sum);
int gpu_deviation(void *stream, const dukd_tensor *out, const dukd_tensor *x, void *scratch);
int gpu_deviation_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, const dukd_tensor *x,
                       const dukd_tensor *y, int sum, void *scratch);
int gpu_max_pool(void *stream, const dukd_tensor *out, const dukd_tensor *x, int32_t kernel, int32_t stride);
/* A gather: each source pixel looks at the windows that hold it. */
int gpu_max_pool_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, const dukd_tensor *x,
                      int32_t kernel, int32_t stride, int sum);
int gpu_resize(void *stream, const dukd_tensor *out, const dukd_tensor *x);
int gpu_resize_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, int sum);

/* ---- gpu_arrays.cu: arrays.h ---- */
int gpu_array_add(void *stream, float *to, const float *from, int64_t count);
int gpu_array_scale(void *stream, float *x, float factor, int64_t count);
int gpu_array_note_nonfinite(void *stream, const float *x, int64_t count, int32_t *flag);
int gpu_array_gather(void *stream, float *out, const float *x, const int64_t shape[4],
                     const int64_t strides[4]);
int gpu_array_scatter_add(void *stream, float *to, const float *x, const int64_t shape[4],
                          const int64_t strides[4]);
int gpu_array_adam(void *stream, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                   float *m, float *v, float *w, int64_t count);
int gpu_array_descend(void *stream, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                      float *w, int64_t count);
int gpu_array_average(void *stream, const int32_t *broken, float *ema, const float *w, float keep, float take,
                      int64_t count);

/* Registers a file's kernels with the device now rather than in their first launch (which may be inside of a capture), and finds out
 * whether the device has code for them. */
int gpu_load_elements(void);
int gpu_load_exchange(void);
int gpu_load_weights(void);
int gpu_load_norm(void);
int gpu_load_attention(void);
int gpu_load_pool(void);
int gpu_load_arrays(void);

#ifdef __cplusplus
}
#endif

#endif
