/* The table of the plain reference. */
#include "cpu_kernels_ref.h"

void dukd_kernels_ref(dukd_kernels *k) {
    *k = (dukd_kernels){
        .name = "ref",
        .l1 = dukd_l1_ref,
        .augment = dukd_augment_ref,
        .zoom_out = dukd_zoom_out_ref,
        .error_row = dukd_error_row_ref,
        .product = dukd_product_ref,
        .transpose = dukd_transpose_ref,
        .signs = dukd_signs_ref,
    };
}
