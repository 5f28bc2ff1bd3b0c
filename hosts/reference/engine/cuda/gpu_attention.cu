/* See ops.h and graph.h (dukd_graph_attention): attention in (shifted) windows, forward and backward; gpu_windows.h has the tiles.
 *
 * Forward: a block for 64 queries of a head of a window; keys come in tiles of 64 with running maxima (one tile for windows up to 8).
 * Backward of windows up to 8 whose heads have at most 32 channels, which is SwinIR's: a block for a head of a window does all of it. q,
 * k, v and the output's gradient are read once, scores live in registers and go through shared memory three times: p for dv, ds for dk, ds for dq.
 * Others: a kernel for the rows' maxima, sums and p dp, one for dq, one for dk and dv, which compute the scores again. More channels
 * than 32 are read in turns; blocks have 32 channels of the result each.
 *
 * The table's gradient: what a block has of it, over all of its windows, goes to scratch; finish_sums adds the blocks' in f64. */
#include "gpu_sums.h"
#include "gpu_windows.h"

using namespace gpu;

namespace {

const float lowest = -3.402823466e38f;

/* Shared memory of so many turned matrices of D channels, matrices of scores, tiles of tokens and rows of the table. */
static size_t bytes_of(int matrices, int scores, int tokens, int rows, int d) {
    return static_cast<size_t>(matrices * d * PITCH + scores * TILE * PITCH + rows) * sizeof(float) +
           static_cast<size_t>(tokens) * sizeof(tile_tokens);
}

static int32_t rows_in_shared(const window_shape &z) {
    const int32_t rows = (2 * z.window - 1) * (2 * z.window - 1);
    return rows <= SHARED_TABLE ? rows : 0;
}

/* The head's column of the table, or NULL where it is too long. Before a barrier. */
static __device__ __forceinline__ const float *take_table(float *to, const window_shape &z, int32_t head) {
    const int32_t rows = z.offsets();
    if (rows > SHARED_TABLE) return nullptr;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < rows; i += WINDOW_THREADS)
        to[i] = z.table[static_cast<int64_t>(i) * z.heads + head];
    return to;
}

static __device__ __forceinline__ int32_t least(int32_t a, int32_t b) {
    return a < b ? a : b;
}

template <int R, int C> static __device__ __forceinline__ void clear(float (&x)[R][C]) {
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int c = 0; c < C; c++) x[r][c] = 0.0f;
    }
}

/* s += a b^T over the d channels of a head; ends with a barrier, after which x and y are free. */
template <class E, int V, int D>
static __device__ __forceinline__ void
multiply_heads(float (&s)[ROWS][KEYS], float *x, float *y, const typename E::word *a, int64_t a_channels,
               const tile_tokens &a_tokens, int32_t a_count, const typename E::word *b, int64_t b_channels,
               const tile_tokens &b_tokens, int32_t b_count, int32_t d) {
    for (int32_t c = 0; c < d; c += D) {
        const int32_t width = least(D, d - c);
        load_turned<E, V, D>(x, a + c, a_channels, a_tokens, a_count, width);
        load_turned<E, V, D>(y, b + c, b_channels, b_tokens, b_count, width);
        __syncthreads();
        multiply_turned(s, x, y, width);
        __syncthreads();
    }
}

/* ---------------------------------------------------------------- forward */

/* Item: (window, tile of queries, head, D channels of the result), the last fastest. */
template <class E, int V, int D>
static __global__ void __launch_bounds__(WINDOW_THREADS, 3)
    attention(typename E::word *out, const typename E::word *qkv, const window_shape z, int64_t items) {
    DUKD_DYNAMIC_SHARED(quad, raw);
    float *const scores = reinterpret_cast<float *>(raw), *const q = scores, *const k = q + D * PITCH;
    float *const v = scores + TILE * PITCH;
    tile_tokens *const tokens = reinterpret_cast<tile_tokens *>(v + D * PITCH);
    float *const room_of_table = reinterpret_cast<float *>(tokens + 2);
    const int64_t channels = z.channels(), step = 3 * channels;
    const int32_t parts = (z.d + D - 1) / D;
    for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
        const int64_t rest = item / parts, tile = rest / z.heads, window = tile / z.tiles;
        const int32_t first_channel = static_cast<int32_t>(item - rest * parts) * D;
        const int32_t head = static_cast<int32_t>(rest - tile * z.heads);
        const int32_t query = static_cast<int32_t>(tile - window * z.tiles) * TILE;
        const int32_t queries = least(TILE, z.tokens - query);
        const typename E::word *const from = qkv + static_cast<int64_t>(head) * z.d;
        const float *table = take_table(room_of_table, z, head);
        find_tokens(tokens[0], z, window, query);
        float o[ROWS][D / 16], most[ROWS], sum[ROWS];
        clear(o);
#pragma unroll
        for (int r = 0; r < ROWS; r++) most[r] = lowest, sum[r] = 0.0f;
        for (int32_t key = 0; key < z.tokens; key += TILE) {
            const int32_t keys = least(TILE, z.tokens - key);
            float s[ROWS][KEYS];
            clear(s);
            find_tokens(tokens[1], z, window, key);
            __syncthreads();
            load_turned<E, V, D>(v, from + 2 * channels + first_channel, step, tokens[1], keys,
                                 least(D, z.d - first_channel));
            multiply_heads<E, V, D>(s, q, k, from, step, tokens[0], queries, from + channels, step, tokens[1],
                                    keys, z.d);
            add_bias(s, z, head, table, tokens[0], tokens[1], queries, keys);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float top = most[r], part = 0.0f;
#pragma unroll
                for (int n = 0; n < KEYS; n++) {
                    if (thread_x() + 16 * n < keys) top = fmaxf(top, s[r][n]);
                }
                top = most_of_row(top);
#pragma unroll
                for (int n = 0; n < KEYS; n++) {
                    s[r][n] = thread_x() + 16 * n < keys ? expf(s[r][n] - top) : 0.0f;
                    part += s[r][n];
                }
                const float shrink = expf(most[r] - top);
                most[r] = top;
                sum[r] = sum[r] * shrink + sum_of_row(part);
#pragma unroll
                for (int n = 0; n < D / 16; n++) o[r][n] *= shrink;
            }
            put_queries(scores, s);
            __syncthreads();
            /* what this reads lies until the barrier after the next tokens */
            multiply_rows<D>(o, scores, v, keys);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
            for (int n = 0; n < D / 16; n++) o[r][n] /= sum[r];
        }
        give_rows<E, D>(out + static_cast<int64_t>(head) * z.d + first_channel, channels, tokens[0], o, 1.0f,
                        queries, least(D, z.d - first_channel));
        __syncthreads(); /* the next item's tokens and table take the place of these */
    }
}

/* ---------------------------------------------------------------- backward of a window that is one tile */

/* With the scores s, their softmax p and the output's gradient e: dv = p^T e, dp = e v^T, ds = p (dp - rowsum(p dp)),
 * dq = ds k / sqrt(d), dk = ds^T q / sqrt(d). s becomes p, and dp becomes ds; both 0 where there is no query or no key. */
static __device__ __forceinline__ void softmax_back(float (&s)[ROWS][KEYS], float (&dp)[ROWS][KEYS],
                                                    int32_t queries, int32_t keys) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float top = lowest, sum = 0.0f, dot = 0.0f;
#pragma unroll
        for (int n = 0; n < KEYS; n++) {
            if (thread_x() + 16 * n < keys) top = fmaxf(top, s[r][n]);
        }
        top = most_of_row(top);
#pragma unroll
        for (int n = 0; n < KEYS; n++) {
            const bool there = thread_x() + 16 * n < keys && 8 * thread_y() + r < queries;
            s[r][n] = there ? expf(s[r][n] - top) : 0.0f;
            sum += s[r][n];
            dot += s[r][n] * dp[r][n];
        }
        sum = sum_of_row(sum);
        dot = sum_of_row(dot);
        const float part = 8 * thread_y() + r < queries ? 1.0f / sum : 0.0f;
#pragma unroll
        for (int n = 0; n < KEYS; n++) {
            s[r][n] *= part;
            dp[r][n] = s[r][n] * (dp[r][n] - dot * part);
        }
    }
}

/* Block: (group of windows, head), the last fastest. parts: groups x rows of the table x heads. (3 blocks are
 * what fits a multiprocessor's shared memory; in fewer registers, or with 16 channels, sm_120 would spill.) */
template <class E, int V, int D>
static __global__ void __launch_bounds__(WINDOW_THREADS, D == 16 ? 2 : 3)
    attention_back(typename E::word *d_qkv, const typename E::word *d, const typename E::word *qkv,
                   const window_shape z, int32_t group_windows, float *parts) {
    DUKD_DYNAMIC_SHARED(quad, raw);
    float *const q = reinterpret_cast<float *>(raw), *const k = q + D * PITCH, *const e = k + D * PITCH;
    float *const scores = e + D * PITCH, *const v = scores; /* v is there until the scores are */
    tile_tokens &tokens = *reinterpret_cast<tile_tokens *>(scores + TILE * PITCH);
    float *const room_of_table = reinterpret_cast<float *>(&tokens + 1);
    float *const sums = room_of_table + z.offsets();
    const int64_t channels = z.channels(), step = 3 * channels;
    const int32_t group = static_cast<int32_t>(blockIdx.x) / z.heads,
                  head = static_cast<int32_t>(blockIdx.x) % z.heads;
    const typename E::word *const from = qkv + static_cast<int64_t>(head) * z.d;
    typename E::word *const to = d_qkv + static_cast<int64_t>(head) * z.d;
    const float *table = take_table(room_of_table, z, head);
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < z.offsets(); i += WINDOW_THREADS) sums[i] = 0.0f;
    const int64_t first = static_cast<int64_t>(group) * group_windows;
    const int64_t last = first + group_windows < z.windows ? first + group_windows : z.windows;
    for (int64_t window = first; window < last; window++) {
        find_tokens(tokens, z, window, 0);
        __syncthreads();
        load_turned<E, V, D>(q, from, step, tokens, z.tokens, z.d);
        load_turned<E, V, D>(k, from + channels, step, tokens, z.tokens, z.d);
        load_turned<E, V, D>(v, from + 2 * channels, step, tokens, z.tokens, z.d);
        load_turned<E, V, D>(e, d + static_cast<int64_t>(head) * z.d, channels, tokens, z.tokens, z.d);
        __syncthreads();
        float s[ROWS][KEYS], ds[ROWS][KEYS], o[ROWS][D / 16];
        clear(s);
        clear(ds);
        multiply_turned(s, q, k, z.d);
        add_bias(s, z, head, table, tokens, tokens, z.tokens, z.tokens);
        multiply_turned(ds, e, v, z.d);
        softmax_back(s, ds, z.tokens, z.tokens);
        __syncthreads(); /* v has been read */
        put_keys(scores, s);
        __syncthreads();
        clear(o);
        multiply_rows<D>(o, scores, e, z.tokens);
        give_rows<E, D>(to + 2 * channels, step, tokens, o, 1.0f, z.tokens, z.d);
        __syncthreads();
        put_keys(scores, ds);
        __syncthreads();
        clear(o);
        multiply_rows<D>(o, scores, q, z.tokens);
        give_rows<E, D>(to + channels, step, tokens, o, z.scale, z.tokens, z.d);
        __syncthreads();
        put_queries(scores, ds);
        __syncthreads();
        clear(o);
        multiply_rows<D>(o, scores, k, z.tokens);
        give_rows<E, D>(to, step, tokens, o, z.scale, z.tokens, z.d);
        add_to_table(sums, 1, scores, z, 0, z.tokens, 0, z.tokens);
        __syncthreads();
    }
    float *const part = parts + static_cast<int64_t>(group) * z.offsets() * z.heads + head;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < z.offsets(); i += WINDOW_THREADS)
        part[static_cast<int64_t>(i) * z.heads] = sums[i];
}

/* ---------------------------------------------------------------- backward of larger windows and wider heads */

/* What the rows of a head of a window need: 3 numbers a query, its largest score, 1 / the sum, rowsum(p dp). */
static __device__ __forceinline__ float *row_numbers(float *rows, const window_shape &z, int64_t window,
                                                     int32_t head, int32_t query) {
    return rows + ((window * z.heads + head) * z.tokens + query) * 3;
}

/* The scores of a tile and dp, from memory. */
template <class E, int V, int D>
static __device__ __forceinline__ void
find_scores(float (&s)[ROWS][KEYS], float (&dp)[ROWS][KEYS], float *x, float *y, const typename E::word *d,
            const typename E::word *qkv, const window_shape &z, int32_t head, const float *table,
            const tile_tokens *tokens, int32_t queries, int32_t keys) {
    const int64_t channels = z.channels(), step = 3 * channels, first = static_cast<int64_t>(head) * z.d;
    clear(s);
    clear(dp);
    multiply_heads<E, V, D>(s, x, y, qkv + first, step, tokens[0], queries, qkv + channels + first, step,
                            tokens[1], keys, z.d);
    multiply_heads<E, V, D>(dp, x, y, d + first, channels, tokens[0], queries, qkv + 2 * channels + first,
                            step, tokens[1], keys, z.d);
    add_bias(s, z, head, table, tokens[0], tokens[1], queries, keys);
}

/* s becomes p, dp becomes ds; 0 where there is no query or no key. */
static __device__ __forceinline__ void finish_scores(float (&s)[ROWS][KEYS], float (&dp)[ROWS][KEYS],
                                                     const float *rows, int32_t queries, int32_t keys) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int i = 8 * thread_y() + r;
#pragma unroll
        for (int n = 0; n < KEYS; n++) {
            const bool there = i < queries && thread_x() + 16 * n < keys;
            s[r][n] = there ? expf(s[r][n] - rows[3 * i]) * rows[3 * i + 1] : 0.0f;
            dp[r][n] = there ? s[r][n] * (dp[r][n] - rows[3 * i + 2]) : 0.0f;
        }
    }
}

struct window_room {
    float *x, *y, *scores, *table;
    tile_tokens *tokens;
    template <int D> static __device__ __forceinline__ window_room of(quad *raw) {
        window_room r;
        r.x = reinterpret_cast<float *>(raw);
        r.y = r.x + D * PITCH;
        r.scores = r.y + D * PITCH;
        r.tokens = reinterpret_cast<tile_tokens *>(r.scores + TILE * PITCH);
        r.table = reinterpret_cast<float *>(r.tokens + 2);
        return r;
    }
};

/* Item: (window, tile of queries, head). */
template <class E, int V, int D>
static __global__ void __launch_bounds__(WINDOW_THREADS, 2)
    attention_rows(float *rows, const typename E::word *d, const typename E::word *qkv, const window_shape z,
                   int64_t items) {
    DUKD_DYNAMIC_SHARED(quad, raw);
    const window_room room = window_room::of<D>(raw);
    for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
        const int64_t tile = item / z.heads, window = tile / z.tiles;
        const int32_t head = static_cast<int32_t>(item - tile * z.heads);
        const int32_t query = static_cast<int32_t>(tile - window * z.tiles) * TILE;
        const int32_t queries = least(TILE, z.tokens - query);
        const float *table = take_table(room.table, z, head);
        find_tokens(room.tokens[0], z, window, query);
        float most[ROWS], sum[ROWS], dot[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) most[r] = lowest, sum[r] = dot[r] = 0.0f;
        for (int32_t key = 0; key < z.tokens; key += TILE) {
            const int32_t keys = least(TILE, z.tokens - key);
            float s[ROWS][KEYS], dp[ROWS][KEYS];
            find_tokens(room.tokens[1], z, window, key);
            __syncthreads();
            find_scores<E, V, D>(s, dp, room.x, room.y, d, qkv, z, head, table, room.tokens, queries, keys);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float top = most[r], part = 0.0f, part_dot = 0.0f;
#pragma unroll
                for (int n = 0; n < KEYS; n++) {
                    if (thread_x() + 16 * n < keys) top = fmaxf(top, s[r][n]);
                }
                top = most_of_row(top);
#pragma unroll
                for (int n = 0; n < KEYS; n++) {
                    const float p = thread_x() + 16 * n < keys ? expf(s[r][n] - top) : 0.0f;
                    part += p;
                    part_dot += p * dp[r][n];
                }
                const float shrink = expf(most[r] - top);
                most[r] = top;
                sum[r] = sum[r] * shrink + sum_of_row(part);
                dot[r] = dot[r] * shrink + sum_of_row(part_dot);
            }
            __syncthreads(); /* the next keys take the place of these */
        }
        float *to = row_numbers(rows, z, window, head, query);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int i = 8 * thread_y() + r;
            if (thread_x() != 0 || i >= queries) continue;
            to[3 * i] = most[r];
            to[3 * i + 1] = 1.0f / sum[r];
            to[3 * i + 2] = dot[r] / sum[r];
        }
    }
}

/* Block: (group of windows, tile of queries, head). parts: groups x tiles x rows of the table x heads. */
template <class E, int V, int D>
static __global__ void __launch_bounds__(WINDOW_THREADS, 2)
    attention_queries(typename E::word *d_qkv, float *rows, const typename E::word *d,
                      const typename E::word *qkv, const window_shape z, int32_t group_windows,
                      float *parts) {
    DUKD_DYNAMIC_SHARED(quad, raw);
    const window_room room = window_room::of<D>(raw);
    const int64_t channels = z.channels(), step = 3 * channels;
    const int32_t part = static_cast<int32_t>(blockIdx.x) / z.heads,
                  head = static_cast<int32_t>(blockIdx.x) % z.heads;
    const int32_t query = part % z.tiles * TILE, queries = least(TILE, z.tokens - query);
    const int64_t first = static_cast<int64_t>(part / z.tiles) * group_windows;
    const int64_t last = first + group_windows < z.windows ? first + group_windows : z.windows;
    float *const sums = parts + static_cast<int64_t>(part) * z.offsets() * z.heads + head;
    const float *table = take_table(room.table, z, head);
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < z.offsets(); i += WINDOW_THREADS)
        sums[static_cast<int64_t>(i) * z.heads] = 0.0f;
    for (int64_t window = first; window < last; window++) {
        const float *numbers = row_numbers(rows, z, window, head, query);
        for (int32_t c = 0; c < z.d; c += D) {
            const int32_t width = least(D, z.d - c);
            float o[ROWS][D / 16];
            clear(o);
            for (int32_t key = 0; key < z.tokens; key += TILE) {
                const int32_t keys = least(TILE, z.tokens - key);
                float s[ROWS][KEYS], ds[ROWS][KEYS];
                find_tokens(room.tokens[0], z, window, query);
                find_tokens(room.tokens[1], z, window, key);
                __syncthreads();
                find_scores<E, V, D>(s, ds, room.x, room.y, d, qkv, z, head, table, room.tokens, queries,
                                     keys);
                finish_scores(s, ds, numbers, queries, keys);
                put_queries(room.scores, ds);
                load_turned<E, V, D>(room.x, qkv + channels + static_cast<int64_t>(head) * z.d + c, step,
                                     room.tokens[1], keys, width);
                __syncthreads();
                multiply_rows<D>(o, room.scores, room.x, keys);
                if (c == 0) add_to_table(sums, z.heads, room.scores, z, query, queries, key, keys);
                if (key + TILE >= z.tokens)
                    give_rows<E, D>(d_qkv + static_cast<int64_t>(head) * z.d + c, step, room.tokens[0], o,
                                    z.scale, queries, width);
                __syncthreads();
            }
        }
    }
}

/* Item: (window, tile of keys, head, D channels of the result). */
template <class E, int V, int D>
static __global__ void __launch_bounds__(WINDOW_THREADS, 2)
    attention_keys(typename E::word *d_qkv, float *rows, const typename E::word *d,
                   const typename E::word *qkv, const window_shape z, int64_t items) {
    DUKD_DYNAMIC_SHARED(quad, raw);
    const window_room room = window_room::of<D>(raw);
    const int64_t channels = z.channels(), step = 3 * channels;
    const int32_t parts = (z.d + D - 1) / D;
    for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
        const int64_t rest = item / parts, tile = rest / z.heads, window = tile / z.tiles;
        const int32_t head = static_cast<int32_t>(rest - tile * z.heads);
        const int32_t key = static_cast<int32_t>(tile - window * z.tiles) * TILE,
                      keys = least(TILE, z.tokens - key);
        const int32_t c = static_cast<int32_t>(item - rest * parts) * D, width = least(D, z.d - c);
        const int64_t at = static_cast<int64_t>(head) * z.d + c;
        const float *table = take_table(room.table, z, head);
        float dk[ROWS][D / 16], dv[ROWS][D / 16];
        clear(dk);
        clear(dv);
        find_tokens(room.tokens[1], z, window, key);
        for (int32_t query = 0; query < z.tokens; query += TILE) {
            const int32_t queries = least(TILE, z.tokens - query);
            float s[ROWS][KEYS], ds[ROWS][KEYS];
            find_tokens(room.tokens[0], z, window, query);
            __syncthreads();
            find_scores<E, V, D>(s, ds, room.x, room.y, d, qkv, z, head, table, room.tokens, queries, keys);
            finish_scores(s, ds, row_numbers(rows, z, window, head, query), queries, keys);
            put_keys(room.scores, s);
            load_turned<E, V, D>(room.x, d + at, channels, room.tokens[0], queries, width);
            load_turned<E, V, D>(room.y, qkv + at, step, room.tokens[0], queries, width);
            __syncthreads();
            multiply_rows<D>(dv, room.scores, room.x, queries);
            __syncthreads();
            put_keys(room.scores, ds);
            __syncthreads();
            multiply_rows<D>(dk, room.scores, room.y, queries);
        }
        give_rows<E, D>(d_qkv + channels + at, step, room.tokens[1], dk, z.scale, keys, width);
        give_rows<E, D>(d_qkv + 2 * channels + at, step, room.tokens[1], dv, 1.0f, keys, width);
        __syncthreads();
    }
}

/* ---------------------------------------------------------------- launches */

static window_shape shape_of(const dukd_tensor *qkv, const gpu_attention *a) {
    window_shape z;
    z.height = qkv->height, z.width = qkv->width;
    z.heads = a->heads, z.d = qkv->channels / 3 / a->heads;
    z.window = a->window, z.shift = a->shift;
    z.tokens = a->window * a->window, z.tiles = (z.tokens + TILE - 1) / TILE;
    z.windows = static_cast<int64_t>(qkv->images) * (qkv->height / a->window) * (qkv->width / a->window);
    z.scale = 1.0f / sqrtf(static_cast<float>(z.d));
    z.table = a->table;
    return z;
}

static bool is_one_tile(const window_shape &z) {
    return z.tiles == 1 && z.d <= 32;
}

/* Windows of a block of the backward: 512 blocks a head at most, or a few more where tiles are many. */
static int32_t windows_of_group(const window_shape &z) {
    const int64_t groups = z.tiles < 512 ? 512 / z.tiles : 1;
    return static_cast<int32_t>((z.windows + groups - 1) / groups);
}

/* Of the table's gradient: groups of windows x tiles of queries. */
static int32_t parts_of(const window_shape &z) {
    const int32_t windows = windows_of_group(z);
    return static_cast<int32_t>((z.windows + windows - 1) / windows) * z.tiles;
}

static int64_t table_of(const window_shape &z) {
    return static_cast<int64_t>(2 * z.window - 1) * (2 * z.window - 1) * z.heads;
}

/* do(E(), width<V>()): vectors that divide a head's channels. */
template <class Do> static int with_head_vectors(dukd_type type, int32_t d, Do run) {
    return with_type(type, [&](auto e) {
        if (d % 4 == 0) return run(e, width<4>());
        if (d % 2 == 0) return run(e, width<2>());
        return run(e, width<1>());
    });
}

static unsigned grid_of(int64_t items) {
    const int64_t most = 1 << 20;
    return static_cast<unsigned>(items < most ? items : most);
}

template <class E, int V, int D>
static int run_forward(void *stream, const dukd_tensor *out, const dukd_tensor *qkv, const window_shape &z) {
    const int64_t items = z.windows * z.tiles * z.heads * ((z.d + D - 1) / D);
    DUKD_LAUNCH((attention<E, V, D>), dim3(grid_of(items)), dim3(WINDOW_THREADS),
                bytes_of(1, 1, 2, rows_in_shared(z), D), stream, data_of<E>(out), data_of<E>(qkv), z, items);
    return static_cast<int>(cudaGetLastError());
}

static int finish_table(void *stream, float *d_table, const window_shape &z, const void *parts) {
    const sum_shape s = {static_cast<int32_t>(table_of(z)), 1, parts_of(z), 0, 0};
    return launch_finish_sums<f32>(stream, d_table, s, 1.0, 1, parts);
}

template <class E, int V, int D>
static int run_one_tile(void *stream, const dukd_tensor *d_qkv, const dukd_tensor *d, const dukd_tensor *qkv,
                        const window_shape &z, float *d_table, void *scratch) {
    DUKD_LAUNCH((attention_back<E, V, D>), dim3(static_cast<unsigned>(parts_of(z) * z.heads)),
                dim3(WINDOW_THREADS), bytes_of(3, 1, 1, 2 * rows_in_shared(z), D), stream, data_of<E>(d_qkv),
                data_of<E>(d), data_of<E>(qkv), z, windows_of_group(z), static_cast<float *>(scratch));
    const int status = static_cast<int>(cudaGetLastError());
    return status != 0 ? status : finish_table(stream, d_table, z, scratch);
}

template <class E, int V>
static int run_many_tiles(void *stream, const dukd_tensor *d_qkv, const dukd_tensor *d,
                          const dukd_tensor *qkv, const window_shape &z, float *d_table, void *scratch) {
    constexpr int D = 32;
    float *const parts = static_cast<float *>(scratch), *const rows = parts + parts_of(z) * table_of(z);
    const int64_t items = z.windows * z.tiles * z.heads, key_items = items * ((z.d + D - 1) / D);
    const size_t bytes = bytes_of(2, 1, 2, rows_in_shared(z), D);
    const dim3 block(WINDOW_THREADS);
    DUKD_LAUNCH((attention_rows<E, V, D>), dim3(grid_of(items)), block, bytes, stream, rows, data_of<E>(d),
                data_of<E>(qkv), z, items);
    int status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    DUKD_LAUNCH((attention_queries<E, V, D>), dim3(static_cast<unsigned>(parts_of(z) * z.heads)), block,
                bytes, stream, data_of<E>(d_qkv), rows, data_of<E>(d), data_of<E>(qkv), z,
                windows_of_group(z), parts);
    status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    DUKD_LAUNCH((attention_keys<E, V, D>), dim3(grid_of(key_items)), block, bytes, stream, data_of<E>(d_qkv),
                rows, data_of<E>(d), data_of<E>(qkv), z, key_items);
    status = static_cast<int>(cudaGetLastError());
    return status != 0 ? status : finish_table(stream, d_table, z, parts);
}

} // namespace

extern "C" int64_t gpu_attention_scratch(const dukd_tensor *qkv, const gpu_attention *a) {
    (void)qkv;
    (void)a;
    return 0;
}

extern "C" int gpu_attention_run(void *stream, const dukd_tensor *out, const dukd_tensor *qkv,
                                 const gpu_attention *a, void *scratch) {
    const window_shape z = shape_of(qkv, a);
    (void)scratch;
    if (z.windows == 0) return 0;
    return with_head_vectors(qkv->type, z.d, [&](auto e, auto v) {
        typedef decltype(e) E;
        constexpr int V = decltype(v)::value;
        return z.d <= 16 ? run_forward<E, V, 16>(stream, out, qkv, z)
                         : run_forward<E, V, 32>(stream, out, qkv, z);
    });
}

extern "C" int64_t gpu_attention_back_scratch(const dukd_tensor *qkv, const gpu_attention *a) {
    const window_shape z = shape_of(qkv, a);
    if (z.windows == 0) return 0;
    const int64_t rows = is_one_tile(z) ? 0 : z.windows * z.heads * z.tokens * 3;
    return (parts_of(z) * table_of(z) + rows) * static_cast<int64_t>(sizeof(float));
}

extern "C" int gpu_attention_back(void *stream, const dukd_tensor *d_qkv, const dukd_tensor *d,
                                  const dukd_tensor *qkv, const gpu_attention *a, float *d_table,
                                  void *scratch) {
    const window_shape z = shape_of(qkv, a);
    if (z.windows == 0) return 0;
    return with_head_vectors(qkv->type, z.d, [&](auto e, auto v) {
        typedef decltype(e) E;
        constexpr int V = decltype(v)::value;
        if (!is_one_tile(z))
            return run_many_tiles < E, V == 4 ? 4 : 1 > (stream, d_qkv, d, qkv, z, d_table, scratch);
        return z.d <= 16 ? run_one_tile<E, V, 16>(stream, d_qkv, d, qkv, z, d_table, scratch)
                         : run_one_tile<E, V, 32>(stream, d_qkv, d, qkv, z, d_table, scratch);
    });
}

template <class E> static int load_of() {
    int status = load_kernels(attention<E, 4, 16>, attention<E, 4, 32>, attention<E, 2, 16>,
                              attention<E, 2, 32>, attention<E, 1, 16>, attention<E, 1, 32>);
    if (status == 0)
        status = load_kernels(attention_back<E, 4, 16>, attention_back<E, 4, 32>, attention_back<E, 2, 16>,
                              attention_back<E, 2, 32>, attention_back<E, 1, 16>, attention_back<E, 1, 32>);
    if (status == 0)
        status =
            load_kernels(attention_rows<E, 4, 32>, attention_rows<E, 1, 32>, attention_queries<E, 4, 32>,
                         attention_queries<E, 1, 32>, attention_keys<E, 4, 32>, attention_keys<E, 1, 32>);
    return status;
}

extern "C" int gpu_load_attention(void) {
    int status = load_kernels(finish_sums<f32>);
    if (status == 0) status = load_of<f32>();
    if (status == 0) status = load_of<bf16>();
    return status;
}
