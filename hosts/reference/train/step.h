/* One training iteration through the plugin's step protocol: passes and taps in, moved weights out.
 *
 * The stepper knows passes, not distillation (abi/dukd_plugin.h says what a host does). Passes are collected until the plugin
 * says WAIT or DONE; what they ask of frozen networks about inputs is answered together (answers.h); then, pass by pass in the
 * plugin's order: clear the gradients where it says so, forward, submit, backward, optimizer and average where it says so. Taps
 * of one network on one source are one forward and one backward (step_plan.h); backward runs through groups of taps in reverse, so that
 * what flows through a derived tap is in the gradient of its source when that one's turn comes. Networks other than the student are trained where the plan
 * says so (trained.h). In training mode (DUKD_TAP_MODE_TRAIN) drop paths are drawn (drops.h), for the student and for the teacher.
 *
 * With micro_batches m the batch is stepped through in m equal parts whose gradients add up. [one thread] */
#ifndef DUKD_STEP_H
#define DUKD_STEP_H

#include <stdint.h>

#include "common/failure.h"
#include "dukd_plugin.h"
#include "engine/engine.h"
#include "train/adam.h"
#include "train/own_params.h"
#include "train/ranks.h"
#include "train/run_options.h"
#include "train/trained.h"

typedef struct dukd_stepper dukd_stepper;

typedef struct {
    const dukd_plugin *plugin;
    const dukd_option *const *plugin_options;
    uint32_t plugin_option_count;
    uint64_t seed;
    dukd_engine *engine;
    dukd_precision precision;
    const dukd_graph *student;
    float *weights; /* of the student, in the engine's memory; changed by optimizer steps */
    float *ema;     /* their average, there too, changed by EMA_AFTER; NULL: none */
    double ema_decay;
    dukd_adam *adam;
    int32_t sgd;               /* 1: plain gradient descent, of adam's options with its weight_decay alone */
    const dukd_graph *teacher; /* NULL: none */
    const float *teacher_weights;  /* the processor's; where it is trained it begins with these */
    const dukd_graph *features;    /* NULL: none */
    const float *features_weights; /* the processor's */
    int32_t
        share; /* 1: the student's parameters are a part of the teacher's (share.h), from which `weights` and `ema` are taken */
    int32_t scale;
    int32_t batch;         /* images an iteration, of this rank */
    int32_t height, width; /* of LR */
    int32_t micro_batches; /* divides batch */
    dukd_nonfinite nonfinite;
    int32_t joined;    /* 1: the engine has joined those of the other ranks (engine/join.h) */
    dukd_ranks *ranks; /* over which gradients and losses are averaged; NULL: this one is alone */
    void (*log)(void *ctx, int32_t level,
                const char *message); /* what the plugin says; DUKD_LOG_...; may be NULL */
    void *log_ctx;
} dukd_stepper_options;

/* Counted since the stepper was made, or since dukd_stepper_set_counts; of all ranks together, which all do the same. */
typedef struct {
    int64_t optimizer_steps, skipped_steps; /* skipped: gradients that were not finite */
    int64_t images;                         /* of batches */
    int64_t student_passes, student_images; /* forward runs, and their images */
    int64_t teacher_passes, teacher_images;
    int64_t feature_passes, feature_images;
} dukd_step_counts;

/* Makes the plugin's session, compiles the networks for every shape of its plan and allocates all that a step needs. Everything
 * that the options point to must outlive the stepper. */
int dukd_stepper_create(dukd_stepper **out, const dukd_stepper_options *options, dukd_failure *f);
void dukd_stepper_destroy(dukd_stepper *s); /* NULL allowed */

/* One iteration; first_sample is the global index of the first image of this rank's part. lr: batch x 3 x height x width, hr: scale times that; [0,1]; the processor's. A loss or gradient that is not finite is
 * DUKD_FAILED with nonfinite STOP (no step is made with it; the message names the term); with SKIP the optimizer's step is left
 * out and counted. On a device this returns before the iteration is computed, and with STOP the failure is told by a later call
 * of this or of dukd_stepper_look: whatever comes after what was not finite changes nothing. Ranks decide alike, and look in every iteration. After any failure the stepper is good
 * for nothing but dukd_stepper_destroy. */
int dukd_stepper_run(dukd_stepper *s, int64_t iteration, int64_t first_sample, const float *lr,
                     const float *hr, double rate, dukd_failure *f);

/* Begins to bring the next iteration's batch to a device, while the last one is computed there; both are copied. dukd_stepper_run then
 * takes what was sent, whatever it is given. Nothing on the processor. */
int dukd_stepper_prepare(dukd_stepper *s, const float *lr, const float *hr, dukd_failure *f);

/* Waits for the last iteration, reads its losses, and fails as above. To be called before losses are shown and before anything is
 * written; the processor's iterations have done it themselves. */
int dukd_stepper_look(dukd_stepper *s, dukd_failure *f);
const dukd_losses *dukd_stepper_losses(
    const dukd_stepper *s); /* of the last iteration that was looked at; means over the ranks */
dukd_step_counts dukd_stepper_counts(const dukd_stepper *s);
void dukd_stepper_set_counts(dukd_stepper *s, const dukd_step_counts *counts); /* of a resumed run */
dukd_session *dukd_stepper_session(const dukd_stepper *s);
dukd_own_params *dukd_stepper_own_params(dukd_stepper *s); /* that the plugin brings; of count 0: none */
/* The student's, flat, in the engine's memory, as the last optimizer step used it; zeros where it shares the teacher's parameters: it is in that one's set. */
const float *dukd_stepper_gradient(const dukd_stepper *s);
/* What is trained, the student first; NULL: network i is not, or is not there. For training states. */
const dukd_trained *dukd_stepper_trained(const dukd_stepper *s, uint32_t i);
/* The caller has changed the weights of what is trained. */
int dukd_stepper_weights_changed(dukd_stepper *s, dukd_failure *f);

#endif
