/* submit_pass: the loss callback. */
#include "loss/features.h"
#include "report.h"
#include "session.h"
#include "struct_check.h"
#include "tensor_check.h"

#include <math.h>
#include <stdio.h>

/* One f32 on the device, of no dimension. */
static int32_t check_scale_tensor(const dukd_session *s, const dukd_tensor *t, dukd_error *error) {
    if (t->ndim != 0 || dukd_dtype_bit(t->dtype) != DUKD_ALLOW_F32 || t->data == NULL) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "submit: grad_scale_dev has %d dimensions of %s%s, expected one f32 (ndim 0)",
                           t->ndim, dukd_dtype_name(t->dtype), t->data == NULL ? " and no data" : "");
    }
    if (t->device.device_type != DUKD_DEVICE_CUDA || t->device.device_id != s->geometry.device.device_id) {
        char is[DUKD_DEVICE_NAME_SIZE], expected[DUKD_DEVICE_NAME_SIZE];
        return dukd_report(error, DUKD_E_ARGUMENT, "submit: grad_scale_dev is on %s, the session on %s",
                           dukd_device_name(t->device, is), dukd_device_name(s->geometry.device, expected));
    }
    if (((uintptr_t)t->data + t->byte_offset) % sizeof(float) != 0)
        return dukd_report(error, DUKD_E_ARGUMENT, "submit: grad_scale_dev is not aligned to 4 bytes");
    return s->backend->owns(s->backend, t, "submit: grad_scale_dev", dukd_report_to(error));
}

static int32_t check_grad_scale(const dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    if (!isfinite(submit->grad_scale) || submit->grad_scale == 0) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "submit: grad_scale is %g, expected a finite number other than 0",
                           submit->grad_scale);
    }
    const bool scaled = submit->grad_scale != 1 || submit->grad_scale_dev != NULL;
    if (scaled && (s->flags & DUKD_SESSION_LOSS_SCALE) == 0) {
        return dukd_report(
            error, DUKD_E_ARGUMENT, "submit: %s, but the session was made without DUKD_SESSION_LOSS_SCALE",
            submit->grad_scale_dev != NULL ? "grad_scale_dev is given" : "grad_scale is not 1");
    }
    if (submit->grad_scale_dev != NULL && s->geometry.device.device_type != DUKD_DEVICE_CUDA) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "submit: grad_scale_dev is for CUDA; on the CPU give its value as grad_scale");
    }
    return submit->grad_scale_dev == NULL ? DUKD_OK : check_scale_tensor(s, submit->grad_scale_dev, error);
}

static int32_t check_tap(const dukd_session *s, const dukd_pass_view *view, uint32_t i,
                         const dukd_tensor *value, const dukd_tensor *grad, dukd_error *error) {
    const dukd_tap *tap = &view->tap[i];
    const bool on_device = dukd_session_on_device(s);
    char name[96];
    dukd_tensor_rule rule = {.types = DUKD_ALLOW_ANY, .device = s->geometry.device};
    for (int d = 0; d < 4; d++) rule.shape[d] = s->tap_shape[view->pass.id][i][d];
    const char *layer = tap->layer != NULL ? tap->layer : "", *space = tap->layer != NULL ? " " : "";
    snprintf(name, sizeof name, "submit: values[%u] (pass %u, %.32s%s%.24s)", i, view->pass.id,
             s->host.networks[tap->network], space, layer);
    int32_t status = dukd_tensor_check(value, &rule, name, error);
    if (status == DUKD_OK && on_device) {
        status = s->backend->owns(s->backend, value, name, dukd_report_to(error));
    }
    if (status != DUKD_OK) return status;
    snprintf(name, sizeof name, "submit: grads[%u] (pass %u, %.32s%s%.24s)", i, view->pass.id,
             s->host.networks[tap->network], space, layer);
    if ((tap->flags & DUKD_TAP_WANT_GRAD) == 0) {
        if (grad == NULL) return DUKD_OK;
        return dukd_report(error, DUKD_E_ARGUMENT, "%s is not NULL, but the tap has no DUKD_TAP_WANT_GRAD",
                           name);
    }
    rule.types = DUKD_ALLOW_F32 | dukd_dtype_bit(value->dtype);
    status = dukd_tensor_check_writable(grad, &rule, name, error);
    if (status == DUKD_OK && on_device) {
        status = s->backend->owns(s->backend, grad, name, dukd_report_to(error));
    }
    return status;
}

/* Gradients are written while values are read. */
static int32_t check_apart(const dukd_submit *submit, dukd_error *error) {
    if (submit->grads == NULL) return DUKD_OK;
    for (uint32_t i = 0; i < submit->n_taps; i++) {
        const dukd_tensor *grad = submit->grads[i];
        if (grad == NULL) continue;
        for (uint32_t k = 0; k < submit->n_taps; k++) {
            const bool value = dukd_tensors_meet(grad, submit->values[k]);
            if (!value &&
                (k >= i || submit->grads[k] == NULL || !dukd_tensors_meet(grad, submit->grads[k]))) {
                continue;
            }
            return dukd_report(error, DUKD_E_ARGUMENT,
                               "submit: grads[%u] shares memory with %s[%u]: give it its own", i,
                               value ? "values" : "grads", k);
        }
    }
    return DUKD_OK;
}

static int32_t check_submit(const dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    int32_t status = dukd_struct_check(submit, DUKD_SUBMIT_SIZE, "submit", error);
    if (status != DUKD_OK) return status;
    if (submit->pad0 != 0) return dukd_report(error, DUKD_E_ARGUMENT, "submit: pad0 is not 0");
    if (submit->pass_id >= s->recipe.n_passes) {
        return dukd_report(error, DUKD_E_ARGUMENT, "submit: pass_id is %u, but the step has %u passes",
                           submit->pass_id, s->recipe.n_passes);
    }
    if (submit->pass_id >= s->handed) {
        return dukd_report(error, DUKD_E_STATE, "submit: pass %u has not been handed out yet",
                           submit->pass_id);
    }
    if ((s->submitted >> submit->pass_id & 1) != 0) {
        return dukd_report(error, DUKD_E_STATE, "submit: pass %u was submitted before", submit->pass_id);
    }
    const dukd_pass_view *view = &s->live[submit->pass_id];
    if (submit->n_taps != view->pass.n_taps) {
        return dukd_report(error, DUKD_E_ARGUMENT, "submit: n_taps is %u, but pass %u has %u", submit->n_taps,
                           submit->pass_id, view->pass.n_taps);
    }
    if (submit->values == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "submit: values is NULL");
    if (submit->grads == NULL && (view->pass.flags & DUKD_PASS_BACKWARD) != 0) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "submit: grads is NULL, but a tap of pass %u wants its gradient", submit->pass_id);
    }
    status = check_grad_scale(s, submit, error);
    for (uint32_t i = 0; i < submit->n_taps && status == DUKD_OK; i++) {
        status =
            check_tap(s, view, i, submit->values[i], submit->grads != NULL ? submit->grads[i] : NULL, error);
    }
    return status != DUKD_OK ? status : check_apart(submit, error);
}

/* The teacher's answer T(x) decides the crops of the zoom-in pass. */
static int32_t find_hardest(dukd_session *s, uint32_t of, const dukd_tensor *answer, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        if (s->recipe.pass[i].after != (int32_t)of) continue;
        const dukd_hardest_args args = {.a = answer,
                                        .b = &s->hr.tensor,
                                        .window_h = (int32_t)s->geometry.h,
                                        .window_w = (int32_t)s->geometry.w,
                                        .row = s->placed[i].row,
                                        .col = s->placed[i].col};
        const int32_t status = s->backend->hardest(s->backend, &args, dukd_report_to(error));
        if (status != DUKD_OK) return status;
    }
    return DUKD_OK;
}

static int32_t compute(dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    const uint32_t id = submit->pass_id;
    const dukd_pass_recipe *pass = &s->recipe.pass[id];
    const dukd_tensor *scale = submit->grad_scale_dev;
    const dukd_compare_job job = {
        .recipe = &s->recipe,
        .pass = pass,
        .values = submit->values,
        .grads = submit->grads,
        .lr = &s->lr.tensor,
        .hr = &s->hr.tensor,
        .back = s->placed[id].back,
        .grad_scale = submit->grad_scale,
        .scale_dev = scale == NULL ? NULL : (const float *)((const char *)scale->data + scale->byte_offset),
        .means = s->means == NULL ? NULL : dukd_session_mean_at(s, 0),
        .micro_count = s->micro_count};
    int32_t status = dukd_session_ask_cancel(&s->host, error);
    if (status == DUKD_OK) status = dukd_compare_run(s->backend, &job, s->mean, dukd_report_to(error));
    if (status == DUKD_OK) status = dukd_features_run(s->backend, &job, s->mean, dukd_report_to(error));
    if (status == DUKD_OK && pass->hardest != DUKD_NO_TAP) {
        status = find_hardest(s, id, submit->values[pass->hardest], error);
        if (status == DUKD_OK) status = dukd_session_make_dependents(s, id, error);
    }
    return status;
}

int32_t dukd_session_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    int32_t status = dukd_session_enter_step(s, "submit_pass", error);
    if (status == DUKD_OK) status = check_submit(s, submit, error);
    if (status != DUKD_OK) return status;
    status = compute(s, submit, error);
    if (status == DUKD_OK) {
        s->submitted |= 1u << submit->pass_id;
    } else {
        s->phase = DUKD_PHASE_FAILED;
    }
    return status;
}
