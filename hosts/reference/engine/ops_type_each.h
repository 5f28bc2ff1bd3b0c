/* Part of ops_types.h: element by element. */

static void NAME(leaky)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *x = a;
    (void)b;
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = GET(x + i, n - i);
        PUT(o + i, vec_greater(v, vec_set(0), v, vec_mul(v, vec_set(factor))), n - i);
    }
}

static void NAME(leaky_back)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *d = a, *y = b;
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = GET(d + i, n - i);
        PUT(o + i, vec_greater(GET(y + i, n - i), vec_set(0), v, vec_mul(v, vec_set(factor))), n - i);
    }
}

static void NAME(gelu)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *x = a;
    (void)b;
    (void)factor;
    for (int64_t i = 0; i < n; i += LANES) PUT(o + i, vec_gelu(GET(x + i, n - i)), n - i);
}

static void NAME(gelu_back)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *d = a, *x = b;
    (void)factor;
    for (int64_t i = 0; i < n; i += LANES)
        PUT(o + i, vec_mul(GET(d + i, n - i), vec_gelu_slope(GET(x + i, n - i))), n - i);
}

static void NAME(gelu_back_again)(void *out, void *in, int64_t n) {
    T *d = out, *x = in;
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = GET(x + i, n - i);
        vec_normal normal = vec_normal_of(v);
        PUT(d + i, vec_mul(GET(d + i, n - i), vec_fma(v, normal.density, normal.below)), n - i);
        PUT(x + i, vec_mul(v, normal.below), n - i);
    }
}

static void NAME(sigmoid)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *x = a;
    (void)b;
    (void)factor;
    for (int64_t i = 0; i < n; i += LANES) PUT(o + i, vec_sigmoid(GET(x + i, n - i)), n - i);
}

static void NAME(sigmoid_back)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *d = a, *y = b;
    (void)factor;
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = GET(y + i, n - i);
        vec slope = vec_mul(v, vec_sub(vec_set(1), v));
        PUT(o + i, vec_mul(GET(d + i, n - i), slope), n - i);
    }
}

static void NAME(scale)(void *out, const void *a, const void *b, float factor, int64_t n) {
    T *o = out;
    const T *x = a, *addend = b;
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = vec_mul(GET(x + i, n - i), vec_set(factor));
        if (addend) v = vec_add(v, GET(addend + i, n - i));
        PUT(o + i, v, n - i);
    }
}

static void NAME(multiply)(void *out, const void *a, const void *b, const void *addend, float factor,
                           int64_t n) {
    T *o = out;
    const T *x = a, *y = b, *z = addend;
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = vec_mul(GET(x + i, n - i), vec_mul(vec_set(factor), GET(y + i, n - i)));
        if (z) v = vec_add(v, GET(z + i, n - i));
        PUT(o + i, v, n - i);
    }
}
