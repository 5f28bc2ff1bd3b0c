/* Kernels product, transpose and signs, 16 elements at a time. Included after a cpu_vec_*.h.
 *
 * A product takes rows x vectors of the result into registers and walks down a and b once, so that each element is one chain of
 * fused multiply-adds in the order of the reference. */
#ifndef DUKD_CPU_SIMD_PRODUCTS_H
#define DUKD_CPU_SIMD_PRODUCTS_H

#include "cpu_simd_rows.h"

ALWAYS_INLINE v16 product_load(const float *p, int64_t part) {
    return part == 16 ? v16_load(p) : v16_load_part(p, part);
}

/* rows x (vectors - 1) * 16 + part elements of c from (i, j) on; rows and vectors are constants, part is 16 or less */
ALWAYS_INLINE void product_block(const dukd_product_job *job, int64_t i, int64_t j, const int rows,
                                 const int vectors, int64_t part) {
    const float *a = job->a + i, *b = job->b + j;
    float *c = job->c + i * job->ldc + j;
    v16 sum[PRODUCT_ROWS][PRODUCT_VECTORS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = job->accumulate ? product_load(c + r * job->ldc + v * 16, v + 1 < vectors ? 16 : part)
                                        : v16_set(0.0f);
        }
    }
    for (int64_t p = job->k; p > 0; p--) {
        v16 x[PRODUCT_VECTORS];
        for (int v = 0; v < vectors; v++) x[v] = product_load(b + v * 16, v + 1 < vectors ? 16 : part);
        for (int r = 0; r < rows; r++) {
            const v16 factor = v16_set(a[r]);
            for (int v = 0; v < vectors; v++) sum[r][v] = v16_fma(factor, x[v], sum[r][v]);
        }
        a += job->lda;
        b += job->ldb;
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            float *to = c + r * job->ldc + v * 16;
            if (v + 1 < vectors || part == 16) {
                v16_store(to, sum[r][v]);
            } else {
                v16_store_part(to, sum[r][v], part);
            }
        }
    }
}

/* All rows of `vectors` vectors of columns from j on. */
ALWAYS_INLINE void product_columns(const dukd_product_job *job, int64_t j, const int vectors, int64_t part) {
    int64_t i = 0;
    for (; i + PRODUCT_ROWS <= job->m; i += PRODUCT_ROWS)
        product_block(job, i, j, PRODUCT_ROWS, vectors, part);
    for (; i + 4 <= job->m; i += 4) product_block(job, i, j, 4, vectors, part);
    for (; i < job->m; i++) product_block(job, i, j, 1, vectors, part);
}

static void product_simd(const dukd_product_job *job) {
    const int64_t wide = PRODUCT_VECTORS * 16;
    int64_t j = 0;
    for (; j + wide <= job->n; j += wide) product_columns(job, j, PRODUCT_VECTORS, 16);
    for (; j + 16 <= job->n; j += 16) product_columns(job, j, 1, 16);
    if (j < job->n) product_columns(job, j, 1, job->n - j);
}

static void transpose_simd(const dukd_transpose_job *job) {
    for (int64_t row = 0; row < job->rows; row += 16) {
        for (int64_t col = 0; col < job->cols; col += 16) {
            const int64_t rows = job->rows - row < 16 ? job->rows - row : 16;
            const int64_t cols = job->cols - col < 16 ? job->cols - col : 16;
            const float *from = job->from + row * job->ld_from + col;
            float *to = job->to + col * job->ld_to + row;
            v16 x[16];
            for (int64_t i = 0; i < 16; i++)
                x[i] = i < rows ? product_load(from + i * job->ld_from, cols) : v16_set(0.0f);
            v16_transpose(x);
            for (int64_t i = 0; i < cols; i++) {
                if (rows == 16) {
                    v16_store(to + i * job->ld_to, x[i]);
                } else {
                    v16_store_part(to + i * job->ld_to, x[i], rows);
                }
            }
        }
    }
}

static double signs_simd(const dukd_signs_job *job) {
    const v16 one = v16_set(1.0f);
    d16 sum = d16_zero();
    for (int64_t i = 0; i < job->rows; i++) {
        float *x = job->x + i * job->ld;
        const float *y = job->y + i * job->ld;
        int64_t j = 0;
        for (; j + 16 <= job->cols; j += 16) {
            const v16 d = v16_sub(v16_load(x + j), v16_load(y + j));
            sum = d16_add_abs(sum, d);
            v16_store(x + j, v16_gradient(one, d));
        }
        if (j == job->cols) continue;
        const int64_t part = job->cols - j;
        const v16 d = v16_sub(v16_load_part(x + j, part), v16_load_part(y + j, part));
        sum = d16_add_abs(sum, d);
        v16_store_part(x + j, v16_gradient(one, d), part);
    }
    double lanes[16], all = 0.0;
    d16_store(lanes, sum);
    for (int k = 0; k < 16; k++) all += lanes[k];
    return all;
}

#endif
