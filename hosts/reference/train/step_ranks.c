/* What the ranks of a training have to tell each other in a step. */
#include <stdlib.h>

#include "train/step_state.h"

enum { BROKEN = 1 };

/* The mean of an array of the engine's. A backend that reaches the processor's memory alone gets a copy where the engine has its own. */
static int average(dukd_stepper *s, float *values, int64_t count, dukd_failure *f) {
    dukd_mirror m = {0};
    if (dukd_engine_get_place(s->o.engine)->on_host)
        return dukd_ranks_mean_begin(s->o.ranks, values, 0, count, f);
    int status = dukd_mirror_of_engine(&m, s->o.engine, values, count, "gradients", f);
    status = dukd_ranks_meet(s->o.ranks, DUKD_AT_GRADIENT, status, NULL, f);
    if (!status) status = dukd_ranks_mean_begin(s->o.ranks, m.host, 0, count, f);
    if (!status) status = dukd_ranks_mean_end(s->o.ranks, f);
    if (!status) status = dukd_mirror_up(&m, count, f);
    dukd_mirror_free(&m);
    return status;
}

int dukd_step_average_gradients(dukd_stepper *s, dukd_failure *f) {
    int32_t broken = 0;
    uint32_t flags = 0;
    if (!s->o.ranks) return 0;
    int status = dukd_engine_download(s->o.engine, &broken, s->flag, sizeof broken, f);
    if (status) return status;
    if (broken) flags = BROKEN;
    status = dukd_ranks_meet(s->o.ranks, DUKD_AT_GRADIENT, 0, &flags, f);
    if (status) return status;
    if (flags & BROKEN) { /* on any rank: nobody steps, and what is there is of no use until it is cleared */
        broken = 1;
        return dukd_engine_upload(s->o.engine, s->flag, &broken, sizeof broken, f);
    }
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++)
        if (s->sets[i].graph && s->sets[i].adam) /* another set has what is optimized as a part of it */
            status = average(s, s->sets[i].gradient, s->sets[i].count, f);
    if (!status && s->own.count) status = average(s, s->own.gradient, s->own.count, f);
    return status ? status : dukd_ranks_mean_end(s->o.ranks, f);
}

int dukd_step_average_losses(dukd_stepper *s, dukd_failure *f) {
    dukd_ranks *r = s->o.ranks;
    const uint32_t count = s->losses.n_losses; /* the same in every step */
    int status = 0;
    if (!r) return 0;
    if (!s->mean_losses) s->mean_losses = calloc((size_t)count + 1, sizeof *s->mean_losses);
    if (!s->mean_losses)
        status = dukd_fail_memory(f, "the losses", (unsigned long long)count * sizeof(double));
    status = dukd_ranks_meet(r, DUKD_AT_LOSSES, status, NULL, f);
    if (status) return status;
    for (uint32_t i = 0; i < count; i++) s->mean_losses[i] = s->losses.values[i];
    status = dukd_ranks_sum(r, s->mean_losses, count, f);
    for (uint32_t i = 0; i < count; i++) s->mean_losses[i] /= dukd_ranks_get_info(r)->count;
    s->losses.values = s->mean_losses;
    return status;
}
