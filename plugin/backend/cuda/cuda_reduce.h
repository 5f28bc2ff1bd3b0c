/* Sums of a block, in an order that is always the same: no atomics. */
#ifndef DUKD_CUDA_REDUCE_H
#define DUKD_CUDA_REDUCE_H

#include "cuda_launch.h"

/* Sum over the warp, always the same tree; lane 0 has it. */
static __device__ __forceinline__ double dukd_sum_of_warp(double x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_down_sync(0xffffffffu, x, step);
    return x;
}

/* The sums of a and of b over all THREADS threads of the block, a multiple of 32; true for thread 0, which has them. Once a kernel:
 * a second time would write what thread 0 may still read. */
template <int THREADS> static __device__ __forceinline__ bool dukd_sum_of_block(double *a, double *b) {
    DUKD_SHARED(double, of_warp, [2][THREADS / 32]);
    const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
    *a = dukd_sum_of_warp(*a);
    *b = dukd_sum_of_warp(*b);
    if (thread % 32 == 0) {
        of_warp[0][thread / 32] = *a;
        of_warp[1][thread / 32] = *b;
    }
    __syncthreads();
    if (thread != 0) return false;
    for (int i = 1; i < THREADS / 32; i++) {
        *a += of_warp[0][i];
        *b += of_warp[1][i];
    }
    return true;
}

#endif
