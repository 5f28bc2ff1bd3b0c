/* Which image, which crop and which orientation is sample k of a run: pure functions, no state, no memory.
 *
 * Samples are counted over the whole run from 0. The order is BasicSR's EnlargedSampler (data_sampler.py)
 * under a DataLoader with drop_last: an epoch is a permutation of P = ceil(images * enlarge / ranks) * ranks
 * places, place v is image v mod images, each rank takes P / ranks of them in batches of `batch`, and what
 * does not fill a last batch is dropped. So iterations an epoch  E = floor(P / ranks / batch),     samples an
 * epoch  L = E * batch * ranks, sample k:  epoch e = k / L,  image = permutation_e(k mod L) mod images.
 * Stated differences from BasicSR: the permutation is keyed by (seed, epoch), there by the epoch alone;
 * iteration t takes consecutive samples, of which rank i gets the i-th batch, there rank i gets every
 * ranks-th place (so the samples of a global batch do not depend on how many ranks share it, where images *
 * enlarge is a multiple of ranks); an epoch with no full batch is refused, there it trains nothing. The draws
 * themselves are other numbers than Python's.
 *
 * Crop and orientation are keyed by (seed, k) alone. [all thread-safe] */
#ifndef DUKD_SAMPLER_H
#define DUKD_SAMPLER_H

#include <stdint.h>

#include "common/failure.h"

typedef struct {
    uint64_t seed;
    int64_t images;             /* 1 .. 2^31 */
    int32_t enlarge;            /* dataset_enlarge_ratio, >= 1 */
    int32_t batch, ranks;       /* images a batch on one rank; ranks; both >= 1 */
    int32_t use_hflip, use_rot; /* 0 or 1 */
} dukd_sampler;

/* How a crop is turned, in BasicSR's order: first mirrored left-right, then top-bottom, then rows and columns
 * exchanged. */
enum { DUKD_FLIP_LEFT_RIGHT = 1, DUKD_FLIP_TOP_BOTTOM = 2, DUKD_TRANSPOSE = 4 };

typedef struct {
    int32_t row, col;    /* upper left corner in LR pixels; in HR, scale times that */
    int32_t orientation; /* the flags above */
} dukd_placement;

/* DUKD_MISUSED where a value is out of range, or the images do not fill one batch (the message says which
 * enlarge does). */
int dukd_sampler_check(const dukd_sampler *s, dukd_failure *f);
/* E: iterations in an epoch. Of a checked sampler, as below. */
int64_t dukd_sampler_epoch_length(const dukd_sampler *s);
/* The image of sample k >= 0, and its epoch (epoch may be NULL). */
int64_t dukd_sampler_image(const dukd_sampler *s, int64_t k, int64_t *epoch);
/* Crop and orientation of sample k out of an LR image of width x height, both >= side >= 1: the corner is
 * uniform over every place where the crop fits; with use_hflip left-right, with use_rot top-bottom and
 * transpose, each with probability 1/2. */
dukd_placement dukd_sampler_place(const dukd_sampler *s, int64_t k, int32_t width, int32_t height,
                                  int32_t side);

/* A pseudo-random permutation of 0 .. count - 1: where `place` goes under `key`. count >= 1. */
int64_t dukd_sampler_permute(uint64_t key, int64_t count, int64_t place);

#endif
