/* The operations of engine/ops.h that sum over channels or pixels, and runs of channels, against sums in double: layer norm,
 * means, deviations, gradients of channel factors; their backwards against the forwards' formulas and differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops_case.h"

static const ops_size sizes[] = {{1, 1, 1, 1},    {2, 3, 5, 7},   {1, 16, 16, 16}, {1, 17, 3, 5},
                                 {3, 32, 2, 3},   {2, 5, 40, 70}, {2, 64, 24, 23}, {1, 180, 9, 33},
                                 {2, 60, 16, 16}, {1, 130, 1, 65}};
#define EACH_SIZE sizes, (int)(sizeof sizes / sizeof *sizes)

static void check_copies(const ops_setting *setting, const ops_size *z) {
    for (int sum = 0; sum < 2; sum++) {
        ops_setting s = *setting;
        ops_size wider = *z;
        wider.channels += 5;
        dukd_tensor small = ops_random(&s, z, -2, 2), large = ops_random(&s, &wider, -2, 2);
        double *a = ops_values(&small), *b = ops_values(&large);
        for (int64_t i = 0; i < ops_count(&small); i++) {
            int64_t k = i / z->channels * wider.channels + 3 + i % z->channels;
            b[k] = a[i] + (sum ? b[k] : 0);
        }
        dukd_run_copy_channels(&s.w, &large, 3, &small, 0, z->channels, sum);
        ops_check("into", &large, b, 1e-7);
        free(b);
        b = ops_values(&large);
        for (int64_t i = 0; i < ops_count(&small); i++) {
            if (i % z->channels >= z->channels - 1) continue; /* the last is no part of the run */
            int64_t k = i / z->channels * wider.channels + 4 + i % z->channels;
            a[i] = b[k] + (sum ? a[i] : 0);
        }
        dukd_run_copy_channels(&s.w, &small, 0, &large, 4, z->channels - 1, sum);
        ops_check("out of", &small, a, 1e-7);
        free(a);
        free(b);
        ops_free(&s, &small);
        ops_free(&s, &large);
    }
}

/* ---- layer norm ---- */

static void norm_reference(double *y, double *stats, const double *x, const float *weight, const float *bias,
                           double eps, int64_t pixels, int64_t channels) {
    for (int64_t p = 0; p < pixels; p++) {
        double mean = 0, variance = 0;
        const double *a = x + p * channels;
        for (int64_t c = 0; c < channels; c++) mean += a[c] / (double)channels;
        for (int64_t c = 0; c < channels; c++) variance += (a[c] - mean) * (a[c] - mean) / (double)channels;
        stats[2 * p] = mean;
        stats[2 * p + 1] = 1 / sqrt(variance + eps);
        for (int64_t c = 0; c < channels; c++)
            y[p * channels + c] = (a[c] - mean) * stats[2 * p + 1] * (double)weight[c] + (double)bias[c];
    }
}

/* dx by the chain rule through mean and variance, term by term. */
static void norm_back_reference(double *dx, double *d_weight, double *d_bias, const double *d,
                                const double *x, const double *stats, const float *weight, int64_t pixels,
                                int64_t channels) {
    double n = (double)channels;
    for (int64_t p = 0; p < pixels; p++) {
        double mean = stats[2 * p], scale = stats[2 * p + 1], d_mean = 0, d_scale = 0;
        const double *a = x + p * channels, *g = d + p * channels;
        for (int64_t c = 0; c < channels; c++) {
            d_weight[c] += g[c] * (a[c] - mean) * scale;
            d_bias[c] += g[c];
            d_mean -= g[c] * (double)weight[c] * scale;
            d_scale += g[c] * (double)weight[c] * (a[c] - mean);
        }
        double d_variance = -d_scale * scale * scale * scale / 2;
        for (int64_t c = 0; c < channels; c++)
            dx[p * channels + c] +=
                g[c] * (double)weight[c] * scale + d_mean / n + d_variance * 2 * (a[c] - mean) / n;
    }
}

static void check_norm(const ops_setting *setting, const ops_size *z) {
    for (int sum = 0; sum < 2; sum++) {
        ops_setting s = *setting;
        int64_t pixels = (int64_t)z->images * z->h * z->w, channels = z->channels;
        dukd_tensor x = ops_random(&s, z, -1, 3), d = ops_random(&s, z, -1, 1), dx = ops_random(&s, z, -1, 1);
        dukd_tensor out = ops_tensor(&s, z->images, z->channels, z->h, z->w);
        float *weight = ops_floats(&s, channels, .5, 2), *bias = ops_floats(&s, channels, -1, 1);
        float *d_weight = ops_floats(&s, channels, -1, 1), *d_bias = ops_floats(&s, channels, -1, 1);
        float *stats = ops_floats(&s, 2 * pixels, 0, 1);
        double *a = ops_values(&x), *g = ops_values(&d), *want = ops_values(&x), *back = ops_values(&dx);
        double *wide_stats = ops_doubles(2 * pixels), *dw = ops_doubles(channels),
               *db = ops_doubles(channels);
        norm_reference(want, wide_stats, a, weight, bias, 1e-5, pixels, channels);
        dukd_run_layer_norm(&s.w, &out, &x, weight, bias, 1e-5f, sum ? NULL : stats);
        ops_check("norm", &out, want, channels > 1 ? 2e-6 : 1e-4);
        if (sum) dukd_run_layer_norm(&s.w, &out, &x, weight, bias, 1e-5f, stats);
        if (channels > 1) ops_check_floats("stats", stats, wide_stats, 2 * pixels, 2e-6);

        for (int64_t i = 0; i < ops_count(&dx) && !sum; i++) back[i] = 0;
        for (int64_t c = 0; c < channels; c++) {
            dw[c] = (double)d_weight[c];
            db[c] = (double)d_bias[c];
        }
        for (int64_t i = 0; i < 2 * pixels; i++) wide_stats[i] = (double)stats[i];
        norm_back_reference(back, dw, db, g, a, wide_stats, weight, pixels, channels);
        int64_t bytes = dukd_run_layer_norm_back_scratch(&d);
        void *scratch = ops_scratch(bytes);
        dukd_run_layer_norm_back(&s.w, &dx, &d, &x, weight, stats, d_weight, d_bias, sum, scratch);
        ops_free_scratch(scratch, bytes);
        if (channels > 1) ops_check("dx", &dx, back, 2e-6);
        ops_check_floats("d_weight", d_weight, dw, channels, 2e-6);
        ops_check_floats("d_bias", d_bias, db, channels, 2e-6);

        double *const gone[] = {a, g, want, back, wide_stats, dw, db};
        for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) free(gone[i]);
        float *const floats[] = {weight, bias, d_weight, d_bias};
        for (size_t i = 0; i < 4; i++) ops_free_floats(&s, floats[i], channels);
        ops_free_floats(&s, stats, 2 * pixels);
        dukd_tensor *const tensors[] = {&x, &d, &dx, &out};
        for (size_t i = 0; i < 4; i++) ops_free(&s, tensors[i]);
    }
}

/* A NaN spoils its pixel and no other; its gradient spoils the pixel's and the channels' sums. */
static void check_norm_nan(const ops_setting *setting, const ops_size *z) {
    ops_setting s = *setting;
    ops_size of = {1, z->channels, 2, 3};
    dukd_tensor x = ops_random(&s, &of, -1, 1), out = ops_tensor(&s, 1, of.channels, 2, 3);
    float *weight = ops_floats(&s, of.channels, 1, 2);
    ops_set(&x, 2 * of.channels, NAN);
    dukd_run_layer_norm(&s.w, &out, &x, weight, weight, 1e-5f, NULL);
    double *got = ops_values(&out);
    for (int64_t i = 0; i < ops_count(&out); i++) assert_int_equal(!!isnan(got[i]), i / of.channels == 2);
    free(got);
    ops_free_floats(&s, weight, of.channels);
    ops_free(&s, &x);
    ops_free(&s, &out);
}

/* ---- pools ---- */

/* Sums over the pixels of each image and channel, of f(i). */
#define OVER_PIXELS(want, z, value)                                                                          \
    for (int64_t i = 0; i < (int64_t)(z)->images * (z)->channels * (z)->h * (z)->w; i++)                     \
    (want)[i / (z)->channels / (z)->h / (z)->w * (z)->channels + i % (z)->channels] += (value)

static void check_mean(const ops_setting *setting, const ops_size *z) {
    ops_setting s = *setting;
    double pixels = (double)z->h * z->w;
    dukd_tensor x = ops_random(&s, z, -1, 3), dx = ops_random(&s, z, -1, 1);
    dukd_tensor mean = ops_tensor(&s, z->images, z->channels, 1, 1);
    dukd_tensor deviation = ops_tensor(&s, z->images, z->channels, 1, 1);
    double *a = ops_values(&x), *m = ops_doubles(ops_count(&mean)), *v = ops_doubles(ops_count(&mean));
    int64_t bytes = dukd_run_pool_scratch(&x);
    void *scratch = ops_scratch(bytes);
    OVER_PIXELS(m, z, a[i] / pixels);
    dukd_run_mean(&s.w, &mean, &x, scratch);
    ops_check("mean", &mean, m, 1e-6);
#define ITS_MEAN m[i / z->channels / z->h / z->w * z->channels + i % z->channels]
    OVER_PIXELS(v, z, (a[i] - ITS_MEAN) * (a[i] - ITS_MEAN) / pixels);
    for (int64_t i = 0; i < ops_count(&mean); i++) v[i] = sqrt(v[i]);
    dukd_run_deviation(&s.w, &deviation, &x, scratch);
    ops_check("deviation", &deviation, v, 2e-6);

    for (int sum = 0; sum < 2; sum++) {
        double *g = ops_values(&mean), *want = ops_values(&dx);
        for (int64_t i = 0; i < ops_count(&x); i++) {
            int64_t k = i / z->channels / z->h / z->w * z->channels + i % z->channels;
            want[i] = g[k] / pixels + (sum ? want[i] : 0);
        }
        dukd_run_mean_back(&s.w, &dx, &mean, sum);
        ops_check("mean back", &dx, want, 1e-6);
        free(want);
        want = ops_values(&dx);
        double *y = ops_values(&deviation);
        for (int64_t i = 0; i < ops_count(&x); i++) {
            int64_t k = i / z->channels / z->h / z->w * z->channels + i % z->channels;
            want[i] = (y[k] == 0 ? 0 : g[k] * (a[i] - m[k]) / (pixels * y[k])) + (sum ? want[i] : 0);
        }
        dukd_run_deviation_back(&s.w, &dx, &mean, &x, &deviation, sum, scratch);
        if (pixels > 1) ops_check("deviation back", &dx, want, 4e-6);
        free(want);
        free(y);
        free(g);
    }
    ops_free_scratch(scratch, bytes);
    free(a);
    free(m);
    free(v);
    ops_free(&s, &x);
    ops_free(&s, &dx);
    ops_free(&s, &mean);
    ops_free(&s, &deviation);
}

static void check_channel_gradient(const ops_setting *setting, const ops_size *z) {
    for (int sum = 0; sum < 2; sum++) {
        ops_setting s = *setting;
        ops_size one = {z->images, z->channels, 1, 1};
        dukd_tensor d = ops_random(&s, z, -1, 2), a = ops_random(&s, z, -1, 2),
                    db = ops_random(&s, &one, -1, 1);
        double *g = ops_values(&d), *x = ops_values(&a), *want = ops_values(&db);
        for (int64_t i = 0; i < ops_count(&db) && !sum; i++) want[i] = 0;
        OVER_PIXELS(want, z, .3 * g[i] * x[i]);
        int64_t bytes = dukd_run_mul_back_channels_scratch(&d);
        void *scratch = ops_scratch(bytes);
        dukd_run_mul_back_channels(&s.w, &db, &d, &a, .3f, sum, scratch);
        ops_free_scratch(scratch, bytes);
        ops_check("db", &db, want, 1e-6);
        free(g);
        free(x);
        free(want);
        ops_free(&s, &d);
        ops_free(&s, &a);
        ops_free(&s, &db);
    }
}

/* A constant channel has deviation 0 and gives no gradient; a NaN gives NaN to its own channel. */
static void check_pool_specials(const ops_setting *setting, const ops_size *z) {
    ops_setting s = *setting;
    ops_size of = {1, 16, 4, 5};
    (void)z;
    dukd_tensor x = ops_random(&s, &of, -1, 1), dx = ops_tensor(&s, 1, 16, 4, 5);
    dukd_tensor y = ops_tensor(&s, 1, 16, 1, 1), d = ops_tensor(&s, 1, 16, 1, 1);
    for (int i = 0; i < 20; i++) ops_set(&x, 16 * i + 3, .25);
    for (int i = 0; i < 16; i++) ops_set(&d, i, 1);
    ops_set(&x, 16 * 7 + 9, NAN);
    int64_t bytes = dukd_run_pool_scratch(&x);
    void *scratch = ops_scratch(bytes);
    dukd_run_mean(&s.w, &y, &x, scratch);
    double *got = ops_values(&y);
    for (int i = 0; i < 16; i++) assert_int_equal(!!isnan(got[i]), i == 9);
    free(got);
    dukd_run_deviation(&s.w, &y, &x, scratch);
    got = ops_values(&y);
    for (int i = 0; i < 16; i++) assert_int_equal(!!isnan(got[i]), i == 9);
    assert_true(got[3] == 0);
    free(got);
    dukd_run_deviation_back(&s.w, &dx, &d, &x, &y, 0, scratch);
    got = ops_values(&dx);
    for (int i = 0; i < 320; i++) {
        assert_int_equal(!!isnan(got[i]), i % 16 == 9);
        if (i % 16 == 3) assert_true(got[i] == 0);
    }
    free(got);
    ops_free_scratch(scratch, bytes);
    ops_free(&s, &x);
    ops_free(&s, &dx);
    ops_free(&s, &y);
    ops_free(&s, &d);
}

static void test_copies(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 0, check_copies);
}

static void test_norm(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 0, check_norm);
}

static void test_norm_nan(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 0, check_norm_nan);
}

static void test_pools(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 1, check_mean);
}

static void test_channel_gradient(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 1, check_channel_gradient);
}

static void test_pool_specials(void **state) {
    (void)state;
    ops_for_each(sizes + 2, 1, 1, check_pool_specials);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),           cmocka_unit_test(test_norm),
        cmocka_unit_test(test_norm_nan),         cmocka_unit_test(test_pools),
        cmocka_unit_test(test_channel_gradient), cmocka_unit_test(test_pool_specials)};
    return cmocka_run_group_tests_name("ops_channels", tests, NULL, NULL);
}
