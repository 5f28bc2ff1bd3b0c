/* Checks of a run that is stopped and gone on with, where a command for that is known (--resumes). */
#include "host.h"
#include "spy/spy.h"

#include <math.h>
#include <string.h>

static conform_result needs_resume(conform *c) {
    return c->host->resumes ? CONFORM_PASS
                            : conform_skip(c, "no command that goes on with a run (--resumes)");
}

/* Two iterations, and then two more by the other command, whose notes `second` receives. */
static conform_result both(conform *c, host_run *first, host_run *second, const char *fail) {
    static const char scenario[] = "zbo:p:s0=1";
    TRY(host_succeed(c, first, (host_request){.scenario = scenario}));
    REQUIRE(c, host_count(first, "get_state"), "get_state was not called in a run of two iterations");
    return host_start(
        c, second,
        (host_request){
            .scenario = scenario, .steps = 4, .how = HOST_RESUMES, .folder = first->work, .fail = fail});
}

static double last_nonce(const host_run *r, const char *call) {
    double nonce = NAN;
    for (int i = 0; i < r->n_lines; i++)
        if (host_is(r->lines[i], call)) nonce = host_number(r->lines[i], "nonce");
    return nonce;
}

static conform_result check_saved(conform *c) {
    host_run a, b;
    TRY(needs_resume(c));
    TRY(both(c, &a, &b, NULL));
    int set = 0, begun = 0;
    TRY(host_rule(c, &a, "state"));
    TRY(host_rule(c, &b, "state"));
    REQUIRE(c, host_find(&b, "set_state", 0, &set), "set_state was not called in the run that goes on");
    REQUIRE(c, host_find(&b, "begin_step", 0, &begun) && set < begun,
            "set_state did not come before the first step");
    REQUIRE(c, last_nonce(&a, "get_state") == last_nonce(&b, "set_state"),
            "the state that came back is not the last that was given");
    host_free(&a);
    host_free(&b);
    return CONFORM_PASS;
}

static conform_result check_resumes(conform *c) {
    host_run a, b, whole;
    double third[2], fourth[2];
    TRY(needs_resume(c));
    TRY(both(c, &a, &b, NULL));
    const char *line = host_find(&b, "begin_step", 0, NULL);
    REQUIRE(c, host_number(line, "iteration") == 3, "after two iterations the run goes on with iteration %g",
            host_number(line, "iteration"));
    REQUIRE(c, b.status == 0 && host_count(&b, "end_step") == 2,
            "the run that goes on ended with status %d after %d steps", b.status, host_count(&b, "end_step"));
    TRY(host_rule(c, &b, "iterations"));
    TRY(host_succeed(c, &whole, (host_request){.scenario = "zbo:p:s0=1", .steps = 4}));
    TRY(host_dot(c, &whole, 3, 0, 0, &third[0]));
    TRY(host_dot(c, &whole, 4, 0, 0, &fourth[0]));
    TRY(host_dot(c, &b, 3, 0, 0, &third[1]));
    TRY(host_dot(c, &b, 4, 0, 0, &fourth[1]));
    REQUIRE(c, host_same(c, third[0], third[1]) && host_same(c, fourth[0], fourth[1]),
            "iterations 3 and 4 have other outputs than in a run that was not stopped: %.6g, %.6g, not %.6g, "
            "%.6g",
            third[1], fourth[1], third[0], fourth[0]);
    host_free(&a);
    host_free(&b);
    host_free(&whole);
    return CONFORM_PASS;
}

static conform_result check_refused(conform *c) {
    host_run a, b;
    TRY(needs_resume(c));
    TRY(both(c, &a, &b, "set_state@1"));
    if (!host_count(&b, "failure")) return conform_skip(c, "the command does not call set_state");
    REQUIRE(c, b.status != 0 && b.status < 128,
            "after a failure of set_state the command ends with status %d", b.status);
    REQUIRE(c, strstr(b.output, SPY_MESSAGE), "the plugin's message is not in: %.200s", b.output);
    REQUIRE(c, !host_count(&b, "begin_step"), "steps are made though the state was refused");
    host_free(&a);
    host_free(&b);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"state-comes-back", "the session's last state is set before the first step (get_state, set_state)",
     check_saved},
    {"goes-on", "iterations and weights go on as if there had been no stop (dukd_step.iteration)",
     check_resumes},
    {"state-refused", "a state that is refused ends the run, and the user hears why (set_state)",
     check_refused},
};
const conform_group host_state = {"resuming", "runs that were stopped", 0, checks,
                                  sizeof checks / sizeof *checks};
