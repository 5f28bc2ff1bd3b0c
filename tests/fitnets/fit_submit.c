/* submit_pass: every argument is looked at before anything is read or written. */
#include "fitnets.h"

#include <math.h>
#include <stdio.h>

static int32_t check_tap(const dukd_session *s, const dukd_submit *submit, uint32_t i, dukd_error *error) {
    const dukd_tensor *value = submit->values[i], *grad = submit->grads[i];
    const dukd_dtype any[] = {fit_f32, fit_f16, fit_bf16};
    char name[32];
    snprintf(name, sizeof name, "values[%u]", i);
    int32_t status = fit_check_tensor(value, 4, s->tap_shape[i], any, 3, name, error);
    if (status) return status;
    snprintf(name, sizeof name, "grads[%u]", i);
    if (!(s->live.tap[i].flags & DUKD_TAP_WANT_GRAD)) {
        if (!grad) return DUKD_OK;
        return fit_error(error, DUKD_E_ARGUMENT, "%s: that tap wants none", name);
    }
    const dukd_dtype own[] = {fit_f32, value->dtype};
    status = fit_check_tensor(grad, 4, s->tap_shape[i], own, 2, name, error);
    if (!status && fit_overlaps(grad))
        status = fit_error(error, DUKD_E_ARGUMENT, "%s: its elements overlap", name);
    return status;
}

static int32_t check_submit(const dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    int32_t status = fit_check_struct(submit, DUKD_SUBMIT_SIZE, "submit", error);
    if (status) return status;
    if (submit->pad0) return fit_error(error, DUKD_E_ARGUMENT, "submit: pad0 is not zero");
    if (!s->open || s->failed) return fit_error(error, DUKD_E_STATE, "submit_pass: there is no step");
    if (submit->pass_id || !s->handed)
        return fit_error(error, DUKD_E_ARGUMENT, "submit: pass_id %u was not handed out", submit->pass_id);
    if (s->submitted)
        return fit_error(error, DUKD_E_STATE, "submit: pass %u was submitted before", submit->pass_id);
    if (submit->n_taps != s->n_taps)
        return fit_error(error, DUKD_E_ARGUMENT, "submit: n_taps is %u, not %u", submit->n_taps, s->n_taps);
    if (!submit->values) return fit_error(error, DUKD_E_ARGUMENT, "submit: values is NULL");
    if (!submit->grads) return fit_error(error, DUKD_E_ARGUMENT, "submit: grads is NULL");
    if (!isfinite(submit->grad_scale) || submit->grad_scale == 0 || submit->grad_scale_dev)
        return fit_error(error, DUKD_E_ARGUMENT, "submit: grad_scale is %g, or is on a device",
                         submit->grad_scale);
    if (submit->grad_scale != 1 && !(s->flags & DUKD_SESSION_LOSS_SCALE))
        return fit_error(error, DUKD_E_ARGUMENT,
                         "submit: a grad_scale of %g in a session without DUKD_SESSION_LOSS_SCALE",
                         submit->grad_scale);
    for (uint32_t i = 0; i < submit->n_taps && !status; i++) status = check_tap(s, submit, i, error);
    return status;
}

int32_t fit_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (!status) status = check_submit(s, submit, error);
    if (status) return status;
    status = fit_cancelled(&s->host, error);
    s->failed = status != 0;
    if (status) return status;
    fit_loss(s, submit);
    s->submitted = true;
    return DUKD_OK;
}
