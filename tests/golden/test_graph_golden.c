/* The networks' graphs and the oracle of the engines' tests against PyTorch's numbers: outputs, gradients of the input and
 * of every parameter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/golden.h"
#include "support/graph_ref.h"

/* The largest tensors' gradients are stored as two sums: over all but the output channels, and over those. */
static void compare_gradient(dukd_golden *file, int size, const dukd_param *p, const double *got) {
    if (dukd_golden_has(file, "grad.%d.%s", size, p->name)) {
        dukd_golden_tensor grad = dukd_golden_f32(file, "grad.%d.%s", size, p->name);
        assert_int_equal(grad.count, p->count);
        dukd_assert_error(grad.name, dukd_relative_error_mixed(got, grad.data, grad.count), 3e-5);
        return;
    }
    dukd_golden_tensor in = dukd_golden_f32(file, "gradsum_in.%d.%s", size, p->name);
    dukd_golden_tensor out = dukd_golden_f32(file, "gradsum_out.%d.%s", size, p->name);
    int64_t rest = p->count / p->dims[0];
    assert_true(in.count == p->dims[0] && out.count == rest);
    double *sums = calloc((size_t)(p->dims[0] + rest), sizeof *sums);
    assert_non_null(sums);
    for (int64_t i = 0; i < p->count; i++) {
        sums[i / rest] += got[i];
        sums[p->dims[0] + i % rest] += got[i];
    }
    dukd_assert_error(in.name, dukd_relative_error_mixed(sums, in.data, in.count), 3e-5);
    dukd_assert_error(out.name, dukd_relative_error_mixed(sums + p->dims[0], out.data, out.count), 3e-5);
    free(sums);
}

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
        compare_gradient(file, size, p, got_weights + p->offset);
    }
    free(got_weights);
    free(got_input);
    dukd_graph_ref_free(run);
}

static void compare(const char *name, dukd_graph *g) {
    dukd_golden *file = dukd_golden_open(name);
    float *weights = malloc((size_t)dukd_graph_weights(g) * sizeof *weights);
    assert_non_null(weights);
    dukd_golden_weights(weights, g, file, "weights");
    int32_t stored = 0; /* every stored weight is one of ours, and the other way round */
    for (int32_t i = 0; i < dukd_golden_count(file); i++)
        stored += strncmp(dukd_golden_name(file, i), "weights.", 8) == 0;
    assert_int_equal(stored, dukd_graph_param_count(g));
    for (int size = 0; size < 2; size++) compare_size(file, g, weights, size);
    free(weights);
    dukd_graph_destroy(g);
    dukd_golden_close(file);
}

static void test_edsr(void **state) {
    (void)state;
    compare("net_edsr_x2", dukd_edsr_net(8, 2, 2, .1));
    compare("net_edsr_x3", dukd_edsr_net(8, 2, 3, .1));
}

#define RCAN "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=2 num_block=2 squeeze_factor=4 "
static void test_rcan(void **state) {
    (void)state;
    compare("net_rcan_x2", dukd_test_net("RCAN", RCAN "upscale=2"));
    compare("net_rcan_x3", dukd_test_net("RCAN", RCAN "upscale=3"));
}

#define SWINIR                                                                                               \
    "img_size=16 window_size=4 embed_dim=12 depths=[2,2] num_heads=[2,2] mlp_ratio=2 drop_path_rate=0 "
static void test_swinir(void **state) {
    (void)state;
    compare("net_swinir_x2", dukd_test_net("SwinIR", SWINIR "upscale=2 upsampler=pixelshuffle"));
    compare("net_swinir_x3", dukd_test_net("SwinIR", SWINIR "upscale=3 upsampler=pixelshuffle"));
}

static void test_swinir_direct(void **state) {
    (void)state;
    compare("net_swinir_direct_x2", dukd_test_net("SwinIR", SWINIR "upscale=2 upsampler=pixelshuffledirect"));
    compare("net_swinir_direct_x3", dukd_test_net("SwinIR", SWINIR "upscale=3 upsampler=pixelshuffledirect"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edsr),
        cmocka_unit_test(test_rcan),
        cmocka_unit_test(test_swinir),
        cmocka_unit_test(test_swinir_direct),
    };
    return cmocka_run_group_tests_name("graph_golden", tests, NULL, NULL);
}
