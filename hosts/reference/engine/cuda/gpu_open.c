/* See gpu_open.h. */
#include "gpu_open.h"

#include <dlfcn.h>
#include <stdio.h>
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
        return DUKD_DONE;
    }
    char first[512] = ""; /* why the best version could not be opened: it may be there and broken */
    for (int i = 0; i < 3 && k->majors[i] != 0; i++) {
        (void)snprintf(name, sizeof name, "%s.%d", k->stem, k->majors[i]);
        *out = open_name(name);
        if (*out != NULL) return DUKD_DONE;
        if (i == 0) (void)snprintf(first, sizeof first, "%s", dlerror());
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
