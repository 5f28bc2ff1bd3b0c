/* Part of ops_types.h: pools and resizing. Gradients are gathered by the pixel that receives them, so that rows are
 * independent and every sum is in one order. */

static const T *NAME(pixel)(const dukd_tensor *t, int64_t n, int64_t y, int64_t x) {
    return (const T *)t->data + ((n * t->height + y) * t->width + x) * t->channels;
}

/* The maximum of a window, and where it is: rows of `kernel`, counted through; the first of equals, the last NaN. */
typedef struct {
    vec value, place;
} NAME(maximum);

static inline NAME(maximum) NAME(find_maximum)(const dukd_tensor *x, int64_t n, int64_t y, int64_t column,
                                               int64_t c, int32_t kernel) {
    int64_t left = x->channels - c;
    NAME(maximum) m = {.value = GET(NAME(pixel)(x, n, y, column) + c, left), .place = vec_set(0)};
    for (int32_t i = 1; i < kernel * kernel; i++) {
        vec v = GET(NAME(pixel)(x, n, y + i / kernel, column + i % kernel) + c, left);
        vec place = vec_set((float)i);
        m.place = vec_equal(v, v, vec_greater(v, m.value, place, m.place), place);
        m.value = vec_equal(v, v, vec_greater(v, m.value, v, m.value), v);
    }
    return m;
}

static void NAME(max_pool)(const dukd_tensor *out, const dukd_tensor *x, int32_t kernel, int32_t stride,
                           int64_t begin, int64_t end) {
    T *o = (T *)out->data + begin * out->width * out->channels;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < out->width; i++, o += out->channels)
            for (int64_t c = 0; c < out->channels; c += LANES)
                PUT(o + c,
                    NAME(find_maximum)(x, row / out->height, row % out->height * stride, i * stride, c,
                                       kernel)
                        .value,
                    out->channels - c);
}

static void NAME(max_place)(float *place, const dukd_tensor *d, const dukd_tensor *x, int32_t kernel,
                            int32_t stride, int64_t begin, int64_t end) {
    float *o = place + begin * d->width * d->channels;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < d->width; i++, o += d->channels)
            for (int64_t c = 0; c < d->channels; c += LANES)
                vec_put_f32(
                    o + c,
                    NAME(find_maximum)(x, row / d->height, row % d->height * stride, i * stride, c, kernel)
                        .place,
                    d->channels - c);
}

static void NAME(max_pool_back)(const dukd_tensor *dx, const dukd_tensor *d, const float *place,
                                int32_t kernel, int32_t stride, int sum, int64_t begin, int64_t end) {
    T *o = (T *)dx->data + begin * dx->width * dx->channels;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / dx->height, y = row % dx->height;
        dukd_range down = windows_of(y, kernel, stride, d->height);
        for (int64_t x = 0; x < dx->width; x++, o += dx->channels) {
            dukd_range across = windows_of(x, kernel, stride, d->width);
            for (int64_t c = 0; c < dx->channels; c += LANES) {
                int64_t left = dx->channels - c;
                vec total = sum ? GET(o + c, left) : vec_set(0);
                for (int64_t i = down.begin; i < down.end; i++)
                    for (int64_t k = across.begin; k < across.end; k++) {
                        const T *g = NAME(pixel)(d, n, i, k) + c;
                        vec at = vec_get_f32(place + (g - (const T *)d->data), left);
                        vec here = vec_set((float)((y - i * stride) * kernel + x - k * stride));
                        total = vec_add(total, vec_equal(at, here, GET(g, left), vec_set(0)));
                    }
                PUT(o + c, total, left);
            }
        }
    }
}

static void NAME(resize)(const dukd_tensor *out, const dukd_tensor *x, int64_t begin, int64_t end) {
    T *o = (T *)out->data + begin * out->width * out->channels;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / out->height;
        resize_tap v = resize_tap_of(row % out->height, x->height, out->height);
        for (int64_t i = 0; i < out->width; i++, o += out->channels) {
            resize_tap h = resize_tap_of(i, x->width, out->width);
            const T *a = NAME(pixel)(x, n, v.first, h.first), *b = NAME(pixel)(x, n, v.first, h.second);
            const T *e = NAME(pixel)(x, n, v.second, h.first), *f = NAME(pixel)(x, n, v.second, h.second);
            vec w = vec_set(h.weight), u = vec_set(1 - h.weight);
            for (int64_t c = 0; c < out->channels; c += LANES) {
                int64_t left = out->channels - c;
                vec above = vec_fma(u, GET(a + c, left), vec_mul(w, GET(b + c, left)));
                vec below = vec_fma(u, GET(e + c, left), vec_mul(w, GET(f + c, left)));
                PUT(o + c, vec_fma(vec_set(1 - v.weight), above, vec_mul(vec_set(v.weight), below)), left);
            }
        }
    }
}

static void NAME(resize_back)(const dukd_tensor *dx, const dukd_tensor *d, int sum, int64_t begin,
                              int64_t end) {
    T *o = (T *)dx->data + begin * dx->width * dx->channels;
    for (int64_t row = begin; row < end; row++) {
        int64_t n = row / dx->height, y = row % dx->height;
        dukd_range down = resize_takers(y, dx->height, d->height);
        for (int64_t x = 0; x < dx->width; x++, o += dx->channels) {
            dukd_range across = resize_takers(x, dx->width, d->width);
            for (int64_t c = 0; c < dx->channels; c += LANES) {
                int64_t left = dx->channels - c;
                vec total = sum ? GET(o + c, left) : vec_set(0);
                for (int64_t i = down.begin; i < down.end; i++) {
                    float v = resize_weight(i, y, dx->height, d->height);
                    for (int64_t k = across.begin; v != 0 && k < across.end; k++) {
                        float h = resize_weight(k, x, dx->width, d->width);
                        if (h != 0)
                            total = vec_fma(vec_set(v * h), GET(NAME(pixel)(d, n, i, k) + c, left), total);
                    }
                }
                PUT(o + c, total, left);
            }
        }
    }
}
