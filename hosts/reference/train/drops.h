/* The draws of drop paths in training: which paths of which image are left out.
 *
 * A factor is 0 with the path's probability p, else 1 / (1 - p). Draws are a pure function of the key below, of the image and of
 * the path, so that neither threads nor a stop in the middle nor the micro-batch change them. [thread-safe] */
#ifndef DUKD_DROPS_H
#define DUKD_DROPS_H

#include <stdint.h>

#include "graph/graph.h"

typedef struct {
    uint64_t seed;
    int64_t iteration;
    int64_t first_sample; /* global index of the batch's first image */
    int32_t
        batch; /* images of the batch; a tap of more has several of each: image n is of sample n % batch */
    uint32_t network, pass,
        tap; /* numbers of the network, of the pass in the plan, and of the tap in the pass */
} dukd_drop_key;

/* factors[i * images + n] for drop path i of the graph and image n, as dukd_exec_set_drops takes them. */
void dukd_drops_draw(const dukd_graph *g, const dukd_drop_key *key, int32_t images, float *factors);

#endif
