/* Part of ops_types.h: layer norm. A pixel's channels stay in the nearest cache between its sums and its result. */

static void NAME(norm)(void *out, const void *x, const dukd_norm *n, float *stats, int64_t pixels) {
    T *o = out;
    const T *a = x;
    int64_t count = n->channels;
    float part = 1.f / (float)count;
    for (int64_t p = 0; p < pixels; p++, o += count, a += count) {
        vec sum = vec_set(0), squares = vec_set(0);
        for (int64_t c = 0; c < count; c += LANES) sum = vec_add(sum, GET(a + c, count - c));
        float mean = vec_sum(sum) * part;
        for (int64_t c = 0; c < count; c += LANES) {
            vec v = vec_keep(vec_sub(GET(a + c, count - c), vec_set(mean)), count - c);
            squares = vec_fma(v, v, squares);
        }
        float scale = 1.f / sqrtf(vec_sum(squares) * part + n->eps);
        if (stats) {
            stats[2 * p] = mean;
            stats[2 * p + 1] = scale;
        }
        for (int64_t c = 0; c < count; c += LANES) {
            int64_t left = count - c;
            vec v = vec_mul(vec_sub(GET(a + c, left), vec_set(mean)), vec_set(scale));
            PUT(o + c, vec_fma(v, vec_get_f32(n->weight + c, left), vec_get_f32(n->bias + c, left)), left);
        }
    }
}

/* With g = d weight and y = (x - mean) scale: dx = scale (g - mean(g) - y mean(g y)). */
static void NAME(norm_back)(void *dx, const void *d, const void *x, const dukd_norm *n, const float *stats,
                            int sum, float *sums, int64_t pixels) {
    T *o = dx;
    const T *a = x, *g = d;
    int64_t count = n->channels;
    float part = 1.f / (float)count;
    for (int64_t p = 0; p < pixels; p++, o += count, a += count, g += count) {
        vec mean = vec_set(stats[2 * p]), scale = vec_set(stats[2 * p + 1]);
        vec sum_g = vec_set(0), sum_gy = vec_set(0);
        for (int64_t c = 0; c < count; c += LANES) {
            int64_t left = count - c;
            vec e = GET(g + c, left), y = vec_mul(vec_sub(GET(a + c, left), mean), scale);
            vec ey = vec_mul(e, y), w = vec_get_f32(n->weight + c, left);
            sum_g = vec_fma(e, w, sum_g);
            sum_gy = vec_fma(ey, w, sum_gy);
            vec_put_f32(sums + c, vec_add(vec_get_f32(sums + c, left), ey), left);
            vec_put_f32(sums + count + c, vec_add(vec_get_f32(sums + count + c, left), e), left);
        }
        vec mean_g = vec_set(vec_sum(sum_g) * part), mean_gy = vec_set(vec_sum(sum_gy) * part);
        for (int64_t c = 0; c < count; c += LANES) {
            int64_t left = count - c;
            vec y = vec_mul(vec_sub(GET(a + c, left), mean), scale);
            vec v = vec_sub(vec_mul(GET(g + c, left), vec_get_f32(n->weight + c, left)), mean_g);
            v = vec_mul(scale, vec_sub(v, vec_mul(y, mean_gy)));
            if (sum) v = vec_add(v, GET(o + c, left));
            PUT(o + c, v, left);
        }
    }
}
