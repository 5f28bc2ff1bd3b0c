/* The CUDA backend's table: engines, networks and programs are made and destroyed here; the rest is in the files that gpu_state.h
 * names. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/gpu_module.h"
#include "engine/cuda/gpu_state.h"

enum { OLDEST = 75, OLDEST_BF16 = 80 }; /* compute capability x 10 */

static void close_engine(gpu_engine *e) {
#ifdef DUKD_GPU_NCCL
    if (e->ranks) gpu_join_ops.close(e, 1); /* who has ended well has closed it */
#endif
    for (int32_t i = 0; i < e->conv_count; i++) gpu_conv_destroy(e->convs[i]);
    free(e->convs);
    free(e->conv_specs);
    gpu_block_free(e, &e->train);
    gpu_block_free(e, &e->infer);
    gpu_block_free(e, &e->scratch);
    gpu_block_free(e, &e->gradient);
    gpu_memory_close(e);
    gpu_libraries_close(e->libraries);
    if (e->copies && cudaStreamDestroy(e->copies) != cudaSuccess) (void)cudaGetLastError();
    if (e->stream && cudaStreamDestroy(e->stream) != cudaSuccess) (void)cudaGetLastError();
}

static void engine_destroy(void *engine) {
    gpu_engine *e = engine;
    if (!e) return;
    (void)gpu_enter(e, NULL);
    close_engine(e);
    free(e);
}

/* Compute capability and names; what is too old is told before a kernel fails. */
static int ask_device(gpu_engine *e, dukd_engine_info *info, dukd_engine_place *place, dukd_failure *f) {
    struct cudaDeviceProp properties;
    memset(&properties, 0, sizeof properties);
    cudaError_t status = cudaGetDeviceProperties(&properties, e->device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&e->major, cudaDevAttrComputeCapabilityMajor, e->device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&e->minor, cudaDevAttrComputeCapabilityMinor, e->device);
    if (status != cudaSuccess) return gpu_check((int)status, "asking for the device's properties", f);
    const int capability = 10 * e->major + e->minor;
    if (capability < OLDEST)
        return dukd_fail(
            f, DUKD_FAILED,
            "CUDA device %d, %.100s, has compute capability %d.%d: the CUDA engine needs %d.%d or later",
            e->device, properties.name, e->major, e->minor, OLDEST / 10, OLDEST % 10);
    (void)snprintf(info->instruction_set, sizeof info->instruction_set, "%.48s, sm_%d", properties.name,
                   capability);
    info->bf16 = capability >= OLDEST_BF16;
    for (size_t i = 0; i < sizeof properties.uuid.bytes; i++)
        snprintf(place->unique + 2 * i, sizeof place->unique - 2 * i, "%02x",
                 (unsigned char)properties.uuid.bytes[i]);
    return DUKD_DONE;
}

/* Whether the device has code for the kernels; and no launch has to load any. */
static int load_kernels(dukd_failure *f) {
    int (*const loads[])(void) = {gpu_load_elements,  gpu_load_exchange, gpu_load_weights, gpu_load_norm,
                                  gpu_load_attention, gpu_load_pool,     gpu_load_arrays};
    int status = DUKD_DONE;
    for (size_t i = 0; i < sizeof loads / sizeof *loads && status == DUKD_DONE; i++)
        status = gpu_check(loads[i](), "loading the kernels", f);
    return status;
}

static int open_engine(gpu_engine *e, dukd_engine_info *info, dukd_engine_place *place, dukd_failure *f) {
    int status = ask_device(e, info, place, f);
    if (status == DUKD_DONE) status = load_kernels(f);
    cudaStream_t stream = NULL;
    if (status == DUKD_DONE)
        status =
            gpu_check((int)cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream", f);
    e->stream = stream;
    if (status == DUKD_DONE) status = gpu_libraries_open(&e->libraries, e->stream, f);
    if (status == DUKD_DONE) gpu_libraries_text(e->libraries, info->library, sizeof info->library);
    return status;
}

/* On the device that was asked for, or the current one of the caller. */
static int engine_create(void **out, const dukd_engine_options *options, dukd_engine_info *info,
                         dukd_engine_place *place, dukd_failure *f) {
    int devices = 0;
    int status = gpu_look(&devices, f);
    if (status != DUKD_DONE) return status;
    gpu_engine *e = calloc(1, sizeof *e);
    if (!e) return dukd_fail_memory(f, "an engine", sizeof *e);
    e->tf32 = options->tf32;
    e->device = options->device;
    if (e->device < 0) {
        status = gpu_check((int)cudaGetDevice(&e->device), "asking for the current device", f);
        e->device = (int)(((int64_t)e->device + options->turn) % devices);
    }
    if (status == DUKD_DONE && e->device >= devices)
        status = dukd_fail(f, DUKD_MISUSED, "there is no CUDA device %d: there %s %d, counted from 0",
                           e->device, devices == 1 ? "is" : "are", devices);
    if (status == DUKD_DONE) status = gpu_enter(e, f);
    if (status != DUKD_DONE) {
        free(e);
        return status;
    }
    *place = (dukd_engine_place){.device_type = 2, .device_id = e->device}; /* 2: DLPack's CUDA */
    status = open_engine(e, info, place, f);
    if (status != DUKD_DONE) close_engine(e);
    if (status != DUKD_DONE) {
        free(e);
        return status;
    }
    place->stream = e->stream;
    *out = e;
    return DUKD_DONE;
}

static void engine_memory(const void *engine, int64_t *now, int64_t *peak) {
    const gpu_engine *e = engine;
    *now = e->memory.now;
    *peak = e->memory.peak;
}

static void engine_set_clock(void *engine, double (*now)(void)) {
    gpu_engine *e = engine;
    e->now = now;
}

static int32_t engine_times(void *engine, dukd_engine_time *out, int32_t room) {
    gpu_engine *e = engine;
    return dukd_step_times_take(&e->times, out, room);
}

static int network_create(void **out, void *engine, const dukd_graph *g, dukd_precision precision,
                          dukd_failure *f) {
    const gpu_engine *e = engine;
    if (precision == DUKD_BF16 && 10 * e->major + e->minor < OLDEST_BF16)
        return dukd_fail(
            f, DUKD_FAILED,
            "bf16 needs a CUDA device of compute capability %d.%d or later, this one has %d.%d: use f32 here",
            OLDEST_BF16 / 10, OLDEST_BF16 % 10, e->major, e->minor);
    gpu_network *n = calloc(1, sizeof *n);
    if (!n) return dukd_fail_memory(f, "a network", sizeof *n);
    n->engine = engine;
    n->graph = g;
    n->type = precision == DUKD_BF16 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32;
    *out = n;
    return DUKD_DONE;
}

static void network_destroy(void *network) {
    gpu_network *n = network;
    if (!n) return;
    (void)gpu_enter(n->engine, NULL);
    for (int32_t i = 0; i < n->memory_count; i++) gpu_block_free(n->engine, &n->memory[i]);
    free(n->memory);
    free(n->packed);
    free(n);
}

static int network_set_weights(void *network, const float *weights, dukd_failure *f) {
    gpu_network *n = network;
    (void)f; /* packing waits until a program needs it */
    n->weights = weights;
    n->version++;
    return DUKD_DONE;
}

static void exec_destroy(void *exec) {
    gpu_program *p = exec;
    if (!p) return;
    (void)gpu_enter(p->network->engine, NULL);
    gpu_block_free(p->network->engine, &p->on_device);
    if (p->network->engine->kept == p) p->network->engine->kept = NULL;
    dukd_plan_free(&p->plan);
    free(p->announcements);
    free(p->gradients);
    free(p->groups);
    free(p->step_gradients);
    free(p);
}

static int exec_create(void **out, void *network, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    gpu_network *n = network;
    int status = gpu_enter(n->engine, f);
    if (status != DUKD_DONE) return status;
    gpu_program *p = calloc(1, sizeof *p);
    if (!p) return dukd_fail_memory(f, "compiling a network", sizeof *p);
    p->network = n;
    status = gpu_plan(p, spec, drops, f);
    if (status == DUKD_DONE) status = gpu_place_program(p, f);
    if (status != DUKD_DONE) {
        n->packed_count = n->placed; /* nobody knows the others but the program that has failed */
        exec_destroy(p);
        return status;
    }
    *out = p;
    return DUKD_DONE;
}

static const dukd_backend backend = {
    .name = "cuda",
    .arrays = &gpu_array_ops,
    .transfers = &gpu_transfer_ops,
    .recording = &gpu_recording_ops,
#ifdef DUKD_GPU_NCCL
    .join = &gpu_join_ops,
#endif
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
    .exec_forward = gpu_forward,
    .exec_backward = gpu_backward,
    .announces = 1,
};

static const dukd_gpu_module_table table = {
    .struct_size = sizeof table,
    .sizes = DUKD_GPU_SIZES,
    .version = DUKD_VERSION,
    .backend = &backend,
};

const dukd_gpu_module_table *dukd_gpu_module(void) {
    return &table;
}
