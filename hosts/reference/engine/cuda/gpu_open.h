/* NVIDIA's libraries at run time: found, opened, and their functions taken. What a version means is for who asks (gpu_libraries.c,
 * gpu_ranks.c). */
#ifndef DUKD_GPU_OPEN_H
#define DUKD_GPU_OPEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/failure.h"

typedef struct {
    const char *title, *stem, *install; /* "cuDNN", "libcudnn.so", what to do where it is missing */
    int majors[3],
        others[3]; /* that will do, the best first, and that will not but are looked for to say so; 0 ends */
    /* Files that the library opens itself at its first call, and without which it ends the process (cuDNN 9); NULL ends. NULL: none. */
    const char *const *parts;
    const char *
        near; /* a folder with a final slash: where the loader finds nothing, it and NVIDIA's Python packages beside it. NULL: none */
} gpu_library;

/* A function of a library, and where its pointer goes in a table. A table's list ends with a NULL name. */
typedef struct {
    const char *name;
    size_t at;
} gpu_library_function;

/* STEM.MAJOR beside this module, or as the loader finds it, or near. Its parts are opened with it, from its real folder (links are
 * followed, which the loader does not) or as the loader finds them: one that is missing is an error. *out may be closed by dlclose: the
 * library stays. */
int gpu_library_open(void **out, const gpu_library *k, dukd_failure *f);
/* Opens a library that others use where they find it loaded, by name or near; false: it is not there. */
bool gpu_library_load(const char *name, const char *near);
/* The folder that an open library really lies in, with a final slash; "" where that is not known. */
void gpu_library_folder(void *library, char *out, size_t room);
/* Fills the table; a function that is missing is an error that names it. */
int gpu_library_take(void *table, void *library, const gpu_library *k, const gpu_library_function *functions,
                     dukd_failure *f);

#endif
