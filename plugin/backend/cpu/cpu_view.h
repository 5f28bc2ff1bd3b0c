/* Tensors as pointers and strides: what remains of a dukd_tensor inside the CPU backend.
 *
 * A geometric augmentation is a view, too: flips are negative strides, a transpose swaps two of them. So
 * every kernel takes strided planes, and no kernel knows D but for the inversion of colours. Strides count
 * elements. [thread-safe] */
#ifndef DUKD_CPU_VIEW_H
#define DUKD_CPU_VIEW_H

#include "cpu_scalar.h"
#include "dukd_plugin.h"

/* rows x cols of elements */
typedef struct {
    char *data; /* element (0, 0) */
    int64_t rows, cols;
    int64_t row_stride, col_stride;
    dukd_element type;
} dukd_plane;

/* n x c x h x w */
typedef struct {
    char *data; /* NULL: there is no tensor */
    int64_t n, c, h, w;
    int64_t n_stride, c_stride, h_stride, w_stride;
    dukd_element type;
} dukd_view;

/* t may be NULL: a view without data. */
dukd_view dukd_view_of(const dukd_tensor *t);

static inline dukd_plane dukd_view_plane(const dukd_view *v, int64_t n, int64_t c) {
    return (dukd_plane){v->data + (n * v->n_stride + c * v->c_stride) * dukd_element_size(v->type),
                        v->h,
                        v->w,
                        v->h_stride,
                        v->w_stride,
                        v->type};
}

/* rows x cols of p from (row, col) on */
static inline dukd_plane dukd_plane_window(dukd_plane p, int64_t row, int64_t col, int64_t rows,
                                           int64_t cols) {
    p.data += (row * p.row_stride + col * p.col_stride) * dukd_element_size(p.type);
    p.rows = rows;
    p.cols = cols;
    return p;
}

static inline dukd_plane dukd_plane_flip(dukd_plane p, uint32_t augment) {
    if ((augment & DUKD_AUGMENT_FLIP_W) != 0) {
        p.data += (p.cols - 1) * p.col_stride * dukd_element_size(p.type);
        p.col_stride = -p.col_stride;
    }
    if ((augment & DUKD_AUGMENT_FLIP_H) != 0) {
        p.data += (p.rows - 1) * p.row_stride * dukd_element_size(p.type);
        p.row_stride = -p.row_stride;
    }
    return p;
}

static inline dukd_plane dukd_plane_transpose(dukd_plane p, uint32_t augment) {
    if ((augment & DUKD_AUGMENT_TRANSPOSE) == 0) return p;
    return (dukd_plane){p.data, p.cols, p.rows, p.col_stride, p.row_stride, p.type};
}

/* The geometric part of D: the view of p whose element (r, c) is that of D(p). */
static inline dukd_plane dukd_plane_augment(dukd_plane p, uint32_t augment) {
    return dukd_plane_transpose(dukd_plane_flip(p, augment), augment);
}

/* Its inverse: dukd_plane_restore(dukd_plane_augment(p, a), a) is p. */
static inline dukd_plane dukd_plane_restore(dukd_plane p, uint32_t augment) {
    return dukd_plane_flip(dukd_plane_transpose(p, augment), augment);
}

static inline float dukd_plane_load(const dukd_plane *p, int64_t row, int64_t col) {
    return dukd_element_load(p->data, p->type, row * p->row_stride + col * p->col_stride);
}

static inline void dukd_plane_store(const dukd_plane *p, int64_t row, int64_t col, float x) {
    dukd_element_store(p->data, p->type, row * p->row_stride + col * p->col_stride, x);
}

#endif
