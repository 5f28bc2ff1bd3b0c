/* One pass: its taps, what the plugin makes of them, backward, optimizer and average. */
#include <stdint.h>
#include <string.h>

#include "common/plugin_load.h"
#include "train/step_state.h"

dukd_drop_key dukd_step_key(const dukd_stepper *s, const dukd_pass *pass, uint32_t tap) {
    return (dukd_drop_key){.seed = s->o.seed,
                           .iteration = s->iteration,
                           .first_sample = s->first_sample,
                           .batch = s->o.batch / s->o.micro_batches,
                           .network = pass->taps[tap]->network,
                           .pass = pass->plan_index,
                           .tap = tap};
}

/* ---------------------------------------------------------------- forward */

/* The same for the same group, however often it is run. */
int dukd_step_draw_drops(dukd_stepper *s, dukd_failure *f) {
    int status = 0;
    for (uint32_t p = 0; p < s->plan->n_passes; p++) {
        const dukd_pass_slot *slot = &s->slots.passes[p];
        for (int32_t k = 0; k < slot->group_count && !status; k++) {
            const dukd_tap_group *g = &slot->groups[k];
            if (!g->drops.count) continue;
            const dukd_drop_key key = dukd_step_key(s, s->plan->passes[p], g->first);
            dukd_drops_draw(s->networks.graphs[g->network], &key, (int32_t)g->in_shape[0], g->drops.host);
            if (!g->asked) status = dukd_mirror_up(&g->drops, g->drops.count, f);
        }
    }
    return status;
}

static int source_of(dukd_stepper *s, const dukd_pass *pass, const dukd_tap_group *g, const float **out,
                     dukd_failure *f) {
    const dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    if (g->source_kind == DUKD_SOURCE_TAP) {
        *out = slot->taps[g->source_id].value.data;
        return 0;
    }
    return dukd_dense(s->o.engine, pass->inputs[g->source_id]->tensor, s->input_room, out, f);
}

/* An engine keeps the activations of its last forward for training alone: backward runs the others again. */
static int forward(dukd_stepper *s, const dukd_pass *pass, dukd_tap_group *g, dukd_failure *f) {
    const float *source = NULL;
    dukd_exec_set_drops(g->exec, g->drops.there);
    if (g->wants) s->fresh = NULL;
    int status = source_of(s, pass, g, &source, f);
    if (!status) status = dukd_exec_forward(g->exec, (int32_t)g->in_shape[0], source, g->values, f);
    if (g->wants && !status) s->fresh = g;
    s->run_passes[g->network]++;
    s->run_images[g->network] += g->in_shape[0];
    return status;
}

static int compute_taps(dukd_stepper *s, const dukd_pass *pass, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    int status = 0;
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        dukd_tap_slot *t = &slot->taps[i];
        const dukd_tap_group *g = &slot->groups[t->group];
        if (g->asked)
            t->value.data = dukd_answers_value(s->answers[g->network], g->ticket, g->outputs[t->output]);
    }
    for (int32_t k = 0; k < slot->group_count && !status; k++)
        if (!slot->groups[k].asked) status = forward(s, pass, &slot->groups[k], f);
    /* An infinite output can have a finite gradient: sign(inf). To leave a step out one has to look before it; and where losses are
     * seldom read nothing else would tell. */
    if (s->o.nonfinite != DUKD_NONFINITE_SKIP && !s->late) return status;
    for (uint32_t i = 0; i < pass->n_taps && !status; i++)
        status = dukd_engine_note_nonfinite(s->o.engine, slot->taps[i].value.data,
                                            dukd_shape_elements(slot->taps[i].shape), s->flag, f);
    return status;
}

/* ---------------------------------------------------------------- backward */

/* The cotangents of a group's outputs. Taps of one output have their backward together: their gradients add up in the first one's. */
static int gather_gradients(const dukd_stepper *s, const dukd_pass *pass, dukd_pass_slot *slot, int32_t group,
                            dukd_failure *f) {
    dukd_tap_group *g = &slot->groups[group];
    int status = 0;
    for (int32_t o = 0; o < g->output_count; o++) g->d_outputs[o] = NULL;
    for (uint32_t i = 0; i < pass->n_taps && !status; i++) {
        dukd_tap_slot *t = &slot->taps[i];
        if (t->group != group || !(pass->taps[i]->flags & DUKD_TAP_WANT_GRAD)) continue;
        float **sum = &g->d_outputs[t->output];
        if (*sum)
            status = dukd_engine_add(s->o.engine, *sum, t->grad.data, dukd_shape_elements(t->shape), f);
        else
            *sum = t->grad.data;
    }
    return status;
}

/* Where the source is a tap, the group's gradient flows on into that tap's. */
static int backward(dukd_stepper *s, const dukd_pass *pass, int32_t group, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    dukd_tap_group *g = &slot->groups[group];
    const dukd_trained *set = &s->sets[g->network];
    if (!set->graph && !g->d_input) return 0; /* a frozen network on a source that wants no gradient */
    int status = gather_gradients(s, pass, slot, group, f);
    if (!status && s->fresh != g) status = forward(s, pass, g, f);
    s->fresh = NULL; /* backward uses the activations up */
    dukd_bucket bucket;
    const int listens = !status && dukd_step_listen(s, pass, group, &bucket);
    if (!status)
        status = dukd_exec_backward(g->exec, (const float *const *)g->d_outputs,
                                    set->graph ? set->gradient : NULL, g->d_input, f);
    if (listens) status = dukd_step_heard(s, pass, group, &bucket, status, f);
    if (!status && g->d_input)
        status = dukd_engine_add(s->o.engine, slot->taps[g->source_id].grad.data, g->d_input,
                                 dukd_shape_elements(g->in_shape), f);
    return status;
}

/* ---------------------------------------------------------------- what a pass's flags ask for */

static int clear(dukd_stepper *s, dukd_failure *f) {
    int status = dukd_own_params_clear(&s->own, f);
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++) status = dukd_trained_clear(&s->sets[i], f);
    if (status || s->late) return status;
    return dukd_engine_clear(s->o.engine, s->flag, sizeof *s->flag, f);
}

static int look_at_gradients(dukd_stepper *s, dukd_failure *f) {
    dukd_engine *e = s->o.engine;
    int status = 0;
    if (s->own.count) status = dukd_engine_note_nonfinite(e, s->own.gradient, s->own.count, s->flag, f);
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++)
        if (s->sets[i].graph)
            status = dukd_engine_note_nonfinite(e, s->sets[i].gradient, s->sets[i].count, s->flag, f);
    return status;
}

int dukd_step_set_weights(dukd_stepper *s, dukd_failure *f) {
    int status = 0;
    s->fresh = NULL;
    for (uint32_t i = 0; i < s->networks.count && !status; i++) {
        if (!s->sets[i].graph) continue;
        status = dukd_network_set_weights(s->compiled[i], s->sets[i].weights, f);
        if (s->answers[i]) dukd_answers_stale(s->answers[i]);
    }
    return status;
}

static int take_step(dukd_stepper *s, dukd_failure *f) {
    const dukd_optimizer_scalars *k = s->scalars_there + s->optimized;
    const int32_t *broken = s->late ? s->flag : NULL;
    if (s->optimized == s->scalar_room)
        return dukd_fail(f, DUKD_FAILED, "the plugin asks for more optimizer steps than its plan has passes");
    s->optimized++;
    int status = dukd_own_params_optimize(&s->own, s->o.sgd, k, broken, f);
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++)
        status = dukd_trained_optimize(&s->sets[i], s->o.sgd, k, broken, f);
    if (!status && s->share.at)
        status = dukd_share_take_there(&s->share, s->o.engine, s->sets[1].weights, s->sets[0].weights, f);
    return status;
}

/* With `late` a step is counted that the device may leave out: that ends the run. */
static int optimize(dukd_stepper *s, dukd_failure *f) {
    int status = 0;
    int32_t broken = 0;
    if (s->share.at)
        status = dukd_share_give_there(&s->share, s->o.engine, s->sets[0].gradient, s->sets[1].gradient, f);
    if (!status) status = dukd_step_average_gradients(s, f);
    if (!status) status = look_at_gradients(s, f);
    if (!status && !s->late) status = dukd_engine_download(s->o.engine, &broken, s->flag, sizeof broken, f);
    if (status) return status;
    if (broken) {
        s->broken = 1;
        s->counts.skipped_steps++;
        return 0;
    }
    status = take_step(s, f);
    if (status) return status;
    s->counts.optimizer_steps++;
    s->moved = 1;
    return dukd_step_set_weights(s, f);
}

static int average(dukd_stepper *s, dukd_failure *f) {
    const int32_t *broken = s->late ? s->flag : NULL;
    int status = dukd_own_params_average(&s->own, s->o.ema_decay, broken, f);
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++)
        status = dukd_trained_average(&s->sets[i], s->o.ema_decay, broken, f);
    if (!status && s->share.at)
        status = dukd_share_take_there(&s->share, s->o.engine, s->sets[1].ema, s->sets[0].ema, f);
    s->moved = 0;
    return status;
}

static int submit(dukd_stepper *s, const dukd_pass *pass, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    const dukd_submit message = {
        .struct_size = DUKD_SUBMIT_SIZE,
        .pass_id = pass->id,
        .n_taps = pass->n_taps,
        .values = slot->values,
        .grads = slot->grads,
        .grad_scale = 1,
    };
    dukd_error e = dukd_error_ready();
    int32_t code = s->o.plugin->submit_pass(s->session, &message, &e);
    return code == DUKD_OK ? 0 : dukd_fail_plugin(f, "submit_pass", code, &e);
}

int dukd_step_run_pass(dukd_stepper *s, const dukd_pass *pass, dukd_failure *f) {
    const dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    int status = 0;
    if (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) status = clear(s, f);
    if (!status) status = compute_taps(s, pass, f);
    if (!status) status = submit(s, pass, f);
    for (int32_t k = slot->group_count - 1; pass->flags & DUKD_PASS_BACKWARD && k >= 0 && !status; k--)
        if (slot->groups[k].wants) status = backward(s, pass, k, f);
    if (!status && pass->flags & DUKD_PASS_OPTIMIZE_AFTER) status = optimize(s, f);
    if (!status && pass->flags & DUKD_PASS_EMA_AFTER && s->o.ema && s->moved) status = average(s, f);
    return status;
}
