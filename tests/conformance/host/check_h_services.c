/* Checks of what a host offers its plugin: memory, threads, a log. */
#include "host.h"
#include "spy/spy.h"

#include <string.h>

static conform_result try_services(conform *c, const char *rule, const char *tried, int there,
                                   const char *what) {
    host_run r;
    if (!there) return conform_skip(c, "the host offers no %s", what);
    TRY(host_start(c, &r, (host_request){.scenario = "-:p:s0", .steps = 1, .test = "services"}));
    TRY(host_rule(c, &r, rule));
    REQUIRE(c, !*tried || host_count(&r, tried), "the command has ended with status %d while it was tried",
            r.status);
    host_free(&r);
    return CONFORM_PASS;
}

static conform_result check_memory(conform *c) {
    return try_services(c, "memory", "memory_tried", c->host->has_alloc, "alloc");
}

static conform_result check_threads(conform *c) {
    return try_services(c, "threads", "threads_tried", c->host->has_parallel, "parallel_for");
}

static conform_result check_limits(conform *c) {
    return try_services(c, "limits", "", 1, "");
}

static conform_result check_log(conform *c) {
    host_run r;
    if (!c->host->has_log) return conform_skip(c, "the host offers no log");
    TRY(host_start(c, &r, (host_request){.scenario = "-:p:s0", .steps = 1, .test = "services"}));
    REQUIRE(c, strstr(r.output, SPY_WARNING), "a warning of the plugin does not reach the user");
    host_free(&r);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"memory", "alloc: aligned, apart from each other, of the size that was asked for (dukd_host.alloc)",
     check_memory},
    {"threads", "parallel_for: each task once, all done, no worker twice at a time (dukd_host.parallel_for)",
     check_threads},
    {"limits", "should_cancel and get_extension say no where there is nothing (dukd_host)", check_limits},
    {"log", "a warning of the plugin reaches the user (dukd_host.log)", check_log},
};
const conform_group host_services = {"services", "what the host offers", 0, checks,
                                     sizeof checks / sizeof *checks};
