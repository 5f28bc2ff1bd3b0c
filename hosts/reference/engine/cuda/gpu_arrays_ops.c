/* Arrays in the device's memory (arrays.h): the gpu_array_* kernels, copies, and the pool of gpu_memory.c. */
#include <cuda_runtime_api.h>

#include "engine/cuda/gpu_state.h"

/* A call of the runtime, or a launch, on the engine's device. */
#define ENQUEUE(what, call)                                                                                  \
    const gpu_engine *e = engine;                                                                            \
    int status = gpu_enter(e, f);                                                                            \
    if (status != DUKD_DONE) return status;                                                                  \
    status = gpu_check((int)(call), what, f);                                                                \
    return status

static int array_clear(void *engine, void *p, int64_t bytes, dukd_failure *f) {
    if (bytes <= 0) return DUKD_DONE;
    ENQUEUE("clearing an array", cudaMemsetAsync(p, 0, (size_t)bytes, e->stream));
}

static int array_alloc(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    gpu_engine *e = engine;
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    status = gpu_array_take(e, bytes, what, out, f);
    if (status != DUKD_DONE) return status;
    status = array_clear(e, *out, bytes, f);
    if (status == DUKD_DONE) return DUKD_DONE;
    gpu_array_give(e, *out);
    *out = NULL;
    return status;
}

static void array_release(void *engine, void *p) {
    gpu_array_give(engine, p);
}

static int array_upload(void *engine, void *to, const void *from_host, int64_t bytes, dukd_failure *f) {
    gpu_engine *e = engine;
    if (bytes <= 0) return DUKD_DONE;
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    return gpu_upload(e, to, from_host, bytes, f);
}

static int array_download(void *engine, void *to_host, const void *from, int64_t bytes, dukd_failure *f) {
    const gpu_engine *e = engine;
    if (bytes <= 0) return DUKD_DONE;
    if (e->recording) return dukd_fail(f, DUKD_FAILED, "an array is downloaded inside of a recorded step");
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    status = gpu_check((int)cudaMemcpyAsync(to_host, from, (size_t)bytes, cudaMemcpyDeviceToHost, e->stream),
                       "downloading", f);
    /* Waits in any case: the copy may be under way into the caller's memory. */
    const int waited = gpu_check((int)cudaStreamSynchronize(e->stream), "waiting for a download", f);
    return status != DUKD_DONE ? status : waited;
}

static int array_copy(void *engine, void *to, const void *from, int64_t bytes, dukd_failure *f) {
    if (bytes <= 0) return DUKD_DONE;
    ENQUEUE("copying an array",
            cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, e->stream));
}

static int array_wait(void *engine, dukd_failure *f) {
    if (((const gpu_engine *)engine)->recording)
        return dukd_fail(f, DUKD_FAILED, "somebody waits inside of a recorded step");
    ENQUEUE("what was asked of the device", cudaStreamSynchronize(e->stream));
}

static int array_add(void *engine, float *to, const float *from, int64_t count, dukd_failure *f) {
    ENQUEUE("adding arrays", gpu_array_add(e->stream, to, from, count));
}

static int array_scale(void *engine, float *x, float factor, int64_t count, dukd_failure *f) {
    ENQUEUE("scaling an array", gpu_array_scale(e->stream, x, factor, count));
}

static int array_note_nonfinite(void *engine, const float *x, int64_t count, int32_t *flag, dukd_failure *f) {
    ENQUEUE("looking for numbers that are not finite", gpu_array_note_nonfinite(e->stream, x, count, flag));
}

static int array_gather(void *engine, float *out, const float *x, const int64_t shape[4],
                        const int64_t strides[4], dukd_failure *f) {
    ENQUEUE("gathering a tensor", gpu_array_gather(e->stream, out, x, shape, strides));
}

static int array_scatter_add(void *engine, float *to, const float *x, const int64_t shape[4],
                             const int64_t strides[4], dukd_failure *f) {
    ENQUEUE("adding to a tensor", gpu_array_scatter_add(e->stream, to, x, shape, strides));
}

static int array_adam(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                      float *m, float *v, float *w, int64_t count, dukd_failure *f) {
    ENQUEUE("a step of Adam", gpu_array_adam(e->stream, s, broken, g, m, v, w, count));
}

static int array_descend(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                         float *w, int64_t count, dukd_failure *f) {
    ENQUEUE("a step of descent", gpu_array_descend(e->stream, s, broken, g, w, count));
}

static int array_average(void *engine, const int32_t *broken, float *ema, const float *w, float keep,
                         float take, int64_t count, dukd_failure *f) {
    ENQUEUE("averaging weights", gpu_array_average(e->stream, broken, ema, w, keep, take, count));
}

const dukd_array_ops gpu_array_ops = {
    .alloc = array_alloc,
    .release = array_release,
    .upload = array_upload,
    .download = array_download,
    .copy = array_copy,
    .clear = array_clear,
    .wait = array_wait,
    .add = array_add,
    .scale = array_scale,
    .note_nonfinite = array_note_nonfinite,
    .gather = array_gather,
    .scatter_add = array_scatter_add,
    .adam = array_adam,
    .descend = array_descend,
    .average = array_average,
};
