/* The window with the largest error, by the CPU backend's running sums in its order, so that it is the same window where
 * two are almost alike: sums down the columns, a thread a column; then along the rows, a thread a row. */
#include "cuda_device.h"

#define COLUMNS 64 /* threads of a block that walk down */
#define ROWS    128

/* Mean over channels but for the division; a pixel without a finite error makes its windows the hardest. */
static __device__ __forceinline__ double error_at(const dukd_cuda_hardest &p, int64_t n, int64_t r,
                                                  int64_t w) {
    using dukd_element::mixed;
    double error = 0.0;
    for (int64_t c = 0; c < p.c; c++) {
        const float a = mixed::load(p.a.data, p.a.type, dukd_index(p.a, n, c, r, w));
        const float b = mixed::load(p.b.data, p.b.type, dukd_index(p.b, n, c, r, w));
        error += static_cast<double>(fabsf(a - b));
    }
    return isfinite(error) ? error : static_cast<double>(INFINITY);
}

static __global__ void __launch_bounds__(COLUMNS) sum_columns(const dukd_cuda_hardest p, int64_t blocks_w) {
    const int64_t n = blockIdx.x / blocks_w, w = blockIdx.x % blocks_w * COLUMNS + threadIdx.x;
    if (w >= p.w) return;
    const int64_t offsets = p.h - p.window_h + 1;
    double *column = p.column + (n * p.w + w) * offsets, sum = 0.0;
    for (int64_t r = 0; r < p.h; r++) {
        if (r >= p.window_h) sum -= error_at(p, n, r - p.window_h, w);
        sum += error_at(p, n, r, w);
        if (r + 1 >= p.window_h) column[r + 1 - p.window_h] = sum;
    }
}

/* A block an image; thread t has rows t, t + ROWS, ...: the first largest of each thread, then of all. */
static __global__ void __launch_bounds__(ROWS) find_largest(const dukd_cuda_hardest p) {
    DUKD_SHARED(double, best_of, [ROWS]);
    DUKD_SHARED(int32_t, row_of, [ROWS]);
    DUKD_SHARED(int32_t, col_of, [ROWS]);
    const int64_t n = blockIdx.x, offsets = p.h - p.window_h + 1;
    const int thread = static_cast<int>(threadIdx.x);
    const double *column = p.column + n * p.w * offsets;
    double best = -1.0;
    int32_t best_row = 0, best_col = 0;
    for (int64_t r = thread; r < offsets; r += ROWS) {
        double sum = 0.0;
        for (int64_t w = 0; w < p.window_w; w++) sum += column[w * offsets + r];
        for (int64_t w = 0; w + p.window_w <= p.w; w++) {
            if (w > 0) sum += column[(w + p.window_w - 1) * offsets + r] - column[(w - 1) * offsets + r];
            if (sum > best) {
                best = sum;
                best_row = static_cast<int32_t>(r);
                best_col = static_cast<int32_t>(w);
            }
        }
    }
    best_of[thread] = best;
    row_of[thread] = best_row;
    col_of[thread] = best_col;
    __syncthreads();
    if (thread != 0) return;
    for (int t = 1; t < ROWS; t++) {
        if (best_of[t] < best || (best_of[t] == best && row_of[t] >= best_row)) continue;
        best = best_of[t];
        best_row = row_of[t];
        best_col = col_of[t];
    }
    p.row[n] = best_row;
    p.col[n] = best_col;
}

extern "C" int dukd_cuda_launch_hardest(const dukd_cuda_hardest *p, void *stream) {
    const int64_t blocks_w = (p->w + COLUMNS - 1) / COLUMNS;
    DUKD_LAUNCH(sum_columns, dim3(static_cast<unsigned>(p->n * blocks_w)), dim3(COLUMNS), 0, stream, *p,
                blocks_w);
    const int status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    DUKD_LAUNCH(find_largest, dim3(static_cast<unsigned>(p->n)), dim3(ROWS), 0, stream, *p);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_load_hardest(void) {
    cudaFuncAttributes a;
    int status = static_cast<int>(cudaFuncGetAttributes(&a, sum_columns));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, find_largest));
    return status;
}
