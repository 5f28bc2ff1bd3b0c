/* FAKD and CSD in dukd-host, from option files: the loss falls, a run that was stopped comes to the same bits, a trained teacher
 * and shared weights are saved as networks of their own, and what is missing is said. */
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

/* The teacher that host_setup makes has 6 channels and one block. */
static const char options[] =
    "name: run\n"
    "scale: 2\n"
    "manual_seed: 5\n"
    "num_threads: 1\n"
    "datasets:\n"
    "  train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 2, num_worker_per_gpu: 1}\n"
    "network_g: " NETWORK("3") "network_t: " NETWORK(
        "6") "path: {pretrain_network_t: teacher.safetensors}\n"
             "train:\n"
             "  terms: [fakd]\n"
             "  fakd: {layers: [conv_first, 0, conv_after_body]}\n"
             "  ema_decay: 0.9\n"
             "  optim_g: {type: Adam, lr: !!float 1e-3}\n"
             "  total_iter: 30\n"
             "logger: {print_freq: 1, save_checkpoint_freq: 10}\n";

static int setup(void **state) {
    if (host_setup(state)) return 1;
    data_text(data_path("run.yml"), options);
    return 0;
}

#define TRAIN(status, ...)     HOST(status, "train", "run.yml", __VA_ARGS__)
#define STATE(name, iteration) "experiments/" name "/training_states/" iteration ".state"
#define MODEL(name, file)      "experiments/" name "/models/" file ".safetensors"
/* Small maps, so that the test takes seconds; random features, which a run has to ask for. */
#define CSD                                                                                                  \
    "--set", "train.terms=[csd]", "--set", "train.csd.layers=[features.1, features.6]", "--set",             \
        "train.csd.layer_weights=[0.5, 1]", "--set", "network_f.type=VGG19", "--set",                        \
        "path.random_network_f=true"

/* The mean of a loss over the last five lines of a run of `lines` is at most `to` times that over the first five. */
static void falls(const char *run, const char *loss, int lines, double to) {
    double all[64], begin = 0, end = 0;
    int n = 0;
    char key[64], path[128];
    snprintf(key, sizeof key, "\"%s\": ", loss);
    snprintf(path, sizeof path, "experiments/%s/metrics.jsonl", run);
    for (const char *at = strstr(host_load(path), key); at && n < 64; at = strstr(at + 1, key))
        all[n++] = strtod(at + strlen(key), NULL);
    assert_int_equal(n, lines);
    for (int i = 0; i < 5; i++) {
        begin += all[i] / 5;
        end += all[n - 1 - i] / 5;
    }
    print_message("%s of %s: %.5f -> %.5f\n", loss, run, begin, end);
    assert_true(end < to * begin);
}

/* A run in one go and one that was stopped after 17 iterations. Leaves the folders "whole" and "run". */
#define RESUMED(...)                                                                                         \
    do {                                                                                                     \
        TRAIN(0, __VA_ARGS__, "--set", "name=whole", "-q");                                                  \
        TRAIN(0, __VA_ARGS__, "--set", "train.total_iter=17", "-q");                                         \
        TRAIN(0, __VA_ARGS__, "--resume", "-q");                                                             \
        host_same_tensors(STATE("whole", "30"), STATE("run", "30"));                                         \
        host_same_tensors(MODEL("whole", "net_g_latest"), MODEL("run", "net_g_latest"));                     \
        host_same_metrics("experiments/whole/metrics.jsonl", "experiments/run/metrics.jsonl");               \
    } while (0)

static double count(const char *key) {
    return host_json_number("experiments/run/run.json", key);
}

static void fakd(void **state) {
    (void)state;
    RESUMED("--set", "name=run");
    falls("whole", "l_total", 30, 0.9);
    assert_int_equal((int)count("student_passes"), 30); /* output and layers in one run */
    assert_int_equal((int)count("teacher_passes"), 30);
    assert_false(host_exists(MODEL("run", "net_t_latest"))); /* nobody trains it */
}

static void beside_the_other_terms(void **state) {
    (void)state;
    RESUMED("--set", "train.terms=[rec, kd, dukd, fakd]");
    falls("whole", "l_total", 30, 0.9);
    assert_int_equal((int)count("teacher_passes"), 90);
}

/* The teacher is not held to L_con: what each is trained by falls, while the ratio in L_con need not (l_csd_teacher, l_rec). Where it
 * is not trained the sum of all is what the student descends. */
static void csd(void **state) {
    (void)state;
    RESUMED(CSD);
    falls("whole", "l_csd_teacher", 30, 0.95);
    host_same_tensors(MODEL("whole", "net_t_latest"), MODEL("run", "net_t_latest"));
    assert_true(count("feature_passes") > 0);
    assert_non_null(strstr(host_load("experiments/run/train_run.log"), "features: RANDOM weights"));
    assert_non_null(strstr(host_load("experiments/run/train_run.log"), "the teacher is trained, too"));
    TRAIN(0, CSD, "--set", "train.w_csd_teacher=0", "--set", "name=held", "-q");
    falls("held", "l_total", 30, 0.9);
    assert_false(host_exists(MODEL("held", "net_t_latest")));
}

/* Every parameter of `part` is the leading block of that of `whole`; file names, and the key in both. */
static void is_part(const char *part, const char *whole, const char *key) {
    dukd_tensor_file *p = NULL, *w = NULL;
    int compared = 0;
    assert_int_equal(dukd_tensor_file_open(&p, data_path(part), NULL), 0);
    assert_int_equal(dukd_tensor_file_open(&w, data_path(whole), NULL), 0);
    for (int32_t i = 0; i < dukd_tensor_file_count(p); i++) {
        const dukd_st_tensor *a = dukd_tensor_file_at(p, i), *b = dukd_tensor_file_find(w, a->name);
        if (strncmp(a->name, key, strlen(key)) != 0 || a->name[strlen(key)] != '.') continue;
        assert_true(b && b->ndim == a->ndim);
        for (int64_t e = 0; e < a->count; e++, compared++) {
            int64_t rest = e, at = 0, step = 1;
            for (int32_t d = a->ndim - 1; d >= 0; d--) {
                at += rest % a->dims[d] * step;
                rest /= a->dims[d];
                step *= b->dims[d];
            }
            assert_memory_equal((const float *)a->data + e, (const float *)b->data + at, sizeof(float));
        }
    }
    assert_true(compared > 100);
    dukd_tensor_file_close(p);
    dukd_tensor_file_close(w);
}

static void csd_with_shared_weights(void **state) {
    (void)state;
    RESUMED(CSD, "--set", "train.share_weights=true");
    falls("whole", "l_csd_teacher", 30, 0.95);
    is_part(MODEL("run", "net_g_latest"), MODEL("run", "net_t_latest"), "params");
    is_part(MODEL("run", "net_g_latest"), MODEL("run", "net_t_latest"), "params_ema");
}

/* The baseline: the teacher's first channels, then plain L1. */
static void started_from_the_teacher(void **state) {
    (void)state;
    TRAIN(0, "--set", "path.init_from_teacher=true", "--set", "train.terms=[rec]", "--set",
          "train.optim_g.lr=1e-30", "--set", "train.total_iter=1", "-q");
    is_part(MODEL("run", "net_g_latest"), "teacher.safetensors", "params");
    RESUMED("--set", "path.init_from_teacher=true", "--set", "train.terms=[rec]");
    falls("whole", "l_total", 30, 0.95);
}

#define REFUSED(word, ...)                                                                                   \
    do {                                                                                                     \
        TRAIN(2, __VA_ARGS__);                                                                               \
        if (!strstr(host_output(), word)) fail_msg("no '%s' in: %s", word, host_output());                   \
    } while (0)

static void what_is_missing_is_said(void **state) {
    (void)state;
    REFUSED("vgg19-dcbb9e9d.pth", CSD, "--set", "path.random_network_f=false");
    REFUSED("did you mean 'conv_first'", "--set", "train.fakd.layers=[conv_frist]");
    REFUSED("nothing trains the teacher", "--set", "train.share_weights=true");
    REFUSED("the teacher's", CSD, "--set", "train.share_weights=true", "--set", "network_g.num_feat=7");
    REFUSED("pretrain_network_g", "--set", "path.init_from_teacher=true", "--set",
            "path.pretrain_network_g=teacher.safetensors");
}

/* A picture of a step whose plugin taps layers and features. */
static void preview(void **state) {
    (void)state;
    HOST(0, "preview", "run.yml", "-o", "fakd.png");
    HOST(0, "preview", "run.yml", "-o", "csd.png", CSD);
    assert_true(host_exists("fakd.png") && host_exists("csd.png"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(fakd),
        TEST(beside_the_other_terms),
        TEST(csd),
        TEST(csd_with_shared_weights),
        TEST(started_from_the_teacher),
        TEST(what_is_missing_is_said),
        TEST(preview),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
