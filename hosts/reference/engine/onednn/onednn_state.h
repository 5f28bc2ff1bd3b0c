/* What the oneDNN backend holds: engine, networks, and programs (compiled execs). Between the files of this folder. */
#ifndef DUKD_ONEDNN_STATE_H
#define DUKD_ONEDNN_STATE_H

#include "engine/arena.h"
#include "engine/engine_backend.h"
#include "engine/fusion.h"
#include "engine/layout.h"
#include "engine/onednn/dnnl_conv.h"
#include "engine/packed_weights.h"
#include "engine/plan.h"
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

/* A plan's steps have a dukd_conv as `conv`, and an index of the network's packed weights as `packed`. */
typedef struct {
    onednn_network *network;
    dukd_plan plan;
    int32_t blocked;    /* values lie in blocks of 16 channels */
    const float *drops; /* of the last forward, see dukd_exec_set_drops; NULL: none */
    float *part_drops;  /* those of one drop path and one part */
} onednn_program;

/* onednn_convs.c: an equal convolution compiled before, or a new one; and room in the engine's scratch blocks for it. */
int onednn_get_conv(onednn_engine *e, const dukd_conv_spec *spec, dukd_conv **out, dukd_failure *f);
/* The index of the packed weights of `run` that `conv` reads. */
int onednn_get_packed(onednn_network *n, const dukd_run_conv *run, int32_t transposed, dukd_conv *conv,
                      int32_t *out, dukd_failure *f);
/* Packs it where the network's weights have changed. */
int onednn_refresh_packed(onednn_network *n, int32_t packed, dukd_failure *f);

/* onednn_plan.c: fills a program. `drops`: with drop paths. */
int onednn_plan(onednn_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f);

/* onednn_run.c. onednn_run_ops.c: the steps that are operations of ops.h. */
int onednn_forward(void *program, int32_t images, const float *input, float *const *outputs,
                   const float *drops, dukd_failure *f);
int onednn_backward(void *program, const float *const *d_outputs, float *d_weights, float *d_input,
                    const dukd_gradient_listener *listener, dukd_failure *f);

/* What a step of onednn_run_ops.c works on; tensors that it has not are zeros. */
typedef struct {
    const onednn_program *program;
    dukd_tensor a, b, c, out;
    const float *drops; /* of the step's images */
    float *d_weights;
    void *scratch;
} onednn_operands;

void onednn_run_op(const dukd_plan_step *s, const onednn_operands *o);
/* Bytes of scratch that the step needs. */
int64_t onednn_op_scratch(const dukd_plan_step *s, const onednn_operands *o);

#endif
