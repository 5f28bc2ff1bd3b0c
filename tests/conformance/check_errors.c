/* Group errors: every bad argument is refused with its own code and message, and changes nothing. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "toy_host.h"

/* A session on a small batch, opened for a check. */
typedef struct {
    toy_host h;
    dukd_session_params params;
    dukd_session *s;
} opened;

static conform_result open_session(conform *c, opened *o) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    REQUIRE(c, !toy_host_open(&o->h, 2, 8, 8, 2), "out of memory");
    o->params = toy_params(&o->h, c);
    int32_t code = c->plugin->create_session(&o->params, &o->s, &e);
    REQUIRE(c, code == DUKD_OK, "create_session gave %d: %s", code, e.message);
    return CONFORM_PASS;
}

static conform_result close_session(conform *c, opened *o) {
    c->plugin->destroy_session(o->s);
    REQUIRE(c, o->h.allocated == 0, "%lld bytes of the host's memory are not freed",
            (long long)o->h.allocated);
    toy_host_close(&o->h);
    return CONFORM_PASS;
}

static conform_result expect(conform *c, const char *what, int32_t code, int32_t wanted,
                             const dukd_error *e) {
    REQUIRE(c, code == wanted, "%s: gave %d, not %d", what, code, wanted);
    REQUIRE(c, e->code == code, "%s: the error's code is %d, the function gave %d", what, e->code, code);
    REQUIRE(c, memchr(e->message, 0, sizeof e->message) && e->message[0], "%s: no message", what);
    return CONFORM_PASS;
}

/* Messages must tell one mistake from another. */
typedef struct {
    char seen[48][256];
    int count;
} messages;

static conform_result distinct(conform *c, messages *m, const char *what, const dukd_error *e) {
    for (int i = 0; i < m->count; i++)
        REQUIRE(c, strcmp(m->seen[i], e->message), "%s: the message is the one of another mistake: %s", what,
                e->message);
    if (m->count < 48) memcpy(m->seen[m->count++], e->message, sizeof e->message);
    return CONFORM_PASS;
}

static conform_result null_arguments(conform *c) {
    opened o = {0};
    const dukd_plugin *p = c->plugin;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    conform_result r = open_session(c, &o);
    if (r) return r;
#define NULL_CALL(text, call)                                                                                \
    e.code = 0;                                                                                              \
    e.message[0] = 0;                                                                                        \
    if ((r = expect(c, text, call, DUKD_E_ARGUMENT, &e))) return r
    dukd_session *s = NULL;
    const dukd_plan *plan;
    const dukd_pass *pass;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    uint64_t size = 0;
    NULL_CALL("query_backend(out NULL)", p->query_backend(0, NULL, &e));
    NULL_CALL("query_backend(index too large)", p->query_backend(UINT32_MAX, &b, &e));
    NULL_CALL("create_session(params NULL)", p->create_session(NULL, &s, &e));
    NULL_CALL("create_session(out NULL)", p->create_session(&o.params, NULL, &e));
    NULL_CALL("get_plan(session NULL)", p->get_plan(NULL, &plan, &e));
    NULL_CALL("get_plan(out NULL)", p->get_plan(o.s, NULL, &e));
    NULL_CALL("begin_step(session NULL)",
              p->begin_step(NULL, &(dukd_step){.struct_size = DUKD_STEP_SIZE}, &e));
    NULL_CALL("begin_step(step NULL)", p->begin_step(o.s, NULL, &e));
    NULL_CALL("next_pass(session NULL)", p->next_pass(NULL, &pass, &e));
    NULL_CALL("submit_pass(session NULL)",
              p->submit_pass(NULL, &(dukd_submit){.struct_size = DUKD_SUBMIT_SIZE}, &e));
    NULL_CALL("end_step(session NULL)", p->end_step(NULL, &e));
    NULL_CALL("cancel_step(session NULL)", p->cancel_step(NULL, &e));
    NULL_CALL("read_losses(session NULL)", p->read_losses(NULL, &losses, &e));
    NULL_CALL("get_state(session NULL)", p->get_state(NULL, NULL, &size, &e));
    NULL_CALL("get_state(size NULL)", p->get_state(o.s, NULL, NULL, &e));
    NULL_CALL("set_state(session NULL)", p->set_state(NULL, &size, 8, &e));
    NULL_CALL("set_state(data NULL)", p->set_state(o.s, NULL, 8, &e));
#undef NULL_CALL
    p->destroy_session(NULL);
    return close_session(c, &o);
}

static conform_result error_may_be_null(conform *c) {
    opened o = {0};
    dukd_session *s = NULL;
    const dukd_pass *pass;
    conform_result r = open_session(c, &o);
    if (r) return r;
    REQUIRE(c, c->plugin->create_session(NULL, &s, NULL) == DUKD_E_ARGUMENT, "create_session(NULL, NULL)");
    REQUIRE(c, c->plugin->begin_step(o.s, NULL, NULL) == DUKD_E_ARGUMENT, "begin_step(NULL, NULL)");
    REQUIRE(c, c->plugin->next_pass(o.s, &pass, NULL) == DUKD_E_STATE, "next_pass before begin_step");
    return close_session(c, &o);
}

static conform_result bad_params(conform *c) {
    toy_host h = {0};
    messages m = {.count = 0};
    REQUIRE(c, !toy_host_open(&h, 2, 8, 8, 2), "out of memory");
    const dukd_session_params good = toy_params(&h, c);
    dukd_host no_shape = h.host, no_networks = h.host, half_alloc = h.host, half_parallel = h.host;
    no_shape.tap_shape = NULL;
    no_networks.n_networks = 0;
    half_alloc.free = NULL;
    half_parallel.parallel_for = NULL;
    half_parallel.max_threads = (uint32_t(*)(void *))(uintptr_t)1;
    struct {
        const char *what;
        dukd_session_params p;
    } bad[] = {{"flags unknown", good},
               {"host NULL", good},
               {"options NULL", good},
               {"micro_count 0", good},
               {"N 0", good},
               {"h negative", good},
               {"w too large", good},
               {"scale 0", good},
               {"scale 1000000", good},
               {"dtype int", good},
               {"dtype lanes 2", good},
               {"device type 99", good},
               {"no tap_shape", good},
               {"no networks", good},
               {"alloc without free", good},
               {"max_threads without parallel_for", good}};
    bad[0].p.flags = 0x80000000u;
    bad[1].p.host = NULL;
    bad[2].p.options = NULL, bad[2].p.n_options = 1;
    bad[3].p.micro_count = 0;
    bad[4].p.lr_shape[0] = 0;
    bad[5].p.lr_shape[2] = -8;
    bad[6].p.lr_shape[3] = INT64_MAX / 2;
    bad[7].p.scale = 0;
    bad[8].p.scale = 1000000;
    bad[9].p.dtype = (dukd_dtype){0, 32, 1};
    bad[10].p.dtype.lanes = 2;
    bad[11].p.device.device_type = 99;
    bad[12].p.host = &no_shape;
    bad[13].p.host = &no_networks;
    bad[14].p.host = &half_alloc;
    bad[15].p.host = &half_parallel;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        dukd_session *s = (dukd_session *)1;
        int32_t code = c->plugin->create_session(&bad[i].p, &s, &e);
        REQUIRE(c, code == DUKD_E_ARGUMENT || code == DUKD_E_UNSUPPORTED, "%s: create_session gave %d",
                bad[i].what, code);
        REQUIRE(c, !s && e.message[0], "%s: *out is not NULL, or no message", bad[i].what);
        conform_result r = distinct(c, &m, bad[i].what, &e);
        if (r) return r;
    }
    REQUIRE(c, h.allocated == 0, "refused sessions hold %lld bytes", (long long)h.allocated);
    toy_host_close(&h);
    return CONFORM_PASS;
}

static conform_result unknown_option(conform *c) {
    toy_host h = {0};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    dukd_session *s = NULL;
    const dukd_plugin_info *info = c->plugin->get_info();
    if (!info->n_options) return conform_skip(c, "the plugin has no options");
    REQUIRE(c, !toy_host_open(&h, 2, 8, 8, 2), "out of memory");
    char key[256];
    snprintf(key, sizeof key, "%sx", info->options[0]->name); /* a known name, mistyped */
    const char *value = "1";
    const dukd_option wrong = {.struct_size = DUKD_OPTION_SIZE,
                               .kind = DUKD_VALUE_SCALAR,
                               .key = key,
                               .place = "some.yml:12:5",
                               .values = &value,
                               .n_values = 1};
    const dukd_option *options[65];
    dukd_session_params params = toy_params(&h, c);
    REQUIRE(c, c->n_options < 64, "too many options given");
    for (uint32_t i = 0; i < c->n_options; i++) options[i] = c->options[i];
    options[c->n_options] = &wrong;
    params.options = options;
    params.n_options = c->n_options + 1;
    int32_t code = c->plugin->create_session(&params, &s, &e);
    REQUIRE(c, code == DUKD_E_OPTION, "an unknown option: create_session gave %d", code);
    REQUIRE(c, strstr(e.message, "some.yml:12:5"), "the message does not give the option's place: %s",
            e.message);
    REQUIRE(c, strstr(e.message, key), "the message does not name the option: %s", e.message);
    char *first = strstr(e.message, info->options[0]->name),
         *second = first ? strstr(first + 1, info->options[0]->name) : NULL;
    REQUIRE(c, second, "the message does not name the nearest known option, %s: %s", info->options[0]->name,
            e.message);
    toy_host_close(&h);
    return CONFORM_PASS;
}

static conform_result wrong_option(conform *c) {
    toy_host h = {0};
    const dukd_plugin_info *info = c->plugin->get_info();
    int tried = 0;
    REQUIRE(c, !toy_host_open(&h, 2, 8, 8, 2), "out of memory");
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        uint32_t base = o->type & ~DUKD_OPTION_LIST;
        if (base == DUKD_OPTION_STRING && !o->n_choices) continue;
        const char *value = "no such value";
        const dukd_option wrong = {.struct_size = DUKD_OPTION_SIZE,
                                   .kind = DUKD_VALUE_SCALAR,
                                   .key = o->name,
                                   .place = "a.yml:3:7",
                                   .values = &value,
                                   .n_values = 1};
        const dukd_option *options[] = {&wrong};
        dukd_session_params params = toy_params(&h, c);
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        dukd_session *s = NULL;
        params.options = options;
        params.n_options = 1;
        int32_t code = c->plugin->create_session(&params, &s, &e);
        REQUIRE(c, code == DUKD_E_OPTION, "%s: '%s': create_session gave %d", o->name, value, code);
        REQUIRE(c, strstr(e.message, "a.yml:3:7") && strstr(e.message, o->name),
                "%s: the message names neither key nor place: %s", o->name, e.message);
        tried++;
    }
    toy_host_close(&h);
    return tried ? CONFORM_PASS : conform_skip(c, "no option has a type that can be wrong");
}

static conform_result bad_step(conform *c) {
    opened o = {0};
    messages m = {.count = 0};
    toy_result before, after;
    conform_result r = open_session(c, &o);
    if (r) return r;
    if (toy_step(c, &o.h, o.s, &(toy_run){.iteration = 5}, &before)) return CONFORM_FAIL;
    const dukd_step good = {
        .struct_size = DUKD_STEP_SIZE, .iteration = 5, .micro_count = 1, .lr = &o.h.lr.t, .hr = &o.h.hr.t};
    dukd_tensor flat = o.h.lr.t, wide = o.h.lr.t, half = o.h.lr.t, cuda = o.h.lr.t, nothing = o.h.lr.t;
    int64_t wrong[4] = {2, 3, 8, 9};
    flat.ndim = 3;
    wide.shape = wrong;
    half.dtype = toy_bf16;
    cuda.device.device_type = DUKD_DEVICE_CUDA;
    nothing.data = NULL;
    struct {
        const char *what;
        dukd_step step;
    } bad[] = {{"flags", good},
               {"iteration 0", good},
               {"micro_index 1 of 1", good},
               {"micro_count 2", good},
               {"lr NULL", good},
               {"hr NULL", good},
               {"lr ndim 3", good},
               {"lr shape", good},
               {"lr dtype", good},
               {"lr device", good},
               {"lr data NULL", good},
               {"hr shape", good},
               {"first_sample negative", good}};
    bad[0].step.flags = 4;
    bad[1].step.iteration = 0;
    bad[2].step.micro_index = 1;
    bad[3].step.micro_count = 2;
    bad[4].step.lr = NULL;
    bad[5].step.hr = NULL;
    bad[6].step.lr = &flat;
    bad[7].step.lr = &wide;
    bad[8].step.lr = &half;
    bad[9].step.lr = &cuda;
    bad[10].step.lr = &nothing;
    bad[11].step.hr = &o.h.lr.t;
    bad[12].step.first_sample = -1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        if ((r = expect(c, bad[i].what, c->plugin->begin_step(o.s, &bad[i].step, &e), DUKD_E_ARGUMENT, &e)))
            return r;
        if ((r = distinct(c, &m, bad[i].what, &e))) return r;
    }
    if (toy_step(c, &o.h, o.s, &(toy_run){.iteration = 5}, &after)) return CONFORM_FAIL;
    REQUIRE(c, before.inputs_hash == after.inputs_hash && before.grads_hash == after.grads_hash,
            "refused calls have changed what the next step does");
    return close_session(c, &o);
}

static conform_result bad_submit(conform *c) {
    opened o = {0};
    messages m = {.count = 0};
    const dukd_pass *pass = NULL;
    conform_result r = open_session(c, &o);
    if (r) return r;
    const dukd_step step = {
        .struct_size = DUKD_STEP_SIZE, .iteration = 1, .micro_count = 1, .lr = &o.h.lr.t, .hr = &o.h.hr.t};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->begin_step(o.s, &step, &e);
    if (code == DUKD_OK) code = c->plugin->next_pass(o.s, &pass, &e);
    REQUIRE(c, code == DUKD_OK && pass->n_taps <= TOY_MAX_TAPS, "the first pass: %d %s", code, e.message);
    toy_tensor values[TOY_MAX_TAPS] = {0}, grads[TOY_MAX_TAPS] = {0}, spare = {0};
    const dukd_tensor *v[TOY_MAX_TAPS], *g[TOY_MAX_TAPS];
    uint32_t wanted = TOY_MAX_TAPS;
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        int64_t shape[4];
        const dukd_tap *tap = pass->taps[i];
        REQUIRE(c, tap->source_kind == DUKD_SOURCE_INPUT,
                "the first pass has derived taps: not what this check can follow");
        o.h.host.tap_shape(o.h.host.ctx, tap, pass->inputs[tap->source_id]->tensor->shape, shape);
        toy_tensor_make(&values[i], shape[0], shape[1], shape[2], shape[3], toy_f32, TOY_DENSE);
        toy_tensor_make(&grads[i], shape[0], shape[1], shape[2], shape[3], toy_f32, TOY_DENSE);
        memset(values[i].t.data, 0, values[i].bytes);
        values[i].t.shape = values[i].shape, values[i].t.strides = values[i].strides;
        grads[i].t.shape = grads[i].shape, grads[i].t.strides = grads[i].strides;
        v[i] = &values[i].t;
        g[i] = tap->flags & DUKD_TAP_WANT_GRAD ? &grads[i].t : NULL;
        if (g[i] && wanted == TOY_MAX_TAPS) wanted = i;
    }
    if (wanted == TOY_MAX_TAPS) return conform_skip(c, "the first pass wants no gradient");
    const dukd_submit good = {.struct_size = DUKD_SUBMIT_SIZE,
                              .pass_id = pass->id,
                              .n_taps = pass->n_taps,
                              .values = v,
                              .grads = g,
                              .grad_scale = 1};
    const dukd_tensor *v_null[TOY_MAX_TAPS], *v_shape[TOY_MAX_TAPS], *g_null[TOY_MAX_TAPS],
        *g_shape[TOY_MAX_TAPS], *g_overlap[TOY_MAX_TAPS], *g_type[TOY_MAX_TAPS];
    for (uint32_t i = 0; i < pass->n_taps; i++)
        v_null[i] = v_shape[i] = v[i], g_null[i] = g_shape[i] = g_overlap[i] = g_type[i] = g[i];
    toy_tensor_make(&spare, 1, 1, 2, 2, toy_f32, TOY_DENSE);
    spare.t.shape = spare.shape, spare.t.strides = spare.strides;
    dukd_tensor overlap = *g[wanted], type = *g[wanted];
    int64_t zeros[4] = {overlap.strides[0], overlap.strides[1], 0, 1};
    overlap.strides = zeros;
    type.dtype = toy_bf16; /* neither f32 nor the value's type */
    v_null[wanted] = NULL, v_shape[wanted] = &spare.t, g_null[wanted] = NULL, g_shape[wanted] = &spare.t;
    g_overlap[wanted] = &overlap, g_type[wanted] = &type;
    struct {
        const char *what;
        dukd_submit s;
    } bad[] = {{"pass_id unknown", good},   {"n_taps wrong", good},       {"values NULL", good},
               {"grads NULL", good},        {"a value NULL", good},       {"a value's shape", good},
               {"a gradient NULL", good},   {"a gradient's shape", good}, {"a gradient that overlaps", good},
               {"a gradient's type", good}, {"grad_scale 0", good},       {"grad_scale NaN", good}};
    bad[0].s.pass_id = pass->id + 100;
    bad[1].s.n_taps = pass->n_taps + 1;
    bad[2].s.values = NULL;
    bad[3].s.grads = NULL;
    bad[4].s.values = v_null;
    bad[5].s.values = v_shape;
    bad[6].s.grads = g_null;
    bad[7].s.grads = g_shape;
    bad[8].s.grads = g_overlap;
    bad[9].s.grads = g_type;
    bad[10].s.grad_scale = 0;
    bad[11].s.grad_scale = NAN;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dukd_error err = {.struct_size = DUKD_ERROR_SIZE};
        if ((r = expect(c, bad[i].what, c->plugin->submit_pass(o.s, &bad[i].s, &err), DUKD_E_ARGUMENT, &err)))
            return r;
        /* two ways to say that grad_scale is wrong may be one message */
        if (i < 11 && (r = distinct(c, &m, bad[i].what, &err))) return r;
    }
    for (uint64_t i = 0; i < grads[wanted].bytes; i++)
        REQUIRE(c, ((uint8_t *)grads[wanted].t.data)[i] == 0xa5,
                "a refused submit_pass has written the gradient");
    code = c->plugin->submit_pass(o.s, &good, &e);
    REQUIRE(c, code == DUKD_OK, "after refused ones the right submit_pass gave %d: %s", code, e.message);
    code = c->plugin->submit_pass(o.s, &good, &e);
    REQUIRE(c, code < 0, "the same pass can be submitted twice");
    for (uint32_t i = 0; i < pass->n_taps; i++) toy_tensor_free(&values[i]), toy_tensor_free(&grads[i]);
    toy_tensor_free(&spare);
    return close_session(c, &o); /* in the middle of a step */
}

static conform_result order(conform *c) {
    opened o = {0};
    const dukd_pass *pass;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    uint64_t size = 0;
    const dukd_plugin *p = c->plugin;
    conform_result r = open_session(c, &o);
    if (r) return r;
    const dukd_step step = {
        .struct_size = DUKD_STEP_SIZE, .iteration = 1, .micro_count = 1, .lr = &o.h.lr.t, .hr = &o.h.hr.t};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    if ((r = expect(c, "next_pass before begin_step", p->next_pass(o.s, &pass, &e), DUKD_E_STATE, &e)))
        return r;
    if ((r = expect(c, "end_step before begin_step", p->end_step(o.s, &e), DUKD_E_STATE, &e))) return r;
    if ((r = expect(c, "cancel_step before begin_step", p->cancel_step(o.s, &e), DUKD_E_STATE, &e))) return r;
    REQUIRE(c, p->begin_step(o.s, &step, NULL) == DUKD_OK, "begin_step failed");
    if ((r = expect(c, "begin_step twice", p->begin_step(o.s, &step, &e), DUKD_E_STATE, &e))) return r;
    if ((r = expect(c, "end_step at once", p->end_step(o.s, &e), DUKD_E_STATE, &e))) return r;
    if ((r = expect(c, "read_losses in a step", p->read_losses(o.s, &losses, &e), DUKD_E_STATE, &e)))
        return r;
    if ((r = expect(c, "get_state in a step", p->get_state(o.s, NULL, &size, &e), DUKD_E_STATE, &e)))
        return r;
    REQUIRE(c, p->cancel_step(o.s, NULL) == DUKD_OK, "cancel_step before any pass is not DUKD_OK");
    REQUIRE(c, p->begin_step(o.s, &step, NULL) == DUKD_OK, "after cancel_step begin_step fails");
    return close_session(c, &o);
}

/* Every allocation of create_session and of two steps fails once. */
static conform_result no_memory(conform *c) {
    int failures = 0;
    for (int64_t n = 0; n < 400; n++) {
        toy_host h = {0};
        toy_result result;
        dukd_session *s = NULL;
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        REQUIRE(c, !toy_host_open(&h, 2, 8, 8, 2), "out of memory");
        h.fail_after = n;
        dukd_session_params params = toy_params(&h, c);
        int32_t code = c->plugin->create_session(&params, &s, &e);
        int step = 0;
        if (code == DUKD_OK) {
            step = toy_step(c, &h, s, &(toy_run){.iteration = 1}, &result);
            if (step) c->plugin->cancel_step(s, NULL);
            c->plugin->destroy_session(s);
        } else
            REQUIRE(c, code == DUKD_E_MEMORY && e.message[0] && !s,
                    "allocation %lld fails: create_session gave %d", (long long)n, code);
        REQUIRE(c, h.allocated == 0, "allocation %lld fails: %lld bytes leak", (long long)n,
                (long long)h.allocated);
        failures += h.fail_after == 0;
        int reached = h.fail_after == 0;
        toy_host_close(&h);
        c->why[0] = 0;
        if (!reached)
            return failures ? CONFORM_PASS : conform_skip(c, "the plugin allocates nothing through the host");
    }
    return conform_fail(c, "more than 400 allocations for two steps of a tiny batch");
}

const conform_check conform_errors[] = {
    {"null-arguments", "errors", "a NULL is DUKD_E_ARGUMENT with a message, never a crash (ERRORS)",
     null_arguments},
    {"error-may-be-null", "errors", "every function works without a dukd_error (ERRORS)", error_may_be_null},
    {"bad-params", "errors", "create_session refuses each wrong field with its own message (create_session)",
     bad_params},
    {"unknown-option", "errors",
     "an unknown option is DUKD_E_OPTION with its place and the nearest known name (dukd_option)",
     unknown_option},
    {"wrong-option", "errors",
     "a value of the wrong type is DUKD_E_OPTION with key and place (dukd_option_info)", wrong_option},
    {"bad-step", "errors",
     "begin_step refuses each wrong field with its own message and changes nothing (dukd_step)", bad_step},
    {"bad-submit", "errors", "submit_pass refuses wrong tensors and writes nothing then (dukd_submit)",
     bad_submit},
    {"order", "errors", "a call that does not come now is DUKD_E_STATE (THE IDEA)", order},
    {"no-memory", "errors",
     "a failing allocation is DUKD_E_MEMORY, leaks nothing, and the session can be destroyed (ERRORS)",
     no_memory},
};
const int conform_errors_count = sizeof conform_errors / sizeof *conform_errors;
