/* From a graph to fused nodes: what a backend runs, still without a backend in sight.
 *
 * A node is an operation together with what follows it at no cost: a convolution with its activation, or with its scale and
 * residual addition; a product with its scale and addition; the input's conversion with the network's first affine map, the
 * outputs' with the last. Only operations that the asked outputs need become nodes. A value that is asked for, or has
 * several readers, is never fused away.
 *
 * Channel order. The channels of a value in memory may be permuted for the pixel shuffle that reads them: with order r > 1
 * the channel of memory at (i r + j) C + c is the graph's channel c r^2 + i r + j, so that a shuffle copies runs of C.
 *
 * A shuffle that feeds nothing but a convolution with few outputs vanishes: the convolution is done at the lower
 * resolution, with r^2 outputs for each of its own (in order r), and the shuffle is left to the output's conversion.
 * Zero padding agrees: a pixel outside the large image belongs to a pixel outside the small one. A shuffle between a
 * convolution and nothing but outputs is left to their conversion too. */
#ifndef DUKD_FUSION_H
#define DUKD_FUSION_H

#include "graph/graph.h"

typedef enum {
    DUKD_NODE_INPUT, /* caller's N x C x H x W -> memory, times factors, plus shifts */
    DUKD_NODE_CONV,  /* in: source, residual that is added or -1; see dukd_node */
    DUKD_NODE_RELU,  /* op->factor is the slope */
    DUKD_NODE_SCALE,
    DUKD_NODE_ADD,
    DUKD_NODE_SHUFFLE, /* pixel shuffle by op->kernel; reads order r or 1, writes order 1 */
    DUKD_NODE_AFFINE,
    DUKD_NODE_GELU,
    DUKD_NODE_SIGMOID,
    DUKD_NODE_MUL, /* in: two factors, and what is added or -1; scale times the product */
    DUKD_NODE_CONCAT,
    DUKD_NODE_SLICE,
    DUKD_NODE_LAYER_NORM,
    DUKD_NODE_ATTENTION,
    DUKD_NODE_DROP_PATH, /* in: what is dropped, and what is added to it or -1 */
    DUKD_NODE_MEAN,
    DUKD_NODE_DEVIATION,
    DUKD_NODE_MAX_POOL,
    DUKD_NODE_RESIZE,
    DUKD_NODE_OUTPUT, /* memory -> caller's N x C x H x W, times factors, plus shifts, shuffled by `order` if `spread` */
} dukd_node_kind;

typedef enum { DUKD_ACT_NONE, DUKD_ACT_RELU, DUKD_ACT_GELU } dukd_activation;

typedef struct {
    dukd_node_kind kind;
    const dukd_op
        *op; /* of the graph, which it computes or begins with; what this structure does not say is there */
    int32_t in[DUKD_OP_MAX_OPERANDS]; /* nodes whose values are read; -1: none */
    int32_t channels; /* of the value in memory, padding not counted; OUTPUT: of the caller's tensor */
    int32_t
        up; /* resolution of the value in memory relative to the input, 0 where there is none; OUTPUT: of the caller's */
    dukd_value size_of; /* has the size of the value in memory (dukd_graph_size); OUTPUT: of what it reads */
    int32_t order;      /* of the channels in memory, see above; OUTPUT: of what it reads */
    int32_t
        spread; /* CONV: r of the shuffle it swallowed, else 1. OUTPUT: of the shuffle left to it, else 1 */
    dukd_activation act;           /* CONV: ends with it */
    float slope;                   /* CONV with ReLU */
    float scale;                   /* CONV: factor of weights and bias; SCALE, MUL: factor */
    const float *factors, *shifts; /* INPUT, OUTPUT, AFFINE: one a channel, NULL: 1 and 0 */
    int32_t output;                /* OUTPUT: which of the outputs */
    int32_t last;                  /* CONV: read by OUTPUT nodes only */
    int32_t trained;               /* the value depends on parameters */
} dukd_node;

typedef struct {
    dukd_node *nodes; /* in an order of execution */
    int32_t count;
} dukd_fused;

/* What the nodes are for. */
typedef struct {
    int32_t train; /* a backward follows: GELU keeps its source, and is a node */
    int32_t drops; /* drop paths have factors; 0: they are all 1, and no nodes */
} dukd_fuse_mode;

/* `outputs`: values of the graph, `output_count` >= 1; a value may be there twice. */
int dukd_fuse(dukd_fused *out, const dukd_graph *g, const dukd_value *outputs, int32_t output_count,
              dukd_fuse_mode mode, dukd_failure *f);
void dukd_fused_free(dukd_fused *fused);

/* What the gradient of node i reads of the values that it reads and makes: keep[n] is set where it is node n's, again[n] where it is the
 * source of a convolution, which may be kept or computed again. Arrays of one number a node. */
void dukd_fused_note_kept(const dukd_fused *fused, int32_t i, int32_t *keep, int32_t *again);

/* A convolution as it is run: side of its kernel, and rows of padding before and behind. */
int32_t dukd_node_side(const dukd_node *conv);
int32_t dukd_node_padding(const dukd_node *conv);
/* Stride 1, one group, as many pixels out as in: what bands, transposed weights and shuffles know. */
int32_t dukd_node_is_plain(const dukd_node *conv);

#endif
