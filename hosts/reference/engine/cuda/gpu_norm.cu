/* See ops.h: layer norm over the channels of each pixel, forward and backward.
 *
 * A pixel is a team's: 1 to 32 lanes of a warp (a power of 2), each with K vectors of the pixel's channels in registers, the same channels for every
 * pixel that it comes to. So a warp has one pixel of wide tensors and several of narrow ones, memory is read once, and the weights once a thread.
 * Sums over a pixel are trees of shuffles. Tensors wider than that (512 channels; 128 where their number is odd) are read again for every pass.
 *
 * The gradients of weight and bias: each thread adds its channels over its pixels, then the teams of a warp are added by shuffles and the warps through
 * shared memory (8 x channels floats, at most 16 KiB); a second kernel adds the blocks' sums in f64. How many blocks there are follows from
 * the number of pixels alone. */
#include "gpu_sums.h"

using namespace gpu;

namespace {

enum { THREADS = 256, WARPS = THREADS / 32, MOST_BLOCKS = 512, PIXELS_OF_TEAM = 4 };

struct norm_shape {
    int32_t channels, lanes; /* of a team */
    int64_t pixels;
};

/* The sum over a team; all of its lanes have it, to the same bits. Always five shuffles: a branch about them would cost more. */
static __device__ __forceinline__ float sum_of_team(float x, int32_t lanes) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, x, step);
        x += step < lanes ? other : 0.0f;
    }
    return x;
}

/* The sum of the same lane of all teams of the warp. */
static __device__ __forceinline__ float sum_of_teams(float x, int32_t lanes) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, x, step);
        x += step >= lanes ? other : 0.0f;
    }
    return x;
}

/* A thread's place. All lanes of a warp go on or stop together, for they meet in shuffles: `first` is the warp's first pixel. */
struct team_place {
    int32_t lane, team; /* of the team; of the warp */
    int64_t first, step;
    __device__ __forceinline__ explicit team_place(const norm_shape &z) {
        const int32_t thread = static_cast<int32_t>(threadIdx.x), teams = 32 / z.lanes;
        lane = thread & (z.lanes - 1);
        team = thread % 32 / z.lanes;
        first = (static_cast<int64_t>(blockIdx.x) * WARPS + thread / 32) * teams;
        step = static_cast<int64_t>(gridDim.x) * WARPS * teams;
    }
};

/* ---------------------------------------------------------------- a pixel's channels in registers */

template <class E, int V, int K>
static __device__ __forceinline__ void load_lane(float (&to)[K][V], const typename E::word *from,
                                                 const norm_shape &z, int32_t lane, bool there) {
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int32_t c = (k * z.lanes + lane) * V;
        if (there && c < z.channels) {
            load<E, V>(to[k], from + c);
        } else {
#pragma unroll
            for (int v = 0; v < V; v++) to[k][v] = 0.0f;
        }
    }
}

/* Parameters may begin anywhere: one by one. */
template <int V, int K>
static __device__ __forceinline__ void load_parameter(float (&to)[K][V], const float *from,
                                                      const norm_shape &z, int32_t lane) {
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int32_t c = (k * z.lanes + lane) * V;
#pragma unroll
        for (int v = 0; v < V; v++) to[k][v] = c < z.channels ? from[c + v] : 0.0f;
    }
}

template <class E, int V, int K>
static __global__ void __launch_bounds__(THREADS)
    norm(typename E::word *out, const typename E::word *x, const float *weight, const float *bias, float eps,
         float *stats, const norm_shape z) {
    const team_place at(z);
    const float count = static_cast<float>(z.channels);
    float w[K][V], b[K][V];
    load_parameter<V, K>(w, weight, z, at.lane);
    load_parameter<V, K>(b, bias, z, at.lane);
    for (int64_t first = at.first; first < z.pixels; first += at.step) {
        const int64_t pixel = first + at.team;
        const bool there = pixel < z.pixels;
        float a[K][V], sum = 0.0f, squares = 0.0f;
        load_lane<E, V, K>(a, x + pixel * z.channels, z, at.lane, there);
#pragma unroll
        for (int k = 0; k < K; k++) {
#pragma unroll
            for (int v = 0; v < V; v++) sum += a[k][v];
        }
        const float mean = sum_of_team(sum, z.lanes) / count;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const bool mine = (k * z.lanes + at.lane) * V < z.channels;
#pragma unroll
            for (int v = 0; v < V; v++) {
                a[k][v] -= mean;
                if (mine) squares += a[k][v] * a[k][v];
            }
        }
        const float scale = 1.0f / sqrtf(sum_of_team(squares, z.lanes) / count + eps);
        if (!there) continue;
        if (stats != nullptr && at.lane == 0) {
            const float both[2] = {mean, scale};
            store<f32, 2>(stats + 2 * pixel, both);
        }
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int32_t c = (k * z.lanes + at.lane) * V;
            float r[V];
#pragma unroll
            for (int v = 0; v < V; v++) r[v] = a[k][v] * scale * w[k][v] + b[k][v];
            if (c < z.channels) store<E, V>(out + pixel * z.channels + c, r);
        }
    }
}

/* The sums of a block's threads, each of which has K x V channels, into out[channel]. `rows`: WARPS x (lanes K V) floats. */
template <int V, int K>
static __device__ __forceinline__ void sum_of_block(float *out, const float (&sum)[K][V], float *rows,
                                                    const norm_shape &z) {
    const int32_t thread = static_cast<int32_t>(threadIdx.x), lane = thread & (z.lanes - 1);
    const int32_t wide = z.lanes * K * V;
#pragma unroll
    for (int k = 0; k < K; k++) {
#pragma unroll
        for (int v = 0; v < V; v++) {
            const float total = sum_of_teams(sum[k][v], z.lanes);
            if (thread % 32 < z.lanes) rows[thread / 32 * wide + (k * V + v) * z.lanes + lane] = total;
        }
    }
    __syncthreads();
    for (int32_t i = thread; i < wide; i += THREADS) {
        const int32_t kv = i / z.lanes, c = (kv / V * z.lanes + i % z.lanes) * V + kv % V;
        if (c >= z.channels) continue;
        float total = rows[i];
        for (int32_t warp = 1; warp < WARPS; warp++) total += rows[warp * wide + i];
        out[c] = total;
    }
}

/* With g = d weight and y = (x - mean) scale: dx = scale (g - mean(g) - y mean(g y)); parts, 2 x blocks x channels: the sums of d y and
 * of d. */
template <class E, int V, int K>
static __global__ void __launch_bounds__(THREADS)
    norm_back(typename E::word *dx, const typename E::word *d, const typename E::word *x, const float *weight,
              const float *stats, int sum, float *parts, const norm_shape z) {
    DUKD_DYNAMIC_SHARED(float, rows);
    const team_place at(z);
    const float count = static_cast<float>(z.channels);
    float w[K][V], of_weight[K][V], of_bias[K][V];
    load_parameter<V, K>(w, weight, z, at.lane);
#pragma unroll
    for (int k = 0; k < K; k++) {
#pragma unroll
        for (int v = 0; v < V; v++) of_weight[k][v] = of_bias[k][v] = 0.0f;
    }
    for (int64_t first = at.first; first < z.pixels; first += at.step) {
        const int64_t pixel = first + at.team;
        const bool there = pixel < z.pixels;
        float y[K][V], g[K][V], both[2] = {0.0f, 0.0f}, sum_g = 0.0f, sum_gy = 0.0f;
        load_lane<E, V, K>(y, x + pixel * z.channels, z, at.lane, there);
        load_lane<E, V, K>(g, d + pixel * z.channels, z, at.lane, there);
        if (there) load<f32, 2>(both, stats + 2 * pixel);
        const float mean = both[0], scale = both[1];
#pragma unroll
        for (int k = 0; k < K; k++) {
#pragma unroll
            for (int v = 0; v < V; v++) { /* where there is no channel, g is 0 and y of no account */
                y[k][v] = (y[k][v] - mean) * scale;
                of_weight[k][v] += g[k][v] * y[k][v];
                of_bias[k][v] += g[k][v];
                g[k][v] *= w[k][v];
                sum_g += g[k][v];
                sum_gy += g[k][v] * y[k][v];
            }
        }
        const float mean_g = sum_of_team(sum_g, z.lanes) / count;
        const float mean_gy = sum_of_team(sum_gy, z.lanes) / count;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int32_t c = (k * z.lanes + at.lane) * V;
            if (!there || c >= z.channels) continue;
            typename E::word *to = dx + pixel * z.channels + c;
            float r[V];
            if (sum) load<E, V>(r, to);
#pragma unroll
            for (int v = 0; v < V; v++)
                r[v] = scale * (g[k][v] - mean_g - y[k][v] * mean_gy) + (sum ? r[v] : 0.0f);
            store<E, V>(to, r);
        }
    }
    const int64_t blocks = gridDim.x;
    sum_of_block<V, K>(parts + blockIdx.x * z.channels, of_weight, rows, z);
    __syncthreads(); /* the same memory again */
    sum_of_block<V, K>(parts + (blocks + blockIdx.x) * z.channels, of_bias, rows, z);
}

/* d_weight and d_bias += the blocks' sums, in f64. Threads (channel, every 16th block); grid (32 channels, weight or bias). */
static __global__ void __launch_bounds__(512)
    finish_norm(float *d_weight, float *d_bias, const float *parts, int32_t blocks, int32_t channels) {
    DUKD_SHARED(double, row_sum, [16][32]);
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
    const int32_t c = static_cast<int32_t>(blockIdx.x) * 32 + x;
    double total = 0.0;
    if (c < channels) {
        const float *from = parts + static_cast<int64_t>(blockIdx.y) * blocks * channels + c;
        for (int32_t b = y; b < blocks; b += 16)
            total += static_cast<double>(from[static_cast<int64_t>(b) * channels]);
    }
    row_sum[y][x] = total;
    __syncthreads();
    if (y != 0 || c >= channels) return;
    for (int i = 1; i < 16; i++) total += row_sum[i][x];
    (blockIdx.y == 0 ? d_weight : d_bias)[c] += static_cast<float>(total);
}

/* ---------------------------------------------------------------- wide tensors: a warp a pixel, read again in every pass */

template <class E, int V>
static __global__ void __launch_bounds__(THREADS, 4)
    norm_wide(typename E::word *out, const typename E::word *x, const float *weight, const float *bias,
              float eps, float *stats, const norm_shape z) {
    const team_place at(z);
    const float count = static_cast<float>(z.channels);
    for (int64_t pixel = at.first; pixel < z.pixels; pixel += at.step) {
        const typename E::word *from = x + pixel * z.channels;
        float a[V], sum = 0.0f, squares = 0.0f;
        for (int32_t c = at.lane * V; c < z.channels; c += 32 * V) {
            load<E, V>(a, from + c);
#pragma unroll
            for (int v = 0; v < V; v++) sum += a[v];
        }
        const float mean = sum_of_team(sum, 32) / count;
        for (int32_t c = at.lane * V; c < z.channels; c += 32 * V) {
            load<E, V>(a, from + c);
#pragma unroll
            for (int v = 0; v < V; v++) squares += (a[v] - mean) * (a[v] - mean);
        }
        const float scale = 1.0f / sqrtf(sum_of_team(squares, 32) / count + eps);
        if (stats != nullptr && at.lane == 0) {
            const float both[2] = {mean, scale};
            store<f32, 2>(stats + 2 * pixel, both);
        }
        for (int32_t c = at.lane * V; c < z.channels; c += 32 * V) {
            load<E, V>(a, from + c);
#pragma unroll
            for (int v = 0; v < V; v++) a[v] = (a[v] - mean) * scale * weight[c + v] + bias[c + v];
            store<E, V>(out + pixel * z.channels + c, a);
        }
    }
}

template <class E, int V>
static __global__ void __launch_bounds__(THREADS)
    norm_back_wide(typename E::word *dx, const typename E::word *d, const typename E::word *x,
                   const float *weight, const float *stats, int sum, const norm_shape z) {
    const team_place at(z);
    const float count = static_cast<float>(z.channels);
    for (int64_t pixel = at.first; pixel < z.pixels; pixel += at.step) {
        const int64_t first = pixel * z.channels;
        const float mean = stats[2 * pixel], scale = stats[2 * pixel + 1];
        float a[V], g[V], sum_g = 0.0f, sum_gy = 0.0f;
        for (int32_t c = at.lane * V; c < z.channels; c += 32 * V) {
            load<E, V>(a, x + first + c);
            load<E, V>(g, d + first + c);
#pragma unroll
            for (int v = 0; v < V; v++) {
                g[v] *= weight[c + v];
                sum_g += g[v];
                sum_gy += g[v] * (a[v] - mean) * scale;
            }
        }
        const float mean_g = sum_of_team(sum_g, 32) / count, mean_gy = sum_of_team(sum_gy, 32) / count;
        for (int32_t c = at.lane * V; c < z.channels; c += 32 * V) {
            float r[V];
            load<E, V>(a, x + first + c);
            load<E, V>(g, d + first + c);
            if (sum) load<E, V>(r, dx + first + c);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float y = (a[v] - mean) * scale;
                r[v] = scale * (g[v] * weight[c + v] - mean_g - y * mean_gy) + (sum ? r[v] : 0.0f);
            }
            store<E, V>(dx + first + c, r);
        }
    }
}

/* What the gradients of weight (x is there) and bias add up. */
template <class E, int WIDTH> struct parameter_term {
    static constexpr int V = WIDTH;
    const typename E::word *d, *x;
    const float *stats;
    int32_t channels;
    __device__ __forceinline__ void at(int64_t pixel, int32_t c, float (&term)[V]) const {
        load<E, V>(term, d + pixel * channels + c);
        if (x == nullptr) return;
        const float mean = stats[2 * pixel], scale = stats[2 * pixel + 1];
        float a[V];
        load<E, V>(a, x + pixel * channels + c);
#pragma unroll
        for (int v = 0; v < V; v++) term[v] *= (a[v] - mean) * scale;
    }
};

/* ---------------------------------------------------------------- launches */

/* Vectors that a lane has of a pixel of `vectors`, and the team's lanes: the fewest places left empty, then the fewest lanes from 8 on
 * (shorter trees; 8 lanes still read whole lines). 0: the pixel is too wide. */
struct team {
    int32_t of_lane, lanes;
};
static team team_for(int32_t vectors, int32_t most) {
    team best = {0, 32};
    for (int32_t k = 1; k <= most; k++) {
        int32_t lanes = 1;
        while (lanes * k < vectors) lanes *= 2;
        if (lanes > 32) continue;
        const int32_t places = k * lanes, least = best.of_lane * best.lanes;
        if (best.of_lane == 0 || places < least || (places == least && lanes >= 8)) best = {k, lanes};
    }
    return best;
}

/* Vectors of a lane at most: 16 elements. */
template <int V> struct most_vectors { static constexpr int value = V == 8 ? 2 : 4; };

/* d(E(), width<V>(), width<K>(), shape); K is 0 for wide tensors. */
template <class Do> static int with_team(const dukd_tensor *t, Do d) {
    return with_type(t->type, [&](auto e) {
        return with_width<decltype(e)>(t->channels, [&](auto w) {
            constexpr int MOST = most_vectors<decltype(w)::value>::value;
            const team of = team_for(t->channels / decltype(w)::value, MOST);
            const norm_shape z = {t->channels, of.lanes, t->images * pixels_of(t)};
            if (of.of_lane == 1) return d(e, w, width<1>(), z);
            if (of.of_lane == 2) return d(e, w, width<2>(), z);
            if constexpr (MOST > 2) {
                if (of.of_lane == 3) return d(e, w, width<3>(), z);
                if (of.of_lane == 4) return d(e, w, width<4>(), z);
            }
            return d(e, w, width<0>(), z);
        });
    });
}

static unsigned blocks_of(const norm_shape &z) {
    return blocks_for(z.pixels, THREADS / z.lanes * PIXELS_OF_TEAM, MOST_BLOCKS);
}

static sum_shape shape_of(const norm_shape &z) { /* of wide tensors */
    return sum_shape_of(z.channels, z.pixels, 1);
}

} // namespace

extern "C" int gpu_layer_norm(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *weight,
                              const float *bias, float eps, float *stats) {
    if (count_of(x) == 0) return 0;
    return with_team(x, [&](auto e, auto w, auto k, const norm_shape &z) {
        typedef decltype(e) E;
        constexpr int V = decltype(w)::value, K = decltype(k)::value;
        if constexpr (K == 0) {
            DUKD_LAUNCH((norm_wide<E, V>), dim3(blocks_of(z)), dim3(THREADS), 0, stream, data_of<E>(out),
                        data_of<E>(x), weight, bias, eps, stats, z);
        } else {
            DUKD_LAUNCH((norm<E, V, K>), dim3(blocks_of(z)), dim3(THREADS), 0, stream, data_of<E>(out),
                        data_of<E>(x), weight, bias, eps, stats, z);
        }
        return static_cast<int>(cudaGetLastError());
    });
}

extern "C" int64_t gpu_layer_norm_back_scratch(const dukd_tensor *d) {
    int64_t bytes = 0;
    if (count_of(d) == 0) return 0;
    with_team(d, [&](auto, auto, auto k, const norm_shape &z) {
        bytes = decltype(k)::value == 0 ? sum_bytes(shape_of(z))
                                        : 2 * static_cast<int64_t>(blocks_of(z)) * z.channels *
                                              static_cast<int64_t>(sizeof(float));
        return 0;
    });
    return bytes;
}

extern "C" int gpu_layer_norm_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d,
                                   const dukd_tensor *x, const float *weight, const float *stats,
                                   float *d_weight, float *d_bias, int sum, void *scratch) {
    if (count_of(x) == 0) return 0;
    return with_team(x, [&](auto e, auto w, auto k, const norm_shape &z) {
        typedef decltype(e) E;
        constexpr int V = decltype(w)::value, K = decltype(k)::value;
        float *parts = static_cast<float *>(scratch);
        const unsigned blocks = blocks_of(z);
        if constexpr (K == 0) {
            DUKD_LAUNCH((norm_back_wide<E, V>), dim3(blocks), dim3(THREADS), 0, stream, data_of<E>(dx),
                        data_of<E>(d), data_of<E>(x), weight, stats, sum, z);
            int status = static_cast<int>(cudaGetLastError());
            parameter_term<E, V> term = {data_of<E>(d), data_of<E>(x), stats, z.channels};
            if (status == 0) status = launch_sums<f32>(stream, d_weight, term, shape_of(z), 1.0, 1, scratch);
            term.x = nullptr;
            if (status == 0) status = launch_sums<f32>(stream, d_bias, term, shape_of(z), 1.0, 1, scratch);
            return status;
        } else {
            const size_t bytes = static_cast<size_t>(WARPS * z.lanes * K * V) * sizeof(float);
            DUKD_LAUNCH((norm_back<E, V, K>), dim3(blocks), dim3(THREADS), bytes, stream, data_of<E>(dx),
                        data_of<E>(d), data_of<E>(x), weight, stats, sum, parts, z);
            const int status = static_cast<int>(cudaGetLastError());
            if (status != 0) return status;
            DUKD_LAUNCH(finish_norm, dim3(static_cast<unsigned>((z.channels + 31) / 32), 2), dim3(32, 16), 0,
                        stream, d_weight, d_bias, static_cast<const float *>(scratch),
                        static_cast<int32_t>(blocks), z.channels);
            return static_cast<int>(cudaGetLastError());
        }
    });
}

template <class E, int V> static int load_of() {
    int status = load_kernels(norm<E, V, 1>, norm<E, V, 2>, norm_back<E, V, 1>, norm_back<E, V, 2>,
                              norm_wide<E, V>, norm_back_wide<E, V>, sum_parts<parameter_term<E, V>>);
    if constexpr (most_vectors<V>::value > 2) {
        if (status == 0)
            status = load_kernels(norm<E, V, 3>, norm<E, V, 4>, norm_back<E, V, 3>, norm_back<E, V, 4>);
    }
    return status;
}

extern "C" int gpu_load_norm(void) {
    int status = load_kernels(finish_norm, finish_sums<f32>);
    if (status == 0) status = load_of<f32, 4>();
    if (status == 0) status = load_of<f32, 1>();
    if (status == 0) status = load_of<bf16, 8>();
    if (status == 0) status = load_of<bf16, 4>();
    if (status == 0) status = load_of<bf16, 1>();
    return status;
}
