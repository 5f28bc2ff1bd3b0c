/* What a step needs for each pass of the plugin's plan: tensors, buffers and compiled executions, made once.
 *
 * Only for step.c. [one thread] */
#ifndef DUKD_STEP_PLAN_H
#define DUKD_STEP_PLAN_H

#include <stdint.h>

#include "common/failure.h"
#include "dukd_plugin.h"
#include "engine/engine.h"

typedef struct {
    int64_t shape[4];
    dukd_tensor value, grad; /* dense; grad.data is NULL where no gradient is wanted */
    float *own;              /* the student's output; NULL for the teacher's taps */
    int32_t ticket;          /* of the teacher's answer */
    float *drops;            /* factors of the drop paths; NULL: evaluation, or a network without */
    dukd_exec *exec;         /* the student's: TRAIN where the gradient is wanted */
} dukd_tap_slot;

typedef struct {
    dukd_tap_slot *taps;                 /* [n_taps] */
    const dukd_tensor **values, **grads; /* [n_taps], for dukd_submit */
} dukd_pass_slot;

typedef struct {
    const dukd_plan *plan;
    dukd_pass_slot *passes; /* [plan->n_passes] */
    float *gradients;       /* of the taps of one pass at a time */
} dukd_step_plan;

/* Refuses a plan that this host cannot carry out (a plugin that did not look at the host's caps). networks[i]: the graph of
 * network i. */
int dukd_step_plan_create(dukd_step_plan *out, const dukd_plan *plan, const dukd_graph *const *networks,
                          uint32_t network_count, dukd_network *student, dukd_failure *f);
void dukd_step_plan_free(dukd_step_plan *p); /* zeroed allowed */

/* Is the pass the one that the plan announced, with inputs that this host can read? */
int dukd_step_plan_check(const dukd_step_plan *p, const dukd_pass *pass, dukd_failure *f);

#endif
