/* From a convolution's parameters to the weights that are run, and from the gradient of those back to the parameters.
 *
 * A node's weights differ from its parameter's: scaled, its channels reordered, its kernel spread over the lower resolution of
 * a swallowed shuffle (fusion.h), its outputs padded with zeros. "Run" weights are f32, out x in / groups x side x side,
 * row-major. */
#ifndef DUKD_PACKED_WEIGHTS_H
#define DUKD_PACKED_WEIGHTS_H

#include "engine/fusion.h"

typedef struct {
    int32_t out_channels, in_channels;   /* as run: padded, and those of the source in memory */
    int32_t groups, stride;              /* more groups than 1: nothing is padded or reordered */
    int32_t kernel, side;                /* of the parameter, and of the kernel as run */
    int32_t order, source_order, spread; /* of the node and its source */
    float scale;
    const dukd_param *weight, *bias; /* bias NULL: none */
} dukd_run_conv;

/* `source` is the node that `conv` reads, in_memory the channels of its value in memory. `pad`: channels are padded
 * to a multiple of it. */
dukd_run_conv dukd_run_conv_of(const dukd_graph *g, const dukd_node *conv, const dukd_node *source,
                               int32_t in_memory, int32_t pad);

/* Do both run the same parameters in the same way, so that they can share packed weights? */
int dukd_run_conv_same(const dukd_run_conv *a, const dukd_run_conv *b);

int64_t dukd_run_conv_elements(const dukd_run_conv *c); /* of the run weights */

/* flat: all parameters. run: dukd_run_conv_elements; bias: out_channels, may be NULL. transposed: as the weights of a convolution
 * that computes the data gradient from the outputs' gradient: in x out, kernels turned by 180 degrees; one group. */
void dukd_run_conv_pack(const dukd_run_conv *c, const float *flat, float *run, float *bias, int transposed);
/* d_flat += the parameters' gradient, from the run weights' gradient and the run bias's. */
void dukd_run_conv_unpack(const dukd_run_conv *c, float *d_flat, const float *d_run, const float *d_bias);

#endif
