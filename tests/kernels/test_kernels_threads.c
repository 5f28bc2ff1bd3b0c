/* Threads: the same bits for any number of them, of OpenMP's and of the host's; small tensors do not pay for
 * threads; workspaces come from the host and go back to it. */
#include "cpu/cpu_parallel.h"
#include "kernel_host.h"
#include "kernel_tensor.h"
#include "support/fill.h"

#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* Everything a session asks of a backend, on tensors large enough for several threads: results as one block
 * of bytes. */
enum { N = 5, C = 3, HR = 90, LR = 30, SCALE = 3, OUT = LR / SCALE };

typedef struct {
    double sum[2];
    float grad[N * C * HR * HR];
    uint16_t zi_plain[N * C * LR * LR], zi_augmented[N * C * LR * LR];
    float zo_plain[N * C * HR / SCALE * HR / SCALE], zo_augmented[N * C * HR / SCALE * HR / SCALE];
    int32_t row[N], col[N];
} results;

static float value[N * C * HR * HR], target[2][N * C * HR * HR];
static uint16_t hr[N * C * 4 * HR * 4 * HR];

static dukd_tensor tensor_of(void *data, int64_t shape[4], kernel_type type) {
    const dukd_dtype types[KERNEL_TYPES] = {
        {DUKD_TYPE_FLOAT, 32, 1}, {DUKD_TYPE_FLOAT, 16, 1}, {DUKD_TYPE_BFLOAT, 16, 1}};
    return (dukd_tensor){data, {DUKD_DEVICE_CPU, 0}, 4, types[type], shape, NULL, 0};
}

static void run_all(dukd_backend *b, results *out) {
    memset(out, 0, sizeof *out);
    int64_t hr_shape[4] = {N, C, HR, HR}, big[4] = {N, C, 4 * HR, 4 * HR}, lr[4] = {N, C, LR, LR};
    int64_t down[4] = {N, C, HR / SCALE, HR / SCALE};
    const uint32_t augment[N] = {0, DUKD_AUGMENT_TRANSPOSE, DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_INVERT, 7, 15};
    dukd_tensor v = tensor_of(value, hr_shape, KERNEL_F32), g = tensor_of(out->grad, hr_shape, KERNEL_F32);
    dukd_tensor y[2] = {tensor_of(target[0], hr_shape, KERNEL_F32),
                        tensor_of(target[1], hr_shape, KERNEL_F32)};
    dukd_l1_args l1 = {.value = &v,
                       .grad = &g,
                       .target = {&y[0], &y[1]},
                       .factor = {1e-3, 2e-3},
                       .n_targets = 2,
                       .back = augment};
    assert_int_equal(b->l1(b, &l1, NULL), DUKD_OK);
    memcpy(out->sum, l1.sum, sizeof out->sum);

    dukd_tensor big_hr = tensor_of(hr, big, KERNEL_BF16), zp = tensor_of(out->zi_plain, lr, KERNEL_BF16);
    dukd_tensor za = tensor_of(out->zi_augmented, lr, KERNEL_BF16);
    const int32_t image[N] = {4, 0, 3, 1, 2}, row[N] = {0, 330, 7, 100, 55}, col[N] = {330, 0, 64, 101, 202};
    const dukd_zoom_in_args zi = {&big_hr, &zp, &za, image, row, col, augment};
    assert_int_equal(b->zoom_in(b, &zi, NULL), DUKD_OK);

    dukd_tensor dp = tensor_of(out->zo_plain, down, KERNEL_F32),
                da = tensor_of(out->zo_augmented, down, KERNEL_F32);
    const dukd_zoom_out_args zo = {&v, &dp, &da, augment, SCALE, 0};
    assert_int_equal(b->zoom_out(b, &zo, NULL), DUKD_OK);

    const dukd_hardest_args h = {&v, &y[0], LR, LR, out->row, out->col};
    assert_int_equal(b->hardest(b, &h, NULL), DUKD_OK);
}

static void fill_all(void) {
    dukd_fill_f32(value, N * C * HR * HR, 1, 0.0f, 1.0f);
    dukd_fill_f32(target[0], N * C * HR * HR, 2, 0.0f, 1.0f);
    dukd_fill_f32(target[1], N * C * HR * HR, 3, 0.0f, 1.0f);
    for (size_t i = 0; i < sizeof hr / sizeof hr[0]; i++) {
        hr[i] = (uint16_t)(0x3c00u + dukd_fill_bits(4, i) % 0x380u);
    }
}

static results *new_results(void) {
    results *r = malloc(sizeof *r);
    assert_non_null(r);
    return r;
}

/* The reference on one thread is what all others are held against. */
static void same_bits_on_the_hosts_threads(void **state) {
    (void)state;
    const uint32_t threads[] = {1, 2, 3, 8};
    fill_all();
    results *want = new_results(), *got = new_results();
    kernel_host one;
    kernel_host_make(&one, 1);
    dukd_backend *b = kernel_backend("ref", &one.host);
    run_all(b, want);
    assert_int_equal(one.regions, 0);
    b->destroy(b);
    for (int level = 0; level < KERNEL_LEVELS; level++) {
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            kernel_host host;
            kernel_host_make(&host, threads[t]);
            b = kernel_backend(kernel_levels[level], &host.host);
            if (b == NULL) continue;
            for (int repeat = 0; repeat < 3; repeat++) {
                run_all(b, got);
                assert_memory_equal(got, want, sizeof *got);
            }
            b->destroy(b);
            assert_int_equal(host.allocated, host.freed);
            assert_false(host.bad_worker);
            if (threads[t] > 1) {
                assert_true(host.regions >= 3);
                assert_true(host.tasks > host.regions);
            } else {
                assert_int_equal(host.regions, 0);
            }
        }
    }
    free(want);
    free(got);
}

static void same_bits_on_openmp_threads(void **state) {
    (void)state;
#ifdef _OPENMP
    if (UNDER_TSAN) {
        print_message("skipped: OpenMP's runtime is not built for ThreadSanitizer\n");
        skip();
    }
    const int threads[] = {1, 2, 3, 8};
    fill_all();
    results *want = new_results(), *got = new_results();
    kernel_host one;
    kernel_host_make(&one, 1);
    dukd_backend *b = kernel_backend("ref", &one.host);
    run_all(b, want);
    b->destroy(b);
    const int before = omp_get_max_threads();
    for (int level = 0; level < KERNEL_LEVELS; level++) {
        b = kernel_backend(kernel_levels[level], NULL);
        for (size_t t = 0; b != NULL && t < sizeof threads / sizeof threads[0]; t++) {
            omp_set_num_threads(threads[t]);
            run_all(b, got);
            assert_memory_equal(got, want, sizeof *got);
        }
        if (b != NULL) b->destroy(b);
    }
    omp_set_num_threads(before);
    free(want);
    free(got);
#else
    print_message("skipped: built without OpenMP\n");
    skip();
#endif
}

static void small_tensors_use_no_threads(void **state) {
    (void)state;
    kernel_host host;
    kernel_host_make(&host, 4);
    dukd_backend *b = kernel_backend(NULL, &host.host);
    int64_t shape[4] = {2, 3, 48, 48}, down[4] = {2, 3, 16, 16};
    results *r = new_results();
    dukd_tensor v = tensor_of(value, shape, KERNEL_F32), g = tensor_of(r->grad, shape, KERNEL_F32);
    dukd_tensor y = tensor_of(target[0], shape, KERNEL_F32), d = tensor_of(r->zo_plain, down, KERNEL_F32);
    dukd_l1_args l1 = {.value = &v, .grad = &g, .target = {&y}, .factor = {1.0}, .n_targets = 1};
    assert_int_equal(b->l1(b, &l1, NULL), DUKD_OK);
    l1.n_targets = 0;
    assert_int_equal(b->l1(b, &l1, NULL), DUKD_OK);
    const dukd_zoom_out_args zo = {.lr = &v, .plain = &d, .scale = 3};
    assert_int_equal(b->zoom_out(b, &zo, NULL), DUKD_OK);
    const dukd_hardest_args h = {&v, &y, 16, 16, r->row, r->col};
    assert_int_equal(b->hardest(b, &h, NULL), DUKD_OK);
    assert_int_equal(host.regions, 0);
    b->destroy(b);
    free(r);
}

/* Two backends at once, each on its own tensors. */
typedef struct {
    dukd_backend *b;
    results *r;
} session;

static void run_session(void *ctx, uint32_t i, uint32_t worker) {
    session *s = (session *)ctx + i;
    (void)worker;
    for (int repeat = 0; repeat < 3; repeat++) {
        run_all(s->b, s->r);
    }
}

static void backends_are_independent(void **state) {
    (void)state;
    fill_all();
    kernel_host outer, inner[2];
    kernel_host_make(&outer, 2);
    session s[2];
    for (int i = 0; i < 2; i++) {
        kernel_host_make(&inner[i], 2);
        s[i] = (session){kernel_backend(NULL, &inner[i].host), new_results()};
    }
    outer.host.parallel_for(&outer, 2, run_session, s);
    assert_memory_equal(s[0].r, s[1].r, sizeof *s[0].r);
    for (int i = 0; i < 2; i++) {
        s[i].b->destroy(s[i].b);
        assert_int_equal(inner[i].allocated, inner[i].freed);
        free(s[i].r);
    }
}

static void memory_runs_out(void **state) {
    (void)state;
    fill_all();
    results *r = new_results();
    int64_t shape[4] = {N, C, HR, HR}, down[4] = {N, C, HR / SCALE, HR / SCALE}, many[4] = {300, 1, 1, 1};
    dukd_tensor v = tensor_of(value, shape, KERNEL_F32), y = tensor_of(target[0], shape, KERNEL_F32);
    dukd_tensor d = tensor_of(r->zo_plain, down, KERNEL_F32);
    dukd_tensor mv = tensor_of(value, many, KERNEL_F32), my = tensor_of(target[0], many, KERNEL_F32);
    for (int op = 0; op < 3; op++) {
        kernel_host host;
        kernel_host_make(&host, 2);
        host.fail_at = 0;
        dukd_backend *b = kernel_backend(NULL, &host.host);
        const dukd_zoom_out_args zo = {.lr = &v, .plain = &d, .scale = SCALE};
        const dukd_hardest_args h = {&v, &y, LR, LR, r->row, r->col};
        dukd_l1_args l1 = {
            .value = &mv, .target = {&my}, .n_targets = 1}; /* more partial sums than fit on the stack */
        for (int attempt = 0; attempt < 2; attempt++) {
            dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
            const int32_t status = op == 0   ? b->zoom_out(b, &zo, &error)
                                   : op == 1 ? b->hardest(b, &h, &error)
                                             : b->l1(b, &l1, &error);
            /* once it fails, then it goes on */
            assert_int_equal(status, attempt == 0 ? DUKD_E_MEMORY : DUKD_OK);
            assert_int_equal(error.code, attempt == 0 ? DUKD_E_MEMORY : 0);
            if (attempt == 0) assert_non_null(strstr(error.message, "out of memory"));
            host.fail_at = -1;
        }
        b->destroy(b);
        assert_int_equal(host.allocated, 2); /* the one that failed too */
        assert_int_equal(host.freed, 1);
    }
    free(r);
}

static void levels_and_description(void **state) {
    (void)state;
    dukd_backend *b = NULL;
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    assert_int_equal(dukd_backend_cpu_create(&b, NULL, "avx9000", &error), DUKD_E_UNSUPPORTED);
    assert_null(b);
    assert_int_equal(error.code, DUKD_E_UNSUPPORTED);
    assert_true(strlen(error.message) > 0);
    assert_int_equal(dukd_backend_cpu_create(&b, NULL, "avx9000", NULL), DUKD_E_UNSUPPORTED);
    assert_int_equal(dukd_backend_cpu_create(&b, NULL, NULL, NULL), DUKD_OK);
    assert_string_equal(b->name, "cpu");
    b->destroy(b);
    dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE, .usable = -1};
    dukd_backend_cpu_describe(&info);
    assert_int_equal(info.struct_size, DUKD_BACKEND_INFO_SIZE);
    assert_int_equal(info.usable, 1);
    assert_int_equal(info.device_type, DUKD_DEVICE_CPU);
    assert_string_equal(info.name, "cpu");
    assert_true(strlen(info.detail) > 0);
}

/* Called from within a parallel region of the program's, it adds none of its own. */
static void no_threads_within_threads(void **state) {
    (void)state;
#ifdef _OPENMP
    if (UNDER_TSAN) skip(); /* which does not see how OpenMP's threads wait for each other */
    const int before = omp_get_max_threads(), levels = omp_get_max_active_levels();
    int inside = 0;
    omp_set_num_threads(2);
    omp_set_max_active_levels(2); /* where nothing else would hold it back */
    assert_int_equal(dukd_parallel_own_threads(), 2);
#pragma omp parallel num_threads(2) reduction(+ : inside)
    inside += (int)dukd_parallel_own_threads();
    omp_set_max_active_levels(levels);
    omp_set_num_threads(before);
    assert_int_equal(inside, 2); /* 1 in each */
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_on_the_hosts_threads), cmocka_unit_test(same_bits_on_openmp_threads),
        cmocka_unit_test(small_tensors_use_no_threads),   cmocka_unit_test(no_threads_within_threads),
        cmocka_unit_test(backends_are_independent),       cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(levels_and_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
