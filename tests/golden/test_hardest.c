/* The rule of the hardest crop against hardest.safetensors, through the ABI: y is the error map and the
 * teacher answers zeros, so that |T(x) - y| is the map. Some maps tie; the first window in row order wins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dukd_plugin.h"
#include "support/golden.h"

static const int32_t scales[] = {2, 3, 3, 4, 2};

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    const int32_t *scale = ctx;
    (void)tap, (void)why;
    memcpy(out, in, 4 * sizeof *out);
    out[2] *= *scale;
    out[3] *= *scale;
    return 0;
}

static dukd_tensor dense(float *data, int64_t *shape) {
    return (dukd_tensor){.data = data,
                         .device = {DUKD_DEVICE_CPU, 0},
                         .ndim = 4,
                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                         .shape = shape};
}

/* `images` copies of the map, each with its own sign: |.| is the same. */
static void hardest_of(dukd_golden *g, int which, int64_t images) {
    static const char *const networks[] = {"student", "teacher"};
    const dukd_golden_tensor map = dukd_golden_f32(g, "err.%d", which),
                             window = dukd_golden_i32(g, "window.%d", which),
                             offset = dukd_golden_i32(g, "offset.%d", which);
    const int32_t *size = window.data, *want = offset.data;
    int32_t scale = scales[which];
    int64_t lr_shape[4] = {images, 1, size[0], size[1]}, hr_shape[4] = {images, 1, map.dims[0], map.dims[1]};
    assert_int_equal(size[0] * scale, map.dims[0]);
    assert_int_equal(size[1] * scale, map.dims[1]);
    const char *const off[] = {"0"}, *const hardest[] = {"hardest"}, *const dukd[] = {"dukd"};
    const dukd_option turn = {.struct_size = DUKD_OPTION_SIZE,
                              .kind = DUKD_VALUE_SCALAR,
                              .key = "train.augment.rot90",
                              .values = off,
                              .n_values = 1};
    const dukd_option rule = {.struct_size = DUKD_OPTION_SIZE,
                              .kind = DUKD_VALUE_SCALAR,
                              .key = "train.zoom_in",
                              .values = hardest,
                              .n_values = 1};
    const dukd_option terms = {.struct_size = DUKD_OPTION_SIZE,
                               .kind = DUKD_VALUE_SCALAR,
                               .key = "train.terms",
                               .values = dukd,
                               .n_values = 1};
    const dukd_option *const options[] = {&turn, &rule, &terms};
    const dukd_host host = {.struct_size = DUKD_HOST_SIZE,
                            .n_networks = 2,
                            .ctx = &scale,
                            .networks = networks,
                            .tap_shape = tap_shape};
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &host,
                                        .options = options,
                                        .n_options = 3,
                                        .micro_count = 1,
                                        .lr_shape = {images, 1, size[0], size[1]},
                                        .scale = scale,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {DUKD_DEVICE_CPU, 0}};
    const dukd_plugin *p = dukd_get_plugin_draft(DUKD_ABI_DRAFT);
    dukd_session *session = NULL;
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    if (p->create_session(&params, &session, &error) != DUKD_OK) fail_msg("%s", error.message);
    float *x = calloc((size_t)(images * map.count), sizeof *x),
          *y = calloc((size_t)(images * map.count), sizeof *y),
          *zeros = calloc((size_t)(images * map.count), sizeof *zeros);
    assert_true(x != NULL && y != NULL && zeros != NULL);
    for (int64_t i = 0; i < images * map.count; i++) {
        const float e = ((const float *)map.data)[i % map.count];
        y[i] = i / map.count % 2 == 0 ? e : -e;
    }
    const dukd_tensor lr = dense(x, lr_shape), hr = dense(y, hr_shape), answer = dense(zeros, hr_shape);
    const dukd_step step = {
        .struct_size = DUKD_STEP_SIZE, .iteration = 1, .micro_count = 1, .lr = &lr, .hr = &hr};
    const dukd_tensor *const values[] = {&answer};
    const dukd_submit submit = {
        .struct_size = DUKD_SUBMIT_SIZE, .n_taps = 1, .values = values, .grad_scale = 1};
    const dukd_pass *pass = NULL;
    assert_int_equal(p->begin_step(session, &step, &error), DUKD_OK);
    assert_int_equal(p->next_pass(session, &pass, &error), DUKD_OK);
    assert_int_equal(pass->n_taps, 1);
    assert_int_equal(pass->flags & DUKD_PASS_BACKWARD, 0);
    assert_int_equal(p->submit_pass(session, &submit, &error), DUKD_OK);
    do {
        assert_int_equal(p->next_pass(session, &pass, &error), DUKD_OK);
    } while (pass->inputs[0]->origin->kind != DUKD_ORIGIN_HR);
    for (int64_t b = 0; b < images; b++) {
        assert_int_equal(pass->inputs[0]->origin->rows[b], want[0]);
        assert_int_equal(pass->inputs[0]->origin->cols[b], want[1]);
    }
    p->destroy_session(session);
    free(x);
    free(y);
    free(zeros);
}

static void the_first_of_the_hardest_windows_wins(void **state) {
    (void)state;
    dukd_golden *g = dukd_golden_open("hardest");
    for (int which = 0; which < 5; which++) {
        hardest_of(g, which, 1);
        hardest_of(g, which, 3);
    }
    assert_false(dukd_golden_has(g, "err.5"));
    dukd_golden_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_first_of_the_hardest_windows_wins)};
    return cmocka_run_group_tests_name("hardest", tests, NULL, NULL);
}
