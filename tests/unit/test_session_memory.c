/* Memory and threads: every allocation failing in turn, nothing leaked, nothing left to grow; sessions side
 * by side on threads of their own, and one session wandering from thread to thread. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_fixture.h"

static const char *const option_sets[][4] = {
    {"train.zoom_in=hardest"},
    {"train.zoom_in_count=3"},
    {"model_type=DUKD", "train.kd_opt.type=L1Loss", "train.noisy.prob=0.3"},
    {"train.terms=[rec]"},
    {"train.terms=[dukd, fakd]", "train.fakd.layers=[body.0]"},
    {"train.terms=[csd]", "train.csd.negatives=1"},
};
enum { SETS = sizeof option_sets / sizeof *option_sets };

/* A step that may fail for want of memory; the error then has a message and cancel_step works. */
static int32_t try_step(fixture *f, int64_t iteration) {
    const dukd_pass *pass = NULL;
    fixture_batch(f, 0);
    int32_t status = fixture_begin(f, iteration, 0, 0);
    while (status == DUKD_OK) {
        status = f->plugin->next_pass(f->session, &pass, &f->error);
        if (status == DUKD_OK) status = fixture_submit(f, pass);
    }
    if (status == DUKD_STEP_DONE) return f->plugin->end_step(f->session, &f->error);
    EXPECT_MESSAGE(f, "memory");
    const int32_t cancelled = f->plugin->cancel_step(f->session, &f->error);
    assert_true(cancelled == DUKD_OK || cancelled == DUKD_WEIGHTS_MOVED);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (int set = 0; set < SETS; set++) {
        int64_t needed = 0, failures = 0;
        for (int64_t left = 0;; left++) {
            fixture f;
            fixture_init(&f);
            f.h = f.w = 40;
            f.threads = 2; /* kernels with workers of their own want workspaces */
            f.allocations_left = left;
            int32_t status = fixture_open(&f, option_sets[set]);
            if (status == DUKD_OK) {
                status = try_step(&f, 1);
                if (status != DUKD_OK) { /* when there is memory again, it goes on */
                    assert_int_equal(status, DUKD_E_MEMORY);
                    f.allocations_left = -1;
                    assert_int_equal(try_step(&f, 2), DUKD_OK);
                    f.allocations_left = 0;
                }
            } else {
                assert_int_equal(status, DUKD_E_MEMORY);
                EXPECT_MESSAGE(&f, "memory");
                assert_null(f.session);
            }
            const bool all = f.allocations_left > 0;
            failures += !all;
            needed = f.allocated;
            fixture_close(&f); /* checks that all was given back */
            if (all) break;
            assert_true(left < 100);
        }
        assert_true(failures >= 2 && needed >= 2);
    }
}

/* A step allocates nothing that the first one had not. */
static void steps_do_not_grow(void **state) {
    (void)state;
    for (int set = 0; set < SETS; set++) {
        fixture f;
        fixture_init(&f);
        fixture_must_open(&f, option_sets[set]);
        fixture_step(&f, 1, 0, 0);
        const int64_t allocated = f.allocated;
        for (int64_t i = 2; i < 20; i++) fixture_step(&f, i, i, 0);
        assert_int_equal(f.allocated, allocated);
        fixture_close(&f);
    }
}

/* Nothing as large as a batch's outputs is ever held: values and gradients are the host's. */
static void no_copy_of_the_hosts_tensors(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    f.h = f.w = 40;
    f.scale = 3;
    fixture_must_open(&f, OPTIONS("train.zoom_in=hardest"));
    fixture_step(&f, 1, 0, 0);
    const uint64_t input = (uint64_t)(f.n * f.c * f.h * f.w * 4), output = input * 9;
    assert_true(f.largest >= input && f.largest < output);
    fixture_close(&f);
}

static void a_thousand_sessions_leave_nothing(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    for (int i = 0; i < 1000; i++) {
        fixture_must_open(&f, option_sets[i % SETS]);
        if (i % 10 == 0) fixture_step(&f, 1, 0, 0);
        fixture_close(&f);
    }
    fixture_init(&f);
    f.own_memory = false; /* the C library's: the sanitizers look */
    for (int i = 0; i < 20; i++) {
        fixture_must_open(&f, option_sets[i % SETS]);
        fixture_step(&f, 1, 0, 0);
        fixture_close(&f);
    }
}

/* ---------------------------------------------------------------- threads */

typedef struct {
    int set;
    double total[4];
} run;

static void *run_alone(void *ctx) {
    run *r = ctx;
    fixture f;
    fixture_init(&f);
    fixture_must_open(&f, option_sets[r->set]);
    for (int64_t i = 0; i < 4; i++) {
        fixture_step(&f, i + 1, 2 * i, 0);
        r->total[i] = fixture_loss(&f, "l_total");
    }
    fixture_close(&f);
    return NULL;
}

static void sessions_are_independent(void **state) {
    (void)state;
    enum { THREADS = 8 };
    run alone[SETS], together[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < SETS; i++) {
        alone[i].set = i;
        run_alone(&alone[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        together[i].set = i % SETS;
        assert_int_equal(pthread_create(&threads[i], NULL, run_alone, &together[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_memory_equal(together[i].total, alone[i % SETS].total, sizeof alone[0].total);
    }
}

typedef struct {
    fixture *f;
    const dukd_pass *pass;
    int32_t status;
    int what;
} errand;

static void *one_call(void *ctx) {
    errand *e = ctx;
    fixture *f = e->f;
    if (e->what == 0) e->status = fixture_begin(f, 1, 0, 0);
    if (e->what == 1) e->status = f->plugin->next_pass(f->session, &e->pass, &f->error);
    if (e->what == 2) e->status = fixture_submit(f, e->pass);
    if (e->what == 3) e->status = f->plugin->end_step(f->session, &f->error);
    return NULL;
}

static int32_t on_a_new_thread(errand *e, int what) {
    pthread_t thread;
    e->what = what;
    assert_int_equal(pthread_create(&thread, NULL, one_call, e), 0);
    pthread_join(thread, NULL);
    return e->status;
}

static void a_session_may_wander_between_threads(void **state) {
    (void)state;
    fixture f;
    run still = {.set = 0};
    errand e = {.f = &f};
    run_alone(&still);
    fixture_init(&f);
    fixture_must_open(&f, option_sets[0]);
    fixture_batch(&f, 0);
    assert_int_equal(on_a_new_thread(&e, 0), DUKD_OK);
    while (on_a_new_thread(&e, 1) == DUKD_OK) assert_int_equal(on_a_new_thread(&e, 2), DUKD_OK);
    assert_int_equal(e.status, DUKD_STEP_DONE);
    assert_int_equal(on_a_new_thread(&e, 3), DUKD_OK);
    assert_true(fixture_loss(&f, "l_total") == still.total[0]);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(steps_do_not_grow),
        cmocka_unit_test(no_copy_of_the_hosts_tensors),
        cmocka_unit_test(a_thousand_sessions_leave_nothing),
        cmocka_unit_test(sessions_are_independent),
        cmocka_unit_test(a_session_may_wander_between_threads),
    };
    return cmocka_run_group_tests_name("session_memory", tests, NULL, NULL);
}
