/* The networks, the one pass of a step, and its shapes, which the host is asked for. */
#include "fitnets.h"

#include <string.h>

static int32_t find_networks(dukd_session *s, dukd_error *error) {
    bool student = false, teacher = false;
    for (uint32_t i = 0; i < s->host.n_networks; i++) {
        if (strcmp(s->host.networks[i], "student") == 0) s->student = i, student = true;
        if (strcmp(s->host.networks[i], "teacher") == 0) s->teacher = i, teacher = true;
    }
    if (!student) return fit_error(error, DUKD_E_UNSUPPORTED, "the host has no network called student");
    if (!teacher && s->config.term[FIT_HINT])
        return fit_error(error, DUKD_E_UNSUPPORTED,
                         "the host has no teacher: name one, or set train.terms: [rec]");
    return DUKD_OK;
}

/* ---- taps ---- */

static uint32_t add_tap(dukd_session *s, fit_pass *p, uint32_t network, uint32_t flags, const char *layer) {
    const uint32_t i = s->n_taps++;
    p->tap[i] = (dukd_tap){.struct_size = DUKD_TAP_SIZE,
                           .id = i,
                           .network = network,
                           .flags = flags,
                           .source_kind = DUKD_SOURCE_INPUT,
                           .layer = layer[0] ? layer : NULL};
    p->taps[i] = &p->tap[i];
    return i;
}

/* F_S and S are one tap where no layer of the student is named: the host then computes it once. */
static void add_taps(dukd_session *s, fit_pass *p) {
    const fit_config *c = &s->config;
    const uint32_t trained = DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD;
    s->n_taps = 0;
    s->output = s->hint = s->target = FIT_MAX_TAPS;
    if (c->term[FIT_REC]) s->output = add_tap(s, p, s->student, trained, "");
    if (!c->term[FIT_HINT]) return;
    const bool same = !c->student_layer[0] && c->term[FIT_REC];
    s->hint = same ? s->output : add_tap(s, p, s->student, trained, c->student_layer);
    s->target = add_tap(s, p, s->teacher, 0, c->teacher_layer);
}

/* In a plan there are no data. */
void fit_pass_build(dukd_session *s, fit_pass *p, bool in_plan) {
    *p = (fit_pass){.inputs = {&p->input}};
    memcpy(p->shape, s->lr_shape, sizeof p->shape);
    p->tensor = (dukd_tensor){
        .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = s->type, .shape = p->shape, .strides = NULL};
    p->origin = (dukd_origin){.struct_size = DUKD_ORIGIN_SIZE,
                              .kind = DUKD_ORIGIN_LR,
                              .n_samples = (uint32_t)s->lr_shape[0],
                              .samples = s->samples};
    p->input = (dukd_input){
        .struct_size = DUKD_INPUT_SIZE, .tensor = &p->tensor, .origin = in_plan ? NULL : &p->origin};
    add_taps(s, p);
    p->pass = (dukd_pass){.struct_size = DUKD_PASS_SIZE,
                          .flags = DUKD_PASS_FLAGS, /* clear, backward, optimize, average */
                          .n_inputs = 1,
                          .n_taps = s->n_taps,
                          .inputs = p->inputs,
                          .taps = p->taps};
}

/* ---- shapes ---- */

static const char *name_of(const dukd_session *s, uint32_t i) {
    return s->host.networks[s->planned.tap[i].network];
}

static int32_t ask_shape(dukd_session *s, uint32_t i, dukd_error *error) {
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    const dukd_tap *tap = &s->planned.tap[i];
    const char *layer = tap->layer ? tap->layer : "output";
    int64_t *shape = s->tap_shape[i];
    if (s->host.tap_shape(s->host.ctx, tap, s->lr_shape, shape, &why)) {
        why.message[sizeof why.message - 1] = 0;
        return fit_error(error, DUKD_E_UNSUPPORTED, "the %.40s has no '%.60s' for %lld x %lld pixels%s%.120s",
                         name_of(s, i), layer, (long long)s->lr_shape[2], (long long)s->lr_shape[3],
                         why.message[0] ? ": " : "", why.message);
    }
    for (int d = 0; d < 4; d++)
        if (shape[d] < 1 || shape[d] > 65536 || shape[0] != s->lr_shape[0])
            return fit_error(error, DUKD_E_ARGUMENT,
                             "tap_shape of the %.40s, '%.60s': not a shape of %lld images", name_of(s, i),
                             layer, (long long)s->lr_shape[0]);
    return DUKD_OK;
}

static int32_t check_shapes(const dukd_session *s, dukd_error *error) {
    if (s->output < FIT_MAX_TAPS && memcmp(s->tap_shape[s->output], s->hr_shape, sizeof s->hr_shape) != 0)
        return fit_error(error, DUKD_E_ARGUMENT, "the student is not a network of scale %d and %lld channels",
                         s->scale, (long long)s->lr_shape[1]);
    if (!s->config.term[FIT_HINT]) return DUKD_OK;
    const int64_t *f_s = s->tap_shape[s->hint], *f_t = s->tap_shape[s->target];
    if (f_s[2] == f_t[2] && f_s[3] == f_t[3]) return DUKD_OK;
    return fit_error(
        error, DUKD_E_UNSUPPORTED,
        "train.hint: the student's layer gives %lld x %lld pixels, the teacher's %lld x %lld: name "
        "layers of one size",
        (long long)f_s[2], (long long)f_s[3], (long long)f_t[2], (long long)f_t[3]);
}

int32_t fit_plan_make(dukd_session *s, dukd_error *error) {
    int32_t status = find_networks(s, error);
    if (status) return status;
    fit_pass_build(s, &s->planned, true);
    for (uint32_t i = 0; i < s->n_taps && !status; i++) status = ask_shape(s, i, error);
    if (!status) status = check_shapes(s, error);
    if (status) return status;
    s->plan_passes[0] = &s->planned.pass;
    s->plan = (dukd_plan){DUKD_PLAN_SIZE, 1, s->plan_passes};
    return DUKD_OK;
}
