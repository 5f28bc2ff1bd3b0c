/* The commands prepare and metrics as a user calls them: exit status, what they print, what they leave. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/commands.h"
#include "data/downscale.h"
#include "data/metrics.h"
#include "data/prepared.h"
#include "data_fixture.h"

static char out[65536], err[65536]; /* what the last command printed */

static void slurp(const char *path, char *text, size_t room) {
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    text[fread(text, 1, room - 1, from)] = 0;
    fclose(from);
}

/* Runs a command line of words without blanks, with both streams in files. */
static int run(int (*command)(int argc, char **argv), const char *line) {
    char words[4096], *argv[32], *rest;
    int argc = 0, saved[2];
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    argv[argc] = NULL;
    const char *paths[2] = {data_path("stdout"), data_path("stderr")};
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        const int fd = open(paths[i], O_WRONLY | O_CREAT | O_TRUNC, 0666);
        assert_true(fd >= 0);
        saved[i] = dup(1 + i);
        dup2(fd, 1 + i);
        close(fd);
    }
    const int status = command(argc, argv);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], 1 + i);
        close(saved[i]);
    }
    slurp(paths[0], out, sizeof out);
    slurp(paths[1], err, sizeof err);
    return status;
}

/* The command must end with `status` and a single line on stderr that holds `part`. */
static void refused(int (*command)(int argc, char **argv), const char *line, int status, const char *part) {
    assert_int_equal(run(command, line), status);
    if (!strstr(err, part) || strchr(err, '\n') != err + strlen(err) - 1)
        fail_msg("'%s' gives '%s', not '%s'", line, err, part);
}

static char *line_of(const char *format, ...) {
    static char line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return line;
}

/* Two HR images whose sizes no scale divides, and x4 images of them: bicubic, under the names tools give. */
static void make_images(double psnr[2], double ssim[2]) {
    static const char *const hr_names[] = {"hr/img.png", "hr/img_1.png"}, *const sr_names[] = {
                                                                              "sr/imgx4.png",
                                                                              "sr/img_1_EDSR.png"};
    for (int i = 0; i < 2; i++) {
        dukd_failure f = {0};
        dukd_image hr = data_image(90 + i, 71, 8, (uint64_t)i), lr, sr;
        data_write_png(data_path(hr_names[i]), &hr);
        assert_int_equal(dukd_downscale(&hr, 4, 0, &lr, &f), DUKD_DONE);
        assert_int_equal(dukd_upscale_bicubic(&lr, 4, &sr, &f), DUKD_DONE);
        data_write_png(data_path(sr_names[i]), &sr);
        dukd_image_cut(&hr, sr.width, sr.height);
        const dukd_metric_options o = {4, 1};
        assert_int_equal(dukd_metric_psnr(&sr, &hr, o, &psnr[i], &f), DUKD_DONE);
        assert_int_equal(dukd_metric_ssim(&sr, &hr, o, &ssim[i], &f), DUKD_DONE);
        dukd_image_free(&hr);
        dukd_image_free(&lr);
        dukd_image_free(&sr);
    }
}

static void test_metrics(void **state) {
    (void)state;
    double psnr[2], ssim[2];
    make_images(psnr, ssim);
    const char *sr = data_path("sr"), *hr = data_path("hr");
    assert_int_equal(run(dukd_cmd_metrics, line_of("metrics %s %s --scale 4", sr, hr)), 0);
    assert_string_equal(err, "");
    const double rows[3][2] = {
        {psnr[0], ssim[0]}, {psnr[1], ssim[1]}, {(psnr[0] + psnr[1]) / 2, (ssim[0] + ssim[1]) / 2}};
    static const char *const names[3] = {"imgx4.png", "img_1_EDSR.png", "mean"};
    for (int i = 0; i < 3; i++) {
        const char *row = strstr(out, names[i]);
        double p = 0, s = 0;
        assert_non_null(row);
        assert_int_equal(sscanf(row, "%*s %lf %lf", &p, &s), 2);
        assert_true(p > rows[i][0] - 6e-5 && p < rows[i][0] + 6e-5);
        assert_true(s > rows[i][1] - 6e-5 && s < rows[i][1] + 6e-5);
    }
    assert_non_null(strstr(out, "Y of YCbCr, 4 pixels cut"));

    assert_int_equal(run(dukd_cmd_metrics, line_of("metrics %s %s --scale=4 --json", sr, hr)), 0);
    const char *mean = strstr(out, "\"mean\"");
    assert_non_null(mean);
    double value = 0;
    assert_int_equal(sscanf(strstr(mean, "\"psnr\""), "\"psnr\": %lf", &value), 1);
    assert_true(value > rows[2][0] - 1e-9 && value < rows[2][0] + 1e-9);

    assert_int_equal(run(dukd_cmd_metrics, line_of("metrics %s %s --scale 1 --rgb --crop-border 0", hr, hr)),
                     0);
    assert_non_null(strstr(out, "inf"));
    assert_non_null(strstr(out, "RGB, 0 pixels cut"));
    assert_int_equal(run(dukd_cmd_metrics, line_of("metrics %s %s --scale 1 --json", hr, hr)), 0);
    assert_non_null(strstr(out, "\"psnr\": null"));
    assert_null(strstr(out, "inf"));

    data_png(data_path("sr/other.png"), 20, 20, 8, 1); /* belongs to none: said, not counted */
    assert_int_equal(run(dukd_cmd_metrics, line_of("metrics %s %s --scale 4", sr, hr)), 0);
    assert_non_null(strstr(err, "1 images"));
    assert_null(strstr(out, "other"));
}

static void test_metrics_refused(void **state) {
    (void)state;
    double psnr[2], ssim[2];
    make_images(psnr, ssim);
    const char *sr = data_path("sr"), *hr = data_path("hr");
    refused(dukd_cmd_metrics, line_of("metrics %s", sr), 2, "usage");
    refused(dukd_cmd_metrics, line_of("metrics %s %s", sr, hr), 2, "--scale is missing");
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 0", sr, hr), 2, "1 to 16");
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 4 --crop-border -1", sr, hr), 2,
            "--crop-border");
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 4 --crop-border 33", sr, hr), 2, "imgx4.png");
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 3", sr, hr), 1, "imgx4.png has 88 x 68 pixels");
    refused(dukd_cmd_metrics, line_of("metrics %s/none %s --scale 4", sr, hr), 1, "none");
    data_png(data_path("sr/img.png"), 88, 68, 8, 1);
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 4", sr, hr), 1, "both img.png and imgx4.png");
    unlink(data_path("sr/img.png"));
    data_png(data_path("hr/more.png"), 88, 68, 8, 1);
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 4", sr, hr), 1, "no image of more.png");
    unlink(data_path("hr/more.png"));
    data_text(data_path("sr/imgx4.png"), "no image");
    refused(dukd_cmd_metrics, line_of("metrics %s %s --scale 4", sr, hr), 1, "imgx4.png: not a PNG");
}

static void test_prepare(void **state) {
    (void)state;
    data_png(data_path("hr/a.png"), 90, 71, 8, 1);
    data_png(data_path("hr/b.png"), 64, 64, 16, 2);
    const char *hr = data_path("hr"), *set = data_path("set");
    assert_int_equal(run(dukd_cmd_prepare, line_of("prepare %s %s --scale 4 -s 2,3", hr, set)), 0);
    assert_string_equal(err, ""); /* no progress where nobody looks */
    assert_non_null(strstr(out, "2 images, scale 2, 3, 4, symmetric border: 14 files written, 0 kept"));
    dukd_image image, lr, want;
    dukd_failure f = {0};
    assert_int_equal(dukd_image_read(data_path("hr/b.png"), &image, &f), DUKD_DONE);
    assert_int_equal(dukd_downscale(&image, 3, 0, &want, &f), DUKD_DONE);
    assert_int_equal(dukd_image_read(data_path("set/LR_bicubic/X3/bx3.png"), &lr, &f), DUKD_DONE);
    assert_int_equal(lr.width, want.width);
    assert_memory_equal(lr.samples, want.samples, (size_t)want.width * (size_t)want.height * 3);
    dukd_image_free(&image);
    dukd_image_free(&lr);
    dukd_image_free(&want);
    assert_int_equal(run(dukd_cmd_prepare, line_of("prepare %s %s --scale 2 --json --quiet", hr, set)), 0);
    assert_non_null(strstr(out, "\"files_kept\": 14"));
    assert_int_equal(run(dukd_cmd_prepare,
                         line_of("prepare %s %s/x --scale 2 --border clamp --only lr --threads 1", hr, set)),
                     0);
    dukd_prepared prepared;
    assert_int_equal(dukd_prepared_read(data_path("set/x"), &prepared, &f), DUKD_DONE);
    assert_true(prepared.clamp_border && prepared.has_png && !prepared.tile);
    dukd_prepared_free(&prepared);
    assert_int_equal(
        run(dukd_cmd_prepare, line_of("prepare %s %s/y --scale 2 --only tiled --tile 16", hr, set)), 0);
    assert_int_equal(dukd_prepared_read(data_path("set/y"), &prepared, &f), DUKD_DONE);
    assert_true(!prepared.clamp_border && !prepared.has_png && prepared.tile == 16);
    dukd_prepared_free(&prepared);

    refused(dukd_cmd_prepare, line_of("prepare %s %s", hr, set), 2, "--scale is missing");
    refused(dukd_cmd_prepare, line_of("prepare %s --scale 4", hr), 2, "usage");
    static const char *const bad[][2] = {{"--scale 1", "2 to 8"},
                                         {"--scale 2,", "not '2,'"},
                                         {"--scale 4x", "not '4x'"},
                                         {"--scale 4 --tile 20", "--tile"},
                                         {"--scale 4 --only a", "lr or tiled"},
                                         {"--scale 4 --border b", "symmetric or clamp"},
                                         {"--scale 4 --threads -2", "--threads"},
                                         {"--scale 2 --border clamp", "symmetric border"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refused(dukd_cmd_prepare, line_of("prepare %s %s %s", hr, set, bad[i][0]), 2, bad[i][1]);
    }
    refused(dukd_cmd_prepare, line_of("prepare %s/none %s --scale 4", hr, set), 1, "none");
    data_text(data_path("hr/c.png"), "no image");
    refused(dukd_cmd_prepare, line_of("prepare %s %s --scale 4", hr, set), 1, "c.png: not a PNG");
}

#define SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {SCRATCH(test_metrics), SCRATCH(test_metrics_refused),
                                       SCRATCH(test_prepare)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
