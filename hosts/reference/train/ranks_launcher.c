/* Launchers by their environment. */
#include "train/ranks_launcher.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

/* The first row that fits counts: a launcher may be started inside another's allocation. SLURM_NTASKS is none of them: a batch script
 * has it, too. Of PMIx and PALS nothing says how many there are. */
static const struct {
    const char *name, *count, *rank;
} launchers[] = {
    {"Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
    {"mpiexec (Hydra, or srun with PMI)", "PMI_SIZE", "PMI_RANK"}, /* MPICH, Intel MPI, MVAPICH */
    {"mpirun_rsh", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"},
    {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},
    {"a launcher with PMIx", NULL, "PMIX_RANK"},
    {"a launcher with PALS", NULL, "PALS_RANKID"},
};

/* A number of the environment; -1 where there is none. */
static int32_t number(const char *name) {
    const char *text = name ? getenv(name) : NULL;
    char *end;
    if (!text || !*text) return -1;
    errno = 0;
    const long value = strtol(text, &end, 10);
    return *end || errno || value < 0 || value > INT32_MAX ? -1 : (int32_t)value;
}

dukd_launcher dukd_launcher_find(void) {
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const int32_t count = number(launchers[i].count), rank = number(launchers[i].rank);
        if (launchers[i].count ? count < 1 : rank < 0) continue;
        return (dukd_launcher){launchers[i].name, count < 0 ? 0 : count, rank};
    }
    return (dukd_launcher){NULL, 1, -1};
}

int dukd_launcher_is_openmpi(void) {
    return number("OMPI_COMM_WORLD_SIZE") > 0;
}
