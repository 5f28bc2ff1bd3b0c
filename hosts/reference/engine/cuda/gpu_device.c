/* What CUDA there is on this machine, in words; errors of the runtime; the thread's current device. */
#include <cuda_runtime_api.h>

#include "engine/cuda/gpu_state.h"

#define VERSION(v) (v) / 1000, (v) % 1000 / 10

int gpu_check(int status, const char *what, dukd_failure *f) {
    const cudaError_t e = (cudaError_t)status;
    if (e == cudaSuccess) return DUKD_DONE;
    (void)
        cudaGetLastError(); /* told here, so no error of a later call; those that break the context come back by themselves */
    switch (e) {
    case cudaErrorMemoryAllocation:
        return dukd_fail(
            f, DUKD_FAILED,
            "the CUDA device is out of memory (%s): use a smaller batch, smaller patches or tiles, or a "
            "device that others do not use",
            what);
    case cudaErrorNoKernelImageForDevice:
        return dukd_fail(
            f, DUKD_FAILED,
            "the CUDA engine has no code for this device (%s): compute capability 7.5 or later is "
            "needed, or build with the device's in DUKD_CUDA_ARCHITECTURES",
            what);
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureInvalidated:
        return dukd_fail(
            f, DUKD_FAILED,
            "CUDA: %s cannot be done while a step is recorded (%s): run the step once before it is "
            "recorded",
            what, cudaGetErrorName(e));
    default:
        return dukd_fail(f, DUKD_FAILED, "CUDA: %s failed: %s (%s)", what, cudaGetErrorString(e),
                         cudaGetErrorName(e));
    }
}

int gpu_look(int *devices, dukd_failure *f) {
    int driver = 0, runtime = 0;
    *devices = 0;
    if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = CUDART_VERSION;
    const cudaError_t status = cudaGetDeviceCount(devices);
    const cudaError_t version = cudaDriverGetVersion(&driver);
    (void)cudaGetLastError();
    if (version != cudaSuccess || driver == 0)
        return dukd_fail(
            f, DUKD_FAILED,
            "there is no NVIDIA driver: install one for CUDA %d.%d or later, or use the engine onednn",
            VERSION(runtime));
    if (status == cudaErrorInsufficientDriver)
        return dukd_fail(
            f, DUKD_FAILED,
            "the NVIDIA driver is too old: it is for CUDA %d.%d, and the CUDA engine needs %d.%d: "
            "update it",
            VERSION(driver), VERSION(runtime));
    if (status == cudaErrorNoDevice || (status == cudaSuccess && *devices == 0))
        return dukd_fail(f, DUKD_FAILED,
                         "there is a driver for CUDA %d.%d, but no CUDA device: none is built in, or "
                         "CUDA_VISIBLE_DEVICES hides it: set that, or use the engine onednn",
                         VERSION(driver));
    return gpu_check((int)status, "counting devices", f);
}

int gpu_enter(const gpu_engine *e, dukd_failure *f) {
    int current = -1;
    int status = (int)cudaGetDevice(&current);
    if (status == 0 && current != e->device) status = (int)cudaSetDevice(e->device);
    return gpu_check(status, "making the device current", f);
}
