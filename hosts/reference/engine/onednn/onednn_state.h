/* What the oneDNN backend holds: engine, networks, and programs (compiled execs). Between the files of this folder. */
#ifndef DUKD_ONEDNN_STATE_H
#define DUKD_ONEDNN_STATE_H

#include "engine/arena.h"
#include "engine/engine_backend.h"
#include "engine/fusion.h"
#include "engine/layout.h"
#include "engine/onednn/dnnl_conv.h"
#include "engine/packed_weights.h"
#include "engine/step_times.h"

typedef struct onednn_network onednn_network;

typedef struct {
    dukd_dnnl *dnnl;
    dukd_worker worker;
    dukd_memory_count memory;
    dukd_block train, infer; /* arenas: of all TRAIN programs, of all INFER programs */
    int32_t kept;            /* `train` holds a forward that backward may still need */
    dukd_block scratch;      /* of one step, while it runs */
    dukd_block plain;        /* weights before packing, and their gradient after unpacking */
    dukd_block packed_gradient;
    dukd_conv **convs; /* every convolution compiled so far, to be shared by equal ones */
    int32_t conv_count, conv_room;
    double (*now)(void); /* NULL: steps are not timed */
    dukd_step_times times;
} onednn_engine;

/* Weights in a convolution's layout, shared by all steps whose layout is the same. */
typedef struct {
    dukd_run_conv conv;
    int32_t transposed;
    dukd_conv *layout; /* one of the convolutions that reads it */
    dukd_block weights, bias;
    int64_t version; /* of the network's weights that it holds */
} onednn_packed;

struct onednn_network {
    onednn_engine *engine;
    const dukd_graph *graph;
    dukd_type type; /* of activations and packed weights */
    const float *weights;
    int64_t version; /* counts set_weights */
    onednn_packed *packed;
    int32_t packed_count, packed_room;
};

typedef enum {
    STEP_IMPORT,           /* out = caller's input, or the gradient of an output */
    STEP_EXPORT,           /* caller's output, or the gradient of the input = a */
    STEP_CONV,             /* out = conv(a) with packed weights; b: addend */
    STEP_WEIGHTS_GRADIENT, /* from a (source) and b (gradient of the node's value) */
    STEP_DATA_GRADIENT, /* out from a (gradient of the node's value), of convolutions that cannot be transposed */
    STEP_RELU,
    STEP_RELU_BACK, /* out masked by a */
    STEP_SCALE,
    STEP_ADD,  /* out = a + b */
    STEP_CAST, /* out (+)= a of the other type */
    STEP_AFFINE,
    STEP_SHUFFLE,
    STEP_UNSHUFFLE,
    STEP_CLEAR, /* out = 0 */
    STEP_EDGES, /* rows of out that are outside the image = 0 */
    STEP_GELU,
    STEP_GELU_BACK,       /* out *= gelu'(a) */
    STEP_GELU_BACK_AGAIN, /* and a = gelu(a) */
    STEP_SIGMOID,
    STEP_SIGMOID_BACK,      /* out *= a (1 - a) */
    STEP_MUL,               /* out = factor a b + c */
    STEP_MUL_BACK,          /* out (+)= factor a b: a is the gradient, b the other operand */
    STEP_MUL_BACK_CHANNELS, /* out (+)= sums of factor a b */
    STEP_COPY_CHANNELS,
    STEP_LAYER_NORM,      /* c: what it leaves for its gradient, or none */
    STEP_LAYER_NORM_BACK, /* out (+)= from a (gradient), b (source), c */
    STEP_ATTENTION,
    STEP_ATTENTION_BACK, /* out = from a (gradient), b (source) */
    STEP_DROP_PATH,      /* out (+)= a times the images' factors, plus b */
    STEP_MEAN,
    STEP_MEAN_BACK, /* out (+)= from a */
    STEP_DEVIATION,
    STEP_DEVIATION_BACK, /* from a (gradient), b (source), c (value) */
    STEP_MAX_POOL,
    STEP_MAX_POOL_BACK, /* from a (gradient), b (source) */
    STEP_RESIZE,
    STEP_RESIZE_BACK,
} onednn_step_kind;

typedef struct {
    int32_t buffer; /* -1: none */
    int32_t channels, up;
    int32_t height, width; /* of the whole image's value */
    dukd_type type;
    dukd_layout layout;
    int32_t banded; /* the buffer holds a band of rows, see onednn_bands.c; 0: all rows */
    int32_t halo;   /* rows that the buffer has beside them, above and below */
    /* What a step sees of it: rows from row `skip` of the buffer on, at `moves` 1 from the band's row. */
    int32_t skip, rows, moves;
} onednn_value;

typedef struct {
    onednn_step_kind kind;
    const dukd_node *node;
    onednn_value a, b, c, out;
    int32_t accumulate; /* out += */
    int32_t back;       /* of the backward */
    int32_t for_input;  /* done only where the caller wants the input's gradient */
    dukd_conv *conv;
    int32_t packed;    /* index of the network's packed weights */
    dukd_run_conv run; /* WEIGHTS_GRADIENT */
    const float *factors, *shifts;
    float factor;                        /* SCALE, RELU's slope, of products */
    int32_t order;                       /* SHUFFLE, UNSHUFFLE: of the channels of the smaller tensor */
    int32_t to_first, from_first, count; /* COPY_CHANNELS: of out, of a */
} onednn_step;

/* Buffers hold `part` images, or all of the batch when they are kept from forward to backward (or between parts). */
typedef struct {
    int64_t image_bytes;
    int32_t first, last, kept;
    int64_t offset;
} onednn_buffer;

typedef struct {
    onednn_network *network;
    dukd_purpose purpose;
    int32_t batch, height, width;
    const float *drops; /* of the last forward, see dukd_exec_set_drops; NULL: none */
    float *part_drops;  /* those of one drop path and one part */
    int32_t part;       /* images that go through the steps together; divides a TRAIN batch */
    dukd_fused fused;
    onednn_step *steps; /* forward, then backward */
    int32_t step_count, step_room, forward_steps;
    int32_t band_node;   /* nodes from this one on run in bands; the number of nodes: none does */
    int32_t band_rows;   /* of the input's resolution */
    int32_t whole_steps; /* forward steps before the bands */
    onednn_buffer *buffers;
    int32_t buffer_count, buffer_room;
    int64_t arena_bytes;
    int32_t output_count;
} onednn_program;

/* onednn_convs.c: an equal convolution compiled before, or a new one; and room in the engine's scratch blocks for it. */
int onednn_get_conv(onednn_engine *e, const dukd_conv_spec *spec, dukd_conv **out, dukd_failure *f);
/* The index of the packed weights of `run` that `conv` reads. */
int onednn_get_packed(onednn_network *n, const dukd_run_conv *run, int32_t transposed, dukd_conv *conv,
                      int32_t *out, dukd_failure *f);
/* Packs it where the network's weights have changed. */
int onednn_refresh_packed(onednn_network *n, int32_t packed, dukd_failure *f);

/* onednn_bands.c: decides whether and where bands begin; halo[i] are the rows that value i needs beside its own. */
void onednn_choose_bands(onednn_program *p, int32_t *halo);

/* onednn_plan.c: fills a program, forward steps first; its other files are named in onednn_planner.h. `drops`: with drop paths. */
int onednn_plan(onednn_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f);

/* A value as the kernels see it, but for its place in memory. */
dukd_tensor onednn_shape_of(const onednn_program *p, const onednn_value *v);

/* onednn_run.c. onednn_run_ops.c: the steps that are operations of ops.h. */
int onednn_forward(void *program, int32_t images, const float *input, float *const *outputs,
                   const float *drops, dukd_failure *f);
int onednn_backward(void *program, const float *const *d_outputs, float *d_weights, float *d_input,
                    const dukd_gradient_listener *listener, dukd_failure *f);

/* onednn_times.c: adds to the time of the step's kind. */
void onednn_note_time(onednn_engine *e, const onednn_step *s, double seconds);
int32_t onednn_take_times(void *engine, dukd_engine_time *out, int32_t room);

/* What a step of onednn_run_ops.c works on; tensors that it has not are zeros. */
typedef struct {
    const onednn_program *program;
    dukd_tensor a, b, c, out;
    const float *drops; /* of the step's images */
    float *d_weights;
    void *scratch;
} onednn_operands;

void onednn_run_op(const onednn_step *s, const onednn_operands *o);
/* Bytes of scratch that the step needs. */
int64_t onednn_op_scratch(const onednn_step *s, const onednn_operands *o);

#endif
