/* Checks of what a host does when a call fails: its user hears why, and the plugin no more than it may. */
#include "host.h"
#include "spy/spy.h"

#include <string.h>

/* The command must have failed, by itself, and told the user this. */
static conform_result told(conform *c, const host_run *r, const char *call) {
    REQUIRE(c, r->status < 128, "after a failure of %s the command was ended by signal %d", call,
            r->status - 128);
    REQUIRE(c, r->status != 0, "after a failure of %s the command ends with status 0", call);
    REQUIRE(c, strstr(r->output, SPY_MESSAGE), "the plugin's message after a failure of %s is not in: %.200s",
            call, r->output);
    return CONFORM_PASS;
}

static conform_result fail_in(conform *c, const char *call, const char *where) {
    host_run r;
    TRY(host_start(c, &r, (host_request){.scenario = "zbo:p:s0=1", .steps = 3, .fail = where}));
    if (!host_count(&r, "failure")) {
        host_free(&r);
        return conform_skip(c, "the command does not call %s so often", call);
    }
    TRY(told(c, &r, call));
    host_free(&r);
    return CONFORM_PASS;
}

static conform_result check_create(conform *c) {
    return fail_in(c, "create_session", "create_session@1");
}
static conform_result check_plan(conform *c) {
    return fail_in(c, "get_plan", "get_plan@1");
}
static conform_result check_begin(conform *c) {
    return fail_in(c, "begin_step", "begin_step@2");
}
static conform_result check_next(conform *c) {
    return fail_in(c, "next_pass", "next_pass@3");
}
static conform_result check_submit(conform *c) {
    return fail_in(c, "submit_pass", "submit_pass@2");
}
static conform_result check_end(conform *c) {
    return fail_in(c, "end_step", "end_step@2");
}
static conform_result check_losses(conform *c) {
    return fail_in(c, "read_losses", "read_losses@1");
}

/* Whatever failed: cancel_step or destroy_session is next. */
static conform_result check_after(conform *c) {
    static const char *const where[] = {"begin_step@2", "next_pass@2", "submit_pass@1", "end_step@1"};
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        host_run r;
        TRY(host_start(c, &r, (host_request){.scenario = "zb:p:s0=1 bo:p:s0=1", .fail = where[i]}));
        TRY(host_rule(c, &r, "after-error"));
        TRY(host_rule(c, &r, "order"));
        host_free(&r);
    }
    return CONFORM_PASS;
}

static conform_result check_flags(conform *c) {
    static const char *const scenarios[] = {"zbox:p:s0=1", "zbo:p:s0X=1"};
    for (int i = 0; i < 2; i++) {
        host_run r;
        TRY(host_start(c, &r, (host_request){.scenario = scenarios[i]}));
        REQUIRE(c, host_count(&r, "create_session"), "no session was made");
        REQUIRE(c, r.status != 0 && r.status < 128 && strspn(r.output, " \n") < strlen(r.output),
                "a %s with a flag that is not known: the command ends with status %d", i ? "tap" : "pass",
                r.status);
        REQUIRE(c, !host_count(&r, "end_step"), "a step with a flag that is not known was carried out");
        host_free(&r);
    }
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"create-fails", "create_session's message reaches the user, and the status is not 0 (ERRORS)",
     check_create},
    {"plan-fails", "the same of get_plan", check_plan},
    {"begin-fails", "the same of begin_step", check_begin},
    {"next-fails", "the same of next_pass", check_next},
    {"submit-fails", "the same of submit_pass", check_submit},
    {"end-fails", "the same of end_step", check_end},
    {"losses-fail", "the same of read_losses", check_losses},
    {"after-error", "after a failure in a step comes cancel_step or destroy_session (ERRORS)", check_after},
    {"unknown-flags", "a pass or tap with an unknown flag is an error (STRUCTS)", check_flags},
};
const conform_group host_errors = {"failures", "calls that fail", 0, checks, sizeof checks / sizeof *checks};
