/* One training iteration through the plugin's step protocol. */
#include "train/step.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/plugin_load.h"
#include "train/answers.h"
#include "train/drops.h"
#include "train/sgd.h"
#include "train/step_plan.h"
#include "train/weights.h"

struct dukd_stepper {
    dukd_stepper_options o;
    dukd_host host;
    dukd_network *student_net, *teacher_net;
    dukd_session *session;
    const dukd_plan *plan;
    dukd_step_plan slots;
    dukd_own_params own;    /* that the plugin brings */
    dukd_answers *answers;  /* NULL: no teacher */
    const dukd_pass **held; /* [plan->n_passes] */
    float *gradient;        /* of all parameters */
    float *input_room;      /* a dense copy of a student's input that is not */
    int64_t student_weights;
    int gradient_broken;  /* something that is not finite went into the gradient since it was cleared */
    int broken;           /* the same in this iteration */
    int moved;            /* an optimizer step was made since the average was updated */
    dukd_failure refused; /* why a network cannot compute a tap of the plan */
    int64_t iteration, first_sample; /* of the part that is run */
    dukd_exec *fresh;                /* the student's TRAIN exec whose activations are those of fresh_input */
    const dukd_input *fresh_input;
    dukd_step_counts counts;
    dukd_losses losses;
};

int dukd_all_finite(const float *values, int64_t count) {
    uint32_t bad = 0;
#pragma omp parallel for simd schedule(static) reduction(| : bad)
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

/* ---------------------------------------------------------------- the session */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    dukd_stepper *s = ctx;
    const dukd_graph *g = tap->network == 0 ? s->o.student : tap->network == 1 ? s->o.teacher : NULL;
    if (!g || tap->from_layer || tap->layer || tap->source_kind != DUKD_SOURCE_INPUT) return 1;
    if (in[1] != dukd_graph_op(g, 0)->channels || in[0] < 1) return 1;
    dukd_failure reason = {0};
    if (dukd_graph_check_size(g, in[2], in[3], &reason)) {
        if (why) snprintf(why->message, sizeof why->message, "%.250s", reason.message);
        dukd_fail(
            &s->refused, DUKD_MISUSED,
            "the %s cannot compute what each iteration of batches of %d x %d images needs: %s. Images scaled "
            "down (zoom out) are %d times smaller: change datasets.train.gt_size, or switch zoom out off",
            tap->network == 0 ? "student" : "teacher", (int)s->o.height, (int)s->o.width, reason.message,
            (int)s->o.scale);
        return 1;
    }
    out[0] = in[0];
    out[1] = dukd_graph_op(g, dukd_graph_output(g))->channels;
    dukd_graph_size(g, dukd_graph_output(g), in[2], in[3], &out[2]);
    return 0;
}

static void host_log(void *ctx, int32_t level, const char *message) {
    const dukd_stepper *s = ctx;
    if (s->o.log) s->o.log(s->o.log_ctx, level, message);
}

static int open_session(dukd_stepper *s, dukd_failure *f) {
    static const char *const networks[] = {"student", "teacher"};
    const dukd_stepper_options *o = &s->o;
    s->host = (dukd_host){
        .struct_size = DUKD_HOST_SIZE,
        .n_networks = o->teacher ? 2 : 1,
        .ctx = s,
        .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS,
        .networks = networks,
        .tap_shape = tap_shape,
        .log = host_log,
        /* parallel_for stays NULL: plugin and engine use the same OpenMP threads, one after the other. */
    };
    const dukd_session_params params = {
        .struct_size = DUKD_SESSION_PARAMS_SIZE,
        .host = &s->host,
        .options = o->plugin_options,
        .n_options = o->plugin_option_count,
        .micro_count = (uint32_t)o->micro_batches,
        .seed = o->seed,
        .lr_shape = {o->batch / o->micro_batches, 3, o->height, o->width},
        .scale = o->scale,
        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
        .device = {DUKD_DEVICE_CPU, 0},
    };
    dukd_error e = dukd_error_ready();
    int32_t code = o->plugin->create_session(&params, &s->session, &e);
    if (code != DUKD_OK && s->refused.status)
        return dukd_fail(f, s->refused.status, "%s", s->refused.message);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "create_session", code, &e);
    code = o->plugin->get_plan(s->session, &s->plan, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "get_plan", code, &e);
    return dukd_own_params_open(&s->own, o->plugin, s->session, o->adam->options, o->ema != NULL, f);
}

/* ---------------------------------------------------------------- one pass */

/* Which images of a tap these are, for the draws of its drop paths. */
static dukd_drop_key key_of(const dukd_stepper *s, const dukd_pass *pass, uint32_t i) {
    return (dukd_drop_key){.seed = s->o.seed,
                           .iteration = s->iteration,
                           .first_sample = s->first_sample,
                           .batch = s->o.batch / s->o.micro_batches,
                           .network = pass->taps[i]->network,
                           .pass = pass->plan_index,
                           .tap = i};
}

/* Draws the drop paths of a student's tap in training mode; the same for the same tap, however often it is run. */
static void set_drops(const dukd_stepper *s, const dukd_pass *pass, uint32_t i, dukd_tap_slot *t) {
    if (!t->drops) {
        dukd_exec_set_drops(t->exec, NULL);
        return;
    }
    const dukd_drop_key key = key_of(s, pass, i);
    dukd_drops_draw(s->o.student, &key, (int32_t)t->shape[0], t->drops);
    dukd_exec_set_drops(t->exec, t->drops);
}

/* The student's output for a tap. A pass may have several with a gradient; an engine keeps the activations of the last one
 * alone, and backward runs the others again. */
static int student_forward(dukd_stepper *s, const dukd_pass *pass, uint32_t i, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    const dukd_input *input = pass->inputs[pass->taps[i]->source_id];
    dukd_tap_slot *t = &slot->taps[i];
    if (!t->own) { /* the same as an earlier one */
        for (uint32_t k = 0; k < i; k++)
            if (slot->taps[k].exec == t->exec && pass->taps[k]->source_id == pass->taps[i]->source_id)
                t->value.data = slot->taps[k].value.data;
        return 0;
    }
    set_drops(s, pass, i, t);
    int status = dukd_exec_forward(t->exec, (int32_t)t->shape[0], dukd_dense(input->tensor, s->input_room),
                                   &t->own, f);
    if (pass->taps[i]->flags & DUKD_TAP_WANT_GRAD) {
        s->fresh = t->exec;
        s->fresh_input = input;
    }
    s->counts.student_passes++;
    s->counts.student_images += t->shape[0];
    return status;
}

/* Taps of the same output have one backward together: their gradients add up in the first one's. */
static void add_gradients_of_twins(const dukd_pass *pass, dukd_pass_slot *slot, uint32_t i) {
    dukd_tap_slot *t = &slot->taps[i];
    const int64_t size = t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
    for (uint32_t k = i + 1; k < pass->n_taps; k++) {
        const dukd_tap_slot *twin = &slot->taps[k];
        if (twin->exec != t->exec || twin->own || pass->taps[k]->source_id != pass->taps[i]->source_id)
            continue;
        float *to = t->grad.data;
        const float *from = twin->grad.data;
        for (int64_t e = 0; e < size; e++) to[e] += from[e];
    }
}

static int student_backward(dukd_stepper *s, const dukd_pass *pass, uint32_t i, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    dukd_tap_slot *t = &slot->taps[i];
    const dukd_input *input = pass->inputs[pass->taps[i]->source_id];
    const float *gradient = t->grad.data;
    int status = 0;
    if (!t->own) return 0; /* done with the tap that it is the same as */
    add_gradients_of_twins(pass, slot, i);
    if (s->fresh != t->exec || s->fresh_input != input) {
        set_drops(s, pass, i, t);
        status = dukd_exec_forward(t->exec, (int32_t)t->shape[0], dukd_dense(input->tensor, s->input_room),
                                   &t->own, f);
        s->counts.student_passes++;
        s->counts.student_images += t->shape[0];
    }
    s->fresh = NULL; /* backward uses the activations up */
    return status ? status : dukd_exec_backward(t->exec, &gradient, s->gradient, NULL, f);
}

static int optimize(dukd_stepper *s, double rate, dukd_failure *f) {
    if (!dukd_all_finite(s->gradient, s->student_weights) || !dukd_all_finite(s->own.gradient, s->own.count))
        s->gradient_broken = 1;
    if (s->gradient_broken) {
        s->broken = 1;
        s->counts.skipped_steps++;
        return 0;
    }
    if (s->o.sgd)
        dukd_sgd_step(rate, s->o.adam->options.weight_decay, s->gradient, s->o.weights, s->student_weights);
    else
        dukd_adam_step(s->o.adam, rate, s->gradient, s->o.weights);
    dukd_own_params_optimize(&s->own, s->o.sgd, rate);
    s->counts.optimizer_steps++;
    s->moved = 1;
    s->fresh = NULL;
    return dukd_network_set_weights(s->student_net, s->o.weights, f);
}

static int submit(dukd_stepper *s, const dukd_pass *pass, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    const dukd_submit message = {
        .struct_size = DUKD_SUBMIT_SIZE,
        .pass_id = pass->id,
        .n_taps = pass->n_taps,
        .values = slot->values,
        .grads = slot->grads,
        .grad_scale = 1,
    };
    dukd_error e = dukd_error_ready();
    int32_t code = s->o.plugin->submit_pass(s->session, &message, &e);
    return code == DUKD_OK ? 0 : dukd_fail_plugin(f, "submit_pass", code, &e);
}

static int run_pass(dukd_stepper *s, const dukd_pass *pass, double rate, dukd_failure *f) {
    dukd_pass_slot *slot = &s->slots.passes[pass->plan_index];
    int status = 0;
    if (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) {
        memset(s->gradient, 0, (size_t)s->student_weights * sizeof *s->gradient);
        dukd_own_params_clear(&s->own);
        s->gradient_broken = 0;
    }
    for (uint32_t i = 0; i < pass->n_taps && !status; i++) {
        dukd_tap_slot *t = &slot->taps[i];
        if (pass->taps[i]->network == 0)
            status = student_forward(s, pass, i, f);
        else
            t->value.data = dukd_answers_value(s->answers, t->ticket);
        /* An infinite output can have a finite gradient: sign(inf). To leave a step out one has to look before it. */
        if (!status && s->o.nonfinite == DUKD_NONFINITE_SKIP &&
            !dukd_all_finite(t->value.data, t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3]))
            s->gradient_broken = 1;
    }
    if (!status) status = submit(s, pass, f);
    for (uint32_t i = pass->n_taps; pass->flags & DUKD_PASS_BACKWARD && i > 0 && !status; i--)
        if (pass->taps[i - 1]->flags & DUKD_TAP_WANT_GRAD) status = student_backward(s, pass, i - 1, f);
    if (!status && pass->flags & DUKD_PASS_OPTIMIZE_AFTER) status = optimize(s, rate, f);
    if (!status && pass->flags & DUKD_PASS_EMA_AFTER && s->o.ema && s->moved) {
        dukd_ema_update(s->o.ema, s->o.weights, s->student_weights, s->o.ema_decay);
        dukd_own_params_average(&s->own, s->o.ema_decay);
        s->moved = 0;
    }
    return status;
}

/* ---------------------------------------------------------------- one iteration */

/* Takes passes until the plugin has none to give; *done: it has no more at all. */
static int collect(dukd_stepper *s, const dukd_pass **held, uint32_t *count, int *done, dukd_failure *f) {
    dukd_error e = dukd_error_ready();
    *count = 0;
    for (;;) {
        const dukd_pass *pass = NULL;
        int32_t code = s->o.plugin->next_pass(s->session, &pass, &e);
        *done = code == DUKD_STEP_DONE;
        if (code == DUKD_WAIT && *count == 0)
            return dukd_fail(f, DUKD_FAILED, "the plugin waits for a pass that it has not handed out");
        if (code == DUKD_WAIT || code == DUKD_STEP_DONE) return 0;
        if (code != DUKD_OK) return dukd_fail_plugin(f, "next_pass", code, &e);
        if (*count == s->plan->n_passes)
            return dukd_fail(f, DUKD_FAILED, "the plugin hands out more passes than its plan has");
        int status = dukd_step_plan_check(&s->slots, pass, f);
        if (status) return status;
        held[(*count)++] = pass;
    }
}

static int ask_teacher(dukd_stepper *s, const dukd_pass *const *held, uint32_t count, dukd_failure *f) {
    int status = 0;
    for (uint32_t p = 0; p < count; p++)
        for (uint32_t i = 0; i < held[p]->n_taps && !status; i++) {
            const dukd_tap *tap = held[p]->taps[i];
            dukd_tap_slot *slot = &s->slots.passes[held[p]->plan_index].taps[i];
            if (tap->network == 0) continue;
            if (slot->drops) {
                const dukd_drop_key key = key_of(s, held[p], i);
                dukd_drops_draw(s->o.teacher, &key, (int32_t)slot->shape[0], slot->drops);
            }
            status = dukd_answers_want(s->answers, held[p]->inputs[tap->source_id]->tensor, slot->drops,
                                       &slot->ticket, f);
        }
    return status || !s->answers ? status : dukd_answers_run(s->answers, f);
}

static int run_part(dukd_stepper *s, const dukd_step *step, double rate, dukd_failure *f) {
    dukd_error e = dukd_error_ready();
    uint32_t count = 0;
    int done = 0;
    s->iteration = step->iteration;
    s->first_sample = step->first_sample;
    int32_t code = s->o.plugin->begin_step(s->session, step, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "begin_step", code, &e);
    if (s->answers) dukd_answers_begin(s->answers);
    s->fresh = NULL;
    int status = 0;
    while (!done && !status) {
        status = collect(s, s->held, &count, &done, f);
        if (!status) status = ask_teacher(s, s->held, count, f);
        for (uint32_t i = 0; i < count && !status; i++) status = run_pass(s, s->held[i], rate, f);
    }
    if (status) {
        s->o.plugin->cancel_step(s->session, NULL);
        return status;
    }
    code = s->o.plugin->end_step(s->session, &e);
    return code == DUKD_OK ? 0 : dukd_fail_plugin(f, "end_step", code, &e);
}

/* Reads the losses and, where something was not finite, says what it was. */
static int look_at_losses(dukd_stepper *s, int64_t iteration, dukd_failure *f) {
    dukd_error e = dukd_error_ready();
    s->losses.struct_size = DUKD_LOSSES_SIZE;
    int32_t code = s->o.plugin->read_losses(s->session, &s->losses, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "read_losses", code, &e);
    if (s->o.nonfinite == DUKD_NONFINITE_SKIP) return 0;
    for (uint32_t i = 0; i < s->losses.n_losses; i++)
        if (!isfinite(s->losses.values[i]))
            return dukd_fail(
                f, DUKD_FAILED,
                "iteration %lld: the loss %s is not finite (%g): stopped before anything was written. Lower "
                "train.optim_g.lr, or go on without such steps by train.nonfinite: skip",
                (long long)iteration, s->losses.names[i], s->losses.values[i]);
    if (s->broken)
        return dukd_fail(
            f, DUKD_FAILED,
            "iteration %lld: the gradient is not finite, though the losses are: stopped before anything was "
            "written. Lower train.optim_g.lr, or go on without such steps by train.nonfinite: skip",
            (long long)iteration);
    return 0;
}

int dukd_stepper_run(dukd_stepper *s, int64_t iteration, int64_t first_sample, const float *lr,
                     const float *hr, double rate, dukd_failure *f) {
    const int32_t parts = s->o.micro_batches, images = s->o.batch / parts, scale = s->o.scale;
    int64_t lr_shape[4] = {images, 3, s->o.height, s->o.width},
            hr_shape[4] = {images, 3, (int64_t)s->o.height * scale, (int64_t)s->o.width * scale};
    const int64_t lr_size = 3 * lr_shape[2] * lr_shape[3], hr_size = 3 * hr_shape[2] * hr_shape[3];
    int status = 0;
    s->broken = 0;
    for (int32_t part = 0; part < parts && !status; part++) {
        const int64_t first = (int64_t)part * images;
        /* The ABI's tensors have a writable pointer, as DLPack's; the plugin only reads these. */
        const dukd_tensor lr_tensor = {.data = (void *)(uintptr_t)(lr + first * lr_size),
                                       .device = {DUKD_DEVICE_CPU, 0},
                                       .ndim = 4,
                                       .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                       .shape = lr_shape};
        dukd_tensor hr_tensor = lr_tensor;
        hr_tensor.data = (void *)(uintptr_t)(hr + first * hr_size);
        hr_tensor.shape = hr_shape;
        const dukd_step step = {
            .struct_size = DUKD_STEP_SIZE,
            .iteration = iteration,
            .first_sample = first_sample + first,
            .micro_index = (uint32_t)part,
            .micro_count = (uint32_t)parts,
            .lr = &lr_tensor,
            .hr = &hr_tensor,
        };
        status = run_part(s, &step, rate, f);
    }
    s->counts.images += s->o.batch;
    return status ? status : look_at_losses(s, iteration, f);
}

/* ---------------------------------------------------------------- reading */

const dukd_losses *dukd_stepper_losses(const dukd_stepper *s) {
    return &s->losses;
}
dukd_session *dukd_stepper_session(const dukd_stepper *s) {
    return s->session;
}
dukd_own_params *dukd_stepper_own_params(dukd_stepper *s) {
    return &s->own;
}
const float *dukd_stepper_gradient(const dukd_stepper *s) {
    return s->gradient;
}

dukd_step_counts dukd_stepper_counts(const dukd_stepper *s) {
    dukd_step_counts c = s->counts;
    if (s->answers) {
        const dukd_answer_counts a = dukd_answers_counts(s->answers);
        c.teacher_passes += a.passes;
        c.teacher_images += a.images;
    }
    return c;
}

void dukd_stepper_set_counts(dukd_stepper *s, const dukd_step_counts *counts) {
    s->counts = *counts;
    if (s->answers) {
        const dukd_answer_counts a = dukd_answers_counts(s->answers);
        s->counts.teacher_passes -= a.passes;
        s->counts.teacher_images -= a.images;
    }
}

int dukd_stepper_weights_changed(dukd_stepper *s, dukd_failure *f) {
    return dukd_network_set_weights(s->student_net, s->o.weights, f);
}

/* ---------------------------------------------------------------- life */

/* Of all inputs of the plan, the elements of the largest. */
static int64_t largest_input(const dukd_plan *plan) {
    int64_t most = 1;
    for (uint32_t p = 0; p < plan->n_passes; p++)
        for (uint32_t i = 0; i < plan->passes[p]->n_inputs; i++) {
            const int64_t *shape = plan->passes[p]->inputs[i]->tensor->shape;
            int64_t size = shape[0] * shape[1] * shape[2] * shape[3];
            if (size > most) most = size;
        }
    return most;
}

static int make_networks(dukd_stepper *s, dukd_failure *f) {
    int status = dukd_network_create(&s->student_net, s->o.engine, s->o.student, s->o.precision, f);
    if (!status) status = dukd_network_set_weights(s->student_net, s->o.weights, f);
    if (status || !s->o.teacher) return status;
    status = dukd_network_create(&s->teacher_net, s->o.engine, s->o.teacher, s->o.precision, f);
    return status ? status : dukd_network_set_weights(s->teacher_net, s->o.teacher_weights, f);
}

int dukd_stepper_create(dukd_stepper **out, const dukd_stepper_options *options, dukd_failure *f) {
    *out = NULL;
    dukd_stepper *s = calloc(1, sizeof *s);
    if (!s) return dukd_fail_memory(f, "the trainer", sizeof *s);
    s->o = *options;
    s->student_weights = dukd_graph_weights(options->student);
    const dukd_graph *const graphs[] = {options->student, options->teacher};
    int status = open_session(s, f); /* first: it refuses what is wrong before anything large is made */
    if (!status) status = make_networks(s, f);
    if (!status)
        status =
            dukd_step_plan_create(&s->slots, s->plan, graphs, options->teacher ? 2 : 1, s->student_net, f);
    if (!status && options->teacher)
        status = dukd_answers_create(&s->answers, s->teacher_net, options->teacher, s->plan, 1, f);
    if (status) goto fail;
    s->gradient = dukd_weights_alloc(s->student_weights);
    s->input_room = dukd_weights_alloc(largest_input(s->plan));
    s->held = calloc((size_t)s->plan->n_passes + 1, sizeof *s->held);
    if (!s->gradient || !s->input_room || !s->held) {
        status =
            dukd_fail_memory(f, "the gradient", (unsigned long long)s->student_weights * sizeof *s->gradient);
        goto fail;
    }
    *out = s;
    return 0;
fail:
    dukd_stepper_destroy(s);
    return status;
}

void dukd_stepper_destroy(dukd_stepper *s) {
    if (!s) return;
    dukd_answers_destroy(s->answers);
    dukd_step_plan_free(&s->slots); /* before the session, whose plan it reads */
    s->o.plugin->destroy_session(s->session);
    dukd_own_params_free(&s->own);
    dukd_network_destroy(s->student_net);
    dukd_network_destroy(s->teacher_net);
    free(s->gradient);
    free(s->input_room);
    free((void *)s->held);
    free(s);
}
