/* What the parts of dukd-bench-cuda share: a device, its clock (CUDA events), and the bandwidth that kernels are compared with. */
#ifndef DUKD_BENCH_GPU_H
#define DUKD_BENCH_GPU_H

#include <stdint.h>

#include "common/failure.h"

typedef struct {
    void *stream, *begin, *end; /* cudaStream_t, cudaEvent_t */
    int32_t rounds;             /* repetitions, of which the best counts */
    int32_t batch, side;        /* images, and pixels a side of LR */
    int64_t cache;              /* bytes of L2 */
    double bandwidth;           /* bytes a second that a device-to-device copy reads and writes */
} dukd_bench_gpu;

/* The first device, with the batch, side and rounds that *b says; prints what it is. */
int dukd_bench_gpu_open(dukd_bench_gpu *b, dukd_failure *f);
void dukd_bench_gpu_close(dukd_bench_gpu *b); /* after a failure, too */

/* Enqueues one piece of work on set number `set`; what it returns ends the measurement unless it is 0. */
typedef int (*dukd_bench_work)(void *ctx, int32_t set);

/* How many sets of `bytes` are several times the L2: taken in turn, they find nothing there. */
int32_t dukd_bench_gpu_sets(const dukd_bench_gpu *b, int64_t bytes);
/* The best of rounds: seconds of one piece of work, of so many that they take a millisecond or more. */
int dukd_bench_gpu_time(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, int32_t sets,
                        double *seconds, dukd_failure *f);
int dukd_bench_gpu_alloc(void **out, int64_t bytes, dukd_failure *f); /* filled with small numbers */
void dukd_bench_gpu_free(void *p);                                    /* NULL allowed */
int dukd_bench_gpu_check(int status, const char *what, dukd_failure *f);

/* The parts. */
int dukd_bench_gpu_kernels(const dukd_bench_gpu *b, dukd_failure *f);
int dukd_bench_gpu_plugin(const dukd_bench_gpu *b, const char *path, dukd_failure *f);
int dukd_bench_gpu_step(const dukd_bench_gpu *b, int bf16, int tf32, dukd_failure *f);

#endif
