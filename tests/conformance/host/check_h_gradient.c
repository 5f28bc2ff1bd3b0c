/* Checks of weights against what they must be. The network is not known, but the command trains it by plain gradient descent at a
 * known rate (--rate), its weights can be read (--weights), and the spy's loss L is linear in the output f, so that the gradient
 * g = s dL/dw depends on nothing but the weights. Hence
 *
 *     w1 = w0 - r g(w0), and for the opposite loss w0 + r g(w0): half their difference is r g, without an error of second order;
 *     L(w0 - r g) - L(w0 + r g) = -2 r s |dL/dw|^2, which is -|difference|^2 / (2 r s);
 *     two steps, cleared between them: w2 = w1 - r g(w1); not cleared: w2 = w1 - r (g(w0) + g(w1)).
 *
 * The last differ by exactly w1 - w0. Where the command can begin with given weights (--loads), derivatives are also measured by moving
 * the weights along random directions. */
#include "host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "toy_tensor.h"

static const double CLOSE = 0.01;

static conform_result needs_all(conform *c) {
    if (!c->host->weights || c->host->rate <= 0)
        return conform_skip(
            c, "the weights and the rate of plain gradient descent are not known (--weights, --rate)");
    return host_needs_move(c);
}

static double largest(const host_weights *w) {
    double most = 0;
    for (int64_t i = 0; i < w->count; i++) most = fmax(most, fabs((double)w->values[i]));
    return most;
}

/* max |sum of k_j w_j[i]| over i. */
static double combine(const host_weights *const *w, const double *k, int n) {
    double most = 0;
    for (int64_t i = 0; i < w[0]->count; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) sum += k[j] * (double)w[j]->values[i];
        most = fmax(most, isfinite(sum) ? fabs(sum) : INFINITY);
    }
    return most;
}

/* Runs each scenario, and reads the weights after it. */
static conform_result get(conform *c, const char *const *scenarios, const int *steps, host_weights *out,
                          int n) {
    for (int i = 0; i < n; i++) out[i] = (host_weights){0};
    for (int i = 0; i < n; i++) {
        TRY(host_weights_of(c, (host_request){.scenario = scenarios[i], .steps = steps[i]}, &out[i]));
        REQUIRE(c, out[i].count == out[0].count, "the weights have other sizes in another run");
    }
    return CONFORM_PASS;
}

static void release(host_weights *w, int n) {
    for (int i = 0; i < n; i++) free(w[i].values);
}

static double square_of_difference(const host_weights *a, const host_weights *b) {
    double sum = 0;
    for (int64_t i = 0; i < a->count; i++) {
        const double d = (double)a->values[i] - (double)b->values[i];
        sum += d * d;
    }
    return sum;
}

/* One step each way from the same weights, the output after it, and the weights. */
static conform_result each_way(conform *c, const char *const scenarios[2], int steps, host_weights w[2],
                               double loss[2]) {
    for (int i = 0; i < 2; i++) {
        host_run r;
        w[i] = (host_weights){0};
        conform_result got = host_succeed(c, &r, (host_request){.scenario = scenarios[i], .steps = steps});
        if (got == CONFORM_PASS) got = host_dot(c, &r, steps, 0, 0, &loss[i]);
        if (got == CONFORM_PASS) got = host_read_weights(c, c->host->weights, &r, &w[i]);
        host_free(&r);
        TRY(got);
    }
    REQUIRE(c, w[0].count == w[1].count, "the weights have other sizes in another run");
    return CONFORM_PASS;
}

static conform_result fits(conform *c, const host_weights w[2], const double loss[2], const char *which) {
    const double want = -square_of_difference(&w[0], &w[1]) / (2 * c->host->rate * c->host->scale),
                 got = loss[0] - loss[1];
    REQUIRE(c, want < 0, "%s step does not move the weights that were written", which);
    REQUIRE(c, fabs(got / want - 1) < CLOSE,
            "%s step: weights that moved so far must change the loss by %.5g, it changed by %.5g (%.3f of "
            "it): the "
            "step is not rate times gradient",
            which, want, got, got / want);
    return CONFORM_PASS;
}

static conform_result check_known(conform *c) {
    static const char *const ways[2] = {"zbo:p:s0=1 | -:p:s0", "zbo:p:s0=-1 | -:p:s0"};
    host_weights w[2];
    double loss[2];
    TRY(needs_all(c));
    TRY(each_way(c, ways, 2, w, loss));
    conform_result got = fits(c, w, loss, "the first");
    release(w, 2);
    return got;
}

static conform_result check_linear(conform *c) {
    static const char *const scenarios[3] = {"-:p:s0", "zbo:p:s0=1", "zbo:p:s0=2"};
    static const int steps[3] = {1, 1, 1};
    static const double k[3] = {1, -2, 1}, step[2] = {-1, 1}; /* (w2 - w0) - 2 (w1 - w0) */
    host_weights w[3];
    const host_weights *const all[3] = {&w[0], &w[1], &w[2]};
    TRY(needs_all(c));
    TRY(get(c, scenarios, steps, w, 3));
    const double moved = combine(all, step, 2), off = combine(all, k, 3), rounding = 5e-7 * largest(&w[0]);
    REQUIRE(c, off <= 2e-3 * moved + rounding,
            "a gradient twice as large moves a weight not twice as far, but by %.3g more, of %.3g", off,
            moved);
    release(w, 3);
    return CONFORM_PASS;
}

/* The second step, each way: the middle is where the first has led, and its size fits as the first's did. */
static conform_result check_two(conform *c) {
    static const char *const ways[2] = {"zbo:p:s0=1 | zbo:p:s0=1 | -:p:s0",
                                        "zbo:p:s0=1 | zbo:p:s0=-1 | -:p:s0"};
    static const double k[3] = {1, 1, -2}, step[2] = {1, -1};
    host_weights w[3];
    const host_weights *const all[3] = {&w[0], &w[1], &w[2]};
    double loss[2];
    TRY(needs_all(c));
    TRY(each_way(c, ways, 3, w, loss));
    TRY(host_weights_of(c, (host_request){.scenario = "zbo:p:s0=1", .steps = 1}, &w[2]));
    REQUIRE(c, w[2].count == w[0].count, "the weights have other sizes in another run");
    const double off = combine(all, k, 3), moved = combine(all, step, 2) / 2,
                 rounding = 5e-7 * largest(&w[0]);
    REQUIRE(c, off <= 2e-3 * moved + rounding,
            "the second step does not begin where the first has ended, or has something of it: a weight is "
            "off by %.3g, "
            "of %.3g",
            off, moved);
    conform_result got = fits(c, w, loss, "the second");
    release(w, 3);
    return got;
}

static conform_result check_official(conform *c) {
    static const char *const scenarios[4] = {"-:p:s0", "zbo:p:s0=1", "zbo:p:s0=1 zbo:p:s0=1",
                                             "zbo:p:s0=1 bo:p:s0=1"};
    static const int steps[4] = {1, 1, 1, 1};
    static const double k[4] = {1, -1, -1, 1}, step[2] = {-1, 1}; /* (kept - cleared) - (w1 - w0) */
    host_weights w[4];
    const host_weights *const all[4] = {&w[0], &w[1], &w[2], &w[3]};
    TRY(needs_all(c));
    TRY(host_needs_caps(c, DUKD_CAP_TWO_STEPS, "DUKD_CAP_TWO_STEPS"));
    TRY(get(c, scenarios, steps, w, 4));
    const double off = combine(all, k, 4), moved = combine(all, step, 2), rounding = 5e-7 * largest(&w[0]);
    REQUIRE(c, off <= 2e-3 * moved + rounding,
            "two optimizer steps in an iteration, gradients not cleared between them: the second has to move "
            "by the "
            "first's gradient and its own; a weight is off by %.3g, of %.3g",
            off, moved);
    release(w, 4);
    return CONFORM_PASS;
}

/* ---- derivatives ---- */

/* L with the weights moved by `far` along a direction of plus and minus ones. */
static conform_result loss_at(conform *c, const host_run *like, const host_weights *start, uint64_t direction,
                              double far, double *loss) {
    static const host_at at = {1, 0, 0};
    char path[PATH_MAX + 32];
    const char *ending = "f32";
    float *moved = malloc((size_t)start->count * sizeof *moved);
    REQUIRE(c, moved, "no memory");
    for (int64_t i = 0; i < start->count; i++) {
        const double sign = toy_unit(direction * 0x9e3779b97f4a7c15u + (uint64_t)i) < 0.5 ? -1 : 1;
        moved[i] = (float)((double)start->values[i] + sign * far);
    }
    if (strstr(c->host->weights, ".safetensors")) ending = "safetensors";
    snprintf(path, sizeof path, "%s/start.%s", c->host->root, ending);
    conform_result got = host_write_weights(c, like, moved, start->count, path);
    free(moved);
    TRY(got);
    return host_dots(c, (host_request){.scenario = "-:p:s0", .steps = 1, .how = HOST_LOADS, .start = path},
                     &at, 1, loss);
}

static conform_result compare_directions(conform *c, const host_run *like, const host_weights *start,
                                         const host_weights g[2]) {
    const double factor = 1 / (2 * c->host->rate * c->host->scale), n = (double)start->count;
    const double size = sqrt(square_of_difference(&g[0], &g[1])) * factor;
    double sum = 0;
    for (int64_t i = 0; i < start->count; i++) sum += (double)start->values[i] * (double)start->values[i];
    const double far = fmax(1e-3 * sqrt(sum / n), 1e-6);
    for (uint64_t direction = 1; direction <= 4; direction++) {
        double up, down, along = 0;
        TRY(loss_at(c, like, start, direction, far, &up));
        TRY(loss_at(c, like, start, direction, -far, &down));
        for (int64_t i = 0; i < start->count; i++) {
            const double sign = toy_unit(direction * 0x9e3779b97f4a7c15u + (uint64_t)i) < 0.5 ? -1 : 1;
            along -= sign * ((double)g[0].values[i] - (double)g[1].values[i]) * factor;
        }
        const double measured = (up - down) / (2 * far);
        REQUIRE(c, fabs(measured - along) <= 0.03 * size,
                "along a direction in which the loss rises by %.5g the step has a gradient of %.5g (its size "
                "is %.5g)",
                measured, along, size);
    }
    return CONFORM_PASS;
}

static conform_result check_derivative(conform *c) {
    static const char *const ways[2] = {"zbo:p:s0=1 | -:p:s0", "zbo:p:s0=-1 | -:p:s0"};
    host_weights g[2], start = {0};
    double loss[2];
    host_run r;
    TRY(needs_all(c));
    if (!c->host->loads) return conform_skip(c, "no command that begins with given weights (--loads)");
    TRY(host_succeed(c, &r, (host_request){.scenario = "-:p:s0", .steps = 1}));
    TRY(host_read_weights(c, c->host->weights, &r, &start));
    TRY(each_way(c, ways, 2, g, loss));
    REQUIRE(c, g[0].count == start.count, "the weights have other sizes in another run");
    conform_result got = compare_directions(c, &r, &start, g);
    host_free(&r);
    free(start.values);
    release(g, 2);
    return got;
}

static const conform_check checks[] = {
    {"known-gradient", "a step is rate times gradient: weights and loss fit together (dukd_submit.grads)",
     check_known},
    {"linear", "gradients are used as they were written: twice as large, twice as far (dukd_submit.grads)",
     check_linear},
    {"two-steps", "a second step begins where the first has ended, and is a step itself (OPTIMIZE_AFTER)",
     check_two},
    {"official", "two steps in an iteration without clearing: the second adds both gradients (THE IDEA)",
     check_official},
    {"derivative", "the gradient is the derivative, measured along random directions (BACKWARD)",
     check_derivative},
};
const conform_group host_gradient = {"gradient", "weights after steps of gradient descent", 0, checks,
                                     sizeof checks / sizeof *checks};
