/* What reaches the other ranks: one table of functions, in a module of its own (mpi/ranks_mpi.c), so that dukd-host needs no MPI
 * where it is not used. Host and module are built together; the version tells a module of another build.
 *
 * Functions return 0, or anything else with a line in why[DUKD_RANKS_WHY]. All ranks call the same ones in the same order. [one thread] */
#ifndef DUKD_RANKS_BACKEND_H
#define DUKD_RANKS_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "train/ranks.h"

#define DUKD_RANKS_BACKEND 1u /* counts up with every change of this file or of dukd_ranks_info */
enum { DUKD_RANKS_WHY = 300 };

struct dukd_ranks_backend {
    uint32_t version;
    uint32_t pad0;
    void (*describe)(char *out, size_t size); /* the library and its version, one line; at any time */
    int (*open)(void **ctx, dukd_ranks_info *info,
                char *why); /* once in a process; `library` is filled in already */
    /* broken: the others may be gone or waiting for something else: they are ended, and this process too. NULL is not allowed. */
    void (*close)(void *ctx, int broken);
    int (*gather)(void *ctx, const void *mine, void *all, int32_t bytes, char *why);
    int (*broadcast)(void *ctx, void *data, int64_t bytes, int32_t from, char *why);
    /* Means in place; mean_end ends all that were begun. */
    int (*mean_begin)(void *ctx, float *values, int64_t count, char *why);
    int (*mean_end)(void *ctx, char *why);
};

/* The only symbol of a module. */
#define DUKD_RANKS_ENTRY "dukd_ranks_entry"
typedef const dukd_ranks_backend *(*dukd_ranks_entry_fn)(void);

#endif
