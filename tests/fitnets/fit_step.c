/* A step: begin, the one pass, end, cancel, losses. */
#include "fitnets.h"

#include <string.h>

static int32_t check_step(const dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = fit_check_struct(step, DUKD_STEP_SIZE, "step", error);
    if (status) return status;
    if (step->flags) return fit_error(error, DUKD_E_ARGUMENT, "step: unknown flags 0x%x", step->flags);
    if (step->iteration < 1)
        return fit_error(error, DUKD_E_ARGUMENT, "step: iteration is %lld, they count from 1",
                         (long long)step->iteration);
    if (step->first_sample < 0)
        return fit_error(error, DUKD_E_ARGUMENT, "step: first_sample is %lld", (long long)step->first_sample);
    if (step->micro_count != s->micro_count || step->micro_index >= s->micro_count)
        return fit_error(error, DUKD_E_ARGUMENT, "step: micro-batch %u of %u, the session has %u",
                         step->micro_index, step->micro_count, s->micro_count);
    status = fit_check_tensor(step->lr, 4, s->lr_shape, &s->type, 1, "lr", error);
    if (!status) status = fit_check_tensor(step->hr, 4, s->hr_shape, &s->type, 1, "hr", error);
    if (status) return status;
    if (step->micro_index != s->next_micro && !(step->micro_index == 0 && s->may_restart))
        return fit_error(error, DUKD_E_STATE, "step: micro-batch %u comes next, not %u", s->next_micro,
                         step->micro_index);
    return DUKD_OK;
}

/* The host need not keep a tensor's shape and strides. */
static void hold(dukd_tensor *to, const dukd_tensor *from, int64_t *shape, int64_t strides[4]) {
    *to = *from;
    to->shape = shape;
    if (from->strides) memcpy(strides, from->strides, 4 * sizeof *strides);
    to->strides = from->strides ? strides : NULL;
}

/* With micro-batches: cleared in the first, optimized in the last. */
static uint32_t flags_of(uint32_t micro_index, uint32_t micro_count) {
    uint32_t flags = DUKD_PASS_BACKWARD;
    if (micro_index == 0) flags |= DUKD_PASS_ZERO_GRAD_BEFORE;
    if (micro_index + 1 == micro_count) flags |= DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER;
    return flags;
}

int32_t fit_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (!step) return fit_error(error, DUKD_E_ARGUMENT, "step is NULL");
    if (s->open) return fit_error(error, DUKD_E_STATE, "begin_step: end_step or cancel_step comes first");
    status = check_step(s, step, error);
    if (status) return status;
    if (s->list.n_params && !s->bound)
        return fit_error(error, DUKD_E_STATE,
                         "begin_step: bind of " DUKD_EXT_PARAMS
                         " comes first: this session has %u parameters",
                         s->list.n_params);
    status = fit_cancelled(&s->host,
                           error); /* before anything has changed, but a step that has failed is a step */
    s->open = true;
    s->handed = s->submitted = s->done = false;
    s->failed = status != 0;
    s->iteration = step->iteration;
    s->micro_index = step->micro_index;
    hold(&s->live.tensor, step->lr, s->live.shape, s->live.strides);
    hold(&s->hr, step->hr, s->hr_shape, s->hr_strides);
    s->live.pass.flags = flags_of(step->micro_index, step->micro_count);
    for (int64_t n = 0; n < s->lr_shape[0]; n++) s->samples[n] = step->first_sample + n;
    memset(s->mean, 0, sizeof s->mean);
    return status;
}

int32_t fit_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (!out) return fit_error(error, DUKD_E_ARGUMENT, "next_pass: out is NULL");
    *out = NULL;
    if (!s->open || s->failed)
        return fit_error(error, DUKD_E_STATE,
                         s->open ? "next_pass: this step has failed: cancel_step"
                                 : "next_pass: begin_step comes first");
    if (s->handed) {
        s->done = true;
        return DUKD_STEP_DONE;
    }
    s->handed = true;
    *out = &s->live.pass;
    return DUKD_OK;
}

static void close_losses(dukd_session *s) {
    double total = 0;
    uint32_t n = 0;
    for (int k = 0; k < FIT_TERMS; k++) {
        s->micro_sum[k] = (s->micro_index ? s->micro_sum[k] : 0) + s->mean[k];
        if (!s->config.term[k]) continue;
        s->values[n] = s->micro_sum[k] / s->micro_count;
        total += s->config.weight[k] * s->values[n++];
    }
    s->values[n] = total;
    s->losses_iteration = s->iteration;
    s->has_losses = true;
}

int32_t fit_end_step(dukd_session *s, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (!s->open || s->failed)
        return fit_error(error, DUKD_E_STATE, "end_step: there is no step that could be ended");
    if (!s->done || !s->submitted)
        return fit_error(error, DUKD_E_STATE, "end_step: %s comes first",
                         s->submitted ? "next_pass, until it gives DUKD_STEP_DONE," : "submit_pass");
    close_losses(s);
    s->open = s->may_restart = false;
    s->next_micro = (s->micro_index + 1) % s->micro_count;
    return DUKD_OK;
}

int32_t fit_cancel_step(dukd_session *s, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (!s->open) return fit_error(error, DUKD_E_STATE, "cancel_step: there is no step");
    const bool moved = s->submitted && s->live.pass.flags & DUKD_PASS_OPTIMIZE_AFTER;
    s->open = false;
    s->may_restart = true;
    return moved ? DUKD_WEIGHTS_MOVED : DUKD_OK;
}

int32_t fit_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (s->open || s->next_micro) return fit_error(error, DUKD_E_STATE, "read_losses comes between steps");
    if (!s->has_losses) return fit_error(error, DUKD_E_STATE, "read_losses: no step was ended yet");
    if (!out) return fit_error(error, DUKD_E_ARGUMENT, "read_losses: out is NULL");
    if (out->struct_size < DUKD_LOSSES_SIZE)
        return fit_error(error, DUKD_E_ARGUMENT, "read_losses: struct_size is %u", out->struct_size);
    out->n_losses = s->n_losses;
    out->iteration = s->losses_iteration;
    out->names = s->names;
    out->values = s->values;
    return DUKD_OK;
}
