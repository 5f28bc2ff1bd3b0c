/* The course of a step: begin_step, next_pass, end_step, cancel_step. */
#include "report.h"
#include "session.h"
#include "struct_check.h"
#include "tensor_check.h"
#include "upcycle/make.h"

#include <string.h>

/* ---------------------------------------------------------------- begin_step */

static int32_t check_micro(const dukd_session *s, const dukd_step *step, dukd_error *error) {
    if (step->micro_count != s->micro_count || step->micro_index >= s->micro_count) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "step: micro-batch %u of %u; the session has micro_count %u, numbered from 0",
                           step->micro_index, step->micro_count, s->micro_count);
    }
    if (step->micro_index != s->next_micro && !(step->micro_index == 0 && s->may_restart)) {
        return dukd_report(error, DUKD_E_STATE,
                           "step: micro_index is %u, but micro-batch %u of this step comes next",
                           step->micro_index, s->next_micro);
    }
    if (step->micro_index > 0 && step->iteration != s->micro_iteration) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "step: iteration is %lld, but the step's first micro-batch had %lld",
                           (long long)step->iteration, (long long)s->micro_iteration);
    }
    return DUKD_OK;
}

int32_t dukd_session_check_way(const dukd_session *s, const dukd_step *step, dukd_way way, const char *what,
                               dukd_error *error) {
    static const char *const names[] = {"run without a graph", "captured", "replayed"};
    if (step->micro_index == 0 || s->way == way) return DUKD_OK;
    return dukd_report(
        error, DUKD_E_STATE,
        "%s: micro-batch 0 of this step was %s, so micro-batch %u cannot be %s: run all in one way", what,
        names[s->way], step->micro_index, names[way]);
}

int32_t dukd_session_check_step(const dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = dukd_struct_check(step, DUKD_STEP_SIZE, "step", error);
    if (status != DUKD_OK) return status;
    if (step->flags != 0)
        return dukd_report(error, DUKD_E_ARGUMENT, "step: flags are 0x%x, and none is known", step->flags);
    if (step->iteration < 1) {
        return dukd_report(error, DUKD_E_ARGUMENT, "step: iteration is %lld; they count from 1",
                           (long long)step->iteration);
    }
    if (step->first_sample < 0 || step->first_sample > INT64_MAX - s->geometry.n) {
        return dukd_report(error, DUKD_E_ARGUMENT, "step: first_sample is %lld; samples count from 0",
                           (long long)step->first_sample);
    }
    if (step->stream != NULL && s->geometry.device.device_type != DUKD_DEVICE_CUDA) {
        return dukd_report(error, DUKD_E_ARGUMENT, "step: stream is not NULL, but the session is on the CPU");
    }
    dukd_tensor_rule rule = {.types = dukd_dtype_bit(s->geometry.dtype), .device = s->geometry.device};
    dukd_geometry_images(&s->geometry, DUKD_IMAGES_LR, 1, rule.shape);
    status = dukd_tensor_check(step->lr, &rule, "step->lr", error);
    if (status != DUKD_OK) return status;
    dukd_geometry_hr(&s->geometry, rule.shape);
    status = dukd_tensor_check(step->hr, &rule, "step->hr", error);
    if (status == DUKD_OK && dukd_session_on_device(s)) {
        status = s->backend->owns(s->backend, step->lr, "step->lr", dukd_report_to(error));
        if (status == DUKD_OK)
            status = s->backend->owns(s->backend, step->hr, "step->hr", dukd_report_to(error));
    }
    return status != DUKD_OK ? status : check_micro(s, step, error);
}

static int32_t make_images(dukd_session *s, uint32_t at, dukd_error *error) {
    const dukd_pass_recipe *pass = &s->recipe.pass[at];
    const dukd_pass_view *view = &s->live[at];
    return dukd_images_make(s->backend, pass, &s->placed[at], s->geometry.scale, &s->lr.tensor, &s->hr.tensor,
                            &view->tensor[pass->plain].tensor, &view->tensor[pass->augmented].tensor,
                            pass->negatives != DUKD_NO_INPUT ? &view->tensor[pass->negatives].tensor : NULL,
                            dukd_report_to(error));
}

int32_t dukd_session_make_dependents(dukd_session *s, uint32_t of, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const int32_t status = s->recipe.pass[i].after == (int32_t)of ? make_images(s, i, error) : DUKD_OK;
        if (status != DUKD_OK) return status;
    }
    return DUKD_OK;
}

void dukd_session_aim(dukd_session *s) {
    if (s->placed_choices == NULL) return;
    char *there = (char *)s->placed_choices + s->micro_index * s->choices_size;
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        dukd_samples_lay(&s->placed[i], there, s->samples[i].count);
        there += dukd_samples_size(s->samples[i].count);
    }
}

int32_t dukd_session_choose(dukd_session *s, const dukd_step *step, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const int32_t status =
            dukd_samples_choose(&s->samples[i], &s->recipe.pass[i], &s->config, &s->geometry, &s->draws,
                                step->iteration, step->first_sample, error);
        if (status != DUKD_OK) return status;
    }
    return DUKD_OK;
}

/* A device: its stream, and the choices where its kernels read them. A step that is captured leaves the choices to
 * before_replay. */
static int32_t begin_on_device(dukd_session *s, dukd_error *error) {
    error = dukd_report_to(error);
    if (s->recorded) {
        s->captured[s->micro_index].captured = false; /* until end_step */
        s->means_live = DUKD_MEANS_GRAPH;
        return DUKD_OK;
    }
    if (s->micro_index == 0) {
        s->means_live = s->means_closed == DUKD_MEANS_EVEN ? DUKD_MEANS_ODD : DUKD_MEANS_EVEN;
    }
    return s->backend->place(s->backend, (char *)s->placed_choices + s->micro_index * s->choices_size,
                             s->choices, s->choices_size, error);
}

static int32_t make_all(dukd_session *s, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        if (s->recipe.pass[i].after >= 0) continue; /* made when that pass is submitted */
        int32_t status = dukd_session_ask_cancel(&s->host, error);
        if (status == DUKD_OK) status = make_images(s, i, error);
        if (status != DUKD_OK) return status;
    }
    return DUKD_OK;
}

int32_t dukd_session_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = dukd_session_enter(s, error);
    if (status != DUKD_OK) return status;
    if (s->phase != DUKD_PHASE_IDLE) {
        return dukd_report(error, DUKD_E_STATE,
                           "begin_step: iteration %lld is not over: call end_step or cancel_step first",
                           (long long)s->iteration);
    }
    status = dukd_session_check_step(s, step, error);
    bool recorded = false;
    if (status == DUKD_OK) status = dukd_session_choose(s, step, error);
    if (status == DUKD_OK && dukd_session_on_device(s)) {
        status = s->backend->begin(s->backend, step->stream, &recorded, dukd_report_to(error));
        if (status == DUKD_OK) {
            status = dukd_session_check_way(s, step, recorded ? DUKD_WAY_CAPTURED : DUKD_WAY_EAGER,
                                            "begin_step", error);
        }
    }
    if (status != DUKD_OK && !dukd_status_spoils(status)) return status;
    /* from here on there is a step, if only one to cancel */
    s->phase = DUKD_PHASE_FAILED;
    s->iteration = step->iteration;
    s->micro_index = step->micro_index;
    s->handed = s->submitted = 0;
    s->stream = step->stream;
    s->recorded = recorded;
    s->way = recorded ? DUKD_WAY_CAPTURED : DUKD_WAY_EAGER;
    if (status != DUKD_OK) return status;
    dukd_session_aim(s);
    dukd_held_tensor_set(&s->lr, step->lr);
    dukd_held_tensor_set(&s->hr, step->hr);
    dukd_session_refresh_views(s);
    if (dukd_session_on_device(s)) status = begin_on_device(s, error);
    if (status == DUKD_OK) status = make_all(s, error);
    if (status == DUKD_OK) s->phase = DUKD_PHASE_OPEN;
    return status;
}

/* ---------------------------------------------------------------- next_pass */

int32_t dukd_session_enter_step(const dukd_session *s, const char *what, dukd_error *error) {
    const int32_t status = dukd_session_enter(s, error);
    if (status != DUKD_OK) return status;
    if (s->phase == DUKD_PHASE_IDLE)
        return dukd_report(error, DUKD_E_STATE, "%s: there is no step: call begin_step first", what);
    if (s->phase == DUKD_PHASE_FAILED) {
        return dukd_report(error, DUKD_E_STATE, "%s: this step has failed before: call cancel_step", what);
    }
    return DUKD_OK;
}

/* Whether pass `at` must wait for one that was handed out before it. */
static bool must_wait(const dukd_session *s, uint32_t at) {
    for (uint32_t i = 0; i < at; i++) {
        if ((s->submitted >> i & 1) != 0) continue;
        if (s->recipe.pass[at].after == (int32_t)i) return true;
        if ((s->live[i].pass.flags & DUKD_PASS_OPTIMIZE_AFTER) != 0) return true;
    }
    return false;
}

int32_t dukd_session_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    if (out != NULL) *out = NULL;
    int32_t status = dukd_session_enter_step(s, "next_pass", error);
    if (status != DUKD_OK) return status;
    if (out == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "next_pass: out is NULL");
    status = dukd_session_ask_cancel(&s->host, error);
    if (status != DUKD_OK) {
        s->phase = DUKD_PHASE_FAILED;
        return status;
    }
    if (s->handed == s->recipe.n_passes) {
        s->phase = DUKD_PHASE_DONE;
        return DUKD_STEP_DONE;
    }
    if (must_wait(s, s->handed)) return DUKD_WAIT;
    *out = &s->live[s->handed++].pass;
    return DUKD_OK;
}

/* ---------------------------------------------------------------- end_step, cancel_step */

int32_t dukd_session_end_step(dukd_session *s, dukd_error *error) {
    const int32_t status = dukd_session_enter_step(s, "end_step", error);
    if (status != DUKD_OK) return status;
    for (uint32_t i = 0; i < s->handed; i++) {
        if ((s->submitted >> i & 1) == 0) {
            return dukd_report(
                error, DUKD_E_STATE,
                "end_step: pass %u was handed out and not submitted: submit it, or cancel_step", i);
        }
    }
    if (s->phase != DUKD_PHASE_DONE) {
        return dukd_report(error, DUKD_E_STATE,
                           "end_step: next_pass has not said DUKD_STEP_DONE yet: call it until it does");
    }
    dukd_session_close_losses(s);
    s->phase = DUKD_PHASE_IDLE;
    s->may_restart = false;
    s->micro_iteration = s->iteration;
    s->next_micro = (s->micro_index + 1) % s->micro_count;
    return DUKD_OK;
}

int32_t dukd_session_cancel_step(dukd_session *s, dukd_error *error) {
    const int32_t status = dukd_session_enter(s, error);
    if (status != DUKD_OK) return status;
    if (s->phase == DUKD_PHASE_IDLE)
        return dukd_report(error, DUKD_E_STATE, "cancel_step: there is no step to cancel");
    bool moved = false;
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        if ((s->submitted >> i & 1) != 0 && (s->live[i].pass.flags & DUKD_PASS_OPTIMIZE_AFTER) != 0)
            moved = true;
    }
    s->phase = DUKD_PHASE_IDLE;
    s->may_restart = true;
    return moved ? DUKD_WEIGHTS_MOVED : DUKD_OK;
}
