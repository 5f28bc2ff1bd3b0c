/* Engines that join: a backend's own. */
#include "engine/join.h"

#include "engine/engine_state.h"

int dukd_engine_can_join(const dukd_engine *e, const char **why) {
    if (why) *why = e->place.on_host ? "its memory is the processor's" : "its module was built without NCCL";
    return e->backend->join != NULL;
}

static const dukd_join_ops *ops_of(const dukd_engine *e, dukd_failure *f) {
    const char *why;
    if (!dukd_engine_can_join(e, &why))
        dukd_fail(f, DUKD_MISUSED, "the engine %s does not join others: %s", e->info.name, why);
    return e->backend->join;
}

int dukd_join_make_id(dukd_engine *e, char id[DUKD_JOIN_ID_BYTES], dukd_failure *f) {
    const dukd_join_ops *ops = ops_of(e, f);
    return ops ? ops->make_id(e->state, id, f) : DUKD_MISUSED;
}

int dukd_join_open(dukd_engine *e, const char id[DUKD_JOIN_ID_BYTES], int32_t rank, int32_t count,
                   dukd_failure *f) {
    const dukd_join_ops *ops = ops_of(e, f);
    return ops ? ops->open(e->state, id, rank, count, f) : DUKD_MISUSED;
}

void dukd_join_close(dukd_engine *e, int broken) {
    if (e && e->backend->join) e->backend->join->close(e->state, broken);
}

int dukd_join_mean_begin(dukd_engine *e, float *x, int64_t count, dukd_failure *f) {
    const dukd_join_ops *ops = ops_of(e, f);
    return ops ? ops->mean_begin(e->state, x, count, f) : DUKD_MISUSED;
}

int dukd_join_mean_end(dukd_engine *e, dukd_failure *f) {
    const dukd_join_ops *ops = ops_of(e, f);
    return ops ? ops->mean_end(e->state, f) : DUKD_MISUSED;
}

int dukd_join_any_begin(dukd_engine *e, int32_t *flag, dukd_failure *f) {
    const dukd_join_ops *ops = ops_of(e, f);
    return ops ? ops->any_begin(e->state, flag, f) : DUKD_MISUSED;
}

int dukd_join_check(dukd_engine *e, dukd_failure *f) {
    const dukd_join_ops *ops = ops_of(e, f);
    return ops ? ops->check(e->state, f) : DUKD_MISUSED;
}
