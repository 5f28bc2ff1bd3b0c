/* Quotients by a divisor that is known when a kernel is launched: a product and a shift in place of the twenty instructions of a 32-bit
 * division, or the hundred of a 64-bit one. C and CUDA. */
#ifndef DUKD_CUDA_DIVIDE_H
#define DUKD_CUDA_DIVIDE_H

#include <stdint.h>

#ifdef __CUDACC__
#define DUKD_CUDA_BOTH static __host__ __device__ __forceinline__
#else
#define DUKD_CUDA_BOTH static inline
#endif

typedef struct {
    uint32_t divisor, factor, shift;
} dukd_cuda_divider;

/* divisor: 1 .. 2^31 - 1. After Granlund and Montgomery, "Division by invariant integers using multiplication", 1994, figure 4.1. */
static inline dukd_cuda_divider dukd_cuda_divider_of(int64_t divisor) {
    const uint64_t d = (uint64_t)divisor;
    dukd_cuda_divider v = {(uint32_t)d, 0, 0};
    while ((UINT64_C(1) << v.shift) < d) v.shift++;
    v.factor = (uint32_t)((((UINT64_C(1) << v.shift) - d) << 32) / d + 1);
    return v;
}

/* x / divisor for x of 0 .. 2^31 - 1; x becomes the remainder. */
DUKD_CUDA_BOTH uint32_t dukd_cuda_split(const dukd_cuda_divider *v, uint32_t *x) {
    const uint32_t high = (uint32_t)(((uint64_t)*x * v->factor) >> 32);
    const uint32_t quotient = (high + *x) >> v->shift; /* high <= x: no carry */
    *x -= quotient * v->divisor;
    return quotient;
}

#endif
