/* Finding and opening a plugin: dlopen, the entry, the draft, a whole table. Nothing here knows any method.
 */
#ifndef DUKD_PLUGIN_LOAD_H
#define DUKD_PLUGIN_LOAD_H

#include "common/failure.h"
#include "dukd_plugin.h"

typedef struct dukd_library dukd_library;

/* Opens `path`. NULL: $DUKD_PLUGIN, else lib/libdukd.so beside the folder of the running program, else
 * libdukd.so by the system's search. A file that is no plugin, a plugin of another draft (the message says
 * which side to rebuild), or one with an incomplete table is an error. */
int dukd_library_open(dukd_library **out, const char *path, dukd_failure *f);
void dukd_library_close(dukd_library *l); /* after its sessions; NULL allowed */
const dukd_plugin *dukd_library_plugin(const dukd_library *l);
const dukd_plugin_info *dukd_library_info(const dukd_library *l);
const char *dukd_library_path(const dukd_library *l); /* as it was opened */

/* What every call to a plugin needs: an error struct that is ready, and its text as a failure. The message
 * names the call. DUKD_E_OPTION and DUKD_E_UNSUPPORTED are DUKD_MISUSED: other options are the way out; everything else
 * is DUKD_FAILED. */
dukd_error dukd_error_ready(void);
int dukd_fail_plugin(dukd_failure *f, const char *call, int32_t code, const dukd_error *error);
/* "DUKD_E_OPTION" for its number. */
const char *dukd_outcome_name(int32_t code);

#endif
