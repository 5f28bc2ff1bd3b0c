/* The kernels by AVX2, FMA and F16C. Compiled with those instructions: nothing here runs before
 * dukd_cpu_has_avx2() said yes. */
#include "cpu_kernels.h"

#include "cpu_vec_avx2.h"

#include "cpu_simd_images.h"
#include "cpu_simd_l1.h"
#include "cpu_simd_products.h"

void dukd_kernels_avx2(dukd_kernels *k) {
    k->name = "avx2";
    k->l1 = l1_simd;
    k->augment = augment_simd;
    k->zoom_out = zoom_out_simd;
    k->error_row = error_row_simd;
    k->product = product_simd;
    k->transpose = transpose_simd;
    k->signs = signs_simd;
}
