/* The plugin's CUDA backend through the ABI: the hook of a DUKD step, and loss with gradient of each of its passes. Bytes are those that
 * must move: of an output once, of each target once, of a gradient once. Each pass has memory of its own, and steps take sets of it in turn,
 * several times the L2 in all; they are enqueued while the device is busy with copies, so that their times have nothing of the host's. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plugin_load.h"
#include "engine/bench/bench_clock.h"
#include "engine/bench/bench_gpu.h"

enum { SCALE = 4, CHANNELS = 3, MOST_TAPS = 8, MOST_TENSORS = 32, MOST_STEPS = 48 };

/* What a step is given: a batch, then values and gradients in the order in which passes want them. */
typedef struct {
    void *lr, *hr, *tensors[MOST_TENSORS];
} set;

typedef struct {
    const dukd_plugin *plugin;
    dukd_session *session;
    void *stream;
    int64_t lr_shape[4], hr_shape[4];
    set sets[MOST_STEPS], *now;
    int32_t count, used; /* sets; tensors of this step so far */
    cudaEvent_t events[2 * MOST_STEPS + 1];
    int64_t iteration;
    double bytes; /* of the passes of a step */
    dukd_error error;
} bench;

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)ctx, (void)tap, (void)why;
    memcpy(out, (int64_t[4]){in[0], in[1], in[2] * SCALE, in[3] * SCALE}, 4 * sizeof *out);
    return 0;
}

static int fail(bench *b, const char *call, int32_t code, dukd_failure *f) {
    return dukd_fail_plugin(f, call, code, &b->error);
}

static dukd_tensor on_device(void *data, int64_t *shape) {
    return (dukd_tensor){.data = data,
                         .device = {DUKD_DEVICE_CUDA, 0},
                         .ndim = 4,
                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                         .shape = shape};
}

static int open_session(bench *b, const dukd_bench_gpu *g, dukd_failure *f) {
    static const char *const networks[] = {"student", "teacher"};
    static const dukd_host host = {.struct_size = DUKD_HOST_SIZE,
                                   .n_networks = 2,
                                   .caps = DUKD_CAP_MODE_TRAIN | DUKD_CAP_TWO_STEPS,
                                   .networks = networks,
                                   .tap_shape = tap_shape};
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &host,
                                        .micro_count = 1,
                                        .seed = 1,
                                        .lr_shape = {g->batch, CHANNELS, g->side, g->side},
                                        .scale = SCALE,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {DUKD_DEVICE_CUDA, 0}};
    memcpy(b->lr_shape, params.lr_shape, sizeof b->lr_shape);
    tap_shape(NULL, NULL, b->lr_shape, b->hr_shape, NULL);
    const int32_t code = b->plugin->create_session(&params, &b->session, &b->error);
    return code ? fail(b, "create_session", code, f) : DUKD_DONE;
}

static int64_t bytes_of(const int64_t shape[4]) {
    return shape[0] * shape[1] * shape[2] * shape[3] * 4;
}

/* The next tensor of the step's set; taken at its first step. */
static int next_tensor(bench *b, int64_t bytes, void **out, dukd_failure *f) {
    if (b->used == MOST_TENSORS)
        return dukd_fail(f, DUKD_FAILED, "a step of more than %d tensors", MOST_TENSORS);
    void **at = &b->now->tensors[b->used++];
    const int status = *at ? DUKD_DONE : dukd_bench_gpu_alloc(at, bytes, f);
    b->bytes += (double)bytes;
    *out = *at;
    return status;
}

/* Each pass: an output, with its targets (HR or nothing, and the teacher's), and a gradient. */
static int submit(bench *b, const dukd_pass *pass, dukd_failure *f) {
    dukd_tensor value[MOST_TAPS], grad[MOST_TAPS];
    int64_t shape[MOST_TAPS][4];
    const dukd_tensor *values[MOST_TAPS], *grads[MOST_TAPS];
    if (pass->n_taps > MOST_TAPS) return dukd_fail(f, DUKD_FAILED, "a pass of more than %d taps", MOST_TAPS);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        void *data = NULL;
        tap_shape(NULL, NULL, pass->inputs[pass->taps[i]->source_id]->tensor->shape, shape[i], NULL);
        int status = next_tensor(b, bytes_of(shape[i]), &data, f);
        value[i] = on_device(data, shape[i]);
        values[i] = &value[i];
        grads[i] = NULL;
        if (!status && pass->taps[i]->flags & DUKD_TAP_WANT_GRAD) {
            status = next_tensor(b, bytes_of(shape[i]), &data, f);
            grad[i] = on_device(data, shape[i]);
            grads[i] = &grad[i];
        }
        if (status) return status;
    }
    const dukd_submit message = {.struct_size = DUKD_SUBMIT_SIZE,
                                 .pass_id = pass->id,
                                 .n_taps = pass->n_taps,
                                 .values = values,
                                 .grads = grads,
                                 .grad_scale = 1};
    const int32_t code = b->plugin->submit_pass(b->session, &message, &b->error);
    return code ? fail(b, "submit_pass", code, f) : DUKD_DONE;
}

static int record(const bench *b, int32_t event, dukd_failure *f) {
    return dukd_bench_gpu_check(cudaEventRecord(b->events[event], b->stream), "cudaEventRecord", f);
}

/* Enqueues a step with set number k; event 2 k + 1 is between its hook and its passes, 2 k + 2 behind it. */
static int step(bench *b, int32_t k, dukd_failure *f) {
    b->now = &b->sets[k];
    const dukd_tensor lr = on_device(b->now->lr, b->lr_shape), hr = on_device(b->now->hr, b->hr_shape);
    const dukd_step message = {.struct_size = DUKD_STEP_SIZE,
                               .iteration = ++b->iteration,
                               .first_sample = (b->iteration - 1) * b->lr_shape[0],
                               .micro_count = 1,
                               .lr = &lr,
                               .hr = &hr,
                               .stream = b->stream};
    const dukd_pass *pass;
    int32_t code = b->plugin->begin_step(b->session, &message, &b->error);
    int status = code ? fail(b, "begin_step", code, f) : record(b, 2 * k + 1, f);
    b->bytes = (double)bytes_of(b->hr_shape); /* the HR target */
    b->used = 0;
    while (!status && (code = b->plugin->next_pass(b->session, &pass, &b->error)) != DUKD_STEP_DONE)
        status = code == DUKD_OK ? submit(b, pass, f) : fail(b, "next_pass", code, f);
    if (!status && (code = b->plugin->end_step(b->session, &b->error))) status = fail(b, "end_step", code, f);
    return status ? status : record(b, 2 * k + 2, f);
}

static int steps(bench *b, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int32_t k = 0; k < b->count && !status; k++) status = step(b, k, f);
    return status;
}

static int wait(const bench *b, dukd_failure *f) {
    return dukd_bench_gpu_check(cudaStreamSynchronize(b->stream), "steps", f);
}

static int make_sets(bench *b, const dukd_bench_gpu *g, dukd_failure *f) {
    int status = DUKD_DONE;
    b->count = 1;
    for (int32_t k = 0; k < b->count && !status; k++) {
        status = dukd_bench_gpu_alloc(&b->sets[k].lr, bytes_of(b->lr_shape), f);
        if (!status) status = dukd_bench_gpu_alloc(&b->sets[k].hr, bytes_of(b->hr_shape), f);
        if (!status) status = step(b, k, f);
        if (k > 0 || status) continue;
        b->count = dukd_bench_gpu_sets(g, (int64_t)b->bytes, (int64_t)b->bytes + bytes_of(b->lr_shape));
        if (b->count > MOST_STEPS) b->count = MOST_STEPS;
    }
    return status ? status : wait(b, f);
}

/* A round of steps that brings caches to what they are in the middle of training, and one that is timed. Adds to the events' times. */
static int round_of_steps(bench *b, const dukd_bench_gpu *g, double busy, float took[2], dukd_failure *f) {
    int status = dukd_bench_gpu_occupy(g, busy, f);
    if (!status) status = steps(b, f);
    if (!status) status = record(b, 0, f);
    if (!status) status = steps(b, f);
    if (!status) status = wait(b, f);
    took[0] = took[1] = 0;
    for (int32_t i = 0; i < 2 * b->count && !status; i++) {
        float ms = 0;
        status = dukd_bench_gpu_check(cudaEventElapsedTime(&ms, b->events[i], b->events[i + 1]),
                                      "cudaEventElapsedTime", f);
        took[i % 2] += ms / (float)b->count;
    }
    return status;
}

static int measure(bench *b, const dukd_bench_gpu *g, float best[2], dukd_failure *f) {
    const double begin = dukd_bench_now();
    int status = steps(b, f); /* how long the host takes: the device is to be busy for longer than that */
    const double host = dukd_bench_now() - begin;
    if (!status) status = wait(b, f);
    best[0] = best[1] = 1e9f;
    for (int32_t r = 0; r < g->rounds && !status; r++) {
        float took[2];
        status = round_of_steps(b, g, 3 * host + 1e-3, took, f);
        for (int k = 0; k < 2; k++)
            if (took[k] < best[k]) best[k] = took[k];
    }
    return status;
}

static void give_back(bench *b) {
    if (b->session) b->plugin->destroy_session(b->session);
    for (int k = 0; k < MOST_STEPS; k++) {
        dukd_bench_gpu_free(b->sets[k].lr);
        dukd_bench_gpu_free(b->sets[k].hr);
        for (int i = 0; i < MOST_TENSORS; i++) dukd_bench_gpu_free(b->sets[k].tensors[i]);
    }
    for (size_t i = 0; i < sizeof b->events / sizeof *b->events; i++)
        if (b->events[i]) (void)cudaEventDestroy(b->events[i]);
}

int dukd_bench_gpu_plugin(const dukd_bench_gpu *g, const char *path, dukd_failure *f) {
    bench b = {.stream = g->stream, .error = {.struct_size = DUKD_ERROR_SIZE}};
    float best[2];
    dukd_library *library = NULL;
    int status = dukd_library_open(&library, path, f);
    if (!status) b.plugin = dukd_library_plugin(library);
    for (size_t i = 0; i < sizeof b.events / sizeof *b.events && !status; i++)
        status =
            dukd_bench_gpu_check(cudaEventCreateWithFlags(&b.events[i], cudaEventDefault), "an event", f);
    if (!status) status = open_session(&b, g, f);
    if (!status) status = make_sets(&b, g, f);
    if (!status) status = measure(&b, g, best, f);
    if (!status)
        printf("plugin, DUKD step of %d x 3 x %d^2, x%d, %d sets of operands: hook %.1f us; losses and "
               "gradients %.1f us, %.0f GB/s, %.1f %% of a copy (goal 85)\n",
               (int)g->batch, (int)(g->side * SCALE), SCALE, (int)b.count, 1e3 * (double)best[0],
               1e3 * (double)best[1], 1e-6 * b.bytes / (double)best[1],
               100 * b.bytes / (1e-3 * (double)best[1]) / g->bandwidth);
    give_back(&b);
    dukd_library_close(library);
    return status;
}
