/* See ops.h: runs of channels and layer norm, divided over threads. */
#include <string.h>

#include "engine/ops_work.h"

void dukd_run_copy_channels(const dukd_worker *w, const dukd_tensor *out, int32_t out_first,
                            const dukd_tensor *x, int32_t x_first, int32_t count, int sum) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(out->images * dukd_tensor_pixels(out), 16);
        k->copy_channels(dukd_tensor_at(out, s.begin * out->channels + out_first),
                         dukd_tensor_at(x, s.begin * x->channels + x_first), out->channels, x->channels,
                         count, sum, s.end - s.begin);
    }
}

void dukd_run_layer_norm(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                         const float *weight, const float *bias, float eps, float *stats) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
    dukd_norm n = {.weight = weight, .bias = bias, .eps = eps, .channels = x->channels};
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(out->images * dukd_tensor_pixels(out), 16);
        int64_t first = s.begin * x->channels;
        k->norm(dukd_tensor_at(out, first), dukd_tensor_at(x, first), &n, stats ? stats + 2 * s.begin : NULL,
                s.end - s.begin);
    }
}

/* Parts of the pixels whose sums for d_weight and d_bias are made one by one: at most 64, of 64 pixels or more. */
static int64_t norm_parts(const dukd_tensor *d) {
    int64_t parts = (d->images * dukd_tensor_pixels(d) + 63) / 64;
    return parts < 64 ? parts : 64;
}

int64_t dukd_run_layer_norm_back_scratch(const dukd_tensor *d) {
    return norm_parts(d) * 2 * d->channels * (int64_t)sizeof(float);
}

void dukd_run_layer_norm_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d,
                              const dukd_tensor *x, const float *weight, const float *stats, float *d_weight,
                              float *d_bias, int sum, void *scratch) {
    const dukd_ops_kernels *k = dukd_ops_of(w, d->type), *f32 = dukd_ops_of(w, DUKD_TYPE_F32);
    dukd_norm n = {.weight = weight, .channels = x->channels};
    int64_t parts = norm_parts(d), channels = d->channels;
    float *sums = scratch;
#pragma omp parallel for num_threads(dukd_threads_for(w, d)) schedule(static)
    for (int64_t i = 0; i < parts; i++) {
        dukd_span s = dukd_part(d->images * dukd_tensor_pixels(d), parts, i);
        int64_t first = s.begin * channels;
        float *part = sums + i * 2 * channels;
        memset(part, 0, (size_t)(2 * channels) * sizeof *part);
        k->norm_back(dukd_tensor_at(dx, first), dukd_tensor_at(d, first), dukd_tensor_at(x, first), &n,
                     stats + 2 * s.begin, sum, part, s.end - s.begin);
    }
    f32->finish(d_weight, sums, parts, channels, 2 * channels, 1, 0, 1);
    f32->finish(d_bias, sums + channels, parts, channels, 2 * channels, 1, 0, 1);
}
