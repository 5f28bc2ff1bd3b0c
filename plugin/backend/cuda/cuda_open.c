/* libdukd's side of the CUDA backend: finds and opens the module beside this library. */
#include "cuda_module.h"
#include "report.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "DIRECTORY OF THE LIBRARY/libdukd-cuda.so"; a program that has the plugin inside looks beside itself and in ../lib. */
static bool find_module(char *path, size_t room) {
    Dl_info here;
    if (dladdr(DUKD_CUDA_MODULE_ENTRY, &here) == 0 || here.dli_fname == NULL) return false;
    const char *slash = strrchr(here.dli_fname, '/');
    const int length = slash != NULL ? (int)(slash - here.dli_fname) : 1;
    const char *const places[] = {"", "/../lib"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const int written = snprintf(path, room, "%.*s%s/" DUKD_CUDA_MODULE_FILE, length,
                                     slash != NULL ? here.dli_fname : ".", places[i]);
        if (written > 0 && (size_t)written < room && access(path, F_OK) == 0) return true;
    }
    return false;
}

/* The module's table; NULL: `why` says what is missing. Once opened it stays: a library with device code cannot be taken
 * out again. */
static const dukd_cuda_module_table *open_module(dukd_error *why) {
    char path[4096];
    if (!find_module(path, sizeof path)) {
        (void)dukd_report(why, DUKD_E_UNSUPPORTED,
                          "the CUDA module is not built: there is no " DUKD_CUDA_MODULE_FILE
                          " beside the plugin; build it with the CUDA toolkit (nvcc)");
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) {
        (void)dukd_report(why, DUKD_E_UNSUPPORTED, "the CUDA module cannot be opened: %s", dlerror());
        return NULL;
    }
    dukd_cuda_module_fn entry = NULL;
    void *symbol = dlsym(library, DUKD_CUDA_MODULE_ENTRY);
    memcpy(&entry, &symbol, sizeof entry);
    const dukd_cuda_module_table *module = entry != NULL ? entry() : NULL;
    if (module == NULL || module->struct_size != sizeof *module ||
        module->backend_size != sizeof(dukd_backend) || strcmp(module->version, DUKD_VERSION) != 0) {
        (void)dukd_report(why, DUKD_E_UNSUPPORTED,
                          DUKD_CUDA_MODULE_FILE " %s, and the plugin is " DUKD_VERSION
                                                ": install both of one build",
                          module == NULL ? "is not the plugin's CUDA module" : "is of another build");
        module = NULL;
    }
    dlclose(library);
    return module;
}

int32_t dukd_backend_cuda_create(dukd_backend **out, const dukd_host *host, int32_t device_id,
                                 dukd_error *error) {
    *out = NULL;
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    const dukd_cuda_module_table *module = open_module(&why);
    if (module == NULL) return dukd_report(error, why.code, "%s", why.message);
    return module->create(out, host, device_id, error);
}

void dukd_backend_cuda_describe(dukd_backend_info *out) {
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    out->usable = 0;
    out->device_type = DUKD_DEVICE_CUDA;
    (void)snprintf(out->name, sizeof out->name, "cuda");
    const dukd_cuda_module_table *module = open_module(&why);
    if (module != NULL) {
        module->describe(out);
    } else {
        (void)snprintf(out->detail, sizeof out->detail, "%s", why.message);
    }
}
