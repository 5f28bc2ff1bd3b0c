/* FAKD's affinity as its formula says it, in double: what the backends' kernels are compared with. */
#ifndef DUKD_TEST_AFFINITY_LITERAL_H
#define DUKD_TEST_AFFINITY_LITERAL_H

#include <stdint.h>

/* A feature map N x C x H x W of any kind. */
typedef struct {
    const int64_t *shape; /* [4] */
    const void *tensor;
    double (*get)(const void *tensor, int64_t n, int64_t c, int64_t h, int64_t w);
} affinity_map;

/* sum of |A_S - A_T|; grad [N][C][P], may be NULL, of the sum times factor. *size: the largest element before what points along the
 * column is taken out, which is what rounding goes by (of one channel, or one pixel, nothing is left). */
double affinity_literal(const affinity_map *s, const affinity_map *t, double factor, double *grad,
                        double *size);

#endif
