/* The CUDA engine's module on the emulated device against the engine on the processor: every network of models/, in f32 and bf16; and what
 * engine.h promises of any engine.
 *
 * Bounds: f32 1e-5 of a tensor's largest (on a GPU 1e-4: Winograd's transforms lose a digit); bf16 against f32 measured, with room for other
 * processors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_engine/engine_bench.h"
#include "cuda_engine/engine_net.h"
#ifdef GPU_ON_DEVICE
#include "cuda_engine/no_emulation.h"
#else
#include "cuda_engine/doubles/doubles.h"
#include "emulation.h"
#endif
#include "engine/arrays.h"
#include "support/compare.h"
#include "support/fill.h"

#ifdef GPU_ON_DEVICE
static const double f32_bound = 1e-4;
#else
static const double f32_bound = 1e-5;
#endif
static const double bf16_output = 1. / 64, bf16_norm = 1. / 32, bf16_d_input = 1. / 8;

/* cuDNN as it really is (test_gpu_plans): in bf16 it takes biases in bf16 alone, and gives weights' gradients in bf16. */
static void like_cudnn(int on) {
#ifdef GPU_ON_DEVICE
    (void)on;
#else
    doubles_refuse(on ? DOUBLES_NO_MIXED | DOUBLES_NO_MIXED_BIAS : 0);
#endif
}

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

static void check_bf16(dukd_engine *gpu, const engine_net *n, const dukd_graph *g, engine_result *want) {
    like_cudnn(1);
    engine_result half = run(gpu, n, g, DUKD_BF16);
    like_cudnn(0);
    const engine_gap gap = engine_result_gap(g, &half, want);
    print_message("%s, bf16: infer %.1e train %.1e d_input %.1e norm %.1e\n", n->name, gap.infer, gap.train,
                  gap.d_input, gap.d_norm);
    check_gap(n, "inference in bf16", gap.infer, bf16_output);
    check_gap(n, "training in bf16", gap.train, bf16_output);
    check_gap(n, "input's gradient in bf16", gap.d_input, bf16_d_input);
    check_gap(n, "parameters' gradients in bf16", gap.d_norm, bf16_norm);
    engine_result_free(&half);
}

static void test_networks(void **state) {
    (void)state;
    dukd_engine *cpu = engine_of("onednn"), *gpu = engine_of("cuda");
    const int has_bf16 = dukd_engine_get_info(gpu)->bf16;
    if (!has_bf16)
        print_message("SKIP: networks in bf16: %s has none\n", dukd_engine_get_info(gpu)->instruction_set);
    for (int32_t i = 0; i < engine_net_count; i++) {
        const engine_net *n = &engine_nets[i];
        dukd_graph *g = engine_net_build(n);
        engine_result want = run(cpu, n, g, DUKD_F32), got = run(gpu, n, g, DUKD_F32),
                      again = run(gpu, n, g, DUKD_F32);
        const engine_gap gap = engine_result_gap(g, &got, &want);
        print_message("%s: infer %.1e train %.1e d_input %.1e d_weights %.1e norm %.1e\n", n->name, gap.infer,
                      gap.train, gap.d_input, gap.d_weights, gap.d_norm);
        check_gap(n, "inference", gap.infer, f32_bound);
        check_gap(n, "training", gap.train, f32_bound);
        check_gap(n, "input's gradient", gap.d_input, f32_bound);
        check_gap(n, "parameters' gradients", gap.d_weights, f32_bound);
        if (!engine_result_same(&got, &again)) fail_msg("%s: other bits in the second run", n->name);
        if (has_bf16) check_bf16(gpu, n, g, &want);
        engine_result_free(&want);
        engine_result_free(&got);
        engine_result_free(&again);
        dukd_graph_destroy(g);
    }
    dukd_engine_destroy(gpu);
    dukd_engine_destroy(cpu);
    assert_int_equal(emulation_alive(), 0);
}

/* ---- what engine.h promises ---- */

typedef struct {
    dukd_engine *engine;
    const float *d_weights; /* on the device */
    float *then;            /* as it was when it was told */
    int32_t *times;         /* each element was told */
    int32_t calls;
    int64_t first, last; /* launches when it was told so */
} listener;

static void note_ready(void *ctx, int64_t first, int64_t count) {
    listener *l = ctx;
    engine_net_fetch(l->engine, l->then + first, l->d_weights + first, count);
    for (int64_t i = first; i < first + count; i++) l->times[i]++;
    if (!l->calls++) l->first = emulation_launches();
    l->last = emulation_launches();
}

/* Each element is told once, complete; returns what was heard. */
static listener listened(dukd_engine *e, const engine_net *n) {
    bench b = bench_on(e, n, DUKD_TRAIN, 3);
    listener l = {.engine = e,
                  .d_weights = b.d_weights,
                  .then = bench_zeros(b.weight_count, sizeof(float)),
                  .times = bench_zeros(b.weight_count, sizeof(int32_t))};
    dukd_exec_set_listener(b.exec, &(dukd_gradient_listener){.ready = note_ready, .ctx = &l});
    bench_forward(&b, n->batch);
    bench_backward(&b);
    float *last = bench_fetched(&b, b.d_weights, b.weight_count);
    for (int64_t k = 0; k < b.weight_count; k++)
        if (l.times[k] != 1) fail_msg("%s: element %ld is told %d times", n->name, (long)k, (int)l.times[k]);
    bench_assert_same(n->name, l.then, last, b.weight_count);
    print_message("%s: told in %d parts\n", n->name, (int)l.calls);
    free(last);
    free(l.then);
    free(l.times);
    bench_close(&b);
    return l;
}

/* So many parameters that their gradients are unpacked in groups, of which one ends between two convolutions whose biases are added up together. */
static const engine_net large_edsr = {
    "EDSR 120c", "EDSR", "num_in_ch=3 num_out_ch=3 num_feat=120 num_block=6 upscale=2", 1, 3, 2, 0, 0, {0}};

/* Small networks' gradients are complete at the end, of a large one's some are while backward goes on; and there are networks that share
 * parameters between layers (CARN-M). */
static void test_listener(void **state) {
    (void)state;
    dukd_engine *e = engine_of("cuda");
    for (int32_t i = 0; i < engine_net_count; i++)
        if (!engine_nets[i].frozen && !engine_nets[i].layers[0]) (void)listened(e, &engine_nets[i]);
    const listener l = listened(e, &large_edsr);
    assert_true(l.calls >= 3);
#ifndef GPU_ON_DEVICE
    assert_true(l.first + 3 <= l.last); /* own kernels alone are counted */
#endif
    dukd_engine_destroy(e);
}

static void test_groups(void **state) {
    (void)state;
    dukd_engine *cpu = engine_of("onednn"), *gpu = engine_of("cuda");
    dukd_graph *g = engine_net_build(&large_edsr);
    engine_result want = run(cpu, &large_edsr, g, DUKD_F32), got = run(gpu, &large_edsr, g, DUKD_F32);
    const engine_gap gap = engine_result_gap(g, &got, &want);
    print_message("%s: train %.1e d_weights %.1e\n", large_edsr.name, gap.train, gap.d_weights);
    check_gap(&large_edsr, "training", gap.train, f32_bound);
    check_gap(&large_edsr, "parameters' gradients", gap.d_weights, f32_bound);
    engine_result_free(&want);
    engine_result_free(&got);
    dukd_graph_destroy(g);
    dukd_engine_destroy(gpu);
    dukd_engine_destroy(cpu);
}

/* What is compiled when others have run already finds its weights packed, too. */
static void test_compiled_later(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine_of("cuda");
    engine_net halves = engine_nets[0];
    float *out[2];
    const dukd_precision precision = dukd_engine_get_info(e)->bf16 ? DUKD_BF16 : DUKD_F32;
    for (int early = 0; early < 2; early++) {
        bench b = bench_in(e, &halves, DUKD_INFER, precision, 3);
        if (early) bench_forward(&b, halves.batch);
        const dukd_value tap = dukd_graph_find_layer(b.graph, "conv_first"); /* last, so in f32 */
        const dukd_exec_spec spec = {.purpose = DUKD_INFER,
                                     .batch = halves.batch,
                                     .height = halves.height,
                                     .width = halves.width,
                                     .output_count = 1,
                                     .outputs = &tap};
        if (dukd_network_compile(b.network, &spec, &b.exec, &f) != DUKD_DONE) fail_msg("%s", f.message);
        bench_forward(&b, halves.batch);
        out[early] = bench_fetched(&b, b.output, b.in_count);
        bench_close(&b);
    }
    assert_true(out[0][0] != 0);
    bench_assert_same("compiled later", out[0], out[1], (int64_t)halves.batch * halves.height * halves.width);
    for (int i = 0; i < 2; i++) free(out[i]);
    dukd_engine_destroy(e);
}

/* A tap of an early layer leaves parameters without a gradient; they are told all the same. */
static void test_listener_of_a_tap(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine_of("cuda");
    bench b = bench_on(e, &engine_nets[0], DUKD_TRAIN, 3);
    listener l = {.engine = e,
                  .d_weights = b.d_weights,
                  .then = bench_zeros(b.weight_count, sizeof(float)),
                  .times = bench_zeros(b.weight_count, sizeof(int32_t))};
    const dukd_value tap = dukd_graph_find_layer(b.graph, "conv_first");
    const dukd_exec_spec spec = {.purpose = DUKD_TRAIN,
                                 .batch = engine_nets[0].batch,
                                 .height = engine_nets[0].height,
                                 .width = engine_nets[0].width,
                                 .output_count = 1,
                                 .outputs = &tap};
    if (dukd_network_compile(b.network, &spec, &b.exec, &f) != DUKD_DONE) fail_msg("%s", f.message);
    dukd_exec_set_listener(b.exec, &(dukd_gradient_listener){.ready = note_ready, .ctx = &l});
    bench_forward(&b, engine_nets[0].batch);
    bench_backward(&b);
    for (int64_t k = 0; k < b.weight_count; k++) assert_int_equal(l.times[k], 1);
    free(l.then);
    free(l.times);
    bench_close(&b);
    dukd_engine_destroy(e);
}

/* A kept forward survives another network's inference, a larger one that grows the arena, and weights that change are packed anew. */
static void test_two_networks(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine_of("cuda");
    engine_net large = engine_nets[3];
    large.height = large.width = 20;
    bench a = bench_on(e, &engine_nets[0], DUKD_TRAIN, 3);
    bench_forward(&a, engine_nets[0].batch);
    bench_backward(&a);
    float *alone = bench_fetched(&a, a.d_weights, a.weight_count);
    bench_forward(&a, engine_nets[0].batch);
    bench b = bench_on(e, &large, DUKD_INFER, 4);
    bench_forward(&b, large.batch);
    bench c = bench_on(e, &large, DUKD_TRAIN, 4); /* moves the arena that holds a's forward */
    bench_backward(&a);
    float *beside = bench_fetched(&a, a.d_weights, a.weight_count);
    bench_assert_same("beside another network", alone, beside, a.weight_count);

    float *before = bench_fetched(&b, b.output, b.out_count);
    if (dukd_engine_scale(e, b.weights, 1.5f, b.weight_count, &f) != DUKD_DONE ||
        dukd_network_set_weights(b.network, b.weights, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    bench_forward(&b, large.batch);
    float *after = bench_fetched(&b, b.output, b.out_count);
    assert_true(memcmp(before, after, (size_t)b.out_count * sizeof *after) != 0);
    free(alone);
    free(beside);
    free(before);
    free(after);
    bench_close(&a);
    bench_close(&b);
    bench_close(&c);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_alive(), 0);
}

/* Fewer images than the batch: the others are not touched. */
static void test_fewer_images(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine_of("cuda");
    bench b = bench_on(e, &engine_nets[0], DUKD_INFER, 3);
    bench_forward(&b, 2);
    float *both = bench_fetched(&b, b.output, b.out_count);
    float *marks = bench_zeros(b.out_count, sizeof *marks);
    for (int64_t i = 0; i < b.out_count; i++) marks[i] = 77;
    if (dukd_engine_upload(e, b.output, marks, b.out_count * 4, &f) != DUKD_DONE) fail_msg("%s", f.message);
    bench_forward(&b, 1);
    float *one = bench_fetched(&b, b.output, b.out_count);
    bench_assert_same("the first image", one, both, b.out_count / 2);
    bench_assert_same("the second image", one + b.out_count / 2, marks, b.out_count / 2);
    free(both);
    free(marks);
    free(one);
    bench_close(&b);
    dukd_engine_destroy(e);
}

/* After the first step nothing is allocated, nobody waits, and every kernel was loaded before. */
static void test_steps_do_not_wait(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine_of("cuda");
    for (int32_t i = 0; i < engine_net_count; i++) {
        if (engine_nets[i].frozen || engine_nets[i].layers[0]) continue;
        bench b = bench_on(e, &engine_nets[i], DUKD_TRAIN, 3);
        int64_t bytes = 0, waits = 0;
        for (int step = 0; step < 3; step++) {
            if (step == 1) {
                bytes = emulation_bytes_allocated();
                waits = emulation_waits();
            }
            void *temporary = NULL;
            if (dukd_network_set_weights(b.network, b.weights, &f) != DUKD_DONE ||
                dukd_engine_alloc(e, 10000, "a step", &temporary, &f) != DUKD_DONE)
                fail_msg("%s", f.message);
            bench_forward(&b, engine_nets[i].batch);
            bench_backward(&b);
            dukd_engine_release(e, temporary);
        }
        assert_int_equal(emulation_bytes_allocated(), bytes);
        assert_int_equal(emulation_waits(), waits);
        bench_close(&b);
    }
    dukd_engine_destroy(e);
    assert_int_equal(emulation_unloaded(), 0);
}

static int32_t clock_calls;
static double tick(void) {
    return clock_calls++;
}

static void test_clock(void **state) {
    (void)state;
    dukd_engine *e = engine_of("cuda");
    bench b = bench_on(e, &engine_nets[3], DUKD_TRAIN, 3);
    dukd_engine_time times[64];
    dukd_engine_set_clock(e, tick);
    bench_forward(&b, engine_nets[3].batch);
    bench_backward(&b);
    dukd_engine_set_clock(e, NULL);
    const int32_t count = dukd_engine_times(e, times, 64);
    int64_t steps = 0;
    int32_t convolutions = 0;
    for (int32_t i = 0; i < count; i++) {
        steps += times[i].steps;
        convolutions += strcmp(times[i].kind, "convolution, weights' gradient") == 0;
        assert_true(times[i].seconds == (double)times[i].steps); /* one tick each */
    }
    assert_int_equal(2 * steps, clock_calls);
    assert_int_equal(convolutions, 1);
    assert_int_equal(dukd_engine_times(e, times, 64), 0);
    bench_close(&b);
    dukd_engine_destroy(e);
}

#ifndef GPU_ON_DEVICE
/* ---- launches ---- */

static double launches(void) {
    return (double)emulation_launches();
}

/* Kernels of ours, by kind of step, that forward and (TRAIN) backward launch after the weights have changed; printed, and their sum. What
 * the libraries launch is not counted. */
static int64_t launches_of(const engine_net *n, dukd_purpose purpose, dukd_precision precision) {
    dukd_failure f = {0};
    dukd_engine *e = engine_of("cuda");
    dukd_engine_time times[64];
    bench b = bench_in(e, n, purpose, precision, 3);
    int64_t all = 0;
    dukd_engine_set_clock(e, launches);
    if (dukd_network_set_weights(b.network, b.weights, &f) != DUKD_DONE) fail_msg("%s", f.message);
    bench_forward(&b, n->batch);
    if (purpose == DUKD_TRAIN) bench_backward(&b);
    const int32_t count = dukd_engine_times(e, times, 64);
    print_message("%s, %s, %s:", n->name, purpose == DUKD_TRAIN ? "training" : "inference",
                  precision == DUKD_BF16 ? "bf16" : "f32");
    for (int32_t i = 0; i < count; i++) {
        if (times[i].seconds > 0) print_message(" %s %.0f,", times[i].kind, times[i].seconds);
        all += (int64_t)times[i].seconds;
    }
    print_message(" all %ld\n", (long)all);
    bench_close(&b);
    dukd_engine_destroy(e);
    return all;
}

/* Few launches beside the 69 convolutions of EDSR with 32 blocks, in f32 and bf16. Forward: weights packed, a shuffle (the other is the export's),
 * both ends; in bf16 the last layer's source in f32. And backward: 32 gradients of ReLU, which also add up all biases' gradients but five; the
 * shuffle; the long residual; gradients unpacked; both ends; in bf16 a gradient back from f32. */
static void test_launches(void **state) {
    static const engine_net edsr = {
        "EDSR 32b", "EDSR", "num_in_ch=3 num_out_ch=3 num_feat=16 num_block=32 upscale=4", 1, 4, 3, 0,
        0,          {0}};
    (void)state;
    like_cudnn(1);
    assert_int_equal(launches_of(&edsr, DUKD_INFER, DUKD_F32), 4);
    assert_int_equal(launches_of(&edsr, DUKD_TRAIN, DUKD_F32), 45);
    assert_int_equal(launches_of(&edsr, DUKD_INFER, DUKD_BF16), 5);
    assert_int_equal(launches_of(&edsr, DUKD_TRAIN, DUKD_BF16), 47);
    like_cudnn(0);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_listener),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_compiled_later),
        cmocka_unit_test(test_listener_of_a_tap),
        cmocka_unit_test(test_two_networks),
        cmocka_unit_test(test_fewer_images),
        cmocka_unit_test(test_steps_do_not_wait),
        cmocka_unit_test(test_clock),
#ifndef GPU_ON_DEVICE
        cmocka_unit_test(test_launches),
#endif
    };
    return cmocka_run_group_tests_name("gpu_engine", tests, NULL, NULL);
}
