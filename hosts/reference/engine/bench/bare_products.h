/* Many small matrix products at once, by oneDNN: what attention's time is measured against. */
#ifndef DUKD_BARE_PRODUCTS_H
#define DUKD_BARE_PRODUCTS_H

#include "engine/onednn/dnnl_conv.h"

typedef struct {
    int64_t count; /* products: images x windows x heads */
    int64_t m, k, n;
} dukd_bare_product;

/* Improves *best, the seconds of all `count` products (m x k times k x n, each dense, all of `type`), by runs for `seconds`. */
int dukd_bare_product_measure(const dukd_bare_product *p, dukd_type type, double seconds, double *best,
                              dukd_failure *f);

#endif
