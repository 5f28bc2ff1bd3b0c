/* bf16 on the engine: activations and packed weights in bf16, sums, master weights and gradients in f32.
 *
 * Bounds, for EDSR with PyTorch's initial weights (measured: about a third of each):
 *     output                     max|delta| / max|reference|         1 / 128
 *     input's gradient           the same                            1 / 48
 *     parameters' gradients      ||delta|| / ||reference||, all      1 / 48
 * bf16 has 8 bits; a value is rounded once a layer, and the roundings of 32 blocks add up like a random walk. */
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
    assert_int_equal(dukd_engine_create(&e, "onednn", 1, &f), DUKD_DONE);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_operations),
    };
    return cmocka_run_group_tests_name("engine_bf16", tests, NULL, NULL);
}
