/* Sums over pixels for each channel, in two kernels and always the same order: no atomics. For .cu files.
 *
 * A group is an image, or all of them. Its pixels are cut into parts by their number alone, not by the device. sum_parts: a block a part;
 * each thread adds every so manieth pixel's channels, then the block's rows of threads are added as a tree: f32. finish_sums: the parts, in
 * f64. A part has so few pixels that f32 is enough (a thread adds at most a few hundred).
 *
 * What is summed is a function object S: V, and at<>(pixel, c, float (&)[V]), for channels c .. c + V - 1 of a pixel counted through all
 * groups. */
#ifndef DUKD_GPU_SUMS_H
#define DUKD_GPU_SUMS_H

#include "gpu_each.h"

namespace gpu {

enum { SUM_PIXELS = 128, SUM_PARTS = 1024 }; /* pixels of a part at least; parts of a group at most */

struct sum_shape {
    int32_t channels, groups, parts;
    int64_t pixels, part; /* of a group, of a part */
};

static inline sum_shape sum_shape_of(int32_t channels, int64_t pixels, int32_t groups) {
    sum_shape s = {channels, groups, 1, pixels, SUM_PIXELS};
    const int64_t least = (pixels + SUM_PARTS - 1) / SUM_PARTS;
    if (s.part < least) s.part = least;
    s.parts = static_cast<int32_t>((pixels + s.part - 1) / s.part);
    return s;
}

static inline int64_t sum_bytes(const sum_shape &s) {
    return static_cast<int64_t>(s.groups) * s.parts * s.channels * static_cast<int64_t>(sizeof(float));
}

/* A block's sums of part `part` of a group; threads as in each_channel. */
template <class S>
static __device__ __forceinline__ void add_part(const S &s, const sum_shape &z, int32_t group, int64_t part,
                                                float *partial, float (*row_sum)[EACH_THREADS]) {
    constexpr int V = S::V;
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
    const int wide = static_cast<int>(blockDim.x), high = static_cast<int>(blockDim.y), me = y * wide + x;
    const int64_t first = part * z.part;
    const int64_t last = first + z.part < z.pixels ? first + z.part : z.pixels;
    for (int32_t c0 = 0; c0 < z.channels; c0 += wide * V) {
        const int32_t c = c0 + x * V;
        float sum[V], term[V];
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] = 0.0f;
        if (c < z.channels) {
            for (int64_t p = first + y; p < last; p += high) {
                s.at(group * z.pixels + p, c, term);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += term[v];
            }
        }
#pragma unroll
        for (int v = 0; v < V; v++) row_sum[v][me] = sum[v];
        __syncthreads();
        for (int rows = high; rows > 1;) {
            const int half = (rows + 1) / 2;
            if (y + half < rows) {
#pragma unroll
                for (int v = 0; v < V; v++) row_sum[v][me] += row_sum[v][me + half * wide];
            }
            rows = half;
            __syncthreads();
        }
        if (y == 0 && c < z.channels) {
            float *to = partial + (static_cast<int64_t>(group) * z.parts + part) * z.channels + c;
#pragma unroll
            for (int v = 0; v < V; v++) to[v] = row_sum[v][x];
        }
        /* the next channels' sums may come: what row 0 has read, it writes itself */
    }
}

/* partial: groups x parts x channels. Block (part, group), groups looped over. */
template <class S>
static __global__ void __launch_bounds__(EACH_THREADS, 4)
    sum_parts(const S s, const sum_shape z, float *partial) {
    DUKD_SHARED(float, row_sum, [S::V][EACH_THREADS]);
    for (int32_t group = static_cast<int32_t>(blockIdx.y); group < z.groups;
         group += static_cast<int32_t>(gridDim.y))
        add_part(s, z, group, blockIdx.x, partial, row_sum);
}

/* Of two tensors, all images a group: a's parts, then b's. Four blocks at least: to have five, ptxas would spill on sm_120. */
template <class A, class B>
static __global__ void __launch_bounds__(EACH_THREADS, 4)
    sum_two_parts(const A a, const sum_shape za, float *a_partial, const B b, const sum_shape zb,
                  float *b_partial) {
    static_assert(A::V == B::V, "one shape of blocks");
    DUKD_SHARED(float, row_sum, [A::V][EACH_THREADS]);
    const int32_t part = static_cast<int32_t>(blockIdx.x);
    if (part < za.parts)
        add_part(a, za, 0, part, a_partial, row_sum);
    else
        add_part(b, zb, 0, part - za.parts, b_partial, row_sum);
}

/* out, groups x channels of E: (sum ? out : 0) + factor times the sum of a channel's parts, or (root) its square root. Threads (channel,
 * every 8th part). */
template <class E>
static __global__ void __launch_bounds__(EACH_THREADS, 4)
    finish_sums(typename E::word *out, const float *partial, const sum_shape z, double factor, int sum,
                int root) {
    DUKD_SHARED(double, row_sum, [8][32]);
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
    const int32_t c = static_cast<int32_t>(blockIdx.x) * 32 + x;
    for (int32_t group = static_cast<int32_t>(blockIdx.y); group < z.groups;
         group += static_cast<int32_t>(gridDim.y)) {
        double total = 0.0;
        if (c < z.channels) {
            const float *from = partial + static_cast<int64_t>(group) * z.parts * z.channels + c;
            for (int32_t p = y; p < z.parts; p += 8)
                total += static_cast<double>(from[static_cast<int64_t>(p) * z.channels]);
        }
        row_sum[y][x] = total;
        __syncthreads();
        if (y == 0 && c < z.channels) {
            for (int i = 1; i < 8; i++) total += row_sum[i][x];
            typename E::word *to = out + static_cast<int64_t>(group) * z.channels + c;
            float value = static_cast<float>(total * factor);
            if (root) value = sqrtf(value);
            if (sum) value += E::from(*to);
            *to = E::to(value);
        }
        __syncthreads();
    }
}

/* ---- on the processor ---- */

template <class S> static int launch_sum_parts(void *stream, const S &s, const sum_shape &z, void *scratch) {
    const unsigned rows = z.groups < 1024 ? static_cast<unsigned>(z.groups) : 1024u;
    DUKD_LAUNCH(sum_parts<S>, dim3(static_cast<unsigned>(z.parts), rows), block_for(z.channels / S::V), 0,
                stream, s, z, static_cast<float *>(scratch));
    return static_cast<int>(cudaGetLastError());
}

template <class E>
static int launch_finish_sums(void *stream, typename E::word *out, const sum_shape &z, double factor, int sum,
                              const void *scratch, int root = 0) {
    const unsigned rows = z.groups < 1024 ? static_cast<unsigned>(z.groups) : 1024u;
    DUKD_LAUNCH(finish_sums<E>, dim3(static_cast<unsigned>((z.channels + 31) / 32), rows), dim3(32, 8), 0,
                stream, out, static_cast<const float *>(scratch), z, factor, sum, root);
    return static_cast<int>(cudaGetLastError());
}

/* Both; nothing where there is nothing to add. */
template <class E, class S>
static int launch_sums(void *stream, typename E::word *out, const S &s, const sum_shape &z, double factor,
                       int sum, void *scratch, int root = 0) {
    if (z.channels <= 0 || z.pixels <= 0 || z.groups <= 0) return 0;
    const int status = launch_sum_parts(stream, s, z, scratch);
    return status != 0 ? status : launch_finish_sums<E>(stream, out, z, factor, sum, scratch, root);
}

} // namespace gpu

#endif
