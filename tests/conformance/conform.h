/* dukd-conform: checks of a plugin against abi/dukd_plugin.h, from outside.
 *
 * A check is a function that looks at one rule. It runs in a process of its own with a time limit, so that a crash or
 * an endless loop of the plugin is a failed check and not the end of the suite. */
#ifndef CONFORM_H
#define CONFORM_H

#include <stdint.h>

#include "dukd_plugin.h"

typedef enum { CONFORM_PASS = 0, CONFORM_FAIL = 1, CONFORM_SKIP = 77 } conform_result;

typedef struct {
    const char *path;          /* of the plugin */
    const dukd_plugin *plugin; /* opened already for all checks but those of group static and loading */
    void *handle;
    /* From the command line: options that every session gets. */
    const dukd_option *const *options;
    uint32_t n_options;
    char why[512]; /* of a failure or a skip */
} conform;

typedef struct {
    const char *name, *group;
    const char *contract; /* one line: what must hold, and where the header says so */
    conform_result (*run)(conform *c);
} conform_check;

/* Each group is one file. */
extern const conform_check conform_static[], conform_loading[], conform_versioning[], conform_errors[],
    conform_numerics[];
extern const int conform_static_count, conform_loading_count, conform_versioning_count, conform_errors_count,
    conform_numerics_count;

conform_result conform_fail(conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
conform_result conform_skip(conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The check fails with this message unless the condition holds. */
#define REQUIRE(c, condition, ...)                                                                           \
    do {                                                                                                     \
        if (!(condition)) return conform_fail(c, __VA_ARGS__);                                               \
    } while (0)

/* `size` bytes that end where memory ends: reading or writing one byte more is a crash. Filled with zeros; never freed
 * (the process is short). */
void *conform_guarded(uint64_t size);

#endif
