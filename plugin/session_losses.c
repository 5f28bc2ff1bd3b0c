/* The books: the means of a step's micro-batches, and the losses that they make.
 *
 * On the CPU a mean is there when a pass has been submitted. On a device it comes in the order of the stream, into a place of
 * its own for each micro-batch; the host reads the places only when somebody asks for the losses. */
#include "report.h"
#include "session.h"

double *dukd_session_mean_at(const dukd_session *s, uint32_t loss) {
    return s->means + ((uint64_t)s->means_live * s->micro_count + s->micro_index) * DUKD_MAX_LOSSES + loss;
}

/* The losses of a step from the sums of its micro-batches' means. */
static void finish(dukd_session *s) {
    double total = 0;
    for (uint32_t i = 0; i < s->recipe.n_losses; i++) {
        const dukd_loss_recipe *loss = &s->recipe.loss[i];
        const double mean = s->micro_sum[i] / s->micro_count;
        s->loss_values[i] = loss->reported * mean;
        total += loss->weight * mean;
    }
    s->loss_values[s->recipe.n_losses] = total;
}

void dukd_session_close_losses(dukd_session *s) {
    const bool first = s->micro_index == 0, last = s->micro_index + 1 == s->micro_count;
    if (s->recorded) { /* nothing was computed: the losses are those of the replays */
        dukd_captured *captured = &s->captured[s->micro_index];
        dukd_held_tensor_set(&captured->lr, &s->lr.tensor);
        dukd_held_tensor_set(&captured->hr, &s->hr.tensor);
        captured->captured = true;
        return;
    }
    for (uint32_t i = 0; i < s->recipe.n_losses && s->means == NULL; i++) {
        s->micro_sum[i] = first ? s->mean[i] : s->micro_sum[i] + s->mean[i];
    }
    if (!last) return;
    if (s->means == NULL) {
        finish(s);
    } else {
        s->means_closed = s->means_live;
        s->losses_wait = true;
        s->losses_stream = s->stream;
    }
    s->losses_iteration = s->iteration;
    s->has_losses = true;
}

/* Brings the means of the last step from the device, micro-batch by micro-batch, and adds them up as the CPU does. */
static int32_t fetch(dukd_session *s, dukd_error *error) {
    if (!s->losses_wait) return DUKD_OK;
    const double *from = s->means + (uint64_t)s->means_closed * s->micro_count * DUKD_MAX_LOSSES;
    double sum[DUKD_MAX_LOSSES] = {0};
    for (uint32_t m = 0; m < s->micro_count; m++) {
        double mean[DUKD_MAX_LOSSES];
        const int32_t status =
            s->backend->read(s->backend, s->losses_stream, mean, from + (uint64_t)m * DUKD_MAX_LOSSES,
                             s->recipe.n_losses * sizeof *mean, dukd_report_to(error));
        if (status != DUKD_OK) return status;
        for (uint32_t i = 0; i < s->recipe.n_losses; i++) sum[i] = m == 0 ? mean[i] : sum[i] + mean[i];
    }
    for (uint32_t i = 0; i < s->recipe.n_losses; i++) s->micro_sum[i] = sum[i];
    finish(s);
    s->losses_wait = false;
    return DUKD_OK;
}

int32_t dukd_session_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error) {
    const int32_t status = dukd_session_enter_idle(s, "read_losses", error);
    if (status != DUKD_OK) return status;
    if (out == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "read_losses: out is NULL");
    if (out->struct_size < DUKD_LOSSES_SIZE) {
        return dukd_report(error, DUKD_E_ARGUMENT, "read_losses: struct_size is %u, expected %u",
                           out->struct_size, DUKD_LOSSES_SIZE);
    }
    if (!s->has_losses) return dukd_report(error, DUKD_E_STATE, "read_losses: no step has been ended yet");
    const int32_t fetched = fetch(s, error);
    if (fetched != DUKD_OK) return fetched;
    out->n_losses = s->recipe.n_losses + 1;
    out->iteration = s->losses_iteration;
    out->names = s->loss_names;
    out->values = s->loss_values;
    return DUKD_OK;
}
