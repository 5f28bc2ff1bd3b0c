/* The stepper where a plugin taps layers, derives taps from taps, and trains the teacher: values, gradients and weights against the
 * networks in double precision (support/graph_ref.h). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/fill.h"
#include "support/graph_ref.h"
#include "toy_plugin.h"
#include "train/learner.h"
#include "train/weights.h"

enum { BATCH = 2, SIDE = 8, SCALE = 2, LR_SIZE = BATCH * 3 * SIDE * SIDE, HR_SIZE = LR_SIZE * SCALE * SCALE };
enum { HR_SIDE = SIDE * SCALE, STUDENT = 0, TEACHER = 1, FEATURES = 2 };
#define FLAGS                                                                                                \
    (DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD | DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER)
#define GRAD DUKD_TAP_WANT_GRAD

static const double rate = 1e-3;

typedef struct {
    dukd_graph *graphs[3];
    float *weights[3], lr[LR_SIZE], hr[HR_SIZE];
    dukd_engine *engine;
    dukd_learner learner;
    int32_t share, sgd;
} fixture;

/* convolution, ReLU, max pooling, convolution, ReLU: what a VGG is made of */
static dukd_graph *feature_net(void) {
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_relu(g, dukd_graph_conv(g, dukd_graph_input(g, 3), 4, 3, "features.0"));
    dukd_graph_layer(g, x, "features.1");
    x = dukd_graph_max_pool(g, x, 2, 2);
    x = dukd_graph_relu(g, dukd_graph_conv(g, x, 5, 3, "features.3"));
    dukd_graph_layer(g, x, "features.4");
    assert_int_equal(dukd_graph_finish(g, x, NULL), 0);
    return g;
}

static int setup(void **state) {
    fixture *t = calloc(1, sizeof *t);
    if (!t) return 1;
    toy_reset();
    t->graphs[STUDENT] = dukd_edsr_net(4, 2, SCALE, 0.1);
    t->graphs[TEACHER] = dukd_edsr_net(8, 2, SCALE, 0.1);
    t->graphs[FEATURES] = feature_net();
    for (int i = 0; i < 3; i++) {
        t->weights[i] = dukd_weights_alloc(dukd_graph_weights(t->graphs[i]));
        dukd_graph_init(t->graphs[i], (uint64_t)i + 1, t->weights[i]);
    }
    dukd_fill_f32(t->lr, LR_SIZE, 3, 0, 1);
    dukd_fill_f32(t->hr, HR_SIZE, 4, 0, 1);
    *state = t;
    return dukd_engine_create(&t->engine, "onednn", 1, NULL);
}

static int teardown(void **state) {
    fixture *t = *state;
    dukd_learner_free(&t->learner);
    dukd_engine_destroy(t->engine);
    for (int i = 0; i < 3; i++) {
        dukd_graph_destroy(t->graphs[i]);
        free(t->weights[i]);
    }
    free(t);
    const int leaked = toy_saw.sessions;
    toy_reset();
    return leaked;
}

static int open_learner(fixture *t, dukd_failure *f) {
    const dukd_learner_options o = {
        .step = {.plugin = toy_plugin(),
                 .engine = t->engine,
                 .student = t->graphs[STUDENT],
                 .ema_decay = 0.5,
                 .sgd = t->sgd,
                 .teacher = t->graphs[TEACHER],
                 .teacher_weights = t->weights[TEACHER],
                 .features = t->graphs[FEATURES],
                 .features_weights = t->weights[FEATURES],
                 .share = t->share,
                 .scale = SCALE,
                 .batch = BATCH,
                 .height = SIDE,
                 .width = SIDE,
                 .micro_batches = 1},
        .adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .schedule = {.rate = rate},
        .start = t->weights[STUDENT],
    };
    return dukd_learner_create(&t->learner, &o, f);
}

static void step(fixture *t) {
    dukd_failure f = {0};
    const int64_t it = t->learner.iteration + 1;
    const dukd_batch batch = {.iteration = it, .first_sample = (it - 1) * BATCH, .lr = t->lr, .hr = t->hr};
    if (dukd_learner_step(&t->learner, &batch, &f)) fail_msg("%s", f.message);
}

static void start(fixture *t) {
    dukd_failure f = {0};
    if (open_learner(t, &f)) fail_msg("%s", f.message);
}

/* ---------------------------------------------------------------- the reference */

/* A network run in double on an f32 input of `side`. */
static dukd_graph_ref *run_ref(const fixture *t, int network, int32_t side, const float *input) {
    return dukd_graph_ref_run(t->graphs[network], t->weights[network], BATCH, side, side, input);
}

static dukd_value layer(const fixture *t, int network, const char *name) {
    return name ? dukd_graph_find_layer(t->graphs[network], name) : dukd_graph_output(t->graphs[network]);
}

static void check_value(int tap, const dukd_graph_ref *r, dukd_value v) {
    const int64_t n = dukd_graph_ref_count(r, v);
    char what[64];
    snprintf(what, sizeof what, "value of tap %d", tap);
    assert_int_equal(toy_saw.sizes[0][tap], n);
    dukd_assert_error(what, dukd_relative_error_mixed(dukd_graph_ref_value(r, v), toy_saw.values[0][tap], n),
                      1e-5);
}

static float *constant(int64_t n, float x) {
    float *all = malloc((size_t)n * sizeof *all);
    assert_non_null(all);
    for (int64_t i = 0; i < n; i++) all[i] = x;
    return all;
}

static double *zeros(int64_t n) {
    double *all = calloc((size_t)n, sizeof *all);
    assert_non_null(all);
    return all;
}

static void check_gradient(const char *what, const double *want, const float *got, int64_t count) {
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(want[i]));
    assert_true(most > 1e-3); /* there is something to compare */
    dukd_assert_error(what, dukd_relative_error_mixed(want, got, count), 2e-5);
}

static void plays(uint32_t taps, const toy_tap *list) {
    toy_plays.n_passes = 1;
    toy_plays.passes[0] = (toy_pass){FLAGS, -1, 1, taps, {TOY_LR}, {{0}}};
    memcpy(toy_plays.passes[0].taps, list, taps * sizeof *list);
}

/* ---------------------------------------------------------------- tests */

/* Several layers of a network for one input: one forward, and one backward with several cotangents. */
static void layers_are_one_run(void **state) {
    fixture *t = *state;
    static const char *const names[] = {"conv_first", NULL, "body.1", "conv_after_body"};
    static const float d[] = {0.5f, 1, -0.25f, 0.125f};
    plays(6, (const toy_tap[]){{STUDENT, 0, GRAD},
                               {STUDENT, 0, GRAD},
                               {TEACHER, 0, 0},
                               {STUDENT, 0, GRAD},
                               {STUDENT, 0, GRAD},
                               {TEACHER, 0, 0}});
    static const int at[] = {0, 1, 3, 4};
    for (int i = 0; i < 4; i++) {
        toy_plays.layer[0][at[i]] = names[i];
        toy_plays.gradient[0][at[i]] = d[i];
    }
    toy_plays.layer[0][2] = "body.0";
    start(t);
    step(t);
    dukd_graph_ref *s = run_ref(t, STUDENT, SIDE, t->lr), *teacher = run_ref(t, TEACHER, SIDE, t->lr);
    dukd_value outputs[4];
    float *list[4];
    for (int i = 0; i < 4; i++) {
        outputs[i] = layer(t, STUDENT, names[i]);
        check_value(at[i], s, outputs[i]);
        list[i] = constant(dukd_graph_ref_count(s, outputs[i]), d[i]);
    }
    check_value(2, teacher, layer(t, TEACHER, "body.0"));
    check_value(5, teacher, layer(t, TEACHER, NULL));
    double *want = zeros(t->learner.count);
    dukd_graph_ref_backward(s, 4, outputs, (const float *const *)list, want, NULL);
    check_gradient("student", want, dukd_stepper_gradient(t->learner.stepper), t->learner.count);
    const dukd_step_counts c = dukd_stepper_counts(t->learner.stepper);
    assert_int_equal(c.student_passes, 1);
    assert_int_equal(c.teacher_passes, 1);
    assert_int_equal(c.teacher_images, BATCH);
    for (int i = 0; i < 4; i++) free(list[i]);
    free(want);
    dukd_graph_ref_free(s);
    dukd_graph_ref_free(teacher);
}

/* Features of the student's and of the teacher's output, with gradients: they flow on into both networks, which train. */
static void what_flows_through_features(void **state) {
    fixture *t = *state;
    static const float d[] = {0.5f, -1, 2, 0.25f, 1.5f};
    plays(6, (const toy_tap[]){{TEACHER, 0, GRAD},
                               {STUDENT, 0, GRAD},
                               {FEATURES, 1, GRAD},
                               {FEATURES, 1, GRAD},
                               {FEATURES, 0, GRAD},
                               {STUDENT, 0, 0}});
    static const char *const names[] = {NULL, NULL, "features.1", "features.4", "features.4", "body.0"};
    for (int i = 0; i < 6; i++) toy_plays.layer[0][i] = names[i];
    for (int i = 2; i < 5; i++) toy_plays.derived[0][i] = 1;
    memcpy(toy_plays.gradient[0], d, sizeof d);
    start(t);
    step(t);
    for (int network = 0; network < 2; network++) {
        const int output = network == STUDENT ? 1 : 0, first = network == STUDENT ? 2 : 4;
        dukd_graph_ref *r = run_ref(t, network, SIDE, t->lr);
        dukd_graph_ref *f = run_ref(t, FEATURES, HR_SIDE, toy_saw.values[0][output]);
        check_value(output, r, layer(t, network, NULL));
        double *d_input = zeros(HR_SIZE), *ignored = zeros(dukd_graph_weights(t->graphs[FEATURES]));
        for (int i = first; i < (network == STUDENT ? 4 : 5); i++) {
            const dukd_value v = layer(t, FEATURES, names[i]);
            check_value(i, f, v);
            float *one = constant(dukd_graph_ref_count(f, v), d[i]);
            const float *list[] = {one};
            dukd_graph_ref_backward(f, 1, &v, list, ignored, d_input);
            free(one);
        }
        float *sum = constant(HR_SIZE, d[output]);
        for (int i = 0; i < HR_SIZE; i++) sum[i] += (float)d_input[i];
        const dukd_value out = layer(t, network, NULL);
        const float *list[] = {sum};
        const dukd_trained *set = dukd_stepper_trained(t->learner.stepper, (uint32_t)network);
        assert_non_null(set);
        double *want = zeros(set->count);
        dukd_graph_ref_backward(r, 1, &out, list, want, NULL);
        check_gradient(network == STUDENT ? "student" : "teacher", want, set->gradient, set->count);
        free(want);
        free(sum);
        free(ignored);
        free(d_input);
        dukd_graph_ref_free(f);
        dukd_graph_ref_free(r);
    }
    assert_null(dukd_stepper_trained(t->learner.stepper, FEATURES)); /* passed through, not trained */
    const dukd_step_counts c = dukd_stepper_counts(t->learner.stepper);
    assert_true(c.feature_passes >= 2 && c.feature_images == BATCH * c.feature_passes);
}

/* A source that wants no gradient is a constant. */
static void a_source_without_a_gradient(void **state) {
    fixture *t = *state;
    plays(4, (const toy_tap[]){{TEACHER, 0, 0}, {STUDENT, 0, GRAD}, {FEATURES, 0, GRAD}, {FEATURES, 0, 0}});
    toy_plays.derived[0][2] = 1;
    toy_plays.gradient[0][1] = 1;
    toy_plays.gradient[0][2] = 100;
    start(t);
    step(t);
    dukd_graph_ref *r = run_ref(t, STUDENT, SIDE, t->lr);
    const dukd_value out = layer(t, STUDENT, NULL);
    float *ones = constant(HR_SIZE, 1);
    const float *list[] = {ones};
    double *want = zeros(t->learner.count);
    dukd_graph_ref_backward(r, 1, &out, list, want, NULL);
    check_gradient("student", want, dukd_stepper_gradient(t->learner.stepper), t->learner.count);
    assert_null(dukd_stepper_trained(t->learner.stepper, TEACHER));
    free(ones);
    free(want);
    dukd_graph_ref_free(r);
}

/* Adam's first step moves every weight with a gradient by the rate; the next step's answers are of the new weights. */
static void the_teacher_trains(void **state) {
    fixture *t = *state;
    plays(2, (const toy_tap[]){{TEACHER, 0, GRAD}, {STUDENT, 0, GRAD}});
    toy_plays.gradient[0][0] = 0.5f;
    toy_plays.gradient[0][1] = 0.5f;
    start(t);
    step(t);
    const dukd_trained *set = dukd_stepper_trained(t->learner.stepper, TEACHER);
    assert_non_null(set);
    int64_t moved = 0;
    for (int64_t i = 0; i < set->count; i++) {
        const double by = (double)set->weights[i] - (double)t->weights[TEACHER][i],
                     g = (double)set->gradient[i];
        if (fabs(g) > 1e-4) {
            assert_true(fabs(by + copysign(rate, g)) < 1e-2 * rate);
            moved++;
        }
        assert_true(fabs((double)set->ema[i] -
                         0.5 * ((double)set->weights[i] + (double)t->weights[TEACHER][i])) < 1e-6);
    }
    assert_true(moved > set->count / 2);
    memcpy(t->weights[TEACHER], set->weights, (size_t)set->count * sizeof(float));
    step(t);
    dukd_graph_ref *r = run_ref(t, TEACHER, SIDE, t->lr);
    check_value(0, r, layer(t, TEACHER, NULL));
    dukd_graph_ref_free(r);
}

/* Elements of the teacher's parameter that are the student's, in the student's order. */
static void leading(const fixture *t, const float *whole, float *part) {
    for (int32_t i = 0; i < dukd_graph_param_count(t->graphs[STUDENT]); i++) {
        const dukd_param *p = dukd_graph_param(t->graphs[STUDENT], i);
        const dukd_param *w =
            dukd_graph_param(t->graphs[TEACHER], dukd_graph_find_param(t->graphs[TEACHER], p->name));
        for (int64_t e = 0; e < p->count; e++) {
            int64_t rest = e, at = 0, step = 1;
            for (int32_t d = p->ndim - 1; d >= 0; d--) {
                at += rest % p->dims[d] * step;
                rest /= p->dims[d];
                step *= w->dims[d];
            }
            part[p->offset + e] = whole[w->offset + at];
        }
    }
}

/* The student is the first half of the teacher's channels: gradients of both meet in the teacher's, one step for all. */
static void shared_weights(void **state) {
    fixture *t = *state;
    plays(2, (const toy_tap[]){{TEACHER, 0, GRAD}, {STUDENT, 0, GRAD}});
    toy_plays.gradient[0][0] = 0.5f;
    toy_plays.gradient[0][1] = -0.25f;
    t->share = t->sgd = 1;
    start(t);
    float *part = dukd_weights_alloc(t->learner.count);
    leading(t, t->weights[TEACHER], part);
    assert_memory_equal(part, t->learner.weights, (size_t)t->learner.count * sizeof *part);
    memcpy(t->weights[STUDENT], part, (size_t)t->learner.count * sizeof *part);
    step(t);
    const dukd_trained *set = dukd_stepper_trained(t->learner.stepper, TEACHER);
    double *want = zeros(set->count), *of_part = zeros(t->learner.count);
    for (int network = 0; network < 2; network++) {
        dukd_graph_ref *r = run_ref(t, network, SIDE, t->lr);
        const dukd_value out = layer(t, network, NULL);
        float *d = constant(HR_SIZE, network == STUDENT ? -0.25f : 0.5f);
        const float *list[] = {d};
        check_value(network == STUDENT ? 1 : 0, r, out);
        dukd_graph_ref_backward(r, 1, &out, list, network == STUDENT ? of_part : want, NULL);
        free(d);
        dukd_graph_ref_free(r);
    }
    /* where in the teacher each element of the student is: numbers that say where they are */
    float *places = dukd_weights_alloc(set->count), *of_student = dukd_weights_alloc(t->learner.count);
    for (int64_t i = 0; i < set->count; i++) places[i] = (float)i;
    leading(t, places, of_student);
    for (int64_t i = 0; i < t->learner.count; i++) want[(int64_t)of_student[i]] += of_part[i];
    check_gradient("both", want, set->gradient, set->count);
    leading(t, set->weights, part);
    assert_memory_equal(part, t->learner.weights, (size_t)t->learner.count * sizeof *part);
    assert_memory_not_equal(part, t->weights[STUDENT], (size_t)t->learner.count * sizeof *part);
    leading(t, set->ema, part);
    assert_memory_equal(part, t->learner.ema, (size_t)t->learner.count * sizeof *part);
    free(places);
    free(of_student);
    free(want);
    free(of_part);
    free(part);
}

static void refusals(void **state) {
    fixture *t = *state;
    dukd_failure f = {0};
    plays(1, (const toy_tap[]){{STUDENT, 0, GRAD}});
    toy_plays.layer[0][0] = "conv_frist";
    assert_int_not_equal(open_learner(t, &f), 0);
    assert_non_null(strstr(f.message, "there is no layer 'conv_frist'; did you mean 'conv_first'?"));
    memset(&f, 0, sizeof f);
    plays(2, (const toy_tap[]){{STUDENT, 0, GRAD}, {FEATURES, 1, GRAD}});
    toy_plays.layer[0][0] = NULL;
    toy_plays.derived[0][1] = 1; /* of itself */
    assert_int_not_equal(open_learner(t, &f), 0);
    assert_non_null(strstr(f.message, "neither an input nor an earlier tap"));
    memset(&f, 0, sizeof f);
    plays(1, (const toy_tap[]){{STUDENT, 0, GRAD}});
    t->share = 1;
    assert_int_not_equal(open_learner(t, &f), 0);
    assert_non_null(strstr(f.message, "nothing trains the teacher"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(layers_are_one_run),
        TEST(what_flows_through_features),
        TEST(a_source_without_a_gradient),
        TEST(the_teacher_trains),
        TEST(shared_weights),
        TEST(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
