/* The course of a step. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spy.h"

/* ---- the batch ---- */

static int is_batch_tensor(const dukd_session *s, const char *name, const dukd_tensor *t, int64_t scale) {
    const int64_t want[4] = {s->lr_shape[0], s->lr_shape[1], scale * s->lr_shape[2], scale * s->lr_shape[3]};
    if (!t || !t->data || t->ndim != 4 || !t->shape || memcmp(t->shape, want, sizeof want) != 0) {
        spy_wrong("batch", "%s is NULL or not of the session's shape", name);
        return 0;
    }
    if (!toy_same_type(t->dtype, s->dtype) || t->device.device_type != s->device.device_type) {
        spy_wrong("batch", "%s is not of the session's type, or not on its device", name);
        return 0;
    }
    return 1;
}

static void look_at_values(const char *name, const dukd_tensor *t) {
    float *values = toy_values(t);
    int64_t outside = 0;
    for (int64_t i = 0; values && i < toy_count(t->shape); i++)
        outside += !(values[i] >= 0 && values[i] <= 1);
    if (outside) spy_wrong("batch", "%s has %lld values that are not in [0, 1]", name, (long long)outside);
    free(values);
}

static void hold(dukd_session *s, int i, const dukd_tensor *t) {
    s->batch[i] = *t;
    memcpy(s->batch_shape[i], t->shape, sizeof s->batch_shape[i]);
    s->batch[i].shape = s->batch_shape[i];
    if (t->strides) memcpy(s->batch_strides[i], t->strides, sizeof s->batch_strides[i]);
    s->batch[i].strides = t->strides ? s->batch_strides[i] : NULL;
    s->batch_hash[i] = 0;
    toy_hash_tensor(&s->batch_hash[i], t);
}

static void look_at_batch_again(const dukd_session *s) {
    for (int i = 0; i < 2; i++) {
        uint64_t hash = 0;
        toy_hash_tensor(&hash, &s->batch[i]);
        if (hash != s->batch_hash[i]) spy_wrong("batch", "%s was changed before end_step", i ? "hr" : "lr");
    }
}

/* ---- numbers ---- */

static void look_at_numbers(const dukd_session *s, const dukd_step *step) {
    const int64_t n = s->lr_shape[0];
    const int64_t parts = (step->iteration - 1) * (int64_t)s->micro_count + step->micro_index;
    spy_look_at_struct("iterations", "step", step, DUKD_STEP_SIZE);
    if (step->flags || step->stream) spy_wrong("iterations", "step: flags or stream, but there are none");
    if (step->micro_count != s->micro_count || step->micro_index != s->next_micro)
        spy_wrong("iterations", "step: micro-batch %u of %u, not %u of %u", step->micro_index,
                  step->micro_count, s->next_micro, s->micro_count);
    if (step->iteration < 1 ||
        (s->last_iteration && step->iteration != s->last_iteration + (s->next_micro == 0)))
        spy_wrong("iterations", "step: iteration %lld after %lld, micro-batch %u", (long long)step->iteration,
                  (long long)s->last_iteration, step->micro_index);
    if (step->first_sample != parts * n)
        spy_wrong(
            "iterations",
            "step: first_sample is %lld, for iteration %lld, micro-batch %u of %u, of %lld images each: %lld",
            (long long)step->first_sample, (long long)step->iteration, step->micro_index, step->micro_count,
            (long long)n, (long long)(parts * n));
}

/* ---- the functions ---- */

static int32_t begin(dukd_session *s, const dukd_step *step, dukd_error *error) {
    look_at_numbers(s, step);
    if (!is_batch_tensor(s, "lr", step->lr, 1) || !is_batch_tensor(s, "hr", step->hr, s->scale))
        return spy_error(error, DUKD_E_ARGUMENT, "the spy cannot use this batch");
    hold(s, 0, step->lr);
    hold(s, 1, step->hr);
    look_at_values("lr", step->lr);
    look_at_values("hr", step->hr);
    s->in_step = 1;
    s->done = 0;
    s->handed = 0;
    s->iteration = step->iteration;
    s->first_sample = step->first_sample;
    s->micro = step->micro_index < s->micro_count ? step->micro_index : 0;
    if (s->micro == 0) s->loss = 0;
    return DUKD_OK;
}

int32_t spy_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t code = spy_enter(s, "begin_step", error);
    if (code == DUKD_E_BACKEND) s->in_step = s->failed = 1; /* there is a step, which only cancel_step ends */
    if (code) return code;
    if (step)
        spy_note("{\"call\": \"begin_step\", \"iteration\": %lld, \"first_sample\": %lld, \"micro\": %u}",
                 (long long)step->iteration, (long long)step->first_sample, step->micro_index);
    if (!step || s->in_step) {
        spy_wrong("order", step ? "begin_step in a step" : "begin_step(NULL)");
        code = spy_error(error, DUKD_E_STATE, "begin_step does not come now");
    } else if (spy_told("params") && !s->own.bound) {
        spy_wrong("own-bound", "begin_step before bind");
        code = spy_error(error, DUKD_E_STATE, "begin_step: bind comes first");
    } else {
        spy_look_at_own(s);
        code = begin(s, step, error);
    }
    spy_leave(s);
    return code;
}

static const spy_step *step_now(const dukd_session *s) {
    const uint64_t at = (uint64_t)s->iteration - 1;
    return &s->scenario.steps[at < s->scenario.n_steps ? at : s->scenario.n_steps - 1];
}

static int has_unsubmitted(const dukd_session *s, uint32_t flags) {
    for (uint32_t i = 0; i < s->handed; i++)
        if (!s->live[i]->submitted && (!flags || s->live[i]->pass.flags & flags)) return 1;
    return 0;
}

static int32_t hand_out(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    const spy_step *step = step_now(s);
    if (s->handed == step->n_passes) {
        s->done = 1;
        return DUKD_STEP_DONE;
    }
    const uint32_t index = step->passes[s->handed];
    if (has_unsubmitted(s, DUKD_PASS_OPTIMIZE_AFTER) ||
        (s->scenario.plan[index].waits && has_unsubmitted(s, 0)))
        return DUKD_WAIT;
    spy_live *l = spy_live_make(s, index, 1);
    if (!l) return spy_error(error, DUKD_E_MEMORY, "no memory");
    memcpy(l->shape, s->planned[index]->shape, sizeof l->shape);
    l->pass.id = s->handed;
    s->live[s->handed++] = l;
    *out = &l->pass;
    return DUKD_OK;
}

int32_t spy_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    int32_t code = spy_enter(s, "next_pass", error);
    if (code) return code;
    if (!out || !s->in_step) {
        spy_wrong("order", out ? "next_pass, but there is no step" : "next_pass(NULL)");
        code = spy_error(error, DUKD_E_STATE, "next_pass does not come now");
    } else {
        *out = NULL;
        code = hand_out(s, out, error);
        spy_note("{\"call\": \"next_pass\", \"iteration\": %lld, \"result\": %d}", (long long)s->iteration,
                 code);
    }
    spy_leave(s);
    return code;
}

static void close_step(dukd_session *s) {
    const int poison = spy_told("poison");
    for (uint32_t i = 0; i < s->handed; i++) {
        if (poison)
            spy_live_poison(s->live[i]);
        else
            spy_live_free(s->live[i]);
        s->live[i] = NULL;
    }
    s->handed = 0;
    s->in_step = s->failed = 0;
}

int32_t spy_end_step(dukd_session *s, dukd_error *error) {
    int32_t code = spy_enter(s, "end_step", error);
    if (code) return code;
    spy_note("{\"call\": \"end_step\", \"iteration\": %lld, \"micro\": %u, \"passes\": %u}",
             (long long)s->iteration, s->micro, s->handed);
    if (!s->in_step || !s->done || has_unsubmitted(s, 0)) {
        spy_wrong("order", !s->in_step ? "end_step, but there is no step"
                           : !s->done  ? "end_step before next_pass has said DUKD_STEP_DONE"
                                       : "end_step, but a pass is not submitted");
        code = spy_error(error, DUKD_E_STATE, "end_step does not come now");
    } else {
        look_at_batch_again(s);
        spy_look_at_own(s);
        spy_look_at_kept(s);
        s->last_iteration = s->iteration;
        s->next_micro = (s->micro + 1) % s->micro_count;
        s->steps += s->next_micro == 0;
        s->values[0] = s->values[1] = s->loss;
        close_step(s);
    }
    spy_leave(s);
    return code;
}

int32_t spy_cancel_step(dukd_session *s, dukd_error *error) {
    int32_t code = spy_enter(s, "cancel_step", error);
    if (code) return code;
    if (!s->in_step) {
        spy_wrong("order", "cancel_step, but there is no step");
        code = spy_error(error, DUKD_E_STATE, "cancel_step does not come now");
    } else {
        for (uint32_t i = 0; i < s->handed; i++)
            if (s->live[i]->submitted && s->live[i]->pass.flags & DUKD_PASS_OPTIMIZE_AFTER)
                code = DUKD_WEIGHTS_MOVED;
        s->own.known = 0;
        close_step(s);
    }
    spy_leave(s);
    return code;
}

int32_t spy_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error) {
    int32_t code = spy_enter(s, "read_losses", error);
    if (code) return code;
    if (!out || s->in_step || s->next_micro || !s->steps) {
        spy_wrong("order",
                  !out ? "read_losses(NULL)" : "read_losses in a step, or before the first was ended");
        code = spy_error(error, DUKD_E_STATE, "read_losses does not come now");
    } else {
        if (out->struct_size < DUKD_LOSSES_SIZE)
            spy_wrong("order", "losses: struct_size is %u", out->struct_size);
        out->n_losses = 2;
        out->iteration = s->last_iteration;
        out->names = s->names;
        out->values = s->values;
    }
    spy_leave(s);
    return code;
}
