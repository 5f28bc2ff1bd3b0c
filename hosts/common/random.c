/* Philox 4x32-10, and words, bounded integers and fractions drawn from it. */
#include "common/random.h"

#include <assert.h>

void dukd_random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0;
        const uint64_t b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

dukd_random dukd_random_stream(uint64_t seed, uint32_t purpose, uint64_t index) {
    return (dukd_random){.seed = seed, .index = index, .purpose = purpose};
}

uint64_t dukd_random_bits(dukd_random *r) {
    if (r->has_waiting) {
        r->has_waiting = 0;
        return r->waiting;
    }
    const uint32_t counter[4] = {(uint32_t)r->index, (uint32_t)(r->index >> 32), r->purpose, r->block++};
    const uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
    uint32_t out[4];
    dukd_random_philox(counter, key, out);
    r->waiting = (uint64_t)out[3] << 32 | out[2];
    r->has_waiting = 1;
    return (uint64_t)out[1] << 32 | out[0];
}

uint64_t dukd_random_below(dukd_random *r, uint64_t bound) {
    assert(bound >= 1);
    /* The 2^64 mod bound lowest words are drawn again: what is left is a whole multiple of bound. */
    const uint64_t refused = (0 - bound) % bound;
    uint64_t word;
    do {
        word = dukd_random_bits(r);
    } while (word < refused);
    return word % bound;
}

double dukd_random_unit(dukd_random *r) {
    return (double)(dukd_random_bits(r) >> 11) * 0x1p-53;
}
