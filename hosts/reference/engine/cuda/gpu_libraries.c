/* Finds, opens and checks NVIDIA's libraries. */
#include "gpu_libraries.h"
#include "gpu_open.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUDNN(f)                                                                                             \
    { #f, offsetof(gpu_libraries, cudnn) + offsetof(gpu_cudnn_functions, f) }
#define LT(f)                                                                                                \
    { #f, offsetof(gpu_libraries, lt) + offsetof(gpu_lt_functions, f) }

static const gpu_library_function cudnn_functions[] = {
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
static const gpu_library_function lt_functions[] = {
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

/* The first function of its table is the version's. */
typedef struct {
    gpu_library library;
    size_t oldest, after_newest; /* versions that will do, as the library says them */
    const gpu_library_function *functions;
} library_kind;

static const library_kind cudnn_library = {
    .library = {.title = "cuDNN",
                .stem = "libcudnn.so",
                .install = "install cuDNN 9 (NVIDIA's package cudnn9-cuda-13 or -12, or the Python package "
                           "nvidia-cudnn-cu13)",
                .majors = {9},
                .others = {8, 10}},
    .oldest = 90000,
    .after_newest = 100000,
    .functions = cudnn_functions,
};
static const library_kind lt_library = {
    .library = {.title = "cuBLASLt",
                .stem = "libcublasLt.so",
                .install =
                    "install cuBLAS of CUDA 13 or 12 (NVIDIA's package libcublas-13-0, or the Python package "
                    "nvidia-cublas)",
                .majors = {13, 12},
                .others = {11, 14}},
    .oldest = 120000,
    .after_newest = 140000,
    .functions = lt_functions,
};

/* Both libraries count major * 10000 + minor * 100 + patch, and counted major * 1000 before cuDNN 9 and cuBLAS 12. */
static void version_text(size_t version, char out[32]) {
    const size_t unit = version >= 90000 ? 10000 : 1000;
    (void)snprintf(out, 32, "%zu.%zu.%zu", version / unit, version % unit / 100, version % 100);
}

static int check_version(const library_kind *k, size_t version, dukd_failure *f) {
    char text[32];
    version_text(version, text);
    if (version < k->oldest)
        return dukd_fail(f, DUKD_FAILED, "%s %s is too old for the CUDA engine: %s", k->library.title, text,
                         k->library.install);
    if (version >= k->after_newest)
        return dukd_fail(f, DUKD_FAILED, "%s %s is of a major version that the CUDA engine does not know: %s",
                         k->library.title, text, k->library.install);
    return DUKD_DONE;
}

/* The version's function alone, for of another version the rest may rightly be missing. */
static int open_checked(gpu_libraries *l, size_t *version, const library_kind *k, dukd_failure *f) {
    void *library;
    int status = gpu_library_open(&library, &k->library, f);
    if (status != DUKD_DONE) return status;
    size_t (*get_version)(void) = NULL;
    void *symbol = dlsym(library, k->functions[0].name);
    memcpy(&get_version, &symbol, sizeof symbol);
    if (get_version != NULL) {
        *version = get_version();
        status = check_version(k, *version, f);
    }
    if (status == DUKD_DONE) status = gpu_library_take(l, library, &k->library, k->functions, f);
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
