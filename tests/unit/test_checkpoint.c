/* Training states: what is written is read back bit for bit, the newest whole one is found, and nothing else is taken for one. */
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

#include "data_fixture.h"
#include "support/edsr_net.h"
#include "support/fill.h"
#include "toy_plugin.h"
#include "train/checkpoint.h"
#include "train/weights.h"

enum { SIDE = 6, BATCH = 1 };

typedef struct {
    dukd_engine *engine;
    dukd_graph *g;
    float *start, lr[BATCH * 3 * SIDE * SIDE], hr[BATCH * 3 * SIDE * SIDE * 4];
    dukd_learner learner;
} fixture;

static void open_fixture(fixture *t, int32_t feat, double ema_decay) {
    memset(t, 0, sizeof *t);
    t->g = dukd_edsr_net(feat, 1, 2, 0.1);
    t->start = dukd_weights_alloc(dukd_graph_weights(t->g));
    dukd_graph_init(t->g, 1, t->start);
    dukd_fill_f32(t->lr, BATCH * 3 * SIDE * SIDE, 1, 0, 1);
    toy_plays.n_passes = 1;
    toy_plays.passes[0] = (toy_pass){DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD |
                                         DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER,
                                     -1,
                                     1,
                                     1,
                                     {TOY_LR},
                                     {{0, 0, DUKD_TAP_WANT_GRAD}}};
    toy_plays.gradient[0][0] = 0.25f;
    assert_int_equal(dukd_engine_create(&t->engine, "onednn", 1, NULL), 0);
    const dukd_learner_options o = {
        .step = {.plugin = toy_plugin(),
                 .engine = t->engine,
                 .student = t->g,
                 .ema_decay = ema_decay,
                 .scale = 2,
                 .batch = BATCH,
                 .height = SIDE,
                 .width = SIDE,
                 .micro_batches = 1},
        .adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .schedule = {.rate = 1e-3},
        .start = t->start,
    };
    dukd_failure f = {0};
    if (dukd_learner_create(&t->learner, &o, &f)) fail_msg("%s", f.message);
}

static void close_fixture(fixture *t) {
    dukd_learner_free(&t->learner);
    dukd_engine_destroy(t->engine);
    dukd_graph_destroy(t->g);
    free(t->start);
}

static void steps(fixture *t, int count) {
    for (int i = 0; i < count; i++) {
        const dukd_batch b = {.iteration = t->learner.iteration + 1, .lr = t->lr, .hr = t->hr};
        dukd_failure f = {0};
        if (dukd_learner_step(&t->learner, &b, &f)) fail_msg("%s", f.message);
    }
}

static const dukd_state_info sample = {
    .iteration = 3,
    .seed = UINT64_MAX,
    .counts = {4, 1, 48, 9, 90, 7, 70, 5, 50},
    .seconds = 12.25,
    .waited = 1.0 / 3,
    .best_value = -INFINITY,
    .best_iteration = 2,
    .validation_due = 1,
    .threads = 2,
    .instruction_set = "avx512_core_bf16",
    .library = "oneDNN 2.6.3",
    .plugin = "toy 1.0.0",
    .data_hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
};

static void write_state(const fixture *t, const char *path, const dukd_state_info *info) {
    dukd_failure f = {0};
    if (dukd_state_write(path, &t->learner, toy_plugin(), info, "name: \"x\"\n", &f))
        fail_msg("%s", f.message);
}

static void a_state_reads_back(void **state) {
    (void)state;
    fixture a, b;
    open_fixture(&a, 4, 0.9);
    steps(&a, 3);
    toy_saw.state = 0x0123456789abcdefull;
    const char *path = data_path("3.state");
    write_state(&a, path, &sample);
    toy_saw.state = 0;

    dukd_state *s = NULL;
    dukd_failure f = {0};
    if (dukd_state_open(&s, path, &f)) fail_msg("%s", f.message);
    assert_memory_equal(dukd_state_get_info(s), &sample, sizeof sample);
    assert_string_equal(dukd_state_options(s), "name: \"x\"\n");
    open_fixture(&b, 4, 0.9);
    steps(&b, 1); /* its engine has packed other weights */
    if (dukd_state_load(s, &b.learner, toy_plugin(), &f)) fail_msg("%s", f.message);
    const size_t bytes = (size_t)a.learner.count * sizeof(float);
    assert_memory_equal(a.learner.weights, b.learner.weights, bytes);
    assert_memory_equal(a.learner.ema, b.learner.ema, bytes);
    assert_memory_equal(a.learner.adam.m, b.learner.adam.m, bytes);
    assert_memory_equal(a.learner.adam.v, b.learner.adam.v, bytes);
    assert_int_equal(b.learner.adam.steps, 3);
    assert_int_equal(b.learner.iteration, 3);
    assert_true(toy_saw.state == 0x0123456789abcdefull);
    const dukd_step_counts counts = dukd_stepper_counts(b.learner.stepper);
    assert_memory_equal(&counts, &sample.counts, sizeof counts);
    /* and goes on the same: the engine has the loaded weights too */
    steps(&a, 2);
    steps(&b, 2);
    assert_memory_equal(a.learner.weights, b.learner.weights, bytes);
    assert_memory_equal(a.learner.ema, b.learner.ema, bytes);
    dukd_state_close(s);
    close_fixture(&a);
    close_fixture(&b);
}

static void another_networks_state(void **state) {
    (void)state;
    fixture a, b;
    dukd_state *s = NULL;
    dukd_failure f = {0};
    open_fixture(&a, 4, 0.9);
    write_state(&a, data_path("1.state"), &sample);
    close_fixture(&a);
    assert_int_equal(dukd_state_open(&s, data_path("1.state"), &f), 0);
    open_fixture(&b, 6, 0.9);
    assert_int_equal(dukd_state_load(s, &b.learner, toy_plugin(), &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "another network"));
    assert_non_null(strstr(f.message, "params.conv_first.weight"));
    dukd_state_close(s);
    close_fixture(&b);
}

static void a_network_file_is_no_state(void **state) {
    (void)state;
    fixture a;
    dukd_state *s = NULL;
    dukd_failure f = {0};
    open_fixture(&a, 4, 0.9);
    assert_int_equal(dukd_weights_save(data_path("net"), a.g, a.start, NULL, NULL, 0, NULL), 0);
    assert_int_equal(dukd_state_open(&s, data_path("net"), &f), DUKD_FAILED);
    assert_null(s);
    assert_non_null(strstr(f.message, "no training state"));
    close_fixture(&a);
}

static int warnings;
static void count_warning(void *ctx, const char *message) {
    (void)ctx;
    assert_non_null(strstr(message, "30.state"));
    warnings++;
}

static void truncate_file(const char *path, long bytes) {
    assert_int_equal(truncate(path, bytes), 0);
}

static void the_newest_whole_state_is_found(void **state) {
    (void)state;
    fixture a;
    dukd_state *s = NULL;
    char path[4096];
    dukd_state_info info = sample;
    open_fixture(&a, 4, 0.9);
    for (info.iteration = 9; info.iteration <= 30;
         info.iteration += 7) { /* 9, 16, 23, 30: no order of text */
        char name[64];
        snprintf(name, sizeof name, "states/%d.state", (int)info.iteration);
        write_state(&a, data_path(name), &info);
    }
    data_text(data_path("states/100.state.part"), "torn");
    data_text(data_path("states/latest.state"), "another name");
    truncate_file(data_path("states/30.state"), 300);
    warnings = 0;
    assert_int_equal(dukd_state_newest(&s, data_path("states"), path, sizeof path, count_warning, NULL, NULL),
                     0);
    assert_non_null(s);
    assert_int_equal(dukd_state_get_info(s)->iteration, 23);
    assert_non_null(strstr(path, "23.state"));
    assert_int_equal(warnings, 1);
    dukd_state_close(s);

    assert_int_equal(dukd_state_set_aside(data_path("states"), 23), 1);
    assert_int_equal(access(data_path("states/30.state.old"), F_OK), 0);
    dukd_state_prune(data_path("states"), 2);
    assert_int_equal(access(data_path("states/23.state"), F_OK), 0);
    assert_int_equal(access(data_path("states/16.state"), F_OK), 0);
    assert_int_not_equal(access(data_path("states/9.state"), F_OK), 0);
    assert_int_not_equal(access(data_path("states/100.state.part"), F_OK), 0);
    assert_int_equal(access(data_path("states/latest.state"), F_OK), 0);

    assert_int_equal(dukd_state_newest(&s, data_path("nothing/here"), path, sizeof path, NULL, NULL, NULL),
                     0);
    assert_null(s);
    close_fixture(&a);
}

/* Every way of cutting the file short is seen. */
static void a_torn_state_is_refused(void **state) {
    (void)state;
    fixture a;
    dukd_state *s = NULL;
    open_fixture(&a, 4, 0);
    const char *path = data_path("5.state");
    write_state(&a, path, &sample);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    fclose(file);
    for (int part = 19; part >= 0; part--) {
        truncate_file(path, size * part / 20);
        assert_int_equal(dukd_state_open(&s, path, NULL), DUKD_FAILED);
    }
    close_fixture(&a);
}

/* Where it cannot be written the older file stays. */
static void what_cannot_be_written_leaves_the_old(void **state) {
    (void)state;
    fixture a;
    dukd_failure f = {0};
    open_fixture(&a, 4, 0);
    assert_int_equal(dukd_state_write("/nonexistent/1.state", &a.learner, toy_plugin(), &sample, "", &f),
                     DUKD_FAILED);
    assert_non_null(strstr(f.message, "/nonexistent/1.state"));
    close_fixture(&a);
}

static int setup(void **state) {
    toy_reset();
    return data_setup(state);
}

static int teardown(void **state) {
    toy_reset();
    return data_teardown(state);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_state_reads_back),         TEST(another_networks_state),
        TEST(a_network_file_is_no_state), TEST(the_newest_whole_state_is_found),
        TEST(a_torn_state_is_refused),    TEST(what_cannot_be_written_leaves_the_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
