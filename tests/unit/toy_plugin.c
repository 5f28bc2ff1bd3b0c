#include "toy_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

toy_script toy_plays;
toy_report toy_saw;

/* One session; everything that passes point to. */
struct dukd_session {
    uint32_t micro_count, submitted, next; /* submitted: a bit a pass */
    int64_t lr_shape[4], half_shape[4], mirrored_strides[4];
    float *half;
    dukd_tensor tensors[3]; /* by toy_source */
    dukd_origin origin;
    dukd_input inputs[TOY_PASSES][TOY_INPUTS];
    const dukd_input *input_list[TOY_PASSES][TOY_INPUTS];
    dukd_tap taps[TOY_PASSES][TOY_TAPS];
    const dukd_tap *tap_list[TOY_PASSES][TOY_TAPS];
    dukd_pass passes[TOY_PASSES], announced[TOY_PASSES];
    const dukd_pass *announced_list[TOY_PASSES];
    dukd_plan plan;
};

static void note(const char *call, int32_t number) {
    const size_t used = strlen(toy_saw.calls);
    if (number >= 0)
        snprintf(toy_saw.calls + used, sizeof toy_saw.calls - used, "%s%s:%d", used ? " " : "", call, number);
    else
        snprintf(toy_saw.calls + used, sizeof toy_saw.calls - used, "%s%s", used ? " " : "", call);
}

void toy_reset(void) {
    for (int p = 0; p < TOY_PASSES; p++)
        for (int t = 0; t < TOY_TAPS; t++) free(toy_saw.values[p][t]);
    toy_saw = (toy_report){0};
    toy_plays = (toy_script){.fail_submit = -1, .loss = 0.5};
}

static int32_t refuse(dukd_error *error, int32_t code, const char *message) {
    if (error) {
        error->code = code;
        snprintf(error->message, sizeof error->message, "%s", message);
    }
    return code;
}

/* ---------------------------------------------------------------- discovery */

static const dukd_plugin_info *get_info(void) {
    static const dukd_plugin_info info = {
        .struct_size = DUKD_PLUGIN_INFO_SIZE, .name = "toy", .version = "1.0.0", .build = "test"};
    return &info;
}

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    (void)index;
    (void)out;
    return refuse(error, DUKD_E_ARGUMENT, "no backends");
}

static const void *get_extension(const char *id) {
    (void)id;
    return NULL;
}

/* ---------------------------------------------------------------- session */

static void make_pass(dukd_session *s, uint32_t p) {
    const toy_pass *script = &toy_plays.passes[p];
    for (uint32_t i = 0; i < script->n_inputs; i++) {
        s->inputs[p][i] = (dukd_input){.struct_size = DUKD_INPUT_SIZE,
                                       .id = i,
                                       .tensor = &s->tensors[script->inputs[i]],
                                       .origin = &s->origin};
        s->input_list[p][i] = &s->inputs[p][i];
    }
    for (uint32_t t = 0; t < script->n_taps; t++) {
        s->taps[p][t] =
            (dukd_tap){.struct_size = DUKD_TAP_SIZE,
                       .id = t,
                       .network = script->taps[t].network,
                       .flags = script->taps[t].flags,
                       .source_kind = toy_plays.derived[p][t] ? DUKD_SOURCE_TAP : DUKD_SOURCE_INPUT,
                       .source_id = script->taps[t].input,
                       .layer = toy_plays.layer[p][t]};
        s->tap_list[p][t] = &s->taps[p][t];
    }
    s->passes[p] = (dukd_pass){.struct_size = DUKD_PASS_SIZE,
                               .plan_index = p,
                               .flags = script->flags,
                               .n_inputs = script->n_inputs,
                               .n_taps = script->n_taps,
                               .inputs = s->input_list[p],
                               .taps = s->tap_list[p]};
    s->announced[p] = s->passes[p];
    if (toy_plays.lie) s->announced[p].n_taps--;
    s->announced_list[p] = &s->announced[p];
}

static int32_t create_session(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    *out = NULL;
    for (uint32_t p = 0; p < toy_plays.n_passes; p++)
        for (uint32_t t = 0; t < toy_plays.passes[p].n_taps; t++)
            if (toy_plays.passes[p].taps[t].network >= params->host->n_networks)
                return refuse(error, DUKD_E_OPTION, "opt.yml:1:1: this needs a teacher");
    dukd_session *s = calloc(1, sizeof *s);
    if (!s) return refuse(error, DUKD_E_MEMORY, "no memory");
    memcpy(s->lr_shape, params->lr_shape, sizeof s->lr_shape);
    memcpy(s->half_shape, params->lr_shape, sizeof s->half_shape);
    s->half_shape[2] /= 2;
    s->half_shape[3] /= 2;
    s->micro_count = params->micro_count;
    s->half = calloc((size_t)(s->half_shape[0] * 3 * s->half_shape[2] * s->half_shape[3]), sizeof *s->half);
    const dukd_tensor tensor = {
        .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = {DUKD_TYPE_FLOAT, 32, 1}, .shape = s->lr_shape};
    for (int i = 0; i < 3; i++) s->tensors[i] = tensor;
    s->tensors[TOY_HALF].shape = s->half_shape;
    const int64_t *n = s->lr_shape;
    memcpy(s->mirrored_strides, (int64_t[4]){3 * n[2] * n[3], n[2] * n[3], n[3], -1},
           sizeof s->mirrored_strides);
    s->tensors[TOY_MIRRORED].strides = s->mirrored_strides;
    s->origin = (dukd_origin){.struct_size = DUKD_ORIGIN_SIZE, .kind = DUKD_ORIGIN_OTHER};
    for (uint32_t p = 0; p < toy_plays.n_passes; p++) make_pass(s, p);
    s->plan = (dukd_plan){
        .struct_size = DUKD_PLAN_SIZE, .n_passes = toy_plays.n_passes, .passes = s->announced_list};
    toy_saw.sessions++;
    *out = s;
    return DUKD_OK;
}

static void destroy_session(dukd_session *s) {
    if (!s) return;
    toy_saw.sessions--;
    free(s->half);
    free(s);
}

static int32_t get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error) {
    (void)error;
    *out = &s->plan;
    return DUKD_OK;
}

/* ---------------------------------------------------------------- a step */

static int32_t begin_step(dukd_session *s, const dukd_step *step, dukd_error *error) {
    (void)error;
    note("begin", -1);
    toy_saw.first_sample = step->first_sample;
    toy_saw.iteration = step->iteration;
    toy_saw.micro_index = step->micro_index;
    toy_saw.micro_count = step->micro_count;
    const float *lr = step->lr->data;
    toy_saw.first_lr = lr[0];
    s->submitted = s->next = 0;
    s->tensors[TOY_LR].data = step->lr->data;
    s->tensors[TOY_MIRRORED].data = step->lr->data;
    s->tensors[TOY_MIRRORED].byte_offset = sizeof(float) * (uint64_t)(s->lr_shape[3] - 1);
    s->tensors[TOY_HALF].data = s->half;
    const int64_t *h = s->half_shape;
    for (int64_t i = 0, at = 0; i < h[0] * 3; i++)
        for (int64_t y = 0; y < h[2]; y++)
            for (int64_t x = 0; x < h[3]; x++)
                s->half[at++] = lr[(i * s->lr_shape[2] + y) * s->lr_shape[3] + x];
    return DUKD_OK;
}

static int32_t next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    (void)error;
    if (s->next == toy_plays.n_passes) {
        note("next:done", -1);
        return DUKD_STEP_DONE;
    }
    const int32_t after = toy_plays.passes[s->next].after;
    if (toy_plays.stuck || (after >= 0 && !(s->submitted >> after & 1))) {
        note("next:wait", -1);
        return DUKD_WAIT;
    }
    note("next", (int32_t)s->next);
    s->passes[s->next].id = s->next;
    *out = &s->passes[s->next++];
    return DUKD_OK;
}

static int64_t elements(const dukd_tensor *t) {
    return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
}

static int32_t submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    const uint32_t p = submit->pass_id;
    note("submit", (int32_t)p);
    if (toy_plays.fail_submit == (int32_t)p) return refuse(error, DUKD_E_BACKEND, "the toy breaks");
    for (uint32_t t = 0; t < submit->n_taps; t++) {
        const dukd_tensor *value = submit->values[t], *grad = submit->grads[t];
        const int wants = (s->taps[p][t].flags & DUKD_TAP_WANT_GRAD) != 0;
        if (!value || !value->data || (grad != NULL) != wants)
            return refuse(error, DUKD_E_ARGUMENT, "a tap is wrong");
        free(toy_saw.values[p][t]);
        toy_saw.sizes[p][t] = elements(value);
        toy_saw.values[p][t] = malloc((size_t)elements(value) * sizeof(float));
        memcpy(toy_saw.values[p][t], value->data, (size_t)elements(value) * sizeof(float));
        for (int64_t i = 0; grad && i < elements(grad); i++)
            ((float *)grad->data)[i] = toy_plays.gradient[p][t];
    }
    s->submitted |= 1u << p;
    return DUKD_OK;
}

static int32_t end_step(dukd_session *s, dukd_error *error) {
    (void)s;
    (void)error;
    note("end", -1);
    return DUKD_OK;
}

static int32_t cancel_step(dukd_session *s, dukd_error *error) {
    (void)s;
    (void)error;
    note("cancel", -1);
    return DUKD_OK;
}

static int32_t read_losses(dukd_session *s, dukd_losses *out, dukd_error *error) {
    static const char *const names[] = {"l_toy"};
    (void)s;
    (void)error;
    note("read", -1);
    out->n_losses = 1;
    out->iteration = toy_saw.iteration;
    out->names = names;
    out->values = &toy_plays.loss;
    return DUKD_OK;
}

static int32_t get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error) {
    (void)s;
    (void)error;
    if (data) memcpy(data, &toy_saw.state, sizeof toy_saw.state);
    *size = sizeof toy_saw.state;
    return DUKD_OK;
}

static int32_t set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error) {
    (void)s;
    if (size != sizeof toy_saw.state)
        return refuse(error, DUKD_E_ARGUMENT, "the toy's state has another size");
    memcpy(&toy_saw.state, data, sizeof toy_saw.state);
    return DUKD_OK;
}

const dukd_plugin *toy_plugin(void) {
    static const dukd_plugin table = {
        .struct_size = DUKD_PLUGIN_SIZE,
        .abi_draft = DUKD_ABI_DRAFT,
        .get_info = get_info,
        .query_backend = query_backend,
        .get_extension = get_extension,
        .create_session = create_session,
        .destroy_session = destroy_session,
        .get_plan = get_plan,
        .begin_step = begin_step,
        .next_pass = next_pass,
        .submit_pass = submit_pass,
        .end_step = end_step,
        .cancel_step = cancel_step,
        .read_losses = read_losses,
        .get_state = get_state,
        .set_state = set_state,
    };
    return &table;
}
