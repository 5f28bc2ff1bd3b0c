/* CUDA sources compiled by g++: what cuda_launch.h needs in place of nvcc.
 *
 * One OS thread, one fibre for each CUDA thread of a block, blocks one after the other. A barrier aborts where a thread has
 * left the kernel or waits at another line; a warp operation waits for all lanes of its mask and aborts on a lane outside of
 * it. Shared and device memory hold 0xFF (NaN) until they are written. A launch is put into its stream's queue and runs when
 * somebody waits for the stream. */
#ifndef CUDA_EMULATION_H
#define CUDA_EMULATION_H

#include <cuda_runtime_api.h>
#include <vector_functions.h>
#include <vector_types.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#undef __global__
#undef __device__
#undef __shared__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace emulation {

struct place {
    dim3 thread, block, block_size, grid;
};
extern place here; /* of the CUDA thread that runs */

/* NULL, with the error set, where the launch is refused. */
void launch(void *stream, dim3 grid, dim3 block, size_t bytes, size_t argument_bytes,
            std::function<void()> thread);

void barrier(int line);
uint64_t shuffle_down(int line, uint32_t mask, uint64_t value, int delta);
uint64_t shuffle_xor(int line, uint32_t mask, uint64_t value, int bits);
int atomic_or(int *p, int x);
/* Memory of the block, by an address that stands for the array; 0xFF when the block first asks. */
void *shared(const void *array, size_t size);
void *dynamic_shared();

/* Whether cudaFuncGetAttributes has been called for a kernel that is launched (emulation_unloaded). */
void look_if_loaded(const void *kernel);

template <class... P, class... A>
void launch_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t bytes, void *stream,
                   const A &...arguments) {
    constexpr size_t size = (sizeof(P) + ... + 0);
    static_assert(size <= 4096, "kernel arguments must fit 4096 bytes");
    look_if_loaded(reinterpret_cast<const void *>(kernel));
    launch(stream, grid, block, bytes, size, [=] { kernel(arguments...); });
}

} // namespace emulation

#define DUKD_LAUNCH(kernel, grid, block, bytes, stream, ...)                                                 \
    emulation::launch_kernel(kernel, grid, block, bytes, stream, __VA_ARGS__)
#define DUKD_SHARED(type, name, extent)                                                                      \
    typedef type name##_type extent;                                                                         \
    static const char name##_array = 0;                                                                      \
    name##_type &name = *static_cast<name##_type *>(emulation::shared(&name##_array, sizeof(name##_type)))
#define DUKD_DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(emulation::dynamic_shared())

#define threadIdx                        (emulation::here.thread)
#define blockIdx                         (emulation::here.block)
#define blockDim                         (emulation::here.block_size)
#define gridDim                          (emulation::here.grid)
#define __syncthreads()                  emulation::barrier(__LINE__)
#define __shfl_down_sync(mask, x, delta) emulation_shuffle_down(__LINE__, mask, x, delta)
#define __shfl_xor_sync(mask, x, bits)   emulation_shuffle_xor(__LINE__, mask, x, bits)

#define atomicOr(p, x) emulation::atomic_or(p, x)

static inline double emulation_shuffle_down(int line, uint32_t mask, double x, int delta) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = emulation::shuffle_down(line, mask, bits, delta);
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float emulation_shuffle_xor(int line, uint32_t mask, float x, int lane_bits) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = static_cast<uint32_t>(emulation::shuffle_xor(line, mask, bits, lane_bits));
    memcpy(&x, &bits, sizeof x);
    return x;
}

template <class... P>
static inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, void (*kernel)(P...)) {
    return cudaFuncGetAttributes(a, reinterpret_cast<const void *>(kernel));
}

using std::isfinite;

#endif
