/* Finds, opens and checks NVIDIA's libraries. */
#include "gpu_libraries.h"
#include "gpu_open.h"

#include <cuda_runtime_api.h>
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
    CUDNN(cudnnGetCudartVersion),
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

/* libcudnn.so.9 itself is little more than names: these do the work. */
static const char *const cudnn_parts[] = {"libcudnn_graph.so.9",
                                          "libcudnn_ops.so.9",
                                          "libcudnn_engines_precompiled.so.9",
                                          "libcudnn_engines_runtime_compiled.so.9",
                                          "libcudnn_heuristic.so.9",
                                          NULL};

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
                .others = {8, 10},
                .parts = cudnn_parts},
    .oldest = 90000,
    .after_newest = 100000,
    .functions = cudnn_functions,
};
/* By the CUDA that cuDNN was built for: cuDNN opens the same one, and ends the process where it is missing. */
static const library_kind lt_libraries[] = {
    {
        .library = {.title = "cuBLASLt",
                    .stem = "libcublasLt.so",
                    .install = "install cuBLAS of CUDA 13, for which cuDNN is built (NVIDIA's package "
                               "libcublas-13-0, or the Python package nvidia-cublas)",
                    .majors = {13},
                    .others = {12, 14}},
        .oldest = 130000,
        .after_newest = 140000,
        .functions = lt_functions,
    },
    {
        .library = {.title = "cuBLASLt",
                    .stem = "libcublasLt.so",
                    .install =
                        "install cuBLAS of CUDA 12, for which cuDNN is built (NVIDIA's package "
                        "libcublas-12-9, or the Python package nvidia-cublas-cu12), or cuDNN for CUDA 13",
                    .majors = {12},
                    .others = {13, 11}},
        .oldest = 120000,
        .after_newest = 130000,
        .functions = lt_functions,
    },
};

/* Both libraries count major * 10000 + minor * 100 + patch, and counted major * 1000 before cuDNN 9 and cuBLAS 12. */
static void version_text(size_t version, char out[32]) {
    const size_t unit = version >= 90000 ? 10000 : 1000;
    (void)snprintf(out, 32, "%zu.%zu.%zu", version / unit, version % unit / 100, version % 100);
}

enum { FIRST_FOR_BLACKWELL = 90700 };

static int check_version(const library_kind *k, size_t version, int32_t capability, dukd_failure *f) {
    char text[32];
    version_text(version, text);
    if (version < k->oldest)
        return dukd_fail(f, DUKD_FAILED, "%s %s is too old for the CUDA engine: %s", k->library.title, text,
                         k->library.install);
    if (k == &cudnn_library && capability >= 100 && version < FIRST_FOR_BLACKWELL)
        return dukd_fail(
            f, DUKD_FAILED,
            "cuDNN %s has nothing for devices of compute capability 10.0 and later, and this one has "
            "%d.%d: install cuDNN 9.7 or later",
            text, (int)capability / 10, (int)capability % 10);
    if (version >= k->after_newest)
        return dukd_fail(f, DUKD_FAILED, "%s %s is of a major version that the CUDA engine does not know: %s",
                         k->library.title, text, k->library.install);
    return DUKD_DONE;
}

/* The version's function alone, for of another version the rest may rightly be missing. The folder, or NULL, gets where it lies. */
static int open_checked(gpu_libraries *l, size_t *version, const library_kind *k, char *folder, size_t room,
                        dukd_failure *f) {
    void *library;
    int status = gpu_library_open(&library, &k->library, f);
    if (status != DUKD_DONE) return status;
    size_t (*get_version)(void) = NULL;
    void *symbol = dlsym(library, k->functions[0].name);
    memcpy(&get_version, &symbol, sizeof symbol);
    if (get_version != NULL) {
        *version = get_version();
        status = check_version(k, *version, l->capability, f);
    }
    if (status == DUKD_DONE) status = gpu_library_take(l, library, &k->library, k->functions, f);
    if (folder != NULL) gpu_library_folder(library, folder, room);
    dlclose(library);
    return status;
}

/* What cuDNN opens besides its parts, before it does. */
static int open_beside(gpu_libraries *l, const char *folder, dukd_failure *f) {
    char name[64];
    l->cuda = (int32_t)(l->cudnn.cudnnGetCudartVersion() / 1000);
    for (size_t i = 0; i < sizeof lt_libraries / sizeof *lt_libraries; i++) {
        library_kind k = lt_libraries[i];
        if (k.library.majors[0] != l->cuda) continue;
        k.library.near = folder;
        (void)snprintf(name, sizeof name, "libnvrtc.so.%d", (int)l->cuda);
        l->has_nvrtc = gpu_library_load(name, folder);
        return open_checked(l, &l->lt_version, &k, NULL, 0, f);
    }
    char text[32];
    version_text(l->cudnn_version, text);
    return dukd_fail(f, DUKD_FAILED, "cuDNN %s is built for CUDA %d, which the CUDA engine does not know: %s",
                     text, (int)l->cuda, cudnn_library.library.install);
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

static int ask_capability(gpu_libraries *l, dukd_failure *f) {
    int device = 0, major = 0, minor = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    l->capability = 10 * major + minor;
    if (status == cudaSuccess) return DUKD_DONE;
    (void)cudaGetLastError();
    return dukd_fail(f, DUKD_FAILED, "CUDA: asking for the device's compute capability failed: %s",
                     cudaGetErrorString(status));
}

int gpu_libraries_open(gpu_libraries **out, void *stream, dukd_failure *f) {
    *out = NULL;
    gpu_libraries *l = calloc(1, sizeof *l);
    if (l == NULL) return dukd_fail_memory(f, "the CUDA libraries' table", sizeof *l);
    l->stream = stream;
    char folder[4096] = "";
    l->avoid = getenv("DUKD_CUDNN_AVOID");
    l->tells = getenv("DUKD_CUDNN_TELL") != NULL;
    int status = ask_capability(l, f);
    if (status == DUKD_DONE)
        status = open_checked(l, &l->cudnn_version, &cudnn_library, folder, sizeof folder, f);
    if (status == DUKD_DONE) status = open_beside(l, folder, f);
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
    (void)snprintf(out, room, "cuDNN %s, cuBLASLt %s%s", cudnn, lt, l->has_nvrtc ? "" : ", no NVRTC");
}
