/* An engine with memory of its own for the tests: oneDNN's, whose callers' arrays lie in device_memory.h. It is opened as the CUDA engine
 * is, by its module's entry (engine/cuda/gpu_module.h), so that every command of dukd-host can be run with it. It checks that arrays are
 * in the memory that arrays.h says. */
#include <stdlib.h>
#include <string.h>

#include "device_memory.h"
#include "engine/cuda/gpu_module.h"

#define THERE(p) device_require(device_has(p), "an array of the engine's is the processor's: " #p)
#define HERE(p)  device_require(!device_has(p), "an array of the processor's is the engine's: " #p)

typedef struct {
    void *real; /* oneDNN's */
} device_engine;

static const dukd_backend *const real = &dukd_backend_onednn;

/* ---------------------------------------------------------------- arrays */

static int array_alloc(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    (void)engine;
    *out = device_alloc((size_t)bytes);
    return *out ? DUKD_DONE : dukd_fail_memory(f, what, (unsigned long long)bytes);
}

static void array_release(void *engine, void *p) {
    (void)engine;
    device_release(p);
}

static int move(void *to, const void *from, int64_t bytes) {
    device_open();
    if (bytes) memcpy(to, from, (size_t)bytes);
    device_close();
    return DUKD_DONE;
}

static int array_upload(void *engine, void *to, const void *from_host, int64_t bytes, dukd_failure *f) {
    (void)engine;
    (void)f;
    THERE(to);
    HERE(from_host);
    return move(to, from_host, bytes);
}

static int array_download(void *engine, void *to_host, const void *from, int64_t bytes, dukd_failure *f) {
    (void)engine;
    (void)f;
    HERE(to_host);
    THERE(from);
    return move(to_host, from, bytes);
}

static int array_copy(void *engine, void *to, const void *from, int64_t bytes, dukd_failure *f) {
    (void)engine;
    (void)f;
    THERE(to);
    THERE(from);
    return move(to, from, bytes);
}

/* The processor's arithmetic, with the pages open. */
#define OPENED(call)                                                                                         \
    device_open();                                                                                           \
    const int status = dukd_arrays_host.call;                                                                \
    device_close();                                                                                          \
    return status

static int array_clear(void *engine, void *p, int64_t bytes, dukd_failure *f) {
    THERE(p);
    OPENED(clear(engine, p, bytes, f));
}

static int array_wait(void *engine, dukd_failure *f) {
    (void)engine;
    (void)f;
    return DUKD_DONE;
}

static int array_add(void *engine, float *to, const float *from, int64_t count, dukd_failure *f) {
    THERE(to);
    THERE(from);
    OPENED(add(engine, to, from, count, f));
}

static int array_scale(void *engine, float *x, float factor, int64_t count, dukd_failure *f) {
    THERE(x);
    OPENED(scale(engine, x, factor, count, f));
}

static int array_note_nonfinite(void *engine, const float *x, int64_t count, int32_t *flag, dukd_failure *f) {
    THERE(x);
    THERE(flag);
    OPENED(note_nonfinite(engine, x, count, flag, f));
}

static int array_gather(void *engine, float *out, const float *x, const int64_t shape[4],
                        const int64_t strides[4], dukd_failure *f) {
    THERE(out);
    THERE(x);
    HERE(shape);
    OPENED(gather(engine, out, x, shape, strides, f));
}

static int array_scatter_add(void *engine, float *to, const float *x, const int64_t shape[4],
                             const int64_t strides[4], dukd_failure *f) {
    THERE(to);
    THERE(x);
    HERE(shape);
    OPENED(scatter_add(engine, to, x, shape, strides, f));
}

static void check_step(const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                       const float *w) {
    THERE(s);
    if (broken) THERE(broken);
    THERE(g);
    THERE(w);
}

static int array_adam(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                      float *m, float *v, float *w, int64_t count, dukd_failure *f) {
    check_step(s, broken, g, w);
    THERE(m);
    THERE(v);
    OPENED(adam(engine, s, broken, g, m, v, w, count, f));
}

static int array_descend(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                         float *w, int64_t count, dukd_failure *f) {
    check_step(s, broken, g, w);
    OPENED(descend(engine, s, broken, g, w, count, f));
}

static int array_average(void *engine, const int32_t *broken, float *ema, const float *w, float keep,
                         float take, int64_t count, dukd_failure *f) {
    if (broken) THERE(broken);
    THERE(ema);
    THERE(w);
    OPENED(average(engine, broken, ema, w, keep, take, count, f));
}

static const dukd_array_ops arrays = {
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

/* ---------------------------------------------------------------- engine, networks, runs */

static int engine_create(void **out, const dukd_engine_options *options, dukd_engine_info *info,
                         dukd_engine_place *place, dukd_failure *f) {
    dukd_engine_place processor = {.on_host = 1, .device_type = 1};
    device_engine *e = calloc(1, sizeof *e);
    if (!e) return dukd_fail_memory(f, "an engine", sizeof *e);
    const int status = real->engine_create(&e->real, options, info, &processor, f);
    if (status) {
        free(e);
        return status;
    }
    /* The plugin computes on the processor, in this memory (device_plugin.c). */
    *place = (dukd_engine_place){.on_host = 0, .device_type = 1};
    *out = e;
    return DUKD_DONE;
}

static void engine_destroy(void *engine) {
    device_engine *e = engine;
    if (!e) return;
    real->engine_destroy(e->real);
    free(e);
}

static void engine_memory(const void *engine, int64_t *now, int64_t *peak) {
    const device_engine *e = engine;
    real->engine_memory(e->real, now, peak);
    *now += (int64_t)device_held();
    *peak += (int64_t)device_held();
}

static void engine_set_clock(void *engine, double (*now)(void)) {
    const device_engine *e = engine;
    real->engine_set_clock(e->real, now);
}

static int32_t engine_times(void *engine, dukd_engine_time *out, int32_t room) {
    const device_engine *e = engine;
    return real->engine_times(e->real, out, room);
}

static int network_create(void **out, void *engine, const dukd_graph *g, dukd_precision precision,
                          dukd_failure *f) {
    const device_engine *e = engine;
    return real->network_create(out, e->real, g, precision, f);
}

static void network_destroy(void *network) {
    real->network_destroy(network);
}

static int network_set_weights(void *network, const float *weights, dukd_failure *f) {
    THERE(weights);
    device_open();
    const int status = real->network_set_weights(network, weights, f);
    device_close();
    return status;
}

static int exec_create(void **out, void *network, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    device_open(); /* it may pack weights */
    const int status = real->exec_create(out, network, spec, drops, f);
    device_close();
    return status;
}

static void exec_destroy(void *exec) {
    real->exec_destroy(exec);
}

static int exec_forward(void *exec, int32_t images, const float *input, float *const *outputs,
                        const float *factors, dukd_failure *f) {
    THERE(input);
    THERE(outputs[0]);
    HERE(outputs);
    if (factors) THERE(factors);
    device_open();
    const int status = real->exec_forward(exec, images, input, outputs, factors, f);
    device_close();
    return status;
}

static int exec_backward(void *exec, const float *const *d_outputs, float *d_weights, float *d_input,
                         const dukd_gradient_listener *listener, dukd_failure *f) {
    HERE(d_outputs);
    if (d_weights) THERE(d_weights);
    if (d_input) THERE(d_input);
    device_open();
    const int status = real->exec_backward(exec, d_outputs, d_weights, d_input, listener, f);
    device_close();
    return status;
}

static dukd_backend backend = {
    .name = "device",
    .arrays = &arrays,
    .engine_create = engine_create,
    .engine_destroy = engine_destroy,
    .engine_memory = engine_memory,
    .engine_set_clock = engine_set_clock,
    .engine_times = engine_times,
    .network_create = network_create,
    .network_destroy = network_destroy,
    .network_set_weights = network_set_weights,
    .exec_create = exec_create,
    .exec_destroy = exec_destroy,
    .exec_forward = exec_forward,
    .exec_backward = exec_backward,
};

const dukd_gpu_module_table *dukd_gpu_module(void) {
    backend.announces = real->announces;
    static const dukd_gpu_module_table table = {
        .struct_size = sizeof table,
        .sizes = DUKD_GPU_SIZES,
        .version = DUKD_VERSION,
        .backend = &backend,
    };
    return &table;
}
