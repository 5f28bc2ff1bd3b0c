/* Convolutions and the packing of their weights, by oneDNN.
 *
 * Tensors are plain pointers in the layouts of engine/layout.h; packed weights are opaque bytes. Threads: OpenMP's count of
 * the calling thread, at creation and at every run. [one thread at a time per dukd_dnnl] */
#ifndef DUKD_DNNL_CONV_H
#define DUKD_DNNL_CONV_H

#include "common/failure.h"
#include "engine/layout.h"

typedef struct dukd_dnnl dukd_dnnl; /* oneDNN's engine and stream */

int dukd_dnnl_create(dukd_dnnl **out, dukd_failure *f);
void dukd_dnnl_destroy(dukd_dnnl *d);

void dukd_dnnl_version(char *text, int size); /* "oneDNN 2.6.3", of the library that runs */
/* What oneDNN uses on this machine, which environment variables may limit. */
const char *dukd_dnnl_isa_name(void);
dukd_isa dukd_dnnl_isa(void); /* the best of ours that is not above it */
int dukd_dnnl_has_bf16(void); /* bf16 in hardware */
int dukd_dnnl_can_bf16(void); /* bf16 at all */

typedef enum {
    DUKD_CONV_FORWARD,          /* dest = post(conv(source, weights) + bias) */
    DUKD_CONV_WEIGHTS_GRADIENT, /* weights, bias = gradients of f32, from source and dest (the outputs' gradient) */
    DUKD_CONV_DATA_GRADIENT, /* source = its gradient from dest; for plain convolutions the engine prefers a FORWARD
                                 * with transposed weights, which can also add */
} dukd_conv_kind;

enum { DUKD_ANY_LAYOUT = -1 }; /* in a spec: what oneDNN likes best, for benchmarks */

typedef enum {
    DUKD_POST_NONE,
    DUKD_POST_RELU, /* with `slope` */
    DUKD_POST_GELU, /* with erf */
    DUKD_POST_SUM,  /* dest += */
    DUKD_POST_ADD,  /* dest = .. + addend, a tensor like dest in shape and layout, of the source's type */
} dukd_conv_post;

/* Compared with memcmp: 4 bytes each, and `slope` is never -0. */
typedef struct {
    int32_t kind, post, bias; /* bias 0: none (FORWARD) */
    int32_t images, in_channels, out_channels, groups;
    int32_t height, width; /* of dest */
    int32_t source_height, source_width;
    int32_t side, stride;
    int32_t pad_top, pad_bottom, pad_left, pad_right;
    int32_t source_type, dest_type, source_layout, dest_layout; /* weights have the source's type (FORWARD) */
    float slope;
} dukd_conv_spec;

typedef struct dukd_conv dukd_conv;

int dukd_conv_create(dukd_conv **out, dukd_dnnl *d, const dukd_conv_spec *spec, dukd_failure *f);
void dukd_conv_destroy(dukd_conv *c);
const dukd_conv_spec *dukd_conv_get_spec(const dukd_conv *c);
int64_t dukd_conv_source_bytes(const dukd_conv *c);
int64_t dukd_conv_dest_bytes(const dukd_conv *c);
int64_t dukd_conv_packed_bytes(const dukd_conv *c);  /* of the weights, or of their gradient */
int64_t dukd_conv_scratch_bytes(const dukd_conv *c); /* needed while it runs */
int64_t dukd_conv_weights(const dukd_conv_spec *s);  /* elements of the weights */
double dukd_conv_multiply_adds(const dukd_conv_spec *s);
int dukd_conv_same_packing(const dukd_conv *a, const dukd_conv *b);
/* 0: its DUKD_POST_ADD cannot be trusted (oneDNN 2.6's GEMM convolution reads the addend wrongly in NHWC). */
int dukd_conv_adds(const dukd_conv *c);
/* 1: a WEIGHTS_GRADIENT that leaves the bias's alone (a matrix product): sum the channels of dest. */
int dukd_conv_leaves_bias(const dukd_conv *c);
const char *dukd_conv_implementation(const dukd_conv *c); /* for benchmarks */

/* plain: f32, out x in / groups x side x side. */
int dukd_conv_pack(dukd_conv *c, void *packed, const float *plain, dukd_failure *f);
int dukd_conv_unpack(dukd_conv *c, float *plain, const void *packed, dukd_failure *f);

typedef struct {
    void *source;  /* written by DATA_GRADIENT */
    void *weights; /* packed; written by WEIGHTS_GRADIENT */
    float *bias;   /* the same; NULL: none */
    void *dest;    /* written by FORWARD */
    const void *addend;
    void *scratch;
} dukd_conv_memory;

int dukd_conv_run(dukd_conv *c, const dukd_conv_memory *m, dukd_failure *f);

#endif
