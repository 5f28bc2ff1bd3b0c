/* Replays a recorded training run through the plugin's ABI. */
#include "golden_training.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/graph_ref.h"

static void *zeros(int64_t count, size_t size) {
    void *p = calloc((size_t)count, size);
    assert_non_null(p);
    return p;
}

/* ---------------------------------------------------------------- the host's side of the session */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)why;
    const training *t = ctx;
    const int32_t up = dukd_graph_upscale(tap->network == 0 ? t->student_net : t->teacher_net);
    out[0] = in[0];
    out[1] = in[1];
    out[2] = in[2] * up;
    out[3] = in[3] * up;
    return 0;
}

static void open_session(training *t) {
    static const char *const networks[] = {"student", "teacher"};
    static const dukd_host host_template = {.struct_size = DUKD_HOST_SIZE,
                                            .n_networks = 2,
                                            .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_MODE_TRAIN,
                                            .networks = networks,
                                            .tap_shape = tap_shape};
    dukd_host host = host_template;
    dukd_option options[16];
    const dukd_option *list[16];
    char keys[16][64];
    const char *values[16];
    uint32_t n = 0;
    for (; t->options[n] != NULL; n++) {
        assert_true(n < 16);
        const char *equals = strchr(t->options[n], '=');
        assert_true(equals != NULL && equals - t->options[n] < 64);
        snprintf(keys[n], sizeof keys[n], "%.*s", (int)(equals - t->options[n]), t->options[n]);
        values[n] = equals + 1;
        options[n] = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                                   .kind = DUKD_VALUE_SCALAR,
                                   .key = keys[n],
                                   .values = &values[n],
                                   .n_values = 1};
        list[n] = &options[n];
    }
    host.ctx = t;
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &host,
                                        .options = list,
                                        .n_options = n,
                                        .micro_count = 1,
                                        .seed = 1,
                                        .lr_shape = {t->images, 3, t->h, t->w},
                                        .scale = t->scale,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {DUKD_DEVICE_CPU, 0}};
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    t->plugin = dukd_get_plugin_draft(DUKD_ABI_DRAFT);
    if (t->plugin->create_session(&params, &t->session, &error) != DUKD_OK)
        fail_msg("create_session: %s", error.message);
    const dukd_ext_draws *draws = t->plugin->get_extension(DUKD_EXT_DRAWS);
    assert_int_equal(draws->set_source(t->session, t->source, t, &error), DUKD_OK);
}

static dukd_graph *net_of(training *t, const char *prefix) {
    /* the README's pairs: the student has 8 channels and 2 blocks, the teacher 12 and 3 */
    const int student = strcmp(prefix, "student") == 0;
    return dukd_edsr_net(student ? 8 : 12, student ? 2 : 3, t->scale, 0.1);
}

void training_open(training *t) {
    t->golden = dukd_golden_open(t->file);
    t->student_net = net_of(t, "student");
    t->teacher_net = net_of(t, "teacher");
    trained *s = &t->student;
    s->count = dukd_graph_weights(t->student_net);
    s->weights = zeros(s->count, sizeof(double));
    s->m = zeros(s->count, sizeof(double));
    s->v = zeros(s->count, sizeof(double));
    s->ema = zeros(s->count, sizeof(double));
    s->gradient = zeros(s->count, sizeof(double));
    t->teacher = zeros(dukd_graph_weights(t->teacher_net), sizeof(float));
    dukd_golden_weights(t->teacher, t->teacher_net, t->golden, "teacher");
    float *start = zeros(s->count, sizeof *start);
    dukd_golden_weights(start, t->student_net, t->golden, "student");
    for (int64_t i = 0; i < s->count; i++) s->weights[i] = s->ema[i] = start[i];
    free(start);
    const dukd_golden_tensor lr = dukd_golden_u8(t->golden, "lr.1"),
                             rates = dukd_golden_f64(t->golden, "lr_rate");
    assert_int_equal(lr.dims[0], t->images);
    t->h = lr.dims[2];
    t->w = lr.dims[3];
    t->iterations = rates.count;
    assert_true(t->iterations >= 8);
    open_session(t);
}

void training_close(training *t) {
    t->plugin->destroy_session(t->session);
    free(t->student.weights);
    free(t->student.m);
    free(t->student.v);
    free(t->student.ema);
    free(t->student.gradient);
    free(t->teacher);
    dukd_graph_destroy(t->student_net);
    dukd_graph_destroy(t->teacher_net);
    dukd_golden_close(t->golden);
}

/* ---------------------------------------------------------------- optimizer */

static void adam_step(trained *s, double rate) {
    const double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8;
    s->steps++;
    const double correct1 = 1 - pow(beta1, (double)s->steps), correct2 = 1 - pow(beta2, (double)s->steps);
    for (int64_t i = 0; i < s->count; i++) {
        const double g = s->gradient[i];
        s->m[i] = beta1 * s->m[i] + (1 - beta1) * g;
        s->v[i] = beta2 * s->v[i] + (1 - beta2) * g * g;
        s->weights[i] -= rate / correct1 * s->m[i] / (sqrt(s->v[i]) / sqrt(correct2) + epsilon);
    }
}

/* ---------------------------------------------------------------- passes */

typedef struct {
    dukd_graph_ref *run;
    float *value, *grad;
    int64_t shape[4];
    dukd_tensor value_tensor, grad_tensor;
} computed;

static void tensor_of(dukd_tensor *t, float *data, int64_t *shape) {
    *t = (dukd_tensor){.data = data,
                       .device = {DUKD_DEVICE_CPU, 0},
                       .ndim = 4,
                       .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                       .shape = shape};
}

static void compute_tap(const training *t, const dukd_pass *pass, const dukd_tap *tap, const float *student,
                        computed *c) {
    const dukd_graph *net = tap->network == 0 ? t->student_net : t->teacher_net;
    const dukd_tensor *x = pass->inputs[tap->source_id]->tensor;
    assert_null(x->strides);
    c->run = dukd_graph_ref_run(net, tap->network == 0 ? student : t->teacher, (int32_t)x->shape[0],
                                (int32_t)x->shape[2], (int32_t)x->shape[3], (const float *)x->data);
    const int64_t count = dukd_graph_ref_count(c->run, dukd_graph_output(net));
    const double *exact = dukd_graph_ref_value(c->run, dukd_graph_output(net));
    memcpy(c->shape, x->shape, sizeof c->shape);
    c->shape[2] *= t->scale;
    c->shape[3] *= t->scale;
    c->value = zeros(count, sizeof(float));
    c->grad = zeros(count, sizeof(float));
    for (int64_t i = 0; i < count; i++) c->value[i] = (float)exact[i];
    tensor_of(&c->value_tensor, c->value, c->shape);
    tensor_of(&c->grad_tensor, c->grad, c->shape);
}

static void run_pass(training *t, const dukd_pass *pass) {
    computed taps[4];
    const dukd_tensor *values[4], *grads[4];
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    trained *s = &t->student;
    float *weights = zeros(s->count, sizeof *weights);
    for (int64_t i = 0; i < s->count; i++) weights[i] = (float)s->weights[i];
    assert_true(pass->n_taps <= 4);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        compute_tap(t, pass, pass->taps[i], weights, &taps[i]);
        values[i] = &taps[i].value_tensor;
        grads[i] = (pass->taps[i]->flags & DUKD_TAP_WANT_GRAD) != 0 ? &taps[i].grad_tensor : NULL;
    }
    const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                .pass_id = pass->id,
                                .n_taps = pass->n_taps,
                                .values = values,
                                .grads = grads,
                                .grad_scale = 1};
    if (t->plugin->submit_pass(t->session, &submit, &error) != DUKD_OK)
        fail_msg("submit_pass: %s", error.message);
    if ((pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) != 0)
        memset(s->gradient, 0, (size_t)s->count * sizeof(double));
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        if (grads[i] != NULL) {
            const dukd_value output = dukd_graph_output(t->student_net);
            const float *d_output = taps[i].grad;
            dukd_graph_ref_backward(taps[i].run, 1, &output, &d_output, s->gradient, NULL);
        }
        dukd_graph_ref_free(taps[i].run);
        free(taps[i].value);
        free(taps[i].grad);
    }
    free(weights);
    if (t->watch != NULL) t->watch(t, pass);
    const double *rate = (const double *)dukd_golden_f64(t->golden, "lr_rate").data + (t->iteration - 1);
    if ((pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0) {
        adam_step(s, *rate);
        t->optimized++;
    }
    if ((pass->flags & DUKD_PASS_EMA_AFTER) == 0) return;
    for (int64_t i = 0; i < s->count; i++) s->ema[i] = s->ema[i] * 0.999 + s->weights[i] * (1 - 0.999);
}

static float *batch_images(const training *t, const char *name, int64_t shape[4]) {
    const dukd_golden_tensor bytes = dukd_golden_u8(t->golden, "%s.%d", name, (int)t->iteration);
    float *images = zeros(bytes.count, sizeof *images);
    assert_int_equal(bytes.ndim, 4);
    memcpy(shape, bytes.dims, 4 * sizeof *shape);
    for (int64_t i = 0; i < bytes.count; i++) images[i] = (float)((const uint8_t *)bytes.data)[i] / 255.0f;
    return images;
}

void training_iterate(training *t) {
    int64_t lr_shape[4], hr_shape[4];
    dukd_tensor lr, hr;
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    const dukd_pass *pass = NULL;
    int32_t status;
    t->iteration++;
    t->optimized = 0;
    tensor_of(&lr, batch_images(t, "lr", lr_shape), lr_shape);
    tensor_of(&hr, batch_images(t, "hr", hr_shape), hr_shape);
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = t->iteration,
                            .first_sample = (t->iteration - 1) * t->images,
                            .micro_count = 1,
                            .lr = &lr,
                            .hr = &hr};
    if (t->plugin->begin_step(t->session, &step, &error) != DUKD_OK)
        fail_msg("begin_step: %s", error.message);
    while ((status = t->plugin->next_pass(t->session, &pass, &error)) == DUKD_OK) run_pass(t, pass);
    assert_int_equal(status, DUKD_STEP_DONE);
    assert_int_equal(t->plugin->end_step(t->session, &error), DUKD_OK);
    t->losses = (dukd_losses){.struct_size = DUKD_LOSSES_SIZE};
    assert_int_equal(t->plugin->read_losses(t->session, &t->losses, &error), DUKD_OK);
    assert_int_equal(t->losses.iteration, t->iteration);
    free(lr.data);
    free(hr.data);
}

/* ---------------------------------------------------------------- comparing */

double training_loss(const training *t, const char *name) {
    for (uint32_t i = 0; i < t->losses.n_losses; i++) {
        if (strcmp(t->losses.names[i], name) == 0) return t->losses.values[i];
    }
    return NAN;
}

int64_t training_row(const training *t, const dukd_draw *draw) {
    return (int64_t)draw->crop * t->images + draw->sample - (draw->iteration - 1) * t->images;
}

void training_check_gradient(const training *t, const char *name, double tolerance) {
    for (int32_t i = 0; i < dukd_graph_param_count(t->student_net); i++) {
        const dukd_param *p = dukd_graph_param(t->student_net, i);
        const dukd_golden_tensor want = dukd_golden_f32(t->golden, "%s.%s", name, p->name);
        assert_int_equal(want.count, p->count);
        dukd_assert_error(want.name,
                          dukd_relative_error_mixed(t->student.gradient + p->offset, want.data, p->count),
                          tolerance);
    }
}

void training_check_weights(const training *t, const double *weights, const char *name, double tolerance) {
    for (int32_t i = 0; i < dukd_graph_param_count(t->student_net); i++) {
        const dukd_param *p = dukd_graph_param(t->student_net, i);
        const dukd_golden_tensor want = dukd_golden_f32(t->golden, "%s.%s", name, p->name);
        double worst = 0;
        assert_int_equal(want.count, p->count);
        for (int64_t k = 0; k < p->count; k++) {
            worst = fmax(worst, fabs(weights[p->offset + k] - (double)((const float *)want.data)[k]));
        }
        dukd_assert_error(want.name, worst, tolerance);
    }
}
