/* Graphs: what is built is what is read back, mistakes are reported once and first, and the derived numbers
 * are right. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph.h"
#include "graph/graph_random.h"

/* conv 3->8 k3, ReLU, conv 8->8 k3, scale, add, conv 8->12 k5, shuffle x2, affine: every kind of operation
 * once. */
static dukd_graph *build_all(dukd_failure *f) {
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 3);
    dukd_value head = dukd_graph_conv(g, x, 8, 3, "head");
    dukd_value inner = dukd_graph_conv(g, dukd_graph_relu(g, head), 8, 3, "inner");
    dukd_value sum = dukd_graph_add(g, head, dukd_graph_scale(g, inner, .25f));
    dukd_graph_layer(g, sum, "block.%d", 0);
    dukd_graph_layer(g, sum, "body");
    dukd_value tail = dukd_graph_pixel_shuffle(g, dukd_graph_conv(g, sum, 12, 5, "tail"), 2);
    float factors[3] = {1, 2, 3}, shifts[3] = {.5f, -1, 0};
    dukd_value out = dukd_graph_affine(g, tail, factors, shifts);
    factors[0] = shifts[0] = 99; /* the graph has its own copies */
    dukd_graph_finish(g, out, f);
    return g;
}

static void test_reads_back(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = build_all(&f);
    assert_string_equal(f.message, "");
    assert_int_equal(dukd_graph_op_count(g), 9);
    static const dukd_op_kind kinds[9] = {DUKD_OP_INPUT, DUKD_OP_CONV,          DUKD_OP_RELU,
                                          DUKD_OP_CONV,  DUKD_OP_SCALE,         DUKD_OP_ADD,
                                          DUKD_OP_CONV,  DUKD_OP_PIXEL_SHUFFLE, DUKD_OP_AFFINE};
    static const int32_t ins[9][2] = {{-1, -1}, {0, -1}, {1, -1}, {2, -1}, {3, -1},
                                      {1, 4},   {5, -1}, {6, -1}, {7, -1}};
    static const int32_t channels[9] = {3, 8, 8, 8, 8, 8, 12, 3, 3}, ups[9] = {1, 1, 1, 1, 1, 1, 1, 2, 2};
    for (int32_t i = 0; i < 9; i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        assert_int_equal(op->kind, kinds[i]);
        assert_int_equal(op->in[0], ins[i][0]);
        assert_int_equal(op->in[1], ins[i][1]);
        assert_int_equal(op->channels, channels[i]);
        assert_int_equal(op->up, ups[i]);
    }
    assert_int_equal(dukd_graph_output(g), 8);
    assert_int_equal(dukd_graph_upscale(g), 2);
    assert_true(dukd_graph_op(g, 4)->factor == .25f);
    assert_true(dukd_graph_op(g, 8)->factors[0] == 1 && dukd_graph_op(g, 8)->shifts[0] == .5f);
    assert_true(dukd_graph_op(g, 8)->factors[2] == 3 && dukd_graph_op(g, 8)->shifts[1] == -1);
    assert_int_equal(dukd_graph_op(g, 7)->kernel, 2);
    assert_int_equal(dukd_graph_op(g, 6)->kernel, 5);

    static const char *const names[6] = {"head.weight", "head.bias",   "inner.weight",
                                         "inner.bias",  "tail.weight", "tail.bias"};
    static const int64_t counts[6] = {8 * 3 * 9, 8, 8 * 8 * 9, 8, 12 * 8 * 25, 12};
    assert_int_equal(dukd_graph_param_count(g), 6);
    int64_t offset = 0;
    for (int32_t i = 0; i < 6; i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        assert_string_equal(p->name, names[i]);
        assert_int_equal(p->count, counts[i]);
        assert_int_equal(p->offset, offset);
        assert_int_equal(p->ndim, i % 2 ? 1 : 4);
        assert_int_equal(dukd_graph_find_param(g, names[i]), i);
        offset += counts[i];
    }
    assert_int_equal(dukd_graph_weights(g), offset);
    assert_int_equal(dukd_graph_op(g, 6)->weight, 4);
    assert_int_equal(dukd_graph_op(g, 6)->bias, 5);
    const int64_t *dims = dukd_graph_param(g, 4)->dims;
    assert_true(dims[0] == 12 && dims[1] == 8 && dims[2] == 5 && dims[3] == 5);
    assert_int_equal(dukd_graph_find_param(g, "head"), -1);
    dukd_graph_destroy(g);
}

static void test_layers(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = build_all(&f);
    assert_int_equal(dukd_graph_find_layer(g, "head"), 1);
    assert_int_equal(dukd_graph_find_layer(g, "block.0"), 5);
    assert_int_equal(dukd_graph_find_layer(g, "body"), 5);
    assert_int_equal(dukd_graph_find_layer(g, "block.1"), -1);
    assert_string_equal(dukd_graph_op(g, 5)->layer, "block.0");
    assert_null(dukd_graph_op(g, 2)->layer);
    assert_int_equal(dukd_graph_layer_count(g), 5);
    dukd_value v;
    assert_string_equal(dukd_graph_layer_name(g, 3, &v), "body");
    assert_int_equal(v, 5);
    dukd_graph_destroy(g);
}

static void test_multiply_adds(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = build_all(&f);
    assert_int_equal(dukd_graph_multiply_adds(g, 7, 10), 70 * (8 * 27 + 8 * 72 + 12 * 200));
    assert_true(dukd_graph_multiply_adds(g, INT64_MAX / 2, 10) == INT64_MAX);
    assert_true(dukd_graph_multiply_adds(g, INT64_C(1) << 29, INT64_C(1) << 29) == INT64_MAX);
    dukd_graph_destroy(g);
}

/* Which input pixels of a row reach an output pixel, by pushing one lit pixel through the graph (1-D, since
 * both axes are alike). */
static void spread(const dukd_graph *g, int lit, int width, unsigned char *out) {
    enum { WIDEST = 256 };
    static unsigned char rows[32][WIDEST];
    assert_true(dukd_graph_op_count(g) <= 32 && width * dukd_graph_upscale(g) <= WIDEST);
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        memset(rows[i], 0, WIDEST);
        for (int p = 0; p < width * op->up; p++) {
            if (op->kind == DUKD_OP_INPUT)
                rows[i][p] = p == lit;
            else if (op->kind == DUKD_OP_PIXEL_SHUFFLE)
                rows[i][p] = rows[op->in[0]][p / op->kernel];
            else
                for (int d = -(op->kernel / 2); d <= op->kernel / 2; d++)
                    if (p + d >= 0 && p + d < width * op->up)
                        rows[i][p] |= rows[op->in[0]][p + d] | (op->in[1] >= 0 ? rows[op->in[1]][p + d] : 0);
        }
    }
    memcpy(out, rows[dukd_graph_output(g)], (size_t)(width * dukd_graph_upscale(g)));
}

/* The farthest an output pixel of the middle of the row sees, in input pixels from the one it lies in. */
static int farthest(const dukd_graph *g) {
    enum { WIDTH = 40 };
    unsigned char out[WIDTH * 6];
    int up = dukd_graph_upscale(g), far = 0;
    for (int lit = 0; lit < WIDTH; lit++) {
        spread(g, lit, WIDTH, out);
        for (int p = 15 * up; p < 25 * up; p++)
            if (out[p] && abs(p / up - lit) > far) far = abs(p / up - lit);
    }
    return far;
}

static void test_receptive_radius(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = build_all(&f);
    assert_int_equal(dukd_graph_receptive_radius(g), 4);
    assert_int_equal(farthest(g), 4);
    dukd_graph_destroy(g);

    /* Kernels around shuffles by 2 and 3: rounding at each step matters. */
    for (int k1 = 1; k1 <= 7; k1 += 2)
        for (int k2 = 1; k2 <= 7; k2 += 2)
            for (int k3 = 1; k3 <= 7; k3 += 2) {
                g = dukd_graph_create();
                dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 1), 4, k1, "a");
                x = dukd_graph_conv(g, dukd_graph_pixel_shuffle(g, x, 2), 9, k2, "b");
                x = dukd_graph_conv(g, dukd_graph_pixel_shuffle(g, x, 3), 1, k3, "c");
                assert_int_equal(dukd_graph_finish(g, x, NULL), 0);
                assert_int_equal(dukd_graph_receptive_radius(g), farthest(g));
                dukd_graph_destroy(g);
            }
}

static void test_reach_ignores_what_the_output_does_not_use(void **state) {
    (void)state;
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 2);
    dukd_value used = dukd_graph_conv(g, x, 2, 3, "used");
    dukd_value unused = dukd_graph_conv(g, x, 2, 31, "unused");
    used = dukd_graph_relu(g, used);
    assert_int_equal(dukd_graph_finish(g, used, NULL), 0);
    assert_int_equal(dukd_graph_op(g, unused)->reach, -1);
    assert_int_equal(dukd_graph_op(g, used)->reach, 0);
    assert_int_equal(dukd_graph_receptive_radius(g), 1);
    dukd_graph_destroy(g);
}

static void expect_failure(dukd_graph *g, dukd_value output, const char *part) {
    dukd_failure f = {0};
    assert_int_equal(dukd_graph_finish(g, output, &f), DUKD_MISUSED);
    if (!strstr(f.message, part)) fail_msg("'%s' has no '%s'", f.message, part);
    dukd_graph_destroy(g);
}

static void test_mistakes(void **state) {
    (void)state;
    dukd_failure f = {0};
    assert_int_equal(dukd_graph_finish(NULL, 0, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "out of memory"));
    assert_int_equal(dukd_graph_input(NULL, 3), -1);
    dukd_graph_destroy(NULL);

    dukd_graph *g = dukd_graph_create();
    expect_failure(g, 0, "operand 0");
    g = dukd_graph_create();
    dukd_graph_input(g, 0);
    expect_failure(g, 0, "0 channels");
    g = dukd_graph_create();
    dukd_graph_input(g, 3);
    dukd_graph_input(g, 3);
    expect_failure(g, 0, "only one");
    g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 3);
    dukd_graph_add(g, x, dukd_graph_conv(g, x, 4, 3, "four"));
    expect_failure(g, x, "3 channels at x1 and 4 channels at x1");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 4);
    dukd_graph_add(g, dukd_graph_conv(g, x, 1, 3, "c"), dukd_graph_pixel_shuffle(g, x, 2));
    expect_failure(g, x, "different shapes");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    expect_failure(g, dukd_graph_pixel_shuffle(g, x, 2), "pixel shuffle by 2 of 3");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    expect_failure(g, dukd_graph_conv(g, x, DUKD_GRAPH_MAX_CHANNELS + 1, 3, "wide"), "'wide' has 4097");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    expect_failure(g, dukd_graph_conv(g, x, 3, 4, "even"), "kernel of 4");
    g = dukd_graph_create();
    x = dukd_graph_conv(g, dukd_graph_input(g, 3), 3, 3, "twice");
    expect_failure(g, dukd_graph_conv(g, x, 3, 3, "twice"), "'twice.weight'");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    dukd_graph_layer(g, x, "same");
    dukd_graph_layer(g, dukd_graph_relu(g, x), "same");
    expect_failure(g, x, "'same'");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    dukd_graph_layer(g, x, "%0200d", 1);
    expect_failure(g, x, "longer than");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    expect_failure(g, dukd_graph_scale(g, x, NAN), "not finite");
    g = dukd_graph_create();
    x = dukd_graph_input(g, 1);
    expect_failure(g, dukd_graph_affine(g, x, &(float){1}, &(float){INFINITY}), "channel 0");
    g = dukd_graph_create();
    expect_failure(g, dukd_graph_input(g, 3) + 7, "operand 7");
}

static void test_first_mistake_is_the_one_reported(void **state) {
    (void)state;
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 3);
    dukd_value bad = dukd_graph_conv(g, x, 3, 2, "first");
    assert_int_equal(bad, -1);
    int32_t before = dukd_graph_op_count(g);
    assert_int_equal(dukd_graph_conv(g, bad, 3, 2, "second"), -1);
    assert_int_equal(dukd_graph_relu(g, x), -1); /* nothing is built any more */
    assert_int_equal(dukd_graph_op_count(g), before);
    expect_failure(g, x, "'first'");

    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    assert_int_equal(dukd_graph_finish(g, x, NULL), 0);
    assert_int_equal(dukd_graph_relu(g, x), -1); /* closed */
    assert_int_equal(dukd_graph_op_count(g), 1);
    expect_failure(g, x, "finished already");
}

static void test_init(void **state) {
    (void)state;
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 64), 128, 3, "a");
    x = dukd_graph_conv(g, x, 64, 3, "b");
    assert_int_equal(dukd_graph_finish(g, x, NULL), 0);
    int64_t n = dukd_graph_weights(g);
    float *w = malloc((size_t)n * sizeof *w), *again = malloc((size_t)n * sizeof *w);
    assert_true(w && again);
    dukd_graph_init(g, 7, w);
    dukd_graph_init(g, 7, again);
    assert_memory_equal(w, again, (size_t)n * sizeof *w);
    dukd_graph_init(g, 8, again);
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) same += w[i] == again[i];
    assert_true(same < n / 1000);

    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        double bound = 1 / sqrt((i < 2 ? 64 : 128) * 9.0), sum = 0, squares = 0, most = 0, lag = 0;
        for (int64_t e = 0; e < p->count; e++) {
            double v = w[p->offset + e] / bound;
            sum += v;
            squares += v * v;
            most = fmax(most, fabs(v));
            if (e > 0) lag += v * w[p->offset + e - 1] / bound;
            assert_true(w[p->offset + e] ==
                        dukd_graph_initial_value(DUKD_INIT_UNIFORM, p->init_value, 7, i, e));
        }
        double noise = 5 / sqrt((double)p->count); /* five deviations or more of each statistic */
        assert_true(most <= 1 + 1e-6 && most > 1 - noise);
        assert_true(fabs(sum / (double)p->count) < .58 * noise);
        assert_true(fabs(squares / (double)p->count - 1. / 3) < .3 * noise);
        assert_true(fabs(lag / (double)p->count) < .34 * noise);
    }
    /* Parameters of equal shape differ, also from one seed to the next. */
    int64_t a = dukd_graph_param(g, 0)->offset, b = dukd_graph_param(g, 2)->offset;
    same = 0;
    for (int64_t e = 0; e < 64 * 128 * 9; e++) same += w[a + e] / sqrt(2) == w[b + e] || w[a + e] == w[b + e];
    assert_true(same < 100);
    free(w);
    free(again);
    dukd_graph_destroy(g);
}

static void test_initial_value_kinds(void **state) {
    (void)state;
    enum { N = 100000 };
    assert_true(dukd_graph_initial_value(DUKD_INIT_CONSTANT, .75, 3, 1, 5) == .75f);
    static const double sigmas[2] = {.02, 2}; /* 2: the cut at +-2 is at one deviation */
    for (int s = 0; s < 2; s++) {
        double sum = 0, squares = 0, most = 0;
        for (int64_t e = 0; e < N; e++) {
            double v = dukd_graph_initial_value(DUKD_INIT_TRUNC_NORMAL, sigmas[s], 11, 4, e);
            sum += v / sigmas[s];
            squares += v / sigmas[s] * (v / sigmas[s]);
            most = fmax(most, fabs(v));
        }
        /* Variance of a standard normal cut at +-1: 1 - 2 phi(1) / (2 Phi(1) - 1). */
        double variance = s == 0 ? 1 : 1 - 2 * .24197072451914337 / .6826894921370859;
        assert_true(most <= 2);
        assert_true(fabs(sum / N) < .02);
        assert_true(fabs(squares / N - variance) < .02);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_back),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_multiply_adds),
        cmocka_unit_test(test_receptive_radius),
        cmocka_unit_test(test_reach_ignores_what_the_output_does_not_use),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_first_mistake_is_the_one_reported),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_initial_value_kinds),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
