/* The CUDA backend's operations on features, affinity, contrast and upscale, against literal computations in double and against the CPU's
 * reference, at sizes about those of a tile, a chunk of channels, a group.
 *
 * Tolerances. Affinity: the mean 2e-6 of itself and 1e-7 (dots in f32; 16 differences of a thread are added in f32, all else in f64), the gradient
 * 5e-6 of its largest element before what points along the column is taken out; up to 256 pixels it has the CPU's bits, as both add in
 * the same order. Contrast: ratio 1e-9, gradient 1e-6 of its largest. Upscale: the CPU's bits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_ops_fixture.h"
#include "support/affinity_literal.h"

static const char *library;

static int set_up(void **state) {
    cuda_ops *o = calloc(1, sizeof *o);
    if (o == NULL) return 1;
    cuda_ops_open(o, library);
    *state = o;
    return 0;
}

static int tear_down(void **state) {
    cuda_ops_close(*state);
    free(*state);
    return 0;
}

static double rounding(dukd_dtype type) {
    return type.bits == 32 ? 5e-6 : type.code == DUKD_TYPE_FLOAT ? 0x1p-10 : 0x1p-7;
}

/* ---------------------------------------------------------------- affinity: the literal computation */

static double get(const void *tensor, int64_t n, int64_t c, int64_t h, int64_t w) {
    const fixture_tensor *t = tensor;
    return fixture_get(&t->tensor, n, c, h, w);
}

/* mean of |A_S - A_T|; *off: the most that grad differs from the gradient of the sum times factor; *size: as affinity_literal's. */
static double literal(const fixture_tensor *s, const fixture_tensor *t, double factor,
                      const fixture_tensor *grad, double *off, double *size) {
    const affinity_map student = {s->shape, s, get}, teacher = {t->shape, t, get};
    const int64_t pixels = s->shape[2] * s->shape[3], count = s->shape[0] * s->shape[1] * pixels;
    double *want = malloc((size_t)count * sizeof *want);
    assert_non_null(want);
    const double sum = affinity_literal(&student, &teacher, factor, want, size);
    *off = 0;
    for (int64_t k = 0; k < count; k++) {
        const int64_t p = k % pixels, c = k / pixels % s->shape[1], n = k / pixels / s->shape[1];
        const double d = fabs(fixture_get(&grad->tensor, n, c, p / s->shape[3], p % s->shape[3]) - want[k]);
        if (!(d <= *off)) *off = isnan(d) ? (double)INFINITY : d;
    }
    free(want);
    return sum / ((double)s->shape[0] * (double)pixels * (double)pixels);
}

/* ---------------------------------------------------------------- affinity */

typedef struct {
    int64_t n, cs, ct, h, w;
    dukd_dtype type[3]; /* student, teacher, gradient */
    fixture_layout layout[3];
    uint64_t seed;
} affinity_case;

static void load_affinity(cuda_ops *o, const int64_t student[4], const int64_t teacher[4]) {
    dukd_feature_load load;
    memcpy(load.student, student, sizeof load.student);
    memcpy(load.other, teacher, sizeof load.other);
    cuda_ops_begin(o, &(dukd_backend_load){.n_affinities = 1, .affinity = &load});
}

static void run_affinity(cuda_ops *o, fixture_tensor *s, fixture_tensor *t, fixture_tensor *grad,
                         double factor, bool add) {
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    dukd_affinity_args a = {.student = &s->there,
                            .teacher = &t->there,
                            .grad = grad != NULL ? &grad->there : NULL,
                            .factor = factor,
                            .mean = o->mean,
                            .add = add};
    if (o->cuda->affinity(o->cuda, &a, &error) != DUKD_OK) fail_msg("affinity: %s", error.message);
    if (grad != NULL) cuda_map_fetch(o, grad);
}

/* The CPU's gradient of the same. */
static void cpu_affinity(const cuda_ops *o, const fixture_tensor *s, const fixture_tensor *t,
                         fixture_tensor *grad, const affinity_case *k, double factor) {
    fixture_tensor_make(grad, s->shape, k->type[2], LAYOUT_DENSE);
    dukd_affinity_args a = {
        .student = &s->tensor, .teacher = &t->tensor, .grad = &grad->tensor, .factor = factor};
    assert_int_equal(o->cpu->affinity(o->cpu, &a, NULL), DUKD_OK);
}

static void affinity(cuda_ops *o, const affinity_case *k) {
    const int64_t student[4] = {k->n, k->cs, k->h, k->w}, teacher[4] = {k->n, k->ct, k->h, k->w};
    const double factor = 1.0 / (double)(k->h * k->w);
    double off, size;
    fixture_tensor s, t, grad, cpu;
    char name[96];
    snprintf(name, sizeof name, "%d images of %d x %d, %d and %d channels", (int)k->n, (int)k->h, (int)k->w,
             (int)k->cs, (int)k->ct);
    load_affinity(o, student, teacher);
    cuda_map_make(o, &s, student, k->type[0], k->layout[0], k->seed);
    cuda_map_make(o, &t, teacher, k->type[1], k->layout[1], k->seed + 1);
    cuda_map_make_room(o, &grad, student, k->type[2], k->layout[2]);
    run_affinity(o, &s, &t, &grad, factor, false);
    const double mean = cuda_ops_mean(o), want = literal(&s, &t, factor, &grad, &off, &size);
    if (!(fabs(mean - want) <= 2e-6 * want + 1e-7)) fail_msg("%s: %.9g, expected %.9g", name, mean, want);
    if (!(off <= rounding(k->type[2]) * size))
        fail_msg("%s: the gradient is off by %g of %g", name, off, size);
    if (k->h * k->w <= 256) {
        cpu_affinity(o, &s, &t, &cpu, k, factor);
        cuda_maps_same(&grad, &cpu, name);
        fixture_tensor_free(&cpu);
    }
    run_affinity(o, &s, &t, NULL, factor, true); /* without a gradient, on top of it */
    assert_true(cuda_ops_mean(o) == mean + mean);
    cuda_ops_end(o);
    cuda_map_free(o, &s);
    cuda_map_free(o, &t);
    cuda_map_free(o, &grad);
}

static void affinity_of_any_size(void **state) {
    static const int64_t shapes[][5] = {
        {1, 1, 1, 1, 1},   {2, 3, 4, 2, 3},   {1, 15, 17, 7, 9}, {2, 16, 16, 8, 8}, {1, 17, 15, 5, 13},
        {1, 8, 8, 1, 130}, {2, 63, 5, 9, 7},  {1, 64, 64, 3, 3}, {1, 65, 3, 3, 22}, {1, 129, 20, 4, 4},
        {1, 256, 2, 2, 2}, {1, 257, 4, 9, 8}, {1, 5, 7, 17, 19}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t *v = shapes[i];
        affinity(*state, &(affinity_case){v[0],
                                          v[1],
                                          v[2],
                                          v[3],
                                          v[4],
                                          {fixture_f32, fixture_f32, fixture_f32},
                                          {LAYOUT_DENSE, LAYOUT_DENSE, LAYOUT_DENSE},
                                          10 + i});
    }
}

static void affinity_of_any_type_and_layout(void **state) {
    const dukd_dtype types[] = {fixture_f32, fixture_f16, fixture_bf16};
    for (int i = 0; i < 3 * LAYOUTS; i++) {
        affinity_case k = {.n = 2, .cs = 6, .ct = 5, .h = 7, .w = 10, .seed = 100 + (uint64_t)i};
        k.type[0] = types[i % 3];
        k.type[1] = types[(i + i / 3) % 3];
        k.type[2] = i % 2 == 0 ? fixture_f32 : k.type[0];
        k.layout[0] = (fixture_layout)(i % LAYOUTS);
        k.layout[1] = (fixture_layout)((i + 1) % LAYOUTS);
        k.layout[2] = (fixture_layout)((i + i / LAYOUTS) % LAYOUTS);
        affinity(*state, &k);
    }
}

/* Images that are worked on in two goes. */
static void affinity_of_many_images(void **state) {
    affinity(*state, &(affinity_case){1030,
                                      2,
                                      1,
                                      1,
                                      3,
                                      {fixture_f32, fixture_f32, fixture_f32},
                                      {LAYOUT_DENSE, LAYOUT_DENSE, LAYOUT_DENSE},
                                      77});
}

/* A map that is its teacher's: no loss, no gradient, to the bit. A column of zeros: none for itself, and no NaN anywhere. */
static void affinity_of_the_same_and_of_nothing(void **state) {
    cuda_ops *o = *state;
    const int64_t shape[4] = {1, 18, 9, 9};
    double off, size;
    fixture_tensor s, t, grad;
    load_affinity(o, shape, shape);
    cuda_map_make(o, &s, shape, fixture_f32, LAYOUT_DENSE, 5);
    cuda_map_make(o, &t, shape, fixture_f32, LAYOUT_DENSE, 6);
    cuda_map_make_room(o, &grad, shape, fixture_f32, LAYOUT_DENSE);
    run_affinity(o, &s, &s, &grad, 1, false);
    assert_true(cuda_ops_mean(o) == 0);
    EACH_ELEMENT(&grad.tensor, n, c, i, j) assert_true(fixture_get(&grad.tensor, n, c, i, j) == 0);
    for (int64_t c = 0; c < 18; c++) {
        fixture_set(&s.tensor, 0, c, 3, 4, 0);
        fixture_set(&t.tensor, 0, c, 8, 1, 0);
    }
    cuda_map_send(o, &s);
    cuda_map_send(o, &t);
    run_affinity(o, &s, &t, &grad, 1, false);
    const double want = literal(&s, &t, 1, &grad, &off, &size);
    assert_true(fabs(cuda_ops_mean(o) - want) <= 2e-6 * want && off <= 5e-6 * size);
    for (int64_t c = 0; c < 18; c++) assert_true(fixture_get(&grad.tensor, 0, c, 3, 4) == 0);
    cuda_ops_end(o);
    cuda_map_free(o, &s);
    cuda_map_free(o, &t);
    cuda_map_free(o, &grad);
}

/* What is not finite shows in its own image, and in no other. */
static void affinity_shows_nan_and_inf(void **state) {
    cuda_ops *o = *state;
    const int64_t shape[4] = {2, 3, 9, 9};
    for (int which = 0; which < 4; which++) {
        fixture_tensor f[2], grad;
        load_affinity(o, shape, shape);
        for (int i = 0; i < 2; i++)
            cuda_map_make(o, &f[i], shape, fixture_f32, LAYOUT_DENSE, 50u + (unsigned)i);
        cuda_map_make_room(o, &grad, shape, fixture_f32, LAYOUT_DENSE);
        fixture_set(&f[which % 2].tensor, 1, 2, 8, 8, which < 2 ? (double)NAN : (double)INFINITY);
        cuda_map_send(o, &f[which % 2]);
        run_affinity(o, &f[0], &f[1], &grad, 1, false);
        assert_true(isnan(cuda_ops_mean(o)));
        for (int64_t e = 0; e < 81; e++) {
            assert_true(isnan(fixture_get(&grad.tensor, 1, 0, e / 9, e % 9)));
            assert_true(isfinite(fixture_get(&grad.tensor, 0, 0, e / 9, e % 9)));
        }
        cuda_ops_end(o);
        for (int i = 0; i < 2; i++) cuda_map_free(o, &f[i]);
        cuda_map_free(o, &grad);
    }
}

/* ---------------------------------------------------------------- contrast */

typedef struct {
    int64_t n, negatives, c, h, w;
    int types, layouts; /* numbers of a combination */
    bool of_student, of_teacher;
} contrast_case;

static double sign_of(double x) {
    return (double)((x > 0) - (x < 0));
}

/* The two distances. */
static void distances(const fixture_tensor f[3], double *to_t, double *to_n) {
    const double elements = (double)fixture_count(&f[0].tensor);
    *to_t = *to_n = 0;
    EACH_ELEMENT(&f[0].tensor, n, c, i, j) {
        const double x = fixture_get(&f[0].tensor, n, c, i, j);
        *to_t += fabs(fixture_get(&f[1].tensor, n, c, i, j) - x) / elements;
        for (int64_t k = 0; k < f[2].shape[0]; k++)
            *to_n += fabs(fixture_get(&f[2].tensor, k, c, i, j) - x) / (elements * (double)f[2].shape[0]);
    }
}

static void check_gradient(const fixture_tensor f[3], fixture_tensor g[2], const contrast_case *k,
                           double factor, double to_t, double to_n) {
    const double ratio = to_t / (to_n + 1e-7),
                 each = factor / ((to_n + 1e-7) * (double)fixture_count(&f[0].tensor)),
                 largest = each * (1 + ratio);
    EACH_ELEMENT(&f[0].tensor, n, c, i, j) {
        const double x = fixture_get(&f[0].tensor, n, c, i, j), y = fixture_get(&f[1].tensor, n, c, i, j);
        double away = 0;
        for (int64_t m = 0; m < k->negatives; m++)
            away += sign_of(x - fixture_get(&f[2].tensor, m, c, i, j)) / (double)k->negatives;
        const double want[2] = {each * (sign_of(x - y) - ratio * away), each * sign_of(y - x)};
        const bool wanted[2] = {k->of_student, k->of_teacher};
        for (int m = 0; m < 2; m++) {
            if (!wanted[m]) continue;
            const double got = fixture_get(&g[m].tensor, n, c, i, j),
                         most = g[m].tensor.dtype.bits == 32 ? 1e-6 : rounding(g[m].tensor.dtype);
            if (!(fabs(got - want[m]) <= most * largest))
                fail_msg("gradient %d at %d %d %d %d: %.9g, expected %.9g", m, (int)n, (int)c, (int)i, (int)j,
                         got, want[m]);
        }
    }
}

static void contrast(cuda_ops *o, const contrast_case *k) {
    const dukd_dtype types[] = {fixture_f32, fixture_f16, fixture_bf16};
    const int64_t shape[4] = {k->n, k->c, k->h, k->w}, other[4] = {k->negatives, k->c, k->h, k->w};
    const double factor = 1000, weight = 0.25;
    double to_t, to_n;
    dukd_feature_load load;
    fixture_tensor f[3], g[2];
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    memcpy(load.student, shape, sizeof shape);
    memcpy(load.other, other, sizeof other);
    cuda_ops_begin(o, &(dukd_backend_load){.n_contrasts = 1, .contrast = &load});
    for (int i = 0; i < 3; i++) {
        cuda_map_make(o, &f[i], i < 2 ? shape : other, types[(k->types + (k->types > 2) * i) % 3],
                      (fixture_layout)((k->layouts + i) % LAYOUTS), 300u + (unsigned)i);
    }
    fixture_set(&f[1].tensor, 0, 0, 0, 0, fixture_get(&f[0].tensor, 0, 0, 0, 0)); /* a difference of 0 */
    if (f[0].tensor.dtype.bits != 32) fixture_set(&f[0].tensor, 0, 0, 0, 0, 0);
    if (f[0].tensor.dtype.bits != 32) fixture_set(&f[1].tensor, 0, 0, 0, 0, 0);
    for (int i = 0; i < 2; i++) {
        cuda_map_send(o, &f[i]);
        cuda_map_make_room(o, &g[i], shape, k->types % 2 == 0 ? fixture_f32 : f[i].tensor.dtype,
                           (fixture_layout)((k->layouts + 2 * i) % LAYOUTS));
    }
    dukd_contrast_args a = {.student = &f[0].there,
                            .teacher = &f[1].there,
                            .negatives = &f[2].there,
                            .grad_student = k->of_student ? &g[0].there : NULL,
                            .grad_teacher = k->of_teacher ? &g[1].there : NULL,
                            .factor = factor,
                            .mean = o->mean,
                            .weight = weight};
    for (int again = 0; again < 2; again++) {
        if (o->cuda->contrast(o->cuda, &a, &error) != DUKD_OK) fail_msg("contrast: %s", error.message);
        a.add = true;
    }
    for (int i = 0; i < 2; i++) cuda_map_fetch(o, &g[i]);
    distances(f, &to_t, &to_n);
    const double want = 2 * weight * to_t / (to_n + 1e-7);
    if (!(fabs(cuda_ops_mean(o) - want) <= (f[0].tensor.dtype.bits == 32 ? 1e-7 : 1e-9) * want))
        fail_msg("contrast: %.12g, expected %.12g", cuda_ops_mean(o), want);
    check_gradient(f, g, k, factor, to_t, to_n);
    cuda_ops_end(o);
    for (int i = 0; i < 3; i++) cuda_map_free(o, &f[i]);
    for (int i = 0; i < 2; i++) cuda_map_free(o, &g[i]);
}

/* A block has 256 elements; 16 negatives are in registers. */
static void contrast_of_any_size(void **state) {
    static const int64_t shapes[][5] = {{1, 1, 1, 1, 1},    {2, 3, 5, 3, 17}, {3, 16, 4, 8, 8},
                                        {2, 17, 1, 1, 257}, {1, 33, 3, 5, 5}, {5, 10, 16, 7, 5}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t *v = shapes[i];
        for (int which = 0; which < 4; which++)
            contrast(*state, &(contrast_case){v[0], v[1], v[2], v[3], v[4], 0, 0, (which & 1) != 0,
                                              (which & 2) != 0});
    }
}

static void contrast_of_any_type_and_layout(void **state) {
    for (int types = 0; types < 6; types++) {
        for (int layouts = 0; layouts < LAYOUTS; layouts++)
            contrast(*state, &(contrast_case){2, 3, 3, 5, 6, types, layouts, true, true});
    }
}

static void contrast_shows_nan(void **state) {
    cuda_ops *o = *state;
    const int64_t shape[4] = {2, 2, 3, 3};
    dukd_feature_load load;
    memcpy(load.student, shape, sizeof shape);
    memcpy(load.other, shape, sizeof shape);
    for (int which = 0; which < 3; which++) {
        fixture_tensor f[3], g[2];
        cuda_ops_begin(o, &(dukd_backend_load){.n_contrasts = 1, .contrast = &load});
        for (int i = 0; i < 3; i++)
            cuda_map_make(o, &f[i], shape, fixture_f32, LAYOUT_DENSE, 400u + (unsigned)i);
        for (int i = 0; i < 2; i++) cuda_map_make_room(o, &g[i], shape, fixture_f32, LAYOUT_DENSE);
        fixture_set(&f[which].tensor, 1, 1, 2, 2, NAN);
        cuda_map_send(o, &f[which]);
        dukd_contrast_args a = {.student = &f[0].there,
                                .teacher = &f[1].there,
                                .negatives = &f[2].there,
                                .grad_student = &g[0].there,
                                .grad_teacher = &g[1].there,
                                .factor = 1,
                                .mean = o->mean,
                                .weight = 1};
        assert_int_equal(o->cuda->contrast(o->cuda, &a, NULL), DUKD_OK);
        assert_true(isnan(cuda_ops_mean(o)));
        for (int i = 0; i < 2; i++) cuda_map_fetch(o, &g[i]);
        assert_true(isnan(fixture_get(&g[0].tensor, 1, 1, 2, 2)));
        cuda_ops_end(o);
        for (int i = 0; i < 3; i++) cuda_map_free(o, &f[i]);
        for (int i = 0; i < 2; i++) cuda_map_free(o, &g[i]);
    }
}

/* ---------------------------------------------------------------- a scale on the device; the same bits each time */

static void a_scale_multiplies_gradients(void **state) {
    cuda_ops *o = *state;
    const int64_t shape[4] = {2, 4, 9, 8};
    const float number = 512;
    dukd_feature_load load;
    fixture_tensor f[3], plain[3], scaled[3];
    float *scale = o->device.take(sizeof *scale);
    memcpy(load.student, shape, sizeof shape);
    memcpy(load.other, shape, sizeof shape);
    cuda_ops_begin(
        o, &(dukd_backend_load){.n_affinities = 1, .affinity = &load, .n_contrasts = 1, .contrast = &load});
    o->device.up(o->stream, scale, &number, sizeof number);
    for (int i = 0; i < 3; i++) {
        cuda_map_make(o, &f[i], shape, fixture_f32, LAYOUT_DENSE, 500u + (unsigned)i);
        cuda_map_make_room(o, &plain[i], shape, fixture_f32, LAYOUT_DENSE);
        cuda_map_make_room(o, &scaled[i], shape, fixture_f32, LAYOUT_DENSE);
    }
    double mean[2][2];
    for (int on_device = 0; on_device < 2; on_device++) {
        fixture_tensor *g = on_device ? scaled : plain;
        dukd_affinity_args affine = {.student = &f[0].there,
                                     .teacher = &f[1].there,
                                     .grad = &g[0].there,
                                     .factor = on_device ? 1 : number,
                                     .mean = o->mean,
                                     .scale_dev = on_device ? scale : NULL};
        dukd_contrast_args other = {.student = &f[0].there,
                                    .teacher = &f[1].there,
                                    .negatives = &f[2].there,
                                    .grad_student = &g[1].there,
                                    .grad_teacher = &g[2].there,
                                    .factor = affine.factor,
                                    .mean = o->mean,
                                    .weight = 1,
                                    .scale_dev = affine.scale_dev};
        assert_int_equal(o->cuda->affinity(o->cuda, &affine, NULL), DUKD_OK);
        mean[on_device][0] = cuda_ops_mean(o);
        assert_int_equal(o->cuda->contrast(o->cuda, &other, NULL), DUKD_OK);
        mean[on_device][1] = cuda_ops_mean(o);
        for (int i = 0; i < 3; i++) cuda_map_fetch(o, &g[i]);
    }
    assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
    for (int i = 0; i < 3; i++) cuda_maps_same(&plain[i], &scaled[i], "scaled");
    cuda_ops_end(o);
    for (int i = 0; i < 3; i++) {
        cuda_map_free(o, &f[i]);
        cuda_map_free(o, &plain[i]);
        cuda_map_free(o, &scaled[i]);
    }
    o->device.give_back(scale);
}

/* What a session has not announced has no workspace: said, not written past its end. */
static void more_than_was_announced(void **state) {
    cuda_ops *o = *state;
    const int64_t small[4] = {1, 4, 3, 3}, large[4] = {1, 4, 80, 3};
    dukd_feature_load load;
    fixture_tensor f;
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    memcpy(load.student, small, sizeof small);
    memcpy(load.other, small, sizeof small);
    cuda_ops_begin(o, &(dukd_backend_load){.n_affinities = 1, .affinity = &load});
    cuda_map_make(o, &f, large, fixture_f32, LAYOUT_DENSE, 1);
    dukd_affinity_args a = {.student = &f.there, .teacher = &f.there, .factor = 1, .mean = o->mean};
    assert_int_equal(o->cuda->affinity(o->cuda, &a, &error), DUKD_E_INTERNAL);
    assert_non_null(strstr(error.message, "was not told of a map this large"));
    cuda_ops_end(o);
    cuda_map_free(o, &f);
}

/* ---------------------------------------------------------------- upscale */

static void upscale_has_the_cpus_bits(void **state) {
    cuda_ops *o = *state;
    static const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 1},
                                        {3, 3, 5, 7, 2, 2},
                                        {2, 3, 9, 4, 3, 2},
                                        {2, 1, 13, 11, 4, 1},
                                        {1, 2, 2, 1, 64, 1}};
    const dukd_dtype types[] = {fixture_f32, fixture_f16, fixture_bf16};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t *v = shapes[i], shape[4] = {v[0], v[1], v[2], v[3]},
                      out[4] = {v[5], v[1], v[2] * v[4], v[3] * v[4]};
        for (int kind = 0; kind < 3 * LAYOUTS; kind++) {
            fixture_tensor lr, made, cpu;
            dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
            cuda_ops_begin(o, &(dukd_backend_load){.n_affinities = 0});
            cuda_map_make(o, &lr, shape, types[kind % 3], (fixture_layout)(kind / 3), 600 + i);
            cuda_map_make_room(o, &made, out, types[kind % 3], (fixture_layout)((kind / 3 + 1) % LAYOUTS));
            fixture_tensor_make(&cpu, out, types[kind % 3], LAYOUT_DENSE);
            dukd_upscale_args a = {.lr = &lr.there, .out = &made.there, .scale = (int32_t)v[4]};
            if (o->cuda->upscale(o->cuda, &a, &error) != DUKD_OK) fail_msg("upscale: %s", error.message);
            cuda_map_fetch(o, &made);
            a = (dukd_upscale_args){.lr = &lr.tensor, .out = &cpu.tensor, .scale = (int32_t)v[4]};
            assert_int_equal(o->cpu->upscale(o->cpu, &a, NULL), DUKD_OK);
            cuda_maps_same(&made, &cpu, "upscale");
            cuda_ops_end(o);
            cuda_map_free(o, &lr);
            cuda_map_free(o, &made);
            fixture_tensor_free(&cpu);
        }
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(affinity_of_any_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(affinity_of_any_type_and_layout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(affinity_of_the_same_and_of_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(affinity_shows_nan_and_inf, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contrast_of_any_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contrast_of_any_type_and_layout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contrast_shows_nan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_scale_multiplies_gradients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_was_announced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(upscale_has_the_cpus_bits, set_up, tear_down),
        /* the longest last: run_mutants stops at the first failure */
        cmocka_unit_test_setup_teardown(affinity_of_many_images, set_up, tear_down),
    };
    (void)cuda_open_plugin(argc, argv); /* a skip where CUDA cannot be used */
    library = argv[1];
    return cmocka_run_group_tests_name("cuda_features", tests, NULL, NULL);
}
