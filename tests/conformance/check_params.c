/* Group params: a plugin that has parameters of its own (dukd_ext_params.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "toy_step.h"

/* A session with its list of parameters, not bound. A skip where there are none. */
static conform_result find(conform *c, toy_session *t) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_prepare(c, t, (toy_setup){0}));
    int32_t code = c->plugin->create_session(&t->params, &t->s, &e);
    REQUIRE(c, code == DUKD_OK, "create_session gave %d: %s", code, e.message);
    TRY(toy_params_find(c, &t->own, t->s));
    if (t->own.n) return CONFORM_PASS;
    toy_close(c, t);
    return conform_skip(c, "the plugin has no parameters of its own here");
}

static conform_result open_bound(conform *c, toy_session *t) {
    TRY(find(c, t));
    return toy_params_open(c, &t->own, t->s);
}

/* ---- the list ---- */

static int plain(const char *name) {
    const size_t n = strlen(name);
    return n > 0 && n < 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == n;
}

static conform_result listed(conform *c) {
    toy_session t, u;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(find(c, &t));
    TRY(find(c, &u));
    const dukd_param_list *again = NULL, *a = t.own.list, *b = u.own.list;
    REQUIRE(c, t.own.ext->list(t.s, &again, &e) == DUKD_OK && again == a, "list twice is not the same");
    REQUIRE(c, t.own.ext->list(t.s, NULL, &e) == DUKD_E_ARGUMENT && e.message[0], "list(out NULL) is taken");
    REQUIRE(c, t.own.ext->list(NULL, &again, &e) == DUKD_E_ARGUMENT, "list(session NULL) is taken");
    REQUIRE(c, a->n_params == b->n_params, "two sessions alike have %u and %u parameters", a->n_params,
            b->n_params);
    for (uint32_t i = 0; i < a->n_params; i++) {
        const dukd_param_info *p = a->params[i], *q = b->params[i];
        REQUIRE(c, plain(p->name), "parameter %u: '%s' is no name (letters, digits, '_', '.')", i, p->name);
        REQUIRE(c, !p->flags && !p->pad0, "parameter %s: flags or pad0 are not zero", p->name);
        REQUIRE(c,
                strcmp(p->name, q->name) == 0 && p->ndim == q->ndim &&
                    memcmp(p->shape, q->shape, p->ndim * sizeof *p->shape) == 0,
                "parameter %s is another in a second session alike", p->name);
        for (uint32_t k = 0; k < i; k++)
            REQUIRE(c, strcmp(p->name, a->params[k]->name) != 0, "two parameters are called %s", p->name);
    }
    toy_close(c, &t);
    toy_close(c, &u);
    return CONFORM_PASS;
}

/* ---- bind ---- */

static conform_result bind_first(conform *c) {
    toy_session t;
    toy_result r;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(find(c, &t));
    const dukd_step step = toy_step_of(&t, &(toy_run){0});
    int32_t code = c->plugin->begin_step(t.s, &step, &e);
    REQUIRE(c, code == DUKD_E_STATE && e.message[0], "begin_step before bind gave %d", code);
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL; /* binds */
    toy_result_free(&r);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* Values, in a copy of all parameters one after the other. */
static float *copy_values(toy_params *p, int64_t *count) {
    *count = 0;
    for (uint32_t i = 0; i < p->n; i++) *count += p->param[i].count;
    float *out = malloc((uint64_t)*count * sizeof *out), *to = out;
    for (uint32_t i = 0; i < p->n && out; to += p->param[i++].count)
        memcpy(to, toy_param_values(p, i), (uint64_t)p->param[i].count * sizeof *out);
    return out;
}

/* Sessions beside and steps before must not matter. */
static conform_result init(conform *c) {
    toy_session t, u;
    toy_result r;
    int64_t n;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(find(c, &t));
    const uint64_t grads = toy_params_hash(&t.own, 1);
    TRY(toy_params_open(c, &t.own, t.s));
    REQUIRE(c, toy_params_hash(&t.own, 1) == grads, "bind has written gradients");
    REQUIRE(c, !toy_params_unwritten(&t.own), "DUKD_BIND_INIT leaves %lld elements of values as they were",
            (long long)toy_params_unwritten(&t.own));
    REQUIRE(c, !toy_params_spilled(&t.own), "bind has written memory beside the values");
    float *first = copy_values(&t.own, &n);
    REQUIRE(c, first, "the suite is out of memory");
    for (int64_t i = 0; i < n; i++) REQUIRE(c, isfinite(first[i]), "a first value is not finite");
    if (toy_step(c, &t, &(toy_run){.iteration = 5}, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    TRY(open_bound(c, &u));
    for (int again = 0; again < 2; again++) {
        toy_session *who = again ? &t : &u;
        int32_t code = again ? toy_params_bind(&t.own, t.s, DUKD_BIND_INIT, &e) : DUKD_OK;
        REQUIRE(c, code == DUKD_OK, "a second bind gave %d: %s", code, e.message);
        float *values = copy_values(&who->own, &n);
        REQUIRE(c, values && memcmp(values, first, (uint64_t)n * sizeof *values) == 0,
                "the same seed gives other first values %s", again ? "after a step" : "in another session");
        free(values);
    }
    for (int64_t i = 0; i < u.own.param[0].count; i++) toy_param_values(&u.own, 0)[i] = 3;
    const uint64_t mine = toy_params_hash(&u.own, 0);
    int32_t code = toy_params_bind(&u.own, u.s, 0, &e);
    REQUIRE(c, code == DUKD_OK && toy_params_hash(&u.own, 0) == mine,
            "bind without DUKD_BIND_INIT gave %d, or has written values", code);
    free(first);
    toy_close(c, &t);
    toy_close(c, &u);
    return CONFORM_PASS;
}

typedef struct {
    const char *what;
    dukd_param_bind bind;
    int32_t code;
} bad_bind;

static conform_result bind_refused(conform *c) {
    enum { CASES = 12 };
    toy_session t;
    toy_result undisturbed, r;
    TRY(open_bound(c, &t));
    if (toy_step(c, &t, &(toy_run){0}, &undisturbed)) return CONFORM_FAIL;
    const dukd_tensor *values[TOY_MAX_PARAMS], *grads[TOY_MAX_PARAMS], *list[6][TOY_MAX_PARAMS];
    for (uint32_t i = 0; i < t.own.n; i++)
        values[i] = &t.own.param[i].tensor[0], grads[i] = &t.own.param[i].tensor[1];
    int64_t shape[TOY_MAX_DIMS] = {0}, strides[TOY_MAX_DIMS];
    dukd_tensor other_shape = *values[0], other_type = *values[0], empty = *values[0], gaps = *values[0],
                cuda = *values[0];
    for (int32_t d = 0; d < other_shape.ndim; d++) shape[d] = other_shape.shape[d] + 1, strides[d] = 2;
    other_shape.shape = shape;
    other_type.dtype = toy_f16;
    empty.data = NULL;
    gaps.strides = strides;
    cuda.device.device_type = DUKD_DEVICE_CUDA;
    const dukd_tensor *wrong[6] = {&other_shape, &other_type, &empty, &gaps, &cuda, NULL};
    for (int k = 0; k < 6; k++) {
        memcpy(list[k], values, sizeof values);
        list[k][0] = wrong[k];
    }
    const dukd_param_bind good = {
        .struct_size = DUKD_PARAM_BIND_SIZE, .n_params = t.own.n, .values = values, .grads = grads};
    bad_bind bad[CASES] = {
        {"n_params", good, DUKD_E_ARGUMENT},       {"unknown flags", good, DUKD_E_ARGUMENT},
        {"values NULL", good, DUKD_E_ARGUMENT},    {"grads NULL", good, DUKD_E_ARGUMENT},
        {"struct_size", good, DUKD_E_ARGUMENT},    {"pad0", good, DUKD_E_ARGUMENT},
        {"another shape", good, DUKD_E_ARGUMENT},  {"another type", good, DUKD_E_ARGUMENT},
        {"no data", good, DUKD_E_ARGUMENT},        {"strides with gaps", good, DUKD_E_ARGUMENT},
        {"another device", good, DUKD_E_ARGUMENT}, {"a value NULL", good, DUKD_E_ARGUMENT}};
    bad[0].bind.n_params++;
    bad[1].bind.flags = 0x80;
    bad[2].bind.values = NULL;
    bad[3].bind.grads = NULL;
    bad[4].bind.struct_size = 8;
    bad[5].bind.pad0 = 1;
    for (int k = 0; k < 6; k++) bad[6 + k].bind.values = list[k];
    for (int k = 0; k < CASES; k++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        if (wrong[3] == list[3][0] && k == 9 && t.own.param[0].count == 1)
            continue; /* one element has no gaps */
        bad[k].bind.flags |= k == 1 ? 0 : DUKD_BIND_INIT;
        int32_t code = t.own.ext->bind(t.s, &bad[k].bind, &e);
        REQUIRE(c, code == bad[k].code && e.code == code && e.message[0], "bind with wrong %s gave %d: %s",
                bad[k].what, code, e.message);
    }
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    REQUIRE(c, t.own.ext->bind(t.s, NULL, &e) == DUKD_E_ARGUMENT && e.message[0], "bind(NULL) is taken");
    REQUIRE(c, t.own.ext->bind(NULL, &good, NULL) == DUKD_E_ARGUMENT, "bind(session NULL) is taken");
    const dukd_step step = toy_step_of(&t, &(toy_run){0});
    REQUIRE(c, c->plugin->begin_step(t.s, &step, NULL) == DUKD_OK, "begin_step failed");
    int32_t code = t.own.ext->bind(t.s, &good, &e);
    REQUIRE(c, code == DUKD_E_STATE, "bind in a step gave %d", code);
    REQUIRE(c, c->plugin->cancel_step(t.s, NULL) == DUKD_OK, "cancel_step failed");
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    REQUIRE(c, toy_identical(&undisturbed, &r), "a bind that was refused has changed what a step does");
    toy_result_free(&undisturbed);
    toy_result_free(&r);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- gradients ---- */

/* A step, or the two micro-batches of one: l_total and the gradients of parameters, in *out. */
static conform_result total_of(conform *c, uint32_t micro_count, const toy_run *run, toy_result *out) {
    toy_session t;
    TRY(toy_open(c, &t, (toy_setup){.micro_count = micro_count}));
    if (!t.own.n) {
        toy_close(c, &t);
        return conform_skip(c, "the plugin has no parameters of its own here");
    }
    if (toy_step(c, &t, run, out)) return CONFORM_FAIL;
    for (uint32_t m = 1; m < micro_count; m++) {
        toy_result_free(out);
        const toy_run next = {
            .iteration = run->iteration, .first_sample = run->first_sample + 2 * m, .micro_index = m};
        if (toy_step(c, &t, &next, out)) return CONFORM_FAIL;
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* Along a direction that is not zero in one element in `parts`. */
static conform_result along(conform *c, uint32_t micro_count, toy_run run, const toy_result *at,
                            const float *direction, int parts) {
    const double step = 1e-3;
    const float *grad = at->params[run.param].grad;
    double totals[2], says = 0, norm = 0;
    for (int64_t i = 0; i < at->params[run.param].count; i++) {
        says += (double)grad[i] * (double)direction[i];
        norm += fabs((double)grad[i]);
    }
    REQUIRE(c, norm > 0, "the gradient of parameter %u is all zeros", run.param);
    run.param_direction = direction;
    for (int side = 0; side < 2; side++) {
        toy_result r;
        run.probe_step = side ? -step : step;
        TRY(total_of(c, micro_count, &run, &r));
        totals[side] = r.total;
        toy_result_free(&r);
    }
    const double measured = (totals[0] - totals[1]) / (2 * step);
    REQUIRE(c, fabs(measured - says) <= 0.02 * norm / parts + 1e-4 * fabs(totals[0]),
            "parameter %u: along a direction the loss changes by %g, the gradient says %g", run.param,
            measured, says);
    return CONFORM_PASS;
}

static conform_result differentiate(conform *c, uint32_t micro_count) {
    enum { PARTS = 4 };
    toy_result at;
    toy_run run = {.iteration = 2, .first_sample = 4};
    TRY(total_of(c, micro_count, &run, &at));
    for (run.param = 0; run.param < at.n_params; run.param++) {
        const int64_t n = at.params[run.param].count;
        const float *grad = at.params[run.param].grad;
        float *direction = malloc((uint64_t)n * sizeof *direction);
        REQUIRE(c, direction, "the suite is out of memory");
        for (int64_t i = 0; i < n; i++) direction[i] = grad[i] < 0 ? -1 : grad[i] > 0 ? 1 : 0;
        TRY(along(c, micro_count, run, &at, direction, 1));
        for (int64_t part = 0; part < PARTS && n >= PARTS; part++) {
            for (int64_t i = 0; i < n; i++) direction[i] = i * PARTS / n == part ? 1 : 0;
            TRY(along(c, micro_count, run, &at, direction, PARTS));
        }
        free(direction);
    }
    toy_result_free(&at);
    return CONFORM_PASS;
}

static conform_result derivative(conform *c) {
    return differentiate(c, 1);
}

static conform_result micro(conform *c) {
    return differentiate(c, 2);
}

static conform_result adds(conform *c) {
    const float fill = 0.5f;
    toy_session t;
    toy_result plain_step, filled;
    TRY(open_bound(c, &t));
    if (toy_step(c, &t, &(toy_run){.iteration = 2}, &plain_step) ||
        toy_step(c, &t, &(toy_run){.iteration = 2, .param_fill = fill}, &filled))
        return CONFORM_FAIL;
    for (uint32_t i = 0; i < plain_step.n_params; i++)
        for (int64_t k = 0; k < plain_step.params[i].count; k++) {
            const double is = (double)filled.params[i].grad[k],
                         want = (double)plain_step.params[i].grad[k] + (double)fill;
            REQUIRE(c, fabs(is - want) <= 1e-5 * (1 + fabs(want)),
                    "parameter %u: a gradient of %g became %g, not %g: submit_pass does not add", i,
                    (double)fill, is, want);
        }
    toy_result_free(&plain_step);
    toy_result_free(&filled);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result only_there(conform *c) {
    toy_session t;
    toy_result r;
    TRY(open_bound(c, &t));
    for (int64_t i = 1; i <= 2; i++) {
        if (toy_step(c, &t, &(toy_run){.iteration = i, .order = TOY_TOGETHER}, &r)) return CONFORM_FAIL;
        REQUIRE(c, !r.params_touched,
                "gradients of parameters changed outside submit_pass, or in a pass without BACKWARD");
        REQUIRE(c, !r.params_written, "values of parameters were written in a step");
        REQUIRE(c, !r.params_spilled, "memory beside the parameters was written");
        toy_result_free(&r);
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* The memory moves: what was there is not looked at any more. */
static conform_result rebind(conform *c) {
    toy_session t;
    toy_result a, b;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(open_bound(c, &t));
    if (toy_step(c, &t, &(toy_run){.iteration = 2}, &a)) return CONFORM_FAIL;
    toy_params old = t.own;
    t.own = (toy_params){0};
    TRY(toy_params_find(c, &t.own, t.s));
    for (uint32_t i = 0; i < old.n; i++) {
        memcpy(toy_param_values(&t.own, i), toy_param_values(&old, i),
               (uint64_t)old.param[i].count * sizeof(float));
        for (int64_t k = 0; k < old.param[i].count; k++) toy_param_values(&old, i)[k] = NAN;
    }
    const uint64_t values = toy_params_hash(&old, 0), grads = toy_params_hash(&old, 1);
    int32_t code = toy_params_bind(&t.own, t.s, 0, &e);
    REQUIRE(c, code == DUKD_OK, "bind to other memory gave %d: %s", code, e.message);
    if (toy_step(c, &t, &(toy_run){.iteration = 2}, &b)) return CONFORM_FAIL;
    REQUIRE(c, toy_params_hash(&old, 0) == values && toy_params_hash(&old, 1) == grads,
            "memory that was bound before is written after the next bind");
    REQUIRE(c, toy_identical(&a, &b), "bound to other memory with the same values a step is another");
    toy_result_free(&a);
    toy_result_free(&b);
    toy_params_free(&old);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"params-listed", "the list is whole, names are plain and unique, every time the same (dukd_param_info)",
     listed},
    {"params-bound-first", "begin_step before bind is DUKD_E_STATE (bind)", bind_first},
    {"params-init", "first values come from the seed alone; else bind writes nothing (DUKD_BIND_INIT)", init},
    {"params-refused", "a wrong bind, or one in a step, is refused and changes nothing (bind)", bind_refused},
    {"params-derivative", "what is added is the derivative of l_total (dukd_ext_params)", derivative},
    {"params-micro", "with micro-batches, too: the sum is that of the whole (dukd_ext_params)", micro},
    {"params-add", "submit_pass adds to gradients (dukd_ext_params)", adds},
    {"params-untouched", "gradients change in submit_pass with BACKWARD, values never (dukd_ext_params)",
     only_there},
    {"params-rebind", "after another bind the memory before is left alone (dukd_param_bind)", rebind},
};
const conform_group conform_params = {"params", "parameters of the plugin's own", 0, checks,
                                      sizeof checks / sizeof *checks};
