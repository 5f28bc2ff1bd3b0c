/* Making and destroying a session, and its plan. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- memory ---- */

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

int32_t small_enter(const dukd_session *s, dukd_error *error) {
    if (!s) return small_error(error, DUKD_E_ARGUMENT, "session is NULL");
    if (s->owner != getpid() && !BROKEN(survives_fork))
        return small_error(error, DUKD_E_STATE, "this session was inherited by fork: make another");
    if (BROKEN(one_thread) && !pthread_equal(s->maker, pthread_self()))
        return small_error(error, DUKD_E_STATE, "this session belongs to another thread");
    return DUKD_OK;
}

int32_t small_cancelled(const dukd_host *host, dukd_error *error) {
    if (!host->should_cancel || !host->should_cancel(host->ctx)) return DUKD_OK;
    return small_error(error, BROKEN(cancel_is_failure) ? DUKD_E_BACKEND : DUKD_E_CANCELLED,
                       "the host gives up");
}

/* ---- what is asked for ---- */

static int32_t check_host(const dukd_host *h, dukd_error *error) {
    int32_t status = small_check_struct(h, DUKD_HOST_SIZE, "host", error);
    if (status) return status;
    if (!h->tap_shape) return small_error(error, DUKD_E_ARGUMENT, "host: tap_shape is NULL");
    if (!h->networks || !h->n_networks) return small_error(error, DUKD_E_ARGUMENT, "host: no networks");
    if (!h->alloc != !h->free)
        return small_error(error, DUKD_E_ARGUMENT, "host: alloc and free, both or none");
    if (!h->parallel_for != !h->max_threads)
        return small_error(error, DUKD_E_ARGUMENT, "host: parallel_for and max_threads, both or none");
    return DUKD_OK;
}

static bool known_type(dukd_dtype t) {
    return t.lanes == 1 && ((t.code == DUKD_TYPE_FLOAT && (t.bits == 32 || t.bits == 16)) ||
                            (t.code == DUKD_TYPE_BFLOAT && t.bits == 16));
}

static int32_t check_params(const dukd_session_params *p, dukd_error *error) {
    int32_t status = small_check_struct(p, DUKD_SESSION_PARAMS_SIZE, "params", error);
    if (!status) status = check_host(p->host, error);
    if (status) return status;
    if (p->flags & ~DUKD_SESSION_LOSS_SCALE)
        return small_error(error, DUKD_E_ARGUMENT, "params: unknown flags 0x%x", p->flags);
    if (!p->micro_count && !BROKEN(no_micro_batches))
        return small_error(error, DUKD_E_ARGUMENT, "params: micro_count is 0");
    if (p->scale < 1 || p->scale > 16)
        return small_error(error, DUKD_E_ARGUMENT, "params: scale is %d, not 1 to 16", p->scale);
    for (int d = 0; d < 4; d++)
        if (p->lr_shape[d] < 1 || p->lr_shape[d] > 65536)
            return small_error(error, DUKD_E_ARGUMENT, "params: lr_shape[%d] is %lld", d,
                               (long long)p->lr_shape[d]);
    if (!known_type(p->dtype)) return small_error(error, DUKD_E_ARGUMENT, "params: unknown dtype");
    if (p->device.device_type == DUKD_DEVICE_CUDA && BROKEN(takes_cuda)) return DUKD_OK;
    if (p->device.device_type == DUKD_DEVICE_CUDA)
        return small_error(error, DUKD_E_UNSUPPORTED, "no CUDA here: train on the CPU");
    if (p->device.device_type != DUKD_DEVICE_CPU && p->device.device_type != DUKD_DEVICE_CUDA_HOST)
        return small_error(error, DUKD_E_ARGUMENT, "params: device_type is %d", p->device.device_type);
    return DUKD_OK;
}

static int32_t check_config(const dukd_session_params *p, const small_config *c, dukd_error *error) {
    if (c->bias && !(p->host->caps & DUKD_CAP_PARAMS) && !BROKEN(params_unasked))
        return small_error(error, DUKD_E_UNSUPPORTED,
                           "train.bias: the host does not train parameters of a plugin's");
    if (!c->two_steps) return DUKD_OK;
    if (!(p->host->caps & DUKD_CAP_TWO_STEPS))
        return small_error(error, DUKD_E_UNSUPPORTED,
                           "train.two_steps: the host takes one optimizer step in a step");
    if (p->micro_count > 1 || p->flags & DUKD_SESSION_LOSS_SCALE)
        return small_error(error, DUKD_E_UNSUPPORTED,
                           "train.two_steps: not with micro-batches or a loss scale");
    return DUKD_OK;
}

static int32_t find_networks(dukd_session *s, dukd_error *error) {
    bool student = false, teacher = false;
    for (uint32_t i = 0; i < s->host.n_networks; i++) {
        if (strcmp(s->host.networks[i], "student") == 0) s->student = i, student = true;
        if (strcmp(s->host.networks[i], "teacher") == 0) s->teacher = i, teacher = true;
    }
    if (BROKEN(student_is_first)) s->student = 0;
    if (!student) return small_error(error, DUKD_E_UNSUPPORTED, "the host has no student");
    if (!teacher && (s->config.term[PASS_ZOOM_IN] || s->config.term[PASS_ZOOM_OUT]))
        return small_error(error, DUKD_E_UNSUPPORTED, "the host has no teacher: set train.w_zoom: 0");
    return DUKD_OK;
}

/* ---- passes ---- */

static void input_shape(const dukd_session *s, small_kind kind, int64_t shape[4]) {
    shape[0] = kind == PASS_ZOOM_IN ? s->n * s->config.crops : s->n;
    shape[1] = s->channels;
    shape[2] = kind == PASS_ZOOM_OUT ? (s->h + s->scale - 1) / s->scale : s->h;
    shape[3] = kind == PASS_ZOOM_OUT ? (s->w + s->scale - 1) / s->scale : s->w;
}

static uint32_t pass_flags(const dukd_session *s, uint32_t i) {
    bool last = i + 1 == s->n_passes;
    uint32_t flags = DUKD_PASS_BACKWARD;
    if (i == 0 || s->config.two_steps) flags |= DUKD_PASS_ZERO_GRAD_BEFORE;
    if (last || s->config.two_steps) flags |= DUKD_PASS_OPTIMIZE_AFTER;
    if (last) flags |= DUKD_PASS_EMA_AFTER;
    return BROKEN(never_clears) ? flags & ~DUKD_PASS_ZERO_GRAD_BEFORE : flags;
}

static const uint32_t origins[PASSES] = {DUKD_ORIGIN_LR, DUKD_ORIGIN_HR, DUKD_ORIGIN_LR_DOWN};

/* In a plan there are no data; else they are made anew each step, where they are now. */
static void build_pass(dukd_session *s, uint32_t i, bool in_plan) {
    small_pass *p = in_plan ? &s->planned[i] : &s->live[i];
    small_kind kind = s->kind[i];
    *p = (small_pass){.inputs = {&p->input}, .taps = {&p->tap[0], &p->tap[1]}};
    input_shape(s, kind, p->shape);
    for (int d = 0; d < 4; d++) p->tap_shape[d] = p->shape[d] * (d > 1 ? s->scale : 1);
    p->tensor = (dukd_tensor){.data = in_plan ? NULL : s->images[i],
                              .device = {DUKD_DEVICE_CPU, 0},
                              .ndim = 4,
                              .dtype = BROKEN(f32_inputs) ? small_f32 : s->type,
                              .shape = p->shape};
    int64_t *chosen = s->chosen[i], images = p->shape[0];
    p->origin = (dukd_origin){.struct_size = DUKD_ORIGIN_SIZE,
                              .kind = origins[kind],
                              .n_samples = (uint32_t)images,
                              .samples = chosen};
    if (kind == PASS_ZOOM_IN && chosen) {
        p->origin.rows = (int32_t *)(chosen + images);
        p->origin.cols = p->origin.rows + images;
        p->origin.augment = (uint32_t *)(chosen + 2 * images);
    }
    p->input = (dukd_input){DUKD_INPUT_SIZE, 0, &p->tensor, in_plan ? NULL : &p->origin};
    p->tap[0] = (dukd_tap){.struct_size = DUKD_TAP_SIZE,
                           .network = s->student,
                           .flags = DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD};
    p->tap[1] = (dukd_tap){.struct_size = DUKD_TAP_SIZE, .id = 1, .network = s->teacher};
    if (BROKEN(teacher_trains)) p->tap[1].flags = DUKD_TAP_MODE_TRAIN;
    if (BROKEN(taps_not_in_plan) && !in_plan) p->tap[0].flags |= DUKD_TAP_KEEP;
    p->pass = (dukd_pass){.struct_size = DUKD_PASS_SIZE,
                          .id = i,
                          .plan_index = i,
                          .flags = pass_flags(s, i),
                          .n_inputs = 1,
                          .n_taps = kind == PASS_REC ? 1 : 2,
                          .inputs = p->inputs,
                          .taps = p->taps};
    if (BROKEN(unknown_flag) && in_plan) p->pass.flags |= 0x40;
}

static int32_t check_shapes(const dukd_session *s, dukd_error *error) {
    for (uint32_t i = 0; i < s->n_passes; i++)
        for (uint32_t k = 0; k < s->planned[i].pass.n_taps; k++) {
            const small_pass *p = &s->planned[i];
            int64_t out[4];
            if (s->host.tap_shape(s->host.ctx, &p->tap[k], p->shape, out, NULL) && !BROKEN(takes_any_shape))
                return small_error(error, DUKD_E_UNSUPPORTED, "%s cannot take %lld x %lld pixels",
                                   s->host.networks[p->tap[k].network], (long long)p->shape[2],
                                   (long long)p->shape[3]);
            if (!BROKEN(takes_any_shape) && memcmp(out, p->tap_shape, sizeof out))
                return small_error(error, DUKD_E_ARGUMENT, "%s is not a network of scale %d",
                                   s->host.networks[p->tap[k].network], s->scale);
        }
    return DUKD_OK;
}

static int32_t get_memory(dukd_session *s, dukd_error *error) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < s->n_passes; i++) {
        int64_t shape[4];
        input_shape(s, s->kind[i], shape);
        uint64_t images = (uint64_t)shape[0], pixels = (uint64_t)(shape[1] * shape[2] * shape[3]);
        if (images > most) most = images;
        s->chosen[i] = take(&s->host, images * 3 * sizeof(int64_t));
        if (s->kind[i] != PASS_REC)
            s->images[i] = BROKEN(own_memory) ? malloc(images * pixels * s->type.bits / 8)
                                              : take(&s->host, images * pixels * s->type.bits / 8);
        if (!s->chosen[i] || (s->kind[i] != PASS_REC && !s->images[i])) goto fail;
        memset(s->chosen[i], 0, images * 3 * sizeof(int64_t));
    }
    s->partial = take(&s->host, most * sizeof *s->partial);
    if (s->partial) return DUKD_OK;
fail:
    return small_error(error, BROKEN(no_memory_is_bug) ? DUKD_E_INTERNAL : DUKD_E_MEMORY,
                       "no memory for the images of a step");
}

/* ---- the session ---- */

/* In breaks alone. */
static void *volatile leaked;

static void *idle(void *p) {
    (void)p;
    pause();
    return NULL;
}

static int32_t fill(dukd_session *s, dukd_error *error) {
    static const char *const names[PASSES] = {"l_rec", "l_zoom_in", "l_zoom_out"};
    int32_t status = find_networks(s, error);
    if (status) return status;
    for (int k = 0; k < PASSES; k++)
        if (s->config.term[k]) s->kind[s->n_passes++] = (small_kind)k;
    for (uint32_t i = 0; i < s->n_passes; i++) {
        build_pass(s, i, true);
        s->plan_passes[i] = &s->planned[i].pass;
        s->names[i] = names[s->kind[i]];
    }
    s->names[s->n_passes] = "l_total";
    s->plan = (dukd_plan){DUKD_PLAN_SIZE, s->n_passes, s->plan_passes};
    small_params_describe(s);
    status = check_shapes(s, error);
    if (!status) status = get_memory(s, error);
    if (!status) status = small_cancelled(&s->host, error);
    for (uint32_t i = 0; i < s->n_passes && !status; i++) build_pass(s, i, false);
    small_note_seed(s);
    return status;
}

int32_t small_create(const dukd_session_params *p, dukd_session **out, dukd_error *error) {
    small_config config;
    if (!out) return small_error(error, DUKD_E_ARGUMENT, "create_session: out is NULL");
    *out = NULL;
    int32_t status = check_params(p, error);
    if (!status) status = small_read_options(&config, p->options, p->n_options, error);
    if (!status) status = check_config(p, &config, error);
    if (status) return status;
    if (BROKEN(no_session)) return small_error(error, DUKD_E_UNSUPPORTED, "not today");
    dukd_session *s = take(p->host, sizeof *s);
    if (!s) return small_error(error, DUKD_E_MEMORY, "no memory for a session");
    *s = (dukd_session){.owner = getpid(),
                        .maker = pthread_self(),
                        .config = config,
                        .flags = p->flags,
                        .micro_count = p->micro_count,
                        .seed = p->seed,
                        .n = p->lr_shape[0],
                        .channels = p->lr_shape[1],
                        .h = p->lr_shape[2],
                        .w = p->lr_shape[3],
                        .scale = p->scale,
                        .type = p->dtype};
    memcpy(&s->host, p->host, DUKD_HOST_SIZE);
    status = fill(s, error);
    if (status) {
        if (!BROKEN(leaks_refused) || status != DUKD_E_MEMORY) small_destroy(s);
        return status;
    }
    const char *said = BROKEN(two_lines) ? "a small session\n" : "a small session";
    if (s->host.log) s->host.log(s->host.ctx, DUKD_LOG_INFO, said);
    if (BROKEN(always_asks)) (void)s->host.should_cancel(s->host.ctx);
    if (BROKEN(prints)) puts(said), fflush(stdout);
    if (BROKEN(leaks)) leaked = malloc(64);
    if (BROKEN(own_threads) && s->host.parallel_for) s->idles = !pthread_create(&s->idler, NULL, idle, NULL);
    *out = s;
    return DUKD_OK;
}

void small_destroy(dukd_session *s) {
    if (!s) return;
    dukd_host host = s->host; /* outlives what it frees */
    if (s->idles) pthread_cancel(s->idler), pthread_join(s->idler, NULL);
    for (int i = 0; i < PASSES; i++) {
        if (BROKEN(own_memory))
            free(s->images[i]);
        else
            give(&host, s->images[i]);
        give(&host, s->chosen[i]);
    }
    give(&host, s->partial);
    give(&host, s);
}

int32_t small_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (!out) return small_error(error, DUKD_E_ARGUMENT, "get_plan: out is NULL");
    *out = &s->plan;
    if (BROKEN(clears_error) && error) error->code = DUKD_OK;
    return DUKD_OK;
}
