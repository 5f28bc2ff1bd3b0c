/* Kernels product, transpose and signs: the reference against sums in double, the levels against the reference bit by bit, in memory
 * that ends where the matrices do. */
#include "cpu_features.h"
#include "cpu_kernels.h"
#include "support/fill.h"
#include "support/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static dukd_kernels levels[3];
static int n_levels;

static int find_levels(void **state) {
    (void)state;
    dukd_kernels_ref(&levels[0]);
    n_levels = 1;
#if defined(__x86_64__)
    if (dukd_cpu_has_avx2()) {
        levels[n_levels] = levels[0];
        dukd_kernels_avx2(&levels[n_levels++]);
    }
    if (dukd_cpu_has_avx512()) {
        levels[n_levels] = levels[0];
        dukd_kernels_avx512(&levels[n_levels++]);
    }
#endif
    if (n_levels < 3) print_message("SKIP: %d of 3 levels are on this machine\n", n_levels);
    return 0;
}

/* rows x cols, rows ld apart; the last row ends where memory does */
typedef struct {
    float *data;
    int64_t rows, cols, ld;
    size_t bytes;
} matrix;

static matrix matrix_make(int64_t rows, int64_t cols, int64_t gap, uint64_t seed) {
    matrix m = {.rows = rows, .cols = cols, .ld = cols + gap};
    m.bytes = (size_t)((rows - 1) * m.ld + cols) * sizeof(float);
    m.data = dukd_guard_alloc(m.bytes, DUKD_GUARD_END);
    assert_non_null(m.data);
    for (size_t i = 0; i < m.bytes / sizeof(float); i++)
        m.data[i] = (float)(dukd_fill_bits(seed, i) >> 40) * 0x1p-23f - 1.0f;
    return m;
}

static void matrix_free(matrix *m) {
    dukd_guard_free(m->data, m->bytes, DUKD_GUARD_END);
}

static void one_product(int64_t m, int64_t n, int64_t k, int64_t gap, bool accumulate, uint64_t seed) {
    matrix a = matrix_make(k, m, gap, seed), b = matrix_make(k, n, gap, seed + 1), c[3];
    for (int l = 0; l < n_levels; l++) {
        c[l] = matrix_make(m, n, gap, seed + 2);
        const matrix before = matrix_make(m, n, gap, seed + 2);
        const dukd_product_job job = {a.data, b.data, c[l].data, m, n, k, a.ld, b.ld, c[l].ld, accumulate};
        levels[l].product(&job);
        for (int64_t i = 0; i < m && l == 0; i++) {
            for (int64_t j = 0; j < n; j++) {
                double sum = accumulate ? (double)before.data[i * before.ld + j] : 0;
                for (int64_t p = 0; p < k; p++)
                    sum += (double)a.data[p * a.ld + i] * (double)b.data[p * b.ld + j];
                assert_true(fabs(sum - (double)c[0].data[i * c[0].ld + j]) <= 1e-6 * (double)(k + 1));
            }
        }
        for (int64_t i = 0; i + 1 < m; i++) /* nothing between the rows */
            assert_memory_equal(c[l].data + i * c[l].ld + n, before.data + i * c[l].ld + n,
                                (size_t)gap * sizeof(float));
        if (l > 0) assert_memory_equal(c[l].data, c[0].data, c[0].bytes);
        dukd_guard_free(before.data, before.bytes, DUKD_GUARD_END);
    }
    for (int l = 0; l < n_levels; l++) matrix_free(&c[l]);
    matrix_free(&a);
    matrix_free(&b);
}

static void products(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 2, 4, 5, 11, 12, 13, 16, 17, 31, 32, 33, 48, 63};
    const size_t n = sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < n * n; i++) {
        one_product(sizes[i / n], sizes[i % n], 1 + (int64_t)(i * 7 % 40), (int64_t)(i % 3), i % 2 == 0, i);
    }
    one_product(64, 256, 256, 16, true, 1000);
    one_product(256, 256, 64, 16, false, 1001);
}

static void transposes(void **state) {
    (void)state;
    for (int64_t rows = 1; rows < 40; rows += 3) {
        for (int64_t cols = 1; cols < 40; cols += 2) {
            matrix from = matrix_make(rows, cols, 2, 3);
            for (int l = 0; l < n_levels; l++) {
                matrix to = matrix_make(cols, rows, 1, 4);
                const dukd_transpose_job job = {from.data, to.data, rows, cols, from.ld, to.ld};
                levels[l].transpose(&job);
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = 0; j < cols; j++)
                        assert_true(to.data[j * to.ld + i] == from.data[i * from.ld + j]);
                matrix_free(&to);
            }
            matrix_free(&from);
        }
    }
}

static void signs(void **state) {
    (void)state;
    for (int64_t cols = 1; cols < 50; cols += 3) {
        matrix y = matrix_make(5, cols, 3, 6);
        double sums[3];
        matrix x[3];
        for (int l = 0; l < n_levels; l++) {
            x[l] = matrix_make(5, cols, 3, 7);
            for (int64_t i = 0; i < 5; i++)
                x[l].data[i * x[l].ld + i % cols] = y.data[i * y.ld + i % cols]; /* differences of 0 */
            if (cols > 20) x[l].data[x[l].ld + 17] = NAN;
            double want = 0;
            matrix before = matrix_make(5, cols, 3, 8);
            memcpy(before.data, x[l].data, before.bytes);
            const dukd_signs_job job = {x[l].data, y.data, 5, cols, y.ld};
            sums[l] = levels[l].signs(&job);
            for (int64_t i = 0; i < 5; i++) {
                for (int64_t j = 0; j < cols; j++) {
                    const float d = before.data[i * y.ld + j] - y.data[i * y.ld + j],
                                got = x[l].data[i * y.ld + j];
                    want += (double)fabsf(d);
                    assert_true(isnan(d) ? isnan(got) : got == (float)((d > 0) - (d < 0)));
                }
            }
            assert_true(isnan(want) ? isnan(sums[l]) : fabs(sums[l] - want) <= 1e-12 * (1 + want));
            if (l > 0 && !isnan(want)) assert_memory_equal(&sums[l], &sums[0], sizeof *sums);
            matrix_free(&before);
        }
        for (int l = 0; l < n_levels; l++) matrix_free(&x[l]);
        matrix_free(&y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(transposes),
                                       cmocka_unit_test(signs)};
    return cmocka_run_group_tests(tests, find_levels, NULL);
}
