/* Group host: what a plugin asks of the host, and what it does where the host cannot or will not. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conform.h"
#include "toy_step.h"

/* ---- what the host can do ---- */

static conform_result tap_within(conform *c, const dukd_tap *tap, uint64_t caps, uint32_t student) {
    int other = tap->network != student;
    REQUIRE(c, caps & DUKD_CAP_LAYERS || (!tap->layer && !tap->from_layer),
            "the host cannot tap layers, but the plan does");
    REQUIRE(c, caps & DUKD_CAP_DERIVED || tap->source_kind != DUKD_SOURCE_TAP,
            "the host cannot derive taps from taps, but the plan does");
    REQUIRE(c, caps & DUKD_CAP_MODE_TRAIN || !other || !(tap->flags & DUKD_TAP_MODE_TRAIN),
            "the host cannot run other networks than the student in training mode, but the plan does");
    /* through a derived tap a gradient goes on to the tap's source, and need not stay in its network */
    REQUIRE(c,
            caps & DUKD_CAP_OTHER_GRAD || !other || !(tap->flags & DUKD_TAP_WANT_GRAD) ||
                tap->source_kind == DUKD_SOURCE_TAP,
            "the host has no gradients for other networks than the student, but the plan wants them");
    return CONFORM_PASS;
}

static conform_result plan_within(conform *c, const dukd_plan *plan, uint64_t caps) {
    int steps = 0;
    for (uint32_t i = 0; i < plan->n_passes; i++) {
        const dukd_pass *pass = plan->passes[i];
        steps += (pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0;
        for (uint32_t k = 0; k < pass->n_taps; k++) TRY(tap_within(c, pass->taps[k], caps, TOY_STUDENT));
    }
    REQUIRE(c, caps & DUKD_CAP_TWO_STEPS || steps <= 1,
            "the host can take one optimizer step in a step, but the plan has %d", steps);
    return CONFORM_PASS;
}

/* A session on this host: PASS and its plan; or SKIP where it is refused with a message, as it may be. */
static conform_result planned(conform *c, toy_session *t, const char *what, const dukd_plan **plan) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->create_session(&t->params, &t->s, &e);
    if (code == DUKD_E_UNSUPPORTED && e.message[0] && !t->s) return CONFORM_SKIP;
    REQUIRE(c, code == DUKD_OK, "%s: create_session gave %d: %s", what, code, e.message);
    code = c->plugin->get_plan(t->s, plan, &e);
    REQUIRE(c, code == DUKD_OK, "get_plan gave %d: %s", code, e.message);
    return CONFORM_PASS;
}

static conform_result limits(conform *c) {
    const uint64_t all = DUKD_CAP_TWO_STEPS | DUKD_CAP_LAYERS | DUKD_CAP_DERIVED | DUKD_CAP_OTHER_GRAD |
                         DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS;
    const uint64_t caps[] = {0,
                             all & ~DUKD_CAP_TWO_STEPS,
                             all & ~DUKD_CAP_LAYERS,
                             all & ~DUKD_CAP_DERIVED,
                             all & ~DUKD_CAP_OTHER_GRAD,
                             all & ~DUKD_CAP_MODE_TRAIN,
                             all & ~DUKD_CAP_PARAMS,
                             UINT64_MAX};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        toy_session t;
        const dukd_plan *plan;
        char what[64];
        TRY(toy_open(c, &t, (toy_setup){0}));
        toy_destroy(c, &t);
        t.h.host.caps = caps[i];
        snprintf(what, sizeof what, "caps 0x%llx", (unsigned long long)caps[i]);
        conform_result r = planned(c, &t, what, &plan);
        if (r == CONFORM_PASS) r = plan_within(c, plan, caps[i]);
        if (r == CONFORM_PASS) r = toy_params_find(c, &t.own, t.s);
        if (r == CONFORM_FAIL) return r;
        REQUIRE(c, r != CONFORM_PASS || caps[i] & DUKD_CAP_PARAMS || !t.own.n,
                "the host trains no parameters of a plugin's, but the session has %u", t.own.n);
        REQUIRE(c, r == CONFORM_PASS || caps[i] != UINT64_MAX, "%s: unknown bits are not ignored", what);
        toy_close(c, &t);
    }
    return CONFORM_PASS;
}

static conform_result networks(conform *c) {
    static const char *const usual[] = {"student", "teacher", "features"}, *const backwards[] = {
                                                                               "features", "teacher",
                                                                               "another", "student"};
    toy_session t, u;
    const dukd_plan *plan, *other;
    TRY(toy_open(c, &t, (toy_setup){0}));
    TRY(toy_open(c, &u, (toy_setup){0}));
    toy_destroy(c, &u);
    REQUIRE(c, c->plugin->get_plan(t.s, &plan, NULL) == DUKD_OK, "get_plan failed");
    u.h.host.networks = backwards;
    u.h.host.n_networks = 4;
    conform_result r = planned(c, &u, "networks in another order", &other);
    REQUIRE(c, r == CONFORM_PASS && plan->n_passes == other->n_passes,
            "networks in another order: refused, or another plan");
    for (uint32_t i = 0; i < plan->n_passes; i++) {
        const dukd_pass *a = plan->passes[i], *b = other->passes[i];
        REQUIRE(c, a->n_taps == b->n_taps, "networks in another order: another plan");
        for (uint32_t k = 0; k < a->n_taps; k++)
            REQUIRE(c,
                    a->taps[k]->network < 3 && b->taps[k]->network < 4 &&
                        !strcmp(usual[a->taps[k]->network], backwards[b->taps[k]->network]),
                    "pass %u, tap %u: with the networks in another order it is of another network", i, k);
    }
    toy_close(c, &t);
    toy_destroy(c, &u);
    u.h.host.networks = usual;
    u.h.host.n_networks = 1;
    r = planned(c, &u, "the student alone", &other);
    if (r == CONFORM_FAIL) return r;
    for (uint32_t i = 0; r == CONFORM_PASS && i < other->n_passes; i++)
        for (uint32_t k = 0; k < other->passes[i]->n_taps; k++)
            REQUIRE(c, other->passes[i]->taps[k]->network == 0,
                    "the host has one network, but pass %u taps another", i);
    toy_close(c, &u);
    return CONFORM_PASS;
}

static conform_result shapes(conform *c) {
    toy_session t;
    toy_result r;
    TRY(toy_open(c, &t, (toy_setup){0}));
    REQUIRE(c, t.h.shape_calls > 0, "create_session has not asked for the shape of any tap");
    t.h.shape_calls = 0;
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    REQUIRE(c, t.h.shape_calls == 0, "tap_shape was called outside create_session");
    toy_destroy(c, &t);
    t.h.setup.refuse_shapes = 1;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->create_session(&t.params, &t.s, &e);
    REQUIRE(c, code == DUKD_E_UNSUPPORTED || code == DUKD_E_ARGUMENT,
            "no network can take its input: create_session gave %d", code);
    REQUIRE(c, e.message[0] && !t.s, "refused without a message, or *out is not NULL");
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- services ---- */

/* Made inputs lie in the host's memory, or are the batch. */
static conform_result in_host_memory(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    (void)arg;
    for (uint32_t i = 0; i < pass->n_inputs; i++) {
        const uint8_t *first, *lr, *hr;
        uint64_t size, lr_size, hr_size;
        toy_extent(pass->inputs[i]->tensor, &first, &size);
        toy_extent(&t->h.lr.t, &lr, &lr_size);
        toy_extent(&t->h.hr.t, &hr, &hr_size);
        int in_lr = first >= lr && first + size <= lr + lr_size;
        int in_hr = first >= hr && first + size <= hr + hr_size;
        REQUIRE(c, in_lr || in_hr || toy_owns(&t->h, first, size),
                "input %u of pass %u is not in memory of the host's, though it offers alloc", i, pass->id);
    }
    return CONFORM_PASS;
}

static conform_result services(conform *c) {
    toy_session t;
    toy_result r;
    TRY(toy_open(c, &t, (toy_setup){.threads = 2, .height = 40, .width = 40}));
    for (int64_t i = 1; i <= 2; i++) {
        if (toy_step(c, &t, &(toy_run){.iteration = i, .look = in_host_memory}, &r)) return CONFORM_FAIL;
        toy_result_free(&r);
    }
    toy_destroy(c, &t);
    REQUIRE(c, t.h.held == 0, "after destroy_session %lld bytes of the host's memory are still held",
            (long long)t.h.held);
    REQUIRE(c, !t.h.wrong[0], "%s", t.h.wrong);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* Large enough that a plugin with threads uses them: the host's, or its own. */
static conform_result caller_thread(conform *c) {
    for (uint32_t threads = 0; threads <= 3; threads += 3) {
        toy_session t;
        toy_result r;
        TRY(toy_open(c, &t, (toy_setup){.threads = threads, .height = 64, .width = 64}));
        for (int64_t i = 1; i <= 2; i++) {
            if (toy_step(c, &t, &(toy_run){.iteration = i}, &r)) return CONFORM_FAIL;
            toy_result_free(&r);
        }
        toy_destroy(c, &t);
        REQUIRE(c, !t.h.stray[0], "%s", t.h.stray);
        toy_close(c, &t);
    }
    return CONFORM_PASS;
}

static conform_result no_services(conform *c) {
    toy_result with, without;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2}, &with));
    TRY(toy_once(c, (toy_setup){.bare = 1}, (toy_run){.iteration = 2}, &without));
    REQUIRE(c, toy_identical(&with, &without), "a host that offers nothing gets other numbers");
    toy_result_free(&with);
    toy_result_free(&without);
    return CONFORM_PASS;
}

/* After a step that has failed half-way cancel_step is what ends it. */
static conform_result give_up(conform *c, const toy_session *t, const toy_result *r, const char *why) {
    if (r->ended) return CONFORM_PASS;
    int32_t code = c->plugin->cancel_step(t->s, NULL);
    REQUIRE(c, code == DUKD_OK || code == DUKD_WEIGHTS_MOVED, "%s: then cancel_step gave %d", why, code);
    return CONFORM_PASS;
}

/* Allocation `n` of create_session and of two steps fails, and so does every later one. *last: none was left to fail. */
static conform_result without_allocation(conform *c, int64_t n, const toy_result *undisturbed, int *last) {
    toy_session t;
    toy_result r;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_prepare(c, &t, (toy_setup){.allocations = n ? n : -1}));
    int32_t code = c->plugin->create_session(&t.params, &t.s, &e);
    REQUIRE(c, code == DUKD_OK || (code == DUKD_E_MEMORY && e.message[0] && !t.s),
            "allocation %lld fails: create_session gave %d: %s", (long long)n, code, e.message);
    for (int64_t i = 1; i <= 2 && t.s; i++) {
        int32_t status = toy_step(c, &t, &(toy_run){.iteration = i}, &r);
        toy_result_free(&r);
        if (status == TOY_STOPPED) return CONFORM_FAIL;
        REQUIRE(c, status == 0 || status == DUKD_E_MEMORY, "allocation %lld fails: a step gave %d",
                (long long)n, status);
        c->why[0] = 0;
        if (!status) continue;
        TRY(give_up(c, &t, &r, "an allocation fails in a step"));
        t.h.allocations_left = INT64_MAX; /* there is memory again */
        if (toy_step(c, &t, &(toy_run){.iteration = i}, &r)) return CONFORM_FAIL;
        REQUIRE(c, i > 1 || toy_identical(undisturbed, &r),
                "allocation %lld failed: after cancel_step a step gives other numbers", (long long)n);
        toy_result_free(&r);
        break;
    }
    *last = t.h.refused == 0;
    toy_destroy(c, &t);
    REQUIRE(c, t.h.held == 0, "allocation %lld fails: %lld bytes leak", (long long)n, (long long)t.h.held);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result no_memory(conform *c) {
    enum { MOST = 1000 };
    toy_result undisturbed;
    int last = 0;
    int64_t n = 0;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 1}, &undisturbed));
    for (; n < MOST && !last; n++) TRY(without_allocation(c, n, &undisturbed, &last));
    toy_result_free(&undisturbed);
    REQUIRE(c, last, "more than %d allocations for two steps of a tiny batch", MOST);
    return n > 1 ? CONFORM_PASS : conform_skip(c, "the plugin allocates nothing through the host");
}

static conform_result start_cancelling(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    (void)c, (void)arg, (void)pass;
    t->h.cancel = 1;
    return CONFORM_PASS;
}

static conform_result cancelled(conform *c) {
    toy_session t;
    toy_result undisturbed, r;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_once(c, (toy_setup){0}, (toy_run){0}, &undisturbed));
    TRY(toy_prepare(c, &t, (toy_setup){0}));
    t.h.cancel = 1;
    int32_t code = c->plugin->create_session(&t.params, &t.s, &e);
    REQUIRE(c, code == DUKD_OK || (code == DUKD_E_CANCELLED && e.message[0] && !t.s && !t.h.held),
            "the host gives up: create_session gave %d: %s", code, e.message);
    int32_t asked = t.h.asked;
    toy_close(c, &t);
    for (int when = 0; when < 2; when++) { /* before begin_step; while a pass is computed */
        TRY(toy_open(c, &t, (toy_setup){0}));
        const toy_run run = {.look = when ? start_cancelling : NULL};
        t.h.cancel = !when;
        code = toy_step(c, &t, &run, &r);
        toy_result_free(&r);
        REQUIRE(c, code == 0 || code == DUKD_E_CANCELLED, "the host gives up: a step gave %d: %s", code,
                c->why);
        c->why[0] = 0;
        asked += t.h.asked;
        t.h.cancel = 0;
        if (code) TRY(give_up(c, &t, &r, "the host gives up in a step"));
        if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
        REQUIRE(c, !code || toy_identical(&undisturbed, &r),
                "after a step that was cancelled the next is another");
        toy_result_free(&r);
        toy_close(c, &t);
    }
    toy_result_free(&undisturbed);
    return asked ? CONFORM_PASS : conform_skip(c, "the plugin never asks should_cancel");
}

/* ---- threads ---- */

static conform_result threads(conform *c) {
    const struct {
        const char *what;
        toy_setup setup;
    } ways[] = {{"one thread", {.threads = 1}},
                {"two threads", {.threads = 2}},
                {"five threads", {.threads = 5}},
                {"tasks in another order", {.threads = 3, .one_by_one = 1}}};
    toy_result own, r;
    toy_setup setup = {.height = 64, .width = 64};
    TRY(toy_once(c, setup, (toy_run){.iteration = 2}, &own));
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        setup.threads = ways[i].setup.threads;
        setup.one_by_one = ways[i].setup.one_by_one;
        TRY(toy_once(c, setup, (toy_run){.iteration = 2}, &r));
        REQUIRE(c, toy_identical(&own, &r), "the plugin's own threads and %s of the host's give other bits",
                ways[i].what);
        toy_result_free(&r);
    }
    toy_result_free(&own);
    return CONFORM_PASS;
}

static int count_threads(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    if (!d) return -1;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

/* A thread that was joined may be seen for a moment still. */
static int more_threads_than(int before) {
    for (int i = 0; i < 50; i++) {
        if (count_threads() <= before) return 0;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 1;
}

static void *nothing(void *p) {
    return p;
}

static conform_result own_threads(conform *c) {
    toy_session t;
    toy_result r;
    pthread_t thread;
    /* a thread sanitizer starts one of its own beside the first */
    if (!pthread_create(&thread, NULL, nothing, NULL)) pthread_join(thread, NULL);
    int before = count_threads();
    if (before < 0) return conform_skip(c, "/proc/self/task cannot be read");
    TRY(toy_open(c, &t, (toy_setup){.threads = 2, .height = 64, .width = 64}));
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    REQUIRE(
        c, !more_threads_than(before),
        "the host offers parallel_for, but the plugin has started threads of its own: there are %d, not %d",
        count_threads() - 2, before - 2);
    toy_result_free(&r);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"limits", "a plan needs nothing that the host has no capability for (DUKD_CAP_...)", limits},
    {"networks", "networks are found by name; there need not be more than the student (dukd_host.networks)",
     networks},
    {"tap-shape", "asked in create_session alone, which refuses what no network can take (tap_shape)",
     shapes},
    {"services", "alloc, free, log and parallel_for are used as they are meant to be (dukd_host)", services},
    {"caller-thread", "services are called by the thread that is in the plugin, outside tasks (dukd_host)",
     caller_thread},
    {"no-services", "a host that offers only what is required is enough (dukd_host)", no_services},
    {"no-memory", "a failing allocation is DUKD_E_MEMORY, leaks nothing, and cancel_step works (ERRORS)",
     no_memory},
    {"cancelled",
     "where the host gives up, the answer is DUKD_E_CANCELLED and the next step is whole "
     "(should_cancel)",
     cancelled},
    {"threads", "the same bits for any number of threads (abi/README.md, rule 11)", threads},
    {"own-threads", "given parallel_for, the plugin starts no threads (dukd_host.parallel_for)", own_threads},
};
const conform_group conform_host = {"host", "what it asks of the host", 0, checks,
                                    sizeof checks / sizeof *checks};
