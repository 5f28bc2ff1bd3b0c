/* dukd-bench-cuda: the CUDA engine and the plugin's CUDA backend against their device, in one run: kernels against the bandwidth of a
 * copy, a training step against cuDNN's bare convolutions. */
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/bench_gpu.h"

static const char usage[] =
    "usage: dukd-bench-cuda [kernels|plugin|step]... [--plugin FILE] [--rounds N] [--batch N] [--side N]\n"
    "The CUDA engine and the plugin's CUDA backend against the device they run on; all parts without a "
    "name.\n"
    "  kernels        the engine's own kernels: bytes a second, and the share of a copy's\n"
    "  plugin         loss, gradient and data hook of a DUKD step, through the ABI\n"
    "  step           a DUKD step (EDSR 64c 32b -> 16c 32b, x4) against the bare convolutions: f32, TF32, "
    "bf16\n"
    "  --plugin FILE  the plugin (default: $DUKD_PLUGIN, else lib/libdukd.so beside the program's folder)\n"
    "  --rounds N     repetitions, of which the best counts (default 20)\n"
    "  --batch N      images (default 16)\n"
    "  --side N       pixels a side of LR (default 48)\n"
    "example: dukd-bench-cuda kernels --batch 32\n";

/* ---- the device ---- */

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

static int open_device(dukd_bench_gpu *b, dukd_failure *f) {
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

static void close_device(dukd_bench_gpu *b) {
    if (b->begin) (void)cudaEventDestroy(b->begin);
    if (b->end) (void)cudaEventDestroy(b->end);
    if (b->stream) (void)cudaStreamDestroy(b->stream);
}

/* ---- the command line ---- */

enum { KERNELS = 1, PLUGIN = 2, STEP = 4 };

typedef struct {
    int parts;
    const char *plugin;
} arguments;

static int whole(const char *text, int32_t *out) {
    char *end;
    const long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > 4096) return 0;
    *out = (int32_t)n;
    return 1;
}

static int read_arguments(arguments *a, dukd_bench_gpu *b, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(word, "kernels") == 0)
            a->parts |= KERNELS;
        else if (strcmp(word, "plugin") == 0)
            a->parts |= PLUGIN;
        else if (strcmp(word, "step") == 0)
            a->parts |= STEP;
        else if (strcmp(word, "--plugin") == 0 && *value)
            a->plugin = argv[++i];
        else if ((strcmp(word, "--rounds") == 0 && whole(value, &b->rounds)) ||
                 (strcmp(word, "--batch") == 0 && whole(value, &b->batch)) ||
                 (strcmp(word, "--side") == 0 && whole(value, &b->side)))
            i++;
        else
            return 0;
    }
    if (!a->parts) a->parts = KERNELS | PLUGIN | STEP;
    return 1;
}

int main(int argc, char **argv) {
    dukd_bench_gpu b = {.rounds = 20, .batch = 16, .side = 48};
    arguments a = {0};
    dukd_failure f = {0};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (!read_arguments(&a, &b, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    int status = open_device(&b, &f);
    if (!status && a.parts & KERNELS) status = dukd_bench_gpu_kernels(&b, &f);
    if (!status && a.parts & PLUGIN) status = dukd_bench_gpu_plugin(&b, a.plugin, &f);
    if (!status && a.parts & STEP) status = dukd_bench_gpu_step(&b, 0, 0, &f);
    if (!status && a.parts & STEP) status = dukd_bench_gpu_step(&b, 0, 1, &f);
    if (!status && a.parts & STEP) status = dukd_bench_gpu_step(&b, 1, 0, &f);
    close_device(&b);
    if (status) fprintf(stderr, "dukd-bench-cuda: %s\n", f.message);
    return status;
}
