/* Draws of drop paths. */
#include "train/drops.h"

#include "common/random.h"

/* One stream for each image: its seed is drawn by the iteration, its index says which image of which tap it is. */
void dukd_drops_draw(const dukd_graph *g, const dukd_drop_key *key, int32_t images, float *factors) {
    dukd_random of_iteration = dukd_random_stream(key->seed, DUKD_RANDOM_DROP_PATH, (uint64_t)key->iteration);
    const uint64_t seed = dukd_random_bits(&of_iteration);
    const uint64_t place = (uint64_t)(key->network & 0xf) << 12 | (key->pass & 0x3f) << 6 | (key->tap & 0x3f);
    for (int32_t n = 0; n < images; n++) {
        const uint64_t sample = (uint64_t)(key->first_sample + n % key->batch),
                       copy = (uint64_t)(n / key->batch);
        dukd_random r =
            dukd_random_stream(seed, DUKD_RANDOM_DROP_PATH, sample << 24 | (copy & 0xff) << 16 | place);
        for (int32_t i = 0; i < dukd_graph_drop_count(g); i++) {
            const double p = dukd_graph_drop_probability(g, i);
            factors[(int64_t)i * images + n] = dukd_random_unit(&r) < p ? 0 : (float)(1 / (1 - p));
        }
    }
}
