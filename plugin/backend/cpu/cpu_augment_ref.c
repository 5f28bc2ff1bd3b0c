/* Kernel augment, plain reference: copies a plane and its augmentation. */
#include "cpu_kernels_ref.h"

static void copy_plane(dukd_plane from, dukd_plane to) {
    const int64_t size = dukd_element_size(from.type);
    for (int64_t r = 0; r < to.rows; r++) {
        for (int64_t c = 0; c < to.cols; c++) {
            memcpy(to.data + (r * to.row_stride + c * to.col_stride) * size,
                   from.data + (r * from.row_stride + c * from.col_stride) * size, (size_t)size);
        }
    }
}

static void invert_plane(dukd_plane from, dukd_plane to) {
    for (int64_t r = 0; r < to.rows; r++) {
        for (int64_t c = 0; c < to.cols; c++) {
            dukd_plane_store(&to, r, c, 1.0f - dukd_plane_load(&from, r, c));
        }
    }
}

void dukd_augment_ref(const dukd_augment_job *job) {
    if (job->plain.data != NULL) copy_plane(job->source, job->plain);
    if (job->augmented.data == NULL) return;
    const dukd_plane from = dukd_plane_augment(job->source, job->augment);
    if ((job->augment & DUKD_AUGMENT_INVERT) != 0) {
        invert_plane(from, job->augmented);
    } else {
        copy_plane(from, job->augmented);
    }
}
