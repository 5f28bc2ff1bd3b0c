/* Group errors: every bad argument is refused with its own code and message, and changes nothing. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "toy_step.h"

/* ---- what is the same for every refusal ---- */

static conform_result expect(conform *c, const char *what, int32_t code, int32_t wanted,
                             const dukd_error *e) {
    REQUIRE(c, code == wanted, "%s: gave %d, not %d", what, code, wanted);
    REQUIRE(c, e->code == code, "%s: the error's code is %d, the function gave %d", what, e->code, code);
    REQUIRE(c, memchr(e->message, 0, sizeof e->message) && e->message[0], "%s: no message", what);
    return CONFORM_PASS;
}

/* Messages must tell one wrong field from another; two ways for one field to be wrong may share theirs. */
typedef struct {
    struct {
        char text[256];
        const char *field;
    } seen[32];
    int count;
} messages;

static conform_result distinct(conform *c, messages *m, const char *what, const char *field,
                               const dukd_error *e) {
    for (int i = 0; i < m->count; i++)
        REQUIRE(c, strcmp(m->seen[i].text, e->message) != 0 || strcmp(m->seen[i].field, field) == 0,
                "%s: the message is the one of another mistake (%s): %s", what, m->seen[i].field, e->message);
    if (m->count == 32) return CONFORM_PASS;
    memcpy(m->seen[m->count].text, e->message, sizeof e->message);
    m->seen[m->count++].field = field;
    return CONFORM_PASS;
}

/* ---- NULL ---- */

static conform_result null_arguments(conform *c) {
    toy_session t;
    toy_pass pass;
    const dukd_plugin *p = c->plugin;
    dukd_error e;
    TRY(toy_open(c, &t, (toy_setup){0}));
#define NULL_CALL(text, call)                                                                                \
    e = (dukd_error){.struct_size = DUKD_ERROR_SIZE};                                                        \
    TRY(expect(c, text, call, DUKD_E_ARGUMENT, &e))
    dukd_session *s = NULL;
    const dukd_plan *plan;
    const dukd_pass *next;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    uint64_t size = 0;
    NULL_CALL("query_backend(out NULL)", p->query_backend(0, NULL, &e));
    NULL_CALL("query_backend(past the last one)", p->query_backend(p->get_info()->n_backends, &b, &e));
    NULL_CALL("query_backend(index too large)", p->query_backend(UINT32_MAX, &b, &e));
    NULL_CALL("create_session(params NULL)", p->create_session(NULL, &s, &e));
    NULL_CALL("create_session(out NULL)", p->create_session(&t.params, NULL, &e));
    NULL_CALL("get_plan(session NULL)", p->get_plan(NULL, &plan, &e));
    NULL_CALL("get_plan(out NULL)", p->get_plan(t.s, NULL, &e));
    NULL_CALL("begin_step(session NULL)",
              p->begin_step(NULL, &(dukd_step){.struct_size = DUKD_STEP_SIZE}, &e));
    NULL_CALL("begin_step(step NULL)", p->begin_step(t.s, NULL, &e));
    NULL_CALL("next_pass(session NULL)", p->next_pass(NULL, &next, &e));
    NULL_CALL("submit_pass(session NULL)",
              p->submit_pass(NULL, &(dukd_submit){.struct_size = DUKD_SUBMIT_SIZE}, &e));
    NULL_CALL("end_step(session NULL)", p->end_step(NULL, &e));
    NULL_CALL("cancel_step(session NULL)", p->cancel_step(NULL, &e));
    NULL_CALL("read_losses(session NULL)", p->read_losses(NULL, &losses, &e));
    NULL_CALL("get_state(session NULL)", p->get_state(NULL, NULL, &size, &e));
    NULL_CALL("get_state(size NULL)", p->get_state(t.s, NULL, NULL, &e));
    NULL_CALL("set_state(session NULL)", p->set_state(NULL, &size, 8, &e));
    NULL_CALL("set_state(data NULL)", p->set_state(t.s, NULL, 8, &e));
    p->destroy_session(NULL);
    TRY(toy_to_gradient(c, &t, &(toy_run){0}, &pass));
    NULL_CALL("next_pass(out NULL)", p->next_pass(t.s, NULL, &e));
    NULL_CALL("submit_pass(submit NULL)", p->submit_pass(t.s, NULL, &e));
    toy_pass_free(&pass);
    REQUIRE(c, p->cancel_step(t.s, NULL) == DUKD_OK, "cancel_step before the first gradient is not DUKD_OK");
    toy_result r;
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    NULL_CALL("read_losses(out NULL)", p->read_losses(t.s, NULL, &e));
#undef NULL_CALL
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result error_may_be_null(conform *c) {
    toy_session t;
    dukd_session *s = NULL;
    const dukd_plan *plan = NULL;
    const dukd_pass *pass;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    uint64_t size = 0;
    const dukd_plugin *p = c->plugin;
    TRY(toy_open(c, &t, (toy_setup){0}));
#define QUIET(call, wanted) REQUIRE(c, (call) == (wanted), #call " without a dukd_error is not " #wanted)
    QUIET(p->query_backend(UINT32_MAX, NULL, NULL), DUKD_E_ARGUMENT);
    QUIET(p->create_session(NULL, &s, NULL), DUKD_E_ARGUMENT);
    QUIET(p->get_plan(t.s, NULL, NULL), DUKD_E_ARGUMENT);
    QUIET(p->begin_step(t.s, NULL, NULL), DUKD_E_ARGUMENT);
    QUIET(p->next_pass(t.s, &pass, NULL), DUKD_E_STATE);
    QUIET(p->submit_pass(NULL, NULL, NULL), DUKD_E_ARGUMENT);
    QUIET(p->end_step(t.s, NULL), DUKD_E_STATE);
    QUIET(p->cancel_step(t.s, NULL), DUKD_E_STATE);
    QUIET(p->read_losses(t.s, &losses, NULL), DUKD_E_STATE);
    QUIET(p->get_state(t.s, NULL, NULL, NULL), DUKD_E_ARGUMENT);
    QUIET(p->set_state(t.s, NULL, 8, NULL), DUKD_E_ARGUMENT);
    QUIET(p->get_plan(t.s, &plan, NULL), DUKD_OK);
    QUIET(p->get_state(t.s, NULL, &size, NULL), DUKD_OK);
#undef QUIET
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- messages ---- */

/* Bytes of a UTF-8 character that starts here; 0: it is none. */
static int character(const uint8_t *s) {
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 4;
    if (n == 4 && (s[0] < 0xf0 || s[0] > 0xf4)) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

static conform_result is_message(conform *c, const char *what, const dukd_error *e) {
    REQUIRE(c, memchr(e->message, 0, sizeof e->message), "%s: the message has no end", what);
    REQUIRE(c, e->message[0], "%s: no message", what);
    for (const uint8_t *s = (const uint8_t *)e->message; *s;) {
        int n = character(s);
        REQUIRE(c, n, "%s: the message is not UTF-8: %s", what, e->message);
        REQUIRE(c, *s >= 0x20 && *s != 0x7f, "%s: the message is not one line", what);
        s += n;
    }
    return CONFORM_PASS;
}

/* Long and awkward texts of the host's come back in messages. */
static conform_result message_fits(conform *c) {
    enum { LONG = 3000 };
    static char key[LONG], value[LONG], place[LONG], lines[] = "no such\nvalue\r\n";
    toy_session t;
    const char *known = NULL;
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_destroy(c, &t);
    for (int shift = 0; shift < 3;
         shift++) { /* so that a cut falls into a character of three bytes somewhere */
        for (int i = 0; i < LONG - 1; i++)
            key[i] = value[i] = place[i] = i < shift ? 'a' : "\xe2\x82\xac"[(i - shift) % 3];
        int end = shift + (LONG - 1 - shift) / 3 * 3;
        key[end] = value[end] = place[end] = 0;
        const dukd_plugin_info *info = c->plugin->get_info();
        for (uint32_t i = 0; i < info->n_options; i++)
            if ((info->options[i]->type & ~DUKD_OPTION_LIST) != DUKD_OPTION_STRING)
                known = info->options[i]->name;
        const char *texts[] = {value, lines};
        for (int k = 0; k < 4; k++) {
            dukd_option o = {.struct_size = DUKD_OPTION_SIZE,
                             .kind = DUKD_VALUE_SCALAR,
                             .key = k < 2 || !known ? key : known,
                             .place = k == 1 ? lines : place,
                             .values = &texts[k == 3],
                             .n_values = 1};
            const dukd_option *list[] = {&o};
            dukd_error e;
            memset(&e, 0x7a, sizeof e);
            e.struct_size = DUKD_ERROR_SIZE;
            t.params.options = list;
            t.params.n_options = 1;
            int32_t code = c->plugin->create_session(&t.params, &t.s, &e);
            REQUIRE(c, code == DUKD_E_OPTION, "an option with long texts: create_session gave %d", code);
            TRY(is_message(c, "an option with long texts", &e));
        }
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* "Written only on errors". */
static conform_result error_only_on_errors(conform *c) {
    toy_session t;
    dukd_error e, before;
    const dukd_plan *plan;
    uint64_t size = 0;
    TRY(toy_prepare(c, &t, (toy_setup){0}));
    memset(&e, 0x7a, sizeof e);
    e.struct_size = DUKD_ERROR_SIZE;
    before = e;
    if (c->plugin->create_session(&t.params, &t.s, &e) != DUKD_OK) return toy_create(c, &t);
    REQUIRE(c, !memcmp(&e, &before, sizeof e), "create_session wrote the error");
    TRY(toy_params_open(c, &t.own, t.s));
#define SILENT(call)                                                                                         \
    REQUIRE(c, (call) >= 0 && !memcmp(&e, &before, sizeof e), #call " wrote the error, or failed")
    SILENT(c->plugin->get_plan(t.s, &plan, &e));
    SILENT(c->plugin->get_state(t.s, NULL, &size, &e));
    const dukd_step step = toy_step_of(&t, &(toy_run){0});
    const dukd_pass *pass;
    SILENT(c->plugin->begin_step(t.s, &step, &e));
    SILENT(c->plugin->next_pass(t.s, &pass, &e));
    SILENT(c->plugin->cancel_step(t.s, &e));
#undef SILENT
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- bad structs ---- */

static uint32_t one_thread(void *ctx) {
    (void)ctx;
    return 1;
}

static conform_result bad_params(conform *c) {
    toy_session t;
    messages m = {.count = 0};
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_destroy(c, &t);
    const dukd_session_params good = t.params;
    dukd_host no_shape = t.h.host, no_networks = t.h.host, null_networks = t.h.host, half_alloc = t.h.host,
              half_parallel = t.h.host;
    no_shape.tap_shape = NULL;
    no_networks.n_networks = 0;
    null_networks.networks = NULL;
    half_alloc.free = NULL;
    half_parallel.parallel_for = NULL;
    half_parallel.max_threads = one_thread;
    struct {
        const char *what, *field;
        dukd_session_params p;
    } bad[] = {{"flags unknown", "flags", good},
               {"host NULL", "host", good},
               {"options NULL", "options", good},
               {"micro_count 0", "micro_count", good},
               {"N 0", "lr_shape", good},
               {"h negative", "lr_shape", good},
               {"w too large", "lr_shape", good},
               {"scale 0", "scale", good},
               {"scale negative", "scale", good},
               {"scale 2147483647", "scale", good},
               {"dtype int", "dtype", good},
               {"dtype lanes 2", "dtype", good},
               {"dtype bits 8", "dtype", good},
               {"device type 99", "device", good},
               {"no tap_shape", "tap_shape", good},
               {"no networks", "networks", good},
               {"networks NULL", "networks", good},
               {"alloc without free", "alloc", good},
               {"max_threads without parallel_for", "parallel_for", good}};
    int i = 0;
    bad[i++].p.flags = 0x80000000u;
    bad[i++].p.host = NULL;
    bad[i].p.options = NULL, bad[i++].p.n_options = 1;
    bad[i++].p.micro_count = 0;
    bad[i++].p.lr_shape[0] = 0;
    bad[i++].p.lr_shape[2] = -8;
    bad[i++].p.lr_shape[3] = INT64_MAX / 2;
    bad[i++].p.scale = 0;
    bad[i++].p.scale = -2;
    bad[i++].p.scale = INT32_MAX;
    bad[i++].p.dtype = (dukd_dtype){0, 32, 1};
    bad[i++].p.dtype.lanes = 2;
    bad[i++].p.dtype.bits = 8;
    bad[i++].p.device.device_type = 99;
    bad[i++].p.host = &no_shape;
    bad[i++].p.host = &no_networks;
    bad[i++].p.host = &null_networks;
    bad[i++].p.host = &half_alloc;
    bad[i++].p.host = &half_parallel;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        dukd_session *s = (dukd_session *)(uintptr_t)1;
        int32_t code = c->plugin->create_session(&bad[k].p, &s, &e);
        REQUIRE(c, code == DUKD_E_ARGUMENT || code == DUKD_E_UNSUPPORTED, "%s: create_session gave %d",
                bad[k].what, code);
        REQUIRE(c, !s, "%s: refused, but *out is not NULL", bad[k].what);
        TRY(expect(c, bad[k].what, code, code, &e));
        TRY(distinct(c, &m, bad[k].what, bad[k].field, &e));
    }
    REQUIRE(c, t.h.held == 0, "refused sessions hold %lld bytes", (long long)t.h.held);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result bad_step(conform *c) {
    toy_session t;
    messages m = {.count = 0};
    toy_result undisturbed, after;
    const toy_run run = {.iteration = 5};
    TRY(toy_once(c, (toy_setup){0}, run, &undisturbed));
    TRY(toy_open(c, &t, (toy_setup){0}));
    const dukd_step good = toy_step_of(&t, &run);
    dukd_tensor flat = t.h.lr.t, wide = t.h.lr.t, half = t.h.lr.t, cuda = t.h.lr.t, nothing = t.h.lr.t,
                shapeless = t.h.lr.t;
    int64_t wrong[4] = {2, 3, 8, 9};
    flat.ndim = 3;
    wide.shape = wrong;
    half.dtype = toy_bf16;
    cuda.device.device_type = DUKD_DEVICE_CUDA;
    nothing.data = NULL;
    shapeless.shape = NULL;
    struct {
        const char *what, *field;
        dukd_step step;
    } bad[] = {{"flags", "flags", good},
               {"iteration 0", "iteration", good},
               {"micro_index 1 of 1", "micro", good},
               {"micro_count 2 where the session has 1", "micro", good},
               {"lr NULL", "lr", good},
               {"hr NULL", "hr", good},
               {"lr ndim 3", "lr ndim", good},
               {"lr of another shape", "lr shape", good},
               {"lr shape NULL", "lr shape", good},
               {"lr of another type", "lr type", good},
               {"lr on another device", "lr device", good},
               {"lr without data", "lr", good},
               {"hr of another shape", "hr shape", good},
               {"first_sample negative", "first_sample", good}};
    int i = 0;
    bad[i++].step.flags = 4;
    bad[i++].step.iteration = 0;
    bad[i++].step.micro_index = 1;
    bad[i++].step.micro_count = 2;
    bad[i++].step.lr = NULL;
    bad[i++].step.hr = NULL;
    bad[i++].step.lr = &flat;
    bad[i++].step.lr = &wide;
    bad[i++].step.lr = &shapeless;
    bad[i++].step.lr = &half;
    bad[i++].step.lr = &cuda;
    bad[i++].step.lr = &nothing;
    bad[i++].step.hr = &t.h.lr.t;
    bad[i++].step.first_sample = -1;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        TRY(expect(c, bad[k].what, c->plugin->begin_step(t.s, &bad[k].step, &e), DUKD_E_ARGUMENT, &e));
        TRY(distinct(c, &m, bad[k].what, bad[k].field, &e));
    }
    if (toy_step(c, &t, &run, &after)) return CONFORM_FAIL;
    REQUIRE(c, toy_identical(&undisturbed, &after), "refused calls have changed what the next step does");
    toy_result_free(&undisturbed);
    toy_result_free(&after);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- submit_pass ---- */

/* The lists of a right submit, and the tap of it that is made wrong. */
typedef struct {
    toy_submit s;
    uint32_t wanted;
} good_submit;

/* A copy of the lists with one entry replaced; kept until the end of the check. */
static dukd_submit with(const good_submit *good, const dukd_tensor *value, const dukd_tensor *grad,
                        toy_submit *room) {
    *room = good->s;
    room->values[good->wanted] = value;
    room->grads[good->wanted] = grad;
    room->submit.values = room->values;
    room->submit.grads = room->grads;
    return room->submit;
}

static conform_result bad_submit(conform *c) {
    enum { CASES = 19 };
    toy_session t;
    toy_pass p;
    toy_submit rooms[CASES];
    good_submit good = {.wanted = 0};
    messages m = {.count = 0};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_open(c, &t, (toy_setup){0}));
    TRY(toy_to_gradient(c, &t, &(toy_run){0}, &p));
    toy_submit_of(&p, &(toy_run){0}, &good.s);
    while (!p.grads[good.wanted].memory) good.wanted++;
    const dukd_tensor *value = good.s.values[good.wanted], *grad = good.s.grads[good.wanted];
    int64_t small[4] = {1, 1, 2, 2}, overlapping[4];
    memcpy(overlapping, grad->strides, sizeof overlapping);
    overlapping[2] = 0;
    dukd_tensor value_small = *value, value_type = *value, value_cuda = *value, value_empty = *value,
                grad_small = *grad, grad_overlap = *grad, grad_type = *grad, grad_cuda = *grad;
    value_small.shape = grad_small.shape = small;
    value_type.dtype = (dukd_dtype){0, 32, 1}; /* integers */
    value_cuda.device.device_type = grad_cuda.device.device_type = DUKD_DEVICE_CUDA;
    value_empty.data = NULL;
    grad_overlap.strides = overlapping;
    grad_type.dtype = toy_bf16; /* neither f32 nor the value's type */
    struct {
        const char *what, *field;
        dukd_submit s;
    } bad[CASES] = {
        {"pass_id unknown", "pass_id", good.s.submit},
        {"n_taps wrong", "n_taps", good.s.submit},
        {"pad0 not zero", "pad0", good.s.submit},
        {"values NULL", "values", good.s.submit},
        {"grads NULL", "grads", good.s.submit},
        {"a value NULL", "a value", with(&good, NULL, grad, &rooms[0])},
        {"a value without data", "a value", with(&good, &value_empty, grad, &rooms[1])},
        {"a value's shape", "a value's shape", with(&good, &value_small, grad, &rooms[2])},
        {"a value's type", "a value's type", with(&good, &value_type, grad, &rooms[3])},
        {"a value's device", "a value's device", with(&good, &value_cuda, grad, &rooms[4])},
        {"a gradient NULL", "a gradient", with(&good, value, NULL, &rooms[5])},
        {"a gradient's shape", "a gradient's shape", with(&good, value, &grad_small, &rooms[6])},
        {"a gradient that overlaps", "a gradient's strides", with(&good, value, &grad_overlap, &rooms[7])},
        {"a gradient's type", "a gradient's type", with(&good, value, &grad_type, &rooms[8])},
        {"a gradient's device", "a gradient's device", with(&good, value, &grad_cuda, &rooms[9])},
        {"grad_scale 0", "grad_scale", good.s.submit},
        {"grad_scale NaN", "grad_scale", good.s.submit},
        {"grad_scale infinite", "grad_scale", good.s.submit},
        {"grad_scale 2 without DUKD_SESSION_LOSS_SCALE", "grad_scale", good.s.submit}};
    bad[0].s.pass_id = p.pass->id + 100;
    bad[1].s.n_taps++;
    bad[2].s.pad0 = 1;
    bad[3].s.values = NULL;
    bad[4].s.grads = NULL;
    bad[15].s.grad_scale = 0;
    bad[16].s.grad_scale = NAN;
    bad[17].s.grad_scale = INFINITY;
    bad[18].s.grad_scale = 2;
    for (int i = 0; i < CASES; i++) {
        dukd_error err = {.struct_size = DUKD_ERROR_SIZE};
        TRY(expect(c, bad[i].what, c->plugin->submit_pass(t.s, &bad[i].s, &err), DUKD_E_ARGUMENT, &err));
        TRY(distinct(c, &m, bad[i].what, bad[i].field, &err));
    }
    REQUIRE(c, toy_unwritten(&p.grads[good.wanted]) == toy_count(p.grads[good.wanted].shape),
            "a refused submit_pass has written the gradient");
    int32_t code = c->plugin->submit_pass(t.s, &good.s.submit, &e);
    REQUIRE(c, code == DUKD_OK, "after refused ones the right submit_pass gave %d: %s", code, e.message);
    code = c->plugin->submit_pass(t.s, &good.s.submit, &e);
    REQUIRE(c, code == DUKD_E_STATE || code == DUKD_E_ARGUMENT, "the same pass again: submit_pass gave %d",
            code);
    toy_pass_free(&p);
    toy_close(c, &t); /* in the middle of a step */
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"null-arguments", "a NULL is DUKD_E_ARGUMENT with a message, never a crash (ERRORS)", null_arguments},
    {"error-may-be-null", "every function works without a dukd_error (ERRORS)", error_may_be_null},
    {"error-untouched", "a dukd_error is written only on errors (ERRORS)", error_only_on_errors},
    {"message-fits", "a message is one line of UTF-8 and ends, whatever the host's texts are (dukd_error)",
     message_fits},
    {"bad-params", "create_session refuses each wrong field with a message of its own (create_session)",
     bad_params},
    {"bad-step", "begin_step refuses each wrong field with a message of its own and changes nothing (ERRORS)",
     bad_step},
    {"bad-submit", "submit_pass refuses what is wrong with a message of its own and writes nothing (ERRORS)",
     bad_submit},
};
const conform_group conform_errors = {"errors", "bad arguments", 0, checks, sizeof checks / sizeof *checks};
