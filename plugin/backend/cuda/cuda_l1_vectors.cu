/* L1 of tensors that can be read 16 bytes at a time: planes whose rows lie side by side, or images with three channels last.
 *
 * A thread has vectors of SIZE neighbours in a row, of one channel or of three: then SIZE pixels are three vectors, which hold a channel each
 * or, with the channels last, all three by turns. A block has a tile of 32 x 32 pixels. Widths are multiples of SIZE, so that no
 * vector leaves its row and a mirrored vector is one, too. */
#include "cuda_l1_device.h"
#include "cuda_vectors.h"

using namespace dukd_element;

/* Of a block: enough elements a thread to pay for what is done once, 16 or, of three channels, 24. */
#define THREADS_FOR(channels) ((channels) == 1 ? 64 : 128)

/* Whether the channels of a pixel lie side by side. */
template <int CHANNELS> static __device__ __forceinline__ bool is_woven(const dukd_cuda_view &v) {
    return CHANNELS > 1 && v.stride[3] != 1;
}

/* x[c][k]: channel c of pixel k of the SIZE from element `at` on; mirrored: the last first. */
template <class V, int CHANNELS>
static __device__ __forceinline__ void load_pixels(float (&x)[CHANNELS][V::SIZE], const dukd_cuda_view &v,
                                                   int64_t at, bool mirrored) {
    const bool woven = is_woven<CHANNELS>(v);
    const int64_t step = woven ? V::SIZE : v.stride[1];
    float raw[CHANNELS * V::SIZE];
#pragma unroll
    for (int i = 0; i < CHANNELS; i++) V::load(v.data, v.type, at + i * step, raw + i * V::SIZE);
#pragma unroll
    for (int c = 0; c < CHANNELS; c++) {
#pragma unroll
        for (int k = 0; k < V::SIZE; k++) {
            const int last = V::SIZE - 1 - k;
            const float forth = woven ? raw[k * CHANNELS + c] : raw[c * V::SIZE + k],
                        back = woven ? raw[last * CHANNELS + c] : raw[c * V::SIZE + last];
            x[c][k] = mirrored ? back : forth;
        }
    }
}

template <class V, int CHANNELS>
static __device__ __forceinline__ void store_pixels(const float (&x)[CHANNELS][V::SIZE],
                                                    const dukd_cuda_view &v, int64_t at) {
    const bool woven = is_woven<CHANNELS>(v);
    const int64_t step = woven ? V::SIZE : v.stride[1];
#pragma unroll
    for (int i = 0; i < CHANNELS; i++) {
        float raw[V::SIZE];
#pragma unroll
        for (int k = 0; k < V::SIZE; k++) {
            const int m = i * V::SIZE + k;
            raw[k] = woven ? x[m % CHANNELS][m / CHANNELS] : x[i][k];
        }
        V::store(v.data, v.type, at + i * step, raw);
    }
}

template <class V, int CHANNELS, int TARGETS>
static __global__ void __launch_bounds__(THREADS_FOR(CHANNELS)) l1_vectors(const dukd_cuda_l1 p) {
    constexpr int SIZE = V::SIZE, THREADS = THREADS_FOR(CHANNELS);
    constexpr int ACROSS = TILE / SIZE, DOWN = THREADS / ACROSS,
                  STEPS = TILE / DOWN;               /* threads, threads, rows of each */
    constexpr int AHEAD = CHANNELS == 1 ? STEPS : 1; /* rows that are loaded before one is used */
    DUKD_SHARED(float, turned, [TARGETS][CHANNELS][TILE][TILE + 1]);
    const l1_tile tile = l1_tile_of(p);
    const l1_image image = l1_image_of(p, tile.n);
    const uint32_t h = static_cast<uint32_t>(p.h), w = static_cast<uint32_t>(p.w);
    const bool flip_h = (image.back & DUKD_AUGMENT_FLIP_H) != 0,
               flip_w = (image.back & DUKD_AUGMENT_FLIP_W) != 0,
               transposed = (image.back & DUKD_AUGMENT_TRANSPOSE) != 0;
    const uint32_t x = threadIdx.x % ACROSS * SIZE, y = threadIdx.x / ACROSS;

    if (transposed) {
        /* vectors along the target's rows: elements (row + x ..., col + i) of value. The image is square: its height is such a multiple, too */
        for (uint32_t i = y; i < TILE; i += DOWN) {
            const uint32_t row = tile.row + x, col = tile.col + i;
            if (row >= h || col >= w) continue;
            const uint32_t from_row = flip_w ? w - 1 - col : col, from_col = flip_h ? h - SIZE - row : row;
#pragma unroll
            for (int t = 0; t < TARGETS; t++) {
                float part[CHANNELS][SIZE];
                load_pixels<V>(part, p.target[t], dukd_index(p.target[t], tile.n, tile.c, from_row, from_col),
                               flip_h);
#pragma unroll
                for (int c = 0; c < CHANNELS; c++) {
#pragma unroll
                    for (int k = 0; k < SIZE; k++) turned[t][c][i][x + k] = part[c][k];
                }
            }
        }
        __syncthreads();
    }
    /* this thread's pixels are (first_row + k DOWN, col ...) */
    const uint32_t first_row = tile.row + y, col = tile.col + x;
    const int rows = col < w && first_row < h ? static_cast<int>((h - first_row + DOWN - 1) / DOWN) : 0;
    const uint32_t from_row = flip_h ? h - 1 - first_row : first_row,
                   from_col = flip_w ? w - SIZE - col : col;
    const int64_t value_at = dukd_index(p.value, tile.n, tile.c, first_row, col),
                  grad_at = dukd_index(p.grad, tile.n, tile.c, first_row, col);
    int64_t target_at[TARGETS], target_step[TARGETS];
#pragma unroll
    for (int t = 0; t < TARGETS; t++) {
        target_at[t] = dukd_index(p.target[t], tile.n, tile.c, from_row, from_col);
        target_step[t] = (flip_h ? -p.target[t].stride[2] : p.target[t].stride[2]) * DOWN;
    }
    dukd_cuda_pair sum[TARGETS] = {};
#pragma unroll 1
    for (int first = 0; first < STEPS; first += AHEAD) {
        float value[AHEAD][CHANNELS][SIZE], target[AHEAD][TARGETS][CHANNELS][SIZE];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            if (first + k >= rows) continue;
            load_pixels<V>(value[k], p.value, value_at + (first + k) * DOWN * p.value.stride[2], false);
#pragma unroll
            for (int t = 0; t < TARGETS; t++) {
                if (!transposed) {
                    load_pixels<V>(target[k][t], p.target[t], target_at[t] + (first + k) * target_step[t],
                                   flip_w);
                    continue;
                }
#pragma unroll
                for (int c = 0; c < CHANNELS; c++) {
#pragma unroll
                    for (int i = 0; i < SIZE; i++)
                        target[k][t][c][i] = turned[t][c][x + i][y + (first + k) * DOWN];
                }
            }
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            if (first + k >= rows) continue;
            float gradient[CHANNELS][SIZE];
#pragma unroll
            for (int c = 0; c < CHANNELS; c++) {
#pragma unroll
                for (int i = 0; i < SIZE; i++) {
                    float of[TARGETS];
#pragma unroll
                    for (int t = 0; t < TARGETS; t++) of[t] = target[k][t][c][i];
                    gradient[c][i] = l1_element(image, value[k][c][i], of, sum);
                }
            }
            if (p.grad.data != nullptr)
                store_pixels<V>(gradient, p.grad, grad_at + (first + k) * DOWN * p.grad.stride[2]);
        }
    }
    l1_write_sums<THREADS>(p, sum);
}

/* ---------------------------------------------------------------- the wrappers */

/* Elements of a vector: of one type 16 bytes, of several four elements. */
static bool alike(const dukd_cuda_l1 *p) {
    const int32_t type = p->value.type;
    return p->target[0].type == type && (p->n_targets < 2 || p->target[1].type == type) &&
           (p->grad.data == nullptr || p->grad.type == type);
}

/* Whether vectors of `size` elements begin where a row does: with channels that lie apart, or, of three, side by side. */
static bool in_vectors(const dukd_cuda_view &v, const dukd_cuda_l1 &p, int size, bool woven) {
    const uintptr_t bytes = static_cast<uintptr_t>(size) * (v.type == DUKD_CUDA_F32 ? 4 : 2);
    if (v.data == nullptr) return true;
    if (reinterpret_cast<uintptr_t>(v.data) % bytes != 0) return false;
    if ((p.n > 1 && v.stride[0] % size != 0) || (p.h > 1 && v.stride[2] % size != 0)) return false;
    if (woven) return p.c == 3 && v.stride[1] == 1 && v.stride[3] == 3;
    return v.stride[3] == 1 && (p.c == 1 || v.stride[1] % size == 0);
}

int dukd_cuda_l1_channels(const dukd_cuda_l1 *p) {
    const int size = alike(p) && p->value.type != DUKD_CUDA_F32 ? 8 : 4;
    const dukd_cuda_view *const tensor[] = {&p->value, &p->grad, &p->target[0], &p->target[1]};
    bool planes = true, any = true;
    if (p->w % size != 0) return 0;
    for (const dukd_cuda_view *v : tensor) {
        const bool apart = in_vectors(*v, *p, size, false);
        planes = planes && apart;
        any = any && (apart || in_vectors(*v, *p, size, true));
    }
    return planes ? 1 : any ? 3 : 0;
}

template <class V, int CHANNELS> static void launch_of(const dukd_cuda_l1 &p, unsigned blocks, void *stream) {
    const dim3 grid(blocks), block(THREADS_FOR(CHANNELS));
    if (p.n_targets < 2) {
        DUKD_LAUNCH((l1_vectors<V, CHANNELS, 1>), grid, block, 0, stream, p);
    } else {
        DUKD_LAUNCH((l1_vectors<V, CHANNELS, 2>), grid, block, 0, stream, p);
    }
}

template <class V> static void launch_of(const dukd_cuda_l1 &p, int channels, unsigned blocks, void *stream) {
    if (channels == 1) {
        launch_of<V, 1>(p, blocks, stream);
    } else {
        launch_of<V, 3>(p, blocks, stream);
    }
}

int dukd_cuda_launch_l1_vectors(const dukd_cuda_l1 *p, int channels, unsigned blocks, void *stream) {
    if (!alike(p)) {
        launch_of<four_mixed>(*p, channels, blocks, stream);
    } else if (p->value.type == DUKD_CUDA_F32) {
        launch_of<four_f32>(*p, channels, blocks, stream);
    } else if (p->value.type == DUKD_CUDA_F16) {
        launch_of<eight_halves<f16>>(*p, channels, blocks, stream);
    } else {
        launch_of<eight_halves<bf16>>(*p, channels, blocks, stream);
    }
    return static_cast<int>(cudaGetLastError());
}

template <class V> static int load_of(void) {
    cudaFuncAttributes a;
    int status = static_cast<int>(cudaFuncGetAttributes(&a, l1_vectors<V, 1, 1>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_vectors<V, 1, 2>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_vectors<V, 3, 1>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_vectors<V, 3, 2>));
    return status;
}

int dukd_cuda_load_l1_vectors(void) {
    int status = load_of<four_f32>();
    if (status == 0) status = load_of<eight_halves<f16>>();
    if (status == 0) status = load_of<eight_halves<bf16>>();
    if (status == 0) status = load_of<four_mixed>();
    return status;
}
