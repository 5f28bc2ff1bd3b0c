/* The training state in a file: everything that a run needs to go on as if it had never stopped.
 *
 * training_states/ITER.state is a safetensors file. Tensors: params.NAME and params_ema.NAME (the student and its average),
 * exp_avg.NAME and exp_avg_sq.NAME (Adam's m and v); the same with "teacher_" in front (or "features_") where that network is
 * trained too, and then, of a student that shares its teacher's parameters, no moments of its own; plugin (the session's blob, u8), and what own_params.h says of parameters that
 * the plugin brings. Metadata, all text: "format" ("dukd-state 1"), and the fields of dukd_state_info. No random state: every draw is a function of seed and iteration.
 *
 * A state is written aside, fsynced and renamed: what has the name is complete. [one thread] */
#ifndef DUKD_CHECKPOINT_H
#define DUKD_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "train/learner.h"

typedef struct {
    int64_t iteration; /* done */
    uint64_t seed;
    dukd_step_counts counts;
    double seconds, waited; /* spent in iterations so far, and of these waiting for data */
    double best_value;      /* of the first metric of the first validation set */
    int64_t best_iteration; /* -1: none yet */
    int32_t validation_due; /* 1: stopped before the validation of this iteration was complete */
    int32_t threads;        /* of each rank */
    int32_t ranks;          /* 0: a state of an earlier version; 1 */
    int64_t
        next_sample; /* global index of the first sample that was not trained on; 0 in states of earlier versions */
    char instruction_set[64], library[64]; /* of the engine: with the threads they decide the bits */
    char plugin[160];                      /* "dukd 0.1.0" */
    char data_hash[65];                    /* of the training images */
} dukd_state_info;

/* Writes the state of the learner as it stands after info->iteration. options: the run's resolved options as YAML. */
int dukd_state_write(const char *path, const dukd_learner *l, const dukd_plugin *plugin,
                     const dukd_state_info *info, const char *options, dukd_failure *f);

/* An opened state file. */
typedef struct dukd_state dukd_state;
int dukd_state_open(dukd_state **out, const char *path, dukd_failure *f);
void dukd_state_close(dukd_state *s); /* NULL allowed */
const dukd_state_info *dukd_state_get_info(const dukd_state *s);
const char *dukd_state_options(const dukd_state *s); /* YAML */
/* Fills a learner that was made for the same network, and its session, with what the file holds. A file of another network, or a
 * plugin that refuses its blob, is an error that says what differs. */
int dukd_state_load(const dukd_state *s, dukd_learner *l, const dukd_plugin *plugin, dukd_failure *f);

/* The newest complete state in `folder`: opened, its path in `path`. *out is NULL where there is none. Files that cannot be
 * read are passed over and told to `warn`. */
int dukd_state_newest(dukd_state **out, const char *folder, char *path, size_t path_size,
                      void (*warn)(void *ctx, const char *message), void *ctx, dukd_failure *f);

/* States of iterations after `last` get the name N.state.old: a run that goes on from an earlier one must not find
 * them. Returns how many. */
int32_t dukd_state_set_aside(const char *folder, int64_t last);

/* Removes all states of `folder` but the `keep` newest, and what a killed writer has left behind. */
void dukd_state_prune(const char *folder, int32_t keep);

#endif
