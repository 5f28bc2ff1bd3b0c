/* Window attention of engine/ops.h against the formula of graph.h in double, forward and backward: windows of 2 to 16, heads of
 * 1 to 40 channels, with and without shift, one image and many; and that the backward is the forward's gradient, by finite
 * differences of the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops_case.h"

typedef struct {
    int32_t images, down, across, window, shift, heads, d;
} sample;

/* Everything in double; gradients may be NULL. */
typedef struct {
    sample z;
    int64_t h, w, c, tokens;
    const double *qkv, *table, *e;
    double *out, *d_qkv, *d_table;
} reference;

/* Pixel of token t of window (wy, wx) and the side of the seams that it comes from, as BasicSR rolls and masks. */
static int64_t token(const reference *r, int64_t n, int64_t wy, int64_t wx, int64_t t, int *region) {
    int64_t y = wy * r->z.window + t / r->z.window, x = wx * r->z.window + t % r->z.window, s = r->z.shift;
    *region = 0;
    if (s > 0) {
        int a = y < r->h - r->z.window ? 0 : y < r->h - s ? 1 : 2;
        int b = x < r->w - r->z.window ? 0 : x < r->w - s ? 1 : 2;
        *region = 3 * a + b;
    }
    return (n * r->h + (y + s) % r->h) * r->w + (x + s) % r->w;
}

static void head_of_window(const reference *r, int64_t n, int64_t wy, int64_t wx, int64_t head) {
    int64_t T = r->tokens, d = r->z.d, side = r->z.window, span = 2 * side - 1;
    int64_t pixel[256];
    int region[256];
    for (int64_t t = 0; t < T; t++) pixel[t] = token(r, n, wy, wx, t, &region[t]);
    double *p = ops_doubles(T), *dp = ops_doubles(T);
    for (int64_t i = 0; i < T; i++) {
        const double *q = r->qkv + pixel[i] * 3 * r->c + head * d;
        double top = -INFINITY, sum = 0, dot = 0;
        for (int64_t j = 0; j < T; j++) {
            const double *k = r->qkv + pixel[j] * 3 * r->c + r->c + head * d;
            int64_t row = (i / side - j / side + side - 1) * span + i % side - j % side + side - 1;
            double s = 0;
            for (int64_t c = 0; c < d; c++) s += q[c] * k[c];
            p[j] = s / sqrt((double)d) + r->table[row * r->z.heads + head];
            if (region[i] != region[j]) p[j] -= 100;
            if (!(p[j] <= top)) top = p[j];
        }
        for (int64_t j = 0; j < T; j++) sum += p[j] = exp(p[j] - top);
        for (int64_t j = 0; j < T; j++) {
            const double *v = r->qkv + pixel[j] * 3 * r->c + 2 * r->c + head * d;
            p[j] /= sum;
            for (int64_t c = 0; c < d; c++) r->out[pixel[i] * r->c + head * d + c] += p[j] * v[c];
        }
        if (!r->e) continue;
        const double *e = r->e + pixel[i] * r->c + head * d;
        for (int64_t j = 0; j < T; j++) {
            const double *v = r->qkv + pixel[j] * 3 * r->c + 2 * r->c + head * d;
            dp[j] = 0;
            for (int64_t c = 0; c < d; c++) {
                dp[j] += e[c] * v[c];
                r->d_qkv[pixel[j] * 3 * r->c + 2 * r->c + head * d + c] += p[j] * e[c];
            }
            dot += p[j] * dp[j];
        }
        for (int64_t j = 0; j < T; j++) {
            double ds = p[j] * (dp[j] - dot);
            const double *k = r->qkv + pixel[j] * 3 * r->c + r->c + head * d;
            int64_t row = (i / side - j / side + side - 1) * span + i % side - j % side + side - 1;
            r->d_table[row * r->z.heads + head] += ds;
            for (int64_t c = 0; c < d; c++) {
                r->d_qkv[pixel[i] * 3 * r->c + head * d + c] += ds * k[c] / sqrt((double)d);
                r->d_qkv[pixel[j] * 3 * r->c + r->c + head * d + c] += ds * q[c] / sqrt((double)d);
            }
        }
    }
    free(p);
    free(dp);
}

static void run_reference(const reference *r) {
    for (int64_t n = 0; n < r->z.images; n++)
        for (int64_t wy = 0; wy < r->z.down; wy++)
            for (int64_t wx = 0; wx < r->z.across; wx++)
                for (int64_t head = 0; head < r->z.heads; head++) head_of_window(r, n, wy, wx, head);
}

static int64_t table_size(const sample *z) {
    return (2 * (int64_t)z->window - 1) * (2 * z->window - 1) * z->heads;
}

static reference prepare(const sample *z) {
    reference r = {.z = *z,
                   .h = (int64_t)z->down * z->window,
                   .w = (int64_t)z->across * z->window,
                   .c = (int64_t)z->heads * z->d,
                   .tokens = (int64_t)z->window * z->window};
    r.out = ops_doubles(z->images * r.h * r.w * r.c);
    r.d_qkv = ops_doubles(z->images * r.h * r.w * r.c * 3);
    r.d_table = ops_doubles(table_size(z));
    return r;
}

static void drop(reference *r) {
    free(r->out);
    free(r->d_qkv);
    free(r->d_table);
}

static const sample samples[] = {
    {1, 1, 1, 2, 0, 1, 1},  {2, 3, 2, 2, 1, 2, 3},   {1, 2, 2, 7, 3, 3, 17}, {2, 2, 3, 8, 4, 6, 10},
    {1, 2, 2, 8, 4, 2, 30}, {1, 3, 1, 8, 0, 1, 32},  {1, 2, 2, 16, 8, 2, 5}, {1, 1, 2, 9, 8, 1, 40},
    {3, 5, 5, 4, 2, 2, 16}, {1, 1, 1, 10, 0, 2, 33},
};

static void check_sample(const ops_setting *setting, const ops_size *size) {
    ops_setting s = *setting;
    sample z = samples[size->images];
    reference r = prepare(&z);
    ops_size of_out = {z.images, (int32_t)r.c, (int32_t)r.h, (int32_t)r.w}, of_qkv = of_out;
    of_qkv.channels *= 3;
    dukd_tensor qkv = ops_random(&s, &of_qkv, -2, 2), e = ops_random(&s, &of_out, -1, 1);
    dukd_tensor out = ops_tensor(&s, of_out.images, of_out.channels, of_out.h, of_out.w);
    dukd_tensor d_qkv = ops_tensor(&s, of_qkv.images, of_qkv.channels, of_qkv.h, of_qkv.w);
    float *table = ops_floats(&s, table_size(&z), -1, 1), *d_table = ops_floats(&s, table_size(&z), -1, 1);
    double *wide_table = ops_doubles(table_size(&z));
    for (int64_t i = 0; i < table_size(&z); i++) {
        wide_table[i] = (double)table[i];
        r.d_table[i] = (double)d_table[i];
    }
    r.qkv = ops_values(&qkv);
    r.e = ops_values(&e);
    r.table = wide_table;
    run_reference(&r);

    dukd_attention a = {.heads = z.heads, .window = z.window, .shift = z.shift, .table = table};
    int64_t bytes = dukd_run_attention_scratch(&s.w, &qkv, &a);
    void *scratch = ops_scratch(bytes);
    dukd_run_attention(&s.w, &out, &qkv, &a, scratch);
    ops_free_scratch(scratch, bytes);
    /* Products of bf16 round the softmax and its gradient, and its powers of two are good to 8e-5. */
    int pairs = s.w.isa == DUKD_ISA_AVX512_BF16 && s.type == DUKD_TYPE_BF16;
    ops_check("out", &out, r.out, pairs ? 1. / 500 : 2e-6);

    bytes = dukd_run_attention_back_scratch(&s.w, &qkv, &a);
    scratch = ops_scratch(bytes);
    dukd_run_attention_back(&s.w, &d_qkv, &e, &qkv, &a, d_table, scratch);
    ops_free_scratch(scratch, bytes);
    ops_check("d_qkv", &d_qkv, r.d_qkv, pairs ? 1. / 200 : 4e-6);
    ops_check_floats("d_table", d_table, r.d_table, table_size(&z), pairs ? 1. / 5000 : 4e-6);

    ops_free(&s, &qkv);
    ops_free(&s, &e);
    ops_free(&s, &out);
    ops_free(&s, &d_qkv);
    ops_free_floats(&s, table, table_size(&z));
    ops_free_floats(&s, d_table, table_size(&z));
    free((void *)(uintptr_t)r.qkv);
    free((void *)(uintptr_t)r.e);
    free(wide_table);
    drop(&r);
}

static void test_against_reference(void **state) {
    (void)state;
    ops_size sizes[sizeof samples / sizeof *samples];
    for (int i = 0; i < (int)(sizeof samples / sizeof *samples); i++) sizes[i] = (ops_size){i, 1, 1, 1};
    ops_for_each(sizes, (int)(sizeof samples / sizeof *samples), 0, check_sample);
}

/* The reference's backward is its forward's gradient. */
static void test_reference_gradient(void **state) {
    (void)state;
    sample z = {1, 2, 1, 3, 1, 2, 3};
    reference r = prepare(&z);
    int64_t outs = r.h * r.w * r.c, n = 3 * outs, t = table_size(&z);
    double *x = ops_doubles(n + t), *e = ops_doubles(outs);
    for (int64_t i = 0; i < n + t; i++) x[i] = sin(1.7 * (double)i);
    for (int64_t i = 0; i < outs; i++) e[i] = cos(2.3 * (double)i);
    r.qkv = x;
    r.table = x + n;
    r.e = e;
    run_reference(&r);
    for (int64_t i = 0; i < n + t; i++) {
        double sides[2];
        for (int side = 0; side < 2; side++) {
            reference other = prepare(&z);
            double kept = x[i];
            other.qkv = x;
            other.table = x + n;
            x[i] += side ? 1e-5 : -1e-5;
            run_reference(&other);
            x[i] = kept;
            sides[side] = 0;
            for (int64_t k = 0; k < outs; k++) sides[side] += e[k] * other.out[k];
            drop(&other);
        }
        double slope = (sides[1] - sides[0]) / 2e-5, got = i < n ? r.d_qkv[i] : r.d_table[i - n];
        if (fabs(slope - got) > 1e-7) fail_msg("%lld: %.9g instead of %.9g", (long long)i, got, slope);
    }
    free(x);
    free(e);
    drop(&r);
}

/* A NaN in one window reaches the window's outputs and no other's. */
static void check_nan(const ops_setting *setting, const ops_size *size) {
    ops_setting s = *setting;
    (void)size;
    ops_size of_qkv = {1, 3 * 20, 8, 16};
    dukd_tensor qkv = ops_random(&s, &of_qkv, -1, 1), out = ops_tensor(&s, 1, 20, 8, 16);
    float *table = ops_floats(&s, 15 * 15 * 2, -1, 1);
    dukd_attention a = {.heads = 2, .window = 8, .table = table};
    for (int part = 0; part < 3; part++) { /* q, k, v of head 0, pixel (2, 3) */
        int64_t at = (2 * 16 + 3) * 60 + part * 20 + 4;
        double *before = ops_values(&qkv);
        ops_set(&qkv, at, NAN);
        int64_t bytes = dukd_run_attention_scratch(&s.w, &qkv, &a);
        void *scratch = ops_scratch(bytes);
        dukd_run_attention(&s.w, &out, &qkv, &a, scratch);
        ops_free_scratch(scratch, bytes);
        double *got = ops_values(&out);
        for (int64_t i = 0; i < ops_count(&out); i++) {
            int64_t c = i % 20, x = i / 20 % 16, y = i / 320;
            int hit = x < 8 && c < 10;
            if (part == 0) hit = hit && x == 3 && y == 2;
            if (part == 2) hit = hit && c == 4;
            assert_int_equal(!!isnan(got[i]), hit);
        }
        ops_set(&qkv, at, before[at]);
        free(before);
        free(got);
    }
    ops_free(&s, &qkv);
    ops_free(&s, &out);
    ops_free_floats(&s, table, 15 * 15 * 2);
}

static void test_nan(void **state) {
    (void)state;
    ops_size size = {1, 1, 1, 1};
    ops_for_each(&size, 1, 0, check_nan);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference_gradient),
                                       cmocka_unit_test(test_against_reference), cmocka_unit_test(test_nan)};
    return cmocka_run_group_tests_name("ops_attention", tests, NULL, NULL);
}
