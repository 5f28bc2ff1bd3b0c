/* The cache of decoded pairs: bounded, least recently used first, one maker a pair, errors for all who waited. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "data/dataset_cache.h"

enum { PAIRS = 64, BYTES = 1000 };

/* A maker that counts, can be slow and can fail. */
typedef struct {
    _Atomic int made[PAIRS], alive, delay_us, fail_times;
} maker;

static int make(const void *context, int64_t i, dukd_image_pair *out, dukd_failure *f) {
    maker *m = *(maker *const *)context;
    *out = (dukd_image_pair){0};
    const int delay = atomic_load(&m->delay_us);
    if (delay) nanosleep(&(struct timespec){0, delay * 1000L}, NULL);
    atomic_fetch_add(&m->made[i], 1);
    if (atomic_load(&m->fail_times) > 0 && atomic_fetch_sub(&m->fail_times, 1) > 0)
        return dukd_fail(f, DUKD_FAILED, "pair %d cannot be made", (int)i);
    const int status = dukd_image_create(&out->hr, 1, 1, 8, f);
    if (status == DUKD_DONE) ((uint8_t *)out->hr.samples)[0] = (uint8_t)i;
    return status;
}

static int made(const maker *m) {
    int sum = 0;
    for (int i = 0; i < PAIRS; i++) sum += atomic_load(&m->made[i]);
    return sum;
}

static dukd_cache *cache_of(maker **m, int64_t limit) {
    dukd_cache *c = NULL;
    assert_int_equal(dukd_cache_create(&c, PAIRS, limit, make, m, NULL), DUKD_DONE);
    return c;
}

static void use(dukd_cache *c, int64_t i) {
    const dukd_image_pair *pair = NULL;
    assert_int_equal(dukd_cache_get(c, i, BYTES, &pair, NULL), DUKD_DONE);
    assert_int_equal(((const uint8_t *)pair->hr.samples)[0], i);
    dukd_cache_put(c, i);
}

static void the_pair_unused_for_longest_goes_first(void **state) {
    (void)state;
    maker m = {0}, *p = &m;
    dukd_cache *c = cache_of(&p, 3 * BYTES);
    use(c, 0);
    use(c, 1);
    use(c, 2);
    use(c, 0); /* now 1 is the oldest */
    assert_int_equal(made(&m), 3);
    use(c, 3); /* drops 1 */
    use(c, 0);
    use(c, 2);
    use(c, 3);
    assert_int_equal(made(&m), 4);
    use(c, 1); /* drops 0 */
    assert_int_equal(made(&m), 5);
    use(c, 2);
    use(c, 3);
    use(c, 1);
    assert_int_equal(made(&m), 5);
    use(c, 0);
    assert_int_equal(made(&m), 6);
    const dukd_cache_counts counts = dukd_cache_measure(c);
    assert_int_equal(counts.made, 6);
    assert_int_equal(counts.found, 7);
    assert_int_equal(counts.bytes, 3 * BYTES);
    assert_int_equal(counts.peak_bytes, 3 * BYTES);
    dukd_cache_destroy(c);
}

/* Pairs in use are never dropped, even beyond the limit; they go as soon as they are given back. */
static void pairs_in_use_stay(void **state) {
    (void)state;
    maker m = {0}, *p = &m;
    dukd_cache *c = cache_of(&p, 2 * BYTES);
    const dukd_image_pair *pairs[5];
    for (int64_t i = 0; i < 5; i++) assert_int_equal(dukd_cache_get(c, i, BYTES, &pairs[i], NULL), DUKD_DONE);
    for (int64_t i = 0; i < 5; i++) assert_int_equal(((const uint8_t *)pairs[i]->hr.samples)[0], i);
    assert_int_equal(dukd_cache_measure(c).bytes, 5 * BYTES);
    for (int64_t i = 0; i < 5; i++) dukd_cache_put(c, i);
    assert_int_equal(dukd_cache_measure(c).bytes, 2 * BYTES);
    assert_int_equal(dukd_cache_measure(c).peak_bytes, 5 * BYTES);
    use(c, 3);
    use(c, 4);
    assert_int_equal(made(&m), 5);
    dukd_cache_destroy(c);
}

static void nothing_is_kept_without_a_limit_to_keep_it_in(void **state) {
    (void)state;
    maker m = {0}, *p = &m;
    dukd_cache *c = cache_of(&p, -1);
    for (int i = 0; i < 4; i++) use(c, 7);
    assert_int_equal(made(&m), 4);
    assert_int_equal(dukd_cache_measure(c).bytes, 0);
    dukd_cache_destroy(c);
}

/* ---- threads ---- */

enum { THREADS = 8 };

typedef struct {
    dukd_cache *cache;
    int number, rounds;
    int64_t pair; /* the one to ask for, or -1: all in a different order */
    int failed;
    char message[64];
} user;

static void *use_many(void *argument) {
    user *u = argument;
    for (int round = 0; round < u->rounds; round++) {
        const int64_t i = u->pair >= 0 ? u->pair : (round * (2 * u->number + 1) + u->number) % PAIRS;
        const dukd_image_pair *pair = NULL;
        dukd_failure f = {0};
        if (dukd_cache_get(u->cache, i, BYTES, &pair, &f) != DUKD_DONE) {
            u->failed++;
            memcpy(u->message, f.message, sizeof u->message - 1);
            continue;
        }
        if (((const uint8_t *)pair->hr.samples)[0] != i) u->failed += 1000;
        dukd_cache_put(u->cache, i);
    }
    return NULL;
}

static void run_users(user users[THREADS], dukd_cache *c, int rounds, int64_t pair) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        users[i] = (user){.cache = c, .number = i, .rounds = rounds, .pair = pair};
        assert_int_equal(pthread_create(&threads[i], NULL, use_many, &users[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void one_thread_makes_what_many_ask_for(void **state) {
    (void)state;
    maker m = {.delay_us = 20000}, *p = &m;
    user users[THREADS];
    dukd_cache *c = cache_of(&p, 10 * BYTES);
    run_users(users, c, 1, 5);
    assert_int_equal(made(&m), 1);
    for (int i = 0; i < THREADS; i++) assert_int_equal(users[i].failed, 0);
    assert_int_equal(dukd_cache_measure(c).found, THREADS - 1);
    dukd_cache_destroy(c);
}

static void a_failure_reaches_all_who_waited_and_is_tried_again(void **state) {
    (void)state;
    maker m = {.delay_us = 50000, .fail_times = 1}, *p = &m;
    user users[THREADS];
    dukd_cache *c = cache_of(&p, 10 * BYTES);
    run_users(users, c, 1, 5);
    int failed = 0;
    for (int i = 0; i < THREADS; i++) {
        failed += users[i].failed;
        if (users[i].failed) assert_string_equal(users[i].message, "pair 5 cannot be made");
    }
    assert_in_range(failed, 1, THREADS); /* who came after the failure has had it made anew */
    assert_int_equal(dukd_cache_measure(c).bytes, failed == THREADS ? 0 : BYTES);
    atomic_store(&m.delay_us, 0);
    use(c, 5);
    dukd_cache_destroy(c);
}

static void many_threads_share_a_small_cache(void **state) {
    (void)state;
    maker m = {0}, *p = &m;
    user users[THREADS];
    dukd_cache *c = cache_of(&p, 20 * BYTES);
    run_users(users, c, 3000, -1);
    for (int i = 0; i < THREADS; i++) assert_int_equal(users[i].failed, 0);
    const dukd_cache_counts counts = dukd_cache_measure(c);
    assert_int_equal(counts.made, made(&m));
    assert_int_equal(counts.made + counts.found, 3000 * THREADS);
    assert_true(counts.bytes <= 20 * BYTES && counts.peak_bytes <= 20 * BYTES);
    dukd_cache_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pair_unused_for_longest_goes_first),
        cmocka_unit_test(pairs_in_use_stay),
        cmocka_unit_test(nothing_is_kept_without_a_limit_to_keep_it_in),
        cmocka_unit_test(one_thread_makes_what_many_ask_for),
        cmocka_unit_test(a_failure_reaches_all_who_waited_and_is_tried_again),
        cmocka_unit_test(many_threads_share_a_small_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
