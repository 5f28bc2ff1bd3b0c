/* The trainer against the authors' code and plain PyTorch: whole runs of the golden files through the host's own learner (engine,
 * steps, Adam, schedule, average) and the real plugin. Batches come from the file by the learner's batch source, draws by the
 * extension dukd.draws/1. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/plugin_load.h"
#include "dukd_ext_draws.h"
#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/golden.h"
#include "train/learner.h"
#include "train/weights.h"

/* Tolerances of ../shared/golden/README.md. */
#define LOSS_RELATIVE     1e-5
#define GRADIENT_RELATIVE 2e-4
#define AFTER1_ABSOLUTE   2e-6
#define FINAL_ABSOLUTE    5e-6
#define EMA_ABSOLUTE      5e-7

enum { MAX_OPTIONS = 16, STUDENT_FEAT = 8, STUDENT_BLOCKS = 2, TEACHER_FEAT = 12, TEACHER_BLOCKS = 3 };

typedef struct {
    const char *key, *value;
} option_text;

/* One golden file; what its JSON says. */
typedef struct {
    const char *name;
    int official, scale, iterations, batch, height, width, crops, milestone;
    double gamma;
    const char *loss_names[5]; /* of the columns of `losses`; NULL: that one is absent */
    option_text options[MAX_OPTIONS];
} golden_case;

#define PAPER_LOSSES                                                                                         \
    { "l_rec", "l_kd", "l_zoom_out", "l_zoom_in", "l_total" }
#define OFFICIAL_LOSSES                                                                                      \
    { "l_pix", "l_kd", "l_zoom_in", "l_zoom_out_pix", "l_zoom_out_kd" }

static const golden_case cases[] = {
    {"official_x2",
     1,
     2,
     20,
     4,
     24,
     24,
     2,
     10,
     0.1,
     OFFICIAL_LOSSES,
     {{"model_type", "DUKD"},
      {"train.pixel_opt.type", "L1Loss"},
      {"train.pixel_opt.loss_weight", "5"},
      {"train.kd_opt.type", "L1Loss"},
      {"train.kd_opt.loss_weight", "1"},
      {"train.dukd_opt.n_gt_sub", "2"},
      {"train.dukd_opt.zoom_out", "true"},
      {"train.noisy.prob", "0.3"}}},
    {"official_x3",
     1,
     3,
     20,
     4,
     24,
     24,
     1,
     10,
     0.1,
     OFFICIAL_LOSSES,
     {{"model_type", "DUKD"},
      {"train.pixel_opt.type", "L1Loss"},
      {"train.pixel_opt.loss_weight", "5"},
      {"train.kd_opt.type", "L1Loss"},
      {"train.kd_opt.loss_weight", "1"},
      {"train.dukd_opt.n_gt_sub", "1"},
      {"train.dukd_opt.zoom_out", "true"},
      {"train.noisy.prob", "0.3"}}},
    {"official_x2_plain",
     1,
     2,
     20,
     4,
     24,
     24,
     1,
     10,
     0.1,
     {"l_pix", "l_kd", "l_zoom_in", NULL, NULL},
     {{"model_type", "DUKD"},
      {"train.pixel_opt.type", "L1Loss"},
      {"train.pixel_opt.loss_weight", "1"},
      {"train.kd_opt.type", "L1Loss"},
      {"train.kd_opt.loss_weight", "1"}}},
    {"paper_x2", 0, 2, 12, 3, 24, 24, 1, 6, 0.5, PAPER_LOSSES, {{"model_type", "DUKDPlugin"}}},
    {"paper_x3", 0, 3, 8, 3, 24, 24, 1, 6, 0.5, PAPER_LOSSES, {{"model_type", "DUKDPlugin"}}},
    {"paper_x2_weights",
     0,
     2,
     8,
     3,
     24,
     24,
     1,
     6,
     0.5,
     PAPER_LOSSES,
     {{"train.w_rec", "1"}, {"train.w_kd", "0.5"}, {"train.w_dukd", "2"}}},
    {"paper_x2_count2", 0, 2, 8, 3, 24, 24, 2, 6, 0.5, PAPER_LOSSES, {{"train.zoom_in_count", "2"}}},
    {"paper_x3_hardest", 0, 3, 8, 3, 24, 24, 1, 6, 0.5, PAPER_LOSSES, {{"train.zoom_in", "hardest"}}},
    /* Oblong patches turn by 0 or 180 degrees only: the plugin refuses to draw turns for them, but takes recorded ones. */
    {"paper_x2_oblong", 0, 2, 8, 3, 18, 25, 1, 6, 0.5, PAPER_LOSSES, {{"train.augment.rot90", "0"}}},
};

typedef struct {
    const golden_case *c;
    dukd_golden *file;
    dukd_graph *student, *teacher;
    float *start, *teacher_weights, *lr, *hr;
    int64_t iteration; /* of the next batch */
    dukd_engine *engine;
    dukd_library *library;
    dukd_learner learner;
    dukd_option rows[MAX_OPTIONS];
    const dukd_option *options[MAX_OPTIONS];
    const char *values[MAX_OPTIONS];
} replay;

/* ---------------------------------------------------------------- recorded choices */

static uint64_t table_u8(const replay *r, const char *name, int64_t it, int64_t row, int column) {
    dukd_golden_tensor t = dukd_golden_u8(r->file, "%s", name);
    assert_true(t.ndim == 3 && it < t.dims[0] && row < t.dims[1] && column < t.dims[2]);
    return ((const uint8_t *)t.data)[(it * t.dims[1] + row) * t.dims[2] + column];
}

static int32_t official_draw(const replay *r, const dukd_draw *d, int64_t row, uint64_t *value) {
    if (d->what == DUKD_DRAW_TILE) {
        dukd_golden_tensor t = dukd_golden_i32(r->file, "tiles");
        *value = (uint64_t)((const int32_t *)t.data)[(d->iteration - 1) * t.dims[1] + d->crop];
        return 1;
    }
    const int column = d->what == DUKD_DRAW_INVERT      ? 0
                       : d->what == DUKD_DRAW_FLIP_H    ? 1
                       : d->what == DUKD_DRAW_FLIP_W    ? 2
                       : d->what == DUKD_DRAW_TRANSPOSE ? 3
                                                        : -1;
    assert_true(column >= 0);
    *value = table_u8(r, "ops", d->iteration - 1, row, column);
    return 1;
}

static int32_t paper_draw(const replay *r, const dukd_draw *d, int64_t row, uint64_t *value) {
    const char *table = d->branch == DUKD_BRANCH_ZOOM_IN ? "ops_zi" : "ops_zo";
    const int64_t it = d->iteration - 1;
    if (d->what == DUKD_DRAW_CROP_ROW || d->what == DUKD_DRAW_CROP_COL) {
        dukd_golden_tensor t = dukd_golden_i32(r->file, "offsets");
        *value =
            (uint64_t)((const int32_t *)t.data)[(it * t.dims[1] + row) * 2 + (d->what == DUKD_DRAW_CROP_COL)];
        return 1;
    }
    switch (d->what) {
    case DUKD_DRAW_FLIP_W:
        *value = table_u8(r, table, it, row, 0);
        return 1;
    case DUKD_DRAW_FLIP_H:
        *value = table_u8(r, table, it, row, 1);
        return 1;
    case DUKD_DRAW_ROTATE:
        *value = table_u8(r, table, it, row, 2);
        return 1;
    case DUKD_DRAW_INVERT:
        *value = table_u8(r, table, it, row, 3);
        return 1;
    default:
        fail_msg("paper mode drew %u", d->what);
        return 0;
    }
}

static int32_t recorded(void *ctx, const dukd_draw *d, uint64_t *value) {
    const replay *r = ctx;
    const int64_t image = d->sample < 0 ? 0 : d->sample - (d->iteration - 1) * r->c->batch;
    assert_true(image >= 0 && image < r->c->batch);
    const int64_t row = (int64_t)d->crop * r->c->batch + image;
    return r->c->official ? official_draw(r, d, row, value) : paper_draw(r, d, row, value);
}

/* ---------------------------------------------------------------- recorded batches */

static void to_floats(dukd_golden *file, const char *name, int64_t it, float *out) {
    dukd_golden_tensor t = dukd_golden_u8(file, "%s.%lld", name, (long long)it);
    for (int64_t i = 0; i < t.count; i++) out[i] = (float)((const uint8_t *)t.data)[i] / 255.0f;
}

static int next_batch(void *ctx, dukd_batch *out, dukd_failure *f) {
    replay *r = ctx;
    (void)f;
    to_floats(r->file, "lr", r->iteration, r->lr);
    to_floats(r->file, "hr", r->iteration, r->hr);
    *out = (dukd_batch){.iteration = r->iteration,
                        .first_sample = (r->iteration - 1) * r->c->batch,
                        .lr = r->lr,
                        .hr = r->hr};
    r->iteration++;
    return 0;
}

/* ---------------------------------------------------------------- a run */

static float *weights_of(const dukd_graph *g, dukd_golden *file, const char *prefix) {
    float *w = dukd_weights_alloc(dukd_graph_weights(g));
    assert_non_null(w);
    dukd_golden_weights(w, g, file, prefix);
    return w;
}

static uint32_t make_options(replay *r) {
    uint32_t count = 0;
    for (; count < MAX_OPTIONS && r->c->options[count].key; count++) {
        r->values[count] = r->c->options[count].value;
        r->rows[count] = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                                       .kind = DUKD_VALUE_SCALAR,
                                       .key = r->c->options[count].key,
                                       .place = "golden",
                                       .values = &r->values[count],
                                       .n_values = 1};
        r->options[count] = &r->rows[count];
    }
    return count;
}

#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        dukd_failure f_ = {0};                                                                               \
        dukd_failure *f = &f_;                                                                               \
        if (call) fail_msg("%s", f_.message);                                                                \
    } while (0)

static void open_run(replay *r, const golden_case *c) {
    *r = (replay){.c = c, .iteration = 1};
    r->file = dukd_golden_open(c->name);
    r->student = dukd_edsr_net(STUDENT_FEAT, STUDENT_BLOCKS, c->scale, 0.1);
    r->teacher = dukd_edsr_net(TEACHER_FEAT, TEACHER_BLOCKS, c->scale, 0.1);
    r->start = weights_of(r->student, r->file, "student");
    r->teacher_weights = weights_of(r->teacher, r->file, "teacher");
    const int64_t size = (int64_t)c->batch * 3 * c->height * c->width;
    r->lr = dukd_weights_alloc(size);
    r->hr = dukd_weights_alloc(size * c->scale * c->scale);
    assert_true(r->lr && r->hr);
    CHECK(dukd_library_open(&r->library, DUKD_PLUGIN_PATH, f));
    CHECK(dukd_engine_create(&r->engine, "onednn", 0, f));
    const dukd_learner_options options = {
        .step = {.plugin = dukd_library_plugin(r->library),
                 .plugin_options = r->options,
                 .plugin_option_count = make_options(r),
                 .seed = 1,
                 .engine = r->engine,
                 .precision = DUKD_F32,
                 .student = r->student,
                 .ema_decay = 0.999,
                 .teacher = r->teacher,
                 .teacher_weights = r->teacher_weights,
                 .scale = c->scale,
                 .batch = c->batch,
                 .height = c->height,
                 .width = c->width,
                 .micro_batches = 1},
        .adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .schedule = {.kind = DUKD_SCHEDULE_MULTI_STEP,
                     .rate = 1e-4,
                     .warmup_iter = -1,
                     .milestone_count = 1,
                     .milestones = {c->milestone},
                     .gamma = c->gamma},
        .start = r->start,
    };
    CHECK(dukd_learner_create(&r->learner, &options, f));
    const dukd_ext_draws *draws = dukd_library_plugin(r->library)->get_extension(DUKD_EXT_DRAWS);
    assert_non_null(draws);
    assert_int_equal(draws->set_source(dukd_stepper_session(r->learner.stepper), recorded, r, NULL), DUKD_OK);
}

static void close_run(replay *r) {
    dukd_learner_free(&r->learner);
    dukd_engine_destroy(r->engine);
    dukd_library_close(r->library);
    dukd_graph_destroy(r->student);
    dukd_graph_destroy(r->teacher);
    free(r->start);
    free(r->teacher_weights);
    free(r->lr);
    free(r->hr);
    dukd_golden_close(r->file);
}

/* ---------------------------------------------------------------- comparing */

static double loss_named(const dukd_losses *l, const char *name) {
    for (uint32_t i = 0; i < l->n_losses; i++)
        if (strcmp(l->names[i], name) == 0) return l->values[i];
    fail_msg("no loss is called %s", name);
    return NAN;
}

static void check_losses(const replay *r, int64_t it) {
    const dukd_losses *l = dukd_stepper_losses(r->learner.stepper);
    dukd_golden_tensor t = dukd_golden_f32(r->file, "losses");
    for (int i = 0; i < 5; i++) {
        const float want = ((const float *)t.data)[(it - 1) * 5 + i];
        if (!r->c->loss_names[i]) {
            assert_true(isnan(want));
            continue;
        }
        const double got = loss_named(l, r->c->loss_names[i]);
        char what[64];
        snprintf(what, sizeof what, "%s at iteration %lld", r->c->loss_names[i], (long long)it);
        dukd_assert_error(what, fabs(got - want) / fabs(want), LOSS_RELATIVE);
    }
}

static void check_rate(const replay *r, int64_t it) {
    dukd_golden_tensor t = dukd_golden_f64(r->file, "lr_rate");
    const double want = ((const double *)t.data)[it - 1];
    dukd_assert_error("rate", fabs(r->learner.rate - want) / want, 1e-15);
}

/* Tensor by tensor; tolerance relative to the tensor's largest value, or absolute. */
static void check_weights(const replay *r, const char *prefix, const float *got, double tolerance,
                          int relative) {
    double worst = 0;
    for (int32_t i = 0; i < dukd_graph_param_count(r->student); i++) {
        const dukd_param *p = dukd_graph_param(r->student, i);
        dukd_golden_tensor want = dukd_golden_f32(r->file, "%s.%s", prefix, p->name);
        const double error = relative ? dukd_relative_error(got + p->offset, want.data, p->count)
                                      : dukd_absolute_error(got + p->offset, want.data, p->count);
        char what[200];
        snprintf(what, sizeof what, "%s: %s.%s", r->c->name, prefix, p->name);
        dukd_assert_error(what, error, tolerance);
        if (error > worst) worst = error;
    }
    print_message("%s %s: largest %s error %.2e (tolerance %.0e)\n", r->c->name, prefix,
                  relative ? "relative" : "absolute", worst, tolerance);
}

static void replays_a_golden_run(void **state) {
    const golden_case *c = *state;
    replay r;
    open_run(&r, c);
    const dukd_batch_source source = {.ctx = &r, .next = next_batch};
    for (int64_t it = 1; it <= c->iterations; it++) {
        dukd_batch batch;
        CHECK(source.next(source.ctx, &batch, f));
        CHECK(dukd_learner_step(&r.learner, &batch, f));
        check_losses(&r, it);
        check_rate(&r, it);
        if (it > 1) continue;
        check_weights(&r, c->official ? "grad.AB" : "grad", dukd_stepper_gradient(r.learner.stepper),
                      GRADIENT_RELATIVE, 1);
        check_weights(&r, "after1", r.learner.weights, AFTER1_ABSOLUTE, 0);
    }
    check_weights(&r, "final", r.learner.weights, FINAL_ABSOLUTE, 0);
    check_weights(&r, "ema", r.learner.ema, EMA_ABSOLUTE, 0);
    const dukd_step_counts counts = dukd_stepper_counts(r.learner.stepper);
    assert_int_equal(counts.optimizer_steps, c->iterations * (c->official ? 2 : 1));
    assert_int_equal(counts.images, (int64_t)c->iterations * c->batch);
    close_run(&r);
}

int main(void) {
    struct CMUnitTest tests[sizeof cases / sizeof *cases];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = replays_a_golden_run,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
