/* Kernel error_row, plain reference. */
#include "cpu_kernels_ref.h"

#include <math.h>

void dukd_error_row_ref(const dukd_error_row_job *job, double *error) {
    for (int64_t w = 0; w < job->w; w++) {
        error[w] = 0.0;
        for (int64_t c = 0; c < job->c; c++) {
            const float a = dukd_element_load(job->a, job->a_type, c * job->a_c_stride + w * job->a_w_stride);
            const float b = dukd_element_load(job->b, job->b_type, c * job->b_c_stride + w * job->b_w_stride);
            error[w] += (double)fabsf(a - b);
        }
    }
}
