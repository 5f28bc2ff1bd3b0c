/* A run that is going on: everything trainer.c and trainer_setup.c share. Only for these two and
 * trainer_ranks.c. */
#ifndef DUKD_TRAINER_RUN_H
#define DUKD_TRAINER_RUN_H

#include <stdint.h>

#include "data/loader.h"
#include "train/checkpoint.h"
#include "train/events.h"
#include "train/experiment.h"
#include "train/learner.h"
#include "train/ranks_threads.h"
#include "train/record.h"
#include "train/run_log.h"
#include "train/trainer.h"
#include "train/validate.h"
#include "train/weights.h"

typedef struct {
    const dukd_train_settings *settings;
    dukd_run_options *o;
    const dukd_plugin *plugin;
    dukd_ranks *ranks; /* NULL: one */
    int32_t writes;    /* 1: files and log are this rank's */
    dukd_ranks_threads threads;
    dukd_run_log log;
    dukd_experiment folder;
    dukd_engine *engine;
    int32_t joined; /* the engine has joined those of the other ranks (join.h) */
    int32_t failed; /* it ends with a failure: nothing is waited for that another rank may not come to */
    dukd_ready_network student, teacher, features; /* graph NULL: there is no teacher, no feature extractor */
    float *start_ema;                              /* the student's params_ema from its file; NULL: none */
    dukd_dataset *train_set;
    dukd_loader *loader;
    dukd_batch_source batches;
    dukd_batch ahead; /* the next iteration's batch, on its way to a device; of iteration 0: none */
    dukd_learner learner;
    dukd_validator validator;
    dukd_record_data *data;
    dukd_metrics_log metrics;
    dukd_events *events; /* NULL: no logger */
    dukd_record record;
    char *options_text;  /* resolved, YAML */
    dukd_state *resumed; /* open while the run is set up; NULL: a new run */
    char resumed_path[4096];
    dukd_state_info info; /* of the next state to be written */
    int64_t saved;        /* iteration of the last state on disk; -1: none */
    int64_t shift;        /* of samples, for the loader */
    double waited_before; /* seconds that earlier parts of a resumed run have waited for data */
} dukd_run;

/* Everything up to the first iteration. Nothing is written, moved or made on disk before all that can be refused has been
 * looked at. */
int dukd_run_open(dukd_run *r, const dukd_train_settings *settings, dukd_failure *f);
void dukd_run_close(dukd_run *r);

/* trainer_ranks.c; with one rank they do nothing. All ranks call them, at these points: */
int dukd_run_same_options(dukd_run *r,
                          dukd_failure *f); /* before anything else: other ones than rank 0's are refused */
int dukd_run_share_seed(dukd_run *r, dukd_failure *f); /* rank 0 has drawn one */
int dukd_run_take_threads(dukd_run *r, dukd_failure *f);
int dukd_run_join(dukd_run *r, dukd_failure *f); /* engines on devices join, where they can */
/* Everything is set up and nothing is written: another program, plugin, data set, network or training state than rank 0's is refused, and all ranks
 * get rank 0's arrays of what is trained. */
int dukd_run_same_start(dukd_run *r, dukd_failure *f);
int dukd_run_same_weights(dukd_run *r, dukd_failure *f); /* before they are saved */

/* run.json as things stand. */
int dukd_run_write_record(dukd_run *r, const char *status, dukd_failure *f);

#endif
