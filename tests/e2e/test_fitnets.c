/* A plugin with parameters of its own in dukd-host: they are trained, averaged, saved and resumed like the student's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/safetensors.h"
#include "host_run.h"
#include "unit/data_fixture.h"

#define NETWORK(feat)                                                                                        \
    "{type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: " feat ", num_block: 1, upscale: 2, "               \
    "res_scale: 0.1, img_range: 255., rgb_mean: [0.4488, 0.4371, 0.4040]}\n"

static const char options[] = "name: fit\n"
                              "scale: 2\n"
                              "manual_seed: 5\n"
                              "num_threads: 1\n"
                              "datasets:\n"
                              "  train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 2, "
                              "num_worker_per_gpu: 1}\n"
                              "network_g: " NETWORK("4") "network_t: " NETWORK(
                                  "6") "path: {pretrain_network_t: teacher.safetensors}\n"
                                       "train:\n"
                                       "  terms: [rec, hint]\n"
                                       "  w_hint: 5\n"
                                       "  ema_decay: 0.9\n"
                                       "  optim_g: {type: Adam, lr: !!float 1e-2}\n"
                                       "  total_iter: 40\n"
                                       "logger: {print_freq: 1, save_checkpoint_freq: 10}\n";

static int setup(void **state) {
    if (host_setup(state)) return 1;
    data_text(data_path("fit.yml"), options);
    return 0;
}

#define TRAIN(status, ...)     HOST(status, "train", "fit.yml", "--plugin", FITNETS_PLUGIN, __VA_ARGS__)
#define STATE(name, iteration) "experiments/" name "/training_states/" iteration ".state"

/* A tensor of a safetensors file, copied; NULL where there is none of the name. */
static float *tensor(const char *file, const char *name, int64_t *count) {
    dukd_tensor_file *t = NULL;
    dukd_failure f = {0};
    if (dukd_tensor_file_open(&t, data_path(file), &f)) fail_msg("%s", f.message);
    const dukd_st_tensor *found = dukd_tensor_file_find(t, name);
    float *out = NULL;
    if (found) {
        assert_int_equal(found->type, DUKD_ST_F32);
        *count = found->count;
        out = malloc((size_t)*count * sizeof *out);
        assert_non_null(out);
        memcpy(out, found->data, (size_t)*count * sizeof *out);
    }
    dukd_tensor_file_close(t);
    return out;
}

/* Largest difference of a tensor of two files. */
static double distance(const char *a, const char *b, const char *name) {
    int64_t n = 0, m = 0;
    float *x = tensor(a, name, &n), *y = tensor(b, name, &m);
    double most = 0;
    if (!x || !y || n != m) fail_msg("%s is not in %s and %s alike", name, a, b);
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i] - (double)y[i]));
    free(x);
    free(y);
    return most;
}

/* The mean of a loss over the first and the last five lines of forty. */
static void begin_and_end(const char *name, double *begin, double *end) {
    double all[64];
    int n = 0;
    char key[64];
    snprintf(key, sizeof key, "\"%s\": ", name);
    const char *text = host_load("experiments/fit/metrics.jsonl");
    for (const char *at = strstr(text, key); at && n < 64; at = strstr(at + 1, key))
        all[n++] = strtod(at + strlen(key), NULL);
    assert_true(n == 40);
    *begin = *end = 0;
    for (int i = 0; i < 5; i++) *begin += all[i] / 5, *end += all[n - 1 - i] / 5;
}

static void it_learns(void **state) {
    (void)state;
    double begin, end;
    int64_t n;
    TRAIN(0, "-q");
    begin_and_end("l_hint", &begin, &end);
    print_message("l_hint %.5f -> %.5f\n", begin, end);
    assert_true(end < 0.2 * begin);
    begin_and_end("l_total", &begin, &end);
    assert_true(end < 0.5 * begin);
    assert_non_null(strstr(host_load("experiments/fit/train_fit.log"),
                           "the plugin trains 12 parameters of its own: projection.weight 3x3x1x1, "
                           "projection.bias 3"));
    static const char *const names[] = {"plugin.projection.weight", "plugin.projection.bias",
                                        "plugin_exp_avg.projection.weight",
                                        "plugin_exp_avg_sq.projection.bias", "plugin_ema.projection.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(distance(STATE("fit", "30"), STATE("fit", "40"), names[i]) > 0);
    /* the average is one of the values, not a copy of them */
    float *value = tensor(STATE("fit", "40"), "plugin.projection.bias", &n),
          *ema = tensor(STATE("fit", "40"), "plugin_ema.projection.bias", &n);
    assert_true(value && ema && memcmp(value, ema, (size_t)n * sizeof *ema) != 0);
    free(value);
    free(ema);
    /* a network file has the student alone */
    assert_null(strstr(host_load("experiments/fit/models/net_g_latest.safetensors"), "plugin"));
    dukd_tensor_file *t = NULL;
    assert_int_equal(
        dukd_tensor_file_open(&t, data_path("experiments/fit/models/net_g_latest.safetensors"), NULL), 0);
    for (int32_t i = 0; i < dukd_tensor_file_count(t); i++)
        assert_null(strstr(dukd_tensor_file_at(t, i)->name, "projection"));
    dukd_tensor_file_close(t);
}

#define LAYERS                                                                                               \
    "--set", "train.hint.student_layer=conv_after_body", "--set", "train.hint.teacher_layer=conv_after_body"

/* Features of layers instead of the outputs: 4 channels of the student, 6 of the teacher. */
static void features_of_layers(void **state) {
    (void)state;
    double begin, end;
    const char *const look[] = {
        "train", "fit.yml", "--plugin", FITNETS_PLUGIN, LAYERS, "--set", "train.total_iter=1", "-q", NULL};
    host_process p = {0};
    host_start(&p, look);
    if (host_wait(&p) != 0) {
        if (!strstr(host_output(), "gives no layers")) fail_msg("%s", host_output());
        print_message("SKIP: this dukd-host gives no layers\n");
        skip();
    }
    TRAIN(0, LAYERS, "--set", "name=whole", "-q");
    TRAIN(0, LAYERS, "--set", "train.total_iter=17", "-q");
    TRAIN(0, LAYERS, "--resume", "-q");
    host_same_tensors(STATE("whole", "40"), STATE("fit", "40"));
    begin_and_end("l_hint", &begin, &end);
    print_message("l_hint of layers %.5f -> %.5f\n", begin, end);
    assert_true(end < 0.5 * begin);
    assert_non_null(
        strstr(host_load("experiments/fit/train_fit.log"), "projection.weight 6x4x1x1, projection.bias 6"));
}

static void resumed(const char *type, const char *rate) {
    TRAIN(0, "--set", type, "--set", rate, "--set", "name=whole", "-q");
    TRAIN(0, "--set", type, "--set", rate, "--set", "train.total_iter=17", "-q");
    TRAIN(0, "--set", type, "--set", rate, "--resume", "-q");
    host_same_tensors(STATE("whole", "40"), STATE("fit", "40"));
    host_same_tensors("experiments/whole/models/net_g_latest.safetensors",
                      "experiments/fit/models/net_g_latest.safetensors");
    host_same_metrics("experiments/whole/metrics.jsonl", "experiments/fit/metrics.jsonl");
}

static void it_resumes_to_the_same_bits(void **state) {
    (void)state;
    resumed("train.optim_g.type=Adam", "train.optim_g.lr=0.01");
}

static void with_gradient_descent_too(void **state) {
    (void)state;
    resumed("train.optim_g.type=SGD", "train.optim_g.lr=0.05");
}

/* One step of gradient descent on the whole batch and on its halves: the gradients of parameters add up. */
static void micro_batches_add_up(void **state) {
    (void)state;
#define STEP(rate)                                                                                           \
    "--set", "train.optim_g.type=SGD", "--set", "train.optim_g.lr=" rate, "--set", "train.total_iter=1", "-q"
    TRAIN(0, "--set", "name=whole", STEP("0.5"));
    TRAIN(0, "--set", "train.micro_batches=2", STEP("0.5"));
    TRAIN(0, "--set", "name=still", STEP("1e-30"));
#undef STEP
    static const char *const names[] = {"plugin.projection.weight", "plugin.projection.bias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const double moved = distance(STATE("whole", "1"), STATE("still", "1"), names[i]),
                     apart = distance(STATE("whole", "1"), STATE("fit", "1"), names[i]);
        print_message("%s moves by %g, in micro-batches by %g more or less\n", names[i], moved, apart);
        assert_true(moved > 1e-3);
        assert_true(apart < 1e-5 * moved + 1e-7);
    }
}

/* Each with the reason: another configuration, another plugin. */
static void another_state_is_refused(void **state) {
    (void)state;
    TRAIN(0, "--set", "train.total_iter=10", "-q");
    TRAIN(1, "--set", "train.w_hint=2", "--resume");
    assert_non_null(strstr(host_output(), "w_hint"));
    HOST(1, "train", "fit.yml", "--resume", "--set", "train.terms=[rec]", "--plugin", FITNETS_PLUGIN);
    assert_non_null(strstr(host_output(), "terms"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_learns),          TEST(it_resumes_to_the_same_bits), TEST(with_gradient_descent_too),
        TEST(features_of_layers), TEST(micro_batches_add_up),        TEST(another_state_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
