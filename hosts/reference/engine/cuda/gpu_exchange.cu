/* Pixel shuffles, and the exchange with the caller's planar tensors. */
#include "gpu_device.h"

#define THREADS 256
#define TILE    4096 /* elements that a block turns around in shared memory */

namespace {

using namespace gpu;

/* ---------------------------------------------------------------- shuffles of channels in order r
 *
 * Row i of the r rows that a row of x becomes is x's channels i r C .. (i + 1) r C - 1, pixel by pixel: runs of r C elements move as they
 * are. So a row of x is W x r runs, and of the larger tensor r x W. */

struct runs {
    int64_t rows;       /* N H of the smaller tensor */
    uint32_t count;     /* vectors of such a row */
    divider run, width; /* vectors of a run; W */
    uint32_t r;
    int sum;
};

/* SPREAD: from x to the larger tensor; else back. */
template <class E, int V, bool SPREAD>
__global__ void __launch_bounds__(THREADS)
    move_runs(const runs z, typename E::word *to, const typename E::word *from) {
    const uint32_t first = blockIdx.x * THREADS + threadIdx.x, step = gridDim.x * THREADS;
    for (int64_t row = blockIdx.y; row < z.rows; row += gridDim.y) {
        for (uint32_t at = first; at < z.count; at += step) { /* in the larger tensor */
            uint32_t k = at, w = z.run.split(&k);
            const uint32_t i = z.width.split(&w), other = (w * z.r + i) * z.run.divisor + k;
            const int64_t large = (row * z.count + at) * V, small = (row * z.count + other) * V;
            float a[V], b[V];
            load<E, V>(a, from + (SPREAD ? small : large));
            if (!SPREAD && z.sum) {
                load<E, V>(b, to + small);
                for (int v = 0; v < V; v++) a[v] += b[v];
            }
            store<E, V>(to + (SPREAD ? large : small), a);
        }
    }
}

/* ---------------------------------------------------------------- shuffles of channels in order 1
 *
 * Channel c r^2 + i r + j: the r^2 pixels' channels are mixed. A block turns `pixels` neighbours of a row around in shared memory, or, of
 * one pixel, `channels` of the larger tensor's: either way the smaller tensor's part is one run. */

struct mixed {
    int64_t rows;
    int32_t width, r, all_channels, channels, pixels; /* of the larger tensor: all, and of a tile */
    divider by_channels, by_r, by_pixels;
    int sum;
};

/* Two elements 32 apart are in neighbouring banks. */
__device__ __forceinline__ uint32_t padded(uint32_t i) {
    return i + i / 32;
}

template <class E, bool SPREAD>
__global__ void __launch_bounds__(THREADS)
    move_mixed(const mixed z, typename E::word *to, const typename E::word *from) {
    DUKD_SHARED(float, tile, [TILE + TILE / 32]);
    const uint32_t r = static_cast<uint32_t>(z.r), area = r * r;
    const int32_t w0 = static_cast<int32_t>(blockIdx.x) * z.pixels,
                  c0 = static_cast<int32_t>(blockIdx.z) * z.channels;
    const uint32_t pixels = static_cast<uint32_t>(z.pixels < z.width - w0 ? z.pixels : z.width - w0);
    const uint32_t here =
        static_cast<uint32_t>(z.channels < z.all_channels - c0 ? z.channels : z.all_channels - c0);
    const uint32_t small_count = pixels * here * area;
    const uint32_t large_count = static_cast<uint32_t>(z.pixels) * static_cast<uint32_t>(z.channels) * area;
    for (int64_t row = blockIdx.y; row < z.rows; row += gridDim.y) {
        const int64_t small = ((row * z.width + w0) * z.all_channels + c0) * area;
        if (SPREAD) {
            for (uint32_t e = threadIdx.x; e < small_count; e += THREADS)
                tile[padded(e)] = E::from(from[small + e]);
            __syncthreads();
        }
        for (uint32_t e = threadIdx.x; e < large_count; e += THREADS) { /* i, pixel, j, channel */
            uint32_t c = e, j = z.by_channels.split(&c), p = z.by_r.split(&j);
            const uint32_t i = z.by_pixels.split(&p);
            if (p >= pixels || c >= here) continue;
            const int64_t large =
                (((row * r + i) * z.width + w0 + p) * r + j) * static_cast<int64_t>(z.all_channels) + c0 + c;
            const uint32_t at = padded((p * here + c) * area + i * r + j);
            if (SPREAD) {
                to[large] = E::to(tile[at]);
            } else {
                tile[at] = E::from(from[large]);
            }
        }
        if (!SPREAD) {
            __syncthreads();
            for (uint32_t e = threadIdx.x; e < small_count; e += THREADS) {
                float v = tile[padded(e)];
                if (z.sum) v += E::from(to[small + e]);
                to[small + e] = E::to(v);
            }
        }
        __syncthreads(); /* the next row takes this one's place */
    }
}

/* large, small: the two tensors of a shuffle. */
template <bool SPREAD>
int shuffle(void *stream, const dukd_tensor *large, const dukd_tensor *small, int32_t r, int32_t order,
            int sum) {
    const int64_t rows = static_cast<int64_t>(small->images) * small->height;
    const dukd_tensor *to = SPREAD ? large : small, *from = SPREAD ? small : large;
    if (count_of(large) <= 0) return 0;
    return with_type(to->type, [&](auto e) {
        typedef decltype(e) E;
        const auto rows_of_blocks = [&](int64_t others) {
            const int64_t most = others < 4096 ? 4096 / others : 1;
            return static_cast<unsigned>(rows < most ? rows : most);
        };
        if (order == 1 && r > 1) {
            const int32_t area = r * r, most = TILE / area;
            if (most < 1) return static_cast<int>(cudaErrorInvalidValue); /* no graph has so many channels */
            mixed z = {rows, small->width, r, large->channels, 0, 1, {}, {}, {}, sum};
            z.channels = large->channels < most ? large->channels : most;
            if (z.channels == large->channels)
                z.pixels = most / z.channels < z.width ? most / z.channels : z.width;
            z.by_channels = divider_of(z.channels), z.by_r = divider_of(r),
            z.by_pixels = divider_of(z.pixels);
            const unsigned x = static_cast<unsigned>((z.width + z.pixels - 1) / z.pixels);
            const unsigned chunks = static_cast<unsigned>((z.all_channels + z.channels - 1) / z.channels);
            DUKD_LAUNCH((move_mixed<E, SPREAD>),
                        dim3(x, rows_of_blocks(static_cast<int64_t>(x) * chunks), chunks), dim3(THREADS), 0,
                        stream, z, data_of<E>(to), data_of<E>(from));
            return static_cast<int>(cudaGetLastError());
        }
        return with_width<E>(r * large->channels, [&](auto v) {
            const int64_t run = static_cast<int64_t>(r) * large->channels / v.value;
            const runs z = {rows,
                            static_cast<uint32_t>(run * r * small->width),
                            divider_of(run),
                            divider_of(small->width),
                            static_cast<uint32_t>(r),
                            sum};
            const unsigned x = blocks_for(z.count, THREADS);
            DUKD_LAUNCH((move_runs<E, v.value, SPREAD>), dim3(x, rows_of_blocks(x)), dim3(THREADS), 0, stream,
                        z, data_of<E>(to), data_of<E>(from));
            return static_cast<int>(cudaGetLastError());
        });
    });
}

/* ---------------------------------------------------------------- the caller's tensors
 *
 * A block takes `pixels` neighbours and `groups` of planes through shared memory: along the planes on the caller's side, along the
 * channels on this one. A group is what a row of the caller's has of one plane: with spread r, r channels of memory, r^2 groups a plane being
 * r rows of them. Without a spread, rows do not matter: an image is one line of its pixels. */

struct planes {
    int32_t memory_channels, channels, images; /* of memory; of the caller */
    int32_t spread, groups_all, groups, pixels, stride;
    int64_t lines, length, height; /* lines of `length` pixels, `height` in an image */
    divider by_spread, by_pixels, by_channels, by_groups, by_height, by_vectors, by_padding;
    divider by_order; /* channels / order^2 */
    int32_t order, padding, vectors;
    const float *factors, *shifts; /* NULL: 1 and 0 */
    int sum;
};

/* What lies where: element e of the tile, along the caller's lines. */
struct place {
    uint32_t group, col, pixel; /* of the tile */
    int64_t plane, row;
};
__device__ __forceinline__ place place_of(const planes &z, uint32_t e, uint32_t group0) {
    place p;
    p.col = e;
    p.pixel = z.by_spread.split(&p.col);
    p.group = z.by_pixels.split(&p.pixel);
    uint32_t plane = group0 + p.group;
    p.row = 0;
    if (z.spread > 1) {
        p.row = z.by_channels.split(&plane);
    } else if (z.order > 1) { /* channel i r + j, c is the graph's c r^2 + i r + j */
        const uint32_t part = z.by_order.split(&plane);
        plane = plane * static_cast<uint32_t>(z.order * z.order) + part;
    }
    p.plane = plane;
    return p;
}

/* Where channel `col` of a group begins in the tile; along pixels it goes on. */
__device__ __forceinline__ uint32_t tile_row(const planes &z, uint32_t group, uint32_t col) {
    return (col * static_cast<uint32_t>(z.groups) + group) * static_cast<uint32_t>(z.stride);
}

/* Vector k of a pixel: its first channel of memory and its place in the tile; false where the chunk has only `groups` and not this. */
template <int V>
__device__ __forceinline__ bool vector_of(const planes &z, uint32_t k, uint32_t group0, uint32_t groups,
                                          int64_t *channel, uint32_t *tile_at) {
    *tile_at = k * V * static_cast<uint32_t>(z.stride);
    if (V > 1 || z.spread == 1) {
        *channel = group0 + k * V;
        return k * V < groups;
    }
    uint32_t group = k;
    const uint32_t col = z.by_groups.split(&group);
    uint32_t plane = group0 + group;
    const uint32_t row = z.by_channels.split(&plane);
    *channel = static_cast<int64_t>(row * static_cast<uint32_t>(z.spread) + col) * z.channels + plane;
    return group < groups;
}

template <class E, int V>
__global__ void __launch_bounds__(THREADS)
    import_tiles(const planes z, typename E::word *out, const float *caller) {
    DUKD_SHARED(float, tile, [TILE + 512]);
    const uint32_t group0 = blockIdx.z * static_cast<uint32_t>(z.groups);
    const uint32_t groups =
        z.groups_all - group0 < static_cast<uint32_t>(z.groups) ? z.groups_all - group0 : z.groups;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * z.pixels;
    const uint32_t pixels = static_cast<uint32_t>(z.length - first < z.pixels ? z.length - first : z.pixels);
    for (int64_t line = blockIdx.y; line < z.lines; line += gridDim.y) {
        uint32_t y = static_cast<uint32_t>(line);
        const int64_t n = z.by_height.split(&y);
        typename E::word *to = out + (line * z.length + first) * z.memory_channels;
        if (n >= z.images) { /* the caller has none: zeros, the same for all of the block */
            if (blockIdx.z == 0 && !z.sum) {
                for (int64_t i = threadIdx.x; i < static_cast<int64_t>(pixels) * z.memory_channels;
                     i += THREADS)
                    to[i] = 0;
            }
            continue;
        }
        for (uint32_t e = threadIdx.x; e < groups * static_cast<uint32_t>(z.pixels * z.spread);
             e += THREADS) {
            const place p = place_of(z, e, group0);
            if (p.pixel >= pixels) continue;
            const int64_t caller_line = ((n * z.channels + p.plane) * z.height + y) * z.spread + p.row;
            float v = caller[(caller_line * z.length + first + p.pixel) * z.spread + p.col];
            if (z.factors != nullptr) v *= z.factors[p.plane];
            if (z.shifts != nullptr) v += z.shifts[p.plane];
            tile[tile_row(z, p.group, p.col) + p.pixel] = v;
        }
        __syncthreads();
        for (uint32_t e = threadIdx.x; e < pixels * static_cast<uint32_t>(z.vectors); e += THREADS) {
            uint32_t k = e, from;
            const uint32_t pixel = z.by_vectors.split(&k);
            int64_t c;
            if (!vector_of<V>(z, k, group0, groups, &c, &from)) continue;
            float v[V], before[V];
            for (int i = 0; i < V; i++) v[i] = tile[from + static_cast<uint32_t>(i * z.stride) + pixel];
            typename E::word *at = to + static_cast<int64_t>(pixel) * z.memory_channels + c;
            if (z.sum) {
                load<E, V>(before, at);
                for (int i = 0; i < V; i++) v[i] += before[i];
            }
            store<E, V>(at, v);
        }
        if (blockIdx.z == 0 && z.padding > 0 && !z.sum) { /* channels that only pad */
            for (uint32_t e = threadIdx.x; e < pixels * static_cast<uint32_t>(z.padding); e += THREADS) {
                uint32_t c = e;
                const uint32_t pixel = z.by_padding.split(&c);
                to[(static_cast<int64_t>(pixel) + 1) * z.memory_channels - z.padding + c] = 0;
            }
        }
        __syncthreads(); /* the next line takes this one's place */
    }
}

template <class E, int V>
__global__ void __launch_bounds__(THREADS)
    export_tiles(const planes z, float *caller, const typename E::word *in) {
    DUKD_SHARED(float, tile, [TILE + 512]);
    const uint32_t group0 = blockIdx.z * static_cast<uint32_t>(z.groups);
    const uint32_t groups =
        z.groups_all - group0 < static_cast<uint32_t>(z.groups) ? z.groups_all - group0 : z.groups;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * z.pixels;
    const uint32_t pixels = static_cast<uint32_t>(z.length - first < z.pixels ? z.length - first : z.pixels);
    for (int64_t line = blockIdx.y; line < z.lines; line += gridDim.y) {
        uint32_t y = static_cast<uint32_t>(line);
        const int64_t n = z.by_height.split(&y);
        const typename E::word *from = in + (line * z.length + first) * z.memory_channels;
        if (n >= z.images) continue;
        for (uint32_t e = threadIdx.x; e < pixels * static_cast<uint32_t>(z.vectors); e += THREADS) {
            uint32_t k = e, to;
            const uint32_t pixel = z.by_vectors.split(&k);
            int64_t c;
            if (!vector_of<V>(z, k, group0, groups, &c, &to)) continue;
            float v[V];
            load<E, V>(v, from + static_cast<int64_t>(pixel) * z.memory_channels + c);
            for (int i = 0; i < V; i++) tile[to + static_cast<uint32_t>(i * z.stride) + pixel] = v[i];
        }
        __syncthreads();
        for (uint32_t e = threadIdx.x; e < groups * static_cast<uint32_t>(z.pixels * z.spread);
             e += THREADS) {
            const place p = place_of(z, e, group0);
            if (p.pixel >= pixels) continue;
            float v = tile[tile_row(z, p.group, p.col) + p.pixel];
            if (z.factors != nullptr) v *= z.factors[p.plane];
            if (z.shifts != nullptr) v += z.shifts[p.plane];
            const int64_t caller_line = ((n * z.channels + p.plane) * z.height + y) * z.spread + p.row;
            caller[(caller_line * z.length + first + p.pixel) * z.spread + p.col] = v;
        }
        __syncthreads(); /* the next line takes this one's place */
    }
}

/* V: of the vectors in memory. */
planes planes_of(const dukd_tensor *t, const dukd_exchange *x, int v, int sum) {
    const int32_t r = x->spread;
    const int64_t used = static_cast<int64_t>(x->channels) * r * r;
    planes z = {};
    z.memory_channels = t->channels, z.channels = x->channels, z.images = x->images;
    z.spread = r, z.order = r == 1 ? x->order : 1, z.sum = sum;
    z.factors = x->factors, z.shifts = x->shifts;
    z.lines = r == 1 ? t->images : static_cast<int64_t>(t->images) * t->height;
    z.height = r == 1 ? 1 : t->height;
    z.length = r == 1 ? pixels_of(t) : t->width;
    z.groups_all = x->channels * r;
    const int32_t most = r == 1 ? 32 : r < 256 ? 256 / r : 1;
    z.groups = z.groups_all < most ? z.groups_all : most;
    int64_t pixels = TILE / (z.groups * r) / 4 * 4;
    if (pixels < 1) pixels = 1;
    if (pixels > 512) pixels = 512;
    if (pixels > z.length) pixels = z.length;
    z.pixels = static_cast<int32_t>(pixels);
    z.stride = z.pixels | 1; /* odd: the channels of a pixel are in different banks */
    z.vectors = z.groups * r / v;
    z.padding = static_cast<int32_t>(t->channels - used);
    z.by_spread = divider_of(r), z.by_pixels = divider_of(z.pixels), z.by_channels = divider_of(x->channels);
    z.by_groups = divider_of(z.groups), z.by_height = divider_of(z.height),
    z.by_vectors = divider_of(z.vectors);
    z.by_order = divider_of(z.order > 1 ? x->channels / (z.order * z.order) : 1);
    z.by_padding = divider_of(z.padding > 0 ? z.padding : 1);
    return z;
}

dim3 grid_of(const planes &z) {
    const int64_t x = (z.length + z.pixels - 1) / z.pixels, chunks = (z.groups_all + z.groups - 1) / z.groups;
    const int64_t most = x * chunks < 4096 ? 4096 / (x * chunks) : 1;
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(z.lines < most ? z.lines : most),
                static_cast<unsigned>(chunks));
}

/* d(E(), width<V>()): vectors in memory where channels are not spread. */
template <class Do> int with_exchange(const dukd_tensor *t, const dukd_exchange *x, Do d) {
    if (count_of(t) <= 0 || x->channels <= 0) return 0;
    return with_type(t->type, [&](auto e) {
        typedef decltype(e) E;
        if (x->spread == 1 && (t->channels | x->channels) % E::WIDE == 0) return d(e, width<E::WIDE>());
        return d(e, width<1>());
    });
}

} // namespace

extern "C" int gpu_shuffle(void *stream, const dukd_tensor *out, const dukd_tensor *x, int32_t r,
                           int32_t order) {
    return shuffle<true>(stream, out, x, r, order, 0);
}

extern "C" int gpu_unshuffle(void *stream, const dukd_tensor *dx, const dukd_tensor *d, int32_t r,
                             int32_t order, int sum) {
    return shuffle<false>(stream, d, dx, r, order, sum);
}

extern "C" int gpu_import(void *stream, const dukd_tensor *out, const float *caller, const dukd_exchange *x,
                          int sum) {
    return with_exchange(out, x, [&](auto e, auto v) {
        typedef decltype(e) E;
        const planes z = planes_of(out, x, v.value, sum);
        DUKD_LAUNCH((import_tiles<E, v.value>), grid_of(z), dim3(THREADS), 0, stream, z, data_of<E>(out),
                    caller);
        return static_cast<int>(cudaGetLastError());
    });
}

extern "C" int gpu_export(void *stream, float *caller, const dukd_tensor *in, const dukd_exchange *x) {
    return with_exchange(in, x, [&](auto e, auto v) {
        typedef decltype(e) E;
        const planes z = planes_of(in, x, v.value, 0);
        DUKD_LAUNCH((export_tiles<E, v.value>), grid_of(z), dim3(THREADS), 0, stream, z, caller,
                    data_of<E>(in));
        return static_cast<int>(cudaGetLastError());
    });
}

namespace {

template <class E, int... V> int load_exchange() {
    return load_kernels(move_runs<E, V, true>..., move_runs<E, V, false>..., move_mixed<E, true>,
                        move_mixed<E, false>);
}

} // namespace

extern "C" int gpu_load_exchange(void) {
    int status = load_exchange<f32, 4, 1>();
    if (status == 0) status = load_exchange<bf16, 8, 4, 1>();
    if (status == 0)
        status = load_kernels(import_tiles<f32, 4>, import_tiles<f32, 1>, import_tiles<bf16, 8>,
                              import_tiles<bf16, 1>, export_tiles<f32, 4>, export_tiles<f32, 1>,
                              export_tiles<bf16, 8>, export_tiles<bf16, 1>);
    return status;
}
