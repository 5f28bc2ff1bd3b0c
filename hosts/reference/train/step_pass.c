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

/* Draws the drop paths of a group in training mode; the same for the same group, however often it is run. */
static void set_drops(const dukd_stepper *s, const dukd_pass *pass, dukd_tap_group *g) {
    if (!g->drops) {
        dukd_exec_set_drops(g->exec, NULL);
        return;
    }
    const dukd_drop_key key = dukd_step_key(s, pass, g->first);
    dukd_drops_draw(s->networks.graphs[g->network], &key, (int32_t)g->in_shape[0], g->drops);
    dukd_exec_set_drops(g->exec, g->drops);
}

static const float *source_of(dukd_stepper *s, const dukd_pass *pass, const dukd_tap_group *g) {
    const dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    if (g->source_kind == DUKD_SOURCE_TAP) return slot->taps[g->source_id].value.data;
    return dukd_dense(pass->inputs[g->source_id]->tensor, s->input_room);
}

/* An engine keeps the activations of its last forward for training alone: backward runs the others again. */
static int forward(dukd_stepper *s, const dukd_pass *pass, dukd_tap_group *g, dukd_failure *f) {
    set_drops(s, pass, g);
    if (g->wants) s->fresh = NULL;
    int status = dukd_exec_forward(g->exec, (int32_t)g->in_shape[0], source_of(s, pass, g), g->values, f);
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
    /* An infinite output can have a finite gradient: sign(inf). To leave a step out one has to look before it. */
    for (uint32_t i = 0; i < pass->n_taps && !status && s->o.nonfinite == DUKD_NONFINITE_SKIP; i++)
        if (!dukd_all_finite(slot->taps[i].value.data, dukd_shape_elements(slot->taps[i].shape)))
            s->gradient_broken = 1;
    return status;
}

/* ---------------------------------------------------------------- backward */

static void add(float *to, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* The cotangents of a group's outputs. Taps of one output have their backward together: their gradients add up in the first one's. */
static void gather_gradients(const dukd_pass *pass, dukd_pass_slot *slot, int32_t group) {
    dukd_tap_group *g = &slot->groups[group];
    for (int32_t o = 0; o < g->output_count; o++) g->d_outputs[o] = NULL;
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        dukd_tap_slot *t = &slot->taps[i];
        if (t->group != group || !(pass->taps[i]->flags & DUKD_TAP_WANT_GRAD)) continue;
        float **sum = &g->d_outputs[t->output];
        if (*sum)
            add(*sum, t->grad.data, dukd_shape_elements(t->shape));
        else
            *sum = t->grad.data;
    }
}

/* Where the source is a tap, the group's gradient flows on into that tap's. */
static int backward(dukd_stepper *s, const dukd_pass *pass, int32_t group, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    dukd_tap_group *g = &slot->groups[group];
    const dukd_trained *set = &s->sets[g->network];
    int status = 0;
    if (!set->graph && !g->d_input) return 0; /* a frozen network on a source that wants no gradient */
    gather_gradients(pass, slot, group);
    if (s->fresh != g) status = forward(s, pass, g, f);
    s->fresh = NULL; /* backward uses the activations up */
    if (!status)
        status = dukd_exec_backward(g->exec, (const float *const *)g->d_outputs,
                                    set->graph ? set->gradient : NULL, g->d_input, f);
    if (!status && g->d_input)
        add(slot->taps[g->source_id].grad.data, g->d_input, dukd_shape_elements(g->in_shape));
    return status;
}

/* ---------------------------------------------------------------- what a pass's flags ask for */

static void clear(dukd_stepper *s) {
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++) dukd_trained_clear(&s->sets[i]);
    dukd_own_params_clear(&s->own);
    s->gradient_broken = 0;
}

static int gradients_are_finite(const dukd_stepper *s) {
    int finite = dukd_all_finite(s->own.gradient, s->own.count);
    for (int i = 0; i < DUKD_MAX_NETWORKS && finite; i++)
        finite = dukd_all_finite(s->sets[i].gradient, s->sets[i].count);
    return finite;
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

static int optimize(dukd_stepper *s, double rate, dukd_failure *f) {
    dukd_trained *student = &s->sets[0];
    if (s->share.at) dukd_share_give(&s->share, student->gradient, s->sets[1].gradient);
    if (!gradients_are_finite(s)) s->gradient_broken = 1;
    if (s->gradient_broken) {
        s->broken = 1;
        s->counts.skipped_steps++;
        return 0;
    }
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++) dukd_trained_optimize(&s->sets[i], s->o.sgd, rate);
    dukd_own_params_optimize(&s->own, s->o.sgd, rate);
    if (s->share.at) dukd_share_take(&s->share, s->sets[1].weights, student->weights);
    s->counts.optimizer_steps++;
    s->moved = 1;
    return dukd_step_set_weights(s, f);
}

static void average(dukd_stepper *s) {
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++) dukd_trained_average(&s->sets[i], s->o.ema_decay);
    if (s->share.at) dukd_share_take(&s->share, s->sets[1].ema, s->sets[0].ema);
    dukd_own_params_average(&s->own, s->o.ema_decay);
    s->moved = 0;
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

int dukd_step_run_pass(dukd_stepper *s, const dukd_pass *pass, double rate, dukd_failure *f) {
    const dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    if (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) clear(s);
    int status = compute_taps(s, pass, f);
    if (!status) status = submit(s, pass, f);
    for (int32_t k = slot->group_count - 1; pass->flags & DUKD_PASS_BACKWARD && k >= 0 && !status; k--)
        if (slot->groups[k].wants) status = backward(s, pass, k, f);
    if (!status && pass->flags & DUKD_PASS_OPTIMIZE_AFTER) status = optimize(s, rate, f);
    if (!status && pass->flags & DUKD_PASS_EMA_AFTER && s->o.ema && s->moved) average(s);
    return status;
}
