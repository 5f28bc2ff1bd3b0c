/* The stepper against a plugin that plays a script: order of calls, flags, batching of the teacher, counts, bad plugins, and
 * numbers that are not finite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine_state.h"
#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/fill.h"
#include "support/graph_ref.h"
#include "toy_plugin.h"
#include "train/learner.h"
#include "train/step_state.h"
#include "train/weights.h"

enum { BATCH = 2, SIDE = 8, SCALE = 2, LR_SIZE = BATCH * 3 * SIDE * SIDE, HR_SIZE = LR_SIZE * SCALE * SCALE };
#define ZERO  DUKD_PASS_ZERO_GRAD_BEFORE
#define BACK  DUKD_PASS_BACKWARD
#define OPT   DUKD_PASS_OPTIMIZE_AFTER
#define EMA   DUKD_PASS_EMA_AFTER
#define GRAD  DUKD_TAP_WANT_GRAD
#define TEACH 1u

typedef struct {
    dukd_graph *student, *teacher;
    float *start, *teacher_weights, lr[LR_SIZE], hr[HR_SIZE];
    dukd_engine *engine;
    dukd_learner learner;
    dukd_nonfinite nonfinite;
    int32_t micro_batches;
    double weight_decay;
} fixture;

static int setup(void **state) {
    fixture *t = calloc(1, sizeof *t);
    if (!t) return 1;
    toy_reset();
    t->student = dukd_edsr_net(4, 1, SCALE, 0.1);
    t->teacher = dukd_edsr_net(6, 1, SCALE, 0.1);
    t->start = dukd_weights_alloc(dukd_graph_weights(t->student));
    t->teacher_weights = dukd_weights_alloc(dukd_graph_weights(t->teacher));
    dukd_graph_init(t->student, 1, t->start);
    dukd_graph_init(t->teacher, 2, t->teacher_weights);
    dukd_fill_f32(t->lr, LR_SIZE, 3, 0, 1);
    dukd_fill_f32(t->hr, HR_SIZE, 4, 0, 1);
    t->micro_batches = 1;
    *state = t;
    return dukd_engine_create(&t->engine, "onednn", 1, NULL);
}

static int teardown(void **state) {
    fixture *t = *state;
    dukd_learner_free(&t->learner);
    dukd_engine_destroy(t->engine);
    dukd_graph_destroy(t->student);
    dukd_graph_destroy(t->teacher);
    free(t->start);
    free(t->teacher_weights);
    free(t);
    const int leaked = toy_saw.sessions;
    toy_reset();
    return leaked;
}

static int open_learner(fixture *t, dukd_failure *f) {
    const dukd_learner_options o = {
        .step = {.plugin = toy_plugin(),
                 .engine = t->engine,
                 .student = t->student,
                 .ema_decay = 0.5,
                 .teacher = t->teacher,
                 .teacher_weights = t->teacher_weights,
                 .scale = SCALE,
                 .batch = BATCH,
                 .height = SIDE,
                 .width = SIDE,
                 .micro_batches = t->micro_batches,
                 .nonfinite = t->nonfinite},
        .adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .schedule = {.rate = 1e-3},
        .start = t->start,
    };
    return dukd_learner_create(&t->learner, &o, f);
}

static int step(fixture *t, dukd_failure *f) {
    const int64_t it = t->learner.iteration + 1;
    const dukd_batch batch = {.iteration = it, .first_sample = (it - 1) * BATCH, .lr = t->lr, .hr = t->hr};
    return dukd_learner_step(&t->learner, &batch, f);
}

static void must(int status, const dukd_failure *f) {
    if (status) fail_msg("%s", f->message);
}

/* The student's, or the teacher's, output and gradient in double. d: every element of d(loss)/d(output). */
static void reference(const fixture *t, int teacher, const float *input, int32_t side, double *output,
                      float d, double *gradient) {
    const dukd_graph *g = teacher ? t->teacher : t->student;
    const float *w = teacher ? t->teacher_weights : t->start;
    dukd_graph_ref *r = dukd_graph_ref_run(g, w, BATCH, side, side, input);
    const dukd_value out = dukd_graph_output(g);
    const int64_t size = dukd_graph_ref_count(r, out);
    if (output) memcpy(output, dukd_graph_ref_value(r, out), (size_t)size * sizeof *output);
    if (gradient) {
        float *ones = malloc((size_t)size * sizeof *ones);
        assert_non_null(ones);
        for (int64_t i = 0; i < size; i++) ones[i] = d;
        const float *list[] = {ones};
        dukd_graph_ref_backward(r, 1, &out, list, gradient, NULL);
        free(ones);
    }
    dukd_graph_ref_free(r);
}

static void mirrored(const float *in, float *out) {
    for (int i = 0; i < LR_SIZE; i++) out[i] = in[i - i % SIDE + SIDE - 1 - i % SIDE];
}

static void half(const float *in, float *out) {
    for (int i = 0; i < LR_SIZE / 4; i++) {
        const int image = i / (SIDE / 2 * SIDE / 2), y = i / (SIDE / 2) % (SIDE / 2), x = i % (SIDE / 2);
        out[i] = in[(image * SIDE + y) * SIDE + x];
    }
}

static void check_value(int pass, int tap, const double *want, int64_t size) {
    assert_int_equal(toy_saw.sizes[pass][tap], size);
    char what[64];
    snprintf(what, sizeof what, "value of pass %d, tap %d", pass, tap);
    double *got = malloc((size_t)size * sizeof *got);
    assert_non_null(got);
    for (int64_t i = 0; i < size; i++) got[i] = toy_saw.values[pass][tap][i];
    dukd_assert_error(what, dukd_relative_error_f64(got, want, size), 1e-5);
    free(got);
}

static void check_gradient(const fixture *t, const double *want) {
    dukd_assert_error(
        "gradient",
        dukd_relative_error_mixed(want, dukd_stepper_gradient(t->learner.stepper), t->learner.count), 1e-5);
}

/* ---------------------------------------------------------------- tests */

/* Three passes as paper mode has them: the teacher's two large inputs in one batch, its small one by itself. */
static void passes_of_a_paper_step(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    toy_plays.n_passes = 3;
    toy_plays.passes[0] = (toy_pass){ZERO | BACK, -1, 1, 2, {TOY_LR}, {{TEACH, 0, 0}, {0, 0, GRAD}}};
    toy_plays.passes[1] = (toy_pass){BACK, -1, 1, 2, {TOY_HALF}, {{TEACH, 0, 0}, {0, 0, GRAD}}};
    toy_plays.passes[2] =
        (toy_pass){BACK | OPT | EMA, -1, 2, 2, {TOY_MIRRORED, TOY_LR}, {{TEACH, 0, 0}, {0, 1, GRAD}}};
    toy_plays.gradient[0][1] = 0.5f;
    toy_plays.gradient[1][1] = -0.25f;
    toy_plays.gradient[2][1] = 1;
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    assert_string_equal(toy_saw.calls,
                        "begin next:0 next:1 next:2 next:done submit:0 submit:1 submit:2 end read");
    assert_int_equal(toy_saw.iteration, 1);
    assert_int_equal(toy_saw.first_sample, 0);

    double *out = malloc(HR_SIZE * sizeof *out),
           *gradient = calloc((size_t)t->learner.count, sizeof *gradient);
    float turned[LR_SIZE], small[LR_SIZE / 4];
    assert_true(out && gradient);
    mirrored(t->lr, turned);
    half(t->lr, small);
    reference(t, 1, t->lr, SIDE, out, 0, NULL);
    check_value(0, 0, out, HR_SIZE);
    reference(t, 1, small, SIDE / 2, out, 0, NULL);
    check_value(1, 0, out, HR_SIZE / 4);
    reference(t, 1, turned, SIDE, out, 0, NULL);
    check_value(2, 0, out, HR_SIZE);
    reference(t, 0, t->lr, SIDE, out, 1.5f, gradient);
    check_value(2, 1, out, HR_SIZE);
    reference(t, 0, small, SIDE / 2, NULL, -0.25f, gradient);
    check_gradient(t, gradient);

    const dukd_step_counts c = dukd_stepper_counts(t->learner.stepper);
    assert_int_equal(c.optimizer_steps, 1);
    assert_int_equal(c.images, BATCH);
    assert_int_equal(c.student_passes, 3);
    assert_int_equal(c.student_images, 3 * BATCH);
    assert_int_equal(c.teacher_passes, 3);
    assert_int_equal(c.teacher_images, 3 * BATCH);
    must(step(t, &f), &f);
    assert_int_equal(toy_saw.first_sample, BATCH);
    assert_int_equal(dukd_stepper_counts(t->learner.stepper).teacher_images, 6 * BATCH);
    free(out);
    free(gradient);
}

/* The same input in two passes is answered once, and still there in the last pass. */
static void an_input_is_answered_once(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    toy_plays.n_passes = 3;
    toy_plays.passes[0] =
        (toy_pass){ZERO | BACK | OPT, -1, 1, 2, {TOY_LR}, {{TEACH, 0, DUKD_TAP_KEEP}, {0, 0, GRAD}}};
    toy_plays.passes[1] = (toy_pass){BACK, 0, 1, 2, {TOY_MIRRORED}, {{TEACH, 0, 0}, {0, 0, GRAD}}};
    toy_plays.passes[2] =
        (toy_pass){BACK | OPT | EMA, 0, 1, 3, {TOY_LR}, {{TEACH, 0, 0}, {0, 0, GRAD}, {TEACH, 0, 0}}};
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    assert_string_equal(toy_saw.calls,
                        "begin next:0 next:wait submit:0 next:1 next:2 next:done submit:1 submit:2 end read");
    const dukd_step_counts c = dukd_stepper_counts(t->learner.stepper);
    assert_int_equal(c.teacher_passes, 2);
    assert_int_equal(c.teacher_images, 2 * BATCH);
    assert_int_equal(c.optimizer_steps, 2);
    assert_memory_equal(toy_saw.values[0][0], toy_saw.values[2][0], HR_SIZE * sizeof(float));
    assert_memory_equal(toy_saw.values[0][0], toy_saw.values[2][2], HR_SIZE * sizeof(float));
}

/* A loss without a teacher's tap costs no teacher. */
static void no_tap_no_teacher(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    toy_plays.n_passes = 1;
    toy_plays.passes[0] = (toy_pass){ZERO | BACK | OPT | EMA, -1, 1, 1, {TOY_LR}, {{0, 0, GRAD}}};
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    assert_int_equal(dukd_stepper_counts(t->learner.stepper).teacher_images, 0);
    assert_int_equal(dukd_stepper_counts(t->learner.stepper).student_images, BATCH);
}

/* Two student inputs with gradients in one pass: the engine keeps one run's activations, the other is run again. */
static void several_student_inputs_in_a_pass(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    toy_plays.n_passes = 1;
    toy_plays.passes[0] = (toy_pass){ZERO | BACK | OPT | EMA,
                                     -1,
                                     2,
                                     4,
                                     {TOY_LR, TOY_MIRRORED},
                                     {{0, 0, GRAD}, {0, 1, GRAD}, {0, 0, GRAD}, {0, 1, 0}}};
    toy_plays.gradient[0][0] = 1;
    toy_plays.gradient[0][1] = -2;
    toy_plays.gradient[0][2] = 0.5f;
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    double *gradient = calloc((size_t)t->learner.count, sizeof *gradient),
           *out = malloc(HR_SIZE * sizeof *out);
    float turned[LR_SIZE];
    assert_true(gradient && out);
    mirrored(t->lr, turned);
    reference(t, 0, t->lr, SIDE, out, 1.5f, gradient);
    check_value(0, 0, out, HR_SIZE);
    check_value(0, 2, out, HR_SIZE);
    reference(t, 0, turned, SIDE, out, -2, gradient);
    check_value(0, 1, out, HR_SIZE);
    check_value(0, 3, out, HR_SIZE);
    check_gradient(t, gradient);
    free(gradient);
    free(out);
}

/* Gradients are cleared where a pass says so and nowhere else; the average moves once. */
static void flags_are_obeyed(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    toy_plays.n_passes = 2;
    toy_plays.passes[0] = (toy_pass){ZERO | BACK | OPT, -1, 1, 1, {TOY_LR}, {{0, 0, GRAD}}};
    toy_plays.passes[1] = (toy_pass){BACK | OPT | EMA, 0, 1, 1, {TOY_HALF}, {{0, 0, GRAD}}};
    toy_plays.gradient[0][0] = 1;
    toy_plays.gradient[1][0] = 0; /* what the second step sees is the first pass's gradient, still there */
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    double *gradient = calloc((size_t)t->learner.count, sizeof *gradient);
    assert_non_null(gradient);
    reference(t, 0, t->lr, SIDE, NULL, 1, gradient);
    check_gradient(t, gradient);
    assert_int_equal(t->learner.adam.steps, 2);
    for (int64_t i = 0; i < t->learner.count; i++)
        assert_true(t->learner.ema[i] == t->start[i] * 0.5f + 0.5f * t->learner.weights[i]);
    free(gradient);
}

static void micro_batches_are_parts_of_the_batch(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    toy_plays.n_passes = 1;
    toy_plays.passes[0] = (toy_pass){BACK, -1, 1, 1, {TOY_LR}, {{0, 0, GRAD}}};
    toy_plays.gradient[0][0] = 1;
    t->micro_batches = 2;
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    assert_string_equal(toy_saw.calls,
                        "begin next:0 next:done submit:0 end begin next:0 next:done submit:0 end read");
    assert_int_equal(toy_saw.first_sample, 1);
    assert_int_equal(toy_saw.micro_index, 1);
    assert_int_equal(toy_saw.micro_count, 2);
    assert_true(toy_saw.first_lr == t->lr[LR_SIZE / 2]);
    double *gradient = calloc((size_t)t->learner.count, sizeof *gradient);
    assert_non_null(gradient);
    reference(t, 0, t->lr, SIDE, NULL, 1, gradient);
    check_gradient(t, gradient);
    assert_int_equal(dukd_stepper_counts(t->learner.stepper).images, BATCH);
    free(gradient);
}

/* ---- not finite ---- */

static void one_pass(void) {
    toy_plays.n_passes = 1;
    toy_plays.passes[0] = (toy_pass){ZERO | BACK | OPT | EMA, -1, 1, 1, {TOY_LR}, {{0, 0, GRAD}}};
}

static void a_loss_that_is_not_finite_stops(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    must(open_learner(t, &f), &f);
    toy_plays.loss = NAN;
    toy_plays.gradient[0][0] = NAN;
    assert_int_equal(step(t, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "iteration 1"));
    assert_non_null(strstr(f.message, "l_toy"));
    assert_int_equal(t->learner.iteration, 0);
    assert_memory_equal(t->learner.weights, t->start, (size_t)t->learner.count * sizeof(float));
    assert_memory_equal(t->learner.ema, t->start, (size_t)t->learner.count * sizeof(float));
}

static void a_gradient_that_is_not_finite_stops(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    toy_plays.gradient[0][0] = INFINITY;
    must(open_learner(t, &f), &f);
    assert_int_equal(step(t, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "gradient"));
    assert_memory_equal(t->learner.weights, t->start, (size_t)t->learner.count * sizeof(float));
}

static void or_is_skipped(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    t->nonfinite = DUKD_NONFINITE_SKIP;
    must(open_learner(t, &f), &f);
    toy_plays.gradient[0][0] = NAN;
    toy_plays.loss = NAN;
    must(step(t, &f), &f);
    assert_memory_equal(t->learner.weights, t->start, (size_t)t->learner.count * sizeof(float));
    assert_memory_equal(t->learner.ema, t->start, (size_t)t->learner.count * sizeof(float));
    assert_int_equal(t->learner.adam.steps, 0);
    toy_plays.gradient[0][0] = 1;
    toy_plays.loss = 1;
    must(step(t, &f), &f);
    const dukd_step_counts c = dukd_stepper_counts(t->learner.stepper);
    assert_int_equal(c.optimizer_steps, 1);
    assert_int_equal(c.skipped_steps, 1);
    assert_int_equal(t->learner.iteration, 2);
    for (int64_t i = 0; i < t->learner.count; i++) assert_true(isfinite(t->learner.weights[i]));
    assert_true(memcmp(t->learner.weights, t->start, (size_t)t->learner.count * sizeof(float)) != 0);
    /* nor does the average move again because of a step that was made before */
    const float average = t->learner.ema[0];
    assert_true(average != t->learner.weights[0]);
    toy_plays.gradient[0][0] = NAN;
    must(step(t, &f), &f);
    assert_true(t->learner.ema[0] == average);
}

/* An output of infinity whose gradient is finite (sign) is skipped too. */
static void an_infinite_output_is_skipped(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    t->nonfinite = DUKD_NONFINITE_SKIP;
    toy_plays.gradient[0][0] = 0;
    const int32_t last = dukd_graph_find_param(t->student, "conv_last.bias");
    assert_true(last >= 0);
    t->start[dukd_graph_param(t->student, last)->offset] = INFINITY;
    must(open_learner(t, &f), &f);
    must(step(t, &f), &f);
    assert_int_equal(dukd_stepper_counts(t->learner.stepper).skipped_steps, 1);
}

static int all_finite(dukd_engine *e, const float *values, int64_t count) {
    int32_t flag = 0;
    assert_int_equal(dukd_engine_note_nonfinite(e, values, count, &flag, NULL), 0);
    return !flag;
}

static void finite_is_told_from_not(void **state) {
    const fixture *t = *state;
    float v[37];
    for (int i = 0; i < 37; i++) v[i] = i % 2 ? 3.4028234e38f : -1e-45f;
    assert_true(all_finite(t->engine, v, 37));
    assert_true(all_finite(t->engine, v, 0));
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 4; b++)
        for (int at = 0; at < 37; at++) {
            const float was = v[at];
            v[at] = bad[b];
            assert_false(all_finite(t->engine, v, 37));
            v[at] = was;
        }
}

/* ---- steps as one ---- */

/* An engine that says it records: the calls of a step that is recorded run all the same, and a replay runs nothing. */
static struct { int begun, ended, given_up, replayed, freed, prepared, refuse; } noted;

static int begin_recording(void *engine, dukd_failure *f) {
    (void)engine;
    noted.begun++;
    return noted.refuse ? dukd_fail(f, DUKD_FAILED, "no recording today") : DUKD_DONE;
}
static int end_recording(void *engine, void **out, dukd_failure *f) {
    (void)engine;
    (void)f;
    if (out) *out = &noted;
    *(out ? &noted.ended : &noted.given_up) += 1;
    return DUKD_DONE;
}
static int replay_recording(void *engine, void *recording, dukd_failure *f) {
    (void)engine;
    (void)f;
    assert_ptr_equal(recording, &noted);
    noted.replayed++;
    return DUKD_DONE;
}
static void free_recording(void *engine, void *recording) {
    (void)engine;
    (void)recording;
    noted.freed++;
}
static int32_t before_replay(dukd_session *session, const dukd_step *step, dukd_error *error) {
    (void)session;
    (void)step;
    (void)error;
    noted.prepared++;
    return DUKD_OK;
}
static const void *with_graph(const char *id) {
    static const dukd_ext_graph graph = {.struct_size = DUKD_EXT_GRAPH_SIZE, .before_replay = before_replay};
    return strcmp(id, DUKD_EXT_GRAPH) == 0 ? &graph : NULL;
}

static void check_cannot(const dukd_stepper *s, const char *word) {
    const char *why = NULL;
    assert_int_equal(dukd_step_can_record(s, &why), 0);
    assert_non_null(strstr(why, word));
}

/* Opens a learner whose steps can be recorded, going through everything that stands against it. */
static void open_recorded(fixture *t, dukd_backend *backend, dukd_plugin *plugin) {
    static const dukd_recording_ops ops = {begin_recording, end_recording, replay_recording, free_recording};
    dukd_failure f = {0};
    const char *why;
    memset(&noted, 0, sizeof noted);
    one_pass();
    toy_plays.gradient[0][0] = 0.25f;
    must(open_learner(t, &f), &f);
    dukd_stepper *s = t->learner.stepper;
    check_cannot(s, "engine");
    *backend = *t->engine->backend;
    backend->recording = &ops;
    t->engine->backend = backend;
    check_cannot(s, "plugin");
    *plugin = *s->o.plugin;
    plugin->get_extension = with_graph;
    s->o.plugin = plugin;
    check_cannot(s, "skip");
    s->late = 1;
    assert_int_equal(dukd_step_can_record(s, &why), 1);
    must(dukd_step_open_record(s, &f), &f);
    s->late = 0; /* the processor's flag is looked at by the processor */
}

/* Three iterations call by call, the fourth is recorded and replayed, then replays alone; what is counted is as if all were run. */
static void steps_are_recorded_and_replayed(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    dukd_backend backend;
    dukd_plugin plugin;
    open_recorded(t, &backend, &plugin);
    for (int i = 1; i <= 6; i++) {
        must(step(t, &f), &f);
        assert_int_equal(noted.begun, i >= 4);
        assert_int_equal(noted.ended, i >= 4);
        assert_int_equal(noted.replayed, i >= 4 ? i - 3 : 0);
        assert_int_equal(noted.prepared, noted.replayed);
        const dukd_step_counts c = dukd_stepper_counts(t->learner.stepper);
        assert_int_equal(c.optimizer_steps, i);
        assert_int_equal(c.student_passes, i);
        assert_int_equal(c.images, i * BATCH);
        assert_int_equal(t->learner.adam.steps, i);
    }
    /* other weights: what was recorded is given up, and it begins again */
    must(dukd_stepper_weights_changed(t->learner.stepper, &f), &f);
    assert_int_equal(noted.freed, 1);
    must(step(t, &f), &f);
    assert_int_equal(noted.replayed, 3);
}

static void what_cannot_be_recorded_is_run(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    dukd_backend backend;
    dukd_plugin plugin;
    open_recorded(t, &backend, &plugin);
    noted.refuse = 1;
    for (int i = 1; i <= 6; i++) must(step(t, &f), &f);
    assert_int_equal(noted.begun, 1); /* and not again */
    assert_int_equal(noted.replayed, 0);
    assert_int_equal(dukd_stepper_counts(t->learner.stepper).optimizer_steps, 6);
    assert_int_equal(t->learner.adam.steps, 6);
}

/* ---- plugins that do not keep to the rules ---- */

static void a_failing_submit_cancels(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    toy_plays.fail_submit = 0;
    must(open_learner(t, &f), &f);
    assert_int_equal(step(t, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "the toy breaks"));
    assert_non_null(strstr(f.message, "submit_pass"));
    assert_string_equal(toy_saw.calls, "begin next:0 next:done submit:0 cancel");
}

static void a_plugin_that_waits_for_ever(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    must(open_learner(t, &f), &f);
    toy_plays.stuck = 1;
    assert_int_equal(step(t, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "waits"));
}

static void a_plan_that_lies(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    toy_plays.lie = 1;
    must(open_learner(t, &f), &f);
    assert_int_equal(step(t, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "plan"));
}

static void more_than_the_host_offers(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    toy_plays.passes[0].taps[0] = (toy_tap){TEACH, 0, 0x80};
    assert_int_equal(open_learner(t, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "flag that this host does not know"));
    memset(&f, 0, sizeof f);
    toy_plays.passes[0].taps[0] = (toy_tap){7, 0, GRAD};
    assert_int_equal(open_learner(t, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "opt.yml:1:1"));
}

static void a_batch_out_of_order(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    one_pass();
    must(open_learner(t, &f), &f);
    const dukd_batch batch = {.iteration = 2, .lr = t->lr, .hr = t->hr};
    assert_int_equal(dukd_learner_step(&t->learner, &batch, &f), DUKD_FAILED);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(passes_of_a_paper_step),
        TEST(an_input_is_answered_once),
        TEST(no_tap_no_teacher),
        TEST(several_student_inputs_in_a_pass),
        TEST(flags_are_obeyed),
        TEST(micro_batches_are_parts_of_the_batch),
        TEST(a_loss_that_is_not_finite_stops),
        TEST(a_gradient_that_is_not_finite_stops),
        TEST(or_is_skipped),
        TEST(an_infinite_output_is_skipped),
        TEST(finite_is_told_from_not),
        TEST(steps_are_recorded_and_replayed),
        TEST(what_cannot_be_recorded_is_run),
        TEST(a_failing_submit_cancels),
        TEST(a_plugin_that_waits_for_ever),
        TEST(a_plan_that_lies),
        TEST(more_than_the_host_offers),
        TEST(a_batch_out_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
