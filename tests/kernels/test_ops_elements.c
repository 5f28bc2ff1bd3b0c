/* The element-wise operations of engine/ops.h against libm in double: edge sizes, in place, sums, NaN and infinities; the
 * accuracy of GELU and sigmoid over their range; derivatives by differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops_case.h"

static const ops_size sizes[] = {{1, 1, 1, 1},  {2, 3, 5, 7},   {1, 16, 1, 1},  {1, 17, 3, 5},
                                 {3, 32, 2, 3}, {2, 5, 40, 70}, {2, 64, 12, 9}, {3, 180, 5, 17}};
#define EACH_SIZE sizes, (int)(sizeof sizes / sizeof *sizes)

static double gelu(double x) {
    return x / 2 * erfc(-x / sqrt(2));
}

static double gelu_slope(double x) {
    return erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double leaky(double x) {
    return x > 0 ? x : .2 * x;
}

static void run_leaky(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x) {
    dukd_run_leaky_relu(w, out, x, .2f);
}

typedef struct {
    const char *name;
    void (*run)(const dukd_worker *, const dukd_tensor *, const dukd_tensor *);
    double (*want)(double);
} function;

static const function functions[] = {
    {"leaky", run_leaky, leaky}, {"gelu", dukd_run_gelu, gelu}, {"sigmoid", dukd_run_sigmoid, sigmoid}};

static void check_functions(const ops_setting *setting, const ops_size *z) {
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        ops_setting s = *setting;
        dukd_tensor x = ops_random(&s, z, -6, 6), out = ops_tensor(&s, z->images, z->channels, z->h, z->w);
        double *want = ops_values(&x);
        for (int64_t i = 0; i < ops_count(&x); i++) want[i] = functions[f].want(want[i]);
        functions[f].run(&s.w, &out, &x);
        ops_check(functions[f].name, &out, want, 1e-6);
        functions[f].run(&s.w, &x, &x);
        ops_check("in place", &x, want, 1e-6);
        free(want);
        ops_free(&s, &x);
        ops_free(&s, &out);
    }
}

static double slope_of_gelu(double x) {
    return gelu_slope(x);
}

static double slope_of_sigmoid(double y) {
    return y * (1 - y);
}

static double slope_of_leaky(double y) {
    return y > 0 ? 1 : .2;
}

static void run_leaky_back(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *y) {
    dukd_run_leaky_relu_back(w, d, y, .2f);
}

static const function slopes[] = {{"leaky back", run_leaky_back, slope_of_leaky},
                                  {"gelu back", dukd_run_gelu_back, slope_of_gelu},
                                  {"sigmoid back", dukd_run_sigmoid_back, slope_of_sigmoid}};

static void check_slopes(const ops_setting *setting, const ops_size *z) {
    for (size_t f = 0; f < sizeof slopes / sizeof *slopes; f++) {
        ops_setting s = *setting;
        dukd_tensor d = ops_random(&s, z, -1, 1), x = ops_random(&s, z, -4, 4);
        double *want = ops_values(&d), *at = ops_values(&x);
        for (int64_t i = 0; i < ops_count(&d); i++) want[i] *= slopes[f].want(at[i]);
        slopes[f].run(&s.w, &d, &x);
        ops_check(slopes[f].name, &d, want, 1e-6);
        free(want);
        free(at);
        ops_free(&s, &d);
        ops_free(&s, &x);
    }
}

/* Relative error, element by element, over the whole range. */
static void check_accuracy(const ops_setting *setting, const ops_size *z) {
    ops_setting s = *setting;
    (void)z;
    if (s.type != DUKD_TYPE_F32) return;
    enum { COUNT = 40001 };
    dukd_tensor x = ops_tensor(&s, 1, 1, 1, COUNT), out = ops_tensor(&s, 1, 1, 1, COUNT);
    for (int i = 0; i < COUNT; i++) ops_set(&x, i, (i - COUNT / 2) * (8.9 / (COUNT / 2)));
    double *at = ops_values(&x);
    dukd_run_gelu(&s.w, &out, &x);
    double *got = ops_values(&out);
    for (int i = 0; i < COUNT; i++) {
        double want = gelu(at[i]), bound = 6e-7 * (1 + at[i] * at[i] / 16);
        if (fabs(got[i] - want) > bound * fabs(want))
            fail_msg("gelu(%.9g) = %.9g instead of %.9g: %.3g", at[i], got[i], want, got[i] / want - 1);
    }
    free(got);
    for (int i = 0; i < COUNT; i++) ops_set(&out, i, 1);
    dukd_run_gelu_back(&s.w, &out, &x);
    got = ops_values(&out);
    for (int i = 0; i < COUNT; i++)
        if (fabs(got[i] - gelu_slope(at[i])) > 3e-7)
            fail_msg("gelu'(%.9g) = %.9g instead of %.9g", at[i], got[i], gelu_slope(at[i]));
    free(got);
    for (int i = 0; i < COUNT; i++) ops_set(&x, i, at[i] * (87 / 8.9));
    free(at);
    at = ops_values(&x);
    dukd_run_sigmoid(&s.w, &out, &x);
    got = ops_values(&out);
    for (int i = 0; i < COUNT; i++)
        if (fabs(got[i] - sigmoid(at[i])) > 4e-7 * sigmoid(at[i]))
            fail_msg("sigmoid(%.9g) = %.9g instead of %.9g", at[i], got[i], sigmoid(at[i]));
    free(at);
    free(got);
    ops_free(&s, &x);
    ops_free(&s, &out);
}

static void check_specials(const ops_setting *setting, const ops_size *z) {
    ops_setting s = *setting;
    (void)z;
    ops_size seven = {1, 7, 1, 1};
    static const double values[7] = {0, -0., NAN, INFINITY, -INFINITY, 1e30, -1e30};
    static const double lows[2] = {0, .2};
    dukd_tensor x = ops_random(&s, &seven, 0, 1), out = ops_tensor(&s, 1, 7, 1, 1);
    for (int i = 0; i < 7; i++) ops_set(&x, i, values[i]);
    for (int k = 0; k < 2; k++) {
        double want[7];
        for (int i = 0; i < 7; i++) want[i] = values[i] > 0 ? values[i] : lows[k] * values[i];
        if (lows[k] == 0) want[4] = 0;
        dukd_run_leaky_relu(&s.w, &out, &x, (float)lows[k]);
        ops_check("leaky", &out, want, 1e-6);
    }
    dukd_run_sigmoid(&s.w, &out, &x);
    ops_check("sigmoid", &out, (const double[7]){.5, .5, NAN, 1, 0, 1, 0}, 1e-6);
    dukd_run_gelu(&s.w, &out, &x);
    double *got = ops_values(&out);
    assert_true(got[0] == 0 && got[1] == 0 && isnan(got[2]) && got[3] == (double)INFINITY);
    assert_true(got[5] > .99e30 && fabs(got[6]) < 1e-6);
    free(got);
    /* a NaN gradient stays one whatever it meets */
    for (int i = 0; i < 7; i++) ops_set(&out, i, NAN);
    for (int i = 0; i < 7; i++) ops_set(&x, i, .5);
    dukd_run_gelu_back(&s.w, &out, &x);
    dukd_run_sigmoid_back(&s.w, &out, &x);
    dukd_run_leaky_relu_back(&s.w, &out, &x, .2f);
    got = ops_values(&out);
    for (int i = 0; i < 7; i++) assert_true(isnan(got[i]));
    free(got);
    ops_free(&s, &x);
    ops_free(&s, &out);
}

static void check_products(const ops_setting *setting, const ops_size *z) {
    for (int variant = 0; variant < 8;
         variant++) { /* b: like a or of 1 x 1 pixels; addend: none or some; in place */
        ops_setting s = *setting;
        int small = variant & 1, added = variant & 2, in_place = variant & 4;
        ops_size of_b = small ? (ops_size){z->images, z->channels, 1, 1} : *z;
        dukd_tensor a = ops_random(&s, z, -2, 2), b = ops_random(&s, &of_b, -2, 2),
                    c = ops_random(&s, z, -2, 2);
        dukd_tensor out = ops_tensor(&s, z->images, z->channels, z->h, z->w);
        double *x = ops_values(&a), *y = ops_values(&b), *want = ops_values(&c);
        for (int64_t i = 0; i < ops_count(&a); i++) {
            int64_t n = i / z->channels / z->h / z->w, k = small ? n * z->channels + i % z->channels : i;
            want[i] = .3 * x[i] * y[k] + (added ? want[i] : 0);
        }
        const dukd_tensor *to = !in_place ? &out : added ? &c : &a;
        if (variant == 6) { /* a gradient added to what is there */
            dukd_run_mul_back(&s.w, &c, &a, &b, .3f, 1);
        } else {
            dukd_run_mul(&s.w, to, &a, &b, added ? &c : NULL, .3f);
        }
        ops_check("product", to, want, 5e-7);
        free(x);
        free(y);
        free(want);
        ops_free(&s, &a);
        ops_free(&s, &b);
        ops_free(&s, &c);
        ops_free(&s, &out);
    }
}

static void check_image_scale(const ops_setting *setting, const ops_size *z) {
    for (int sum = 0; sum < 2; sum++) {
        ops_setting s = *setting;
        dukd_tensor x = ops_random(&s, z, -2, 2), out = ops_random(&s, z, -2, 2);
        float *factors = ops_floats(&s, z->images, -2, 2);
        double *a = ops_values(&x), *want = ops_values(&out);
        for (int64_t i = 0; i < ops_count(&x); i++) {
            double v = (double)factors[i / z->channels / z->h / z->w] * a[i];
            want[i] = v + (sum ? want[i] : 0);
        }
        dukd_run_image_scale(&s.w, &out, &x, factors, sum);
        ops_check("image_scale", &out, want, 5e-7);
        free(a);
        free(want);
        ops_free_floats(&s, factors, z->images);
        ops_free(&s, &x);
        ops_free(&s, &out);
    }
}

static void test_functions(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 1, check_functions);
}

static void test_slopes(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 1, check_slopes);
}

static void test_accuracy(void **state) {
    (void)state;
    ops_for_each(sizes, 1, 0, check_accuracy);
}

static void test_specials(void **state) {
    (void)state;
    ops_for_each(sizes, 1, 0, check_specials);
}

static void test_products(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 1, check_products);
}

static void test_image_scale(void **state) {
    (void)state;
    ops_for_each(EACH_SIZE, 1, check_image_scale);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_functions), cmocka_unit_test(test_slopes),
                                       cmocka_unit_test(test_accuracy),  cmocka_unit_test(test_specials),
                                       cmocka_unit_test(test_products),  cmocka_unit_test(test_image_scale)};
    return cmocka_run_group_tests_name("ops_elements", tests, NULL, NULL);
}
