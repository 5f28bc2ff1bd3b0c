/* Kernels product, transpose and signs, plain reference. */
#include "cpu_kernels_ref.h"

#include <math.h>

void dukd_product_ref(const dukd_product_job *job) {
    for (int64_t i = 0; i < job->m; i++) {
        for (int64_t j = 0; j < job->n; j++) {
            float *c = job->c + i * job->ldc + j, sum = job->accumulate ? *c : 0.0f;
            for (int64_t p = 0; p < job->k; p++) {
                sum = fmaf(job->a[p * job->lda + i], job->b[p * job->ldb + j], sum);
            }
            *c = sum;
        }
    }
}

void dukd_transpose_ref(const dukd_transpose_job *job) {
    for (int64_t i = 0; i < job->rows; i++) {
        for (int64_t j = 0; j < job->cols; j++) job->to[j * job->ld_to + i] = job->from[i * job->ld_from + j];
    }
}

double dukd_signs_ref(const dukd_signs_job *job) {
    double lane[16] = {0.0}, sum = 0.0;
    for (int64_t i = 0; i < job->rows; i++) {
        for (int64_t j = 0; j < job->cols; j++) {
            float *x = job->x + i * job->ld + j;
            const float d = *x - job->y[i * job->ld + j];
            lane[j % 16] += (double)fabsf(d);
            *x = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d == 0.0f ? 0.0f : dukd_f32_of_bits(0x7fc00000u);
        }
    }
    for (int k = 0; k < 16; k++) sum += lane[k];
    return sum;
}
