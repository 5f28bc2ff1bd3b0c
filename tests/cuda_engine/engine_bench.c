/* See engine_bench.h. */
#include "cuda_engine/engine_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/arrays.h"
#include "support/fill.h"

void *bench_zeros(int64_t count, size_t size) {
    void *p = calloc((size_t)count + 1, size);
    assert_non_null(p);
    return p;
}

bench bench_on(dukd_engine *e, const engine_net *n, dukd_purpose purpose, uint64_t seed) {
    return bench_in(e, n, purpose, DUKD_F32, seed);
}

bench bench_in(dukd_engine *e, const engine_net *n, dukd_purpose purpose, dukd_precision precision,
               uint64_t seed) {
    dukd_failure f = {0};
    bench b = {.engine = e, .graph = engine_net_build(n)};
    const dukd_value out = dukd_graph_output(b.graph);
    int64_t size[2];
    dukd_graph_size(b.graph, out, n->height, n->width, size);
    b.weight_count = dukd_graph_weights(b.graph);
    b.in_count = (int64_t)n->batch * 3 * n->height * n->width;
    b.out_count = n->batch * dukd_graph_op(b.graph, out)->channels * size[0] * size[1];
    float *weights = bench_zeros(b.weight_count, sizeof *weights),
          *input = bench_zeros(b.in_count, sizeof *input),
          *d_output = bench_zeros(b.out_count, sizeof *d_output);
    dukd_graph_init(b.graph, seed, weights);
    dukd_fill_f32(input, b.in_count, seed, 0, 1);
    dukd_fill_f32(d_output, b.out_count, seed + 1, -1, 1);
    b.weights = engine_net_place(e, weights, b.weight_count);
    b.input = engine_net_place(e, input, b.in_count);
    b.output = engine_net_place(e, NULL, b.out_count);
    b.d_output = engine_net_place(e, d_output, b.out_count);
    b.d_weights = engine_net_place(e, NULL, b.weight_count);
    free(weights);
    free(input);
    free(d_output);
    dukd_exec_spec spec = {.purpose = purpose, .batch = n->batch, .height = n->height, .width = n->width};
    if (dukd_network_create(&b.network, e, b.graph, precision, &f) != DUKD_DONE ||
        dukd_network_set_weights(b.network, b.weights, &f) != DUKD_DONE ||
        dukd_network_compile(b.network, &spec, &b.exec, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    return b;
}

void bench_forward(const bench *b, int32_t images) {
    dukd_failure f = {0};
    float *const outputs[] = {b->output};
    if (dukd_exec_forward(b->exec, images, b->input, outputs, &f) != DUKD_DONE) fail_msg("%s", f.message);
}

void bench_backward(const bench *b) {
    dukd_failure f = {0};
    const float *const d_outputs[] = {b->d_output};
    if (dukd_engine_clear(b->engine, b->d_weights, b->weight_count * 4, &f) != DUKD_DONE ||
        dukd_exec_backward(b->exec, d_outputs, b->d_weights, NULL, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
}

float *bench_fetched(const bench *b, const float *from, int64_t count) {
    float *p = bench_zeros(count, sizeof *p);
    engine_net_fetch(b->engine, p, from, count);
    return p;
}

void bench_close(bench *b) {
    dukd_network_destroy(b->network);
    float *const arrays[] = {b->weights, b->input, b->output, b->d_output, b->d_weights};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) dukd_engine_release(b->engine, arrays[i]);
    dukd_graph_destroy(b->graph);
}

void bench_assert_same(const char *what, const float *a, const float *b, int64_t count) {
    if (memcmp(a, b, (size_t)count * sizeof *a) != 0) fail_msg("%s: other bits", what);
}
