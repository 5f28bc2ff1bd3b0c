/* Every operation of the oracle: known values forward, finite differences backward. The engines are tested against the
 * oracle, so this is what they stand on; networks of it meet PyTorch's numbers in test_graph_golden. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph.h"
#include "support/compare.h"
#include "support/graph_ref.h"

enum { IMAGES = 2, LEVELS = 64 };

/* Inputs and weights are a permutation of odd multiples of 1/128: none is zero, and of 64 no two are equal, by less than the
 * differences' steps, so that ReLU and max pool have no kink in reach; and sums with the steps are exact in f32. */
static void fill(float *out, int64_t count, uint32_t seed) {
    for (int64_t i = 0; i < count; i++) out[i] = (float)(2 * (i % LEVELS) - LEVELS + 1) / 128;
    for (int64_t i = count - 1; i > 0; i--) {
        seed = seed * 1664525 + 1013904223;
        int64_t k = (int64_t)(seed >> 8) % (i + 1);
        float held = out[i];
        out[i] = out[k];
        out[k] = held;
    }
}

typedef struct {
    const char *name;
    dukd_value (*build)(dukd_graph *g, dukd_value x);
    int32_t channels, h, w;
} op_case;

typedef struct {
    const dukd_graph *g;
    const op_case *c;
    float *weights, *input, *cotangent;
    float drops[8 * IMAGES];
} problem;

/* sum(output * cotangent) */
static double loss(const problem *p) {
    dukd_graph_ref *r =
        dukd_graph_ref_run_drops(p->g, p->weights, IMAGES, p->c->h, p->c->w, p->input, p->drops);
    dukd_value out = dukd_graph_output(p->g);
    double sum = 0;
    for (int64_t i = 0; i < dukd_graph_ref_count(r, out); i++)
        sum += dukd_graph_ref_value(r, out)[i] * p->cotangent[i];
    dukd_graph_ref_free(r);
    return sum;
}

/* d(loss)/d(*at) by differences of two widths, whose errors of second order cancel. */
static double difference(const problem *p, float *at) {
    const float step = 1.f / 512, kept = *at;
    double slopes[2];
    for (int k = 0; k < 2; k++) {
        *at = kept + step * (float)(1 + k);
        double above = loss(p);
        *at = kept - step * (float)(1 + k);
        slopes[k] = (above - loss(p)) / (2 * step * (1 + k));
    }
    *at = kept;
    return (4 * slopes[0] - slopes[1]) / 3;
}

static void compare(const problem *p, const char *of, float *at, const double *got, int64_t count) {
    double most = 0, apart = 0;
    for (int64_t i = 0; i < count; i++) {
        double want = difference(p, &at[i]);
        most = fmax(most, fabs(want));
        apart = fmax(apart, fabs(want - got[i]));
    }
    char name[96];
    snprintf(name, sizeof name, "%s, gradient of the %s", p->c->name, of);
    dukd_assert_error(name, count == 0 ? 0 : apart / most, 1e-7);
}

static void check(const op_case *c) {
    dukd_failure f = {0};
    dukd_graph *g = dukd_graph_create();
    problem p = {.g = g, .c = c};
    if (dukd_graph_finish(g, c->build(g, dukd_graph_input(g, c->channels)), &f) != DUKD_DONE)
        fail_msg("%s: %s", c->name, f.message);
    int64_t inputs = (int64_t)IMAGES * c->channels * c->h * c->w, weights = dukd_graph_weights(g), size[2];
    dukd_graph_size(g, dukd_graph_output(g), c->h, c->w, size);
    int64_t outputs = IMAGES * dukd_graph_op(g, dukd_graph_output(g))->channels * size[0] * size[1];
    p.input = malloc((size_t)inputs * sizeof(float));
    p.weights = malloc((size_t)(weights + 1) * sizeof(float));
    p.cotangent = malloc((size_t)outputs * sizeof(float));
    double *d_input = calloc((size_t)inputs, sizeof *d_input);
    double *d_weights = calloc((size_t)weights + 1, sizeof *d_weights);
    assert_true(p.input && p.weights && p.cotangent && d_input && d_weights);
    fill(p.input, inputs, 1);
    fill(p.weights, weights, 2);
    fill(p.cotangent, outputs, 3);
    assert_true(dukd_graph_drop_count(g) <= 8);
    for (int i = 0; i < 8 * IMAGES; i++) p.drops[i] = i % 3 == 0 ? 0 : 1.25f;

    dukd_graph_ref *r = dukd_graph_ref_run_drops(g, p.weights, IMAGES, c->h, c->w, p.input, p.drops);
    dukd_value out = dukd_graph_output(g);
    assert_int_equal(dukd_graph_ref_count(r, out), outputs);
    const float *cotangents[1] = {p.cotangent};
    dukd_graph_ref_backward(r, 1, &out, cotangents, d_weights, d_input);
    dukd_graph_ref_free(r);
    compare(&p, "input", p.input, d_input, inputs);
    compare(&p, "weights", p.weights, d_weights, weights);
    free(p.input);
    free(p.weights);
    free(p.cotangent);
    free(d_input);
    free(d_weights);
    dukd_graph_destroy(g);
}

static dukd_value conv(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv(g, x, 4, 3, "c");
}
static dukd_value conv_stride(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(
        g, x, &(dukd_conv_shape){.out_channels = 3, .kernel = 3, .stride = 2, .no_padding = 1}, "c");
}
static dukd_value conv_groups(dukd_graph *g, dukd_value x) {
    x = dukd_graph_conv_shape(
        g, x, &(dukd_conv_shape){.out_channels = 6, .kernel = 3, .stride = 2, .groups = 2, .no_bias = 1},
        "c");
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 3, .kernel = 2, .no_padding = 1},
                                 "d");
}
/* One set of weights used twice: gradients add up. */
static dukd_value conv_shared(dukd_graph *g, dukd_value x) {
    dukd_conv_shape shape = {.out_channels = 4, .kernel = 3, .groups = 2};
    x = dukd_graph_sigmoid(g, dukd_graph_conv_shape(g, x, &shape, "c"));
    shape.shared = 1;
    return dukd_graph_conv_shape(g, x, &shape, "c");
}
static dukd_value linear(dukd_graph *g, dukd_value x) {
    return dukd_graph_linear(g, x, 5, "l");
}
static dukd_value relus(dukd_graph *g, dukd_value x) {
    return dukd_graph_add(g, dukd_graph_relu(g, x), dukd_graph_leaky_relu(g, x, .25f));
}
static dukd_value smooth(dukd_graph *g, dukd_value x) {
    return dukd_graph_gelu(g, dukd_graph_sigmoid(g, dukd_graph_gelu(g, dukd_graph_scale(g, x, 2))));
}
static dukd_value product(dukd_graph *g, dukd_value x) {
    return dukd_graph_mul(g, dukd_graph_sigmoid(g, x), dukd_graph_gelu(g, x));
}
static dukd_value square(dukd_graph *g, dukd_value x) {
    return dukd_graph_mul(g, x, x);
}
static dukd_value channel_weights(dukd_graph *g, dukd_value x) {
    dukd_value weight = dukd_graph_conv(g, dukd_graph_mean(g, x), 4, 1, "c");
    return dukd_graph_mul(g, x, dukd_graph_sigmoid(g, weight));
}
static dukd_value statistics(dukd_graph *g, dukd_value x) {
    return dukd_graph_mul(g, dukd_graph_deviation(g, x), dukd_graph_mean(g, x));
}
static dukd_value channels(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_slice(g, x, 1, 3), b = dukd_graph_slice(g, dukd_graph_sigmoid(g, x), 0, 2);
    return dukd_graph_mul(g, dukd_graph_concat(g, (dukd_value[]){b, a, b}, 3),
                          dukd_graph_concat(g, (dukd_value[]){a, x}, 2));
}
static dukd_value layer_norm(dukd_graph *g, dukd_value x) {
    return dukd_graph_layer_norm(g, x, 1e-3f, "n");
}
static dukd_value attention(dukd_graph *g, dukd_value x) {
    return dukd_graph_attention(g, x, 2, 3, 0, "a");
}
static dukd_value attention_shifted(dukd_graph *g, dukd_value x) {
    return dukd_graph_attention(g, x, 1, 3, 2, "a");
}
static dukd_value drop_path(dukd_graph *g, dukd_value x) {
    x = dukd_graph_add(g, x, dukd_graph_drop_path(g, dukd_graph_gelu(g, x), .2f));
    return dukd_graph_add(g, x, dukd_graph_drop_path(g, dukd_graph_sigmoid(g, x), .2f));
}
static dukd_value max_pool(dukd_graph *g, dukd_value x) {
    return dukd_graph_max_pool(g, x, 3, 2);
}
static dukd_value resize_up(dukd_graph *g, dukd_value x) {
    dukd_value small = dukd_graph_conv_shape(
        g, x, &(dukd_conv_shape){.out_channels = 2, .kernel = 3, .stride = 2, .no_padding = 1}, "c");
    return dukd_graph_resize_like(g, small, x);
}
static dukd_value resize_down(dukd_graph *g, dukd_value x) {
    return dukd_graph_resize_like(g, x, dukd_graph_max_pool(g, x, 2, 2));
}
static dukd_value shuffle_affine(dukd_graph *g, dukd_value x) {
    static const float factors[2] = {2, -.5f}, shifts[2] = {.25f, 3};
    return dukd_graph_affine(g, dukd_graph_pixel_shuffle(g, x, 2), factors, shifts);
}

static void test_gradients(void **state) {
    (void)state;
    static const op_case cases[] = {
        {"conv", conv, 3, 4, 3},
        {"conv of one pixel", conv, 3, 1, 1},
        {"conv, stride 2, no padding", conv_stride, 2, 6, 5},
        {"conv, stride 2, two groups", conv_groups, 4, 5, 4},
        {"conv used twice", conv_shared, 4, 3, 3},
        {"linear", linear, 3, 2, 3},
        {"ReLUs", relus, 3, 3, 4},
        {"GELU and sigmoid", smooth, 2, 3, 4},
        {"product", product, 2, 3, 3},
        {"square", square, 2, 3, 3},
        {"channel attention", channel_weights, 4, 3, 2},
        {"mean and deviation", statistics, 3, 3, 5},
        {"concat and slice", channels, 4, 2, 3},
        {"layer norm", layer_norm, 5, 2, 2},
        {"attention", attention, 12, 3, 6},
        {"attention, shifted", attention_shifted, 6, 6, 3},
        {"drop path", drop_path, 2, 3, 3},
        {"max pool", max_pool, 1, 5, 6},
        {"resize up", resize_up, 2, 6, 8},
        {"resize down", resize_down, 2, 5, 6},
        {"shuffle and affine", shuffle_affine, 8, 2, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

/* Runs one operation on one image and compares what it gives. */
static void expect(const op_case *c, const float *weights, const float *input, const double *want,
                   int64_t count) {
    dukd_failure f = {0};
    dukd_graph *g = dukd_graph_create();
    if (dukd_graph_finish(g, c->build(g, dukd_graph_input(g, c->channels)), &f) != DUKD_DONE)
        fail_msg("%s: %s", c->name, f.message);
    dukd_graph_ref *r = dukd_graph_ref_run(g, weights, 1, c->h, c->w, input);
    assert_int_equal(dukd_graph_ref_count(r, dukd_graph_output(g)), count);
    dukd_assert_error(
        c->name, dukd_relative_error_f64(dukd_graph_ref_value(r, dukd_graph_output(g)), want, count), 1e-12);
    dukd_graph_ref_free(r);
    dukd_graph_destroy(g);
}

static dukd_value only_gelu(dukd_graph *g, dukd_value x) {
    return dukd_graph_gelu(g, x);
}
static dukd_value only_sigmoid(dukd_graph *g, dukd_value x) {
    return dukd_graph_sigmoid(g, x);
}
static dukd_value only_leaky(dukd_graph *g, dukd_value x) {
    return dukd_graph_leaky_relu(g, x, .25f);
}
static dukd_value only_deviation(dukd_graph *g, dukd_value x) {
    return dukd_graph_deviation(g, x);
}
static dukd_value only_concat(dukd_graph *g, dukd_value x) {
    return dukd_graph_concat(g, (dukd_value[]){dukd_graph_slice(g, x, 2, 1), dukd_graph_slice(g, x, 0, 2)},
                             2);
}
/* From 4 pixels to 2 and back to 4, and from 6 to 3. */
static dukd_value only_resize(dukd_graph *g, dukd_value x) {
    return dukd_graph_resize_like(g, dukd_graph_max_pool(g, x, 1, 2), x);
}
static dukd_value only_drop(dukd_graph *g, dukd_value x) {
    return dukd_graph_drop_path(g, x, .5f);
}
/* 1 x 1, two groups of two channels in and out, no bias, every second pixel. */
static dukd_value only_groups(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(
        g, x, &(dukd_conv_shape){.out_channels = 4, .kernel = 1, .stride = 2, .groups = 2, .no_bias = 1},
        "c");
}

static void test_values(void **state) {
    (void)state;
    static const float points[3] = {-1, .5f, 2};
    /* Phi(1) = .84134474606854293, Phi(.5) = .69146246127401311, Phi(2) = .97724986805182079 */
    expect(&(op_case){"GELU", only_gelu, 1, 1, 3}, NULL, points,
           (const double[]){-.15865525393145707, .34573123063700656, 1.9544997361036416}, 3);
    expect(&(op_case){"sigmoid", only_sigmoid, 1, 3, 1}, NULL, points,
           (const double[]){.2689414213699951, .62245933120185459, .88079707797788243}, 3);
    expect(&(op_case){"leaky ReLU", only_leaky, 3, 1, 1}, NULL, points, (const double[]){-.25, .5, 2}, 3);
    /* 1 2 3 4: mean 2.5, mean square 1.25. A constant channel has none. */
    expect(&(op_case){"deviation", only_deviation, 2, 2, 2}, NULL, (const float[]){1, 2, 3, 4, 7, 7, 7, 7},
           (const double[]){1.1180339887498949, 0}, 2);
    expect(&(op_case){"concat", only_concat, 3, 1, 2}, NULL, (const float[]){1, 2, 3, 4, 5, 6},
           (const double[]){5, 6, 1, 2, 3, 4}, 6);
    expect(&(op_case){"max pool", max_pool, 1, 3, 5}, NULL,
           (const float[]){1, 9, 2, 3, 4, 5, 6, 7, 8, 0, -1, -2, -3, -4, -5}, (const double[]){9, 8}, 2);
    /* Places at -.25, .25, .75, 1.25 of two, the outer ones held at the edge: 0 and 4, 8 and 12. */
    expect(&(op_case){"resize", only_resize, 1, 2, 4}, NULL, (const float[]){0, -1, 4, -1, -1, -1, -1, -1},
           (const double[]){0, 1, 3, 4, 0, 1, 3, 4}, 8);
    expect(&(op_case){"drop path in evaluation", only_drop, 3, 1, 1}, NULL, points,
           (const double[]){-1, .5, 2}, 3);
    expect(&(op_case){"groups", only_groups, 4, 1, 3}, (const float[]){1, 10, 2, 20, 100, 1000, 200, 2000},
           (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
           (const double[]){41, 63, 82, 126, 10700, 12900, 21400, 25800}, 8);
    /* Sum over a 3 x 3 window from rows 0 and columns 0, 2. */
    float weights[9 * 2 * 3 + 3] = {0};
    for (int i = 0; i < 9; i++) weights[i] = 1; /* the first output channel sums the first input channel */
    weights[9 * 2 * 3] = .5f;
    expect(&(op_case){"stride", conv_stride, 2, 3, 5}, weights,
           (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                           7, 7, 7, 7, 7, 7, 7, 7, 7, 7,  7,  7,  7,  7,  7},
           (const double[]){63.5, 81.5, 0, 0, 0, 0}, 6);
}

/* An image one window wide, shifted: the two sides of each seam do not see each other, so that a change on one side
 * changes nothing on the other. */
static void test_shifted_windows_have_seams(void **state) {
    (void)state;
    enum { W = 4, C = 3 };
    dukd_graph *g = dukd_graph_create();
    dukd_value out = dukd_graph_attention(g, dukd_graph_input(g, C), 1, W, 1, "a");
    assert_int_equal(dukd_graph_finish(g, out, NULL), DUKD_DONE);
    float weights[(2 * W - 1) * (2 * W - 1)] = {0}, input[C * W * W];
    fill(input, C * W * W, 5);
    dukd_graph_ref *before = dukd_graph_ref_run(g, weights, 1, W, W, input);
    input[2 * W * W] += 1; /* the value at (0, 0), which the roll brings to the far corner */
    dukd_graph_ref *after = dukd_graph_ref_run(g, weights, 1, W, W, input);
    for (int i = 0; i < W * W; i++) {
        double moved = dukd_graph_ref_value(after, out)[i] - dukd_graph_ref_value(before, out)[i];
        assert_true(i == 0 ? moved > .99 : fabs(moved) < 1e-12);
    }
    dukd_graph_ref_free(before);
    dukd_graph_ref_free(after);
    dukd_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_shifted_windows_have_seams),
    };
    return cmocka_run_group_tests_name("graph_ops", tests, NULL, NULL);
}
