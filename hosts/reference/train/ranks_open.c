/* Finding the module that reaches the other ranks. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/library_file.h"
#include "train/ranks_backend.h"
#include "train/ranks_launcher.h"

#define MODULE "libdukd-mpi.so"

/* Where the module is: $DUKD_MPI, beside the program, or in ../lib; 0: nowhere. */
static int find_module(char out[PATH_MAX]) {
    char program[PATH_MAX];
    static const char *const places[] = {"/" MODULE, "/../lib/" MODULE};
    const char *chosen = getenv("DUKD_MPI");
    if (chosen && *chosen) return snprintf(out, PATH_MAX, "%s", chosen) < PATH_MAX;
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    char *slash = NULL;
    if (n > 0) {
        program[n] = 0;
        slash = strrchr(program, '/');
    }
    if (!slash) return 0;
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const int length = snprintf(out, PATH_MAX, "%s%s", program, places[i]);
        if (length > 0 && length < PATH_MAX && access(out, F_OK) == 0) return 1;
    }
    return 0;
}

/* The table of a module, which stays open: MPI cannot be begun again after it was ended. *path may be "" where there is none. */
static const dukd_ranks_backend *load(char path[PATH_MAX], dukd_failure *f) {
    path[0] = 0;
    if (!find_module(path)) {
        path[0] = 0;
        dukd_fail(f, DUKD_FAILED, "this dukd-host was built without MPI (there is no " MODULE ")");
        return NULL;
    }
    if (dukd_library_file_check(path, f)) return NULL;
    /* Global: Open MPI's own components look for its symbols in the program. */
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!handle) {
        const char *why = dlerror();
        dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, why ? why : "no reason was given");
        return NULL;
    }
    dukd_ranks_entry_fn entry;
    void *symbol = dlsym(handle, DUKD_RANKS_ENTRY);
    memcpy(&entry, &symbol,
           sizeof entry); /* ISO C has no cast from an object pointer to a function pointer */
    const dukd_ranks_backend *backend = symbol ? entry() : NULL;
    if (!backend || backend->version != DUKD_RANKS_BACKEND) {
        dukd_fail(f, DUKD_FAILED, "%s: is no module of this dukd-host's build: build both anew", path);
        dlclose(handle);
        return NULL;
    }
    return backend;
}

static int check_world(const dukd_launcher *l, const dukd_ranks_info *info, dukd_failure *f) {
    if ((!l->count || l->count == info->count) && (l->rank < 0 || l->rank == info->rank)) return 0;
    return dukd_fail(
        f, DUKD_FAILED,
        "%s has started %d processes, of which this is number %d, but for %s it is number %d of %d: the "
        "launcher belongs to another MPI. Start dukd-host by the launcher of %s, or build it with the "
        "other MPI",
        l->name, (int)l->count, (int)l->rank, info->library, (int)info->rank, (int)info->count,
        info->library);
}

int dukd_ranks_open(dukd_ranks **out, dukd_failure *f) {
    const dukd_launcher l = dukd_launcher_find();
    char path[PATH_MAX], why[DUKD_RANKS_WHY] = "";
    dukd_failure local = {0};
    void *ctx = NULL;
    *out = NULL;
    if (l.count == 1) return 0;
    const dukd_ranks_backend *backend = load(path, &local);
    if (!backend)
        return dukd_fail(f, DUKD_FAILED,
                         "%s has started %s, which would each train by itself into the same folder: "
                         "%s. Build with MPI (libopenmpi-dev or libmpich-dev, and -DDUKD_MPI=ON), or start "
                         "one process without the launcher",
                         l.name, l.count ? "several processes" : "this process, and maybe more",
                         local.message);
    dukd_ranks_info info = {.count = 1, .local_count = 1};
    backend->describe(info.library, sizeof info.library);
    if (backend->open(&ctx, &info, why))
        return dukd_fail(f, DUKD_FAILED, "%s cannot be started: %s", info.library, why);
    const int status = check_world(&l, &info, f);
    if (status) {
        backend->close(ctx, info.count > 1);
        return status;
    }
    if (info.count > 1) return dukd_ranks_create(out, backend, ctx, &info, f);
    backend->close(ctx, 0);
    return 0;
}

void dukd_ranks_describe(char *out, size_t size) {
    char path[PATH_MAX], library[160];
    dukd_failure f = {0};
    const dukd_ranks_backend *backend = load(path, &f);
    if (!backend) {
        snprintf(out, size, "MPI: none; %s", f.message);
        return;
    }
    backend->describe(library, sizeof library);
    snprintf(out, size, "MPI: %s (%s)", library, path);
}
