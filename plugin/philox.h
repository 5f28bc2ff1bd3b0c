/* Philox 4x32 with 10 rounds: a keyed bijection of 128 bits that serves as a counter-based generator.
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Tested against the
 * authors' vectors. (The hosts have one of their own: plugin and hosts share nothing but the ABI.) */
#ifndef DUKD_PHILOX_H
#define DUKD_PHILOX_H

#include <stdint.h>

/* [thread-safe] */
void dukd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
