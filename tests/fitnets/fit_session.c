/* Making and destroying a session. */
#include "fitnets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- memory: the host's, where it offers some ---- */

static void *take(const dukd_host *host, uint64_t size) {
    if (host->alloc) return host->alloc(host->ctx, DUKD_DEVICE_CPU, 0, size, 64, NULL);
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void give(const dukd_host *host, void *p) {
    if (!p) return;
    if (host->free)
        host->free(host->ctx, p, DUKD_DEVICE_CPU, 0, NULL);
    else
        free(p);
}

int32_t fit_enter(const dukd_session *s, dukd_error *error) {
    if (!s) return fit_error(error, DUKD_E_ARGUMENT, "session is NULL");
    if (s->owner != getpid())
        return fit_error(error, DUKD_E_STATE,
                         "this session was inherited by fork: make another in this process");
    return DUKD_OK;
}

int32_t fit_cancelled(const dukd_host *host, dukd_error *error) {
    if (!host->should_cancel || !host->should_cancel(host->ctx)) return DUKD_OK;
    return fit_error(error, DUKD_E_CANCELLED, "the host gives up");
}

/* ---- what is asked for ---- */

static int32_t check_host(const dukd_host *h, dukd_error *error) {
    int32_t status = fit_check_struct(h, DUKD_HOST_SIZE, "host", error);
    if (status) return status;
    if (!h->tap_shape) return fit_error(error, DUKD_E_ARGUMENT, "host: tap_shape is NULL");
    if (!h->networks || !h->n_networks) return fit_error(error, DUKD_E_ARGUMENT, "host: it has no networks");
    for (uint32_t i = 0; i < h->n_networks; i++)
        if (!h->networks[i]) return fit_error(error, DUKD_E_ARGUMENT, "host: networks[%u] is NULL", i);
    if (!h->alloc != !h->free) return fit_error(error, DUKD_E_ARGUMENT, "host: alloc and free, both or none");
    if (!h->parallel_for != !h->max_threads)
        return fit_error(error, DUKD_E_ARGUMENT, "host: parallel_for and max_threads, both or none");
    return DUKD_OK;
}

static bool known_type(dukd_dtype t) {
    return t.lanes == 1 && ((t.code == DUKD_TYPE_FLOAT && (t.bits == 32 || t.bits == 16)) ||
                            (t.code == DUKD_TYPE_BFLOAT && t.bits == 16));
}

static int32_t check_params(const dukd_session_params *p, dukd_error *error) {
    int32_t status = fit_check_struct(p, DUKD_SESSION_PARAMS_SIZE, "params", error);
    if (!status) status = check_host(p->host, error);
    if (status) return status;
    if (p->flags & ~DUKD_SESSION_LOSS_SCALE)
        return fit_error(error, DUKD_E_ARGUMENT, "params: unknown flags 0x%x", p->flags);
    if (!p->micro_count) return fit_error(error, DUKD_E_ARGUMENT, "params: micro_count is 0");
    if (p->scale < 1 || p->scale > 16)
        return fit_error(error, DUKD_E_ARGUMENT, "params: scale is %d, not 1 to 16", p->scale);
    for (int d = 0; d < 4; d++)
        if (p->lr_shape[d] < 1 || p->lr_shape[d] > 65536)
            return fit_error(error, DUKD_E_ARGUMENT, "params: lr_shape[%d] is %lld, not 1 to 65536", d,
                             (long long)p->lr_shape[d]);
    if (!known_type(p->dtype)) return fit_error(error, DUKD_E_ARGUMENT, "params: unknown dtype");
    if (p->device.device_type == DUKD_DEVICE_CUDA)
        return fit_error(error, DUKD_E_UNSUPPORTED, "fitnets has no CUDA backend: train on the CPU");
    if (p->device.device_type != DUKD_DEVICE_CPU && p->device.device_type != DUKD_DEVICE_CUDA_HOST)
        return fit_error(error, DUKD_E_ARGUMENT, "params: device_type is %d", p->device.device_type);
    return DUKD_OK;
}

/* What this host cannot do, before it is asked to. */
static int32_t check_caps(const dukd_host *h, const fit_config *c, dukd_error *error) {
    if (!c->term[FIT_HINT]) return DUKD_OK;
    if (!(h->caps & DUKD_CAP_PARAMS))
        return fit_error(
            error, DUKD_E_UNSUPPORTED,
            "the hint's projection is learned, and this host does not train a plugin's parameters: "
            "set train.terms: [rec], or take another host");
    if ((c->student_layer[0] || c->teacher_layer[0]) && !(h->caps & DUKD_CAP_LAYERS))
        return fit_error(error, DUKD_E_UNSUPPORTED,
                         "train.hint: this host gives no layers: leave student_layer and teacher_layer out");
    return DUKD_OK;
}

/* ---- the session ---- */

static int32_t get_memory(dukd_session *s, dukd_error *error) {
    const uint64_t images = (uint64_t)s->lr_shape[0], row = fit_row(s);
    s->samples = take(&s->host, images * sizeof *s->samples);
    if (s->samples && row <= (UINT64_C(1) << 40) / images)
        s->work = take(&s->host, images * row * sizeof *s->work);
    if (!s->samples || !s->work)
        return fit_error(error, DUKD_E_MEMORY, "no memory for the %llu images of a step",
                         (unsigned long long)images);
    memset(s->samples, 0, images * sizeof *s->samples);
    return DUKD_OK;
}

static void name_losses(dukd_session *s) {
    static const char *const names[FIT_TERMS] = {"l_rec", "l_hint"};
    for (int k = 0; k < FIT_TERMS; k++)
        if (s->config.term[k]) s->names[s->n_losses++] = names[k];
    s->names[s->n_losses++] = "l_total";
}

static int32_t fill(dukd_session *s, dukd_error *error) {
    int32_t status = fit_plan_make(s, error);
    if (status) return status;
    fit_params_describe(s);
    name_losses(s);
    status = get_memory(s, error);
    if (!status) status = fit_cancelled(&s->host, error);
    if (!status) fit_pass_build(s, &s->live, false);
    return status;
}

static void say(const dukd_session *s) {
    char line[160];
    if (!s->host.log || !s->config.term[FIT_HINT]) return;
    const int64_t to = s->weight_shape[0], from = s->weight_shape[1];
    snprintf(line, sizeof line, "hint: a projection of %lld to %lld channels is learned, %lld parameters",
             (long long)from, (long long)to, (long long)(to * from + to));
    s->host.log(s->host.ctx, DUKD_LOG_INFO, line);
}

int32_t fit_create(const dukd_session_params *p, dukd_session **out, dukd_error *error) {
    fit_config config;
    if (!out) return fit_error(error, DUKD_E_ARGUMENT, "create_session: out is NULL");
    *out = NULL;
    int32_t status = check_params(p, error);
    if (!status) status = fit_read_options(&config, p->options, p->n_options, error);
    if (!status) status = check_caps(p->host, &config, error);
    if (status) return status;
    dukd_session *s = take(p->host, sizeof *s);
    if (!s) return fit_error(error, DUKD_E_MEMORY, "no memory for a session");
    *s = (dukd_session){.owner = getpid(),
                        .config = config,
                        .flags = p->flags,
                        .micro_count = p->micro_count,
                        .seed = p->seed,
                        .scale = p->scale,
                        .type = p->dtype};
    memcpy(&s->host, p->host, DUKD_HOST_SIZE);
    for (int d = 0; d < 4; d++) {
        s->lr_shape[d] = p->lr_shape[d];
        s->hr_shape[d] = p->lr_shape[d] * (d > 1 ? p->scale : 1);
    }
    status = fill(s, error);
    if (status) {
        fit_destroy(s);
        return status;
    }
    say(s);
    *out = s;
    return DUKD_OK;
}

void fit_destroy(dukd_session *s) {
    if (!s) return;
    const dukd_host host = s->host; /* outlives what it frees */
    give(&host, s->samples);
    give(&host, s->work);
    give(&host, s);
}

int32_t fit_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (!out) return fit_error(error, DUKD_E_ARGUMENT, "get_plan: out is NULL");
    *out = &s->plan;
    return DUKD_OK;
}
