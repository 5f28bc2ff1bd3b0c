/* The convolutions of a graph and nothing else: what an engine's time is measured against.
 *
 * Every distinct shape is timed by itself, over and over on the same memory, in the layout that oneDNN is fastest in of NHWC, blocks of
 * 16 channels and its own choice, with packed weights and no reorder: as fast as oneDNN's convolutions get. */
#ifndef DUKD_BARE_CONVS_H
#define DUKD_BARE_CONVS_H

#include "engine/onednn/dnnl_conv.h"
#include "graph/graph.h"

typedef struct dukd_bare_convs dukd_bare_convs;

int dukd_bare_create(dukd_bare_convs **out, dukd_type type, dukd_failure *f);
void dukd_bare_destroy(dukd_bare_convs *b);

/* Adds the graph's convolutions on images x height x width: `times` times. `group`: 0..3, by which times are summed. kind FORWARD, or one of the gradients
 * (the first convolution has no data gradient: nobody wants the input's). */
int dukd_bare_add(dukd_bare_convs *b, int group, const dukd_graph *g, dukd_conv_kind kind, int32_t images,
                  int32_t height, int32_t width, double times, dukd_failure *f);
/* One round over all shapes; the first also chooses layouts. Keeps each shape's best time. */
int dukd_bare_measure(dukd_bare_convs *b, dukd_failure *f);
double dukd_bare_seconds(const dukd_bare_convs *b, int group);
double dukd_bare_multiply_adds(const dukd_bare_convs *b, int group);
void dukd_bare_print(const dukd_bare_convs *b); /* to standard output, a line a shape */

#endif
