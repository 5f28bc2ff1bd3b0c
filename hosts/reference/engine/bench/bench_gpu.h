/* What the parts of dukd-bench-cuda share: a device, its clock (CUDA events), and the bandwidth that kernels are compared with: DRAM's, so
 * what is compared with it finds nothing in L2. */
#ifndef DUKD_BENCH_GPU_H
#define DUKD_BENCH_GPU_H

#include <stdint.h>

#include "common/failure.h"

typedef struct {
    void *stream, *begin, *end; /* cudaStream_t, cudaEvent_t */
    int32_t rounds;             /* repetitions, of which the best counts */
    int32_t batch, side;        /* images, and pixels a side of LR */
    int64_t cache;              /* bytes of L2 */
    double bandwidth; /* bytes a second that a device-to-device copy reads and writes, the best so far */
    double last;      /* and when it was measured last */
    void *room;       /* the copies' */
} dukd_bench_gpu;

/* The first device, with the batch, side and rounds that *b says; prints what it is. */
int dukd_bench_gpu_open(dukd_bench_gpu *b, dukd_failure *f);
void dukd_bench_gpu_close(dukd_bench_gpu *b); /* after a failure, too */

/* Enqueues one piece of work on set number `set`; what it returns ends the measurement unless it is 0. */
typedef int (*dukd_bench_work)(void *ctx, int32_t set);

enum { DUKD_BENCH_GPU_SETS = 1024 };
/* How many sets are several times the L2, so that taken in turn they find nothing there. touched: bytes of one that a piece reads and
 * writes, room: that it takes. 2 to DUKD_BENCH_GPU_SETS. */
int32_t dukd_bench_gpu_sets(const dukd_bench_gpu *b, int64_t touched, int64_t room);
/* The best of rounds: seconds of one piece of work, of so many in one CUDA graph that they take milliseconds. Nothing of the host's is
 * in it. */
int dukd_bench_gpu_time(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, int32_t sets,
                        double *seconds, dukd_failure *f);
/* The same for work that takes milliseconds by itself, on b->stream, and has run before: enqueued as it is. */
int dukd_bench_gpu_time_long(const dukd_bench_gpu *b, dukd_bench_work work, void *ctx, double *seconds,
                             dukd_failure *f);
/* Measures the bandwidth of a copy once more: clocks are never the same for long. */
int dukd_bench_gpu_bandwidth(dukd_bench_gpu *b, dukd_failure *f);
/* Copies that keep the stream busy for so long, while the host enqueues what is to be measured. */
int dukd_bench_gpu_occupy(const dukd_bench_gpu *b, double seconds, dukd_failure *f);
int dukd_bench_gpu_alloc(void **out, int64_t bytes, dukd_failure *f); /* filled with small numbers */
void dukd_bench_gpu_free(void *p);                                    /* NULL allowed */
int dukd_bench_gpu_check(int status, const char *what, dukd_failure *f);

/* The parts. */
int dukd_bench_gpu_kernels(const dukd_bench_gpu *b, dukd_failure *f);
int dukd_bench_gpu_plugin(const dukd_bench_gpu *b, const char *path, dukd_failure *f);
int dukd_bench_gpu_step(const dukd_bench_gpu *b, int bf16, int tf32, dukd_failure *f);

#endif
