/* dukd-host's side of the CUDA engine: finds and opens the module beside the program. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cuda/gpu_module.h"

/* The folder of the running program; false: unknown. */
static int program_folder(char *out, size_t room) {
    const ssize_t length = readlink("/proc/self/exe", out, room - 1);
    if (length <= 0 || (size_t)length >= room - 1) return 0;
    out[length] = 0;
    char *slash = strrchr(out, '/');
    if (!slash) return 0;
    *slash = 0;
    return 1;
}

/* Where the module is: what the environment says, beside the program, or in ../lib. */
static int find_module(char *path, size_t room, dukd_failure *f) {
    const char *given = getenv(DUKD_GPU_MODULE_VARIABLE);
    if (given && *given) {
        if (access(given, F_OK) != 0)
            return dukd_fail(
                f, DUKD_MISUSED,
                "there is no CUDA engine at '%s', which the environment's " DUKD_GPU_MODULE_VARIABLE " names",
                given);
        if ((size_t)snprintf(path, room, "%s%s", strchr(given, '/') ? "" : "./", given) < room)
            return DUKD_DONE;
        return dukd_fail(f, DUKD_MISUSED, "the environment's " DUKD_GPU_MODULE_VARIABLE " is too long");
    }
    char folder[3072];
    static const char *const places[] = {"", "/../lib"};
    for (size_t i = 0; i < sizeof places / sizeof *places && program_folder(folder, sizeof folder); i++) {
        const int written = snprintf(path, room, "%s%s/" DUKD_GPU_MODULE_FILE, folder, places[i]);
        if (written > 0 && (size_t)written < room && access(path, F_OK) == 0) return DUKD_DONE;
    }
    return dukd_fail(f, DUKD_FAILED,
                     "the CUDA engine is not built: there is no " DUKD_GPU_MODULE_FILE
                     " beside the program or in ../lib; build it with the CUDA toolkit (nvcc) and cuDNN 9's "
                     "headers, or name "
                     "it in the environment's " DUKD_GPU_MODULE_VARIABLE);
}

static int is_of_this_build(const dukd_gpu_module_table *t) {
    static const dukd_gpu_sizes sizes = DUKD_GPU_SIZES;
    return t->struct_size == sizeof *t && memcmp(&t->sizes, &sizes, sizeof sizes) == 0 &&
           strcmp(t->version, DUKD_VERSION) == 0;
}

/* Once opened the module stays: a library with device code cannot be taken out again. */
const dukd_backend *dukd_backend_cuda_open(dukd_failure *f) {
    char path[4096];
    if (find_module(path, sizeof path, f) != DUKD_DONE) return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        (void)dukd_fail(f, DUKD_FAILED, "the CUDA engine cannot be opened: %s", dlerror());
        return NULL;
    }
    dukd_gpu_module_fn entry = NULL;
    void *symbol = dlsym(library, DUKD_GPU_MODULE_ENTRY);
    memcpy(&entry, &symbol, sizeof entry);
    const dukd_gpu_module_table *module = entry ? entry() : NULL;
    if (!module || !is_of_this_build(module)) {
        (void)dukd_fail(f, DUKD_FAILED,
                        "%s %s, and the program is " DUKD_VERSION ": install both of one build", path,
                        module ? "is of another build" : "is no CUDA engine");
        module = NULL;
    }
    dlclose(library);
    return module ? module->backend : NULL;
}
