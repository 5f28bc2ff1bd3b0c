/* Official mode against the recorded runs official_* of the authors' own code: losses, the gradients of both
 * steps, weights and their average, draws replayed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "golden_training.h"
#include "support/compare.h"

/* tiles: one a crop; ops: invert, flip height, flip width, transpose. */
static int32_t recorded(void *ctx, const dukd_draw *draw, uint64_t *value) {
    const training *t = ctx;
    int64_t column = -1;
    assert_int_equal(draw->branch, DUKD_BRANCH_ZOOM_IN);
    if (draw->what == DUKD_DRAW_TILE) {
        const dukd_golden_tensor tiles = dukd_golden_i32(t->golden, "tiles");
        assert_int_equal(draw->sample, -1);
        assert_true(draw->crop < tiles.dims[1]);
        *value = (uint64_t)((const int32_t *)tiles.data)[(t->iteration - 1) * tiles.dims[1] + draw->crop];
        return 1;
    }
    if (draw->what == DUKD_DRAW_INVERT) column = 0;
    if (draw->what == DUKD_DRAW_FLIP_H) column = 1;
    if (draw->what == DUKD_DRAW_FLIP_W) column = 2;
    if (draw->what == DUKD_DRAW_TRANSPOSE) column = 3;
    assert_true(column >= 0);
    const dukd_golden_tensor ops = dukd_golden_u8(t->golden, "ops");
    const int64_t row = training_row(t, draw);
    assert_true(row >= 0 && row < ops.dims[1]);
    *value = ((const uint8_t *)ops.data)[((t->iteration - 1) * ops.dims[1] + row) * 4 + column];
    return 1;
}

static void watch(void *ctx, const dukd_pass *pass) {
    training *t = ctx;
    if (t->iteration != 1 || (pass->flags & DUKD_PASS_OPTIMIZE_AFTER) == 0) return;
    training_check_gradient(t, t->optimized == 0 ? "grad.A" : "grad.AB", 2e-4);
}

static void replay(const char *file, int32_t scale, const char *const *options) {
    static const char *const names[] = {"l_pix", "l_kd", "l_zoom_in", "l_zoom_out_pix", "l_zoom_out_kd"};
    training t = {
        .file = file, .options = options, .scale = scale, .images = 4, .source = recorded, .watch = watch};
    training_open(&t);
    const dukd_golden_tensor losses = dukd_golden_f32(t.golden, "losses");
    while (t.iteration < t.iterations) {
        training_iterate(&t);
        assert_int_equal(t.optimized, 2);
        for (int i = 0; i < 5; i++) {
            const double want = ((const float *)losses.data)[(t.iteration - 1) * 5 + i],
                         got = training_loss(&t, names[i]);
            assert_true(isnan(want) == isnan(got)); /* NaN: the run has no such term */
            if (!isnan(want)) dukd_assert_error(names[i], fabs(got - want) / want, 1e-5);
        }
        if (t.iteration == 1) training_check_weights(&t, t.student.weights, "after1", 2e-6);
    }
    training_check_weights(&t, t.student.weights, "final", 5e-6);
    training_check_weights(&t, t.student.ema, "ema", 5e-7);
    training_close(&t);
}

#define LOSSES "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"

static void official_x2(void **state) {
    (void)state;
    static const char *const options[] = {LOSSES,
                                          "train.pixel_opt.loss_weight=5",
                                          "train.noisy.prob=0.3",
                                          "train.dukd_opt.n_gt_sub=2",
                                          "train.dukd_opt.zoom_out=true",
                                          NULL};
    replay("official_x2", 2, options);
}

static void official_x3(void **state) {
    (void)state;
    static const char *const options[] = {LOSSES,
                                          "train.pixel_opt.loss_weight=5",
                                          "train.noisy.prob=0.3",
                                          "train.dukd_opt.n_gt_sub=1",
                                          "train.dukd_opt.zoom_out=true",
                                          NULL};
    replay("official_x3", 3, options);
}

static void official_x2_plain(void **state) {
    (void)state;
    static const char *const options[] = {LOSSES, NULL};
    replay("official_x2_plain", 2, options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_x2),
        cmocka_unit_test(official_x3),
        cmocka_unit_test(official_x2_plain),
    };
    return cmocka_run_group_tests_name("golden_official", tests, NULL, NULL);
}
