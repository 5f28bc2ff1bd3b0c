/* The networks of models/, tiny ones of every kind, run on an engine: forward in inference and in training, and backward. */
#ifndef DUKD_TEST_ENGINE_NET_H
#define DUKD_TEST_ENGINE_NET_H

#include "engine/engine.h"

enum { ENGINE_NET_OUTPUTS = 4 };

typedef struct {
    const char *name;
    const char *type, *options; /* "num_feat=8 depths=[2,2]" */
    int32_t batch, height, width;
    int32_t drops;                          /* 1: drop paths have factors */
    int32_t frozen;                         /* 1: no parameters' gradients */
    const char *layers[ENGINE_NET_OUTPUTS]; /* outputs; none: the network's */
} engine_net;

extern const engine_net engine_nets[];
extern const int32_t engine_net_count;

dukd_graph *engine_net_build(const engine_net *n); /* fails the running test where that cannot be */

/* What an engine computes of it, in the processor's memory; engine_result_free frees it. */
typedef struct {
    int32_t output_count;
    int64_t counts[ENGINE_NET_OUTPUTS], input_count, weight_count;
    float *infer[ENGINE_NET_OUTPUTS], *train[ENGINE_NET_OUTPUTS], *d_input,
        *d_weights; /* d_weights: zeros if frozen */
} engine_result;

/* Weights, input, factors and cotangents follow from the seed. A failure is returned, and nothing is left. `out` gets zeros then. */
int engine_net_run(engine_result *out, dukd_engine *e, const engine_net *n, const dukd_graph *g,
                   dukd_precision precision, uint64_t seed, dukd_failure *f);
void engine_result_free(engine_result *r);

/* The largest max|a - b| / max|b| over outputs of inference and training, the input's gradient, the parameters' gradients (each), and
 * ||a - b|| / ||b|| over all parameters' gradients together. */
typedef struct {
    double infer, train, d_input, d_weights, d_norm;
} engine_gap;
engine_gap engine_result_gap(const dukd_graph *g, const engine_result *a, const engine_result *b);
int engine_result_same(const engine_result *a, const engine_result *b); /* bit for bit */

/* An array in the engine's memory, as `from`, or zeros where that is NULL; and back. They fail the running test. */
float *engine_net_place(dukd_engine *e, const float *from, int64_t count);
void engine_net_fetch(dukd_engine *e, float *to, const float *from, int64_t count);

#endif
