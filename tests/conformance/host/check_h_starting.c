/* Checks of how a host begins: the library, what it gives a session, what it says of its networks. */
#include "host.h"

#include <string.h>

static conform_result check_runs(conform *c) {
    host_run r;
    conform_result got = host_succeed(c, &r, (host_request){.scenario = "zbo:l:s0=1", .steps = 3});
    if (got == CONFORM_PASS && !host_count(&r, "create_session"))
        got = conform_fail(c, "no session was made");
    host_free(&r);
    return got;
}

static conform_result check_draft(conform *c) {
    host_run r;
    TRY(host_start(c, &r, (host_request){.scenario = "zbo:l:s0=1", .test = "draft"}));
    REQUIRE(c, host_count(&r, "entry"), "the entry was not called");
    TRY(host_rule(c, &r, "draft"));
    REQUIRE(c, r.status != 0 && r.status < 128, "the command ended with status %d", r.status);
    REQUIRE(c, strstr(r.output, "draft"), "the user is not told of drafts, but: %.200s", r.output);
    host_free(&r);
    return CONFORM_PASS;
}

/* One run and one rule that the spy judges. */
static conform_result judge(conform *c, host_request q, const char *rule) {
    host_run r;
    conform_result got = host_start(c, &r, q);
    if (got == CONFORM_PASS) got = host_rule(c, &r, rule);
    if (got == CONFORM_PASS && !host_count(&r, "create_session"))
        got = conform_skip(c, "no session was made: see runs");
    host_free(&r);
    return got;
}

static conform_result check_params(conform *c) {
    return judge(c, (host_request){.scenario = "zbo:l:s0=1"}, "params");
}

static conform_result check_options(conform *c) {
    host_run r;
    TRY(host_start(c, &r, (host_request){.scenario = "zbo:l:s0=1"}));
    TRY(host_rule(c, &r, "options"));
    const int known = host_count(&r, "known_option");
    host_free(&r);
    return known ? CONFORM_PASS
                 : conform_skip(
                       c, "no option that ends in spy.text, spy.number, spy.flag, spy.list or spy.none has "
                          "come: see the README");
}

static conform_result check_shape(conform *c) {
    return judge(c, (host_request){.scenario = "-:p:s0", .test = "shapes"}, "tap-shape");
}

static const conform_check checks[] = {
    {"runs", "the command trains for {steps} iterations and ends with status 0 (THE IDEA)", check_runs},
    {"draft", "a plugin of another draft: no call of its functions, the user is told (the entry)",
     check_draft},
    {"params", "sizes, flags and members of params and host are those of this draft (dukd_session_params)",
     check_params},
    {"options", "options arrive as scalars, lists and nulls, with their texts (dukd_option)", check_options},
    {"tap-shape", "as many images as there were; refuses layers that are not there (tap_shape)", check_shape},
};
const conform_group host_starting = {"starting", "the library, the session, the networks", 1, checks,
                                     sizeof checks / sizeof *checks};
