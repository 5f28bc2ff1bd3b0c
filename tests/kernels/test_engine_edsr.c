/* EDSR on the engine: against the golden files of PyTorch, and against the oracle at every scale, odd and oblong
 * sizes, batches of one to three, channels that are whole vectors and channels that are not. */
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
#include "support/golden.h"

/* The bound for f32: max|delta| / max|reference| of each tensor. */
static const double bound = 1e-5;

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static void golden_size(dukd_golden *file, const dukd_graph *g, dukd_network *n, int size) {
    dukd_failure f = {0};
    dukd_golden_tensor input = dukd_golden_f32(file, "input.%d", size),
                       want = dukd_golden_f32(file, "output.%d", size);
    dukd_golden_tensor cotangent = dukd_golden_f32(file, "cotangent.%d", size),
                       want_input = dukd_golden_f32(file, "dinput.%d", size);
    dukd_exec_spec spec = {.purpose = DUKD_TRAIN,
                           .batch = (int32_t)input.dims[0],
                           .height = (int32_t)input.dims[2],
                           .width = (int32_t)input.dims[3]};
    dukd_exec *x = NULL;
    done(dukd_network_compile(n, &spec, &x, &f), &f);
    float *output = calloc((size_t)want.count, sizeof *output),
          *d_input = calloc((size_t)input.count, sizeof *d_input);
    float *d_weights = calloc((size_t)dukd_graph_weights(g), sizeof *d_weights);
    assert_true(output && d_input && d_weights);
    done(dukd_exec_forward(x, spec.batch, input.data, &output, &f), &f);
    dukd_assert_error(want.name, dukd_relative_error(output, want.data, want.count), engine_case_bound(5e-6));
    const float *d_output = cotangent.data;
    done(dukd_exec_backward(x, &d_output, d_weights, d_input, &f), &f);
    dukd_assert_error(want_input.name, dukd_relative_error(d_input, want_input.data, want_input.count),
                      engine_case_bound(bound));
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        dukd_golden_tensor grad = dukd_golden_f32(file, "grad.%d.%s", size, p->name);
        assert_int_equal(grad.count, p->count);
        dukd_assert_error(grad.name, dukd_relative_error(d_weights + p->offset, grad.data, grad.count),
                          engine_case_bound(bound));
    }
    free(output);
    free(d_input);
    free(d_weights);
}

static void golden(int scale) {
    char name[32];
    snprintf(name, sizeof name, "net_edsr_x%d", scale);
    dukd_golden *file = dukd_golden_open(name);
    dukd_failure f = {0};
    dukd_graph *g = dukd_edsr_net(8, 2, scale, .1);
    float *weights = malloc((size_t)dukd_graph_weights(g) * sizeof *weights);
    assert_non_null(weights);
    dukd_golden_weights(weights, g, file, "weights");
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    done(dukd_engine_create(&e, "onednn", 0, &f), &f);
    done(dukd_network_create(&n, e, g, DUKD_F32, &f), &f);
    done(dukd_network_set_weights(n, weights, &f), &f);
    for (int size = 0; size < 2; size++) golden_size(file, g, n, size);
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    free(weights);
    dukd_graph_destroy(g);
    dukd_golden_close(file);
}

static void test_golden_x2(void **state) {
    (void)state;
    golden(2);
}

static void test_golden_x3(void **state) {
    (void)state;
    golden(3);
}

static void check(int32_t feat, int32_t blocks, int32_t scale, double res_scale, int32_t batch, int32_t h,
                  int32_t w) {
    dukd_graph *g = dukd_edsr_net(feat, blocks, scale, res_scale);
    char name[64];
    snprintf(name, sizeof name, "EDSR %dc%db x%d, %d x %d x %d", (int)feat, (int)blocks, (int)scale,
             (int)batch, (int)h, (int)w);
    engine_case c = {.graph = g, .batch = batch, .height = h, .width = w, .seed = 7};
    engine_case_check(name, &c, bound, bound);
    dukd_graph_destroy(g);
}

static void test_scales(void **state) {
    (void)state;
    for (int scale = 1; scale <= 4; scale++) check(16, 2, scale, .1, 2, 9, 7);
}

static void test_scale_8(void **state) {
    (void)state;
    check(16, 1, 8, 1, 1, 5, 4);
}

static void test_sizes(void **state) {
    (void)state;
    check(16, 3, 2, 1, 3, 1, 1);
    check(16, 3, 2, 1, 1, 1, 17);
    check(16, 3, 3, 1, 1, 13, 2);
    check(16, 2, 4, .5, 3, 11, 5);
    check(8, 1, 2, .1, 3, 49, 50); /* inference takes two images at a time, and one is left */
}

static void test_channels(void **state) {
    (void)state;
    check(64, 1, 2, .1, 2, 7, 9);
    check(64, 1, 3, 1, 1, 6, 5);
    check(48, 1, 2, 1, 1, 5, 7);
    check(8, 2, 4, 1, 2, 5, 6);
    check(12, 2, 3, 1, 2, 6, 5);
    check(5, 1, 2, 1, 1, 8, 9);
    check(3, 1, 2, 1, 2, 4, 4);
}

static void test_no_blocks(void **state) {
    (void)state;
    check(16, 0, 4, 1, 2, 6, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_x2), cmocka_unit_test(test_golden_x3), cmocka_unit_test(test_scales),
        cmocka_unit_test(test_scale_8),   cmocka_unit_test(test_sizes),     cmocka_unit_test(test_channels),
        cmocka_unit_test(test_no_blocks),
    };
    return cmocka_run_group_tests_name("engine_edsr", tests, NULL, NULL);
}
