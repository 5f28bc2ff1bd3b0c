/* Group steps: the course of a step. */
#include <math.h>
#include <string.h>

#include "conform.h"
#include "dukd_ext_draws.h"
#include "toy_step.h"

/* ---- which call comes when ---- */

static conform_result not_now(conform *c, const char *what, int32_t code, const dukd_error *e) {
    REQUIRE(c, code == DUKD_E_STATE, "%s: gave %d, not %d", what, code, DUKD_E_STATE);
    REQUIRE(c, e->message[0], "%s: no message", what);
    return CONFORM_PASS;
}

static conform_result order(conform *c) {
    toy_session t;
    toy_result r;
    const dukd_pass *pass;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    uint64_t size = 0;
    const dukd_plugin *p = c->plugin;
    dukd_error e;
    TRY(toy_open(c, &t, (toy_setup){0}));
    const dukd_step step = toy_step_of(&t, &(toy_run){0});
#define NOT_NOW(text, call)                                                                                  \
    e = (dukd_error){.struct_size = DUKD_ERROR_SIZE};                                                        \
    TRY(not_now(c, text, call, &e))
    NOT_NOW("next_pass before begin_step", p->next_pass(t.s, &pass, &e));
    NOT_NOW("end_step before begin_step", p->end_step(t.s, &e));
    NOT_NOW("cancel_step before begin_step", p->cancel_step(t.s, &e));
    NOT_NOW("read_losses before any step was ended", p->read_losses(t.s, &losses, &e));
    REQUIRE(c, p->begin_step(t.s, &step, NULL) == DUKD_OK, "begin_step failed");
    NOT_NOW("begin_step twice", p->begin_step(t.s, &step, &e));
    NOT_NOW("end_step at once", p->end_step(t.s, &e));
    NOT_NOW("read_losses in a step", p->read_losses(t.s, &losses, &e));
    NOT_NOW("get_state in a step", p->get_state(t.s, NULL, &size, &e));
    NOT_NOW("set_state in a step", p->set_state(t.s, &size, sizeof size, &e));
    int32_t code = DUKD_OK;
    for (int i = 0; code == DUKD_OK && i < TOY_MAX_PASSES; i++) code = p->next_pass(t.s, &pass, NULL);
    REQUIRE(c, code == DUKD_STEP_DONE || code == DUKD_WAIT, "next_pass gave %d", code);
    NOT_NOW("end_step with passes that are not submitted", p->end_step(t.s, &e));
    REQUIRE(c, p->cancel_step(t.s, NULL) == DUKD_OK, "cancel_step before any submit_pass is not DUKD_OK");
    NOT_NOW("cancel_step again", p->cancel_step(t.s, &e));
    NOT_NOW("next_pass after cancel_step", p->next_pass(t.s, &pass, &e));
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    NOT_NOW("next_pass after end_step", p->next_pass(t.s, &pass, &e));
    NOT_NOW("end_step again", p->end_step(t.s, &e));
    NOT_NOW("cancel_step after end_step", p->cancel_step(t.s, &e));
#undef NOT_NOW
    REQUIRE(c, p->begin_step(t.s, &step, NULL) == DUKD_OK, "the next begin_step failed");
    toy_close(c, &t); /* in the middle of a step */
    return CONFORM_PASS;
}

/* ---- several passes at a time ---- */

static conform_result together(conform *c) {
    const struct {
        toy_order order;
        const char *what;
    } ways[] = {{TOY_TOGETHER, "taken together"}, {TOY_TOGETHER_BACKWARDS, "submitted in another order"}};
    for (int64_t i = 1; i <= 2; i++) {
        toy_result one_by_one, r;
        TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = i}, &one_by_one));
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = i, .order = ways[k].order}, &r));
            REQUIRE(c, one_by_one.passes == r.passes && one_by_one.inputs_hash == r.inputs_hash,
                    "passes that are %s are others than one by one", ways[k].what);
            REQUIRE(c,
                    toy_difference(&one_by_one, &r) <= 1e-6 &&
                        fabs(one_by_one.total - r.total) <= 1e-9 * fabs(one_by_one.total),
                    "passes that are %s give other gradients or losses than one by one", ways[k].what);
            toy_result_free(&r);
        }
        toy_result_free(&one_by_one);
    }
    return CONFORM_PASS;
}

/* A pass that comes after an optimizer step, or needs an answer, must be waited for. */
static conform_result waits(conform *c) {
    toy_session t;
    toy_run run = {0};
    toy_pass held[TOY_MAX_PASSES] = {0};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int n = 0;
    TRY(toy_open(c, &t, (toy_setup){0}));
    const dukd_step step = toy_step_of(&t, &run);
    REQUIRE(c, c->plugin->begin_step(t.s, &step, &e) == DUKD_OK, "begin_step: %s", e.message);
    int32_t code;
    while ((code = c->plugin->next_pass(t.s, &held[n].pass, &e)) == DUKD_OK) {
        for (int i = 0; i < n; i++)
            REQUIRE(c, !(held[i].pass->flags & DUKD_PASS_OPTIMIZE_AFTER),
                    "pass %u was handed out before the optimizer step of pass %u", held[n].pass->id,
                    held[i].pass->id);
        REQUIRE(c, ++n < TOY_MAX_PASSES, "a step has more passes than this suite can follow");
    }
    if (code == DUKD_STEP_DONE && n < 2) {
        toy_close(c, &t);
        return conform_skip(c, "a step has one pass");
    }
    REQUIRE(c, code == DUKD_WAIT || code == DUKD_STEP_DONE, "next_pass gave %d: %s", code, e.message);
    const dukd_pass *none;
    REQUIRE(c, c->plugin->next_pass(t.s, &none, &e) == code,
            "asked again before anything was submitted next_pass gives another answer");
    for (int i = 0; i < n; i++) {
        toy_submit s;
        if (toy_pass_make(c, &t, &held[i], &run, 0)) return CONFORM_FAIL;
        toy_submit_of(&held[i], &run, &s);
        REQUIRE(c, c->plugin->submit_pass(t.s, &s.submit, &e) == DUKD_OK, "submit_pass: %s", e.message);
        toy_pass_free(&held[i]);
    }
    TRY(toy_finish(c, &t, &run)); /* nothing is held: next_pass may not say DUKD_WAIT */
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- what belongs to the host ---- */

static conform_result read_only(conform *c) {
    for (int layout = TOY_DENSE; layout < TOY_LAYOUTS; layout++) {
        toy_result r;
        const toy_setup setup = {.layout = (toy_layout)layout};
        const toy_run run = {.iteration = 2,
                             .values = (toy_layout)layout,
                             .same_channels = layout == TOY_BROADCAST,
                             .order = TOY_TOGETHER};
        TRY(toy_once(c, setup, run, &r));
        REQUIRE(c, !r.batch_changed, "LR or HR was written (%s)", toy_layout_names[layout]);
        REQUIRE(c, !r.values_changed, "the value of a tap was written (%s)", toy_layout_names[layout]);
        toy_result_free(&r);
    }
    return CONFORM_PASS;
}

static conform_result after_submit(conform *c) {
    toy_result kept, wiped;
    const toy_run run = {.iteration = 2, .order = TOY_TOGETHER},
                  wipe = {.iteration = 2, .order = TOY_TOGETHER, .wipe = 1};
    TRY(toy_once(c, (toy_setup){0}, run, &kept));
    TRY(toy_once(c, (toy_setup){0}, wipe, &wiped));
    REQUIRE(c, memcmp(&kept.total, &wiped.total, sizeof kept.total) == 0,
            "l_total is %g where values are gone after submit_pass and the batch after end_step, else %g",
            wiped.total, kept.total);
    REQUIRE(c, toy_identical(&kept, &wiped), "values are read after submit_pass: gradients differ");
    REQUIRE(c, !kept.grads_changed && !wiped.grads_changed, "a gradient was written after its submit_pass");
    toy_result_free(&kept);
    toy_result_free(&wiped);
    return CONFORM_PASS;
}

/* ---- giving up ---- */

/* Two steps, the second given up at every place there is, and then done. */
static conform_result given_up(conform *c) {
    toy_result undisturbed, r;
    const toy_run first = {.iteration = 1}, second = {.iteration = 2, .first_sample = 2};
    toy_session t;
    TRY(toy_open(c, &t, (toy_setup){0}));
    if (toy_step(c, &t, &first, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    if (toy_step(c, &t, &second, &undisturbed)) return CONFORM_FAIL;
    toy_close(c, &t);
    for (int place = 1; place < 64; place++) {
        toy_run given = {
            .iteration = 2, .first_sample = 2, .order = place % 2 ? TOY_ONE_BY_ONE : TOY_TOGETHER};
        given.give_up = (place + 1) / 2;
        TRY(toy_open(c, &t, (toy_setup){0}));
        if (toy_step(c, &t, &first, &r)) return CONFORM_FAIL;
        toy_result_free(&r);
        if (toy_step(c, &t, &given, &r)) return CONFORM_FAIL;
        int over = r.over;
        REQUIRE(c, over || r.gave_up == (r.moved ? DUKD_WEIGHTS_MOVED : DUKD_OK),
                "cancel_step gave %d, though %s pass with OPTIMIZE_AFTER had been submitted", r.gave_up,
                r.moved ? "a" : "no");
        toy_result_free(&r);
        if (!over) {
            if (toy_step(c, &t, &second, &r)) return CONFORM_FAIL;
            REQUIRE(c, toy_identical(&undisturbed, &r),
                    "a step that was given up has changed what the next one does");
            toy_result_free(&r);
        }
        toy_close(c, &t);
        if (over && !(place % 2)) break;
    }
    toy_result_free(&undisturbed);
    return CONFORM_PASS;
}

/* ---- micro-batches ---- */

/* Both micro-batches of a step; `before` comes between them and is given up, then the whole step is begun anew or not. */
static conform_result two_micro_batches(conform *c, const toy_run *before, int anew, toy_result *first,
                                        toy_result *second) {
    const toy_run one = {.iteration = 2, .first_sample = 8},
                  two = {.iteration = 2, .first_sample = 10, .micro_index = 1};
    toy_session t;
    toy_result r;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    TRY(toy_open(c, &t, (toy_setup){.micro_count = 2}));
    dukd_step step = toy_step_of(&t, &two);
    int32_t code = c->plugin->begin_step(t.s, &step, NULL);
    REQUIRE(c, code == DUKD_E_STATE || code == DUKD_E_ARGUMENT,
            "micro-batch 1 before micro-batch 0: begin_step gave %d", code);
    if (toy_step(c, &t, &one, first)) return CONFORM_FAIL;
    code = c->plugin->read_losses(t.s, &losses, NULL);
    REQUIRE(c, code == DUKD_E_STATE, "read_losses before the last micro-batch gave %d", code);
    if (before) {
        if (toy_step(c, &t, before, &r)) return CONFORM_FAIL;
        toy_result_free(&r);
        if (anew) {
            toy_result_free(first);
            if (toy_step(c, &t, &one, first)) return CONFORM_FAIL;
        }
    }
    if (toy_step(c, &t, &two, second)) return CONFORM_FAIL;
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result micro_batches(conform *c) {
    /* the second micro-batch is begun again, or the whole step is */
    const toy_run again = {.iteration = 2, .first_sample = 10, .micro_index = 1, .give_up = 2};
    const struct {
        const char *what;
        const toy_run *before;
        int anew;
    } ways[] = {{"", NULL, 0}, {"begun again", &again, 0}, {"begun anew", &again, 1}};
    toy_result whole, first, second[3];
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2, .first_sample = 8}, &whole));
    for (int k = 0; k < 3; k++) {
        TRY(two_micro_batches(c, ways[k].before, ways[k].anew, &first, &second[k]));
        REQUIRE(c, first.zeroed == whole.zeroed && second[k].zeroed == 0,
                "gradients must be cleared in the first micro-batch only");
        REQUIRE(c, first.optimizer_steps == 0 && second[k].optimizer_steps == whole.optimizer_steps,
                "the optimizer must step in the last micro-batch only");
        REQUIRE(c, first.averaged == 0 && second[k].averaged == whole.averaged,
                "the average must be updated in the last micro-batch only");
        REQUIRE(c, toy_identical(&second[0], &second[k]),
                "a micro-batch was given up, and the step %s: l_total is %g, not %g", ways[k].what,
                second[k].total, second[0].total);
        toy_result_free(&first);
    }
    for (int k = 0; k < 3; k++) toy_result_free(&second[k]);
    toy_result_free(&whole);
    return CONFORM_PASS;
}

/* ---- losses ---- */

typedef struct {
    dukd_losses first;
    char names[32][64];
    double values[32];
} seen_losses;

static conform_result read_again(conform *c, const toy_session *t, dukd_losses *out) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    *out = (dukd_losses){.struct_size = DUKD_LOSSES_SIZE};
    int32_t code = c->plugin->read_losses(t->s, out, &e);
    REQUIRE(c, code == DUKD_OK, "read_losses gave %d: %s", code, e.message);
    REQUIRE(c, out->n_losses && out->n_losses <= 32 && out->names && out->values,
            "read_losses gives %u losses", out->n_losses);
    return CONFORM_PASS;
}

/* What was read before is still there, in the middle of a step. */
static conform_result still_there(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    const seen_losses *seen = arg;
    (void)t, (void)pass;
    for (uint32_t i = 0; i < seen->first.n_losses; i++)
        REQUIRE(c, !memcmp(&seen->first.values[i], &seen->values[i], sizeof(double)),
                "losses that were read have changed before the next end_step");
    return CONFORM_PASS;
}

static conform_result losses(conform *c) {
    toy_session t;
    toy_result r;
    seen_losses seen;
    TRY(toy_open(c, &t, (toy_setup){0}));
    if (toy_step(c, &t, &(toy_run){.iteration = 5}, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    TRY(read_again(c, &t, &seen.first));
    REQUIRE(c, seen.first.iteration == 5, "losses of iteration 5 are said to be of %lld",
            (long long)seen.first.iteration);
    int totals = 0;
    for (uint32_t i = 0; i < seen.first.n_losses; i++) {
        const char *name = seen.first.names[i];
        REQUIRE(c, name && name[0] && strlen(name) < sizeof *seen.names, "loss %u has no name, or a long one",
                i);
        strcpy(seen.names[i], name);
        seen.values[i] = seen.first.values[i];
        REQUIRE(c, isfinite(seen.values[i]), "%s is %g", name, seen.values[i]);
        totals += strcmp(name, "l_total") == 0;
        for (uint32_t k = 0; k < i; k++)
            REQUIRE(c, strcmp(name, seen.names[k]) != 0, "loss %s is there twice", name);
    }
    REQUIRE(c, totals == 1, "one loss is l_total");
    if (toy_step(c, &t, &(toy_run){.iteration = 6, .look = still_there, .arg = &seen}, &r))
        return CONFORM_FAIL;
    toy_result_free(&r);
    dukd_losses next;
    TRY(read_again(c, &t, &next));
    REQUIRE(c, next.iteration == 6 && next.n_losses == seen.first.n_losses,
            "after the next step the losses are of iteration %lld, and %u", (long long)next.iteration,
            next.n_losses);
    for (uint32_t i = 0; i < next.n_losses; i++)
        REQUIRE(c, !strcmp(next.names[i], seen.names[i]) && !strcmp(seen.first.names[i], seen.names[i]),
                "loss %u is called %s now; it was %s", i, next.names[i], seen.names[i]);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- recorded draws ---- */

typedef struct {
    int32_t answer;  /* 1: crops are chosen; 0: the plugin draws; negative: an error */
    int past_bounds; /* the value is the bound itself */
    int asked, bad, crops;
    int64_t iteration;
    uint64_t row, col; /* that were chosen */
} source;

/* Chooses the last row and column there is. */
static int32_t draw(void *ctx, const dukd_draw *d, uint64_t *value) {
    source *s = ctx;
    s->asked++;
    s->bad |= d->struct_size < DUKD_DRAW_SIZE || d->bound == 0 || d->iteration != s->iteration;
    if (s->answer < 0) return s->answer;
    if (s->past_bounds) {
        *value = d->bound;
        return 1;
    }
    if (!s->answer || (d->what != DUKD_DRAW_CROP_ROW && d->what != DUKD_DRAW_CROP_COL)) return 0;
    *value = d->bound - 1;
    *(d->what == DUKD_DRAW_CROP_ROW ? &s->row : &s->col) = *value;
    s->crops++;
    return 1;
}

static conform_result at_chosen_place(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    const source *s = arg;
    (void)t;
    for (uint32_t i = 0; i < pass->n_inputs && s->crops; i++) {
        const dukd_origin *o = pass->inputs[i]->origin;
        for (uint32_t n = 0; o && o->rows && o->cols && n < o->n_samples; n++)
            REQUIRE(c, (uint64_t)o->rows[n] == s->row && (uint64_t)o->cols[n] == s->col,
                    "row %llu and column %llu were chosen, but the crop is at (%d, %d)",
                    (unsigned long long)s->row, (unsigned long long)s->col, o->rows[n], o->cols[n]);
    }
    return CONFORM_PASS;
}

static conform_result draws(conform *c) {
    const dukd_ext_draws *ext = c->plugin->get_extension(DUKD_EXT_DRAWS);
    toy_session t;
    toy_result undisturbed, r;
    source s = {.iteration = 3};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    const toy_run run = {.iteration = 3}, chosen = {.iteration = 3, .look = at_chosen_place, .arg = &s};
    if (!ext) return conform_skip(c, "the plugin does not have " DUKD_EXT_DRAWS);
    TRY(toy_once(c, (toy_setup){0}, run, &undisturbed));
    TRY(toy_open(c, &t, (toy_setup){0}));
    REQUIRE(c, ext->set_source(NULL, draw, &s, &e) == DUKD_E_ARGUMENT, "set_source without a session");
    REQUIRE(c, ext->set_source(t.s, draw, &s, &e) == DUKD_OK, "set_source: %s", e.message);
    if (toy_step(c, &t, &run, &r)) return CONFORM_FAIL;
    REQUIRE(c, toy_identical(&undisturbed, &r), "a source that leaves every draw to the plugin changes them");
    REQUIRE(c, !s.bad, "a source was asked with a wrong struct_size, iteration or bound");
    toy_result_free(&r);
    toy_close(c, &t);
    if (!s.asked) {
        TRY(toy_once(c, (toy_setup){.seed = 8}, run, &r));
        REQUIRE(c, r.inputs_hash == undisturbed.inputs_hash,
                "another seed gives other inputs, but a source of draws is never asked");
        toy_result_free(&r);
        toy_result_free(&undisturbed);
        return conform_skip(c, "nothing is drawn");
    }
    TRY(toy_open(c, &t, (toy_setup){0}));
    s.answer = 1;
    REQUIRE(c, ext->set_source(t.s, draw, &s, &e) == DUKD_OK, "set_source: %s", e.message);
    if (toy_step(c, &t, &chosen, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    const dukd_step step = toy_step_of(&t, &run);
    s.past_bounds = 1;
    int32_t code = c->plugin->begin_step(t.s, &step, &e);
    REQUIRE(c, code == DUKD_E_ARGUMENT, "a choice past its bound: begin_step gave %d", code);
    s.answer = DUKD_E_CANCELLED;
    code = c->plugin->begin_step(t.s, &step, &e);
    REQUIRE(c, code == DUKD_E_CANCELLED, "the source gave %d, begin_step %d", DUKD_E_CANCELLED, code);
    REQUIRE(c, c->plugin->cancel_step(t.s, NULL) == DUKD_OK, "then cancel_step is not DUKD_OK");
    REQUIRE(c, ext->set_source(t.s, NULL, NULL, &e) == DUKD_OK, "set_source(NULL): %s", e.message);
    toy_close(c, &t);
    toy_result_free(&undisturbed);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"order", "a call that does not come now is DUKD_E_STATE (THE IDEA)", order},
    {"together", "passes taken together, and submitted in any order, are those taken one by one (THE IDEA)",
     together},
    {"waits",
     "no pass before an optimizer step that it comes after; DUKD_WAIT only where one is held (DUKD_WAIT)",
     waits},
    {"read-only", "LR, HR and the taps' values are not written (dukd_step, dukd_submit)", read_only},
    {"after-submit", "values are needed during submit_pass only, the batch until end_step (dukd_submit)",
     after_submit},
    {"given-up", "cancel_step leaves no trace, and says whether weights have moved (cancel_step)", given_up},
    {"micro-batches", "cleared in the first micro-batch, optimized in the last (dukd_step.micro_index)",
     micro_batches},
    {"losses", "names stay, values stay until the next end_step, one is l_total (dukd_losses)", losses},
    {"draws", "a source's choices are taken, its errors returned (" DUKD_EXT_DRAWS ")", draws},
};
const conform_group conform_steps = {"steps", "the course of a step", 0, checks,
                                     sizeof checks / sizeof *checks};
