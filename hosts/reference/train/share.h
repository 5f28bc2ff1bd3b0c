/* A network whose parameters are part of another's: each is the leading block, along every dimension, of the parameter of the same
 * name. So a student with a quarter of its teacher's channels is the first quarter of them (CSD, Wang et al. 2021).
 *
 * Leading blocks are right for the convolutions before a pixel shuffle too: channel c of the shuffled map is made of channels
 * c r^2 .. c r^2 + r^2 - 1, so the first C r^2 of them are the first C channels, as the authors' code cuts them. The image's three
 * channels are all there in both. [thread-safe to use] */
#ifndef DUKD_SHARE_H
#define DUKD_SHARE_H

#include "common/failure.h"
#include "engine/arrays.h"
#include "graph/graph.h"

typedef struct {
    const dukd_graph *part, *whole;
    int32_t *at; /* [parameters of part] the parameter of whole that each is the beginning of */
} dukd_share;

/* DUKD_MISUSED, naming the parameter and both shapes, where `part` is no part of `whole`, and for networks whose channels are not one
 * after the other (attention, concatenated or cut maps, groups). The graphs outlive *out. */
int dukd_share_open(dukd_share *out, const dukd_graph *part, const dukd_graph *whole, dukd_failure *f);
void dukd_share_close(dukd_share *s); /* zeroed allowed */

/* part_values[dukd_graph_weights(part)] = the leading blocks of whole_values. */
void dukd_share_take(const dukd_share *s, const float *whole_values, float *part_values);
/* Adds the part's values to the leading blocks, and clears them: gradients are handed over, once. */
void dukd_share_give(const dukd_share *s, float *part_values, float *whole_values);

/* The same of arrays in an engine's memory. */
int dukd_share_take_there(const dukd_share *s, dukd_engine *e, const float *whole_values, float *part_values,
                          dukd_failure *f);
int dukd_share_give_there(const dukd_share *s, dukd_engine *e, float *part_values, float *whole_values,
                          dukd_failure *f);

#endif
