/* See bench_gpu.h. */
#include "engine/bench/bench_gpu.h"

#include <cuda_runtime_api.h>
#include <stdio.h>

#include "engine/bench/bench_clock.h"

/* Pieces of a graph, at most: beyond, a launch is no part of the time of one. */
enum { DUKD_BENCH_GPU_PIECES = 8192 };

int dukd_bench_gpu_check(int status, const char *what, dukd_failure *f) {
    if (status == 0) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "%s: %s", what, cudaGetErrorString((cudaError_t)status));
}

int dukd_bench_gpu_alloc(void **out, int64_t bytes, dukd_failure *f) {
    *out = NULL;
    int status = dukd_bench_gpu_check(cudaMalloc(out, (size_t)bytes), "memory for a benchmark", f);
    if (status) return status;
    /* 0x3c bytes are .0115 in f32 and in bf16: no zeros, which powers down multipliers, and nothing that overflows. */
    status = dukd_bench_gpu_check(cudaMemsetAsync(*out, 0x3c, (size_t)bytes, NULL), "filling memory", f);
    if (!status) status = dukd_bench_gpu_check(cudaStreamSynchronize(NULL), "filling memory", f);
    return status;
}

void dukd_bench_gpu_free(void *p) {
    (void)cudaFree(p);
}

int32_t dukd_bench_gpu_sets(const dukd_bench_gpu *b, int64_t touched, int64_t room) {
    const int64_t most = 4LL << 30; /* a small GPU has that */
    int64_t sets = 4 * b->cache / (touched > 0 ? touched : 1) + 1;
    if (sets > most / (room > 0 ? room : 1)) sets = most / room;
    return (int32_t)(sets < 2 ? 2 : sets > DUKD_BENCH_GPU_SETS ? DUKD_BENCH_GPU_SETS : sets);
}

/* ---- time ---- */

/* The same work twice: while the first runs, the second is enqueued, so that the events have nothing of the host's between them. */
static int run_twice(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, double *seconds,
                     dukd_failure *f) {
    float ms = 0;
    int status = dukd_bench_gpu_check(work(ctx, 0), "a kernel", f);
    if (!status) status = dukd_bench_gpu_check(cudaEventRecord(b->begin, b->stream), "cudaEventRecord", f);
    if (!status) status = dukd_bench_gpu_check(work(ctx, 0), "a kernel", f);
    if (!status) status = dukd_bench_gpu_check(cudaEventRecord(b->end, b->stream), "cudaEventRecord", f);
    if (!status) status = dukd_bench_gpu_check(cudaEventSynchronize(b->end), "running kernels", f);
    if (!status)
        status = dukd_bench_gpu_check(cudaEventElapsedTime(&ms, b->begin, b->end), "cudaEventElapsedTime", f);
    *seconds = 1e-3 * (double)ms;
    return status;
}

int dukd_bench_gpu_time_long(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, double *seconds,
                             dukd_failure *f) {
    double took;
    int status = run_twice(b, work, ctx, seconds, f);
    for (int32_t r = 1; r < b->rounds && !status; r++) {
        status = run_twice(b, work, ctx, &took, f);
        if (took < *seconds) *seconds = took;
    }
    return status;
}

/* Many pieces as a CUDA graph. */
typedef struct {
    cudaGraphExec_t graph;
    cudaStream_t stream;
} replay;

static int launch(void *ctx, int32_t set) {
    const replay *r = ctx;
    (void)set;
    return cudaGraphLaunch(r->graph, r->stream);
}

static int enqueue(dukd_bench_work work, void *ctx, int32_t sets, int64_t count, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int64_t i = 0; i < count && !status; i++)
        status = dukd_bench_gpu_check(work(ctx, (int32_t)(i % sets)), "a kernel", f);
    return status;
}

static int capture(replay *r, dukd_bench_work work, void *ctx, int32_t sets, int64_t count, dukd_failure *f) {
    cudaGraph_t graph = NULL;
    int status = dukd_bench_gpu_check(cudaStreamBeginCapture(r->stream, cudaStreamCaptureModeThreadLocal),
                                      "cudaStreamBeginCapture", f);
    if (status) return status;
    status = enqueue(work, ctx, sets, count, f);
    const int ended =
        dukd_bench_gpu_check(cudaStreamEndCapture(r->stream, &graph), "cudaStreamEndCapture", f);
    if (!status) status = ended;
    if (!status)
        status = dukd_bench_gpu_check(cudaGraphInstantiate(&r->graph, graph, 0), "cudaGraphInstantiate", f);
    if (graph) (void)cudaGraphDestroy(graph);
    return status;
}

int dukd_bench_gpu_time(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, int32_t sets,
                        double *seconds, dukd_failure *f) {
    replay r = {.stream = b->stream};
    int64_t count = sets;
    int status = enqueue(work, ctx, sets, sets, f); /* what is called first may load and choose */
    if (!status) status = dukd_bench_gpu_check(cudaStreamSynchronize(b->stream), "running kernels", f);
    while (!status) {
        status = capture(&r, work, ctx, sets, count, f);
        if (!status) status = run_twice(b, launch, &r, seconds, f);
        if (status || *seconds >= 2e-3 || 2 * count > DUKD_BENCH_GPU_PIECES) break;
        count *= 2;
        if (r.graph) (void)cudaGraphExecDestroy(r.graph);
        r.graph = NULL;
    }
    for (int32_t i = 1; i < b->rounds && !status; i++) {
        double took;
        status = run_twice(b, launch, &r, &took, f);
        if (took < *seconds) *seconds = took;
    }
    *seconds /= (double)count;
    if (r.graph) (void)cudaGraphExecDestroy(r.graph);
    return status;
}

/* ---- bandwidth ---- */

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

static copy copy_of(const dukd_bench_gpu *b) {
    return (copy){
        .from = b->room, .to = (char *)b->room + 4 * b->cache, .bytes = 2 * b->cache, .stream = b->stream};
}

int dukd_bench_gpu_occupy(const dukd_bench_gpu *b, double seconds, dukd_failure *f) {
    copy c = copy_of(b);
    int status = DUKD_DONE;
    for (double left = seconds; left > 0 && !status; left -= 2 * (double)c.bytes / b->bandwidth)
        status = dukd_bench_gpu_check(copy_once(&c, 0), "a copy", f);
    return status;
}

int dukd_bench_gpu_bandwidth(dukd_bench_gpu *b, dukd_failure *f) {
    copy c = copy_of(b);
    double seconds = 0;
    const int status = dukd_bench_gpu_time(b, copy_once, &c, 2, &seconds, f);
    if (status) return status;
    b->last = 2 * (double)c.bytes / seconds;
    if (b->last > b->bandwidth) b->bandwidth = b->last;
    return DUKD_DONE;
}

/* Clocks rise under load: half a second of it. */
static int warm_up(const dukd_bench_gpu *b, dukd_failure *f) {
    copy c = copy_of(b);
    int status = DUKD_DONE;
    for (const double begin = dukd_bench_now(); dukd_bench_now() < begin + .5 && !status;) {
        status = enqueue(copy_once, &c, 2, 16, f);
        if (!status) status = dukd_bench_gpu_check(cudaStreamSynchronize(b->stream), "copies", f);
    }
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
    if (!status) status = dukd_bench_gpu_alloc(&b->room, 8 * b->cache, f);
    if (!status) status = warm_up(b, f);
    if (!status) status = dukd_bench_gpu_bandwidth(b, f);
    if (!status)
        printf("%s, sm_%d%d, L2 %.0f MiB; a copy moves %.0f GB/s\n", p.name, p.major, p.minor,
               (double)b->cache / (1 << 20), 1e-9 * b->bandwidth);
    return status;
}

void dukd_bench_gpu_close(dukd_bench_gpu *b) {
    dukd_bench_gpu_free(b->room);
    if (b->begin) (void)cudaEventDestroy(b->begin);
    if (b->end) (void)cudaEventDestroy(b->end);
    if (b->stream) (void)cudaStreamDestroy(b->stream);
}
