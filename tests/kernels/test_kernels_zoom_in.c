/* Operation zoom in: windows and their augmentations. What is only moved must be the same bits, NaN and its
 * payload included; an inverted pixel is 1 - x, rounded once to f32 and once to the type. */
#include "kernel_host.h"
#include "kernel_tensor.h"
#include "support/fill.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MAX_CROPS = 6 };

typedef struct {
    int64_t n, c, height, width; /* of HR */
    int64_t h, w;                /* of the window */
    int64_t crops;
    kernel_type type;
    kernel_layout hr_layout, plain_layout, augmented_layout;
    bool want_plain, want_augmented;
    int32_t image[MAX_CROPS], row[MAX_CROPS], col[MAX_CROPS];
    uint32_t augment[MAX_CROPS];
    uint64_t seed;
} zoom_case;

static void check_plain(const zoom_case *z, const kernel_tensor *hr, const kernel_tensor *plain) {
    for (int64_t k = 0; k < z->crops; k++) {
        for (int64_t c = 0; c < z->c; c++) {
            for (int64_t i = 0; i < z->h * z->w; i++) {
                const int64_t h = i / z->w, w = i % z->w;
                assert_int_equal(kernel_tensor_bits(plain, k, c, h, w),
                                 kernel_tensor_bits(hr, z->image[k], c, z->row[k] + h, z->col[k] + w));
            }
        }
    }
}

static void check_augmented(const zoom_case *z, const kernel_tensor *hr, const kernel_tensor *augmented) {
    for (int64_t k = 0; k < z->crops; k++) {
        for (int64_t c = 0; c < z->c; c++) {
            for (int64_t i = 0; i < z->h * z->w; i++) {
                const int64_t h = i / z->w, w = i % z->w;
                int64_t row, col;
                kernel_augment_place(z->augment[k], z->h, z->w, h, w, &row, &col);
                if ((z->augment[k] & DUKD_AUGMENT_INVERT) == 0) {
                    assert_int_equal(kernel_tensor_bits(augmented, k, c, row, col),
                                     kernel_tensor_bits(hr, z->image[k], c, z->row[k] + h, z->col[k] + w));
                    continue;
                }
                const double x = kernel_tensor_get(hr, z->image[k], c, z->row[k] + h, z->col[k] + w);
                const double want = kernel_round((double)(1.0f - (float)x), z->type);
                const double got = kernel_tensor_get(augmented, k, c, row, col);
                assert_true(got == want || (isnan(got) && isnan(want)));
            }
        }
    }
}

static void run_case(const zoom_case *z) {
    const bool turned = (z->augment[0] & DUKD_AUGMENT_TRANSPOSE) != 0;
    const int64_t hr_shape[4] = {z->n, z->c, z->height, z->width}, shape[4] = {z->crops, z->c, z->h, z->w};
    const int64_t augmented_shape[4] = {z->crops, z->c, turned ? z->w : z->h, turned ? z->h : z->w};
    kernel_tensor hr;
    kernel_tensor_make(&hr, z->type, hr_shape, z->hr_layout,
                       (z->seed & 1) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
    kernel_tensor_fill(&hr, z->seed, 0.0, 1.0, 0.0);
    kernel_tensor_set(&hr, z->n - 1, 0, z->height / 2, z->width / 2, NAN);
    kernel_tensor_set(&hr, z->n - 1, z->c - 1, z->height - 1, z->width - 1, -INFINITY);
    kernel_tensor first_plain = {.bytes = 0}, first_augmented = {.bytes = 0};
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor plain, augmented;
        kernel_tensor_make(&plain, z->type, shape, z->plain_layout,
                           (z->seed & 2) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
        kernel_tensor_make(&augmented, z->type, augmented_shape, z->augmented_layout,
                           (z->seed & 4) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
        const dukd_zoom_in_args a = {&hr.t,
                                     z->want_plain ? &plain.t : NULL,
                                     z->want_augmented ? &augmented.t : NULL,
                                     z->image,
                                     z->row,
                                     z->col,
                                     z->augment};
        assert_int_equal(kernel_backends[i]->zoom_in(kernel_backends[i], &a, NULL), DUKD_OK);
        if (z->want_plain) check_plain(z, &hr, &plain);
        if (z->want_augmented) check_augmented(z, &hr, &augmented);
        assert_true(kernel_tensor_margins_whole(&plain));
        assert_true(kernel_tensor_margins_whole(&augmented));
        if (i == 0) {
            first_plain = plain;
            first_augmented = augmented;
            continue;
        }
        assert_true(kernel_tensor_same(&plain, &first_plain));
        assert_true(kernel_tensor_same(&augmented, &first_augmented));
        kernel_tensor_free(&plain);
        kernel_tensor_free(&augmented);
    }
    kernel_tensor_free(&first_plain);
    kernel_tensor_free(&first_augmented);
    kernel_tensor_free(&hr);
}

static zoom_case draw_case(int64_t h, int64_t w, uint64_t seed, uint32_t augment) {
    zoom_case z = {.n = 3,
                   .c = 1 + (int64_t)(seed % 3),
                   .height = 2 * h + 1,
                   .width = w + 5,
                   .h = h,
                   .w = w,
                   .seed = seed};
    const uint64_t r = dukd_fill_bits(seed, 1);
    z.crops = 1 + (int64_t)(r % MAX_CROPS);
    z.type = (kernel_type)((r >> 8) % KERNEL_TYPES);
    z.hr_layout = (kernel_layout)((r >> 16) % KERNEL_LAYOUTS);
    z.plain_layout = (r >> 32) % 2 != 0 ? KERNEL_DENSE_NULL : (kernel_layout)((r >> 24) % KERNEL_OUTPUTS);
    z.augmented_layout = (r >> 33) % 2 != 0 ? KERNEL_DENSE_NULL : (kernel_layout)((r >> 28) % KERNEL_OUTPUTS);
    z.want_plain = (r >> 40) % 4 != 0;
    z.want_augmented = !z.want_plain || (r >> 42) % 4 != 0;
    for (uint64_t k = 0; k < MAX_CROPS; k++) {
        const uint64_t d = dukd_fill_bits(seed, 10 + k);
        z.image[k] = (int32_t)(d % 3);
        z.row[k] = (int32_t)((d >> 8) % (uint64_t)(z.height - h + 1));
        z.col[k] = (int32_t)((d >> 24) % (uint64_t)(z.width - w + 1));
        const uint32_t keep = h == w ? 0u : DUKD_AUGMENT_TRANSPOSE; /* a batch has one shape */
        z.augment[k] = k == 0 ? augment : (((uint32_t)(d >> 40) & 15u & ~keep) | (augment & keep));
    }
    z.row[0] = (int32_t)(z.height - h); /* the last window there is */
    z.col[0] = (int32_t)(z.width - w);
    return z;
}

static void each_augmentation_of_each_size(void **state) {
    (void)state;
    const int64_t sizes[][2] = {{1, 1},   {1, 9},   {9, 1},   {5, 7},    {16, 16}, {17, 17},
                                {15, 33}, {24, 24}, {48, 48}, {31, 130}, {300, 40}};
    uint64_t seed = 1;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (uint32_t augment = 0; augment < 16; augment++) {
            for (int repeat = 0; repeat < 4; repeat++) {
                const zoom_case z = draw_case(sizes[s][0], sizes[s][1], seed++, augment);
                run_case(&z);
            }
        }
    }
}

static void each_layout(void **state) {
    (void)state;
    uint64_t seed = 7000;
    for (int hr = 0; hr < KERNEL_LAYOUTS; hr++) {
        for (int made = 0; made < KERNEL_OUTPUTS; made++) {
            for (uint32_t augment = 0; augment < 16; augment++) {
                zoom_case z = draw_case(19, 19, seed++, augment);
                z.hr_layout = (kernel_layout)hr;
                z.plain_layout = z.augmented_layout = (kernel_layout)made;
                run_case(&z);
            }
        }
    }
}

/* By hand: 2 x 3 numbers turned by each augmentation. */
static void by_hand(void **state) {
    (void)state;
    static const struct {
        uint32_t augment;
        double want[6]; /* of 0 1 2 / 3 4 5, divided by 8 */
    } turned[8] = {
        {0, {0, 1, 2, 3, 4, 5}},
        {DUKD_AUGMENT_FLIP_W, {2, 1, 0, 5, 4, 3}},
        {DUKD_AUGMENT_FLIP_H, {3, 4, 5, 0, 1, 2}},
        {DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_FLIP_H, {5, 4, 3, 2, 1, 0}},
        {DUKD_AUGMENT_TRANSPOSE, {0, 3, 1, 4, 2, 5}},
        {DUKD_AUGMENT_TRANSPOSE | DUKD_AUGMENT_FLIP_W,
         {2, 5, 1, 4, 0, 3}}, /* a quarter turn counter-clockwise */
        {DUKD_AUGMENT_TRANSPOSE | DUKD_AUGMENT_FLIP_H, {3, 0, 4, 1, 5, 2}}, /* clockwise */
        {DUKD_AUGMENT_INVERT, {8, 7, 6, 5, 4, 3}},
    };
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        for (int k = 0; kernel_backends[i] != NULL && k < 8; k++) {
            const bool transposed = (turned[k].augment & DUKD_AUGMENT_TRANSPOSE) != 0;
            const int64_t shape[4] = {1, 1, 2, 3}, other[4] = {1, 1, transposed ? 3 : 2, transposed ? 2 : 3};
            kernel_tensor hr, augmented;
            kernel_tensor_make(&hr, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_make(&augmented, KERNEL_F32, other, KERNEL_DENSE, DUKD_GUARD_END);
            for (int e = 0; e < 6; e++) {
                kernel_tensor_set(&hr, 0, 0, e / 3, e % 3, e / 8.0);
            }
            const int32_t zero = 0;
            const dukd_zoom_in_args a = {&hr.t, NULL, &augmented.t, &zero, &zero, &zero, &turned[k].augment};
            assert_int_equal(kernel_backends[i]->zoom_in(kernel_backends[i], &a, NULL), DUKD_OK);
            for (int e = 0; e < 6; e++) {
                assert_true(kernel_tensor_get(&augmented, 0, 0, e / other[3], e % other[3]) ==
                            turned[k].want[e] / 8.0);
            }
            kernel_tensor_free(&hr);
            kernel_tensor_free(&augmented);
        }
    }
}

/* All numbers of 16 bits, among them every NaN: moved they stay what they are, inverted all levels give the same. */
static void every_pattern_of_16_bits(void **state) {
    (void)state;
    enum { SIDE = 256, WAYS = 16 };
    static const kernel_type types[] = {KERNEL_F16, KERNEL_BF16};
    const int64_t shape[4] = {1, 1, SIDE, SIDE};
    const int32_t zero = 0;
    for (uint32_t k = 0; k < 2 * WAYS; k++) {
        const uint32_t augment = k % WAYS;
        kernel_tensor hr, first = {.bytes = 0};
        kernel_tensor_make(&hr, types[k / WAYS], shape, KERNEL_DENSE, DUKD_GUARD_END);
        for (uint32_t e = 0; e < SIDE * SIDE; e++) ((uint16_t *)(void *)hr.memory)[e] = (uint16_t)e;
        for (int i = 0; i < KERNEL_LEVELS; i++) {
            if (kernel_backends[i] == NULL) continue;
            kernel_tensor made;
            kernel_tensor_make(&made, types[k / WAYS], shape, KERNEL_DENSE, DUKD_GUARD_END);
            const dukd_zoom_in_args a = {&hr.t, NULL, &made.t, &zero, &zero, &zero, &augment};
            assert_int_equal(kernel_backends[i]->zoom_in(kernel_backends[i], &a, NULL), DUKD_OK);
            for (int64_t e = 0; (augment & DUKD_AUGMENT_INVERT) == 0 && e < SIDE * SIDE; e++) {
                int64_t row, col;
                kernel_augment_place(augment, SIDE, SIDE, e / SIDE, e % SIDE, &row, &col);
                assert_int_equal(kernel_tensor_bits(&made, 0, 0, row, col), e);
            }
            if (i == 0) {
                first = made;
                continue;
            }
            assert_true(kernel_tensor_same(&made, &first));
            kernel_tensor_free(&made);
        }
        kernel_tensor_free(&first);
        kernel_tensor_free(&hr);
    }
}

static void nothing_wanted(void **state) {
    (void)state;
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        const int64_t shape[4] = {1, 1, 2, 2};
        kernel_tensor hr;
        kernel_tensor_make(&hr, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        const dukd_zoom_in_args a = {.hr = &hr.t};
        assert_int_equal(kernel_backends[i]->zoom_in(kernel_backends[i], &a, NULL), DUKD_OK);
        kernel_tensor_free(&hr);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),        cmocka_unit_test(every_pattern_of_16_bits),
        cmocka_unit_test(nothing_wanted), cmocka_unit_test(each_augmentation_of_each_size),
        cmocka_unit_test(each_layout),
    };
    return cmocka_run_group_tests(tests, kernel_backends_make, kernel_backends_free);
}
