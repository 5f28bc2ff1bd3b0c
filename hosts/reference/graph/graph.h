/* A network as a graph of operations, with no backend in sight.
 *
 * models/ builds graphs, engine/ compiles and runs them. A graph is made once for a network and holds for
 * every batch and every image size: values have channels and a rule for their size, but no height and width.
 *
 * Building never fails in the middle: a call that cannot be done (no memory, channels that do not fit) marks
 * the graph, every later call is ignored, and dukd_graph_finish says what was wrong. Values are small
 * integers, valid in their graph; operations are stored in the order of their creation, which is an order of
 * execution.
 *
 * [one thread at a time while it is built; thread-safe to read afterwards] */
#ifndef DUKD_GRAPH_H
#define DUKD_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

typedef struct dukd_graph dukd_graph;
typedef int32_t dukd_value; /* a value of the graph: the output of the operation of the same index */

typedef enum {
    DUKD_OP_INPUT,         /* the network's input, N x C x h x w */
    DUKD_OP_CONV,          /* convolution, see dukd_conv_shape; a linear layer is one of 1 x 1 */
    DUKD_OP_RELU,          /* x > 0 ? x : slope x; `factor` is the slope, 0 for ReLU */
    DUKD_OP_GELU,          /* x / 2 (1 + erf(x / sqrt 2)) */
    DUKD_OP_SIGMOID,       /* 1 / (1 + exp(-x)) */
    DUKD_OP_SCALE,         /* x * factor */
    DUKD_OP_ADD,           /* a + b, equal shapes */
    DUKD_OP_MUL,           /* a * b, equal shapes, or b of 1 x 1 pixels: one factor a channel */
    DUKD_OP_PIXEL_SHUFFLE, /* N x C r^2 x h x w -> N x C x rh x rw, out(c, rh+i, rw+j) =
                            * in(c r^2 + i r + j, h, w) */
    DUKD_OP_AFFINE,        /* x * factor[c] + shift[c], constants, not parameters */
    DUKD_OP_CONCAT,        /* the operands' channels, one after the other */
    DUKD_OP_SLICE,         /* channels first .. first + channels - 1 */
    DUKD_OP_LAYER_NORM, /* over the channels of each pixel: (x - mean) / sqrt(variance + eps) * weight[c] + bias[c];
                            * the variance is the mean square; `factor` is eps */
    DUKD_OP_ATTENTION, /* SwinIR's (shifted) window attention on 3C channels -> C, see dukd_graph_attention */
    DUKD_OP_DROP_PATH, /* in training x * (0 or 1 / (1 - p)), drawn for each image; else x. `factor` is p */
    DUKD_OP_MEAN,      /* -> 1 x 1 pixels: the mean of each channel */
    DUKD_OP_DEVIATION, /* -> 1 x 1 pixels: sqrt(mean of (x - mean)^2) of each channel */
    DUKD_OP_MAX_POOL,  /* k x k, stride, no padding, sizes rounded down */
    DUKD_OP_RESIZE, /* a resized to the size of b (which gives nothing else and gets no gradient): bilinear, pixels'
                            * centres aligned (PyTorch's align_corners=False), not antialiased */
} dukd_op_kind;

/* How a parameter starts (PyTorch's defaults; see dukd_graph_init). */
typedef enum {
    DUKD_INIT_UNIFORM,      /* U(-bound, bound) */
    DUKD_INIT_CONSTANT,     /* value */
    DUKD_INIT_TRUNC_NORMAL, /* N(0, sigma) cut at +-2, as torch's trunc_normal_ */
} dukd_init_kind;

/* A parameter tensor. All parameters of a network lie in one flat f32 array, each at `offset` (in elements),
 * in the order of their creation and in PyTorch's layout: a convolution's weight is out x in x k x k,
 * row-major. */
typedef struct {
    const char *name; /* BasicSR's, "body.0.conv1.weight"; owned by the graph */
    int32_t ndim;     /* 1..4 */
    int64_t dims[4];
    int64_t count; /* product of dims */
    int64_t offset;
    dukd_init_kind init;
    double init_value; /* bound, value or sigma */
} dukd_param;

#define DUKD_GRAPH_MAX_CHANNELS 4096
#define DUKD_OP_MAX_OPERANDS    8

typedef struct {
    dukd_op_kind kind;
    dukd_value in[DUKD_OP_MAX_OPERANDS]; /* operands; -1 where there is none */
    int32_t channels;                    /* of the output */
    int32_t grid; /* of the output: values of equal grids have equal sizes for every input; dukd_graph_size */
    int32_t up;   /* height = h * up, width = w * up; 0: no such number (after strides, 1 x 1 pixels) */
    int32_t kernel;                  /* CONV, MAX_POOL: k; PIXEL_SHUFFLE: r; ATTENTION: window */
    int32_t stride, padding, groups; /* CONV, MAX_POOL; 1, k / 2 and 1 unless asked for */
    int32_t first;                   /* SLICE */
    int32_t heads, shift;            /* ATTENTION */
    int32_t drop;                    /* DROP_PATH: its number among them, from 0 */
    /* Indices of parameters, -1: none. CONV, LAYER_NORM: both; ATTENTION: weight is the table of biases. Two
     * convolutions may name the same parameters (dukd_conv_shape.shared): their gradients add up. */
    int32_t weight, bias;
    /* Pixels of this value, on each side, that can influence a pixel of the graph's output, or more where it is
     * not worth knowing exactly (strides); DUKD_REACH_ALL: all. -1 where the output does not depend on the
     * value (the one whose size a RESIZE takes, say). Known once the graph is finished. */
    int32_t reach;
    float factor;                  /* RELU, SCALE, LAYER_NORM, DROP_PATH */
    const float *factors, *shifts; /* AFFINE: one a channel; owned by the graph */
    const char *layer;             /* the first layer name of this value, or NULL; owned by the graph */
} dukd_op;

#define DUKD_REACH_ALL INT32_MAX

/* ---- building ---- */

/* NULL: no memory. The calls of this section ignore a NULL graph, and dukd_graph_finish reports it. */
dukd_graph *dukd_graph_create(void);
void dukd_graph_destroy(dukd_graph *g);

dukd_value dukd_graph_input(dukd_graph *g, int32_t channels);
/* Adds parameters NAME.weight (out x in x k x k) and NAME.bias (out), both U(+-1/sqrt(in k k)). The output is
 * layer NAME. */
dukd_value dukd_graph_conv(dukd_graph *g, dukd_value x, int32_t out_channels, int32_t kernel,
                           const char *name);
/* Any other convolution. Zeros in a shape stand for: stride 1, padding k / 2, one group. The weight is
 * out x in / groups x k x k, the bound of the initial values 1/sqrt(in / groups k k). */
typedef struct {
    int32_t out_channels, kernel; /* the kernel is odd where there is padding */
    int32_t stride;               /* 1..16 */
    int32_t no_padding;           /* 1: none, the output is smaller */
    int32_t groups;               /* divides both counts of channels */
    int32_t no_bias;              /* 1: the layer has no NAME.bias */
    int32_t linear;               /* 1: a linear layer (see below); kernel, stride and groups are 1 or 0 */
    int32_t shared; /* 1: NAME is a convolution that exists; its parameters are used once more, and the output
                     * is no layer of its own */
} dukd_conv_shape;
dukd_value dukd_graph_conv_shape(dukd_graph *g, dukd_value x, const dukd_conv_shape *shape, const char *name);
/* A linear layer on the channels of each pixel: a 1 x 1 convolution whose NAME.weight is stored out x in; truncated
 * normal of sigma .02, bias 0 (SwinIR's). */
dukd_value dukd_graph_linear(dukd_graph *g, dukd_value x, int32_t out_channels, const char *name);
/* NAME.weight and NAME.bias, one a channel, start as 1 and 0. The output is layer NAME. */
dukd_value dukd_graph_layer_norm(dukd_graph *g, dukd_value x, float eps, const char *name);
/* Window attention with relative position bias (Liu et al., "Swin Transformer", 2021; BasicSR's WindowAttention between
 * its linear layers). x: 3C channels, q then k then v, each split into `heads` equal runs of d = C / heads. The image is
 * rolled by -shift, cut into windows of `window` x `window` pixels, and in each, for each head,
 *     out = softmax(q k^T / sqrt(d) + B) v
 * over the window's pixels; B(i, j) = table[(yi - yj + window - 1) (2 window - 1) + xi - xj + window - 1][head], less 100
 * where shift > 0 and i and j come from different sides of the rolled image's seams (BasicSR's calculate_mask). Then
 * rolled back. Adds parameter NAME.relative_position_bias_table ((2 window - 1)^2 x heads, truncated normal .02).
 * 0 <= shift < window <= 64. The input image's sides must be multiples of the window: dukd_graph_multiple. The value has
 * a fixed scale (`up` is not 0). */
dukd_value dukd_graph_attention(dukd_graph *g, dukd_value x, int32_t heads, int32_t window, int32_t shift,
                                const char *name);
/* Adds the constants NAME.relative_position_index (window^2 x window^2) and, where `shift` > 0, MASK_NAME (windows x
 * window^2 x window^2, of an image of height x width); NULL for either: none. */
void dukd_graph_window_constants(dukd_graph *g, const char *name, const char *mask_name, int32_t window,
                                 int32_t shift, int32_t height, int32_t width);
dukd_value dukd_graph_relu(dukd_graph *g, dukd_value x);
dukd_value dukd_graph_leaky_relu(dukd_graph *g, dukd_value x, float slope); /* 0 <= slope < 1 */
dukd_value dukd_graph_gelu(dukd_graph *g, dukd_value x);
dukd_value dukd_graph_sigmoid(dukd_graph *g, dukd_value x);
dukd_value dukd_graph_mul(dukd_graph *g, dukd_value a, dukd_value b);
dukd_value dukd_graph_concat(dukd_graph *g, const dukd_value *parts,
                             int32_t count); /* 2..DUKD_OP_MAX_OPERANDS */
dukd_value dukd_graph_slice(dukd_graph *g, dukd_value x, int32_t first, int32_t count);
dukd_value dukd_graph_drop_path(dukd_graph *g, dukd_value x,
                                float probability); /* 0 <= p < 1; 0 adds nothing */
dukd_value dukd_graph_mean(dukd_graph *g, dukd_value x);
dukd_value dukd_graph_deviation(dukd_graph *g, dukd_value x);
dukd_value dukd_graph_max_pool(dukd_graph *g, dukd_value x, int32_t kernel, int32_t stride);
dukd_value dukd_graph_resize_like(dukd_graph *g, dukd_value x, dukd_value like);
dukd_value dukd_graph_scale(dukd_graph *g, dukd_value x, float factor);
dukd_value dukd_graph_add(dukd_graph *g, dukd_value a, dukd_value b);
dukd_value dukd_graph_pixel_shuffle(dukd_graph *g, dukd_value x, int32_t r);
dukd_value dukd_graph_affine(dukd_graph *g, dukd_value x, const float *factors, const float *shifts);
/* A name by which an option file taps the value. A value may have several (the last block is also "body"); no
 * two values share one. */
void dukd_graph_layer(dukd_graph *g, dukd_value x, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Gives the name of a layer that there is to another value: what a hook on that layer sees in PyTorch where the next operation
 * works in place (`res += x` adds to the very tensor that the layer returned). */
void dukd_graph_move_layer(dukd_graph *g, dukd_value x, const char *name);
/* Names the output and closes the graph. The error tells the first call that could not be done. */
int dukd_graph_finish(dukd_graph *g, dukd_value output, dukd_failure *f);

/* ---- reading; all pointers live as long as the graph ---- */

int32_t dukd_graph_op_count(const dukd_graph *g);
const dukd_op *dukd_graph_op(const dukd_graph *g, int32_t i);
dukd_value dukd_graph_output(const dukd_graph *g);
int32_t dukd_graph_upscale(const dukd_graph *g); /* `up` of the output */
int32_t dukd_graph_param_count(const dukd_graph *g);
const dukd_param *dukd_graph_param(const dukd_graph *g, int32_t i);
int32_t dukd_graph_find_param(const dukd_graph *g, const char *name);     /* -1: none */
dukd_value dukd_graph_find_layer(const dukd_graph *g, const char *layer); /* -1: none */
int32_t dukd_graph_layer_count(const dukd_graph *g);
/* The i-th layer name, in the order of naming; *value, which may be NULL, gets its value. */
const char *dukd_graph_layer_name(const dukd_graph *g, int32_t i, dukd_value *value);
int64_t dukd_graph_weights(const dukd_graph *g); /* elements of the flat array: the number of parameters */

/* Height and width of a value for an input of h x w: 0 where the input is too small, INT64_MAX where they are larger
 * than that. */
void dukd_graph_size(const dukd_graph *g, dukd_value v, int64_t h, int64_t w, int64_t out[2]);
/* The sides of an input must be multiples of this (the windows' least common multiple; 1 without attention). */
int32_t dukd_graph_multiple(const dukd_graph *g);
/* DUKD_MISUSED, with the sizes and what would do, where the network cannot run on h x w: no multiple, or too small. */
int dukd_graph_check_size(const dukd_graph *g, int64_t h, int64_t w, dukd_failure *f);
/* Drop paths: their number, and the probability of the i-th. */
int32_t dukd_graph_drop_count(const dukd_graph *g);
float dukd_graph_drop_probability(const dukd_graph *g, int32_t i);

/* Tensors that BasicSR's module stores beside its parameters although they follow from its options (SwinIR's
 * relative_position_index and attn_mask): checkpoints for BasicSR must hold them, ours are read without them. */
typedef struct {
    const char *name;
    int32_t ndim;
    int64_t dims[4];
    int64_t count;
    int32_t is_integer; /* 1: i64, 0: f32 */
    int32_t window, shift, height, width;
} dukd_constant;
int32_t dukd_graph_constant_count(const dukd_graph *g);
const dukd_constant *dukd_graph_constant(const dukd_graph *g, int32_t i);
void dukd_constant_fill(const dukd_constant *c, void *out); /* `count` numbers of 8 or 4 bytes */

/* Multiply-adds for one image of h x w, in the convention of the paper's tables (that of the tool fvcore): convolutions,
 * linear layers and the two products of attention, without biases; and one for each element that a mean reads, five for
 * each element of a layer norm, four for each pixel that a resize makes. Nothing else is counted (activations, sums,
 * products, softmax, deviations). INT64_MAX where the count is larger. */
int64_t dukd_graph_multiply_adds(const dukd_graph *g, int64_t h, int64_t w);
/* Pixels of the input, on each side, that can influence a pixel of the output (rounded up). DUKD_REACH_ALL: all of them
 * (a mean over the image; a resize whose positions follow from the image's size), so that tiles are not exact. With attention it holds for tiles that begin at multiples of
 * dukd_graph_multiple. */
int32_t dukd_graph_receptive_radius(const dukd_graph *g);

/* Initial weights, a pure function of (seed, index of the parameter, element). */
void dukd_graph_init(const dukd_graph *g, uint64_t seed, float *weights);

#endif
