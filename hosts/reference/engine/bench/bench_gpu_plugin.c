/* The plugin's CUDA backend through the ABI: the hook of a DUKD step, and loss with gradient of each of its passes. Bytes are those that
 * must move: of an output once, of each target once, of a gradient once. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plugin_load.h"
#include "engine/bench/bench_gpu.h"

enum { SCALE = 4, CHANNELS = 3, MOST_TAPS = 8 };

typedef struct {
    const dukd_plugin *plugin;
    dukd_session *session;
    void *stream;
    int64_t lr_shape[4], hr_shape[4];
    dukd_tensor lr, hr;
    void *values[MOST_TAPS], *gradients[MOST_TAPS];
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

static int make_tensors(bench *b, dukd_failure *f) {
    void *lr = NULL, *hr = NULL;
    int status = dukd_bench_gpu_alloc(&lr, bytes_of(b->lr_shape), f);
    if (!status) status = dukd_bench_gpu_alloc(&hr, bytes_of(b->hr_shape), f);
    b->lr = on_device(lr, b->lr_shape);
    b->hr = on_device(hr, b->hr_shape);
    for (int i = 0; i < MOST_TAPS && !status; i++) {
        status = dukd_bench_gpu_alloc(&b->values[i], bytes_of(b->hr_shape), f);
        if (!status) status = dukd_bench_gpu_alloc(&b->gradients[i], bytes_of(b->hr_shape), f);
    }
    return status;
}

/* Each pass: an output, with its targets (HR or nothing, and the teacher's), and a gradient. */
static int submit(bench *b, const dukd_pass *pass, dukd_failure *f) {
    dukd_tensor value[MOST_TAPS], grad[MOST_TAPS];
    int64_t shape[MOST_TAPS][4];
    const dukd_tensor *values[MOST_TAPS], *grads[MOST_TAPS];
    if (pass->n_taps > MOST_TAPS) return dukd_fail(f, DUKD_FAILED, "a pass of more than %d taps", MOST_TAPS);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        tap_shape(NULL, NULL, pass->inputs[pass->taps[i]->source_id]->tensor->shape, shape[i], NULL);
        const int wants = (pass->taps[i]->flags & DUKD_TAP_WANT_GRAD) != 0;
        value[i] = on_device(b->values[i], shape[i]);
        grad[i] = on_device(b->gradients[i], shape[i]);
        values[i] = &value[i];
        grads[i] = wants ? &grad[i] : NULL;
        b->bytes += (double)(1 + wants) * (double)bytes_of(shape[i]);
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

/* One step; *hook and *losses: milliseconds of its two halves. */
static int step(bench *b, const dukd_bench_gpu *g, void *middle, float *hook, float *losses,
                dukd_failure *f) {
    const dukd_step message = {.struct_size = DUKD_STEP_SIZE,
                               .iteration = ++b->iteration,
                               .first_sample = (b->iteration - 1) * b->lr_shape[0],
                               .micro_count = 1,
                               .lr = &b->lr,
                               .hr = &b->hr,
                               .stream = b->stream};
    const dukd_pass *pass;
    int32_t code;
    int status = dukd_bench_gpu_check(cudaEventRecord(g->begin, b->stream), "cudaEventRecord", f);
    if (!status && (code = b->plugin->begin_step(b->session, &message, &b->error)))
        status = fail(b, "begin_step", code, f);
    if (!status) status = dukd_bench_gpu_check(cudaEventRecord(middle, b->stream), "cudaEventRecord", f);
    b->bytes = (double)bytes_of(b->hr_shape); /* the HR target */
    while (!status && (code = b->plugin->next_pass(b->session, &pass, &b->error)) != DUKD_STEP_DONE)
        status = code == DUKD_OK ? submit(b, pass, f) : fail(b, "next_pass", code, f);
    if (!status) status = dukd_bench_gpu_check(cudaEventRecord(g->end, b->stream), "cudaEventRecord", f);
    if (!status && (code = b->plugin->end_step(b->session, &b->error))) status = fail(b, "end_step", code, f);
    if (!status) status = dukd_bench_gpu_check(cudaEventSynchronize(g->end), "a step", f);
    if (!status)
        status =
            dukd_bench_gpu_check(cudaEventElapsedTime(hook, g->begin, middle), "cudaEventElapsedTime", f);
    if (!status)
        status =
            dukd_bench_gpu_check(cudaEventElapsedTime(losses, middle, g->end), "cudaEventElapsedTime", f);
    return status;
}

int dukd_bench_gpu_plugin(const dukd_bench_gpu *g, const char *path, dukd_failure *f) {
    bench b = {.stream = g->stream, .error = {.struct_size = DUKD_ERROR_SIZE}};
    cudaEvent_t middle = NULL;
    float best[2] = {1e9f, 1e9f}, took[2];
    dukd_library *library = NULL;
    int status = dukd_library_open(&library, path, f);
    if (!status) b.plugin = dukd_library_plugin(library);
    if (!status) status = open_session(&b, g, f);
    if (!status) status = make_tensors(&b, f);
    if (!status)
        status = dukd_bench_gpu_check(cudaEventCreateWithFlags(&middle, cudaEventDefault), "an event", f);
    for (int32_t r = 0; r < g->rounds + 2 && !status; r++) {
        status = step(&b, g, middle, &took[0], &took[1], f);
        for (int k = 0; k < 2 && r >= 2; k++)
            if (took[k] < best[k]) best[k] = took[k];
    }
    if (!status)
        printf(
            "plugin, DUKD step of %d x 3 x %d^2, x%d: hook %.1f us; losses and gradients %.1f us, %.0f GB/s, "
            "%.1f %% of a copy (goal 85; larger batches leave the L2)\n",
            (int)g->batch, (int)(g->side * SCALE), SCALE, 1e3 * (double)best[0], 1e3 * (double)best[1],
            1e-6 * b.bytes / (double)best[1], 100 * b.bytes / (1e-3 * (double)best[1]) / g->bandwidth);
    if (b.session) b.plugin->destroy_session(b.session);
    for (int i = 0; i < MOST_TAPS; i++) {
        dukd_bench_gpu_free(b.values[i]);
        dukd_bench_gpu_free(b.gradients[i]);
    }
    dukd_bench_gpu_free(b.lr.data);
    dukd_bench_gpu_free(b.hr.data);
    if (middle) (void)cudaEventDestroy(middle);
    dukd_library_close(library);
    return status;
}
