/* Test data from a hash of (seed, index). */
#include "support/fill.h"

/* SplitMix64 at position i of the stream that starts at the hashed seed. */
static uint64_t hash(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t dukd_fill_bits(uint64_t seed, uint64_t i) {
    return hash(hash(seed + 1) + (i + 1) * 0x9e3779b97f4a7c15u);
}

static double unit(uint64_t seed, int64_t i) {
    return (double)(dukd_fill_bits(seed, (uint64_t)i) >> 11) * 0x1p-53;
}

void dukd_fill_f32(float *out, int64_t count, uint64_t seed, float low, float high) {
    for (int64_t i = 0; i < count; i++) {
        /* 24 bits, so that the product with an exactly representable range stays below `high`. */
        double u = (double)(dukd_fill_bits(seed, (uint64_t)i) >> 40) * 0x1p-24;
        out[i] = (float)(low + ((double)high - low) * u);
        if (out[i] >= high) out[i] = low;
    }
}

void dukd_fill_f64(double *out, int64_t count, uint64_t seed, double low, double high) {
    for (int64_t i = 0; i < count; i++) out[i] = low + (high - low) * unit(seed, i);
}

void dukd_fill_u8(uint8_t *out, int64_t count, uint64_t seed) {
    for (int64_t i = 0; i < count; i++) out[i] = (uint8_t)(dukd_fill_bits(seed, (uint64_t)i) >> 56);
}
