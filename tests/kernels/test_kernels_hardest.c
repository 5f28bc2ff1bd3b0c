/* Operation hardest: against every window added up by itself. Errors are whole multiples of 1/64, so that
 * sums are exact and ties are real; the first of them in row order is wanted. */
#include "kernel_host.h"
#include "kernel_tensor.h"
#include "support/fill.h"
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MAX_IMAGES = 4 };

static void naive_hardest(const kernel_tensor *a, const kernel_tensor *b, int64_t n, int64_t wh, int64_t ww,
                          int32_t *row, int32_t *col) {
    double best = -1.0;
    for (int64_t r = 0; r + wh <= a->shape[2]; r++) {
        for (int64_t s = 0; s + ww <= a->shape[3]; s++) {
            double sum = 0.0;
            for (int64_t c = 0; c < a->shape[1]; c++) {
                for (int64_t e = 0; e < wh * ww; e++) {
                    const int64_t y = r + e / ww, x = s + e % ww;
                    sum += fabs(kernel_tensor_get(a, n, c, y, x) - kernel_tensor_get(b, n, c, y, x));
                }
            }
            if (sum <= best) continue;
            best = sum;
            *row = (int32_t)r;
            *col = (int32_t)s;
        }
    }
}

static void run_case(const int64_t shape[4], int32_t wh, int32_t ww, uint64_t seed, double high) {
    const uint64_t r = dukd_fill_bits(seed, 9);
    kernel_tensor a, b;
    kernel_tensor_make(&a, (kernel_type)(r % KERNEL_TYPES), shape, (kernel_layout)((r >> 8) % KERNEL_LAYOUTS),
                       DUKD_GUARD_END);
    kernel_tensor_make(&b, (kernel_type)((r >> 16) % KERNEL_TYPES), shape,
                       (kernel_layout)((r >> 24) % KERNEL_LAYOUTS),
                       (r >> 32) % 2 != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
    kernel_tensor_fill(&a, seed, 0.0, high, 0x1p-6);
    kernel_tensor_fill(&b, seed + 1, 0.0, 0.25, 0x1p-6);
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        int32_t row[MAX_IMAGES + 1], col[MAX_IMAGES + 1];
        row[shape[0]] = col[shape[0]] = -7;
        const dukd_hardest_args h = {&a.t, &b.t, wh, ww, row, col};
        assert_int_equal(kernel_backends[i]->hardest(kernel_backends[i], &h, NULL), DUKD_OK);
        assert_true(row[shape[0]] == -7 && col[shape[0]] == -7);
        for (int64_t n = 0; n < shape[0]; n++) {
            int32_t want_row = -1, want_col = -1;
            naive_hardest(&a, &b, n, wh, ww, &want_row, &want_col);
            assert_int_equal(row[n], want_row);
            assert_int_equal(col[n], want_col);
        }
    }
    kernel_tensor_free(&a);
    kernel_tensor_free(&b);
}

static void every_offset(void **state) {
    (void)state;
    const struct {
        int64_t shape[4];
        int32_t h, w;
    } cases[] = {
        {{1, 1, 1, 1}, 1, 1},    {{2, 3, 5, 7}, 2, 3},     {{2, 3, 5, 7}, 5, 7},     {{1, 3, 6, 6}, 1, 1},
        {{3, 3, 24, 24}, 8, 8},  {{1, 2, 17, 33}, 4, 16},  {{2, 1, 40, 19}, 13, 19}, {{1, 3, 9, 300}, 3, 100},
        {{1, 4, 33, 31}, 33, 2}, {{4, 3, 36, 36}, 12, 12}, {{1, 1, 2, 515}, 2, 257},
    };
    uint64_t seed = 40;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        for (int repeat = 0; repeat < 12; repeat++) {
            /* a small range makes many ties */
            run_case(cases[k].shape, cases[k].h, cases[k].w, seed, repeat % 3 == 0 ? 0.04 : 1.0);
            seed += 2;
        }
    }
}

/* A constant error: all windows tie. And a single pixel that differs: the first window that has it. */
static void ties_go_to_the_first(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 3, 20, 30};
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor a, b;
        kernel_tensor_make(&a, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_make(&b, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        for (int64_t e = 0; e < 2 * 3 * 600; e++) {
            kernel_tensor_set(&a, e / 1800, e / 600 % 3, e / 30 % 20, e % 30, 0.5);
            kernel_tensor_set(&b, e / 1800, e / 600 % 3, e / 30 % 20, e % 30, 0.25);
        }
        kernel_tensor_set(&b, 1, 2, 11, 17, 0.125);
        int32_t row[2], col[2];
        const dukd_hardest_args h = {&a.t, &b.t, 5, 7, row, col};
        assert_int_equal(kernel_backends[i]->hardest(kernel_backends[i], &h, NULL), DUKD_OK);
        assert_true(row[0] == 0 && col[0] == 0);
        assert_true(row[1] == 11 - 4 && col[1] == 17 - 6);
        kernel_tensor_free(&a);
        kernel_tensor_free(&b);
    }
}

/* What is not finite is the hardest there is; the offsets stay inside the image. */
static void not_finite_is_hardest(void **state) {
    (void)state;
    const int64_t shape[4] = {3, 2, 16, 18};
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor a, b;
        kernel_tensor_make(&a, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_make(&b, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_fill(&a, 1, 0.0, 1.0, 0.0);
        kernel_tensor_fill(&b, 2, 0.0, 1.0, 0.0);
        kernel_tensor_set(&a, 0, 1, 9, 10, NAN);
        kernel_tensor_set(&b, 1, 0, 2, 12, INFINITY);
        kernel_tensor_set(&b, 1, 0, 13, 3, NAN);
        for (int64_t e = 0; e < 2 * 16 * 18; e++) {
            kernel_tensor_set(&a, 2, e / 288, e / 18 % 16, e % 18, INFINITY); /* Inf - Inf too */
            kernel_tensor_set(&b, 2, e / 288, e / 18 % 16, e % 18, INFINITY);
        }
        int32_t row[3], col[3];
        const dukd_hardest_args h = {&a.t, &b.t, 4, 6, row, col};
        assert_int_equal(kernel_backends[i]->hardest(kernel_backends[i], &h, NULL), DUKD_OK);
        assert_true(row[0] == 9 - 3 && col[0] == 10 - 5);
        assert_true(row[1] == 0 && col[1] == 12 - 5);
        assert_true(row[2] == 0 && col[2] == 0);
        kernel_tensor_free(&a);
        kernel_tensor_free(&b);
    }
}

static void golden_maps(void **state) {
    (void)state;
    dukd_golden *g = dukd_golden_open("hardest");
    int maps = 0;
    for (; dukd_golden_has(g, "err.%d", maps); maps++) {
        const dukd_golden_tensor error = dukd_golden_f32(g, "err.%d", maps);
        const int32_t *window = dukd_golden_i32(g, "window.%d", maps).data,
                      *offset = dukd_golden_i32(g, "offset.%d", maps).data;
        const int64_t shape[4] = {1, 1, error.dims[0], error.dims[1]};
        for (int i = 0; i < KERNEL_LEVELS; i++) {
            if (kernel_backends[i] == NULL) continue;
            kernel_tensor a, b;
            kernel_tensor_make(&a, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_make(&b, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            memcpy(a.memory, error.data, a.bytes);
            memset(b.memory, 0, b.bytes);
            int32_t row = -1, col = -1;
            const dukd_hardest_args h = {&a.t, &b.t, window[0], window[1], &row, &col};
            assert_int_equal(kernel_backends[i]->hardest(kernel_backends[i], &h, NULL), DUKD_OK);
            assert_int_equal(row, offset[0]);
            assert_int_equal(col, offset[1]);
            kernel_tensor_free(&a);
            kernel_tensor_free(&b);
        }
    }
    assert_int_equal(maps, 5);
    dukd_golden_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_offset),
        cmocka_unit_test(ties_go_to_the_first),
        cmocka_unit_test(not_finite_is_hardest),
        cmocka_unit_test(golden_maps),
    };
    return cmocka_run_group_tests(tests, kernel_backends_make, kernel_backends_free);
}
