/* Device functions that the kernels share: elements of any type, and D.
 *
 * Arithmetic is the CPU backend's: f32 as written (the files are compiled without contraction), 16-bit results rounded to
 * nearest, ties to even. So images and gradients have the CPU backend's bits. */
#ifndef DUKD_CUDA_DEVICE_H
#define DUKD_CUDA_DEVICE_H

#include "cuda_kernels.h"
#include "cuda_launch.h"
#include "dukd_plugin.h"

#include <cuda_fp16.h>

static __device__ __forceinline__ float dukd_f32_of_word(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static __device__ __forceinline__ uint32_t dukd_word_of_f32(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* An element type that is known when compiled; `mixed` looks at the view. load and store take the index of an element. */
namespace dukd_element {

struct f32 {
    static __device__ __forceinline__ float load(const char *data, int, int64_t i) {
        return reinterpret_cast<const float *>(data)[i];
    }
    static __device__ __forceinline__ void store(char *data, int, int64_t i, float x) {
        reinterpret_cast<float *>(data)[i] = x;
    }
};

struct f16 {
    static __device__ __forceinline__ float load(const char *data, int, int64_t i) {
        return __half2float(__ushort_as_half(reinterpret_cast<const unsigned short *>(data)[i]));
    }
    static __device__ __forceinline__ void store(char *data, int, int64_t i, float x) {
        reinterpret_cast<unsigned short *>(data)[i] = __half_as_ushort(__float2half_rn(x));
    }
};

struct bf16 {
    static __device__ __forceinline__ float load(const char *data, int, int64_t i) {
        return dukd_f32_of_word(static_cast<uint32_t>(reinterpret_cast<const uint16_t *>(data)[i]) << 16);
    }
    static __device__ __forceinline__ void store(char *data, int, int64_t i, float x) {
        const uint32_t u = dukd_word_of_f32(x);
        const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
        const uint32_t rounded = nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        reinterpret_cast<uint16_t *>(data)[i] = static_cast<uint16_t>(rounded);
    }
};

struct mixed {
    static __device__ __forceinline__ float load(const char *data, int type, int64_t i) {
        if (type == DUKD_CUDA_F32) return f32::load(data, type, i);
        return type == DUKD_CUDA_F16 ? f16::load(data, type, i) : bf16::load(data, type, i);
    }
    static __device__ __forceinline__ void store(char *data, int type, int64_t i, float x) {
        if (type == DUKD_CUDA_F32) {
            f32::store(data, type, i, x);
        } else if (type == DUKD_CUDA_F16) {
            f16::store(data, type, i, x);
        } else {
            bf16::store(data, type, i, x);
        }
    }
};

} // namespace dukd_element

/* factor x sign(d); sign(0) is 0, sign(NaN) is NaN */
static __device__ __forceinline__ float dukd_signed(float factor, float d) {
    const float of_sign = dukd_f32_of_word(dukd_word_of_f32(factor) ^ (dukd_word_of_f32(d) & 0x80000000u));
    return fabsf(d) > 0.0f ? of_sign : d + 0.0f; /* -0 becomes 0 */
}

/* Where element (r, c) of an h x w plane lies in D of it. */
static __device__ __forceinline__ void dukd_place_of(uint32_t augment, uint32_t h, uint32_t w, uint32_t r,
                                                     uint32_t c, uint32_t *row, uint32_t *col) {
    const uint32_t i = (augment & DUKD_AUGMENT_FLIP_H) != 0 ? h - 1 - r : r;
    const uint32_t j = (augment & DUKD_AUGMENT_FLIP_W) != 0 ? w - 1 - c : c;
    const bool transposed = (augment & DUKD_AUGMENT_TRANSPOSE) != 0;
    *row = transposed ? j : i;
    *col = transposed ? i : j;
}

static __device__ __forceinline__ int64_t dukd_index(const dukd_cuda_view &v, int64_t n, int64_t c, int64_t r,
                                                     int64_t w) {
    return n * v.stride[0] + c * v.stride[1] + r * v.stride[2] + w * v.stride[3];
}

#endif
