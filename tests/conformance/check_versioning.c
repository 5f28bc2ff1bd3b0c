/* Group versioning: structs of later and of earlier versions. Every struct handed over ends where memory ends. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "toy_host.h"

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

static conform_result try_create(conform *c, const dukd_session_params *params, int32_t wanted,
                                 const char *what) {
    dukd_session *s = (dukd_session *)1;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->create_session(params, &s, &e);
    if (code == DUKD_OK) c->plugin->destroy_session(s);
    REQUIRE(c, code == wanted, "%s: create_session gave %d, not %d (%s)", what, code, wanted, e.message);
    REQUIRE(c, wanted == DUKD_OK || !s, "%s: a session was refused, but *out is not NULL", what);
    REQUIRE(c, wanted == DUKD_OK || e.message[0], "%s: refused without a message", what);
    return CONFORM_PASS;
}

/* All three ways for a struct that create_session reads: `set` puts the struct into the params. */
static conform_result three_ways(conform *c, const void *original, uint32_t size, const char *name,
                                 void (*set)(dukd_session_params *, void *),
                                 const dukd_session_params *base) {
    struct {
        void *copy;
        int32_t wanted;
        const char *what;
    } ways[] = {
        {grown(original, size, 0, 0), DUKD_OK, "exact size"},
        {grown(original, size, 1, 0), DUKD_OK, "a tail of zeros"},
        {grown(original, size, 1, 1), DUKD_E_UNSUPPORTED, "a tail that is not zero"},
        {shrunk(original, size), DUKD_E_ARGUMENT, "too small"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char what[96];
        dukd_session_params params = *base, *used = &params;
        snprintf(what, sizeof what, "%s, %s", name, ways[i].what);
        if (set)
            set(&params, ways[i].copy);
        else
            used = ways[i].copy;
        conform_result r = try_create(c, used, ways[i].wanted, what);
        if (r) return r;
    }
    return CONFORM_PASS;
}

static void set_host(dukd_session_params *p, void *copy) {
    p->host = copy;
}

static conform_result params_sizes(conform *c) {
    toy_host h = {0};
    REQUIRE(c, !toy_host_open(&h, 2, 8, 8, 2), "out of memory");
    dukd_session_params params = toy_params(&h, c);
    conform_result r = three_ways(c, &params, DUKD_SESSION_PARAMS_SIZE, "dukd_session_params", NULL, &params);
    return r ? r : three_ways(c, &h.host, DUKD_HOST_SIZE, "dukd_host", set_host, &params);
}

static conform_result error_sizes(conform *c) {
    uint8_t *small = conform_guarded(8), *large = conform_guarded(DUKD_ERROR_SIZE + TAIL);
    uint32_t size = 8;
    dukd_session *s;
    memcpy(small, &size, sizeof size);
    REQUIRE(c, c->plugin->create_session(NULL, &s, (dukd_error *)(void *)small) == DUKD_E_ARGUMENT,
            "create_session(NULL) is not DUKD_E_ARGUMENT");
    size = DUKD_ERROR_SIZE + TAIL;
    memset(large, 0x5a, size);
    memcpy(large, &size, sizeof size);
    REQUIRE(c, c->plugin->create_session(NULL, &s, (dukd_error *)(void *)large) == DUKD_E_ARGUMENT,
            "create_session(NULL) is not DUKD_E_ARGUMENT");
    for (int i = 0; i < TAIL; i++)
        REQUIRE(c, large[DUKD_ERROR_SIZE + i] == 0x5a, "the tail of a larger dukd_error was written");
    REQUIRE(c, memchr(large + offsetof(dukd_error, message), 0, 256), "the message has no end");
    return CONFORM_PASS;
}

/* An output struct whose memory ends with the struct, and one with a tail that must stay. */
static conform_result output_sizes(conform *c) {
    dukd_backend_info *exact = conform_guarded(DUKD_BACKEND_INFO_SIZE);
    uint8_t *large = conform_guarded(DUKD_BACKEND_INFO_SIZE + TAIL);
    exact->struct_size = DUKD_BACKEND_INFO_SIZE;
    REQUIRE(c, c->plugin->query_backend(0, exact, NULL) == DUKD_OK, "query_backend(0) failed");
    memset(large, 0x5a, DUKD_BACKEND_INFO_SIZE + TAIL);
    ((dukd_backend_info *)(void *)large)->struct_size = DUKD_BACKEND_INFO_SIZE + TAIL;
    REQUIRE(c, c->plugin->query_backend(0, (dukd_backend_info *)(void *)large, NULL) == DUKD_OK,
            "a larger dukd_backend_info is refused");
    for (int i = 0; i < TAIL; i++)
        REQUIRE(c, large[DUKD_BACKEND_INFO_SIZE + i] == 0x5a,
                "the tail of a larger dukd_backend_info was written");
    exact->struct_size = DUKD_BACKEND_INFO_SIZE - 8;
    REQUIRE(c, c->plugin->query_backend(0, exact, NULL) == DUKD_E_ARGUMENT,
            "a dukd_backend_info that is too small is accepted");
    return CONFORM_PASS;
}

static conform_result step_sizes(conform *c) {
    toy_host h = {0};
    dukd_session *s = NULL;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    REQUIRE(c, !toy_host_open(&h, 2, 8, 8, 2), "out of memory");
    dukd_session_params params = toy_params(&h, c);
    int32_t code = c->plugin->create_session(&params, &s, &e);
    REQUIRE(c, code == DUKD_OK, "create_session gave %d: %s", code, e.message);
    const dukd_step step = {
        .struct_size = DUKD_STEP_SIZE, .iteration = 1, .micro_count = 1, .lr = &h.lr.t, .hr = &h.hr.t};
    code = c->plugin->begin_step(s, grown(&step, DUKD_STEP_SIZE, 1, 1), &e);
    REQUIRE(c, code == DUKD_E_UNSUPPORTED, "dukd_step with a tail that is not zero: begin_step gave %d",
            code);
    code = c->plugin->begin_step(s, shrunk(&step, DUKD_STEP_SIZE), &e);
    REQUIRE(c, code == DUKD_E_ARGUMENT, "dukd_step too small: begin_step gave %d", code);
    code = c->plugin->begin_step(s, grown(&step, DUKD_STEP_SIZE, 1, 0), &e);
    REQUIRE(c, code == DUKD_OK, "dukd_step with a tail of zeros: begin_step gave %d: %s", code, e.message);
    c->plugin->cancel_step(s, NULL);
    code = c->plugin->begin_step(s, grown(&step, DUKD_STEP_SIZE, 0, 0), &e);
    REQUIRE(c, code == DUKD_OK, "dukd_step at the end of memory: begin_step gave %d: %s", code, e.message);
    c->plugin->destroy_session(s); /* in the middle of a step */
    toy_host_close(&h);
    return CONFORM_PASS;
}

const conform_check conform_versioning[] = {
    {"params-sizes", "versioning", "session_params and host: larger, smaller, at the end of memory (STRUCTS)",
     params_sizes},
    {"step-sizes", "versioning", "dukd_step: larger, smaller, at the end of memory (STRUCTS)", step_sizes},
    {"error-sizes", "versioning", "dukd_error: nothing past struct_size is written (STRUCTS)", error_sizes},
    {"output-sizes", "versioning", "output structs: the unknown tail is left as it was (STRUCTS)",
     output_sizes},
};
const int conform_versioning_count = sizeof conform_versioning / sizeof *conform_versioning;
