/* Operation affinity: FAKD's loss and gradient against a literal computation in double, and by finite differences; every level
 * and oneDNN; any layout and type; zero columns, NaN; the memory that it takes.
 *
 * Tolerances: the sum 2e-6 of its own size (dots of f32, summed in f64); the gradient 5e-6 of its largest element, which holds as
 * long as no |A_S - A_T| off the diagonal is within rounding of 0; the cases are fixed, and in none of them is one. Levels among
 * themselves: the same bits. */
#include "kernel_host.h"
#include "kernel_tensor.h"
#include "support/affinity_literal.h"
#include "support/fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- the literal computation */

static double get(const void *tensor, int64_t n, int64_t c, int64_t h, int64_t w) {
    return kernel_tensor_get(tensor, n, c, h, w);
}

static double literal(const kernel_tensor *s, const kernel_tensor *t, double factor, double *grad,
                      double *size) {
    const affinity_map student = {s->shape, s, get}, teacher = {t->shape, t, get};
    return affinity_literal(&student, &teacher, factor, grad, size);
}

/* ---------------------------------------------------------------- the backends: the levels, and oneDNN */

#define ALL (KERNEL_LEVELS + 1)
static dukd_backend *all[ALL];
static const char *const names[ALL] = {"ref", "avx2", "avx512", "oneDNN"};

/* With oneDNN's products, or NULL where there are none (which is printed). */
static dukd_backend *onednn_backend(const dukd_host *host) {
#ifdef DUKD_ONEDNN_MODULE
    char detail[256];
    dukd_backend *b = kernel_backend(NULL, host);
    dukd_backend_cpu_open_products(b, DUKD_ONEDNN_MODULE, detail);
    if (strncmp(detail, "oneDNN", 6) == 0) return b;
    print_message("SKIP: oneDNN: %s\n", detail);
    b->destroy(b);
#else
    (void)host;
    print_message("SKIP: oneDNN: this build has no module of it\n");
#endif
    return NULL;
}

static int make_backends(void **state) {
    if (kernel_backends_make(state) != 0) return 1;
    memcpy(all, kernel_backends, sizeof kernel_backends);
    all[KERNEL_LEVELS] = onednn_backend(NULL);
    return 0;
}

static int free_backends(void **state) {
    if (all[KERNEL_LEVELS] != NULL) all[KERNEL_LEVELS]->destroy(all[KERNEL_LEVELS]);
    return kernel_backends_free(state);
}

/* ---------------------------------------------------------------- cases */

typedef struct {
    int64_t n, cs, ct, h, w;
    kernel_type types[3]; /* student, teacher, gradient */
    kernel_layout layouts[3];
    bool grad;
    uint64_t seed;
} affinity_case;

static void run(dukd_backend *b, dukd_affinity_args *a) {
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    if (b->affinity(b, a, &error) != DUKD_OK) fail_msg("affinity: %s", error.message);
}

static double gradient_error(const kernel_tensor *got, const double *want) {
    double most = 0;
    for (int64_t n = 0; n < got->shape[0]; n++)
        for (int64_t c = 0; c < got->shape[1]; c++)
            for (int64_t h = 0; h < got->shape[2]; h++)
                for (int64_t w = 0; w < got->shape[3]; w++) {
                    const double d = fabs(kernel_tensor_get(got, n, c, h, w) - *want);
                    if (!(d <= most)) most = isnan(d) ? INFINITY : d;
                    want++;
                }
    return most;
}

static void run_case(const affinity_case *k) {
    const double rounding[KERNEL_TYPES] = {5e-6, 0x1p-10, 0x1p-7};
    const int64_t student_shape[4] = {k->n, k->cs, k->h, k->w}, teacher_shape[4] = {k->n, k->ct, k->h, k->w};
    const double factor = 1.0 / (double)(k->h * k->w);
    kernel_tensor s, t, first = {.bytes = 0};
    kernel_tensor_make(&s, k->types[0], student_shape, k->layouts[0], DUKD_GUARD_END);
    kernel_tensor_make(&t, k->types[1], teacher_shape, k->layouts[1], DUKD_GUARD_START);
    kernel_tensor_fill(&s, k->seed, -1.0, 1.0, 0.0);
    kernel_tensor_fill(&t, k->seed + 1, -1.0, 1.0, 0.0);
    double *want = malloc((size_t)(k->n * k->cs * k->h * k->w) * sizeof *want), size;
    assert_non_null(want);
    const double sum = literal(&s, &t, factor, want, &size);
    for (int i = 0; i < ALL; i++) {
        kernel_tensor grad;
        if (all[i] == NULL) continue;
        kernel_tensor_make(&grad, k->types[2], student_shape, k->layouts[2],
                           (k->seed & 1) != 0 ? DUKD_GUARD_END : DUKD_GUARD_START);
        dukd_affinity_args a = {
            .student = &s.t, .teacher = &t.t, .grad = k->grad ? &grad.t : NULL, .factor = factor};
        run(all[i], &a);
        assert_true(kernel_tensor_margins_whole(&grad));
        if (!(fabs(a.sum - sum) <= 2e-6 * sum + 1e-6))
            fail_msg("%s: the sum is %.12g, expected %.12g", names[i], a.sum, sum);
        const double most = k->grad ? gradient_error(&grad, want) : 0;
        if (k->grad && !(most <= rounding[k->types[2]] * size))
            fail_msg("%s, %d x %d, %d and %d channels: the gradient is off by %g of %g", names[i], (int)k->h,
                     (int)k->w, (int)k->cs, (int)k->ct, most, size);
        if (i > 0 && i < KERNEL_LEVELS && k->grad) assert_true(kernel_tensor_same(&grad, &first));
        if (i == 0) {
            first = grad;
        } else {
            kernel_tensor_free(&grad);
        }
    }
    kernel_tensor_free(&first);
    kernel_tensor_free(&s);
    kernel_tensor_free(&t);
    free(want);
}

/* One block and several, blocks and channels that are no multiples of anything, one pixel, one channel. */
static void sizes(void **state) {
    (void)state;
    static const int64_t shapes[][5] = {{2, 8, 16, 12, 12},  {1, 8, 8, 9, 14},  {3, 1, 1, 1, 1},
                                        {1, 1, 3, 2, 3},     {2, 5, 7, 1, 17},  {1, 64, 64, 16, 16},
                                        {2, 13, 29, 17, 16}, {1, 6, 4, 23, 23}, {1, 33, 20, 31, 27}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t *v = shapes[i];
        run_case(&(affinity_case){
            .n = v[0], .cs = v[1], .ct = v[2], .h = v[3], .w = v[4], .grad = true, .seed = 10 + i});
        run_case(&(affinity_case){.n = v[0], .cs = v[1], .ct = v[2], .h = v[3], .w = v[4], .seed = 10 + i});
    }
}

static void layouts_and_types(void **state) {
    (void)state;
    for (int i = 0; i < KERNEL_LAYOUTS * KERNEL_TYPES; i++) {
        affinity_case k = {.n = 2, .cs = 6, .ct = 5, .h = 7, .w = 9, .grad = true, .seed = 100 + (uint64_t)i};
        k.layouts[0] = (kernel_layout)(i % KERNEL_LAYOUTS);
        k.layouts[1] = (kernel_layout)((i + 3) % KERNEL_LAYOUTS);
        k.layouts[2] = (kernel_layout)((i + 1) % KERNEL_OUTPUTS);
        k.types[0] = (kernel_type)(i / KERNEL_LAYOUTS);
        k.types[1] = (kernel_type)((i + i / KERNEL_LAYOUTS) % KERNEL_TYPES);
        k.types[2] = i % 2 == 0 ? KERNEL_F32 : k.types[0];
        if (k.layouts[0] == KERNEL_REPEATED || k.layouts[1] == KERNEL_REPEATED)
            continue; /* A is 1 everywhere: all signs are noise */
        run_case(&k);
    }
}

/* The sum moves with an element as the gradient says. */
static void finite_differences(void **state) {
    (void)state;
    const int64_t shape[4] = {1, 4, 5, 6};
    kernel_tensor s, t, grad;
    kernel_tensor_make(&s, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_make(&t, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_make(&grad, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_fill(&s, 7, -1.0, 1.0, 0x1p-10); /* a grid on which the step is exact */
    kernel_tensor_fill(&t, 8, -1.0, 1.0, 0x1p-10);
    for (int i = 0; i < ALL; i++) {
        if (all[i] == NULL) continue;
        dukd_affinity_args a = {.student = &s.t, .teacher = &t.t, .grad = &grad.t, .factor = 1};
        run(all[i], &a);
        for (int64_t e = 0; e < 4 * 30; e++) {
            const int64_t c = e / 30, h = e / 6 % 5, w = e % 6;
            const double at = kernel_tensor_get(&s, 0, c, h, w), step = 0x1p-18;
            double size;
            kernel_tensor_set(&s, 0, c, h, w, at + step);
            const double up = literal(&s, &t, 1, NULL, &size);
            kernel_tensor_set(&s, 0, c, h, w, at - step);
            const double down = literal(&s, &t, 1, NULL, &size);
            kernel_tensor_set(&s, 0, c, h, w, at);
            assert_true(fabs((up - down) / (2 * step) - kernel_tensor_get(&grad, 0, c, h, w)) < 1e-3);
        }
    }
    kernel_tensor_free(&s);
    kernel_tensor_free(&t);
    kernel_tensor_free(&grad);
}

/* A map that is its teacher's: no loss, no gradient, to the bit. A column of zeros: none for itself, and no NaN anywhere. */
static void zeros(void **state) {
    (void)state;
    const int64_t shape[4] = {1, 8, 17, 17};
    kernel_tensor s, grad;
    kernel_tensor_make(&s, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_make(&grad, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_fill(&s, 5, -1.0, 1.0, 0.0);
    for (int i = 0; i < ALL; i++) {
        if (all[i] == NULL) continue;
        dukd_affinity_args a = {.student = &s.t, .teacher = &s.t, .grad = &grad.t, .factor = 1};
        run(all[i], &a);
        assert_true(a.sum == 0);
        for (int64_t e = 0; e < 8 * 289; e++)
            assert_true(kernel_tensor_get(&grad, 0, e / 289, e / 17 % 17, e % 17) == 0);
    }
    kernel_tensor t;
    kernel_tensor_make(&t, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_fill(&t, 6, -1.0, 1.0, 0.0);
    for (int64_t c = 0; c < 8; c++) {
        kernel_tensor_set(&s, 0, c, 3, 4, 0);
        kernel_tensor_set(&t, 0, c, 9, 1, 0);
    }
    double *want = malloc(8 * 289 * sizeof *want), size;
    assert_non_null(want);
    const double sum = literal(&s, &t, 1, want, &size);
    for (int i = 0; i < ALL; i++) {
        if (all[i] == NULL) continue;
        dukd_affinity_args a = {.student = &s.t, .teacher = &t.t, .grad = &grad.t, .factor = 1};
        run(all[i], &a);
        assert_true(fabs(a.sum - sum) <= 2e-6 * sum);
        assert_true(gradient_error(&grad, want) <= 5e-6 * size);
        for (int64_t c = 0; c < 8; c++) assert_true(kernel_tensor_get(&grad, 0, c, 3, 4) == 0);
    }
    free(want);
    kernel_tensor_free(&s);
    kernel_tensor_free(&t);
    kernel_tensor_free(&grad);
}

static void nan_and_inf_show(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 3, 17, 17};
    for (int which = 0; which < 4; which++) {
        kernel_tensor f[2], grad;
        for (int i = 0; i < 2; i++) {
            kernel_tensor_make(&f[i], KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
            kernel_tensor_fill(&f[i], 50 + (uint64_t)i, -1.0, 1.0, 0.0);
        }
        kernel_tensor_make(&grad, KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
        kernel_tensor_set(&f[which % 2], 1, 2, 16, 16, which < 2 ? (double)NAN : INFINITY);
        for (int i = 0; i < ALL; i++) {
            if (all[i] == NULL) continue;
            dukd_affinity_args a = {.student = &f[0].t, .teacher = &f[1].t, .grad = &grad.t, .factor = 1};
            run(all[i], &a);
            assert_true(isnan(a.sum));
            /* every pixel of that image is compared with the one, none of the other image is */
            for (int64_t e = 0; e < 289; e++) {
                assert_true(isnan(kernel_tensor_get(&grad, 1, 0, e / 17, e % 17)));
                assert_true(isfinite(kernel_tensor_get(&grad, 0, 0, e / 17, e % 17)));
            }
        }
        kernel_tensor_free(&f[0]);
        kernel_tensor_free(&f[1]);
        kernel_tensor_free(&grad);
    }
}

/* ---------------------------------------------------------------- threads and memory */

static void make_maps(kernel_tensor f[3], const int64_t shape[4]) {
    for (int i = 0; i < 3; i++) kernel_tensor_make(&f[i], KERNEL_F32, shape, KERNEL_DENSE, DUKD_GUARD_END);
    kernel_tensor_fill(&f[0], 1, -1.0, 1.0, 0.0);
    kernel_tensor_fill(&f[1], 2, -1.0, 1.0, 0.0);
}

static void free_maps(kernel_tensor f[3]) {
    for (int i = 0; i < 3; i++) kernel_tensor_free(&f[i]);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    const int64_t shape[4] = {2, 12, 41, 37};
    kernel_tensor one[3], many[3];
    make_maps(one, shape);
    make_maps(many, shape);
    for (int own = 0; own < 2; own++) {
        double sum = 0;
        for (uint32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
            kernel_host host;
            kernel_host_make(&host, threads);
            dukd_backend *b = own ? kernel_backend(NULL, &host.host) : onednn_backend(&host.host);
            if (b == NULL) break;
            kernel_tensor *f = threads == 1 ? one : many;
            dukd_affinity_args a = {.student = &f[0].t, .teacher = &f[1].t, .grad = &f[2].t, .factor = 1};
            run(b, &a);
            b->destroy(b);
            assert_false(host.bad_worker);
            assert_int_equal(host.allocated, host.freed);
            if (threads == 1) {
                sum = a.sum;
                continue;
            }
            assert_true(host.tasks > 1); /* threads were used */
            assert_memory_equal(&a.sum, &sum, sizeof sum);
            assert_true(kernel_tensor_same(&one[2], &many[2]));
        }
    }
    free_maps(one);
    free_maps(many);
}

/* Two 256 x 256 maps of 64 channels, the gradient included, in less than 64 MiB beside themselves, as the host counts. */
static void memory(void **state) {
    (void)state;
    const int64_t shape[4] = {1, 64, 256, 256}, limit = 64 * 1024 * 1024;
    kernel_tensor f[3];
    kernel_host host;
    kernel_host_make(&host, 2);
    dukd_backend *b = onednn_backend(&host.host);
    if (b == NULL) b = kernel_backend(NULL, &host.host);
    make_maps(f, shape);
    dukd_affinity_args a = {.student = &f[0].t, .teacher = &f[1].t, .grad = &f[2].t, .factor = 1};
    run(b, &a);
    b->destroy(b);
    free_maps(f);
    print_message("two maps of 64 x 256 x 256: %.1f MiB\n", (double)host.bytes / 1048576);
    assert_true(host.bytes > 3 * 64 * 65536 * 4 && host.bytes < limit);
    assert_int_equal(host.allocated, host.freed);
}

static void no_memory_is_said(void **state) {
    (void)state;
    const int64_t shape[4] = {1, 3, 4, 4};
    kernel_tensor f[3];
    kernel_host host;
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    kernel_host_make(&host, 0);
    host.fail_at = 0;
    dukd_backend *b = kernel_backend("ref", &host.host);
    make_maps(f, shape);
    dukd_affinity_args a = {.student = &f[0].t, .teacher = &f[1].t, .grad = &f[2].t, .factor = 1};
    assert_int_equal(b->affinity(b, &a, &error), DUKD_E_MEMORY);
    assert_non_null(strstr(error.message, "memory"));
    b->destroy(b);
    free_maps(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(layouts_and_types),
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(zeros),
        cmocka_unit_test(nan_and_inf_show),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(memory),
        cmocka_unit_test(no_memory_is_said),
    };
    return cmocka_run_group_tests(tests, make_backends, free_backends);
}
