/* Checks of the course of a step: what is called, when, and with which batch. */
#include "host.h"

static conform_result judge(conform *c, host_request q, const char *rule) {
    host_run r;
    conform_result got = host_start(c, &r, q);
    if (got == CONFORM_PASS) got = host_rule(c, &r, rule);
    if (got == CONFORM_PASS && r.status) {
        host_free(&r);
        return host_succeed(c, &r, q); /* says why */
    }
    host_free(&r);
    return got;
}

static conform_result check_order(conform *c) {
    host_run r;
    TRY(host_start(c, &r, (host_request){.scenario = "zb:p:s0=1 -:l:s0 bo:q:s0=1", .steps = 3}));
    TRY(host_rule(c, &r, "order"));
    const int made = host_count(&r, "create_session"), gone = host_count(&r, "destroy_session"),
              plans = host_count(&r, "get_plan");
    REQUIRE(c, made == gone, "%d sessions were made, %d destroyed", made, gone);
    REQUIRE(c, plans || host_count(&r, "submit_pass"), "no pass was submitted");
    host_free(&r);
    return CONFORM_PASS;
}

static conform_result check_alone(conform *c) {
    return judge(c, (host_request){.scenario = "zb:p:s0=1 bo:l:s0=1", .test = "slow"}, "alone");
}

static conform_result check_iterations(conform *c) {
    return judge(c, (host_request){.scenario = "zbo:l:s0=1", .steps = 5}, "iterations");
}

static conform_result check_batch(conform *c) {
    return judge(c, (host_request){.scenario = "zb:l:s0=1 bo:p:s0=1", .steps = 3}, "batch");
}

/* Passes that the spy says WAIT before are submitted all the same, one after the other. */
static conform_result check_waits(conform *c) {
    host_run r;
    TRY(host_succeed(c, &r, (host_request){.scenario = "zb:p:s0=1 wb:q:s0=1 wbo:p:s0=1", .steps = 2}));
    const int n = host_count(&r, "submit_pass");
    REQUIRE(c, n == 6, "%d of 6 passes were submitted", n);
    host_free(&r);
    return CONFORM_PASS;
}

/* Other passes in each step, and none at all: pass 1 of the plan comes second, then first. */
static conform_result check_fewer(conform *c) {
    double q[2];
    const host_at at[] = {{2, 1, 0}, {4, 0, 0}};
    TRY(host_dots(
        c,
        (host_request){.scenario = "zb:p:s0=1 -:q:s0 bo:p:s0=1 | zbo:p:s0=1 w:q:s0 | | w:q:s0", .steps = 4},
        at, 2, q));
    REQUIRE(c, host_same(c, q[0], q[1]),
            "a pass gives other values when it comes first and alone: %.6g, not %.6g", q[1], q[0]);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"order", "begin, next, submit once each, end, read; sessions are destroyed (THE IDEA)", check_order},
    {"alone", "never two calls at once on a session (THREADS)", check_alone},
    {"iterations", "iteration counts from 1, first_sample over the run (dukd_step)", check_iterations},
    {"batch", "LR and HR: shape, type, in [0, 1], unchanged until end_step (dukd_step)", check_batch},
    {"waits", "DUKD_WAIT: what is held is submitted, then next_pass is asked again (next_pass)", check_waits},
    {"fewer-passes", "a step may have fewer passes than the plan, in another order, or none (dukd_plan)",
     check_fewer},
};
const conform_group host_calls = {"calls", "the course of a step", 0, checks, sizeof checks / sizeof *checks};
