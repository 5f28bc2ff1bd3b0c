/* Initial weights: a stream of draws for each element instead of one for all. */
#include <math.h>
#include <stdint.h>

#include "common/random.h"
#include "graph/graph.h"
#include "graph/graph_random.h"

/* Standard normal, by Box and Muller. */
static double normal(dukd_random *r) {
    double u = 1 - dukd_random_unit(r), v = dukd_random_unit(r); /* u in (0, 1]: its logarithm is finite */
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

float dukd_graph_initial_value(dukd_init_kind init, double init_value, uint64_t seed, int32_t index,
                               int64_t element) {
    /* A graph has fewer than 2^24 parameters of fewer than 2^40 elements. */
    dukd_random r = dukd_random_stream(seed, DUKD_RANDOM_WEIGHTS, (uint64_t)index << 40 | (uint64_t)element);
    switch (init) {
    case DUKD_INIT_CONSTANT:
        break;
    case DUKD_INIT_UNIFORM:
        return (float)(init_value * (2 * dukd_random_unit(&r) - 1));
    case DUKD_INIT_TRUNC_NORMAL:
        /* Cut by drawing again, at an absolute 2 as torch does, whatever sigma is. A sigma so large that 1000
         * draws in a row miss the interval gives the bound. */
        for (int attempt = 0; attempt < 1000; attempt++) {
            double x = init_value * normal(&r);
            if (fabs(x) <= 2) return (float)x;
        }
        return 2;
    }
    return (float)init_value;
}

void dukd_graph_init(const dukd_graph *g, uint64_t seed, float *weights) {
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        for (int64_t e = 0; e < p->count; e++)
            weights[p->offset + e] = dukd_graph_initial_value(p->init, p->init_value, seed, i, e);
    }
}
