/* A batch that training takes in parts (onednn_plan.c) against its images one by one: outputs, and gradients' sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/fill.h"

enum { N = 4, SIDE = 96, IN = 3 * SIDE * SIDE, OUT = 4 * IN };

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static float *zeros(int64_t count) {
    float *p = calloc((size_t)count, sizeof *p);
    assert_non_null(p);
    return p;
}

/* Runs the images in batches of `batch`; adds to d_weights. */
static void run(const dukd_graph *g, int32_t batch, const float *weights, const float *input,
                const float *cotangent, const float *drops, float *output, float *d_weights, float *d_input) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *x = NULL;
    int32_t paths = dukd_graph_drop_count(g);
    float *own = zeros(paths * batch + 1);
    done(dukd_engine_create(&e, "onednn", 1, &f), &f);
    done(dukd_network_create(&n, e, g, DUKD_F32, &f), &f);
    done(dukd_network_set_weights(n, weights, &f), &f);
    dukd_exec_spec spec = {.purpose = DUKD_TRAIN, .batch = batch, .height = SIDE, .width = SIDE};
    done(dukd_network_compile(n, &spec, &x, &f), &f);
    for (int32_t first = 0; first < N; first += batch) {
        for (int32_t i = 0; i < paths; i++)
            for (int32_t k = 0; k < batch; k++) own[i * batch + k] = drops[i * N + first + k];
        dukd_exec_set_drops(x, paths ? own : NULL);
        float *out = output + (int64_t)first * OUT;
        const float *d = cotangent + (int64_t)first * OUT;
        done(dukd_exec_forward(x, batch, input + (int64_t)first * IN, &out, &f), &f);
        done(dukd_exec_backward(x, &d, d_weights, d_input + (int64_t)first * IN, &f), &f);
    }
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    free(own);
}

static void compare(const char *type, const char *options) {
    dukd_graph *g = dukd_test_net(type, options);
    int64_t count = dukd_graph_weights(g);
    float *weights = zeros(count), *input = zeros(N * IN), *cotangent = zeros(N * OUT);
    float *drops = zeros(dukd_graph_drop_count(g) * N + 1);
    float *output[2], *d_weights[2], *d_input[2];
    dukd_graph_init(g, 3, weights);
    dukd_fill_f32(input, N * IN, 1, 0, 1);
    dukd_fill_f32(cotangent, N * OUT, 2, -1, 1);
    for (int32_t i = 0; i < dukd_graph_drop_count(g) * N; i++) drops[i] = i % 3 ? 1.25f : 0;
    for (int k = 0; k < 2; k++) {
        output[k] = zeros(N * OUT);
        d_weights[k] = zeros(count);
        d_input[k] = zeros(N * IN);
        run(g, k ? 1 : N, weights, input, cotangent, drops, output[k], d_weights[k], d_input[k]);
    }
    dukd_assert_error("output", dukd_relative_error(output[0], output[1], N * OUT), 1e-6);
    dukd_assert_error("input's gradient", dukd_relative_error(d_input[0], d_input[1], N * IN), 1e-5);
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        dukd_assert_error(
            p->name, dukd_relative_error(d_weights[0] + p->offset, d_weights[1] + p->offset, p->count), 3e-5);
    }
    for (int k = 0; k < 2; k++) {
        free(output[k]);
        free(d_weights[k]);
        free(d_input[k]);
    }
    free(weights);
    free(input);
    free(cotangent);
    free(drops);
    dukd_graph_destroy(g);
}

static void test_edsr(void **state) {
    (void)state;
    compare("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=64 num_block=1 upscale=2 res_scale=.1");
}

static void test_rcan(void **state) {
    (void)state;
    compare("RCAN",
            "num_in_ch=3 num_out_ch=3 num_feat=64 num_group=1 num_block=1 squeeze_factor=4 upscale=2");
}

static void test_swinir(void **state) {
    (void)state;
    compare("SwinIR", "img_size=96 window_size=8 embed_dim=60 depths=[2] num_heads=[6] mlp_ratio=2 "
                      "drop_path_rate=.2 upscale=2 upsampler=pixelshuffledirect");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edsr),
        cmocka_unit_test(test_rcan),
        cmocka_unit_test(test_swinir),
    };
    return cmocka_run_group_tests_name("engine_parts", tests, NULL, NULL);
}
