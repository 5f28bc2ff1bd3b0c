/* The network of the step's benchmarks. */
#ifndef DUKD_BENCH_EDSR_H
#define DUKD_BENCH_EDSR_H

#include "graph/graph.h"

/* EDSR x4 of 3 channels with `feat` channels and `blocks` residual blocks (numbers as text), scaled by .1; NULL: `f` says why. */
dukd_graph *dukd_bench_edsr(const char *feat, const char *blocks, dukd_failure *f);

#endif
