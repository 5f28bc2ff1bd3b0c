/* The arena's plan: buffers that live together never overlap, those that do not share; and counted blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/arena.h"
#include "support/fill.h"

static int64_t most_alive(const dukd_buffer *b, int32_t count, int32_t steps) {
    int64_t most = 0;
    for (int32_t t = 0; t < steps; t++) {
        int64_t sum = 0;
        for (int32_t i = 0; i < count; i++)
            if (b[i].first <= t && t <= b[i].last) sum += b[i].bytes;
        if (sum > most) most = sum;
    }
    return most;
}

static void check_plan(dukd_buffer *b, int32_t count, int64_t *total) {
    dukd_failure f = {0};
    assert_int_equal(dukd_arena_plan(b, count, total, &f), DUKD_DONE);
    for (int32_t i = 0; i < count; i++) {
        assert_true(b[i].offset >= 0 && b[i].offset % 4096 == 0 && b[i].offset + b[i].bytes <= *total);
        for (int32_t k = 0; k < i; k++) {
            int together = b[i].first <= b[k].last && b[k].first <= b[i].last;
            int apart = b[i].offset + b[i].bytes <= b[k].offset || b[k].offset + b[k].bytes <= b[i].offset;
            assert_true(!together || apart);
        }
    }
}

/* A chain, each buffer read by the next step: two places are enough for any length. */
static void test_chain(void **state) {
    (void)state;
    dukd_buffer b[20];
    int64_t total;
    for (int32_t i = 0; i < 20; i++) b[i] = (dukd_buffer){.bytes = 8192, .first = i, .last = i + 1};
    check_plan(b, 20, &total);
    assert_int_equal(total, 2 * 8192);
}

static void test_random_plans(void **state) {
    (void)state;
    enum { COUNT = 60, STEPS = 40 };
    double waste = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        dukd_buffer b[COUNT];
        int64_t total;
        for (uint64_t i = 0; i < COUNT; i++) {
            int32_t first = (int32_t)(dukd_fill_bits(seed, 3 * i) % STEPS),
                    length = (int32_t)(dukd_fill_bits(seed, 3 * i + 1) % 8);
            b[i] = (dukd_buffer){.bytes = 4096 * (int64_t)(1 + dukd_fill_bits(seed, 3 * i + 2) % 64),
                                 .first = first,
                                 .last = first + length};
        }
        check_plan(b, COUNT, &total);
        int64_t least = most_alive(b, COUNT, STEPS + 8);
        assert_true(total >= least);
        waste += (double)total / (double)least - 1;
    }
    assert_true(waste / 50 < .15); /* measured: .05 */
}

static void test_empty_and_huge(void **state) {
    (void)state;
    int64_t total = 1;
    dukd_failure f = {0};
    assert_int_equal(dukd_arena_plan(NULL, 0, &total, &f), DUKD_DONE);
    assert_int_equal(total, 0);
    dukd_buffer b[2] = {{.bytes = INT64_MAX / 3, .last = 1}, {.bytes = INT64_MAX / 3, .last = 1}};
    assert_int_equal(dukd_arena_plan(b, 2, &total, &f), DUKD_MISUSED);
}

static void test_block(void **state) {
    (void)state;
    dukd_block b = {0};
    dukd_memory_count count = {0};
    dukd_failure f = {0};
    assert_int_equal(dukd_block_reserve(&b, 100, 0, &count, "test", &f), DUKD_DONE);
    assert_int_equal((uintptr_t)b.data % 4096, 0);
    assert_int_equal(count.now, b.bytes);
    memset(b.data, 7, 100);
    char *before = b.data;
    assert_int_equal(dukd_block_reserve(&b, 50, 0, &count, "test", &f), DUKD_DONE);
    assert_ptr_equal(b.data, before);
    assert_int_equal(dukd_block_reserve(&b, 3 << 20, 1, &count, "test", &f), DUKD_DONE);
    assert_true(b.data[0] == 7 && b.data[99] == 7);
    assert_int_equal(count.now, b.bytes);
    assert_true(count.peak > count.now);
    /* What cannot be had leaves the kept contents. */
    assert_int_equal(dukd_block_reserve(&b, INT64_MAX / 2 + 1, 1, &count, "test", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "out of memory: test"));
    assert_true(b.data[0] == 7);
    dukd_block_free(&b, &count);
    dukd_block_free(&b, &count);
    assert_int_equal(count.now, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_random_plans),
        cmocka_unit_test(test_empty_and_huge),
        cmocka_unit_test(test_block),
    };
    return cmocka_run_group_tests_name("engine_arena", tests, NULL, NULL);
}
