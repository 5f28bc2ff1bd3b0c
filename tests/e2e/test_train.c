/* dukd-host train from an option file to a network: what it learns, counts, writes down and refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/safetensors.h"
#include "host_run.h"
#include "unit/data_fixture.h"

static int said(const char *text) {
    return strstr(host_output(), text) != NULL;
}

static void must_say(const char *text) {
    if (!said(text)) fail_msg("it did not say '%s' but:\n%s", text, host_output());
}

/* The value of a loss in the first and in the last line of metrics.jsonl that has it. */
static void first_and_last(const char *file, const char *name, double *first, double *last) {
    char key[64];
    const char *text = host_load(file);
    snprintf(key, sizeof key, "\"%s\": ", name);
    *first = *last = NAN;
    for (const char *at = strstr(text, key); at; at = strstr(at + 1, key)) {
        *last = strtod(at + strlen(key), NULL);
        if (isnan(*first)) *first = *last;
    }
}

/* ---------------------------------------------------------------- learning */

/* Bars and a slope: nothing random, so that there is something to learn. */
static void draw_patch(const char *path) {
    dukd_image image;
    assert_int_equal(dukd_image_create(&image, 32, 32, 8, NULL), 0);
    uint8_t *p = image.samples;
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++, p += 3) {
            p[0] = (uint8_t)(40 + 5 * x);
            p[1] = (uint8_t)((x / 6 + y / 8) % 2 ? 220 : 30);
            p[2] = (uint8_t)(250 - 4 * y);
        }
    data_write_png(path, &image);
    dukd_image_free(&image);
}

/* A single patch without turns: the network learns it by heart. */
static void a_patch_is_overfitted(const char *precision) {
    double first, last;
    char set[64];
    snprintf(set, sizeof set, "precision=%s", precision);
    draw_patch(data_path("one/a.png"));
    HOST(0, "train", "scratch.yml", "--set", set, "--set", "datasets.train.dataroot_gt=one", "--set",
         "datasets.train.use_hflip=false", "--set", "datasets.train.use_rot=false", "--set",
         "datasets.train.batch_size_per_gpu=1", "--set", "train.total_iter=400", "--set",
         "train.optim_g.lr=5e-3", "--set", "train.scheduler.milestones=[300]", "--set",
         "train.scheduler.gamma=0.2", "--set", "val.val_freq=1000000", "--set", "network_g.num_feat=8",
         "--set", "logger.save_checkpoint_freq=1000");
    first_and_last("experiments/scratch/metrics.jsonl", "l_rec", &first, &last);
    print_message("%s: loss %.4f -> %.4f\n", precision, first, last);
    assert_true(first > 0.15);
    assert_true(last < 0.25 * first);
}

static void overfit_in_f32(void **state) {
    (void)state;
    a_patch_is_overfitted("f32");
}

static void overfit_in_bf16(void **state) {
    (void)state;
    a_patch_is_overfitted("bf16");
}

/* ---------------------------------------------------------------- counting */

static void passes_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *w_kd, *w_dukd;
        double student, teacher; /* images, of 6 iterations with batches of 2 */
    } cases[] = {
        {"train.w_kd=1", "train.w_dukd=1", 36, 36}, /* x, zoom in and zoom out */
        {"train.w_kd=0", "train.w_dukd=1", 36, 24},
        {"train.w_kd=1", "train.w_dukd=0", 12, 12},
        {"train.w_kd=0", "train.w_dukd=0", 12, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        HOST(0, "train", "dukd.yml", "--set", cases[i].w_kd, "--set", cases[i].w_dukd, "--set",
             "train.total_iter=6", "--set", "val.val_freq=~");
        const char *run = "experiments/dukd/run.json";
        assert_true(host_json_number(run, "student_images") == cases[i].student);
        assert_true(host_json_number(run, "teacher_images") == cases[i].teacher);
        assert_true(host_json_number(run, "optimizer_steps") == 6);
        assert_true(host_json_number(run, "images") == 12);
    }
}

/* ---------------------------------------------------------------- what is left behind */

static void everything_is_there(void **state) {
    (void)state;
    HOST(0, "train", "dukd.yml", "--set", "val.save_img=true");
    static const char *const files[] = {
        "models/net_g_5.safetensors",
        "models/net_g_20.safetensors",
        "models/net_g_latest.safetensors",
        "models/net_g_best.safetensors",
        "training_states/20.state",
        "training_states/24.state",
        "train_dukd.log",
        "run.json",
        "options.yml",
        "metrics.jsonl",
        "visualization/tiny/v0_8.png",
        "visualization/tiny/v2_24.png",
    };
    char path[200];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "experiments/dukd/%s", files[i]);
        if (!host_exists(path)) fail_msg("%s is missing", path);
    }
    assert_false(host_exists("experiments/dukd/training_states/15.state")); /* the two newest are kept */
    const char *run = host_load("experiments/dukd/run.json");
    static const char *const keys[] = {
        "\"revision\"", "\"sha256\"",           "\"instruction_set\"",         "\"threads\": 2",
        "\"seed\": 5",  "\"status\": \"done\"", "\"seconds_waited_for_data\"", "oneDNN",
        "\"w_kd\""};
    for (size_t i = 0; i + 1 < sizeof keys / sizeof *keys; i++)
        if (!strstr(run, keys[i])) fail_msg("run.json has no %s:\n%s", keys[i], run);
    assert_non_null(strstr(host_load("experiments/dukd/train_dukd.log"), "validation tiny"));
    dukd_tensor_file *t = NULL;
    assert_int_equal(
        dukd_tensor_file_open(&t, data_path("experiments/dukd/models/net_g_latest.safetensors"), NULL), 0);
    assert_non_null(dukd_tensor_file_find(t, "params.conv_first.weight"));
    assert_non_null(dukd_tensor_file_find(t, "params_ema.body.0.conv1.bias"));
    assert_string_equal(dukd_tensor_file_metadata(t, "iteration"), "24");
    dukd_tensor_file_close(t);
    /* the resolved options train the same run */
    HOST(0, "train", "experiments/dukd/options.yml", "--set", "name=again");
    host_same_tensors("experiments/dukd/training_states/24.state",
                      "experiments/again/training_states/24.state");
}

static void the_best_is_kept(void **state) {
    (void)state;
    /* a rate that ruins the network after the second validation */
    HOST(0, "train", "scratch.yml", "--set", "train.scheduler.milestones=[16]", "--set",
         "train.scheduler.gamma=300", "--set", "train.ema_decay=0");
    const double best = host_json_number("experiments/scratch/run.json", "value");
    double first, last;
    first_and_last("experiments/scratch/metrics.jsonl", "psnr", &first, &last);
    assert_true(last < best);
    dukd_tensor_file *t = NULL;
    assert_int_equal(
        dukd_tensor_file_open(&t, data_path("experiments/scratch/models/net_g_best.safetensors"), NULL), 0);
    assert_true(atoi(dukd_tensor_file_metadata(t, "iteration")) <= 16);
    dukd_tensor_file_close(t);
}

static void an_older_run_is_renamed(void **state) {
    (void)state;
    HOST(0, "train", "scratch.yml", "--set", "train.total_iter=2", "--set", "val.val_freq=~");
    HOST(0, "train", "scratch.yml", "--set", "train.total_iter=2", "--set", "val.val_freq=~");
    must_say("an older run of this name is now experiments/scratch_archived_");
}

static void seeds(void **state) {
    (void)state;
    HOST(0, "train", "scratch.yml", "--seeds", "1,2", "--set", "train.total_iter=3", "--set",
         "val.val_freq=~");
    assert_true(host_json_number("experiments/scratch_seed1/run.json", "seed") == 1);
    assert_true(host_json_number("experiments/scratch_seed2/run.json", "seed") == 2);
    dukd_tensor_file *a = NULL, *b = NULL;
    assert_int_equal(dukd_tensor_file_open(
                         &a, data_path("experiments/scratch_seed1/models/net_g_latest.safetensors"), NULL),
                     0);
    assert_int_equal(dukd_tensor_file_open(
                         &b, data_path("experiments/scratch_seed2/models/net_g_latest.safetensors"), NULL),
                     0);
    const dukd_st_tensor *x = dukd_tensor_file_find(a, "params.conv_first.weight"),
                         *y = dukd_tensor_file_find(b, "params.conv_first.weight");
    assert_true(memcmp(x->data, y->data, (size_t)x->count * 4) != 0);
    dukd_tensor_file_close(a);
    dukd_tensor_file_close(b);
    HOST(2, "train", "scratch.yml", "--seeds", "1,x");
}

static void basicsrs_spelling(void **state) {
    (void)state;
    HOST(0, "train", "-opt", "scratch.yml", "--auto_resume", "--force_yml", "train:total_iter=4",
         "val:val_freq=none", "logger:print_freq=1");
    assert_true(host_json_number("experiments/scratch/run.json", "iterations") == 4);
    assert_null(strstr(host_load("experiments/scratch/metrics.jsonl"), "validation"));
}

static void a_drawn_seed_is_written_down(void **state) {
    (void)state;
    HOST(0, "train", "scratch.yml", "--set", "manual_seed=~", "--set", "train.total_iter=5", "--set",
         "val.val_freq=~");
    const double seed = host_json_number("experiments/scratch/run.json", "seed");
    assert_true(seed >= 1 && seed <= 10000);
    HOST(0, "train", "scratch.yml", "--set", "manual_seed=~", "--set", "train.total_iter=6", "--set",
         "val.val_freq=~", "--resume");
    assert_true(host_json_number("experiments/scratch/run.json", "seed") == seed);
}

static void a_student_from_a_checkpoint(void **state) {
    (void)state;
    HOST(0, "train", "scratch.yml", "--set", "train.total_iter=5", "--set", "val.val_freq=~");
    HOST(0, "train", "dukd.yml", "--set", "train.total_iter=5", "--set", "val.val_freq=~", "--set",
         "path.pretrain_network_g=experiments/scratch/models/net_g_latest.safetensors");
    must_say("student: weights 'params' of experiments/scratch/models/net_g_latest.safetensors");
    must_say("the average starts from 'params_ema'");
}

/* Two parts of a batch and the whole of it train alike. */
static void micro_batches(void **state) {
    (void)state;
    double whole, parts, ignored;
    HOST(0, "train", "dukd.yml", "--set", "val.val_freq=~");
    first_and_last("experiments/dukd/metrics.jsonl", "l_total", &ignored, &whole);
    HOST(0, "train", "dukd.yml", "--set", "val.val_freq=~", "--set", "train.micro_batches=2");
    first_and_last("experiments/dukd/metrics.jsonl", "l_total", &ignored, &parts);
    assert_true(fabs(whole - parts) < 1e-4 * whole);
    assert_true(host_json_number("experiments/dukd/run.json", "optimizer_steps") == 24);
}

/* ---------------------------------------------------------------- refusing */

static void bad_options(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *set, *part;
    } cases[] = {
        {2, "train.w_kdd=1", "train.w_kd"},
        {2, "train.w_kd=-1", "train.w_kd"},
        {2, "train.total_iter=0", "train.total_iter"},
        {2, "network_g.num_feat=0", "num_feat"},
        {2, "network_t=~", "network_t"},
        {1, "path.pretrain_network_t=missing.safetensors", "missing.safetensors"},
        {1, "path.pretrain_network_t=train/t0.png", "t0.png"},
        {1, "network_t.num_feat=8", "teacher.safetensors: holds another network"},
        {1, "datasets.train.dataroot_gt=nowhere", "nowhere"},
        {1, "datasets.val.dataroot_gt=nowhere", "nowhere"},
        {1, "datasets.train.gt_size=64", "t0"}, /* larger than an image */
        {2, "datasets.train.batch_size_per_gpu=1000", "dataset_enlarge_ratio"},
        {2, "engine=cudnn", "cudnn"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        HOST(cases[i].status, "train", "dukd.yml", "--set", cases[i].set);
        if (!said(cases[i].part))
            fail_msg("%s: it did not say '%s' but:\n%s", cases[i].set, cases[i].part, host_output());
        if (host_exists("experiments/dukd"))
            fail_msg("%s was refused after the folder was made", cases[i].set);
    }
}

static void bad_plugins(void **state) {
    (void)state;
    data_text(data_path("text.so"), "no library");
    HOST(1, "train", "dukd.yml", "--plugin", "text.so");
    must_say("text.so");
    HOST(1, "train", "dukd.yml", "--plugin", "libm.so.6");
    must_say("no DUKD plugin");
    assert_false(host_exists("experiments/dukd"));
}

/* A rate that throws the weights out of range within a few iterations. */
static void a_loss_that_is_not_finite(void **state) {
    (void)state;
    HOST(1, "train", "scratch.yml", "--set", "train.optim_g.lr=1e6", "--set", "val.val_freq=~", "--set",
         "train.scheduler.milestones=[]", "--set", "logger.save_checkpoint_freq=2");
    must_say("is not finite");
    must_say("iteration ");
    must_say("train.nonfinite: skip");
    assert_false(host_exists("experiments/scratch/models/net_g_24.safetensors"));
    assert_false(host_exists("experiments/scratch/models/net_g_latest.safetensors"));
    HOST(0, "train", "scratch.yml", "--set", "train.optim_g.lr=1e6", "--set", "val.val_freq=~", "--set",
         "train.scheduler.milestones=[]", "--set", "train.nonfinite=skip");
    assert_true(host_json_number("experiments/scratch/run.json", "skipped_steps") > 0);
}

/* ---------------------------------------------------------------- memory */

/* Ten times the images, the same memory. */
static void memory_does_not_grow_with_the_set(void **state) {
    (void)state;
    long peak[2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < (k ? 60 : 6); i++) {
            char name[64];
            snprintf(name, sizeof name, "many/m%d.png", i);
            data_png(data_path(name), 256, 256, 8, (uint64_t)i);
        }
        host_process p = {0};
        const char *const args[] = {
            "train", "scratch.yml",         "--set", "datasets.train.dataroot_gt=many",
            "--set", "train.total_iter=40", "--set", "val.val_freq=~",
            NULL};
        struct rusage usage;
        int status;
        host_start(&p, args);
        assert_int_equal(wait4(p.pid, &status, 0, &usage), p.pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("it said:\n%s", host_output());
        peak[k] = usage.ru_maxrss;
    }
    print_message("peak memory: %ld KiB with 6 images, %ld KiB with 60\n", peak[0], peak[1]);
    assert_true(peak[1] < peak[0] + 40 * 1024); /* 60 images of 256 x 256 and their LR are 14 MiB, cached */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(overfit_in_f32),
        TEST(overfit_in_bf16),
        TEST(passes_are_counted),
        TEST(everything_is_there),
        TEST(the_best_is_kept),
        TEST(an_older_run_is_renamed),
        TEST(seeds),
        TEST(basicsrs_spelling),
        TEST(a_drawn_seed_is_written_down),
        TEST(a_student_from_a_checkpoint),
        TEST(micro_batches),
        TEST(bad_options),
        TEST(bad_plugins),
        TEST(a_loss_that_is_not_finite),
        TEST(memory_does_not_grow_with_the_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
