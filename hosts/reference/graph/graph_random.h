/* Initial weights one at a time: the counter-based draws behind dukd_graph_init. */
#ifndef DUKD_GRAPH_RANDOM_H
#define DUKD_GRAPH_RANDOM_H

#include <stdint.h>

#include "graph/graph.h"

/* The initial value of element `element` of a parameter of kind `init`, `index` being its place in the graph:
 * a pure function of its arguments, so that any part of the weights can be made in any order on any number of
 * threads. [thread-safe] */
float dukd_graph_initial_value(dukd_init_kind init, double init_value, uint64_t seed, int32_t index,
                               int64_t element);

#endif
