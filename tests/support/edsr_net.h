/* Networks for tests, without an option file. */
#ifndef DUKD_TEST_EDSR_NET_H
#define DUKD_TEST_EDSR_NET_H

#include <stdint.h>

#include "graph/graph.h"
#include "support/golden.h"

/* Fails the running test where it cannot be built; the caller destroys it. */
/* "num_feat=8 depths=[2,2]": options as words; a word of no value ("qk_scale=null") is null. */
dukd_graph *dukd_test_net(const char *type, const char *words);
dukd_graph *dukd_edsr_net(int32_t feat, int32_t blocks, int32_t upscale, double res_scale);

/* Fills a flat array (dukd_graph_weights elements) from tensors PREFIX.NAME of a golden file; each parameter must be
 * there with its shape. */
void dukd_golden_weights(float *weights, const dukd_graph *g, dukd_golden *file, const char *prefix);

#endif
