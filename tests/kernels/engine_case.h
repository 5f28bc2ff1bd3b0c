/* A network on an engine against the oracle: shared by the tests of the engine. */
#ifndef DUKD_TEST_ENGINE_CASE_H
#define DUKD_TEST_ENGINE_CASE_H

#include "engine/engine.h"
#include "support/graph_ref.h"

enum { ENGINE_CASE_OUTPUTS = 8 };

typedef struct {
    const dukd_graph *graph;
    int32_t batch, height, width;
    int32_t output_count; /* 0: the graph's output */
    dukd_value outputs[ENGINE_CASE_OUTPUTS];
    int32_t silent; /* index + 1 of an output without gradient; 0: all have one */
    dukd_precision precision;
    uint64_t seed;
    float weight_bound; /* weights drawn from +-bound; 0: dukd_graph_init */
    int32_t threads;    /* 0: 2 */
    int32_t drops;      /* 1: drop paths have factors, 0 for some images */
} engine_case;

/* The largest max|delta| / max|reference| of a tensor, over outputs of INFER and TRAIN, the input's gradient, and all
 * parameters' gradients. */
typedef struct {
    double infer, train, d_input, d_weights;
    double d_norm; /* ||delta|| / ||reference|| over all parameters' gradients together */
    int64_t peak_bytes;
} engine_errors;

/* The engine that cases run on: what the environment's DUKD_TEST_ENGINE says, else "onednn". */
const char *engine_case_engine(void);

/* Fails the running test where the engine reports a failure. */
engine_errors engine_case_run(const engine_case *c);

/* A bound on f32's errors that holds on a processor, for the engine that cases run on: on a GPU (tests/cuda_engine/on_gpu.c) convolutions
 * may go by Winograd's transforms, which lose about a digit. */
double engine_case_bound(double on_processor);

/* Runs and asserts infer, train <= output, d_input and d_weights <= gradient, each an engine_case_bound. */
void engine_case_check(const char *name, const engine_case *c, double output, double gradient);

#endif
