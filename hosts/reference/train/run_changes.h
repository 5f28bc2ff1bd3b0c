/* What has changed in the options between the state that a run goes on from and now. */
#ifndef DUKD_RUN_CHANGES_H
#define DUKD_RUN_CHANGES_H

#include "common/failure.h"
#include "train/run_options.h"

/* `before`: the resolved options of the state, as YAML. A change after which the state means nothing any more (another network,
 * scale, seed, average on or off) is DUKD_MISUSED and names the key and both values. Every other change that moves the
 * numbers is told to `announce`, a line each; what only concerns logs, validation and folders is not worth a word. */
int dukd_run_compare(const dukd_run_options *now, const char *before,
                     void (*announce)(void *ctx, const char *message), void *ctx, dukd_failure *f);

#endif
