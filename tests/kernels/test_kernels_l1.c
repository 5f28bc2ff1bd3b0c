/* Kernel l1: the reference against naive code in double, the other levels against the reference.
 *
 * Tolerance: gradients are exact (a sum of signed factors, rounded once to f32 and once to the gradient's
 * type); a sum is within 2^-23 of the sum of the magnitudes that go into it, as differences are taken in f32.
 * Levels among themselves: the same bits. */
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

#define MAX_SAMPLES 4

typedef struct {
    int64_t shape[4]; /* of value */
    kernel_type value_type, target_type[2], grad_type;
    kernel_layout value_layout, target_layout[2], grad_layout;
    uint32_t n_targets;
    bool want_grad;
    uint32_t back[MAX_SAMPLES];
    bool use_back;
    double factor[2];
    uint64_t seed;
    bool not_finite; /* NaN, Inf and equal elements are strewn in */
} l1_case;

typedef struct {
    kernel_tensor value, target[2];
} l1_inputs;

static dukd_guard_side side_of(uint64_t seed) {
    return (seed & 1) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START;
}

static bool is_transposed(const l1_case *k) {
    return k->use_back && (k->back[0] & DUKD_AUGMENT_TRANSPOSE) != 0;
}

static void make_inputs(const l1_case *k, l1_inputs *in) {
    const int64_t turned[4] = {k->shape[0], k->shape[1], k->shape[3], k->shape[2]};
    kernel_tensor_make(&in->value, k->value_type, k->shape, k->value_layout, side_of(k->seed));
    kernel_tensor_fill(&in->value, k->seed, -0.25, 1.25, k->not_finite ? 0.25 : 0.0);
    for (uint32_t t = 0; t < 2; t++) {
        kernel_tensor_make(&in->target[t], k->target_type[t], is_transposed(k) ? turned : k->shape,
                           k->target_layout[t], side_of(k->seed >> (1 + t)));
        kernel_tensor_fill(&in->target[t], k->seed + 1 + t, 0.0, 1.0, k->not_finite ? 0.25 : 0.0);
    }
    if (!k->not_finite) return;
    const double strange[6] = {NAN, INFINITY, -INFINITY, -0.0, 1e-42, -NAN};
    for (uint64_t i = 0; i < 12; i++) {
        const uint64_t r = dukd_fill_bits(k->seed + 77, i);
        kernel_tensor *to = (r & 1) != 0 ? &in->value : &in->target[(r >> 1) & 1];
        kernel_tensor_set(to, (int64_t)((r >> 8) % (uint64_t)to->shape[0]),
                          (int64_t)((r >> 16) % (uint64_t)to->shape[1]),
                          (int64_t)((r >> 24) % (uint64_t)to->shape[2]),
                          (int64_t)((r >> 40) % (uint64_t)to->shape[3]), strange[(r >> 4) % 6]);
    }
}

static void free_inputs(l1_inputs *in) {
    kernel_tensor_free(&in->value);
    kernel_tensor_free(&in->target[0]);
    kernel_tensor_free(&in->target[1]);
}

static double sign_of(float x) {
    return isnan(x) ? (double)NAN : (double)((x > 0.0f) - (x < 0.0f));
}

/* The operation as the header describes it, element by element; expected[] is [n][c][h][w]. */
static void naive_l1(const l1_case *k, const l1_inputs *in, double sum[2], double magnitude[2],
                     double *expected) {
    sum[0] = sum[1] = magnitude[0] = magnitude[1] = 0.0;
    for (int64_t n = 0; n < k->shape[0]; n++) {
        const uint32_t back = k->use_back ? k->back[n] : 0;
        for (int64_t c = 0; c < k->shape[1]; c++) {
            for (int64_t h = 0; h < k->shape[2]; h++) {
                for (int64_t w = 0; w < k->shape[3]; w++) {
                    const float v = (float)kernel_tensor_get(&in->value, n, c, h, w);
                    const bool invert = (back & DUKD_AUGMENT_INVERT) != 0;
                    const float restored = invert ? 1.0f - v : v;
                    int64_t row, col;
                    kernel_augment_place(back, k->shape[2], k->shape[3], h, w, &row, &col);
                    float g = 0.0f;
                    for (uint32_t t = 0; t < k->n_targets; t++) {
                        const double y = kernel_tensor_get(&in->target[t], n, c, row, col);
                        sum[t] += fabs((double)restored - y);
                        magnitude[t] += fabs((double)restored) + fabs(y);
                        const double s = sign_of(restored - (float)y) * (invert ? -1.0 : 1.0);
                        const float part = s == 0.0 ? 0.0f : (float)s * (float)k->factor[t];
                        g = t == 0 ? part : g + part;
                    }
                    *expected++ = (double)g;
                }
            }
        }
    }
}

static bool same_number(double a, double b) {
    return (isnan(a) && isnan(b)) || a == b;
}

static void check_against_naive(const l1_case *k, const l1_inputs *in, const kernel_tensor *grad,
                                const double sum[2]) {
    double naive_sum[2], magnitude[2];
    double *expected =
        malloc((size_t)(k->shape[0] * k->shape[1] * k->shape[2] * k->shape[3]) * sizeof *expected);
    assert_non_null(expected);
    naive_l1(k, in, naive_sum, magnitude, expected);
    for (uint32_t t = 0; t < 2; t++) {
        if (t >= k->n_targets) {
            assert_true(sum[t] == 0.0);
        } else if (!isfinite(naive_sum[t])) {
            assert_true(same_number(sum[t], naive_sum[t]));
        } else {
            assert_true(fabs(sum[t] - naive_sum[t]) <= 0x1p-23 * magnitude[t]);
        }
    }
    const double *e = expected;
    for (int64_t n = 0; k->want_grad && n < k->shape[0]; n++) {
        for (int64_t c = 0; c < k->shape[1]; c++) {
            for (int64_t h = 0; h < k->shape[2]; h++) {
                for (int64_t w = 0; w < k->shape[3]; w++, e++) {
                    const double got = kernel_tensor_get(grad, n, c, h, w),
                                 want = kernel_round(*e, grad->type);
                    if (!same_number(got, want)) {
                        fail_msg("gradient at %d %d %d %d: got %.9g, want %.9g", (int)n, (int)c, (int)h,
                                 (int)w, got, want);
                    }
                }
            }
        }
    }
    free(expected);
}

static void describe(const l1_case *k, const char *level) {
    print_message("case: %s, shape %d %d %d %d, types %d %d %d %d, layouts %d %d %d %d, targets %u, gradient "
                  "%d, back %d: "
                  "%u %u %u %u, seed %llu, not finite %d\n",
                  level, (int)k->shape[0], (int)k->shape[1], (int)k->shape[2], (int)k->shape[3],
                  (int)k->value_type, (int)k->target_type[0], (int)k->target_type[1], (int)k->grad_type,
                  (int)k->value_layout, (int)k->target_layout[0], (int)k->target_layout[1],
                  (int)k->grad_layout, k->n_targets, k->want_grad, k->use_back, k->back[0], k->back[1],
                  k->back[2], k->back[3], (unsigned long long)k->seed, k->not_finite);
}

static void run_case(const l1_case *k) {
    l1_inputs in;
    make_inputs(k, &in);
    kernel_tensor grad[KERNEL_LEVELS] = {{.bytes = 0}};
    double sum[KERNEL_LEVELS][2];
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor_make(&grad[i], k->grad_type, k->shape, k->grad_layout, side_of(k->seed >> 4));
        dukd_l1_args a = {
            .value = &in.value.t,
            .grad = k->want_grad ? &grad[i].t : NULL,
            .target = {&in.target[0].t, k->n_targets > 1 ? &in.target[1].t : NULL},
            .factor = {k->factor[0], k->factor[1]},
            .n_targets = k->n_targets,
            .back = k->use_back ? k->back : NULL,
            .sum = {-1.0, -1.0},
        };
        dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
        const int32_t status = kernel_backends[i]->l1(kernel_backends[i], &a, &error);
        sum[i][0] = a.sum[0];
        sum[i][1] = a.sum[1];
        const bool same =
            i == 0 || ((memcmp(sum[i], sum[0], sizeof sum[0]) == 0 ||
                        (same_number(sum[i][0], sum[0][0]) && same_number(sum[i][1], sum[0][1]))) &&
                       kernel_tensor_same(&grad[i], &grad[0]));
        if (status != DUKD_OK || !same || !kernel_tensor_margins_whole(&grad[i])) {
            describe(k, kernel_levels[i]);
            assert_int_equal(status, DUKD_OK);
            assert_true(same);
            fail_msg("bytes outside the gradient were written");
        }
    }
    check_against_naive(k, &in, &grad[0], sum[0]);
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        kernel_tensor_free(&grad[i]);
    }
    free_inputs(&in);
}

static kernel_layout draw_layout(uint64_t seed, uint64_t i, kernel_layout below) {
    /* the dense ones more often: they take the short way only where all are so */
    const uint64_t r = dukd_fill_bits(seed, i);
    return (r & 3) == 0 ? KERNEL_DENSE : (kernel_layout)((r >> 2) % (uint64_t)below);
}

static l1_case draw_case(const int64_t shape[4], uint64_t seed) {
    l1_case k = {.seed = seed, .n_targets = 1 + (uint32_t)(dukd_fill_bits(seed, 1) % 2)};
    memcpy(k.shape, shape, sizeof k.shape);
    const uint64_t r = dukd_fill_bits(seed, 2);
    k.value_type = (kernel_type)(r % KERNEL_TYPES);
    k.target_type[0] = (r >> 8) % 2 != 0 ? k.value_type : (kernel_type)((r >> 9) % KERNEL_TYPES);
    k.target_type[1] = (r >> 16) % 2 != 0 ? k.value_type : (kernel_type)((r >> 17) % KERNEL_TYPES);
    k.grad_type = (r >> 24) % 2 != 0 ? k.value_type : KERNEL_F32;
    k.want_grad = (r >> 32) % 5 != 0;
    k.not_finite = (r >> 36) % 3 == 0;
    k.factor[0] = ldexp((double)(r >> 40), -30);
    k.factor[1] = (r >> 39) % 2 != 0 ? k.factor[0] : -0.375;
    k.value_layout = draw_layout(seed, 3, KERNEL_LAYOUTS);
    k.target_layout[0] = draw_layout(seed, 4, KERNEL_LAYOUTS);
    k.target_layout[1] = draw_layout(seed, 5, KERNEL_LAYOUTS);
    k.grad_layout = draw_layout(seed, 6, KERNEL_OUTPUTS);
    if ((r >> 60) % 4 == 0) { /* all alike */
        k.value_layout = k.target_layout[0] = k.target_layout[1] = k.grad_layout;
        k.target_type[0] = k.target_type[1] = k.value_type;
    }
    return k;
}

/* The edges of vectors (16), blocks (1024, 4096) and pieces (8192), primes, one row, one column. */
static const int64_t shapes[][4] = {
    {1, 1, 1, 1},    {1, 3, 1, 7},    {2, 1, 5, 1},   {1, 2, 3, 5},    {1, 3, 4, 4},    {2, 3, 13, 17},
    {4, 3, 16, 16},  {1, 2, 15, 33},  {3, 3, 24, 24}, {1, 3, 47, 47},  {1, 1, 2, 2800}, {1, 2, 97, 101},
    {2, 1, 9001, 1}, {1, 1, 1, 8192}, {1, 3, 64, 80}, {1, 1, 33, 300},
};

static void each_back_of_each_shape(void **state) {
    (void)state;
    uint64_t seed = 1000;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (uint32_t back = 0; back < 16; back++) {
            for (int repeat = 0; repeat < 5; repeat++) {
                l1_case k = draw_case(shapes[s], seed++);
                k.use_back = back != 0 || repeat % 2 != 0;
                for (int n = 0; n < MAX_SAMPLES; n++) {
                    /* samples differ, but in a batch that is not square all are transposed or none is */
                    const uint32_t other = (uint32_t)dukd_fill_bits(seed, 50 + (uint64_t)n) & 15u;
                    const uint32_t keep = shapes[s][2] == shapes[s][3] ? 0u : DUKD_AUGMENT_TRANSPOSE;
                    k.back[n] = n == 0 ? back : (other & ~keep) | (back & keep);
                }
                run_case(&k);
            }
        }
    }
}

static void each_layout_and_type(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 3, 19, 35};
    uint64_t seed = 90000;
    for (int value = 0; value < KERNEL_LAYOUTS; value++) {
        for (int target = 0; target < KERNEL_LAYOUTS; target++) {
            for (int grad = 0; grad < KERNEL_OUTPUTS; grad++) {
                l1_case k = draw_case(shape, seed++);
                k.value_layout = (kernel_layout)value;
                k.target_layout[0] = (kernel_layout)target;
                k.grad_layout = (kernel_layout)grad;
                k.want_grad = true;
                run_case(&k);
            }
        }
    }
    for (int value = 0; value < KERNEL_TYPES; value++) {
        for (int target = 0; target < KERNEL_TYPES * KERNEL_TYPES; target++) {
            for (int grad = 0; grad < 2; grad++) {
                l1_case k = draw_case(shape, seed++);
                k.value_layout = k.target_layout[0] = k.target_layout[1] = k.grad_layout = KERNEL_DENSE;
                k.value_type = (kernel_type)value;
                k.target_type[0] = (kernel_type)(target % KERNEL_TYPES);
                k.target_type[1] = (kernel_type)(target / KERNEL_TYPES);
                k.grad_type = grad != 0 ? KERNEL_F32 : k.value_type;
                k.n_targets = 2;
                k.want_grad = true;
                run_case(&k);
            }
        }
    }
}

/* Large enough for writing past the caches, and not a whole number of anything. */
static void larger_than_the_cache(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 3, 1021, 1031};
    for (int i = 0; i < 4; i++) {
        l1_case k = {
            .shape = {shape[0], shape[1], shape[2], shape[3]}, .n_targets = 2, .want_grad = true, .seed = 7};
        k.factor[0] = 1e-7;
        k.factor[1] = 3e-7;
        k.use_back = i >= 2;
        k.back[0] = DUKD_AUGMENT_FLIP_W;
        k.back[1] = DUKD_AUGMENT_INVERT;
        k.value_type = k.target_type[0] = k.target_type[1] = k.grad_type =
            i % 2 != 0 ? KERNEL_BF16 : KERNEL_F32;
        run_case(&k);
    }
}

static void no_target(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 3, 5, 37};
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        for (int layout = 0; kernel_backends[i] != NULL && layout < KERNEL_OUTPUTS; layout++) {
            for (int type = 0; type < KERNEL_TYPES; type++) {
                kernel_tensor value, grad;
                kernel_tensor_make(&value, (kernel_type)type, shape, KERNEL_DENSE, DUKD_GUARD_END);
                kernel_tensor_make(&grad, (kernel_type)type, shape, (kernel_layout)layout, DUKD_GUARD_END);
                kernel_tensor_fill(&value, 1, 0.0, 1.0, 0.0);
                kernel_tensor_fill(&grad, 2, 0.5, 1.0, 0.0);
                dukd_l1_args a = {.value = &value.t, .grad = &grad.t, .sum = {5.0, 5.0}};
                assert_int_equal(kernel_backends[i]->l1(kernel_backends[i], &a, NULL), DUKD_OK);
                assert_true(a.sum[0] == 0.0 && a.sum[1] == 0.0);
                for (int64_t e = 0; e < 2 * 3 * 5 * 37; e++) {
                    assert_int_equal(kernel_tensor_bits(&grad, e / 555, e / 185 % 3, e / 37 % 5, e % 37), 0);
                }
                assert_true(kernel_tensor_margins_whole(&grad));
                a.grad = NULL;
                assert_int_equal(kernel_backends[i]->l1(kernel_backends[i], &a, NULL), DUKD_OK);
                kernel_tensor_free(&value);
                kernel_tensor_free(&grad);
            }
        }
    }
}

/* By hand: 1 x 1 x 1 x 4, so that a mistake shared with the naive code above is seen. */
static void by_hand(void **state) {
    (void)state;
    const int64_t shape[4] = {1, 1, 1, 4};
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor value, target, grad;
        kernel_tensor_make(&value, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_make(&target, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_make(&grad, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        const double v[4] = {0.25, 0.5, 0.75, 1.0}, y[4] = {0.5, 0.5, 0.5, 0.5};
        for (int w = 0; w < 4; w++) {
            kernel_tensor_set(&value, 0, 0, 0, w, v[w]);
            kernel_tensor_set(&target, 0, 0, 0, w, y[w]);
        }
        kernel_tensor_set(&target, 0, 0, 0, 3, 0.0);
        const uint32_t back = DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_INVERT; /* B(v) = 0, .25, .5, .75 */
        dukd_l1_args a = {.value = &value.t,
                          .grad = &grad.t,
                          .target = {&target.t},
                          .factor = {2.0},
                          .n_targets = 1,
                          .back = &back};
        assert_int_equal(kernel_backends[i]->l1(kernel_backends[i], &a, NULL), DUKD_OK);
        assert_true(a.sum[0] == 0.5 + 0.25 + 0.0 + 0.75);
        const double want[4] = {-2.0, 0.0, 2.0, 2.0}; /* of v[0], which is B(v)[3], and so on */
        for (int w = 0; w < 4; w++) {
            assert_true(kernel_tensor_get(&grad, 0, 0, 0, w) == want[w]);
        }
        kernel_tensor_free(&value);
        kernel_tensor_free(&target);
        kernel_tensor_free(&grad);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(no_target),
        cmocka_unit_test(each_back_of_each_shape),
        cmocka_unit_test(each_layout_and_type),
        cmocka_unit_test(larger_than_the_cache),
    };
    return cmocka_run_group_tests(tests, kernel_backends_make, kernel_backends_free);
}
