/* Processors of ranks. */
#include "train/ranks_threads.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "train/ranks_launcher.h"

/* What a rank tells the others. */
typedef struct {
    char host[sizeof((struct utsname *)0)->nodename];
    cpu_set_t may; /* processors that the ranks of its launcher may use; none: it cannot be asked */
} report;

static int is_set(const char *name) {
    const char *text = getenv(name);
    return text && *text;
}

/* Those that this process may use, and those of its launcher where that is the one which has bound it. */
static void look(report *mine, cpu_set_t *own) {
    struct utsname machine;
    CPU_ZERO(own);
    memset(mine, 0, sizeof *mine);
    if (uname(&machine) == 0) memcpy(mine->host, machine.nodename, sizeof mine->host);
    if (sched_getaffinity(0, sizeof *own, own)) CPU_ZERO(own);
    mine->may = *own;
    cpu_set_t parent, both;
    if (!dukd_launcher_is_openmpi() || sched_getaffinity(getppid(), sizeof parent, &parent)) return;
    CPU_OR(&both, &parent, own);
    if (CPU_EQUAL(&both, &parent)) mine->may = parent;
}

int dukd_ranks_take_threads(dukd_ranks *r, int32_t wanted, dukd_ranks_threads *out, dukd_failure *f) {
    report mine;
    cpu_set_t own, all;
    const void *reports;
    const int32_t count = dukd_ranks_get_info(r)->count;
    int32_t ranks = 0;
    *out = (dukd_ranks_threads){.threads = wanted};
    if (!r && !dukd_launcher_find().name) return 0;
    look(&mine, &own);
    int status = dukd_ranks_gather(r, &mine, sizeof mine, &reports, f);
    if (status) return status;
    CPU_ZERO(&all);
    for (int32_t i = 0; i < count; i++) {
        report other;
        memcpy(&other, (const char *)reports + (size_t)i * sizeof other, sizeof other);
        if (memcmp(other.host, mine.host, sizeof mine.host) != 0) continue;
        CPU_OR(&all, &all, &other.may);
        ranks++;
    }
    out->processors = CPU_COUNT(&all);
    if (!out->processors) out->processors = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (!wanted && is_set("OMP_NUM_THREADS")) out->threads = omp_get_max_threads();
    if (!out->threads) out->threads = out->processors > ranks ? out->processors / ranks : 1;
    const int32_t had = CPU_COUNT(&own);
    /* Who binds threads by OpenMP knows where they are to be. */
    if (!had || out->threads <= had || had == CPU_COUNT(&mine.may) || is_set("OMP_PROC_BIND") ||
        is_set("GOMP_CPU_AFFINITY"))
        return 0;
    out->unbound = sched_setaffinity(0, sizeof mine.may, &mine.may) == 0;
    return 0;
}
