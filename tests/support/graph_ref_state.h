/* Inside the oracle for engines: a run, and the operations whose loops are long. */
#ifndef DUKD_TEST_GRAPH_REF_STATE_H
#define DUKD_TEST_GRAPH_REF_STATE_H

#include "support/graph_ref.h"

struct dukd_graph_ref {
    const dukd_graph *g;
    int32_t images;
    int64_t (*sizes)[2]; /* height and width of every value */
    double *weights;
    double *drops; /* drop paths x images */
    double **values;
};

/* One plane of a value: rows x columns of image n and channel c. `all` is the value, or its gradient. */
double *dukd_ref_plane(const dukd_graph_ref *r, double *all, dukd_value v, int32_t n, int32_t c);
double *dukd_ref_zeros(int64_t count); /* the caller frees it; fails the test where there is no memory */

/* Forward from r->values into r->values[v]; backward from grads[v] onto (+=) grads of the operands and d_weights. */
void dukd_ref_conv(const dukd_graph_ref *r, dukd_value v);
void dukd_ref_conv_back(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights);
void dukd_ref_layer_norm(const dukd_graph_ref *r, dukd_value v);
void dukd_ref_layer_norm_back(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights);
void dukd_ref_attention(const dukd_graph_ref *r, dukd_value v);
void dukd_ref_attention_back(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights);
/* With `back` the gradient goes from grads[v] to grads of the operand, else values forward. */
void dukd_ref_shuffle(const dukd_graph_ref *r, dukd_value v, double *const *all, int back);
void dukd_ref_channels(const dukd_graph_ref *r, dukd_value v, double *const *all, int back);
void dukd_ref_pool(const dukd_graph_ref *r, dukd_value v, double *const *grads, int back);
void dukd_ref_max_pool(const dukd_graph_ref *r, dukd_value v, double *const *grads, int back);
void dukd_ref_resize(const dukd_graph_ref *r, dukd_value v, double *const *all, int back);

#endif
