/* What the kernels of window attention share: where a window's tokens lie, and products of tiles in shared memory. For gpu_attention.cu.
 *
 * A block of 128 threads, 16 wide (x) and 8 high (y), works on a tile of TILE queries and TILE keys of a head of a window. Of a matrix
 * of scores, thread (x, y) has queries 8 y .. 8 y + 7 and keys x, x + 16, x + 32, x + 48 in registers: half a warp has whole rows, and a row's
 * maximum and sum are shuffles. Matrices of tokens lie in shared memory with a row a channel ("turned"), matrices of scores with a row a query or a
 * key; rows have PITCH floats: whole quads begin at 8 different banks of 4 in 8 neighbouring rows, so that neither what is read
 * nor what is written by columns waits for another lane. */
#ifndef DUKD_GPU_WINDOWS_H
#define DUKD_GPU_WINDOWS_H

#include "gpu_device.h"

namespace gpu {

/* SHARED_TABLE: rows of a table that a block keeps in shared memory, those of windows up to 16. */
enum { TILE = 64, PITCH = TILE + 4, WINDOW_THREADS = 128, ROWS = 8, KEYS = 4, SHARED_TABLE = 31 * 31 };

struct window_shape {
    int32_t height, width, heads, d, window, shift, tokens, tiles; /* tiles of TILE tokens of a window */
    int64_t windows;
    float scale; /* 1 / sqrt(d) */
    const float *table;
    __device__ __forceinline__ int64_t channels() const { return static_cast<int64_t>(heads) * d; }
    __device__ __forceinline__ int32_t offsets() const { return (2 * window - 1) * (2 * window - 1); }
};

/* Tokens of a tile. Query i and key j have row code[i] - code[j] + 2 window (window - 1) of the table. */
struct tile_tokens {
    int64_t pixel[TILE];
    int32_t code[TILE], region[TILE];
};

/* Tokens first .. of a window; by the first TILE threads, before a barrier. */
static __device__ __forceinline__ void find_tokens(tile_tokens &to, const window_shape &z, int64_t window,
                                                   int32_t first) {
    const int32_t t = first + static_cast<int32_t>(threadIdx.x);
    if (threadIdx.x >= TILE || t >= z.tokens) return;
    const int32_t across = z.width / z.window, down = z.height / z.window;
    const int64_t row = window / across, image = row / down;
    const int32_t ty = t / z.window, tx = t - ty * z.window;
    int32_t y = static_cast<int32_t>(row - image * down) * z.window + ty;
    int32_t x = static_cast<int32_t>(window - row * across) * z.window + tx;
    to.code[threadIdx.x] = ty * (2 * z.window - 1) + tx;
    to.region[threadIdx.x] = 0;
    if (z.shift > 0) { /* the sides of the rolled image's seams */
        const int32_t below = y < z.height - z.window ? 0 : y < z.height - z.shift ? 1 : 2;
        const int32_t beside = x < z.width - z.window ? 0 : x < z.width - z.shift ? 1 : 2;
        to.region[threadIdx.x] = 3 * below + beside;
        y = y + z.shift < z.height ? y + z.shift : y + z.shift - z.height;
        x = x + z.shift < z.width ? x + z.shift : x + z.shift - z.width;
    }
    to.pixel[threadIdx.x] = (image * z.height + y) * z.width + x;
}

static __device__ __forceinline__ int thread_x() {
    return static_cast<int>(threadIdx.x) % 16;
}

static __device__ __forceinline__ int thread_y() {
    return static_cast<int>(threadIdx.x) / 16;
}

/* `width` (at most D) channels of `count` tokens, from `from` on in rows of `channels`, turned; zeros for the others. Lanes of a warp
 * take 8 channels of 4 V tokens. */
template <class E, int V, int D>
static __device__ __forceinline__ void load_turned(float *to, const typename E::word *from, int64_t channels,
                                                   const tile_tokens &tokens, int32_t count, int32_t width) {
    constexpr int LANES = 8 / V, TOKENS = 32 / LANES;
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int pass = 0; pass < TILE / (4 * TOKENS); pass++) {
        const int t = (pass * 4 + warp) * TOKENS + lane / LANES;
        float x[D / 8][V];
#pragma unroll
        for (int k = 0; k < D / 8; k++) {
            const int c = 8 * k + lane % LANES * V;
            if (t < count && c < width) {
                load<E, V>(x[k], from + tokens.pixel[t] * channels + c);
            } else {
#pragma unroll
                for (int v = 0; v < V; v++) x[k][v] = 0.0f;
            }
        }
#pragma unroll
        for (int k = 0; k < D / 8; k++) {
#pragma unroll
            for (int v = 0; v < V; v++) to[(8 * k + lane % LANES * V + v) * PITCH + t] = x[k][v];
        }
    }
}

/* s += a b^T over `width` channels of turned tokens. */
static __device__ __forceinline__ void multiply_turned(float (&s)[ROWS][KEYS], const float *a, const float *b,
                                                       int32_t width) {
    a += 8 * thread_y();
    b += thread_x();
#pragma unroll 4
    for (int32_t c = 0; c < width; c++, a += PITCH, b += PITCH) {
        float u[2][4], w[KEYS];
        load<f32, 4>(u[0], a);
        load<f32, 4>(u[1], a + 4);
#pragma unroll
        for (int k = 0; k < KEYS; k++) w[k] = b[16 * k];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
            for (int k = 0; k < KEYS; k++) s[r][k] += u[r / 4][r % 4] * w[k];
        }
    }
}

/* out[row][channel] += the sum over the first `count` columns of rows[row][] turned[channel][]: rows 8 y .., channels x and (D = 32)
 * x + 16. Columns beyond `count`, up to a multiple of 4, must be zeros in both. */
template <int D>
static __device__ __forceinline__ void multiply_rows(float (&out)[ROWS][D / 16], const float *rows,
                                                     const float *turned, int32_t count) {
    rows += 8 * thread_y() * PITCH;
    turned += thread_x() * PITCH;
    for (int32_t i = 0; i < count; i += 4) {
        float b[D / 16][4], a[4];
#pragma unroll
        for (int k = 0; k < D / 16; k++) load<f32, 4>(b[k], turned + 16 * k * PITCH + i);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            load<f32, 4>(a, rows + r * PITCH + i);
#pragma unroll
            for (int k = 0; k < D / 16; k++) {
#pragma unroll
                for (int v = 0; v < 4; v++) out[r][k] += a[v] * b[k][v];
            }
        }
    }
}

/* Scores into shared memory, a row a query or a row a key. */
static __device__ __forceinline__ void put_queries(float *to, const float (&s)[ROWS][KEYS]) {
    to += 8 * thread_y() * PITCH + thread_x();
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int k = 0; k < KEYS; k++) to[r * PITCH + 16 * k] = s[r][k];
    }
}

static __device__ __forceinline__ void put_keys(float *to, const float (&s)[ROWS][KEYS]) {
    to += thread_x() * PITCH + 8 * thread_y();
#pragma unroll
    for (int k = 0; k < KEYS; k++) {
        const float low[4] = {s[0][k], s[1][k], s[2][k], s[3][k]},
                    high[4] = {s[4][k], s[5][k], s[6][k], s[7][k]};
        store<f32, 4>(to + 16 * k * PITCH, low);
        store<f32, 4>(to + 16 * k * PITCH + 4, high);
    }
}

/* s = s / sqrt(d) + bias, less 100 where the regions differ. table: the head's column, in shared memory, or NULL: it is read where it
 * is. */
static __device__ __forceinline__ void add_bias(float (&s)[ROWS][KEYS], const window_shape &z, int32_t head,
                                                const float *table, const tile_tokens &queries,
                                                const tile_tokens &keys, int32_t query_count,
                                                int32_t key_count) {
    const int32_t middle = 2 * z.window * (z.window - 1);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int i = 8 * thread_y() + r;
        if (i >= query_count) continue;
#pragma unroll
        for (int k = 0; k < KEYS; k++) {
            const int j = thread_x() + 16 * k;
            if (j >= key_count) continue;
            const int32_t row = queries.code[i] - keys.code[j] + middle;
            const float bias =
                table != nullptr ? table[row] : z.table[static_cast<int64_t>(row) * z.heads + head];
            s[r][k] = s[r][k] * z.scale + bias - (queries.region[i] != keys.region[j] ? 100.0f : 0.0f);
        }
    }
}

/* Over the 16 lanes that have a row; all of them get it, to the same bits. */
static __device__ __forceinline__ float sum_of_row(float x) {
#pragma unroll
    for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

static __device__ __forceinline__ float
most_of_row(float x) { /* a NaN is passed over: its power of e is one */
#pragma unroll
    for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

/* out[row's token][first + channel] = factor out[row][channel], for `count` rows and `width` channels. */
template <class E, int D>
static __device__ __forceinline__ void give_rows(typename E::word *to, int64_t channels,
                                                 const tile_tokens &tokens, const float (&out)[ROWS][D / 16],
                                                 float factor, int32_t count, int32_t width) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int i = 8 * thread_y() + r;
        if (i >= count) continue;
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            const int c = thread_x() + 16 * k;
            if (c < width) to[tokens.pixel[i] * channels + c] = E::to(out[r][k] * factor);
        }
    }
}

/* sums[step x row of the table] += all scores of a tile (a row a query) whose query and key have that row, in their order. sums is the block's own; every thread has
 * other rows. */
static __device__ __forceinline__ void add_to_table(float *sums, int64_t step, const float *scores,
                                                    const window_shape &z, int32_t query, int32_t query_count,
                                                    int32_t key, int32_t key_count) {
    const int32_t side = z.window, span = 2 * side - 1, middle = 2 * side * (side - 1);
    const int32_t last_query = query + query_count - 1, last_key = key + key_count - 1;
    /* codes grow with tokens: only these rows occur */
    const int32_t least =
        query / side * span + query % side - (last_key / side * span + last_key % side) + middle;
    const int32_t most =
        last_query / side * span + last_query % side - (key / side * span + key % side) + middle;
    for (int32_t row = least + static_cast<int32_t>(threadIdx.x); row <= most; row += WINDOW_THREADS) {
        const int32_t down = row / span - (side - 1), across = row % span - (side - 1);
        const int32_t y0 = down > query / side ? down : query / side,
                      y1 = side - 1 + (down < 0 ? down : 0) < last_query / side
                               ? side - 1 + (down < 0 ? down : 0)
                               : last_query / side;
        const int32_t x0 = across > 0 ? across : 0, x1 = side - 1 + (across < 0 ? across : 0);
        float sum = 0.0f;
        for (int32_t y = y0; y <= y1; y++) {
            for (int32_t x = x0; x <= x1; x++) {
                const int32_t i = y * side + x - query, j = (y - down) * side + x - across - key;
                if (i >= 0 && i < query_count && j >= 0 && j < key_count) sum += scores[i * PITCH + j];
            }
        }
        sums[row * step] += sum;
    }
}

} // namespace gpu

#endif
