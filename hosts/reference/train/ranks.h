/* Several processes ("ranks") that train one network together: each steps through its own part of the batch, and what is added up
 * over all ranks makes their weights move alike.
 *
 * Who has no launcher, or is alone, has no ranks: a NULL dukd_ranks is one rank, every function below takes it, and none of them then
 * does anything. Otherwise a module (ranks_backend.h; libdukd-mpi.so) reaches the others.
 *
 * MEETINGS. Every exchange follows a meeting that came out well, with nothing in between that can fail. In a meeting each rank says
 * whether it is well, and where it is. A rank that fails anywhere comes to the next meeting with its failure, and all ranks have it
 * then, with its message: so nobody waits for a rank that will not come, and one rank can tell it all. After that, or after an exchange that
 * did not work, the ranks are over: every function returns DUKD_FAILED at once.
 *
 * BITS. All ranks get the same bits, and for a given number of ranks the same from run to run, whatever the library does: sums go in the order
 * of the ranks, in double precision. [one thread, which is the one that has opened them] */
#ifndef DUKD_RANKS_H
#define DUKD_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

typedef struct dukd_ranks dukd_ranks;
typedef struct dukd_ranks_backend dukd_ranks_backend;

typedef struct {
    int32_t rank, count;             /* 0 .. count - 1 */
    int32_t local_rank, local_count; /* among those on this machine */
    char library[160];               /* "Open MPI v4.1.4"; "" where there are no ranks */
} dukd_ranks_info;

/* *out is NULL where no launcher has started this process, or none but this one. A launcher of several processes without
 * a module that reaches them (or with one of another MPI) is an error: these would be so many independent trainings of one folder. */
int dukd_ranks_open(dukd_ranks **out, dukd_failure *f);
/* Around a backend that was found otherwise (tests). It takes the backend's context, also where it fails. */
int dukd_ranks_create(dukd_ranks **out, const dukd_ranks_backend *backend, void *ctx,
                      const dukd_ranks_info *info, dukd_failure *f);
/* Waits for the others; where they cannot be reached any more it ends them. */
void dukd_ranks_close(dukd_ranks *r);

const dukd_ranks_info *dukd_ranks_get_info(const dukd_ranks *r);
/* 1 on the rank that writes files and speaks to the terminal: rank 0; and on each that can reach no other. */
int dukd_ranks_speaks(const dukd_ranks *r);
/* What dukd-host --version says of it: "MPI: Open MPI v4.1.4 (lib/libdukd-mpi.so)", or why there is none. */
void dukd_ranks_describe(char *out, size_t size);

/* Where a meeting is: ranks that meet at different places have lost each other, which is an error that names both. */
typedef enum {
    DUKD_AT_PLUGIN = 1, /* it is open */
    DUKD_AT_OPTIONS,    /* they are read */
    DUKD_AT_TEXT,       /* of the options: there is room for it */
    DUKD_AT_SEED,
    DUKD_AT_THREADS,
    DUKD_AT_JOIN,     /* the engines are open, and would join */
    DUKD_AT_START,    /* everything is set up */
    DUKD_AT_WEIGHTS,  /* they are compared */
    DUKD_AT_LOOP,     /* between two iterations */
    DUKD_AT_RECORD,   /* whether steps are recorded */
    DUKD_AT_GRADIENT, /* before it is averaged */
    DUKD_AT_LOOK,     /* before a device is waited for */
    DUKD_AT_LOSSES,   /* before they are averaged */
    DUKD_AT_VALIDATION,
    DUKD_AT_END,
} dukd_ranks_place;

/* `status`, with its message in *f, is this rank's. The result is 0 where all are well, else the status of the first that is not, whose
 * message is in *f then, for all but its own with "rank N: " before it. *flags (NULL: none) become those of all ranks together.
 * Waits for all ranks. */
int dukd_ranks_meet(dukd_ranks *r, dukd_ranks_place place, int status, uint32_t *flags, dukd_failure *f);

/* Rank 0's bytes for all. */
int dukd_ranks_broadcast(dukd_ranks *r, void *data, int64_t bytes, dukd_failure *f);

/* The bytes of all ranks, one after the other: *all is [count][bytes], until the next exchange; bytes <= DUKD_RANKS_GATHER. With one
 * rank *all is `mine`. */
enum { DUKD_RANKS_GATHER = 8192 };
int dukd_ranks_gather(dukd_ranks *r, const void *mine, int32_t bytes, const void **all, dukd_failure *f);

/* values[count] become their sums over all ranks. */
int dukd_ranks_sum(dukd_ranks *r, double *values, int64_t count, dukd_failure *f);

/* array[offset .. offset + count - 1] become their means over all ranks. Begun, it goes on beside what the caller does, who leaves these
 * elements alone; any number may be begun, in the same order on all ranks, and all have ended when mean_end returns. A mean of
 * what all ranks have alike is what it was, so that gradients which are added to a mean can be averaged again. (A backend of a
 * device takes arrays of its memory, ordered with the engine's stream: parts can be begun as backward finishes them,
 * dukd_exec_set_listener.) */
int dukd_ranks_mean_begin(dukd_ranks *r, float *array, int64_t offset, int64_t count, dukd_failure *f);
int dukd_ranks_mean_end(dukd_ranks *r, dukd_failure *f);

#endif
