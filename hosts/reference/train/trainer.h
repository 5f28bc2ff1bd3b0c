/* A training run from an option file to a trained network.
 *
 * What happens, in this order: folders, engine, networks and weights, data, the plugin's session; then per iteration a batch, a
 * step, a log line every print_freq, validation every val_freq (averaged weights), network and training state every
 * save_checkpoint_freq. Validation comes before the state of its iteration is written, so that a run resumed from that
 * state has not missed it. Of several ranks rank 0 alone writes and speaks; a failure of one is everybody's.
 * The order in time of everything that is written makes a kill at any moment harmless: what a resumed
 * run finds is the last state that was complete, and it repeats what came after. */
#ifndef DUKD_TRAINER_H
#define DUKD_TRAINER_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>

#include "common/failure.h"
#include "common/plugin_load.h"
#include "train/ranks.h"
#include "train/run_options.h"

typedef enum {
    DUKD_RESUME_NO,
    DUKD_RESUME_MUST,   /* --resume: no state is an error */
    DUKD_RESUME_IF_ANY, /* --auto_resume: without a state the run begins */
} dukd_resume;

typedef struct {
    dukd_run_options *options; /* gets a seed where the file has none */
    const dukd_library *library;
    dukd_resume resume;                /* path.resume_state in the options counts as MUST */
    const volatile sig_atomic_t *stop; /* not 0: save and leave; may be NULL */
    FILE *screen;                      /* NULL: quiet */
    const char *command;               /* for the record; may be NULL */
    dukd_ranks *ranks;                 /* that train this run together, all called with the same; NULL: one */
} dukd_train_settings;

/* A meeting of the ranks has been held when it returns, whatever the outcome. DUKD_DONE; or DUKD_FAILED with a message, also where `stop` ended the run (the message says how to go on). */
int dukd_train(const dukd_train_settings *settings, dukd_failure *f);

#endif
