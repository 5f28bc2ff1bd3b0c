/* Kernel zoom_out, plain reference. */
#include "cpu_kernels_ref.h"

/* i mirrored into 0 .. n - 1 at edges that repeat: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ... */
static int64_t mirrored(int64_t i, int64_t n) {
    const int64_t period = 2 * n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

void dukd_zoom_out_ref(const dukd_zoom_out_job *job, int64_t row, int64_t row_end, void *scratch) {
    double *reduced = scratch; /* one output row before the width pass: [source.cols] */
    const dukd_plane *x = &job->source;
    const dukd_plane augmented =
        dukd_plane_restore(job->augmented, job->augment); /* in the indexes of the plain one */
    const bool invert = (job->augment & DUKD_AUGMENT_INVERT) != 0;
    for (int64_t r = row; r < row_end; r++) {
        for (int64_t c = 0; c < x->cols; c++) {
            reduced[c] = 0.0;
            for (int64_t t = 0; t < job->taps; t++) {
                const int64_t from = mirrored(r * job->scale + job->first + t, x->rows);
                reduced[c] += job->weight[t] * (double)dukd_plane_load(x, from, c);
            }
        }
        for (int64_t c = 0; c < job->cols; c++) {
            double sum = 0.0;
            for (int64_t t = 0; t < job->taps; t++) {
                sum += job->weight[t] * reduced[mirrored(c * job->scale + job->first + t, x->cols)];
            }
            float pixel = (float)sum;
            if (x->type == DUKD_ELEMENT_F16) pixel = dukd_f32_of_f16(dukd_f16_of_f32(pixel));
            if (x->type == DUKD_ELEMENT_BF16) pixel = dukd_f32_of_bf16(dukd_bf16_of_f32(pixel));
            if (job->plain.data != NULL) dukd_plane_store(&job->plain, r, c, pixel);
            if (augmented.data != NULL) dukd_plane_store(&augmented, r, c, invert ? 1.0f - pixel : pixel);
        }
    }
}
