/* gpu_arrays.cu against the same arithmetic in double: arrays that begin anywhere, more elements than a grid has threads for, the flag that
 * stops a step, and what notices infinities and NaN; gather for any strides. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The last: more than 2048 blocks of 256 threads with 4 elements each. */
static const int64_t counts[] = {1, 3, 4, 15, 16, 17, 1023, 1025, 4 * 256 * 2048 + 5};
enum { COUNTS = sizeof counts / sizeof *counts };

/* Elements before the arrays: 0, all at multiples of 16 bytes; 1, none. */
#define FOR_EACH(count, before)                                                                              \
    for (int k_ = 0; k_ < COUNTS; k_++)                                                                      \
        for (int64_t before = 0, count = counts[k_]; before < 2; before++)

static double *numbers(const gpu_floats *p) {
    double *x = gpu_doubles(p->count);
    for (int64_t i = 0; i < p->count; i++) x[i] = (double)p->host[i];
    return x;
}

static void test_add_scale_average(void **state) {
    (void)state;
    FOR_EACH(count, before) {
        const int64_t n = count + before;
        gpu_floats to = gpu_floats_random(n, 1, -1, 1), from = gpu_floats_random(n, 2, -1, 1);
        double *want = numbers(&to);
        for (int64_t i = before; i < n; i++) want[i] += (double)from.host[i];
        GPU_OK(gpu_array_add(gpu_stream(), to.device + before, from.device + before, count));
        gpu_check_floats("add", &to, want, 1e-7);
        for (int64_t i = before; i < n; i++) want[i] = (double)to.host[i] * -.75;
        GPU_OK(gpu_array_scale(gpu_stream(), to.device + before, -.75f, count));
        gpu_check_floats("scale", &to, want, 1e-7);
        for (int64_t i = before; i < n; i++)
            want[i] = (double)to.host[i] * (double).9f + (double).3f * (double)from.host[i];
        GPU_OK(
            gpu_array_average(gpu_stream(), NULL, to.device + before, from.device + before, .9f, .3f, count));
        gpu_check_floats("average", &to, want, 3e-7);
        free(want);
        gpu_floats_free(&to);
        gpu_floats_free(&from);
    }
}

static const dukd_optimizer_scalars scalars = {.minus_step = -.01f,
                                               .root = .8f,
                                               .new_m = .1f,
                                               .keep_v = .98f,
                                               .new_v = .02f,
                                               .eps = 1e-3f,
                                               .decay = .05f,
                                               .rate = .2f};

/* On the device: scalars, and a flag that is `broken`. */
typedef struct {
    dukd_optimizer_scalars *scalars;
    int32_t *broken;
} inputs;

static inputs inputs_of(const dukd_optimizer_scalars *s, int32_t broken) {
    inputs in = {gpu_alloc(sizeof *s), gpu_alloc(sizeof broken)};
    gpu_upload(in.scalars, s, sizeof *s);
    gpu_upload(in.broken, &broken, sizeof broken);
    return in;
}

static void inputs_free(inputs *in) {
    gpu_free(in->scalars);
    gpu_free(in->broken);
}

static void check_adam(int64_t count, int64_t before, double decay, int flag) {
    const int64_t n = count + before;
    dukd_optimizer_scalars s = scalars;
    s.decay = (float)decay;
    gpu_floats g = gpu_floats_random(n, 1, -1, 1), m = gpu_floats_random(n, 2, -1, 1),
               v = gpu_floats_random(n, 3, 0, 1), w = gpu_floats_random(n, 4, -1, 1);
    inputs in = inputs_of(&s, 0);
    double *want_m = numbers(&m), *want_v = numbers(&v), *want_w = numbers(&w);
    for (int64_t i = before; i < n; i++) {
        const double d = (double)g.host[i] + (double)s.decay * want_w[i];
        want_m[i] += (double)s.new_m * (d - want_m[i]);
        want_v[i] = (double)s.keep_v * want_v[i] + (double)s.new_v * d * d;
        want_w[i] += (double)s.minus_step * want_m[i] / (sqrt(want_v[i]) / (double)s.root + (double)s.eps);
    }
    GPU_OK(gpu_array_adam(gpu_stream(), in.scalars, flag ? in.broken : NULL, g.device + before,
                          m.device + before, v.device + before, w.device + before, count));
    gpu_check_floats("m", &m, want_m, 3e-7);
    gpu_check_floats("v", &v, want_v, 3e-7);
    gpu_check_floats("w", &w, want_w, 3e-7);
    free(want_m);
    free(want_v);
    free(want_w);
    gpu_floats_free(&g);
    gpu_floats_free(&m);
    gpu_floats_free(&v);
    gpu_floats_free(&w);
    inputs_free(&in);
}

static void test_adam(void **state) {
    (void)state;
    FOR_EACH(count, before) check_adam(count, before, before ? .05 : 0, count % 2 == 0);
    check_adam(40, 0, .05, 1);
}

/* 1 / eps where a gradient has been 0 for ever: no 0 / 0. A NaN in the gradient reaches m, v and w of its element alone. */
static void test_adam_limits(void **state) {
    (void)state;
    gpu_floats g = gpu_floats_random(3, 1, 1, 2), m = gpu_floats_random(3, 2, 0, 1),
               v = gpu_floats_random(3, 3, 1, 2), w = gpu_floats_random(3, 4, -1, 1);
    inputs in = inputs_of(&(dukd_optimizer_scalars){.minus_step = -1, .root = 1, .eps = 1e-8f}, 0);
    const double first = (double)w.host[2];
    g.host[0] = m.host[0] = v.host[0] = 0;
    g.host[1] = NAN;
    gpu_floats_push(&g);
    gpu_floats_push(&m);
    gpu_floats_push(&v);
    const double same = (double)w.host[0];
    GPU_OK(gpu_array_adam(gpu_stream(), in.scalars, NULL, g.device, m.device, v.device, w.device, 3));
    gpu_check_floats("w", &w, (double[]){same, NAN, first - (double)m.host[2] / 1e-8}, 1e-6);
    gpu_floats_free(&g);
    gpu_floats_free(&m);
    gpu_floats_free(&v);
    gpu_floats_free(&w);
    inputs_free(&in);
}

static void test_descend(void **state) {
    (void)state;
    inputs in = inputs_of(&scalars, 0);
    FOR_EACH(count, before) {
        const int64_t n = count + before;
        gpu_floats g = gpu_floats_random(n, 1, -1, 1), w = gpu_floats_random(n, 2, -1, 1);
        double *want = numbers(&w);
        for (int64_t i = before; i < n; i++)
            want[i] -= (double)scalars.rate * ((double)g.host[i] + (double)scalars.decay * want[i]);
        GPU_OK(gpu_array_descend(gpu_stream(), in.scalars, before ? in.broken : NULL, g.device + before,
                                 w.device + before, count));
        gpu_check_floats("descend", &w, want, 3e-7);
        free(want);
        gpu_floats_free(&g);
        gpu_floats_free(&w);
    }
    inputs_free(&in);
}

/* Where the flag is set nothing changes, by no bit. */
static void test_broken(void **state) {
    (void)state;
    inputs in = inputs_of(&scalars, 1);
    gpu_floats g = gpu_floats_random(37, 1, -1, 1), w = gpu_floats_random(37, 2, -1, 1),
               m = gpu_floats_random(37, 3, -1, 1), v = gpu_floats_random(37, 4, 0, 1);
    double *want_w = numbers(&w), *want_m = numbers(&m), *want_v = numbers(&v);
    GPU_OK(gpu_array_adam(gpu_stream(), in.scalars, in.broken, g.device, m.device, v.device, w.device, 37));
    GPU_OK(gpu_array_descend(gpu_stream(), in.scalars, in.broken, g.device, w.device, 37));
    GPU_OK(gpu_array_average(gpu_stream(), in.broken, w.device, g.device, .5f, .5f, 37));
    gpu_check_floats("w", &w, want_w, 0);
    gpu_check_floats("m", &m, want_m, 0);
    gpu_check_floats("v", &v, want_v, 0);
    free(want_w);
    free(want_m);
    free(want_v);
    gpu_floats_free(&g);
    gpu_floats_free(&w);
    gpu_floats_free(&m);
    gpu_floats_free(&v);
    inputs_free(&in);
}

static int32_t noted(const gpu_floats *x, int64_t before, int32_t flag) {
    int32_t *on_device = gpu_alloc(sizeof flag);
    gpu_upload(on_device, &flag, sizeof flag);
    GPU_OK(gpu_array_note_nonfinite(gpu_stream(), x->device + before, x->count - before, on_device));
    gpu_download(&flag, on_device, sizeof flag);
    gpu_free(on_device);
    return flag;
}

static void test_note_nonfinite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
    FOR_EACH(count, before) {
        gpu_floats x = gpu_floats_random(count + before, 1, -3e38, 3e38);
        assert_int_equal(noted(&x, before, 0), 0);
        assert_int_equal(noted(&x, before, 1), 1); /* it is never cleared */
        const int64_t places[] = {before, before + count / 2, before + count - 1};
        for (int p = 0; p < 3; p++)
            for (int b = 0; b < (count > 2000 ? 1 : 4); b++) {
                const float was = x.host[places[p]];
                x.host[places[p]] = bad[b];
                gpu_floats_push(&x);
                assert_int_equal(noted(&x, before, 0), 1);
                x.host[places[p]] = was;
            }
        if (before) { /* what lies before does not count */
            x.host[0] = NAN;
            gpu_floats_push(&x);
            assert_int_equal(noted(&x, before, 0), 0);
        }
        for (int64_t i = 0; i < x.count && count < 2000; i++) x.host[i] = NAN; /* many threads, one flag */
        gpu_floats_push(&x);
        if (count < 2000) assert_int_equal(noted(&x, before, 0), 1);
        gpu_floats_free(&x);
    }
}

typedef struct {
    int64_t shape[4], strides[4], first,
        elements; /* of the source, whose buffer begins `first` elements before */
} gather_case;

static const gather_case gathers[] = {
    {{2, 3, 5, 7}, {105, 35, 7, 1}, 0, 210},                    /* dense */
    {{2, 3, 5, 7}, {105, 1, 21, 3}, 0, 210},                    /* NHWC */
    {{2, 3, 5, 7}, {200, 50, 9, 1}, 3, 3 + 200 + 100 + 36 + 7}, /* a crop */
    {{2, 3, 5, 7}, {105, 35, 1, 5}, 0, 210},                    /* transposed */
    {{2, 3, 5, 7}, {0, 35, 7, 1}, 0, 105},                      /* one image for all */
    {{2, 3, 5, 7}, {105, 35, -7, -1}, 34, 210},                 /* turned by 180 degrees */
    {{1, 1, 5, 7}, {1, 1, 7, 5}, 0, 59},                        /* as far as a row is long, but no row */
    {{1, 1, 1, 1}, {9, 9, 9, 9}, 0, 1},
    {{3, 1, 1, 5}, {5, 77, 99, 1}, 0, 15},          /* strides of dimensions of 1 mean nothing */
    {{1, 2, 1, 40000}, {1, 40000, 5, 1}, 0, 80000}, /* more columns than a row of blocks */
    {{1, 1, 20000, 2}, {1, 1, 2, 1}, 0, 40000},
    {{1, 1, 20000, 2}, {1, 1, 1, 20000}, 0, 40000}, /* more rows than a grid */
};

static void test_gather(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof gathers / sizeof *gathers; k++) {
        const gather_case *c = &gathers[k];
        const int64_t *shape = c->shape, *s = c->strides, count = shape[0] * shape[1] * shape[2] * shape[3];
        gpu_floats x = gpu_floats_random(c->elements, k, -1, 1), out = gpu_floats_empty(count);
        double *want = gpu_doubles(count), *at = want;
        for (int64_t n = 0; n < shape[0]; n++)
            for (int64_t ch = 0; ch < shape[1]; ch++)
                for (int64_t h = 0; h < shape[2]; h++)
                    for (int64_t w = 0; w < shape[3]; w++)
                        *at++ = (double)x.host[c->first + n * s[0] + ch * s[1] + h * s[2] + w * s[3]];
        GPU_OK(gpu_array_gather(gpu_stream(), out.device, x.device + c->first, shape, s));
        gpu_check_floats("gather", &out, want, 0);
        free(want);
        gpu_floats_free(&x);
        gpu_floats_free(&out);
    }
}

/* The same tensors, but for the one whose elements overlap. What lies between a tensor's elements stays. */
static void test_scatter_add(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof gathers / sizeof *gathers; k++) {
        const gather_case *c = &gathers[k];
        const int64_t *shape = c->shape, *s = c->strides, count = shape[0] * shape[1] * shape[2] * shape[3];
        if (s[0] == 0) continue;
        gpu_floats to = gpu_floats_random(c->elements, k, -1, 1), x = gpu_floats_random(count, k + 1, -1, 1);
        const float *at = x.host;
        double *want = numbers(&to);
        for (int64_t n = 0; n < shape[0]; n++)
            for (int64_t ch = 0; ch < shape[1]; ch++)
                for (int64_t h = 0; h < shape[2]; h++)
                    for (int64_t w = 0; w < shape[3]; w++)
                        want[c->first + n * s[0] + ch * s[1] + h * s[2] + w * s[3]] += (double)*at++;
        GPU_OK(gpu_array_scatter_add(gpu_stream(), to.device + c->first, x.device, shape, s));
        gpu_check_floats("scatter_add", &to, want, 1e-7);
        free(want);
        gpu_floats_free(&x);
        gpu_floats_free(&to);
    }
}

static void test_nothing(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 0, 3, 4}, strides[4] = {1, 1, 1, 1};
    GPU_OK(gpu_array_add(gpu_stream(), NULL, NULL, 0));
    GPU_OK(gpu_array_scale(gpu_stream(), NULL, 2, 0));
    GPU_OK(gpu_array_note_nonfinite(gpu_stream(), NULL, 0, NULL));
    GPU_OK(gpu_array_adam(gpu_stream(), NULL, NULL, NULL, NULL, NULL, NULL, 0));
    GPU_OK(gpu_array_descend(gpu_stream(), NULL, NULL, NULL, NULL, 0));
    GPU_OK(gpu_array_average(gpu_stream(), NULL, NULL, NULL, 1, 1, 0));
    GPU_OK(gpu_array_gather(gpu_stream(), NULL, NULL, shape, strides));
    GPU_OK(gpu_array_scatter_add(gpu_stream(), NULL, NULL, shape, strides));
    gpu_wait();
}

static gpu_floats given; /* zeros */

static int every_call(int64_t i, void *stream) {
    float *x = given.device, *y = x + 8;
    const dukd_optimizer_scalars *s = (const dukd_optimizer_scalars *)(x + 16);
    const int64_t one[4] = {1, 1, 1, 8}, strides[4] = {8, 8, 8, 1};
    switch (i) {
    case 0:
        return gpu_array_add(stream, x, y, 8);
    case 1:
        return gpu_array_scale(stream, x, 2, 8);
    case 2:
        return gpu_array_note_nonfinite(stream, x, 8, (int32_t *)y);
    case 3:
        return gpu_array_adam(stream, s, NULL, x, x + 32, x + 40, y, 8);
    case 4:
        return gpu_array_descend(stream, s, NULL, x, y, 8);
    case 5:
        return gpu_array_average(stream, NULL, x, y, 1, 1, 8);
    case 6:
        return gpu_array_scatter_add(stream, x, y, one, strides);
    default:
        return gpu_array_gather(stream, x, y, one, strides);
    }
}

static void test_failures(void **state) {
    (void)state;
    given = gpu_floats_zeros(48);
    gpu_check_failures(every_call, 8);
    gpu_floats_free(&given);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_scale_average),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_adam_limits),
        cmocka_unit_test(test_descend),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_note_nonfinite),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_scatter_add),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_arrays, tests);
}
