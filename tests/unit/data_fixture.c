/* Scratch folders and made-up images. */
#include "data_fixture.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/tiled.h"
#include "support/fill.h"

static char scratch[256];

int data_setup(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/dukd_test_XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

int data_teardown(void **state) {
    (void)state;
    return nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *data_path(const char *relative) {
    static char paths[64][512];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, relative);
    for (char *slash = path + strlen(scratch) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    return path;
}

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

dukd_image data_image(int32_t width, int32_t height, int32_t depth, uint64_t number) {
    dukd_image image;
    dukd_failure f = {0};
    done(dukd_image_create(&image, width, height, depth, &f), &f);
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < 3; c++) {
                const size_t i = ((size_t)y * (size_t)width + (size_t)x) * 3 + (size_t)c;
                const uint64_t noise = dukd_fill_bits(number, i) >> 58;
                const uint64_t v = (uint64_t)(x * 2 + y * 3 + c * 40) + number * 31 + noise;
                if (depth == 8)
                    ((uint8_t *)image.samples)[i] = (uint8_t)v;
                else
                    ((uint16_t *)image.samples)[i] = (uint16_t)(v * 257 + noise);
            }
    return image;
}

void data_write_png(const char *path, const dukd_image *image) {
    dukd_failure f = {0};
    done(dukd_image_write_png(path, image, &f), &f);
}

void data_png(const char *path, int32_t width, int32_t height, int32_t depth, uint64_t number) {
    dukd_image image = data_image(width, height, depth, number);
    data_write_png(path, &image);
    dukd_image_free(&image);
}

void data_write_tiled(const char *path, const dukd_image *image, int32_t side) {
    dukd_failure f = {0};
    done(dukd_tiled_write(path, image, side, NULL, &f), &f);
}

void data_text(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

void data_same(const dukd_image *a, const dukd_image *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->depth, b->depth);
    assert_memory_equal(a->samples, b->samples,
                        (size_t)a->width * (size_t)a->height * 3 * (size_t)(a->depth / 8));
}

dukd_dataset *data_open(const dukd_dataset_options *o) {
    dukd_dataset *d = NULL;
    dukd_failure f = {0};
    done(dukd_dataset_open(&d, o, &f), &f);
    assert_non_null(d);
    return d;
}

void data_refused(const dukd_dataset_options *o, int status, const char *part, const char *part2) {
    dukd_dataset *d = NULL;
    dukd_failure f = {0};
    assert_int_equal(dukd_dataset_open(&d, o, &f), status);
    assert_null(d);
    if (!strstr(f.message, part) || (part2 && !strstr(f.message, part2)))
        fail_msg("'%s' does not say '%s' and '%s'", f.message, part, part2 ? part2 : "");
}

/* Sample c of pixel (y, x) as a fraction. */
static float fraction(const dukd_image *image, int32_t y, int32_t x, int32_t c) {
    const size_t i = ((size_t)y * (size_t)image->width + (size_t)x) * 3 + (size_t)c;
    return image->depth == 8 ? (float)((const uint8_t *)image->samples)[i] / 255.0f
                             : (float)((const uint16_t *)image->samples)[i] / 65535.0f;
}

void data_crop_ref(const dukd_image *image, int32_t row, int32_t col, int32_t side, int32_t orientation,
                   float *planes) {
    const size_t n = (size_t)side;
    float *before = malloc(3 * n * n * sizeof *before);
    assert_non_null(before);
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < n; y++)
            for (size_t x = 0; x < n; x++)
                planes[(c * n + y) * n + x] = fraction(image, row + (int32_t)y, col + (int32_t)x, (int32_t)c);
    for (int step = DUKD_FLIP_LEFT_RIGHT; step <= DUKD_TRANSPOSE; step *= 2) {
        if (!(orientation & step)) continue;
        memcpy(before, planes, 3 * n * n * sizeof *before);
        for (size_t c = 0; c < 3; c++)
            for (size_t y = 0; y < n; y++)
                for (size_t x = 0; x < n; x++) {
                    const size_t from_y = step == DUKD_FLIP_TOP_BOTTOM ? n - 1 - y
                                          : step == DUKD_TRANSPOSE     ? x
                                                                       : y;
                    const size_t from_x = step == DUKD_FLIP_LEFT_RIGHT ? n - 1 - x
                                          : step == DUKD_TRANSPOSE     ? y
                                                                       : x;
                    planes[(c * n + y) * n + x] = before[(c * n + from_y) * n + from_x];
                }
    }
    free(before);
}
