/* An engine compiles a graph for a shape and runs it. Everything above this header is free of backends;
 * everything below is one backend: engine/onednn, engine/cuda.
 *
 *     engine    a device and its threads
 *     network   a graph on an engine, with its packed weights, in one data type
 *     exec      a network compiled for a purpose and a shape; owns nothing but a plan, memory is the engine's
 * arena
 *
 * Tensors that cross this header are f32, N x C x H x W, dense, row-major, owned by the caller and in the engine's memory
 * (arrays.h; for an engine on the processor that is any memory). Inside, an engine uses whatever layout and type it
 * likes. Weights are the flat f32 array of graph.h (master weights), in the engine's memory as well.
 *
 * Determinism: for one thread count, instruction set and oneDNN version the same call gives the same bits.
 * [one thread at a time per engine] */
#ifndef DUKD_ENGINE_H
#define DUKD_ENGINE_H

#include "common/failure.h"
#include "graph/graph.h"

typedef struct dukd_engine dukd_engine;
typedef struct dukd_network dukd_network;
typedef struct dukd_exec dukd_exec;

typedef enum { DUKD_F32, DUKD_BF16 } dukd_precision;
typedef enum {
    DUKD_INFER, /* forward only: fused, buffers reused */
    DUKD_TRAIN, /* forward keeps what backward needs */
} dukd_purpose;

typedef struct {
    const char *name; /* "onednn", "cuda", or "auto": CUDA where it can be used, else the processor */
    int32_t threads;  /* 0: OpenMP's default */
    int32_t device;   /* which GPU, from 0; -1: the current one of those that this process sees, or... */
    int32_t turn; /* ... that many after it, counted around: of several processes on a machine each its own */
    const char *without_cuda; /* a reason why "auto" is not to take CUDA; NULL: none */
    int32_t tf32; /* CUDA: 1: f32 products may be rounded to TF32 (8 bits of exponent, 10 of fraction) */
} dukd_engine_options;

typedef struct {
    const char *name;         /* "onednn", "cuda" */
    char library[64];         /* "oneDNN 2.6.3" */
    char instruction_set[64]; /* what the library uses here: "avx512_core_bf16" */
    int32_t threads;
    int32_t bf16;          /* 1: bf16 runs in hardware here, 0: it is emulated (slow) */
    char passed_over[256]; /* why "auto" has not taken CUDA; "" elsewhere */
} dukd_engine_info;

int dukd_engine_open(dukd_engine **out, const dukd_engine_options *options, dukd_failure *f);
/* The same with the options that have no argument here left at their defaults. */
int dukd_engine_create(dukd_engine **out, const char *name, int32_t threads, dukd_failure *f);
void dukd_engine_destroy(dukd_engine *e); /* after its networks; NULL allowed */
const dukd_engine_info *dukd_engine_get_info(const dukd_engine *e);
/* The engines that there are, and whether each can be used here (`detail`: what it found, or why not). */
#define DUKD_ENGINES 2
typedef struct {
    const char *name;
    int32_t usable;
    char detail[320];
} dukd_engine_choice;
void dukd_engine_list(dukd_engine_choice out[DUKD_ENGINES]);
/* Bytes held now, and the most ever held: arena, packed weights, scratchpads. */
void dukd_engine_memory(const dukd_engine *e, int64_t *now, int64_t *peak);

/* For benchmarks: from now on the time of every step is added up by its kind, on the clock `now` (seconds; NULL: no longer). */
void dukd_engine_set_clock(dukd_engine *e, double (*now)(void));
typedef struct {
    const char *kind; /* "layer norm" */
    int64_t steps;
    double seconds;
} dukd_engine_time;
/* Fills at most `room` kinds, those that ran; returns how many. The sums start again from 0. */
int32_t dukd_engine_times(dukd_engine *e, dukd_engine_time *out, int32_t room);

/* The graph must outlive the network. */
int dukd_network_create(dukd_network **out, dukd_engine *e, const dukd_graph *g, dukd_precision precision,
                        dukd_failure *f);
void dukd_network_destroy(dukd_network *n);
dukd_engine *dukd_network_engine(const dukd_network *n);
/* Packs `weights` (dukd_graph_weights elements) into the layouts of every exec compiled so far or later.
 * The array must stay valid and unchanged until the next call: packing may be done when it is needed. */
int dukd_network_set_weights(dukd_network *n, const float *weights, dukd_failure *f);

typedef struct {
    dukd_purpose purpose;
    int32_t batch;             /* images a call; DUKD_INFER may run them in parts */
    int32_t height, width;     /* of the input */
    int32_t output_count;      /* 0: the graph's output alone */
    const dukd_value *outputs; /* otherwise these values, in this order (layer taps); copied */
} dukd_exec_spec;

/* Compiles, or returns the exec compiled before for an equal spec. It lives as long as the network. */
int dukd_network_compile(dukd_network *n, const dukd_exec_spec *spec, dukd_exec **out, dukd_failure *f);

/* x: batch x C x H x W. y[i]: the i-th output, batch x C_i x H_i x W_i. `images` <= batch: how many of the
 * batch are there (a DUKD_TRAIN exec wants all of them). What a DUKD_TRAIN exec keeps for backward is lost
 * with the next forward of any exec of the same engine that is DUKD_TRAIN; DUKD_INFER runs in between do not
 * disturb it. */
int dukd_exec_forward(dukd_exec *x, int32_t images, const float *input, float *const *outputs,
                      dukd_failure *f);

/* Factors of the graph's drop paths for the following calls of dukd_exec_forward (and the backward of the last):
 * factors[i * batch + n] for drop path i (dukd_graph_drop_count) and image n: 0 or 1 / (1 - p). NULL, as in the beginning: 1
 * everywhere, which is evaluation. The array lies in the engine's memory and must stay valid; what it holds is read during the runs. */
void dukd_exec_set_drops(dukd_exec *x, const float *factors);

/* Once after each forward of the same DUKD_TRAIN exec. d_outputs[i]: d(loss)/d(output i), or NULL for zero. Adds
 * (+=) the parameters' gradients to d_weights (flat, f32) and, where d_input is not NULL, writes
 * d(loss)/d(input). d_weights NULL: the parameters' gradients are not computed (a frozen network that gradients pass through);
 * DUKD_MISUSED for a network with layer norms or attention, whose steps compute both at once. */
int dukd_exec_backward(dukd_exec *x, const float *const *d_outputs, float *d_weights, float *d_input,
                       dukd_failure *f);

/* `ready` is called during the following backwards, on the caller's thread, once for each part of d_weights: elements first .. first +
 * count - 1 have got all that this backward adds to them (on a device: once what is enqueued now is done). So gradients can be
 * summed over ranks while backward goes on. Parts do not overlap; they come in the order of backward, and make up the whole. NULL:
 * nobody is told, as in the beginning. */
typedef struct {
    void (*ready)(void *ctx, int64_t first, int64_t count);
    void *ctx;
} dukd_gradient_listener;
void dukd_exec_set_listener(dukd_exec *x, const dukd_gradient_listener *listener); /* copied */

#endif
