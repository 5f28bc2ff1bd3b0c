/* The operations of ops.h on a part of the work, one table for an instruction set and a type. Between ops_*.c. */
#ifndef DUKD_OPS_KERNELS_H
#define DUKD_OPS_KERNELS_H

#include "engine/ops.h"

typedef enum {
    DUKD_EACH_LEAKY,        /* a > 0 ? a : factor a */
    DUKD_EACH_LEAKY_BACK,   /* b > 0 ? a : factor a; b = y */
    DUKD_EACH_GELU,         /* of a */
    DUKD_EACH_GELU_BACK,    /* a gelu'(b); b = x */
    DUKD_EACH_SIGMOID,      /* of a */
    DUKD_EACH_SIGMOID_BACK, /* a b (1 - b); b = y */
    DUKD_EACH_SCALE,        /* factor a (+ b) */
    DUKD_EACH_COUNT
} dukd_each_kind;

/* out = g x + addend with a factor g of its own for each channel c:
 *     g = factor b[c], or factor b[c] / y[c] where y is not NULL (0 where y[c] is 0)
 * and x less mean[c] where that is not NULL; without x, out = g + addend. out may be x or addend. */
typedef struct {
    const void *x, *addend; /* pixels x channels, or NULL */
    const void *b, *y;      /* one a channel */
    const float *mean;      /* one a channel, or NULL */
    float factor;
    int32_t channels;
} dukd_channel_map;

/* What is summed over pixels for each channel: a, or a b, or (a - mean[c])^2. */
typedef struct {
    const void *a, *b;
    const float *mean;
    int32_t channels;
} dukd_channel_sum;

typedef struct {
    const float *weight, *bias;
    float eps;
    int32_t channels;
} dukd_norm;

enum { DUKD_ATTENTION_TOKENS = 256, DUKD_ATTENTION_BLOCK = 64 }; /* of a window at most; queries at a time */

#define DUKD_LOG2_E 1.44269504f

/* One call of attention. Tokens of a window are counted in rows; bias[head][j][i] (row of `padded`), already times `root`, is added
 * to the product of query i with key j, and the sum divided by `root`: so the softmax does it, and the queries stay exact. */
typedef struct {
    const void *qkv, *d; /* d: backward */
    void *out;           /* out, or d_qkv */
    const float *bias;
    int32_t height, width, channels, heads, window, shift;
    float root;             /* of the channels of a head */
    int32_t tokens, padded; /* window^2, and rounded up to whole vectors of any instruction set */
} dukd_attention_job;

typedef struct {
    /* elements [0, n) */
    void (*each[DUKD_EACH_COUNT])(void *out, const void *a, const void *b, float factor, int64_t n);
    void (*gelu_back_again)(void *d, void *x, int64_t n); /* d *= gelu'(x), x = gelu(x) */
    void (*multiply)(void *out, const void *a, const void *b, const void *addend, float factor, int64_t n);
    /* `pixels` neighbouring pixels */
    void (*map_channels)(void *out, const dukd_channel_map *m, int64_t pixels);
    void (*sum_channels)(float *sums, const dukd_channel_sum *s, int64_t pixels);
    void (*copy_channels)(void *out, const void *x, int64_t out_step, int64_t x_step, int64_t count, int sum,
                          int64_t pixels);
    void (*norm)(void *out, const void *x, const dukd_norm *n, float *stats, int64_t pixels);
    /* sums: d_weight and d_bias of these pixels, added to */
    void (*norm_back)(void *dx, const void *d, const void *x, const dukd_norm *n, const float *stats, int sum,
                      float *sums, int64_t pixels);
    /* out[c] (+)= factor (sums[c] + sums[step + c] + ...), or the root of that */
    void (*finish)(void *out, const float *sums, int64_t parts, int64_t channels, int64_t step, float factor,
                   int root, int sum);
    /* windows [begin, end), all heads; scratch: see ops_windows.c. d_bias: heads x tokens x padded, added to. */
    void (*attention)(const dukd_attention_job *j, int64_t begin, int64_t end, float *scratch);
    void (*attention_back)(const dukd_attention_job *j, int64_t begin, int64_t end, float *d_bias,
                           float *scratch);
    /* rows [begin, end) of the first tensor, all images counted through */
    void (*max_pool)(const dukd_tensor *out, const dukd_tensor *x, int32_t kernel, int32_t stride,
                     int64_t begin, int64_t end);
    void (*max_place)(float *place, const dukd_tensor *d, const dukd_tensor *x, int32_t kernel,
                      int32_t stride, int64_t begin, int64_t end);
    void (*max_pool_back)(const dukd_tensor *dx, const dukd_tensor *d, const float *place, int32_t kernel,
                          int32_t stride, int sum, int64_t begin, int64_t end);
    void (*resize)(const dukd_tensor *out, const dukd_tensor *x, int64_t begin, int64_t end);
    void (*resize_back)(const dukd_tensor *dx, const dukd_tensor *d, int sum, int64_t begin, int64_t end);
} dukd_ops_kernels;

/* [dukd_type] */
extern const dukd_ops_kernels dukd_ops_base[2], dukd_ops_avx2[2], dukd_ops_avx512[2], dukd_ops_avx512_bf16[2];

#endif
