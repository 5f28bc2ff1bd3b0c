/* What the engine's CUDA sources are written with, so that nvcc and g++ (with tests/cuda_emulation) compile the same text.
 * The plugin has the same three macros for itself (plugin/backend/cuda/cuda_launch.h): host and plugin share no headers.
 *
 *     DUKD_LAUNCH(kernel, grid, block, dynamic bytes, stream, arguments...)      launches; errors: cudaGetLastError
 *     DUKD_SHARED(type, name, [8][33])                                          an array of the block
 *     DUKD_DYNAMIC_SHARED(type, name)                                           the launch's dynamic bytes
 *
 * Not used: textures, cooperative groups, inline PTX, __activemask, __CUDA_ARCH__. */
#ifndef DUKD_GPU_LAUNCH_H
#define DUKD_GPU_LAUNCH_H

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define DUKD_LAUNCH(kernel, grid, block, bytes, stream, ...)                                                 \
    kernel<<<grid, block, bytes, static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__)
#define DUKD_SHARED(type, name, extent) __shared__ type name extent
#define DUKD_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#else
#include "cuda_emulation.h"
#endif

#endif
