/* Random numbers that are a pure function of what they are for: (seed, purpose, index).
 *
 * Philox 4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011). Nothing has to be saved to resume a run, and no order of threads can change what is drawn. The
 * numbers are the same on every machine. All functions are thread-safe on distinct streams. */
#ifndef DUKD_RANDOM_H
#define DUKD_RANDOM_H

#include <stdint.h>

/* What a stream is for; streams of different purposes have nothing in common. Numbers are never reused or
 * changed: they are part of what a seed means. */
enum {
    DUKD_RANDOM_EPOCH = 1,       /* index: epoch; the key of its permutation */
    DUKD_RANDOM_PERMUTATION = 2, /* the rounds of a permutation */
    DUKD_RANDOM_CROP = 3,        /* index: sample */
    DUKD_RANDOM_ORIENTATION = 4, /* index: sample */
    DUKD_RANDOM_WEIGHTS = 5,     /* index: parameter * 2^40 + element; initial weights */
    DUKD_RANDOM_DROP_PATH =
        6, /* index: iteration; then, of the seed drawn by it, image of a tap (train/drops.c) */
    DUKD_RANDOM_PICTURE = 16,   /* index: picture of tools/make_images */
    DUKD_RANDOM_BOOTSTRAP = 17, /* index: resample */
    DUKD_RANDOM_TEST = 1000,    /* and above: tests */
};

/* A stream: copy it to remember a place in it. Made by dukd_random_stream; the fields are its own. */
typedef struct {
    uint64_t seed, index;
    uint32_t purpose;
    uint32_t block;   /* blocks of 128 bits made so far */
    uint64_t waiting; /* the second half of the last block */
    uint32_t has_waiting;
    uint32_t pad0;
} dukd_random;

dukd_random dukd_random_stream(uint64_t seed, uint32_t purpose, uint64_t index);
uint64_t dukd_random_bits(dukd_random *r); /* 64 random bits; a stream has 2^33 of these words */
/* Uniform in 0 .. bound - 1, without bias (words that would give one are drawn again). bound >= 1. */
uint64_t dukd_random_below(dukd_random *r, uint64_t bound);
double dukd_random_unit(dukd_random *r); /* uniform in [0, 1), a multiple of 2^-53 */

/* The generator itself: 128 bits of `counter` under 64 bits of `key`. */
void dukd_random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
