/* PSNR and SSIM: golden numbers, values known by hand, SSIM straight from its definition, and the bicubic row of the tables. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/downscale.h"
#include "data/metrics.h"
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
    return image;
}

static dukd_image flat(int32_t width, int32_t height, int value) {
    dukd_image image = noise(width, height, 1);
    memset(image.samples, value, (size_t)width * (size_t)height * 3);
    return image;
}

static double psnr(const dukd_image *a, const dukd_image *b, int32_t border, int y) {
    double value;
    dukd_failure f = {0};
    done(dukd_metric_psnr(a, b, (dukd_metric_options){border, y}, &value, &f), &f);
    return value;
}

static double ssim(const dukd_image *a, const dukd_image *b, int32_t border, int y) {
    double value;
    dukd_failure f = {0};
    done(dukd_metric_ssim(a, b, (dukd_metric_options){border, y}, &value, &f), &f);
    return value;
}

static void near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.12g, not %.12g within %g", got, want, tolerance);
}

static void test_by_hand(void **state) {
    (void)state;
    dukd_image a = flat(20, 15, 100), b = flat(20, 15, 110);
    near(psnr(&a, &b, 0, 0), 10 * log10(255.0 * 255.0 / 100.0), 1e-12);
    const double step = 10 * (65.481 + 128.553 + 24.966) / 255; /* of Y */
    near(psnr(&a, &b, 0, 1), 10 * log10(255.0 * 255.0 / (step * step)), 1e-9);
    const double c1 = 6.5025, ya = 16 + 219.0 * 100 / 255, yb = 16 + 219.0 * 110 / 255;
    near(ssim(&a, &b, 0, 0), (2 * 100.0 * 110 + c1) / (100.0 * 100 + 110.0 * 110 + c1), 1e-9);
    near(ssim(&a, &b, 2, 1), (2 * ya * yb + c1) / (ya * ya + yb * yb + c1), 1e-9);
    assert_true(isinf(psnr(&a, &a, 3, 1)) && psnr(&a, &a, 3, 1) > 0);
    near(ssim(&a, &a, 0, 1), 1, 1e-12);
    /* Green counts most, and what the border cuts does not count. */
    ((uint8_t *)b.samples)[0] = 255;
    near(psnr(&a, &b, 1, 0), 10 * log10(255.0 * 255.0 / 100.0), 1e-12);
    dukd_image red = flat(20, 15, 100), green = flat(20, 15, 100);
    for (int i = 0; i < 300; i++) {
        ((uint8_t *)red.samples)[3 * i] = 120;
        ((uint8_t *)green.samples)[3 * i + 1] = 120;
    }
    near(psnr(&a, &red, 0, 1) - psnr(&a, &green, 0, 1), 20 * log10(128.553 / 65.481), 1e-9);
    dukd_image_free(&a);
    dukd_image_free(&b);
    dukd_image_free(&red);
    dukd_image_free(&green);
}

/* SSIM from its definition: a 2-d window at every place. */
static double ssim_ref(const dukd_image *a, const dukd_image *b, int32_t border, int y_channel) {
    double window[11][11], sum = 0, total = 0;
    int64_t count = 0;
    for (int i = 0; i < 11; i++)
        for (int j = 0; j < 11; j++)
            sum += window[i][j] = exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / 4.5);
    for (int c = 0; c < (y_channel ? 1 : 3); c++) {
        for (int32_t y = border; y + 11 <= a->height - border; y++) {
            for (int32_t x = border; x + 11 <= a->width - border; x++) {
                double m[5] = {0};
                for (int i = 0; i < 11; i++) {
                    for (int j = 0; j < 11; j++) {
                        const uint8_t *p = (uint8_t *)a->samples + ((y + i) * a->width + x + j) * 3;
                        const uint8_t *q = (uint8_t *)b->samples + ((y + i) * a->width + x + j) * 3;
                        const double u =
                            y_channel ? 16 + 65.481 / 255 * p[0] + 128.553 / 255 * p[1] + 24.966 / 255 * p[2]
                                      : p[c];
                        const double v =
                            y_channel ? 16 + 65.481 / 255 * q[0] + 128.553 / 255 * q[1] + 24.966 / 255 * q[2]
                                      : q[c];
                        const double w = window[i][j] / sum;
                        m[0] += w * u, m[1] += w * v, m[2] += w * u * u, m[3] += w * v * v, m[4] += w * u * v;
                    }
                }
                total += (2 * m[0] * m[1] + 6.5025) * (2 * (m[4] - m[0] * m[1]) + 58.5225) /
                         ((m[0] * m[0] + m[1] * m[1] + 6.5025) *
                          (m[2] - m[0] * m[0] + m[3] - m[1] * m[1] + 58.5225));
                count++;
            }
        }
    }
    return total / (double)count;
}

static void test_ssim_definition(void **state) {
    (void)state;
    static const int32_t sizes[][3] = {{11, 11, 0}, {13, 17, 1}, {40, 12, 0}, {25, 30, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        dukd_image a = noise(sizes[i][0], sizes[i][1], 3), b = noise(sizes[i][0], sizes[i][1], 4);
        for (int k = 0; k < a.width * a.height * 3; k++) { /* alike, not the same */
            ((uint8_t *)b.samples)[k] =
                (uint8_t)((((uint8_t *)a.samples)[k] * 3 + ((uint8_t *)b.samples)[k]) / 4);
        }
        for (int y = 0; y < 2; y++)
            near(ssim(&a, &b, sizes[i][2], y), ssim_ref(&a, &b, sizes[i][2], y), 1e-10);
        dukd_image_free(&a);
        dukd_image_free(&b);
    }
}

static void refused(const dukd_image *a, const dukd_image *b, int32_t border, int psnr_too,
                    const char *part) {
    double value;
    for (int k = psnr_too ? 0 : 1; k < 2; k++) {
        dukd_failure f = {0};
        const dukd_metric_options o = {border, 1};
        assert_int_not_equal((k ? dukd_metric_ssim : dukd_metric_psnr)(a, b, o, &value, &f), DUKD_DONE);
        if (!strstr(f.message, part)) fail_msg("'%s' lacks '%s'", f.message, part);
    }
}

static void test_refused(void **state) {
    (void)state;
    dukd_image a = noise(20, 15, 1), b = noise(15, 20, 2), wide;
    dukd_failure f = {0};
    done(dukd_image_create(&wide, 20, 15, 16, &f), &f);
    refused(&a, &b, 0, 1, "20 x 15 and 15 x 20");
    refused(&a, &wide, 0, 1, "16 bits");
    refused(&a, &a, 8, 1, "border of 8");
    refused(&a, &a, -1, 1, "border of -1");
    refused(&a, &a, INT32_MAX, 1, "too small");
    refused(&a, &a, 3, 0, "window of 11");
    near(ssim(&a, &a, 2, 1), 1, 1e-12); /* 11 rows are left */
    dukd_image_free(&a);
    dukd_image_free(&b);
    dukd_image_free(&wide);
}

static void test_golden(void **state) {
    (void)state;
    dukd_golden *g = dukd_golden_open("metrics");
    int rows = 0;
    for (int i = 0; dukd_golden_has(g, "a.%d", i); i++) {
        dukd_image images[2];
        for (int k = 0; k < 2; k++) {
            const dukd_golden_tensor t = dukd_golden_u8(g, "%s.%d", k ? "b" : "a", i);
            dukd_failure f = {0};
            done(dukd_image_create(&images[k], (int32_t)t.dims[1], (int32_t)t.dims[0], 8, &f), &f);
            memcpy(images[k].samples, t.data, (size_t)t.count);
        }
        const dukd_golden_tensor values = dukd_golden_f64(g, "values.%d", i);
        assert_int_equal(values.dims[1], 5);
        for (int64_t r = 0; r < values.dims[0]; r++) { /* crop; PSNR, SSIM by BasicSR; both in double */
            const double *v = (const double *)values.data + 5 * r;
            const double p = psnr(&images[0], &images[1], (int32_t)v[0], 1),
                         s = ssim(&images[0], &images[1], (int32_t)v[0], 1);
            near(p, v[1], v[1] < 60 ? 1e-4 : 1e-3);
            near(s, v[2], 1e-6);
            near(p, v[3], 1e-9);
            near(s, v[4], 1e-11);
            rows++;
        }
        dukd_image_free(&images[0]);
        dukd_image_free(&images[1]);
    }
    assert_int_equal(rows, 8);
    dukd_golden_close(g);
}

/* The "bicubic" row of the tables, with Y not rounded. The papers' 33.66, 30.39 and 28.42 are MATLAB's with Y rounded to 8 bits. */
static void test_set5_bicubic(void **state) {
    (void)state;
    static const char *const names[] = {"baby", "bird", "butterfly", "head", "woman"};
    static const double want[] = {33.677951, 30.404263, 28.430526};
    for (int32_t scale = 2; scale <= 4; scale++) {
        double mean = 0, mean_ssim = 0;
        for (int i = 0; i < 5; i++) {
            char path[1024], relative[128];
            dukd_image hr, lr, up;
            dukd_failure f = {0};
            snprintf(relative, sizeof relative, "data/Set5/HR/%s.png", names[i]);
            dukd_shared_path(path, sizeof path, relative);
            done(dukd_image_read(path, &hr, &f), &f);
            done(dukd_downscale(&hr, scale, 0, &lr, &f), &f);
            done(dukd_upscale_bicubic(&lr, scale, &up, &f), &f);
            dukd_image_cut(&hr, up.width, up.height);
            mean += psnr(&hr, &up, scale, 1) / 5;
            mean_ssim += ssim(&hr, &up, scale, 1) / 5;
            dukd_image_free(&hr);
            dukd_image_free(&lr);
            dukd_image_free(&up);
        }
        print_message("Set5 x%d bicubic: %.4f dB, SSIM %.4f\n", scale, mean, mean_ssim);
        near(mean, want[scale - 2], 1e-5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),      cmocka_unit_test(test_ssim_definition),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_golden),
        cmocka_unit_test(test_set5_bicubic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
