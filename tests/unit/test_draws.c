/* The draws: published answers of Philox, laws of the distributions, that a draw depends on all of its key
 * and nothing else, what a seed means (pinned), and sources that replace them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "draws.h"
#include "philox.h"

static dukd_error error_ready(void) {
    return (dukd_error){.struct_size = DUKD_ERROR_SIZE};
}

/* The three answers that come with the Random123 library. */
static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        dukd_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static uint64_t below(uint64_t seed, dukd_draw draw, uint64_t bound) {
    const dukd_draws draws = {.seed = seed};
    uint64_t value = UINT64_MAX;
    assert_int_equal(dukd_draw_below(&draws, draw, bound, &value, NULL), DUKD_OK);
    assert_true(value < bound);
    return value;
}

static dukd_draw some(int64_t sample) {
    return dukd_draw_of(DUKD_DRAW_CROP_ROW, DUKD_BRANCH_ZOOM_IN, 17, sample, 0);
}

/* What a seed means must never change: runs are resumed and compared across versions. */
static void what_a_seed_means_is_pinned(void **state) {
    (void)state;
    /* counter: iteration 17, CROP_ROW + 256 ZOOM_IN, crop 0; key: the seed; then counter: sample, attempt 0
     */
    const uint64_t seed = 0x123456789abcdef0u;
    const uint32_t purpose[4] = {17, 0, 1 + 256, 0}, seed_key[2] = {0x9abcdef0u, 0x12345678u};
    uint32_t key[4], out[4];
    dukd_philox(purpose, seed_key, key);
    for (uint32_t sample = 0; sample < 20; sample++) {
        const uint32_t counter[4] = {sample, 0, 0, 0};
        dukd_philox(counter, key, out);
        assert_true(below(seed, some(sample), 145) == (out[2] | (uint64_t)out[3] << 32) % 145);
        const dukd_draws draws = {.seed = seed};
        uint32_t yes = 9, turns = 9;
        assert_int_equal(dukd_draw_yes(&draws, some(sample), 0.3, &yes, NULL), DUKD_OK);
        assert_int_equal(yes, ldexp((double)((out[0] | (uint64_t)out[1] << 32) >> 11), -53) < 0.3);
        assert_int_equal(dukd_draw_turns(&draws, some(sample), 0.3, &turns, NULL), DUKD_OK);
        assert_int_equal(turns, yes ? 1 + (out[2] | (uint64_t)out[3] << 32) % 3 : 0);
    }
    /* the first ones as numbers, so that the code above cannot change together with the plugin's */
    const uint64_t first[5] = {below(seed, some(0), 145), below(seed, some(1), 145),
                               below(seed, some(2), 145), below(seed, some(3), 145),
                               below(seed, some(-1), 145)};
    const uint64_t pinned[5] = {15, 56, 125, 114, 133};
    for (int i = 0; i < 5; i++) assert_int_equal(first[i], pinned[i]);
}

/* Chi-squared of counts against shares, in standard deviations from its mean. */
static double surprise(const int64_t *counts, int bins, const double *share) {
    int64_t total = 0;
    double chi = 0;
    for (int i = 0; i < bins; i++) total += counts[i];
    for (int i = 0; i < bins; i++) {
        const double expected = (double)total * (share != NULL ? share[i] : 1.0 / bins);
        chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    }
    return fabs(chi - (bins - 1)) / sqrt(2.0 * (bins - 1));
}

static void below_is_uniform_over_every_part_of_the_key(void **state) {
    (void)state;
    enum { BINS = 13, DRAWS = 26000 };
    for (int part = 0; part < 5; part++) {
        int64_t counts[BINS] = {0}, pairs[BINS * BINS] = {0};
        uint64_t last = 0;
        for (int64_t k = 0; k < DRAWS; k++) {
            dukd_draw draw = some(3);
            uint64_t seed = 5;
            if (part == 0) draw.sample = k;
            if (part == 1) draw.iteration = k + 1;
            if (part == 2) draw.crop = (uint32_t)k;
            if (part == 3) seed = (uint64_t)k;
            if (part == 4) draw.sample = k << 33; /* the high words count, too */
            const uint64_t value = below(seed, draw, BINS);
            counts[value]++;
            if (k % 2 == 1) pairs[last * BINS + value]++; /* neighbours know nothing of each other */
            last = value;
        }
        assert_true(surprise(counts, BINS, NULL) < 4);
        assert_true(surprise(pairs, BINS * BINS, NULL) < 4);
    }
}

/* A bound just above half of 2^64: without drawing again, the lower values would come twice as often. */
static void large_bounds_have_no_bias(void **state) {
    (void)state;
    const uint64_t bound = ((uint64_t)1 << 63) + ((uint64_t)1 << 62); /* 3/4 of 2^64 */
    int64_t counts[3] = {0};
    for (int64_t k = 0; k < 9000; k++) counts[below(11, some(k), bound) / ((uint64_t)1 << 62)]++;
    assert_true(surprise(counts, 3, NULL) < 4);
    assert_int_equal(below(1, some(1), 1), 0);
    assert_true(below(1, some(1), UINT64_MAX) < UINT64_MAX);
}

static void a_draw_depends_on_all_of_its_key(void **state) {
    (void)state;
    const uint64_t bound = (uint64_t)1 << 62;
    const dukd_draw base = dukd_draw_of(DUKD_DRAW_FLIP_W, DUKD_BRANCH_ZOOM_IN, 4, 9, 1);
    const uint64_t value = below(2, base, bound);
    assert_true(value == below(2, base, bound));
    dukd_draw other = base;
    other.what = DUKD_DRAW_FLIP_H;
    assert_true(value != below(2, other, bound));
    other = base;
    other.branch = DUKD_BRANCH_ZOOM_OUT;
    assert_true(value != below(2, other, bound));
    other = base;
    other.iteration = 5;
    assert_true(value != below(2, other, bound));
    other.iteration = base.iteration + ((int64_t)1 << 32);
    assert_true(value != below(2, other, bound));
    other = base;
    other.sample = -1;
    assert_true(value != below(2, other, bound));
    other.sample = base.sample + ((int64_t)1 << 32);
    assert_true(value != below(2, other, bound));
    other = base;
    other.crop = 2;
    assert_true(value != below(2, other, bound));
    assert_true(value != below(3, base, bound));
    assert_true(value != below(2 + ((uint64_t)1 << 32), base, bound));
}

static void probabilities_are_kept(void **state) {
    (void)state;
    const double ps[] = {0.3, 0.01, 0.9};
    const dukd_draws draws = {.seed = 77};
    for (size_t i = 0; i < sizeof ps / sizeof *ps; i++) {
        const double p = ps[i], yes_share[2] = {1 - p, p}, turn_share[4] = {1 - p, p / 3, p / 3, p / 3};
        int64_t yes[2] = {0}, turns[4] = {0};
        for (int64_t k = 0; k < 30000; k++) {
            uint32_t value;
            assert_int_equal(dukd_draw_yes(&draws, some(k), p, &value, NULL), DUKD_OK);
            yes[value]++;
            assert_int_equal(dukd_draw_turns(&draws, some(k + 50000), p, &value, NULL), DUKD_OK);
            turns[value]++;
        }
        assert_true(surprise(yes, 2, yes_share) < 4);
        assert_true(surprise(turns, 4, turn_share) < 4);
    }
    for (int64_t k = 0; k < 2000; k++) {
        uint32_t value = 9;
        dukd_draw_yes(&draws, some(k), 0, &value, NULL);
        assert_int_equal(value, 0);
        dukd_draw_yes(&draws, some(k), 1, &value, NULL);
        assert_int_equal(value, 1);
        dukd_draw_turns(&draws, some(k), 0, &value, NULL);
        assert_int_equal(value, 0);
        dukd_draw_turns(&draws, some(k), 1, &value, NULL);
        assert_true(value >= 1 && value <= 3);
    }
}

/* All orders of three out of four tiles are equally likely, and `taken` stays sorted. */
static void untaken_gives_every_order_alike(void **state) {
    (void)state;
    const dukd_draws draws = {.seed = 3};
    int64_t counts[64] = {0}, used[24];
    double share[24];
    for (int64_t k = 0; k < 24000; k++) {
        uint32_t taken[3], tile[3];
        for (uint32_t crop = 0; crop < 3; crop++) {
            dukd_draw draw = dukd_draw_of(DUKD_DRAW_TILE, DUKD_BRANCH_ZOOM_IN, k, -1, crop);
            assert_int_equal(dukd_draw_untaken(&draws, draw, 4, taken, crop, &tile[crop], NULL), DUKD_OK);
            assert_true(tile[crop] < 4);
        }
        assert_true(taken[0] < taken[1] && taken[1] < taken[2]);
        assert_true(tile[0] != tile[1] && tile[0] != tile[2] && tile[1] != tile[2]);
        counts[tile[0] * 16 + tile[1] * 4 + tile[2]]++;
    }
    int n = 0;
    for (int i = 0; i < 64; i++) {
        if (counts[i] == 0) continue;
        assert_true(n < 24);
        share[n] = 1.0 / 24;
        used[n++] = counts[i];
    }
    assert_int_equal(n, 24);
    assert_true(surprise(used, 24, share) < 4);
    /* all tiles of a grid, to the last */
    uint32_t taken[9], tile, seen = 0;
    for (uint32_t crop = 0; crop < 9; crop++) {
        assert_int_equal(dukd_draw_untaken(&draws, dukd_draw_of(DUKD_DRAW_TILE, 1, 1, -1, crop), 9, taken,
                                           crop, &tile, NULL),
                         DUKD_OK);
        seen |= 1u << tile;
    }
    assert_int_equal(seen, 511);
}

/* ---------------------------------------------------------------- sources */

typedef struct {
    dukd_draw asked;
    int32_t answer;
    uint64_t value;
    int calls;
} script;

static int32_t scripted(void *ctx, const dukd_draw *draw, uint64_t *value) {
    script *s = ctx;
    s->asked = *draw;
    s->calls++;
    if (s->answer == 1 || s->value != 0) *value = s->value;
    return s->answer;
}

static void a_source_replaces_a_draw_or_leaves_it(void **state) {
    (void)state;
    script s = {.answer = 1, .value = 6};
    const dukd_draws draws = {.seed = 5, .source = scripted, .ctx = &s};
    const dukd_draw draw = dukd_draw_of(DUKD_DRAW_CROP_COL, DUKD_BRANCH_ZOOM_IN, 8, 21, 3);
    uint64_t value = 0;
    uint32_t small = 0, taken[4] = {0};
    assert_int_equal(dukd_draw_below(&draws, draw, 7, &value, NULL), DUKD_OK);
    assert_int_equal(value, 6);
    assert_int_equal(s.asked.struct_size, DUKD_DRAW_SIZE);
    assert_int_equal(s.asked.struct_size, sizeof s.asked);
    assert_int_equal(s.asked.what, DUKD_DRAW_CROP_COL);
    assert_int_equal(s.asked.branch, DUKD_BRANCH_ZOOM_IN);
    assert_int_equal(s.asked.crop, 3);
    assert_int_equal(s.asked.iteration, 8);
    assert_int_equal(s.asked.sample, 21);
    assert_int_equal(s.asked.bound, 7);
    assert_true(s.asked.probability == 0);
    s.value = 1;
    assert_int_equal(dukd_draw_yes(&draws, draw, 0, &small, NULL), DUKD_OK);
    assert_int_equal(small, 1);
    assert_int_equal(s.asked.bound, 2);
    s.value = 3;
    assert_int_equal(dukd_draw_turns(&draws, draw, 0.25, &small, NULL), DUKD_OK);
    assert_int_equal(small, 3);
    assert_int_equal(s.asked.bound, 4);
    assert_true(s.asked.probability == 0.25);
    s.value = 2;
    assert_int_equal(dukd_draw_untaken(&draws, draw, 4, taken, 0, &small, NULL), DUKD_OK);
    assert_int_equal(small, 2);
    s.value = 0;
    assert_int_equal(dukd_draw_untaken(&draws, draw, 4, taken, 1, &small, NULL), DUKD_OK);
    assert_true(taken[0] == 0 && taken[1] == 2);
    assert_int_equal(s.calls, 5);
    /* 0: the plugin's own draw, whatever was left in *value */
    s = (script){.answer = 0, .value = 999};
    const dukd_draws own = {.seed = 5};
    uint64_t without = 0;
    assert_int_equal(dukd_draw_below(&draws, draw, 50, &value, NULL), DUKD_OK);
    assert_int_equal(dukd_draw_below(&own, draw, 50, &without, NULL), DUKD_OK);
    assert_true(value == without && s.calls == 1);
    uint32_t turns = 9, own_turns = 9;
    assert_int_equal(dukd_draw_turns(&draws, draw, 0.5, &turns, NULL), DUKD_OK);
    assert_int_equal(dukd_draw_turns(&own, draw, 0.5, &own_turns, NULL), DUKD_OK);
    assert_int_equal(turns, own_turns);
}

static void what_a_source_must_not_do_is_told(void **state) {
    (void)state;
    script s = {.answer = 1, .value = 7};
    const dukd_draws draws = {.source = scripted, .ctx = &s};
    const dukd_draw draw = dukd_draw_of(DUKD_DRAW_TILE, DUKD_BRANCH_ZOOM_IN, 8, 21, 3);
    uint64_t value = 0;
    uint32_t small = 0, taken[4] = {1, 3};
    dukd_error error = error_ready();
    assert_int_equal(dukd_draw_below(&draws, draw, 7, &value, &error), DUKD_E_ARGUMENT);
    assert_non_null(strstr(error.message, "below 7"));
    assert_non_null(strstr(error.message, "TILE of iteration 8, sample 21, crop 3"));
    assert_int_equal(dukd_draw_yes(&draws, draw, 0.5, &small, &error), DUKD_E_ARGUMENT);
    assert_non_null(strstr(error.message, "below 2"));
    assert_int_equal(dukd_draw_turns(&draws, draw, 0.5, &small, &error), DUKD_E_ARGUMENT);
    assert_non_null(strstr(error.message, "below 4"));
    s.value = 3;
    assert_int_equal(dukd_draw_untaken(&draws, draw, 4, taken, 2, &small, &error), DUKD_E_ARGUMENT);
    assert_non_null(strstr(error.message, "3 twice"));
    s.answer = 2;
    s.value = 1;
    assert_int_equal(dukd_draw_below(&draws, draw, 7, &value, &error), DUKD_E_ARGUMENT);
    s.answer = DUKD_E_BACKEND;
    assert_int_equal(dukd_draw_below(&draws, draw, 7, &value, &error), DUKD_E_BACKEND);
    assert_int_equal(error.code, DUKD_E_BACKEND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(what_a_seed_means_is_pinned),
        cmocka_unit_test(below_is_uniform_over_every_part_of_the_key),
        cmocka_unit_test(large_bounds_have_no_bias),
        cmocka_unit_test(a_draw_depends_on_all_of_its_key),
        cmocka_unit_test(probabilities_are_kept),
        cmocka_unit_test(untaken_gives_every_order_alike),
        cmocka_unit_test(a_source_replaces_a_draw_or_leaves_it),
        cmocka_unit_test(what_a_source_must_not_do_is_told),
    };
    return cmocka_run_group_tests_name("draws", tests, NULL, NULL);
}
