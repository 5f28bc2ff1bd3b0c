/* The operations of layout.h: every instruction set that this processor has, every layout and type, sizes at the edges
 * of vectors, against plain loops over (image, channel, row, column); guard bands; NaN and infinities. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/layout.h"
#include "support/fill.h"

enum { GUARD = 64 };

typedef struct {
    dukd_tensor t;
    unsigned char *block;
    int64_t bytes;
} guarded;

static guarded make(int32_t images, int32_t channels, int32_t h, int32_t w, dukd_type type,
                    dukd_layout layout) {
    guarded g = {
        .t = {
            .images = images, .channels = channels, .height = h, .width = w, .type = type, .layout = layout}};
    g.bytes = (int64_t)images * channels * h * w * dukd_type_bytes(type);
    g.block = malloc((size_t)g.bytes + 2 * GUARD);
    assert_non_null(g.block);
    memset(g.block, 0xA5, (size_t)g.bytes + 2 * GUARD);
    g.t.data = g.block + GUARD;
    return g;
}

static void drop(guarded *g) {
    for (int i = 0; i < GUARD; i++) {
        assert_int_equal(g->block[i], 0xA5);
        assert_int_equal(g->block[GUARD + g->bytes + i], 0xA5);
    }
    free(g->block);
}

static int64_t place(const dukd_tensor *t, int32_t n, int32_t c, int32_t y, int32_t x) {
    int64_t pixel = (int64_t)y * t->width + x, plane = (int64_t)t->height * t->width;
    int64_t image = n * plane * t->channels;
    if (t->layout == DUKD_PLANAR) return image + c * plane + pixel;
    if (t->layout == DUKD_BLOCK16) return image + (c / 16 * plane + pixel) * 16 + c % 16;
    return image + pixel * t->channels + c;
}

/* Rounding to bf16 by arithmetic, not by bits as the code has it. */
static float round_bf16(float v) {
    if (!isfinite(v) || v == 0) return v;
    int exponent;
    float mantissa = frexpf(v, &exponent);
    return ldexpf(nearbyintf(ldexpf(mantissa, 8)), exponent - 8);
}

static float get(const dukd_tensor *t, int32_t n, int32_t c, int32_t y, int32_t x) {
    int64_t i = place(t, n, c, y, x);
    if (t->type == DUKD_TYPE_F32) return ((const float *)t->data)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)t->data)[i] << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* v must be a number of the type. */
static void set(const dukd_tensor *t, int32_t n, int32_t c, int32_t y, int32_t x, float v) {
    int64_t i = place(t, n, c, y, x);
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (t->type == DUKD_TYPE_F32)
        ((float *)t->data)[i] = v;
    else
        ((uint16_t *)t->data)[i] = (uint16_t)(bits >> 16);
}

static float as_type(const dukd_tensor *t, float v) {
    return t->type == DUKD_TYPE_F32 ? v : round_bf16(v);
}

static void fill(const dukd_tensor *t, uint64_t seed) {
    uint64_t i = 0;
    for (int32_t n = 0; n < t->images; n++)
        for (int32_t c = 0; c < t->channels; c++)
            for (int32_t y = 0; y < t->height; y++)
                for (int32_t x = 0; x < t->width; x++)
                    set(t, n, c, y, x,
                        as_type(t, (float)(int64_t)(dukd_fill_bits(seed, i++) % 2001) / 500.f - 2));
}

#define EACH(t)                                                                                              \
    for (int32_t n = 0; n < (t).images; n++)                                                                 \
        for (int32_t c = 0; c < (t).channels; c++)                                                           \
            for (int32_t y = 0; y < (t).height; y++)                                                         \
                for (int32_t x = 0; x < (t).width; x++)

static void same(float got, float want) {
    if (got != want && !(isnan(got) && isnan(want))) fail_msg("%.9g instead of %.9g", got, want);
}

static int has_isa(dukd_isa isa) {
    if (isa == DUKD_ISA_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa >= DUKD_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               (isa == DUKD_ISA_AVX512 || __builtin_cpu_supports("avx512bf16"));
    return 1;
}

typedef struct {
    dukd_worker w;
    dukd_type type;
    dukd_layout layout;
    int32_t images, channels, h, width;
} shape;

/* Calls `check` for all instruction sets, types, layouts and some sizes. */
static void for_each(void (*check)(const shape *)) {
    static const int32_t sizes[][4] = {{1, 1, 1, 1},  {2, 3, 5, 7},   {1, 16, 3, 5},
                                       {3, 32, 2, 3}, {1, 48, 1, 33}, {2, 5, 40, 70}};
    for (int isa = 0; isa < DUKD_ISA_COUNT; isa++) {
        if (!has_isa((dukd_isa)isa)) {
            print_message("instruction set %d: not on this processor\n", isa);
            continue;
        }
        for (int type = 0; type < 2; type++)
            for (int layout = 0; layout < 3; layout++)
                for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                    shape s = {.w = {.isa = (dukd_isa)isa, .threads = 1 + isa},
                               .type = (dukd_type)type,
                               .layout = (dukd_layout)layout,
                               .images = sizes[i][0],
                               .channels = sizes[i][1],
                               .h = sizes[i][2],
                               .width = sizes[i][3]};
                    if (s.layout != DUKD_BLOCK16 || s.channels % 16 == 0) check(&s);
                }
    }
}

static guarded like(const shape *s) {
    return make(s->images, s->channels, s->h, s->width, s->type, s->layout);
}

static void elementwise(const shape *s) {
    guarded a = like(s), b = like(s), out = like(s);
    fill(&a.t, 1);
    fill(&b.t, 2);
    dukd_run_relu(&s->w, &out.t, &a.t);
    EACH(out.t) same(get(&out.t, n, c, y, x), fmaxf(get(&a.t, n, c, y, x), 0));
    dukd_run_add(&s->w, &out.t, &a.t, &b.t);
    EACH(out.t) same(get(&out.t, n, c, y, x), as_type(&out.t, get(&a.t, n, c, y, x) + get(&b.t, n, c, y, x)));
    dukd_run_scale(&s->w, &out.t, &a.t, -1.7f);
    EACH(out.t) same(get(&out.t, n, c, y, x), as_type(&out.t, get(&a.t, n, c, y, x) * -1.7f));
    memcpy(out.t.data, b.t.data, (size_t)b.bytes);
    dukd_run_relu_mask(&s->w, &out.t, &a.t);
    EACH(out.t) same(get(&out.t, n, c, y, x), get(&a.t, n, c, y, x) > 0 ? get(&b.t, n, c, y, x) : 0);
    drop(&a);
    drop(&b);
    drop(&out);
}

/* To the other type, over what is there and added to it; values of the wider type have bits to lose. */
static void casts(const shape *s) {
    shape to = *s;
    to.type = s->type == DUKD_TYPE_F32 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32;
    guarded a = like(s), before = like(&to), out = like(&to);
    fill(&a.t, 1);
    fill(&before.t, 2);
    dukd_run_cast(&s->w, &out.t, &a.t, 0);
    EACH(out.t) same(get(&out.t, n, c, y, x), as_type(&out.t, get(&a.t, n, c, y, x)));
    memcpy(out.t.data, before.t.data, (size_t)before.bytes);
    dukd_run_cast(&s->w, &out.t, &a.t, 1);
    EACH(out.t)
    same(get(&out.t, n, c, y, x), as_type(&out.t, get(&before.t, n, c, y, x) + get(&a.t, n, c, y, x)));
    drop(&a);
    drop(&before);
    drop(&out);
}

static void affine(const shape *s) {
    guarded a = like(s), out = like(s), before = like(s);
    float factors[64], shifts[64];
    dukd_fill_f32(factors, 64, 3, -2, 2);
    dukd_fill_f32(shifts, 64, 4, -2, 2);
    fill(&a.t, 1);
    fill(&before.t, 2);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        memcpy(out.t.data, before.t.data, (size_t)out.bytes);
        dukd_run_affine(&s->w, &out.t, &a.t, factors, shifts, accumulate);
        EACH(out.t) {
            float v = get(&a.t, n, c, y, x) * factors[c];
            v = v + shifts[c];
            if (accumulate) v += get(&before.t, n, c, y, x);
            same(get(&out.t, n, c, y, x), as_type(&out.t, v));
        }
    }
    drop(&a);
    drop(&out);
    drop(&before);
}

static int32_t in_order(int32_t c, int32_t channels, int32_t r, int32_t i, int32_t j, int32_t order) {
    return order == 1 ? c * r * r + i * r + j : (i * r + j) * channels + c;
}

static void shuffles(const shape *s) {
    for (int32_t r = 2; r <= 3; r++)
        for (int32_t order = 1; order <= r; order += r - 1)
            for (int blocked = 0; blocked < 2; blocked++) {
                int32_t low = s->channels * r * r;
                if (blocked && low % 16) continue;
                guarded small =
                    make(s->images, low, s->h, s->width, s->type, blocked ? DUKD_BLOCK16 : s->layout);
                if (small.t.layout == DUKD_BLOCK16 && low % 16) continue;
                guarded large = make(s->images, s->channels, s->h * r, s->width * r, s->type, s->layout);
                fill(&small.t, 5);
                dukd_run_shuffle(&s->w, &large.t, &small.t, r, order);
                EACH(large.t)
                same(get(&large.t, n, c, y, x),
                     get(&small.t, n, in_order(c, s->channels, r, y % r, x % r, order), y / r, x / r));
                fill(&large.t, 6);
                for (int accumulate = 0; accumulate < 2; accumulate++) {
                    fill(&small.t, 7);
                    guarded before = make(s->images, low, s->h, s->width, s->type, small.t.layout);
                    memcpy(before.t.data, small.t.data, (size_t)small.bytes);
                    dukd_run_unshuffle(&s->w, &small.t, &large.t, r, order, accumulate);
                    EACH(large.t) {
                        int32_t m = in_order(c, s->channels, r, y % r, x % r, order);
                        float v = get(&large.t, n, c, y, x);
                        if (accumulate) v += get(&before.t, n, m, y / r, x / r);
                        same(get(&small.t, n, m, y / r, x / r), as_type(&small.t, v));
                    }
                    drop(&before);
                }
                drop(&small);
                drop(&large);
            }
}

/* To and from the caller's tensors: orders, spreads, padding channels, fewer images, bands of rows. */
static void exchanges(const shape *s) {
    float factors[512], shifts[512];
    dukd_fill_f32(factors, 512, 3, -2, 2);
    dukd_fill_f32(shifts, 512, 4, -2, 2);
    for (int32_t r = 1; r <= 3; r++)
        for (int32_t spread = 1; spread <= r; spread += r > 1 ? r - 1 : 1) {
            int32_t channels = spread > 1 ? s->channels : s->channels * r * r, used = s->channels * r * r;
            int32_t padded = s->layout == DUKD_BLOCK16 ? (used + 15) / 16 * 16 : used + 3, rows = s->h + 4;
            guarded m = make(s->images, padded, s->h, s->width, s->type, s->layout);
            int64_t count = (int64_t)s->images * channels * rows * spread * s->width * spread;
            float *caller = malloc((size_t)count * sizeof *caller),
                  *back = malloc((size_t)count * sizeof *back);
            assert_true(caller && back);
            dukd_fill_f32(caller, count, 9, -3, 3);
            dukd_exchange e = {.images = s->images > 1 ? s->images - 1 : 1,
                               .channels = channels,
                               .order = r,
                               .spread = spread,
                               .first_row = 3,
                               .total_rows = rows,
                               .factors = factors,
                               .shifts = shifts};
            dukd_run_import(&s->w, &m.t, caller, &e, 0);
            for (int64_t i = 0; i < count; i++) back[i] = 77;
            e.factors = e.shifts = NULL;
            dukd_run_export(&s->w, back, &m.t, &e);
            int64_t seen = 0;
            for (int32_t n = 0; n < s->images; n++)
                for (int32_t c = 0; c < channels; c++)
                    for (int32_t y = 0; y < rows * spread; y++)
                        for (int32_t x = 0; x < s->width * spread; x++) {
                            int64_t at =
                                (((int64_t)n * channels + c) * rows * spread + y) * s->width * spread + x;
                            int inside = n < e.images && y / spread >= 3 && y / spread < 3 + s->h;
                            if (!inside) {
                                same(back[at], 77);
                                continue;
                            }
                            float v = caller[at] * factors[c];
                            v = v + shifts[c];
                            same(back[at], as_type(&m.t, v));
                            int32_t i = y % spread, j = x % spread;
                            int32_t g = spread > 1 ? (i * r + j) * channels + c
                                        : r > 1    ? c % (r * r) * s->channels + c / (r * r)
                                                   : c;
                            same(get(&m.t, n, g, y / spread - 3, x / spread), back[at]);
                            seen++;
                        }
            assert_int_equal(seen, (int64_t)e.images * used * s->h * s->width);
            EACH(m.t) if (c >= used || n >= e.images) same(get(&m.t, n, c, y, x), 0);
            free(caller);
            free(back);
            drop(&m);
        }
}

/* A NaN stays one and infinities stay what they are; halves round to even. */
static void specials(const shape *s) {
    guarded a = like(s), out = like(s);
    static const float values[] = {NAN,         INFINITY,    -INFINITY,     -0.f,
                                   1.00390625f, 1.01171875f, 3.3895314e38f, 1e-40f};
    enum { COUNT = sizeof values / sizeof *values };
    float *caller =
        malloc((size_t)s->images * (size_t)s->channels * (size_t)s->h * (size_t)s->width * sizeof *caller);
    assert_non_null(caller);
    int64_t total = (int64_t)s->images * s->channels * s->h * s->width;
    for (int64_t i = 0; i < total; i++) caller[i] = values[i % COUNT];
    dukd_exchange e = {.images = s->images, .channels = s->channels, .order = 1, .spread = 1};
    dukd_run_import(&s->w, &a.t, caller, &e, 0);
    int64_t i = 0;
    EACH(a.t) {
        float v = values[i++ % COUNT], got = get(&a.t, n, c, y, x);
        if (s->type == DUKD_TYPE_F32 || !isfinite(v))
            same(got, v);
        else if (v == 1.00390625f)
            same(got, 1);
        else if (v == 1.01171875f)
            same(got, 1.015625f);
        else if (v == 3.3895314e38f)
            assert_true(fabsf(got) > 3.38e38f);
    }
    dukd_run_relu(&s->w, &out.t, &a.t);
    i = 0;
    EACH(a.t) {
        float v = values[i++ % COUNT], got = get(&out.t, n, c, y, x);
        if (isnan(v)) assert_true(isnan(got));
        if (v == INFINITY) same(got, v);
        if (v == -INFINITY) same(got, 0);
    }
    free(caller);
    drop(&a);
    drop(&out);
}

/* Images scaled each by a factor and added; channels summed over all pixels (NHWC). */
static void sums(const shape *s) {
    guarded a = like(s), b = like(s), out = like(s);
    fill(&a.t, 5);
    fill(&b.t, 6);
    float factors[16];
    for (int i = 0; i < 16; i++) factors[i] = .25f * (float)i - .5f;
    assert_true(s->images <= 16);
    dukd_run_image_add(&s->w, &out.t, &a.t, factors, &b.t);
    EACH(out.t)
    same(get(&out.t, n, c, y, x),
         as_type(&out.t, get(&a.t, n, c, y, x) * factors[n] + get(&b.t, n, c, y, x)));
    if (s->layout == DUKD_NHWC) {
        float *got = malloc((size_t)s->channels * sizeof *got);
        double *want = calloc((size_t)s->channels, sizeof *want);
        assert_true(got && want);
        dukd_run_channel_sums(&s->w, got, &a.t);
        EACH(a.t) want[c] += get(&a.t, n, c, y, x);
        for (int32_t c = 0; c < s->channels; c++)
            if (fabs(got[c] - want[c]) > 1e-4) fail_msg("channel %d: %g instead of %g", c, got[c], want[c]);
        free(got);
        free(want);
    }
    drop(&a);
    drop(&b);
    drop(&out);
}

/* Widths of a vector and more, and what is left over. */
static void test_channel_sums(void **state) {
    (void)state;
    static const int32_t widths[] = {1, 15, 16, 17, 31, 32, 60, 64, 65, 130, 180};
    for (int isa = 0; isa < DUKD_ISA_COUNT; isa++)
        for (size_t i = 0; has_isa((dukd_isa)isa) && i < sizeof widths / sizeof *widths; i++)
            for (int type = 0; type < 2; type++)
                for (int32_t threads = 1; threads <= 3; threads++)
                    sums(&(shape){.w = {.isa = (dukd_isa)isa, .threads = threads},
                                  .type = (dukd_type)type,
                                  .layout = DUKD_NHWC,
                                  .images = 2,
                                  .channels = widths[i],
                                  .h = 13,
                                  .width = 11});
}

static void test_elementwise(void **state) {
    (void)state;
    for_each(elementwise);
}

static void test_casts(void **state) {
    (void)state;
    for_each(casts);
}

static void test_affine(void **state) {
    (void)state;
    for_each(affine);
}

static void test_shuffles(void **state) {
    (void)state;
    for_each(shuffles);
}

static void test_exchanges(void **state) {
    (void)state;
    for_each(exchanges);
}

static void test_sums(void **state) {
    (void)state;
    for_each(sums);
}

static void test_specials(void **state) {
    (void)state;
    for_each(specials);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),  cmocka_unit_test(test_affine),   cmocka_unit_test(test_shuffles),
        cmocka_unit_test(test_exchanges),    cmocka_unit_test(test_specials), cmocka_unit_test(test_sums),
        cmocka_unit_test(test_channel_sums), cmocka_unit_test(test_casts),
    };
    return cmocka_run_group_tests_name("engine_layout", tests, NULL, NULL);
}
