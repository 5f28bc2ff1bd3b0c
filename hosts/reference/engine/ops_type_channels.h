/* Part of ops_types.h: one number for each channel, and runs of channels. */

enum {
    NAME(MAP_PIXELS) = 64
}; /* so many pixels stay in the nearest cache while their channels are gone through */

ALWAYS_INLINE vec NAME(map_factor)(const dukd_channel_map *m, int64_t c) {
    int64_t left = m->channels - c;
    vec g = vec_mul(vec_set(m->factor), GET((const T *)m->b + c, left));
    if (!m->y) return g;
    vec y = GET((const T *)m->y + c, left);
    return vec_equal(y, vec_set(0), vec_set(0), vec_div(g, y));
}

/* `wide` vectors of channels from c on, of which the last may be a part. */
ALWAYS_INLINE void NAME(map_vectors)(T *o, const dukd_channel_map *m, int64_t c, int wide, int64_t begin,
                                     int64_t end) {
    vec g[4], mean[4];
    for (int v = 0; v < wide; v++) {
        int64_t i = c + v * LANES;
        g[v] = NAME(map_factor)(m, i);
        mean[v] = m->mean ? vec_get_f32(m->mean + i, m->channels - i) : vec_set(0);
    }
    const T *x = m->x, *addend = m->addend;
    for (int64_t p = begin; p < end; p++)
        for (int v = 0; v < wide; v++) {
            int64_t i = c + v * LANES, at = p * m->channels + i, left = wide > 1 ? LANES : m->channels - i;
            vec r = x ? vec_mul(vec_sub(GET(x + at, left), mean[v]), g[v]) : g[v];
            if (addend) r = vec_add(r, GET(addend + at, left));
            PUT(o + at, r, left);
        }
}

static void NAME(map_channels)(void *out, const dukd_channel_map *m, int64_t pixels) {
    for (int64_t p = 0; p < pixels; p += NAME(MAP_PIXELS)) {
        int64_t end = least(p + NAME(MAP_PIXELS), pixels), c = 0;
        for (; c + 4 * LANES <= m->channels; c += 4 * LANES) NAME(map_vectors)(out, m, c, 4, p, end);
        for (; c < m->channels; c += LANES) NAME(map_vectors)(out, m, c, 1, p, end);
    }
}

ALWAYS_INLINE vec NAME(summand)(const dukd_channel_sum *s, int64_t at, vec mean, int64_t left) {
    vec a = GET((const T *)s->a + at, left);
    if (s->b) return vec_mul(a, GET((const T *)s->b + at, left));
    if (!s->mean) return a;
    vec d = vec_sub(a, mean);
    return vec_mul(d, d);
}

ALWAYS_INLINE void NAME(sum_vectors)(float *sums, const dukd_channel_sum *s, int64_t c, int wide,
                                     int64_t pixels) {
    vec sum[4], mean[4];
    for (int v = 0; v < wide; v++) {
        int64_t i = c + v * LANES;
        sum[v] = vec_set(0);
        mean[v] = s->mean ? vec_get_f32(s->mean + i, s->channels - i) : vec_set(0);
    }
    for (int64_t p = 0; p < pixels; p++)
        for (int v = 0; v < wide; v++) {
            int64_t i = c + v * LANES, left = wide > 1 ? LANES : s->channels - i;
            sum[v] = vec_add(sum[v], NAME(summand)(s, p * s->channels + i, mean[v], left));
        }
    for (int v = 0; v < wide; v++) vec_put_f32(sums + c + v * LANES, sum[v], s->channels - c - v * LANES);
}

static void NAME(sum_channels)(float *sums, const dukd_channel_sum *s, int64_t pixels) {
    int64_t c = 0;
    for (; c + 4 * LANES <= s->channels; c += 4 * LANES) NAME(sum_vectors)(sums, s, c, 4, pixels);
    for (; c < s->channels; c += LANES) NAME(sum_vectors)(sums, s, c, 1, pixels);
}

static void NAME(finish)(void *out, const float *sums, int64_t parts, int64_t channels, int64_t step,
                         float factor, int root, int sum) {
    T *o = out;
    for (int64_t c = 0; c < channels; c += LANES) {
        int64_t left = channels - c;
        vec v = vec_set(0);
        for (int64_t p = 0; p < parts; p++) v = vec_add(v, vec_get_f32(sums + p * step + c, left));
        v = vec_mul(v, vec_set(factor));
        if (root) v = vec_sqrt(v);
        if (sum) v = vec_add(v, GET(o + c, left));
        PUT(o + c, v, left);
    }
}

static void NAME(copy_channels)(void *out, const void *x, int64_t out_step, int64_t x_step, int64_t count,
                                int sum, int64_t pixels) {
    T *o = out;
    const T *a = x;
    for (int64_t p = 0; p < pixels; p++, o += out_step, a += x_step)
        for (int64_t c = 0; c < count; c += LANES) {
            vec v = GET(a + c, count - c);
            if (sum) v = vec_add(v, GET(o + c, count - c));
            PUT(o + c, v, count - c);
        }
}
