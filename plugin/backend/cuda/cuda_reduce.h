/* Sums of a block, in an order that is always the same: no atomics.
 *
 * Most devices add f64 at a 32nd or 64th of the rate of f32, so what is many is added in pairs of f32: `high` is the f32 sum, `low` the sum of
 * what its roundings lost (Knuth's TwoSum: seven f32 additions a number). A pair of a few thousand numbers of one sign is good to
 * 2^-44 or better. A NaN or an infinity is in `high`; so is a sum that reaches 2^128. */
#ifndef DUKD_CUDA_REDUCE_H
#define DUKD_CUDA_REDUCE_H

#include "cuda_kernels.h"
#include "cuda_launch.h"

static __device__ __forceinline__ void dukd_add(dukd_cuda_pair *sum, float x) {
    const float high = sum->high + x, part = high - sum->high;
    sum->low += (sum->high - (high - part)) + (x - part);
    sum->high = high;
}

static __device__ __forceinline__ void dukd_add(dukd_cuda_pair *sum, const dukd_cuda_pair &x) {
    dukd_add(sum, x.high);
    sum->low += x.low;
}

static __device__ __forceinline__ void dukd_add(double *sum, const double &x) {
    *sum += x;
}

static __device__ __forceinline__ double dukd_value_of(const dukd_cuda_pair &p) {
    const double high = static_cast<double>(p.high);
    return isfinite(p.high) ? high + static_cast<double>(p.low) : high;
}

static __device__ __forceinline__ double dukd_of_lane_after(const double &x, int step) {
    return __shfl_down_sync(0xffffffffu, x, step);
}

static __device__ __forceinline__ dukd_cuda_pair dukd_of_lane_after(const dukd_cuda_pair &x, int step) {
    dukd_cuda_pair y;
    y.high = __shfl_down_sync(0xffffffffu, x.high, step);
    y.low = __shfl_down_sync(0xffffffffu, x.low, step);
    return y;
}

/* Each sum[i] (T: double or dukd_cuda_pair) over all THREADS threads of the block, a multiple of 32; true for thread 0, which has them. Once
 * a kernel: a second time would write what thread 0 may still read. */
template <int THREADS, class T, int SUMS>
static __device__ __forceinline__ bool dukd_sums_of_block(T (&sum)[SUMS]) {
    DUKD_SHARED(T, of_warp, [SUMS][THREADS / 32]);
    const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
#pragma unroll
    for (int i = 0; i < SUMS; i++) {
#pragma unroll
        for (int step = 16; step > 0; step /= 2) dukd_add(&sum[i], dukd_of_lane_after(sum[i], step));
        if (thread % 32 == 0) of_warp[i][thread / 32] = sum[i];
    }
    __syncthreads();
    if (thread != 0) return false;
#pragma unroll
    for (int i = 0; i < SUMS; i++) {
        for (int warp = 1; warp < THREADS / 32; warp++) dukd_add(&sum[i], of_warp[i][warp]);
    }
    return true;
}

#endif
