/* Kernels that run a function object on every element of a tensor, and their launches. For .cu files.
 *
 *     launch_each        element i of all            F: WIDE, at<V>(i)
 *     launch_images      the same, an image at a time, with one number for each      F: also image(n)
 *     launch_channels    channels c .. c + V - 1 of a pixel       F: V, setup(f, group, c), at(setup, pixel, c)
 *
 * No kernel divides: in launch_channels a thread keeps its channels and goes from pixel to pixel, so that what belongs to a channel is
 * loaded once; neighbouring threads take neighbouring memory in all of them. */
#ifndef DUKD_GPU_EACH_H
#define DUKD_GPU_EACH_H

#include "gpu_device.h"

namespace gpu {

enum { EACH_THREADS = 256 };

template <class F> static __global__ void __launch_bounds__(EACH_THREADS, 4) each(const F f, int64_t n) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * EACH_THREADS;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * EACH_THREADS + threadIdx.x, whole = n / F::WIDE;
    for (int64_t i = first; i < whole; i += step) f.template at<F::WIDE>(i * F::WIDE);
    for (int64_t i = whole * F::WIDE + first; i < n; i += step) f.template at<1>(i);
}

/* `elements` of an image are a multiple of V. */
template <class F, int V>
static __global__ void __launch_bounds__(EACH_THREADS, 4) each_image(F f, int64_t elements, int32_t images) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * EACH_THREADS * V;
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * EACH_THREADS + threadIdx.x) * V;
    for (int32_t n = static_cast<int32_t>(blockIdx.y); n < images; n += static_cast<int32_t>(gridDim.y)) {
        f.image(n);
        for (int64_t i = first; i < elements; i += step) f.template at<V>(n * elements + i);
    }
}

/* Threads (x, y): vector x of the channels, pixel y. `vectors` a pixel; pixels of a group (an image, or all of them). */
template <class F>
static __global__ void __launch_bounds__(EACH_THREADS, 2)
    each_channel(const F f, int32_t vectors, int64_t pixels, int32_t groups) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.y;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    for (int32_t group = static_cast<int32_t>(blockIdx.y); group < groups;
         group += static_cast<int32_t>(gridDim.y)) {
        for (int32_t c = static_cast<int32_t>(threadIdx.x); c < vectors;
             c += static_cast<int32_t>(blockDim.x)) {
            const typename F::setup s(f, group, c * F::V);
            for (int64_t p = first; p < pixels; p += step) f.at(s, group * pixels + p, c * F::V);
        }
    }
}

/* ---- on the processor ---- */

template <class F> static int launch_each(void *stream, const F &f, int64_t n) {
    if (n <= 0) return 0;
    DUKD_LAUNCH(each<F>, dim3(blocks_for(n, EACH_THREADS * F::WIDE)), dim3(EACH_THREADS), 0, stream, f, n);
    return static_cast<int>(cudaGetLastError());
}

template <class F> static int launch_images(void *stream, const F &f, int64_t elements, int32_t images) {
    if (elements <= 0 || images <= 0) return 0;
    const unsigned rows = images < 64 ? static_cast<unsigned>(images) : 64u;
    if (elements % F::WIDE == 0) {
        const unsigned blocks = blocks_for(elements, EACH_THREADS * F::WIDE, 2048 / rows);
        DUKD_LAUNCH((each_image<F, F::WIDE>), dim3(blocks, rows), dim3(EACH_THREADS), 0, stream, f, elements,
                    images);
    } else {
        const unsigned blocks = blocks_for(elements, EACH_THREADS, 2048 / rows);
        DUKD_LAUNCH((each_image<F, 1>), dim3(blocks, rows), dim3(EACH_THREADS), 0, stream, f, elements,
                    images);
    }
    return static_cast<int>(cudaGetLastError());
}

/* A block's threads (x, y) for so many vectors a pixel: all of a pixel's where they fit, and as many pixels as fit then. */
static inline dim3 block_for(int32_t vectors) {
    const unsigned most = EACH_THREADS, all = static_cast<unsigned>(vectors), x = all < most ? all : most;
    return dim3(x, most / x);
}

template <class F>
static int launch_channels(void *stream, const F &f, int32_t channels, int64_t pixels, int32_t groups) {
    if (channels <= 0 || pixels <= 0 || groups <= 0) return 0;
    const int32_t vectors = channels / F::V;
    const unsigned rows = groups < 64 ? static_cast<unsigned>(groups) : 64u;
    const dim3 block = block_for(vectors), grid(blocks_for(pixels, block.y, 2048 / rows), rows);
    DUKD_LAUNCH(each_channel<F>, grid, block, 0, stream, f, vectors, pixels, groups);
    return static_cast<int>(cudaGetLastError());
}

} // namespace gpu

#endif
