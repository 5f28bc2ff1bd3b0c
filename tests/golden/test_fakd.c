/* FAKD's affinity against fakd.safetensors, computed by PyTorch: loss and gradient, by the own kernels and by oneDNN.
 * Tolerances as the golden files' README has them: 3e-7 absolute; 5e-6 of the gradient's largest element. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "support/golden.h"

static dukd_tensor dense(const dukd_golden_tensor *t, const void *data, int64_t shape[4]) {
    assert_int_equal(t->ndim, 4);
    memcpy(shape, t->dims, 4 * sizeof *shape);
    dukd_tensor out = {
        .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = {DUKD_TYPE_FLOAT, 32, 1}, .shape = shape};
    memcpy(&out.data, &data, sizeof data); /* only read */
    return out;
}

static void check(dukd_backend *b, dukd_golden *g, int which) {
    const dukd_golden_tensor fs = dukd_golden_f32(g, "fs.%d", which), ft = dukd_golden_f32(g, "ft.%d", which);
    const dukd_golden_tensor loss = dukd_golden_f64(g, "loss.%d", which),
                             dfs = dukd_golden_f32(g, "dfs.%d", which);
    int64_t shapes[3][4];
    float *got = malloc((size_t)fs.count * sizeof *got);
    assert_non_null(got);
    const dukd_tensor student = dense(&fs, fs.data, shapes[0]), teacher = dense(&ft, ft.data, shapes[1]);
    const dukd_tensor grad = dense(&dfs, got, shapes[2]);
    const double pixels = (double)(shapes[0][2] * shapes[0][3]),
                 count = (double)shapes[0][0] * pixels * pixels;
    dukd_affinity_args a = {.student = &student, .teacher = &teacher, .grad = &grad, .factor = 1 / count};
    assert_int_equal(b->affinity(b, &a, NULL), DUKD_OK);
    assert_true(fabs(a.sum / count - *(const double *)loss.data) <= 3e-7);
    double most = 0, largest = 0;
    for (int64_t i = 0; i < dfs.count; i++) {
        const double want = (double)((const float *)dfs.data)[i];
        most = fmax(most, fabs((double)got[i] - want));
        largest = fmax(largest, fabs(want));
    }
    assert_true(largest > 0 && most <= 5e-6 * largest);
    free(got);
}

static void by_level(const char *level) {
    dukd_golden *g = dukd_golden_open("fakd");
    dukd_backend *b = NULL;
    if (dukd_backend_cpu_create(&b, NULL, level, NULL) != DUKD_OK) {
        dukd_golden_close(g);
        print_message("SKIP: this processor does not have %s\n", level);
        skip();
    }
    for (int i = 0; i < 2; i++) check(b, g, i);
    b->destroy(b);
    dukd_golden_close(g);
}

static void reference(void **state) {
    (void)state;
    by_level("ref");
}
static void avx2(void **state) {
    (void)state;
    by_level("avx2");
}
static void avx512(void **state) {
    (void)state;
    by_level("avx512");
}

static void onednn(void **state) {
    (void)state;
#ifdef DUKD_ONEDNN_MODULE
    dukd_golden *g = dukd_golden_open("fakd");
    dukd_backend *b = NULL;
    char detail[256];
    assert_int_equal(dukd_backend_cpu_create(&b, NULL, NULL, NULL), DUKD_OK);
    dukd_backend_cpu_open_products(b, DUKD_ONEDNN_MODULE, detail);
    if (strncmp(detail, "oneDNN", 6) != 0) fail_msg("%s", detail);
    for (int i = 0; i < 2; i++) check(b, g, i);
    b->destroy(b);
    dukd_golden_close(g);
#else
    print_message("SKIP: this build has no module of oneDNN\n");
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference), cmocka_unit_test(avx2),
                                       cmocka_unit_test(avx512), cmocka_unit_test(onednn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
