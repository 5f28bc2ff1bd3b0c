/* NVIDIA's libraries at run time: found, opened, and their functions taken. What a version means is for who asks (gpu_libraries.c,
 * gpu_ranks.c). */
#ifndef DUKD_GPU_OPEN_H
#define DUKD_GPU_OPEN_H

#include <stddef.h>

#include "common/failure.h"

typedef struct {
    const char *title, *stem, *install; /* "cuDNN", "libcudnn.so", what to do where it is missing */
    int majors[3],
        others[3]; /* that will do, the best first, and that will not but are looked for to say so; 0 ends */
} gpu_library;

/* A function of a library, and where its pointer goes in a table. A table's list ends with a NULL name. */
typedef struct {
    const char *name;
    size_t at;
} gpu_library_function;

/* STEM.MAJOR beside this module, or as the loader finds it. *out may be closed by dlclose: the library stays. */
int gpu_library_open(void **out, const gpu_library *k, dukd_failure *f);
/* Fills the table; a function that is missing is an error that names it. */
int gpu_library_take(void *table, void *library, const gpu_library *k, const gpu_library_function *functions,
                     dukd_failure *f);

#endif
