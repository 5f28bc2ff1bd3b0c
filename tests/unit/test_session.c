/* The step protocol through the ABI's table: what a plan says, in which order passes come and with which
 * flags, what waits, what is left out when a term is off, micro-batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session_fixture.h"

#define OFFICIAL "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"

/* ---------------------------------------------------------------- the plan */

static void assert_shape(const dukd_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
    assert_int_equal(t->ndim, 4);
    assert_int_equal(t->shape[0], n);
    assert_int_equal(t->shape[1], c);
    assert_int_equal(t->shape[2], h);
    assert_int_equal(t->shape[3], w);
}

static void the_plan_lists_every_pass(void **state) {
    (void)state;
    fixture f;
    const dukd_plan *plan = NULL;
    fixture_init(&f);
    f.h = f.w = 9;
    f.scale = 4;
    f.networks[0] = "teacher"; /* networks are found by name */
    f.networks[1] = "features";
    f.networks[2] = "student";
    f.n_networks = 3;
    fixture_must_open(&f, OPTIONS("train.zoom_in_count=3"));
    assert_int_equal(f.plugin->get_plan(f.session, &plan, &f.error), DUKD_OK);
    assert_int_equal(plan->struct_size, DUKD_PLAN_SIZE);
    assert_int_equal(plan->n_passes, 3);
    const int64_t shape[3][4] = {{2, 3, 9, 9}, {2, 3, 3, 3}, {6, 3, 9, 9}};
    const uint32_t inputs[3] = {1, 2, 2};
    const uint32_t flags[3] = {DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD, DUKD_PASS_BACKWARD,
                               DUKD_PASS_BACKWARD | DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER};
    for (uint32_t i = 0; i < 3; i++) {
        const dukd_pass *pass = plan->passes[i];
        assert_int_equal(pass->struct_size, DUKD_PASS_SIZE);
        assert_int_equal(pass->plan_index, i);
        assert_int_equal(pass->flags, flags[i]);
        assert_int_equal(pass->n_inputs, inputs[i]);
        assert_int_equal(pass->n_taps, 2);
        for (uint32_t k = 0; k < pass->n_inputs; k++) {
            const dukd_input *input = pass->inputs[k];
            assert_int_equal(input->struct_size, DUKD_INPUT_SIZE);
            assert_int_equal(input->id, k);
            assert_null(input->origin);
            assert_null(input->tensor->data);
            assert_shape(input->tensor, shape[i][0], shape[i][1], shape[i][2], shape[i][3]);
            assert_memory_equal(&input->tensor->dtype, &fixture_f32, sizeof fixture_f32);
        }
        /* the teacher sees the plain images, the student the augmented ones */
        const dukd_tap *teacher = pass->taps[0], *student = pass->taps[1];
        assert_int_equal(teacher->struct_size, DUKD_TAP_SIZE);
        assert_int_equal(teacher->network, 0);
        assert_int_equal(teacher->flags, 0);
        assert_int_equal(teacher->source_kind, DUKD_SOURCE_INPUT);
        assert_int_equal(teacher->source_id, 0);
        assert_null(teacher->from_layer);
        assert_null(teacher->layer);
        assert_int_equal(student->id, 1);
        assert_int_equal(student->network, 2);
        assert_int_equal(student->flags, DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD);
        assert_int_equal(student->source_id, pass->n_inputs - 1);
    }
    fixture_close(&f);
}

static void the_teachers_mode_is_in_its_taps(void **state) {
    (void)state;
    fixture f;
    const dukd_plan *plan = NULL;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS(OFFICIAL, "train.dukd_opt.zoom_out=true"));
    assert_int_equal(f.plugin->get_plan(f.session, &plan, &f.error), DUKD_OK);
    for (uint32_t i = 0; i < plan->n_passes; i++)
        assert_int_equal(plan->passes[i]->taps[0]->flags, DUKD_TAP_MODE_TRAIN);
    fixture_close(&f);
}

/* ---------------------------------------------------------------- passes and flags */

static void run_expecting(fixture *f, const char *const *options, const char *events) {
    fixture_must_open(f, options);
    fixture_step(f, 1, 0, 0);
    assert_string_equal(f->events, events);
    fixture_close(f);
}

static void passes_come_in_order_with_their_flags(void **state) {
    (void)state;
    const struct {
        const char *const *options;
        const char *one_by_one, *collected;
    } cases[] = {
        {NULL, "pass0 zero backward pass1 backward pass2 backward optimize ema",
         "pass0 zero backward pass1 backward pass2 backward optimize ema"},
        {OPTIONS("train.zoom_in=hardest"), "pass0 zero backward pass1 backward pass2 backward optimize ema",
         "wait pass0 zero backward pass1 backward pass2 backward optimize ema"},
        {OPTIONS("train.terms=[dukd]", "train.zoom_in=hardest"),
         "pass0 zero pass1 backward pass2 backward optimize ema",
         "wait pass0 zero pass1 backward pass2 backward optimize ema"},
        {OPTIONS("train.terms=[rec, kd]"), "pass0 zero backward optimize ema",
         "pass0 zero backward optimize ema"},
        {OPTIONS("train.zoom_out=false"), "pass0 zero backward pass1 backward optimize ema",
         "pass0 zero backward pass1 backward optimize ema"},
        {OPTIONS(OFFICIAL), "pass0 zero backward optimize pass1 backward optimize ema",
         "wait pass0 zero backward optimize pass1 backward optimize ema"},
        {OPTIONS(OFFICIAL, "train.dukd_opt.zoom_out=true"),
         "pass0 zero backward optimize pass1 backward pass2 backward optimize ema",
         "wait pass0 zero backward optimize pass1 backward pass2 backward optimize ema"},
        {OPTIONS(OFFICIAL, "train.kd_opt.loss_weight=0", "train.dukd_opt.zoom_out=true"),
         "pass0 zero backward optimize pass1 backward optimize ema",
         "wait pass0 zero backward optimize pass1 backward optimize ema"},
        {OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss"), "pass0 zero backward optimize ema",
         "pass0 zero backward optimize ema"},
        {OPTIONS("model_type=SRModel", "train.pixel_opt.type=L1Loss"), "pass0 zero backward optimize ema",
         "pass0 zero backward optimize ema"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        fixture_init(&f);
        run_expecting(&f, cases[i].options, cases[i].one_by_one);
        fixture_init(&f);
        f.collect = true;
        run_expecting(&f, cases[i].options, cases[i].collected);
    }
}

/* A spy counts what the host was asked to run. */
static void what_is_off_costs_nothing(void **state) {
    (void)state;
    const struct {
        const char *const *options;
        uint32_t student, teacher;
    } cases[] = {
        {NULL, 3, 3},
        {OPTIONS("train.terms=[rec]"), 1, 0},
        {OPTIONS("train.w_kd=0", "train.w_dukd=0"), 1, 0},
        {OPTIONS("train.w_dukd=0"), 1, 1},
        {OPTIONS("train.w_kd=0"), 3, 2},                          /* T(x) is not asked for */
        {OPTIONS("train.w_kd=0", "train.zoom_in=hardest"), 3, 3}, /* the hardest crop needs it */
        {OPTIONS("train.w_rec=0", "train.w_kd=0"), 2, 2},
        {OPTIONS("train.terms=[dukd]", "train.zoom_in=hardest"), 2, 3},
        {OPTIONS("train.zoom_in=none"), 2, 2},
        {OPTIONS("train.zoom_in=none", "train.zoom_out=false"), 1, 1},
        {OPTIONS(OFFICIAL), 2, 2},
        {OPTIONS(OFFICIAL, "train.pixel_opt.loss_weight=0", "train.dukd_opt.zoom_out=true"), 3, 3},
        {OPTIONS(OFFICIAL, "train.kd_opt.loss_weight=0", "train.dukd_opt.zoom_out=true"), 2, 0},
        {OPTIONS("model_type=BaseKD", "train.pixel_opt.type=L1Loss"), 1, 0},
        {OPTIONS("model_type=SRModel", "train.pixel_opt.type=L1Loss"), 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        fixture_init(&f);
        if (cases[i].teacher == 0) {
            f.n_networks = 1; /* there need not even be a teacher */
            f.caps = DUKD_CAP_TWO_STEPS;
        }
        fixture_must_open(&f, cases[i].options);
        fixture_step(&f, 1, 0, 0);
        fixture_step(&f, 2, 2, 0);
        assert_int_equal(f.taps_run[FIXTURE_STUDENT], 2 * cases[i].student);
        assert_int_equal(f.taps_run[FIXTURE_TEACHER], 2 * cases[i].teacher);
        fixture_close(&f);
    }
}

/* LR is handed on as it is; where D can never act, plain and augmented image are one. */
static void nothing_is_copied_that_need_not_be(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass = NULL;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.augment.hflip=0", "train.augment.vflip=0", "train.augment.rot90=0",
                                  "train.augment.invert=0"));
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
        assert_int_equal(pass->n_inputs, 1);
        assert_true((pass->inputs[0]->tensor->data == f.lr.memory) == (i == 0));
        assert_int_equal(pass->taps[0]->source_id, 0);
        assert_int_equal(pass->taps[1]->source_id, 0);
        assert_null(pass->inputs[0]->origin->augment);
    }
    fixture_close(&f);
    fixture_init(&f);
    f.h = f.w = 64;
    fixture_must_open(&f, OPTIONS("train.terms=[rec, kd]"));
    fixture_step(&f, 1, 0, 0);
    assert_true(f.largest < (uint64_t)(f.c * f.h * f.w * 4)); /* not even one image: the session itself */
    fixture_close(&f);
    /* official mode has D on zoomed-in images only, and with noisy only */
    fixture_init(&f);
    const dukd_plan *plan = NULL;
    fixture_must_open(&f, OPTIONS(OFFICIAL, "train.dukd_opt.zoom_out=true", "train.noisy.prob=0.3"));
    assert_int_equal(f.plugin->get_plan(f.session, &plan, &f.error), DUKD_OK);
    assert_int_equal(plan->passes[1]->n_inputs, 2);
    assert_int_equal(plan->passes[2]->n_inputs, 1);
    fixture_close(&f);
}

/* ---------------------------------------------------------------- micro-batches */

static void micro_batches_clear_first_and_step_last(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    f.micro_count = 3;
    fixture_must_open(&f, OPTIONS("train.zoom_in=none"));
    for (int round = 0; round < 2; round++) {
        fixture_step(&f, round + 1, 6 * round, 0);
        assert_string_equal(f.events, "pass0 zero backward pass1 backward");
        fixture_step(&f, round + 1, 6 * round + 2, 1);
        assert_string_equal(f.events, "pass0 backward pass1 backward");
        fixture_step(&f, round + 1, 6 * round + 4, 2);
        assert_string_equal(f.events, "pass0 backward pass1 backward optimize ema");
    }
    fixture_close(&f);
}

static void micro_batches_come_in_order(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    f.micro_count = 2;
    fixture_must_open(&f, NULL);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 1), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "micro_index is 1", "micro-batch 0 of this step comes next");
    assert_int_equal(fixture_begin(&f, 1, 0, 2), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "micro-batch 2 of 2");
    f.micro_count = 1;
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "micro-batch 0 of 1", "micro_count 2");
    f.micro_count = 2;
    fixture_step(&f, 1, 0, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "micro_index is 0", "micro-batch 1");
    assert_int_equal(fixture_begin(&f, 2, 2, 1), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "iteration is 2", "first micro-batch had 1");
    /* between micro-batches is not between steps */
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    uint64_t size = 0;
    assert_int_equal(f.plugin->read_losses(f.session, &losses, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "read_losses comes between steps", "1 of 2 micro-batches");
    assert_int_equal(f.plugin->get_state(f.session, NULL, &size, &f.error), DUKD_E_STATE);
    assert_int_equal(f.plugin->set_state(f.session, "x", 1, &f.error), DUKD_E_STATE);
    fixture_step(&f, 1, 2, 1);
    assert_int_equal(f.plugin->get_state(f.session, NULL, &size, &f.error), DUKD_OK);
    /* a step that is given up in the middle: its micro-batch again, or the step anew */
    fixture_step(&f, 2, 4, 0);
    fixture_batch(&f, 6);
    assert_int_equal(fixture_begin(&f, 2, 6, 1), DUKD_OK);
    assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
    assert_int_equal(f.plugin->get_state(f.session, NULL, &size, &f.error),
                     DUKD_OK); /* an interrupted run is saved */
    fixture_step(&f, 2, 6, 1);
    const double whole = fixture_loss(&f, "l_total");
    fixture_step(&f, 3, 8, 0);
    assert_int_equal(fixture_begin(&f, 3, 10, 1), DUKD_OK);
    assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
    /* a state that is put in between begins with whole steps */
    unsigned char blob[2048];
    size = sizeof blob;
    assert_int_equal(f.plugin->get_state(f.session, blob, &size, &f.error), DUKD_OK);
    assert_int_equal(f.plugin->set_state(f.session, blob, size, &f.error), DUKD_OK);
    assert_int_equal(fixture_begin(&f, 3, 10, 1), DUKD_E_STATE);
    f.net[FIXTURE_STUDENT] = (fixture_net){0.9, 0.4};
    fixture_step(&f, 2, 4, 0);
    assert_int_equal(f.plugin->read_losses(f.session, &losses, &f.error), DUKD_E_STATE);
    fixture_step(&f, 2, 6, 1);
    assert_true(fixture_loss(&f, "l_total") != whole); /* other weights, but only these two micro-batches */
    fixture_close(&f);
}

static void two_optimizer_steps_refuse_micro_batches_and_loss_scale(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    f.micro_count = 2;
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL)), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "micro-batches", "micro_count 2", "train.mode: paper");
    fixture_must_open(&f, OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss"));
    fixture_close(&f);
    fixture_init(&f);
    f.flags = DUKD_SESSION_LOSS_SCALE;
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL)), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "DUKD_SESSION_LOSS_SCALE", "train.mode: paper");
    fixture_must_open(&f, NULL);
    fixture_close(&f);
    fixture_init(&f);
    f.caps = DUKD_CAP_MODE_TRAIN;
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL)), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "two optimizer steps", "DUKD_CAP_TWO_STEPS");
    fixture_must_open(&f, OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss"));
    fixture_close(&f);
    fixture_init(&f);
    f.caps = DUKD_CAP_TWO_STEPS | 1ull << 63; /* a capability of the future is no error */
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL)), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "training mode", "train.teacher_mode: eval");
    fixture_must_open(&f, OPTIONS(OFFICIAL, "train.teacher_mode=eval"));
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_lists_every_pass),
        cmocka_unit_test(the_teachers_mode_is_in_its_taps),
        cmocka_unit_test(passes_come_in_order_with_their_flags),
        cmocka_unit_test(what_is_off_costs_nothing),
        cmocka_unit_test(nothing_is_copied_that_need_not_be),
        cmocka_unit_test(micro_batches_clear_first_and_step_last),
        cmocka_unit_test(micro_batches_come_in_order),
        cmocka_unit_test(two_optimizer_steps_refuse_micro_batches_and_loss_scale),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
