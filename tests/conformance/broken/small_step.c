/* The course of a step. */
#include "small.h"

#include <stdlib.h>
#include <string.h>

static int32_t check_step(const dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = small_check_struct(step, DUKD_STEP_SIZE, "step", error);
    if (status) return status;
    if (step->flags) return small_error(error, DUKD_E_ARGUMENT, "step: unknown flags 0x%x", step->flags);
    if (step->iteration < 1) return small_error(error, DUKD_E_ARGUMENT, "step: iteration counts from 1");
    if (step->first_sample < 0 || step->first_sample > INT64_MAX - s->n)
        return small_error(error, DUKD_E_ARGUMENT, "step: first_sample is %lld",
                           (long long)step->first_sample);
    if (step->stream) return small_error(error, DUKD_E_ARGUMENT, "step: a stream, but no CUDA");
    if (step->micro_count != s->micro_count || step->micro_index >= s->micro_count)
        return small_error(error, DUKD_E_ARGUMENT, "step: micro-batch %u of %u, not of %u", step->micro_index,
                           step->micro_count, s->micro_count);
    const int64_t lr[4] = {s->n, s->channels, s->h, s->w};
    const int64_t hr[4] = {s->n, s->channels, s->h * s->scale, s->w * s->scale};
    status = small_check_tensor(step->lr, lr, &s->type, 1, "lr", error);
    if (!status)
        status = small_check_tensor(step->hr, hr, &s->type, 1, BROKEN(hr_called_lr) ? "lr" : "hr", error);
    if (status) return status;
    if (step->micro_index != s->next_micro && !(step->micro_index == 0 && s->may_restart))
        return small_error(error, DUKD_E_STATE, "step: micro-batch %u comes next", s->next_micro);
    return DUKD_OK;
}

/* A tensor of the host's, with its shape and strides: the host need not keep those. */
static void hold(dukd_tensor *to, const dukd_tensor *from, int64_t shape[4], int64_t strides[4]) {
    *to = *from;
    memcpy(shape, from->shape, 4 * sizeof *shape);
    to->shape = shape;
    if (from->strides) memcpy(strides, from->strides, 4 * sizeof *strides);
    to->strides = from->strides ? strides : NULL;
}

/* With micro-batches: cleared in the first, optimized in the last. */
static void set_flags(dukd_session *s) {
    for (uint32_t i = 0; i < s->n_passes; i++) {
        uint32_t flags = s->planned[i].pass.flags & ~0x40u;
        if (s->micro_index > 0 && !BROKEN(clears_each_micro)) flags &= ~DUKD_PASS_ZERO_GRAD_BEFORE;
        if (s->micro_index + 1 < s->micro_count)
            flags &= ~(uint32_t)(DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER);
        s->live[i].pass.flags = flags;
    }
}

int32_t small_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (!step && s->open) return small_error(error, DUKD_E_ARGUMENT, "step is NULL");
    if (s->open && !BROKEN(begins_twice))
        return small_error(error, DUKD_E_STATE, "begin_step: end_step or cancel_step comes first");
    status = check_step(s, step, error);
    if (status) return status;
    if (BROKEN(asks_shape_again)) {
        int64_t out[4];
        s->host.tap_shape(s->host.ctx, &s->planned[0].tap[0], s->planned[0].shape, out, NULL);
    }
    if (s->own_list.n_params && !s->bias && !BROKEN(bias_not_needed))
        return small_error(error, DUKD_E_STATE, "begin_step: the bias is not bound: bind comes first");
    hold(&s->lr, step->lr, s->lr_shape, s->lr_strides);
    hold(&s->hr, step->hr, s->hr_shape, s->hr_strides);
    s->iteration = step->iteration;
    s->micro_index = step->micro_index;
    s->handed = s->submitted = 0;
    status = small_make_images(s, step, error);
    if (status == DUKD_E_ARGUMENT) return status; /* of a source's choice: nothing that counts has changed */
    s->open = s->failed = true;
    s->done = false;
    if (status) return status;
    set_flags(s);
    if (!BROKEN(sums_stay)) memset(s->mean, 0, sizeof s->mean);
    if (BROKEN(losses_vanish)) memset(s->values, 0, sizeof s->values);
    status = small_cancelled(&s->host, error);
    s->failed = status != 0;
    return status;
}

int32_t small_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (!out && BROKEN(exits)) exit(0);
    if (!out) return small_error(error, DUKD_E_ARGUMENT, "next_pass: out is NULL");
    *out = NULL;
    if (!s->open || s->failed)
        return small_error(error, DUKD_E_STATE,
                           s->open ? "next_pass: this step has failed: cancel_step"
                                   : "next_pass: begin_step comes first");
    if (s->handed == s->n_passes) {
        s->done = true;
        return DUKD_STEP_DONE;
    }
    for (uint32_t i = 0; i < s->handed && !BROKEN(never_waits); i++)
        if (!(s->submitted >> i & 1) && s->live[i].pass.flags & DUKD_PASS_OPTIMIZE_AFTER) return DUKD_WAIT;
    *out = &s->live[s->handed++].pass;
    return DUKD_OK;
}

static double weight(const dukd_session *s, uint32_t i) {
    return s->kind[i] == PASS_REC ? 1 : s->config.w_zoom;
}

static void close_losses(dukd_session *s) {
    double total = 0;
    for (uint32_t i = 0; i < s->n_passes; i++) {
        s->micro_sum[i] = (s->micro_index ? s->micro_sum[i] : 0) + s->mean[i];
        s->values[i] = weight(s, i) * s->micro_sum[i] / s->micro_count;
        total += s->values[i];
    }
    s->values[s->n_passes] = total;
    s->losses_iteration = BROKEN(counts_from_0) ? s->iteration - 1 : s->iteration;
    s->has_losses = true;
    if (BROKEN(names_change)) s->names[0] = s->iteration % 2 ? "l_rec" : "l_pixels";
}

int32_t small_end_step(dukd_session *s, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (!s->open || s->failed) {
        if (BROKEN(error_needed)) error->code = DUKD_E_STATE;
        return small_error(error, DUKD_E_STATE, "end_step: there is no step that could be ended");
    }
    if (!s->done || s->submitted != (1u << s->n_passes) - 1)
        return small_error(error, DUKD_E_STATE, "end_step: %u of %u passes were submitted", s->handed,
                           s->n_passes);
    close_losses(s);
    if (BROKEN(bias_late) && s->bias_grad && s->micro_count == 1) s->bias_grad[0] += 1;
    s->open = s->may_restart = false;
    s->next_micro = (s->micro_index + 1) % s->micro_count;
    s->steps += s->next_micro == 0;
    if (BROKEN(sums_stay)) memset(s->mean, 0, sizeof s->mean);
    return DUKD_OK;
}

int32_t small_cancel_step(dukd_session *s, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (!s->open) return small_error(error, DUKD_E_STATE, "cancel_step: there is no step");
    bool moved = false;
    for (uint32_t i = 0; i < s->n_passes; i++)
        moved |= s->submitted >> i & 1 && s->live[i].pass.flags & DUKD_PASS_OPTIMIZE_AFTER;
    s->open = false;
    s->may_restart = true;
    return moved && !BROKEN(forgets_steps) ? DUKD_WEIGHTS_MOVED : DUKD_OK;
}

int32_t small_set_source(dukd_session *s, dukd_draw_source source, void *ctx, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (s->open) return small_error(error, DUKD_E_STATE, "set_source comes between steps");
    s->source = source;
    s->source_ctx = ctx;
    return DUKD_OK;
}
