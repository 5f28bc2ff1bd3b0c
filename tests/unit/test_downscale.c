/* Bicubic down and up: the golden numbers, the public LR files, and MATLAB's own recipe in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/downscale.h"
#include "data/resample.h"
#include "data_fixture.h"
#include "support/fill.h"
#include "support/golden.h"

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static dukd_image noise(int32_t width, int32_t height, uint64_t seed) {
    dukd_image image;
    dukd_failure f = {0};
    done(dukd_image_create(&image, width, height, 8, &f), &f);
    dukd_fill_u8(image.samples, (int64_t)width * height * 3, seed);
    /* Half of the images are black and white: sums that leave 0..255. */
    for (int64_t i = 0; seed % 2 && i < (int64_t)width * height * 3; i++) {
        ((uint8_t *)image.samples)[i] = ((uint8_t *)image.samples)[i] & 1 ? 255 : 0;
    }
    return image;
}

/* ---- imresize as MATLAB has it, in double: contributions of one dimension, then rounding to uint8 ---- */

static double cubic(double x) {
    x = fabs(x);
    if (x <= 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
    if (x <= 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
    return 0;
}

/* One output of a row of n values, `step` apart: factor below 1 shrinks. 1-based positions as in MATLAB. */
static double resize_at(const double *in, int32_t n, int32_t step, int32_t output, double factor, int clamp) {
    const double widen = factor < 1 ? factor : 1, width = 4 / widen;
    const double u = (output + 1) / factor + 0.5 * (1 - 1 / factor);
    const int left = (int)floor(u - width / 2), taps = (int)ceil(width) + 2;
    double sum = 0, weights = 0;
    for (int i = 0; i < taps; i++) {
        const double weight = widen * cubic(widen * (u - (left + i)));
        int at = left + i - 1;
        if (clamp) {
            at = at < 0 ? 0 : at >= n ? n - 1 : at;
        } else {
            while (at < 0 || at >= n) at = at < 0 ? -1 - at : 2 * n - 1 - at;
        }
        sum += weight * in[(size_t)at * (size_t)step];
        weights += weight;
    }
    return sum / weights;
}

/* Rounded half up, or -1 where double cannot tell which way it goes. */
static int rounded(double v) {
    const double part = v + 0.5 - floor(v + 0.5);
    if (v > 0 && v < 255 && (part < 1e-9 || part > 1 - 1e-9)) return -1;
    return v <= 0 ? 0 : v >= 255 ? 255 : (int)floor(v + 0.5);
}

/* Exact ties are decided in double only where all weights are dyadic. */
static int rounded_dyadic(double v) {
    return v <= 0 ? 0 : v >= 255 ? 255 : (int)floor(v + 0.5);
}

static void check_down(int32_t width, int32_t height, int32_t scale, int clamp, uint64_t seed, int *unsure) {
    dukd_image hr = noise(width, height, seed), lr;
    dukd_failure f = {0};
    done(dukd_downscale(&hr, scale, clamp, &lr, &f), &f);
    assert_int_equal(lr.width, width / scale);
    assert_int_equal(lr.height, height / scale);
    assert_int_equal(lr.depth, 8);
    const int32_t w = lr.width * scale, h = lr.height * scale;
    const int dyadic = scale == 2 || scale == 4 || scale == 8;
    double *column = malloc((size_t)h * sizeof *column), *row = malloc((size_t)w * sizeof *row);
    for (int32_t y = 0; y < lr.height; y++) {
        for (int c = 0; c < 3; c++) {
            int known = 1;
            for (int32_t x = 0; x < w; x++) {
                for (int32_t k = 0; k < h; k++) column[k] = ((uint8_t *)hr.samples)[(k * width + x) * 3 + c];
                const double v = resize_at(column, h, 1, y, 1.0 / scale, clamp);
                const int byte = dyadic ? rounded_dyadic(v) : rounded(v);
                known &= byte >= 0;
                row[x] = byte;
            }
            for (int32_t x = 0; known && x < lr.width; x++) {
                const double v = resize_at(row, w, 1, x, 1.0 / scale, clamp);
                const int byte = dyadic ? rounded_dyadic(v) : rounded(v);
                if (byte < 0) {
                    (*unsure)++;
                    continue;
                }
                if (((uint8_t *)lr.samples)[(y * lr.width + x) * 3 + c] != byte) {
                    fail_msg("%d x %d, scale %d: (%d, %d) channel %d is %d, not %d", width, height, scale, x,
                             y, c, ((uint8_t *)lr.samples)[(y * lr.width + x) * 3 + c], byte);
                }
            }
            *unsure += !known;
        }
    }
    free(column);
    free(row);
    dukd_image_free(&hr);
    dukd_image_free(&lr);
}

static void test_down_recipe(void **state) {
    (void)state;
    int unsure = 0;
    for (int32_t scale = 2; scale <= 8; scale++) {
        for (int clamp = 0; clamp < 2; clamp++) {
            check_down(scale, scale, scale, clamp, 1, &unsure); /* the kernel is wider than the image */
            check_down(5 * scale + 1, 2 * scale, scale, clamp, 2, &unsure);
            check_down(3 * scale, 7 * scale + scale - 1, scale, clamp, 3, &unsure);
            check_down(61, 47, scale, clamp, 4, &unsure);
        }
    }
    /* Scale 6 has ties that double does not see; nearly all values are sure. */
    assert_in_range(unsure, 0, 200);
}

static void test_down_ties(void **state) {
    (void)state;
    /* Two halves of 0 and 1 with an edge where weights add to 1/2: by hand, scale 2, kernel -3 -9 29 111 111 29 -9 -3 over 256.
     * Columns 0 0 0 1 1 1: output 1 of 3 reads columns -1..6 = 0 | 0 0 0 1 1 1 | 1: (111 + 29 - 9 - 3) / 256 = 1/2 -> 1. */
    dukd_image hr, lr;
    dukd_failure f = {0};
    done(dukd_image_create(&hr, 6, 2, 8, &f), &f);
    for (int i = 0; i < 36; i++) ((uint8_t *)hr.samples)[i] = i / 3 % 6 >= 3;
    done(dukd_downscale(&hr, 2, 0, &lr, &f), &f);
    assert_int_equal(((uint8_t *)lr.samples)[3], 1);
    assert_int_equal(((uint8_t *)lr.samples)[0], 0);
    assert_int_equal(((uint8_t *)lr.samples)[6], 1);
    dukd_image_free(&hr);
    dukd_image_free(&lr);
}

static void test_down_16_bit(void **state) {
    (void)state;
    dukd_image hr = noise(40, 24, 2), wide, lr, lr_wide;
    dukd_failure f = {0};
    done(dukd_image_create(&wide, 40, 24, 16, &f), &f);
    for (int i = 0; i < 40 * 24 * 3; i++) {
        const int shift = i % 3 == 0 ? -128 : i % 3 == 1 ? 0 : 128; /* all round to the same byte */
        const int v = ((uint8_t *)hr.samples)[i] * 257 + shift;
        ((uint16_t *)wide.samples)[i] = (uint16_t)(v < 0 ? 0 : v > 65535 ? 65535 : v);
    }
    done(dukd_downscale(&hr, 4, 0, &lr, &f), &f);
    done(dukd_downscale(&wide, 4, 0, &lr_wide, &f), &f);
    assert_int_equal(lr_wide.depth, 8);
    assert_memory_equal(lr.samples, lr_wide.samples, 10 * 6 * 3);
    dukd_image_free(&hr);
    dukd_image_free(&wide);
    dukd_image_free(&lr);
    dukd_image_free(&lr_wide);
}

static void test_up_recipe(void **state) {
    (void)state;
    for (int32_t scale = 2; scale <= 8; scale++) {
        for (uint64_t seed = 1; seed < 3; seed++) {
            const int32_t w = seed == 1 ? 11 : 2, h = seed == 1 ? 6 : 1;
            dukd_image lr = noise(w, h, seed), up;
            dukd_failure f = {0};
            done(dukd_upscale_bicubic(&lr, scale, &up, &f), &f);
            assert_int_equal(up.width, w * scale);
            assert_int_equal(up.height, h * scale);
            double column[16], row[16];
            for (int32_t y = 0; y < up.height; y++) {
                for (int c = 0; c < 3; c++) {
                    for (int32_t x = 0; x < w; x++) {
                        for (int32_t k = 0; k < h; k++)
                            column[k] = ((uint8_t *)lr.samples)[(k * w + x) * 3 + c];
                        row[x] = resize_at(column, h, 1, y, scale, 0);
                    }
                    for (int32_t x = 0; x < up.width; x++) {
                        const int byte = rounded(resize_at(row, w, 1, x, scale, 0));
                        if (byte >= 0)
                            assert_int_equal(((uint8_t *)up.samples)[(y * up.width + x) * 3 + c], byte);
                    }
                }
            }
            dukd_image_free(&lr);
            dukd_image_free(&up);
        }
    }
}

static void test_constant_and_bad(void **state) {
    (void)state;
    dukd_image flat, out;
    dukd_failure f = {0};
    done(dukd_image_create(&flat, 33, 17, 8, &f), &f);
    for (int32_t scale = 2; scale <= 8; scale++) {
        for (int v = 0; v < 256; v += 51) {
            memset(flat.samples, v, 33 * 17 * 3);
            done(dukd_downscale(&flat, scale, 0, &out, &f), &f);
            for (int32_t i = 0; i < out.width * out.height * 3; i++)
                assert_int_equal(((uint8_t *)out.samples)[i], v);
            dukd_image_free(&out);
            done(dukd_upscale_bicubic(&flat, scale, &out, &f), &f);
            for (int32_t i = 0; i < out.width * out.height * 3; i++)
                assert_int_equal(((uint8_t *)out.samples)[i], v);
            dukd_image_free(&out);
        }
    }
    assert_int_equal(dukd_downscale(&flat, 1, 0, &out, NULL), DUKD_MISUSED);
    assert_int_equal(dukd_downscale(&flat, 9, 0, &out, NULL), DUKD_MISUSED);
    assert_int_equal(dukd_upscale_bicubic(&flat, 0, &out, NULL), DUKD_MISUSED);
    dukd_image_cut(&flat, 33, 3);
    assert_int_equal(dukd_downscale(&flat, 4, 0, &out, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "33 x 3"));
    assert_null(out.samples);
    flat.width = 40000; /* a header that lies: refused by its size before a pixel is read */
    assert_int_equal(dukd_upscale_bicubic(&flat, 2, &out, NULL), DUKD_FAILED);
    flat.width = 33;
    dukd_image_free(&flat);
}

static void test_golden(void **state) {
    (void)state;
    dukd_golden *g = dukd_golden_open("imresize");
    int compared = 0;
    for (int i = 0; dukd_golden_has(g, "image.%d", i); i++) {
        const dukd_golden_tensor hr = dukd_golden_u8(g, "image.%d", i);
        dukd_image image, lr;
        dukd_failure f = {0};
        done(dukd_image_create(&image, (int32_t)hr.dims[1], (int32_t)hr.dims[0], 8, &f), &f);
        memcpy(image.samples, hr.data, (size_t)hr.count);
        for (int32_t scale = 2; scale <= 4; scale++) {
            for (int clamp = 0; clamp < 2; clamp++) {
                const dukd_golden_tensor want =
                    dukd_golden_u8(g, "%s.x%d.%d", clamp ? "clamp" : "symmetric", scale, i);
                done(dukd_downscale(&image, scale, clamp, &lr, &f), &f);
                assert_int_equal(lr.width, want.dims[1]);
                assert_int_equal(lr.height, want.dims[0]);
                assert_memory_equal(lr.samples, want.data, (size_t)want.count);
                dukd_image_free(&lr);
                compared++;
            }
        }
        dukd_image_free(&image);
    }
    assert_int_equal(compared, 36);
    dukd_golden_close(g);
}

static void test_set5(void **state) {
    (void)state;
    static const char *const names[] = {"baby", "bird", "butterfly", "head", "woman"};
    for (int i = 0; i < 5; i++) {
        char path[1024], relative[128];
        snprintf(relative, sizeof relative, "data/Set5/HR/%s.png", names[i]);
        dukd_shared_path(path, sizeof path, relative);
        dukd_image hr, lr, want;
        dukd_failure f = {0};
        done(dukd_image_read(path, &hr, &f), &f);
        for (int32_t scale = 2; scale <= 4; scale++) {
            snprintf(relative, sizeof relative, "data/Set5/LR_bicubic/X%d/%sx%d.png", scale, names[i], scale);
            dukd_shared_path(path, sizeof path, relative);
            done(dukd_image_read(path, &want, &f), &f);
            done(dukd_downscale(&hr, scale, 0, &lr, &f), &f);
            assert_int_equal(lr.width, want.width);
            assert_int_equal(lr.height, want.height);
            assert_memory_equal(lr.samples, want.samples, (size_t)lr.width * (size_t)lr.height * 3);
            dukd_image_free(&want);
            dukd_image_free(&lr);
        }
        dukd_image_free(&hr);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_down_recipe),
        cmocka_unit_test(test_down_ties),
        cmocka_unit_test(test_down_16_bit),
        cmocka_unit_test(test_up_recipe),
        cmocka_unit_test(test_constant_and_bad),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_set5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
