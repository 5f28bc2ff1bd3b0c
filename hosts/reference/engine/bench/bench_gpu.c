/* See bench_gpu.h. */
#include "engine/bench/bench_gpu.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>

int dukd_bench_gpu_check(int status, const char *what, dukd_failure *f) {
    if (status == 0) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "%s: %s", what, cudaGetErrorString((cudaError_t)status));
}

int dukd_bench_gpu_alloc(void **out, int64_t bytes, dukd_failure *f) {
    *out = NULL;
    int status = dukd_bench_gpu_check(cudaMalloc(out, (size_t)bytes), "memory for a benchmark", f);
    if (status) return status;
    /* 0x3c bytes are .0115 in f32 and in bf16: no zeros, which powers down multipliers, and nothing that overflows. */
    return dukd_bench_gpu_check(cudaMemsetAsync(*out, 0x3c, (size_t)bytes, NULL), "filling memory", f);
}

void dukd_bench_gpu_free(void *p) {
    (void)cudaFree(p);
}

int32_t dukd_bench_gpu_sets(const dukd_bench_gpu *b, int64_t bytes) {
    const int64_t sets = 4 * b->cache / (bytes > 0 ? bytes : 1) + 1;
    return (int32_t)(sets < 2 ? 2 : sets > 256 ? 256 : sets);
}

/* Seconds of `count` pieces. */
static int run(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, int32_t sets, int64_t count,
               double *seconds, dukd_failure *f) {
    int status = dukd_bench_gpu_check(cudaEventRecord(b->begin, b->stream), "cudaEventRecord", f);
    for (int64_t i = 0; i < count && !status; i++)
        status = dukd_bench_gpu_check(work(ctx, (int32_t)(i % sets)), "a kernel", f);
    float ms = 0;
    if (!status) status = dukd_bench_gpu_check(cudaEventRecord(b->end, b->stream), "cudaEventRecord", f);
    if (!status) status = dukd_bench_gpu_check(cudaEventSynchronize(b->end), "running kernels", f);
    if (!status)
        status = dukd_bench_gpu_check(cudaEventElapsedTime(&ms, b->begin, b->end), "cudaEventElapsedTime", f);
    *seconds = 1e-3 * (double)ms;
    return status;
}

int dukd_bench_gpu_time(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, int32_t sets,
                        double *seconds, dukd_failure *f) {
    double took;
    int64_t count = sets;
    int status = run(b, work, ctx, sets, count, &took, f); /* warm */
    if (!status) status = run(b, work, ctx, sets, count, &took, f);
    while (!status && took < 1e-3 && count < 1 << 20) {
        count *= 2;
        status = run(b, work, ctx, sets, count, &took, f);
    }
    *seconds = INFINITY;
    for (int32_t r = 0; r < b->rounds && !status; r++) {
        status = run(b, work, ctx, sets, count, &took, f);
        if (took / (double)count < *seconds) *seconds = took / (double)count;
    }
    return status;
}

typedef struct {
    char *from, *to;
    int64_t bytes;
    void *stream;
} copy;

static int copy_once(void *ctx, int32_t set) {
    const copy *c = ctx;
    const int64_t at = (int64_t)set * c->bytes;
    return cudaMemcpyAsync(c->to + at, c->from + at, (size_t)c->bytes, cudaMemcpyDeviceToDevice, c->stream);
}

/* What a copy of four times the L2 moves. */
static int measure_bandwidth(dukd_bench_gpu *b, dukd_failure *f) {
    copy c = {.bytes = 2 * b->cache, .stream = b->stream};
    double seconds = 0;
    int status = dukd_bench_gpu_alloc((void **)&c.from, 2 * c.bytes, f);
    if (!status) status = dukd_bench_gpu_alloc((void **)&c.to, 2 * c.bytes, f);
    if (!status) status = dukd_bench_gpu_time(b, copy_once, &c, 2, &seconds, f);
    b->bandwidth = 2 * (double)c.bytes / seconds;
    dukd_bench_gpu_free(c.from);
    dukd_bench_gpu_free(c.to);
    return status;
}

int dukd_bench_gpu_open(dukd_bench_gpu *b, dukd_failure *f) {
    struct cudaDeviceProp p;
    int status = dukd_bench_gpu_check(cudaGetDeviceProperties(&p, 0), "no CUDA device to measure", f);
    if (status) return status;
    b->cache = p.l2CacheSize > 0 ? p.l2CacheSize : 32 << 20;
    status = dukd_bench_gpu_check(cudaSetDevice(0), "cudaSetDevice", f);
    if (!status)
        status = dukd_bench_gpu_check(
            cudaStreamCreateWithFlags((cudaStream_t *)&b->stream, cudaStreamNonBlocking), "a stream", f);
    if (!status)
        status = dukd_bench_gpu_check(cudaEventCreateWithFlags((cudaEvent_t *)&b->begin, cudaEventDefault),
                                      "an event", f);
    if (!status)
        status = dukd_bench_gpu_check(cudaEventCreateWithFlags((cudaEvent_t *)&b->end, cudaEventDefault),
                                      "an event", f);
    if (!status) status = measure_bandwidth(b, f);
    if (!status)
        printf("%s, sm_%d%d, L2 %.0f MiB; a copy moves %.0f GB/s\n", p.name, p.major, p.minor,
               (double)b->cache / (1 << 20), 1e-9 * b->bandwidth);
    return status;
}

void dukd_bench_gpu_close(dukd_bench_gpu *b) {
    if (b->begin) (void)cudaEventDestroy(b->begin);
    if (b->end) (void)cudaEventDestroy(b->end);
    if (b->stream) (void)cudaStreamDestroy(b->stream);
}
