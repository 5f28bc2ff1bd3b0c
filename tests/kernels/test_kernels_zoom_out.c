/* Operation zoom out: MATLAB's antialiased bicubic against a direct double sum over both axes, and against
 * the golden files.
 *
 * Tolerance against the direct sum: one unit in the last place of the type at 1 (two sums in f64, in another
 * order, rounded once); against the golden files 5e-7. Levels among themselves: the same bits. */
#include "kernel_host.h"
#include "kernel_tensor.h"
#include "support/compare.h"
#include "support/fill.h"
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Keys' cubic with a = -0.5, in the form of his paper (1981, equation 15). */
static double keys(double s) {
    const double x = fabs(s);
    if (x < 1.0) return 1.5 * x * x * x - 2.5 * x * x + 1.0;
    if (x < 2.0) return -0.5 * x * x * x + 2.5 * x * x - 4.0 * x + 2.0;
    return 0.0;
}

static int64_t mirror(int64_t i, int64_t n) {
    while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
    return i;
}

/* One output pixel, both axes at once. */
static double direct_pixel(const kernel_tensor *x, int64_t n, int64_t c, int64_t row, int64_t col,
                           int32_t scale) {
    const double cy = ((double)row + 0.5) * scale - 0.5, cx = ((double)col + 0.5) * scale - 0.5;
    double sum = 0.0, weights = 0.0;
    for (int64_t y = (int64_t)floor(cy) - 2 * scale - 1; y <= (int64_t)ceil(cy) + 2 * scale + 1; y++) {
        const double wy = keys(((double)y - cy) / scale);
        if (wy == 0.0) continue;
        for (int64_t z = (int64_t)floor(cx) - 2 * scale - 1; z <= (int64_t)ceil(cx) + 2 * scale + 1; z++) {
            const double weight = wy * keys(((double)z - cx) / scale);
            if (weight == 0.0) continue;
            weights += weight;
            sum += weight * kernel_tensor_get(x, n, c, mirror(y, x->shape[2]), mirror(z, x->shape[3]));
        }
    }
    return sum / weights;
}

typedef struct {
    int64_t n, c, h, w;
    int32_t scale;
    kernel_type type;
    kernel_layout lr_layout, plain_layout, augmented_layout;
    bool want_plain, want_augmented;
    uint32_t augment[3];
    uint64_t seed;
} zoom_case;

static void run_case(const zoom_case *z) {
    const double ulp[KERNEL_TYPES] = {0x1p-23, 0x1p-10, 0x1p-7};
    const int64_t oh = (z->h + z->scale - 1) / z->scale, ow = (z->w + z->scale - 1) / z->scale;
    const bool turned = (z->augment[0] & DUKD_AUGMENT_TRANSPOSE) != 0;
    const int64_t lr_shape[4] = {z->n, z->c, z->h, z->w}, shape[4] = {z->n, z->c, oh, ow};
    const int64_t augmented_shape[4] = {z->n, z->c, turned ? ow : oh, turned ? oh : ow};
    kernel_tensor lr, first_plain = {.bytes = 0}, first_augmented = {.bytes = 0};
    kernel_tensor_make(&lr, z->type, lr_shape, z->lr_layout,
                       (z->seed & 1) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
    kernel_tensor_fill(&lr, z->seed, 0.0, 1.0, 0.0);
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor plain, augmented;
        kernel_tensor_make(&plain, z->type, shape, z->plain_layout,
                           (z->seed & 2) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
        kernel_tensor_make(&augmented, z->type, augmented_shape, z->augmented_layout,
                           (z->seed & 4) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
        const dukd_zoom_out_args a = {&lr.t,
                                      z->want_plain ? &plain.t : NULL,
                                      z->want_augmented ? &augmented.t : NULL,
                                      z->augment,
                                      z->scale,
                                      0};
        assert_int_equal(kernel_backends[i]->zoom_out(kernel_backends[i], &a, NULL), DUKD_OK);
        assert_true(kernel_tensor_margins_whole(&plain));
        assert_true(kernel_tensor_margins_whole(&augmented));
        for (int64_t e = 0; e < z->n * z->c * oh * ow; e++) {
            const int64_t n = e / (z->c * oh * ow), c = e / (oh * ow) % z->c, h = e / ow % oh, w = e % ow;
            int64_t row, col;
            kernel_augment_place(z->augment[n], oh, ow, h, w, &row, &col);
            const bool invert = (z->augment[n] & DUKD_AUGMENT_INVERT) != 0;
            if (z->want_plain) {
                const double got = kernel_tensor_get(&plain, n, c, h, w),
                             want = direct_pixel(&lr, n, c, h, w, z->scale);
                if (!(fabs(got - want) <= ulp[z->type])) {
                    fail_msg("%s: scale %d, %d x %d, pixel %d %d: got %.9g, want %.9g", kernel_levels[i],
                             z->scale, (int)z->h, (int)z->w, (int)h, (int)w, got, want);
                }
            }
            if (z->want_plain && z->want_augmented) {
                const double p = kernel_tensor_get(&plain, n, c, h, w);
                const double want = invert ? kernel_round((double)(1.0f - (float)p), z->type) : p;
                assert_true(kernel_tensor_get(&augmented, n, c, row, col) == want);
            } else if (z->want_augmented) {
                const double want = direct_pixel(&lr, n, c, h, w, z->scale);
                const double got = kernel_tensor_get(&augmented, n, c, row, col);
                assert_true(fabs(got - (invert ? 1.0 - want : want)) <= 2.0 * ulp[z->type]);
            }
        }
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
    kernel_tensor_free(&lr);
}

static zoom_case draw_case(int64_t h, int64_t w, int32_t scale, uint64_t seed, uint32_t augment) {
    zoom_case z = {.n = 1 + (int64_t)(seed % 3),
                   .c = 1 + (int64_t)(seed / 3 % 3),
                   .h = h,
                   .w = w,
                   .scale = scale,
                   .seed = seed};
    const uint64_t r = dukd_fill_bits(seed, 1);
    z.type = (kernel_type)(r % KERNEL_TYPES);
    z.lr_layout = (kernel_layout)((r >> 8) % KERNEL_LAYOUTS);
    z.plain_layout = (kernel_layout)((r >> 16) % KERNEL_OUTPUTS);
    z.augmented_layout = (kernel_layout)((r >> 24) % KERNEL_OUTPUTS);
    z.want_plain = (r >> 32) % 4 != 0;
    z.want_augmented = !z.want_plain || (r >> 36) % 4 != 0;
    const bool square = (h + scale - 1) / scale == (w + scale - 1) / scale;
    for (uint32_t n = 0; n < 3; n++) {
        const uint32_t keep = square ? 0u : DUKD_AUGMENT_TRANSPOSE;
        z.augment[n] = n == 0 ? augment : (((uint32_t)(r >> (40 + 4 * n)) & 15u & ~keep) | (augment & keep));
    }
    return z;
}

/* Also smaller than the kernel, where the mirror images repeat, and no multiples of the scale. */
static void each_size_and_scale(void **state) {
    (void)state;
    const int64_t sizes[][2] = {{1, 1},   {1, 5},   {3, 2},   {5, 7},   {12, 12}, {13, 16},
                                {18, 25}, {24, 24}, {17, 48}, {48, 33}, {4, 130}};
    const int32_t scales[] = {1, 2, 3, 4, 5, 8};
    uint64_t seed = 1;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (size_t f = 0; f < sizeof scales / sizeof scales[0]; f++) {
            for (uint32_t repeat = 0; repeat < 4; repeat++) {
                const zoom_case z =
                    draw_case(sizes[s][0], sizes[s][1], scales[f], seed, (uint32_t)(seed * 7 % 16));
                run_case(&z);
                seed++;
            }
        }
    }
}

static void each_layout_and_augmentation(void **state) {
    (void)state;
    uint64_t seed = 500;
    for (int lr = 0; lr < KERNEL_LAYOUTS; lr++) {
        for (int made = 0; made < KERNEL_OUTPUTS; made++) {
            for (int type = 0; type < KERNEL_TYPES; type++) {
                zoom_case z = draw_case(10, 38, 2, seed, (uint32_t)(seed % 16));
                z.lr_layout = (kernel_layout)lr;
                z.plain_layout = z.augmented_layout = (kernel_layout)made;
                z.type = (kernel_type)type;
                run_case(&z);
                seed++;
            }
        }
    }
}

/* A constant stays what it is, at every border; the weights add up to 1. */
static void a_constant_stays(void **state) {
    (void)state;
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        for (int32_t scale = 2; kernel_backends[i] != NULL && scale <= 9; scale++) {
            const int64_t shape[4] = {1, 1, 11, 23},
                          out[4] = {1, 1, (11 + scale - 1) / scale, (23 + scale - 1) / scale};
            kernel_tensor lr, plain;
            kernel_tensor_make(&lr, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_make(&plain, KERNEL_F32, out, KERNEL_DENSE, DUKD_GUARD_END);
            for (int e = 0; e < 11 * 23; e++) {
                kernel_tensor_set(&lr, 0, 0, e / 23, e % 23, 0.625);
            }
            const dukd_zoom_out_args a = {.lr = &lr.t, .plain = &plain.t, .scale = scale};
            assert_int_equal(kernel_backends[i]->zoom_out(kernel_backends[i], &a, NULL), DUKD_OK);
            for (int64_t e = 0; e < out[2] * out[3]; e++) {
                assert_true(fabs(kernel_tensor_get(&plain, 0, 0, e / out[3], e % out[3]) - 0.625) <= 0x1p-24);
            }
            kernel_tensor_free(&lr);
            kernel_tensor_free(&plain);
        }
    }
}

/* NaN spreads over the kernel and no further: the pixels less than 2 x scale from the output's centre, for even and odd scales. */
static void not_finite_goes_through(void **state) {
    (void)state;
    enum { SIDE = 40, AT = 22 }; /* lies just outside the kernel of some output at scales 3 and 5 */
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        for (int32_t scale = 2; kernel_backends[i] != NULL && scale <= 5; scale++) {
            const int64_t side = (SIDE + scale - 1) / scale;
            const int64_t shape[4] = {1, 1, SIDE, SIDE}, out[4] = {1, 1, side, side};
            kernel_tensor lr, plain;
            kernel_tensor_make(&lr, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_make(&plain, KERNEL_F32, out, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_fill(&lr, 3, 0.0, 1.0, 0.0);
            kernel_tensor_set(&lr, 0, 0, AT, AT, NAN);
            const dukd_zoom_out_args a = {.lr = &lr.t, .plain = &plain.t, .scale = scale};
            assert_int_equal(kernel_backends[i]->zoom_out(kernel_backends[i], &a, NULL), DUKD_OK);
            for (int64_t e = 0; e < side * side; e++) {
                const double row = ((double)(e / side) + 0.5) * scale - 0.5,
                             col = ((double)(e % side) + 0.5) * scale - 0.5;
                const bool hit = fabs(row - AT) < 2.0 * scale && fabs(col - AT) < 2.0 * scale;
                assert_int_equal(isnan(kernel_tensor_get(&plain, 0, 0, e / side, e % side)) != 0, hit);
            }
            kernel_tensor_free(&lr);
            kernel_tensor_free(&plain);
        }
    }
}

static void golden(const char *name, int32_t scale) {
    dukd_golden *g = dukd_golden_open(name);
    const dukd_golden_tensor in = dukd_golden_u8(g, "lr.1"), want = dukd_golden_f32(g, "zoom_out.1");
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] == NULL) continue;
        kernel_tensor lr, plain;
        kernel_tensor_make(&lr, KERNEL_F32, in.dims, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_make(&plain, KERNEL_F32, want.dims, KERNEL_DENSE, DUKD_GUARD_END);
        for (int64_t e = 0; e < in.count; e++) {
            ((float *)(void *)lr.memory)[e] = (float)((const uint8_t *)in.data)[e] / 255.0f;
        }
        const dukd_zoom_out_args a = {.lr = &lr.t, .plain = &plain.t, .scale = scale};
        assert_int_equal(kernel_backends[i]->zoom_out(kernel_backends[i], &a, NULL), DUKD_OK);
        dukd_assert_error(
            name, dukd_absolute_error((const float *)(void *)plain.memory, want.data, want.count), 5e-7);
        kernel_tensor_free(&lr);
        kernel_tensor_free(&plain);
    }
    dukd_golden_close(g);
}

static void golden_x2(void **state) {
    (void)state;
    golden("paper_x2", 2);
}

static void golden_x3(void **state) {
    (void)state;
    golden("paper_x3", 3);
}

static void golden_oblong(void **state) {
    (void)state;
    golden("paper_x2_oblong", 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_size_and_scale), cmocka_unit_test(each_layout_and_augmentation),
        cmocka_unit_test(a_constant_stays),    cmocka_unit_test(not_finite_goes_through),
        cmocka_unit_test(golden_x2),           cmocka_unit_test(golden_x3),
        cmocka_unit_test(golden_oblong),
    };
    return cmocka_run_group_tests(tests, kernel_backends_make, kernel_backends_free);
}
