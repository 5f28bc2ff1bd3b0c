/* The folder of a run, laid out as BasicSR's:
 *
 *     experiments/NAME/train_NAME.log      the log; a resumed run appends
 *                      run.json            the record of the run
 *                      options.yml         the resolved options
 *                      metrics.jsonl       losses and validations by iteration
 *                      models/             net_g_ITER, net_g_best, net_g_latest .safetensors
 *                      training_states/    ITER.state, the two newest
 *                      visualization/      validation images (val.save_img)
 *                      tb_logger/          TensorBoard's event files
 *
 * One process at a time trains in a folder (it is locked by train.lock). [one thread] */
#ifndef DUKD_EXPERIMENT_H
#define DUKD_EXPERIMENT_H

#include <limits.h>

#include "common/failure.h"

typedef struct {
    char root[PATH_MAX / 2], models[PATH_MAX], states[PATH_MAX], images[PATH_MAX], events[PATH_MAX];
    char archived[PATH_MAX]; /* what an older folder of that name is called now; "" where there was none */
    int lock;                /* file descriptor; -1: not held */
} dukd_experiment;

/* resume: the folder is used on, or made where it is not there. Otherwise a new one is made; an older one of that name is renamed to
 * NAME_archived_YYYYMMDD_HHMMSS, as BasicSR does. */
int dukd_experiment_open(dukd_experiment *e, const char *root, int resume, dukd_failure *f);
void dukd_experiment_close(dukd_experiment *e); /* after a failed open, too */

/* Makes a folder and those above it. */
int dukd_make_folders(const char *path, dukd_failure *f);

#endif
