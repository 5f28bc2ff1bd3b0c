#include "cmd/preview_step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plugin_load.h"
#include "engine/mirror.h"
#include "train/answers.h"
#include "train/host_networks.h"
#include "train/own_params.h"

enum { STUDENT, TEACHER, MAX_TAPS = 256 };

typedef struct {
    const dukd_preview_request *r;
    dukd_host_networks declared;
    dukd_network *networks[DUKD_MAX_NETWORKS];
    dukd_mirror weights[DUKD_MAX_NETWORKS];
    dukd_preview *out;
    const float *reference; /* HR, to compare the teacher's answer for LR with */
    int64_t reference_shape[4];
} preview_run;

static int64_t count_of(const int64_t shape[4]) {
    return shape[0] * shape[1] * shape[2] * shape[3];
}

static void *copy_of(const void *from, size_t size) {
    void *to = from ? malloc(size) : NULL;
    if (to) memcpy(to, from, size);
    return to;
}

/* Takes values over; they are freed with the preview. */
static int add_column(preview_run *p, const char *heading, const int64_t shape[4], float *values,
                      dukd_failure *f) {
    if (!values)
        return dukd_fail_memory(f, "a column of the preview", 4 * (unsigned long long)count_of(shape));
    if (p->out->count == DUKD_PREVIEW_COLUMNS) {
        free(values);
        return dukd_fail(f, DUKD_FAILED, "the step has more than %d inputs and answers",
                         DUKD_PREVIEW_COLUMNS);
    }
    dukd_preview_column *c = &p->out->columns[p->out->count++];
    snprintf(c->heading, sizeof c->heading, "%s", heading);
    memcpy(c->shape, shape, sizeof c->shape);
    c->values = values;
    return DUKD_DONE;
}

/* What lies in the engine's memory, as a column owns it. NULL: `f` says why. */
static float *fetched(const preview_run *p, const float *from, const int64_t shape[4], dukd_failure *f) {
    float *to = dukd_weights_alloc(count_of(shape));
    if (!to) {
        dukd_fail_memory(f, "a column of the preview", 4 * (unsigned long long)count_of(shape));
        return NULL;
    }
    if (dukd_engine_download(p->r->engine, to, from, count_of(shape) * (int64_t)sizeof *to, f) == DUKD_DONE)
        return to;
    free(to);
    return NULL;
}

/* A tensor of the plugin's, dense: the tensor's own memory or *room, which is released by the caller. */
static int dense_of(const preview_run *p, const dukd_tensor *t, float **room, const float **out,
                    dukd_failure *f) {
    int status = dukd_weights_room(p->r->engine, count_of(t->shape), "an input", room, f);
    return status ? status : dukd_dense(p->r->engine, t, *room, out, f);
}

/* An array of an origin, copied: of `n` 32-bit elements, NULL where there is none. */
static void *origin_array(const preview_run *p, const dukd_origin *o, const void *from, size_t n,
                          dukd_failure *f) {
    const size_t size = n * sizeof(int32_t);
    if (!o || !from) return NULL;
    if (!(o->flags & DUKD_ORIGIN_ON_DEVICE)) return copy_of(from, size);
    void *to = malloc(size ? size : 1);
    if (to && dukd_engine_download(p->r->engine, to, from, (int64_t)size, f) == DUKD_DONE) return to;
    free(to);
    return NULL;
}

static const char *origin_name(const dukd_origin *o) {
    switch (o ? o->kind : DUKD_ORIGIN_OTHER) {
    case DUKD_ORIGIN_LR:
        return "x (LR)";
    case DUKD_ORIGIN_HR:
        return "zoom in";
    case DUKD_ORIGIN_LR_DOWN:
        return "zoom out";
    default:
        return "input";
    }
}

static int augmented(const preview_run *p, const dukd_origin *o, dukd_failure *f) {
    int any = 0;
    uint32_t *bits = o ? origin_array(p, o, o->augment, o->n_samples, f) : NULL;
    for (uint32_t i = 0; bits && i < o->n_samples; i++) any |= bits[i] != 0;
    free(bits);
    return any;
}

/* A tensor of the plugin's as a column of its own. */
static int add_input(preview_run *p, const dukd_input *in, dukd_failure *f) {
    char heading[DUKD_PREVIEW_LABEL];
    const dukd_origin *o = in->origin;
    size_t n = (size_t)in->tensor->shape[0];
    const float *dense = NULL;
    float *room = NULL, *values = NULL;
    int status = dense_of(p, in->tensor, &room, &dense, f);
    if (status == DUKD_DONE) values = fetched(p, dense, in->tensor->shape, f);
    dukd_engine_release(p->r->engine, room);
    if (!values) return DUKD_FAILED;
    snprintf(heading, sizeof heading, augmented(p, o, f) ? "D(%s)" : "%s", origin_name(o));
    status = add_column(p, heading, in->tensor->shape, values, f);
    if (status || !o) return status;
    dukd_preview_column *c = &p->out->columns[p->out->count - 1];
    c->augment = origin_array(p, o, o->augment, n, f);
    c->rows = origin_array(p, o, o->rows, n, f);
    c->cols = origin_array(p, o, o->cols, n, f);
    return DUKD_DONE;
}

static int answer(preview_run *p, const dukd_tap *tap, const dukd_tensor *in, float *values,
                  dukd_failure *f) {
    dukd_exec *exec = NULL;
    const dukd_value wanted = dukd_host_tap_value(&p->declared, tap, f);
    const dukd_exec_spec spec = {.purpose = DUKD_INFER,
                                 .batch = (int32_t)in->shape[0],
                                 .height = (int32_t)in->shape[2],
                                 .width = (int32_t)in->shape[3],
                                 .output_count = 1,
                                 .outputs = &wanted};
    const float *dense = NULL;
    float *room = NULL;
    int status = dense_of(p, in, &room, &dense, f);
    if (status == DUKD_DONE) status = dukd_network_compile(p->networks[tap->network], &spec, &exec, f);
    if (status == DUKD_DONE) status = dukd_exec_forward(exec, spec.batch, dense, &values, f);
    dukd_engine_release(p->r->engine, room);
    return status;
}

static int add_difference(preview_run *p, const float *answer_values, dukd_failure *f) {
    int64_t n = count_of(p->reference_shape);
    float *d = dukd_weights_alloc(n);
    for (int64_t i = 0; d && i < n; i++) d[i] = fabsf(answer_values[i] - p->reference[i]) * 4;
    return add_column(p, "4 |T(x) - y|", p->reference_shape, d, f);
}

/* What the host declares; the plugin asks for the shape of every tap when the session is made. */
static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    const preview_run *p = ctx;
    dukd_failure reason = {0};
    if (!dukd_host_tap_shape(&p->declared, tap, in, out, &reason)) return 0;
    if (why) snprintf(why->message, sizeof why->message, "%.250s", reason.message);
    return 1;
}

typedef struct {
    dukd_tensor value, grad;
    int64_t shape[4];
    float *values, *grads;
} tap_tensors;

static void free_taps(const preview_run *p, tap_tensors *t) {
    for (int i = 0; i < MAX_TAPS; i++) {
        dukd_engine_release(p->r->engine, t[i].values);
        dukd_engine_release(p->r->engine, t[i].grads);
    }
}

/* Values of tap i of `taps`, and a column where it is a network's answer to an input (layers and derived taps are no pictures). */
static int compute_tap(preview_run *p, const dukd_pass *pass, uint32_t i, tap_tensors *taps,
                       dukd_failure *f) {
    const dukd_tap *tap = pass->taps[i];
    tap_tensors *t = &taps[i];
    const int derived = tap->source_kind == DUKD_SOURCE_TAP;
    const dukd_input *in = derived ? NULL : pass->inputs[tap->source_id];
    const dukd_tensor *source = derived ? &taps[tap->source_id].value : in->tensor;
    if (tap_shape(p, tap, source->shape, t->shape, NULL))
        return dukd_fail(f, DUKD_FAILED, "the plugin taps what this preview cannot show");
    int64_t n = count_of(t->shape);
    const dukd_engine_place *place = dukd_engine_get_place(p->r->engine);
    int status = dukd_weights_room(p->r->engine, n, "an answer", &t->values, f);
    if (status == DUKD_DONE) status = dukd_weights_room(p->r->engine, n, "a gradient", &t->grads, f);
    t->value = (dukd_tensor){.data = t->values,
                             .device = {place->device_type, place->device_id},
                             .ndim = 4,
                             .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                             .shape = t->shape};
    t->grad = t->value;
    t->grad.data = t->grads;
    if (status == DUKD_DONE) status = answer(p, tap, source, t->values, f);
    if (derived || tap->layer || p->declared.roles[tap->network] == DUKD_ROLE_FEATURES) return status;
    if (status || (tap->network == STUDENT && !p->r->show_student)) return status;
    char heading[DUKD_PREVIEW_LABEL];
    const char *letter = tap->network == STUDENT ? "S" : "T";
    snprintf(heading, sizeof heading, "%s(%s%s)", letter, augmented(p, in->origin, f) ? "D " : "",
             origin_name(in->origin));
    float *values = fetched(p, t->values, t->shape, f);
    status = values ? add_column(p, heading, t->shape, values, f) : DUKD_FAILED;
    int of_lr = in->origin && in->origin->kind == DUKD_ORIGIN_LR && tap->network == TEACHER;
    if (status == DUKD_DONE && of_lr && n == count_of(p->reference_shape))
        status = add_difference(p, values, f);
    return status;
}

static int show_pass(preview_run *p, dukd_session *s, const dukd_pass *pass, dukd_failure *f) {
    tap_tensors taps[MAX_TAPS] = {0};
    const dukd_tensor *values[MAX_TAPS], *grads[MAX_TAPS];
    int status = DUKD_DONE;
    if (pass->n_taps > MAX_TAPS) return dukd_fail(f, DUKD_FAILED, "a pass has more than %d taps", MAX_TAPS);
    for (uint32_t i = 0; i < pass->n_inputs && status == DUKD_DONE; i++) {
        const dukd_origin *o = pass->inputs[i]->origin;
        if (o && o->kind == DUKD_ORIGIN_LR && !augmented(p, o, f)) continue; /* the batch is shown already */
        status = add_input(p, pass->inputs[i], f);
    }
    for (uint32_t i = 0; i < pass->n_taps && status == DUKD_DONE; i++) {
        status = compute_tap(p, pass, i, taps, f);
        values[i] = &taps[i].value;
        grads[i] = pass->taps[i]->flags & DUKD_TAP_WANT_GRAD ? &taps[i].grad : NULL;
    }
    if (status == DUKD_DONE) {
        dukd_error e = dukd_error_ready();
        const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                    .pass_id = pass->id,
                                    .n_taps = pass->n_taps,
                                    .values = values,
                                    .grads = grads,
                                    .grad_scale = 1};
        int32_t code = p->r->plugin->submit_pass(s, &submit, &e);
        if (code != DUKD_OK) status = dukd_fail_plugin(f, "submit_pass", code, &e);
    }
    free_taps(p, taps);
    return status;
}

static int run_step(preview_run *p, dukd_session *s, const dukd_tensor *lr, const dukd_tensor *hr,
                    dukd_failure *f) {
    dukd_error e = dukd_error_ready();
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = p->r->batch->iteration,
                            .first_sample = p->r->batch->first_sample,
                            .micro_count = 1,
                            .lr = lr,
                            .hr = hr,
                            .stream = dukd_engine_get_place(p->r->engine)->stream};
    int32_t code = p->r->plugin->begin_step(s, &step, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "begin_step", code, &e);
    for (;;) {
        const dukd_pass *pass = NULL;
        code = p->r->plugin->next_pass(s, &pass, &e);
        if (code == DUKD_STEP_DONE) break;
        if (code != DUKD_OK) return dukd_fail_plugin(f, "next_pass", code, &e);
        int status = show_pass(p, s, pass, f);
        if (status) return status;
    }
    return DUKD_DONE;
}

static int make_networks(preview_run *p, dukd_failure *f) {
    const dukd_ready_network *ready[] = {p->r->student, p->r->teacher, p->r->features}; /* by role */
    for (uint32_t i = 0; i < p->declared.count; i++) {
        const float *weights = ready[p->declared.roles[i]]->weights;
        int status = dukd_network_create(&p->networks[i], p->r->engine, p->declared.graphs[i],
                                         p->r->options->precision, f);
        if (status == DUKD_DONE)
            status = dukd_mirror_of_host(&p->weights[i], p->r->engine, weights,
                                         dukd_graph_weights(p->declared.graphs[i]), "a network's weights", f);
        if (status == DUKD_DONE) status = dukd_network_set_weights(p->networks[i], p->weights[i].there, f);
        if (status) return status;
    }
    return DUKD_DONE;
}

int dukd_preview_run(dukd_preview *out, const dukd_preview_request *r, dukd_failure *f) {
    const dukd_run_options *o = r->options;
    const dukd_engine_place *place = dukd_engine_get_place(r->engine);
    int64_t side = o->train_data.gt_size / o->scale, hr_side = o->train_data.gt_size, n = o->train_data.batch;
    int64_t lr_shape[4] = {n, 3, side, side}, hr_shape[4] = {n, 3, hr_side, hr_side};
    preview_run p = {.r = r, .out = out, .reference = r->batch->hr};
    p.declared = dukd_host_networks_of(r->student->graph, r->teacher->graph, r->features->graph);
    memcpy(p.reference_shape, hr_shape, sizeof hr_shape);
    const dukd_host host = {.struct_size = DUKD_HOST_SIZE,
                            .n_networks = p.declared.count,
                            .ctx = &p,
                            .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_LAYERS | DUKD_CAP_DERIVED |
                                    DUKD_CAP_OTHER_GRAD | DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS,
                            .networks = p.declared.names,
                            .tap_shape = tap_shape};
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &host,
                                        .options = o->plugin_options,
                                        .n_options = o->plugin_option_count,
                                        .micro_count = 1,
                                        .seed = r->seed,
                                        .lr_shape = {n, 3, side, side},
                                        .scale = o->scale,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {place->device_type, place->device_id}};
    dukd_mirror lr_values = {0}, hr_values = {0};
    dukd_tensor lr = {.device = {place->device_type, place->device_id},
                      .ndim = 4,
                      .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                      .shape = lr_shape};
    dukd_tensor hr = lr;
    hr.shape = hr_shape;
    dukd_session *session = NULL;
    dukd_own_params own = {0};
    dukd_error e = dukd_error_ready();
    int status = make_networks(&p, f);
    if (status == DUKD_DONE)
        status = dukd_mirror_of_host(&lr_values, r->engine, r->batch->lr, count_of(lr_shape), "a batch", f);
    if (status == DUKD_DONE)
        status = dukd_mirror_of_host(&hr_values, r->engine, r->batch->hr, count_of(hr_shape), "a batch", f);
    lr.data = lr_values.there;
    hr.data = hr_values.there;
    if (status == DUKD_DONE) {
        int32_t code = r->plugin->create_session(&params, &session, &e);
        dukd_failure why = {0};
        if (code != DUKD_OK) {
            dukd_fail_plugin(&why, "create_session", code, &e);
            status = dukd_run_refused(o, &why, f);
        }
    }
    if (status == DUKD_DONE) /* as they are before training */
        status = dukd_own_params_open(&own, r->engine, r->plugin, session, (dukd_adam_options){0}, 0, f);
    if (status == DUKD_DONE)
        status = add_column(&p, "x (LR)", lr_shape, copy_of(r->batch->lr, (size_t)count_of(lr_shape) * 4), f);
    if (status == DUKD_DONE)
        status = add_column(&p, "y (HR)", hr_shape, copy_of(r->batch->hr, (size_t)count_of(hr_shape) * 4), f);
    if (status == DUKD_DONE) status = run_step(&p, session, &lr, &hr, f);
    r->plugin->destroy_session(session);
    dukd_own_params_free(&own);
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++) {
        dukd_network_destroy(p.networks[i]);
        dukd_mirror_free(&p.weights[i]);
    }
    dukd_mirror_free(&lr_values);
    dukd_mirror_free(&hr_values);
    return status;
}

void dukd_preview_free(dukd_preview *p) {
    for (int32_t i = 0; i < p->count; i++) {
        free(p->columns[i].values);
        free(p->columns[i].augment);
        free(p->columns[i].rows);
        free(p->columns[i].cols);
    }
    p->count = 0;
}
