/* Getting elements from any strided plane into dense f32 and back, 16 at a time. Included after a
 * cpu_vec_*.h.
 *
 * Fast: rows with stride 1 or -1 (flips), and columns with stride 1 or -1 (transposes), the latter by 16 x 16
 * tiles in registers. Everything else goes element by element. `type` is a constant wherever a loop depends
 * on it. */
#ifndef DUKD_CPU_SIMD_ROWS_H
#define DUKD_CPU_SIMD_ROWS_H

#include "cpu_kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Elements that are converted or reordered at a time, by way of f32 in the first-level cache: few, so that
 * the processor reads the next ones while it works on these; for tiles, up to 16 rows. */
#define BLOCK      1024
#define TILE_BLOCK 4096

/* What of a plane a second-level cache may hold. */
#define TOUCH_BYTES (512 * 1024)

/* ---- sixteen elements of a type */
ALWAYS_INLINE v16 typed_of_h16(h16 x, dukd_element type) {
    if (type == DUKD_ELEMENT_F16) return v16_of_f16(x);
    return type == DUKD_ELEMENT_BF16 ? v16_of_bf16(x) : v16_of_raw16(x);
}

ALWAYS_INLINE h16 h16_of_typed(v16 x, dukd_element type) {
    if (type == DUKD_ELEMENT_F16) return f16_of_v16(x);
    return type == DUKD_ELEMENT_BF16 ? bf16_of_v16(x) : raw16_of_v16(x);
}

ALWAYS_INLINE v16 typed_load(const char *p, dukd_element type) {
    if (type == DUKD_ELEMENT_F32) return v16_load((const float *)(const void *)p);
    return typed_of_h16(h16_load((const uint16_t *)(const void *)p), type);
}

ALWAYS_INLINE v16 typed_load_part(const char *p, dukd_element type, int64_t n) {
    if (type == DUKD_ELEMENT_F32) return v16_load_part((const float *)(const void *)p, n);
    return typed_of_h16(h16_load_part((const uint16_t *)(const void *)p, n), type);
}

ALWAYS_INLINE void typed_store(char *p, dukd_element type, v16 x) {
    if (type == DUKD_ELEMENT_F32) {
        v16_store((float *)(void *)p, x);
    } else {
        h16_store((uint16_t *)(void *)p, h16_of_typed(x, type));
    }
}

ALWAYS_INLINE void typed_store_part(char *p, dukd_element type, v16 x, int64_t n) {
    if (type == DUKD_ELEMENT_F32) {
        v16_store_part((float *)(void *)p, x, n);
    } else {
        h16_store_part((uint16_t *)(void *)p, h16_of_typed(x, type), n);
    }
}

/* p aligned to what 16 elements take */
ALWAYS_INLINE void typed_stream(char *p, dukd_element type, v16 x) {
    if (type == DUKD_ELEMENT_F32) {
        v16_stream((float *)(void *)p, x);
    } else {
        h16_stream((uint16_t *)(void *)p, h16_of_typed(x, type));
    }
}

/* Calls a function whose last argument is the type, with that argument constant. */
#define FOR_TYPE(type, call, ...)                                                                            \
    switch (type) {                                                                                          \
    case DUKD_ELEMENT_F32:                                                                                   \
        call(__VA_ARGS__, DUKD_ELEMENT_F32);                                                                 \
        break;                                                                                               \
    case DUKD_ELEMENT_F16:                                                                                   \
        call(__VA_ARGS__, DUKD_ELEMENT_F16);                                                                 \
        break;                                                                                               \
    case DUKD_ELEMENT_BF16:                                                                                  \
        call(__VA_ARGS__, DUKD_ELEMENT_BF16);                                                                \
        break;                                                                                               \
    case DUKD_ELEMENT_RAW16:                                                                                 \
        call(__VA_ARGS__, DUKD_ELEMENT_RAW16);                                                               \
        break;                                                                                               \
    }

/* ---- lines: n elements at a stride */
ALWAYS_INLINE void load_line_typed(float *to, const char *from, int64_t stride, int64_t n,
                                   dukd_element type) {
    const int64_t size = dukd_element_size(type);
    if (stride == 1) {
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            v16_store(to + i, typed_load(from + i * size, type));
        }
        if (i < n) v16_store_part(to + i, typed_load_part(from + i * size, type, n - i), n - i);
    } else if (stride == -1) {
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            v16_store(to + i, v16_reverse(typed_load(from - (i + 15) * size, type)));
        }
        for (; i < n; i++) {
            to[i] = dukd_element_load(from, type, -i);
        }
    } else {
        for (int64_t i = 0; i < n; i++) {
            to[i] = dukd_element_load(from, type, i * stride);
        }
    }
}

static void load_line(float *to, const char *from, dukd_element type, int64_t stride,
                      int64_t n){FOR_TYPE(type, load_line_typed, to, from, stride, n)}

ALWAYS_INLINE
    void store_line_typed(char *to, const float *from, int64_t stride, int64_t n, dukd_element type) {
    const int64_t size = dukd_element_size(type);
    if (stride == 1) {
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            typed_store(to + i * size, type, v16_load(from + i));
        }
        if (i < n) typed_store_part(to + i * size, type, v16_load_part(from + i, n - i), n - i);
    } else {
        for (int64_t i = 0; i < n; i++) {
            dukd_element_store(to, type, i * stride, from[i]);
        }
    }
}

static void store_line(char *to, dukd_element type, int64_t stride, const float *from,
                       int64_t n){FOR_TYPE(type, store_line_typed, to, from, stride, n)}

/* ---- tiles: where it is the elements of a column that lie together */

/* rows x cols (at most 16 x 16) from element (row, col) of p on, where p->row_stride is 1 or -1. Row i goes to
 * to[16 i ..]. */
ALWAYS_INLINE void load_tile(float *to, const dukd_plane *p, int64_t row, int64_t col, int64_t rows,
                             int64_t cols, dukd_element type) {
    const bool backward = p->row_stride < 0;
    const int64_t size = dukd_element_size(type), lowest = backward ? -(row + rows - 1) : row;
    const char *from = p->data + (lowest + col * p->col_stride) * size;
    v16 x[16];
    for (int64_t j = 0; j < 16; j++) {
        if (j >= cols) {
            x[j] = v16_set(0.0f);
            continue;
        }
        const char *column = from + j * p->col_stride * size;
        x[j] = rows == 16 ? typed_load(column, type) : typed_load_part(column, type, rows);
        if (backward) x[j] = v16_reverse(x[j]);
    }
    v16_transpose(x);
    const int64_t first = backward ? 16 - rows : 0; /* a part that was reversed ends in the last lane */
    for (int64_t i = 0; i < rows; i++) {
        v16_store(to + i * 16, x[first + i]);
    }
}

ALWAYS_INLINE void load_tiles_typed(float *to, const dukd_plane *p, int64_t e, int64_t n, dukd_element type) {
    const int64_t cols = p->cols, last = (e + n - 1) / cols;
    float tile[16 * 16];
    for (int64_t row = e / cols; row <= last; row += 16) {
        const int64_t rows = last - row + 1 < 16 ? last - row + 1 : 16;
        for (int64_t col = 0; col < cols; col += 16) {
            const int64_t width = cols - col < 16 ? cols - col : 16;
            if (rows == 16 && width == 16) {
                load_tile(tile, p, row, col, 16, 16, type);
            } else {
                load_tile(tile, p, row, col, rows, width, type);
            }
            for (int64_t i = 0; i < rows; i++) {
                const int64_t at =
                    (row + i) * cols + col - e; /* the first and the last row may be wanted in part */
                if (at >= 0 && at + 16 <= n && width == 16) {
                    v16_store(to + at, v16_load(tile + i * 16));
                    continue;
                }
                for (int64_t j = 0; j < width; j++) {
                    if (at + j >= 0 && at + j < n) to[at + j] = tile[i * 16 + j];
                }
            }
        }
    }
}

/* ---- blocks: elements e .. e + n - 1 of a plane in the order of its rows, n > 0 */

/* Whether rows follow each other as elements do; *stride is then that of all elements. */
static bool plane_is_line(const dukd_plane *p, int64_t *stride) {
    *stride = p->cols > 1 ? p->col_stride : p->row_stride;
    return p->cols == 1 || p->rows == 1 || p->row_stride == p->cols * p->col_stride;
}

/* Whether it is the elements of a column that lie together. */
static bool plane_is_tiled(const dukd_plane *p) {
    return p->rows > 1 && (p->row_stride == 1 || p->row_stride == -1) && p->cols > 1 && p->col_stride != 1 &&
           p->col_stride != -1;
}

/* How many elements to take at a time from e on, a multiple of 16: whole rows where they fit, and for tiles
 * 16 of them. */
static int64_t plane_block(const dukd_plane *p, int64_t e) {
    const bool tiled = plane_is_tiled(p);
    const int64_t most = tiled ? TILE_BLOCK : BLOCK;
    const int64_t rows = tiled ? 16 : p->cols < most ? most / p->cols : 1;
    const int64_t n = rows * p->cols - e % (rows * p->cols);
    return n > most ? most : (n + 15) / 16 * 16;
}

/* Reads a plane that will not be walked in the order of its addresses once in that order, which is several
 * times as fast; then it is in the second-level cache. Not where it is too large, or in parts. */
static void plane_touch(const dukd_plane *p) {
    int64_t stride;
    if (plane_is_line(p, &stride) && stride == 1) return;
    const int64_t rows = p->row_stride * (p->rows - 1), cols = p->col_stride * (p->cols - 1);
    const int64_t size = dukd_element_size(p->type), count = p->rows * p->cols;
    if (count * size > TOUCH_BYTES || (rows < 0 ? -rows : rows) + (cols < 0 ? -cols : cols) + 1 != count)
        return;
    const char *first = p->data + ((rows < 0 ? rows : 0) + (cols < 0 ? cols : 0)) * size;
    for (int64_t i = 0; i < count * size; i += 64) {
        (void)*(const volatile char *)(first + i);
    }
}

static void load_block(float *to, const dukd_plane *p, int64_t e, int64_t n) {
    const int64_t size = dukd_element_size(p->type);
    int64_t stride;
    if (plane_is_line(p, &stride)) {
        load_line(to, p->data + e * stride * size, p->type, stride, n);
        return;
    }
    if (plane_is_tiled(p)) {
        FOR_TYPE(p->type, load_tiles_typed, to, p, e, n)
        return;
    }
    int64_t row = e / p->cols, col = e % p->cols;
    for (int64_t done = 0; done < n; row++, col = 0) {
        const int64_t part = p->cols - col < n - done ? p->cols - col : n - done;
        load_line(to + done, p->data + (row * p->row_stride + col * p->col_stride) * size, p->type,
                  p->col_stride, part);
        done += part;
    }
}

static void store_block(const dukd_plane *p, int64_t e, const float *from, int64_t n) {
    const int64_t size = dukd_element_size(p->type);
    int64_t stride;
    if (plane_is_line(p, &stride)) {
        store_line(p->data + e * stride * size, p->type, stride, from, n);
        return;
    }
    int64_t row = e / p->cols, col = e % p->cols;
    for (int64_t done = 0; done < n; row++, col = 0) {
        const int64_t part = p->cols - col < n - done ? p->cols - col : n - done;
        store_line(p->data + (row * p->row_stride + col * p->col_stride) * size, p->type, p->col_stride,
                   from + done, part);
        done += part;
    }
}

#endif
