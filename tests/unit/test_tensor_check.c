/* What is decided about strides and memory: whether elements of a tensor overlap (exactly), whether two tensors meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/fill.h"
#include "tensor_check.h"

static int overlap_by_counting(const int64_t shape[4], const int64_t strides[4]) {
    static unsigned char seen[4096];
    memset(seen, 0, sizeof seen);
    for (int64_t a = 0; a < shape[0]; a++) {
        for (int64_t b = 0; b < shape[1]; b++) {
            for (int64_t c = 0; c < shape[2]; c++) {
                for (int64_t d = 0; d < shape[3]; d++) {
                    const int64_t at =
                        2048 + a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
                    assert_true(at >= 0 && at < 4096);
                    if (seen[at]++) return 1;
                }
            }
        }
    }
    return 0;
}

static void overlap_is_decided_exactly(void **state) {
    (void)state;
    int overlapping = 0, apart = 0;
    for (uint64_t k = 0; k < 200000; k++) {
        int64_t shape[4], strides[4];
        for (uint64_t i = 0; i < 4; i++) {
            shape[i] = 1 + (int64_t)(dukd_fill_bits(k, i) % 4);
            strides[i] = (int64_t)(dukd_fill_bits(k, 8 + i) % 121) - 60;
            if (k % 3 == 0) strides[i] /= 6; /* closer together */
        }
        const int expected = overlap_by_counting(shape, strides);
        if (dukd_strides_overlap(shape, strides) != (bool)expected) {
            fail_msg("%lld %lld %lld %lld by %lld %lld %lld %lld", (long long)shape[0], (long long)shape[1],
                     (long long)shape[2], (long long)shape[3], (long long)strides[0], (long long)strides[1],
                     (long long)strides[2], (long long)strides[3]);
        }
        overlapping += expected;
        apart += !expected;
    }
    assert_true(overlapping > 20000 && apart > 20000);
    /* a large channels_last slice is decided at once */
    const int64_t shape[4] = {64, 256, 4096, 4096}, strides[4] = {256LL * 4096 * 5000, 1, 256 * 5000, 256};
    assert_false(dukd_strides_overlap(shape, strides));
}

static void tensors_that_meet_are_seen(void **state) {
    (void)state;
    static float memory[4096];
    int64_t shape[4] = {2, 3, 4, 5}, reversed[4] = {60, 20, -5, -1}, wide[4] = {240, 80, 20, 2},
            halves[4] = {1, 3, 4, 5};
    dukd_tensor a = {.data = memory + 1000, .ndim = 4, .dtype = {DUKD_TYPE_FLOAT, 32, 1}, .shape = shape},
                b = a;
    assert_true(dukd_tensors_meet(&a, &b));
    b.data = memory + 1120; /* right behind it */
    assert_false(dukd_tensors_meet(&a, &b));
    b.data = memory + 1119;
    assert_true(dukd_tensors_meet(&a, &b) && dukd_tensors_meet(&b, &a));
    b.data = memory + 880;
    assert_false(dukd_tensors_meet(&a, &b));
    b.byte_offset = 4;
    assert_true(dukd_tensors_meet(&a, &b));
    b = a;
    b.strides = reversed; /* it begins at the last element of its first plane */
    b.data = memory + 1120 + 19;
    assert_false(dukd_tensors_meet(&a, &b));
    b.data = memory + 1120 + 18;
    assert_true(dukd_tensors_meet(&a, &b));
    b = a;
    a.strides = b.strides = wide; /* interleaved: apart, and not accused */
    b.data = memory + 1001;
    assert_false(dukd_tensors_meet(&a, &b));
    a.strides = b.strides = NULL; /* two halves of one batch */
    a.shape = b.shape = halves;
    b.data = memory + 1060;
    assert_false(dukd_tensors_meet(&a, &b));
    a.dtype.bits = 16;
    b.data = (char *)(memory + 1000) + 120;
    assert_false(dukd_tensors_meet(&a, &b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlap_is_decided_exactly),
        cmocka_unit_test(tensors_that_meet_are_seen),
    };
    return cmocka_run_group_tests_name("tensor_check", tests, NULL, NULL);
}
