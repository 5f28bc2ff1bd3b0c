/* What a step needs for each pass of the plugin's plan: tensors, buffers and compiled executions, made once.
 *
 * Taps of one network, from one source and in one mode, are a GROUP: one forward with several outputs (the network's own, and layers),
 * and one backward with several cotangents. A group's source is an input or an earlier tap, so that groups in the order of their first
 * taps can be computed one after the other, and run backward in reverse. Only for step.c and step_pass.c. [one thread] */
#ifndef DUKD_STEP_PLAN_H
#define DUKD_STEP_PLAN_H

#include <stdint.h>

#include "common/failure.h"
#include "dukd_plugin.h"
#include "engine/engine.h"
#include "engine/mirror.h"
#include "train/answers.h"
#include "train/host_networks.h"

typedef struct {
    int64_t shape[4];
    dukd_tensor value, grad; /* dense; grad.data is NULL where no gradient is wanted */
    int32_t group, output;   /* which output of which group it is */
} dukd_tap_slot;

typedef struct {
    uint32_t network, source_kind, source_id;
    uint32_t mode;  /* DUKD_TAP_MODE_TRAIN or 0 */
    uint32_t first; /* its first tap */
    int32_t wants;  /* 1: one of its taps wants its gradient */
    int32_t asked;  /* 1: answered by answers.h: a network other than the student, an input, no gradients */
    int32_t output_count;
    dukd_value *outputs; /* [output_count] different values of the graph */
    float **values;      /* [output_count] own, in the engine's memory; NULLs where it is asked */
    float **d_outputs;   /* [output_count] for backward: the gradient of one of its taps, or NULL */
    int64_t in_shape[4]; /* of the source */
    dukd_exec *exec;     /* TRAIN where gradients are wanted; NULL where it is asked */
    dukd_mirror drops;   /* factors of the drop paths; of count 0: evaluation, or a network without */
    float *d_input;      /* where the source is a tap that wants its gradient; NULL elsewhere */
    int32_t ticket;      /* of the answer */
} dukd_tap_group;

typedef struct {
    dukd_tap_slot *taps; /* [n_taps] */
    dukd_tap_group *groups;
    int32_t group_count;
    const dukd_tensor **values, **grads; /* [n_taps], for dukd_submit */
} dukd_pass_slot;

typedef struct {
    dukd_engine *engine;
    const dukd_plan *plan;
    dukd_pass_slot *passes; /* [plan->n_passes] */
    float *gradients;       /* of the taps and sources of one pass at a time; in the engine's memory */
} dukd_step_plan;

/* Refuses a plan that this host cannot carry out (a plugin that did not look at the host's caps). compiled[i]: network i. */
int dukd_step_plan_create(dukd_step_plan *out, dukd_engine *e, const dukd_plan *plan,
                          const dukd_host_networks *networks, dukd_network *const *compiled, dukd_failure *f);
void dukd_step_plan_free(dukd_step_plan *p); /* zeroed allowed */

/* Is the network trained by this plan? (Header, TRAINED: the student is; another where a tap from an input wants its gradient.) */
int dukd_plan_trains(const dukd_plan *plan, uint32_t network);

int64_t
dukd_shape_elements(const int64_t shape[4]); /* their product; of tensors that are there, so it fits */

/* What will be asked of a network, for dukd_answers_create: malloc'd, *count of them; the outputs are the plan's. NULL: no memory. */
dukd_question *dukd_step_plan_questions(const dukd_step_plan *p, uint32_t network, int32_t *count);

/* Is the pass the one that the plan announced, with inputs that this host can read? */
int dukd_step_plan_check(const dukd_step_plan *p, const dukd_pass *pass, dukd_failure *f);

#endif
