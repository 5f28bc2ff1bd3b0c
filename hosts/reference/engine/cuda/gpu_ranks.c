/* See gpu_ranks.h. */
#include "engine/cuda/gpu_ranks.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/gpu_kernels.h"
#include "engine/cuda/gpu_open.h"

_Static_assert(GPU_RANKS_ID_BYTES == NCCL_UNIQUE_ID_BYTES, "the id's size is NCCL's");

/* NCCL's functions, by the declarations of its header. */
typedef struct {
    ncclResult_t (*get_version)(int *version);
    const char *(*error_string)(ncclResult_t result);
    ncclResult_t (*get_id)(ncclUniqueId *id);
    ncclResult_t (*init)(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank);
    ncclResult_t (*all_reduce)(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t how,
                               ncclComm_t comm, cudaStream_t stream);
    ncclResult_t (*async_error)(ncclComm_t comm, ncclResult_t *error);
    ncclResult_t (*destroy)(ncclComm_t comm);
    ncclResult_t (*abort)(ncclComm_t comm);
} nccl_functions;

struct gpu_ranks {
    nccl_functions nccl;
    ncclComm_t comm;
    cudaStream_t stream, own; /* the engine's, and that of the sums */
    cudaEvent_t ready, summed;
    int32_t count;        /* of ranks */
    int32_t begun;        /* sums that the engine's stream has not been told to wait for */
    ncclResult_t refused; /* what a sum has failed with: the communicator is of no use any more */
};

static const gpu_library nccl_library = {
    .title = "NCCL",
    .stem = "libnccl.so",
    .install = "several GPUs need it: install NCCL 2 (NVIDIA's package libnccl2, or the Python package "
               "nvidia-nccl-cu13)",
    .majors = {NCCL_MAJOR},
};
#define PLACE(name, member)                                                                                  \
    { name, offsetof(nccl_functions, member) }
static const gpu_library_function functions[] = {
    PLACE("ncclGetVersion", get_version),
    PLACE("ncclGetErrorString", error_string),
    PLACE("ncclGetUniqueId", get_id),
    PLACE("ncclCommInitRank", init),
    PLACE("ncclAllReduce", all_reduce),
    PLACE("ncclCommGetAsyncError", async_error),
    PLACE("ncclCommDestroy", destroy),
    PLACE("ncclCommAbort", abort),
    {NULL, 0},
};

static int open_library(nccl_functions *n, dukd_failure *f) {
    void *library;
    int version = 0;
    int status = gpu_library_open(&library, &nccl_library, f);
    if (status) return status;
    status = gpu_library_take(n, library, &nccl_library, functions, f);
    dlclose(library);
    if (status) return status;
    const ncclResult_t result = n->get_version(&version);
    if (result == ncclSuccess && version / 10000 == NCCL_MAJOR) return 0;
    return dukd_fail(f, DUKD_FAILED,
                     "libnccl.so.2 says that it is version %d of NCCL; this program needs NCCL %d", version,
                     NCCL_MAJOR);
}

static int fail_nccl(const nccl_functions *n, const char *call, ncclResult_t result, dukd_failure *f) {
    return dukd_fail(f, DUKD_FAILED, "%s: %s (NCCL error %d). NCCL_DEBUG=INFO in the environment tells more",
                     call, n->error_string(result), (int)result);
}

static int fail_cuda(const char *call, cudaError_t e, dukd_failure *f) {
    return dukd_fail(f, DUKD_FAILED, "%s: %s", call, cudaGetErrorString(e));
}

int gpu_ranks_make_id(char id[GPU_RANKS_ID_BYTES], dukd_failure *f) {
    nccl_functions n;
    ncclUniqueId made;
    int status = open_library(&n, f);
    if (status || !id) return status;
    const ncclResult_t result = n.get_id(&made);
    if (result != ncclSuccess)
        status = fail_nccl(&n, "ncclGetUniqueId", result, f);
    else
        memcpy(id, made.internal, sizeof made.internal);
    return status;
}

static int make_stream(gpu_ranks *r, dukd_failure *f) {
    cudaError_t e = cudaStreamCreateWithFlags(&r->own, cudaStreamNonBlocking);
    if (e != cudaSuccess) return fail_cuda("cudaStreamCreateWithFlags", e, f);
    e = cudaEventCreateWithFlags(&r->ready, cudaEventDisableTiming);
    if (e == cudaSuccess) e = cudaEventCreateWithFlags(&r->summed, cudaEventDisableTiming);
    return e == cudaSuccess ? 0 : fail_cuda("cudaEventCreateWithFlags", e, f);
}

int gpu_ranks_open(gpu_ranks **out, const char id[GPU_RANKS_ID_BYTES], int32_t rank, int32_t ranks,
                   void *stream, dukd_failure *f) {
    ncclUniqueId given;
    *out = NULL;
    gpu_ranks *r = calloc(1, sizeof *r);
    if (!r) return dukd_fail_memory(f, "sums over ranks", sizeof *r);
    r->stream = stream;
    r->count = ranks;
    memcpy(given.internal, id, sizeof given.internal);
    int status = open_library(&r->nccl, f);
    if (!status) status = make_stream(r, f);
    if (!status) {
        const ncclResult_t result = r->nccl.init(&r->comm, ranks, given, rank);
        if (result != ncclSuccess) {
            r->comm = NULL;
            status = fail_nccl(&r->nccl, "ncclCommInitRank", result, f);
        }
    }
    if (status) {
        gpu_ranks_close(r, 1);
        return status;
    }
    *out = r;
    return 0;
}

void gpu_ranks_close(gpu_ranks *r, int broken) {
    if (!r) return;
    if (r->comm) {
        /* A communicator with a lost rank never finishes: it is aborted. */
        ncclResult_t error = ncclSuccess;
        if (broken || r->refused != ncclSuccess || r->nccl.async_error(r->comm, &error) != ncclSuccess ||
            error != ncclSuccess) {
            (void)r->nccl.abort(r->comm);
        } else {
            (void)cudaStreamSynchronize(r->own);
            (void)r->nccl.destroy(r->comm);
        }
    }
    if (r->ready) (void)cudaEventDestroy(r->ready);
    if (r->summed) (void)cudaEventDestroy(r->summed);
    if (r->own) (void)cudaStreamDestroy(r->own);
    free(r);
}

/* The next sum comes after what the engine's stream has been given. */
static int follow(gpu_ranks *r, dukd_failure *f) {
    cudaError_t e = cudaEventRecord(r->ready, r->stream);
    if (e != cudaSuccess) return fail_cuda("cudaEventRecord", e, f);
    e = cudaStreamWaitEvent(r->own, r->ready, 0);
    if (e != cudaSuccess) return fail_cuda("cudaStreamWaitEvent", e, f);
    r->begun = 1;
    return 0;
}

static int reduce(gpu_ranks *r, void *x, int64_t count, ncclDataType_t type, ncclRedOp_t how,
                  dukd_failure *f) {
    const ncclResult_t result = r->nccl.all_reduce(x, x, (size_t)count, type, how, r->comm, r->own);
    if (result == ncclSuccess) return 0;
    r->refused = result;
    return fail_nccl(&r->nccl, "ncclAllReduce", result, f);
}

int gpu_ranks_mean(gpu_ranks *r, float *x, int64_t count, dukd_failure *f) {
    if (count == 0) return 0;
    int status = follow(r, f);
    if (!status) status = reduce(r, x, count, ncclFloat32, ncclSum, f);
    if (status) return status;
    const cudaError_t e = (cudaError_t)gpu_array_scale(r->own, x, 1 / (float)r->count, count);
    return e == cudaSuccess ? 0 : fail_cuda("dividing a sum", e, f);
}

int gpu_ranks_any(gpu_ranks *r, int32_t *flag, dukd_failure *f) {
    const int status = follow(r, f);
    return status ? status : reduce(r, flag, 1, ncclInt32, ncclMax, f);
}

int gpu_ranks_join(gpu_ranks *r, dukd_failure *f) {
    if (!r->begun) return 0;
    cudaError_t e = cudaEventRecord(r->summed, r->own);
    if (e != cudaSuccess) return fail_cuda("cudaEventRecord", e, f);
    e = cudaStreamWaitEvent(r->stream, r->summed, 0);
    if (e != cudaSuccess) return fail_cuda("cudaStreamWaitEvent", e, f);
    r->begun = 0;
    return 0;
}

int gpu_ranks_check(gpu_ranks *r, dukd_failure *f) {
    ncclResult_t broken = ncclSuccess;
    if (r->refused != ncclSuccess) return fail_nccl(&r->nccl, "ncclAllReduce", r->refused, f);
    const ncclResult_t result = r->nccl.async_error(r->comm, &broken);
    if (result != ncclSuccess) return fail_nccl(&r->nccl, "ncclCommGetAsyncError", result, f);
    if (broken == ncclSuccess || broken == ncclInProgress) return 0;
    return fail_nccl(&r->nccl, "summing over ranks", broken, f);
}
