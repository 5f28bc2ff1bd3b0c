/* A run that is stopped, killed or run out of disk goes on to the same bits as one that never was. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host_run.h"
#include "support/fill.h"
#include "unit/data_fixture.h"

/* An uninterrupted run, kept as experiments/whole. */
static void whole_run(const char *more) {
    HOST(0, "train", "dukd.yml", "--set", "name=whole", "--set", more);
    assert_true(host_exists("experiments/whole/training_states/24.state"));
}

static void same_as_whole(void) {
    host_same_tensors("experiments/whole/training_states/24.state",
                      "experiments/dukd/training_states/24.state");
    host_same_tensors("experiments/whole/models/net_g_latest.safetensors",
                      "experiments/dukd/models/net_g_latest.safetensors");
    host_same_tensors("experiments/whole/models/net_g_best.safetensors",
                      "experiments/dukd/models/net_g_best.safetensors");
    host_same_tensors("experiments/whole/models/net_g_10.safetensors",
                      "experiments/dukd/models/net_g_10.safetensors");
    host_same_metrics("experiments/whole/metrics.jsonl", "experiments/dukd/metrics.jsonl");
    static const char *const counts[] = {"optimizer_steps", "images", "student_images", "teacher_images",
                                         "best_iteration"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const double a = host_json_number("experiments/whole/run.json", counts[i]),
                     b = host_json_number("experiments/dukd/run.json", counts[i]);
        if (a != b && a == a) fail_msg("%s: %g, not %g", counts[i], b, a);
    }
}

/* Stopped by its own total_iter at `at`, then prolonged: the schedule does not depend on total_iter. */
static void resumed_at(const char *at, const char *more) {
    char total[64];
    snprintf(total, sizeof total, "train.total_iter=%s", at);
    HOST(0, "train", "dukd.yml", "--set", more, "--set", total);
    HOST(0, "train", "dukd.yml", "--set", more, "--resume");
    assert_non_null(strstr(host_output(), "resumed after iteration"));
}

static void the_same_bits_in_f32(void **state) {
    (void)state;
    whole_run("precision=f32");
    static const char *const points[] = {"10", "15",
                                         "20"}; /* before, at and after the milestone; all at checkpoints */
    for (size_t i = 0; i < 2; i++) {
        resumed_at(points[i], "precision=f32");
        host_same_tensors("experiments/whole/training_states/24.state",
                          "experiments/dukd/training_states/24.state");
    }
}

static void the_same_bits_in_bf16(void **state) {
    (void)state;
    whole_run("precision=bf16");
    resumed_at("10", "precision=bf16");
    host_same_tensors("experiments/whole/training_states/24.state",
                      "experiments/dukd/training_states/24.state");
}

static void official_mode(void **state) {
    (void)state;
    static const char *const options[] = {
        "model_type=DUKD",          "train.pixel_opt.type=L1Loss",  "train.pixel_opt.loss_weight=5",
        "train.kd_opt.type=L1Loss", "train.dukd_opt.zoom_out=true", "train.noisy.prob=0.3"};
    const char *args[32] = {"train", "dukd.yml"};
    int count = 2;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        args[count++] = "--set";
        args[count++] = options[i];
    }
    args[count] = "--set";
    args[count + 1] = "name=whole";
    host_run(0, args);
    assert_true(host_json_number("experiments/whole/run.json", "optimizer_steps") == 48);
    args[count + 1] = "train.total_iter=10";
    host_run(0, args);
    args[count] = "--resume";
    args[count + 1] = NULL;
    host_run(0, args);
    host_same_tensors("experiments/whole/training_states/24.state",
                      "experiments/dukd/training_states/24.state");
}

/* ---------------------------------------------------------------- kill -9 */

static void wait_ms(long ms) {
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Until the program has said `text`; 0 where it ended before. */
static int said(const host_process *p, const char *text) {
    for (int i = 0; i < 6000; i++) {
        if (host_exists("output.txt") && strstr(host_output(), text)) return 1;
        if (host_ended(p)) return 0;
        wait_ms(5);
    }
    fail_msg("'%s' did not come; the program said:\n%s", text, host_output());
    return 0;
}

/* A random moment after something that the run says: at the start, between iterations, while it validates or saves. */
static void killed_at_any_moment(void **state) {
    (void)state;
    static const char *const moments[] = {"INFO", "seed 5", "iter:", "validation", "best", "saved network"};
    whole_run("precision=f32");
    const char *const args[] = {"train", "dukd.yml", "--auto_resume", NULL};
    int kills = 0, resumed = 0;
    for (uint64_t i = 0;; i++) {
        host_process p = {0};
        host_start(&p, args);
        if (kills < 10) {
            said(&p, moments[dukd_fill_bits(7, 2 * i) % 6]);
            wait_ms((long)(dukd_fill_bits(7, 2 * i + 1) % 30));
            kill(p.pid, SIGKILL);
        }
        const int status = host_wait(&p);
        resumed += strstr(host_output(), "resumed after iteration") != NULL;
        if (status == 0) break;
        assert_int_equal(status, -SIGKILL);
        kills++;
    }
    print_message("killed %d times, resumed %d times\n", kills, resumed);
    assert_true(kills > 0 && resumed > 0);
    same_as_whole();
}

/* ---------------------------------------------------------------- signals */

static void interrupted(int signal_number) {
    const char *const args[] = {"train", "dukd.yml",
                                "--set", "logger.save_checkpoint_freq=1000",
                                "--set", "train.total_iter=100000",
                                "--set", "val.val_freq=100000",
                                NULL};
    host_process p = {0};
    host_start(&p, args);
    assert_true(said(&p, "iter:       9"));
    kill(p.pid, signal_number);
    assert_int_equal(host_wait(&p), 1);
    assert_non_null(strstr(host_output(), "to go on: dukd-host train dukd.yml --resume"));
    const double at = host_json_number("experiments/dukd/run.json", "iterations");
    char state_file[100];
    assert_true(at >= 9);
    snprintf(state_file, sizeof state_file, "experiments/dukd/training_states/%d.state", (int)at);
    assert_true(host_exists(state_file));
    assert_non_null(strstr(host_load("experiments/dukd/run.json"), "\"stopped\""));
    /* on, and to the same bits as a run of that length that was not stopped */
    char total[64];
    snprintf(total, sizeof total, "train.total_iter=%d", (int)at + 6);
    HOST(0, "train", "dukd.yml", "--resume", "--set", total, "--set", "logger.save_checkpoint_freq=1000",
         "--set", "val.val_freq=100000");
    HOST(0, "train", "dukd.yml", "--set", "name=whole", "--set", total, "--set",
         "logger.save_checkpoint_freq=1000", "--set", "val.val_freq=100000");
    host_same_tensors("experiments/whole/models/net_g_latest.safetensors",
                      "experiments/dukd/models/net_g_latest.safetensors");
}

static void sigint_saves_and_leaves(void **state) {
    (void)state;
    interrupted(SIGINT);
}

static void sigterm_too(void **state) {
    (void)state;
    interrupted(SIGTERM);
}

/* The terminal is closed. */
static void sighup_too(void **state) {
    (void)state;
    interrupted(SIGHUP);
}

/* ---------------------------------------------------------------- a full disk */

static void a_full_disk_leaves_the_earlier_state(void **state) {
    (void)state;
    const char *const args[] = {"train", "dukd.yml", "--resume", NULL};
    whole_run("precision=f32");
    HOST(0, "train", "dukd.yml", "--set", "train.total_iter=10");
    host_process p = {.file_limit = 6000}; /* less than a network */
    host_start(&p, args);
    assert_int_equal(host_wait(&p), 1);
    if (!strstr(host_output(), "net_g_15.safetensors") || !strstr(host_output(), "File too large"))
        fail_msg("it said:\n%s", host_output());
    assert_false(host_exists("experiments/dukd/models/net_g_15.safetensors"));
    assert_true(host_exists("experiments/dukd/training_states/10.state"));
    HOST(0, "train", "dukd.yml", "--resume");
    host_same_tensors("experiments/whole/training_states/24.state",
                      "experiments/dukd/training_states/24.state");
}

/* ---------------------------------------------------------------- what may and may not have changed */

static void changes_are_told_or_refused(void **state) {
    (void)state;
    HOST(0, "train", "dukd.yml", "--set", "train.total_iter=5", "--set", "val.val_freq=100");
    HOST(2, "train", "dukd.yml", "--resume", "--set", "manual_seed=6");
    assert_non_null(strstr(host_output(), "manual_seed was 5"));
    HOST(2, "train", "dukd.yml", "--resume", "--set", "network_g.num_feat=8");
    assert_non_null(strstr(host_output(), "network_g.num_feat was 4"));
    HOST(1, "train", "dukd.yml", "--resume", "--set", "train.w_kd=3"); /* the plugin's own to refuse */
    assert_non_null(strstr(host_output(), "5.state"));
    HOST(2, "train", "dukd.yml", "--resume", "--set", "train.total_iter=4");
    assert_non_null(strstr(host_output(), "the state is of iteration 5"));
    HOST(0, "train", "dukd.yml", "--resume", "--set", "train.optim_g.lr=2e-3", "--set", "num_threads=1",
         "--set", "train.total_iter=6", "--set", "val.val_freq=100");
    assert_non_null(strstr(host_output(), "train.optim_g.lr was 1e-3"));
    assert_non_null(strstr(host_output(), "written with 2 threads, there are 1 now"));
}

static void nothing_to_resume(void **state) {
    (void)state;
    HOST(1, "train", "dukd.yml", "--resume");
    assert_non_null(strstr(host_output(), "no complete training state"));
    assert_false(host_exists("experiments/dukd"));
    HOST(0, "train", "dukd.yml", "--auto_resume", "--set", "train.total_iter=2", "--set", "val.val_freq=100");
    HOST(0, "train", "dukd.yml", "--resume", "--set", "train.total_iter=2", "--set",
         "val.val_freq=100"); /* done already */
    assert_non_null(strstr(host_output(), "done: 2 iterations"));
}

static void a_broken_newest_state_is_passed_over(void **state) {
    (void)state;
    whole_run("precision=f32");
    HOST(0, "train", "dukd.yml", "--set", "train.total_iter=10");
    assert_int_equal(truncate(data_path("experiments/dukd/training_states/10.state"), 500), 0);
    HOST(0, "train", "dukd.yml", "--resume");
    assert_non_null(strstr(host_output(), "resumed after iteration 5"));
    assert_true(host_exists("experiments/dukd/training_states/10.state.old"));
    same_as_whole();
}

static void an_earlier_state_by_name(void **state) {
    (void)state;
    whole_run("precision=f32");
    HOST(0, "train", "dukd.yml");
    HOST(0, "train", "dukd.yml", "--set", "path.resume_state=experiments/dukd/training_states/20.state");
    assert_non_null(strstr(host_output(), "resumed after iteration 20"));
    same_as_whole();
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_same_bits_in_f32),
        TEST(the_same_bits_in_bf16),
        TEST(official_mode),
        TEST(killed_at_any_moment),
        TEST(sigint_saves_and_leaves),
        TEST(sigterm_too),
        TEST(sighup_too),
        TEST(a_full_disk_leaves_the_earlier_state),
        TEST(changes_are_told_or_refused),
        TEST(nothing_to_resume),
        TEST(a_broken_newest_state_is_passed_over),
        TEST(an_earlier_state_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
