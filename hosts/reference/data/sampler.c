/* Sample k of a run: epoch, image, crop and orientation, each drawn under its own key. */
#include "data/sampler.h"

#include <assert.h>

#include "common/random.h"

#define MAX_IMAGES  (INT64_C(1) << 31)
#define MAX_SAMPLES (INT64_C(1) << 53) /* samples an epoch; far above any run, far below overflow */
/* Rounds of the permutation. Every round exchanges each pair of places with probability 1/2, so a set of any
 * size is mixed after a few times log2(count) rounds; 96 is three times that for the largest count. */
#define ROUNDS 96

/* P: the places that an epoch permutes. */
static int64_t places(const dukd_sampler *s) {
    const int64_t total = s->images * s->enlarge;
    return (total + s->ranks - 1) / s->ranks * s->ranks;
}

int dukd_sampler_check(const dukd_sampler *s, dukd_failure *f) {
    if (s->images < 1 || s->images > MAX_IMAGES)
        return dukd_fail(f, DUKD_MISUSED, "a training set has 1 to %lld images, this one %lld",
                         (long long)MAX_IMAGES, (long long)s->images);
    if (s->batch < 1)
        return dukd_fail(f, DUKD_MISUSED, "batch_size_per_gpu is %d: it must be 1 or more", s->batch);
    if (s->enlarge < 1)
        return dukd_fail(f, DUKD_MISUSED, "dataset_enlarge_ratio is %d: it must be 1 or more", s->enlarge);
    if (s->ranks < 1) return dukd_fail(f, DUKD_MISUSED, "%d ranks: there must be 1 or more", s->ranks);
    if (s->images > MAX_SAMPLES / s->enlarge)
        return dukd_fail(f, DUKD_MISUSED,
                         "%lld images with dataset_enlarge_ratio %d are more than 2^53 samples an epoch",
                         (long long)s->images, s->enlarge);
    if (dukd_sampler_epoch_length(s) < 1) {
        const int64_t wanted = (int64_t)s->batch * s->ranks;
        return dukd_fail(
            f, DUKD_MISUSED,
            "%lld images with dataset_enlarge_ratio %d do not fill one batch of %lld (batch_size_per_gpu %d, "
            "ranks %d): set dataset_enlarge_ratio to %lld or more, or a smaller batch_size_per_gpu",
            (long long)s->images, s->enlarge, (long long)wanted, s->batch, s->ranks,
            (long long)((wanted + s->images - 1) / s->images));
    }
    return DUKD_DONE;
}

int64_t dukd_sampler_epoch_length(const dukd_sampler *s) {
    return places(s) / s->ranks / s->batch;
}

/* Hoang, Morris, Rogaway, "An enciphering scheme based on a card shuffle" (CRYPTO 2012): swap-or-not. A round
 * pairs x with (K - x) mod count under a random K and exchanges the pair or not, by a bit that depends on the
 * pair's larger member. It permutes a set of any size without memory, in time that does not depend on the
 * place. */
int64_t dukd_sampler_permute(uint64_t key, int64_t count, int64_t place) {
    assert(count >= 1 && place >= 0 && place < count);
    const uint32_t philox_key[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    dukd_random rounds = dukd_random_stream(key, DUKD_RANDOM_PERMUTATION, 0);
    int64_t x = place;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const int64_t pairing = (int64_t)dukd_random_below(&rounds, (uint64_t)count);
        const int64_t partner = pairing >= x ? pairing - x : pairing - x + count;
        const uint64_t larger = (uint64_t)(x > partner ? x : partner);
        /* Counters of the bits never meet those of `rounds`: there the first word is 0 and the third the
         * purpose. */
        const uint32_t counter[4] = {(uint32_t)larger, (uint32_t)(larger >> 32), ~round, 0};
        uint32_t bits[4];
        dukd_random_philox(counter, philox_key, bits);
        if (bits[0] & 1) x = partner;
    }
    return x;
}

int64_t dukd_sampler_image(const dukd_sampler *s, int64_t k, int64_t *epoch) {
    assert(k >= 0);
    const int64_t samples = dukd_sampler_epoch_length(s) * s->batch * s->ranks;
    const int64_t e = k / samples;
    dukd_random key = dukd_random_stream(s->seed, DUKD_RANDOM_EPOCH, (uint64_t)e);
    if (epoch) *epoch = e;
    return dukd_sampler_permute(dukd_random_bits(&key), places(s), k % samples) % s->images;
}

dukd_placement dukd_sampler_place(const dukd_sampler *s, int64_t k, int32_t width, int32_t height,
                                  int32_t side) {
    assert(side >= 1 && width >= side && height >= side);
    dukd_random crop = dukd_random_stream(s->seed, DUKD_RANDOM_CROP, (uint64_t)k);
    dukd_random turn = dukd_random_stream(s->seed, DUKD_RANDOM_ORIENTATION, (uint64_t)k);
    const uint64_t coins = dukd_random_bits(&turn);
    dukd_placement p;
    p.row = (int32_t)dukd_random_below(&crop, (uint64_t)(height - side) + 1);
    p.col = (int32_t)dukd_random_below(&crop, (uint64_t)(width - side) + 1);
    /* One coin an orientation, thrown whether it is used or not: use_hflip does not change the other draws.
     */
    p.orientation = 0;
    if (s->use_hflip && (coins & 1)) p.orientation |= DUKD_FLIP_LEFT_RIGHT;
    if (s->use_rot && (coins & 2)) p.orientation |= DUKD_FLIP_TOP_BOTTOM;
    if (s->use_rot && (coins & 4)) p.orientation |= DUKD_TRANSPOSE;
    return p;
}
