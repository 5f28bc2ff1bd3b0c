/* See ops_case.h. */
#include "ops_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fill.h"

static uint64_t noted; /* of the check that runs */

void ops_note(const void *data, int64_t bytes) {
    const unsigned char *p = data;
    for (int64_t i = 0; i < bytes; i++) noted = (noted ^ p[i]) * 0x100000001B3u;
}

static int has_isa(dukd_isa isa) {
#if defined(__x86_64__)
    if (isa == DUKD_ISA_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa >= DUKD_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               (isa == DUKD_ISA_AVX512 || __builtin_cpu_supports("avx512bf16"));
#endif
    return isa == DUKD_ISA_BASE;
}

static void for_threads(ops_setting *s, const ops_size *z,
                        void (*check)(const ops_setting *, const ops_size *)) {
    uint64_t one = 0;
    for (int32_t threads = 1; threads <= 3; threads++) {
        s->w.threads = threads;
        s->seed = 1;
        noted = 0xCBF29CE484222325u;
        check(s, z);
        if (threads == 1) one = noted;
        if (noted != one) fail_msg("%d threads: other bits than with one", (int)threads);
    }
}

void ops_for_each(const ops_size *sizes, int count, int blocks,
                  void (*check)(const ops_setting *s, const ops_size *z)) {
    for (int isa = 0; isa < DUKD_ISA_COUNT; isa++) {
        if (!has_isa((dukd_isa)isa)) {
            print_message("instruction set %d: not on this processor\n", isa);
            continue;
        }
        for (int i = 0; i < count; i++)
            for (int variant = 0; variant < 8; variant++) {
                ops_setting s = {.w.isa = (dukd_isa)isa,
                                 .type = variant & 1 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32,
                                 .side = variant & 2 ? DUKD_GUARD_START : DUKD_GUARD_END,
                                 .layout = variant & 4 ? DUKD_BLOCK16 : DUKD_NHWC};
                if (s.layout == DUKD_BLOCK16 && (!blocks || sizes[i].channels % 16)) continue;
                for_threads(&s, &sizes[i], check);
            }
    }
}

static size_t bytes_of(const dukd_tensor *t) {
    return (size_t)(ops_count(t) * dukd_type_bytes(t->type));
}

int64_t ops_count(const dukd_tensor *t) {
    return (int64_t)t->images * t->channels * t->height * t->width;
}

dukd_tensor ops_tensor(const ops_setting *s, int32_t images, int32_t channels, int32_t h, int32_t w) {
    dukd_tensor t = {.images = images,
                     .channels = channels,
                     .height = h,
                     .width = w,
                     .type = s->type,
                     .layout = s->layout};
    t.data = dukd_guard_alloc(bytes_of(&t), s->side);
    return t;
}

void ops_free(const ops_setting *s, dukd_tensor *t) {
    dukd_guard_free(t->data, bytes_of(t), s->side);
}

/* Where number i, in the order image, row, column, channel, lies. */
static int64_t place(const dukd_tensor *t, int64_t i) {
    if (t->layout == DUKD_NHWC) return i;
    int64_t c = i % t->channels, plane = (int64_t)t->height * t->width, pixel = i / t->channels % plane;
    return (i / t->channels / plane * (t->channels / 16) + c / 16) * plane * 16 + pixel * 16 + c % 16;
}

/* Rounding to bf16 by arithmetic, not by bits as the code has it. */
static float round_bf16(double v) {
    float f = (float)v;
    if (!isfinite(f) || f == 0) return f;
    int exponent;
    float mantissa = frexpf(f, &exponent);
    return ldexpf(nearbyintf(ldexpf(mantissa, 8)), exponent - 8);
}

void ops_set(const dukd_tensor *t, int64_t i, double value) {
    if (t->type == DUKD_TYPE_F32) {
        ((float *)t->data)[place(t, i)] = (float)value;
        return;
    }
    float f = round_bf16(value);
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    ((uint16_t *)t->data)[place(t, i)] = (uint16_t)(bits >> 16);
}

static double uniform(ops_setting *s, double low, double high) {
    return low + (high - low) * (double)(dukd_fill_bits(7, s->seed++) >> 11) / 9007199254740992.;
}

dukd_tensor ops_random(ops_setting *s, const ops_size *z, double low, double high) {
    dukd_tensor t = ops_tensor(s, z->images, z->channels, z->h, z->w);
    for (int64_t i = 0; i < ops_count(&t); i++) ops_set(&t, i, uniform(s, low, high));
    return t;
}

float *ops_floats(ops_setting *s, int64_t count, double low, double high) {
    float *p = dukd_guard_alloc((size_t)count * sizeof *p, s->side);
    for (int64_t i = 0; i < count; i++) p[i] = (float)uniform(s, low, high);
    return p;
}

void ops_free_floats(const ops_setting *s, float *p, int64_t count) {
    dukd_guard_free(p, (size_t)count * sizeof *p, s->side);
}

static size_t aligned(int64_t bytes) {
    return (size_t)(bytes + 63) / 64 * 64;
}

void *ops_scratch(int64_t bytes) {
    void *p = dukd_guard_alloc(aligned(bytes), DUKD_GUARD_END);
    memset(p, 0xFF, aligned(bytes));
    return p;
}

void ops_free_scratch(void *p, int64_t bytes) {
    dukd_guard_free(p, aligned(bytes), DUKD_GUARD_END);
}

double *ops_doubles(int64_t count) {
    double *p = calloc((size_t)count, sizeof *p);
    assert_non_null(p);
    return p;
}

double *ops_values(const dukd_tensor *t) {
    double *p = ops_doubles(ops_count(t));
    for (int64_t i = 0; i < ops_count(t); i++) {
        int64_t at = place(t, i);
        uint32_t bits = t->type == DUKD_TYPE_BF16 ? (uint32_t)((const uint16_t *)t->data)[at] << 16 : 0;
        float v;
        memcpy(&v, &bits, sizeof v);
        p[i] = t->type == DUKD_TYPE_BF16 ? (double)v : (double)((const float *)t->data)[at];
    }
    return p;
}

static void compare(const char *name, const double *got, const double *want, int64_t count,
                    double tolerance) {
    double apart = 0, largest = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs(got[i] - want[i]);
        if (isnan(want[i])) {
            if (!isnan(got[i])) fail_msg("%s[%lld]: %.9g instead of NaN", name, (long long)i, got[i]);
            continue;
        }
        if (!isfinite(want[i])) {
            if (got[i] != want[i])
                fail_msg("%s[%lld]: %.9g instead of %g", name, (long long)i, got[i], want[i]);
            continue;
        }
        if (!isfinite(got[i]))
            fail_msg("%s[%lld]: %.9g instead of %.9g", name, (long long)i, got[i], want[i]);
        if (d > apart) {
            apart = d;
            where = i;
        }
        if (fabs(want[i]) > largest) largest = fabs(want[i]);
    }
    if (apart > tolerance * largest)
        fail_msg("%s[%lld]: %.9g instead of %.9g; %.3g of the largest, more than %.3g", name,
                 (long long)where, got[where], want[where], apart / largest, tolerance);
}

void ops_check(const char *name, const dukd_tensor *t, const double *want, double tolerance) {
    double *got = ops_values(t);
    compare(name, got, want, ops_count(t), tolerance + (t->type == DUKD_TYPE_BF16 ? 1. / 200 : 0));
    free(got);
    ops_note(t->data, (int64_t)bytes_of(t));
}

void ops_check_floats(const char *name, const float *got, const double *want, int64_t count,
                      double tolerance) {
    double *wide = ops_doubles(count);
    for (int64_t i = 0; i < count; i++) wide[i] = (double)got[i];
    compare(name, wide, want, count, tolerance);
    free(wide);
    ops_note(got, count * (int64_t)sizeof *got);
}
