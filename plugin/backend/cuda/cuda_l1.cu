/* L1 between a student's output, mapped back, and its targets: sums and gradient in one pass over memory.
 *
 * A block of 32 x 8 threads takes a tile of 32 x 32 pixels of one plane; neighbouring threads take neighbouring columns of
 * value and gradient. Where B transposes, neighbours in a row of value are neighbours in a column of the target: the block
 * reads the target's tile along the target's rows into shared memory and takes it from there the other way round. */
#include "cuda_device.h"
#include "cuda_reduce.h"

#define TILE    DUKD_CUDA_TILE
#define ROWS    8 /* of threads */
#define THREADS (TILE * ROWS)
#define SUMMERS 256

/* V: type of value and targets, G: of the gradient. */
template <class V, class G> static __global__ void __launch_bounds__(THREADS) l1_tiles(const dukd_cuda_l1 p) {
    DUKD_SHARED(float, turned, [2][TILE][TILE + 1]);
    const int64_t blocks = gridDim.x, tile = blockIdx.x % (p.tiles_h * p.tiles_w),
                  plane = blockIdx.x / (p.tiles_h * p.tiles_w);
    const int64_t n = plane / p.c, c = plane % p.c;
    const int64_t row0 = tile / p.tiles_w * TILE, col0 = tile % p.tiles_w * TILE;
    const uint32_t back = p.back != nullptr ? p.back[n] : 0;
    const bool invert = (back & DUKD_AUGMENT_INVERT) != 0, transposed = (back & DUKD_AUGMENT_TRANSPOSE) != 0;
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);

    if (transposed) {
        /* thread x along the target's rows: element (row0 + x, col0 + i) of value */
        const int64_t r = row0 + x;
        for (uint32_t t = 0; t < p.n_targets; t++) {
            const dukd_cuda_view &target = p.target[t];
            for (int i = y; i < TILE; i += ROWS) {
                int64_t from_row, from_col;
                if (r >= p.h || col0 + i >= p.w) continue;
                dukd_place_of(back, p.h, p.w, r, col0 + i, &from_row, &from_col);
                turned[t][i][x] =
                    V::load(target.data, target.type, dukd_index(target, n, c, from_row, from_col));
            }
        }
        __syncthreads();
    }
    float factor[2];
    const double scale = p.scale != nullptr ? static_cast<double>(*p.scale) : 1.0;
    for (int t = 0; t < 2; t++) {
        factor[t] = static_cast<float>(p.factor[t] * scale);
        if (invert) factor[t] = -factor[t];
    }
    /* this thread's elements are (row0 + y + k ROWS, col0 + x); all loads first, so that they are under way together */
    const int64_t first_row = row0 + y, col = col0 + x;
    const int rows = col < p.w && first_row < p.h ? static_cast<int>((p.h - first_row + ROWS - 1) / ROWS) : 0;
    float value[TILE / ROWS], target[2][TILE / ROWS];
    const int64_t value_at = dukd_index(p.value, n, c, first_row, col);
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++) {
        value[k] = 0.0f;
        if (k < rows) value[k] = V::load(p.value.data, p.value.type, value_at + k * ROWS * p.value.stride[2]);
    }
#pragma unroll
    for (int t = 0; t < 2; t++) {
        int64_t from_row, from_col;
        dukd_place_of(back, p.h, p.w, first_row, col, &from_row, &from_col);
        const int64_t target_at = dukd_index(p.target[t], n, c, from_row, from_col);
        const int64_t stride =
            (back & DUKD_AUGMENT_FLIP_H) != 0 ? -p.target[t].stride[2] : p.target[t].stride[2];
#pragma unroll
        for (int k = 0; k < TILE / ROWS; k++) {
            target[t][k] = 0.0f;
            if (k >= rows || t >= static_cast<int>(p.n_targets)) continue;
            target[t][k] = transposed
                               ? turned[t][x][y + k * ROWS]
                               : V::load(p.target[t].data, p.target[t].type, target_at + k * ROWS * stride);
        }
    }
    double sum[2] = {0.0, 0.0};
    const int64_t grad_at = dukd_index(p.grad, n, c, first_row, col);
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++) {
        if (k >= rows) continue;
        const float restored = invert ? 1.0f - value[k] : value[k];
        float d = restored - target[0][k], gradient = dukd_signed(factor[0], d);
        sum[0] += static_cast<double>(fabsf(d));
        if (p.n_targets > 1) {
            d = restored - target[1][k];
            sum[1] += static_cast<double>(fabsf(d));
            gradient = gradient + dukd_signed(factor[1], d);
        }
        if (p.grad.data != nullptr)
            G::store(p.grad.data, p.grad.type, grad_at + k * ROWS * p.grad.stride[2], gradient);
    }
    if (!dukd_sum_of_block<THREADS>(&sum[0], &sum[1])) return;
    p.partial[blockIdx.x] = sum[0];
    p.partial[blocks + blockIdx.x] = sum[1];
}

/* One block: each thread adds every SUMMERS-th partial sum, and the threads' sums are added in their order. */
static __global__ void __launch_bounds__(SUMMERS)
    l1_total(const dukd_cuda_l1 p, int64_t blocks, double elements) {
    DUKD_SHARED(double, of_thread, [SUMMERS]);
    const int thread = static_cast<int>(threadIdx.x);
    for (uint32_t t = 0; t < p.n_targets; t++) {
        double sum = 0.0;
        for (int64_t i = thread; i < blocks; i += SUMMERS) sum += p.partial[t * blocks + i];
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
    const int64_t tile = blockIdx.x % (p.tiles_h * p.tiles_w), plane = blockIdx.x / (p.tiles_h * p.tiles_w);
    const int64_t col = tile % p.tiles_w * TILE + threadIdx.x;
    for (int i = static_cast<int>(threadIdx.y); i < TILE; i += ROWS) {
        const int64_t r = tile / p.tiles_w * TILE + i;
        if (r >= p.h || col >= p.w) continue;
        dukd_element::mixed::store(p.grad.data, p.grad.type,
                                   dukd_index(p.grad, plane / p.c, plane % p.c, r, col), 0.0f);
    }
}

/* ---------------------------------------------------------------- the wrappers */

static unsigned blocks_of(const dukd_cuda_l1 &p) {
    return static_cast<unsigned>(p.n * p.c * p.tiles_h * p.tiles_w);
}

extern "C" int dukd_cuda_launch_l1(const dukd_cuda_l1 *p, void *stream) {
    using namespace dukd_element;
    const dim3 grid(blocks_of(*p)), block(TILE, ROWS);
    const int type = p->value.type;
    const bool alike = p->target[0].type == type && (p->n_targets < 2 || p->target[1].type == type);
    const bool full = p->grad.data == nullptr || p->grad.type == DUKD_CUDA_F32;
    if (alike && type == DUKD_CUDA_F32) {
        DUKD_LAUNCH((l1_tiles<f32, f32>), grid, block, 0, stream, *p);
    } else if (alike && type == DUKD_CUDA_F16 && !full) {
        DUKD_LAUNCH((l1_tiles<f16, f16>), grid, block, 0, stream, *p);
    } else if (alike && type == DUKD_CUDA_BF16 && !full) {
        DUKD_LAUNCH((l1_tiles<bf16, bf16>), grid, block, 0, stream, *p);
    } else {
        DUKD_LAUNCH((l1_tiles<mixed, mixed>), grid, block, 0, stream, *p);
    }
    const int status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    const double elements = static_cast<double>(p->n) * static_cast<double>(p->c) *
                            static_cast<double>(p->h) * static_cast<double>(p->w);
    DUKD_LAUNCH(l1_total, dim3(1), dim3(SUMMERS), 0, stream, *p, static_cast<int64_t>(grid.x), elements);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_launch_zero(const dukd_cuda_l1 *p, void *stream) {
    DUKD_LAUNCH(zero_tiles, dim3(blocks_of(*p)), dim3(TILE, ROWS), 0, stream, *p);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_load_l1(void) {
    using namespace dukd_element;
    cudaFuncAttributes a;
    int status = static_cast<int>(cudaFuncGetAttributes(&a, l1_tiles<f32, f32>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_tiles<f16, f16>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_tiles<bf16, bf16>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_tiles<mixed, mixed>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, l1_total));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zero_tiles));
    return status;
}
