/* See gpu_fixture.h. */
#include "gpu_fixture.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/fill.h"

#ifndef GPU_ON_DEVICE
#include "emulation.h"
#endif

static cudaStream_t the_stream;
static int64_t alive; /* allocations */

void gpu_ok(int status, const char *call, const char *file, int line) {
    if (status == 0) return;
    print_error("%s: %s\n", call, cudaGetErrorName((cudaError_t)status));
    _fail(file, line);
}

void gpu_open(int (*load_kernels)(void)) {
    int devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess || devices == 0) {
        printf("SKIP: no CUDA device can be used: %s\n",
               status == cudaSuccess ? "there is none" : cudaGetErrorName(status));
        exit(77);
    }
    if (cudaStreamCreateWithFlags(&the_stream, cudaStreamNonBlocking) != cudaSuccess) {
        fprintf(stderr, "the CUDA device cannot be used\n");
        exit(1);
    }
    const int loaded = load_kernels();
    if (loaded != 0) {
        fprintf(stderr, "the kernels cannot be loaded: %s\n", cudaGetErrorName((cudaError_t)loaded));
        exit(1);
    }
}

int gpu_close(int failed) {
    if (cudaStreamDestroy(the_stream) != cudaSuccess) {
        fprintf(stderr, "the stream cannot be destroyed\n");
        failed++;
    }
    if (failed == 0 && alive != 0) {
        fprintf(stderr, "%lld allocations were left behind\n", (long long)alive);
        failed++;
    }
#ifndef GPU_ON_DEVICE
    if (emulation_unloaded() != 0) {
        fprintf(stderr, "%lld launches of kernels that had not been loaded\n",
                (long long)emulation_unloaded());
        failed++;
    }
#endif
    return failed != 0;
}

void *gpu_stream(void) {
    return the_stream;
}

void gpu_wait(void) {
    GPU_OK(cudaStreamSynchronize(the_stream));
}

void *gpu_alloc(int64_t bytes) {
    void *p = NULL;
    if (bytes == 0) return NULL;
    GPU_OK(cudaMalloc(&p, (size_t)bytes));
#ifdef GPU_ON_DEVICE
    /* The emulation's memory has NaN by itself. initcheck takes what is filled for written (tools/sanitize). */
    if (!getenv("DUKD_TEST_RAW_MEMORY")) {
        GPU_OK(cudaMemsetAsync(p, 0xff, (size_t)bytes, the_stream));
        gpu_wait();
    }
#endif
    alive++;
    return p;
}

void gpu_free(void *p) {
    if (!p) return;
    GPU_OK(cudaFree(p));
    alive--;
}

void gpu_upload(void *to, const void *from, int64_t bytes) {
    if (bytes == 0) return;
    GPU_OK(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyHostToDevice, the_stream));
    gpu_wait();
}

void gpu_download(void *to, const void *from, int64_t bytes) {
    if (bytes == 0) return;
    GPU_OK(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToHost, the_stream));
    gpu_wait();
}

void gpu_check_failures(int (*call)(int64_t i, void *stream), int64_t count) {
#ifdef GPU_ON_DEVICE
    (void)call;
    (void)count;
    print_message("SKIP: launches are made to fail on the emulated device alone\n");
    skip();
#else
    for (int64_t i = 0; i < count; i++) {
        for (int64_t launch = 1;; launch++) {
            emulation_arm(launch, cudaErrorLaunchFailure);
            emulation_watch(1);
            const int status = call(i, the_stream);
            const int64_t calls = emulation_disarm();
            assert_true(calls >= 1);
            if (calls < launch) { /* it has no more */
                assert_int_equal(status, 0);
                break;
            }
            if (status != cudaErrorLaunchFailure)
                print_error("call %lld: the failure of its launch %lld was not told\n", (long long)i,
                            (long long)launch);
            assert_int_equal(status, cudaErrorLaunchFailure);
        }
    }
    gpu_wait();
#endif
}

/* ---------------------------------------------------------------- tensors */

static float value_of(const void *data, dukd_type type, int64_t i) {
    uint32_t bits;
    float x;
    if (type == DUKD_TYPE_F32) return ((const float *)data)[i];
    bits = (uint32_t)((const uint16_t *)data)[i] << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void *host_alloc(int64_t bytes) {
    void *p = malloc(bytes ? (size_t)bytes : 1);
    assert_non_null(p);
    memset(p, 0xff, (size_t)bytes);
    return p;
}

int64_t gpu_count(const dukd_tensor *t) {
    return (int64_t)t->images * t->height * t->width * t->channels;
}

static int64_t bytes_of(const dukd_tensor *t) {
    return gpu_count(t) * dukd_type_bytes(t->type);
}

double gpu_get(const dukd_tensor *host, int64_t i) {
    return value_of(host->data, host->type, i);
}

void gpu_set(const dukd_tensor *host, int64_t i, double value) {
    const float x = (float)value;
    uint32_t bits;
    if (host->type == DUKD_TYPE_F32) {
        ((float *)host->data)[i] = x;
        return;
    }
    memcpy(&bits, &x, sizeof bits);
    bits = isnan(x) ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    ((uint16_t *)host->data)[i] = (uint16_t)bits;
}

gpu_pair gpu_empty(gpu_size z, dukd_type type) {
    gpu_pair p = {.host = {.images = z.images,
                           .channels = z.channels,
                           .height = z.height,
                           .width = z.width,
                           .type = type,
                           .layout = DUKD_NHWC}};
    p.device = p.host;
    p.host.data = host_alloc(bytes_of(&p.host));
    p.device.data = gpu_alloc(bytes_of(&p.device));
    return p;
}

gpu_pair gpu_random(gpu_size z, dukd_type type, uint64_t seed, double low, double high) {
    gpu_pair p = gpu_empty(z, type);
    const int64_t count = gpu_count(&p.host);
    float *x = host_alloc(count * (int64_t)sizeof *x);
    dukd_fill_f32(x, count, seed, (float)low, (float)high);
    for (int64_t i = 0; i < count; i++) gpu_set(&p.host, i, (double)x[i]);
    free(x);
    gpu_push(&p);
    return p;
}

void gpu_push(const gpu_pair *p) {
    gpu_upload(p->device.data, p->host.data, bytes_of(&p->host));
}

void gpu_pull(const gpu_pair *p) {
    gpu_download(p->host.data, p->device.data, bytes_of(&p->host));
}

void gpu_pair_free(gpu_pair *p) {
    free(p->host.data);
    gpu_free(p->device.data);
    *p = (gpu_pair){0};
}

double *gpu_doubles(int64_t count) {
    double *p = calloc(count ? (size_t)count : 1, sizeof *p);
    assert_non_null(p);
    return p;
}

double *gpu_values(const dukd_tensor *host) {
    double *p = gpu_doubles(gpu_count(host));
    for (int64_t i = 0; i < gpu_count(host); i++) p[i] = gpu_get(host, i);
    return p;
}

gpu_floats gpu_floats_empty(int64_t count) {
    const int64_t bytes = count * (int64_t)sizeof(float);
    return (gpu_floats){.host = host_alloc(bytes), .device = gpu_alloc(bytes), .count = count};
}

gpu_floats gpu_floats_random(int64_t count, uint64_t seed, double low, double high) {
    gpu_floats p = gpu_floats_empty(count);
    dukd_fill_f32(p.host, count, seed, (float)low, (float)high);
    gpu_floats_push(&p);
    return p;
}

gpu_floats gpu_floats_zeros(int64_t count) {
    return gpu_floats_random(count, 0, 0, 0);
}

void gpu_floats_push(const gpu_floats *p) {
    gpu_upload(p->device, p->host, p->count * (int64_t)sizeof(float));
}

void gpu_floats_pull(const gpu_floats *p) {
    gpu_download(p->host, p->device, p->count * (int64_t)sizeof(float));
}

void gpu_floats_free(gpu_floats *p) {
    free(p->host);
    gpu_free(p->device);
    *p = (gpu_floats){0};
}

/* ---------------------------------------------------------------- comparisons */

static void check(const char *name, const void *got, dukd_type type, const double *want, int64_t count,
                  double tolerance) {
    double worst = 0, largest = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = (double)value_of(got, type, i);
        if (!isfinite(want[i])) {
            if (isnan(want[i]) ? isnan(x) : x == want[i]) continue;
            print_error("%s: element %lld is %g and should be %g\n", name, (long long)i, x, want[i]);
            fail();
        }
        const double error = fabs(x - want[i]);
        if (!(error <= worst)) { /* a NaN is the worst of all, and stays */
            if (!isnan(worst)) where = i;
            worst = isnan(worst) ? worst : error;
        }
        if (fabs(want[i]) > largest) largest = fabs(want[i]);
    }
    if (type == DUKD_TYPE_BF16) tolerance += 1. / 200;
    if (worst <= tolerance * largest) return;
    print_error(
        "%s: element %lld of %lld is %g and should be %g; the largest is %g, the tolerance %g of it\n", name,
        (long long)where, (long long)count, (double)value_of(got, type, where), want[where], largest,
        tolerance);
    fail();
}

void gpu_check(const char *name, const gpu_pair *p, const double *want, double tolerance) {
    gpu_pull(p);
    check(name, p->host.data, p->host.type, want, gpu_count(&p->host), tolerance);
}

void gpu_check_floats(const char *name, const gpu_floats *p, const double *want, double tolerance) {
    gpu_floats_pull(p);
    check(name, p->host, DUKD_TYPE_F32, want, p->count, tolerance);
}

void gpu_check_same(const char *name, const gpu_pair *p, const dukd_tensor *want) {
    const int64_t count = gpu_count(want), size = dukd_type_bytes(want->type);
    dukd_tensor got = *want;
    assert_int_equal(gpu_count(&p->device), count);
    assert_int_equal(p->device.type, want->type);
    got.data = host_alloc(bytes_of(want));
    gpu_download(got.data, p->device.data, bytes_of(want));
    for (int64_t i = 0; i < count; i++) {
        const double x = gpu_get(&got, i), y = gpu_get(want, i);
        if (memcmp((const char *)got.data + i * size, (const char *)want->data + i * size, (size_t)size) ==
                0 ||
            (isnan(x) && isnan(y)))
            continue;
        print_error("%s: element %lld of %lld is %.9g and should be %.9g, to the last bit\n", name,
                    (long long)i, (long long)count, x, y);
        free(got.data);
        fail();
    }
    free(got.data);
}

void gpu_for_each(const gpu_size *sizes, int count, void (*check_one)(gpu_size z, dukd_type type)) {
    for (int i = 0; i < count; i++) {
        check_one(sizes[i], DUKD_TYPE_F32);
        check_one(sizes[i], DUKD_TYPE_BF16);
    }
}
