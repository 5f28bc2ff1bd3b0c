/* See gpu_open.h. */
#include "gpu_open.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/library_file.h"

/* Where this module is: out gets its folder with a final slash, or "" where that is not known. */
static const char here_i_am[] = "an address of this module";
static void module_folder(char *out, size_t room) {
    Dl_info here;
    out[0] = 0;
    if (dladdr(here_i_am, &here) == 0 || here.dli_fname == NULL) return;
    const char *slash = strrchr(here.dli_fname, '/');
    if (slash == NULL) return;
    const int written = snprintf(out, room, "%.*s/", (int)(slash - here.dli_fname), here.dli_fname);
    if (written < 0 || (size_t)written >= room) out[0] = 0;
}

/* A library that was opened stays: cuDNN leaves code in the driver that must not go away before the process, NCCL has threads. */
static void *open_name(const char *name) {
    return dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

/* ---- near another library ---- */

/* As NVIDIA's Python packages lie beside each other: cudnn/lib, and cu13/lib or, for CUDA 12, a folder for each library. */
static void *open_near(const char *name, const char *near) {
    static const char *const folders[] = {"", "../../cu13/lib/", "../../cublas/lib/",
                                          "../../cuda_nvrtc/lib/"};
    char path[4096 + 64];
    void *library = NULL;
    for (size_t i = 0;
         near != NULL && near[0] != 0 && i < sizeof folders / sizeof *folders && library == NULL; i++) {
        const int written = snprintf(path, sizeof path, "%s%s%s", near, folders[i], name);
        if (written > 0 && (size_t)written < sizeof path && access(path, F_OK) == 0)
            library = open_name(path);
    }
    return library;
}

bool gpu_library_load(const char *name, const char *near) {
    void *library = open_name(name);
    if (library == NULL) library = open_near(name, near);
    if (library == NULL) return false;
    dlclose(library); /* stays */
    return true;
}

void gpu_library_folder(void *library, char *out, size_t room) {
    struct link_map *map = NULL;
    out[0] = 0;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == NULL) return;
    char *real = realpath(map->l_name, NULL);
    const char *slash = real != NULL ? strrchr(real, '/') : NULL;
    if (slash != NULL && (size_t)(slash - real) + 1 < room)
        (void)snprintf(out, room, "%.*s/", (int)(slash - real), real);
    free(real);
}

/* What is loaded is found by its name, wherever it is: the library then has its parts. */
static int open_parts(void *library, const gpu_library *k, dukd_failure *f) {
    char folder[4096], path[4096 + 64];
    gpu_library_folder(library, folder, sizeof folder);
    for (const char *const *part = k->parts; part != NULL && *part != NULL; part++) {
        (void)snprintf(path, sizeof path, "%s%s", folder, *part);
        const int there = folder[0] != 0 && access(path, F_OK) == 0;
        const int status = there ? dukd_library_file_check(path, f) : DUKD_DONE;
        if (status != DUKD_DONE) return status;
        void *loaded = open_name(there ? path : *part);
        if (loaded == NULL)
            return dukd_fail(f, DUKD_FAILED, "%s in %s is not whole, a part cannot be opened (%s): %s",
                             k->title, folder, dlerror(), k->install);
        dlclose(loaded); /* stays */
    }
    return DUKD_DONE;
}

/* ---- the library ---- */

/* Whether another version is there; says so. */
static int name_other(const gpu_library *k, dukd_failure *f) {
    for (int i = 0; i < 3 && k->others[i] != 0; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.%d", k->stem, k->others[i]);
        void *other = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
        if (other == NULL) continue;
        dlclose(other);
        (void)dukd_fail(f, DUKD_FAILED, "only %s %d is installed, which the CUDA engine cannot use: %s",
                        k->title, k->others[i], k->install);
        return 1;
    }
    return 0;
}

/* What is left to do once it is open. */
static int opened(void **library, const gpu_library *k, dukd_failure *f) {
    const int status = open_parts(*library, k, f);
    if (status == DUKD_DONE) return status;
    dlclose(*library);
    *library = NULL;
    return status;
}

int gpu_library_open(void **out, const gpu_library *k, dukd_failure *f) {
    char folder[4096], path[4096 + 64], name[64];
    *out = NULL;
    module_folder(folder, sizeof folder);
    for (int i = 0; i < 3 && k->majors[i] != 0 && folder[0] != 0; i++) {
        (void)snprintf(path, sizeof path, "%s%s.%d", folder, k->stem, k->majors[i]);
        if (access(path, F_OK) != 0) continue;
        const int status = dukd_library_file_check(path, f);
        if (status != DUKD_DONE) return status;
        *out = open_name(path);
        if (*out == NULL) return dukd_fail(f, DUKD_FAILED, "%s cannot be opened: %s", k->title, dlerror());
        return opened(out, k, f);
    }
    char first[512] = ""; /* why the best version could not be opened: it may be there and broken */
    for (int i = 0; i < 3 && k->majors[i] != 0; i++) {
        (void)snprintf(name, sizeof name, "%s.%d", k->stem, k->majors[i]);
        *out = open_name(name);
        if (*out == NULL && i == 0) (void)snprintf(first, sizeof first, "%s", dlerror());
        if (*out == NULL) *out = open_near(name, k->near);
        if (*out != NULL) return opened(out, k, f);
    }
    if (name_other(k, f)) return DUKD_FAILED;
    return dukd_fail(f, DUKD_FAILED, "%s cannot be opened (%s): %s", k->title, first, k->install);
}

int gpu_library_take(void *table, void *library, const gpu_library *k, const gpu_library_function *functions,
                     dukd_failure *f) {
    for (const gpu_library_function *p = functions; p->name != NULL; p++) {
        void *symbol = dlsym(library, p->name);
        if (symbol == NULL)
            return dukd_fail(f, DUKD_FAILED, "%s has no function %s: it is no whole %s; %s", k->stem, p->name,
                             k->title, k->install);
        memcpy((char *)table + p->at, &symbol, sizeof symbol);
    }
    return DUKD_DONE;
}
