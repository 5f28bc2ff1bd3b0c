/* One check in one process. */
#include "conform.h"
#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(conform *c, const char *format, va_list args) {
    if (!c->why[0]) vsnprintf(c->why, sizeof c->why, format, args);
}

conform_result conform_fail(conform *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(c, format, args);
    va_end(args);
    return CONFORM_FAIL;
}

conform_result conform_skip(conform *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(c, format, args);
    va_end(args);
    return CONFORM_SKIP;
}

void *conform_guarded(uint64_t size) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    uint8_t *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + room, page, PROT_NONE)) abort(); /* in the check's own process */
    return p + room - size;
}

conform_result conform_entry(conform *c, dukd_get_plugin_draft_fn *entry, void **handle) {
    *entry = NULL;
    *handle = dlopen(c->path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE(c, *handle, "dlopen: %s", dlerror());
    void *symbol = dlsym(*handle, DUKD_ENTRY_NAME);
    REQUIRE(c, symbol, "no symbol %s", DUKD_ENTRY_NAME);
    memcpy(entry, &symbol, sizeof symbol);
    return CONFORM_PASS;
}

/* ---- the child ---- */

static conform_result open_plugin(conform *c, conform_report *report) {
    dukd_get_plugin_draft_fn entry;
    void *handle;
    TRY(conform_entry(c, &entry, &handle));
    const dukd_plugin *table = entry(DUKD_ABI_DRAFT);
    REQUIRE(c, table, "the entry gives NULL");
    REQUIRE(c, table->abi_draft == DUKD_ABI_DRAFT && table->struct_size >= DUKD_PLUGIN_SIZE,
            "the plugin has no table of draft %u", DUKD_ABI_DRAFT);
    c->plugin = trace_table(table, &report->call);
    return CONFORM_PASS;
}

static void in_child(conform *c, const conform_group *group, const conform_check *check,
                     conform_report *report) {
    c->why[0] = 0;
    dup2(STDERR_FILENO, STDOUT_FILENO); /* what a plugin prints does not belong to the report */
    conform_result r = group->loads_itself ? CONFORM_PASS : open_plugin(c, report);
    if (r == CONFORM_PASS) r = check->run(c);
    if (r == CONFORM_PASS) c->why[0] = 0;
    memcpy(report->why, c->why, sizeof c->why);
    atomic_store(&report->result, (int32_t)r);
    _exit(0);
}

/* ---- the parent ---- */

/* What became of a child that did not report. */
static conform_result post_mortem(conform *c, int status, int32_t call, unsigned seconds) {
    const char *name = trace_name(call);
    const char *in = name ? " in " : "", *where = name ? name : "";
    c->why[0] = 0;
    if (WIFEXITED(status))
        return conform_fail(c, "the process was ended%s%s, with status %d", in, where, WEXITSTATUS(status));
    if (WTERMSIG(status) == SIGALRM)
        return conform_fail(c, "no answer%s%s within %u seconds", in, where, seconds);
    return conform_fail(c, "crashed%s%s: %s", in, where, strsignal(WTERMSIG(status)));
}

conform_result conform_run(conform *c, const conform_group *group, const conform_check *check,
                           unsigned seconds) {
    conform_report *report =
        mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    c->why[0] = 0;
    if (report == MAP_FAILED) return conform_fail(c, "no memory to run a check: %s", strerror(errno));
    atomic_store(&report->result, -1);
    fflush(stdout);
    fflush(stderr);
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(seconds);
        in_child(c, group, check, report);
    }
    pid_t ended = child;
    while (child > 0 && (ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
    }
    conform_result r = CONFORM_FAIL;
    if (child < 0 || ended != child) {
        conform_fail(c, "cannot run a process: %s", strerror(errno));
    } else if (atomic_load(&report->result) < 0) {
        r = post_mortem(c, status, atomic_load(&report->call), seconds);
    } else {
        r = (conform_result)atomic_load(&report->result);
        memcpy(c->why, report->why, sizeof c->why);
        /* valgrind's --error-exitcode, say: what it has found stands on stderr */
        if (r != CONFORM_FAIL && status != 0) r = post_mortem(c, status, 0, seconds);
    }
    munmap(report, sizeof *report);
    return r;
}
