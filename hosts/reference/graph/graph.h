/* A network as a graph of operations, with no backend in sight.
 *
 * models/ builds graphs, engine/ compiles and runs them. A graph is made once for a network and holds for
 * every batch and every image size: values have channels and a resolution relative to the input, but no
 * height and width.
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
    DUKD_OP_CONV,          /* k x k convolution, stride 1, padding k/2 with zeros, with bias */
    DUKD_OP_RELU,          /* max(x, 0) */
    DUKD_OP_SCALE,         /* x * factor */
    DUKD_OP_ADD,           /* a + b, equal shapes */
    DUKD_OP_PIXEL_SHUFFLE, /* N x C r^2 x h x w -> N x C x rh x rw, out(c, rh+i, rw+j) =
                            * in(c r^2 + i r + j, h, w) */
    DUKD_OP_AFFINE,        /* x * factor[c] + shift[c], constants, not parameters */
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

typedef struct {
    dukd_op_kind kind;
    dukd_value in[2];     /* operands; -1 where there is none */
    int32_t channels;     /* of the output */
    int32_t up;           /* resolution of the output relative to the input: height = h * up */
    int32_t kernel;       /* CONV: k, odd; PIXEL_SHUFFLE: r */
    int32_t weight, bias; /* CONV: indices of parameters; bias -1 where there is none */
    int32_t reach; /* pixels of this value, on each side, that can influence a pixel of the graph's output;
                    * -1 where the output does not depend on it. Known once the graph is finished. */
    float factor;  /* SCALE */
    const float *factors, *shifts; /* AFFINE: one a channel; owned by the graph */
    const char *layer;             /* the first layer name of this value, or NULL; owned by the graph */
} dukd_op;

/* ---- building ---- */

/* NULL: no memory. The calls of this section ignore a NULL graph, and dukd_graph_finish reports it. */
dukd_graph *dukd_graph_create(void);
void dukd_graph_destroy(dukd_graph *g);

dukd_value dukd_graph_input(dukd_graph *g, int32_t channels);
/* Adds parameters NAME.weight (out x in x k x k) and NAME.bias (out), both U(+-1/sqrt(in k k)). The output is
 * layer NAME. */
dukd_value dukd_graph_conv(dukd_graph *g, dukd_value x, int32_t out_channels, int32_t kernel,
                           const char *name);
dukd_value dukd_graph_relu(dukd_graph *g, dukd_value x);
dukd_value dukd_graph_scale(dukd_graph *g, dukd_value x, float factor);
dukd_value dukd_graph_add(dukd_graph *g, dukd_value a, dukd_value b);
dukd_value dukd_graph_pixel_shuffle(dukd_graph *g, dukd_value x, int32_t r);
dukd_value dukd_graph_affine(dukd_graph *g, dukd_value x, const float *factors, const float *shifts);
/* A name by which an option file taps the value. A value may have several (the last block is also "body"); no
 * two values share one. */
void dukd_graph_layer(dukd_graph *g, dukd_value x, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Names the output and closes the graph. The error tells the first call that could not be done. */
int dukd_graph_finish(dukd_graph *g, dukd_value output, dukd_failure *f);

/* ---- reading; all pointers live as long as the graph ---- */

int32_t dukd_graph_op_count(const dukd_graph *g);
const dukd_op *dukd_graph_op(const dukd_graph *g, int32_t i);
dukd_value dukd_graph_output(const dukd_graph *g);
int32_t dukd_graph_upscale(const dukd_graph *g); /* resolution of the output relative to the input */
int32_t dukd_graph_param_count(const dukd_graph *g);
const dukd_param *dukd_graph_param(const dukd_graph *g, int32_t i);
int32_t dukd_graph_find_param(const dukd_graph *g, const char *name);     /* -1: none */
dukd_value dukd_graph_find_layer(const dukd_graph *g, const char *layer); /* -1: none */
int32_t dukd_graph_layer_count(const dukd_graph *g);
/* The i-th layer name, in the order of naming; *value, which may be NULL, gets its value. */
const char *dukd_graph_layer_name(const dukd_graph *g, int32_t i, dukd_value *value);
int64_t dukd_graph_weights(const dukd_graph *g); /* elements of the flat array: the number of parameters */

/* Multiply-adds for one image of h x w, in the paper's convention: convolutions only (biases, ReLU and
 * additions are not counted). INT64_MAX where the count is larger. */
int64_t dukd_graph_multiply_adds(const dukd_graph *g, int64_t h, int64_t w);
/* Pixels of the input, on each side, that can influence a pixel of the output (rounded up). */
int32_t dukd_graph_receptive_radius(const dukd_graph *g);

/* Initial weights, a pure function of (seed, index of the parameter, element). */
void dukd_graph_init(const dukd_graph *g, uint64_t seed, float *weights);

#endif
