/* See ops.h: the operations on elements and channels, divided over threads. */
#include "engine/ops_work.h"

enum { UNIT = 64 }; /* elements: whole cache lines */

static void each(const dukd_worker *w, dukd_each_kind kind, const dukd_tensor *out, const dukd_tensor *a,
                 const dukd_tensor *b, float factor) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        k->each[kind](dukd_tensor_at(out, s.begin), dukd_tensor_at(a, s.begin),
                      b ? dukd_tensor_at(b, s.begin) : NULL, factor, s.end - s.begin);
    }
}

void dukd_run_leaky_relu(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, float slope) {
    if (slope == 0)
        dukd_run_relu(w, out, x); /* 0 and not NaN for -inf */
    else
        each(w, DUKD_EACH_LEAKY, out, x, NULL, slope);
}

void dukd_run_leaky_relu_back(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *y, float slope) {
    if (slope == 0)
        dukd_run_relu_mask(w, d, y);
    else
        each(w, DUKD_EACH_LEAKY_BACK, d, d, y, slope);
}

void dukd_run_gelu(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x) {
    each(w, DUKD_EACH_GELU, out, x, NULL, 0);
}

void dukd_run_gelu_back(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *x) {
    each(w, DUKD_EACH_GELU_BACK, d, d, x, 0);
}

void dukd_run_gelu_back_again(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *x) {
    const dukd_ops_kernels *k = dukd_ops_of(w, d->type);
#pragma omp parallel num_threads(dukd_threads_for(w, d))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(d), UNIT);
        k->gelu_back_again(dukd_tensor_at(d, s.begin), dukd_tensor_at(x, s.begin), s.end - s.begin);
    }
}

void dukd_run_sigmoid(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x) {
    each(w, DUKD_EACH_SIGMOID, out, x, NULL, 0);
}

void dukd_run_sigmoid_back(const dukd_worker *w, const dukd_tensor *d, const dukd_tensor *y) {
    each(w, DUKD_EACH_SIGMOID_BACK, d, d, y, 0);
}

void dukd_run_image_scale(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                          const float *factors, int sum) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
    int64_t image = dukd_tensor_pixels(out) * out->channels;
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        while (s.begin < s.end) {
            int64_t n = s.begin / image, end = (n + 1) * image < s.end ? (n + 1) * image : s.end;
            void *o = dukd_tensor_at(out, s.begin);
            k->each[DUKD_EACH_SCALE](o, dukd_tensor_at(x, s.begin), sum ? o : NULL, factors[n],
                                     end - s.begin);
            s.begin = end;
        }
    }
}

/* The map of each pixel's channels, with b, y and mean of its image; all NHWC. */
static void map_channels(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x,
                         const dukd_tensor *addend, const dukd_tensor *b, const dukd_tensor *y,
                         const float *means, float factor) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
    int64_t channels = out->channels, image = dukd_tensor_pixels(out);
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(out->images * image, 16);
        while (s.begin < s.end) {
            int64_t n = s.begin / image, end = (n + 1) * image < s.end ? (n + 1) * image : s.end;
            int64_t first = s.begin * channels;
            dukd_channel_map m = {.x = x ? dukd_tensor_at(x, first) : NULL,
                                  .addend = addend ? dukd_tensor_at(addend, first) : NULL,
                                  .b = dukd_tensor_at(b, n * channels),
                                  .y = y ? dukd_tensor_at(y, n * channels) : NULL,
                                  .mean = means ? means + n * channels : NULL,
                                  .factor = factor,
                                  .channels = out->channels};
            k->map_channels(dukd_tensor_at(out, first), &m, end - s.begin);
            s.begin = end;
        }
    }
}

void dukd_run_mul(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b,
                  const dukd_tensor *addend, float factor) {
    const dukd_ops_kernels *k = dukd_ops_of(w, out->type);
    if (dukd_tensor_pixels(b) < dukd_tensor_pixels(out)) {
        dukd_tensor o = dukd_as_nhwc(out), x = dukd_as_nhwc(a), y = dukd_as_nhwc(b);
        map_channels(w, &o, &x, addend, &y, NULL, NULL, factor);
        return;
    }
#pragma omp parallel num_threads(dukd_threads_for(w, out))
    {
        dukd_span s = dukd_my_share(dukd_tensor_elements(out), UNIT);
        k->multiply(dukd_tensor_at(out, s.begin), dukd_tensor_at(a, s.begin), dukd_tensor_at(b, s.begin),
                    addend ? dukd_tensor_at(addend, s.begin) : NULL, factor, s.end - s.begin);
    }
}

void dukd_run_mul_back(const dukd_worker *w, const dukd_tensor *da, const dukd_tensor *d,
                       const dukd_tensor *b, float factor, int sum) {
    dukd_run_mul(w, da, d, b, sum ? da : NULL, factor);
}

/* ---- sums over pixels ---- */

enum { SUM_PIXELS = 256 }; /* of a part: few enough that its sum is exact to f32's last bits */

static int64_t sum_parts(const dukd_tensor *t) { /* of one image */
    return (dukd_tensor_pixels(t) + SUM_PIXELS - 1) / SUM_PIXELS;
}

static int64_t sums_bytes(const dukd_tensor *t) {
    return t->images * sum_parts(t) * t->channels * (int64_t)sizeof(float);
}

/* What becomes of the sums: out (+)= factor sum, or its root; f32 where as_f32. */
typedef struct {
    void *out;
    dukd_type type;
    float factor;
    int root, sum;
} sum_end;

/* b and means may be NULL; all NHWC. `scratch` holds sums_bytes(a). */
static void sum_channels(const dukd_worker *w, const sum_end *end, const dukd_tensor *a, const dukd_tensor *b,
                         const float *means, void *scratch) {
    const dukd_ops_kernels *k = dukd_ops_of(w, a->type), *last = dukd_ops_of(w, end->type);
    int64_t parts = sum_parts(a), channels = a->channels, image = dukd_tensor_pixels(a);
    float *sums = scratch;
#pragma omp parallel for num_threads(dukd_threads_for(w, a)) schedule(static)
    for (int64_t i = 0; i < a->images * parts; i++) {
        int64_t n = i / parts;
        dukd_span p = dukd_part(image, parts, i % parts);
        int64_t first = (n * image + p.begin) * channels;
        dukd_channel_sum s = {.a = dukd_tensor_at(a, first),
                              .b = b ? dukd_tensor_at(b, first) : NULL,
                              .mean = means ? means + n * channels : NULL,
                              .channels = a->channels};
        k->sum_channels(sums + i * channels, &s, p.end - p.begin);
    }
    for (int64_t n = 0; n < a->images; n++)
        last->finish((char *)end->out + n * channels * dukd_type_bytes(end->type),
                     sums + n * parts * channels, parts, channels, channels, end->factor, end->root,
                     end->sum);
}

int64_t dukd_run_mul_back_channels_scratch(const dukd_tensor *d) {
    return sums_bytes(d);
}

void dukd_run_mul_back_channels(const dukd_worker *w, const dukd_tensor *db, const dukd_tensor *d,
                                const dukd_tensor *a, float factor, int sum, void *scratch) {
    dukd_tensor g = dukd_as_nhwc(d), x = dukd_as_nhwc(a);
    sum_channels(w, &(sum_end){.out = db->data, .type = db->type, .factor = factor, .sum = sum}, &g, &x, NULL,
                 scratch);
}

int64_t dukd_run_pool_scratch(const dukd_tensor *x) {
    int64_t means = (int64_t)x->images * x->channels * (int64_t)sizeof(float);
    return (means + 63) / 64 * 64 + sums_bytes(x);
}

/* The means in f32 at the beginning of `scratch`. */
static const float *means_of(const dukd_worker *w, const dukd_tensor *x, void *scratch) {
    char *sums = (char *)scratch + (dukd_run_pool_scratch(x) - sums_bytes(x));
    float part = 1.f / (float)dukd_tensor_pixels(x);
    sum_channels(w, &(sum_end){.out = scratch, .type = DUKD_TYPE_F32, .factor = part}, x, NULL, NULL, sums);
    return scratch;
}

void dukd_run_mean(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, void *scratch) {
    dukd_tensor a = dukd_as_nhwc(x);
    float part = 1.f / (float)dukd_tensor_pixels(x);
    sum_channels(w, &(sum_end){.out = out->data, .type = out->type, .factor = part}, &a, NULL, NULL, scratch);
}

void dukd_run_mean_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d, int sum) {
    dukd_tensor o = dukd_as_nhwc(dx), g = dukd_as_nhwc(d);
    map_channels(w, &o, NULL, sum ? &o : NULL, &g, NULL, NULL, 1.f / (float)dukd_tensor_pixels(dx));
}

void dukd_run_deviation(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *x, void *scratch) {
    dukd_tensor a = dukd_as_nhwc(x);
    const float *means = means_of(w, &a, scratch);
    char *sums = (char *)scratch + (dukd_run_pool_scratch(&a) - sums_bytes(&a));
    float part = 1.f / (float)dukd_tensor_pixels(x);
    sum_channels(w, &(sum_end){.out = out->data, .type = out->type, .factor = part, .root = 1}, &a, NULL,
                 means, sums);
}

void dukd_run_deviation_back(const dukd_worker *w, const dukd_tensor *dx, const dukd_tensor *d,
                             const dukd_tensor *x, const dukd_tensor *y, int sum, void *scratch) {
    dukd_tensor o = dukd_as_nhwc(dx), g = dukd_as_nhwc(d), a = dukd_as_nhwc(x), s = dukd_as_nhwc(y);
    const float *means = means_of(w, &a, scratch);
    map_channels(w, &o, &a, sum ? &o : NULL, &g, &s, means, 1.f / (float)dukd_tensor_pixels(x));
}
