/* A host for tests of the CPU backend: threads of its own, memory that can run out, and counters of both. */
#ifndef DUKD_TEST_KERNEL_HOST_H
#define DUKD_TEST_KERNEL_HOST_H

#include "backend.h"
#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
    dukd_host host; /* give its address to the backend */
    uint32_t threads;
    int64_t fail_at; /* this allocation (from 0) gives NULL; -1: none does */
    atomic_llong tasks, regions, allocated, freed;
    atomic_llong bytes;     /* of all allocations, those that were freed included */
    atomic_bool bad_worker; /* two tasks at a time had the same worker, or one had a wrong one */
} kernel_host;

/* threads 0: the host gives no parallel_for. Memory is always the host's. */
void kernel_host_make(kernel_host *k, uint32_t threads);

/* The levels there are, "ref" first. */
#define KERNEL_LEVELS 3
extern const char *const kernel_levels[KERNEL_LEVELS];

/* A backend, or NULL where this machine does not have the level. Fails the test for any other reason. host
 * may be NULL. */
dukd_backend *kernel_backend(const char *level, const dukd_host *host);

/* One of each level, NULL where this machine does not have it (which is printed): made and destroyed by the
 * functions below, which are a group's setup and teardown. */
extern dukd_backend *kernel_backends[KERNEL_LEVELS];
int kernel_backends_make(void **state);
int kernel_backends_free(void **state);

#endif
