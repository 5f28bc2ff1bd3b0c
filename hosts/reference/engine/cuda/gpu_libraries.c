/* Finds, opens and checks NVIDIA's libraries. */
#include "gpu_libraries.h"
#include "common/library_file.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *name;
    size_t at; /* of the pointer, in gpu_libraries */
} function_place;

#define CUDNN(f)                                                                                             \
    { #f, offsetof(gpu_libraries, cudnn) + offsetof(gpu_cudnn_functions, f) }
#define LT(f)                                                                                                \
    { #f, offsetof(gpu_libraries, lt) + offsetof(gpu_lt_functions, f) }

static const function_place cudnn_functions[] = {
    CUDNN(cudnnGetVersion),
    CUDNN(cudnnGetErrorString),
    CUDNN(cudnnGetLastErrorString),
    CUDNN(cudnnCreate),
    CUDNN(cudnnDestroy),
    CUDNN(cudnnSetStream),
    CUDNN(cudnnBackendCreateDescriptor),
    CUDNN(cudnnBackendDestroyDescriptor),
    CUDNN(cudnnBackendSetAttribute),
    CUDNN(cudnnBackendGetAttribute),
    CUDNN(cudnnBackendFinalize),
    CUDNN(cudnnBackendExecute),
    {NULL, 0},
};
static const function_place lt_functions[] = {
    LT(cublasLtGetVersion),
    LT(cublasLtGetStatusString),
    LT(cublasLtCreate),
    LT(cublasLtDestroy),
    LT(cublasLtMatrixLayoutCreate),
    LT(cublasLtMatrixLayoutDestroy),
    LT(cublasLtMatmulDescCreate),
    LT(cublasLtMatmulDescDestroy),
    LT(cublasLtMatmulDescSetAttribute),
    LT(cublasLtMatmulPreferenceCreate),
    LT(cublasLtMatmulPreferenceDestroy),
    LT(cublasLtMatmulPreferenceSetAttribute),
    LT(cublasLtMatmulAlgoGetHeuristic),
    LT(cublasLtMatmul),
    {NULL, 0},
};

/* A library: its names by version, those that will do first; the first functions of its table are the version's. */
typedef struct {
    const char *title, *stem, *install;
    int majors[3], others[3];    /* that will do, and that will not but are looked for to say so; 0 ends */
    size_t oldest, after_newest; /* versions that will do, as the library says them */
    const function_place *functions;
} library_kind;

static const library_kind cudnn_library = {
    .title = "cuDNN",
    .stem = "libcudnn.so",
    .install =
        "install cuDNN 9 (NVIDIA's package cudnn9-cuda-13 or -12, or the Python package nvidia-cudnn-cu13)",
    .majors = {9},
    .others = {8, 10},
    .oldest = 90000,
    .after_newest = 100000,
    .functions = cudnn_functions,
};
static const library_kind lt_library = {
    .title = "cuBLASLt",
    .stem = "libcublasLt.so",
    .install = "install cuBLAS of CUDA 13 or 12 (NVIDIA's package libcublas-13-0, or the Python package "
               "nvidia-cublas)",
    .majors = {13, 12},
    .others = {11, 14},
    .oldest = 120000,
    .after_newest = 140000,
    .functions = lt_functions,
};

/* Both libraries count major * 10000 + minor * 100 + patch, and counted major * 1000 before cuDNN 9 and cuBLAS 12. */
static void version_text(size_t version, char out[32]) {
    const size_t unit = version >= 90000 ? 10000 : 1000;
    (void)snprintf(out, 32, "%zu.%zu.%zu", version / unit, version % unit / 100, version % 100);
}

/* Where this module is: out gets its folder with a final slash, or "" where that is not known. */
static void module_folder(char *out, size_t room) {
    Dl_info here;
    out[0] = 0;
    if (dladdr(cudnn_functions, &here) == 0 || here.dli_fname == NULL) return;
    const char *slash = strrchr(here.dli_fname, '/');
    if (slash == NULL) return;
    const int written = snprintf(out, room, "%.*s/", (int)(slash - here.dli_fname), here.dli_fname);
    if (written < 0 || (size_t)written >= room) out[0] = 0;
}

/* A library that was opened stays: cuDNN leaves code in the driver that must not go away before the process. */
static void *open_name(const char *name) {
    return dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

/* Whether another version is there; says so. */
static int name_other(const library_kind *k, dukd_failure *f) {
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

static int open_library(void **out, const library_kind *k, dukd_failure *f) {
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

static int fill_table(gpu_libraries *l, void *library, const library_kind *k, dukd_failure *f) {
    for (const function_place *p = k->functions; p->name != NULL; p++) {
        void *symbol = dlsym(library, p->name);
        if (symbol == NULL)
            return dukd_fail(f, DUKD_FAILED, "%s has no function %s: it is no whole %s; %s", k->stem, p->name,
                             k->title, k->install);
        memcpy((char *)l + p->at, &symbol, sizeof symbol);
    }
    return DUKD_DONE;
}

static int check_version(const library_kind *k, size_t version, dukd_failure *f) {
    char text[32];
    version_text(version, text);
    if (version < k->oldest)
        return dukd_fail(f, DUKD_FAILED, "%s %s is too old for the CUDA engine: %s", k->title, text,
                         k->install);
    if (version >= k->after_newest)
        return dukd_fail(f, DUKD_FAILED, "%s %s is of a major version that the CUDA engine does not know: %s",
                         k->title, text, k->install);
    return DUKD_DONE;
}

/* The version's function alone, for of another version the rest may rightly be missing. */
static int open_checked(gpu_libraries *l, size_t *version, const library_kind *k, dukd_failure *f) {
    void *library;
    int status = open_library(&library, k, f);
    if (status != DUKD_DONE) return status;
    size_t (*get_version)(void) = NULL;
    void *symbol = dlsym(library, k->functions[0].name);
    memcpy(&get_version, &symbol, sizeof symbol);
    if (get_version != NULL) {
        *version = get_version();
        status = check_version(k, *version, f);
    }
    if (status == DUKD_DONE) status = fill_table(l, library, k, f);
    dlclose(library);
    return status;
}

static int make_handles(gpu_libraries *l, dukd_failure *f) {
    char text[32], detail[512] = "";
    version_text(l->cudnn_version, text);
    const cudnnStatus_t made = l->cudnn.cudnnCreate(&l->cudnn_handle);
    if (made != CUDNN_STATUS_SUCCESS) {
        l->cudnn_handle = NULL;
        l->cudnn.cudnnGetLastErrorString(detail, sizeof detail);
        return dukd_fail(f, DUKD_FAILED,
                         "cuDNN %s cannot be used here: cudnnCreate: %s%s%s%s; is there a GPU, with a driver "
                         "new enough for it?",
                         text, l->cudnn.cudnnGetErrorString(made), detail[0] != 0 ? " (" : "", detail,
                         detail[0] != 0 ? ")" : "");
    }
    const cudnnStatus_t set = l->cudnn.cudnnSetStream(l->cudnn_handle, l->stream);
    if (set != CUDNN_STATUS_SUCCESS)
        return dukd_fail(f, DUKD_FAILED, "cuDNN %s cannot use the engine's stream: cudnnSetStream: %s", text,
                         l->cudnn.cudnnGetErrorString(set));
    version_text(l->lt_version, text);
    const cublasStatus_t lt = l->lt.cublasLtCreate(&l->lt_handle);
    if (lt != CUBLAS_STATUS_SUCCESS) {
        l->lt_handle = NULL;
        return dukd_fail(f, DUKD_FAILED,
                         "cuBLASLt %s cannot be used here: cublasLtCreate: %s; is there a GPU, with a driver "
                         "new enough for it?",
                         text, l->lt.cublasLtGetStatusString(lt));
    }
    return DUKD_DONE;
}

int gpu_libraries_open(gpu_libraries **out, void *stream, dukd_failure *f) {
    *out = NULL;
    gpu_libraries *l = calloc(1, sizeof *l);
    if (l == NULL) return dukd_fail_memory(f, "the CUDA libraries' table", sizeof *l);
    l->stream = stream;
    int status = open_checked(l, &l->cudnn_version, &cudnn_library, f);
    if (status == DUKD_DONE) status = open_checked(l, &l->lt_version, &lt_library, f);
    if (status == DUKD_DONE) status = make_handles(l, f);
    if (status != DUKD_DONE) {
        gpu_libraries_close(l);
        return status;
    }
    *out = l;
    return DUKD_DONE;
}

void gpu_libraries_close(gpu_libraries *l) {
    if (l == NULL) return;
    if (l->lt_handle != NULL) (void)l->lt.cublasLtDestroy(l->lt_handle);
    if (l->cudnn_handle != NULL) (void)l->cudnn.cudnnDestroy(l->cudnn_handle);
    free(l);
}

void gpu_libraries_text(const gpu_libraries *l, char *out, size_t room) {
    char cudnn[32], lt[32];
    version_text(l->cudnn_version, cudnn);
    version_text(l->lt_version, lt);
    (void)snprintf(out, room, "cuDNN %s, cuBLASLt %s", cudnn, lt);
}
