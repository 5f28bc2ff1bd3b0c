/* Checks of a pass's flags. Each is a relation between outputs that holds for any network and any optimizer: gradients that cancel
 * move nothing, sums are sums. Gradients at the same weights and input are the same, whatever they are. */
#include "host.h"

#include <math.h>
#include <stdlib.h>

static conform_result compare(conform *c, const char *scenario, const char *what) {
    const host_at at[] = {{1, 0, 0}, {2, 0, 0}};
    double v[2];
    TRY(host_dots(c, (host_request){.scenario = scenario}, at, 2, v));
    return host_still(c, v[0], v[1], what);
}

static conform_result check_optimizes(conform *c) {
    const host_at at[] = {{1, 0, 0}, {2, 0, 0}};
    double v[2];
    TRY(host_dots(c, (host_request){.scenario = "zbo:p:s0=1 | -:p:s0"}, at, 2, v));
    REQUIRE(c, fabs(v[1] - v[0]) > 1e-5 * c->host->size,
            "an optimizer step moves the student's output by %.1e of its size",
            fabs(v[1] - v[0]) / c->host->size);
    REQUIRE(c, v[1] < v[0], "an optimizer step makes the loss larger: %.6g, then %.6g", v[0], v[1]);
    TRY(compare(c, "zb:p:s0=1 | -:p:s0", "a step without OPTIMIZE_AFTER"));
    return compare(c, "-:p:s0", "a step without any flag");
}

/* A pass without BACKWARD between two that cancel. */
static conform_result check_backward(conform *c) {
    TRY(host_needs_move(c));
    return compare(c, "zb:p:s0=1 w:p:s0 wbo:p:s0=-1 | -:p:s0",
                   "a pass without BACKWARD, between two that cancel");
}

/* Many optimizers move without a gradient later; in the first step only weight decay does. */
static conform_result needs_no_decay(conform *c) {
    const host_at at[] = {{1, 0, 0}, {2, 0, 0}};
    double v[2];
    TRY(host_needs_move(c));
    TRY(host_dots(c, (host_request){.scenario = "zbo:p:s0=0 | -:p:s0"}, at, 2, v));
    if (host_same(c, v[0], v[1])) return CONFORM_PASS;
    return conform_skip(c, "the optimizer moves the weights without a gradient (weight decay?)");
}

static conform_result check_clears(conform *c) {
    TRY(needs_no_decay(c));
    TRY(compare(c, "zb:p:s0=1 wzbo:p:s0=0 | -:p:s0", "gradients from before ZERO_GRAD_BEFORE"));
    /* from one iteration to the next, too */
    const host_at at[] = {{2, 0, 0}, {3, 0, 0}};
    double v[2];
    TRY(host_dots(c, (host_request){.scenario = "zb:p:s0=1 | zbo:p:s0=0 | -:p:s0", .steps = 3}, at, 2, v));
    return host_still(c, v[0], v[1], "gradients of the iteration before, in spite of ZERO_GRAD_BEFORE");
}

static conform_result check_accumulates(conform *c) {
    TRY(needs_no_decay(c));
    TRY(compare(c, "zb:p:s0=1 wbo:p:s0=-1 | -:p:s0",
                "two passes whose gradients cancel, without ZERO_GRAD_BEFORE"));
    const host_at at[] = {{1, 0, 0}, {3, 0, 0}};
    double v[2];
    TRY(host_dots(c, (host_request){.scenario = "zb:p:s0=1 | bo:p:s0=-1 | -:p:s0", .steps = 3}, at, 2, v));
    return host_still(c, v[0], v[1], "two iterations whose gradients cancel, without ZERO_GRAD_BEFORE");
}

/* The second step's gradient is that of the first, still there, and a new one that is zero. */
static conform_result check_keeps(conform *c) {
    const host_at at[] = {{1, 0, 0}, {2, 0, 0}};
    double kept[2], anew[2];
    TRY(host_needs_caps(c, DUKD_CAP_TWO_STEPS, "DUKD_CAP_TWO_STEPS"));
    TRY(host_needs_move(c));
    TRY(host_dots(c, (host_request){.scenario = "zbo:p:s0=1 bo:p:s0=0 | -:p:s0"}, at, 2, kept));
    TRY(host_dots(c, (host_request){.scenario = "zbo:p:s0=1 zbo:p:s0=1 | -:p:s0"}, at, 2, anew));
    if (!host_same(c, kept[0], anew[0]))
        return conform_skip(c, "the command does not begin with the same weights each time");
    const double ratio = (kept[1] - kept[0]) / (anew[1] - anew[0]);
    REQUIRE(c, fabs(anew[1] - anew[0]) > 1.5 * c->host->move,
            "two optimizer steps in an iteration move the output %.2f times as far as one",
            fabs(anew[1] - anew[0]) / c->host->move);
    REQUIRE(c, fabs(ratio - 1) < 0.08,
            "two steps with the same gradient, which is not cleared between them, move the output %.3f times "
            "as far "
            "as two steps with gradients computed anew",
            ratio);
    return CONFORM_PASS;
}

/* Taps of one pass on the same input, and on two, are like two passes. */
static conform_result check_two_taps(conform *c) {
    const host_at at[] = {{1, 0, 0}, {2, 0, 0}};
    double one[2], two[2];
    TRY(needs_no_decay(c));
    TRY(compare(c, "zbo:p:s0=1,s0=-1 | -:p:s0", "two taps of one output whose gradients cancel"));
    TRY(host_dots(c, (host_request){.scenario = "zbo:pq:s0=1,s1=-3 | -:p:s0"}, at, 2, one));
    TRY(host_dots(c, (host_request){.scenario = "zb:p:s0=1 wbo:q:s0=-3 | -:p:s0"}, at, 2, two));
    if (!host_same(c, one[0], two[0]))
        return conform_skip(c, "the command does not begin with the same weights each time");
    REQUIRE(c, fabs((one[1] - one[0]) - (two[1] - two[0])) < 0.02 * c->host->move + 2e-6 * c->host->size,
            "two taps in one pass move the output by %.3g, in two passes by %.3g", one[1] - one[0],
            two[1] - two[0]);
    return CONFORM_PASS;
}

/* ---- the average ---- */

/* How far the average has gone from `start` to `now`, and whether it is on that line. */
static conform_result read_average(conform *c, const char *scenario, const host_weights *start, double *share,
                                   double *off) {
    host_run r;
    host_weights now = {0}, average = {0};
    conform_result got = host_succeed(c, &r, (host_request){.scenario = scenario, .steps = 1});
    if (got == CONFORM_PASS) got = host_read_weights(c, c->host->weights, &r, &now);
    if (got == CONFORM_PASS) got = host_read_weights(c, c->host->average, &r, &average);
    if (got == CONFORM_PASS && (now.count != start->count || average.count != start->count))
        got = conform_fail(c, "the average has %lld values, the weights %lld", (long long)average.count,
                           (long long)now.count);
    double dot = 0, square = 0, rest = 0;
    for (int64_t i = 0; got == CONFORM_PASS && i < now.count; i++) {
        const double d = (double)now.values[i] - (double)start->values[i];
        dot += d * ((double)average.values[i] - (double)start->values[i]);
        square += d * d;
    }
    *share = square > 0 ? dot / square : 0;
    for (int64_t i = 0; got == CONFORM_PASS && i < now.count; i++) {
        const double line =
            (double)start->values[i] + *share * ((double)now.values[i] - (double)start->values[i]);
        rest += (line - (double)average.values[i]) * (line - (double)average.values[i]);
    }
    *off = square > 0 ? sqrt(rest / square) : 0;
    free(now.values);
    free(average.values);
    host_free(&r);
    return got;
}

static conform_result look_at_average(conform *c, const host_weights *start) {
    double once, never, twice, off;
    TRY(read_average(c, "zbo:p:s0=1", start, &never, &off));
    REQUIRE(c, fabs(never) < 1e-3 && off < 1e-3,
            "the average moves in a step without EMA_AFTER (%.3g of the way)", never);
    TRY(read_average(c, "zboe:p:s0=1", start, &once, &off));
    REQUIRE(c, once > 1e-3 && once < 1, "EMA_AFTER moves the average by %.3g of the way to the weights",
            once);
    REQUIRE(c, off < 0.02 * once + 1e-3,
            "the average after EMA_AFTER is not between the weights before and after");
    if (!(c->host->caps & DUKD_CAP_TWO_STEPS)) return CONFORM_PASS;
    TRY(read_average(c, "zbo:p:s0=1 zboe:p:s0=1", start, &twice, &off));
    REQUIRE(c, fabs(twice - once) < 0.02 * once && off < 0.02 * once + 1e-3,
            "one EMA_AFTER after two optimizer steps moves the average by %.3g of the way, not by %.3g",
            twice, once);
    return CONFORM_PASS;
}

static conform_result check_average(conform *c) {
    host_weights start;
    if (!c->host->average || !c->host->weights)
        return conform_skip(c, "where the average is written is not known (--weights and --average)");
    TRY(host_needs_move(c));
    TRY(host_weights_of(c, (host_request){.scenario = "-:p:s0", .steps = 1}, &start));
    conform_result got = look_at_average(c, &start);
    free(start.values);
    return got;
}

static const conform_check checks[] = {
    {"optimizes",
     "OPTIMIZE_AFTER, and nothing else, is an optimizer step, downhill (DUKD_PASS_OPTIMIZE_AFTER)",
     check_optimizes},
    {"backward", "a pass without BACKWARD adds nothing to gradients (DUKD_PASS_BACKWARD)", check_backward},
    {"clears",
     "ZERO_GRAD_BEFORE clears what passes and iterations before have left (DUKD_PASS_ZERO_GRAD_BEFORE)",
     check_clears},
    {"accumulates", "without ZERO_GRAD_BEFORE gradients add up, also over iterations (THE IDEA)",
     check_accumulates},
    {"optimizer-keeps", "an optimizer step does not clear gradients; two may come in an iteration (THE IDEA)",
     check_keeps},
    {"two-taps", "gradients of several taps in a pass add up (dukd_submit)", check_two_taps},
    {"average", "EMA_AFTER, and nothing else, moves the average of the weights once (DUKD_PASS_EMA_AFTER)",
     check_average},
};
const conform_group host_flags = {"flags", "flags of passes, obeyed", 0, checks,
                                  sizeof checks / sizeof *checks};
