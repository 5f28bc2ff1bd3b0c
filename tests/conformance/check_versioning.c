/* Group versioning: structs of later and of earlier versions. Every struct handed over ends where memory ends. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "toy_step.h"

enum { TAIL = 24 }; /* bytes that a later version of a struct may have more */

/* A copy of `size` bytes, guarded, followed by a tail of TAIL bytes of `fill` where `tail` is set; struct_size says so. */
static void *grown(const void *from, uint32_t size, int tail, int fill) {
    uint32_t total = size + (tail ? TAIL : 0);
    uint8_t *p = conform_guarded(total);
    memcpy(p, from, size);
    memset(p + size, fill, total - size);
    memcpy(p, &total, sizeof total);
    return p;
}

static void *shrunk(const void *from, uint32_t size) {
    uint32_t less = size - 8;
    uint8_t *p = conform_guarded(less);
    memcpy(p, from, less);
    memcpy(p, &less, sizeof less);
    return p;
}

/* An input struct in each size, and what the answer must be. The last is taken. */
typedef struct {
    void *copy;
    int32_t wanted;
    const char *what;
} variant;

enum { VARIANTS = 4 };

static void variants(const void *original, uint32_t size, variant out[VARIANTS]) {
    out[0] = (variant){grown(original, size, 1, 1), DUKD_E_UNSUPPORTED, "with a tail that is not zero"};
    out[1] = (variant){shrunk(original, size), DUKD_E_ARGUMENT, "too small"};
    out[2] = (variant){grown(original, size, 1, 0), DUKD_OK, "with a tail of zeros"};
    out[3] = (variant){grown(original, size, 0, 0), DUKD_OK, "at the end of memory"};
}

static conform_result answer(conform *c, const char *call, const char *name, const variant *v, int32_t code,
                             const dukd_error *e) {
    REQUIRE(c, code == v->wanted, "%s %s: %s gave %d, not %d: %s", name, v->what, call, code, v->wanted,
            e->message);
    REQUIRE(c, code == DUKD_OK || e->message[0], "%s %s: refused without a message", name, v->what);
    return CONFORM_PASS;
}

static conform_result create_with(conform *c, const dukd_session_params *params, const char *name,
                                  const variant *v) {
    dukd_session *s = (dukd_session *)(uintptr_t)1;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->create_session(params, &s, &e);
    TRY(answer(c, "create_session", name, v, code, &e));
    REQUIRE(c, code == DUKD_OK || !s, "%s %s: a session was refused, but *out is not NULL", name, v->what);
    if (code == DUKD_OK) c->plugin->destroy_session(s);
    return CONFORM_PASS;
}

static conform_result params_sizes(conform *c) {
    toy_session t;
    variant v[VARIANTS];
    TRY(toy_open(c, &t, (toy_setup){0})); /* it works as it is */
    variants(&t.params, DUKD_SESSION_PARAMS_SIZE, v);
    for (int i = 0; i < VARIANTS; i++) TRY(create_with(c, v[i].copy, "dukd_session_params", &v[i]));
    variants(&t.h.host, DUKD_HOST_SIZE, v);
    for (int i = 0; i < VARIANTS; i++) {
        dukd_session_params params = t.params;
        params.host = v[i].copy;
        TRY(create_with(c, &params, "dukd_host", &v[i]));
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* An option that a session takes: of the command line, else one of the table written as its default. */
static conform_result find_option(conform *c, toy_session *t, dukd_option *option, const char **value) {
    const dukd_plugin_info *info = c->plugin->get_info();
    const dukd_option *list[] = {option};
    if (c->n_options) {
        *option = *c->options[0];
        return CONFORM_PASS;
    }
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        dukd_session *s = NULL;
        if (!o->default_text || o->type & DUKD_OPTION_LIST) continue;
        *value = o->default_text;
        *option = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                                .kind = DUKD_VALUE_SCALAR,
                                .key = o->name,
                                .values = value,
                                .n_values = 1};
        t->params.options = list;
        t->params.n_options = 1;
        int32_t code = c->plugin->create_session(&t->params, &s, NULL);
        if (code != DUKD_OK) continue;
        c->plugin->destroy_session(s);
        return CONFORM_PASS;
    }
    return conform_skip(c, "no option is known that a session takes");
}

static conform_result option_sizes(conform *c) {
    toy_session t;
    dukd_option option;
    const char *value;
    const dukd_option *list[65];
    variant v[VARIANTS];
    TRY(toy_open(c, &t, (toy_setup){0}));
    TRY(find_option(c, &t, &option, &value));
    uint32_t n = c->n_options < 64 ? c->n_options : 64;
    for (uint32_t i = 1; i < n; i++) list[i] = c->options[i];
    t.params.options = list;
    t.params.n_options = n ? n : 1;
    variants(&option, DUKD_OPTION_SIZE, v);
    for (int i = 0; i < VARIANTS; i++) {
        list[0] = v[i].copy;
        TRY(create_with(c, &t.params, "dukd_option", &v[i]));
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result step_sizes(conform *c) {
    toy_session t;
    variant v[VARIANTS];
    TRY(toy_open(c, &t, (toy_setup){0}));
    const dukd_step step = toy_step_of(&t, &(toy_run){0});
    variants(&step, DUKD_STEP_SIZE, v);
    for (int i = 0; i < VARIANTS; i++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        int32_t code = c->plugin->begin_step(t.s, v[i].copy, &e);
        TRY(answer(c, "begin_step", "dukd_step", &v[i], code, &e));
        if (code == DUKD_OK) c->plugin->cancel_step(t.s, NULL);
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result submit_sizes(conform *c) {
    variant v[VARIANTS];
    for (int i = 0; i < VARIANTS; i++) {
        toy_session t;
        toy_pass p;
        toy_submit s;
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        TRY(toy_open(c, &t, (toy_setup){0}));
        TRY(toy_to_gradient(c, &t, &(toy_run){0}, &p));
        toy_submit_of(&p, &(toy_run){0}, &s);
        variants(&s.submit, DUKD_SUBMIT_SIZE, v);
        int32_t code = c->plugin->submit_pass(t.s, v[i].copy, &e);
        TRY(answer(c, "submit_pass", "dukd_submit", &v[i], code, &e));
        toy_pass_free(&p);
        toy_close(c, &t);
    }
    return CONFORM_PASS;
}

static conform_result error_sizes(conform *c) {
    uint8_t *small = conform_guarded(8), *large = conform_guarded(DUKD_ERROR_SIZE + TAIL);
    dukd_error *exact = conform_guarded(DUKD_ERROR_SIZE);
    uint32_t size = 8;
    dukd_session *s;
    memcpy(small, &size, sizeof size);
    exact->struct_size = DUKD_ERROR_SIZE;
    size = DUKD_ERROR_SIZE + TAIL;
    memset(large, 0x5a, size);
    memcpy(large, &size, sizeof size);
    dukd_error *errors[] = {exact, (dukd_error *)(void *)small, (dukd_error *)(void *)large};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        REQUIRE(c, c->plugin->create_session(NULL, &s, errors[i]) == DUKD_E_ARGUMENT,
                "create_session(NULL) is not DUKD_E_ARGUMENT");
    for (int i = 0; i < TAIL; i++)
        REQUIRE(c, large[DUKD_ERROR_SIZE + i] == 0x5a, "the tail of a larger dukd_error was written");
    REQUIRE(c, exact->code == DUKD_E_ARGUMENT && errors[2]->code == DUKD_E_ARGUMENT,
            "a dukd_error of the right size or a larger one has not received its code");
    REQUIRE(c, memchr(large + offsetof(dukd_error, message), 0, 256), "the message has no end");
    return CONFORM_PASS;
}

/* An output struct whose memory ends with the struct, one with a tail that must stay, one that is too small. */
static conform_result output(conform *c, const char *name, uint32_t size, conform *context,
                             int32_t (*call)(conform *context, void *out, void *arg), void *arg) {
    uint8_t *exact = conform_guarded(size), *large = conform_guarded(size + TAIL),
            *small = conform_guarded(size - 8);
    uint32_t more = size + TAIL, less = size - 8;
    memcpy(exact, &size, sizeof size);
    memset(large, 0x5a, size + TAIL);
    memcpy(large, &more, sizeof more);
    memcpy(small, &less, sizeof less);
    REQUIRE(c, call(context, exact, arg) == DUKD_OK, "a %s of the right size is refused", name);
    REQUIRE(c, call(context, large, arg) == DUKD_OK, "a larger %s is refused", name);
    for (int i = 0; i < TAIL; i++)
        REQUIRE(c, large[size + (uint32_t)i] == 0x5a, "the tail of a larger %s was written", name);
    REQUIRE(c, call(context, small, arg) == DUKD_E_ARGUMENT, "a %s that is too small is not DUKD_E_ARGUMENT",
            name);
    return CONFORM_PASS;
}

static int32_t call_query(conform *c, void *out, void *arg) {
    (void)arg;
    return c->plugin->query_backend(0, out, NULL);
}

static int32_t call_losses(conform *c, void *out, void *arg) {
    return c->plugin->read_losses(arg, out, NULL);
}

static conform_result output_sizes(conform *c) {
    toy_session t;
    toy_result r;
    TRY(output(c, "dukd_backend_info", DUKD_BACKEND_INFO_SIZE, c, call_query, NULL));
    TRY(toy_open(c, &t, (toy_setup){0}));
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    TRY(output(c, "dukd_losses", DUKD_LOSSES_SIZE, c, call_losses, t.s));
    toy_result_free(&r);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"params-sizes", "session_params and host: larger, smaller, at the end of memory (STRUCTS)",
     params_sizes},
    {"option-sizes", "dukd_option: larger, smaller, at the end of memory (STRUCTS)", option_sizes},
    {"step-sizes", "dukd_step: larger, smaller, at the end of memory (STRUCTS)", step_sizes},
    {"submit-sizes", "dukd_submit: larger, smaller, at the end of memory (STRUCTS)", submit_sizes},
    {"error-sizes", "dukd_error: nothing past struct_size is written (STRUCTS)", error_sizes},
    {"output-sizes", "output structs: the unknown tail is left as it was (STRUCTS)", output_sizes},
};
const conform_group conform_versioning = {"versioning", "structs of other sizes", 0, checks,
                                          sizeof checks / sizeof *checks};
