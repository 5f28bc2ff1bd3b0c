/* Deterministic test data: the same numbers on every machine for a seed. [thread-safe] */
#ifndef DUKD_TEST_FILL_H
#define DUKD_TEST_FILL_H

#include <stdint.h>

/* count draws, uniform in [low, high). Element i depends on (seed, i) alone. */
void dukd_fill_f32(float *out, int64_t count, uint64_t seed, float low, float high);
void dukd_fill_f64(double *out, int64_t count, uint64_t seed, double low, double high);
void dukd_fill_u8(uint8_t *out, int64_t count, uint64_t seed);
/* One draw by itself: 64 random bits for (seed, i). */
uint64_t dukd_fill_bits(uint64_t seed, uint64_t i);

#endif
