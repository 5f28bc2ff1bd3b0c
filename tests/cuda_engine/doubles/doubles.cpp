/* What both doubles share: failures that are asked for, what is alive, what was executed, and the report. */
#include "doubles.h"

#include <cstdio>
#include <map>
#include <string>

namespace {

int32_t refused;
bool armed;
int64_t calls, fail_at, alive;
std::string failed, device;
bool has_device;
doubles_log executed;
doubles_plan plan;

struct tally {
    int64_t real = 0, doubled = 0;
};
std::map<std::string, tally> report;

} // namespace

extern "C" {

void doubles_reset(void) {
    refused = 0;
    armed = false;
    calls = fail_at = 0;
    failed.clear();
    executed = doubles_log();
}

void doubles_refuse(int32_t what) {
    refused = what;
}

int32_t doubles_refused(void) {
    return refused;
}

void doubles_arm(int64_t at) {
    armed = true;
    calls = 0;
    fail_at = at;
    failed.clear();
}

int64_t doubles_disarm(void) {
    armed = false;
    return calls;
}

const char *doubles_failed_call(void) {
    return failed.c_str();
}

int32_t doubles_told_to_fail(const char *name) {
    if (!armed || ++calls != fail_at) return 0;
    failed = name;
    return 1;
}

int64_t doubles_alive(void) {
    return alive;
}

void doubles_count(int32_t change) {
    alive += change;
}

doubles_log doubles_executed(void) {
    return executed;
}

doubles_log *doubles_log_mutable(void) {
    return &executed;
}

void doubles_note(const char *what, int32_t real) {
    tally &t = report[what];
    (real != 0 ? t.real : t.doubled)++;
}

void doubles_report(void) {
    printf("looked at by the real library / by the double alone:\n");
    for (const auto &line : report) {
        printf("  %-60s %8lld / %lld\n", line.first.c_str(), static_cast<long long>(line.second.real),
               static_cast<long long>(line.second.doubled));
    }
}

const char *doubles_device_json(void) {
    return has_device ? device.c_str() : nullptr;
}

doubles_plan doubles_last_plan(void) {
    return plan;
}

doubles_plan *doubles_plan_mutable(void) {
    return &plan;
}

void doubles_device(const char *json) {
    has_device = json != nullptr;
    if (has_device) device = json;
}

} // extern "C"
