/* What the CUDA engine says where it cannot work, and that every call of the runtime and the libraries that fails is told and leaves
 * nothing behind. test_gpu_engine_errors EMULATED_MODULE OTHER_BUILD NO_MODULE */
#include <cuda_runtime_api.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_engine/doubles/doubles.h"
#include "cuda_engine/engine_net.h"
#include "emulation.h"
#include "engine/arrays.h"
#include "engine/engine.h"

static const char *module_path, *other_build, *no_module;

/* The engine is refused, with these words, and a failure without a message to write is no trouble. */
static void refused(const char *words) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    assert_int_not_equal(dukd_engine_create(&e, "cuda", 1, NULL), DUKD_DONE);
    assert_null(e);
    assert_int_not_equal(dukd_engine_create(&e, "cuda", 1, &f), DUKD_DONE);
    assert_null(e);
    if (!strstr(f.message, words)) fail_msg("'%s' is not in: %s", words, f.message);
    print_message("%s\n", f.message);
    assert_int_equal(emulation_alive(), 0);
    assert_int_equal(doubles_alive(), 0);
}

static void test_module(void **state) {
    (void)state;
    setenv("DUKD_ENGINE_CUDA", "/nowhere/libdukd-engine-cuda.so", 1);
    refused("there is no CUDA engine at '/nowhere/libdukd-engine-cuda.so'");
    setenv("DUKD_ENGINE_CUDA", "/proc/self/cmdline", 1);
    refused("cannot be opened: ");
    setenv("DUKD_ENGINE_CUDA", no_module, 1);
    refused("is no CUDA engine, and the program is ");
    setenv("DUKD_ENGINE_CUDA", other_build, 1);
    refused("is of another build, and the program is ");
    setenv("DUKD_ENGINE_CUDA", module_path, 1);
}

static void test_machine(void **state) {
    (void)state;
    emulation_machine(2, 0);
    refused("there is no NVIDIA driver");
    emulation_machine(2, 11080);
    refused("the NVIDIA driver is too old: it is for CUDA 11.8");
    emulation_machine(0, 13000);
    refused("but no CUDA device");
    emulation_machine(2, 13000);
    emulation_capability(61);
    refused("has compute capability 6.1: the CUDA engine needs 7.5 or later");
    emulation_capability(80);
    doubles_refuse(DOUBLES_NO_DEVICE);
    refused("cudnnCreate");
    doubles_reset();
}

static dukd_engine *engine(void) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    if (dukd_engine_create(&e, "cuda", 1, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return e;
}

static void test_bf16(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_network *n = NULL;
    emulation_capability(75);
    dukd_graph *g = engine_net_build(&engine_nets[0]);
    dukd_engine *e = engine();
    assert_int_equal(dukd_engine_get_info(e)->bf16, 0);
    assert_int_equal(dukd_network_create(&n, e, g, DUKD_BF16, &f), DUKD_FAILED);
    assert_non_null(
        strstr(f.message, "bf16 needs a CUDA device of compute capability 8.0 or later, this one has 7.5"));
    dukd_engine_destroy(e);
    emulation_capability(80);
    e = engine();
    assert_int_equal(dukd_engine_get_info(e)->bf16, 1);
    assert_string_equal(dukd_engine_get_info(e)->instruction_set, "emulated device 0, sm_80");
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
}

/* The engine's device stays current, and no other one gets a context: each rank's would take memory of the first GPU. */
static void test_contexts(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = engine_net_build(&engine_nets[0]);
    int current = -1;
    const dukd_engine_options options = {.name = "cuda", .threads = 1, .device = 1};
    dukd_engine *e = NULL;
    emulation_forget_contexts(0);
    if (dukd_engine_open(&e, &options, &f) != DUKD_DONE) fail_msg("%s", f.message);
    engine_result r;
    if (engine_net_run(&r, e, &engine_nets[0], g, DUKD_F32, 17, &f) != DUKD_DONE) fail_msg("%s", f.message);
    engine_result_free(&r);
    dukd_engine_destroy(e);
    assert_int_equal(emulation_contexts(), 1 << 1);
    assert_int_equal(cudaGetDevice(&current), cudaSuccess);
    assert_int_equal(current, 1);
    dukd_graph_destroy(g);
    assert_int_equal(emulation_alive(), 0);
}

/* The one that is current if none is asked for; runs on it whatever is current later. */
static void test_devices(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = engine_net_build(&engine_nets[0]);
    assert_int_equal(cudaSetDevice(1), cudaSuccess);
    dukd_engine *e = engine();
    const dukd_engine_place *place = dukd_engine_get_place(e);
    assert_int_equal(place->on_host, 0);
    assert_int_equal(place->device_type, 2);
    assert_int_equal(place->device_id, 1);
    assert_non_null(place->stream);
    assert_int_equal(cudaSetDevice(0), cudaSuccess);
    engine_result r;
    if (engine_net_run(&r, e, &engine_nets[0], g, DUKD_F32, 17, &f) != DUKD_DONE) fail_msg("%s", f.message);
    engine_result_free(&r);
    assert_int_equal(cudaSetDevice(0), cudaSuccess);
    dukd_engine_destroy(e);
    assert_int_equal(cudaSetDevice(0), cudaSuccess);
    dukd_graph_destroy(g);
    assert_int_equal(emulation_alive(), 0);
}

/* More than the device has: the message says what for, and what ran before runs on. */
static void test_memory(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = engine_net_build(&engine_nets[0]);
    dukd_engine *e = engine();
    engine_result before, after;
    int64_t now, peak, then;
    if (engine_net_run(&before, e, &engine_nets[0], g, DUKD_F32, 17, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    dukd_engine_memory(e, &then, &peak);
    dukd_network *n = NULL;
    dukd_exec *x = NULL;
    const dukd_exec_spec spec = {.purpose = DUKD_TRAIN, .batch = 64, .height = 512, .width = 512};
    assert_int_equal(dukd_network_create(&n, e, g, DUKD_F32, &f), DUKD_DONE);
    assert_int_equal(dukd_network_compile(n, &spec, &x, &f), DUKD_FAILED);
    print_message("%s\n", f.message);
    assert_non_null(strstr(
        f.message, "the CUDA device is out of memory: there is no room for a network's activations ("));
    dukd_network_destroy(n);
    void *array = NULL;
    f = (dukd_failure){0};
    assert_int_equal(dukd_engine_alloc(e, (int64_t)1 << 40, "a heap of numbers", &array, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "no room for a heap of numbers (1048577 MiB)"));
    f = (dukd_failure){0};
    if (engine_net_run(&after, e, &engine_nets[0], g, DUKD_F32, 17, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    assert_true(engine_result_same(&before, &after));
    dukd_engine_memory(e, &now, &peak);
    assert_true(now <= peak && now > 0 && now <= 2 * then);
    engine_result_free(&before);
    engine_result_free(&after);
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
    assert_int_equal(emulation_alive(), 0);
}

/* A device that is full when a library loads kernels: what nobody uses is given back; where there is nothing of it, the library's words. */
static void test_full_device(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = engine_net_build(&engine_nets[0]);
    engine_result want, got;
    dukd_engine *e = engine();
    if (engine_net_run(&want, e, &engine_nets[0], g, DUKD_F32, 17, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    void *array = NULL;
    assert_int_equal(dukd_engine_alloc(e, 12345, "an array", &array, &f), DUKD_DONE);
    dukd_engine_release(e, array);
    doubles_refuse(DOUBLES_NO_ROOM);
    if (engine_net_run(&got, e, &engine_nets[0], g, DUKD_F32, 17, &f) != DUKD_DONE) fail_msg("%s", f.message);
    assert_true(engine_result_same(&want, &got));
    engine_result_free(&want);
    engine_result_free(&got);
    dukd_engine_destroy(e);
    doubles_reset();
    e = engine();
    doubles_refuse(DOUBLES_NO_ROOM);
    assert_int_equal(engine_net_run(&got, e, &engine_nets[0], g, DUKD_F32, 17, &f), DUKD_FAILED);
    if (!strstr(f.message, "there is no room on the device")) fail_msg("%s", f.message);
    doubles_reset();
    dukd_engine_destroy(e);
    dukd_graph_destroy(g);
    assert_int_equal(emulation_alive(), 0);
}

/* ---- every call once ---- */

/* What may fail without anybody being the worse for it: giving back, and asking for versions to put into messages. */
static int may_be_ignored(const char *call) {
    static const char *const names[] = {"cudaFree",          "cudaFreeHost",          "cudaEventDestroy",
                                        "cudaStreamDestroy", "cudaRuntimeGetVersion", "cudaGetDevice",
                                        "cudaSetDevice",     "cublasLtDestroy",       "cudnnDestroy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(call, names[i]) == 0) return 1;
    /* Descriptors are destroyed, and of what a library proposes the next is taken. */
    return strncmp(call, "cudnnBackend", 12) == 0 || strncmp(call, "cublasLtMat", 11) == 0;
}

static int whole_run(const engine_net *n, const dukd_graph *g, dukd_precision precision, dukd_failure *f) {
    dukd_engine *e = NULL;
    engine_result r = {0};
    int status = dukd_engine_create(&e, "cuda", 1, f);
    if (status == DUKD_DONE) status = engine_net_run(&r, e, n, g, precision, 17, f);
    if (status == DUKD_DONE) engine_result_free(&r);
    dukd_engine_destroy(e);
    return status;
}

static void check_failed(const char *name, int64_t at, const char *call, int status, const dukd_failure *f) {
    if (status == DUKD_DONE && !may_be_ignored(call))
        fail_msg("%s: call %ld, %s, failed and nobody said so", name, (long)at, call);
    if (status != DUKD_DONE && strlen(f->message) < 20)
        fail_msg("%s: call %ld, %s: '%s'", name, (long)at, call, f->message);
}

static void fail_each(const engine_net *n, dukd_precision precision, int32_t error) {
    const dukd_graph *g = engine_net_build(n);
    dukd_failure f = {0};
    emulation_arm(0, 0);
    emulation_watch(1);
    assert_int_equal(whole_run(n, g, precision, &f), DUKD_DONE);
    const int64_t calls = emulation_disarm();
    int64_t told = 0;
    assert_true(calls > 100);
    for (int64_t at = 1; at <= calls; at++) {
        const int64_t alive = emulation_alive();
        f = (dukd_failure){0};
        emulation_arm(at, error);
        emulation_watch(1);
        const int status = whole_run(n, g, precision, &f);
        (void)emulation_disarm();
        const char *call = emulation_failed_call();
        check_failed(n->name, at, call, status, &f);
        told += status != DUKD_DONE;
        if (emulation_alive() != alive || doubles_alive() != 0)
            fail_msg("%s: call %ld, %s, left %ld objects behind (%s)", n->name, (long)at, call,
                     (long)(emulation_alive() - alive), f.message);
    }
    print_message("%s: %ld calls of the runtime, %ld told\n", n->name, (long)calls, (long)told);
    dukd_graph_destroy((dukd_graph *)(uintptr_t)g);
}

static void test_each_call(void **state) {
    (void)state;
    fail_each(&engine_nets[0], DUKD_F32, cudaErrorMemoryAllocation);
    fail_each(&engine_nets[5], DUKD_F32, cudaErrorLaunchFailure);
    fail_each(&engine_nets[2], DUKD_BF16, cudaErrorLaunchFailure);
}

static void test_each_library_call(void **state) {
    (void)state;
    const engine_net *n = &engine_nets[2];
    const dukd_graph *g = engine_net_build(n);
    dukd_failure f = {0};
    doubles_reset();
    doubles_arm(0);
    assert_int_equal(whole_run(n, g, DUKD_F32, &f), DUKD_DONE);
    const int64_t calls = doubles_disarm(), alive = emulation_alive();
    assert_true(calls > 50);
    int64_t told = 0;
    for (int64_t at = 1; at <= calls; at += at < 40 ? 1 : 3) {
        f = (dukd_failure){0};
        doubles_arm(at);
        const int status = whole_run(n, g, DUKD_F32, &f);
        (void)doubles_disarm();
        check_failed(n->name, at, doubles_failed_call(), status, &f);
        told += status != DUKD_DONE;
        assert_int_equal(emulation_alive(), alive);
        if (doubles_alive() != 0)
            fail_msg("call %ld, %s, left %ld descriptors behind", (long)at, doubles_failed_call(),
                     (long)doubles_alive());
    }
    print_message("%ld calls of the libraries; of those made to fail %ld told\n", (long)calls, (long)told);
    doubles_reset();
    dukd_graph_destroy((dukd_graph *)(uintptr_t)g);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_full_device),
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_each_library_call),
    };
    if (argc != 4) {
        fprintf(stderr, "usage: test_gpu_engine_errors EMULATED_MODULE OTHER_BUILD NO_MODULE\n");
        return 2;
    }
    module_path = argv[1];
    other_build = argv[2];
    no_module = argv[3];
    setenv("DUKD_ENGINE_CUDA", module_path, 1);
    return cmocka_run_group_tests_name("gpu_engine_errors", tests, NULL, NULL);
}
