/* Matrix products of the CPU backend: the own kernels, or oneDNN's by the module beside libdukd. */
#ifndef DUKD_CPU_PRODUCTS_H
#define DUKD_CPU_PRODUCTS_H

#include "cpu_kernels.h"
#include "onednn/onednn_module.h"

typedef struct {
    const dukd_kernels *kernels;
    bool looked;               /* for the module */
    dukd_onednn_module module; /* product NULL: the own kernels */
    char detail[224];          /* what is used, and why not oneDNN */
} dukd_products;

/* Looks for the module at `path`, NULL: in the folder of the file that this code is in. Once: later calls change nothing. */
void dukd_products_open(dukd_products *p, const char *path);

/* c (+)= op(a) op(b), op(a) m x k, op(b) k x n; rows ld_ elements apart. scratch[0]: room for k x m floats, m rounded up to 16, of
 * this thread's, unless trans_a; scratch[1]: for k x n where trans_b. False: the library failed. [thread-safe] */
typedef struct {
    const float *a, *b;
    float *c;
    int64_t m, n, k, lda, ldb, ldc;
    bool trans_a, trans_b, accumulate;
    float *scratch[2];
} dukd_products_job;
bool dukd_products_run(const dukd_products *p, const dukd_products_job *job);

#endif
