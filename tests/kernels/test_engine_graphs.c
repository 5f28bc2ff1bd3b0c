/* Graphs that are no EDSR: every operation by itself, taps of inner values, gradients that enter in several places,
 * values that are read more than once; all against the oracle, and finite differences of the engine itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/engine_case.h"
#include "support/edsr_net.h"
#include "support/fill.h"

static const double bound = 1e-5;

static dukd_graph *begin(void) {
    dukd_graph *g = dukd_graph_create();
    assert_non_null(g);
    return g;
}

static void finish(dukd_graph *g, dukd_value out) {
    dukd_failure f = {0};
    if (dukd_graph_finish(g, out, &f) != DUKD_DONE) fail_msg("%s", f.message);
}

static void check(const char *name, dukd_graph *g, int32_t batch, int32_t h, int32_t w, int32_t count,
                  const dukd_value *outputs, int32_t silent) {
    engine_case c = {.graph = g,
                     .batch = batch,
                     .height = h,
                     .width = w,
                     .output_count = count,
                     .silent = silent,
                     .seed = 11,
                     .weight_bound = .4f};
    if (count) memcpy(c.outputs, outputs, (size_t)count * sizeof *outputs);
    engine_case_check(name, &c, bound, bound);
    dukd_graph_destroy(g);
}

static const float factors[4] = {2, -.5f, 1, 3}, shifts[4] = {.25f, -1, 0, .5f};

/* Nothing but the input: an output that is the input, and one that is its affine map. */
static void test_input_alone(void **state) {
    (void)state;
    dukd_graph *g = begin();
    dukd_value x = dukd_graph_input(g, 4), a = dukd_graph_affine(g, x, factors, shifts);
    finish(g, a);
    check("affine", g, 2, 3, 5, 0, NULL, 0);
    g = begin();
    x = dukd_graph_input(g, 4);
    a = dukd_graph_affine(g, x, factors, shifts);
    finish(g, a);
    check("input and affine", g, 2, 3, 5, 3, (dukd_value[]){x, a, x}, 0);
}

static void test_elementwise(void **state) {
    (void)state;
    dukd_graph *g = begin();
    dukd_value x = dukd_graph_input(g, 4), y = dukd_graph_relu(g, dukd_graph_affine(g, x, factors, shifts));
    y = dukd_graph_add(g, dukd_graph_scale(g, y, -1.5f), dukd_graph_add(g, x, x));
    y = dukd_graph_affine(g, dukd_graph_relu(g, y), shifts, factors);
    finish(g, dukd_graph_pixel_shuffle(g, y, 2));
    check("elementwise, shuffle of no convolution", g, 3, 5, 4, 0, NULL, 0);
}

static void test_kernels(void **state) {
    (void)state;
    for (int32_t k = 1; k <= 7; k += 2) {
        dukd_graph *g = begin();
        dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), 16, k, "a");
        x = dukd_graph_conv(g, dukd_graph_relu(g, x), 32, k, "b");
        finish(g, dukd_graph_conv(g, x, 5, k, "c"));
        char name[32];
        snprintf(name, sizeof name, "kernel %d", (int)k);
        check(name, g, 2, 6, 9, 0, NULL, 0);
    }
}

/* A shuffle that vanishes, for every r and kernel that its rule takes, and outputs that keep it from vanishing. */
static void test_swallowed_shuffle(void **state) {
    (void)state;
    for (int32_t r = 2; r <= 4; r++)
        for (int32_t k = 1; k <= 5; k += 2) {
            dukd_graph *g = begin();
            dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), 3 * r * r, 3, "up");
            x = dukd_graph_pixel_shuffle(g, x, r);
            dukd_value y = dukd_graph_conv(g, x, 3, k, "last");
            finish(g, dukd_graph_affine(g, y, factors, shifts));
            char name[64];
            snprintf(name, sizeof name, "shuffle by %d, then kernel %d", (int)r, (int)k);
            check(name, g, 2, 4, 5, 0, NULL, 0);
        }
    dukd_graph *g = begin();
    dukd_value x = dukd_graph_pixel_shuffle(g, dukd_graph_conv(g, dukd_graph_input(g, 3), 64, 3, "up"), 2);
    dukd_value y = dukd_graph_conv(g, x, 3, 3, "last"), z = dukd_graph_affine(g, y, factors, shifts);
    finish(g, z);
    check("shuffle that is tapped", g, 2, 4, 5, 3, (dukd_value[]){x, y, z}, 0);
    g = begin();
    x = dukd_graph_pixel_shuffle(g, dukd_graph_conv(g, dukd_graph_input(g, 3), 64, 3, "up"), 2);
    y = dukd_graph_conv(g, x, 3, 3, "last");
    finish(g, dukd_graph_relu(g, y));
    check("shuffle, convolution, ReLU", g, 1, 4, 5, 0, NULL, 0);
}

/* Convolutions whose outputs lie in a shuffle's order: tapped, read by two shuffles, read by a shuffle and more. */
static void test_channel_order(void **state) {
    (void)state;
    for (int32_t channels = 12; channels <= 64; channels += 52) {
        dukd_graph *g = begin();
        dukd_value c = dukd_graph_conv(g, dukd_graph_input(g, 3), channels, 3, "up");
        dukd_value a = dukd_graph_pixel_shuffle(g, c, 2), b = dukd_graph_pixel_shuffle(g, c, 2);
        dukd_value y = dukd_graph_conv(g, dukd_graph_add(g, dukd_graph_relu(g, a), b), 16, 3, "last");
        finish(g, y);
        check("two shuffles, tapped before", g, 2, 3, 5, 3, (dukd_value[]){c, a, y}, 2);
        g = begin();
        c = dukd_graph_relu(g, dukd_graph_conv(g, dukd_graph_input(g, 3), channels, 3, "up"));
        a = dukd_graph_conv(g, dukd_graph_pixel_shuffle(g, c, 2), 16, 3, "a");
        b = dukd_graph_conv(g, c, 16, 3, "b");
        finish(g, a);
        check("a shuffle and a convolution", g, 2, 3, 5, 2, (dukd_value[]){a, b}, 0);
    }
}

/* Additions of every shape: a convolution to its own source, two convolutions, a value to itself, chains. */
static void test_additions(void **state) {
    (void)state;
    for (int32_t channels = 6; channels <= 32; channels += 26) {
        dukd_graph *g = begin();
        dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), channels, 3, "head");
        dukd_value y = dukd_graph_add(g, dukd_graph_conv(g, x, channels, 3, "a"), x);
        y = dukd_graph_add(g, y, dukd_graph_conv(g, y, channels, 3, "b"));
        finish(g, dukd_graph_conv(g, y, 3, 3, "tail"));
        check("convolutions added to their source", g, 2, 5, 4, 0, NULL, 0);

        g = begin();
        x = dukd_graph_conv(g, dukd_graph_input(g, 3), channels, 3, "head");
        dukd_value a = dukd_graph_conv(g, x, channels, 3, "a"), b = dukd_graph_conv(g, x, channels, 1, "b");
        y = dukd_graph_add(g, dukd_graph_scale(g, dukd_graph_scale(g, a, .5f), 3),
                           dukd_graph_scale(g, b, -.25f));
        y = dukd_graph_add(g, dukd_graph_add(g, y, y), dukd_graph_relu(g, x));
        finish(g, dukd_graph_conv(g, y, 3, 3, "tail"));
        check("two convolutions, a value to itself", g, 2, 5, 4, 0, NULL, 0);

        g = begin();
        x = dukd_graph_conv(g, dukd_graph_input(g, 3), channels, 3, "head");
        a = dukd_graph_conv(g, x, channels, 3, "a");
        b = dukd_graph_relu(g, x); /* made after the convolution that it is added to */
        y = dukd_graph_add(g, a, b);
        finish(g, y);
        check("a residual made later", g, 1, 5, 4, 2, (dukd_value[]){y, x}, 0);
    }
}

/* Every inner value of an EDSR at once, eight at a time, with gradients from each. */
static void test_taps(void **state) {
    (void)state;
    dukd_graph *g = dukd_edsr_net(16, 2, 2, .1);
    int32_t ops = dukd_graph_op_count(g);
    for (int32_t first = 0; first < ops; first += ENGINE_CASE_OUTPUTS) {
        engine_case c = {.graph = g, .batch = 2, .height = 5, .width = 4, .seed = 5};
        for (int32_t v = first; v < ops && v < first + ENGINE_CASE_OUTPUTS; v++)
            c.outputs[c.output_count++] = v;
        char name[32];
        snprintf(name, sizeof name, "taps from %d", (int)first);
        engine_case_check(name, &c, bound, bound);
    }
    engine_case c = {.graph = g, .batch = 2, .height = 5, .width = 4, .seed = 5, .silent = 1};
    c.outputs[c.output_count++] = dukd_graph_output(g);
    c.outputs[c.output_count++] = dukd_graph_find_layer(g, "body.0");
    c.outputs[c.output_count++] = dukd_graph_find_layer(g, "long_skip");
    engine_case_check("no gradient from the output", &c, bound, bound);
    dukd_graph_destroy(g);
}

/* d(loss) by central differences of the engine's own forward, without the oracle. */
static void test_finite_differences(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = dukd_edsr_net(4, 1, 2, 1);
    enum { N = 2, H = 3, W = 4, IN = N * 3 * H * W, OUT = IN * 4 };
    int64_t count = dukd_graph_weights(g);
    float *weights = malloc((size_t)count * sizeof *weights),
          *d_weights = calloc((size_t)count, sizeof *d_weights);
    assert_true(weights && d_weights);
    dukd_graph_init(g, 3, weights);
    float input[IN], d_input[IN], output[OUT], cotangent[OUT];
    dukd_fill_f32(input, IN, 1, 0, 1);
    dukd_fill_f32(cotangent, OUT, 2, -1, 1);
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *x = NULL;
    float *const outputs[] = {output};
    const float *const cotangents[] = {cotangent};
    assert_int_equal(dukd_engine_create(&e, "onednn", 2, &f), DUKD_DONE);
    assert_int_equal(dukd_network_create(&n, e, g, DUKD_F32, &f), DUKD_DONE);
    dukd_exec_spec spec = {.purpose = DUKD_TRAIN, .batch = N, .height = H, .width = W};
    assert_int_equal(dukd_network_compile(n, &spec, &x, &f), DUKD_DONE);
    assert_int_equal(dukd_network_set_weights(n, weights, &f), DUKD_DONE);
    assert_int_equal(dukd_exec_forward(x, N, input, outputs, &f), DUKD_DONE);
    assert_int_equal(dukd_exec_backward(x, cotangents, d_weights, d_input, &f), DUKD_DONE);

    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)d_weights[i]));
    int64_t step = count / 40 + 1;
    for (int64_t i = 0; i < count; i += step) {
        double loss[2];
        float kept = weights[i], h = 1e-2f;
        for (int side = 0; side < 2; side++) {
            weights[i] = side ? kept + h : kept - h;
            assert_int_equal(dukd_network_set_weights(n, weights, &f), DUKD_DONE);
            assert_int_equal(dukd_exec_forward(x, N, input, outputs, &f), DUKD_DONE);
            loss[side] = 0;
            for (int k = 0; k < OUT; k++) loss[side] += (double)output[k] * cotangent[k];
        }
        weights[i] = kept;
        double difference = (loss[1] - loss[0]) / (2. * h);
        if (fabs(difference - d_weights[i]) > 1e-2 * largest)
            fail_msg("weight %ld: gradient %g, finite difference %g", (long)i, d_weights[i], difference);
    }
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
    free(weights);
    free(d_weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_alone),   cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_kernels),       cmocka_unit_test(test_swallowed_shuffle),
        cmocka_unit_test(test_channel_order), cmocka_unit_test(test_additions),
        cmocka_unit_test(test_taps),          cmocka_unit_test(test_finite_differences),
    };
    return cmocka_run_group_tests_name("engine_graphs", tests, NULL, NULL);
}
