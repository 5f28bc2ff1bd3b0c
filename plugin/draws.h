/* Random draws: the one place where a session's chance comes from.
 *
 * A draw is a pure function of the session's seed and of what the draw is for (dukd_draw of dukd_ext_draws.h:
 * what, branch, iteration, sample, crop): no state, so the same for any number of threads, micro-batches and
 * ranks, and nothing to save. Every draw can be replaced by a source of the host's, extension "dukd.draws/1".
 *
 * What a seed means is laid down here and must not change between versions:
 *     key       = first 64 bits of Philox(counter: iteration, what + 256 branch, crop; key: seed)
 *     block(a)  = Philox(counter: sample, a, 0; key)          a = 0, 1, ... the attempt
 *     u         = words 0, 1 of the block, v = words 2, 3     64 bits each, low word first
 *     yes       = (u >> 11) 2^-53 < probability, of block 0
 *     below(n)  = v mod n of the first block whose v >= 2^64 mod n */
#ifndef DUKD_DRAWS_H
#define DUKD_DRAWS_H

#include "dukd_ext_draws.h"

typedef struct {
    uint64_t seed;
    dukd_draw_source source; /* NULL: the draws above */
    void *ctx;
} dukd_draws;

/* What a draw is for; `bound` and `probability` are set by the functions below. */
dukd_draw dukd_draw_of(uint32_t what, uint32_t branch, int64_t iteration, int64_t sample, uint32_t crop);

/* All of these: DUKD_OK; what a source returned as its error; DUKD_E_ARGUMENT where its value is out of
 * bounds. */

/* 0 .. bound - 1, uniform. bound >= 1. */
int32_t dukd_draw_below(const dukd_draws *draws, dukd_draw draw, uint64_t bound, uint64_t *value,
                        dukd_error *error);
/* 0 | 1, 1 with probability p. */
int32_t dukd_draw_yes(const dukd_draws *draws, dukd_draw draw, double p, uint32_t *value, dukd_error *error);
/* 0 .. 3: with probability p one of 1, 2, 3, each as likely as the other. */
int32_t dukd_draw_turns(const dukd_draws *draws, dukd_draw draw, double p, uint32_t *value,
                        dukd_error *error);
/* 0 .. bound - 1, uniform among those that are not in taken[0 .. n_taken - 1] (ascending, n_taken < bound);
 * the value is added to `taken`, which has room for it, in its order. A source may not give a taken one. */
int32_t dukd_draw_untaken(const dukd_draws *draws, dukd_draw draw, uint64_t bound, uint32_t *taken,
                          uint32_t n_taken, uint32_t *value, dukd_error *error);

#endif
