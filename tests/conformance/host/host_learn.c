/* What the first run shows of a host: what it has, and how far a step moves its student. */
#include "host.h"

#include <math.h>

/* So much of its size shall a step move the output: far more than rounding, and little enough to be nearly linear. */
static const double WANTED_MOVE = 0.01;

static conform_result learn_session(conform *c, const host_run *r) {
    host_setup *h = c->host;
    const char *line = host_find(r, "create_session", 0, NULL);
    REQUIRE(c, line, "no session was made");
    h->caps = (uint64_t)host_number(line, "caps");
    h->has_teacher = host_number(line, "teacher") == 1;
    h->has_alloc = host_number(line, "alloc") == 1;
    h->has_parallel = host_number(line, "parallel") == 1;
    h->has_log = host_number(line, "log") == 1;
    return CONFORM_PASS;
}

static conform_result measure(conform *c, double scale) {
    host_setup *h = c->host;
    host_run r;
    double first, second;
    conform_result got =
        host_succeed(c, &r, (host_request){.scenario = "zbo:p:s0=1 | -:p:s0", .scale = scale});
    if (got == CONFORM_PASS) got = learn_session(c, &r);
    if (got == CONFORM_PASS) got = host_dot(c, &r, 1, 0, 0, &first);
    if (got == CONFORM_PASS) got = host_dot(c, &r, 2, 0, 0, &second);
    if (got == CONFORM_PASS) {
        h->size = host_number(host_tap(&r, 1, 0, 0), "size");
        h->move = fabs(second - first);
        h->scale = scale;
    }
    host_free(&r);
    return got;
}

conform_result host_learn(conform *c) {
    host_setup *h = c->host;
    if (h->learnt)
        return h->learnt > 0 ? CONFORM_PASS : conform_skip(c, "there is no run to look at: see runs");
    h->learnt = -1;
    if (measure(c, 1) != CONFORM_PASS) {
        c->why[0] = 0;
        return conform_skip(c, "there is no run to look at: see runs");
    }
    for (int i = 0; i < 3 && h->move > 0; i++) {
        const double factor = WANTED_MOVE * h->size / h->move;
        if (factor > 0.5 && factor < 2) break;
        const double scale = fmin(fmax(h->scale * factor, 1e-8), 1e8), was = h->move;
        if (scale == h->scale) break;
        TRY(measure(c, scale));
        if (fabs(h->move / was - 1) < 0.1)
            break; /* an optimizer that does not care for the size of gradients */
    }
    h->learnt = 1;
    return CONFORM_PASS;
}

conform_result host_needs_teacher(conform *c) {
    return c->host->has_teacher ? CONFORM_PASS : conform_skip(c, "the host has no network called teacher");
}

conform_result host_needs_caps(conform *c, uint64_t cap, const char *name) {
    return c->host->caps & cap ? CONFORM_PASS : conform_skip(c, "the host's caps do not have %s", name);
}

conform_result host_needs_move(conform *c) {
    const host_setup *h = c->host;
    if (h->move > 1e-5 * h->size) return CONFORM_PASS;
    return conform_skip(c,
                        "a step moves the student's output by %.1e of its size, too little to be seen: see "
                        "optimizes, and raise the learning rate",
                        h->size > 0 ? h->move / h->size : 0);
}
