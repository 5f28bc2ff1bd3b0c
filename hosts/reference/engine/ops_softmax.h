/* The softmax of attention, forward and backward, on columns: s[j][i] belongs to query i and key j, so that nothing is summed
 * across a vector. Rows are of DUKD_ATTENTION_BLOCK floats, of which `width`, a multiple of LANES, count. */
#ifndef DUKD_OPS_SOFTMAX_H
#define DUKD_OPS_SOFTMAX_H

#include "engine/ops_kernels.h"
#include "engine/ops_math.h"

enum { ROW = DUKD_ATTENTION_BLOCK };

/* s = exp(s - the column's maximum), inverse[i] = 1 / the column's sum. regions_i (ROW) and regions_j (tokens): 100 is
 * subtracted where they differ; NULL: nowhere. */
static void softmax_columns(float *s, int64_t tokens, int64_t width, const float *regions_i,
                            const float *regions_j, float *inverse) {
    for (int64_t i = 0; i < width; i += LANES) {
        vec top = vec_set(-3.402823466e38f);
        if (regions_i) {
            vec region = vec_load(regions_i + i);
            for (int64_t j = 0; j < tokens; j++) {
                vec v = vec_load(s + j * ROW + i);
                v = vec_add(v, vec_equal(region, vec_set(regions_j[j]), vec_set(0), vec_set(-100)));
                vec_store(s + j * ROW + i, v);
                top = vec_max(v, top);
            }
        } else {
            for (int64_t j = 0; j < tokens; j++) top = vec_max(vec_load(s + j * ROW + i), top);
        }
        vec sum = vec_set(0);
        for (int64_t j = 0; j < tokens; j++) {
            vec e = vec_exp(vec_sub(vec_load(s + j * ROW + i), top));
            vec_store(s + j * ROW + i, e);
            sum = vec_add(sum, e);
        }
        vec_store(inverse + i, vec_div(vec_set(1), sum));
    }
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
