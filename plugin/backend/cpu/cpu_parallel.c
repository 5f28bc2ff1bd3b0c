/* Threads of the CPU backend. */
#include "cpu_parallel.h"

#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
#endif

/* Waking a second thread costs microseconds; one core moves this much in about as long a time. */
#define BYTES_WORTH_A_THREAD (256 * 1024)
/* More pieces than threads, so that a thread that is held up does not hold up all; few, so that each is long.
 */
#define PIECES_PER_THREAD 8

typedef struct {
    dukd_parallel_range range;
    void *arg;
    int64_t items;
    int64_t pieces;
} split;

void dukd_parallel_init(dukd_parallel *p, const dukd_host *host) {
    *p = (dukd_parallel){0};
    if (host != NULL && host->parallel_for != NULL && host->max_threads != NULL) {
        p->ctx = host->ctx;
        p->parallel_for = host->parallel_for;
        p->max_threads = host->max_threads;
    }
}

const char *dukd_parallel_own_name(void) {
#ifdef _OPENMP
    return "OpenMP";
#else
    return "no threads";
#endif
}

uint32_t dukd_parallel_own_threads(void) {
#ifdef _OPENMP
    if (omp_in_parallel()) return 1;
    const int n = omp_get_max_threads();
    return n > 1 ? (uint32_t)n : 1;
#else
    return 1;
#endif
}

dukd_team dukd_parallel_team(const dukd_parallel *p, int64_t bytes) {
    const int64_t worth = bytes / BYTES_WORTH_A_THREAD;
    if (worth <= 1) return (dukd_team){1, 1}; /* without asking: small tensors pay for nothing */
    const uint32_t all = p->max_threads != NULL ? p->max_threads(p->ctx) : dukd_parallel_own_threads();
    if (all <= 1) return (dukd_team){1, 1};
    const uint32_t threads = worth < all ? (uint32_t)worth : all;
    /* the host numbers its threads as it likes */
    return (dukd_team){threads, p->parallel_for != NULL ? all : threads};
}

static void run_piece(void *arg, uint32_t i, uint32_t worker) {
    const split *s = arg;
    s->range(s->arg, s->items * i / s->pieces, s->items * (i + 1) / s->pieces, worker);
}

void dukd_parallel_run(const dukd_parallel *p, dukd_team team, int64_t items, dukd_parallel_range range,
                       void *arg) {
    if (items <= 0) return;
    if (team.threads <= 1 || items == 1) {
        range(arg, 0, items, 0);
        return;
    }
    split s = {range, arg, items, team.threads};
    if (p->parallel_for == NULL || team.threads == team.workers) s.pieces *= PIECES_PER_THREAD;
    if (s.pieces > items) s.pieces = items;
    if (p->parallel_for != NULL) {
        p->parallel_for(p->ctx, (uint32_t)s.pieces, run_piece, &s);
        return;
    }
#ifdef _OPENMP
    const int pieces = (int)s.pieces, threads = (int)team.threads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int i = 0; i < pieces; i++) {
        run_piece(&s, (uint32_t)i, (uint32_t)omp_get_thread_num());
    }
#else
    range(arg, 0, items, 0);
#endif
}
