/* Every call of the runtime that recording, replaying, feeds and reports make fails once: a message, nothing left behind, and the engine
 * goes on call by call to the same bits. On the CUDA engine's module of the emulated device. */
#include <cuda_runtime_api.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_engine/engine_bench.h"
#include "emulation.h"
#include "engine/arrays.h"
#include "engine/recording.h"
#include "engine/transfers.h"

static dukd_engine *engine(void) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    if (dukd_engine_create(&e, "cuda", 1, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return e;
}

/* What may fail without anybody being the worse for it: giving back, and putting the caller's device back. */
static int may_be_ignored(const char *call) {
    static const char *const names[] = {"cudaFree",          "cudaFreeHost",     "cudaEventDestroy",
                                        "cudaStreamDestroy", "cudaGraphDestroy", "cudaGraphExecDestroy",
                                        "cudaSetDevice"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(call, names[i]) == 0) return 1;
    return 0;
}

/* One failure is told, in words; where it came while everything was taken apart it need not be. */
static void check_told(int64_t at, int status, int apart, const dukd_failure *f) {
    const char *call = emulation_failed_call();
    assert_string_not_equal(call, "");
    if (status == DUKD_DONE && !apart && !may_be_ignored(call))
        fail_msg("call %ld, %s, failed and nobody said so", (long)at, call);
    if (status != DUKD_DONE && strlen(f->message) < 20)
        fail_msg("call %ld, %s: '%s'", (long)at, call, f->message);
}

/* ---- recordings ---- */

static int step(const bench *b, dukd_failure *f) {
    float *const outputs[] = {b->output};
    const float *const d_outputs[] = {b->d_output};
    int status = dukd_network_set_weights(b->network, b->weights, f);
    if (status == DUKD_DONE) status = dukd_engine_clear(b->engine, b->d_weights, b->weight_count * 4, f);
    if (status == DUKD_DONE) status = dukd_exec_forward(b->exec, 2, b->input, outputs, f);
    return status == DUKD_DONE ? dukd_exec_backward(b->exec, d_outputs, b->d_weights, NULL, f) : status;
}

/* As training records a step: given up where a call inside of it fails. */
static int record_and_replay(const bench *b, dukd_recording **r, dukd_failure *f) {
    int status = dukd_recording_begin(b->engine, f);
    if (status != DUKD_DONE) return status;
    status = step(b, f);
    if (status == DUKD_DONE)
        status = dukd_recording_end(b->engine, r, f);
    else
        dukd_recording_end(b->engine, NULL, NULL);
    for (int i = 0; i < 2 && status == DUKD_DONE; i++) status = dukd_recording_replay(*r, f);
    return status;
}

/* The gradient of a step that nobody disturbs. */
static float *gradient_of(const bench *b, const char *after) {
    dukd_failure f = {0};
    if (step(b, &f) != DUKD_DONE) fail_msg("after %s: %s", after, f.message);
    return bench_fetched(b, b->d_weights, b->weight_count);
}

static void recordings(void **state) {
    (void)state;
    int64_t calls = 1, told = 0;
    for (int64_t at = 0; at <= calls; at++) {
        dukd_failure f = {0};
        dukd_recording *r = NULL;
        dukd_engine *e = engine();
        bench b = bench_on(e, &engine_nets[0], DUKD_TRAIN, 3);
        free(gradient_of(&b, "nothing"));
        float *want = gradient_of(&b, "nothing");
        emulation_arm(at, at % 2 ? cudaErrorLaunchFailure : cudaErrorStreamCaptureInvalidated);
        emulation_watch(1);
        const int status = record_and_replay(&b, &r, &f);
        const int failed = emulation_failed_call()[0] != 0;
        emulation_watch(0);
        if (status == DUKD_DONE) { /* what was replayed is right, whatever failed */
            float *replayed = bench_fetched(&b, b.d_weights, b.weight_count);
            bench_assert_same("replayed", replayed, want, b.weight_count);
            free(replayed);
        }
        float *after = gradient_of(&b, emulation_failed_call());
        bench_assert_same("after a recording that failed", after, want, b.weight_count);
        emulation_watch(1);
        dukd_recording_free(r);
        emulation_watch(0);
        float *last = gradient_of(&b, emulation_failed_call());
        bench_assert_same("after it was freed", last, want, b.weight_count);
        if (at) check_told(at, status, !failed, &f);
        const int64_t made = emulation_disarm();
        if (!at) calls = made;
        told += status != DUKD_DONE;
        free(want);
        free(after);
        free(last);
        bench_close(&b);
        dukd_engine_destroy(e);
        if (emulation_alive())
            fail_msg("call %ld, %s, left something behind", (long)at, emulation_failed_call());
    }
    print_message("%ld calls of a recorded step, %ld failures told\n", (long)calls, (long)told);
    assert_true(calls > 25 && told > 20);
}

/* Memory for the graph is the device's: the message says so. */
static void no_memory_for_a_recording(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_recording *r = NULL;
    dukd_engine *e = engine();
    bench b = bench_on(e, &engine_nets[0], DUKD_TRAIN, 3);
    free(gradient_of(&b, "nothing"));
    emulation_arm(0, 0);
    emulation_fail_named("cudaGraphInstantiate", cudaErrorMemoryAllocation);
    emulation_watch(1);
    assert_int_equal(record_and_replay(&b, &r, &f), DUKD_FAILED);
    emulation_watch(0);
    emulation_fail_named(NULL, 0);
    (void)emulation_disarm();
    assert_null(r);
    assert_non_null(strstr(f.message, "the CUDA device is out of memory (preparing a recorded step)"));
    bench_close(&b);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_alive(), 0);
}

/* Weights that were packed inside of a recording that was given up are not packed: neither for the next recording nor outside of one. */
static void weights_of_a_recording_in_vain(void **state) {
    (void)state;
    for (int again = 0; again < 2; again++) {
        dukd_failure f = {0};
        dukd_recording *r = NULL;
        dukd_engine *e = engine();
        bench b = bench_on(e, &engine_nets[0], DUKD_TRAIN, 3);
        float *const outputs[] = {b.output};
        free(gradient_of(&b, "nothing"));
        float *weights = bench_fetched(&b, b.weights, b.weight_count);
        for (int64_t i = 0; i < b.weight_count; i++) weights[i] = -weights[i];
        int status = dukd_engine_upload(e, b.weights, weights, b.weight_count * 4, &f);
        if (status == DUKD_DONE) status = dukd_recording_begin(e, &f);
        if (status == DUKD_DONE) status = step(&b, &f);
        if (status == DUKD_DONE) status = dukd_recording_end(e, NULL, &f);
        if (status == DUKD_DONE && again) status = dukd_recording_begin(e, &f);
        if (status == DUKD_DONE) status = dukd_exec_forward(b.exec, 2, b.input, outputs, &f);
        if (status == DUKD_DONE && again) status = dukd_recording_end(e, &r, &f);
        if (status == DUKD_DONE && again) status = dukd_recording_replay(r, &f);
        if (status != DUKD_DONE) fail_msg("%s", f.message);
        float *got = bench_fetched(&b, b.output, b.out_count);
        free(gradient_of(&b, "a recording in vain")); /* sets the weights anew */
        float *want = bench_fetched(&b, b.output, b.out_count);
        bench_assert_same("with the weights of now", got, want, b.out_count);
        free(weights);
        free(got);
        free(want);
        dukd_recording_free(r);
        bench_close(&b);
        dukd_engine_destroy(e);
        assert_int_equal(emulation_alive(), 0);
    }
}

/* ---- feeds and reports ---- */

enum { COUNT = 3000 };

typedef struct {
    dukd_feed *feed;
    dukd_report *report;
} transfers;

/* Two rounds: what is sent comes to the device and back. */
static int transfer(dukd_engine *e, float *batch, transfers *t, float *got, dukd_failure *f) {
    int status = dukd_feed_create(&t->feed, e, COUNT * 4, "a batch", f);
    if (status == DUKD_DONE) status = dukd_report_create(&t->report, e, COUNT * 4, "a report", f);
    for (int round = 0; round < 2 && status == DUKD_DONE; round++) {
        void *room = NULL;
        if ((status = dukd_feed_room(t->feed, &room, f)) != DUKD_DONE) break;
        for (int i = 0; i < COUNT; i++) ((float *)room)[i] = (float)(i + round);
        status = dukd_feed_send(t->feed, f);
        if (status == DUKD_DONE) status = dukd_feed_take(t->feed, batch, f);
        if (status == DUKD_DONE) status = dukd_engine_add(e, batch, batch, COUNT, f);
        if (status == DUKD_DONE) status = dukd_report_send(t->report, batch, f);
        if (status == DUKD_DONE) status = dukd_report_read(t->report, got, f);
        for (int i = 0; i < COUNT && status == DUKD_DONE; i++)
            assert_true(got[i] == (float)(2 * (i + round)));
    }
    return status;
}

static void feeds_and_reports(void **state) {
    int64_t calls = 1, told = 0;
    (void)state;
    for (int64_t at = 0; at <= calls; at++) {
        dukd_failure f = {0};
        transfers t = {0}, again = {0};
        dukd_engine *e = engine();
        float *batch = engine_net_place(e, NULL, COUNT), *got = bench_zeros(COUNT, sizeof *got);
        emulation_arm(at, at % 2 ? cudaErrorLaunchFailure : cudaErrorMemoryAllocation);
        emulation_watch(1);
        const int status = transfer(e, batch, &t, got, &f);
        const int failed = emulation_failed_call()[0] != 0;
        dukd_feed_destroy(t.feed);
        dukd_report_destroy(t.report);
        emulation_watch(0);
        if (at) check_told(at, status, !failed, &f);
        const int64_t made = emulation_disarm();
        if (!at) calls = made;
        told += status != DUKD_DONE;
        memset(&f, 0, sizeof f); /* new ones work */
        if (transfer(e, batch, &again, got, &f) != DUKD_DONE)
            fail_msg("after call %ld: %s", (long)at, f.message);
        dukd_feed_destroy(again.feed);
        dukd_report_destroy(again.report);
        dukd_engine_release(e, batch);
        free(got);
        dukd_engine_destroy(e);
        if (emulation_alive())
            fail_msg("call %ld, %s, left something behind", (long)at, emulation_failed_call());
    }
    print_message("%ld calls of feeds and reports, %ld failures told\n", (long)calls, (long)told);
    assert_true(calls > 30 && told > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recordings),
        cmocka_unit_test(no_memory_for_a_recording),
        cmocka_unit_test(weights_of_a_recording_in_vain),
        cmocka_unit_test(feeds_and_reports),
    };
    return cmocka_run_group_tests_name("gpu_record_errors", tests, NULL, NULL);
}
