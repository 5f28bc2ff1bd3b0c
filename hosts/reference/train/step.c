/* One training iteration through the plugin's step protocol. */
#include "train/step.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plugin_load.h"
#include "train/step_state.h"
#include "train/weights.h"

/* ---------------------------------------------------------------- the session */

/* Why there can be no session, in this host's words: of images that a network cannot take, or of a layer that it does not have. */
static void note_refusal(dukd_stepper *s, const dukd_tap *tap, const char *reason) {
    const char *name = tap->network < s->networks.count ? s->networks.names[tap->network] : "network";
    if (tap->layer || tap->from_layer)
        dukd_fail(&s->refused, DUKD_MISUSED, "the %s has no layer as is asked for ('%.60s'): %s", name,
                  tap->layer ? tap->layer : "its output", reason);
    else
        dukd_fail(
            &s->refused, DUKD_MISUSED,
            "the %s cannot compute what each iteration of batches of %d x %d images needs: %s. Images "
            "scaled down (zoom out) are %d times smaller: change datasets.train.gt_size, or switch zoom "
            "out off",
            name, (int)s->o.height, (int)s->o.width, reason, (int)s->o.scale);
}

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    dukd_stepper *s = ctx;
    dukd_failure reason = {0};
    if (!dukd_host_tap_shape(&s->networks, tap, in, out, &reason)) return 0;
    if (why) snprintf(why->message, sizeof why->message, "%.250s", reason.message);
    note_refusal(s, tap, reason.message);
    return 1;
}

static void host_log(void *ctx, int32_t level, const char *message) {
    const dukd_stepper *s = ctx;
    if (s->o.log) s->o.log(s->o.log_ctx, level, message);
}

static int open_session(dukd_stepper *s, dukd_failure *f) {
    const dukd_stepper_options *o = &s->o;
    const dukd_engine_place *place = dukd_engine_get_place(o->engine);
    s->host = (dukd_host){
        .struct_size = DUKD_HOST_SIZE,
        .n_networks = s->networks.count,
        .ctx = s,
        .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_LAYERS | DUKD_CAP_DERIVED | DUKD_CAP_OTHER_GRAD |
                DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS,
        .networks = s->networks.names,
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
        .device = {place->device_type, place->device_id},
    };
    dukd_error e = dukd_error_ready();
    int32_t code = o->plugin->create_session(&params, &s->session, &e);
    if (code != DUKD_OK && s->refused.status)
        return dukd_fail(f, s->refused.status, "%s", s->refused.message);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "create_session", code, &e);
    code = o->plugin->get_plan(s->session, &s->plan, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "get_plan", code, &e);
    return dukd_own_params_open(&s->own, o->engine, o->plugin, s->session, o->adam->options, o->ema != NULL,
                                f);
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

/* What the passes ask of frozen networks. */
static int ask(dukd_stepper *s, const dukd_pass *const *held, uint32_t count, dukd_failure *f) {
    int status = 0;
    for (uint32_t p = 0; p < count; p++) {
        dukd_pass_slot *slot = &s->slots.passes[held[p]->plan_index];
        for (int32_t k = 0; k < slot->group_count && !status; k++) {
            dukd_tap_group *g = &slot->groups[k];
            if (!g->asked) continue;
            status = dukd_answers_want(s->answers[g->network], held[p]->inputs[g->source_id]->tensor,
                                       g->outputs, g->output_count, g->drops.host, &g->ticket, f);
        }
    }
    for (int i = 0; i < DUKD_MAX_NETWORKS && !status; i++)
        if (s->answers[i]) status = dukd_answers_run(s->answers[i], f);
    return status;
}

int dukd_step_run_part(dukd_stepper *s, const dukd_step *step, dukd_failure *f) {
    dukd_error e = dukd_error_ready();
    uint32_t count = 0;
    int done = 0;
    int32_t code = s->o.plugin->begin_step(s->session, step, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "begin_step", code, &e);
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++)
        if (s->answers[i]) dukd_answers_begin(s->answers[i]);
    s->fresh = NULL;
    int status = 0;
    while (!done && !status) {
        status = collect(s, s->held, &count, &done, f);
        if (!status) status = ask(s, s->held, count, f);
        for (uint32_t i = 0; i < count && !status; i++) status = dukd_step_run_pass(s, s->held[i], f);
    }
    if (status) {
        s->o.plugin->cancel_step(s->session, NULL);
        return status;
    }
    code = s->o.plugin->end_step(s->session, &e);
    return code == DUKD_OK ? 0 : dukd_fail_plugin(f, "end_step", code, &e);
}

/* Was anything not finite since the flag was cleared? Waits for the device. */
static int read_flag(dukd_stepper *s, int32_t *set, dukd_failure *f) {
    return dukd_engine_download(s->o.engine, set, s->flag, sizeof *set, f);
}

/* Reads the losses and, where something was not finite, says what it was. */
static int look_at_losses(dukd_stepper *s, dukd_failure *f) {
    const long long iteration = (long long)s->iteration;
    dukd_error e = dukd_error_ready();
    s->losses.struct_size = DUKD_LOSSES_SIZE;
    int32_t code = s->o.plugin->read_losses(s->session, &s->losses, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "read_losses", code, &e);
    s->looked = s->iteration;
    const int status = dukd_step_average_losses(s, f);
    if (status) return status;
    if (s->o.nonfinite == DUKD_NONFINITE_SKIP) return 0;
    for (uint32_t i = 0; i < s->losses.n_losses; i++)
        if (!isfinite(s->losses.values[i]))
            return dukd_fail(
                f, DUKD_FAILED,
                "iteration %lld: the loss %s is not finite (%g): stopped before anything was written. Lower "
                "train.optim_g.lr, or go on without such steps by train.nonfinite: skip",
                iteration, s->losses.names[i], s->losses.values[i]);
    if (s->broken)
        return dukd_fail(
            f, DUKD_FAILED,
            "iteration %lld: the gradient is not finite, though the losses are: stopped before anything was "
            "written. Lower train.optim_g.lr, or go on without such steps by train.nonfinite: skip",
            iteration);
    return 0;
}

int dukd_stepper_look(dukd_stepper *s, dukd_failure *f) {
    int32_t set = 0;
    if (s->looked == s->iteration) return 0;
    int status = dukd_step_before_look(s, f);
    if (!status && s->late) status = read_flag(s, &set, f);
    if (set) s->broken = 1;
    return status ? status : look_at_losses(s, f);
}

/* With `late`: sends word of this iteration, and reads that of the one before, which is done or nearly so. A loss of it cannot be
 * named any more; what has come after it has changed nothing. */
static int exchange_reports(dukd_stepper *s, dukd_failure *f) {
    const int now = (int)(s->iteration & 1), before = !now;
    int32_t set = 0;
    if (!s->late) return 0;
    int status = dukd_report_send(s->reports[now], s->flag, f);
    if (!status && s->reported[before]) status = dukd_report_read(s->reports[before], &set, f);
    if (!status && set)
        status = dukd_fail(f, DUKD_FAILED,
                           "iteration %lld: an output or the gradient is not finite: stopped before anything "
                           "was written. Lower "
                           "train.optim_g.lr, or go on without such steps by train.nonfinite: skip",
                           (long long)s->reported[before]);
    s->reported[now] = s->iteration;
    s->reported[before] = 0;
    return status;
}

/* What the iteration's optimizer steps are made with: step i of it is the i-th after those that were taken. */
static int make_scalars(dukd_stepper *s, double rate, dukd_failure *f) {
    int64_t steps = 0;
    for (int i = DUKD_MAX_NETWORKS - 1; i >= 0; i--) /* all sets have taken the same */
        if (s->sets[i].graph && s->sets[i].adam) steps = s->sets[i].adam->steps;
    s->optimized = 0;
    for (int32_t i = 0; i < s->scalar_room; i++)
        s->scalars[i] = dukd_adam_scalars(&s->o.adam->options, steps + 1 + i, rate);
    return dukd_engine_upload(s->o.engine, s->scalars_there, s->scalars,
                              s->scalar_room * (int64_t)sizeof *s->scalars, f);
}

static int send(dukd_feed *feed, const float *from, int64_t bytes, dukd_failure *f) {
    void *room = NULL;
    int status = dukd_feed_room(feed, &room, f);
    if (status) return status;
    memcpy(room, from, (size_t)bytes);
    return dukd_feed_send(feed, f);
}

int dukd_stepper_prepare(dukd_stepper *s, const float *lr, const float *hr, dukd_failure *f) {
    const int64_t pixels = (int64_t)s->o.height * s->o.width, square = (int64_t)s->o.scale * s->o.scale,
                  bytes = (int64_t)s->o.batch * 3 * pixels * (int64_t)sizeof *lr;
    if (!s->lr) return 0;
    int status = send(s->lr_feed, lr, bytes, f);
    if (!status) status = send(s->hr_feed, hr, bytes * square, f);
    s->prepared = !status;
    return status;
}

/* The batch where the engine can read it: *lr and *hr are the processor's before. */
static int place_batch(dukd_stepper *s, const float **lr, const float **hr, dukd_failure *f) {
    if (!s->lr) return 0;
    int status = s->prepared ? 0 : dukd_stepper_prepare(s, *lr, *hr, f);
    s->prepared = 0;
    if (!status) status = dukd_feed_take(s->lr_feed, s->lr, f);
    if (!status) status = dukd_feed_take(s->hr_feed, s->hr, f);
    *lr = s->lr;
    *hr = s->hr;
    return status;
}

void dukd_step_begin_part(dukd_stepper *s, const dukd_step_batch *b, int32_t i, dukd_step_part *out) {
    const dukd_engine_place *place = dukd_engine_get_place(s->o.engine);
    const int32_t parts = s->o.micro_batches, images = s->o.batch / parts, scale = s->o.scale;
    const int64_t first = (int64_t)i * images, lr_size = 3 * (int64_t)s->o.height * s->o.width,
                  hr_size = lr_size * scale * scale;
    /* The ABI's tensors have a writable pointer, as DLPack's; the plugin only reads these. */
    *out = (dukd_step_part){
        .lr_shape = {images, 3, s->o.height, s->o.width},
        .hr_shape = {images, 3, (int64_t)s->o.height * scale, (int64_t)s->o.width * scale},
        .lr = {.data = (void *)(uintptr_t)(b->lr + first * lr_size),
               .device = {place->device_type, place->device_id},
               .ndim = 4,
               .dtype = {DUKD_TYPE_FLOAT, 32, 1}},
    };
    out->hr = out->lr;
    out->hr.data = (void *)(uintptr_t)(b->hr + first * hr_size);
    out->lr.shape = out->lr_shape;
    out->hr.shape = out->hr_shape;
    out->step = (dukd_step){
        .struct_size = DUKD_STEP_SIZE,
        .iteration = b->iteration,
        .first_sample = b->first_sample + first,
        .micro_index = (uint32_t)i,
        .micro_count = (uint32_t)parts,
        .lr = &out->lr,
        .hr = &out->hr,
        .stream = place->stream,
    };
    s->iteration = b->iteration;
    s->first_sample = out->step.first_sample;
}

int dukd_stepper_run(dukd_stepper *s, int64_t iteration, int64_t first_sample, const float *lr,
                     const float *hr, double rate, dukd_failure *f) {
    int replays = 0;
    int status = make_scalars(s, rate, f);
    if (!status) status = place_batch(s, &lr, &hr, f);
    const dukd_step_batch batch = {.iteration = iteration, .first_sample = first_sample, .lr = lr, .hr = hr};
    s->broken = 0;
    if (!status) status = dukd_step_record_batch(s, &batch, &replays, f);
    for (int32_t i = 0; i < s->o.micro_batches && !status; i++) {
        dukd_step_part part;
        dukd_step_begin_part(s, &batch, i, &part);
        status = dukd_step_draw_drops(s, f);
        if (!status)
            status = replays ? dukd_step_replay_part(s, &part.step, f) : dukd_step_run_part(s, &part.step, f);
    }
    s->counts.images += (int64_t)s->o.batch * dukd_ranks_get_info(s->o.ranks)->count;
    s->looked = -1; /* an iteration may be run again */
    if (!status) status = exchange_reports(s, f);
    if (status || !(dukd_engine_get_place(s->o.engine)->on_host || dukd_step_ranks_wait(s))) return status;
    return dukd_stepper_look(s, f);
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
    return s->sets[0].gradient;
}
const dukd_trained *dukd_stepper_trained(const dukd_stepper *s, uint32_t i) {
    return i < DUKD_MAX_NETWORKS && s->sets[i].graph ? &s->sets[i] : NULL;
}

/* Adds `sign` times what this stepper, and those of the other ranks with it, have run of each network. */
static void add_runs(const dukd_stepper *s, dukd_step_counts *c, int sign) {
    const int64_t times = (int64_t)sign * dukd_ranks_get_info(s->o.ranks)->count;
    for (uint32_t i = 0; i < s->networks.count; i++) {
        int64_t passes = s->run_passes[i], images = s->run_images[i];
        if (s->answers[i]) {
            const dukd_answer_counts a = dukd_answers_counts(s->answers[i]);
            passes += a.passes;
            images += a.images;
        }
        int64_t *const sums[][2] = {{&c->student_passes, &c->student_images},
                                    {&c->teacher_passes, &c->teacher_images},
                                    {&c->feature_passes, &c->feature_images}};
        *sums[s->networks.roles[i]][0] += times * passes;
        *sums[s->networks.roles[i]][1] += times * images;
    }
}

dukd_step_counts dukd_stepper_counts(const dukd_stepper *s) {
    dukd_step_counts c = s->counts;
    add_runs(s, &c, 1);
    return c;
}

void dukd_stepper_set_counts(dukd_stepper *s, const dukd_step_counts *counts) {
    s->counts = *counts;
    add_runs(s, &s->counts, -1);
}

int dukd_stepper_weights_changed(dukd_stepper *s, dukd_failure *f) {
    dukd_step_forget_record(s);
    return dukd_step_set_weights(s, f);
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

/* What the plan trains, and what is trained as a part of it. */
static int make_sets(dukd_stepper *s, dukd_failure *f) {
    const dukd_stepper_options *o = &s->o;
    const float *const start[] = {NULL, o->teacher_weights, o->features_weights}; /* by role */
    static const char *const prefixes[] = {"", "teacher_", "features_"};
    int status = dukd_trained_borrow(&s->sets[0], o->engine, o->student, o->weights, o->ema,
                                     o->share ? NULL : o->adam, f);
    for (uint32_t i = 1; i < s->networks.count && !status; i++)
        if (dukd_plan_trains(s->plan, i))
            status = dukd_trained_create(&s->sets[i], o->engine, s->networks.graphs[i],
                                         prefixes[s->networks.roles[i]], start[s->networks.roles[i]],
                                         o->adam->options, o->ema != NULL, f);
    if (status || !o->share) return status;
    if (!o->teacher || !s->sets[1].graph)
        return dukd_fail(
            f, DUKD_MISUSED,
            "train.share_weights: the student is a part of a teacher that is trained with it, but "
            "nothing trains the teacher here: train.terms with csd does (path.init_from_teacher: "
            "true starts a student from its teacher's channels and trains it alone)");
    status = dukd_share_open(&s->share, o->student, o->teacher, f);
    if (!status) status = dukd_share_take_there(&s->share, o->engine, s->sets[1].weights, o->weights, f);
    if (!status && o->ema) status = dukd_share_take_there(&s->share, o->engine, s->sets[1].ema, o->ema, f);
    return status;
}

static int make_networks(dukd_stepper *s, dukd_failure *f) {
    const dukd_stepper_options *o = &s->o;
    int status = 0;
    for (uint32_t i = 0; i < s->networks.count && !status; i++) {
        const dukd_role role = s->networks.roles[i];
        const float *frozen = role == DUKD_ROLE_TEACHER ? o->teacher_weights : o->features_weights;
        status = dukd_network_create(&s->compiled[i], o->engine, s->networks.graphs[i], o->precision, f);
        if (s->sets[i].graph || status) continue;
        status = dukd_mirror_of_host(&s->frozen[i], o->engine, frozen,
                                     dukd_graph_weights(s->networks.graphs[i]), "a network's weights", f);
        if (!status) status = dukd_network_set_weights(s->compiled[i], s->frozen[i].there, f);
    }
    return status ? status : dukd_step_set_weights(s, f);
}

static int make_answers(dukd_stepper *s, dukd_failure *f) {
    int status = 0;
    for (uint32_t i = 1; i < s->networks.count && !status; i++) {
        int32_t count = 0;
        dukd_question *questions = dukd_step_plan_questions(&s->slots, i, &count);
        if (!questions) return dukd_fail_memory(f, "the questions of a step", sizeof *questions);
        if (count)
            status = dukd_answers_create(&s->answers[i], s->o.engine, s->compiled[i], s->networks.graphs[i],
                                         questions, count, f);
        free(questions);
    }
    return status;
}

/* What a step needs beside the networks: inputs, flag and scalars. */
static int make_rooms(dukd_stepper *s, dukd_failure *f) {
    dukd_engine *e = s->o.engine;
    const dukd_engine_place *place = dukd_engine_get_place(e);
    const int64_t lr = (int64_t)s->o.batch * 3 * s->o.height * s->o.width, hr = lr * s->o.scale * s->o.scale;
    void *flag = NULL, *scalars = NULL;
    s->late = !place->on_host && s->o.nonfinite == DUKD_NONFINITE_STOP;
    s->scalar_room = (int32_t)s->plan->n_passes * s->o.micro_batches + 1;
    const size_t bytes = (size_t)s->scalar_room * sizeof *s->scalars;
    s->held = calloc((size_t)s->plan->n_passes + 1, sizeof *s->held);
    s->scalars = malloc(bytes);
    if (!s->held || !s->scalars) return dukd_fail_memory(f, "the passes", bytes);
    int status = dukd_weights_room(e, largest_input(s->plan), "an input", &s->input_room, f);
    if (!status) status = dukd_engine_alloc(e, sizeof *s->flag, "a flag", &flag, f);
    if (!status) status = dukd_engine_alloc(e, (int64_t)bytes, "the optimizer's scalars", &scalars, f);
    s->flag = flag;
    s->scalars_there = scalars;
    for (int i = 0; i < 2 && s->late && !status; i++)
        status = dukd_report_create(&s->reports[i], e, sizeof *s->flag, "a flag", f);
    if (status || place->on_host) return status;
    const int64_t lr_bytes = lr * (int64_t)sizeof *s->lr, hr_bytes = hr * (int64_t)sizeof *s->hr;
    status = dukd_weights_room(e, lr, "a batch", &s->lr, f);
    if (!status) status = dukd_weights_room(e, hr, "a batch", &s->hr, f);
    if (!status) status = dukd_feed_create(&s->lr_feed, e, lr_bytes, "a batch", f);
    return status ? status : dukd_feed_create(&s->hr_feed, e, hr_bytes, "a batch", f);
}

int dukd_stepper_create(dukd_stepper **out, const dukd_stepper_options *options, dukd_failure *f) {
    *out = NULL;
    dukd_stepper *s = calloc(1, sizeof *s);
    if (!s) return dukd_fail_memory(f, "the trainer", sizeof *s);
    s->o = *options;
    s->networks = dukd_host_networks_of(options->student, options->teacher, options->features);
    int status = open_session(s, f); /* first: it refuses what is wrong before anything large is made */
    if (!status) status = make_sets(s, f);
    if (!status) status = make_networks(s, f);
    if (!status)
        status = dukd_step_plan_create(&s->slots, s->o.engine, s->plan, &s->networks, s->compiled, f);
    if (!status) status = make_answers(s, f);
    if (!status) status = make_rooms(s, f);
    if (!status) status = dukd_step_open_record(s, f);
    if (status) {
        dukd_stepper_destroy(s);
        return status;
    }
    *out = s;
    return 0;
}

void dukd_stepper_destroy(dukd_stepper *s) {
    if (!s) return;
    dukd_step_close_record(s);
    for (int i = 0; i < 2; i++) dukd_report_destroy(s->reports[i]);
    dukd_feed_destroy(s->lr_feed);
    dukd_feed_destroy(s->hr_feed);
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++) dukd_answers_destroy(s->answers[i]);
    dukd_step_plan_free(&s->slots); /* before the session, whose plan it reads */
    s->o.plugin->destroy_session(s->session);
    dukd_own_params_free(&s->own);
    for (int i = 0; i < DUKD_MAX_NETWORKS; i++) {
        dukd_network_destroy(s->compiled[i]);
        dukd_trained_free(&s->sets[i]);
        dukd_mirror_free(&s->frozen[i]);
    }
    dukd_share_close(&s->share);
    dukd_engine_release(s->o.engine, s->input_room);
    dukd_engine_release(s->o.engine, s->lr);
    dukd_engine_release(s->o.engine, s->hr);
    dukd_engine_release(s->o.engine, s->flag);
    dukd_engine_release(s->o.engine, s->scalars_there);
    free(s->scalars);
    free(s->mean_losses);
    free((void *)s->held);
    free(s);
}
