/* The operations of layout_kernels.h for one type of element: T, with LOAD and STORE from and to f32, OTHER being the other type, and NAME for
 * the functions' names. Included by layout_body.h once a type (no include guard). */

static void NAME(relu)(void *out, const void *x, int64_t n) {
    T *o = out;
    const T *a = x;
    for (int64_t i = 0; i < n; i++) {
        float v = LOAD(a[i]);
        o[i] = v > 0 ? a[i] : (v == v ? (T)0 : a[i]); /* a NaN goes through */
    }
}

static void NAME(relu_mask)(void *d, const void *y, int64_t n) {
    T *restrict g = d;
    const T *restrict a = y;
    for (int64_t i = 0; i < n; i++) g[i] = LOAD(a[i]) > 0 ? g[i] : (T)0;
}

static void NAME(scale)(void *out, const void *x, float factor, int64_t n) {
    T *o = out;
    const T *a = x;
    for (int64_t i = 0; i < n; i++) o[i] = STORE(LOAD(a[i]) * factor);
}

static void NAME(add)(void *out, const void *x, const void *y, int64_t n) {
    T *o = out;
    const T *a = x, *b = y;
    for (int64_t i = 0; i < n; i++) o[i] = STORE(LOAD(a[i]) + LOAD(b[i]));
}

static void NAME(cast)(void *out, const void *x, int accumulate, int64_t n) {
    OTHER *restrict o = out;
    const T *restrict a = x;
    if (accumulate)
        for (int64_t i = 0; i < n; i++) o[i] = STORE_OTHER(LOAD_OTHER(o[i]) + LOAD(a[i]));
    else
        for (int64_t i = 0; i < n; i++) o[i] = STORE_OTHER(LOAD(a[i]));
}

static void NAME(scale_add)(void *out, const void *x, float factor, const void *y, int64_t n) {
    T *o = out;
    const T *a = x, *b = y;
    for (int64_t i = 0; i < n; i++) o[i] = STORE(LOAD(a[i]) * factor + LOAD(b[i]));
}

/* Runs of pixels are summed by themselves first: the error of a sum grows with its length. */
#ifndef DUKD_LAYOUT_SUMS
#define DUKD_LAYOUT_SUMS
enum { SUM_RUN = 256 };
#define DUKD_SUM_RUNS(WIDTH)                                                                                 \
    for (int64_t first = 0; first < pixels; first += SUM_RUN) {                                              \
        int64_t last = first + SUM_RUN < pixels ? first + SUM_RUN : pixels;                                  \
        float part[64] = {0};                                                                                \
        for (int64_t p = first; p < last; p++)                                                               \
            for (int64_t k = 0; k < (WIDTH); k++) part[k] += LOAD(a[p * x->channels + k]);                   \
        for (int64_t k = 0; k < (WIDTH); k++) whole[k] += part[k];                                           \
    }
#endif

static void NAME(channel_sums)(float *out, const dukd_tensor *x, int64_t begin, int64_t width, int64_t from) {
    int64_t pixels = (int64_t)x->images * x->height * x->width;
    const T *a = (const T *)x->data + begin;
    float whole[64] = {0};
    if (width == 64)
        DUKD_SUM_RUNS(64)
    else if (width == 32)
        DUKD_SUM_RUNS(32)
    else if (width == 16)
        DUKD_SUM_RUNS(16)
    else
        DUKD_SUM_RUNS(width)
    for (int64_t k = from - begin; k < width; k++) out[begin + k] = whole[k];
}

static void NAME(affine)(const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                         const float *shifts, int accumulate, int64_t begin, int64_t end) {
    strides s = strides_of(out);
    for (int64_t row = begin; row < end; row++) {
        for (int64_t m = 0; m < out->channels; m++) {
            int64_t first = at(&s, out, row / out->height, m, row % out->height);
            T *o = (T *)out->data + first;
            const T *a = (const T *)x->data + first;
            float factor = factors ? factors[m] : 1, shift = shifts ? shifts[m] : 0;
            for (int64_t w = 0; w < out->width; w++) {
                float v = LOAD(a[w * s.pixel]) * factor + shift;
                if (accumulate) v += LOAD(o[w * s.pixel]);
                o[w * s.pixel] = STORE(v);
            }
        }
    }
}

static void NAME(shuffle)(const dukd_tensor *out, const dukd_tensor *x, int32_t r, int32_t order,
                          int64_t begin, int64_t end) {
    strides so = strides_of(out), sx = strides_of(x);
    int64_t channels = out->channels, blocks = channels % 16 == 0 && order == r ? channels / 16 : 0;
    if (so.lane != 1 || sx.lane != 1) blocks = 0;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / out->height, y = row % out->height, i = y % r;
        for (int64_t j = 0; j < r; j++) {
            int64_t m0 = (i * r + j) * channels;
            for (int64_t b = 0; b < blocks; b++) {
                T *restrict o = (T *)out->data + at(&so, out, n, b * 16, y) + j * so.pixel;
                const T *restrict a = (const T *)x->data + at(&sx, x, n, m0 + b * 16, y / r);
                for (int64_t w = 0; w < x->width; w++)
                    for (int k = 0; k < 16; k++) o[w * r * so.pixel + k] = a[w * sx.pixel + k];
            }
            for (int64_t c = blocks * 16; c < channels; c++) {
                T *o = (T *)out->data + at(&so, out, n, c, y) + j * so.pixel;
                int64_t m = order == r ? m0 + c : c * r * r + i * r + j;
                const T *a = (const T *)x->data + at(&sx, x, n, m, y / r);
                for (int64_t w = 0; w < x->width; w++) o[w * r * so.pixel] = a[w * sx.pixel];
            }
        }
    }
}

static void NAME(unshuffle)(const dukd_tensor *dx, const dukd_tensor *d, int32_t r, int32_t order,
                            int accumulate, int64_t begin, int64_t end) {
    strides sd = strides_of(d), sx = strides_of(dx);
    int64_t channels = d->channels, blocks = channels % 16 == 0 && order == r ? channels / 16 : 0;
    if (accumulate || sd.lane != 1 || sx.lane != 1) blocks = 0;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / d->height, y = row % d->height, i = y % r;
        for (int64_t j = 0; j < r; j++) {
            int64_t m0 = (i * r + j) * channels;
            for (int64_t b = 0; b < blocks; b++) {
                const T *restrict a = (const T *)d->data + at(&sd, d, n, b * 16, y) + j * sd.pixel;
                T *restrict o = (T *)dx->data + at(&sx, dx, n, m0 + b * 16, y / r);
                for (int64_t w = 0; w < dx->width; w++)
                    for (int k = 0; k < 16; k++) o[w * sx.pixel + k] = a[w * r * sd.pixel + k];
            }
            for (int64_t c = blocks * 16; c < channels; c++) {
                const T *a = (const T *)d->data + at(&sd, d, n, c, y) + j * sd.pixel;
                int64_t m = order == r ? m0 + c : c * r * r + i * r + j;
                T *o = (T *)dx->data + at(&sx, dx, n, m, y / r);
                for (int64_t w = 0; w < dx->width; w++) {
                    T v = a[w * r * sd.pixel];
                    o[w * sx.pixel] = accumulate ? STORE(LOAD(o[w * sx.pixel]) + LOAD(v)) : v;
                }
            }
        }
    }
}

/* Where channel m of memory lies in the caller's tensor: its plane, and the first row and column and their step. */
#ifndef DUKD_LAYOUT_PLACE
#define DUKD_LAYOUT_PLACE
typedef struct {
    int64_t plane, row, column, step;
} place;

static inline place place_of(const dukd_exchange *x, int64_t m) {
    if (x->spread == 1) return (place){.plane = graph_channel(m, x->channels, x->order), .step = 1};
    int64_t part = m / x->channels;
    return (place){
        .plane = m % x->channels, .row = part / x->spread, .column = part % x->spread, .step = x->spread};
}
#endif

static void NAME(import)(const dukd_tensor *out, const float *caller, const dukd_exchange *x, int accumulate,
                         int64_t begin, int64_t end) {
    strides s = strides_of(out);
    int64_t used = (int64_t)x->channels * x->spread * x->spread;
    int64_t total = x->total_rows ? x->total_rows : out->height;
    int64_t height = total * x->spread, width = (int64_t)out->width * x->spread;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / out->height, y = row % out->height;
        for (int64_t m = 0; m < out->channels; m++) {
            T *o = (T *)out->data + at(&s, out, n, m, y);
            if (m >= used || n >= x->images) {
                for (int64_t w = 0; w < out->width && !accumulate; w++) o[w * s.pixel] = (T)0;
                continue;
            }
            place p = place_of(x, m);
            const float *a =
                caller +
                ((n * x->channels + p.plane) * height + (y + x->first_row) * p.step + p.row) * width +
                p.column;
            float factor = x->factors ? x->factors[p.plane] : 1, shift = x->shifts ? x->shifts[p.plane] : 0;
            for (int64_t w = 0; w < out->width; w++) {
                float v = a[w * p.step] * factor + shift;
                if (accumulate) v += LOAD(o[w * s.pixel]);
                o[w * s.pixel] = STORE(v);
            }
        }
    }
}

static void NAME(export)(float *caller, const dukd_tensor *in, const dukd_exchange *x, int64_t begin,
                         int64_t end) {
    strides s = strides_of(in);
    int64_t used = (int64_t)x->channels * x->spread * x->spread;
    int64_t total = x->total_rows ? x->total_rows : in->height;
    int64_t height = total * x->spread, width = (int64_t)in->width * x->spread;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / in->height, y = row % in->height;
        if (n >= x->images) continue;
        for (int64_t m = 0; m < used; m++) {
            const T *a = (const T *)in->data + at(&s, in, n, m, y);
            place p = place_of(x, m);
            float *o = caller +
                       ((n * x->channels + p.plane) * height + (y + x->first_row) * p.step + p.row) * width +
                       p.column;
            float factor = x->factors ? x->factors[p.plane] : 1, shift = x->shifts ? x->shifts[p.plane] : 0;
            for (int64_t w = 0; w < in->width; w++) o[w * p.step] = LOAD(a[w * s.pixel]) * factor + shift;
        }
    }
}
