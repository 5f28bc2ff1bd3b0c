/* The clock of a benchmark: seconds, or the processor time of one thread, which another process's load does not change. */
#ifndef DUKD_BENCH_CLOCK_H
#define DUKD_BENCH_CLOCK_H

void dukd_bench_count_cpu(void); /* from now on: processor time */
double dukd_bench_now(void);     /* seconds since some moment */

#endif
