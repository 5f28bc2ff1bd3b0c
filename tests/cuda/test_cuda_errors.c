/* What can go wrong on the way to a device: each has its own message, nothing leaks, and the caller's device stays current.
 * The emulated device alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    CUDA_OK(cudaSetDevice(0));
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cuda_fixture_device(&device, stream);
    device.around = watch;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    emulation_fail_named(NULL, 0);
    (void)emulation_disarm();
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

/* ---------------------------------------------------------------- what the machine lacks */

static void query_says(const char *expected) {
    dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    assert_int_equal(plugin->query_backend(1, &info, NULL), DUKD_OK);
    assert_string_equal(info.name, "cuda");
    assert_int_equal(info.device_type, DUKD_DEVICE_CUDA);
    if (strstr(info.detail, expected) == NULL) fail_msg("\"%s\" is not in \"%s\"", expected, info.detail);
}

static void session_says(const char *option, int32_t code, const char *expected) {
    fixture f;
    start(&f);
    assert_int_equal(fixture_open(&f, OPTIONS(option)), code);
    EXPECT_MESSAGE(&f, expected);
    fixture_close(&f);
}

static void says_once(const fixture *f, const char *expected) {
    const char *first = strstr(f->log, expected);
    if (first == NULL) fail_msg("\"%s\" is not in the log: %s", expected, f->log);
    assert_null(strstr(first + 1, "backend = "));
}

static void each_lack_has_its_message(void **state) {
    (void)state;
    query_says("2 devices; device 0: emulated device 0, compute capability 8.0, driver for CUDA 13.0");
    static const struct {
        int32_t devices, driver;
        const char *expected;
    } lacks[] = {{2, 0, "there is no NVIDIA driver"},
                 {2, 12020, "driver is too old: it is for CUDA 12.2"},
                 {0, 13000, "no CUDA device"}};
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++) {
        emulation_machine(lacks[i].devices, lacks[i].driver);
        query_says(lacks[i].expected);
        session_says("backend=cuda", DUKD_E_UNSUPPORTED, lacks[i].expected);
        session_says("backend=auto", DUKD_E_UNSUPPORTED, lacks[i].expected);
        fixture f; /* and on the CPU auto works all the same */
        fixture_init(&f);
        f.plugin = plugin;
        fixture_must_open(&f, OPTIONS("backend=auto"));
        says_once(&f, "backend = cpu (auto: the tensors are in CPU memory)");
        fixture_close(&f);
        fixture_init(&f);
        f.plugin = plugin;
        assert_int_equal(fixture_open(&f, OPTIONS("backend=cuda")), DUKD_E_UNSUPPORTED);
        EXPECT_MESSAGE(&f, "backend: cuda is asked for", lacks[i].expected);
        fixture_close(&f);
    }
    emulation_machine(2, 13000);
    session_says("backend=cpu", DUKD_E_UNSUPPORTED, "tensors are on a CUDA device");
    fixture f;
    fixture_init(&f);
    f.plugin = plugin;
    assert_int_equal(fixture_open(&f, OPTIONS("backend=cuda")), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "are in CPU memory");
    fixture_close(&f);
    device.id.device_id = 2;
    session_says("backend=auto", DUKD_E_ARGUMENT, "there is no CUDA device 2: there are 2");
    device.id.device_id = -1;
    session_says("backend=cuda", DUKD_E_ARGUMENT, "there is no CUDA device -1");
}

static void a_device_without_code_or_memory(void **state) {
    (void)state;
    emulation_arm(0, 0);
    emulation_fail_named("cudaFuncGetAttributes", cudaErrorNoKernelImageForDevice);
    session_says("backend=cuda", DUKD_E_UNSUPPORTED, "no code for this device");
    emulation_fail_named("cudaMalloc", cudaErrorMemoryAllocation);
    session_says("backend=cuda", DUKD_E_MEMORY, "memory");
    emulation_fail_named("cudaGetDeviceCount", cudaErrorUnknown);
    session_says("backend=cuda", DUKD_E_BACKEND, "counting devices failed");
    emulation_fail_named(NULL, 0);
    fixture f;
    start(&f);
    fixture_must_open(&f, OPTIONS("backend=cuda"));
    says_once(&f, "backend = cuda\n");
    fixture_close(&f);
    start(&f);
    fixture_must_open(&f, OPTIONS("backend=auto"));
    says_once(&f, "backend = cuda (auto: the tensors are on a CUDA device)");
    fixture_close(&f);
}

/* Every allocation on the device fails once: each time a message that says what there is no memory for. */
static void memory_runs_out(void **state) {
    (void)state;
    const char *const *const options =
        OPTIONS("train.terms=[rec, kd, dukd, fakd, csd]", "train.zoom_in=hardest", "train.fakd.layers=[1]",
                "train.csd.layers=[a]", "train.csd.layer_weights=[1]");
    static const char *const parts[] = {"choices of a batch", "workspaces need", "losses of 1 micro-batches",
                                        "the negatives", "zoom"};
    uint32_t seen = 0;
    bool done = false;
    for (int64_t left = 0; !done; left++) {
        fixture f;
        start(&f);
        f.own_memory = true; /* the host's allocations are the device's and the CPU's */
        f.allocations_left = left;
        const int32_t status = fixture_open(&f, options);
        done = status == DUKD_OK;
        if (!done) {
            assert_int_equal(status, DUKD_E_MEMORY);
            EXPECT_MESSAGE(&f, "memory");
            for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                const bool named = strstr(f.error.message, parts[i]) != NULL;
                if (named && strstr(f.error.message, "device") != NULL) seen |= 1u << i;
            }
        }
        fixture_close(&f);
        assert_int_equal(emulation_alive(), 1); /* the stream */
    }
    assert_int_equal(seen, (1u << sizeof parts / sizeof *parts) - 1);
}

/* ---------------------------------------------------------------- every call fails once */

/* A short run as a host would make it, which stops at the first error and then gives the step up. 0, or the error. */
static int32_t short_run(fixture *f, const char *const *options) {
    const dukd_pass *pass = NULL;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    int32_t status = fixture_open(f, options);
    bool open = false;
    for (int i = 1; i <= 2 && status == DUKD_OK; i++) {
        fixture_batch(f, 10 * i);
        status = fixture_begin(f, i, 10 * i, 0);
        open = true;
        while (status == DUKD_OK) {
            status = plugin->next_pass(f->session, &pass, &f->error);
            if (status == DUKD_STEP_DONE) break;
            assert_int_equal(status, DUKD_OK);
            status = fixture_submit(f, pass);
        }
        if (status < 0) break;
        status = plugin->end_step(f->session, &f->error);
        assert_int_equal(status, DUKD_OK);
        open = false;
        watch(1);
        status = plugin->read_losses(f->session, &losses, &f->error);
        watch(0);
    }
    if (open && f->session != NULL) (void)plugin->cancel_step(f->session, NULL);
    return status;
}

static void every_call_may_fail(void **state) {
    (void)state;
    const char *const *const all[] = {OPTIONS("train.zoom_in=hardest"), OPTIONS("train.augment.rot90=0.5"),
                                      OPTIONS("train.terms=[rec, kd, fakd, csd]", "train.fakd.layers=[1]",
                                              "train.csd.layers=[a]", "train.csd.layer_weights=[1]")};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        int64_t calls = 1;
        for (int64_t at = 0; at <= calls; at++) {
            fixture f;
            int current = -1;
            start(&f);
            CUDA_OK(cudaSetDevice(1)); /* the session's is 0: it must be put back */
            CUDA_OK(cudaSetDevice(0));
            emulation_arm(at, cudaErrorLaunchFailure);
            const int32_t status = short_run(&f, all[k]);
            char message[256];
            snprintf(message, sizeof message, "%s", f.error.message);
            const char *const failed = emulation_failed_call();
            fixture_close(&f);
            const int64_t made = emulation_disarm();
            if (at == 0) {
                if (status != DUKD_OK) fail_msg("%s", message);
                calls = made;
                assert_true(calls > 50);
            } else if (strcmp(failed, "cudaFree") != 0 && strcmp(failed, "") != 0 && status == DUKD_OK) {
                /* what destroy_session calls has nobody to tell, and some questions need no answer */
                if (strcmp(failed, "cudaGetDevice") != 0 && strcmp(failed, "cudaRuntimeGetVersion") != 0 &&
                    strcmp(failed, "cudaGetDriverEntryPointByVersion") != 0 &&
                    strcmp(failed, "cudaThreadExchangeStreamCaptureMode") != 0) {
                    fail_msg("call %d of %d, %s, failed, and nobody said so", (int)at, (int)calls, failed);
                }
            } else if (status < 0) {
                assert_true(status == DUKD_E_BACKEND || status == DUKD_E_MEMORY ||
                            status == DUKD_E_UNSUPPORTED);
                assert_true(strlen(message) > 10);
            }
            CUDA_OK(cudaGetDevice(&current));
            assert_int_equal(current, 0);
            enum cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
            CUDA_OK(cudaThreadExchangeStreamCaptureMode(&mode));
            if (strcmp(failed, "cudaThreadExchangeStreamCaptureMode") !=
                0) /* it may have been the way back */
                assert_int_equal(mode, cudaStreamCaptureModeGlobal);
            assert_int_equal(emulation_alive(), 1); /* the stream */
        }
    }
}

/* ---------------------------------------------------------------- tensors and streams that are not the session's */

static void the_callers_device_stays_current(void **state) {
    (void)state;
    fixture f;
    int current = -1;
    start(&f);
    fixture_must_open(&f, NULL);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    const dukd_pass *pass;
    CUDA_OK(cudaSetDevice(1));
    assert_int_equal(plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
    CUDA_OK(cudaGetDevice(&current));
    assert_int_equal(current, 1);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = 1,
                            .micro_count = 1,
                            .lr = &f.lr.there,
                            .hr = &f.hr.there,
                            .stream = stream};
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    CUDA_OK(cudaGetDevice(&current));
    assert_int_equal(current, 1);
    plugin->destroy_session(f.session);
    f.session = NULL;
    CUDA_OK(cudaGetDevice(&current));
    assert_int_equal(current, 1);
    CUDA_OK(cudaSetDevice(0));
    fixture_close(&f);
}

static void what_is_not_the_devices_is_refused(void **state) {
    (void)state;
    fixture f;
    cudaStream_t elsewhere;
    void *other = NULL;
    start(&f);
    fixture_must_open(&f, NULL);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK); /* puts the batch on the device */
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    CUDA_OK(cudaSetDevice(1));
    CUDA_OK(cudaStreamCreateWithFlags(&elsewhere, cudaStreamNonBlocking));
    CUDA_OK(cudaMalloc(&other, f.hr.bytes));
    CUDA_OK(cudaSetDevice(0));
    dukd_tensor lr = f.lr.there, hr = f.hr.there;
    dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                      .iteration = 1,
                      .micro_count = 1,
                      .lr = &lr,
                      .hr = &hr,
                      .stream = stream};
    lr.data = f.lr.memory;
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "step->lr: says CUDA device 0, but its data are not memory of a device");
    lr = f.lr.there;
    hr.data = other;
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "step->hr: says CUDA device 0, but its data are on device 1");
    hr = f.hr.there;
    hr.device.device_id = 1;
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "step->hr: is on CUDA device 1, the session on CUDA device 0");
    hr = f.hr.there;
    step.stream = elsewhere;
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "stream belongs to CUDA device 1, the session to device 0");
    step.stream = stream; /* nothing has changed */
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    CUDA_OK(cudaFree(other));
    CUDA_OK(cudaStreamDestroy(elsewhere));
    fixture_close(&f);
}

/* A stream of another context is one that CUDA does not know in the current one; so is one that was destroyed. */
static void streams_of_elsewhere(void **state) {
    (void)state;
    fixture f;
    cudaStream_t gone;
    start(&f);
    fixture_must_open(&f, NULL);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK); /* puts the batch on the device */
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    CUDA_OK(cudaStreamCreateWithFlags(&gone, cudaStreamNonBlocking));
    CUDA_OK(cudaStreamDestroy(gone));
    dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                      .iteration = 1,
                      .micro_count = 1,
                      .lr = &f.lr.there,
                      .hr = &f.hr.there,
                      .stream = gone};
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "step: stream is not one of CUDA device 0 in this context");
    assert_int_equal(cudaGetLastError(), cudaSuccess); /* no error of a later call */
    static const cudaError_t foreign[] = {cudaErrorIncompatibleDriverContext, cudaErrorContextIsDestroyed};
    static const char *const calls[] = {"cudaStreamGetDevice", "cudaStreamIsCapturing"};
    step.stream = stream;
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 2; k++) {
            emulation_fail_named(calls[k], (int32_t)foreign[i]);
            watch(1);
            assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_ARGUMENT);
            watch(0);
            EXPECT_MESSAGE(&f, "step: stream is not one of CUDA device 0 in this context");
        }
    }
    /* what is found out only when something is launched */
    emulation_fail_named("launch", cudaErrorInvalidResourceHandle);
    watch(1);
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_BACKEND);
    watch(0);
    EXPECT_MESSAGE(&f, "writing the choices", "stream is gone, or of another device or context");
    emulation_fail_named(NULL, 0);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    fixture_close(&f);
}

/* A tap's value or gradient that is not the session's device's is refused by its name, and the step goes on. */
static void taps_of_elsewhere(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass;
    fixture_tensor tap;
    void *there[2], *other;
    start(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[rec]"));
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    assert_int_equal(plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
    assert_int_equal(pass->n_taps, 1);
    fixture_tensor_make(&tap, f.hr.shape, fixture_f32, LAYOUT_DENSE);
    for (int i = 0; i < 2; i++) there[i] = device.take(tap.bytes);
    device.up(stream, there[0], f.hr.memory, tap.bytes);
    CUDA_OK(cudaSetDevice(1));
    CUDA_OK(cudaMalloc(&other, tap.bytes));
    CUDA_OK(cudaSetDevice(0));
    void *const wrong[] = {tap.memory, other};
    static const char *const where[] = {"but its data are not memory of a device",
                                        "but its data are on device 1"};
    for (int i = 0; i < 5; i++) { /* the value's and the gradient's mistakes, then none */
        dukd_tensor value = tap.tensor, grad = tap.tensor;
        value.device = grad.device = device.id;
        value.data = i < 2 ? wrong[i] : there[0];
        grad.data = i == 2 || i == 3 ? wrong[i - 2] : there[1];
        const dukd_tensor *const values[] = {&value}, *const grads[] = {&grad};
        const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                    .pass_id = pass->id,
                                    .n_taps = 1,
                                    .values = values,
                                    .grads = grads,
                                    .grad_scale = 1};
        const int32_t status = plugin->submit_pass(f.session, &submit, &f.error);
        if (i == 4) {
            assert_int_equal(status, DUKD_OK);
            continue;
        }
        assert_int_equal(status, DUKD_E_ARGUMENT);
        EXPECT_MESSAGE(&f,
                       i < 2 ? "submit: values[0] (pass 0, student)" : "submit: grads[0] (pass 0, student)",
                       where[i % 2]);
    }
    for (int i = 0; i < 2; i++) device.give_back(there[i]);
    CUDA_OK(cudaFree(other));
    fixture_tensor_free(&tap);
    fixture_close(&f);
}

static void a_scale_must_be_one_number_of_the_device(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass;
    start(&f);
    f.flags = DUKD_SESSION_LOSS_SCALE;
    fixture_must_open(&f, NULL);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    assert_int_equal(plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
    float here = 2;
    int64_t one[4] = {1, 1, 1, 1};
    dukd_tensor scale = {.data = device.take(sizeof here), .device = device.id, .dtype = fixture_f32};
    void *const there = scale.data;
    f.grad_scale_dev = &scale;
    scale.data = &here;
    assert_int_equal(fixture_submit(&f, pass), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "grad_scale_dev: says CUDA device 0, but its data are not memory of a device");
    scale.data = there;
    scale.ndim = 4;
    scale.shape = one;
    assert_int_equal(fixture_submit(&f, pass), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "grad_scale_dev has 4 dimensions of f32, expected one f32");
    scale.ndim = 0;
    scale.dtype = fixture_f16;
    assert_int_equal(fixture_submit(&f, pass), DUKD_E_ARGUMENT);
    scale.dtype = fixture_f32;
    scale.device.device_id = 1;
    assert_int_equal(fixture_submit(&f, pass), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "grad_scale_dev is on CUDA device 1, the session on CUDA device 0");
    scale.device.device_id = 0;
    device.up(stream, there, &here, sizeof here);
    assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
    device.give_back(there);
    fixture_close(&f);
}

/* ---------------------------------------------------------------- what a step costs */

static void a_step_allocates_nothing_and_waits_for_nothing(void **state) {
    (void)state;
    const struct {
        const char *const *options;
        int64_t begin, submit[3];
    } costs[] = {
        {OPTIONS("train.augment.rot90=0.5"), 3, {2, 2, 2}}, /* place, zoom out, zoom in; tiles, total */
        {OPTIONS("train.zoom_in=hardest"), 2, {2 + 2 + 1, 2, 2}},
        {OPTIONS("train.terms=[rec, kd]"), 1, {2, 0, 0}},
        /* three a layer of fakd; the negatives, and zeros for the teacher's gradient, three a layer of csd */
        {OPTIONS("train.terms=[rec, kd, fakd]", "train.fakd.layers=[1, 2]"), 1, {2 + 2 * 3, 0, 0}},
        {OPTIONS("train.terms=[rec, kd, csd]", "train.csd.layers=[a]", "train.csd.layer_weights=[1]",
                 "train.w_csd_teacher=0"),
         2,
         {2 + 3, 0, 0}},
    };
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        fixture f;
        const dukd_pass *pass;
        start(&f);
        fixture_must_open(&f, costs[i].options);
        for (int step = 1; step < 4; step++) {
            fixture_batch(&f, step);
            const dukd_step params = {.struct_size = DUKD_STEP_SIZE,
                                      .iteration = step,
                                      .micro_count = 1,
                                      .lr = &f.lr.there,
                                      .hr = &f.hr.there,
                                      .stream = stream};
            if (step == 1) { /* puts the batch on the device */
                assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
                assert_int_equal(plugin->cancel_step(f.session, NULL), DUKD_OK);
            }
            int64_t launches = emulation_launches(), waits = emulation_waits(),
                    bytes = emulation_bytes_allocated();
            assert_int_equal(plugin->begin_step(f.session, &params, &f.error), DUKD_OK);
            assert_int_equal(emulation_launches() - launches, costs[i].begin);
            assert_int_equal(emulation_waits(), waits);
            assert_int_equal(emulation_bytes_allocated(), bytes);
            for (int p = 0; plugin->next_pass(f.session, &pass, &f.error) == DUKD_OK; p++) {
                int64_t of_submit[3];
                enum { MOST = 16 };
                fixture_tensor value[MOST];
                const dukd_tensor *values[MOST], *grads[MOST] = {NULL};
                dukd_tensor there[2 * MOST];
                assert_true(pass->n_taps <= MOST);
                for (uint32_t t = 0; t < pass->n_taps; t++) {
                    const dukd_tap *tap = pass->taps[t];
                    const int64_t *in = tap->source_kind == DUKD_SOURCE_TAP
                                            ? value[tap->source_id].shape
                                            : pass->inputs[tap->source_id]->tensor->shape;
                    int64_t shape[4];
                    assert_int_equal(f.host.tap_shape(f.host.ctx, tap, in, shape, NULL), 0);
                    fixture_tensor_make(&value[t], shape, fixture_f32, LAYOUT_DENSE);
                    for (int k = 0; k < 2; k++) {
                        there[2 * t + (uint32_t)k] = value[t].tensor;
                        there[2 * t + (uint32_t)k].data = device.take(value[t].bytes);
                        there[2 * t + (uint32_t)k].device = device.id;
                    }
                    device.up(stream, there[2 * t].data, value[t].memory, value[t].bytes);
                    values[t] = &there[2 * t];
                    if ((pass->taps[t]->flags & DUKD_TAP_WANT_GRAD) != 0) grads[t] = &there[2 * t + 1];
                }
                const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                            .pass_id = pass->id,
                                            .n_taps = pass->n_taps,
                                            .values = values,
                                            .grads = grads,
                                            .grad_scale = 1};
                launches = emulation_launches();
                waits = emulation_waits();
                bytes = emulation_bytes_allocated();
                assert_int_equal(plugin->submit_pass(f.session, &submit, &f.error), DUKD_OK);
                of_submit[p] = emulation_launches() - launches;
                assert_int_equal(of_submit[p], costs[i].submit[p]);
                assert_int_equal(emulation_waits(), waits);
                assert_int_equal(emulation_bytes_allocated(), bytes);
                for (uint32_t t = 0; t < pass->n_taps; t++) {
                    device.give_back(there[2 * t].data);
                    device.give_back(there[2 * t + 1].data);
                    fixture_tensor_free(&value[t]);
                }
            }
            launches = emulation_launches();
            waits = emulation_waits();
            assert_int_equal(plugin->end_step(f.session, &f.error), DUKD_OK);
            assert_int_equal(emulation_launches(), launches);
            assert_int_equal(emulation_waits(), waits);
        }
        fixture_close(&f);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_lack_has_its_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_device_without_code_or_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_runs_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams_of_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(taps_of_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_call_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_callers_device_stays_current, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_the_devices_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_scale_must_be_one_number_of_the_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_step_allocates_nothing_and_waits_for_nothing, set_up, tear_down),
    };
    plugin = cuda_open_plugin(argc, argv);
    return cmocka_run_group_tests_name("cuda_errors", tests, NULL, NULL);
}
