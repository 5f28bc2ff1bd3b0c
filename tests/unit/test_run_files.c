/* The folder of a run, its log and metrics.jsonl: what is renamed, locked, remembered and dropped. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data_fixture.h"
#include "train/experiment.h"
#include "train/record.h"
#include "train/run_log.h"

static char *load(const char *path) {
    static char text[65536];
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s is not there", path);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

/* ---------------------------------------------------------------- folders */

static void a_new_folder(void **state) {
    (void)state;
    dukd_experiment e;
    assert_int_equal(dukd_experiment_open(&e, data_path("runs/deep/x"), 0, NULL), 0);
    assert_string_equal(e.archived, "");
    assert_int_equal(access(data_path("runs/deep/x/models"), W_OK), 0);
    assert_int_equal(access(data_path("runs/deep/x/training_states"), W_OK), 0);
    dukd_experiment_close(&e);
}

static void an_older_run_is_renamed(void **state) {
    (void)state;
    dukd_experiment e;
    data_text(data_path("x/models/net.safetensors"), "precious");
    char root[600];
    snprintf(root, sizeof root, "%s/", data_path("x")); /* a slash at the end is no other folder */
    for (int i = 0; i < 3; i++) {                       /* within a second too */
        assert_int_equal(dukd_experiment_open(&e, root, 0, NULL), 0);
        assert_non_null(strstr(e.archived, "x_archived_2"));
        if (i == 0) {
            char path[8192];
            snprintf(path, sizeof path, "%s/models/net.safetensors", e.archived);
            assert_string_equal(load(path), "precious");
        }
        dukd_experiment_close(&e);
    }
}

static void a_resumed_run_is_not(void **state) {
    (void)state;
    dukd_experiment e;
    data_text(data_path("x/models/net.safetensors"), "precious");
    assert_int_equal(dukd_experiment_open(&e, data_path("x"), 1, NULL), 0);
    assert_string_equal(e.archived, "");
    assert_string_equal(load(data_path("x/models/net.safetensors")), "precious");
    dukd_experiment_close(&e);
}

/* flock belongs to the open file: a second open in this process stands for another process. */
static void a_folder_in_use(void **state) {
    (void)state;
    dukd_experiment e, other;
    dukd_failure f = {0};
    assert_int_equal(dukd_experiment_open(&e, data_path("x"), 0, NULL), 0);
    assert_int_equal(dukd_experiment_open(&other, data_path("x"), 1, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "another process"));
    memset(&f, 0, sizeof f);
    assert_int_equal(dukd_experiment_open(&other, data_path("x"), 0, &f), DUKD_FAILED); /* nor pulled away */
    assert_non_null(strstr(f.message, "another process"));
    assert_int_equal(access(data_path("x/models"), F_OK), 0);
    dukd_experiment_close(&other);
    dukd_experiment_close(&e);
    assert_int_equal(dukd_experiment_open(&e, data_path("x"), 1, NULL), 0);
    dukd_experiment_close(&e);
}

static void a_file_in_the_way(void **state) {
    (void)state;
    dukd_experiment e;
    dukd_failure f = {0};
    data_text(data_path("file"), "text");
    char root[600];
    snprintf(root, sizeof root, "%s/x", data_path("file"));
    assert_int_equal(dukd_experiment_open(&e, root, 0, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "file"));
    assert_string_equal(load(data_path("file")), "text");
}

/* ---------------------------------------------------------------- the log */

static void the_log_remembers_what_came_before_its_file(void **state) {
    (void)state;
    dukd_run_log log;
    FILE *screen = tmpfile();
    assert_non_null(screen);
    dukd_run_log_begin(&log, screen);
    dukd_run_log_info(&log, "first %d", 1);
    assert_int_equal(dukd_run_log_open(&log, data_path("x.log"), NULL), 0);
    dukd_run_log_warn(&log, "second");
    dukd_run_log_progress(&log, "not on a terminal");
    dukd_run_log_close(&log);
    char *text = load(data_path("x.log"));
    const char *first = strstr(text, "INFO: first 1\n"), *second = strstr(text, "WARNING: second\n");
    assert_true(first && second && first < second);
    assert_null(strstr(text, "terminal"));
    char seen[4096] = "";
    rewind(screen);
    seen[fread(seen, 1, sizeof seen - 1, screen)] = 0;
    assert_string_equal(seen, text);
    fclose(screen);
    dukd_run_log_begin(&log, NULL); /* quiet; and appended to */
    assert_int_equal(dukd_run_log_open(&log, data_path("x.log"), NULL), 0);
    dukd_run_log_info(&log, "third");
    dukd_run_log_close(&log);
    text = load(data_path("x.log"));
    assert_non_null(strstr(text, "first"));
    assert_non_null(strstr(text, "third"));
}

/* ---------------------------------------------------------------- metrics.jsonl */

static void three_lines(const char *path, int64_t last) {
    static const char *const names[] = {"l_rec", "l_total"};
    const double values[] = {0.25, NAN};
    const dukd_losses losses = {.n_losses = 2, .names = names, .values = values};
    const dukd_run_metric metrics[] = {{.name = "psnr"}, {.name = "ssim"}};
    dukd_evaluated_image images[] = {{.name = "baby", .plain = {33, 0.75}},
                                     {.name = "bird", .plain = {30, 1}}};
    const dukd_evaluation result = {.count = 2, .images = images, .mean = {.plain = {31.5, 0.875}}};
    dukd_metrics_log m;
    assert_int_equal(dukd_metrics_log_open(&m, path, last, NULL), 0);
    assert_int_equal(dukd_metrics_log_losses(&m, 100, 1e-4, 12.5, 1600, &losses, NULL), 0);
    assert_int_equal(dukd_metrics_log_validation(&m, 100, 12.5, "Set5", metrics, 2, &result, NULL), 0);
    assert_int_equal(dukd_metrics_log_losses(&m, 200, 1e-4, 25, 3200, &losses, NULL), 0);
    dukd_metrics_log_close(&m);
}

static void metrics_are_lines_of_json(void **state) {
    (void)state;
    const char *path = data_path("m.jsonl");
    three_lines(path, 0);
    const char *want = "{\"iteration\": 100, \"rate\": 0.0001, \"seconds\": 12.5, \"images\": 1600, "
                       "\"losses\": {\"l_rec\": 0.25, "
                       "\"l_total\": null}}\n"
                       "{\"iteration\": 100, \"seconds\": 12.5, \"validation\": {\"Set5\": {\"psnr\": 31.5, "
                       "\"ssim\": 0.875, \"images\": [{\"name\": \"baby\", \"psnr\": 33, \"ssim\": 0.75}, "
                       "{\"name\": \"bird\", "
                       "\"psnr\": 30, \"ssim\": 1}]}}}\n"
                       "{\"iteration\": 200, \"rate\": 0.0001, \"seconds\": 25, \"images\": 3200, "
                       "\"losses\": {\"l_rec\": 0.25, "
                       "\"l_total\": null}}\n";
    assert_string_equal(load(path), want);
    /* taken up again after 100: what came later is dropped, with a line that was torn */
    FILE *file = fopen(path, "a");
    fputs("{\"iteration\": 50, \"torn", file);
    fclose(file);
    dukd_metrics_log m;
    assert_int_equal(dukd_metrics_log_open(&m, path, 100, NULL), 0);
    dukd_metrics_log_close(&m);
    char kept[1024];
    const char *third = strstr(want, "{\"iteration\": 200");
    snprintf(kept, sizeof kept, "%.*s", (int)(third - want), want);
    assert_string_equal(load(path), kept);
    assert_int_equal(dukd_metrics_log_open(&m, path, 0, NULL), 0);
    dukd_metrics_log_close(&m);
    assert_string_equal(load(path), "");
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        print_message("SKIP: there is no /dev/full\n");
        skip();
    }
    static const char *const names[] = {"l_rec"};
    const double value = 1;
    const dukd_losses losses = {.n_losses = 1, .names = names, .values = &value};
    dukd_metrics_log m = {.file = fopen("/dev/full", "w"), .path = "metrics.jsonl"};
    dukd_failure f = {0};
    assert_int_equal(dukd_metrics_log_losses(&m, 1, 1, 1, 1, &losses, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "metrics.jsonl"));
    dukd_metrics_log_close(&m);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_folder),
        TEST(an_older_run_is_renamed),
        TEST(a_resumed_run_is_not),
        TEST(a_folder_in_use),
        TEST(a_file_in_the_way),
        TEST(the_log_remembers_what_came_before_its_file),
        TEST(metrics_are_lines_of_json),
        TEST(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
