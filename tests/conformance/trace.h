/* A plugin's table whose calls are noted before they are made, so that a crash can be named; and, where a check wants it, each
 * call made in a thread of its own. One table a process. */
#ifndef TRACE_H
#define TRACE_H

#include <stdatomic.h>

#include "dukd_plugin.h"

/* A table that calls `real` and notes in *call which function is in progress. */
const dukd_plugin *trace_table(const dukd_plugin *real, _Atomic int32_t *call);

/* From now on [session] calls are made in fresh threads (on = 1) or in the caller's (0). */
void trace_in_threads(int on);

/* Whether this thread has entered the plugin, and is not inside a task of parallel_for: the only place where a host's services are
 * called (dukd_host). */
int trace_is_caller(void);
/* A task of parallel_for begins (1) or ends (0) on this thread. */
void trace_task(int begins);

/* Name of a noted call, or NULL for 0. */
const char *trace_name(int32_t call);

#endif
