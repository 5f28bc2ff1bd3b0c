/* A convolution of dnnl_conv.h, between dnnl_conv.c (packing, running) and dnnl_conv_make.c (what oneDNN is asked for). */
#ifndef DUKD_DNNL_CONV_STATE_H
#define DUKD_DNNL_CONV_STATE_H

#include "engine/onednn/dnnl_compat.h"

typedef enum { ROLE_SOURCE, ROLE_WEIGHTS, ROLE_BIAS, ROLE_DEST, ROLE_ADDEND, ROLE_SCRATCH } dukd_conv_role;

/* A weight gradient that is a matrix product: in x out, or out x in. */
enum { DUKD_PRODUCT_TALL = 1, DUKD_PRODUCT_WIDE };

enum { DUKD_CONV_ARGS = 6 };

struct dukd_conv {
    dukd_conv_spec spec;
    dukd_dnnl *dnnl;
    int product;                      /* 0: a convolution */
    dnnl_primitive_desc_t hint, desc; /* hint: forward's, for gradients */
    dnnl_primitive_t primitive, reorder;
    dnnl_memory_t plain, packed;      /* of the reorder: plain <-> packed */
    dukd_description product_weights; /* of a product */
    int64_t source_bytes, dest_bytes, packed_bytes, scratch_bytes;
    dnnl_exec_arg_t args[DUKD_CONV_ARGS];
    dukd_conv_role roles[DUKD_CONV_ARGS];
    int arg_count;
};

/* Fills `product`, the descriptions, the primitive and the arguments of a convolution that has spec and dnnl. */
dnnl_status_t dukd_conv_make(dukd_conv *c);

/* Of the weights as the caller gives them (plain), or as oneDNN likes them best; and as they are packed. */
dnnl_status_t dukd_conv_describe_weights(dukd_description *out, const dukd_conv_spec *s,
                                         dnnl_data_type_t type, int plain);
dukd_description_ref dukd_conv_packed_description(const dukd_conv *c);

#endif
