/* oneDNN's C interface as one, whichever of 2.6 and 3.x it is: dnnl_compat.h and .c are the only files that know that there are
 * two. In oneDNN 2 descriptions are structures and an operation's description is a step of its own; in oneDNN 3
 * descriptions are handles and that step is gone. Included by dnnl_*.c, and by the benchmark of bare products. */
#ifndef DUKD_DNNL_COMPAT_H
#define DUKD_DNNL_COMPAT_H

#include <oneapi/dnnl/dnnl.h>
#include <stdint.h>

#include "engine/onednn/dnnl_conv.h"

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t dukd_description;           /* owned */
typedef const_dnnl_memory_desc_t dukd_description_ref; /* borrowed */
#define DUKD_REF(d) (d)
#else
typedef dnnl_memory_desc_t dukd_description;
typedef const dnnl_memory_desc_t *dukd_description_ref;
#define DUKD_REF(d) (&(d))
#endif

struct dukd_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

int dukd_dnnl_failed(dukd_failure *f, const char *what, dnnl_status_t status);

/* Descriptions begin as zeros. `strides` NULL: as the tag says. */
dnnl_status_t dukd_describe(dukd_description *out, int ndims, const int64_t *sizes, dnnl_data_type_t type,
                            dnnl_format_tag_t tag);
dnnl_status_t dukd_describe_strides(dukd_description *out, int ndims, const int64_t *sizes,
                                    const int64_t *strides, dnnl_data_type_t type);
void dukd_forget(dukd_description *d);

dnnl_status_t dukd_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha);
dnnl_status_t dukd_append_sum(dnnl_post_ops_t ops);

/* What a convolution and its gradients are described by. */
typedef struct {
    dukd_description_ref source, weights, bias, dest; /* bias NULL: none */
    dnnl_dims_t strides, before, after;
    dnnl_primitive_desc_t hint; /* of the forward, for gradients */
    dnnl_primitive_attr_t attributes;
} dukd_conv_description;

dnnl_status_t dukd_describe_forward(dnnl_primitive_desc_t *out, const dukd_dnnl *d, dnnl_prop_kind_t prop,
                                    const dukd_conv_description *c);
dnnl_status_t dukd_describe_weights_gradient(dnnl_primitive_desc_t *out, const dukd_dnnl *d,
                                             const dukd_conv_description *c);
dnnl_status_t dukd_describe_data_gradient(dnnl_primitive_desc_t *out, const dukd_dnnl *d,
                                          const dukd_conv_description *c);
/* c = a b */
dnnl_status_t dukd_describe_product(dnnl_primitive_desc_t *out, const dukd_dnnl *d, dukd_description_ref a,
                                    dukd_description_ref b, dukd_description_ref c,
                                    dnnl_primitive_attr_t attributes);

#endif
