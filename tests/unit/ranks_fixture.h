/* Ranks without MPI: processes of this machine that share a page, for tests of what goes on between ranks. */
#ifndef DUKD_TEST_RANKS_FIXTURE_H
#define DUKD_TEST_RANKS_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "train/ranks.h"

enum { RANKS_MOST = 4, RANKS_ANSWER = 8192, RANKS_FLOATS = 65536 };

/* Runs `body` in `count` processes, one a rank, each with RANKS_ANSWER bytes (zeros before) to put its answer in, and waits for all.
 * Bodies may not assert: what they leave is looked at here. break_at: the rank whose backend fails at its n-th exchange
 * (break_after, from 0); -1: none. Fails the test where a process does not end well. */
typedef void ranks_body(dukd_ranks *r, void *answer);
typedef struct {
    int32_t count, break_at, break_after;
} ranks_plan;
void ranks_run(const ranks_plan *plan, ranks_body *body);
const void *ranks_answer(int32_t rank); /* of the last run */

#endif
