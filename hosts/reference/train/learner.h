/* What is trained: the student's weights, their average, Adam and the schedule around a stepper.
 *
 * A learner knows no files and no data set: batches come from a source (the loader, or a test's recorded ones). [one
 * thread] */
#ifndef DUKD_LEARNER_H
#define DUKD_LEARNER_H

#include <stdint.h>

#include "common/failure.h"
#include "data/loader.h"
#include "train/adam.h"
#include "train/schedule.h"
#include "train/step.h"

/* Where batches come from. */
typedef struct {
    void *ctx;
    int (*next)(void *ctx, dukd_batch *out, dukd_failure *f); /* out stays valid until the next call */
    double (*waited)(void *ctx);                              /* seconds that next has waited so far */
} dukd_batch_source;

dukd_batch_source dukd_batches_of_loader(dukd_loader *loader);

typedef struct {
    dukd_stepper_options step; /* weights, ema and adam are the learner's: leave them NULL */
    dukd_adam_options adam;
    dukd_schedule schedule;
    const float *start;     /* the student's first weights; the processor's, copied */
    const float *start_ema; /* the average's; NULL: `start`. Unused where ema_decay is 0. */
} dukd_learner_options;

/* Arrays are in the engine's memory. */
typedef struct {
    dukd_engine *engine;
    const dukd_graph *graph; /* the student's */
    int64_t count;           /* its parameters */
    float *weights;          /* [count] */
    float *ema;              /* [count], or NULL */
    dukd_adam adam;
    dukd_schedule schedule;
    dukd_stepper *stepper;
    int64_t iteration; /* the last one that was done; 0: none */
    double rate;       /* of that iteration */
} dukd_learner;

int dukd_learner_create(dukd_learner *l, const dukd_learner_options *options, dukd_failure *f);
void dukd_learner_free(dukd_learner *l); /* zeroed allowed */
/* The batch of the next dukd_learner_step, which begins to bring it to the engine's device (dukd_stepper_prepare). */
int dukd_learner_prepare(dukd_learner *l, const dukd_batch *batch, dukd_failure *f);
/* One iteration: batch->iteration must be l->iteration + 1. */
int dukd_learner_step(dukd_learner *l, const dukd_batch *batch, dukd_failure *f);

#endif
