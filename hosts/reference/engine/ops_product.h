/* A product of small matrices in f32, sums in registers; the one inside attention. Included after ops_vec.h. */
#ifndef DUKD_OPS_PRODUCT_H
#define DUKD_OPS_PRODUCT_H

#include <stddef.h>

#include "engine/ops_ahead.h"
#include "engine/ops_vec.h"

/* out[r][v] = start[r][v] + sum over k < depth of b[r b_row + k b_step] a[k][v], for r < rows and v < width, a multiple of
 * LANES. start NULL: 0; it may be out. Every sum is in the order of k, whatever the tiles. */
typedef struct {
    const float *a, *b, *start;
    float *out;
    int64_t a_row, b_row, b_step, start_row, out_row;
    int64_t rows, width, depth;
    ahead *soon; /* a step of it after each tile */
} product;

/* Vectors and rows of a tile: as many sums as registers hold beside one row of a and one b. */
enum { TILE_ROWS = 6, TILE_WIDE = LANES == 16 ? 4 : 2 };

/* pairs: the numbers of a and b are pairs of bf16, and k goes over pairs. */
#ifdef VEC_PAIRS
#define PRODUCT_STEP(a, b, sum) (pairs ? vec_dot(a, b, sum) : vec_fma(a, b, sum))
#else
#define PRODUCT_STEP(a, b, sum) vec_fma(a, b, sum)
#endif

ALWAYS_INLINE void product_tile(const product *m, int64_t row, int64_t column, int rows, int wide,
                                int pairs) {
    vec sum[2 * TILE_ROWS][4];
    const float *a = m->a + column, *b = m->b + row * m->b_row;
    const float *start = m->start ? m->start + row * m->start_row + column : NULL;
    float *out = m->out + row * m->out_row + column;
    (void)pairs;
    int64_t a_row = m->a_row, b_row = m->b_row, b_step = m->b_step, depth = m->depth;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++)
            sum[r][v] = start ? vec_load(start + r * m->start_row + v * LANES) : vec_set(0);
    for (int64_t k = 0; k < depth; k++, a += a_row, b += b_step) {
        vec x[4];
        for (int v = 0; v < wide; v++) x[v] = vec_load(a + v * LANES);
        for (int r = 0; r < rows; r++) {
            vec y = vec_set(b[r * b_row]);
            for (int v = 0; v < wide; v++) sum[r][v] = PRODUCT_STEP(y, x[v], sum[r][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++) vec_store(out + r * m->out_row + v * LANES, sum[r][v]);
}

#define PRODUCT_CASE(n)                                                                                      \
    case n:                                                                                                  \
        product_tile(m, row, column, n, wide, pairs);                                                        \
        break

/* Columns [column, column + wide LANES): tiles of nearly equal height. */
ALWAYS_INLINE void product_columns(const product *m, int64_t column, int wide, int pairs) {
    int64_t most = wide == 1 ? 2 * TILE_ROWS : TILE_ROWS, tiles = (m->rows + most - 1) / most, row = 0;
    for (int64_t t = 0; t < tiles; t++) {
        int64_t rows = (m->rows - row) / (tiles - t);
        switch (rows) {
            PRODUCT_CASE(1);
            PRODUCT_CASE(2);
            PRODUCT_CASE(3);
            PRODUCT_CASE(4);
            PRODUCT_CASE(5);
            PRODUCT_CASE(6);
        default: /* one vector wide: the sums of six rows would wait for each other */
            if (wide != 1) break;
            switch (rows) {
                PRODUCT_CASE(7);
                PRODUCT_CASE(8);
                PRODUCT_CASE(9);
                PRODUCT_CASE(10);
                PRODUCT_CASE(11);
                PRODUCT_CASE(12);
            }
        }
        row += rows;
        ahead_step(m->soon);
    }
}

ALWAYS_INLINE void product_all(const product *m, int pairs) {
    int64_t column = 0;
    for (; column + TILE_WIDE * LANES <= m->width; column += TILE_WIDE * LANES)
        product_columns(m, column, TILE_WIDE, pairs);
    for (; column + 2 * LANES <= m->width; column += 2 * LANES) product_columns(m, column, 2, pairs);
    for (; column < m->width; column += LANES) product_columns(m, column, 1, pairs);
}

static void product_run(const product *m) {
    product_all(m, 0);
}

#ifdef VEC_PAIRS
static void product_run_pairs(const product *m) {
    product_all(m, 1);
}
#endif

#endif
