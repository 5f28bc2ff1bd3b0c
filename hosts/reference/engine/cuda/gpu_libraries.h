/* cuDNN and cuBLASLt as the engine sees them: what it calls of them, and their handles. The two functions that open and close them are
 * gpu_conv.h's. The types of the functions are those of NVIDIA's headers, and the only use of a compiler's extension (typeof). */
#ifndef DUKD_GPU_LIBRARIES_H
#define DUKD_GPU_LIBRARIES_H

#include "gpu_conv.h"

#include <cublasLt.h>
#include <cudnn.h>

#define GPU_FUNCTION(name) __typeof__(name) *name

typedef struct {
    GPU_FUNCTION(cudnnGetVersion);
    GPU_FUNCTION(cudnnGetCudartVersion);
    GPU_FUNCTION(cudnnGetErrorString);
    GPU_FUNCTION(cudnnGetLastErrorString);
    GPU_FUNCTION(cudnnCreate);
    GPU_FUNCTION(cudnnDestroy);
    GPU_FUNCTION(cudnnSetStream);
    GPU_FUNCTION(cudnnBackendCreateDescriptor);
    GPU_FUNCTION(cudnnBackendDestroyDescriptor);
    GPU_FUNCTION(cudnnBackendSetAttribute);
    GPU_FUNCTION(cudnnBackendGetAttribute);
    GPU_FUNCTION(cudnnBackendFinalize);
    GPU_FUNCTION(cudnnBackendExecute);
} gpu_cudnn_functions;

typedef struct {
    GPU_FUNCTION(cublasLtGetVersion);
    GPU_FUNCTION(cublasLtGetStatusString);
    GPU_FUNCTION(cublasLtCreate);
    GPU_FUNCTION(cublasLtDestroy);
    GPU_FUNCTION(cublasLtMatrixLayoutCreate);
    GPU_FUNCTION(cublasLtMatrixLayoutDestroy);
    GPU_FUNCTION(cublasLtMatmulDescCreate);
    GPU_FUNCTION(cublasLtMatmulDescDestroy);
    GPU_FUNCTION(cublasLtMatmulDescSetAttribute);
    GPU_FUNCTION(cublasLtMatmulPreferenceCreate);
    GPU_FUNCTION(cublasLtMatmulPreferenceDestroy);
    GPU_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
    GPU_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
    GPU_FUNCTION(cublasLtMatmul);
} gpu_lt_functions;

struct gpu_libraries {
    gpu_cudnn_functions cudnn;
    gpu_lt_functions lt;
    cudnnHandle_t cudnn_handle;
    cublasLtHandle_t lt_handle;
    void *stream;
    size_t cudnn_version, lt_version; /* as the libraries say them */
    int32_t cuda;                     /* major version of CUDA that cuDNN was built for */
    int32_t capability;               /* ten times the device's compute capability */
    const char *avoid;                /* DUKD_CUDNN_AVOID, see gpu_conv_state.h; NULL: nothing */
    int32_t tells;                    /* DUKD_CUDNN_TELL: each choice is printed */
    int32_t has_nvrtc;                /* with which cuDNN compiles engines of its own */
};

#endif
