/* The engine against PyTorch's numbers: outputs, gradients of the input and of every parameter of small networks. */
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
#include "support/golden.h"

static const double bound = 1e-5;

typedef struct {
    dukd_golden *file;
    dukd_graph *graph;
    dukd_engine *engine;
    dukd_network *network;
    float *weights, *d_weights;
} fixture;

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static float *zeros(int64_t count) {
    float *p = calloc((size_t)count, sizeof *p);
    assert_non_null(p);
    return p;
}

/* The largest tensors' gradients are stored as two sums: over all but the output channels, and over those. */
static void compare_gradient(dukd_golden *file, int size, const dukd_param *p, const float *got) {
    if (dukd_golden_has(file, "grad.%d.%s", size, p->name)) {
        dukd_golden_tensor grad = dukd_golden_f32(file, "grad.%d.%s", size, p->name);
        assert_int_equal(grad.count, p->count);
        dukd_assert_error(grad.name, dukd_relative_error(got, grad.data, grad.count), bound);
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

static void compare_size(fixture *t, int size) {
    dukd_failure f = {0};
    dukd_golden_tensor input = dukd_golden_f32(t->file, "input.%d", size);
    dukd_golden_tensor output = dukd_golden_f32(t->file, "output.%d", size);
    dukd_golden_tensor cotangent = dukd_golden_f32(t->file, "cotangent.%d", size);
    dukd_golden_tensor d_input = dukd_golden_f32(t->file, "dinput.%d", size);
    float *got = zeros(output.count), *got_input = zeros(input.count);
    const float *cotangents[1] = {cotangent.data};
    for (int train = 0; train < 2; train++) {
        dukd_exec *x = NULL;
        dukd_exec_spec spec = {.purpose = train ? DUKD_TRAIN : DUKD_INFER,
                               .batch = (int32_t)input.dims[0],
                               .height = (int32_t)input.dims[2],
                               .width = (int32_t)input.dims[3]};
        done(dukd_network_compile(t->network, &spec, &x, &f), &f);
        done(dukd_exec_forward(x, spec.batch, input.data, &got, &f), &f);
        dukd_assert_error(output.name, dukd_relative_error(got, output.data, output.count), bound);
        if (!train) continue;
        for (int64_t i = 0; i < dukd_graph_weights(t->graph); i++) t->d_weights[i] = 0;
        done(dukd_exec_backward(x, cotangents, t->d_weights, got_input, &f), &f);
        dukd_assert_error(d_input.name, dukd_relative_error(got_input, d_input.data, d_input.count), bound);
        for (int32_t i = 0; i < dukd_graph_param_count(t->graph); i++) {
            const dukd_param *p = dukd_graph_param(t->graph, i);
            compare_gradient(t->file, size, p, t->d_weights + p->offset);
        }
    }
    free(got);
    free(got_input);
}

static void compare(const char *name, const char *type, const char *options) {
    dukd_failure f = {0};
    fixture t = {.file = dukd_golden_open(name), .graph = dukd_test_net(type, options)};
    t.weights = zeros(dukd_graph_weights(t.graph));
    t.d_weights = zeros(dukd_graph_weights(t.graph));
    dukd_golden_weights(t.weights, t.graph, t.file, "weights");
    done(dukd_engine_create(&t.engine, "onednn", 2, &f), &f);
    done(dukd_network_create(&t.network, t.engine, t.graph, DUKD_F32, &f), &f);
    done(dukd_network_set_weights(t.network, t.weights, &f), &f);
    for (int size = 0; size < 2; size++) compare_size(&t, size);
    dukd_network_destroy(t.network);
    dukd_engine_destroy(t.engine);
    dukd_graph_destroy(t.graph);
    dukd_golden_close(t.file);
    free(t.weights);
    free(t.d_weights);
}

#define EDSR "num_in_ch=3 num_out_ch=3 num_feat=8 num_block=2 res_scale=.1 "
static void test_edsr(void **state) {
    (void)state;
    compare("net_edsr_x2", "EDSR", EDSR "upscale=2");
    compare("net_edsr_x3", "EDSR", EDSR "upscale=3");
}

#define RCAN "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=2 num_block=2 squeeze_factor=4 "
static void test_rcan(void **state) {
    (void)state;
    compare("net_rcan_x2", "RCAN", RCAN "upscale=2");
    compare("net_rcan_x3", "RCAN", RCAN "upscale=3");
}

#define SWINIR                                                                                               \
    "img_size=16 window_size=4 embed_dim=12 depths=[2,2] num_heads=[2,2] mlp_ratio=2 drop_path_rate=0 "
static void test_swinir(void **state) {
    (void)state;
    compare("net_swinir_x2", "SwinIR", SWINIR "upscale=2 upsampler=pixelshuffle");
    compare("net_swinir_x3", "SwinIR", SWINIR "upscale=3 upsampler=pixelshuffle");
    compare("net_swinir_direct_x2", "SwinIR", SWINIR "upscale=2 upsampler=pixelshuffledirect");
    compare("net_swinir_direct_x3", "SwinIR", SWINIR "upscale=3 upsampler=pixelshuffledirect");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edsr),
        cmocka_unit_test(test_rcan),
        cmocka_unit_test(test_swinir),
    };
    return cmocka_run_group_tests_name("engine_golden", tests, NULL, NULL);
}
