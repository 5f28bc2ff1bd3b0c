/* dukd-conform: checks of a plugin against abi/dukd_plugin.h, from outside.
 *
 * A check is a function that looks at one rule. It runs in a process of its own with a time limit, so that a crash or
 * an endless loop of the plugin is a failed check and not the end of the suite. What a check holds when it fails is not freed:
 * its process ends. A check that passes has freed all. */
#ifndef CONFORM_H
#define CONFORM_H

#include <stdatomic.h>
#include <stdint.h>

#include "dukd_plugin.h"

typedef enum { CONFORM_PASS, CONFORM_FAIL, CONFORM_SKIP } conform_result;

enum { CONFORM_WHY = 768 };

typedef struct {
    const char *path; /* of the plugin */
    const dukd_plugin
        *plugin; /* NULL in checks that load it themselves; else its table with every call noted (trace.h) */
    /* From the command line: options that every session gets. */
    const dukd_option *const *options;
    uint32_t n_options;
    const char *cudart; /* the CUDA runtime's library, from the command line; NULL: where it usually is */
    struct host_setup *host; /* of the host that is checked (host/host.h); NULL: a plugin is */
    char why[CONFORM_WHY];   /* of a failure or a skip */
} conform;

typedef struct {
    const char *name;
    const char *contract; /* one line: what must hold, and where the header says so */
    conform_result (*run)(conform *c);
} conform_check;

typedef struct {
    const char *name, *about;
    int loads_itself; /* its checks look at the file or load it themselves */
    const conform_check *checks;
    int count;
} conform_group;

/* Each group is one file; group session, one check, is beside group loading. */
extern const conform_group conform_static, conform_loading, conform_session, conform_versioning,
    conform_options, conform_errors, conform_host, conform_passes, conform_steps, conform_numerics,
    conform_params, conform_state, conform_cuda;

/* The first reason that is given is kept. */
conform_result conform_fail(conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
conform_result conform_skip(conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The check fails with this message unless the condition holds. */
#define REQUIRE(c, condition, ...)                                                                           \
    do {                                                                                                     \
        if (!(condition)) return conform_fail(c, __VA_ARGS__);                                               \
    } while (0)

/* Goes on only after a pass. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        conform_result try_result = (call);                                                                  \
        if (try_result != CONFORM_PASS) return try_result;                                                   \
    } while (0)

/* `size` bytes that end where memory ends: reading or writing one byte more is a crash. Filled with zeros; never freed
 * (the process is short). */
void *conform_guarded(uint64_t size);

/* What a child tells its parent, in memory that both have. */
typedef struct {
    _Atomic int32_t result; /* conform_result; -1 until the check has ended */
    _Atomic int32_t call;   /* the call into the plugin that is in progress (trace.h); 0: none */
    char why[CONFORM_WHY];
} conform_report;

/* Runs the check in a child of this process, for at most `seconds`; c->why receives its reason, or what became of it. */
conform_result conform_run(conform *c, const conform_group *group, const conform_check *check,
                           unsigned seconds);

/* Opens the library: its entry, by name. */
conform_result conform_entry(conform *c, dukd_get_plugin_draft_fn *entry, void **handle);

#endif
