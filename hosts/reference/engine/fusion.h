/* From a graph to fused nodes: what a backend runs, still without a backend in sight.
 *
 * A node is an operation together with what follows it at no cost: a convolution with its ReLU, or with its scale and
 * residual addition; the input's conversion with the network's first affine map, the outputs' with the last. Only
 * operations that the asked outputs need become nodes. A value that is asked for, or has several readers, is never
 * fused away.
 *
 * Channel order. The channels of a value in memory may be permuted for the pixel shuffle that reads them: with order r > 1
 * the channel of memory at (i r + j) C + c is the graph's channel c r^2 + i r + j, so that a shuffle copies runs of C.
 *
 * A shuffle that feeds nothing but a convolution with few outputs vanishes: the convolution is done at the lower
 * resolution, with r^2 outputs for each of its own (in order r), and the shuffle is left to the output's conversion.
 * Zero padding agrees: a pixel outside the large image belongs to a pixel outside the small one. */
#ifndef DUKD_FUSION_H
#define DUKD_FUSION_H

#include "graph/graph.h"

typedef enum {
    DUKD_NODE_INPUT, /* caller's N x C x H x W -> memory, times factors, plus shifts */
    DUKD_NODE_CONV,  /* see dukd_node */
    DUKD_NODE_RELU,
    DUKD_NODE_SCALE,
    DUKD_NODE_ADD,
    DUKD_NODE_SHUFFLE, /* pixel shuffle by r; reads order r or 1, writes order 1 */
    DUKD_NODE_AFFINE,
    DUKD_NODE_OUTPUT, /* memory -> caller's N x C x H x W, times factors, plus shifts, shuffled by `order` if `spread` */
} dukd_node_kind;

typedef struct {
    dukd_node_kind kind;
    int32_t in[2]; /* nodes whose values are read; -1: none. CONV: source, and the residual that is added */
    int32_t channels; /* of the value in memory, padding not counted; OUTPUT: of the caller's tensor */
    int32_t up; /* resolution of the value in memory relative to the input; OUTPUT: of the caller's tensor */
    int32_t order;                 /* of the channels in memory, see above; OUTPUT: of what it reads */
    int32_t spread;                /* CONV: r of the shuffle it swallowed, else 1. OUTPUT: its source's */
    int32_t shuffle;               /* SHUFFLE: r */
    int32_t weight, bias;          /* CONV: parameters, -1 where there is none */
    int32_t kernel;                /* CONV: of the parameter */
    int32_t relu;                  /* CONV: ends with ReLU */
    float scale;                   /* CONV: factor of weights and bias; SCALE: factor */
    const float *factors, *shifts; /* INPUT, OUTPUT, AFFINE: one a channel, NULL: 1 and 0 */
    int32_t output;                /* OUTPUT: which of the outputs */
    int32_t last;                  /* CONV: read by OUTPUT nodes only */
    int32_t trained;               /* the value depends on parameters */
} dukd_node;

typedef struct {
    dukd_node *nodes; /* in an order of execution */
    int32_t count;
} dukd_fused;

/* `outputs`: values of the graph, `output_count` >= 1; a value may be there twice. */
int dukd_fuse(dukd_fused *out, const dukd_graph *g, const dukd_value *outputs, int32_t output_count,
              dukd_failure *f);
void dukd_fused_free(dukd_fused *fused);

/* Half the extent of a convolution's kernel as it is run: k / 2, or less at the lower resolution of a swallowed shuffle. */
int32_t dukd_node_radius(const dukd_node *conv);

#endif
