/* The operations of RCAN, SwinIR and small networks on an engine's tensors, forward and backward; layout.h has the first ones.
 *
 * Tensors are NHWC (layout.h), f32 or bf16, all of a call of one type; sums and functions are computed in f32 whatever the type.
 * What treats elements or channels by themselves (element by element; mean and deviation) runs on BLOCK16 tensors too.
 * Parameters and their gradients are f32, in PyTorch's layout, and gradients of parameters are added to (+=). `sum` says whether
 * dx is added to or overwritten. Where dx may be d, the comment says so; otherwise tensors do not overlap.
 *
 * Every operation runs on `threads` threads and gives the same bits for any number of them: what is summed over pixels or images
 * is cut the same way for every thread count, and the parts are added in their order. Nothing here allocates: parts lie in
 * `scratch` (aligned to 64, of the size that the operation's _scratch function says; it needs no contents). */
#ifndef DUKD_OPS_H
#define DUKD_OPS_H

#include "engine/layout.h"

/* ---- element by element; out may be x ---- */
void dukd_run_leaky_relu(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, float slope);
/* d = y > 0 ? d : slope d, for the output y of a (leaky) ReLU of slope >= 0 */
void dukd_run_leaky_relu_back(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *y, float slope);
/* With erf, not its tanh form; relative error 6e-7 (1 + x^2 / 16), of the gradient 3e-7 absolute. */
void dukd_run_gelu(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x);
void dukd_run_gelu_back(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *x); /* d *= gelu'(x) */
/* The same, and x = gelu(x), which costs little more. */
void dukd_run_gelu_back_again(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *x);
void dukd_run_sigmoid(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x);
void dukd_run_sigmoid_back(const dukd_worker *w, const dukd_tensor *d,
                           const dukd_tensor *y); /* d *= y (1 - y) */
/* out (+)= x * factors[n] of image n (a drop path, and its own gradient). */
void dukd_run_image_scale(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                          const float *factors, int sum);
/* out = factor a b + addend (which may be NULL). b: like a, or 1 x 1 pixels. out may be a or addend, or b if that is like a. */
void dukd_run_mul(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b,
                  const dukd_tensor *addend, float factor);
/* da (+)= factor d b */
void dukd_run_mul_back(const dukd_worker *w, const dukd_tensor *da, const dukd_tensor *d,
                       const dukd_tensor *b, float factor, int sum);
/* db (+)= the sum over pixels of factor d a; db has 1 x 1 pixels */
int64_t dukd_run_mul_back_channels_scratch(const dukd_tensor *d);
void dukd_run_mul_back_channels(const dukd_worker *w, const dukd_tensor *db, const dukd_tensor *d,
                                const dukd_tensor *a, float factor, int sum, void *scratch);

/* ---- channels ---- */
/* Channels out_first .. + count - 1 of out (+)= channels x_first .. of x: concatenations, slices and their gradients. */
void dukd_run_copy_channels(const dukd_worker *w, const dukd_tensor *out, int32_t out_first,
                            const dukd_tensor *x, int32_t x_first, int32_t count, int sum);

/* Layer norm over the channels of each pixel (graph.h). stats: two f32 a pixel, mean and 1 / sqrt(variance + eps), written
 * by the forward and read by the backward; NULL in the forward: not wanted. */
void dukd_run_layer_norm(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                         const float *weight, const float *bias, float eps, float *stats);
int64_t dukd_run_layer_norm_back_scratch(const dukd_tensor *d);
void dukd_run_layer_norm_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d,
                              const dukd_tensor *x, const float *weight, const float *stats, float *d_weight,
                              float *d_bias, int sum, void *scratch);

/* ---- windows (graph.h, dukd_graph_attention) ---- */
typedef struct {
    int32_t heads, window, shift;
    const float *table; /* (2 window - 1)^2 x heads */
} dukd_attention;
/* out: C channels; qkv: 3C. Holds one head of one window a thread, in scratch. */
int64_t dukd_run_attention_scratch(const dukd_worker *w, const dukd_tensor *qkv, const dukd_attention *a);
void dukd_run_attention(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *qkv,
                        const dukd_attention *a, void *scratch);
/* The softmax is computed again from qkv. d_qkv is overwritten; d_table is added to. */
int64_t dukd_run_attention_back_scratch(const dukd_worker *w, const dukd_tensor *qkv,
                                        const dukd_attention *a);
void dukd_run_attention_back(const dukd_worker *w, const dukd_tensor *d_qkv, const dukd_tensor *d,
                             const dukd_tensor *qkv, const dukd_attention *a, float *d_table, void *scratch);

/* ---- pixels ---- */
/* out has 1 x 1 pixels: the mean, or the standard deviation, of each channel. */
int64_t dukd_run_pool_scratch(const dukd_tensor *x);
void dukd_run_mean(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, void *scratch);
void dukd_run_mean_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d, int sum);
void dukd_run_deviation(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, void *scratch);
/* y: the forward's output. A channel of deviation 0 gets no gradient (PyTorch's is NaN there). */
void dukd_run_deviation_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d,
                             const dukd_tensor *x, const dukd_tensor *y, int sum, void *scratch);
void dukd_run_max_pool(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, int32_t kernel,
                       int32_t stride);
/* To the first of equal maxima in row order, as PyTorch does. kernel < 4096. */
int64_t dukd_run_max_pool_back_scratch(const dukd_tensor *d);
void dukd_run_max_pool_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d,
                            const dukd_tensor *x, int32_t kernel, int32_t stride, int sum, void *scratch);
void dukd_run_resize(const dukd_worker *w, const dukd_tensor *out,
                     const dukd_tensor *x); /* bilinear, see graph.h */
void dukd_run_resize_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d, int sum);

#endif
