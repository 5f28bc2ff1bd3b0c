/* Threads of the CPU backend: the host's parallel_for where it gives one, else OpenMP, else none.
 *
 * Work is a range of items, each of which is computed alone and always in the same way; who computes it
 * changes nothing in the result. */
#ifndef DUKD_CPU_PARALLEL_H
#define DUKD_CPU_PARALLEL_H

#include "dukd_plugin.h"

typedef struct {
    void *ctx; /* the host's */
    void (*parallel_for)(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                         void *arg);
    uint32_t (*max_threads)(void *ctx);
} dukd_parallel;

/* How many threads a piece of work gets. */
typedef struct {
    uint32_t threads; /* at most so many at a time; 1: the caller's own, without any call outside */
    uint32_t workers; /* numbers of threads are below this: so many scratch areas are needed */
} dukd_team;

/* Does items begin .. end - 1. worker is below the team's `workers`, never the same for two calls at a time.
 */
typedef void (*dukd_parallel_range)(void *arg, int64_t begin, int64_t end, uint32_t worker);

/* host may be NULL; it is not kept. */
void dukd_parallel_init(dukd_parallel *p, const dukd_host *host);
/* The team for work that moves about `bytes` bytes. */
dukd_team dukd_parallel_team(const dukd_parallel *p, int64_t bytes);
/* Does items 0 .. items - 1 and returns when all are done. */
void dukd_parallel_run(const dukd_parallel *p, dukd_team team, int64_t items, dukd_parallel_range range,
                       void *arg);
/* "OpenMP" or "no threads": what is used when the host gives no parallel_for, and by how many. */
const char *dukd_parallel_own_name(void);
uint32_t dukd_parallel_own_threads(void);

#endif
