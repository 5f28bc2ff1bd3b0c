/* Elements that lie side by side, 16 bytes at a time (8 of 16-bit ones in a mixture of types). */
#ifndef DUKD_CUDA_VECTORS_H
#define DUKD_CUDA_VECTORS_H

#include "cuda_device.h"

#include <cuda_bf16.h>

/* Each has SIZE elements. load and store take the index of the first, a multiple of SIZE; data is aligned to SIZE elements. */
namespace dukd_element {

static __device__ __forceinline__ void unpack(f16, uint32_t word, float *x) {
    x[0] = __half2float(__ushort_as_half(static_cast<unsigned short>(word)));
    x[1] = __half2float(__ushort_as_half(static_cast<unsigned short>(word >> 16)));
}

static __device__ __forceinline__ void unpack(bf16, uint32_t word, float *x) {
    x[0] = dukd_f32_of_word(word << 16);
    x[1] = dukd_f32_of_word(word & 0xffff0000u);
}

static __device__ __forceinline__ uint32_t pack(f16, const float *x) {
    const __half2 both = __floats2half2_rn(x[0], x[1]);
    uint32_t word;
    memcpy(&word, &both, sizeof word);
    return word;
}

static __device__ __forceinline__ uint32_t pack(bf16, const float *x) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(x[0], x[1]);
    uint32_t word;
    memcpy(&word, &both, sizeof word);
    return word;
}

struct four_f32 {
    static constexpr int SIZE = 4;
    static __device__ __forceinline__ void load(const char *data, int, int64_t i, float *x) {
        const float4 v = *reinterpret_cast<const float4 *>(data + i * 4);
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    }
    static __device__ __forceinline__ void store(char *data, int, int64_t i, const float *x) {
        *reinterpret_cast<float4 *>(data + i * 4) = make_float4(x[0], x[1], x[2], x[3]);
    }
};

/* E: f16 or bf16 */
template <class E> struct four_halves {
    static constexpr int SIZE = 4;
    static __device__ __forceinline__ void load(const char *data, int, int64_t i, float *x) {
        const uint2 v = *reinterpret_cast<const uint2 *>(data + i * 2);
        unpack(E(), v.x, x), unpack(E(), v.y, x + 2);
    }
    static __device__ __forceinline__ void store(char *data, int, int64_t i, const float *x) {
        *reinterpret_cast<uint2 *>(data + i * 2) = make_uint2(pack(E(), x), pack(E(), x + 2));
    }
};

template <class E> struct eight_halves {
    static constexpr int SIZE = 8;
    static __device__ __forceinline__ void load(const char *data, int, int64_t i, float *x) {
        const uint4 v = *reinterpret_cast<const uint4 *>(data + i * 2);
        unpack(E(), v.x, x), unpack(E(), v.y, x + 2), unpack(E(), v.z, x + 4), unpack(E(), v.w, x + 6);
    }
    static __device__ __forceinline__ void store(char *data, int, int64_t i, const float *x) {
        *reinterpret_cast<uint4 *>(data + i * 2) =
            make_uint4(pack(E(), x), pack(E(), x + 2), pack(E(), x + 4), pack(E(), x + 6));
    }
};

struct four_mixed {
    static constexpr int SIZE = 4;
    static __device__ __forceinline__ void load(const char *data, int type, int64_t i, float *x) {
        if (type == DUKD_CUDA_F32) {
            four_f32::load(data, type, i, x);
        } else if (type == DUKD_CUDA_F16) {
            four_halves<f16>::load(data, type, i, x);
        } else {
            four_halves<bf16>::load(data, type, i, x);
        }
    }
    static __device__ __forceinline__ void store(char *data, int type, int64_t i, const float *x) {
        if (type == DUKD_CUDA_F32) {
            four_f32::store(data, type, i, x);
        } else if (type == DUKD_CUDA_F16) {
            four_halves<f16>::store(data, type, i, x);
        } else {
            four_halves<bf16>::store(data, type, i, x);
        }
    }
};

} // namespace dukd_element

#endif
