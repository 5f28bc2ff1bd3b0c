/* What the backend leaves of the process it lives in: the thread's context, other streams' captures, forked children, errors that
 * were told already. The emulated device alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cuda_fixture.h"
#include "emulation.h"

static const dukd_plugin *plugin;
static cudaStream_t stream;
static fixture_device device;

static void watch(int entering) {
    emulation_watch(entering);
}

static int set_up(void **state) {
    (void)state;
    emulation_machine(2, 13000);
    emulation_capability(80);
    CUDA_OK(cudaSetDevice(0));
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cuda_fixture_device(&device, stream);
    device.around = watch;
    emulation_arm(0, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    emulation_fail_named(NULL, 0);
    (void)emulation_disarm();
    CUDA_OK(cudaSetDevice(0));
    CUDA_OK(cudaStreamDestroy(stream));
    assert_int_equal(emulation_alive(), 0);
    return 0;
}

static void start(fixture *f) {
    fixture_init(f);
    f->plugin = plugin;
    f->device = &device;
    f->own_memory = false;
}

/* The thread's context; NULL: none. */
static void *current_context(void) {
    int (*get)(void **) = NULL;
    void *found = NULL, *context = NULL;
    enum cudaDriverEntryPointQueryResult result;
    CUDA_OK(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &found, 4000, cudaEnableDefault, &result));
    memcpy(&get, &found, sizeof get);
    assert_int_equal(get(&context), 0);
    return context;
}

static dukd_step step_of(fixture *f, void *on) {
    return (dukd_step){.struct_size = DUKD_STEP_SIZE,
                       .iteration = 1,
                       .micro_count = 1,
                       .lr = &f->lr.there,
                       .hr = &f->hr.there,
                       .stream = on};
}

/* A session whose batch is on the device, and no step begun. */
static void open_with_batch(fixture *f) {
    start(f);
    fixture_must_open(f, NULL);
    fixture_batch(f, 0);
    assert_int_equal(fixture_begin(f, 1, 0, 0), DUKD_OK);
    assert_int_equal(plugin->cancel_step(f->session, &f->error), DUKD_OK);
}

/* A thread that has called no CUDA function yet, on a machine where device 1 is the default for it: no context comes to be there. */
static void a_thread_without_a_context_gets_none(void **state) {
    (void)state;
    fixture f;
    open_with_batch(&f);
    const dukd_step step = step_of(&f, stream);
    emulation_forget_contexts(1);
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    assert_null(current_context());
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    fixture other;
    start(&other);
    fixture_must_open(&other, NULL);
    assert_null(current_context());
    plugin->destroy_session(other.session);
    other.session = NULL;
    assert_null(current_context());
    assert_int_equal(emulation_contexts(), 1); /* of device 0 alone */
    fixture_close(&other);
    CUDA_OK(cudaSetDevice(0));
    fixture_close(&f);
}

/* Without the driver's functions the device's number has to do. */
static void contexts_that_are_not_known(void **state) {
    (void)state;
    fixture f;
    int current = -1;
    emulation_fail_named("cudaGetDriverEntryPointByVersion", cudaErrorNotSupported);
    open_with_batch(&f);
    const dukd_step step = step_of(&f, stream);
    CUDA_OK(cudaSetDevice(1));
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    CUDA_OK(cudaGetDevice(&current));
    assert_int_equal(current, 1);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    CUDA_OK(cudaSetDevice(0));
    fixture_close(&f);
}

/* Somebody else captures a stream while a session is made and destroyed. */
static void captures_of_others_go_on(void **state) {
    (void)state;
    fixture f;
    cudaStream_t other;
    cudaGraph_t graph = NULL;
    void *memory = NULL;
    CUDA_OK(cudaMalloc(&memory, 16));
    CUDA_OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CUDA_OK(cudaStreamBeginCapture(other, cudaStreamCaptureModeGlobal));
    start(&f);
    fixture_must_open(&f, NULL);
    plugin->destroy_session(f.session);
    f.session = NULL;
    CUDA_OK(cudaMemsetAsync(memory, 0, 16, other));
    CUDA_OK(cudaStreamEndCapture(other, &graph));
    CUDA_OK(cudaGraphDestroy(graph));
    /* and the thread is as careful as before */
    void *refused = NULL;
    CUDA_OK(cudaStreamBeginCapture(other, cudaStreamCaptureModeGlobal));
    assert_int_equal(cudaMalloc(&refused, 16), cudaErrorStreamCaptureUnsupported);
    assert_int_not_equal(cudaStreamEndCapture(other, &graph), cudaSuccess);
    (void)cudaGetLastError();
    CUDA_OK(cudaStreamDestroy(other));
    CUDA_OK(cudaFree(memory));
    fixture_close(&f);
}

/* An error that a call has told is no error of the next step. */
static void errors_are_told_once(void **state) {
    (void)state;
    static const char *const calls[] = {"cudaMemcpyAsync", "cudaStreamSynchronize", "cudaStreamIsCapturing"};
    fixture f;
    const dukd_pass *pass;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    start(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[rec]"));
    fixture_batch(&f, 0);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
        assert_int_equal(plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
        assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
        assert_int_equal(plugin->next_pass(f.session, &pass, &f.error), DUKD_STEP_DONE);
        assert_int_equal(plugin->end_step(f.session, &f.error), DUKD_OK);
        emulation_fail_named(calls[i], cudaErrorInvalidResourceHandle);
        watch(1);
        assert_int_equal(plugin->read_losses(f.session, &losses, &f.error), DUKD_E_BACKEND);
        watch(0);
        emulation_fail_named(NULL, 0);
        if (fixture_begin(&f, 1, 0, 0) != DUKD_OK) fail_msg("after %s: %s", calls[i], f.error.message);
        assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    }
    fixture_close(&f);
}

/* In a forked child CUDA may not be called: destroy_session frees the host's memory there, and leaves the device's to the parent. */
static void a_forked_child_calls_nothing(void **state) {
    (void)state;
    fixture f;
    open_with_batch(&f);
    const int64_t alive = emulation_alive();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        emulation_arm(0, 0);
        watch(1);
        plugin->destroy_session(f.session);
        watch(0);
        _exit(emulation_disarm() == 0 && emulation_alive() == alive ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fixture_close(&f);
}

static void streams_that_cannot_be_asked(void **state) {
    (void)state;
    fixture f;
    open_with_batch(&f);
    dukd_step step = step_of(&f, stream);
    emulation_fail_named("cudaStreamGetDevice", cudaErrorCallRequiresNewerDriver); /* older than 12.8 */
    watch(1);
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    watch(0);
    emulation_fail_named(NULL, 0);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    step.stream = cudaStreamPerThread;
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "step: stream is cudaStreamPerThread");
    step.stream = cudaStreamLegacy;
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    fixture_close(&f);
}

/* A device that there is no code for is known as one that cannot be used, before anything is tried on it. */
static void devices_that_are_too_old(void **state) {
    (void)state;
    dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    emulation_capability(70);
    assert_int_equal(plugin->query_backend(1, &info, NULL), DUKD_OK);
    assert_int_equal(info.usable, 0);
    assert_non_null(strstr(info.detail, "device 0 has compute capability 7.0, and the plugin needs 7.5"));
    fixture f;
    start(&f);
    assert_int_equal(fixture_open(&f, OPTIONS("backend=cuda")), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "compute capability 7.0");
    fixture_close(&f);
    emulation_capability(75);
    start(&f);
    fixture_must_open(&f, OPTIONS("backend=cuda"));
    fixture_close(&f);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thread_without_a_context_gets_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contexts_that_are_not_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(captures_of_others_go_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_are_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_forked_child_calls_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams_that_cannot_be_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(devices_that_are_too_old, set_up, tear_down),
    };
    plugin = cuda_open_plugin(argc, argv);
    return cmocka_run_group_tests_name("cuda_beside", tests, NULL, NULL);
}
