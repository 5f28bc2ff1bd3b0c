/* What the CUDA engine holds: engine, networks, and programs (compiled execs). Between the files of this folder.
 *
 * All values are NHWC and hold the whole batch. Everything runs in one stream, so memory that one step leaves is the next step's. */
#ifndef DUKD_GPU_STATE_H
#define DUKD_GPU_STATE_H

#include "engine/arena.h"
#include "engine/cuda/gpu_conv.h"
#include "engine/cuda/gpu_kernels.h"
#include "engine/engine_backend.h"
#include "engine/fusion.h"
#include "engine/packed_weights.h"
#include "engine/plan.h"
#include "engine/step_times.h"

enum {
    GPU_SLOTS = 2, /* of staging memory */
    GPU_SLOT_BYTES = 4 << 20,
};

/* Device memory of arrays; what is released waits here for the next of its size. */
typedef struct {
    void *data;
    int64_t bytes;
    int32_t used;
    int32_t held; /* number of the recording inside of which it was released; 0: none */
} gpu_array;

typedef struct gpu_recording gpu_recording;

typedef struct {
    int device, major, minor; /* compute capability */
    void *stream;             /* cudaStream_t */
    int32_t tf32;             /* f32 products may be rounded to TF32 */
    gpu_libraries *libraries;
    dukd_memory_count memory;
    gpu_array *arrays;
    int32_t array_count, array_room;
    void *slot[GPU_SLOTS];      /* pinned, GPU_SLOT_BYTES each; made with the first upload */
    void *slot_read[GPU_SLOTS]; /* cudaEvent_t: what was in the slot has been copied */
    int32_t next_slot;
    void *copies;                   /* cudaStream_t beside `stream`; made with the first feed */
    dukd_block train, infer;        /* arenas: of all TRAIN programs, of all INFER programs */
    const struct gpu_program *kept; /* whose forward `train` holds for its backward; NULL: none */
    dukd_block scratch;             /* of one step, while it runs */
    dukd_block gradient;            /* of packed weights, and parts of biases', of a group */
    dukd_block *retired;            /* blocks that were outgrown, but that recordings use */
    int32_t retired_count, retired_room;
    gpu_conv **convs; /* every convolution compiled so far, to be shared by equal ones */
    gpu_conv_spec *conv_specs;
    int32_t conv_count, conv_room;
    int32_t recordings; /* that there are */
    gpu_recording *all_recordings;
    int32_t recording;       /* the number of the step that is being recorded; 0: none is */
    int32_t recorded;        /* numbers given so far */
    int64_t changes;         /* counts what changes weights without set_weights: see gpu_network */
    struct gpu_ranks *ranks; /* NULL: it has not joined others */
    double (*now)(void);     /* NULL: steps are not timed */
    dukd_step_times times;
} gpu_engine;

/* Weights as they are run, shared by all steps that want the same. */
typedef struct {
    dukd_run_conv run;
    dukd_type type;
    void *weights;
    float *bias;       /* NULL: none */
    void *narrow_bias; /* the same in bf16, of weights in bf16; NULL: none */
} gpu_packed;

/* A network whose weights were set more than once is one that is trained. Its weights change also when a recorded step is replayed, and
 * a recording must pack them itself (gpu_refresh_packed). All are packed together, by one launch. */
typedef struct {
    gpu_engine *engine;
    const dukd_graph *graph;
    dukd_type type;       /* of activations and packed weights */
    const float *weights; /* in device memory */
    int64_t version;      /* counts set_weights */
    gpu_packed *packed;
    int32_t packed_count, packed_room;
    int32_t placed;     /* of `packed`, those that have memory */
    dukd_block *memory; /* what `packed` lies in, and the tables */
    int32_t memory_count, memory_room;
    gpu_table table; /* of all that are placed */
    const void *on_device;
    int64_t packed_version;   /* of the weights that `packed` holds; -1: none yet */
    int64_t recorded_version; /* the same, inside of the recording with the number recorded_in */
    int32_t recorded_in;
} gpu_network;

/* Weights' gradients that wait for being added to the parameters' by one launch. */
typedef struct {
    int32_t first, count; /* of the program's gradients */
    int32_t step;         /* behind which it is done */
    gpu_table table;
    int64_t at; /* in the program's block on the device */
} gpu_gradient_group;

/* What a step of backward has to do with them; each an index of the program's gradients, or -1. */
typedef struct {
    int32_t of_out;   /* WEIGHTS_GRADIENT: its own; RELU_BACK: whose bias's parts it leaves, out of its out */
    int32_t of_other; /* RELU_BACK: and out of its b, which it only reads */
    int32_t adds;     /* WEIGHTS_GRADIENT: 1: it leaves the parts of its bias's gradient itself */
} gpu_step_gradients;

/* Elements first .. first + count - 1 of the parameters' gradient are complete after `step`. */
typedef struct {
    int32_t step;
    int64_t first, count;
} gpu_announcement;

/* A plan's steps have a gpu_conv as `conv`, an index of the network's packed weights as `packed`, and factors and shifts in device memory. */
typedef struct gpu_program {
    gpu_network *network;
    dukd_plan plan;
    const float *drops;                    /* of the last forward, see dukd_exec_set_drops; NULL: none */
    int64_t scratch_bytes, gradient_bytes; /* of the engine's blocks */
    gpu_unpack_job *gradients;             /* of packed weights, in the order of their steps */
    int32_t gradient_count;
    gpu_gradient_group *groups; /* in their order */
    int32_t group_count;
    gpu_step_gradients *step_gradients; /* of each step; INFER: NULL */
    dukd_block on_device;               /* the constants, and the groups' tables */
    gpu_announcement *announcements;    /* by step */
    int32_t announcement_count;
} gpu_program;

/* ---- gpu_device.c: the device and its errors ---- */

/* Why CUDA cannot be used on this machine, or DUKD_DONE and the number of devices. Makes no context. */
int gpu_look(int *devices, dukd_failure *f);
/* DUKD_DONE for cudaSuccess (0); else a failure that says what could not be done. */
int gpu_check(int status, const char *what, dukd_failure *f);
/* Makes the engine's device the thread's current one, and leaves it so: to make another one current again would make a context there. */
int gpu_enter(const gpu_engine *e, dukd_failure *f);

/* ---- gpu_memory.c: counted device memory; the engine's device is current ---- */

/* Makes the block at least `bytes` large; its contents are lost, and after a failure it is empty. */
int gpu_block_reserve(gpu_engine *e, dukd_block *b, int64_t bytes, const char *what, dukd_failure *f);
/* Empties it; what recordings use lives on while there are any. */
int gpu_block_retire(gpu_engine *e, dukd_block *b, dukd_failure *f);
void gpu_block_free(gpu_engine *e, dukd_block *b);
/* An array's memory, contents undefined, and back to where the next of its size finds it. */
int gpu_array_take(gpu_engine *e, int64_t bytes, const char *what, void **out, dukd_failure *f);
void gpu_array_give(gpu_engine *e, void *p);
int gpu_array_give_up_unused(gpu_engine *e); /* frees the arrays that nobody uses; whether there was one */
/* Copies out of memory that may change when the call returns. */
int gpu_upload(gpu_engine *e, void *to, const void *from, int64_t bytes, dukd_failure *f);
void gpu_memory_close(gpu_engine *e); /* everything but blocks that others hold */

/* ---- gpu_arrays_ops.c ---- */
extern const dukd_array_ops gpu_array_ops;

/* ---- gpu_record.c, gpu_transfers.c ---- */
extern const dukd_recording_ops gpu_recording_ops;
/* All of them can be replayed no more, their memory stays until they are freed. waits: for what runs. */
void gpu_recordings_end(gpu_engine *e, int waits);
extern const dukd_transfer_ops gpu_transfer_ops;

/* ---- gpu_join.c: only where NCCL's header is there (DUKD_GPU_NCCL) ---- */
extern const dukd_join_ops gpu_join_ops;

/* ---- gpu_convs.c: an equal convolution compiled before, or a new one; packed weights ---- */
int gpu_get_conv(gpu_engine *e, const gpu_conv_spec *spec, gpu_conv **out, dukd_failure *f);
/* The index of the packed weights of `run` in `type`; they get memory with gpu_place_packed. */
int gpu_get_packed(gpu_network *n, const dukd_run_conv *run, dukd_type type, int32_t *out, dukd_failure *f);
int gpu_place_packed(gpu_network *n, dukd_failure *f);
/* Packs all where the network's weights have changed. */
int gpu_refresh_packed(gpu_network *n, dukd_failure *f);

/* ---- gpu_plan.c: fills a program; and what it needs on the device. `drops`: with drop paths. ---- */
int gpu_plan(gpu_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f);
int gpu_place_program(gpu_program *p, dukd_failure *f);

/* ---- gpu_plan_gradients.c: when all steps are there, and before memory is planned (dukd_plan_backend) ---- */
int gpu_plan_gradients(void *program, dukd_failure *f);
/* The step behind which a gradient has been added to the parameters'. */
int32_t gpu_gradient_complete(const gpu_program *p, int32_t gradient);

/* ---- gpu_run.c, gpu_run_ops.c ---- */
/* The engine's blocks are as large as the program needs them; a forward that is kept moves. One arena for all programs of a purpose: only
 * one of them runs at a time. */
int gpu_reserve_for(const gpu_program *p, dukd_failure *f);
int gpu_forward(void *program, int32_t images, const float *input, float *const *outputs, const float *drops,
                dukd_failure *f);
int gpu_backward(void *program, const float *const *d_outputs, float *d_weights, float *d_input,
                 const dukd_gradient_listener *listener, dukd_failure *f);

/* What a step of gpu_run_ops.c works on; tensors that it has not are zeros. */
typedef struct {
    const gpu_program *program;
    dukd_tensor a, b, c, out;
    const float *factors, *shifts; /* AFFINE; DROP_PATH: of the images */
    float *d_weights;
    void *scratch;
} gpu_operands;
/* A cudaError_t. */
int gpu_run_op(const dukd_plan_step *s, const gpu_operands *o);
/* Bytes of scratch that the step needs. */
int64_t gpu_op_scratch(const dukd_plan_step *s, const gpu_operands *o);

#endif
