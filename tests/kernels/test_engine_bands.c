/* Inference in bands of rows against training's forward, which has none and is held against the oracle elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/fill.h"

/* Wide enough for bands of the fewest rows (8); see plan_bands.c. */
enum { WIDTH = 1030, MAX_OUTPUTS = 4 };

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static float *floats(int64_t count) {
    float *p = malloc((size_t)count * sizeof *p);
    assert_non_null(p);
    for (int64_t i = 0; i < count; i++) p[i] = 1e30f;
    return p;
}

static void compare(const char *name, const dukd_graph *g, int32_t batch, int32_t height, int32_t width,
                    dukd_precision precision, int32_t count, const dukd_value *values, double tolerance) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *exec[2] = {NULL, NULL};
    float *outputs[2][MAX_OUTPUTS], *weights = floats(dukd_graph_weights(g)),
                                    *input = floats((int64_t)batch * 3 * height * width);
    dukd_graph_init(g, 6, weights);
    dukd_fill_f32(input, (int64_t)batch * 3 * height * width, 8, 0, 1);
    done(dukd_engine_create(&e, "onednn", 2, &f), &f);
    done(dukd_network_create(&n, e, g, precision, &f), &f);
    done(dukd_network_set_weights(n, weights, &f), &f);
    int64_t peak[2], now;
    for (int k = 0; k < 2; k++) {
        dukd_exec_spec spec = {.purpose = k ? DUKD_TRAIN : DUKD_INFER,
                               .batch = batch,
                               .height = height,
                               .width = width,
                               .output_count = count,
                               .outputs = values};
        done(dukd_network_compile(n, &spec, &exec[k], &f), &f);
        for (int32_t i = 0; i < count; i++) {
            const dukd_op *op = dukd_graph_op(g, values[i]);
            outputs[k][i] = floats((int64_t)batch * op->channels * height * op->up * width * op->up);
        }
        done(dukd_exec_forward(exec[k], batch, input, outputs[k], &f), &f);
        dukd_engine_memory(e, &now, &peak[k]);
    }
    for (int32_t i = 0; i < count; i++) {
        const dukd_op *op = dukd_graph_op(g, values[i]);
        int64_t numbers = (int64_t)batch * op->channels * height * op->up * width * op->up;
        char what[96];
        snprintf(what, sizeof what, "%s, %d rows, output %d", name, (int)height, (int)i);
        dukd_assert_error(what, dukd_relative_error(outputs[0][i], outputs[1][i], numbers), tolerance);
    }
    for (int k = 0; k < 2; k++)
        for (int32_t i = 0; i < count; i++) free(outputs[k][i]);
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    free(weights);
    free(input);
}

static void edsr(int32_t feat, int32_t scale, int32_t batch, int32_t height, dukd_precision precision,
                 double tolerance) {
    dukd_graph *g = dukd_edsr_net(feat, 1, scale, 1);
    dukd_value out = dukd_graph_output(g);
    char name[48];
    snprintf(name, sizeof name, "EDSR %dc x%d", (int)feat, (int)scale);
    compare(name, g, batch, height, WIDTH, precision, 1, &out, tolerance);
    dukd_graph_destroy(g);
}

/* Bands that fit exactly, that overlap by all but one row, and the first height that has any. */
static void test_scales(void **state) {
    (void)state;
    edsr(8, 2, 1, 16, DUKD_F32, 1e-6);
    edsr(8, 3, 1, 17, DUKD_F32, 1e-6);
    edsr(8, 4, 1, 23, DUKD_F32, 1e-6);
    edsr(16, 4, 2, 24, DUKD_F32, 1e-6);
    edsr(4, 8, 1, 17, DUKD_F32, 1e-6);
}

static void test_bf16(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_graph *g = dukd_edsr_net(8, 1, 2, 1);
    done(dukd_engine_create(&e, "onednn", 1, &f), &f);
    int can = dukd_network_create(&n, e, g, DUKD_BF16, &f) == DUKD_DONE;
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
    if (!can) {
        print_message("skipped: %s\n", f.message);
        skip();
    }
    edsr(16, 4, 1, 19, DUKD_BF16, 1. / 256);
}

/* Every kind of operation behind the cut, a residual across it, taps on both sides. */
static void test_operations(void **state) {
    (void)state;
    static const float factors[24] = {2, -.5f, 1, 3}, shifts[24] = {.25f, -1, 0, .5f, 1, 1, 1};
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_conv(g, dukd_graph_input(g, 3), 6, 3, "head");
    dukd_value body = dukd_graph_add(g, dukd_graph_conv(g, x, 6, 5, "body"), x);
    dukd_value up = dukd_graph_affine(g, dukd_graph_conv(g, body, 24, 3, "up"), factors, shifts);
    dukd_value large = dukd_graph_relu(g, dukd_graph_pixel_shuffle(g, up, 2));
    dukd_value sum =
        dukd_graph_add(g, dukd_graph_scale(g, large, -.5f), dukd_graph_conv(g, large, 6, 7, "a"));
    dukd_value low = dukd_graph_add(g, dukd_graph_conv(g, up, 6, 1, "b"), body);
    dukd_failure f = {0};
    done(dukd_graph_finish(g, dukd_graph_conv(g, sum, 3, 3, "last"), &f), &f);
    dukd_value outputs[MAX_OUTPUTS] = {dukd_graph_output(g), low, body, large};
    for (int32_t height = 16; height <= 33; height += 5)
        compare("operations", g, 1, height, WIDTH, DUKD_F32, MAX_OUTPUTS, outputs, 1e-6);
    dukd_graph_destroy(g);
}

/* What bands are for: the memory of a large image is the body's and a band's. */
static void test_memory(void **state) {
    (void)state;
    enum { H = 200, W = 500 };
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *x = NULL;
    dukd_graph *g = dukd_edsr_net(64, 2, 4, 1);
    done(dukd_engine_create(&e, "onednn", 2, &f), &f);
    done(dukd_network_create(&n, e, g, DUKD_F32, &f), &f);
    dukd_exec_spec spec = {.purpose = DUKD_INFER, .batch = 1, .height = H, .width = W};
    done(dukd_network_compile(n, &spec, &x, &f), &f);
    int64_t now, peak, map = (int64_t)H * W * 64 * 4;
    dukd_engine_memory(e, &now, &peak);
    assert_true(peak > 3 * map / 2 && peak < 6 * map); /* whole, the upsampler alone has 32 */
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("engine_bands", tests, NULL, NULL);
}
