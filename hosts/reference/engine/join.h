/* Engines of several processes that average arrays of their devices among themselves, by the library of these devices (NCCL), beside
 * what the engines compute.
 *
 * One process makes an id, all get it (by MPI) and join with it. A mean begins when what the engine was asked for before is done, and
 * goes on beside what it is asked for next; after dukd_join_mean_end the engine's runs wait for the means begun. Every process calls
 * in the same order with the same counts, and gets the same bits. Inside of a recording (recording.h) means are recorded, by all processes or
 * by none, and all replay together. [one thread at a time per engine] */
#ifndef DUKD_JOIN_H
#define DUKD_JOIN_H

#include "engine/engine.h"

#define DUKD_JOIN_ID_BYTES 128

/* 0: this engine's memory is the processor's, or its module was built without NCCL; *why (may be NULL) says so. */
int dukd_engine_can_join(const dukd_engine *e, const char **why);
/* id NULL: whether it could be done, and so whether this process can join. */
int dukd_join_make_id(dukd_engine *e, char id[DUKD_JOIN_ID_BYTES], dukd_failure *f);
/* Process `rank` of `count`; waits for the others. Once for an engine. */
int dukd_join_open(dukd_engine *e, const char id[DUKD_JOIN_ID_BYTES], int32_t rank, int32_t count,
                   dukd_failure *f);
/* broken: another process may be gone, or not come to what was begun: nothing is waited for, and what waits on the device is ended, so that
 * it can be released. Recorded steps (recording.h) can be replayed no more. Of an engine that has not joined: nothing. */
void dukd_join_close(dukd_engine *e, int broken);

/* x[count], f32 in the engine's memory, becomes its mean over the processes. */
int dukd_join_mean_begin(dukd_engine *e, float *x, int64_t count, dukd_failure *f);
/* *flag, 0 or 1 in the engine's memory, becomes 1 where any process has 1: begun and ended like a mean. */
int dukd_join_any_begin(dukd_engine *e, int32_t *flag, dukd_failure *f);
int dukd_join_mean_end(dukd_engine *e, dukd_failure *f);
/* Whether the processes can still meet, as far as is known: no call of the library has failed, nobody was lost. Does not wait. */
int dukd_join_check(dukd_engine *e, dukd_failure *f);

/* ---- what a backend has for it; all or none ---- */
typedef struct {
    int (*make_id)(void *engine, char *id, dukd_failure *f);
    int (*open)(void *engine, const char *id, int32_t rank, int32_t count, dukd_failure *f);
    void (*close)(void *engine, int broken);
    int (*mean_begin)(void *engine, float *x, int64_t count, dukd_failure *f);
    int (*any_begin)(void *engine, int32_t *flag, dukd_failure *f);
    int (*mean_end)(void *engine, dukd_failure *f);
    int (*check)(void *engine, dukd_failure *f);
} dukd_join_ops;

#endif
