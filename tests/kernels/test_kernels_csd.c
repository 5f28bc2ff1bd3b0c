/* Operations contrast and upscale, CSD's: against literal computations in double, finite differences, layouts and types, threads. */
#include "kernel_host.h"
#include "kernel_tensor.h"
#include "support/fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- contrast */

#define EACH(t, n, c, h, w)                                                                                  \
    for (int64_t n = 0; n < (t)->shape[0]; n++)                                                              \
        for (int64_t c = 0; c < (t)->shape[1]; c++)                                                          \
            for (int64_t h = 0; h < (t)->shape[2]; h++)                                                      \
                for (int64_t w = 0; w < (t)->shape[3]; w++)

static double sign_of(double x) {
    return (double)((x > 0) - (x < 0));
}

/* The two distances, and the ratio. */
static double ratio_of(const kernel_tensor *s, const kernel_tensor *t, const kernel_tensor *neg, double *to_t,
                       double *to_n) {
    const double elements = (double)(s->shape[0] * s->shape[1] * s->shape[2] * s->shape[3]);
    *to_t = *to_n = 0;
    EACH(s, n, c, h, w) {
        const double x = kernel_tensor_get(s, n, c, h, w);
        *to_t += fabs(kernel_tensor_get(t, n, c, h, w) - x) / elements;
        for (int64_t k = 0; k < neg->shape[0]; k++)
            *to_n += fabs(kernel_tensor_get(neg, k, c, h, w) - x) / (elements * (double)neg->shape[0]);
    }
    return *to_t / (*to_n + 1e-7);
}

static void check_contrast(dukd_backend *b, int64_t n, int64_t images, int64_t c, int64_t h, int64_t w,
                           int kind) {
    const double ulp[KERNEL_TYPES] = {1e-6, 0x1p-10, 0x1p-7}, factor = 1000;
    const int64_t shape[4] = {n, c, h, w}, negative_shape[4] = {images, c, h, w};
    const kernel_type type = (kernel_type)(kind % KERNEL_TYPES);
    const kernel_layout in = (kernel_layout)(kind % KERNEL_LAYOUTS),
                        out = (kernel_layout)(kind % KERNEL_OUTPUTS);
    kernel_tensor f[3], g[2];
    for (int i = 0; i < 3; i++) {
        kernel_tensor_make(&f[i], type, i < 2 ? shape : negative_shape, in,
                           i == 1 ? DUKD_GUARD_START : DUKD_GUARD_END);
        kernel_tensor_fill(&f[i], (uint64_t)(kind * 10 + i), 0.0, 1.0, 0.0);
        if (i < 2) kernel_tensor_make(&g[i], kind % 2 == 0 ? KERNEL_F32 : type, shape, out, DUKD_GUARD_END);
    }
    kernel_tensor_set(&f[1], 0, 0, 0, 0, kernel_tensor_get(&f[0], 0, 0, 0, 0)); /* a difference of 0 */
    dukd_contrast_args a = {.student = &f[0].t,
                            .teacher = &f[1].t,
                            .negatives = &f[2].t,
                            .grad_student = &g[0].t,
                            .grad_teacher = kind % 3 == 0 ? NULL : &g[1].t,
                            .factor = factor};
    assert_int_equal(b->contrast(b, &a, NULL), DUKD_OK);
    double to_t, to_n;
    const double ratio = ratio_of(&f[0], &f[1], &f[2], &to_t, &to_n), elements = (double)(n * c * h * w);
    assert_true(fabs(a.ratio - ratio) <= 1e-6 * ratio);
    const double each = factor / ((to_n + 1e-7) * elements), largest = each * (1 + ratio);
    EACH(&f[0], i, k, y, x) {
        const double s = kernel_tensor_get(&f[0], i, k, y, x), t = kernel_tensor_get(&f[1], i, k, y, x);
        double away = 0;
        for (int64_t m = 0; m < images; m++)
            away += sign_of(s - kernel_tensor_get(&f[2], m, k, y, x)) / (double)images;
        const double want = each * (sign_of(s - t) - ratio * away);
        assert_true(fabs(kernel_tensor_get(&g[0], i, k, y, x) - want) <= ulp[g[0].type] * largest);
        if (a.grad_teacher != NULL)
            assert_true(fabs(kernel_tensor_get(&g[1], i, k, y, x) - each * sign_of(t - s)) <=
                        ulp[g[1].type] * largest);
    }
    for (int i = 0; i < 2; i++) assert_true(kernel_tensor_margins_whole(&g[i]));
    for (int i = 0; i < 3; i++) kernel_tensor_free(&f[i]);
    for (int i = 0; i < 2; i++) kernel_tensor_free(&g[i]);
}

static void contrast(void **state) {
    (void)state;
    for (int kind = 0; kind < 24; kind++) {
        check_contrast(kernel_backends[0], 1 + kind % 3, 1 + kind % 4, 1 + kind % 5, 3 + kind, 7, kind);
        check_contrast(kernel_backends[0], 2, 3, 4, 61, 67, kind); /* more than a piece an image */
    }
}

/* The ratio moves with a random direction as the gradients say. */
static void contrast_differences(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 3, 6, 5}, negative_shape[4] = {3, 3, 6, 5};
    kernel_tensor f[3], g[2];
    for (int i = 0; i < 3; i++) {
        kernel_tensor_make(&f[i], KERNEL_F32, i < 2 ? shape : negative_shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_fill(&f[i], (uint64_t)i, 0.0, 1.0,
                           0x1p-8); /* on a grid: a smaller step meets no kink but at 0 */
        if (i < 2) kernel_tensor_make(&g[i], KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    }
    EACH(&f[0], n, c, h, w)
    kernel_tensor_set(&f[0], n, c, h, w, kernel_tensor_get(&f[0], n, c, h, w) + 0x1p-10);
    EACH(&f[1], n, c, h, w)
    kernel_tensor_set(&f[1], n, c, h, w, kernel_tensor_get(&f[1], n, c, h, w) + 0x1p-9);
    dukd_contrast_args a = {.student = &f[0].t,
                            .teacher = &f[1].t,
                            .negatives = &f[2].t,
                            .grad_student = &g[0].t,
                            .grad_teacher = &g[1].t,
                            .factor = 1};
    assert_int_equal(kernel_backends[0]->contrast(kernel_backends[0], &a, NULL), DUKD_OK);
    for (int which = 0; which < 2; which++) {
        EACH(&f[which], n, c, h, w) {
            const double at = kernel_tensor_get(&f[which], n, c, h, w), step = 0x1p-12;
            double x, y, moved[2];
            for (int side = 0; side < 2; side++) {
                kernel_tensor_set(&f[which], n, c, h, w, side == 0 ? at + step : at - step);
                moved[side] = ratio_of(&f[0], &f[1], &f[2], &x, &y);
            }
            kernel_tensor_set(&f[which], n, c, h, w, at);
            assert_true(fabs((moved[0] - moved[1]) / (2 * step) - kernel_tensor_get(&g[which], n, c, h, w)) <
                        1e-6);
        }
    }
    for (int i = 0; i < 3; i++) kernel_tensor_free(&f[i]);
    for (int i = 0; i < 2; i++) kernel_tensor_free(&g[i]);
}

static void contrast_shows_nan(void **state) {
    (void)state;
    const int64_t shape[4] = {1, 1, 4, 4};
    for (int which = 0; which < 3; which++) {
        kernel_tensor f[3], g;
        for (int i = 0; i < 3; i++) {
            kernel_tensor_make(&f[i], KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_fill(&f[i], (uint64_t)i, 0.0, 1.0, 0.0);
        }
        kernel_tensor_make(&g, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_set(&f[which], 0, 0, 1, 1, (double)NAN);
        dukd_contrast_args a = {
            .student = &f[0].t, .teacher = &f[1].t, .negatives = &f[2].t, .grad_student = &g.t, .factor = 1};
        assert_int_equal(kernel_backends[0]->contrast(kernel_backends[0], &a, NULL), DUKD_OK);
        assert_true(isnan(a.ratio));
        assert_true(isnan(kernel_tensor_get(&g, 0, 0, 1, 1)));
        for (int i = 0; i < 3; i++) kernel_tensor_free(&f[i]);
        kernel_tensor_free(&g);
    }
}

/* ---------------------------------------------------------------- upscale */

/* Keys' cubic with a = -0.75, as a table of polynomials. */
static double cubic(double x) {
    const double d = fabs(x);
    if (d < 1) return 1.25 * d * d * d - 2.25 * d * d + 1;
    if (d < 2) return -0.75 * d * d * d + 3.75 * d * d - 6 * d + 3;
    return 0;
}

static double pixel_of(const kernel_tensor *x, int64_t n, int64_t c, int64_t row, int64_t col,
                       int32_t scale) {
    const double y0 = ((double)row + 0.5) / scale - 0.5, x0 = ((double)col + 0.5) / scale - 0.5;
    double sum = 0;
    for (int64_t i = (int64_t)floor(y0) - 2; i <= (int64_t)floor(y0) + 3; i++) {
        for (int64_t j = (int64_t)floor(x0) - 2; j <= (int64_t)floor(x0) + 3; j++) {
            const int64_t h = i < 0 ? 0 : i < x->shape[2] ? i : x->shape[2] - 1;
            const int64_t w = j < 0 ? 0 : j < x->shape[3] ? j : x->shape[3] - 1;
            sum += cubic((double)i - y0) * cubic((double)j - x0) * kernel_tensor_get(x, n, c, h, w);
        }
    }
    return sum;
}

static void check_upscale(dukd_backend *b, int64_t n, int64_t images, int64_t h, int64_t w, int32_t scale,
                          int kind) {
    const double ulp[KERNEL_TYPES] = {0x1p-23, 0x1p-10, 0x1p-7};
    const int64_t shape[4] = {n, 3, h, w}, out_shape[4] = {images, 3, h * scale, w * scale};
    kernel_tensor lr, out;
    kernel_tensor_make(&lr, (kernel_type)(kind % KERNEL_TYPES), shape, (kernel_layout)(kind % KERNEL_LAYOUTS),
                       DUKD_GUARD_END);
    kernel_tensor_make(&out, lr.type, out_shape, (kernel_layout)(kind % KERNEL_OUTPUTS), DUKD_GUARD_START);
    kernel_tensor_fill(&lr, (uint64_t)kind, 0.0, 1.0, 0.0);
    const dukd_upscale_args a = {.lr = &lr.t, .out = &out.t, .scale = scale};
    assert_int_equal(b->upscale(b, &a, NULL), DUKD_OK);
    assert_true(kernel_tensor_margins_whole(&out));
    EACH(&out, i, c, y, x) {
        const double want = pixel_of(&lr, i, c, y, x, scale);
        assert_true(fabs(kernel_tensor_get(&out, i, c, y, x) - want) <= ulp[out.type] * 1.5);
    }
    kernel_tensor_free(&lr);
    kernel_tensor_free(&out);
}

static void upscale(void **state) {
    (void)state;
    for (int kind = 0; kind < 24; kind++) {
        check_upscale(kernel_backends[0], 3, 1 + kind % 3, 1 + kind % 7, 1 + kind % 5, 1 + kind % 4, kind);
    }
}

static void threads_change_no_bit(void **state) {
    (void)state;
    const int64_t shape[4] = {4, 3, 70, 66}, big[4] = {3, 3, 140, 132};
    kernel_tensor f[3], g[2], out[2];
    double ratio = 0;
    for (int i = 0; i < 3; i++) {
        kernel_tensor_make(&f[i], KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_fill(&f[i], (uint64_t)i, 0.0, 1.0, 0.0);
    }
    for (int i = 0; i < 2; i++) {
        kernel_tensor_make(&g[i], KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_make(&out[i], KERNEL_F32, big, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_host host;
        kernel_host_make(&host, i == 0 ? 1 : 5);
        dukd_backend *b = kernel_backend(NULL, &host.host);
        dukd_contrast_args a = {.student = &f[0].t,
                                .teacher = &f[1].t,
                                .negatives = &f[2].t,
                                .grad_student = &g[i].t,
                                .factor = 1};
        const dukd_upscale_args u = {.lr = &f[0].t, .out = &out[i].t, .scale = 2};
        assert_int_equal(b->contrast(b, &a, NULL), DUKD_OK);
        assert_int_equal(b->upscale(b, &u, NULL), DUKD_OK);
        b->destroy(b);
        assert_false(host.bad_worker);
        if (i == 0) {
            ratio = a.ratio;
            continue;
        }
        assert_true(host.tasks > 1);
        assert_memory_equal(&ratio, &a.ratio, sizeof ratio);
        assert_true(kernel_tensor_same(&g[0], &g[1]) && kernel_tensor_same(&out[0], &out[1]));
    }
    for (int i = 0; i < 3; i++) kernel_tensor_free(&f[i]);
    for (int i = 0; i < 2; i++) {
        kernel_tensor_free(&g[i]);
        kernel_tensor_free(&out[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contrast),
        cmocka_unit_test(contrast_differences),
        cmocka_unit_test(contrast_shows_nan),
        cmocka_unit_test(upscale),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, kernel_backends_make, kernel_backends_free);
}
