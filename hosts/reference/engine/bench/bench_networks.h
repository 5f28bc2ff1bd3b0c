/* The networks of the paper's Table 1, inference and a training step, against the bare convolutions and matrix products of
 * their shapes in the same run. */
#ifndef DUKD_BENCH_NETWORKS_H
#define DUKD_BENCH_NETWORKS_H

#include "engine/engine.h"

typedef struct {
    dukd_precision precision;
    int32_t rounds;
    int32_t batch, patch;  /* of training; batch 0: one that takes seconds */
    int32_t height, width; /* of inference */
    const char *only;      /* networks whose name has this; NULL: all */
    int32_t infer, train;
    int32_t verbose, profile;
} dukd_bench_network_options;

int dukd_bench_networks(dukd_engine *e, const dukd_bench_network_options *o, double peak, dukd_failure *f);

#endif
