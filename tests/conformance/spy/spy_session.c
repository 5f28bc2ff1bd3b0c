/* Making a session: what the host says of itself is looked at and noted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spy.h"

/* ---- options ---- */

static int ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0 && (n == m || text[n - m - 1] == '.');
}

/* The value has this text; a number may be written otherwise. */
static int has_value(const dukd_option *o, uint32_t i, const char *want) {
    char *end;
    const double number = strtod(want, &end);
    if (strcmp(o->values[i], want) == 0) return 1;
    return !*end && strtod(o->values[i], &end) == number && end != o->values[i] && !*end;
}

/* Options that a host's option file may have, so that it can be seen how they arrive. */
static void look_at_known(const dukd_option *o) {
    static const struct {
        const char *key;
        uint32_t kind, n;
        const char *values[3];
    } known[] = {
        {"spy.text", DUKD_VALUE_SCALAR, 1, {"two words"}},
        {"spy.number", DUKD_VALUE_SCALAR, 1, {"0.25"}},
        {"spy.flag", DUKD_VALUE_SCALAR, 1, {"true"}},
        {"spy.list", DUKD_VALUE_LIST, 3, {"1", "2.5", "x"}},
        {"spy.none", DUKD_VALUE_NULL, 0, {NULL, NULL, NULL}},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (!ends_with(o->key, known[k].key)) continue;
        spy_note("{\"call\": \"known_option\", \"key\": \"%s\"}", known[k].key);
        if (o->kind != known[k].kind || o->n_values != known[k].n) {
            spy_wrong("options", "%s came as kind %u with %u values, not as kind %u with %u", known[k].key,
                      o->kind, o->n_values, known[k].kind, known[k].n);
            continue;
        }
        for (uint32_t i = 0; i < o->n_values; i++)
            if (!has_value(o, i, known[k].values[i]))
                spy_wrong("options", "%s: value %u came as '%.60s', not as '%s'", known[k].key, i,
                          o->values[i], known[k].values[i]);
    }
}

static void look_at_option(const dukd_option *o) {
    if (!o || !o->key || !*o->key) {
        spy_wrong("options", "an option is NULL, or has no key");
        return;
    }
    spy_look_at_struct("options", o->key, o, DUKD_OPTION_SIZE);
    if (o->kind < DUKD_VALUE_SCALAR || o->kind > DUKD_VALUE_NULL || o->pad0)
        spy_wrong("options", "%s: kind %u, pad0 %u", o->key, o->kind, o->pad0);
    if ((o->kind == DUKD_VALUE_SCALAR && o->n_values != 1) || (o->kind == DUKD_VALUE_NULL && o->n_values))
        spy_wrong("options", "%s: %u values for kind %u", o->key, o->n_values, o->kind);
    for (uint32_t i = 0; i < o->n_values; i++)
        if (!o->values || !o->values[i]) {
            spy_wrong("options", "%s: value %u is NULL", o->key, i);
            return;
        }
    look_at_known(o);
}

/* ---- params ---- */

static void look_at_host(const dukd_host *h) {
    spy_look_at_struct("params", "host", h, DUKD_HOST_SIZE);
    if (!h->tap_shape) spy_wrong("params", "host: tap_shape is NULL");
    if (!h->alloc != !h->free) spy_wrong("params", "host: one of alloc and free is there, the other is not");
    if (!h->parallel_for != !h->max_threads)
        spy_wrong("params", "host: one of parallel_for and max_threads is there, the other is not");
}

static void look_at_params(const dukd_session_params *p) {
    spy_look_at_struct("params", "params", p, DUKD_SESSION_PARAMS_SIZE);
    if (p->flags & ~DUKD_SESSION_LOSS_SCALE) spy_wrong("params", "params: flags are 0x%x", p->flags);
    if (p->micro_count < 1 || p->scale < 1)
        spy_wrong("params", "params: micro_count or scale is less than 1");
    for (int i = 0; i < 4; i++)
        if (p->lr_shape[i] < 1)
            spy_wrong("params", "params: lr_shape[%d] is %lld", i, (long long)p->lr_shape[i]);
    if (!toy_same_type(p->dtype, toy_f32) && !toy_same_type(p->dtype, toy_f16) &&
        !toy_same_type(p->dtype, toy_bf16))
        spy_wrong("params", "params: dtype is neither f32 nor f16 nor bf16");
    for (uint32_t i = 0; i < p->n_options; i++) look_at_option(p->options ? p->options[i] : NULL);
}

static int is_usable(const dukd_session_params *p) {
    const int64_t *z = p->lr_shape;
    return p->micro_count >= 1 && p->scale >= 1 && p->scale <= 16 && z[0] >= 1 && z[0] <= SPY_MAX_IMAGES &&
           z[1] >= 1 && z[1] <= 64 && z[2] >= 1 && z[2] <= 4096 && z[3] >= 1 && z[3] <= 4096 &&
           p->host->tap_shape && p->host->networks &&
           (toy_same_type(p->dtype, toy_f32) || toy_same_type(p->dtype, toy_f16) ||
            toy_same_type(p->dtype, toy_bf16));
}

static void find_networks(dukd_session *s) {
    static const char *const names[2] = {"student", "teacher"};
    for (int k = 0; k < 2; k++) {
        s->network[k] = UINT32_MAX;
        for (uint32_t i = 0; i < s->host.n_networks; i++)
            if (strcmp(s->host.networks[i], names[k]) == 0) s->network[k] = i;
    }
}

static void note_session(const dukd_session *s, uint64_t seed) {
    spy_note(
        "{\"call\": \"create_session\", \"n\": %lld, \"c\": %lld, \"h\": %lld, \"w\": %lld, \"scale\": %d, "
        "\"micro\": %u, \"seed\": %llu, \"caps\": %llu, \"student\": %d, \"teacher\": %d, \"alloc\": %d, "
        "\"parallel\": %d, \"log\": %d}",
        (long long)s->lr_shape[0], (long long)s->lr_shape[1], (long long)s->lr_shape[2],
        (long long)s->lr_shape[3], s->scale, s->micro_count, (unsigned long long)seed,
        (unsigned long long)s->caps, s->network[0] != UINT32_MAX, s->network[1] != UINT32_MAX,
        s->host.alloc && s->host.free, s->host.parallel_for && s->host.max_threads, s->host.log != NULL);
}

/* ---- the plan ---- */

static int32_t refuse(dukd_session *s, dukd_error *error, int32_t code, const char *message) {
    for (uint32_t i = 0; i < SPY_PASSES; i++) spy_live_free(s->planned[i]);
    free(s);
    return spy_error(error, code, message);
}

/* Asks for the shape of each tap. */
static int shape_pass(const dukd_session *s, spy_live *l, const spy_pass *p) {
    for (uint32_t i = 0; i < p->n_taps; i++) {
        if (l->tap[i].network == UINT32_MAX) return -1;
        if (s->host.tap_shape(s->host.ctx, &l->tap[i], s->lr_shape, l->shape[i], NULL)) return -1;
        for (int d = 0; d < 4; d++)
            if (l->shape[i][d] < 1 || l->shape[i][d] > 1 << 20) {
                spy_wrong("tap-shape", "tap_shape says that dimension %d is %lld", d,
                          (long long)l->shape[i][d]);
                return -1;
            }
        if (l->shape[i][0] != s->lr_shape[0])
            spy_wrong("tap-shape", "tap_shape says %lld images for %lld", (long long)l->shape[i][0],
                      (long long)s->lr_shape[0]);
    }
    return 0;
}

static int make_plan(dukd_session *s) {
    const char *text = getenv("DUKD_SPY");
    if (spy_scenario_read(&s->scenario, text ? text : "zbo:l:s0=1")) return -1;
    for (uint32_t i = 0; i < s->scenario.n_plan; i++) {
        s->planned[i] = spy_live_make(s, i, 0);
        if (!s->planned[i] || shape_pass(s, s->planned[i], &s->scenario.plan[i])) return -1;
        s->planned[i]->pass.id = i;
        s->plan_list[i] = &s->planned[i]->pass;
    }
    s->plan =
        (dukd_plan){.struct_size = DUKD_PLAN_SIZE, .n_passes = s->scenario.n_plan, .passes = s->plan_list};
    return 0;
}

int32_t spy_create_session(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    if (!params || !params->host || !out) {
        spy_wrong("params", "create_session: params, host or out is NULL");
        return spy_error(error, DUKD_E_ARGUMENT, "create_session: a NULL");
    }
    *out = NULL;
    look_at_params(params);
    look_at_host(params->host);
    if (spy_shall_fail("create_session")) {
        spy_note("{\"call\": \"failure\", \"of\": \"create_session\"}");
        return spy_error(error, DUKD_E_OPTION, SPY_MESSAGE);
    }
    if (params->device.device_type != DUKD_DEVICE_CPU)
        return spy_error(error, DUKD_E_UNSUPPORTED, "the spy looks at sessions on the CPU alone");
    if (!is_usable(params))
        return spy_error(error, DUKD_E_ARGUMENT,
                         "create_session: a shape, scale, type or list is missing or too large");
    dukd_session *s = calloc(1, sizeof *s);
    if (!s) return spy_error(error, DUKD_E_MEMORY, "no memory");
    memcpy(&s->host, params->host, sizeof s->host);
    s->caps = params->host->caps;
    s->flags = params->flags;
    s->micro_count = params->micro_count;
    memcpy(s->lr_shape, params->lr_shape, sizeof s->lr_shape);
    s->scale = params->scale;
    s->dtype = params->dtype;
    s->device = params->device;
    s->names[0] = "l_spy";
    s->names[1] = "l_total";
    find_networks(s);
    note_session(s, params->seed);
    if (s->network[0] == UINT32_MAX) {
        spy_wrong("params", "host: no network is called student");
        return refuse(s, error, DUKD_E_UNSUPPORTED, "the host has no network called student");
    }
    if (spy_told("params") && !(s->caps & DUKD_CAP_PARAMS))
        return refuse(s, error, DUKD_E_UNSUPPORTED, "the host does not train the spy's parameters");
    if (make_plan(s))
        return refuse(s, error, DUKD_E_UNSUPPORTED,
                      "the scenario cannot be carried out by this host's networks");
    if (spy_told("services")) spy_try_services(s);
    if (spy_told("shapes")) spy_try_shapes(s);
    *out = s;
    return DUKD_OK;
}

void spy_destroy_session(dukd_session *s) {
    if (!s) return;
    spy_note("{\"call\": \"destroy_session\", \"in_step\": %d}", s->in_step);
    if (s->destroyed) spy_wrong("order", "destroy_session of a session that was destroyed");
    s->destroyed = 1; /* what is called with it hereafter can be told */
}

int32_t spy_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error) {
    int32_t code = spy_enter(s, "get_plan", error);
    if (code) return code;
    spy_note("{\"call\": \"get_plan\"}");
    if (!out) spy_wrong("order", "get_plan(NULL)");
    if (out) *out = &s->plan;
    spy_leave(s);
    return out ? DUKD_OK : DUKD_E_ARGUMENT;
}
