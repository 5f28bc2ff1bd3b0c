/* Sizes, reach, cost and constants of graphs with strides, windows and pools; and what such graphs refuse. */
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

static void expect_size(const dukd_graph *g, dukd_value v, int64_t h, int64_t w, int64_t rows,
                        int64_t columns) {
    int64_t size[2];
    dukd_graph_size(g, v, h, w, size);
    if (size[0] != rows || size[1] != columns)
        fail_msg("value %d of %lld x %lld is %lld x %lld, not %lld x %lld", (int)v, (long long)h,
                 (long long)w, (long long)size[0], (long long)size[1], (long long)rows, (long long)columns);
}

static const dukd_conv_shape halving = {.out_channels = 4, .kernel = 3, .stride = 2, .no_padding = 1};

/* The shapes of RFDN's spatial attention: halved, pooled, and resized back to multiply its input. */
static void test_sizes(void **state) {
    (void)state;
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), 4, 3, "head");
    dukd_value half = dukd_graph_conv_shape(g, x, &halving, "half");
    dukd_value pooled = dukd_graph_max_pool(g, half, 7, 3);
    dukd_value back = dukd_graph_resize_like(g, dukd_graph_conv(g, pooled, 4, 3, "inner"), x);
    dukd_value out = dukd_graph_mul(g, x, dukd_graph_sigmoid(g, back));
    dukd_value mean = dukd_graph_mean(g, out);
    dukd_value twice = dukd_graph_pixel_shuffle(g, out, 2);
    dukd_value wide = dukd_graph_pixel_shuffle(g, dukd_graph_conv(g, twice, 4, 1, "wide"), 2);
    dukd_value at_once = dukd_graph_pixel_shuffle(g, dukd_graph_conv(g, out, 16, 1, "at_once"), 4);
    dukd_value sum = dukd_graph_add(g, wide, at_once);
    dukd_failure f = {0};
    if (dukd_graph_finish(g, sum, &f) != DUKD_DONE) fail_msg("%s", f.message);

    expect_size(g, x, 48, 31, 48, 31);
    expect_size(g, half, 48, 31, 23, 15);
    expect_size(g, pooled, 48, 31, 6, 3);
    expect_size(g, back, 48, 31, 48, 31);
    expect_size(g, mean, 48, 31, 1, 1);
    expect_size(g, twice, 48, 31, 96, 62);
    expect_size(g, sum, 48, 31, 192, 124);
    expect_size(g, pooled, 14, 15, 0, 1); /* 14: 6 are left, 7 are needed */
    expect_size(g, pooled, 2, 0, 0, 0);
    expect_size(g, sum, INT64_MAX / 2, 1, INT64_MAX, 4);
    static const int32_t ups[] = {1, 0, 0, 1, 0, 2, 4};
    const dukd_value values[] = {x, half, pooled, back, mean, twice, sum};
    for (int i = 0; i < 7; i++) assert_int_equal(dukd_graph_op(g, values[i])->up, ups[i]);
    assert_int_equal(dukd_graph_op(g, wide)->grid, dukd_graph_op(g, at_once)->grid);
    assert_int_equal(dukd_graph_op(g, back)->grid, dukd_graph_op(g, x)->grid);

    assert_int_equal(dukd_graph_check_size(g, 15, 15, &f), DUKD_DONE);
    assert_int_equal(dukd_graph_check_size(g, 15, 14, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "15 x 14 is too small"));
    assert_non_null(strstr(f.message, "15 x 15 or more"));
    assert_int_equal(dukd_graph_check_size(g, 0, 99, NULL), DUKD_MISUSED);

    /* head, half (15 x 15 of 48 x 31), inner (6 x 3), wide and at_once; the mean reads what it averages, and a resize
     * makes each pixel of four. */
    int64_t macs = 48 * 31 * (4 * 27 + 16 * 4) + 23 * 15 * (4 * 36) + 6 * 3 * (4 * 36) + 96 * 62 * 4 +
                   48 * 31 * 4 + 48 * 31 * 4 * 4;
    assert_int_equal(dukd_graph_multiply_adds(g, 48, 31), macs);
    dukd_graph_destroy(g);
}

static void test_windows(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), 12, 3, "head");
    x = dukd_graph_attention(g, x, 2, 8, 4, "a");
    x = dukd_graph_linear(g, x, 24, "l");
    x = dukd_graph_layer_norm(g, dukd_graph_pixel_shuffle(g, x, 2), 1e-5f, "n");
    x = dukd_graph_attention(g, x, 1, 12, 0,
                             "b"); /* at twice the size: the input's sides are multiples of 6 */
    assert_int_equal(dukd_graph_finish(g, x, &f), DUKD_DONE);
    assert_int_equal(dukd_graph_multiple(g), 24);
    assert_int_equal(dukd_graph_check_size(g, 24, 48, &f), DUKD_DONE);
    assert_int_equal(dukd_graph_check_size(g, 24, 50, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "24 x 50"));
    assert_non_null(strstr(f.message, "multiples of 24, such as 24 x 48 or 24 x 72"));
    f = (dukd_failure){0};
    assert_int_equal(dukd_graph_check_size(g, 7, 50, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "such as 24 x 72"));
    assert_null(strstr(f.message, "0 x"));
    /* A window at twice the size reaches 11 pixels of it, 6 of the input, where one of 8 reaches 7 further, and the
     * convolution 1. */
    assert_int_equal(dukd_graph_receptive_radius(g), 6 + 7 + 1);
    const dukd_param *table = dukd_graph_param(g, dukd_graph_find_param(g, "a.relative_position_bias_table"));
    assert_true(table->ndim == 2 && table->dims[0] == 225 && table->dims[1] == 2);
    assert_true(table->init == DUKD_INIT_TRUNC_NORMAL && table->init_value == .02);
    const dukd_param *weight = dukd_graph_param(g, dukd_graph_find_param(g, "l.weight"));
    assert_true(weight->ndim == 2 && weight->dims[0] == 24 && weight->dims[1] == 4);
    assert_true(weight->init == DUKD_INIT_TRUNC_NORMAL && weight->init_value == .02);
    const dukd_param *norm = dukd_graph_param(g, dukd_graph_find_param(g, "n.weight"));
    assert_true(norm->init == DUKD_INIT_CONSTANT && norm->init_value == 1 && norm->count == 6);
    int64_t macs = 576 * (12 * 27 + 2 * 4 * 64 + 24 * 4) + 4 * 576 * (5 * 6 + 2 * 2 * 144);
    assert_int_equal(dukd_graph_multiply_adds(g, 24, 24), macs);
    dukd_graph_destroy(g);
}

/* For a row of pixels: which of the input reach the middle of the output, by the definition of each operation. */
static int32_t spread(const dukd_graph *g, int64_t width) {
    enum { OPS = 8, WIDEST = 600 };
    static unsigned char lit[OPS][WIDEST];
    int32_t far = 0, up = dukd_graph_upscale(g);
    assert_true(dukd_graph_op_count(g) <= OPS && width * up <= WIDEST);
    for (int64_t from = 0; from < width; from++) {
        memset(lit, 0, sizeof lit);
        for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
            const dukd_op *op = dukd_graph_op(g, i);
            int64_t out[2], in[2] = {0, 0};
            dukd_graph_size(g, i, width, width, out);
            if (op->in[0] >= 0) dukd_graph_size(g, op->in[0], width, width, in);
            for (int64_t p = 0; p < out[1]; p++) {
                if (op->kind == DUKD_OP_INPUT) lit[i][p] = p == from;
                if (op->kind == DUKD_OP_PIXEL_SHUFFLE) lit[i][p] = lit[op->in[0]][p / op->kernel];
                if (op->kind == DUKD_OP_CONV)
                    for (int64_t q = p * op->stride - op->padding;
                         q < p * op->stride - op->padding + op->kernel; q++)
                        if (q >= 0 && q < in[1]) lit[i][p] |= lit[op->in[0]][q];
                if (op->kind == DUKD_OP_RESIZE) {
                    double at = ((double)p + .5) * (double)in[1] / (double)out[1] - .5;
                    int64_t near = at < 0 ? 0 : (int64_t)at;
                    lit[i][p] = lit[op->in[0]][near] | lit[op->in[0]][near + 1 < in[1] ? near + 1 : near];
                }
                if (op->kind == DUKD_OP_ADD) lit[i][p] = lit[op->in[0]][p] | lit[op->in[1]][p];
            }
        }
        for (int64_t p = width / 3 * up; p < width / 3 * 2 * up; p++)
            if (lit[dukd_graph_output(g)][p] && llabs(p / up - from) > far)
                far = (int32_t)llabs(p / up - from);
    }
    return far;
}

/* A resize to twice the size is seen to the pixel or one further; a stride's reach is safe. */
static void test_reach(void **state) {
    (void)state;
    for (int32_t k1 = 1; k1 <= 5; k1 += 2)
        for (int32_t k2 = 1; k2 <= 7; k2 += 2) {
            dukd_graph *g = dukd_graph_create();
            dukd_value x = dukd_graph_input(g, 4);
            dukd_value wide = dukd_graph_pixel_shuffle(g, x, 2);
            dukd_value small = dukd_graph_conv(g, x, 1, k1, "a");
            dukd_value y = dukd_graph_conv(g, dukd_graph_resize_like(g, small, wide), 1, k2, "b");
            y = dukd_graph_add(g, y, wide);
            assert_int_equal(dukd_graph_finish(g, y, NULL), DUKD_DONE);
            int32_t far = spread(g, 48), said = dukd_graph_receptive_radius(g);
            if (said < far || said > far + 1)
                fail_msg("%d %d: %d, not %d", (int)k1, (int)k2, (int)said, (int)far);
            dukd_graph_destroy(g);
        }

    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 4);
    dukd_value half = dukd_graph_conv_shape(g, x, &halving, "half"), y = dukd_graph_resize_like(g, half, x);
    assert_int_equal(dukd_graph_finish(g, dukd_graph_add(g, x, y), NULL), DUKD_DONE);
    assert_int_equal(dukd_graph_receptive_radius(g),
                     DUKD_REACH_ALL); /* the places depend on the image's size */
    assert_int_equal(dukd_graph_op(g, half)->reach, DUKD_REACH_ALL);
    dukd_graph_destroy(g);

    g = dukd_graph_create();
    x = dukd_graph_conv(g, dukd_graph_input(g, 3), 4, 3, "c");
    y = dukd_graph_mul(g, x, dukd_graph_conv(g, dukd_graph_mean(g, x), 4, 1, "d"));
    assert_int_equal(dukd_graph_finish(g, y, NULL), DUKD_DONE);
    assert_int_equal(dukd_graph_receptive_radius(g), DUKD_REACH_ALL);
    dukd_graph_destroy(g);

    /* An output without a fixed scale, a feature extractor's say, has no place for a tile. */
    g = dukd_graph_create();
    x = dukd_graph_input(g, 3);
    y = dukd_graph_conv_shape(g, x, &halving, "c");
    assert_int_equal(dukd_graph_finish(g, y, NULL), DUKD_DONE);
    assert_int_equal(dukd_graph_upscale(g), 0);
    assert_int_equal(dukd_graph_receptive_radius(g), DUKD_REACH_ALL);
    assert_int_equal(dukd_graph_op(g, x)->reach, 2); /* pixel q of the output sees 2 q .. 2 q + 2 */
    dukd_graph_destroy(g);
}

static void test_constants(void **state) {
    (void)state;
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 3);
    dukd_graph_window_constants(g, "a", "mask", 3, 1, 6, 9);
    dukd_graph_window_constants(g, "b", "no_mask", 2, 0, 2, 2);
    assert_int_equal(dukd_graph_finish(g, x, NULL), DUKD_DONE);
    assert_int_equal(dukd_graph_constant_count(g), 3);
    const dukd_constant *index = dukd_graph_constant(g, 0), *mask = dukd_graph_constant(g, 1);
    assert_string_equal(index->name, "a.relative_position_index");
    assert_string_equal(mask->name, "mask");
    assert_string_equal(dukd_graph_constant(g, 2)->name, "b.relative_position_index");
    assert_true(index->is_integer && index->ndim == 2 && index->count == 81);
    assert_true(!mask->is_integer && mask->ndim == 3 && mask->dims[0] == 6 && mask->count == 6 * 81);

    int64_t places[81], small[16];
    dukd_constant_fill(index, places);
    assert_int_equal(places[0], 2 * 5 + 2);         /* a pixel and itself: the table's middle */
    assert_int_equal(places[8], 0);                 /* the first seen from the last: dy = dx = -2 */
    assert_int_equal(places[8 * 9], 4 * 5 + 4);     /* and the other way round */
    assert_int_equal(places[1 * 9 + 3], 1 * 5 + 3); /* (0, 1) to (1, 0): dy -1, dx 1 */
    dukd_constant_fill(dukd_graph_constant(g, 2), small);
    static const int64_t two[16] = {4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4};
    assert_memory_equal(small, two, sizeof two);

    /* Pixels of the last window's last row or column come from the other edge. */
    float *m = malloc((size_t)mask->count * sizeof *m);
    assert_non_null(m);
    dukd_constant_fill(mask, m);
    for (int n = 0; n < 6; n++)
        for (int i = 0; i < 9; i++)
            for (int j = 0; j < 9; j++) {
                int rows_differ = n >= 3 && (i / 3 == 2) != (j / 3 == 2);
                int columns_differ = n % 3 == 2 && (i % 3 == 2) != (j % 3 == 2);
                assert_true(m[(n * 9 + i) * 9 + j] == (rows_differ || columns_differ ? -100 : 0));
            }
    free(m);
    dukd_graph_destroy(g);
}

static void test_drops(void **state) {
    (void)state;
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 3);
    assert_int_equal(dukd_graph_drop_path(g, x, 0), x); /* nothing to draw */
    dukd_value a = dukd_graph_drop_path(g, x, .25f), b = dukd_graph_drop_path(g, a, .5f);
    assert_int_equal(dukd_graph_finish(g, b, NULL), DUKD_DONE);
    assert_int_equal(dukd_graph_drop_count(g), 2);
    assert_true(dukd_graph_drop_probability(g, 0) == .25f && dukd_graph_drop_probability(g, 1) == .5f);
    assert_true(dukd_graph_op(g, a)->drop == 0 && dukd_graph_op(g, b)->drop == 1);
    dukd_graph_destroy(g);
}

typedef dukd_value mistake(dukd_graph *g, dukd_value x);

static dukd_value add_sizes(dukd_graph *g, dukd_value x) {
    return dukd_graph_add(g, dukd_graph_conv_shape(g, x, &halving, "c"), dukd_graph_conv(g, x, 4, 3, "d"));
}
static dukd_value add_mean(dukd_graph *g, dukd_value x) {
    return dukd_graph_add(g, x, dukd_graph_mean(g, x));
}
static dukd_value mul_backwards(dukd_graph *g, dukd_value x) {
    return dukd_graph_mul(g, dukd_graph_mean(g, x), x);
}
static dukd_value mul_channels(dukd_graph *g, dukd_value x) {
    return dukd_graph_mul(g, x, dukd_graph_mean(g, dukd_graph_slice(g, x, 0, 1)));
}
static dukd_value concat_sizes(dukd_graph *g, dukd_value x) {
    return dukd_graph_concat(g, (dukd_value[]){x, dukd_graph_pixel_shuffle(g, x, 2)}, 2);
}
static dukd_value concat_one(dukd_graph *g, dukd_value x) {
    return dukd_graph_concat(g, &x, 1);
}
static dukd_value concat_wide(dukd_graph *g, dukd_value x) {
    dukd_value y = dukd_graph_conv(g, x, 4096, 1, "c");
    return dukd_graph_concat(g, (dukd_value[]){x, y}, 2);
}
static dukd_value slice_behind(dukd_graph *g, dukd_value x) {
    return dukd_graph_slice(g, x, 8, 5);
}
static dukd_value groups(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 10, .kernel = 3, .groups = 4}, "c");
}
static dukd_value even(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 10, .kernel = 2}, "c");
}
static dukd_value stride(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 10, .kernel = 3, .stride = 17},
                                 "c");
}
static dukd_value linear_kernel(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 10, .kernel = 3, .linear = 1}, "c");
}
static dukd_value nothing_to_share(dukd_graph *g, dukd_value x) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 12, .kernel = 3, .shared = 1}, "c");
}
static dukd_value another_shape_to_share(dukd_graph *g, dukd_value x) {
    x = dukd_graph_conv(g, x, 12, 3, "c");
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 12, .kernel = 1, .shared = 1}, "c");
}
static dukd_value no_bias_to_share(dukd_graph *g, dukd_value x) {
    x = dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 12, .kernel = 3, .no_bias = 1}, "c");
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 12, .kernel = 3, .shared = 1}, "c");
}
static dukd_value heads(dukd_graph *g, dukd_value x) {
    return dukd_graph_attention(g, x, 3, 4, 0, "a");
}
static dukd_value thirds(dukd_graph *g, dukd_value x) {
    return dukd_graph_attention(g, dukd_graph_slice(g, x, 0, 4), 1, 4, 0, "a");
}
static dukd_value shift(dukd_graph *g, dukd_value x) {
    return dukd_graph_attention(g, x, 2, 4, 4, "a");
}
static dukd_value windows_after_stride(dukd_graph *g, dukd_value x) {
    return dukd_graph_attention(
        g, dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = 12, .kernel = 3, .stride = 2}, "c"),
        2, 4, 0, "a");
}
static dukd_value incommensurable(dukd_graph *g, dukd_value x) {
    static const int32_t windows[] = {61, 59, 53};
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "a%d", i);
        x = dukd_graph_linear(g, dukd_graph_attention(g, x, 1, windows[i], 0, name), 12, name);
    }
    return x;
}
static dukd_value epsilon(dukd_graph *g, dukd_value x) {
    return dukd_graph_layer_norm(g, x, 0, "n");
}
static dukd_value slope(dukd_graph *g, dukd_value x) {
    return dukd_graph_leaky_relu(g, x, 1);
}
static dukd_value certain_drop(dukd_graph *g, dukd_value x) {
    return dukd_graph_drop_path(g, x, 1);
}
static dukd_value pool(dukd_graph *g, dukd_value x) {
    return dukd_graph_max_pool(g, x, 3, 0);
}
static dukd_value resize_nothing(dukd_graph *g, dukd_value x) {
    return dukd_graph_resize_like(g, x, 99);
}
static dukd_value constants(dukd_graph *g, dukd_value x) {
    dukd_graph_window_constants(g, "a", "m", 8, 4, 12, 16);
    return x;
}

static void test_mistakes(void **state) {
    (void)state;
    static const struct {
        mistake *make;
        const char *message;
    } rows[] = {
        {add_sizes, "addition of values of different shapes: 4 channels of size rule 1 and 4 channels at x1"},
        {add_mean, "12 channels at x1 and 12 channels of 1 x 1 pixels"},
        {mul_backwards, "multiplication of values of different shapes: 12 channels of 1 x 1 pixels and"},
        {mul_channels, "12 channels at x1 and 1 channels of 1 x 1 pixels"},
        {concat_sizes, "concatenation of values of different sizes: 12 channels at x1 and 3 channels at x2"},
        {concat_one, "concatenation of 1 values"},
        {concat_wide, "concatenation to 4108 channels"},
        {slice_behind, "slice of 5 channels from channel 8 of 12"},
        {groups, "'c' has 4 groups, which do not divide its 12 input and 10 output channels"},
        {even, "'c' has a kernel of 2; odd ones"},
        {stride, "'c' has a stride of 17"},
        {linear_kernel, "linear layer 'c'"},
        {nothing_to_share, "'c' is to share the parameters of one that is not there"},
        {another_shape_to_share, "'c' is to share"},
        {no_bias_to_share, "'c' is to share"},
        {heads, "attention 'a' has 3 heads on 12 channels"},
        {thirds, "attention 'a' has 1 heads on 4 channels"},
        {shift, "a window of 4 shifted by 4"},
        {windows_after_stride, "attention 'a' is on a value whose size is no multiple"},
        {incommensurable, "'a2') have no common multiple"},
        {epsilon, "layer norm 'n' has an epsilon of 0"},
        {slope, "slope of 1"},
        {certain_drop, "probability of 1"},
        {pool, "max pool of 3 x 3 at steps of 0"},
        {resize_nothing, "resize: its operand 99"},
        {constants, "12 x 16 cannot be cut into windows of 8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dukd_failure f = {0};
        dukd_graph *g = dukd_graph_create();
        dukd_value x = rows[i].make(g, dukd_graph_input(g, 12));
        assert_int_equal(dukd_graph_finish(g, x, &f), DUKD_MISUSED);
        if (!strstr(f.message, rows[i].message)) fail_msg("'%s' has no '%s'", f.message, rows[i].message);
        dukd_graph_destroy(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_windows), cmocka_unit_test(test_reach),
        cmocka_unit_test(test_constants), cmocka_unit_test(test_drops),   cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests_name("graph_shapes", tests, NULL, NULL);
}
