/* How fast this machine copies: what kernels that are bound by memory are compared with. */
#ifndef DUKD_BENCH_COPY_H
#define DUKD_BENCH_COPY_H

#include <stdint.h>

#define BENCH_COPIES 8

/* bytes a multiple of 256, both aligned to 64 */
typedef void (*bench_copy_function)(char *to, const char *from, int64_t bytes);

typedef struct {
    const char *name;
    bench_copy_function copy;
} bench_copy;

/* All ways of copying that this processor has: memcpy, ordinary and non-temporal stores of each width.
 * Returns how many. */
int bench_list_copies(bench_copy kinds[BENCH_COPIES]);
/* Copies on `threads` threads, each a part of its own. */
void bench_run_copy(bench_copy_function copy, char *to, const char *from, int64_t bytes, int threads);
/* a = b + 3 c, as in McCalpin's STREAM: ordinary stores, 24 bytes an element. */
void bench_run_triad(double *a, const double *b, const double *c, int64_t n, int threads);

#endif
