/* Drop paths in training: what is drawn, and that the step computes with it, student and teacher. */
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
#include "train/drops.h"
#include "train/learner.h"
#include "train/weights.h"

enum { BATCH = 4, SIDE = 8, SCALE = 2, LR_SIZE = BATCH * 3 * SIDE * SIDE, HR_SIZE = LR_SIZE * SCALE * SCALE };
#define SWINIR                                                                                               \
    "img_size=8 window_size=4 embed_dim=8 mlp_ratio=2 upscale=2 upsampler=pixelshuffledirect "               \
    "drop_path_rate=0.6 "

static dukd_graph *student_net(void) {
    return dukd_test_net("SwinIR", SWINIR "depths=[2,2] num_heads=[2,2]");
}

static void test_draws(void **state) {
    (void)state;
    enum { N = 3000 };
    dukd_graph *g = student_net();
    const int32_t paths = dukd_graph_drop_count(g);
    assert_int_equal(paths, 6);
    float *factors = malloc(sizeof *factors * N * 6), *part = malloc(sizeof *part * N * 6);
    assert_true(factors && part);
    const dukd_drop_key key = {
        .seed = 7, .iteration = 3, .first_sample = 1000, .batch = N, .pass = 1, .tap = 1};
    dukd_drops_draw(g, &key, N, factors);
    for (int32_t i = 0; i < paths; i++) {
        double p = dukd_graph_drop_probability(g, i), kept = 0;
        for (int32_t n = 0; n < N; n++) {
            assert_true(factors[i * N + n] == 0 || factors[i * N + n] == (float)(1 / (1 - p)));
            kept += factors[i * N + n] != 0;
        }
        assert_true(fabs(kept / N - (1 - p)) < 5 * sqrt(p * (1 - p) / N));
    }
    /* The images of a part of the batch are dropped as in the whole. */
    dukd_drop_key later = key;
    later.first_sample += 100;
    later.batch = 50;
    dukd_drops_draw(g, &later, 50, part);
    for (int32_t i = 0; i < paths; i++)
        assert_memory_equal(part + i * 50, factors + i * N + 100, 50 * sizeof *part);
    /* Everything else in the key is another draw, and so is a second copy of an image. */
    for (int k = 0; k < 6; k++) {
        dukd_drop_key other = key;
        if (k == 0) other.seed++;
        if (k == 1) other.iteration++;
        if (k == 2) other.network++;
        if (k == 3) other.pass++;
        if (k == 4) other.tap++;
        if (k == 5) other.first_sample += N;
        dukd_drops_draw(g, &other, N, part);
        int same = 0;
        for (int32_t n = 0; n < N; n++) same += part[5 * N + n] == factors[5 * N + n];
        assert_true(same < N * .6); /* .52 by chance */
    }
    dukd_drop_key copies = key;
    copies.batch = N / 2;
    dukd_drops_draw(g, &copies, N, part);
    assert_memory_equal(part, factors, N / 2 * sizeof *part);
    assert_memory_not_equal(part + N / 2, part, N / 2 * sizeof *part);
    free(factors);
    free(part);
    dukd_graph_destroy(g);
}

typedef struct {
    dukd_graph *student, *teacher;
    float *start, *teacher_weights, lr[LR_SIZE], hr[HR_SIZE];
    dukd_engine *engine;
    dukd_learner learner;
    int32_t threads;
} fixture;

static void open_fixture(fixture *t, dukd_graph *student, int32_t threads, dukd_failure *f) {
    *t = (fixture){.student = student, .threads = threads};
    toy_reset();
    t->teacher = dukd_test_net("SwinIR", SWINIR "depths=[3] num_heads=[4]");
    t->start = dukd_weights_alloc(dukd_graph_weights(t->student));
    t->teacher_weights = dukd_weights_alloc(dukd_graph_weights(t->teacher));
    dukd_graph_init(t->student, 1, t->start);
    dukd_graph_init(t->teacher, 2, t->teacher_weights);
    dukd_fill_f32(t->lr, LR_SIZE, 3, 0, 1);
    dukd_fill_f32(t->hr, HR_SIZE, 4, 0, 1);
    if (dukd_engine_create(&t->engine, "onednn", threads, f)) fail_msg("%s", f->message);
}

static int open_learner(fixture *t, int32_t micro_batches, dukd_failure *f) {
    const dukd_learner_options o = {
        .step = {.plugin = toy_plugin(),
                 .seed = 11,
                 .engine = t->engine,
                 .student = t->student,
                 .ema_decay = 0.5,
                 .teacher = t->teacher,
                 .teacher_weights = t->teacher_weights,
                 .scale = SCALE,
                 .batch = BATCH,
                 .height = SIDE,
                 .width = SIDE,
                 .micro_batches = micro_batches},
        .adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .schedule = {.rate = 1e-3},
        .start = t->start,
    };
    return dukd_learner_create(&t->learner, &o, f);
}

static void step(fixture *t) {
    dukd_failure f = {0};
    const int64_t it = t->learner.iteration + 1;
    const dukd_batch batch = {.iteration = it, .first_sample = (it - 1) * BATCH, .lr = t->lr, .hr = t->hr};
    if (dukd_learner_step(&t->learner, &batch, &f)) fail_msg("%s", f.message);
}

static void close_fixture(fixture *t) {
    dukd_learner_free(&t->learner);
    dukd_engine_destroy(t->engine);
    dukd_graph_destroy(t->student);
    dukd_graph_destroy(t->teacher);
    free(t->start);
    free(t->teacher_weights);
    toy_reset();
}

/* A tap in double: as it is drawn, or in evaluation. */
static dukd_graph_ref *oracle(const fixture *t, uint32_t network, uint32_t pass, uint32_t tap, int train) {
    const dukd_graph *g = network ? t->teacher : t->student;
    float factors[8 * BATCH];
    assert_true(dukd_graph_drop_count(g) <= 8);
    const dukd_drop_key key = {
        .seed = 11, .iteration = 1, .batch = BATCH, .network = network, .pass = pass, .tap = tap};
    dukd_drops_draw(g, &key, BATCH, factors);
    return dukd_graph_ref_run_drops(g, network ? t->teacher_weights : t->start, BATCH, SIDE, SIDE, t->lr,
                                    train ? factors : NULL);
}

static void check_value(const fixture *t, uint32_t network, uint32_t pass, uint32_t tap, int train) {
    dukd_graph_ref *r = oracle(t, network, pass, tap, train);
    char what[64];
    snprintf(what, sizeof what, "pass %u, tap %u", pass, tap);
    assert_int_equal(toy_saw.sizes[pass][tap], HR_SIZE);
    dukd_assert_error(what,
                      dukd_relative_error_mixed(
                          dukd_graph_ref_value(r, dukd_graph_output(network ? t->teacher : t->student)),
                          toy_saw.values[pass][tap], HR_SIZE),
                      1e-5);
    dukd_graph_ref_free(r);
}

#define TRAIN DUKD_TAP_MODE_TRAIN
#define GRAD  DUKD_TAP_WANT_GRAD

/* Student and teacher in training mode, each in both modes on the same input, in two passes. */
static void play(void) {
    toy_plays.n_passes = 2;
    toy_plays.passes[0] = (toy_pass){DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD,
                                     -1,
                                     1,
                                     4,
                                     {TOY_LR},
                                     {{1, 0, TRAIN}, {0, 0, TRAIN | GRAD}, {1, 0, 0}, {0, 0, 0}}};
    toy_plays.passes[1] = (toy_pass){DUKD_PASS_BACKWARD | DUKD_PASS_OPTIMIZE_AFTER, -1, 1, 2, {TOY_LR},
                                     {{1, 0, TRAIN}, {0, 0, TRAIN | GRAD}}};
    toy_plays.gradient[0][1] = 1;
    toy_plays.gradient[1][1] = -.5f;
}

static void test_step(void **state) {
    (void)state;
    fixture t;
    dukd_failure f = {0};
    open_fixture(&t, student_net(), 1, &f);
    play();
    if (open_learner(&t, 1, &f)) fail_msg("%s", f.message);
    step(&t);
    check_value(&t, 1, 0, 0, 1);
    check_value(&t, 0, 0, 1, 1);
    check_value(&t, 1, 0, 2, 0);
    check_value(&t, 0, 0, 3, 0);
    check_value(&t, 1, 1, 0, 1);
    check_value(&t, 0, 1, 1, 1);
    assert_memory_not_equal(toy_saw.values[0][0], toy_saw.values[1][0], HR_SIZE * sizeof(float));
    double *gradient = calloc((size_t)t.learner.count, sizeof *gradient);
    float *d = malloc(HR_SIZE * sizeof *d);
    assert_true(gradient && d);
    for (uint32_t pass = 0; pass < 2; pass++) {
        dukd_graph_ref *r = oracle(&t, 0, pass, 1, 1);
        const dukd_value out = dukd_graph_output(t.student);
        for (int i = 0; i < HR_SIZE; i++) d[i] = toy_plays.gradient[pass][1];
        dukd_graph_ref_backward(r, 1, &out, (const float *const[]){d}, gradient, NULL);
        dukd_graph_ref_free(r);
    }
    dukd_assert_error(
        "gradient",
        dukd_relative_error_mixed(gradient, dukd_stepper_gradient(t.learner.stepper), t.learner.count), 1e-5);
    free(gradient);
    free(d);
    close_fixture(&t);
}

/* Evaluation, where the plugin asks for it, draws nothing; a second iteration draws anew. */
static void test_iterations_differ(void **state) {
    (void)state;
    fixture t;
    dukd_failure f = {0};
    float first[HR_SIZE];
    open_fixture(&t, student_net(), 1, &f);
    play();
    if (open_learner(&t, 1, &f)) fail_msg("%s", f.message);
    step(&t);
    memcpy(first, toy_saw.values[0][0], sizeof first);
    float *evaluated = malloc(sizeof first);
    assert_non_null(evaluated);
    memcpy(evaluated, toy_saw.values[0][2], sizeof first);
    step(&t);
    assert_memory_not_equal(first, toy_saw.values[0][0], sizeof first);
    assert_memory_equal(evaluated, toy_saw.values[0][2], sizeof first); /* the teacher does not move */
    free(evaluated);
    close_fixture(&t);
}

/* Halves of the batch are dropped as the whole is: gradients agree. (The toy's gradient does not depend on the batch.) */
static void test_micro_batches(void **state) {
    (void)state;
    fixture t;
    dukd_failure f = {0};
    float *gradients[2];
    for (int k = 0; k < 2; k++) {
        open_fixture(&t, student_net(), 1, &f);
        toy_plays.n_passes = 1;
        toy_plays.passes[0] =
            (toy_pass){DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD | DUKD_PASS_OPTIMIZE_AFTER,
                       -1,
                       1,
                       1,
                       {TOY_LR},
                       {{0, 0, TRAIN | GRAD}}};
        toy_plays.gradient[0][0] = 1;
        if (open_learner(&t, 1 + k, &f)) fail_msg("%s", f.message);
        step(&t);
        const size_t size = (size_t)t.learner.count * sizeof **gradients;
        gradients[k] = malloc(size);
        assert_non_null(gradients[k]);
        memcpy(gradients[k], dukd_stepper_gradient(t.learner.stepper), size);
        if (k == 1 &&
            toy_saw.micro_count == 2) /* the toy clears at each part: what is left is the second half's */
            assert_memory_not_equal(gradients[0], gradients[1], size);
        close_fixture(&t);
    }
    free(gradients[0]);
    free(gradients[1]);
}

/* What SwinIR's windows cannot take is refused when the plan is compiled, also where a plugin does not ask for the shapes of
 * its taps (this toy does not; with the real one the session is refused). */
static void test_sizes_are_refused(void **state) {
    (void)state;
    fixture t;
    dukd_failure f = {0};
    open_fixture(&t,
                 dukd_test_net("SwinIR", "img_size=16 window_size=8 embed_dim=8 mlp_ratio=2 upscale=2 "
                                         "upsampler=pixelshuffledirect depths=[1] num_heads=[2]"),
                 1, &f);
    play();
    toy_plays.passes[1].inputs[0] = TOY_HALF;
    assert_int_equal(open_learner(&t, 1, &f), DUKD_MISUSED);
    if (!strstr(f.message, "4 x 4") || !strstr(f.message, "multiples of 8")) fail_msg("%s", f.message);
    close_fixture(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_iterations_differ),
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_sizes_are_refused),
    };
    return cmocka_run_group_tests_name("drops", tests, NULL, NULL);
}
