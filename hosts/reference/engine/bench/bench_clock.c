/* See bench_clock.h. */
#include "engine/bench/bench_clock.h"

#include <time.h>

static clockid_t id = CLOCK_MONOTONIC;

void dukd_bench_count_cpu(void) {
    id = CLOCK_THREAD_CPUTIME_ID;
}

double dukd_bench_now(void) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
