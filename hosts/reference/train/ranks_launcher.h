/* Who has started this process, by what launchers leave in the environment. */
#ifndef DUKD_RANKS_LAUNCHER_H
#define DUKD_RANKS_LAUNCHER_H

#include <stdint.h>

typedef struct {
    const char *name; /* "Open MPI's mpirun"; NULL: no launcher */
    int32_t count;    /* processes; 0: it does not say */
    int32_t rank;     /* -1: it does not say */
} dukd_launcher;

/* [thread-safe as long as nobody changes the environment] */
dukd_launcher dukd_launcher_find(void);

/* Open MPI's mpirun, or its daemon on this machine, is the parent of this process. */
int dukd_launcher_is_openmpi(void);

#endif
