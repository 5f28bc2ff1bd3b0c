/* The softmax of attention, forward and backward, on columns: s[j][i] belongs to query i and key j, so that nothing is summed
 * across a vector. Rows are of DUKD_ATTENTION_BLOCK floats, of which `width`, a multiple of LANES, count. */
#ifndef DUKD_OPS_SOFTMAX_H
#define DUKD_OPS_SOFTMAX_H

#include "engine/ops_ahead.h"
#include "engine/ops_kernels.h"
#include "engine/ops_math.h"

enum { ROW = DUKD_ATTENTION_BLOCK };

/* Where the sides of the rolled image's seams that queries and keys come from differ, 100 is subtracted from their score. */
typedef struct {
    const float *queries, *keys; /* ROW and tokens; queries NULL: they are all one */
} seam_regions;

/* The maxima of `wide` vectors of columns, of scores times `root`. Subtracts the seams' first. */
ALWAYS_INLINE void softmax_maxima(vec *top, float *s, int64_t tokens, int wide, const seam_regions *r,
                                  int64_t column, float root) {
    vec region[4];
    for (int v = 0; v < wide; v++) {
        top[v] = vec_set(-3.402823466e38f);
        region[v] = r->queries ? vec_load(r->queries + column + v * LANES) : vec_set(0);
    }
    for (int64_t j = 0; j < tokens; j++)
        for (int v = 0; v < wide; v++) {
            float *at = s + j * ROW + v * LANES;
            vec x = vec_load(at);
            if (r->queries) {
                x = vec_add(x, vec_equal(region[v], vec_set(r->keys[j]), vec_set(0), vec_set(-100 * root)));
                vec_store(at, x);
            }
            top[v] = vec_max(x, top[v]);
        }
}

ALWAYS_INLINE void softmax_vectors(float *s, int64_t tokens, int wide, const seam_regions *r, int64_t column,
                                   float root, float *inverse) {
    vec top[4], sum[4], factor = vec_set(DUKD_LOG2_E / root);
    softmax_maxima(top, s, tokens, wide, r, column, root);
    for (int v = 0; v < wide; v++) {
        top[v] = vec_mul(top[v], vec_sub(vec_set(0), factor));
        sum[v] = vec_set(0);
    }
    for (int64_t j = 0; j < tokens; j++)
        for (int v = 0; v < wide; v++) {
            float *at = s + j * ROW + v * LANES;
            vec e = vec_exp2(vec_fma(vec_load(at), factor, top[v]));
            vec_store(at, e);
            sum[v] = vec_add(sum[v], e);
        }
    for (int v = 0; v < wide; v++) vec_store(inverse + v * LANES, vec_div(vec_set(1), sum[v]));
}

/* s = e^((s - the column's maximum) / root), inverse[i] = 1 / the column's sum. soon: a step after each two vectors of
 * columns. */
static void softmax_columns(float *s, int64_t tokens, int64_t width, const seam_regions *r, float root,
                            float *inverse, ahead *soon) {
    for (int64_t i = 0; i < width;
         i += 2 * LANES, ahead_step(soon)) /* two: their chains of additions overlap */
        if (i + LANES == width)
            softmax_vectors(s + i, tokens, 1, r, i, root, inverse + i);
        else
            softmax_vectors(s + i, tokens, 2, r, i, root, inverse + i);
}

/* d, the gradient of the softmax's output p = s inverse, becomes that of its input: p (d - sum over keys of p d).
 * d_bias (rows of `bias_row`): it is added there too. */
static void softmax_columns_back(float *d, const float *s, const float *inverse, int64_t tokens,
                                 int64_t width, float *d_bias, int64_t bias_row) {
    for (int64_t i = 0; i < width; i += LANES) {
        vec sum = vec_set(0), part = vec_load(inverse + i);
        for (int64_t j = 0; j < tokens; j++)
            sum = vec_fma(vec_load(s + j * ROW + i), vec_load(d + j * ROW + i), sum);
        sum = vec_mul(sum, part);
        for (int64_t j = 0; j < tokens; j++) {
            vec p = vec_mul(vec_load(s + j * ROW + i), part);
            vec v = vec_mul(p, vec_sub(vec_load(d + j * ROW + i), sum));
            vec_store(d + j * ROW + i, v);
            vec_store(d_bias + j * bias_row + i, vec_add(vec_load(d_bias + j * bias_row + i), v));
        }
    }
}

#endif
