/* The sampler and the random numbers under it: published answers of Philox, no bias, whole epochs, BasicSR's
 * counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/random.h"
#include "data/sampler.h"

/* Chi-squared of `bins` counts against equal shares, as standard deviations from its mean (about normal for
 * many bins). */
static double surprise(const int64_t *counts, int64_t bins) {
    int64_t total = 0;
    for (int64_t i = 0; i < bins; i++) total += counts[i];
    const double expected = (double)total / (double)bins;
    double chi = 0;
    for (int64_t i = 0; i < bins; i++) {
        const double d = (double)counts[i] - expected;
        chi += d * d / expected;
    }
    const double mean = (double)(bins - 1), variance = 2 * mean;
    return (chi - mean) * (chi - mean) / variance; /* squared, so that too even is a surprise as well */
}
#define UNBIASED(counts, bins) assert_true(surprise(counts, bins) < 16) /* 4 standard deviations */

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
        dukd_random_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void a_stream_is_the_blocks_of_its_name(void **state) {
    (void)state;
    const uint32_t key[2] = {0x89abcdef, 0x01234567};
    dukd_random r = dukd_random_stream(0x0123456789abcdef, 77, 0x1122334455667788);
    for (uint32_t block = 0; block < 3; block++) {
        const uint32_t counter[4] = {0x55667788, 0x11223344, 77, block};
        uint32_t out[4];
        dukd_random_philox(counter, key, out);
        assert_true(dukd_random_bits(&r) == ((uint64_t)out[1] << 32 | out[0]));
        assert_true(dukd_random_bits(&r) == ((uint64_t)out[3] << 32 | out[2]));
    }
}

static void bounded_integers_have_no_bias(void **state) {
    (void)state;
    dukd_random r = dukd_random_stream(1, DUKD_RANDOM_TEST, 0);
    int64_t counts[97] = {0};
    for (int i = 0; i < 970000; i++) {
        const uint64_t v = dukd_random_below(&r, 97);
        assert_true(v < 97);
        counts[v]++;
    }
    UNBIASED(counts, 97);
    /* Of a bound of 3 * 2^62 a plain remainder would give the lowest third twice as often as the others. */
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 300000; i++) counts[dukd_random_below(&r, UINT64_C(3) << 62) >> 62]++;
    UNBIASED(counts, 3);
    for (int i = 0; i < 100; i++) assert_true(dukd_random_below(&r, 1) == 0);
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 640000; i++) {
        const double u = dukd_random_unit(&r);
        assert_true(u >= 0 && u < 1);
        counts[(int)(u * 64)]++;
    }
    UNBIASED(counts, 64);
}

static void a_permutation_takes_every_place_once(void **state) {
    (void)state;
    const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 31, 100, 200, 257, 1000, 20011};
    uint8_t *seen = malloc(20011);
    assert_non_null(seen);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint64_t key = 0; key < 5; key++) {
            memset(seen, 0, 20011);
            for (int64_t place = 0; place < sizes[i]; place++) {
                const int64_t to = dukd_sampler_permute(key, sizes[i], place);
                assert_in_range(to, 0, sizes[i] - 1);
                assert_int_equal(seen[to]++, 0);
            }
        }
    free(seen);
}

static void all_orders_of_a_small_set_are_equally_likely(void **state) {
    (void)state;
    for (int64_t size = 2; size <= 5; size++) {
        int64_t counts[3125] = {0}, orders[120], n = 0;
        for (uint64_t key = 0; key < 24000; key++) {
            int64_t code = 0;
            for (int64_t place = 0; place < size; place++)
                code = code * size + dukd_sampler_permute(key, size, place);
            counts[code]++;
        }
        for (int64_t code = 0; code < 3125; code++)
            if (counts[code]) orders[n++] = counts[code];
        int64_t factorial = 1;
        for (int64_t i = 2; i <= size; i++) factorial *= i;
        assert_int_equal(n, factorial);
        UNBIASED(orders, n);
    }
}

/* Of a set too large to count its orders: where a place goes, and how far apart neighbours land. */
static void a_large_permutation_looks_random(void **state) {
    (void)state;
    enum { SIZE = 200, KEYS = 2000 };
    int64_t *to = calloc(SIZE * SIZE, sizeof *to), *gap = calloc(SIZE, sizeof *gap);
    assert_non_null(to);
    assert_non_null(gap);
    for (uint64_t key = 0; key < KEYS; key++) {
        int64_t last = dukd_sampler_permute(key, SIZE, SIZE - 1);
        for (int64_t place = 0; place < SIZE; place++) {
            const int64_t here = dukd_sampler_permute(key, SIZE, place);
            to[place * SIZE + here]++;
            gap[(here - last + SIZE) % SIZE]++;
            last = here;
        }
    }
    UNBIASED(to, SIZE * SIZE);
    assert_int_equal(gap[0], 0);
    UNBIASED(gap + 1, SIZE - 1);
    free(to);
    free(gap);
}

static dukd_sampler sampler_of(int64_t images, int32_t enlarge, int32_t batch, int32_t ranks) {
    return (dukd_sampler){.seed = 42,
                          .images = images,
                          .enlarge = enlarge,
                          .batch = batch,
                          .ranks = ranks,
                          .use_hflip = 1,
                          .use_rot = 1};
}

/* Where nothing is dropped, an epoch shows every image `enlarge` times, and no two epochs in the same order.
 */
static void an_epoch_shows_every_image_equally_often(void **state) {
    (void)state;
    const dukd_sampler s = sampler_of(48, 3, 16, 1);
    assert_int_equal(dukd_sampler_check(&s, NULL), DUKD_DONE);
    assert_int_equal(dukd_sampler_epoch_length(&s), 9);
    int64_t order[3][144];
    for (int64_t e = 0; e < 3; e++) {
        int64_t counts[48] = {0};
        for (int64_t i = 0; i < 144; i++) {
            int64_t epoch = -1;
            order[e][i] = dukd_sampler_image(&s, e * 144 + i, &epoch);
            assert_int_equal(epoch, e);
            counts[order[e][i]]++;
        }
        for (int i = 0; i < 48; i++) assert_int_equal(counts[i], 3);
    }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    assert_memory_not_equal(order[1], order[2], sizeof order[0]);
    dukd_sampler other = s;
    other.seed = 43;
    int64_t differ = 0;
    for (int64_t k = 0; k < 144; k++) differ += dukd_sampler_image(&other, k, NULL) != order[0][k];
    assert_true(differ > 100);
}

/* EnlargedSampler: ceil(images * ratio / ranks) samples a rank; drop_last: whole batches only. */
static void epochs_have_basicsrs_length(void **state) {
    (void)state;
    const struct {
        int64_t images;
        int32_t enlarge, batch, ranks;
        int64_t length;
    } cases[] = {
        {200, 1, 16, 1, 12},    {800, 100, 16, 1, 5000},
        {800, 100, 4, 4, 5000}, {7, 3, 4, 4, 1}, /* ceil(21 / 4) = 6 a rank */
        {100, 1, 33, 3, 1},     {101, 1, 17, 3, 2},
        {1, 1, 1, 1, 1},        {5, 4, 16, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dukd_sampler s = sampler_of(cases[i].images, cases[i].enlarge, cases[i].batch, cases[i].ranks);
        assert_int_equal(dukd_sampler_check(&s, NULL), DUKD_DONE);
        assert_int_equal(dukd_sampler_epoch_length(&s), cases[i].length);
        const int64_t samples = cases[i].length * cases[i].batch * cases[i].ranks;
        int64_t epoch = -1;
        dukd_sampler_image(&s, samples - 1, &epoch);
        assert_int_equal(epoch, 0);
        dukd_sampler_image(&s, samples, &epoch);
        assert_int_equal(epoch, 1);
    }
}

/* What falls into the incomplete batch is different images in different epochs: none is left out for ever. */
static void dropped_images_change(void **state) {
    (void)state;
    const dukd_sampler s = sampler_of(19, 1, 16, 1);
    int64_t shown[19] = {0};
    for (int64_t k = 0; k < 16 * 400; k++) {
        const int64_t image = dukd_sampler_image(&s, k, NULL);
        assert_in_range(image, 0, 18);
        shown[image]++;
    }
    for (int i = 0; i < 19; i++) assert_in_range(shown[i], 280, 400);
}

static void crops_and_orientations_are_uniform_and_independent(void **state) {
    (void)state;
    const dukd_sampler s = sampler_of(10, 1, 1, 1);
    int64_t counts[7 * 11 * 8] = {0};
    for (int64_t k = 0; k < 616 * 300; k++) {
        const dukd_placement p = dukd_sampler_place(&s, k, 48 + 10, 48 + 6, 48);
        assert_in_range(p.row, 0, 6);
        assert_in_range(p.col, 0, 10);
        assert_in_range(p.orientation, 0, 7);
        counts[(p.row * 11 + p.col) * 8 + p.orientation]++;
    }
    UNBIASED(counts, 616);
    const dukd_placement whole = dukd_sampler_place(&s, 5, 48, 48, 48);
    assert_int_equal(whole.row, 0);
    assert_int_equal(whole.col, 0);
}

static void switched_off_orientations_change_nothing_else(void **state) {
    (void)state;
    dukd_sampler both = sampler_of(10, 1, 1, 1), hflip = both, rot = both, none = both;
    hflip.use_rot = none.use_rot = 0;
    rot.use_hflip = none.use_hflip = 0;
    for (int64_t k = 0; k < 200; k++) {
        const dukd_placement p = dukd_sampler_place(&both, k, 100, 90, 48);
        const dukd_placement h = dukd_sampler_place(&hflip, k, 100, 90, 48);
        const dukd_placement r = dukd_sampler_place(&rot, k, 100, 90, 48);
        const dukd_placement n = dukd_sampler_place(&none, k, 100, 90, 48);
        assert_int_equal(h.orientation, p.orientation & DUKD_FLIP_LEFT_RIGHT);
        assert_int_equal(r.orientation, p.orientation & (DUKD_FLIP_TOP_BOTTOM | DUKD_TRANSPOSE));
        assert_int_equal(n.orientation, 0);
        assert_true(h.row == p.row && r.row == p.row && n.row == p.row);
        assert_true(h.col == p.col && r.col == p.col && n.col == p.col);
    }
}

/* What seed 42 means is part of a recorded run: these may change only together with a note in the CHANGELOG.
 */
static void the_meaning_of_a_seed_is_kept(void **state) {
    (void)state;
    const dukd_sampler s = sampler_of(200, 2, 16, 1);
    const int64_t images[8] = {4, 38, 150, 150, 43, 136, 36, 2};
    const int32_t placements[8][3] = {{3, 67, 1},  {25, 54, 3}, {3, 51, 5},  {17, 69, 7},
                                      {30, 61, 5}, {11, 62, 5}, {18, 70, 2}, {15, 54, 7}};
    for (int64_t k = 0; k < 8; k++) {
        assert_int_equal(dukd_sampler_image(&s, k * 1000, NULL), images[k]);
        const dukd_placement p = dukd_sampler_place(&s, k * 1000, 120, 80, 48);
        assert_int_equal(p.row, placements[k][0]);
        assert_int_equal(p.col, placements[k][1]);
        assert_int_equal(p.orientation, placements[k][2]);
    }
}

static void expect_misused(dukd_sampler s, const char *part) {
    dukd_failure f = {0};
    assert_int_equal(dukd_sampler_check(&s, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, part));
}

static void impossible_settings_are_refused(void **state) {
    (void)state;
    expect_misused(sampler_of(0, 1, 1, 1), "1 to");
    expect_misused(sampler_of(10, 0, 1, 1), "dataset_enlarge_ratio is 0");
    expect_misused(sampler_of(10, 1, 0, 1), "batch_size_per_gpu is 0");
    expect_misused(sampler_of(10, 1, 1, 0), "0 ranks");
    expect_misused(sampler_of(5, 1, 16, 1), "set dataset_enlarge_ratio to 4 or more");
    expect_misused(sampler_of(5, 3, 16, 1), "set dataset_enlarge_ratio to 4 or more");
    expect_misused(sampler_of(10, 1, 8, 4), "set dataset_enlarge_ratio to 4 or more");
    expect_misused(sampler_of(INT64_C(1) << 31, INT32_MAX, 1, 1), "2^53");
    expect_misused(sampler_of(INT64_MAX, 2, 1, 1), "1 to");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(a_stream_is_the_blocks_of_its_name),
        cmocka_unit_test(bounded_integers_have_no_bias),
        cmocka_unit_test(a_permutation_takes_every_place_once),
        cmocka_unit_test(all_orders_of_a_small_set_are_equally_likely),
        cmocka_unit_test(a_large_permutation_looks_random),
        cmocka_unit_test(an_epoch_shows_every_image_equally_often),
        cmocka_unit_test(epochs_have_basicsrs_length),
        cmocka_unit_test(dropped_images_change),
        cmocka_unit_test(crops_and_orientations_are_uniform_and_independent),
        cmocka_unit_test(switched_off_orientations_change_nothing_else),
        cmocka_unit_test(the_meaning_of_a_seed_is_kept),
        cmocka_unit_test(impossible_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
