/* The graph of EDSR and the oracle of the engines' tests against PyTorch's numbers: outputs, gradients of the input and of
 * every parameter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/golden.h"
#include "support/graph_ref.h"

static void compare_size(dukd_golden *file, const dukd_graph *g, const float *weights, int size) {
    dukd_golden_tensor input = dukd_golden_f32(file, "input.%d", size);
    dukd_golden_tensor output = dukd_golden_f32(file, "output.%d", size);
    dukd_golden_tensor cotangent = dukd_golden_f32(file, "cotangent.%d", size);
    dukd_golden_tensor d_input = dukd_golden_f32(file, "dinput.%d", size);
    dukd_graph_ref *run = dukd_graph_ref_run(g, weights, (int32_t)input.dims[0], (int32_t)input.dims[2],
                                             (int32_t)input.dims[3], input.data);
    dukd_value out = dukd_graph_output(g);
    assert_int_equal(dukd_graph_ref_count(run, out), output.count);
    dukd_assert_error(output.name,
                      dukd_relative_error_mixed(dukd_graph_ref_value(run, out), output.data, output.count),
                      5e-6);

    double *got_weights = calloc((size_t)dukd_graph_weights(g), sizeof *got_weights);
    double *got_input = calloc((size_t)input.count, sizeof *got_input);
    assert_true(got_weights && got_input);
    const float *cotangents[1] = {cotangent.data};
    dukd_graph_ref_backward(run, 1, &out, cotangents, got_weights, got_input);
    dukd_assert_error(d_input.name, dukd_relative_error_mixed(got_input, d_input.data, d_input.count), 1e-5);
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        dukd_golden_tensor grad = dukd_golden_f32(file, "grad.%d.%s", size, p->name);
        assert_int_equal(grad.count, p->count);
        dukd_assert_error(grad.name,
                          dukd_relative_error_mixed(got_weights + p->offset, grad.data, grad.count), 3e-5);
    }
    free(got_weights);
    free(got_input);
    dukd_graph_ref_free(run);
}

static void compare(int scale) {
    char name[32];
    snprintf(name, sizeof name, "net_edsr_x%d", scale);
    dukd_golden *file = dukd_golden_open(name);
    dukd_graph *g = dukd_edsr_net(8, 2, scale, .1);
    float *weights = malloc((size_t)dukd_graph_weights(g) * sizeof *weights);
    assert_non_null(weights);
    dukd_golden_weights(weights, g, file, "weights");
    for (int size = 0; size < 2; size++) compare_size(file, g, weights, size);
    free(weights);
    dukd_graph_destroy(g);
    dukd_golden_close(file);
}

static void test_edsr_x2(void **state) {
    (void)state;
    compare(2);
}

static void test_edsr_x3(void **state) {
    (void)state;
    compare(3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edsr_x2),
        cmocka_unit_test(test_edsr_x3),
    };
    return cmocka_run_group_tests_name("graph_golden", tests, NULL, NULL);
}
