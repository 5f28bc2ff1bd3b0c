/* A frozen network's answers to the inputs of one training step.
 *
 * What the teacher has to do is collected and run in as few calls as possible: inputs of equal size together, an input
 * that was answered in this step already not at all. Answers live until the next step begins. Memory is laid out from the
 * plugin's plan, once. [one thread at a time per engine] */
#ifndef DUKD_ANSWERS_H
#define DUKD_ANSWERS_H

#include <stdint.h>

#include "common/failure.h"
#include "dukd_plugin.h"
#include "engine/engine.h"

typedef struct dukd_answers dukd_answers;

/* Room for every tap of network number `index` in the plan. network and graph outlive the result. */
int dukd_answers_create(dukd_answers **out, dukd_network *network, const dukd_graph *graph,
                        const dukd_plan *plan, uint32_t index, dukd_failure *f);
void dukd_answers_destroy(dukd_answers *a); /* NULL allowed */

void dukd_answers_begin(dukd_answers *a); /* a new step: what was answered is forgotten */
/* Asks for the network's output for `input` (N x 3 x h x w, f32, any strides), which stays as it is until the next step begins.
 * *ticket tells the answers apart. drops: the network is in training mode and these are the factors of its drop paths, path by
 * path for the input's images (copied); such an answer is nobody else's. NULL: evaluation. */
int dukd_answers_want(dukd_answers *a, const dukd_tensor *input, const float *drops, int32_t *ticket,
                      dukd_failure *f);
int dukd_answers_run(dukd_answers *a,
                     dukd_failure *f); /* everything that was asked for and is not there yet */
float *dukd_answers_value(const dukd_answers *a, int32_t ticket); /* N x 3 x H x W, dense */

/* Since the beginning: inputs answered, and their images. */
typedef struct {
    int64_t passes, images;
} dukd_answer_counts;
dukd_answer_counts dukd_answers_counts(const dukd_answers *a);

/* The elements of an f32 tensor of 4 dimensions, dense; the tensor itself where it is dense. `room` takes the copy otherwise. */
const float *dukd_dense(const dukd_tensor *t, float *room);

#endif
