/* Steps that are recorded and replayed, feeds and reports, on the CUDA engine's module of the emulated device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_engine/engine_bench.h"
#ifdef GPU_ON_DEVICE
#include "cuda_engine/no_emulation.h"
#else
#include "emulation.h"
#endif
#include "engine/arrays.h"
#include "engine/recording.h"
#include "engine/transfers.h"

#define OK(call) ok(call, &f)
static void ok(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static dukd_engine *engine(void) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    OK(dukd_engine_create(&e, "cuda", 1, &f));
    return e;
}

/* A student, its teacher, and the moments of Adam: what a step of training is made of. */
typedef struct {
    dukd_engine *engine;
    bench student, teacher;
    float *m, *v;
    dukd_optimizer_scalars *scalars;
} training;

static training begin(const engine_net *student, const engine_net *teacher) {
    dukd_failure f = {0};
    training t = {.engine = engine()};
    t.student = bench_on(t.engine, student, DUKD_TRAIN, 3);
    t.teacher = bench_on(t.engine, teacher, DUKD_INFER, 4);
    t.m = engine_net_place(t.engine, NULL, t.student.weight_count);
    t.v = engine_net_place(t.engine, NULL, t.student.weight_count);
    void *scalars = NULL;
    OK(dukd_engine_alloc(t.engine, sizeof *t.scalars, "scalars", &scalars, &f));
    t.scalars = scalars;
    return t;
}

static void end(training *t) {
    void *const arrays[] = {t->m, t->v, t->scalars};
    for (size_t i = 0; i < 3; i++) dukd_engine_release(t->engine, arrays[i]);
    bench_close(&t->student);
    bench_close(&t->teacher);
    dukd_engine_destroy(t->engine);
    assert_int_equal(emulation_alive(), 0);
}

/* What changes from step to step: another batch, and Adam's scalars. */
static void feed_step(const training *t, int step) {
    dukd_failure f = {0};
    const dukd_optimizer_scalars s = {.minus_step = -1e-3f / (float)(step + 1),
                                      .root = 1 - .5f / (float)(step + 2),
                                      .new_m = .1f,
                                      .keep_v = .99f,
                                      .new_v = .01f,
                                      .eps = 1e-8f};
    OK(dukd_engine_upload(t->engine, t->scalars, &s, sizeof s, &f));
    float *input = bench_zeros(t->student.in_count, sizeof *input);
    for (int64_t i = 0; i < t->student.in_count; i++) input[i] = (float)((i * 7 + step * 13) % 31) / 31;
    OK(dukd_engine_upload(t->engine, t->student.input, input, t->student.in_count * 4, &f));
    OK(dukd_engine_upload(t->engine, t->teacher.input, input, t->student.in_count * 4, &f));
    free(input);
}

/* Two optimizer steps, as the official mode takes: weights change in the middle. */
static void step_once(const training *t, int32_t batch) {
    dukd_failure f = {0};
    const bench *b = &t->student;
    void *temporary = NULL;
    bench_forward(&t->teacher, batch);
    for (int i = 0; i < 2; i++) {
        bench_forward(b, batch);
        OK(dukd_engine_alloc(t->engine, b->out_count * 4, "a step's", &temporary, &f));
        OK(dukd_engine_copy(t->engine, temporary, b->output, b->out_count * 4, &f));
        OK(dukd_engine_scale(t->engine, temporary, -1, b->out_count, &f));
        OK(dukd_engine_add(t->engine, temporary, t->teacher.output, b->out_count, &f));
        OK(dukd_engine_copy(t->engine, b->d_output, temporary, b->out_count * 4, &f));
        dukd_engine_release(t->engine, temporary);
        bench_backward(b);
        OK(dukd_engine_adam(t->engine, t->scalars, NULL, b->d_weights, t->m, t->v, b->weights,
                            b->weight_count, &f));
        OK(dukd_network_set_weights(b->network, b->weights, &f));
    }
}

enum { STEPS = 12, RECORDED = 3 };

/* Weights after STEPS steps; recorded or not, with things in between that share the engine. */
static float *train(const engine_net *student, const engine_net *teacher, int record) {
    dukd_failure f = {0};
    training t = begin(student, teacher);
    dukd_recording *r = NULL;
    bench other = {0};
    float *mark = NULL, *marks = bench_zeros(t.student.out_count, sizeof *marks);
    for (int64_t i = 0; i < t.student.out_count; i++) marks[i] = (float)i;
    for (int step = 0; step < STEPS; step++) {
        feed_step(&t, step);
        if (record && step == RECORDED) {
            const int64_t launches = emulation_launches();
            OK(dukd_recording_begin(t.engine, &f));
            step_once(&t, student->batch);
            OK(dukd_recording_end(t.engine, &r, &f));
            assert_true(emulation_launches() > launches);
        }
        if (r)
            OK(dukd_recording_replay(r, &f));
        else
            step_once(&t, student->batch);
        if (step ==
            RECORDED + 2) { /* a validation: another, larger network, and arrays, while the recording lives */
            engine_net large = *teacher;
            large.height = large.width = 24;
            other = bench_on(t.engine, &large, DUKD_INFER, 9);
            bench_forward(&other, large.batch);
            mark = engine_net_place(t.engine, marks,
                                    t.student.out_count); /* as large as what the step takes for a while */
        }
        if (step == RECORDED + 4 ||
            step == RECORDED + 6) { /* the student outside of the recording: with the weights of now */
            bench_forward(&t.student, student->batch);
            float *seen = bench_fetched(&t.student, t.student.output, t.student.out_count);
            OK(dukd_network_set_weights(t.student.network, t.student.weights, &f));
            bench_forward(&t.student, student->batch);
            float *now = bench_fetched(&t.student, t.student.output, t.student.out_count);
            bench_assert_same("outside of the recording", seen, now, t.student.out_count);
            free(seen);
            free(now);
        }
    }
    float *weights = bench_fetched(&t.student, t.student.weights, t.student.weight_count);
    float *still = bench_fetched(&t.student, mark, t.student.out_count);
    bench_assert_same("an array beside the recording", still, marks, t.student.out_count);
    dukd_engine_release(t.engine, mark);
    free(still);
    free(marks);
    dukd_recording_free(r);
    bench_close(&other);
    end(&t);
    return weights;
}

static void test_replays(void **state) {
    (void)state;
    engine_net teacher = engine_nets[0];
    teacher.options = "num_in_ch=3 num_out_ch=3 num_feat=12 num_block=1 upscale=4";
    float *eager = train(&engine_nets[0], &teacher, 0), *replayed = train(&engine_nets[0], &teacher, 1);
    dukd_graph *g = engine_net_build(&engine_nets[0]);
    bench_assert_same("replayed steps", eager, replayed, dukd_graph_weights(g));
    dukd_graph_destroy(g);
    free(eager);
    free(replayed);
}

static void refused(int status, const dukd_failure *f, const char *words) {
    assert_int_not_equal(status, DUKD_DONE);
    if (!strstr(f->message, words)) fail_msg("'%s' is not in: %s", words, f->message);
}
#define REFUSED(call, words)                                                                                 \
    do {                                                                                                     \
        dukd_failure why = {0};                                                                              \
        refused(call, &why, words);                                                                          \
    } while (0)

/* What cannot be recorded is refused by us, and the engine goes on after it. */
static void test_refusals(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine();
    bench b = bench_on(e, &engine_nets[0], DUKD_TRAIN, 3);
    bench_forward(&b, 2);
    bench_backward(&b);
    float *before = bench_fetched(&b, b.d_weights, b.weight_count);
    float host[4] = {0};
    void *p = NULL;
    dukd_recording *r = NULL;
    assert_int_equal(dukd_engine_can_record(e), 1);
    REFUSED(dukd_recording_end(e, &r, &why), "no step is recorded");
    OK(dukd_recording_begin(e, &f));
    REFUSED(dukd_recording_begin(e, &why), "a step is recorded already");
    REFUSED(dukd_engine_upload(e, b.input, host, sizeof host, &why), "is uploaded inside of a recorded step");
    REFUSED(dukd_engine_download(e, host, b.input, sizeof host, &why),
            "is downloaded inside of a recorded step");
    REFUSED(dukd_engine_wait(e, &why), "waits inside of a recorded step");
    REFUSED(dukd_engine_alloc(e, 12345678, "what is new", &p, &why),
            "a recorded step needs memory that it did not have before: what is new");
    assert_null(p);
    bench_forward(&b, 2);
    OK(dukd_recording_end(e, NULL, &f)); /* given up: nothing has run */
    bench_forward(&b, 2);
    bench_backward(&b);
    float *after = bench_fetched(&b, b.d_weights, b.weight_count);
    bench_assert_same("after a recording that was given up", before, after, b.weight_count);

    /* A replay in between takes the kept forward. */
    const float *const d_outputs[] = {b.d_output};
    OK(dukd_recording_begin(e, &f));
    bench_forward(&b, 2);
    bench_backward(&b);
    OK(dukd_recording_end(e, &r, &f));
    bench_forward(&b, 2);
    OK(dukd_recording_replay(r, &f));
    REFUSED(dukd_exec_backward(b.exec, d_outputs, b.d_weights, NULL, &why), "a recorded step ran in between");
    dukd_recording_free(r);
    free(before);
    free(after);
    bench_close(&b);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_alive(), 0);
}

/* Weights that are packed for the first time in a recording are so in that one alone: the next packs them, too. */
static void test_packed_inside(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_engine *e = engine();
    dukd_recording *r = NULL;
    bench eager = bench_on(e, &engine_nets[0], DUKD_INFER, 3),
          b = bench_on(e, &engine_nets[0], DUKD_INFER, 3);
    bench_forward(&eager, 2);
    float *want = bench_fetched(&eager, eager.output, eager.out_count);
    OK(dukd_recording_begin(e, &f));
    bench_forward(&b, 2);
    OK(dukd_recording_end(e, NULL, &f));
    OK(dukd_recording_begin(e, &f));
    bench_forward(&b, 2);
    OK(dukd_recording_end(e, &r, &f));
    OK(dukd_recording_replay(r, &f));
    float *got = bench_fetched(&b, b.output, b.out_count);
    bench_assert_same("packed in a recording", got, want, b.out_count);
    dukd_recording_free(r);
    free(want);
    free(got);
    bench_close(&eager);
    bench_close(&b);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_alive(), 0);
}

/* Feeds arrive in order, whatever is sent meanwhile; reports are of when they were sent; nobody waits for the engine's stream. */
static void test_transfers(void **state) {
    (void)state;
    dukd_failure f = {0};
    enum { COUNT = 5000, ROUNDS = 6 };
    dukd_engine *e = engine();
    float *batch = engine_net_place(e, NULL, COUNT), *sum = engine_net_place(e, NULL, COUNT);
    float *got = bench_zeros(COUNT, sizeof *got), *late = bench_zeros(COUNT, sizeof *late);
    dukd_feed *feed = NULL;
    dukd_report *report = NULL;
    OK(dukd_feed_create(&feed, e, COUNT * 4, "a batch", &f));
    OK(dukd_report_create(&report, e, COUNT * 4, "a sum", &f));
    double expected = 0;
    for (int round = 0; round < ROUNDS; round++) {
        void *room = NULL;
        OK(dukd_feed_room(feed, &room, &f));
        for (int i = 0; i < COUNT; i++) ((float *)room)[i] = (float)(i + round * 100);
        OK(dukd_feed_send(feed, &f));
        if (round) { /* of the round before, although more was asked for since */
            OK(dukd_report_read(report, late, &f));
            for (int i = 0; i < COUNT; i += 997) assert_true((double)late[i] == expected + (double)round * i);
        }
        OK(dukd_feed_take(feed, batch, &f));
        OK(dukd_engine_add(e, sum, batch, COUNT, &f));
        OK(dukd_report_send(report, sum, &f));
        expected += round * 100;
    }
    engine_net_fetch(e, got, sum, COUNT);
    for (int i = 0; i < COUNT; i += 997) assert_true((double)got[i] == expected + (double)ROUNDS * i);
    dukd_feed_destroy(feed);
    dukd_report_destroy(report);
    dukd_engine_release(e, batch);
    dukd_engine_release(e, sum);
    free(got);
    free(late);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_alive(), 0);
}

/* A feed made of an array that others have only just released: what they asked for comes first. */
static void test_feed_of_used_memory(void **state) {
    (void)state;
    dukd_failure f = {0};
    enum { COUNT = 5000 };
    dukd_engine *e = engine();
    float *got = bench_zeros(COUNT, sizeof *got), *old = bench_zeros(COUNT, sizeof *old);
    for (int i = 0; i < COUNT; i++) old[i] = (float)i;
    float *sum = engine_net_place(e, NULL, COUNT), *used = engine_net_place(e, old, COUNT);
    dukd_feed *feed = NULL;
    void *room = NULL;
    OK(dukd_engine_wait(e, &f));
    OK(dukd_engine_add(e, sum, used, COUNT, &f));
    dukd_engine_release(e, used);
    OK(dukd_feed_create(&feed, e, COUNT * 4, "a batch", &f));
    OK(dukd_feed_room(feed, &room, &f));
    for (int i = 0; i < COUNT; i++) ((float *)room)[i] = -1;
    OK(dukd_feed_send(feed, &f));
    OK(dukd_feed_room(feed, &room, &f)); /* it has been copied, whatever that took */
    engine_net_fetch(e, got, sum, COUNT);
    assert_memory_equal(got, old, COUNT * sizeof *got);
    dukd_feed_destroy(feed);
    dukd_engine_release(e, sum);
    free(got);
    free(old);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_alive(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_packed_inside),
        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_feed_of_used_memory),
    };
    return cmocka_run_group_tests_name("gpu_record", tests, NULL, NULL);
}
