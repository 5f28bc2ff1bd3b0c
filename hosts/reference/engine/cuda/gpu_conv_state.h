/* Between gpu_conv.c and the two libraries' files: what one call of a library computes, and who makes and runs it. */
#ifndef DUKD_GPU_CONV_STATE_H
#define DUKD_GPU_CONV_STATE_H

#include <stdbool.h>

#include "gpu_libraries.h"

/* What a library is asked for: a part of the specification. Tensors that the kind reads have type `type`, what it writes has out_type.
 * FORWARD: out = act(conv + bias) + addend, of those that the call has. DATA_GRADIENT: with `addend`, dx is added to. */
typedef struct {
    gpu_conv_spec spec;
    int32_t out_height, out_width;
    dukd_type type, out_type;
    int32_t bias, addend;
    dukd_type bias_type; /* of what the operands' bias points to */
    dukd_activation act;
    int32_t tf32;
    int64_t workspace_limit; /* bytes */
} gpu_conv_call;

/* Why a library will not compute a call; the last reason is kept. */
typedef struct {
    char text[512];
} gpu_refusal;

typedef struct gpu_graph gpu_graph;     /* a plan of cuDNN */
typedef struct gpu_product gpu_product; /* a product of cuBLASLt */

/* DUKD_DONE with *out NULL: the library has nothing for this call, and `why` says it; another call may do. */
int gpu_graph_create(gpu_graph **out, gpu_libraries *l, const gpu_conv_call *call, gpu_refusal *why,
                     dukd_failure *f);
void gpu_graph_destroy(gpu_graph *g); /* NULL allowed */
int64_t gpu_graph_workspace(const gpu_graph *g);
/* The operands of the call: an addend that the call has must not be `out`, but for DATA_GRADIENT, whose operands have none. */
int gpu_graph_run(gpu_graph *g, const gpu_conv_operands *o, dukd_failure *f);

/* What is avoided: engines of cuDNN with known faults on this device, and what DUKD_CUDNN_AVOID in the environment names, parted by
 * commas: forward:N, data:N, weights:N are engines (DUKD_CUDNN_TELL prints those that are taken); fusion, sums: graphs that do more than
 * the convolution, or that add to a gradient. (gpu_faults.c) */
bool gpu_avoids_engine(const gpu_libraries *l, gpu_conv_kind kind, int64_t engine);
bool gpu_avoids(const gpu_libraries *l, const char *word);

/* Whether a product of matrices computes it. */
int gpu_product_fits(const gpu_conv_spec *s);
int gpu_product_create(gpu_product **out, gpu_libraries *l, const gpu_conv_call *call, gpu_refusal *why,
                       dukd_failure *f);
void gpu_product_destroy(gpu_product *p); /* NULL allowed */
int64_t gpu_product_workspace(const gpu_product *p);
int gpu_product_run(gpu_product *p, const gpu_conv_operands *o, dukd_failure *f); /* addend may be out */

#endif
