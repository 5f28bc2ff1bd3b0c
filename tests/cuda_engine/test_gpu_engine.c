/* The CUDA engine's module on the emulated device against the engine on the processor: every network of models/, in f32 and bf16; and what
 * engine.h promises of any engine.
 *
 * Bounds: f32 1e-5 of a tensor's largest; bf16 against f32 those of tests/kernels/test_engine_ops.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_engine/engine_net.h"
#include "emulation.h"
#include "engine/arrays.h"
#include "support/compare.h"
#include "support/fill.h"

static const double f32_bound = 1e-5, bf16_output = 1. / 64, bf16_norm = 1. / 32, bf16_d_input = 1. / 8;

static dukd_engine *engine_of(const char *name) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    if (dukd_engine_create(&e, name, 1, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return e;
}

static engine_result run(dukd_engine *e, const engine_net *n, const dukd_graph *g, dukd_precision precision) {
    dukd_failure f = {0};
    engine_result r;
    if (engine_net_run(&r, e, n, g, precision, 17, &f) != DUKD_DONE) fail_msg("%s: %s", n->name, f.message);
    return r;
}

static void check_gap(const engine_net *n, const char *what, double got, double bound) {
    char name[128];
    snprintf(name, sizeof name, "%s: %s", n->name, what);
    dukd_assert_error(name, got, bound);
}

static void test_networks(void **state) {
    (void)state;
    dukd_engine *cpu = engine_of("onednn"), *gpu = engine_of("cuda");
    for (int32_t i = 0; i < engine_net_count; i++) {
        const engine_net *n = &engine_nets[i];
        dukd_graph *g = engine_net_build(n);
        engine_result want = run(cpu, n, g, DUKD_F32), got = run(gpu, n, g, DUKD_F32),
                      again = run(gpu, n, g, DUKD_F32), half = run(gpu, n, g, DUKD_BF16);
        engine_gap gap = engine_result_gap(g, &got, &want);
        print_message("%s: infer %.1e train %.1e d_input %.1e d_weights %.1e norm %.1e\n", n->name, gap.infer,
                      gap.train, gap.d_input, gap.d_weights, gap.d_norm);
        check_gap(n, "inference", gap.infer, f32_bound);
        check_gap(n, "training", gap.train, f32_bound);
        check_gap(n, "input's gradient", gap.d_input, f32_bound);
        check_gap(n, "parameters' gradients", gap.d_weights, f32_bound);
        if (!engine_result_same(&got, &again)) fail_msg("%s: other bits in the second run", n->name);
        gap = engine_result_gap(g, &half, &want);
        print_message("%s, bf16: infer %.1e train %.1e d_input %.1e norm %.1e\n", n->name, gap.infer,
                      gap.train, gap.d_input, gap.d_norm);
        check_gap(n, "inference in bf16", gap.infer, bf16_output);
        check_gap(n, "training in bf16", gap.train, bf16_output);
        check_gap(n, "input's gradient in bf16", gap.d_input, bf16_d_input);
        check_gap(n, "parameters' gradients in bf16", gap.d_norm, bf16_norm);
        engine_result_free(&want);
        engine_result_free(&got);
        engine_result_free(&again);
        engine_result_free(&half);
        dukd_graph_destroy(g);
    }
    dukd_engine_destroy(gpu);
    dukd_engine_destroy(cpu);
    assert_int_equal(emulation_alive(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
    };
    return cmocka_run_group_tests_name("gpu_engine", tests, NULL, NULL);
}
