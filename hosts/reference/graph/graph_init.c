/* Initial weights: draws numbered by (seed, parameter, element) instead of taken from a stream. */
#include <math.h>
#include <stdint.h>

#include "graph/graph.h"
#include "graph/graph_random.h"

/* SplitMix64's output function: a bijection of 64 bits in which every input bit reaches every output bit.
 * Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t combine(uint64_t key, uint64_t number) {
    return mix(key + (number + 1) * 0x9e3779b97f4a7c15u);
}

/* Uniform in (0, 1), 53 bits, never 0 or 1. */
static double unit(uint64_t bits) {
    return ((double)(bits >> 11) + .5) * 0x1p-53;
}

/* Standard normal by Box and Muller from the pair of draws number `attempt` of a key. */
static double normal(uint64_t key, uint64_t attempt) {
    double u = unit(combine(key, 2 * attempt)), v = unit(combine(key, 2 * attempt + 1));
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

float dukd_graph_initial_value(dukd_init_kind init, double init_value, uint64_t seed, int32_t index,
                               int64_t element) {
    uint64_t key = combine(combine(mix(seed), (uint64_t)index), (uint64_t)element);
    switch (init) {
    case DUKD_INIT_CONSTANT:
        return (float)init_value;
    case DUKD_INIT_UNIFORM:
        return (float)(init_value * (2 * unit(key) - 1));
    case DUKD_INIT_TRUNC_NORMAL: {
        /* Cut by drawing again, at an absolute 2 as torch does, whatever sigma is. A sigma so large that 1000
         * draws in a row miss the interval gives the bound. */
        for (uint64_t attempt = 0; attempt < 1000; attempt++) {
            double x = init_value * normal(key, attempt);
            if (fabs(x) <= 2) return (float)x;
        }
        return 2;
    }
    }
    return 0;
}

void dukd_graph_init(const dukd_graph *g, uint64_t seed, float *weights) {
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        for (int64_t e = 0; e < p->count; e++)
            weights[p->offset + e] = dukd_graph_initial_value(p->init, p->init_value, seed, i, e);
    }
}
