/* Checks of a host that trains a plugin's parameters (dukd_ext_params.h): the spy has seven numbers of its own, whose gradients it
 * makes up. What is right from call to call it judges itself. */
#include "host.h"

#include <math.h>
#include <string.h>

enum { NUMBERS = 7 };

static conform_result run(conform *c, const char *scenario, int steps, const char *rule) {
    host_run r;
    TRY(host_needs_caps(c, DUKD_CAP_PARAMS, "DUKD_CAP_PARAMS"));
    TRY(host_succeed(c, &r, (host_request){.scenario = scenario, .steps = steps, .test = "params"}));
    TRY(host_rule(c, &r, rule));
    host_free(&r);
    return CONFORM_PASS;
}

static conform_result check_bound(conform *c) {
    host_run r;
    int bound = 0, begun = 0;
    TRY(host_needs_caps(c, DUKD_CAP_PARAMS, "DUKD_CAP_PARAMS"));
    TRY(host_start(c, &r, (host_request){.scenario = "zbo:p:s0=1", .test = "params"}));
    TRY(host_rule(c, &r, "own-bound"));
    const char *line = host_find(&r, "bind", 0, &bound);
    REQUIRE(c, line, "bind was not called");
    REQUIRE(c, host_find(&r, "begin_step", 0, &begun) && bound < begun,
            "bind did not come before the first step");
    REQUIRE(c, host_number(line, "init") == 1, "the first bind of a new run is without DUKD_BIND_INIT");
    REQUIRE(c, r.status == 0, "the command ended with status %d: %.200s", r.status, r.output);
    host_free(&r);
    return CONFORM_PASS;
}

static conform_result check_clears(conform *c) {
    return run(c, "zb:p:s0=1 wzbo:p:s0=1", 2, "own-clears");
}

static conform_result check_accumulates(conform *c) {
    TRY(run(c, "zb:p:s0=1 wb:p:s0=2 wbo:p:s0=-1 | b:p:s0=1", 2, "own-accumulates"));
    if (!strstr(c->host->command, "{micro}")) return CONFORM_PASS;
    host_run r;
    TRY(host_succeed(c, &r, (host_request){.scenario = "zbo:p:s0=1", .micro = 2, .test = "params"}));
    TRY(host_rule(c, &r, "own-accumulates"));
    host_free(&r);
    return CONFORM_PASS;
}

/* A note's seven numbers in an iteration. */
static conform_result numbers(conform *c, const host_run *r, const char *call, int iteration,
                              double out[NUMBERS]) {
    for (int i = 0; i < r->n_lines; i++)
        if (host_is(r->lines[i], call) && host_number(r->lines[i], "iteration") == iteration &&
            host_images(r->lines[i], out, NUMBERS) == NUMBERS)
            return CONFORM_PASS;
    return conform_fail(c, "no pass was submitted in iteration %d", iteration);
}

static conform_result check_optimizes(conform *c) {
    host_run r;
    double before[NUMBERS], after[NUMBERS], gradient[NUMBERS];
    const host_request q = {.scenario = "zb:p:s0=1 | zbo:p:s0=1 | -:p:s0", .steps = 3, .test = "params"};
    TRY(run(c, q.scenario, q.steps, "own-optimizes"));
    if (c->host->rate <= 0) return CONFORM_PASS;
    TRY(host_succeed(c, &r, q));
    TRY(numbers(c, &r, "own_values", 2, before));
    TRY(numbers(c, &r, "own_grads", 2, gradient));
    TRY(numbers(c, &r, "own_values", 3, after));
    for (int k = 0; k < NUMBERS; k++) {
        const double want = before[k] - c->host->rate * gradient[k];
        REQUIRE(c, fabs(after[k] - want) <= 1e-5 * fabs(c->host->rate * gradient[k]) + 1e-7,
                "a step at rate %g with the gradient %g moves a parameter of the plugin from %.7g to %.7g, "
                "not to "
                "%.7g",
                c->host->rate, gradient[k], before[k], after[k], want);
    }
    host_free(&r);
    return CONFORM_PASS;
}

static conform_result check_resumes(conform *c) {
    host_run first, second, whole;
    host_request q = {.scenario = "zbo:p:s0=1", .test = "params"};
    TRY(host_needs_caps(c, DUKD_CAP_PARAMS, "DUKD_CAP_PARAMS"));
    if (!c->host->resumes) return conform_skip(c, "no command that goes on with a run (--resumes)");
    TRY(host_succeed(c, &first, q));
    q.steps = 4;
    TRY(host_succeed(c, &whole, q));
    q.how = HOST_RESUMES;
    q.folder = first.work;
    TRY(host_start(c, &second, q));
    REQUIRE(c, second.status == 0, "the run that goes on ended with status %d: %.200s", second.status,
            second.output);
    for (int i = 3; i <= 4; i++) {
        double a[NUMBERS], b[NUMBERS];
        TRY(numbers(c, &whole, "own_values", i, a));
        TRY(numbers(c, &second, "own_values", i, b));
        for (int k = 0; k < NUMBERS; k++)
            REQUIRE(c, fabs(a[k] - b[k]) <= 1e-6 * fabs(a[k]),
                    "in iteration %d of a run that was stopped a parameter of the plugin is %.7g, not %.7g",
                    i, b[k], a[k]);
    }
    host_free(&first);
    host_free(&second);
    host_free(&whole);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"own-bound", "the plugin's parameters are bound before the first step, as listed (bind)", check_bound},
    {"own-clears", "ZERO_GRAD_BEFORE clears their gradients, before submit_pass (dukd_ext_params.h)",
     check_clears},
    {"own-accumulates", "nothing else changes their gradients, micro-batches included (dukd_ext_params.h)",
     check_accumulates},
    {"own-optimizes", "OPTIMIZE_AFTER, and nothing else, moves their values (dukd_ext_params.h)",
     check_optimizes},
    {"own-goes-on", "their values go on after a stop (dukd_ext_params.h)", check_resumes},
};
const conform_group host_own = {"own", "parameters of the plugin's own", 0, checks,
                                sizeof checks / sizeof *checks};
