/* How many threads a rank gets. */
#ifndef DUKD_RANKS_THREADS_H
#define DUKD_RANKS_THREADS_H

#include <stdint.h>

#include "train/ranks.h"

typedef struct {
    int32_t threads; /* of this rank */
    int32_t
        processors; /* of all ranks of this machine together; 0: nobody has started them, and nothing was looked at */
    int32_t unbound; /* 1: a launcher had bound this rank to fewer processors than it gets threads */
} dukd_ranks_threads;

/* `wanted` threads, or where that is 0 (and OMP_NUM_THREADS does not say) this rank's share: the processors of all ranks on this machine,
 * divided by their number. Open MPI binds each of one or two ranks to a single core, where all threads would share it: such a
 * rank gets back the processors that its launcher has. Nothing is done to a process that no launcher has started. To be called
 * once, before there are other threads. */
int dukd_ranks_take_threads(dukd_ranks *r, int32_t wanted, dukd_ranks_threads *out, dukd_failure *f);

#endif
