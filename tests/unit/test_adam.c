/* Adam and the average against numbers from torch.optim.Adam (2.15, foreach=False) and against the same in double. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fill.h"
#include "train/adam.h"

enum { N = 7, STEPS = 12 };
static const float start[N] = {0.5f, -0.25f, 1.0f, -2.0f, 0.001f, 3.0f, 0.0f};

static void gradient(int t, float *g) {
    for (int i = 0; i < N; i++) g[i] = (float)(sin(1.7 * i + 0.3 * t) * pow(10, -(i % 4)));
}

static dukd_engine *engine_of(int threads) {
    dukd_engine *e = NULL;
    dukd_failure f = {0};
    if (dukd_engine_create(&e, "onednn", threads, &f)) fail_msg("%s", f.message);
    return e;
}

/* One step of a rate: its scalars are those of the step that comes. */
static void take_step(dukd_adam *a, double rate, const float *g, float *w) {
    const dukd_optimizer_scalars k = dukd_adam_scalars(&a->options, a->steps + 1, rate);
    assert_int_equal(dukd_adam_step(a, &k, NULL, g, w, NULL), 0);
}

/* After 12 steps at 1e-3, betas .9 and .99, eps 1e-8. */
static const struct {
    double weight_decay;
    float w[N], m[N], v[N];
} torch[] = {
    {0,
     {0x1.f4ae3p-2f, -0x1.03111ep-2f, 0x1.02b5c2p+0f, -0x1.ffd4c8p+0f, -0x1.206136p-7f, 0x1.8041fcp+1f,
      0x1.1f61bap-7f},
     {0x1.1d002cp-2f, -0x1.1bb8c4p-5f, -0x1.efa4bep-10f, 0x1.9e40a8p-12f, 0x1.657510p-4f, -0x1.560ebp-5f,
      0x1.aa50d4p-13f},
     {0x1.a2dbd4p-5f, 0x1.40cab2p-11f, 0x1.6a82fep-18f, 0x1.f0afdcp-25f, 0x1.d825d4p-5f, 0x1.1c205ap-11f,
      0x1.999ab8p-18f}},
    {0.01,
     {0x1.f4ab0p-2f, -0x1.02c99p-2f, 0x1.fb128ep-1f, -0x1.fcf166p+0f, -0x1.205f12p-7f, 0x1.7fbdap+1f,
      0x1.1e40fcp-7f},
     {0x1.20a066p-2f, -0x1.2aa3cep-5f, 0x1.57dc76p-8f, -0x1.c7beep-7f, 0x1.654c9cp-4f, -0x1.4bca52p-6f,
      0x1.0309f6p-12f},
     {0x1.a77412p-5f, 0x1.49f17ap-11f, 0x1.dd6c3ap-18f, 0x1.6c97fcp-15f, 0x1.d827bp-5f, 0x1.4e83aep-12f,
      0x1.9b0918p-18f}},
};
static const float torch_ema[N] = {0x1.00058cp-1f, -0x1.fa8a94p-3f, 0x1.f9dcfap-1f,  -0x1.f9e37ap+0f,
                                   0x1.48890cp-8f, 0x1.7b58ap+1f,   -0x1.b31448p-16f};

/* PyTorch's vectorised lerp and addcmul may round once where plain C rounds twice: a few units in the last place. */
static void close_to(const float *got, const float *want, double absolute, const char *what) {
    for (int i = 0; i < N; i++)
        if (!(fabs((double)got[i] - want[i]) <= 4e-7 * fabs(want[i]) + absolute))
            fail_msg("%s[%d]: %a, torch has %a", what, i, got[i], want[i]);
}

static void adam_is_torchs(void **state) {
    (void)state;
    dukd_engine *e = engine_of(1);
    for (size_t k = 0; k < sizeof torch / sizeof *torch; k++) {
        dukd_adam a;
        float w[N], g[N];
        memcpy(w, start, sizeof w);
        const dukd_adam_options o = {
            .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = torch[k].weight_decay};
        assert_int_equal(dukd_adam_create(&a, e, o, N, NULL), 0);
        for (int t = 1; t <= STEPS; t++) {
            gradient(t, g);
            take_step(&a, 1e-3, g, w);
        }
        assert_int_equal(a.steps, STEPS);
        close_to(w, torch[k].w, 1e-9, "weight");
        close_to(a.m, torch[k].m, 1e-9, "m");
        close_to(a.v, torch[k].v, 0, "v");
        dukd_adam_free(&a);
    }
    dukd_engine_destroy(e);
}

static void average_is_torchs(void **state) {
    (void)state;
    float ema[N], g[N];
    dukd_engine *e = engine_of(1);
    memcpy(ema, start, sizeof ema);
    for (int t = 1; t <= STEPS; t++) {
        gradient(t, g);
        assert_int_equal(dukd_ema_update(e, NULL, ema, g, N, 0.999, NULL), 0);
    }
    dukd_engine_destroy(e);
    close_to(ema, torch_ema, 1e-9, "average");
}

/* Kingma and Ba's algorithm in double, thousands of elements, changing rates. */
static void adam_is_the_papers(void **state) {
    (void)state;
    enum { COUNT = 10007 };
    dukd_adam a;
    dukd_engine *e = engine_of(1);
    float *w = malloc(COUNT * sizeof *w), *g = malloc(COUNT * sizeof *g);
    double *wd = malloc(COUNT * sizeof *wd), *m = calloc(COUNT, sizeof *m), *v = calloc(COUNT, sizeof *v);
    assert_true(w && g && wd && m && v);
    dukd_fill_f32(w, COUNT, 1, -1, 1);
    for (int i = 0; i < COUNT; i++) wd[i] = w[i];
    const dukd_adam_options o = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    assert_int_equal(dukd_adam_create(&a, e, o, COUNT, NULL), 0);
    double moved = 0, worst = 0;
    for (int t = 1; t <= 50; t++) {
        const double rate = t > 30 ? 1e-4 : 1e-3;
        dukd_fill_f32(g, COUNT, (uint64_t)t, -0.1f, 0.2f);
        take_step(&a, rate, g, w);
        for (int i = 0; i < COUNT; i++) {
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.999 * v[i] + 0.001 * (double)g[i] * g[i];
            wd[i] -= rate * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
        }
    }
    float *first = malloc(COUNT * sizeof *first);
    assert_non_null(first);
    dukd_fill_f32(first, COUNT, 1, -1, 1);
    for (int i = 0; i < COUNT; i++) {
        moved = fmax(moved, fabs(w[i] - first[i]));
        worst = fmax(worst, fabs(w[i] - wd[i]));
    }
    assert_true(moved > 5e-3);
    if (worst > 2e-6) fail_msg("the weights are off by %g", worst);
    free(first);
    free(w);
    free(g);
    free(wd);
    free(m);
    free(v);
    dukd_adam_free(&a);
    dukd_engine_destroy(e);
}

static void bits_do_not_depend_on_threads(void **state) {
    (void)state;
    enum { COUNT = 100003 };
    float *w[2], *ema[2], *g = malloc(COUNT * sizeof *g);
    assert_non_null(g);
    const int threads[2] = {1, 3}, before = omp_get_max_threads();
    for (int k = 0; k < 2; k++) {
        dukd_adam a;
        dukd_engine *e = engine_of(threads[k]);
        w[k] = malloc(COUNT * sizeof **w);
        ema[k] = calloc(COUNT, sizeof **ema);
        assert_true(w[k] && ema[k]);
        dukd_fill_f32(w[k], COUNT, 1, -1, 1);
        const dukd_adam_options o = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 1e-4};
        assert_int_equal(dukd_adam_create(&a, e, o, COUNT, NULL), 0);
        for (int t = 1; t <= 3; t++) {
            dukd_fill_f32(g, COUNT, (uint64_t)t, -1, 1);
            take_step(&a, 1e-3, g, w[k]);
            assert_int_equal(dukd_ema_update(e, NULL, ema[k], w[k], COUNT, 0.99, NULL), 0);
        }
        dukd_adam_free(&a);
        dukd_engine_destroy(e);
    }
    assert_int_equal(omp_get_max_threads(), before); /* an engine's threads are its own */
    assert_memory_equal(w[0], w[1], COUNT * sizeof **w);
    assert_memory_equal(ema[0], ema[1], COUNT * sizeof **ema);
    for (int k = 0; k < 2; k++) {
        free(w[k]);
        free(ema[k]);
    }
    free(g);
}

/* Where the flag says that something is not finite nothing changes, and the next step is the one that was due. */
static void a_broken_step_changes_nothing(void **state) {
    (void)state;
    dukd_engine *e = engine_of(2);
    dukd_adam a;
    int32_t flag = 1;
    float w[N], g[N], ema[N];
    memcpy(w, start, sizeof w);
    memcpy(ema, start, sizeof ema);
    gradient(1, g);
    assert_int_equal(dukd_adam_create(&a, e, (dukd_adam_options){0.9, 0.99, 1e-8, 0.01}, N, NULL), 0);
    const dukd_optimizer_scalars k = dukd_adam_scalars(&a.options, 1, 1e-3);
    assert_int_equal(dukd_adam_step(&a, &k, &flag, g, w, NULL), 0);
    assert_int_equal(dukd_sgd_step(&a, &k, &flag, g, w, NULL), 0);
    assert_int_equal(dukd_ema_update(e, &flag, ema, g, N, 0.9, NULL), 0);
    assert_memory_equal(w, start, sizeof w);
    assert_memory_equal(ema, start, sizeof ema);
    for (int i = 0; i < N; i++) assert_true(a.m[i] == 0 && a.v[i] == 0);
    flag = 0;
    assert_int_equal(dukd_sgd_step(&a, &k, &flag, g, w, NULL), 0);
    for (int i = 0; i < N; i++) assert_true(w[i] == start[i] - k.rate * (g[i] + k.decay * start[i]));
    assert_int_equal(dukd_adam_step(&a, &k, &flag, g, w, NULL), 0);
    assert_int_equal(dukd_ema_update(e, &flag, ema, g, N, 0.9, NULL), 0);
    for (int i = 0; i < N; i++) assert_true(a.v[i] > 0 && ema[i] != start[i]);
    dukd_adam_free(&a);
    dukd_engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_is_torchs),
        cmocka_unit_test(average_is_torchs),
        cmocka_unit_test(adam_is_the_papers),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(a_broken_step_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
