/* Operation zoom in: windows of HR images and their augmentations. */
#include "cpu_backend.h"

typedef struct {
    const dukd_kernels *kernels;
    const dukd_zoom_in_args *args;
    dukd_view hr, plain, augmented;
    int64_t channels;
} zoom_in_work;

static void zoom_in_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const zoom_in_work *w = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const int64_t k = i / w->channels, c = i % w->channels;
        dukd_augment_job job = {.augment = w->augmented.data != NULL ? w->args->augment[k] : 0};
        int64_t rows = w->plain.h, cols = w->plain.w;
        if (w->plain.data != NULL) job.plain = dukd_view_plane(&w->plain, k, c);
        if (w->augmented.data != NULL) {
            job.augmented = dukd_view_plane(&w->augmented, k, c);
            const dukd_plane before = dukd_plane_restore(job.augmented, job.augment);
            rows = before.rows;
            cols = before.cols;
        }
        job.source = dukd_plane_window(dukd_view_plane(&w->hr, w->args->image[k], c), w->args->row[k],
                                       w->args->col[k], rows, cols);
        w->kernels->augment(&job);
    }
}

int32_t dukd_cpu_zoom_in(dukd_backend *base, const dukd_zoom_in_args *a, dukd_error *error) {
    dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    (void)error;
    zoom_in_work w = {
        &b->kernels, a, dukd_view_of(a->hr), dukd_view_of(a->plain), dukd_view_of(a->augmented), 0};
    const dukd_view *made = w.plain.data != NULL ? &w.plain : &w.augmented;
    if (made->data == NULL) return DUKD_OK;
    w.channels = made->c;
    const int64_t planes = made->n * made->c,
                  bytes = planes * made->h * made->w * dukd_element_size(made->type) * 3;
    dukd_parallel_run(&b->parallel, dukd_parallel_team(&b->parallel, bytes), planes, zoom_in_range, &w);
    return DUKD_OK;
}
