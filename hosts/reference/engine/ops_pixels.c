/* See ops.h: pools and resizing, divided over threads by rows. */
#include "engine/ops_work.h"

static int64_t rows(const dukd_tensor *t) {
    return (int64_t)t->images * t->height;
}

void dukd_run_max_pool(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, int32_t kernel,
                       int32_t stride) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
#pragma omp parallel num_threads(dukd_threads_for(w, x))
    {
        dukd_span s = dukd_my_share(rows(out), 1);
        k->max_pool(out, x, kernel, stride, s.begin, s.end);
    }
}

int64_t dukd_run_max_pool_back_scratch(const dukd_tensor *d) {
    return dukd_tensor_elements(d) * (int64_t)sizeof(float);
}

void dukd_run_max_pool_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d,
                            const dukd_tensor *x, int32_t kernel, int32_t stride, int sum, void *scratch) {
    const dukd_ops_kernels *k = dukd_ops_of(w, d->type);
    float *place = scratch;
#pragma omp parallel num_threads(dukd_threads_for(w, x))
    {
        dukd_span s = dukd_my_share(rows(d), 1);
        k->max_place(place, d, x, kernel, stride, s.begin, s.end);
#pragma omp barrier
        s = dukd_my_share(rows(dx), 1);
        k->max_pool_back(dx, d, place, kernel, stride, sum, s.begin, s.end);
    }
}

void dukd_run_resize(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(rows(out), 1);
        k->resize(out, x, s.begin, s.end);
    }
}

void dukd_run_resize_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d, int sum) {
    const dukd_ops_kernels *k = dukd_ops_of(w, d->type);
#pragma omp parallel num_threads(dukd_threads_for(w, d))
    {
        dukd_span s = dukd_my_share(rows(dx), 1);
        k->resize_back(dx, d, sum, s.begin, s.end);
    }
}
