/* How an engine is called: what is refused, what may come between what, and that the same call gives the same bits. */
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/fill.h"

enum { N = 3, H = 6, W = 5, IN = N * 3 * H * W, OUT = IN * 4 };

typedef struct {
    dukd_graph *g;
    dukd_engine *e;
    dukd_network *n;
    int64_t count;
    float *weights, *d_weights;
    float input[IN], output[OUT], cotangent[OUT];
} fixture;

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static void refused(int status, dukd_failure *f, const char *words) {
    assert_int_equal(status, DUKD_MISUSED);
    if (!strstr(f->message, words)) fail_msg("'%s' does not say '%s'", f->message, words);
    *f = (dukd_failure){0};
}

static void setup(fixture *t, int32_t threads) {
    dukd_failure f = {0};
    t->g = dukd_edsr_net(16, 2, 2, 1);
    t->count = dukd_graph_weights(t->g);
    t->weights = malloc((size_t)t->count * sizeof *t->weights);
    t->d_weights = calloc((size_t)t->count, sizeof *t->d_weights);
    assert_true(t->weights && t->d_weights);
    dukd_graph_init(t->g, 4, t->weights);
    dukd_fill_f32(t->input, IN, 1, 0, 1);
    dukd_fill_f32(t->cotangent, OUT, 2, -1, 1);
    done(dukd_engine_create(&t->e, "onednn", threads, &f), &f);
    done(dukd_network_create(&t->n, t->e, t->g, DUKD_F32, &f), &f);
    done(dukd_network_set_weights(t->n, t->weights, &f), &f);
}

static void teardown(fixture *t) {
    dukd_network_destroy(t->n);
    dukd_engine_destroy(t->e);
    dukd_graph_destroy(t->g);
    free(t->weights);
    free(t->d_weights);
}

static dukd_exec *compile(fixture *t, dukd_purpose purpose, int32_t batch, int32_t h, int32_t w) {
    dukd_failure f = {0};
    dukd_exec *x = NULL;
    dukd_exec_spec s = {.purpose = purpose, .batch = batch, .height = h, .width = w};
    done(dukd_network_compile(t->n, &s, &x, &f), &f);
    return x;
}

static void forward(dukd_exec *x, int32_t images, const float *input, float *output) {
    dukd_failure f = {0};
    done(dukd_exec_forward(x, images, input, &output, &f), &f);
}

static void backward(dukd_exec *x, const float *d_output, float *d_weights, float *d_input) {
    dukd_failure f = {0};
    done(dukd_exec_backward(x, &d_output, d_weights, d_input, &f), &f);
}

static void test_refusals(void **state) {
    (void)state;
    fixture t;
    setup(&t, 2);
    dukd_failure f = {0};
    dukd_engine *e;
    dukd_network *n;
    dukd_exec *x = NULL;
    refused(dukd_engine_create(&e, "metal", 0, &f), &f,
            "there is no engine 'metal'; there are: onednn, cuda");
    setenv("DUKD_ENGINE_CUDA", "/nowhere/module.so", 1);
    refused(dukd_engine_create(&e, "cuda", 0, &f), &f, "there is no CUDA engine at '/nowhere/module.so'");
    unsetenv("DUKD_ENGINE_CUDA");
    refused(dukd_engine_create(&e, "onednn", -1, &f), &f, "threads");
    refused(dukd_network_create(&n, t.e, t.g, (dukd_precision)7, &f), &f, "precision");
    dukd_exec_spec s = {.purpose = DUKD_INFER, .batch = 0, .height = 4, .width = 4};
    refused(dukd_network_compile(t.n, &s, &x, &f), &f, "batch of 0");
    s = (dukd_exec_spec){.purpose = DUKD_INFER, .batch = 1, .height = 4, .width = 70000};
    refused(dukd_network_compile(t.n, &s, &x, &f), &f, "70000 x 4");
    dukd_value wrong = dukd_graph_op_count(t.g);
    s = (dukd_exec_spec){
        .purpose = DUKD_INFER, .batch = 1, .height = 4, .width = 4, .output_count = 1, .outputs = &wrong};
    refused(dukd_network_compile(t.n, &s, &x, &f), &f, "does not have");
    s.output_count = -1;
    refused(dukd_network_compile(t.n, &s, &x, &f), &f, "-1 outputs");

    float *out = t.output;
    const float *d = t.cotangent;
    dukd_exec *infer = compile(&t, DUKD_INFER, N, H, W), *train = compile(&t, DUKD_TRAIN, N, H, W);
    refused(dukd_exec_forward(infer, N + 1, t.input, &out, &f), &f, "up to 3 images");
    refused(dukd_exec_forward(infer, 0, t.input, &out, &f), &f, "images");
    refused(dukd_exec_forward(train, 1, t.input, &out, &f), &f, "training on 3 images");
    refused(dukd_exec_backward(infer, &d, t.d_weights, NULL, &f), &f, "inference");
    refused(dukd_exec_backward(train, &d, t.d_weights, NULL, &f), &f, "without its forward");
    dukd_exec *other = compile(&t, DUKD_TRAIN, 1, H, W);
    forward(train, N, t.input, t.output);
    forward(other, 1, t.input, t.output);
    refused(dukd_exec_backward(train, &d, t.d_weights, NULL, &f), &f, "another's");
    forward(train, N, t.input, t.output);
    backward(train, d, t.d_weights, NULL);
    refused(dukd_exec_backward(train, &d, t.d_weights, NULL, &f), &f, "already");
    assert_int_equal(dukd_network_create(&n, t.e, t.g, DUKD_F32, &f), DUKD_DONE);
    s = (dukd_exec_spec){.purpose = DUKD_INFER, .batch = 1, .height = 4, .width = 4};
    assert_int_equal(dukd_network_compile(n, &s, &x, &f), DUKD_DONE);
    refused(dukd_exec_forward(x, 1, t.input, &out, &f), &f, "before it has weights");
    dukd_network_destroy(n);
    teardown(&t);
    dukd_engine_destroy(NULL);
    dukd_network_destroy(NULL);
}

/* Memory that no machine has: an error, and the engine goes on. */
static void test_out_of_memory(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    print_message("skipped: AddressSanitizer ends the process instead of refusing memory\n");
    skip();
#endif
    fixture t;
    setup(&t, 2);
    dukd_failure f = {0};
    dukd_exec *x = NULL;
    dukd_exec_spec s = {.purpose = DUKD_TRAIN, .batch = 60000, .height = 2000, .width = 2000};
    assert_int_not_equal(dukd_network_compile(t.n, &s, &x, &f), DUKD_DONE);
    assert_null(x);
    assert_true(strlen(f.message) > 0);
    x = compile(&t, DUKD_TRAIN, N, H, W);
    forward(x, N, t.input, t.output);
    teardown(&t);
}

/* An equal spec gives the same exec; INFER and TRAIN do not. */
static void test_compiled_once(void **state) {
    (void)state;
    fixture t;
    setup(&t, 2);
    dukd_exec *a = compile(&t, DUKD_INFER, N, H, W);
    assert_ptr_equal(a, compile(&t, DUKD_INFER, N, H, W));
    assert_ptr_not_equal(a, compile(&t, DUKD_TRAIN, N, H, W));
    assert_ptr_not_equal(a, compile(&t, DUKD_INFER, N, W, H));
    dukd_value out = dukd_graph_output(t.g);
    dukd_exec_spec s = {
        .purpose = DUKD_INFER, .batch = N, .height = H, .width = W, .output_count = 1, .outputs = &out};
    dukd_exec *x = NULL;
    dukd_failure f = {0};
    assert_int_equal(dukd_network_compile(t.n, &s, &x, &f), DUKD_DONE);
    assert_ptr_equal(a, x); /* the graph's output, by name or by default */
    teardown(&t);
}

/* Gradients add up, and INFER (of any shape, compiled in between too) does not disturb it. */
static void test_between(void **state) {
    (void)state;
    fixture t;
    setup(&t, 2);
    dukd_exec *train = compile(&t, DUKD_TRAIN, N, H, W);
    float once[IN], again[IN], *first = calloc((size_t)t.count, sizeof *first);
    assert_non_null(first);
    forward(train, N, t.input, t.output);
    backward(train, t.cotangent, first, once);
    forward(train, N, t.input, t.output);
    float large[2 * 3 * 30 * 20] = {0}, *out = calloc(4 * sizeof large / sizeof *large, sizeof *out);
    assert_non_null(out);
    forward(compile(&t, DUKD_INFER, 2, 30, 20), 2, large, out);
    compile(&t, DUKD_TRAIN, N, 4 * H, 4 * W); /* moves the arena of training */
    backward(train, t.cotangent, t.d_weights, again);
    assert_memory_equal(once, again, sizeof once);
    assert_memory_equal(first, t.d_weights, (size_t)t.count * sizeof *first);
    forward(train, N, t.input, t.output);
    backward(train, t.cotangent, t.d_weights, NULL);
    for (int64_t i = 0; i < t.count; i++) first[i] *= 2;
    dukd_assert_error("twice the gradient", dukd_relative_error(t.d_weights, first, t.count), 1e-6);
    free(first);
    free(out);
    teardown(&t);
}

/* Fewer images than the batch: the same answers, and nothing written behind them. */
static void test_fewer_images(void **state) {
    (void)state;
    fixture t;
    setup(&t, 2);
    dukd_exec *infer = compile(&t, DUKD_INFER, N, H, W), *one = compile(&t, DUKD_INFER, 1, H, W);
    float whole[OUT];
    forward(infer, N, t.input, whole);
    for (int i = 0; i < OUT; i++) t.output[i] = 77;
    forward(infer, 2, t.input, t.output);
    assert_memory_equal(whole, t.output, 2 * (OUT / N) * sizeof(float));
    for (int i = 2 * (OUT / N); i < OUT; i++) assert_true(t.output[i] == 77);
    forward(one, 1, t.input + IN / N, t.output);
    dukd_assert_error("one image alone", dukd_relative_error(t.output, whole + OUT / N, OUT / N), 1e-6);
    teardown(&t);
}

/* set_weights is seen by every exec, compiled before or after. */
static void test_new_weights(void **state) {
    (void)state;
    fixture t;
    setup(&t, 2);
    dukd_failure f = {0};
    dukd_exec *infer = compile(&t, DUKD_INFER, N, H, W);
    float before[OUT];
    forward(infer, N, t.input, before);
    dukd_graph_init(t.g, 5, t.weights);
    done(dukd_network_set_weights(t.n, t.weights, &f), &f);
    forward(infer, N, t.input, t.output);
    assert_memory_not_equal(before, t.output, sizeof before);
    float trained[OUT];
    forward(compile(&t, DUKD_TRAIN, N, H, W), N, t.input, trained);
    dukd_assert_error("INFER and TRAIN", dukd_relative_error(trained, t.output, OUT), 1e-6);
    teardown(&t);
}

/* The same bits from two engines with equal thread counts; the engine's count holds whatever the caller's is, which
 * is left alone. */
static void test_threads(void **state) {
    (void)state;
    float outputs[2][OUT], d_inputs[2][IN];
    float *d_weights[2];
    for (int k = 0; k < 2; k++) {
        fixture t;
        omp_set_num_threads(k ? 1 : 3);
        setup(&t, 2);
        assert_int_equal(dukd_engine_get_info(t.e)->threads, 2);
        dukd_exec *x = compile(&t, DUKD_TRAIN, N, H, W);
        forward(x, N, t.input, outputs[k]);
        d_weights[k] = t.d_weights;
        backward(x, t.cotangent, t.d_weights, d_inputs[k]);
        assert_int_equal(omp_get_max_threads(), k ? 1 : 3);
        if (k == 1) assert_memory_equal(d_weights[0], d_weights[1], (size_t)t.count * sizeof(float));
        t.d_weights = NULL;
        teardown(&t);
    }
    assert_memory_equal(outputs[0], outputs[1], sizeof outputs[0]);
    assert_memory_equal(d_inputs[0], d_inputs[1], sizeof d_inputs[0]);
    free(d_weights[0]);
    free(d_weights[1]);
}

/* Memory is counted, shared by execs, and given back. */
static void test_memory(void **state) {
    (void)state;
    fixture t;
    setup(&t, 2);
    int64_t now, peak, before;
    compile(&t, DUKD_TRAIN, 16, 48, 48);
    dukd_engine_memory(t.e, &before, &peak);
    assert_true(before > 0 && peak >= before);
    compile(&t, DUKD_TRAIN, 16, 12, 12);
    dukd_engine_memory(t.e, &now, &peak);
    assert_true(now < before + before / 100); /* the smaller batch lives where the larger does */
    dukd_network_destroy(t.n);
    t.n = NULL;
    dukd_engine_memory(t.e, &before, &peak);
    assert_true(before < now);
    teardown(&t);
}

/* Factors hold until they are replaced, for both purposes; without them, or all 1, nothing is dropped. */
static void test_drops(void **state) {
    (void)state;
    enum { C = 4, VALUES = N * C * H * W };
    dukd_failure f = {0};
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), C, 3, "head");
    dukd_value y = dukd_graph_add(g, x, dukd_graph_drop_path(g, dukd_graph_conv(g, x, C, 3, "a"), .5f));
    done(dukd_graph_finish(g, y, &f), &f);
    float weights[C * 3 * 9 + C + C * C * 9 + C], input[IN], out[4][VALUES];
    assert_int_equal(dukd_graph_weights(g), sizeof weights / sizeof *weights);
    dukd_graph_init(g, 4, weights);
    dukd_fill_f32(input, IN, 1, 0, 1);
    static const float ones[N] = {1, 1, 1}, some[N] = {2, 0, 2};
    for (int purpose = 0; purpose < 2; purpose++) {
        dukd_engine *e = NULL;
        dukd_network *n = NULL;
        dukd_exec *exec = NULL;
        done(dukd_engine_create(&e, "onednn", 2, &f), &f);
        done(dukd_network_create(&n, e, g, DUKD_F32, &f), &f);
        done(dukd_network_set_weights(n, weights, &f), &f);
        dukd_exec_spec s = {
            .purpose = purpose ? DUKD_TRAIN : DUKD_INFER, .batch = N, .height = H, .width = W};
        done(dukd_network_compile(n, &s, &exec, &f), &f);
        for (int k = 0; k < 4; k++) {
            if (k == 1) dukd_exec_set_drops(exec, ones);
            if (k == 2) dukd_exec_set_drops(exec, some);
            forward(exec, N, input, out[k]);
        }
        assert_true(dukd_relative_error(out[1], out[0], VALUES) < 1e-6);
        assert_memory_equal(out[2], out[3], sizeof out[2]);
        float most[N] = {0};
        for (int i = 0; i < VALUES; i++) {
            float apart = out[2][i] - out[0][i], *m = &most[i / (VALUES / N)];
            *m = apart > *m ? apart : -apart > *m ? -apart : *m;
        }
        assert_true(most[0] > 1e-2f && most[1] > 1e-2f && most[2] > 1e-2f);
        dukd_exec_set_drops(exec, NULL);
        forward(exec, N, input, out[3]);
        assert_memory_equal(out[3], out[0], sizeof out[0]);
        dukd_network_destroy(n);
        dukd_engine_destroy(e);
    }
    dukd_graph_destroy(g);
}

/* Windows beyond 16 x 16 have no room in the processor's tables. */
static void test_windows(void **state) {
    (void)state;
    for (int32_t window = 16; window <= 17; window++) {
        dukd_failure f = {0};
        dukd_engine *e = NULL;
        dukd_network *n = NULL;
        dukd_exec *x = NULL;
        dukd_graph *g = dukd_graph_create();
        dukd_graph_finish(g, dukd_graph_attention(g, dukd_graph_input(g, 3), 1, window, 0, "a"), &f);
        assert_int_equal(dukd_engine_create(&e, "onednn", 1, &f), DUKD_DONE);
        assert_int_equal(dukd_network_create(&n, e, g, DUKD_F32, &f), DUKD_DONE);
        const dukd_exec_spec spec = {.purpose = DUKD_INFER, .batch = 1, .height = window, .width = window};
        assert_int_equal(dukd_network_compile(n, &spec, &x, &f), window == 16 ? DUKD_DONE : DUKD_MISUSED);
        if (window > 16) assert_non_null(strstr(f.message, "17 x 17"));
        dukd_network_destroy(n);
        dukd_engine_destroy(e);
        dukd_graph_destroy(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_compiled_once), cmocka_unit_test(test_between),
        cmocka_unit_test(test_fewer_images),  cmocka_unit_test(test_new_weights),
        cmocka_unit_test(test_threads),       cmocka_unit_test(test_drops),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests_name("engine_calls", tests, NULL, NULL);
}
