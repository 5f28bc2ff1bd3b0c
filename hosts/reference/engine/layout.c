/* See layout.h: divides the work over threads and picks the kernels of the instruction set. */
#include "engine/layout.h"

#include "engine/layout_kernels.h"
#include "engine/ops_work.h"

static const dukd_layout_kernels *kernels_of(const dukd_worker *w, const dukd_tensor *t) {
#ifdef DUKD_X86
    if (w->isa >= DUKD_ISA_AVX512) return &dukd_layout_avx512[t->type];
    if (w->isa == DUKD_ISA_AVX2) return &dukd_layout_avx2[t->type];
#endif
    (void)w;
    return &dukd_layout_base[t->type];
}

static int64_t rows(const dukd_tensor *t) {
    return (int64_t)t->images * t->height;
}

enum { UNIT = 64 }; /* elements: whole cache lines */

void dukd_run_relu(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x) {
    const dukd_layout_kernels *k = kernels_of(w, out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        k->relu(dukd_tensor_at(out, s.begin), dukd_tensor_at(x, s.begin), s.end - s.begin);
    }
}

void dukd_run_relu_mask(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *y) {
    const dukd_layout_kernels *k = kernels_of(w, d);
#pragma omp parallel num_threads(dukd_threads_for(w, d))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(d), UNIT);
        k->relu_mask(dukd_tensor_at(d, s.begin), dukd_tensor_at(y, s.begin), s.end - s.begin);
    }
}

void dukd_run_scale(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, float factor) {
    const dukd_layout_kernels *k = kernels_of(w, out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        k->scale(dukd_tensor_at(out, s.begin), dukd_tensor_at(x, s.begin), factor, s.end - s.begin);
    }
}

void dukd_run_add(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b) {
    const dukd_layout_kernels *k = kernels_of(w, out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        k->add(dukd_tensor_at(out, s.begin), dukd_tensor_at(a, s.begin), dukd_tensor_at(b, s.begin),
               s.end - s.begin);
    }
}

void dukd_run_cast(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, int accumulate) {
    const dukd_layout_kernels *k = kernels_of(w, x);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        k->cast(dukd_tensor_at(out, s.begin), dukd_tensor_at(x, s.begin), accumulate, s.end - s.begin);
    }
}

void dukd_run_image_add(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                        const float *factors, const dukd_tensor *b) {
    const dukd_layout_kernels *k = kernels_of(w, out);
    int64_t image = dukd_tensor_elements(out) / out->images;
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    for (int64_t n = 0; n < out->images; n++) {
        dukd_span s = dukd_my_share(image, UNIT);
        int64_t at = n * image + s.begin;
        k->scale_add(dukd_tensor_at(out, at), dukd_tensor_at(x, at), factors[n], dukd_tensor_at(b, at),
                     s.end - s.begin);
    }
}

void dukd_run_channel_sums(const dukd_worker *w, float *out, const dukd_tensor *x) {
    /* Whole vectors: the last run of channels begins early enough to have the width of the others. */
    int64_t n = x->channels, width = n >= 64 ? 64 : n >= 32 ? 32 : n >= 16 ? 16 : n;
    const dukd_layout_kernels *k = kernels_of(w, x);
#pragma omp parallel for num_threads(dukd_threads_for(w, x)) schedule(static)
    for (int64_t c = 0; c < n; c += width) k->channel_sums(out, x, c + width < n ? c : n - width, width, c);
}

void dukd_run_affine(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                     const float *shifts, int accumulate) {
    const dukd_layout_kernels *k = kernels_of(w, out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(rows(out), 1);
        k->affine(out, x, factors, shifts, accumulate, s.begin, s.end);
    }
}

void dukd_run_shuffle(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, int32_t r,
                      int32_t order) {
    const dukd_layout_kernels *k = kernels_of(w, out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(rows(out), 1);
        k->shuffle(out, x, r, order, s.begin, s.end);
    }
}

void dukd_run_unshuffle(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d, int32_t r,
                        int32_t order, int accumulate) {
    const dukd_layout_kernels *k = kernels_of(w, dx);
#pragma omp parallel num_threads(dukd_threads_for(w, d))
    {
        dukd_span s = dukd_my_share(rows(d), 1);
        k->unshuffle(dx, d, r, order, accumulate, s.begin, s.end);
    }
}

void dukd_run_import(const dukd_worker *w, const dukd_tensor *out, const float *caller,
                     const dukd_exchange *x, int accumulate) {
    const dukd_layout_kernels *k = kernels_of(w, out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(rows(out), 1);
        k->import(out, caller, x, accumulate, s.begin, s.end);
    }
}

void dukd_run_export(const dukd_worker *w, float *caller, const dukd_tensor *in, const dukd_exchange *x) {
    const dukd_layout_kernels *k = kernels_of(w, in);
#pragma omp parallel num_threads(dukd_threads_for(w, in))
    {
        dukd_span s = dukd_my_share(rows(in), 1);
        k->export(caller, in, x, s.begin, s.end);
    }
}
