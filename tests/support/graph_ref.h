/* The oracle for engines: a graph run forward and backward in double precision by plain loops.
 *
 * Fails the running cmocka test where there is no memory or where it is misused. Not made to be fast: some 10^8
 * multiply-adds take a second. */
#ifndef DUKD_TEST_GRAPH_REF_H
#define DUKD_TEST_GRAPH_REF_H

#include <stdint.h>

#include "graph/graph.h"

typedef struct dukd_graph_ref dukd_graph_ref;

/* Runs the graph forward and keeps every value. weights: dukd_graph_weights elements; input: images x C x h x w. Both are
 * read here only. The graph must outlive the result. */
dukd_graph_ref *dukd_graph_ref_run(const dukd_graph *g, const float *weights, int32_t images, int32_t h,
                                   int32_t w, const float *input);
/* The same in training: drops[i * images + n] is the factor of drop path i and image n; NULL: 1 everywhere. */
dukd_graph_ref *dukd_graph_ref_run_drops(const dukd_graph *g, const float *weights, int32_t images, int32_t h,
                                         int32_t w, const float *input, const float *drops);
void dukd_graph_ref_free(dukd_graph_ref *r); /* NULL is allowed */

/* A value of the run, images x channels x height x width (dukd_graph_size), and its number of elements. */
const double *dukd_graph_ref_value(const dukd_graph_ref *r, dukd_value v);
int64_t dukd_graph_ref_count(const dukd_graph_ref *r, dukd_value v);

/* Backward from any values at once: d_outputs[i] is d(loss)/d(outputs[i]), shaped like that value, or NULL for zero. A
 * value may be named twice: its gradients add up. Adds to d_weights, and to d_input where it is not NULL, so both start
 * as zeros. May be called any number of times. */
void dukd_graph_ref_backward(const dukd_graph_ref *r, int32_t count, const dukd_value *outputs,
                             const float *const *d_outputs, double *d_weights, double *d_input);

#endif
