/* A frozen network's answers to the inputs of one training step.
 *
 * What the teacher has to do is collected and run in as few calls as possible: inputs of equal size, of which the same outputs are
 * wanted (layers included), together, and one that was answered in this step already not at all. Answers live until the next step
 * begins. Memory is laid out from the plugin's plan, once, in the engine's memory. [one thread at a time per engine] */
#ifndef DUKD_ANSWERS_H
#define DUKD_ANSWERS_H

#include <stdint.h>

#include "common/failure.h"
#include "dukd_plugin.h" /* dukd_tensor */
#include "engine/arrays.h"

typedef struct dukd_answers dukd_answers;

/* What will be asked of it in a step at most: one of these for each input. */
typedef struct {
    int32_t images, height, width; /* of the input */
    int32_t output_count;
    const dukd_value *outputs; /* [output_count], different ones: which values of the graph are wanted */
} dukd_question;

/* Room for `count` questions a step; they are copied. network and graph outlive the result. */
int dukd_answers_create(dukd_answers **out, dukd_engine *e, dukd_network *network, const dukd_graph *graph,
                        const dukd_question *questions, int32_t count, dukd_failure *f);
void dukd_answers_destroy(dukd_answers *a); /* NULL allowed */

void dukd_answers_begin(dukd_answers *a); /* a new step: what was answered is forgotten */
/* The network's weights have changed: what was answered is kept, but answers nothing that is asked from now on. */
void dukd_answers_stale(dukd_answers *a);
/* Asks for `outputs`, which are those of a question that was announced, for `input` (N x 3 x h x w, f32, any strides), which stays as it
 * is until the next step begins. *ticket tells the answers apart. drops: the network is in training mode and these are the factors of its drop paths, path by
 * path for the input's images (the processor's, copied); such an answer is nobody else's. NULL: evaluation. */
int dukd_answers_want(dukd_answers *a, const dukd_tensor *input, const dukd_value *outputs,
                      int32_t output_count, const float *drops, int32_t *ticket, dukd_failure *f);
int dukd_answers_run(dukd_answers *a,
                     dukd_failure *f); /* everything that was asked for and is not there yet */
/* N x C x H x W of one of the outputs, dense. */
float *dukd_answers_value(const dukd_answers *a, int32_t ticket, dukd_value output);

/* Since the beginning: inputs answered, and their images. */
typedef struct {
    int64_t passes, images;
} dukd_answer_counts;
dukd_answer_counts dukd_answers_counts(const dukd_answers *a);

/* *out: the elements of an f32 tensor of 4 dimensions in the engine's memory, dense; the tensor's own where it is dense. `room` takes
 * the copy otherwise. */
int dukd_dense(dukd_engine *e, const dukd_tensor *t, float *room, const float **out, dukd_failure *f);

#endif
