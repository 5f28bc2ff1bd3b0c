/* A session's calls through the ABI's table: out of order, cancelled, interrupted, after a fork; losses and
 * state. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "session_fixture.h"

#define OFFICIAL "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"

/* ---------------------------------------------------------------- calls that do not come now */

static void calls_out_of_order_are_refused_and_change_nothing(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass = NULL, *second = NULL;
    const dukd_plugin *p;
    uint64_t size = 0;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    const dukd_submit blank = {.struct_size = DUKD_SUBMIT_SIZE, .grad_scale = 1};
    fixture_init(&f);
    p = f.plugin;
    fixture_must_open(&f, NULL);
    assert_int_equal(p->next_pass(f.session, &pass, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "next_pass", "begin_step first");
    assert_int_equal(p->submit_pass(f.session, &blank, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "submit_pass", "begin_step first");
    assert_int_equal(p->end_step(f.session, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "end_step", "begin_step first");
    assert_int_equal(p->cancel_step(f.session, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "no step to cancel");
    assert_int_equal(p->read_losses(f.session, &losses, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "no step has been ended yet");
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 3, 0, 0), DUKD_OK);
    assert_int_equal(fixture_begin(&f, 4, 0, 0), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "iteration 3 is not over", "end_step or cancel_step");
    assert_int_equal(p->end_step(f.session, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "next_pass has not said DUKD_STEP_DONE");
    assert_int_equal(p->submit_pass(f.session, &blank, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "pass 0 has not been handed out");
    assert_int_equal(p->read_losses(f.session, &losses, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "read_losses comes between steps", "end_step or cancel_step");
    assert_int_equal(p->get_state(f.session, NULL, &size, &f.error), DUKD_E_STATE);
    assert_int_equal(p->set_state(f.session, "", 0, &f.error), DUKD_E_STATE);
    const dukd_ext_draws *draws = p->get_extension(DUKD_EXT_DRAWS);
    assert_int_equal(draws->set_source(f.session, NULL, NULL, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "set_source comes between steps");
    assert_int_equal(p->next_pass(f.session, &pass, &f.error), DUKD_OK);
    assert_int_equal(p->next_pass(f.session, &second, &f.error), DUKD_OK);
    /* submitted in the other order: allowed */
    assert_int_equal(fixture_submit(&f, second), DUKD_OK);
    assert_int_equal(fixture_submit(&f, second), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "pass 1 was submitted before");
    assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
    assert_int_equal(p->next_pass(f.session, &pass, &f.error), DUKD_OK);
    assert_int_equal(p->next_pass(f.session, &second, &f.error), DUKD_STEP_DONE);
    assert_null(second);
    assert_int_equal(p->end_step(f.session, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "pass 2 was handed out and not submitted");
    assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
    assert_int_equal(p->next_pass(f.session, &second, &f.error),
                     DUKD_STEP_DONE); /* asking again is no harm */
    assert_int_equal(p->end_step(f.session, &f.error), DUKD_OK);
    assert_int_equal(p->end_step(f.session, &f.error), DUKD_E_STATE);
    const double total = fixture_loss(&f, "l_total");
    fixture_close(&f);
    /* the same step without all these mistakes */
    fixture_init(&f);
    fixture_must_open(&f, NULL);
    fixture_step(&f, 3, 0, 0);
    assert_true(fixture_loss(&f, "l_total") == total);
    fixture_close(&f);
}

static void end_step_waits_for_done(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass = NULL;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[rec]"));
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
    assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
    assert_int_equal(f.plugin->end_step(f.session, &f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&f, "DUKD_STEP_DONE");
    assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_STEP_DONE);
    assert_int_equal(f.plugin->end_step(f.session, &f.error), DUKD_OK);
    fixture_close(&f);
}

/* ---------------------------------------------------------------- cancelling */

static void cancelling_says_whether_weights_moved_and_restores(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass = NULL;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS(OFFICIAL));
    fixture_step(&f, 1, 0, 0);
    const double before = fixture_loss(&f, "l_total");
    for (int submits = 0; submits < 3; submits++) {
        fixture_batch(&f, 2);
        assert_int_equal(fixture_begin(&f, 2, 2, 0), DUKD_OK);
        for (int i = 0; i < submits; i++) {
            assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
            assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
        }
        assert_int_equal(f.plugin->cancel_step(f.session, &f.error),
                         submits > 0 ? DUKD_WEIGHTS_MOVED : DUKD_OK);
        assert_true(fixture_loss(&f, "l_total") == before);
    }
    fixture_close(&f);
    /* paper mode: nothing has moved before the last pass; a cancelled step leaves no trace in the next */
    double totals[2];
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        fixture_init(&f);
        fixture_must_open(&f, NULL);
        if (cancelled) {
            fixture_batch(&f, 40);
            assert_int_equal(fixture_begin(&f, 9, 40, 0), DUKD_OK);
            assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
            assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
            assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
        }
        fixture_step(&f, 1, 0, 0);
        totals[cancelled] = fixture_loss(&f, "l_total");
        fixture_close(&f);
    }
    assert_true(totals[0] == totals[1]);
}

/* should_cancel at each of its questions in turn: the call says so, cancel_step and destroy work, and the
 * step can be done again. */
static void the_host_can_give_up_at_any_question(void **state) {
    (void)state;
    fixture f;
    int32_t questions;
    fixture_init(&f);
    fixture_must_open(&f, NULL);
    const int32_t at_creation = f.cancel_asked;
    fixture_step(&f, 1, 0, 0);
    questions = f.cancel_asked;
    const double total = fixture_loss(&f, "l_total");
    fixture_close(&f);
    assert_true(at_creation >= 1 && questions > at_creation + 6);
    for (int32_t at = 0; at < questions; at++) {
        const dukd_pass *pass = NULL;
        int32_t status = DUKD_OK;
        fixture_init(&f);
        f.cancel_after = at;
        status = fixture_open(&f, NULL);
        if (at < at_creation) {
            assert_int_equal(status, DUKD_E_CANCELLED);
            assert_null(f.session);
            fixture_close(&f);
            continue;
        }
        fixture_batch(&f, 0);
        status = fixture_begin(&f, 1, 0, 0);
        while (status == DUKD_OK) {
            status = f.plugin->next_pass(f.session, &pass, &f.error);
            if (status == DUKD_OK) status = fixture_submit(&f, pass);
        }
        assert_int_equal(status, DUKD_E_CANCELLED);
        EXPECT_MESSAGE(&f, "should_cancel");
        f.cancel_after = -1;
        assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_E_STATE);
        EXPECT_MESSAGE(&f, "failed before", "cancel_step");
        assert_int_equal(f.plugin->end_step(f.session, &f.error), DUKD_E_STATE);
        status = f.plugin->cancel_step(f.session, &f.error);
        assert_true(status == DUKD_OK || status == DUKD_WEIGHTS_MOVED);
        f.net[FIXTURE_STUDENT] = (fixture_net){0.9, 0.4};
        fixture_step(&f, 1, 0, 0);
        assert_true(fixture_loss(&f, "l_total") == total);
        fixture_close(&f);
    }
}

/* ---------------------------------------------------------------- losses and state */

static void losses_are_named_and_weighted_as_their_mode_does(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.w_rec=2", "train.w_kd=0.5", "train.w_dukd=3"));
    fixture_step(&f, 5, 0, 0);
    const double total = 2 * fixture_loss(&f, "l_rec") + 0.5 * fixture_loss(&f, "l_kd") +
                         3 * (fixture_loss(&f, "l_zoom_out") + fixture_loss(&f, "l_zoom_in"));
    assert_true(fixture_loss(&f, "l_rec") > 0 && fixture_loss(&f, "l_kd") > 0);
    assert_true(fabs(fixture_loss(&f, "l_total") - total) < 1e-12);
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    assert_int_equal(f.plugin->read_losses(f.session, &losses, &f.error), DUKD_OK);
    assert_int_equal(losses.n_losses, 5);
    assert_int_equal(losses.iteration, 5);
    fixture_close(&f);
    /* the same weights on the same images: official mode logs them multiplied */
    double rec = 0;
    for (int weighted = 0; weighted < 2; weighted++) {
        fixture_init(&f);
        fixture_must_open(
            &f,
            OPTIONS(OFFICIAL, weighted ? "train.pixel_opt.loss_weight=5" : "train.pixel_opt.loss_weight=1",
                    "train.dukd_opt.zoom_out=true"));
        fixture_step(&f, 1, 0, 0);
        if (weighted) {
            assert_true(fabs(fixture_loss(&f, "l_pix") - 5 * rec) < 1e-12);
            assert_true(
                fabs(fixture_loss(&f, "l_total") -
                     (fixture_loss(&f, "l_pix") + fixture_loss(&f, "l_kd") + fixture_loss(&f, "l_zoom_in") +
                      fixture_loss(&f, "l_zoom_out_pix") + fixture_loss(&f, "l_zoom_out_kd"))) < 1e-12);
        }
        rec = fixture_loss(&f, "l_pix");
        fixture_close(&f);
    }
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[kd]"));
    fixture_step(&f, 1, 0, 0);
    assert_false(fixture_has_loss(&f, "l_rec"));
    assert_true(fixture_loss(&f, "l_total") == fixture_loss(&f, "l_kd"));
    fixture_close(&f);
}

static void what_is_not_finite_is_reported_and_goes_on(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    fixture_must_open(&f, NULL);
    f.net[FIXTURE_STUDENT].w = NAN;
    f.rate = 0;
    fixture_step(&f, 1, 0, 0);
    assert_true(isnan(fixture_loss(&f, "l_rec")) && isnan(fixture_loss(&f, "l_total")));
    f.net[FIXTURE_STUDENT].w = INFINITY;
    fixture_step(&f, 2, 2, 0);
    assert_false(isfinite(fixture_loss(&f, "l_total")));
    f.net[FIXTURE_STUDENT] = (fixture_net){0.9, 0.4};
    fixture_step(&f, 3, 4, 0);
    assert_true(isfinite(fixture_loss(&f, "l_total")));
    const double after = fixture_loss(&f, "l_total");
    fixture_close(&f);
    fixture_init(&f);
    fixture_must_open(&f, NULL);
    fixture_step(&f, 3, 4, 0); /* no later draw depends on what happened before */
    assert_true(fixture_loss(&f, "l_total") == after);
    fixture_close(&f);
}

static void the_state_knows_its_configuration(void **state) {
    (void)state;
    fixture f, g;
    unsigned char blob[2048], other[2048];
    uint64_t size = 0, room = sizeof blob;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.w_kd=0.5"));
    assert_int_equal(f.plugin->get_state(f.session, NULL, &size, &f.error), DUKD_OK);
    assert_true(size > 0 && size < sizeof blob);
    room = size - 1;
    assert_int_equal(f.plugin->get_state(f.session, blob, &room, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "get_state", "room for");
    assert_int_equal(room, size - 1);
    room = sizeof blob;
    memset(blob, 0x5a, sizeof blob);
    assert_int_equal(f.plugin->get_state(f.session, blob, &room, &f.error), DUKD_OK);
    assert_int_equal(room, size);
    assert_int_equal(blob[size], 0x5a);
    assert_int_equal(f.plugin->set_state(f.session, blob, size, &f.error), DUKD_OK);
    fixture_step(&f, 1, 0, 0);
    room = sizeof other;
    assert_int_equal(f.plugin->get_state(f.session, other, &room, &f.error), DUKD_OK);
    assert_int_equal(f.plugin->set_state(f.session, other, room, &f.error), DUKD_OK);
    for (uint64_t cut = 0; cut < size; cut++) {
        assert_int_equal(f.plugin->set_state(f.session, blob, cut, &f.error), DUKD_E_ARGUMENT);
    }
    assert_int_equal(f.plugin->set_state(f.session, blob, size + 1, &f.error), DUKD_E_ARGUMENT);
    for (uint64_t at = 0; at < size; at++) { /* any byte: refused, and no crash */
        blob[at] ^= 0x40;
        assert_int_equal(f.plugin->set_state(f.session, blob, size, &f.error), DUKD_E_ARGUMENT);
        blob[at] ^= 0x40;
    }
    assert_int_equal(f.plugin->set_state(f.session, NULL, size, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "data is NULL");
    assert_int_equal(f.plugin->get_state(f.session, blob, NULL, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "size is NULL");
    /* another configuration is named */
    const struct {
        const char *const *options;
        const char *saved, *now;
    } cases[] = {
        {NULL, "weight of kd = 0.5", "weight of kd = 1"},
        {OPTIONS("train.w_kd=0.5", "train.zoom_in=grid"), "zoom in = random", "zoom in = grid"},
        {OPTIONS("train.w_kd=0.5", "train.zoom_out=false"), "zoom out = true", "zoom out = false"},
        {OPTIONS("train.w_kd=0.5", "train.augment.rot90=0"), "rot90 = 0.3", "rot90 = 0"},
        {OPTIONS(OFFICIAL), "mode = paper mode", "mode = official mode"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_init(&g);
        fixture_must_open(&g, cases[i].options);
        assert_int_equal(g.plugin->set_state(g.session, blob, size, &g.error), DUKD_E_ARGUMENT);
        EXPECT_MESSAGE(&g, "was saved with", cases[i].saved, cases[i].now);
        fixture_close(&g);
    }
    fixture_init(&g);
    g.seed = 8;
    fixture_must_open(&g, OPTIONS("train.w_kd=0.5"));
    assert_int_equal(g.plugin->set_state(g.session, blob, size, &g.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&g, "seed = 7", "seed = 8");
    fixture_close(&g);
    /* how the batch is cut is another matter */
    fixture_init(&g);
    g.n = 1;
    g.micro_count = 2;
    g.dtype = fixture_bf16;
    fixture_must_open(&g, OPTIONS("train.w_kd=0.5", "backend=cpu"));
    assert_int_equal(g.plugin->set_state(g.session, blob, size, &g.error), DUKD_OK);
    fixture_close(&g);
    fixture_close(&f);
}

/* ---------------------------------------------------------------- fork, extensions, destroy */

static void a_forked_session_says_so(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass = NULL;
    fixture_init(&f);
    fixture_must_open(&f, NULL);
    fixture_step(&f, 1, 0, 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const dukd_plan *plan = NULL;
        dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
        uint64_t size = 0;
        const dukd_ext_draws *draws = f.plugin->get_extension(DUKD_EXT_DRAWS);
        int wrong = fixture_begin(&f, 2, 2, 0) != DUKD_E_STATE || strstr(f.error.message, "fork") == NULL;
        wrong |= f.plugin->next_pass(f.session, &pass, &f.error) != DUKD_E_STATE;
        wrong |= f.plugin->end_step(f.session, &f.error) != DUKD_E_STATE;
        wrong |= f.plugin->cancel_step(f.session, &f.error) != DUKD_E_STATE;
        wrong |= f.plugin->get_plan(f.session, &plan, &f.error) != DUKD_E_STATE;
        wrong |= f.plugin->read_losses(f.session, &losses, &f.error) != DUKD_E_STATE;
        wrong |= f.plugin->get_state(f.session, NULL, &size, &f.error) != DUKD_E_STATE;
        wrong |= f.plugin->set_state(f.session, "x", 1, &f.error) != DUKD_E_STATE;
        wrong |= draws->set_source(f.session, NULL, NULL, &f.error) != DUKD_E_STATE;
        f.plugin->destroy_session(f.session);
        _exit(wrong || f.outstanding != 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fixture_step(&f, 2, 2, 0); /* the parent's is as good as before */
    fixture_close(&f);
}

static void the_table_and_its_extensions(void **state) {
    (void)state;
    const dukd_plugin *p = dukd_get_plugin_draft(DUKD_ABI_DRAFT);
    assert_int_equal(p->struct_size, DUKD_PLUGIN_SIZE);
    assert_int_equal(p->abi_draft, DUKD_ABI_DRAFT);
    assert_ptr_equal(dukd_get_plugin_draft(999), p); /* still a table, of which two fields may be read */
    assert_null(p->get_extension("dukd.nothing/1"));
    assert_null(p->get_extension(NULL));
    const dukd_ext_draws *draws = p->get_extension(DUKD_EXT_DRAWS);
    assert_int_equal(draws->struct_size, DUKD_EXT_DRAWS_SIZE);
    dukd_backend_info backend = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    assert_int_equal(p->query_backend(0, &backend, &error), DUKD_OK);
    assert_string_equal(backend.name, "cpu");
    assert_int_equal(backend.usable, 1);
    assert_int_equal(backend.device_type, DUKD_DEVICE_CPU);
    assert_int_equal(p->query_backend(1, &backend, &error), DUKD_OK);
    assert_string_equal(backend.name, "cuda");
    assert_int_equal(backend.device_type, DUKD_DEVICE_CUDA);
    assert_true(strlen(backend.detail) > 0);
    assert_int_equal(p->query_backend(2, &backend, &error), DUKD_E_ARGUMENT);
    assert_int_equal(p->query_backend(0, NULL, &error), DUKD_E_ARGUMENT);
    backend.struct_size = 8;
    assert_int_equal(p->query_backend(0, &backend, &error), DUKD_E_ARGUMENT);
    /* a larger struct of a later host: what is past the known part stays */
    struct {
        dukd_backend_info info;
        uint64_t later;
    } grown = {.info = {.struct_size = DUKD_BACKEND_INFO_SIZE + 8}, .later = 77};
    assert_int_equal(p->query_backend(0, &grown.info, &error), DUKD_OK);
    assert_int_equal(grown.info.struct_size, DUKD_BACKEND_INFO_SIZE + 8);
    assert_int_equal(grown.later, 77);
    p->destroy_session(NULL);
}

static void a_session_can_be_destroyed_anywhere(void **state) {
    (void)state;
    for (int where = 0; where < 5; where++) {
        fixture f;
        const dukd_pass *pass = NULL;
        fixture_init(&f);
        fixture_must_open(&f, OPTIONS("train.zoom_in=hardest"));
        if (where > 0) fixture_batch(&f, 0);
        if (where > 0) assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
        if (where > 1) assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
        if (where > 2) assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
        if (where > 3) assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_out_of_order_are_refused_and_change_nothing),
        cmocka_unit_test(end_step_waits_for_done),
        cmocka_unit_test(cancelling_says_whether_weights_moved_and_restores),
        cmocka_unit_test(the_host_can_give_up_at_any_question),
        cmocka_unit_test(losses_are_named_and_weighted_as_their_mode_does),
        cmocka_unit_test(what_is_not_finite_is_reported_and_goes_on),
        cmocka_unit_test(the_state_knows_its_configuration),
        cmocka_unit_test(a_forked_session_says_so),
        cmocka_unit_test(the_table_and_its_extensions),
        cmocka_unit_test(a_session_can_be_destroyed_anywhere),
    };
    return cmocka_run_group_tests_name("session_calls", tests, NULL, NULL);
}
