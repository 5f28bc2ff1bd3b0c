/* What an instruction set has to offer: kernels that do one piece of an operation each.
 *
 * An operation (cpu_l1.c, ...) cuts its work into pieces, gives them to threads and puts the results
 * together; a kernel does one piece. The cut depends on shapes only, and every sum inside a piece has an
 * order laid down here, so that results are the same bits for any number of threads and on every instruction
 * set.
 *
 * The table is filled with the plain reference (dukd_kernels_ref), then an instruction set overrides what it
 * does faster. All kernels: [thread-safe], on disjoint pieces of the same job. */
#ifndef DUKD_CPU_KERNELS_H
#define DUKD_CPU_KERNELS_H

#include "cpu_view.h"
#include <stdbool.h>

/* ------------------------------------------------------------------------------------------------ l1
 * The elements of sample n of `value` are numbered in the order of the walk, e = 0 .. count - 1: c, h, w with
 * w fastest, or h, w, c with c fastest where all tensors lie so in memory. Piece n * pieces + k is the
 * elements k * DUKD_L1_PIECE .. of sample n; element e is added, as f64, to lane e % DUKD_L1_LANES, and the
 * lanes are added up from 0 on. The sums of piece i for the two targets go to sum[2 * (i - piece)] and the
 * next. */
#define DUKD_L1_PIECE 8192
#define DUKD_L1_LANES 16

typedef struct {
    dukd_view value, grad, target[2]; /* grad.data NULL: sums only */
    uint32_t n_targets;               /* 1 or 2 */
    float factor[2];
    const uint32_t *back; /* [N] normal form of B; NULL: identity */
    bool channels_last;   /* the walk is h, w, c */
    bool stream;          /* more is touched than the caches hold: write past them */
    int64_t count;        /* elements of a sample */
    int64_t pieces;       /* of a sample */
} dukd_l1_job;

/* ------------------------------------------------------------------------------------------------ zoom in, D
 * Piece: one channel of one sample. `plain` or `augmented` has no data where it is not wanted; both have the
 * type of `source`. augmented = D(source), colours inverted as 1 - x in f32. */
typedef struct {
    dukd_plane source, plain, augmented;
    uint32_t augment;
} dukd_augment_job;

/* ------------------------------------------------------------------------------------------------ zoom out
 * Piece: output rows of one channel of one sample. All outputs have the same weights: output o is the sum
 * over t of weight[t] * input[o * scale + first + t], t ascending, multiplied and added apart in f64, rows
 * first; indexes outside are mirrored at the border (-1 is 0). plain = that rounded to the type; augmented =
 * D(plain). */
typedef struct {
    dukd_plane source, plain, augmented;
    uint32_t augment;
    int64_t rows, cols; /* of the output before D */
    int64_t scale;
    int64_t first; /* of the window, relative to o * scale; <= 0 */
    int64_t taps;
    const double *weight; /* [taps] */
} dukd_zoom_out_job;

/* Bytes of scratch for an input of `cols` columns: two rows in f64 with what is mirrored at their ends, the
 * places of the taps, and a row in f32, each with room for 16 lanes at its end (or at that of each of `scale`
 * parts). */
static inline int64_t dukd_zoom_out_scratch(int64_t cols, int64_t scale, int64_t taps) {
    return (2 * cols + 3 * taps + 20 * scale + 16) * (int64_t)sizeof(double) +
           (cols + 32) * (int64_t)sizeof(float);
}

/* ------------------------------------------------------------------------------------------------ hardest
 * Piece: one row of the error map: error[w] = sum over c of |a - b|, c ascending, in f64 of f32 differences.
 */
typedef struct {
    const char *a, *b; /* element (c 0, w 0) of the row */
    dukd_element a_type, b_type;
    int64_t c, w;
    int64_t a_c_stride, a_w_stride, b_c_stride, b_w_stride;
} dukd_error_row_job;

/* ------------------------------------------------------------------------------------------------ matrix products
 * c[i][j] (+)= sum over p of a[p][i] b[p][j], i < m, j < n, p < k: a is k x m, b is k x n, c is m x n, rows of elements that
 * lie together, ld_ elements apart. Order: from 0, or from c where `accumulate`, p ascending, each step one fused
 * multiply-add. Nothing but the m x n elements of c is written, and nothing past the elements of a and b is read. */
typedef struct {
    const float *a, *b;
    float *c;
    int64_t m, n, k, lda, ldb, ldc;
    bool accumulate;
} dukd_product_job;

/* to[j][i] = from[i][j], i < rows, j < cols. */
typedef struct {
    const float *from;
    float *to;
    int64_t rows, cols, ld_from, ld_to;
} dukd_transpose_job;

/* x = sign(x - y), NaN where that is, for rows x cols elements, rows ld elements apart; returns the sum of |x - y| in f64: the element of
 * column j is added to lane j % 16, row by row, and the lanes are added up from 0 on. */
typedef struct {
    float *x;
    const float *y;
    int64_t rows, cols, ld;
} dukd_signs_job;

/* ------------------------------------------------------------------------------------------------ the table
 */
typedef struct {
    const char *name; /* "ref", "avx2", "avx512" */
    void (*l1)(const dukd_l1_job *job, int64_t piece, int64_t piece_end, double *sum);
    void (*augment)(const dukd_augment_job *job);
    void (*zoom_out)(const dukd_zoom_out_job *job, int64_t row, int64_t row_end, void *scratch);
    void (*error_row)(const dukd_error_row_job *job, double *error);
    void (*product)(const dukd_product_job *job);
    void (*transpose)(const dukd_transpose_job *job);
    double (*signs)(const dukd_signs_job *job);
} dukd_kernels;

void dukd_kernels_ref(dukd_kernels *k);
/* Override what they do faster; only where cpu_features.h says that the instructions are there. */
void dukd_kernels_avx2(dukd_kernels *k);
void dukd_kernels_avx512(dukd_kernels *k);

#endif
