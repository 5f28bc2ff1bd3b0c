/* What the engine's kernels share: element types and vectors of them, and how a launch is shaped. C++, for .cu files alone.
 *
 * A vector is V neighbouring elements, loaded and stored by one instruction of 16, 8 or 4 bytes: it must lie at a multiple of its size. */
#ifndef DUKD_GPU_DEVICE_H
#define DUKD_GPU_DEVICE_H

#include "gpu_kernels.h"
#include "gpu_launch.h"

#include <cuda_bf16.h>

#include <type_traits>

namespace gpu {

static __device__ __forceinline__ float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static __device__ __forceinline__ uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Types of elements: WIDE of them are 16 bytes. */
struct f32 {
    typedef float word;
    static constexpr int WIDE = 4;
    static __device__ __forceinline__ float from(word x) { return x; }
    static __device__ __forceinline__ word to(float x) { return x; }
};
struct bf16 {
    typedef uint16_t word;
    static constexpr int WIDE = 8;
    static __device__ __forceinline__ float from(word x) { return float_of(static_cast<uint32_t>(x) << 16); }
    /* to nearest, ties to even; a NaN stays one */
    static __device__ __forceinline__ word to(float x) {
        return __bfloat16_as_ushort(__float2bfloat16_rn(x));
    }
};

/* The same memory is also looked at as single elements. */
struct __attribute__((aligned(16), may_alias)) quad {
    uint32_t x, y, z, w;
};
struct __attribute__((aligned(8), may_alias)) pair {
    uint32_t x, y;
};
struct __attribute__((aligned(4), may_alias)) single {
    uint32_t x;
};

template <class E, int V>
static __device__ __forceinline__ void load(float (&to)[V], const typename E::word *from) {
    constexpr int BYTES = V * static_cast<int>(sizeof(typename E::word));
    static_assert(V == 1 || BYTES == 16 || BYTES == 8 || BYTES == 4, "a vector is 16, 8 or 4 bytes");
    if constexpr (V == 1) {
        to[0] = E::from(*from);
    } else {
        uint32_t word[BYTES / 4];
        if constexpr (BYTES == 16) {
            const quad q = *reinterpret_cast<const quad *>(from);
            word[0] = q.x, word[1] = q.y, word[2] = q.z, word[3] = q.w;
        } else if constexpr (BYTES == 8) {
            const pair q = *reinterpret_cast<const pair *>(from);
            word[0] = q.x, word[1] = q.y;
        } else {
            word[0] = reinterpret_cast<const single *>(from)->x;
        }
#pragma unroll
        for (int i = 0; i < BYTES / 4; i++) {
            if constexpr (E::WIDE == 4) {
                to[i] = float_of(word[i]);
            } else {
                to[2 * i] = float_of(word[i] << 16);
                to[2 * i + 1] = float_of(word[i] & 0xffff0000u);
            }
        }
    }
}

template <class E, int V>
static __device__ __forceinline__ void store(typename E::word *to, const float (&from)[V]) {
    constexpr int BYTES = V * static_cast<int>(sizeof(typename E::word));
    static_assert(V == 1 || BYTES == 16 || BYTES == 8 || BYTES == 4, "a vector is 16, 8 or 4 bytes");
    if constexpr (V == 1) {
        *to = E::to(from[0]);
    } else {
        uint32_t word[BYTES / 4];
#pragma unroll
        for (int i = 0; i < BYTES / 4; i++) {
            if constexpr (E::WIDE == 4) {
                word[i] = bits_of(from[i]);
            } else {
                const __nv_bfloat162 both = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
                memcpy(&word[i], &both, sizeof both);
            }
        }
        if constexpr (BYTES == 16) {
            *reinterpret_cast<quad *>(to) = quad{word[0], word[1], word[2], word[3]};
        } else if constexpr (BYTES == 8) {
            *reinterpret_cast<pair *>(to) = pair{word[0], word[1]};
        } else {
            *reinterpret_cast<single *>(to) = single{word[0]};
        }
    }
}

/* Quotients of 0 .. 2^31 - 1 by a number that is known when a kernel is launched: a product and a shift in place of a division. */
struct divider {
    uint32_t divisor, factor, shift;
    __device__ __forceinline__ uint32_t quotient(uint32_t n) const {
        const uint32_t high = static_cast<uint32_t>((static_cast<uint64_t>(n) * factor) >> 32);
        return (high + n) >> shift;
    }
    /* n becomes the remainder */
    __device__ __forceinline__ uint32_t split(uint32_t *n) const {
        const uint32_t q = quotient(*n);
        *n -= q * divisor;
        return q;
    }
};

/* ---- on the processor ---- */

static inline divider
divider_of(int64_t d) { /* 1 .. 2^31 - 1; factor = 2^32 (2^shift / d - 1) + 1, with 2^shift >= d */
    divider v = {static_cast<uint32_t>(d), 0, 0};
    while ((UINT64_C(1) << v.shift) < static_cast<uint64_t>(d)) v.shift++;
    const uint64_t over = (UINT64_C(1) << v.shift) - static_cast<uint64_t>(d);
    v.factor = static_cast<uint32_t>((over << 32) / static_cast<uint64_t>(d) + 1);
    return v;
}

template <int V> struct width { static constexpr int value = V; };

/* d(f32()) or d(bf16()). */
template <class Do> static int with_type(dukd_type type, Do d) {
    return type == DUKD_TYPE_F32 ? d(f32()) : d(bf16());
}

/* d(width<V>()) with the widest vector that divides `counts`: elements at which vectors of E begin or end, or-ed. */
template <class E, class Do> static int with_width(int64_t counts, Do d) {
    if (counts % E::WIDE == 0) return d(width<E::WIDE>());
    if constexpr (E::WIDE == 8) {
        if (counts % 4 == 0) return d(width<4>());
    }
    return d(width<1>());
}

template <class E> static typename E::word *data_of(const dukd_tensor *t) {
    return static_cast<typename E::word *>(t->data);
}

static inline int64_t pixels_of(const dukd_tensor *t) { /* of one image */
    return static_cast<int64_t>(t->height) * t->width;
}

static inline int64_t count_of(const dukd_tensor *t) {
    return t->images * pixels_of(t) * t->channels;
}

/* Blocks for `count` things, `each` a block: more are looped over. Some waves even of the largest device. */
static inline unsigned blocks_for(int64_t count, int64_t each, int64_t most = 2048) {
    const int64_t blocks = (count + each - 1) / each;
    return static_cast<unsigned>(blocks < most ? blocks : most);
}

/* The status of these kernels' registration (gpu_load_*). */
template <class... Kernel> static int load_kernels(Kernel... kernel) {
    cudaFuncAttributes a;
    int status = 0;
    ((status = status != 0 ? status : static_cast<int>(cudaFuncGetAttributes(&a, kernel))), ...);
    return status;
}

} // namespace gpu

#endif
