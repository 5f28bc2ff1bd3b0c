/* A plan: the steps that compute a network's fused nodes (fusion.h), forward and for training backward, and the buffers that they read and
 * write. No backend in sight.
 *
 *     graph  --dukd_fuse-->  nodes  --dukd_plan_make-->  steps, buffers  --a backend's executor-->  numbers
 *
 * A backend has a dukd_plan in each of its programs (compiled execs), fills a dukd_plan_backend (what its engine is like, and functions that
 * lay out values and compile convolutions), calls dukd_plan_make, and runs the steps in their order: a switch over the kinds, each
 * a kernel on the operands a, b, c and out. engine/cuda is the plainer of the two that there are.
 *
 * Backward is the nodes in reverse, each handing its value's gradient on to what it read. Values that forward leaves for it are kept, or
 * computed again. In a bf16 network the last layers (convolutions that only outputs read) are f32, and what they read is cast for them.
 *
 * [thread-safe on distinct plans] */
#ifndef DUKD_PLAN_H
#define DUKD_PLAN_H

#include "engine/engine.h"
#include "engine/fusion.h"
#include "engine/layout.h"
#include "engine/packed_weights.h"

typedef enum {
    DUKD_STEP_IMPORT, /* out (+)= caller's input, or the gradient of an output */
    DUKD_STEP_EXPORT, /* caller's output, or the gradient of the input = a */
    DUKD_STEP_CONV, /* out = conv(a) with packed weights, activation and all; b: addend, maybe out. A backend may compute a
                       * data gradient so (`back`); accumulate: out += */
    DUKD_STEP_DATA_GRADIENT, /* out (+)= from a (gradient of the node's value) */
    DUKD_STEP_WEIGHTS_GRADIENT, /* parameters' gradients += from a (source) and b (gradient of the node's value) */
    DUKD_STEP_RELU,             /* element by element, as all down to ADD: out may be a */
    DUKD_STEP_RELU_BACK,        /* out masked by a */
    DUKD_STEP_GELU,
    DUKD_STEP_GELU_BACK,       /* out *= gelu'(a) */
    DUKD_STEP_GELU_BACK_AGAIN, /* and a = gelu(a) */
    DUKD_STEP_SIGMOID,
    DUKD_STEP_SIGMOID_BACK, /* out *= a (1 - a) */
    DUKD_STEP_SCALE,
    DUKD_STEP_ADD,  /* out = a + b */
    DUKD_STEP_CAST, /* out (+)= a of the other type; not in place */
    DUKD_STEP_AFFINE,
    DUKD_STEP_SHUFFLE,
    DUKD_STEP_UNSHUFFLE,         /* out (+)= */
    DUKD_STEP_CLEAR,             /* out = 0 */
    DUKD_STEP_EDGES,             /* rows of out that are outside the image = 0; only with bands */
    DUKD_STEP_MUL,               /* out = factor a b + c; out may be a or c */
    DUKD_STEP_MUL_BACK,          /* out (+)= factor a b: a is the gradient, b the other operand */
    DUKD_STEP_MUL_BACK_CHANNELS, /* out (+)= sums of factor a b */
    DUKD_STEP_COPY_CHANNELS,     /* out (+)= */
    DUKD_STEP_LAYER_NORM,        /* c: what it leaves for its gradient, or none */
    DUKD_STEP_LAYER_NORM_BACK,   /* out (+)= from a (gradient), b (source), c */
    DUKD_STEP_ATTENTION,
    DUKD_STEP_ATTENTION_BACK, /* out = from a (gradient), b (source) */
    DUKD_STEP_DROP_PATH,      /* out (+)= a times the images' factors, plus b */
    DUKD_STEP_MEAN,
    DUKD_STEP_MEAN_BACK, /* out (+)= from a */
    DUKD_STEP_DEVIATION,
    DUKD_STEP_DEVIATION_BACK, /* out (+)= from a (gradient), b (source), c (value) */
    DUKD_STEP_MAX_POOL,
    DUKD_STEP_MAX_POOL_BACK, /* out (+)= from a (gradient), b (source) */
    DUKD_STEP_RESIZE,
    DUKD_STEP_RESIZE_BACK, /* out (+)= from a */
} dukd_step_kind;

/* What a step sees of a buffer. */
typedef struct {
    int32_t buffer; /* -1: no value */
    int32_t channels, height, width;
    dukd_type type;
    dukd_layout layout;
    int32_t up;   /* resolution relative to the input; 0: none */
    int32_t rows; /* of `height` that the step sees: all, but for bands */
    /* Bands (plan_bands.c); 0 without. */
    int32_t banded; /* the buffer holds a band of rows; 0: all rows */
    int32_t halo;   /* rows that the buffer has beside them, above and below */
    int32_t skip;   /* the rows begin at row `skip` of the buffer */
    int32_t moves;  /* and from there at the band's row */
} dukd_plan_value;

typedef struct {
    dukd_step_kind kind;
    const dukd_node *node;
    dukd_plan_value a, b, c, out;
    int32_t accumulate; /* out += */
    int32_t back;       /* of the backward */
    int32_t for_input;  /* done only where the caller wants the input's gradient */
    void *conv;         /* these three: of a convolution and its gradients, the backend's */
    int32_t packed;     /* which packed weights */
    dukd_run_conv run;
    const float *factors, *shifts;       /* one a channel, the graph's; NULL: 1 and 0 */
    float factor;                        /* SCALE, RELU's slope, of products */
    int32_t order;                       /* SHUFFLE, UNSHUFFLE: of the channels of the smaller tensor */
    int32_t to_first, from_first, count; /* COPY_CHANNELS: of out, of a */
} dukd_plan_step;

/* Holds `part` images, or all of the batch when they are kept from forward to backward over several parts. */
typedef struct {
    int64_t image_bytes;
    int32_t first, last, kept; /* steps */
    int64_t offset;            /* in the arena */
} dukd_plan_buffer;

typedef struct {
    dukd_purpose purpose;
    int32_t batch, height, width;
    int32_t part; /* images that go through the steps together; divides a TRAIN batch */
    dukd_fused fused;
    dukd_plan_step *steps; /* forward, then backward */
    int32_t step_count, step_room, forward_steps;
    dukd_plan_buffer *buffers;
    int32_t buffer_count, buffer_room;
    int64_t arena_bytes;
    int32_t band_node;   /* nodes from this one on run in bands; the number of nodes: none does */
    int32_t band_rows;   /* of the input's resolution */
    int32_t whole_steps; /* forward steps before the bands */
} dukd_plan;

/* What a backend says of itself. Functions get the program that dukd_plan_make was given, whose plan is being made; they return
 * DUKD_DONE or fill the failure. */
typedef struct {
    int32_t bands; /* it can run the end of a network on a large image in bands of rows (plan_bands.c) */
    int32_t mixed_types;     /* its convolutions can read bf16 and write f32, as a last layer wants it */
    int32_t norm_again;      /* layer norm in f32 is computed again for backward, and not kept */
    int32_t gelu_back_again; /* it has GELU_BACK_AGAIN */

    /* After fusing: refuses what the engine cannot run, and may set the plan's part (the batch). NULL: nothing. */
    int (*begin)(void *program, dukd_failure *f);
    /* The value (gradient 0) or the gradient (1) of a node in memory: *v is NHWC with the node's channels; channels may be padded, and
     * the layout another. NULL: it stays so. */
    void (*lay_out)(const void *program, const dukd_node *n, int gradient, dukd_plan_value *v);
    /* Fills conv, packed, run of a CONV, DATA_GRADIENT or WEIGHTS_GRADIENT of step->node, whose operands are as above; a DATA_GRADIENT
     * may become a CONV. Where it cannot add b, it empties b: the addition is then a step of its own. */
    int (*compile)(void *program, dukd_plan_step *step, dukd_failure *f);
    /* Whether the node's data gradient can add to what is there; 0: the addition is a step of its own. NULL: every one can. */
    int (*adds_data_gradient)(const dukd_node *conv);
    /* Whether the node's sum can take its addend's place for nothing; 0: it gets a buffer of its own. NULL: every one can. */
    int (*sums_in_place)(const dukd_node *conv);
    /* For each step, once it is complete: memory that it needs while it runs. */
    int (*reserve)(void *program, const dukd_plan_step *step, dukd_failure *f);
    /* When all steps are there, before memory is planned: it may give a step an operand that it has not, and let buffers live longer.
     * NULL: nothing. */
    int (*finish)(void *program, dukd_failure *f);
} dukd_plan_backend;

/* *plan, which is zeroed and lies in `program`, is filled; after a failure too it is the caller's to free. type: of activations and packed
 * weights. drops: with drop paths. DUKD_MISUSED: images that are too small, or a batch that is too large. */
int dukd_plan_make(dukd_plan *plan, const dukd_plan_backend *backend, void *program, const dukd_graph *g,
                   dukd_type type, const dukd_exec_spec *spec, int drops, dukd_failure *f);
void dukd_plan_free(dukd_plan *plan);

/* A value as kernels see it, but for its place in memory; zeros where there is none. */
dukd_tensor dukd_plan_shape(const dukd_plan *plan, const dukd_plan_value *v);

/* What a reader of a benchmark calls the step: "layer norm, gradient". */
const char *dukd_plan_step_name(const dukd_plan_step *s);

#endif
