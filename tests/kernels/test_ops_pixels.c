/* Max pooling and bilinear resizing of engine/ops.h against plain loops in double, and their gradients: those of a sum of
 * products with d, found by the reference's own choice of pixels. Resizing also against numbers that PyTorch gave. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops_case.h"

static const ops_size sizes[] = {{1, 1, 7, 7}, {2, 3, 9, 12}, {1, 16, 15, 8}, {1, 17, 8, 9}, {2, 12, 33, 40}};
#define EACH_SIZE sizes, (int)(sizeof sizes / sizeof *sizes)

static int64_t at(const dukd_tensor *t, int64_t n, int64_t y, int64_t x, int64_t c) {
    return ((n * t->height + y) * t->width + x) * t->channels + c;
}

/* out (or NULL), and dx += d where the maximum is. */
static void pool_reference(const dukd_tensor *o, const dukd_tensor *x, const double *a, int kernel,
                           int stride, double *out, const double *d, double *dx) {
    for (int64_t n = 0; n < o->images; n++)
        for (int64_t y = 0; y < o->height; y++)
            for (int64_t w = 0; w < o->width; w++)
                for (int64_t c = 0; c < o->channels; c++) {
                    int64_t best = at(x, n, y * stride, w * stride, c);
                    for (int i = 0; i < kernel; i++)
                        for (int k = 0; k < kernel; k++) {
                            int64_t other = at(x, n, y * stride + i, w * stride + k, c);
                            if (a[other] > a[best] || isnan(a[other])) best = other;
                        }
                    out[at(o, n, y, w, c)] = a[best];
                    dx[best] += d[at(o, n, y, w, c)];
                }
}

static void check_pools(const ops_setting *setting, const ops_size *z) {
    static const int kernels[][2] = {{2, 2}, {7, 3}, {3, 1}, {2, 5}};
    for (int i = 0; i < 8; i++) {
        int kernel = kernels[i / 2][0], stride = kernels[i / 2][1], sum = i % 2;
        ops_setting s = *setting;
        ops_size small = {z->images, z->channels, (z->h - kernel) / stride + 1, (z->w - kernel) / stride + 1};
        dukd_tensor x = ops_random(&s, z, -1, 1), dx = ops_random(&s, z, -1, 1),
                    d = ops_random(&s, &small, -1, 1);
        dukd_tensor out = ops_tensor(&s, small.images, small.channels, small.h, small.w);
        for (int64_t k = 0; k < ops_count(&x); k += 3) ops_set(&x, k, .75); /* equals */
        ops_set(&x, ops_count(&x) / 2, NAN);
        double *a = ops_values(&x), *g = ops_values(&d), *back = ops_values(&dx);
        double *want = ops_doubles(ops_count(&out));
        for (int64_t k = 0; k < ops_count(&dx) && !sum; k++) back[k] = 0;
        pool_reference(&out, &x, a, kernel, stride, want, g, back);
        dukd_run_max_pool(&s.w, &out, &x, kernel, stride);
        ops_check("pool", &out, want, 0);
        int64_t bytes = dukd_run_max_pool_back_scratch(&d);
        void *scratch = ops_scratch(bytes);
        dukd_run_max_pool_back(&s.w, &dx, &d, &x, kernel, stride, sum, scratch);
        ops_free_scratch(scratch, bytes);
        ops_check("pool back", &dx, back, 1e-6);
        free(a);
        free(g);
        free(back);
        free(want);
        ops_free(&s, &x);
        ops_free(&s, &dx);
        ops_free(&s, &d);
        ops_free(&s, &out);
    }
}

/* Row o of the matrix that resizes a side. */
static void weights_of(double *row, int64_t o, int64_t in, int64_t out) {
    double from = fmax(((double)o + .5) * (double)in / (double)out - .5, 0);
    int64_t first = (int64_t)floor(from), second = first + 1 < in ? first + 1 : first;
    for (int64_t i = 0; i < in; i++) row[i] = 0;
    row[first] += 1 - (from - (double)first);
    row[second] += from - (double)first;
}

static void resize_reference(const dukd_tensor *o, const dukd_tensor *x, const double *a, double *out,
                             const double *d, double *dx) {
    double *down = ops_doubles(x->height), *across = ops_doubles(x->width);
    for (int64_t y = 0; y < o->height; y++) {
        weights_of(down, y, x->height, o->height);
        for (int64_t w = 0; w < o->width; w++) {
            weights_of(across, w, x->width, o->width);
            for (int64_t i = 0; i < x->height; i++)
                for (int64_t k = 0; k < x->width && down[i] != 0; k++)
                    for (int64_t n = 0; n < o->images && across[k] != 0; n++)
                        for (int64_t c = 0; c < o->channels; c++) {
                            out[at(o, n, y, w, c)] += down[i] * across[k] * a[at(x, n, i, k, c)];
                            dx[at(x, n, i, k, c)] += down[i] * across[k] * d[at(o, n, y, w, c)];
                        }
        }
    }
    free(down);
    free(across);
}

static void check_resize(const ops_setting *setting, const ops_size *z) {
    static const int32_t targets[][2] = {{1, 1}, {7, 9}, {20, 33}, {48, 5}, {61, 60}};
    for (int i = 0; i < 10; i++) {
        int sum = i % 2;
        ops_setting s = *setting;
        ops_size large = {z->images, z->channels, targets[i / 2][0], targets[i / 2][1]};
        dukd_tensor x = ops_random(&s, z, -1, 1), dx = ops_random(&s, z, -1, 1),
                    d = ops_random(&s, &large, -1, 1);
        dukd_tensor out = ops_tensor(&s, large.images, large.channels, large.h, large.w);
        double *a = ops_values(&x), *g = ops_values(&d), *back = ops_values(&dx);
        double *want = ops_doubles(ops_count(&out));
        for (int64_t k = 0; k < ops_count(&dx) && !sum; k++) back[k] = 0;
        resize_reference(&out, &x, a, want, g, back);
        dukd_run_resize(&s.w, &out, &x);
        ops_check("resize", &out, want, 1e-5); /* positions are f32, as in PyTorch */
        dukd_run_resize_back(&s.w, &dx, &d, sum);
        ops_check("resize back", &dx, back, 1e-5);
        free(a);
        free(g);
        free(back);
        free(want);
        ops_free(&s, &x);
        ops_free(&s, &dx);
        ops_free(&s, &d);
        ops_free(&s, &out);
    }
}

static void test_pools(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 0, check_pools);
}

static void test_resize(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 0, check_resize);
}

/* F.interpolate(torch.tensor([0., 1, 4, 9, 16]), size=8 and 3, mode="bilinear") along a row */
static void test_resize_pytorch(void **state) {
    (void)state;
    static const double up[8] = {0.0, 0.4375, 1.1875, 3.0625, 5.5625, 8.6875, 12.9375, 16.0},
                        down[3] = {0.3333333, 4.0, 13.666666};
    ops_setting s = {.w = {.isa = DUKD_ISA_BASE, .threads = 1}};
    dukd_tensor x = ops_tensor(&s, 1, 1, 1, 5), a = ops_tensor(&s, 1, 1, 1, 8),
                b = ops_tensor(&s, 1, 1, 1, 3);
    for (int i = 0; i < 5; i++) ops_set(&x, i, i * i);
    dukd_run_resize(&s.w, &a, &x);
    ops_check("8 of 5", &a, up, 1e-6);
    dukd_run_resize(&s.w, &b, &x);
    ops_check("3 of 5", &b, down, 1e-6);
    ops_free(&s, &x);
    ops_free(&s, &a);
    ops_free(&s, &b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pools), cmocka_unit_test(test_resize),
                                       cmocka_unit_test(test_resize_pytorch)};
    return cmocka_run_group_tests_name("ops_pixels", tests, NULL, NULL);
}
