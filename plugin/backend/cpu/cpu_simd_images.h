/* Kernels augment, zoom_out and error_row, 16 elements at a time. Included after a cpu_vec_*.h. */
#ifndef DUKD_CPU_SIMD_IMAGES_H
#define DUKD_CPU_SIMD_IMAGES_H

#include "cpu_simd_rows.h"

/* ---------------------------------------------------------------- augment */

static void invert_block(float *x, int64_t n) {
    const v16 one = v16_set(1.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16_store(x + i, v16_sub(one, v16_load(x + i)));
    }
    for (; i < n; i++) {
        x[i] = 1.0f - x[i];
    }
}

static void copy_plane(dukd_plane from, dukd_plane to, bool invert) {
    if (!invert) from.type = to.type = dukd_element_raw(from.type);
    if (!invert && from.col_stride == 1 && to.col_stride == 1) {
        const int64_t size = dukd_element_size(from.type);
        for (int64_t r = 0; r < to.rows; r++) {
            memcpy(to.data + r * to.row_stride * size, from.data + r * from.row_stride * size,
                   (size_t)(to.cols * size));
        }
        return;
    }
    float room[BLOCK];
    const int64_t count = to.rows * to.cols;
    for (int64_t e = 0; e < count; e += BLOCK) {
        const int64_t n = count - e < BLOCK ? count - e : BLOCK;
        load_block(room, &from, e, n);
        if (invert) invert_block(room, n);
        store_block(&to, e, room, n);
    }
}

static void augment_simd(const dukd_augment_job *job) {
    if (job->plain.data != NULL) copy_plane(job->source, job->plain, false);
    if (job->augmented.data == NULL) return;
    /* again from the source: in the first-level cache by now */
    copy_plane(dukd_plane_augment(job->source, job->augment), job->augmented,
               (job->augment & DUKD_AUGMENT_INVERT) != 0);
}

/* ---------------------------------------------------------------- zoom_out */

/* i mirrored into 0 .. n - 1 at edges that repeat: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ... */
static int64_t mirrored(int64_t i, int64_t n) {
    if (i >= 0 && i < n) return i;
    const int64_t period = 2 * n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

/* to[c] = sum over t of weight[t] * x[rows[t]][c]; writes up to 15 numbers past x->cols. rows in elements. */
ALWAYS_INLINE void reduce_height_typed(double *to, const dukd_plane *x, const int64_t *rows,
                                       const double *weight, int64_t taps, dukd_element type) {
    const int64_t size = dukd_element_size(type);
    float room[16] = {0.0f};
    for (int64_t c = 0; c < x->cols; c += 16) {
        const int64_t n = x->cols - c < 16 ? x->cols - c : 16;
        const char *from = x->data + c * x->col_stride * size;
        d16 sum = d16_zero();
        if (x->col_stride == 1 && n == 16) {
            for (int64_t t = 0; t < taps; t++) {
                sum = d16_add_times(sum, weight[t], d16_of_v16(typed_load(from + rows[t] * size, type)));
            }
        } else {
            for (int64_t t = 0; t < taps; t++) {
                load_line_typed(room, from + rows[t] * size, x->col_stride, n, type);
                sum = d16_add_times(sum, weight[t], d16_of_v16(v16_load(room)));
            }
        }
        d16_store(to + c, sum);
    }
}

static void reduce_height(double *to, const dukd_plane *x, const int64_t *rows, const double *weight,
                          int64_t taps) {
    FOR_TYPE(x->type, reduce_height_typed, to, x, rows, weight, taps)
}

/* Rounds to what the type can hold. */
static v16 v16_rounded(v16 x, dukd_element type) {
    if (type == DUKD_ELEMENT_F16) return v16_of_f16(f16_of_v16(x));
    return type == DUKD_ELEMENT_BF16 ? v16_of_bf16(bf16_of_v16(x)) : x;
}

/* The scratch memory of a call. */
typedef struct {
    int64_t before;  /* columns that are mirrored left of the first */
    int64_t count;   /* columns from the first tap of output 0 to the last tap of the last output */
    int64_t length;  /* of a phase: outputs, what taps reach past them, 16 lanes */
    double *reduced; /* one row after the height pass: [count], 16 lanes */
    double *phase;   /* [scale][length]: column k * scale + p of the row at [p][k] */
    int64_t *rows;   /* [taps] */
    float *out;      /* one output row, 16 lanes */
} zoom_out_room;

static zoom_out_room divide_scratch(const dukd_zoom_out_job *job, void *scratch) {
    zoom_out_room room = {
        .before = -job->first,
        .count = (job->cols - 1) * job->scale + job->taps,
        .length = job->cols + (job->taps + job->scale - 1) / job->scale - 1 + 16,
    };
    const int64_t phases = job->scale * room.length;
    room.reduced = scratch;
    room.phase = room.reduced + room.before + job->source.cols + job->taps + 16;
    room.rows = (int64_t *)(room.phase + phases);
    room.out = (float *)(room.rows + job->taps);
    for (int64_t i = 0; i < phases; i++) {
        room.phase[i] = 0.0;
    }
    return room;
}

/* The height pass of output row r, sorted by what the width pass reads together: every scale-th column. */
static void zoom_out_height(const dukd_zoom_out_job *job, const zoom_out_room *room, int64_t r) {
    const dukd_plane *x = &job->source;
    const int64_t scale = job->scale, before = room->before;
    double *row = room->reduced;
    for (int64_t t = 0; t < job->taps; t++) {
        room->rows[t] = mirrored(r * scale + job->first + t, x->rows) * x->row_stride;
    }
    reduce_height(row + before, x, room->rows, job->weight, job->taps);
    for (int64_t i = 0; i < before; i++) {
        row[i] = row[before + mirrored(i - before, x->cols)];
    }
    for (int64_t i = before + x->cols; i < room->count; i++) {
        row[i] = row[before + mirrored(i - before, x->cols)];
    }
    for (int64_t p = 0; p < scale; p++) {
        for (int64_t k = 0; k * scale + p < room->count; k++) {
            room->phase[p * room->length + k] = row[k * scale + p];
        }
    }
}

static void zoom_out_width(const dukd_zoom_out_job *job, const zoom_out_room *room) {
    for (int64_t c = 0; c < job->cols; c += 16) {
        const double *from = room->phase + c;
        d16 sum = d16_zero();
        for (int64_t t = 0; t < job->taps; t += job->scale, from++) {
            for (int64_t p = 0; p < job->scale && t + p < job->taps; p++) {
                sum = d16_add_times(sum, job->weight[t + p], d16_load(from + p * room->length));
            }
        }
        v16_store(room->out + c, v16_rounded(v16_of_d16(sum), job->source.type));
    }
}

static void zoom_out_simd(const dukd_zoom_out_job *job, int64_t row, int64_t row_end, void *scratch) {
    const zoom_out_room room = divide_scratch(job, scratch);
    const dukd_plane augmented =
        dukd_plane_restore(job->augmented, job->augment); /* in the indexes of the plain one */
    const dukd_element type = job->source.type;
    const int64_t size = dukd_element_size(type);
    for (int64_t r = row; r < row_end; r++) {
        zoom_out_height(job, &room, r);
        zoom_out_width(job, &room);
        if (job->plain.data != NULL) {
            store_line(job->plain.data + r * job->plain.row_stride * size, type, job->plain.col_stride,
                       room.out, job->cols);
        }
        if (augmented.data == NULL) continue;
        if ((job->augment & DUKD_AUGMENT_INVERT) != 0) invert_block(room.out, job->cols);
        store_line(augmented.data + r * augmented.row_stride * size, type, augmented.col_stride, room.out,
                   job->cols);
    }
}

/* ---------------------------------------------------------------- error_row */

static const float *line_as_f32(const char *from, dukd_element type, int64_t stride, int64_t n, float *room) {
    if (type == DUKD_ELEMENT_F32 && stride == 1) return (const float *)(const void *)from;
    load_line(room, from, type, stride, n);
    return room;
}

static void error_row_simd(const dukd_error_row_job *job, double *error) {
    float room[2][256];
    double sums[16];
    for (int64_t w = 0; w < job->w; w += 256) {
        const int64_t n = job->w - w < 256 ? job->w - w : 256;
        for (int64_t c = 0; c < job->c; c++) {
            const float *a = line_as_f32(job->a + (c * job->a_c_stride + w * job->a_w_stride) *
                                                      dukd_element_size(job->a_type),
                                         job->a_type, job->a_w_stride, n, room[0]);
            const float *b = line_as_f32(job->b + (c * job->b_c_stride + w * job->b_w_stride) *
                                                      dukd_element_size(job->b_type),
                                         job->b_type, job->b_w_stride, n, room[1]);
            for (int64_t i = 0; i < n; i += 16) {
                const bool full = i + 16 <= n;
                const int64_t part = n - i;
                double *to = error + w + i;
                const v16 d = full ? v16_sub(v16_load(a + i), v16_load(b + i))
                                   : v16_sub(v16_load_part(a + i, part), v16_load_part(b + i, part));
                if (full) {
                    d16_store(to, d16_add_abs(c == 0 ? d16_zero() : d16_load(to), d));
                    continue;
                }
                if (c > 0) memcpy(sums, to, (size_t)part * sizeof *to);
                d16_store(sums, d16_add_abs(c == 0 ? d16_zero() : d16_load(sums), d));
                memcpy(to, sums, (size_t)part * sizeof *to);
            }
        }
    }
}

#endif
