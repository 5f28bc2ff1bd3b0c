/* Checks of what a host computes and submits. */
#include "host.h"

#include <math.h>
#include <stdio.h>

static int has_teacher(const conform *c) {
    return c->host->has_teacher;
}

static conform_result check_values(conform *c) {
    host_run r;
    TRY(host_start(c, &r,
                   (host_request){.scenario = has_teacher(c) ? "zb:pq:s0=1,s1,s1=1,t0 bo:p:s0=1 -:l:s0,t0"
                                                             : "zb:pq:s0=1,s1,s1=1 bo:p:s0=1 -:l:s0"}));
    TRY(host_rule(c, &r, "values"));
    REQUIRE(c, host_count(&r, "submit_pass"), "no pass was submitted");
    host_free(&r);
    return CONFORM_PASS;
}

/* The same input gives the same output wherever it stands, and another input another. */
static conform_result compare_sources(conform *c, char network) {
    char scenario[64];
    const host_at at[] = {{1, 0, 0}, {1, 0, 1}, {1, 1, 0}, {1, 1, 1}, {1, 1, 2}};
    double v[5];
    snprintf(scenario, sizeof scenario, "-:pq:%c1,%c0 -:qp:%c1,%c0,%c1", network, network, network, network,
             network);
    TRY(host_dots(c, (host_request){.scenario = scenario, .steps = 1}, at, 5, v));
    REQUIRE(c, host_same(c, v[0], v[3]) && host_same(c, v[1], v[2]) && host_same(c, v[2], v[4]),
            "network '%c': outputs are not those of the inputs that the taps name", network);
    REQUIRE(c, v[0] != v[1], "network '%c': two inputs have the same output", network);
    return CONFORM_PASS;
}

static conform_result check_sources(conform *c) {
    TRY(compare_sources(c, 's'));
    return has_teacher(c) ? compare_sources(c, 't') : CONFORM_PASS;
}

static conform_result check_teacher(conform *c) {
    const host_at at[] = {{1, 0, 1}, {2, 0, 1}, {3, 0, 1}};
    double v[3];
    TRY(host_needs_teacher(c));
    TRY(host_dots(c, (host_request){.scenario = "zbo:p:s0=1,t0", .steps = 3}, at, 3, v));
    REQUIRE(c, v[0] == v[1] && v[1] == v[2], "the teacher's output for one input changes: %.9g, %.9g, %.9g",
            v[0], v[1], v[2]);
    return CONFORM_PASS;
}

/* Input r is the probe's first image twice, then its second, and so on. */
static conform_result compare_images(conform *c, char network) {
    enum { ROOM = 16 };
    double p[ROOM], q[ROOM];
    char scenario[32];
    host_run r;
    snprintf(scenario, sizeof scenario, "-:pr:%c0,%c1", network, network);
    TRY(host_succeed(c, &r, (host_request){.scenario = scenario, .steps = 1}));
    const int n = host_images(host_tap(&r, 1, 0, 0), p, ROOM),
              m = host_images(host_tap(&r, 1, 0, 1), q, ROOM);
    host_free(&r);
    REQUIRE(c, n == m && n > 0, "the spy has noted no images");
    if (n == 1) return conform_skip(c, "batches are of one image");
    for (int i = 0; i < n; i++) {
        const double want = p[i > 0 ? i - 1 : 0];
        REQUIRE(c, fabs(q[i] - want) <= 1e-5 * c->host->size,
                "network '%c': image %d of the output is not that of image %d of the input", network, i, i);
    }
    REQUIRE(c, p[0] != p[1], "network '%c': two images have the same output", network);
    return CONFORM_PASS;
}

static conform_result check_images(conform *c) {
    TRY(compare_images(c, 's'));
    return has_teacher(c) ? compare_images(c, 't') : CONFORM_PASS;
}

static conform_result compare_strides(conform *c, char w) {
    static const char *const names[] = {"dense",     "NULL strides",      "channels last",
                                        "backwards", "gaps between rows", "a byte_offset"};
    const host_at at[] = {{1, 0, 0}, {1, 0, 1}, {1, 0, 2}, {1, 1, 0}, {1, 1, 1}, {1, 1, 2}};
    double v[6];
    char scenario[64];
    snprintf(scenario, sizeof scenario, "-:pnc:%c0,%c1,%c2 -:kgf:%c0,%c1,%c2", w, w, w, w, w, w);
    TRY(host_dots(c, (host_request){.scenario = scenario, .steps = 1}, at, 6, v));
    for (int i = 1; i < 6; i++)
        REQUIRE(c, fabs(v[i] - v[0]) <= 1e-5 * c->host->size,
                "network '%c': the probe in memory with %s gives another output", w, names[i]);
    return CONFORM_PASS;
}

static conform_result check_strides(conform *c) {
    TRY(compare_strides(c, 's'));
    return has_teacher(c) ? compare_strides(c, 't') : CONFORM_PASS;
}

/* Evaluation always gives the same; training mode may not. */
static conform_result compare_modes(conform *c, char w, int *shown) {
    const host_at at[] = {{1, 0, 0}, {1, 1, 0}, {1, 2, 0}, {2, 0, 0}, {2, 1, 0}};
    double v[5];
    char scenario[64];
    snprintf(scenario, sizeof scenario, "-:p:%c0 -:p:%c0T -:p:%c0", w, w, w);
    TRY(host_dots(c, (host_request){.scenario = scenario}, at, 5, v));
    REQUIRE(c, host_same(c, v[0], v[2]) && host_same(c, v[0], v[3]),
            "network '%c': evaluation mode gives another output for the same input", w);
    if (!host_same(c, v[0], v[1]) || !host_same(c, v[0], v[4])) *shown = 1;
    return CONFORM_PASS;
}

static conform_result check_modes(conform *c) {
    int student = 0, teacher = 0;
    const int both = has_teacher(c) && c->host->caps & DUKD_CAP_MODE_TRAIN;
    TRY(compare_modes(c, 's', &student));
    if (both) TRY(compare_modes(c, 't', &teacher));
    if (c->host->drops) {
        REQUIRE(c, student, "the student's training mode does not show, though --drops says that it would");
        REQUIRE(c, teacher || !both,
                "the teacher's training mode does not show, though --drops says that it would");
    }
    if (student || teacher) return CONFORM_PASS;
    return conform_skip(c, "evaluation is right; training mode does not show in these networks (--drops)");
}

static conform_result check_fresh(conform *c) {
    const host_at at[] = {{1, 0, 0}, {1, 1, 0}, {2, 0, 0}};
    double v[3];
    TRY(host_needs_move(c));
    TRY(host_dots(c, (host_request){.scenario = "zbo:p:s0=1 -:p:s0 | -:p:s0"}, at, 3, v));
    REQUIRE(c, !host_same(c, v[0], v[1]),
            "a pass after an optimizer step in the same iteration has the output of the weights before it");
    return host_still(c, v[1], v[2], "between a step's last pass and the next step");
}

static conform_result check_keep(conform *c) {
    host_run r;
    TRY(host_start(
        c, &r,
        (host_request){.scenario = has_teacher(c)
                                       ? "zb:p:s0=1K,t0K bo:q:s0=1K,t0K -:qp:s0,s1,t0,t1 zbo:q:s0=1"
                                       : "zb:p:s0=1K bo:q:s0=1K -:qp:s0,s1 zbo:q:s0=1"}));
    TRY(host_rule(c, &r, "keep"));
    if (r.status) {
        host_free(&r);
        return host_succeed(c, &r, (host_request){.scenario = "zb:p:s0=1K bo:q:s0=1K"});
    }
    host_free(&r);
    return CONFORM_PASS;
}

/* The spy overwrites passes and inputs when the step has ended: nothing may come of it. */
static conform_result check_after_end(conform *c) {
    static const char scenario[] = "zb:p:s0=1 bo:q:s0=1 | zbo:q:s0=1 -:pq:s0,s1 | -:p:s0";
    const host_at at[] = {{1, 0, 0}, {3, 0, 0}};
    double plain[2], poisoned[2];
    TRY(host_dots(c, (host_request){.scenario = scenario, .steps = 3}, at, 2, plain));
    TRY(host_dots(c, (host_request){.scenario = scenario, .steps = 3, .test = "poison"}, at, 2, poisoned));
    if (!host_same(c, plain[0], poisoned[0]))
        return conform_skip(c, "the command does not begin with the same weights each time");
    REQUIRE(c, host_same(c, plain[1], poisoned[1]),
            "training gives other weights when passes and inputs are overwritten after end_step");
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"values", "values and gradients as the taps want them: shape, type, place, grad_scale (dukd_submit)",
     check_values},
    {"sources", "each tap is computed from the input that it names (dukd_tap)", check_sources},
    {"teacher-stays", "the teacher has weights of its own, which never move (dukd_host.networks)",
     check_teacher},
    {"images", "image n of an output is that of image n of the input (dukd_input)", check_images},
    {"strides", "inputs are read with any strides and byte_offset (dukd_tensor, dukd_input)", check_strides},
    {"modes", "evaluation mode unless the tap says training mode (DUKD_TAP_MODE_TRAIN)", check_modes},
    {"fresh-weights", "weights are those of the moment when a pass is computed (dukd_tap)", check_fresh},
    {"keep", "a value that is to be kept stays unchanged until end_step (DUKD_TAP_KEEP)", check_keep},
    {"after-end", "passes and inputs are not looked at after end_step (dukd_pass)", check_after_end},
};
const conform_group host_taps = {"taps", "what is computed and submitted", 0, checks,
                                 sizeof checks / sizeof *checks};
