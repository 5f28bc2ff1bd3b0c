/* bf16 on the engine: activations and packed weights in bf16, sums, master weights, gradients and the last layer in f32.
 *
 * Bounds, for EDSR with PyTorch's initial weights (measured: about a third of each):
 *     output                     max|delta| / max|reference|         1 / 128
 *     input's gradient           the same                            1 / 48
 *     parameters' gradients      ||delta|| / ||reference||, all      1 / 48
 * bf16 has 8 bits; a value is rounded once a layer, and the roundings of 32 blocks add up like a random walk. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/engine_case.h"
#include "support/compare.h"
#include "support/edsr_net.h"

static int has_bf16(void) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_graph *g = dukd_edsr_net(16, 1, 2, 1);
    assert_int_equal(dukd_engine_create(&e, engine_case_engine(), 1, &f), DUKD_DONE);
    int can = dukd_network_create(&n, e, g, DUKD_BF16, &f) == DUKD_DONE;
    if (!can) print_message("skipped: %s\n", f.message);
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
    return can;
}

static void check(int32_t feat, int32_t blocks, int32_t scale, int32_t batch, int32_t h, int32_t w) {
    dukd_graph *g = dukd_edsr_net(feat, blocks, scale, .1);
    engine_case c = {.graph = g, .batch = batch, .height = h, .width = w, .seed = 21, .precision = DUKD_BF16};
    engine_errors e = engine_case_run(&c);
    char name[64];
    snprintf(name, sizeof name, "EDSR %dc%db x%d, %d x %d x %d", (int)feat, (int)blocks, (int)scale,
             (int)batch, (int)h, (int)w);
    print_message("%s: infer %.1e train %.1e d_input %.1e d_weights %.1e norm %.1e\n", name, e.infer, e.train,
                  e.d_input, e.d_weights, e.d_norm);
    dukd_assert_error(name, e.infer, 1. / 128);
    dukd_assert_error(name, e.train, 1. / 128);
    dukd_assert_error(name, e.d_input, 1. / 48);
    dukd_assert_error(name, e.d_norm, 1. / 48);
    dukd_graph_destroy(g);
}

static void test_scales(void **state) {
    (void)state;
    if (!has_bf16()) skip();
    check(16, 4, 2, 2, 12, 9);
    check(16, 4, 3, 2, 7, 12);
    check(16, 4, 4, 1, 12, 11);
    check(64, 2, 4, 1, 8, 8);
    check(8, 2, 2, 2, 9, 5);
    check(5, 2, 3, 1, 9, 5);
}

/* The depth of the paper's networks. */
static void test_deep(void **state) {
    (void)state;
    if (!has_bf16()) skip();
    check(16, 32, 4, 1, 16, 16);
}

/* Taps, and every operation by itself, in bf16. */
static void test_operations(void **state) {
    (void)state;
    if (!has_bf16()) skip();
    static const float factors[3] = {2, -.5f, 1}, shifts[3] = {.25f, -1, 0};
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 3), y = dukd_graph_relu(g, dukd_graph_affine(g, x, factors, shifts));
    y = dukd_graph_add(g, dukd_graph_scale(g, y, -1.5f), dukd_graph_add(g, x, x));
    dukd_value c = dukd_graph_conv(g, y, 36, 3, "c");
    dukd_value s = dukd_graph_pixel_shuffle(g, dukd_graph_relu(g, c), 3);
    dukd_failure f = {0};
    assert_int_equal(dukd_graph_finish(g, dukd_graph_conv(g, s, 3, 3, "d"), &f), DUKD_DONE);
    engine_case e = {.graph = g,
                     .batch = 2,
                     .height = 5,
                     .width = 4,
                     .seed = 3,
                     .precision = DUKD_BF16,
                     .output_count = 4,
                     .outputs = {y, c, s, dukd_graph_output(g)}};
    engine_case_check("operations", &e, 1. / 64, 1. / 6);
    dukd_graph_destroy(g);
}

/* ---- the last layer ---- */

enum { LAST_SIDE = 9, LAST_PIXELS = LAST_SIDE * LAST_SIDE, LAST_MOST = 2 * 3 * 4 * LAST_PIXELS };

typedef struct {
    float infer[LAST_MOST], train[LAST_MOST], d_weights[4096];
} last_values;

static void run_last(last_values *v, const dukd_graph *g, dukd_precision precision, const float *weights,
                     const float *in, const float *d_out) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *infer = NULL, *train = NULL;
    dukd_exec_spec spec = {.purpose = DUKD_INFER, .batch = 2, .height = LAST_SIDE, .width = LAST_SIDE};
    memset(v, 0, sizeof *v);
    assert_int_equal(dukd_engine_create(&e, "onednn", 2, &f), DUKD_DONE);
    assert_int_equal(dukd_network_create(&n, e, g, precision, &f), DUKD_DONE);
    assert_int_equal(dukd_network_set_weights(n, weights, &f), DUKD_DONE);
    assert_int_equal(dukd_network_compile(n, &spec, &infer, &f), DUKD_DONE);
    spec.purpose = DUKD_TRAIN;
    assert_int_equal(dukd_network_compile(n, &spec, &train, &f), DUKD_DONE);
    assert_int_equal(dukd_exec_forward(infer, 2, in, (float *const[]){v->infer}, &f), DUKD_DONE);
    assert_int_equal(dukd_exec_forward(train, 2, in, (float *const[]){v->train}, &f), DUKD_DONE);
    assert_int_equal(dukd_exec_backward(train, &d_out, v->d_weights, NULL, &f), DUKD_DONE);
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
}

static double largest_error(const float *a, const float *reference, int64_t n) {
    double most = 0, error = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - reference[i]), r = fabs((double)reference[i]);
        if (!(d <= error)) error = d; /* a NaN stays */
        if (r > most) most = r;
    }
    return error / most;
}

/* Where input and body are exact in bf16, nothing but f32 must be left of the last layer: its outputs and its parameters'
 * gradients are those of an f32 network. With weights, source or gradient rounded they are 1e-3 away. */
static void check_last(const char *name, dukd_graph *g, dukd_value output, const char *last) {
    dukd_failure f = {0};
    assert_int_equal(dukd_graph_finish(g, output, &f), DUKD_DONE);
    static float weights[4096], in[2 * 12 * LAST_PIXELS], d_out[LAST_MOST];
    assert_in_range(dukd_graph_weights(g), 1, 4096);
    dukd_graph_init(g, 5, weights);
    int64_t first = dukd_graph_weights(g), end = 0;
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        int is_last = strncmp(p->name, last, strlen(last)) == 0;
        for (int64_t k = p->offset; k < p->offset + p->count && !is_last; k++)
            weights[k] = rintf(weights[k] * 64) / 64;
        if (is_last && p->offset < first) first = p->offset;
        if (is_last && p->offset + p->count > end) end = p->offset + p->count;
    }
    assert_true(end > first);
    for (int64_t i = 0; i < 2 * 12 * LAST_PIXELS; i++) in[i] = (float)(i * 2654435761u % 129) / 128 - .5f;
    for (int64_t i = 0; i < LAST_MOST; i++) d_out[i] = (float)(i * 2246822519u % 10007) / 10007 - .5f;
    static last_values narrow, exact;
    run_last(&narrow, g, DUKD_BF16, weights, in, d_out);
    run_last(&exact, g, DUKD_F32, weights, in, d_out);
    dukd_assert_error(name, largest_error(narrow.infer, exact.infer, LAST_MOST), engine_case_bound(2e-6));
    dukd_assert_error(name, largest_error(narrow.train, exact.train, LAST_MOST), engine_case_bound(2e-6));
    dukd_assert_error(name, largest_error(narrow.d_weights + first, exact.d_weights + first, end - first),
                      engine_case_bound(1e-5));
    dukd_assert_error(name, largest_error(narrow.d_weights, exact.d_weights, dukd_graph_weights(g)), 1. / 64);
    dukd_graph_destroy(g);
}

/* Each way in which a last layer gets its source: written in f32 for it, cast for it, and with what is added to it. */
static void test_last_layer(void **state) {
    (void)state;
    if (!has_bf16()) skip();
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), 32, 3, "a");
    check_last("shuffle and convolution", g, dukd_graph_conv(g, dukd_graph_pixel_shuffle(g, x, 2), 3, 3, "z"),
               "z");

    g = dukd_graph_create();
    x = dukd_graph_conv(g, dukd_graph_input(g, 3), 12, 3, "z");
    check_last("convolution and shuffle", g, dukd_graph_pixel_shuffle(g, x, 2), "z");

    g = dukd_graph_create();
    x = dukd_graph_relu(g, dukd_graph_conv(g, dukd_graph_input(g, 3), 16, 3, "a"));
    check_last("activation before it", g, dukd_graph_conv(g, x, 12, 3, "z"), "z");

    g = dukd_graph_create();
    x = dukd_graph_relu(g, dukd_graph_input(g, 8));
    check_last("source in bf16", g, dukd_graph_conv(g, x, 12, 3, "z"), "z");

    g = dukd_graph_create();
    x = dukd_graph_input(g, 8);
    check_last("activation behind it", g, dukd_graph_relu(g, dukd_graph_conv(g, x, 12, 3, "z")), "z");
}

/* The image plus the last layer, as SwinIR does at upscale 1. */
static void test_last_residual(void **state) {
    (void)state;
    if (!has_bf16()) skip();
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 12), y = dukd_graph_conv(g, x, 16, 3, "a");
    check_last("residual", g, dukd_graph_add(g, x, dukd_graph_conv(g, y, 12, 3, "z")), "z");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales),        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_operations),    cmocka_unit_test(test_last_layer),
        cmocka_unit_test(test_last_residual),
    };
    return cmocka_run_group_tests_name("engine_bf16", tests, NULL, NULL);
}
