/* Steps that were captured into a CUDA graph: abi/dukd_ext_graph.h. */
#include "report.h"
#include "session.h"

#include <string.h>

static bool same_place(const dukd_held_tensor *held, const dukd_tensor *t) {
    if ((char *)held->tensor.data + held->tensor.byte_offset != (char *)t->data + t->byte_offset)
        return false;
    int64_t dense = 1;
    for (int i = 3; i >= 0; i--) {
        const int64_t was = held->tensor.strides != NULL ? held->strides[i] : dense;
        if (t->shape[i] > 1 && was != (t->strides != NULL ? t->strides[i] : dense)) return false;
        dense *= t->shape[i];
    }
    return true;
}

static int32_t check_replay(const dukd_session *s, const dukd_step *step, dukd_error *error) {
    int32_t status = dukd_session_enter(s, error);
    if (status != DUKD_OK) return status;
    if (s->phase != DUKD_PHASE_IDLE) {
        return dukd_report(error, DUKD_E_STATE,
                           "before_replay comes between steps: call end_step or cancel_step first");
    }
    if (!dukd_session_on_device(s)) {
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "before_replay: the session is on the CPU, where there are no graphs");
    }
    status = dukd_session_check_step(s, step, error);
    if (status == DUKD_OK)
        status = dukd_session_check_way(s, step, DUKD_WAY_REPLAYED, "before_replay", error);
    if (status != DUKD_OK) return status;
    const dukd_captured *captured = &s->captured[step->micro_index];
    if (!captured->captured) {
        return dukd_report(error, DUKD_E_STATE,
                           "before_replay: no step of this session was captured from begin_step to end_step, "
                           "or not micro-batch %u of it",
                           step->micro_index);
    }
    if (same_place(&captured->lr, step->lr) && same_place(&captured->hr, step->hr)) return DUKD_OK;
    return dukd_report(
        error, DUKD_E_ARGUMENT,
        "before_replay: step->%s is not where it was when the step was captured: copy the batch there",
        same_place(&captured->lr, step->lr) ? "hr" : "lr");
}

int32_t dukd_session_before_replay(dukd_session *s, const dukd_step *step, dukd_error *error) {
    bool recorded = false;
    int32_t status = check_replay(s, step, error);
    if (status == DUKD_OK) status = dukd_session_choose(s, step, error);
    if (status == DUKD_OK)
        status = s->backend->begin(s->backend, step->stream, &recorded, dukd_report_to(error));
    if (status == DUKD_OK && recorded) {
        status = dukd_report(error, DUKD_E_STATE,
                             "before_replay: the stream is being captured: end the capture first");
    }
    if (status == DUKD_OK) {
        status =
            s->backend->place(s->backend, (char *)s->placed_choices + step->micro_index * s->choices_size,
                              s->choices, s->choices_size, dukd_report_to(error));
    }
    if (status != DUKD_OK) return status;
    s->iteration = step->iteration;
    s->micro_index = step->micro_index;
    s->stream = step->stream;
    s->recorded = false;
    s->way = DUKD_WAY_REPLAYED;
    s->means_live = DUKD_MEANS_GRAPH;
    dukd_session_close_losses(s);
    s->may_restart = false;
    s->micro_iteration = step->iteration;
    s->next_micro = (s->micro_index + 1) % s->micro_count;
    return DUKD_OK;
}
