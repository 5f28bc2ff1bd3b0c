/* Schedules and warm-up against BasicSR's own loop, written down here as it runs: a scheduler that is stepped, a rate that is set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/schedule.h"

/* ---- torch's _LRScheduler with BasicSR's get_lr, state and all ---- */

typedef struct {
    const dukd_schedule *s;
    int64_t last_epoch;
    double lr; /* param_groups[0]['lr'] */
} scheduler;

static void multi_step(scheduler *c) {
    for (int32_t i = 0; i < c->s->restart_count; i++)
        if (c->s->restarts[i] == c->last_epoch) {
            c->lr = c->s->rate * c->s->restart_weights[i];
            return;
        }
    int times = 0;
    for (int32_t i = 0; i < c->s->milestone_count; i++) times += c->s->milestones[i] == c->last_epoch;
    if (times) c->lr *= pow(c->s->gamma, times);
}

static void cosine(scheduler *c) {
    int64_t cumulative[DUKD_SCHEDULE_MAX], sum = 0;
    int32_t index = c->s->period_count - 1;
    for (int32_t i = 0; i < c->s->period_count; i++) cumulative[i] = sum += c->s->periods[i];
    for (int32_t i = c->s->period_count - 1; i >= 0; i--)
        if (c->last_epoch <= cumulative[i]) index = i;
    const int64_t start = index ? cumulative[index - 1] : 0;
    c->lr = c->s->eta_min +
            c->s->restart_weights[index] * 0.5 * (c->s->rate - c->s->eta_min) *
                (1 + cos(M_PI * ((double)(c->last_epoch - start) / (double)c->s->periods[index])));
}

static void get_lr(scheduler *c) {
    if (c->s->kind == DUKD_SCHEDULE_COSINE)
        cosine(c);
    else
        multi_step(c);
}

/* train.py: update_learning_rate(current_iter, warmup_iter) before each iteration. */
static double update(scheduler *c, int64_t current_iter) {
    if (current_iter > 1) {
        c->last_epoch++;
        get_lr(c);
    }
    if (current_iter < c->s->warmup_iter)
        c->lr = c->s->rate / (double)c->s->warmup_iter * (double)current_iter;
    return c->lr;
}

static void follows_basicsr(const dukd_schedule *s, int64_t iterations) {
    scheduler c = {.s = s, .lr = s->rate};
    get_lr(&c); /* torch's constructor makes the first step */
    for (int64_t t = 1; t <= iterations; t++) {
        const double want = update(&c, t), got = dukd_schedule_rate(s, t);
        if (fabs(got - want) > 1e-15 * fabs(want))
            fail_msg("iteration %lld: %.17g, not %.17g", (long long)t, got, want);
    }
}

/* ---- tests ---- */

static dukd_schedule steps(double rate, int64_t warmup) {
    return (dukd_schedule){.kind = DUKD_SCHEDULE_MULTI_STEP,
                           .rate = rate,
                           .warmup_iter = warmup,
                           .milestone_count = 3,
                           .milestones = {30, 10, 20},
                           .gamma = 0.1};
}

static void multi_step_lr(void **state) {
    (void)state;
    dukd_schedule s = steps(1e-4, -1);
    follows_basicsr(&s, 60);
    s.milestones[2] = 10; /* listed twice */
    follows_basicsr(&s, 60);
    s.milestones[0] = 0;
    follows_basicsr(&s, 60);
}

static void a_milestone_acts_one_iteration_later(void **state) {
    (void)state;
    const dukd_schedule s = {.kind = DUKD_SCHEDULE_MULTI_STEP,
                             .rate = 1e-4,
                             .warmup_iter = -1,
                             .milestone_count = 2,
                             .milestones = {100000, 200000},
                             .gamma = 0.1};
    assert_true(dukd_schedule_rate(&s, 1) == 1e-4);
    assert_true(dukd_schedule_rate(&s, 100000) == 1e-4);
    assert_true(dukd_schedule_rate(&s, 100001) == 1e-4 * 0.1);
    assert_true(dukd_schedule_rate(&s, 200000) == 1e-4 * 0.1);
    assert_true(dukd_schedule_rate(&s, 200001) == 1e-4 * 0.1 * 0.1);
    assert_true(dukd_schedule_rate(&s, 250000) == 1e-4 * 0.1 * 0.1);
}

static void warm_up(void **state) {
    (void)state;
    for (int64_t warmup = -1; warmup < 25; warmup++) {
        dukd_schedule s = steps(3e-4, warmup);
        follows_basicsr(&s, 60);
    }
    dukd_schedule s = steps(1e-3, 5);
    assert_true(fabs(dukd_schedule_rate(&s, 1) - 2e-4) < 1e-18);
    assert_true(fabs(dukd_schedule_rate(&s, 4) - 8e-4) < 1e-18);
    assert_true(fabs(dukd_schedule_rate(&s, 5) - 8e-4) <
                1e-18);   /* BasicSR's rate stays where the warm-up left it */
    s.warmup_iter = 1000; /* longer than the test */
    follows_basicsr(&s, 60);
}

static void restarts(void **state) {
    (void)state;
    dukd_schedule s = steps(1e-4, -1);
    s.restart_count = 3;
    memcpy(s.restarts, (int64_t[]){0, 25, 40}, 3 * sizeof *s.restarts);
    memcpy(s.restart_weights, (double[]){1, 0.5, 2}, 3 * sizeof *s.restart_weights);
    follows_basicsr(&s, 60);
    s.milestones[1] = 25; /* a restart goes before a milestone */
    follows_basicsr(&s, 60);
    s.warmup_iter = 7;
    follows_basicsr(&s, 60);
}

static void cosine_with_restarts(void **state) {
    (void)state;
    dukd_schedule s = {.kind = DUKD_SCHEDULE_COSINE,
                       .rate = 2e-4,
                       .warmup_iter = -1,
                       .period_count = 3,
                       .periods = {10, 20, 15},
                       .restart_weights = {1, 0.5, 0.25},
                       .eta_min = 1e-7};
    follows_basicsr(&s, 46);
    s.warmup_iter = 6;
    follows_basicsr(&s, 46);
    /* past the end, where BasicSR's index is None */
    assert_true(fabs(dukd_schedule_rate(&s, 1000) - s.eta_min) < 1e-20);
    assert_true(fabs(dukd_schedule_rate(&s, 46) - s.eta_min) < 1e-20);
}

static void no_schedule(void **state) {
    (void)state;
    dukd_schedule s = {.kind = DUKD_SCHEDULE_CONSTANT, .rate = 1e-3, .warmup_iter = -1};
    follows_basicsr(&s, 20);
    s.warmup_iter = 8;
    follows_basicsr(&s, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multi_step_lr), cmocka_unit_test(a_milestone_acts_one_iteration_later),
        cmocka_unit_test(warm_up),       cmocka_unit_test(restarts),
        cmocka_unit_test(no_schedule),   cmocka_unit_test(cosine_with_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
