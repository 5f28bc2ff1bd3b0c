/* Every operation of the graph on the engine against the oracle, forward and backward, in f32 and bf16: alone between two
 * convolutions, with taps before and behind, with sources that several operations read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/engine_case.h"
#include "support/compare.h"
#include "support/edsr_net.h"

/* bf16 has 8 bits; a value is rounded once a layer. Gradients of few parameters are sums of many roundings. */
static const double bound = 1e-5, bf16_output = 1. / 32, bf16_norm = 1. / 16;

typedef struct {
    const char *name;
    dukd_value (*build)(dukd_graph *g, dukd_value x);
    int32_t channels; /* of the value that it is given */
    int32_t height, width;
    int32_t drops;
} op_case;

static int has_bf16(void) {
    static int known = -1;
    if (known >= 0) return known;
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_graph *g = dukd_edsr_net(16, 1, 2, 1);
    assert_int_equal(dukd_engine_create(&e, engine_case_engine(), 1, &f), DUKD_DONE);
    known = dukd_network_create(&n, e, g, DUKD_BF16, &f) == DUKD_DONE;
    if (!known) print_message("bf16 is skipped: %s\n", f.message);
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
    return known;
}

static void run(const char *name, engine_case c) {
    engine_case_check(name, &c, bound, bound);
    if (!has_bf16()) return;
    c.precision = DUKD_BF16;
    engine_errors e = engine_case_run(&c);
    print_message("%s, bf16: infer %.1e train %.1e d_input %.1e norm %.1e\n", name, e.infer, e.train,
                  e.d_input, e.d_norm);
    char what[96];
    snprintf(what, sizeof what, "%s in bf16", name);
    dukd_assert_error(what, e.infer, bf16_output);
    dukd_assert_error(what, e.train, bf16_output);
    dukd_assert_error(what, e.d_input, 1. / 8);
    dukd_assert_error(what, e.d_norm, bf16_norm);
}

static void check(const op_case *o) {
    for (int tapped = 0; tapped < 2; tapped++) {
        dukd_graph *g = dukd_graph_create();
        dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), o->channels, 3, "head");
        dukd_value y = o->build(g, x);
        dukd_value z = dukd_graph_conv(g, y, 5, 1, "tail");
        dukd_failure f = {0};
        if (dukd_graph_finish(g, z, &f) != DUKD_DONE) fail_msg("%s: %s", o->name, f.message);
        engine_case c = {.graph = g,
                         .batch = 3,
                         .height = o->height,
                         .width = o->width,
                         .seed = 17,
                         .weight_bound = .4f,
                         .drops = o->drops};
        if (tapped) {
            c.output_count = 4;
            for (int i = 0; i < 4; i++) c.outputs[i] = (dukd_value[]){y, z, x, y}[i];
        }
        run(o->name, c);
        dukd_graph_destroy(g);
    }
}

/* ---- convolutions ---- */

static dukd_value shape(dukd_graph *g, dukd_value x, int32_t out, int32_t kernel, int32_t stride,
                        int32_t groups, int32_t no_padding, int32_t no_bias, const char *name) {
    dukd_conv_shape s = {.out_channels = out,
                         .kernel = kernel,
                         .stride = stride,
                         .groups = groups,
                         .no_padding = no_padding,
                         .no_bias = no_bias};
    return dukd_graph_conv_shape(g, x, &s, name);
}

static dukd_value strided(dukd_graph *g, dukd_value x) {
    return shape(g, x, 8, 3, 2, 1, 0, 0, "strided");
}
static dukd_value strided_inside(dukd_graph *g, dukd_value x) {
    return shape(g, x, 8, 3, 2, 1, 1, 1, "strided");
}
static dukd_value unpadded(dukd_graph *g, dukd_value x) {
    return dukd_graph_relu(g, shape(g, x, 16, 3, 1, 1, 1, 0, "unpadded"));
}
static dukd_value grouped(dukd_graph *g, dukd_value x) {
    return dukd_graph_leaky_relu(g, shape(g, x, 16, 3, 1, 4, 0, 0, "grouped"), .2f);
}
static dukd_value grouped_by_one(dukd_graph *g, dukd_value x) {
    return shape(g, x, 32, 1, 1, 4, 0, 0, "grouped");
}
static dukd_value grouped_residual(dukd_graph *g, dukd_value x) {
    return dukd_graph_add(g, dukd_graph_scale(g, shape(g, x, 32, 3, 1, 2, 0, 0, "grouped"), .3f), x);
}
static dukd_value grouped_and_shuffled(dukd_graph *g, dukd_value x) {
    return dukd_graph_relu(g, dukd_graph_pixel_shuffle(g, shape(g, x, 16, 3, 1, 4, 0, 0, "grouped"), 2));
}
static dukd_value linear(dukd_graph *g, dukd_value x) {
    return dukd_graph_linear(g, dukd_graph_linear(g, x, 30, "wide"), 12, "narrow");
}
static dukd_value linear_residual(dukd_graph *g, dukd_value x) {
    return dukd_graph_add(g, x, dukd_graph_linear(g, dukd_graph_leaky_relu(g, x, .1f), 12, "linear"));
}
static dukd_value shared(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_conv(g, x, 16, 3, "twice");
    dukd_conv_shape s = {.out_channels = 16, .kernel = 3, .shared = 1};
    return dukd_graph_conv_shape(g, a, &s, "twice");
}

static void test_convolutions(void **state) {
    (void)state;
    const op_case cases[] = {
        {"stride 2", strided, 6, 7, 8, 0},
        {"stride 2, no padding, no bias", strided_inside, 6, 8, 9, 0},
        {"no padding", unpadded, 16, 6, 5, 0},
        {"4 groups, leaky ReLU", grouped, 8, 5, 6, 0},
        {"4 groups, 1 x 1", grouped_by_one, 16, 5, 6, 0},
        {"2 groups, residual", grouped_residual, 32, 5, 6, 0},
        {"4 groups, pixel shuffle", grouped_and_shuffled, 8, 5, 6, 0},
        {"linear", linear, 12, 7, 5, 0},
        {"linear, residual", linear_residual, 12, 7, 5, 0},
        {"shared parameters", shared, 16, 5, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

/* ---- elements ---- */

static dukd_value leaky(dukd_graph *g, dukd_value x) {
    return dukd_graph_leaky_relu(g, dukd_graph_add(g, x, dukd_graph_leaky_relu(g, x, .3f)), .01f);
}
static dukd_value gelu(dukd_graph *g, dukd_value x) {
    return dukd_graph_gelu(g, dukd_graph_add(g, x, dukd_graph_gelu(g, x)));
}
static dukd_value gelu_fused(dukd_graph *g, dukd_value x) {
    return dukd_graph_linear(g, dukd_graph_gelu(g, dukd_graph_linear(g, x, 24, "in")), 12, "out");
}
static dukd_value sigmoid(dukd_graph *g, dukd_value x) {
    return dukd_graph_sigmoid(g, dukd_graph_sigmoid(g, x));
}
static dukd_value products(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_conv(g, x, 16, 3, "a"),
               b = dukd_graph_sigmoid(g, dukd_graph_conv(g, x, 16, 1, "b"));
    return dukd_graph_mul(g, dukd_graph_mul(g, a, b), dukd_graph_mul(g, x, x));
}
static dukd_value products_added(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_conv(g, x, 16, 3, "a");
    dukd_value y = dukd_graph_add(g, x, dukd_graph_scale(g, dukd_graph_mul(g, a, x), -.5f));
    return dukd_graph_scale(g, dukd_graph_add(g, dukd_graph_mul(g, y, y), y), 2);
}
static dukd_value dropped(dukd_graph *g, dukd_value x) {
    dukd_value y = dukd_graph_add(g, x, dukd_graph_drop_path(g, dukd_graph_conv(g, x, 16, 3, "a"), .2f));
    y = dukd_graph_add(g, y, dukd_graph_drop_path(g, dukd_graph_gelu(g, y), .2f));
    return dukd_graph_drop_path(g, y, .2f);
}

static void test_elements(void **state) {
    (void)state;
    const op_case cases[] = {
        {"leaky ReLU", leaky, 6, 5, 4, 0},
        {"GELU", gelu, 6, 5, 4, 0},
        {"GELU behind a convolution", gelu_fused, 12, 5, 4, 0},
        {"sigmoid", sigmoid, 6, 5, 4, 0},
        {"products", products, 16, 5, 4, 0},
        {"products added to their source", products_added, 16, 5, 4, 0},
        {"drop paths that drop", dropped, 16, 5, 4, 1},
        {"drop paths that do not", dropped, 16, 5, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

/* ---- channels ---- */

static dukd_value concat(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_conv(g, x, 5, 3, "a"), b = dukd_graph_relu(g, dukd_graph_conv(g, a, 7, 1, "b"));
    return dukd_graph_concat(g, (dukd_value[]){x, a, b, a}, 4);
}
static dukd_value slices(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_slice(g, x, 0, 4), b = dukd_graph_slice(g, x, 3, 6);
    return dukd_graph_concat(g, (dukd_value[]){b, dukd_graph_relu(g, a)}, 2);
}
static dukd_value norm(dukd_graph *g, dukd_value x) {
    return dukd_graph_add(g, x,
                          dukd_graph_linear(g, dukd_graph_layer_norm(g, x, 1e-5f, "norm"), 12, "behind"));
}
static dukd_value norm_of_norm(dukd_graph *g, dukd_value x) {
    return dukd_graph_layer_norm(g, dukd_graph_relu(g, dukd_graph_layer_norm(g, x, 1e-5f, "n1")), 1e-3f,
                                 "n2");
}

static void test_channels(void **state) {
    (void)state;
    const op_case cases[] = {
        {"concatenation", concat, 4, 5, 4, 0},
        {"slices", slices, 10, 5, 4, 0},
        {"layer norm", norm, 12, 5, 4, 0},
        {"layer norm of layer norm", norm_of_norm, 10, 5, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

/* ---- pixels ---- */

/* RCAN's channel attention, in blocks of 16 channels where the engine trains in them. */
static dukd_value squeeze(dukd_graph *g, dukd_value x) {
    dukd_value a = dukd_graph_conv(g, x, 32, 3, "a"), s = dukd_graph_mean(g, a);
    s = dukd_graph_relu(g, dukd_graph_conv(g, s, 4, 1, "down"));
    s = dukd_graph_sigmoid(g, dukd_graph_conv(g, s, 32, 1, "up"));
    return dukd_graph_add(g, x, dukd_graph_scale(g, dukd_graph_mul(g, a, s), .7f));
}
/* IMDN's contrast: deviation plus mean. */
static dukd_value contrast(dukd_graph *g, dukd_value x) {
    dukd_value s = dukd_graph_add(g, dukd_graph_deviation(g, x), dukd_graph_mean(g, x));
    return dukd_graph_mul(g, x, dukd_graph_sigmoid(g, s));
}
/* RFDN's ESA: a small map, resized back, as a mask. */
static dukd_value spatial(dukd_graph *g, dukd_value x) {
    dukd_value a = shape(g, x, 6, 3, 2, 1, 1, 0, "shrink");
    dukd_value b = dukd_graph_conv(g, dukd_graph_max_pool(g, a, 3, 2), 6, 3, "small");
    b = dukd_graph_add(g, dukd_graph_resize_like(g, b, x), dukd_graph_conv(g, x, 6, 1, "whole"));
    return dukd_graph_mul(g, x, dukd_graph_sigmoid(g, b));
}
static dukd_value pooled(dukd_graph *g, dukd_value x) {
    return dukd_graph_concat(g,
                             (dukd_value[]){dukd_graph_max_pool(g, x, 2, 2),
                                            dukd_graph_resize_like(g, x, dukd_graph_max_pool(g, x, 2, 2))},
                             2);
}

static void test_pixels(void **state) {
    (void)state;
    const op_case cases[] = {
        {"channel attention", squeeze, 32, 6, 7, 0},
        {"contrast", contrast, 12, 6, 7, 0},
        {"contrast in blocks", contrast, 48, 6, 7, 0},
        {"spatial attention", spatial, 6, 15, 13, 0},
        {"pooled", pooled, 6, 7, 6, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

/* ---- windows ---- */

static dukd_value attention(dukd_graph *g, dukd_value x) {
    dukd_value y = dukd_graph_attention(g, dukd_graph_linear(g, x, 36, "qkv"), 2, 4, 0, "attn");
    return dukd_graph_add(g, x, dukd_graph_linear(g, y, 12, "proj"));
}
static dukd_value shifted(dukd_graph *g, dukd_value x) {
    dukd_value y = dukd_graph_attention(g, x, 3, 4, 2, "attn");
    return dukd_graph_concat(g, (dukd_value[]){y, x}, 2);
}

static void test_windows(void **state) {
    (void)state;
    const op_case cases[] = {
        {"attention", attention, 12, 8, 12, 0},
        {"shifted attention on a value that others read", shifted, 18, 12, 8, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

/* ---- networks ---- */

static void check_net(const char *name, const char *type, const char *options, int32_t batch, int32_t side,
                      int32_t drops) {
    dukd_graph *g = dukd_test_net(type, options);
    engine_case c = {.graph = g, .batch = batch, .height = side, .width = side, .seed = 9, .drops = drops};
    run(name, c);
    if (dukd_graph_layer_count(g) > 6) { /* taps, the middle of the network among them */
        c.output_count = 4;
        for (int i = 0; i < 4; i++)
            dukd_graph_layer_name(g, dukd_graph_layer_count(g) * (i + 1) / 4 - 1, &c.outputs[i]);
        run(name, c);
    }
    dukd_graph_destroy(g);
}

/* More images than inference takes at a time, and not a multiple. */
static void test_networks(void **state) {
    (void)state;
    check_net("RCAN", "RCAN",
              "num_in_ch=3 num_out_ch=3 num_feat=16 num_group=2 num_block=1 squeeze_factor=4 upscale=2", 3, 8,
              0);
    check_net("RCAN in parts", "RCAN",
              "num_in_ch=3 num_out_ch=3 num_feat=4 num_group=1 num_block=1 squeeze_factor=4 upscale=3", 3, 50,
              0);
#define SWINIR "img_size=16 window_size=4 embed_dim=12 depths=[2,2] num_heads=[2,2] mlp_ratio=2 "
    check_net("SwinIR", "SwinIR", SWINIR "drop_path_rate=.2 upscale=2 upsampler=pixelshuffle", 3, 8, 0);
    check_net("SwinIR with drop paths", "SwinIR",
              SWINIR "drop_path_rate=.2 upscale=2 upsampler=pixelshuffledirect", 3, 8, 1);
    check_net("SwinIR in parts", "SwinIR", SWINIR "drop_path_rate=.2 upscale=2 upsampler=pixelshuffledirect",
              3, 48, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions), cmocka_unit_test(test_elements), cmocka_unit_test(test_channels),
        cmocka_unit_test(test_pixels),       cmocka_unit_test(test_windows),  cmocka_unit_test(test_networks),
    };
    return cmocka_run_group_tests_name("engine_ops", tests, NULL, NULL);
}
