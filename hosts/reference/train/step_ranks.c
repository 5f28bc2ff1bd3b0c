/* What the ranks of a training have to tell each other in a step. */
#include <stdio.h>
#include <stdlib.h>

#include "train/step_state.h"

enum { BROKEN = 1, NOT_RECORDED = 1 };

/* The mean of an array of the engine's. A backend that reaches the processor's memory alone gets a copy where the engine has its own. */
static int average(dukd_stepper *s, float *values, int64_t count, dukd_failure *f) {
    dukd_mirror m = {0};
    if (s->o.joined) return dukd_join_mean_begin(s->o.engine, values, count, f);
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

/* The means of what backward has not begun. */
static int average_rest(dukd_stepper *s, uint32_t begun, dukd_failure *f) {
    int status = 0;
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++)
        if (s->sets[i].graph && s->sets[i].adam &&
            !(begun >> i & 1)) /* another set has what is optimized as a part of it */
            status = average(s, s->sets[i].gradient, s->sets[i].count, f);
    return status || !s->own.count ? status : average(s, s->own.gradient, s->own.count, f);
}

/* All of it on the devices: the flag goes where the gradients go, and nobody waits. */
static int average_there(dukd_stepper *s, dukd_failure *f) {
    const uint32_t begun = s->begun;
    s->begun = 0;
    int status = average_rest(s, begun, f);
    if (!status) status = dukd_join_any_begin(s->o.engine, s->flag, f);
    return status ? status : dukd_join_mean_end(s->o.engine, f);
}

int dukd_step_average_gradients(dukd_stepper *s, dukd_failure *f) {
    int32_t broken = 0;
    uint32_t flags = 0;
    if (!s->o.ranks) return 0;
    if (!dukd_step_ranks_wait(s)) return average_there(s, f);
    int status = dukd_engine_download(s->o.engine, &broken, s->flag, sizeof broken, f);
    if (status) return status;
    if (broken) flags = BROKEN;
    status = dukd_ranks_meet(s->o.ranks, DUKD_AT_GRADIENT, 0, &flags, f);
    if (status) return status;
    if (flags & BROKEN && s->o.joined) status = dukd_join_mean_end(s->o.engine, f); /* of what has begun */
    const uint32_t begun = s->begun;
    s->begun = 0;
    if (status) return status;
    if (flags & BROKEN) { /* on any rank: nobody steps, and what is there is of no use until it is cleared */
        broken = 1;
        return dukd_engine_upload(s->o.engine, s->flag, &broken, sizeof broken, f);
    }
    status = average_rest(s, begun, f);
    if (status) return status;
    return s->o.joined ? dukd_join_mean_end(s->o.engine, f) : dukd_ranks_mean_end(s->o.ranks, f);
}

/* ---------------------------------------------------------------- beside backward */

/* Parts of a gradient that lie side by side are averaged as one, as soon as there are so many elements: a small sum costs as much time as
 * one of this size, a larger one begins later. */
enum { BUCKET = 1 << 20 };

static void begin_bucket(dukd_bucket *b) {
    if (!b->count || b->failure.status) return;
    (void)dukd_join_mean_begin(b->engine, b->gradient + b->first, b->count, &b->failure);
    b->begun += b->count;
    b->count = 0;
}

static void part_is_ready(void *ctx, int64_t first, int64_t count) {
    dukd_bucket *b = ctx;
    if (b->count && first + count == b->first) {
        b->first = first;
        b->count += count;
    } else if (b->count && b->first + b->count == first) {
        b->count += count;
    } else {
        begin_bucket(b);
        b->first = first;
        b->count = count;
    }
    if (b->count >= BUCKET) begin_bucket(b);
}

/* Whether backward of group k brings the last that flows into its network's gradient before an optimizer step. */
static int is_last(const dukd_stepper *s, const dukd_pass *pass, int32_t k) {
    const dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    if (!(pass->flags & DUKD_PASS_OPTIMIZE_AFTER) || s->share.at) return 0;
    for (int32_t i = 0; i < k; i++)
        if (slot->groups[i].wants && slot->groups[i].network == slot->groups[k].network) return 0;
    return 1;
}

int dukd_step_listen(dukd_stepper *s, const dukd_pass *pass, int32_t k, dukd_bucket *b) {
    const dukd_tap_group *g = &s->slots.passes[pass->plan_index].groups[k];
    const dukd_trained *set = &s->sets[g->network];
    if (!s->o.joined || !set->graph || !set->adam || !is_last(s, pass, k)) return 0;
    *b = (dukd_bucket){.engine = s->o.engine, .gradient = set->gradient};
    const dukd_gradient_listener listener = {.ready = part_is_ready, .ctx = b};
    dukd_exec_set_listener(g->exec, &listener);
    return 1;
}

int dukd_step_heard(dukd_stepper *s, const dukd_pass *pass, int32_t k, dukd_bucket *b, int failed,
                    dukd_failure *f) {
    const dukd_tap_group *g = &s->slots.passes[pass->plan_index].groups[k];
    dukd_exec_set_listener(g->exec, NULL);
    if (failed) return failed;
    begin_bucket(b);
    if (b->failure.status) return dukd_fail(f, b->failure.status, "%s", b->failure.message);
    if (b->begun != s->sets[g->network].count)
        return dukd_fail(f, DUKD_FAILED,
                         "the engine has told of %lld elements of a gradient of %lld: a fault of the engine",
                         (long long)b->begun, (long long)s->sets[g->network].count);
    s->begun |= 1u << g->network;
    return 0;
}

/* ---------------------------------------------------------------- recording, and looking */

int dukd_step_all_can_record(dukd_stepper *s, int *can, dukd_failure *f) {
    uint32_t flags = *can ? 0 : NOT_RECORDED;
    if (dukd_step_ranks_wait(s)) return 0; /* nobody can */
    const int status = dukd_ranks_meet(s->o.ranks, DUKD_AT_RECORD, 0, &flags, f);
    *can = !(flags & NOT_RECORDED);
    return status;
}

int dukd_step_all_recorded(dukd_stepper *s, dukd_failure *why, dukd_failure *f) {
    enum { LINE = 512 };
    char mine[LINE] = "";
    const void *all;
    uint32_t flags = why->status ? NOT_RECORDED : 0;
    if (!s->o.ranks) return 0;
    /* Ranks whose sums do not work any more cannot go on call by call either. */
    int status = why->status ? dukd_join_check(s->o.engine, f) : 0;
    status = dukd_ranks_meet(s->o.ranks, DUKD_AT_RECORD, status, &flags, f);
    if (status || !(flags & NOT_RECORDED)) return status;
    if (why->status) snprintf(mine, sizeof mine, "%.*s", LINE - 1, why->message[0] ? why->message : "?");
    status = dukd_ranks_gather(s->o.ranks, mine, sizeof mine, &all, f);
    const char *line = all;
    int32_t first = 0;
    while (!status && first < dukd_ranks_get_info(s->o.ranks)->count - 1 && !line[(size_t)first * LINE])
        first++;
    *why = (dukd_failure){0};
    if (!status) (void)dukd_fail(why, DUKD_FAILED, "rank %d: %s", (int)first, line + (size_t)first * LINE);
    return status;
}

int dukd_step_before_look(dukd_stepper *s, dukd_failure *f) {
    if (!s->o.ranks || dukd_step_ranks_wait(s)) return 0;
    int status = dukd_join_check(s->o.engine, f);
    return dukd_ranks_meet(s->o.ranks, DUKD_AT_LOOK, status, NULL, f);
}

int dukd_step_average_losses(dukd_stepper *s, dukd_failure *f) {
    dukd_ranks *r = s->o.ranks;
    const uint32_t count = s->losses.n_losses; /* the same in every step */
    uint32_t flags = s->broken ? BROKEN : 0;
    int status = 0;
    if (!r) return 0;
    if (!s->mean_losses) s->mean_losses = calloc((size_t)count + 1, sizeof *s->mean_losses);
    if (!s->mean_losses)
        status = dukd_fail_memory(f, "the losses", (unsigned long long)count * sizeof(double));
    status = dukd_ranks_meet(r, DUKD_AT_LOSSES, status, &flags, f);
    if (status) return status;
    if (flags & BROKEN) s->broken = 1;
    for (uint32_t i = 0; i < count; i++) s->mean_losses[i] = s->losses.values[i];
    status = dukd_ranks_sum(r, s->mean_losses, count, f);
    for (uint32_t i = 0; i < count; i++) s->mean_losses[i] /= dukd_ranks_get_info(r)->count;
    s->losses.values = s->mean_losses;
    return status;
}
