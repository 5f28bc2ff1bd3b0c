/* What is trained: a network's parameters with all that belongs to them.
 *
 * The student is always trained, in memory of the learner's; another network is where the plan wants it (dukd_plugin.h, TRAINED), in
 * memory of its own, beginning with the weights that were read for it. Clearing, optimizing, averaging and the training state treat
 * all sets alike. Where a student shares its parameters with its teacher (share.h), the teacher's are the ones that
 * are optimized, and the student's set has no optimizer. (Parameters of the plugin's own: own_params.h.) All arrays are in the
 * engine's memory. [one thread] */
#ifndef DUKD_TRAINED_H
#define DUKD_TRAINED_H

#include <stdint.h>

#include "common/failure.h"
#include "engine/arrays.h"
#include "graph/graph.h"
#include "train/adam.h"

typedef struct {
    dukd_engine *engine;
    const dukd_graph *graph; /* NULL: not trained, and the rest is 0 */
    const char *prefix;      /* of its arrays' names in a training state: "" the student's, "teacher_" */
    int64_t count;
    float *weights, *gradient; /* [count] */
    float *ema;                /* [count], or NULL: no average is kept */
    dukd_adam *adam;           /* NULL: optimized as a part of another set */
    /* Its own memory; NULL and 0 where it is another's. */
    float *own_weights, *own_ema;
    dukd_adam own_adam;
} dukd_trained;

/* With memory of its own, for weights, average (where `average`) and optimizer. start: the processor's; copied. */
int dukd_trained_create(dukd_trained *out, dukd_engine *e, const dukd_graph *graph, const char *prefix,
                        const float *start, dukd_adam_options adam, int average, dukd_failure *f);
/* Around what is there already, in the engine's memory; ema may be NULL. Only the gradient is made. */
int dukd_trained_borrow(dukd_trained *out, dukd_engine *e, const dukd_graph *graph, float *weights,
                        float *ema, dukd_adam *adam, dukd_failure *f);
void dukd_trained_free(dukd_trained *t); /* zeroed allowed */

/* Each does nothing for a set that is not trained. scalars, broken: see dukd_adam_step. */
int dukd_trained_clear(dukd_trained *t, dukd_failure *f); /* the gradient */
int dukd_trained_optimize(dukd_trained *t, int sgd, const dukd_optimizer_scalars *scalars,
                          const int32_t *broken, dukd_failure *f);
int dukd_trained_average(dukd_trained *t, double decay, const int32_t *broken, dukd_failure *f);

#endif
