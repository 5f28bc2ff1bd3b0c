/* dukd-make-images: the same pictures again, whatever the threads, and pictures with the statistics of photographs. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/image.h"
#include "data/image_list.h"
#include "data_fixture.h"
#include "support/golden.h"

/* Runs the program; what it prints goes to `output` (in the scratch folder). Returns its exit status. */
static int run(const char *arguments, char *output, size_t size) {
    char command[1400];
    const char *file = data_path("output.txt");
    snprintf(command, sizeof command, "'%s' %s >'%s' 2>&1", DUKD_MAKE_IMAGES, arguments, file);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    FILE *opened = fopen(file, "r");
    assert_non_null(opened);
    output[fread(output, 1, size - 1, opened)] = 0;
    fclose(opened);
    return WEXITSTATUS(status);
}

static void make(const char *options, const char *folder) {
    char arguments[700], output[2000];
    snprintf(arguments, sizeof arguments, "%s '%s'", options, data_path(folder));
    if (run(arguments, output, sizeof output) != 0) fail_msg("%s", output);
    assert_string_equal(output, "");
}

static dukd_image picture(const char *folder, int number) {
    char path[64];
    dukd_image image = {0};
    dukd_failure f = {0};
    snprintf(path, sizeof path, "%s/made_%06d.png", folder, number);
    if (dukd_image_read(data_path(path), &image, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return image;
}

static int same(const char *folder_a, int a, const char *folder_b, int b) {
    dukd_image x = picture(folder_a, a), y = picture(folder_b, b);
    assert_true(x.width == y.width && x.height == y.height);
    const int equal = !memcmp(x.samples, y.samples, (size_t)x.width * (size_t)x.height * 3);
    dukd_image_free(&x);
    dukd_image_free(&y);
    return equal;
}

static void pictures_depend_on_seed_and_number_alone(void **state) {
    (void)state;
    make("--count 9 --size 96x64 --threads 1", "one");
    make("--count 9 --size 96x64 --threads 5", "many");
    make("--count 3 --first 6 --size 96x64 --seed 1", "later");
    make("--count 9 --size 96x64 --seed 2", "other");
    for (int i = 0; i < 9; i++) {
        assert_true(same("one", i, "many", i));
        assert_false(same("one", i, "other", i));
        if (i >= 6) assert_true(same("one", i, "later", i));
        for (int j = 0; j < i; j++) assert_false(same("one", i, "one", j));
    }
    dukd_image_list list;
    assert_int_equal(dukd_image_list_read(data_path("later"), &list, NULL), DUKD_DONE);
    assert_int_equal(list.count, 3);
    dukd_image_list_free(&list);
    make("--count 8 --size 17x131", "one"); /* over what is there; no side a multiple of anything */
    dukd_image odd = picture("one", 7);
    assert_int_equal(odd.width, 17);
    assert_int_equal(odd.height, 131);
    assert_int_equal(odd.depth, 8);
    dukd_image_free(&odd);
}

static void wrong_arguments_are_refused(void **state) {
    (void)state;
    const struct {
        const char *arguments, *part;
        int status;
    } cases[] = {
        {"", "one folder", 2},
        {"a b", "one folder", 2},
        {"--count -1 x", "--count is '-1'", 2},
        {"--count 9x x", "'9x'", 2},
        {"--size 12 x", "--size", 2},
        {"--size 15x64 x", "--size", 2},
        {"--size 64x64x x", "--size", 2},
        {"--size 99999x64 x", "--size", 2},
        {"--seed 1e3 x", "--seed", 2},
        {"--threads 0 x", "--threads", 2},
        {"--frist 2 x", "--frist", 2},
        {"--count", "--count", 2},
        {"--count 1 /dev/null", "/dev/null", 1},
        {"--count 1 /nowhere/at/all", "/nowhere/at/all", 1},
    };
    char output[2000];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(run(cases[i].arguments, output, sizeof output), cases[i].status);
        if (!strstr(output, cases[i].part) || !strstr(output, "dukd-make-images: "))
            fail_msg("'%s': '%s'", cases[i].arguments, output);
    }
    assert_int_equal(run("--help", output, sizeof output), 0);
    assert_non_null(strstr(output, "example:"));
}

typedef struct {
    double energy[2]; /* mean squared difference of neighbours, at full size and of pixels averaged by two */
    double kurtosis;  /* of the differences: 3 for noise, 10 and more for pictures of things with edges */
    double mean, deviation;
} statistics;

static statistics measure(const dukd_image *image) {
    int32_t width = image->width, height = image->height;
    const size_t count = (size_t)width * (size_t)height;
    float *grey = malloc(count * sizeof *grey);
    assert_non_null(grey);
    const uint8_t *from = image->samples;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++, from += 3) {
        grey[i] = .299f * (float)from[0] + .587f * (float)from[1] + .114f * (float)from[2];
        sum += grey[i];
        squares += (double)grey[i] * (double)grey[i];
    }
    statistics s = {.mean = sum / (double)count};
    s.deviation = sqrt(squares / (double)count - s.mean * s.mean);
    for (int level = 0; level < 2; level++) {
        double second = 0, fourth = 0, pairs = 0;
        for (int32_t y = 0; y + 1 < height; y++)
            for (int32_t x = 0; x + 1 < width; x++, pairs += 2)
                for (int down = 0; down < 2; down++) {
                    const double d = grey[(y + down) * width + x + !down] - grey[y * width + x];
                    second += d * d;
                    fourth += d * d * d * d;
                }
        s.energy[level] = second / pairs;
        if (level == 0) s.kurtosis = fourth / pairs / (s.energy[0] * s.energy[0]);
        for (int32_t y = 0; y < height / 2; y++)
            for (int32_t x = 0; x < width / 2; x++) {
                const float *p = grey + 2 * y * width + 2 * x;
                grey[y * (width / 2) + x] = .25f * (p[0] + p[1] + p[width] + p[width + 1]);
            }
        width /= 2;
        height /= 2;
    }
    free(grey);
    return s;
}

static int ascending(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Means over a folder (kurtosis: the median); print them. */
static statistics measure_folder(const char *folder, int *flat) {
    dukd_image_list list;
    dukd_failure f = {0};
    if (dukd_image_list_read(folder, &list, &f) != DUKD_DONE) fail_msg("%s", f.message);
    statistics sum = {0};
    double *kurtosis = malloc((size_t)list.count * sizeof *kurtosis);
    assert_non_null(kurtosis);
    *flat = 0;
    for (int64_t i = 0; i < list.count; i++) {
        char *path = dukd_image_path(folder, list.files[i]);
        dukd_image image;
        if (dukd_image_read(path, &image, &f) != DUKD_DONE) fail_msg("%s", f.message);
        const statistics s = measure(&image);
        sum.energy[0] += s.energy[0] / (double)list.count;
        sum.energy[1] += s.energy[1] / (double)list.count;
        sum.mean += s.mean / (double)list.count;
        sum.deviation += s.deviation / (double)list.count;
        kurtosis[i] = s.kurtosis;
        *flat += s.deviation < 10 || s.energy[0] < 4;
        dukd_image_free(&image);
        free(path);
    }
    qsort(kurtosis, (size_t)list.count, sizeof *kurtosis, ascending);
    sum.kurtosis = kurtosis[list.count / 2];
    print_message("%s: %lld pictures, mean %.0f, deviation %.0f, difference %.1f, ratio to half the size "
                  "%.2f, kurtosis %.1f\n",
                  folder, (long long)list.count, sum.mean, sum.deviation, sqrt(sum.energy[0]),
                  sum.energy[1] / sum.energy[0], sum.kurtosis);
    dukd_image_list_free(&list);
    free(kurtosis);
    return sum;
}

/* The energy of differences hardly changes with size in natural images (their spectrum falls as 1/f^2); white noise gives a ratio
 * of 1/4, a smooth slope 4. Wide bounds: what they must catch is noise, blur and emptiness. */
static void the_statistics_are_those_of_photographs(void **state) {
    (void)state;
    int flat;
    make("--count 48", "pictures");
    const statistics s = measure_folder(data_path("pictures"), &flat);
    assert_true(flat <= 3);
    assert_true(s.mean > 70 && s.mean < 150);
    assert_true(s.deviation > 30 && s.deviation < 70);
    assert_true(s.energy[1] / s.energy[0] > 1 && s.energy[1] / s.energy[0] < 1.8);
    assert_true(s.kurtosis > 8 && s.kurtosis < 50);
    char photographs[512];
    dukd_shared_path(photographs, sizeof photographs, "data/BSDS200/HR");
    const statistics p = measure_folder(photographs, &flat);
    assert_true(s.energy[0] > p.energy[0] / 2 && s.energy[0] < p.energy[0] * 2);
    assert_true(s.energy[1] > p.energy[1] / 2 && s.energy[1] < p.energy[1] * 2);
    assert_true(s.kurtosis > p.kurtosis / 2 && s.kurtosis < p.kurtosis * 2);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(pictures_depend_on_seed_and_number_alone),
        IN_SCRATCH(wrong_arguments_are_refused),
        IN_SCRATCH(the_statistics_are_those_of_photographs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
