/* What CUDA there is on this machine, in words. Makes no context. */
#include "cuda_backend.h"
#include "report.h"

#include <stdio.h>

#define VERSION(v) (v) / 1000, (v) % 1000 / 10

int32_t dukd_cuda_look(int *devices, dukd_error *error) {
    int driver = 0, runtime = 0;
    *devices = 0;
    if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = CUDART_VERSION;
    const cudaError_t status = cudaGetDeviceCount(devices);
    const cudaError_t version = cudaDriverGetVersion(&driver);
    (void)cudaGetLastError(); /* what was found out is no error of a later call */
    if (version != cudaSuccess || driver == 0) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "there is no NVIDIA driver: install one for CUDA %d.%d or later, or train on the CPU",
            VERSION(runtime));
    }
    if (status == cudaErrorInsufficientDriver) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "the NVIDIA driver is too old: it is for CUDA %d.%d, and the plugin needs %d.%d: update it",
            VERSION(driver), VERSION(runtime));
    }
    if (status == cudaErrorNoDevice || (status == cudaSuccess && *devices == 0)) {
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "there is a driver for CUDA %d.%d, but no CUDA device: none is built in, or "
                           "CUDA_VISIBLE_DEVICES hides it",
                           VERSION(driver));
    }
    return dukd_cuda_check((int)status, "counting devices", error);
}

int32_t dukd_cuda_look_at(int device, int *major, int *minor, dukd_error *error) {
    cudaError_t status = cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor, device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor, device);
    if (status != cudaSuccess)
        return dukd_cuda_check((int)status, "asking for the device's compute capability", error);
    if (10 * *major + *minor >= DUKD_CUDA_OLDEST) return DUKD_OK;
    return dukd_report(error, DUKD_E_UNSUPPORTED,
                       "CUDA device %d has compute capability %d.%d, and the plugin needs %d.%d or later",
                       device, *major, *minor, DUKD_CUDA_OLDEST / 10, DUKD_CUDA_OLDEST % 10);
}

void dukd_cuda_describe(dukd_backend_info *out) {
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    int devices = 0, major = 0, minor = 0, driver = 0;
    if (dukd_cuda_look(&devices, &why) != DUKD_OK) {
        (void)snprintf(out->detail, sizeof out->detail, "%s", why.message);
        return;
    }
    struct cudaDeviceProp properties;
    const cudaError_t status = cudaGetDeviceProperties(&properties, 0);
    (void)cudaDriverGetVersion(&driver);
    if (dukd_cuda_check((int)status, "asking for the device's properties", &why) != DUKD_OK ||
        dukd_cuda_look_at(0, &major, &minor, &why) != DUKD_OK) {
        (void)snprintf(out->detail, sizeof out->detail, "%s", why.message);
        return;
    }
    out->usable = 1;
    (void)snprintf(out->detail, sizeof out->detail,
                   "%d device%s; device 0: %.100s, compute capability %d.%d, driver for CUDA %d.%d", devices,
                   devices == 1 ? "" : "s", properties.name, major, minor, VERSION(driver));
}
