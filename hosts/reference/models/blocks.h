/* Parts that several networks are made of, with BasicSR's names. All ignore a graph that has failed.
 *
 * [as graph.h] */
#ifndef DUKD_BLOCKS_H
#define DUKD_BLOCKS_H

#include "graph/graph.h"

enum { DUKD_BLOCKS_COLOURS = 3 }; /* BasicSR's classes run with three channels only: their mean has three */

/* (x - mean) * range, and back at the other end: x / range + mean. */
dukd_value dukd_blocks_colours_in(dukd_graph *g, dukd_value x, const double mean[3], double range);
dukd_value dukd_blocks_colours_out(dukd_graph *g, dukd_value x, const double mean[3], double range);

/* BasicSR's Upsample: convolutions NAME.0, NAME.2, .. with pixel shuffles between them, by 3 or by 2 as often as
 * needed. The result is layer NAME. `scale` is one that dukd_blocks_check_scale takes. */
dukd_value dukd_blocks_upsample(dukd_graph *g, dukd_value x, int32_t feat, int32_t scale, const char *name);
/* DUKD_MISUSED unless scale is 3 or a power of two. */
int dukd_blocks_check_scale(int32_t scale, const char *network, dukd_failure *f);

/* A 3 x 3, 1 x 1, .. convolution whose name is made as printf does. */
dukd_value dukd_blocks_conv(dukd_graph *g, dukd_value x, int32_t out_channels, int32_t kernel,
                            const char *format, ...) __attribute__((format(printf, 5, 6)));
dukd_value dukd_blocks_conv_shape(dukd_graph *g, dukd_value x, const dukd_conv_shape *shape,
                                  const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
