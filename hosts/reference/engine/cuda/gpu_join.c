/* The engine's part in joining others (join.h): gpu_ranks.h on its device and stream. */
#include "engine/cuda/gpu_ranks.h"
#include "engine/cuda/gpu_state.h"

_Static_assert(DUKD_JOIN_ID_BYTES == GPU_RANKS_ID_BYTES, "an id of join.h is one of NCCL");

static int make_id(void *engine, char *id, dukd_failure *f) {
    int status = gpu_enter(engine, f);
    if (status != DUKD_DONE) return status;
    return gpu_ranks_make_id(id, f);
}

static int open_ranks(void *engine, const char *id, int32_t rank, int32_t count, dukd_failure *f) {
    gpu_engine *e = engine;
    if (e->ranks) return dukd_fail(f, DUKD_MISUSED, "an engine joins others twice");
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    return gpu_ranks_open(&e->ranks, id, rank, count, e->stream, f);
}

/* NCCL ends a communicator once all graphs with sums of it are gone, and waits for that without an end. A graph that still waits for another
 * rank is gone when its sums are ended. */
static void close_ranks(void *engine, int broken) {
    gpu_engine *e = engine;
    if (!e->ranks) return;
    (void)gpu_enter(e, NULL);
    gpu_recordings_end(e, !broken);
    gpu_ranks_close(e->ranks, broken);
    e->ranks = NULL;
}

static int with_ranks(gpu_engine *e, dukd_failure *f) {
    if (!e->ranks) return dukd_fail(f, DUKD_MISUSED, "an engine averages before it has joined others");
    return gpu_enter(e, f);
}

static int mean_begin(void *engine, float *x, int64_t count, dukd_failure *f) {
    gpu_engine *e = engine;
    int status = with_ranks(e, f);
    if (status != DUKD_DONE) return status;
    return gpu_ranks_mean(e->ranks, x, count, f);
}

static int any_begin(void *engine, int32_t *flag, dukd_failure *f) {
    gpu_engine *e = engine;
    const int status = with_ranks(e, f);
    return status == DUKD_DONE ? gpu_ranks_any(e->ranks, flag, f) : status;
}

static int check(void *engine, dukd_failure *f) {
    gpu_engine *e = engine;
    const int status = with_ranks(e, f);
    return status == DUKD_DONE ? gpu_ranks_check(e->ranks, f) : status;
}

static int mean_end(void *engine, dukd_failure *f) {
    gpu_engine *e = engine;
    int status = with_ranks(e, f);
    if (status != DUKD_DONE) return status;
    status = gpu_ranks_check(e->ranks, f);
    if (status == DUKD_DONE) status = gpu_ranks_join(e->ranks, f);
    return status;
}

const dukd_join_ops gpu_join_ops = {.make_id = make_id,
                                    .open = open_ranks,
                                    .close = close_ranks,
                                    .mean_begin = mean_begin,
                                    .any_begin = any_begin,
                                    .mean_end = mean_end,
                                    .check = check};
