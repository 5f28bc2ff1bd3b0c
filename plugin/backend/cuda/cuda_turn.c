/* The runtime's errors in words; the thread's context while the backend is at work. */
#include "cuda_backend.h"
#include "report.h"

#include <string.h>

int32_t dukd_cuda_check(int status, const char *what, dukd_error *error) {
    const cudaError_t e = (cudaError_t)status;
    if (e == cudaSuccess) return DUKD_OK;
    (void)cudaGetLastError();
    switch (e) {
    case cudaErrorMemoryAllocation:
        return dukd_report(error, DUKD_E_MEMORY, "the CUDA device is out of memory (%s): use smaller batches",
                           what);
    case cudaErrorNoKernelImageForDevice:
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "the CUDA module has no code for this device (%s): build it with the device's "
                           "compute capability in DUKD_CUDA_ARCHITECTURES",
                           what);
    case cudaErrorUnsupportedPtxVersion:
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "the CUDA module has code for this device that the driver is too old for (%s): "
                           "update the driver, or build with the device's compute capability in "
                           "DUKD_CUDA_ARCHITECTURES",
                           what);
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureInvalidated:
        return dukd_report(error, DUKD_E_STATE, "CUDA: %s cannot be done while a stream is captured (%s)",
                           what, cudaGetErrorName(e));
    case cudaErrorInvalidResourceHandle:
        return dukd_report(error, DUKD_E_BACKEND,
                           "CUDA: %s failed: the step's stream is gone, or of another device or context (%s)",
                           what, cudaGetErrorName(e));
    default:
        return dukd_report(error, DUKD_E_BACKEND, "CUDA: %s failed: %s (%s)", what, cudaGetErrorString(e),
                           cudaGetErrorName(e));
    }
}

/* ---------------------------------------------------------------- the thread's context */

dukd_cuda_contexts dukd_cuda_find_contexts(void) {
    static const char *const names[2] = {"cuCtxGetCurrent", "cuCtxSetCurrent"};
    void *found[2] = {NULL, NULL};
    dukd_cuda_contexts c = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        enum cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
        const cudaError_t status =
            cudaGetDriverEntryPointByVersion(names[i], &found[i], 4000, cudaEnableDefault, &result);
#else
        const cudaError_t status = cudaGetDriverEntryPoint(names[i], &found[i], cudaEnableDefault, &result);
#endif
        if (status != cudaSuccess) (void)cudaGetLastError();
        if (status != cudaSuccess || result != cudaDriverEntryPointSuccess || found[i] == NULL) return c;
    }
    memcpy(&c.get, &found[0], sizeof c.get);
    memcpy(&c.set, &found[1], sizeof c.set);
    return c;
}

int32_t dukd_cuda_enter(const dukd_cuda_backend *b, dukd_cuda_turn *turn, dukd_error *error) {
    int current = -1;
    void *context = NULL;
    *turn = (dukd_cuda_turn){.before = -1};
    const bool known = b->contexts.get != NULL && b->contexts.get(&context) == 0;
    int status = (int)cudaGetDevice(&current);
    if (status == 0 && (current != b->device || (known && context == NULL))) {
        status = (int)cudaSetDevice(b->device);
        if (status == 0)
            *turn = (dukd_cuda_turn){
                .restore = known ? b->contexts.set : NULL, .context = context, .before = current};
    }
    return dukd_cuda_check(status, "making the device current", error);
}

void dukd_cuda_leave(dukd_cuda_turn *turn) {
    if (turn->before < 0) return;
    if (turn->restore != NULL) {
        (void)turn->restore(turn->context);
    } else if (cudaSetDevice(turn->before) != cudaSuccess) {
        (void)cudaGetLastError();
    }
    turn->before = -1;
}

bool dukd_cuda_swap_capture_mode(enum cudaStreamCaptureMode *mode) {
    if (cudaThreadExchangeStreamCaptureMode(mode) == cudaSuccess) return true;
    (void)cudaGetLastError();
    return false;
}
