/* The plain reference kernels, one file each. */
#ifndef DUKD_CPU_KERNELS_REF_H
#define DUKD_CPU_KERNELS_REF_H

#include "cpu_kernels.h"

void dukd_l1_ref(const dukd_l1_job *job, int64_t piece, int64_t piece_end, double *sum);
void dukd_augment_ref(const dukd_augment_job *job);
void dukd_zoom_out_ref(const dukd_zoom_out_job *job, int64_t row, int64_t row_end, void *scratch);
void dukd_error_row_ref(const dukd_error_row_job *job, double *error);
void dukd_product_ref(const dukd_product_job *job);
void dukd_transpose_ref(const dukd_transpose_job *job);
double dukd_signs_ref(const dukd_signs_job *job);

#endif
