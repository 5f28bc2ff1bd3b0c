/* Ranks: meetings with failures, flags and wrong places, exchanges, launchers, and a stepper whose ranks decide alike. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ranks_fixture.h"
#include "support/edsr_net.h"
#include "support/fill.h"
#include "toy_plugin.h"
#include "train/learner.h"
#include "train/ranks_launcher.h"
#include "train/ranks_threads.h"
#include "train/weights.h"

static const ranks_plan three = {.count = 3, .break_at = -1}, two = {.count = 2, .break_at = -1};

/* ---------------------------------------------------------------- meetings */

typedef struct {
    int status[3], speaks;
    uint32_t flags;
    char message[3][1024];
} meeting;

static void note(meeting *m, int i, int status, const dukd_failure *f) {
    m->status[i] = status;
    memcpy(m->message[i], f->message, sizeof f->message);
}

static void all_well(dukd_ranks *r, void *answer) {
    meeting *m = answer;
    dukd_failure f = {0};
    m->flags = 1u << dukd_ranks_get_info(r)->rank;
    note(m, 0, dukd_ranks_meet(r, DUKD_AT_LOOP, 0, &m->flags, &f), &f);
    m->speaks = dukd_ranks_speaks(r);
}

static void flags_add_up(void **state) {
    (void)state;
    ranks_run(&three, all_well);
    for (int i = 0; i < 3; i++) {
        const meeting *m = ranks_answer(i);
        assert_int_equal(m->status[0], 0);
        assert_int_equal(m->flags, 7);
        assert_int_equal(m->speaks, i == 0);
    }
}

/* Ranks 1 and 2 fail, each in its own place, while rank 0 goes on to another one. */
static void two_fail(dukd_ranks *r, void *answer) {
    meeting *m = answer;
    dukd_failure f = {0}, g = {0}, h = {0};
    const int32_t rank = dukd_ranks_get_info(r)->rank;
    int status = rank ? dukd_fail(&f, rank + 1, "no memory on %d", (int)rank) : 0;
    const void *all;
    status = dukd_ranks_meet(r, rank ? DUKD_AT_END : DUKD_AT_GRADIENT, status, NULL, &f);
    note(m, 0, status, &f);
    note(m, 1, dukd_ranks_meet(r, DUKD_AT_END, 0, NULL, &g), &g); /* nobody waits there */
    note(m, 2, dukd_ranks_gather(r, &rank, sizeof rank, &all, &h), &h);
}

static void a_failure_is_everybodys(void **state) {
    (void)state;
    ranks_run(&three, two_fail);
    for (int i = 0; i < 3; i++) {
        const meeting *m = ranks_answer(i);
        assert_int_equal(m->status[0], 2); /* the first one's */
        assert_string_equal(m->message[0], "rank 1: no memory on 1");
        assert_int_equal(m->status[1], DUKD_FAILED);
        assert_int_equal(m->status[2], DUKD_FAILED);
    }
}

static void wrong_place(dukd_ranks *r, void *answer) {
    dukd_failure f = {0};
    const dukd_ranks_place at = dukd_ranks_get_info(r)->rank == 1 ? DUKD_AT_GRADIENT : DUKD_AT_LOSSES;
    note(answer, 0, dukd_ranks_meet(r, at, 0, NULL, &f), &f);
}

static void ranks_that_lost_each_other(void **state) {
    (void)state;
    ranks_run(&two, wrong_place);
    for (int i = 0; i < 2; i++) {
        const meeting *m = ranks_answer(i);
        assert_int_equal(m->status[0], DUKD_FAILED);
        assert_non_null(strstr(m->message[0], "rank 1 is averaging gradients, rank 0 is averaging losses"));
    }
}

static void cut_off(dukd_ranks *r, void *answer) {
    meeting *m = answer;
    dukd_failure f = {0}, g = {0};
    if (dukd_ranks_get_info(r)->rank == 0) return; /* gone */
    note(m, 0, dukd_ranks_meet(r, DUKD_AT_LOOP, 0, NULL, &f), &f);
    note(m, 1, dukd_ranks_meet(r, DUKD_AT_LOOP, 0, NULL, &g), &g);
    m->speaks = dukd_ranks_speaks(r);
}

static void a_broken_exchange(void **state) {
    (void)state;
    const ranks_plan plan = {.count = 2, .break_at = 1, .break_after = 0};
    ranks_run(&plan, cut_off);
    const meeting *m = ranks_answer(1);
    assert_int_equal(m->status[0], DUKD_FAILED);
    assert_non_null(
        strstr(m->message[0], "rank 1: the other ranks cannot be reached any more: a line was cut"));
    assert_int_equal(m->status[1], DUKD_FAILED);
    assert_int_equal(m->speaks, 1);
}

/* ---------------------------------------------------------------- exchanges */

enum { MANY = 1500 }; /* doubles: more than one exchange */

typedef struct {
    double sums[2];
    float means[4];
    char text[16];
    int status;
} exchanged;

static void exchange(dukd_ranks *r, void *answer) {
    static double many[MANY];
    exchanged *e = answer;
    const int32_t rank = dukd_ranks_get_info(r)->rank;
    float array[8] = {9, 9, (float)(rank * rank), 5, 9, 9, -0.0f, 9};
    for (int i = 0; i < MANY; i++) many[i] = (rank + 1) * 1000.0 + i;
    snprintf(e->text, sizeof e->text, "of rank %d", (int)rank);
    e->status = dukd_ranks_sum(r, many, MANY, NULL) | dukd_ranks_broadcast(r, e->text, sizeof e->text, NULL) |
                dukd_ranks_mean_begin(r, array, 2, 2, NULL) | dukd_ranks_mean_begin(r, array, 6, 1, NULL) |
                dukd_ranks_mean_end(r, NULL);
    e->sums[0] = many[0];
    e->sums[1] = many[MANY - 1];
    memcpy(e->means, (float[]){array[1], array[2], array[3], array[4]}, sizeof e->means);
}

static void sums_and_means(void **state) {
    (void)state;
    ranks_run(&three, exchange);
    for (int i = 0; i < 3; i++) {
        const exchanged *e = ranks_answer(i);
        assert_int_equal(e->status, 0);
        assert_true(e->sums[0] == 6000 && e->sums[1] == 6000 + 3.0 * (MANY - 1));
        assert_string_equal(e->text, "of rank 0");
        assert_true(e->means[0] == 9 && e->means[1] == (float)(5.0 / 3) && e->means[2] == 5 &&
                    e->means[3] == 9);
    }
}

/* Without ranks everything is as if there were none. */
static void alone(void **state) {
    (void)state;
    float x = 3;
    double y = 4;
    uint32_t flags = 5;
    int32_t mine = 6;
    const void *all;
    dukd_failure f = {0};
    assert_int_equal(dukd_ranks_meet(NULL, DUKD_AT_LOOP, 0, &flags, &f), 0);
    assert_int_equal(dukd_ranks_meet(NULL, DUKD_AT_LOOP, 2, &flags, &f), 2);
    assert_int_equal(dukd_ranks_sum(NULL, &y, 1, &f) | dukd_ranks_mean_begin(NULL, &x, 0, 1, &f) |
                         dukd_ranks_mean_end(NULL, &f) | dukd_ranks_broadcast(NULL, &x, 4, &f),
                     0);
    assert_int_equal(dukd_ranks_gather(NULL, &mine, sizeof mine, &all, &f), 0);
    assert_ptr_equal(all, &mine);
    assert_true(x == 3 && y == 4 && flags == 5);
    assert_int_equal(dukd_ranks_get_info(NULL)->count, 1);
    assert_int_equal(dukd_ranks_speaks(NULL), 1);
    dukd_ranks_close(NULL);
}

/* ---------------------------------------------------------------- launchers */

static void found(const char *const *set, const char *name, int count, int rank) {
    static const char *const all[] = {
        "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE",     "PMI_RANK",     "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_RANK",  "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_NTASKS", "PMIX_RANK",
        "PALS_RANKID"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) unsetenv(all[i]);
    for (; *set; set += 2) setenv(set[0], set[1], 1);
    const dukd_launcher l = dukd_launcher_find();
    if (!name)
        assert_null(l.name);
    else
        assert_true(l.name && strstr(l.name, name));
    assert_int_equal(l.count, count);
    assert_int_equal(l.rank, rank);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) unsetenv(all[i]);
}
#define FOUND(name, count, rank, ...) found((const char *const[]){__VA_ARGS__, NULL}, name, count, rank)

static void launchers(void **state) {
    (void)state;
    FOUND(NULL, 1, -1, NULL);
    FOUND("Open MPI", 4, 3, "OMPI_COMM_WORLD_SIZE", "4", "OMPI_COMM_WORLD_RANK", "3", "PMIX_RANK", "3");
    FOUND("mpiexec", 2, 0, "PMI_SIZE", "2", "PMI_RANK", "0");
    FOUND("mpirun_rsh", 2, 1, "MV2_COMM_WORLD_SIZE", "2", "MV2_COMM_WORLD_RANK", "1");
    FOUND("srun", 8, 5, "SLURM_STEP_NUM_TASKS", "8", "SLURM_PROCID", "5");
    FOUND(NULL, 1, -1, "SLURM_NTASKS", "8", "SLURM_PROCID", "0"); /* a batch script */
    FOUND("PMIx", 0, 1, "PMIX_RANK", "1");
    FOUND(NULL, 1, -1, "OMPI_COMM_WORLD_SIZE", "many", "PMI_SIZE", "");
}

typedef struct {
    dukd_ranks_threads none, four;
} threads;

static void take_threads(dukd_ranks *r, void *answer) {
    threads *t = answer;
    dukd_ranks_take_threads(r, 0, &t->none, NULL);
    dukd_ranks_take_threads(r, 4, &t->four, NULL);
}

static void processors_are_shared(void **state) {
    (void)state;
    unsetenv("OMP_NUM_THREADS");
    ranks_run(&two, take_threads);
    for (int i = 0; i < 2; i++) {
        const threads *t = ranks_answer(i);
        assert_true(t->none.processors >= 1);
        assert_int_equal(t->none.threads, t->none.processors > 2 ? t->none.processors / 2 : 1);
        assert_int_equal(t->four.threads, 4);
    }
    dukd_ranks_threads t;
    assert_int_equal(dukd_ranks_take_threads(NULL, 0, &t, NULL), 0);
    assert_int_equal(t.threads, 0); /* OpenMP's own default */
}

/* ---------------------------------------------------------------- a stepper's ranks */

enum { BATCH = 2, SIDE = 8, SCALE = 2, LR_SIZE = BATCH * 3 * SIDE * SIDE, STEPS = 3 };

typedef struct {
    int status[STEPS];
    int64_t optimized, skipped, images;
    double loss;
    float weights[1500];
    char message[1024];
} trained;

static double rate = 1e-3;
static dukd_nonfinite nonfinite;
static uint32_t second_pass; /* its flags; 0: there is none */
static float own_gradient[2][STEPS][2];

/* Each rank's plugin says its own gradients and losses. */
static void train(dukd_ranks *r, void *answer) {
    static float lr[LR_SIZE], hr[LR_SIZE * SCALE * SCALE];
    trained *t = answer;
    const int32_t rank = dukd_ranks_get_info(r)->rank;
    dukd_graph *student = dukd_edsr_net(4, 1, SCALE, 0.1);
    float *start = dukd_weights_alloc(dukd_graph_weights(student));
    dukd_engine *engine = NULL;
    dukd_learner learner;
    dukd_failure f = {0};
    dukd_graph_init(student, 1, start);
    dukd_fill_f32(lr, LR_SIZE, 3, 0, 1);
    dukd_fill_f32(hr, LR_SIZE * SCALE * SCALE, 4, 0, 1);
    toy_reset();
    toy_plays.n_passes = second_pass ? 2 : 1;
    for (uint32_t i = 0; i < toy_plays.n_passes; i++)
        toy_plays.passes[i] = (toy_pass){.flags = i ? second_pass
                                                    : DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD |
                                                          DUKD_PASS_OPTIMIZE_AFTER,
                                         .after = (int32_t)i - 1,
                                         .n_inputs = 1,
                                         .n_taps = 1,
                                         .taps = {{0, 0, DUKD_TAP_WANT_GRAD}}};
    if (dukd_engine_create(&engine, "auto", 1, NULL)) _exit(3);
    const dukd_learner_options o = {
        .step = {.plugin = toy_plugin(),
                 .engine = engine,
                 .student = student,
                 .scale = SCALE,
                 .batch = BATCH,
                 .height = SIDE,
                 .width = SIDE,
                 .micro_batches = 1,
                 .sgd = 1,
                 .nonfinite = nonfinite,
                 .ranks = r},
        .adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .schedule = {.rate = rate},
        .start = start,
    };
    if (dukd_learner_create(&learner, &o, &f)) _exit(4);
    for (int i = 0; i < STEPS; i++) {
        const dukd_batch batch = {
            .iteration = i + 1, .first_sample = (2 * i + rank) * BATCH, .lr = lr, .hr = hr};
        toy_plays.gradient[0][0] = own_gradient[rank][i][0];
        toy_plays.gradient[1][0] = own_gradient[rank][i][1];
        toy_plays.loss = isfinite(own_gradient[rank][i][0]) ? 1 + rank : NAN;
        t->status[i] = dukd_learner_step(&learner, &batch, &f);
        if (!t->status[i]) t->loss = dukd_stepper_losses(learner.stepper)->values[0];
    }
    const dukd_step_counts c = dukd_stepper_counts(learner.stepper);
    t->optimized = c.optimizer_steps;
    t->skipped = c.skipped_steps;
    t->images = c.images;
    memcpy(t->message, f.message, sizeof t->message);
    if (learner.count > 1500) _exit(5);
    memcpy(t->weights, learner.weights, (size_t)learner.count * sizeof(float));
}

static void gradients(float a0, float a1, float b0, float b1) {
    for (int i = 0; i < STEPS; i++) {
        own_gradient[0][i][0] = a0;
        own_gradient[0][i][1] = a1;
        own_gradient[1][i][0] = b0;
        own_gradient[1][i][1] = b1;
    }
}

/* max |x - y| / max |y - start| over the weights that two runs have left. */
static double apart(const trained *x, const trained *y) {
    dukd_graph *g = dukd_edsr_net(4, 1, SCALE, 0.1);
    float *start = dukd_weights_alloc(dukd_graph_weights(g));
    double most = 0, way = 0;
    dukd_graph_init(g, 1, start);
    for (int64_t i = 0; i < dukd_graph_weights(g); i++) {
        most = fmax(most, fabs((double)x->weights[i] - (double)y->weights[i]));
        way = fmax(way, fabs((double)y->weights[i] - (double)start[i]));
    }
    free(start);
    dukd_graph_destroy(g);
    assert_true(way > 1e-4);
    return most / way;
}

/* With the same images on both ranks a mean of gradients a and b is the gradient (a + b) / 2. A second optimizer step without clearing, as in
 * the authors' official mode, adds the mean of its own to what is the mean already: neither is averaged into something smaller nor summed
 * up twice. */
static void steps_are_of_mean_gradients(void **state) {
    (void)state;
    static trained mean;
    nonfinite = DUKD_NONFINITE_STOP;
    for (int twice = 0; twice < 2; twice++) {
        second_pass = twice ? DUKD_PASS_BACKWARD | DUKD_PASS_OPTIMIZE_AFTER : 0;
        gradients(0.75f, -0.5f, 0.75f, -0.5f);
        ranks_run(&two, train);
        mean = *(const trained *)ranks_answer(0);
        gradients(0.5f, 0.25f, 1, -1.25f);
        ranks_run(&two, train);
        const trained *a = ranks_answer(0), *b = ranks_answer(1);
        assert_int_equal(a->status[STEPS - 1], 0);
        assert_memory_equal(a->weights, b->weights, sizeof a->weights);
        print_message("%s: %g apart\n", twice ? "two steps" : "one step", apart(a, &mean));
        assert_true(apart(a, &mean) < 1e-5);
        assert_true(a->loss == 1.5 && b->loss == 1.5);
        assert_int_equal(a->optimized, twice ? 2 * STEPS : STEPS);
        assert_int_equal(a->images, 2 * BATCH * STEPS);
    }
}

/* What is not finite on rank 1 alone leaves the step out on both, or ends both. */
static void all_skip_or_stop_alike(void **state) {
    (void)state;
    second_pass = 0;
    gradients(0.5f, 0, 0.5f, 0);
    own_gradient[1][1][0] = NAN;
    nonfinite = DUKD_NONFINITE_SKIP;
    ranks_run(&two, train);
    const trained *a = ranks_answer(0), *b = ranks_answer(1);
    for (int i = 0; i < 2; i++) {
        const trained *t = i ? b : a;
        assert_int_equal(t->status[1], 0);
        assert_int_equal(t->optimized, STEPS - 1);
        assert_int_equal(t->skipped, 1);
    }
    assert_memory_equal(a->weights, b->weights, sizeof a->weights);
    nonfinite = DUKD_NONFINITE_STOP;
    ranks_run(&two, train);
    for (int i = 0; i < 2; i++) {
        const trained *t = ranks_answer(i);
        assert_int_equal(t->status[0], 0);
        assert_int_equal(t->status[1], DUKD_FAILED);
        assert_non_null(strstr(t->message, "iteration 2: the loss l_toy is not finite"));
        assert_int_equal(t->optimized, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_add_up),
        cmocka_unit_test(a_failure_is_everybodys),
        cmocka_unit_test(ranks_that_lost_each_other),
        cmocka_unit_test(a_broken_exchange),
        cmocka_unit_test(sums_and_means),
        cmocka_unit_test(alone),
        cmocka_unit_test(launchers),
        cmocka_unit_test(processors_are_shared),
        cmocka_unit_test(steps_are_of_mean_gradients),
        cmocka_unit_test(all_skip_or_stop_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
