/* Arithmetic of training on flat f32 arrays (arrays.h). An array may begin at any element: vectors of 16 bytes are used where all arrays
 * of a call begin at a multiple of that. */
#include "gpu_device.h"

#define THREADS 256

namespace {

using namespace gpu;

/* `f` on all elements, V at a time, and the rest one by one. */
template <class F, int V> __global__ void __launch_bounds__(THREADS) array_each(const F f, int64_t n) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * THREADS;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x, whole = n / V;
    if (f.off()) return;
    for (int64_t i = first; i < whole; i += step) f.template at<V>(i * V);
    for (int64_t i = whole * V + first; i < n; i += step) f.template at<1>(i);
}

struct always {
    __device__ __forceinline__ bool off() const { return false; }
};
struct unless_broken { /* a flag, or NULL */
    const int32_t *broken;
    __device__ __forceinline__ bool off() const { return broken != nullptr && *broken != 0; }
};

struct add : always {
    float *to;
    const float *from;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        float x[V], y[V];
        load<f32, V>(x, to + i);
        load<f32, V>(y, from + i);
        for (int v = 0; v < V; v++) x[v] += y[v];
        store<f32, V>(to + i, x);
    }
};

struct scale : always {
    float *to;
    float factor;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        float x[V];
        load<f32, V>(x, to + i);
        for (int v = 0; v < V; v++) x[v] *= factor;
        store<f32, V>(to + i, x);
    }
};

struct note : always {
    const float *from;
    int32_t *flag;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        float x[V];
        bool bad = false;
        load<f32, V>(x, from + i);
        for (int v = 0; v < V; v++) bad |= (bits_of(x[v]) & 0x7f800000u) == 0x7f800000u;
        if (bad) atomicOr(flag, 1);
    }
};

struct adam : unless_broken {
    const dukd_optimizer_scalars *scalars;
    const float *g;
    float *m, *v, *w;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        const dukd_optimizer_scalars k = *scalars;
        float d[V], a[V], b[V], p[V];
        load<f32, V>(d, g + i);
        load<f32, V>(a, m + i);
        load<f32, V>(b, v + i);
        load<f32, V>(p, w + i);
        for (int l = 0; l < V; l++) {
            if (k.decay != 0.0f) d[l] += k.decay * p[l];
            a[l] += k.new_m * (d[l] - a[l]);
            b[l] = b[l] * k.keep_v + k.new_v * d[l] * d[l];
            p[l] += k.minus_step * a[l] / (sqrtf(b[l]) / k.root + k.eps);
        }
        store<f32, V>(m + i, a);
        store<f32, V>(v + i, b);
        store<f32, V>(w + i, p);
    }
};

struct descend : unless_broken {
    const dukd_optimizer_scalars *scalars;
    const float *g;
    float *w;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        const float rate = scalars->rate, decay = scalars->decay;
        float d[V], p[V];
        load<f32, V>(d, g + i);
        load<f32, V>(p, w + i);
        for (int l = 0; l < V; l++) {
            if (decay != 0.0f) d[l] += decay * p[l];
            p[l] -= rate * d[l];
        }
        store<f32, V>(w + i, p);
    }
};

struct average : unless_broken {
    float *ema;
    const float *w;
    float keep, take;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        float x[V], y[V];
        load<f32, V>(x, ema + i);
        load<f32, V>(y, w + i);
        for (int l = 0; l < V; l++) x[l] = x[l] * keep + take * y[l];
        store<f32, V>(ema + i, x);
    }
};

/* ---- a tensor of any strides ---- */

struct view { /* shape and strides, neighbouring dimensions joined where they can be */
    int64_t shape[4], stride[4];
};

/* A row of the last dimension for each of the block's 8 rows of threads. */
__global__ void __launch_bounds__(THREADS)
    gather_rows(const view t, float *out, const float *x, int64_t rows) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * 8, width = t.shape[3];
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * 8 + threadIdx.y; row < rows; row += step) {
        const int64_t h = row % t.shape[2], plane = row / t.shape[2], c = plane % t.shape[1],
                      n = plane / t.shape[1];
        const float *from = x + n * t.stride[0] + c * t.stride[1] + h * t.stride[2];
        float *to = out + row * width;
        for (int64_t w = static_cast<int64_t>(blockIdx.y) * 32 + threadIdx.x; w < width;
             w += static_cast<int64_t>(gridDim.y) * 32)
            to[w] = from[w * t.stride[3]];
    }
}

/* The way back: a view += what is dense. */
__global__ void __launch_bounds__(THREADS)
    scatter_rows(const view t, float *out, const float *x, int64_t rows) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * 8, width = t.shape[3];
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * 8 + threadIdx.y; row < rows; row += step) {
        const int64_t h = row % t.shape[2], plane = row / t.shape[2], c = plane % t.shape[1],
                      n = plane / t.shape[1];
        float *to = out + n * t.stride[0] + c * t.stride[1] + h * t.stride[2];
        const float *from = x + row * width;
        for (int64_t w = static_cast<int64_t>(blockIdx.y) * 32 + threadIdx.x; w < width;
             w += static_cast<int64_t>(gridDim.y) * 32)
            to[w * t.stride[3]] += from[w];
    }
}

/* Dimension d becomes a part of d + 1 where a step of it is as far as all steps of d + 1. */
view joined(const int64_t shape[4], const int64_t strides[4]) {
    view t;
    for (int d = 0; d < 4; d++) t.shape[d] = shape[d], t.stride[d] = strides[d];
    for (int d = 2; d >= 0; d--) {
        if (t.shape[d] == 1 || t.stride[d] != t.shape[d + 1] * t.stride[d + 1]) continue;
        t.shape[d + 1] *= t.shape[d];
        for (int e = d; e > 0; e--) t.shape[e] = t.shape[e - 1], t.stride[e] = t.stride[e - 1];
        t.shape[0] = 1, t.stride[0] = 0;
        d = d < 2 ? d + 1 : d; /* what has moved here is looked at again */
    }
    return t;
}

bool at_vectors(const void *a, const void *b = nullptr, const void *c = nullptr, const void *d = nullptr) {
    return (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c) |
            reinterpret_cast<uintptr_t>(d)) %
               16 ==
           0;
}

template <class F> int launch(void *stream, const F &f, int64_t n, bool vectors) {
    if (n <= 0) return 0;
    if (vectors) {
        DUKD_LAUNCH((array_each<F, 4>), dim3(blocks_for(n, THREADS * 4)), dim3(THREADS), 0, stream, f, n);
    } else {
        DUKD_LAUNCH((array_each<F, 1>), dim3(blocks_for(n, THREADS)), dim3(THREADS), 0, stream, f, n);
    }
    return static_cast<int>(cudaGetLastError());
}

} // namespace

extern "C" int gpu_array_add(void *stream, float *to, const float *from, int64_t count) {
    add f;
    f.to = to, f.from = from;
    return launch(stream, f, count, at_vectors(to, from));
}

extern "C" int gpu_array_scale(void *stream, float *x, float factor, int64_t count) {
    scale f;
    f.to = x, f.factor = factor;
    return launch(stream, f, count, at_vectors(x));
}

extern "C" int gpu_array_note_nonfinite(void *stream, const float *x, int64_t count, int32_t *flag) {
    note f;
    f.from = x, f.flag = flag;
    return launch(stream, f, count, at_vectors(x));
}

extern "C" int gpu_array_gather(void *stream, float *out, const float *x, const int64_t shape[4],
                                const int64_t strides[4]) {
    const view t = joined(shape, strides);
    const int64_t rows = t.shape[0] * t.shape[1] * t.shape[2];
    if (rows <= 0 || t.shape[3] <= 0) return 0;
    DUKD_LAUNCH(gather_rows, dim3(blocks_for(rows, 8), blocks_for(t.shape[3], 32, rows < 64 ? 1024 : 1)),
                dim3(32, 8), 0, stream, t, out, x, rows);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int gpu_array_scatter_add(void *stream, float *to, const float *x, const int64_t shape[4],
                                     const int64_t strides[4]) {
    const view t = joined(shape, strides);
    const int64_t rows = t.shape[0] * t.shape[1] * t.shape[2];
    if (rows <= 0 || t.shape[3] <= 0) return 0;
    DUKD_LAUNCH(scatter_rows, dim3(blocks_for(rows, 8), blocks_for(t.shape[3], 32, rows < 64 ? 1024 : 1)),
                dim3(32, 8), 0, stream, t, to, x, rows);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int gpu_array_adam(void *stream, const dukd_optimizer_scalars *s, const int32_t *broken,
                              const float *g, float *m, float *v, float *w, int64_t count) {
    adam f;
    f.broken = broken, f.scalars = s, f.g = g, f.m = m, f.v = v, f.w = w;
    return launch(stream, f, count, at_vectors(g, m, v, w));
}

extern "C" int gpu_array_descend(void *stream, const dukd_optimizer_scalars *s, const int32_t *broken,
                                 const float *g, float *w, int64_t count) {
    descend f;
    f.broken = broken, f.scalars = s, f.g = g, f.w = w;
    return launch(stream, f, count, at_vectors(g, w));
}

extern "C" int gpu_array_average(void *stream, const int32_t *broken, float *ema, const float *w, float keep,
                                 float take, int64_t count) {
    average f;
    f.broken = broken, f.ema = ema, f.w = w, f.keep = keep, f.take = take;
    return launch(stream, f, count, at_vectors(ema, w));
}

extern "C" int gpu_load_arrays(void) {
    return load_kernels(array_each<add, 4>, array_each<add, 1>, array_each<scale, 4>, array_each<scale, 1>,
                        array_each<note, 4>, array_each<note, 1>, array_each<adam, 4>, array_each<adam, 1>,
                        array_each<descend, 4>, array_each<descend, 1>, array_each<average, 4>,
                        array_each<average, 1>, gather_rows, scatter_rows);
}
