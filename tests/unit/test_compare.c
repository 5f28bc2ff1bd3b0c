/* What tools/compare computes: means and deviations, the paired bootstrap, and runs read back from their folders. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/random.h"
#include "runs.h"
#include "statistics.h"

static void mean_and_deviation(void **state) {
    (void)state;
    const double values[] = {2, 4, 4, 4, 5, 5, 7, 9};
    assert_true(fabs(dukd_mean(values, 8) - 5) < 1e-12);
    assert_true(fabs(dukd_deviation(values, 8) - sqrt(32.0 / 7)) < 1e-12);
    assert_true(isnan(dukd_deviation(values, 1)));
}

/* With one seed each and many images the interval is the textbook one: mean +- 1.96 sd / sqrt(n). */
static void interval_is_the_normal_one(void **state) {
    (void)state;
    enum { N = 400 };
    double a[N], b[N], d[N];
    dukd_random r = dukd_random_stream(1, DUKD_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) {
        double noise = dukd_random_unit(&r) + dukd_random_unit(&r) + dukd_random_unit(&r) - 1.5;
        b[i] =
            20 + 10 * dukd_random_unit(&r); /* images differ much more than methods: pairing removes that */
        a[i] = b[i] + .1 + noise;
        d[i] = a[i] - b[i];
    }
    const double *pa = a, *pb = b;
    dukd_paired p = dukd_paired_difference(&pa, 1, &pb, 1, N);
    double mean = dukd_mean(d, N), half = 1.96 * dukd_deviation(d, N) / sqrt(N);
    assert_true(fabs(p.mean - mean) < 1e-9);
    assert_true(fabs(p.low - (mean - half)) < .1 * half);
    assert_true(fabs(p.high - (mean + half)) < .1 * half);
    dukd_paired again = dukd_paired_difference(&pa, 1, &pb, 1, N);
    assert_true(p.low == again.low && p.high == again.high);
    dukd_paired same = dukd_paired_difference(&pa, 1, &pa, 1, N);
    assert_true(same.mean == 0);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void runs_are_read(void **state) {
    (void)state;
    char folder[] = "/tmp/dukd_compare_XXXXXX", run[64], path[96], set[256] = "";
    dukd_run_history h;
    dukd_failure f = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(run, sizeof run, "%s/kd_seed12", folder);
    assert_int_equal(mkdir(run, 0700), 0);
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    write_file(
        path, "{\"iteration\": 50, \"rate\": 0.1, \"seconds\": 5, \"losses\": {\"l_rec\": 1}}\n"
              "{\"iteration\": 100, \"seconds\": 10.5, \"validation\": {\"Set5\": {\"psnr\": 30, \"images\": "
              "[{\"name\": \"a.b\", \"psnr\": 29}, {\"name\": \"c\", \"psnr\": 31}]}}}\n"
              "{\"iteration\": 200, \"seconds\": 21, \"validation\": {\"Set5\": {\"psnr\": 32, \"images\": "
              "[{\"name\": \"a.b\", \"psnr\": 31}, {\"name\": \"c\", \"psnr\": null}]}}}\n"
              "{\"iteration\": 300, \"seconds\": 30, \"valida");
    assert_int_equal(dukd_run_history_read(&h, run, set, "psnr", &f), DUKD_DONE);
    assert_string_equal(set, "Set5");
    assert_string_equal(h.name, "kd_seed12");
    assert_string_equal(h.method, "kd");
    assert_int_equal(h.image_count, 2);
    assert_string_equal(h.images[0], "a.b");
    assert_int_equal(h.point_count, 2);
    assert_true(h.points[0].values[1] == 31);
    assert_true(isnan(h.points[1].values[1])); /* equal images: no finite PSNR */
    assert_ptr_equal(dukd_run_at_iteration(&h, 199), &h.points[0]);
    assert_ptr_equal(dukd_run_at_seconds(&h, 21), &h.points[1]);
    assert_null(dukd_run_at_seconds(&h, 10));
    assert_int_equal(h.optimizer_steps, -1); /* no run.json here */
    dukd_run_history_free(&h);
    assert_int_equal(dukd_run_history_read(&h, run, set, "niqe", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "metrics.jsonl:2"));
    dukd_run_history_free(&h);
    unlink(path);
    f = (dukd_failure){0};
    assert_int_equal(dukd_run_history_read(&h, run, set, "psnr", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "metrics.jsonl"));
    dukd_run_history_free(&h);
    rmdir(run);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mean_and_deviation),
                                       cmocka_unit_test(interval_is_the_normal_one),
                                       cmocka_unit_test(runs_are_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
