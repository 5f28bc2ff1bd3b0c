/* L1 between a student's output, mapped back, and its targets: sums and gradient in one pass over memory. What cuda_l1_vectors.cu does not
 * take: any strides, any types, any widths, element by element; the sum of the blocks' sums; zeros.
 *
 * A block of 32 x 4 threads takes a tile of 32 x 32 pixels of one plane; neighbouring threads take neighbouring columns of
 * value and gradient. Where B transposes, neighbours in a row of value are neighbours in a column of the target: the block
 * reads the target's tile along the target's rows into shared memory and takes it from there the other way round. */
#include "cuda_l1_device.h"

#define ROWS    4 /* of threads */
#define THREADS (TILE * ROWS)
#define STEPS   (TILE / ROWS)
#define SUMMERS 256

using dukd_element::mixed;

template <int TARGETS> static __global__ void __launch_bounds__(THREADS) l1_tiles(const dukd_cuda_l1 p) {
    DUKD_SHARED(float, turned, [TARGETS][TILE][TILE + 1]);
    const l1_tile tile = l1_tile_of(p);
    const l1_image image = l1_image_of(p, tile.n);
    const uint32_t h = static_cast<uint32_t>(p.h), w = static_cast<uint32_t>(p.w);
    const bool transposed = (image.back & DUKD_AUGMENT_TRANSPOSE) != 0;
    const uint32_t x = threadIdx.x, y = threadIdx.y;

    if (transposed) {
        /* thread x along the target's rows: element (row + x, col + i) of value */
        const uint32_t r = tile.row + x;
        for (int t = 0; t < TARGETS; t++) {
            const dukd_cuda_view &target = p.target[t];
            for (uint32_t i = y; i < TILE; i += ROWS) {
                uint32_t from_row, from_col;
                if (r >= h || tile.col + i >= w) continue;
                dukd_place_of(image.back, h, w, r, tile.col + i, &from_row, &from_col);
                turned[t][i][x] = mixed::load(target.data, target.type,
                                              dukd_index(target, tile.n, tile.c, from_row, from_col));
            }
        }
        __syncthreads();
    }
    /* this thread's elements are (first_row + k ROWS, col); all loads first, so that they are under way together */
    const uint32_t first_row = tile.row + y, col = tile.col + x;
    const int rows = col < w && first_row < h ? static_cast<int>((h - first_row + ROWS - 1) / ROWS) : 0;
    float value[STEPS], target[STEPS][TARGETS];
    const int64_t value_at = dukd_index(p.value, tile.n, tile.c, first_row, col);
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
        value[k] = 0.0f;
        if (k < rows)
            value[k] = mixed::load(p.value.data, p.value.type, value_at + k * ROWS * p.value.stride[2]);
    }
#pragma unroll
    for (int t = 0; t < TARGETS; t++) {
        uint32_t from_row, from_col;
        dukd_place_of(image.back, h, w, first_row, col, &from_row, &from_col);
        const int64_t target_at = dukd_index(p.target[t], tile.n, tile.c, from_row, from_col);
        const int64_t stride =
            (image.back & DUKD_AUGMENT_FLIP_H) != 0 ? -p.target[t].stride[2] : p.target[t].stride[2];
#pragma unroll
        for (int k = 0; k < STEPS; k++) {
            target[k][t] = 0.0f;
            if (k >= rows) continue;
            target[k][t] =
                transposed ? turned[t][x][y + k * ROWS]
                           : mixed::load(p.target[t].data, p.target[t].type, target_at + k * ROWS * stride);
        }
    }
    dukd_cuda_pair sum[TARGETS] = {};
    const int64_t grad_at = dukd_index(p.grad, tile.n, tile.c, first_row, col);
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
        if (k >= rows) continue;
        const float gradient = l1_element(image, value[k], target[k], sum);
        if (p.grad.data != nullptr)
            mixed::store(p.grad.data, p.grad.type, grad_at + k * ROWS * p.grad.stride[2], gradient);
    }
    l1_write_sums<THREADS>(p, sum);
}

/* One block: each thread adds every SUMMERS-th partial sum, and the threads' sums are added in their order. */
static __global__ void __launch_bounds__(SUMMERS)
    l1_total(const dukd_cuda_l1 p, int64_t blocks, double elements) {
    DUKD_SHARED(double, of_thread, [SUMMERS]);
    const int thread = static_cast<int>(threadIdx.x);
    for (uint32_t t = 0; t < p.n_targets; t++) {
        double sum = 0.0;
        for (int64_t i = thread; i < blocks; i += SUMMERS) sum += dukd_value_of(p.partial[t * blocks + i]);
        of_thread[thread] = sum;
        __syncthreads();
        for (int step = SUMMERS / 2; step > 0; step /= 2) {
            if (thread < step) of_thread[thread] += of_thread[thread + step];
            __syncthreads();
        }
        if (thread == 0 && p.mean[t] != nullptr) *p.mean[t] = of_thread[0] / elements;
        /* the next target begins with each thread's own place, and thread 0 has read its own */
    }
}

static __global__ void __launch_bounds__(THREADS) zero_tiles(const dukd_cuda_l1 p) {
    const l1_tile tile = l1_tile_of(p);
    const uint32_t h = static_cast<uint32_t>(p.h), w = static_cast<uint32_t>(p.w),
                   col = tile.col + threadIdx.x;
    for (uint32_t row = tile.row + threadIdx.y; row < tile.row + TILE; row += ROWS) {
        if (row >= h || col >= w) continue;
        mixed::store(p.grad.data, p.grad.type, dukd_index(p.grad, tile.n, tile.c, row, col), 0.0f);
    }
}

/* ---------------------------------------------------------------- the wrappers */

/* With its divisors, for blocks of so many channels. */
static dukd_cuda_l1 divided(const dukd_cuda_l1 &p, int channels, unsigned *blocks) {
    dukd_cuda_l1 q = p;
    q.by_tiles = dukd_cuda_divider_of(p.tiles_h * p.tiles_w);
    q.by_tiles_w = dukd_cuda_divider_of(p.tiles_w);
    q.by_planes = dukd_cuda_divider_of(p.c / channels);
    *blocks = static_cast<unsigned>(p.n * (p.c / channels) * p.tiles_h * p.tiles_w);
    return q;
}

extern "C" int dukd_cuda_launch_l1(const dukd_cuda_l1 *p, void *stream) {
    const int channels = dukd_cuda_l1_channels(p);
    unsigned blocks;
    const dukd_cuda_l1 q = divided(*p, channels == 0 ? 1 : channels, &blocks);
    int status;
    if (channels != 0) {
        status = dukd_cuda_launch_l1_vectors(&q, channels, blocks, stream);
    } else {
        if (p->n_targets < 2) {
            DUKD_LAUNCH(l1_tiles<1>, dim3(blocks), dim3(TILE, ROWS), 0, stream, q);
        } else {
            DUKD_LAUNCH(l1_tiles<2>, dim3(blocks), dim3(TILE, ROWS), 0, stream, q);
        }
        status = static_cast<int>(cudaGetLastError());
    }
    if (status != 0) return status;
    const double elements = static_cast<double>(p->n) * static_cast<double>(p->c) *
                            static_cast<double>(p->h) * static_cast<double>(p->w);
    DUKD_LAUNCH(l1_total, dim3(1), dim3(SUMMERS), 0, stream, q, static_cast<int64_t>(blocks), elements);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_launch_zero(const dukd_cuda_l1 *p, void *stream) {
    unsigned blocks;
    const dukd_cuda_l1 q = divided(*p, 1, &blocks);
    DUKD_LAUNCH(zero_tiles, dim3(blocks), dim3(TILE, ROWS), 0, stream, q);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_load_l1(void) {
    cudaFuncAttributes a;
    int status = dukd_cuda_load_l1_vectors();
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_tiles<1>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_tiles<2>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_total));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zero_tiles));
    return status;
}
