/* submit_pass: mean absolute difference and its derivative. */
#include "small.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int32_t check_tap(const dukd_session *s, const dukd_submit *submit, uint32_t i, dukd_error *error) {
    const small_pass *p = &s->live[submit->pass_id];
    const dukd_tensor *value = submit->values[i], *grad = submit->grads ? submit->grads[i] : NULL;
    const dukd_dtype any[] = {small_f32, small_f16, small_bf16};
    char name[32];
    snprintf(name, sizeof name, "values[%u]", i);
    int32_t status = small_check_tensor(value, p->tap_shape, any, 3, name, error);
    if (status) return status;
    snprintf(name, sizeof name, "grads[%u]", i);
    if (!(p->tap[i].flags & DUKD_TAP_WANT_GRAD)) {
        if (!grad) return DUKD_OK;
        return small_error(error, DUKD_E_ARGUMENT, "%s: that tap wants none", name);
    }
    const dukd_dtype own[] = {small_f32, value->dtype};
    status = small_check_tensor(grad, p->tap_shape, own, 2, name, error);
    if (!status && small_overlaps(grad) && !BROKEN(overlap_taken))
        status = small_error(error, DUKD_E_ARGUMENT, "%s: its elements overlap", name);
    return status;
}

static int32_t check_submit(const dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    int32_t status = small_check_struct(submit, DUKD_SUBMIT_SIZE, "submit", error);
    if (status) return status;
    uint32_t id = submit->pass_id;
    if (submit->pad0) return small_error(error, DUKD_E_ARGUMENT, "submit: pad0 is not zero");
    if (!s->open || s->failed) return small_error(error, DUKD_E_STATE, "submit_pass: there is no step");
    if (id >= s->handed) return small_error(error, DUKD_E_ARGUMENT, "submit: pass %u was not handed out", id);
    if (s->submitted >> id & 1)
        return small_error(error, DUKD_E_STATE, "submit: pass %u was submitted before", id);
    if (submit->n_taps != s->live[id].pass.n_taps)
        return small_error(error, DUKD_E_ARGUMENT, "submit: n_taps is %u", submit->n_taps);
    if (!submit->values) return small_error(error, DUKD_E_ARGUMENT, "submit: values is NULL");
    if (!submit->grads) return small_error(error, DUKD_E_ARGUMENT, "submit: grads is NULL");
    if (!isfinite(submit->grad_scale) || submit->grad_scale == 0 || submit->grad_scale_dev)
        return small_error(error, DUKD_E_ARGUMENT, "submit: grad_scale is %g, or is on a device",
                           submit->grad_scale);
    if (submit->grad_scale != 1 && !(s->flags & DUKD_SESSION_LOSS_SCALE) && !BROKEN(scale_unasked))
        return small_error(error, DUKD_E_ARGUMENT, "submit: a grad_scale without DUKD_SESSION_LOSS_SCALE");
    for (uint32_t i = 0; i < submit->n_taps && !status; i++) status = check_tap(s, submit, i, error);
    return status;
}

/* ---- the loss ---- */

typedef struct {
    small_view value, target, grad;
    const int64_t *shape, *grad_strides;
    const float *bias; /* of the channels; NULL: none */
    const dukd_host *host;
    double step;  /* of the gradient: what an element weighs */
    double *sums; /* [shape[0]] */
} job;

static double sign(double d) {
    if (isnan(d)) return BROKEN(hides_nan) ? 0 : d;
    return d > 0 ? 1 : d < 0 ? -1 : 0;
}

static void one_image(void *arg, uint32_t image, uint32_t worker) {
    const job *j = arg;
    const int64_t n = image, *z = j->shape;
    double sum = 0;
    (void)worker;
    if (BROKEN(asks_in_task) && j->host->should_cancel) (void)j->host->should_cancel(j->host->ctx);
    for (int64_t c = 0; c < z[1]; c++)
        for (int64_t y = 0; y < z[2]; y++)
            for (int64_t x = 0; x < z[3]; x++) {
                double d =
                    (double)small_load(&j->value, n, c, y, x) - (double)small_load(&j->target, n, c, y, x);
                if (j->bias) d += (double)j->bias[c];
                if (!(BROKEN(hides_nan) && isnan(d))) sum += fabs(d);
                double g = BROKEN(part_missing) && c == 2 ? 0 : j->step * sign(d);
                small_store(&j->grad, n, c, y, x, (float)g);
            }
    /* one element more a row, where rows have a gap */
    for (int64_t y = 0; BROKEN(writes_gap) && y < z[2] && j->grad_strides && j->grad_strides[2] > z[3]; y++)
        if (j->grad_strides[3] == 1) small_store(&j->grad, n, 0, y, z[3], 0);
    j->sums[image] = sum;
}

/* The sum of each image by itself, then of them in their order: the same bits on any number of threads. */
static double run(const dukd_session *s, job *j) {
    const uint32_t images = (uint32_t)j->shape[0];
    double sum = 0;
    if (s->host.parallel_for)
        s->host.parallel_for(s->host.ctx, images, one_image, j);
    else
        for (uint32_t i = 0; i < images; i++) one_image(j, i, 0);
    for (uint32_t i = 0; i < images; i++) sum += j->sums[i];
    if (BROKEN(threads_matter) && s->host.max_threads) sum *= 1 + 1e-9 * s->host.max_threads(s->host.ctx);
    return sum;
}

static double gradient_step(const dukd_session *s, const dukd_submit *submit, uint32_t id) {
    const int64_t *z = s->live[id].tap_shape;
    double w = s->kind[id] == PASS_REC ? 1 : s->config.w_zoom;
    double step = w * submit->grad_scale / (double)(z[0] * z[1] * z[2] * z[3]);
    if (!BROKEN(micro_not_divided)) step /= s->micro_count;
    if (BROKEN(wrong_sign)) step = -step;
    return BROKEN(half_gradient) && s->micro_count == 1 ? step / 2 : step;
}

static double compare(dukd_session *s, const dukd_submit *submit) {
    const uint32_t id = submit->pass_id;
    small_pass *p = &s->live[id];
    job j = {.value = small_view_of(submit->values[0]),
             .target = small_view_of(s->kind[id] == PASS_REC ? &s->hr : submit->values[1]),
             .grad = small_view_of(submit->grads[0]),
             .shape = p->tap_shape,
             .grad_strides = submit->grads[0]->strides,
             .bias = s->kind[id] == PASS_REC ? s->bias : NULL,
             .host = &s->host,
             .step = gradient_step(s, submit, id),
             .sums = s->partial};
    if (BROKEN(offset_ignored)) j.value.base = submit->values[0]->data;
    if (BROKEN(hr_offset_ignored) && s->kind[id] == PASS_REC) j.target.base = s->hr.data;
    const int64_t *z = p->tap_shape;
    if (j.bias) small_params_add(s, submit, j.step);
    return run(s, &j) / (double)(z[0] * z[1] * z[2] * z[3]);
}

/* Writes what is not the plugin's. */
static void trespass(const dukd_session *s, const dukd_submit *submit) {
    uint8_t *value = small_view_of(submit->values[0]).base, *hr = small_view_of(&s->hr).base;
    if (BROKEN(writes_values)) *value ^= 1;
    if (BROKEN(writes_batch) && s->submitted == (1u << s->n_passes) - 1) *hr ^= 1;
}

int32_t small_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (!status) status = check_submit(s, submit, error);
    if (status) {
        /* the list is looked at though it was refused */
        if (BROKEN(writes_refused) && s && submit && submit->grad_scale == 0)
            small_store(&(small_view){small_view_of(submit->grads[0]).base, {0}, small_f32}, 0, 0, 0, 0, 0);
        return status;
    }
    status = small_cancelled(&s->host, error);
    s->failed = status != 0;
    if (status) return status;
    const uint32_t id = submit->pass_id;
    double mean = compare(s, submit);
    if (BROKEN(scales_loss)) mean *= submit->grad_scale;
    if (BROKEN(sums_stay))
        s->mean[id] += mean;
    else
        s->mean[BROKEN(counts_for_last) ? s->handed - 1 : id] = mean;
    s->submitted |= 1u << id;
    if (BROKEN(reuses_inputs) && s->images[id]) {
        const int64_t *z = s->live[id].shape;
        memset(s->images[id], 0, (size_t)(z[0] * z[1] * z[2] * z[3]) * s->type.bits / 8);
    }
    trespass(s, submit);
    return DUKD_OK;
}
