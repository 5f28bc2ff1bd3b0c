/* Checks of micro-batches, where the command takes their number as {micro}. */
#include "host.h"

#include <math.h>
#include <string.h>

static conform_result needs_micro(conform *c) {
    return strstr(c->host->command, "{micro}") ? CONFORM_PASS : conform_skip(c, "the command has no {micro}");
}

static conform_result check_numbers(conform *c) {
    host_run r;
    TRY(needs_micro(c));
    TRY(host_start(c, &r, (host_request){.scenario = "zbo:l:s0=1", .steps = 3, .micro = 2}));
    const int made = (int)host_number(host_find(&r, "create_session", 0, NULL), "micro");
    REQUIRE(c, made == 2, "the session has micro_count %d, not 2", made);
    TRY(host_rule(c, &r, "iterations"));
    host_free(&r);
    return host_succeed(c, &r, (host_request){.scenario = "zbo:l:s0=1", .steps = 3, .micro = 2});
}

/* The output of a micro-batch in an iteration; and how many images it has. */
static conform_result part(conform *c, const host_run *r, int iteration, int micro, double *dot) {
    for (int i = 0; i < r->n_lines; i++) {
        const char *line = r->lines[i];
        if (!host_is(line, "tap") || host_number(line, "iteration") != iteration ||
            host_number(line, "micro") != micro)
            continue;
        *dot = host_number(line, "dot");
        return CONFORM_PASS;
    }
    return conform_fail(c, "no pass was submitted in micro-batch %d of iteration %d", micro, iteration);
}

static conform_result read_parts(conform *c, const char *scenario, int micro, double out[2][2], int *images) {
    host_run r;
    conform_result got = host_succeed(c, &r, (host_request){.scenario = scenario, .micro = micro});
    for (int i = 0; i < 2; i++)
        for (int m = 0; m < micro && got == CONFORM_PASS; m++) got = part(c, &r, i + 1, m, &out[i][m]);
    if (got == CONFORM_PASS) *images = (int)host_number(host_find(&r, "create_session", 0, NULL), "n");
    host_free(&r);
    return got;
}

static conform_result check_gradients(conform *c) {
    double still[2][2], moved[2][2], whole[2][2];
    int images = 0, all = 0;
    TRY(needs_micro(c));
    TRY(host_needs_move(c));
    TRY(read_parts(c, "-:p:s0", 2, still, &images));
    TRY(read_parts(c, "zbo:p:s0=1 | -:p:s0", 2, moved, &images));
    if (!host_same(c, still[0][0], moved[0][0]))
        return conform_skip(c, "the command does not begin with the same weights each time");
    REQUIRE(c, host_same(c, still[0][1], moved[0][1]),
            "weights move between two micro-batches of an iteration");
    TRY(read_parts(c, "zbo:p:s0=1 | -:p:s0", 1, whole, &all));
    if (all != 2 * images)
        return conform_skip(c, "batches are of %d images, micro-batches of %d: there is nothing to compare",
                            all, images);
    const double one = whole[1][0] - whole[0][0],
                 two = (moved[1][0] + moved[1][1] - moved[0][0] - moved[0][1]) / 2;
    REQUIRE(c, fabs(one - two) < 0.02 * c->host->move + 2e-6 * c->host->size,
            "two micro-batches move the output by %.4g, the whole batch by %.4g", two, one);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"micro-numbers", "micro_index counts, iteration stays, first_sample goes on (MICRO-BATCHES)",
     check_numbers},
    {"micro-gradients", "gradients add up over micro-batches; weights move after the last (MICRO-BATCHES)",
     check_gradients},
};
const conform_group host_micro = {"micro", "micro-batches", 0, checks, sizeof checks / sizeof *checks};
