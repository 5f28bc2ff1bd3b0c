/* A network on an engine, with its arrays, for tests of single calls. Everything fails the running test where a call does. */
#ifndef DUKD_TEST_ENGINE_BENCH_H
#define DUKD_TEST_ENGINE_BENCH_H

#include "cuda_engine/engine_net.h"

typedef struct {
    dukd_engine *engine;
    dukd_network *network;
    dukd_exec *exec;
    dukd_graph *graph;
    int64_t weight_count, in_count, out_count;
    float *weights, *input, *output, *d_output, *d_weights; /* in the engine's memory */
} bench;

/* The network's own output alone, in f32 or as it is said; weights and the rest follow from the seed. */
bench bench_on(dukd_engine *e, const engine_net *n, dukd_purpose purpose, uint64_t seed);
bench bench_in(dukd_engine *e, const engine_net *n, dukd_purpose purpose, dukd_precision precision,
               uint64_t seed);
void bench_close(bench *b);
void bench_forward(const bench *b, int32_t images);
void bench_backward(const bench *b); /* into d_weights, which is cleared before */

void *bench_zeros(int64_t count, size_t size);                          /* the caller frees it */
float *bench_fetched(const bench *b, const float *from, int64_t count); /* likewise */
void bench_assert_same(const char *what, const float *a, const float *b, int64_t count); /* bit for bit */

#endif
