/* How much the caches hold: decides whether results are written past them. */
#ifndef DUKD_CPU_CACHE_H
#define DUKD_CPU_CACHE_H

#include <stdint.h>

/* Bytes of the last-level cache as the processor states them; a cautious guess where it does not. No file is
 * opened. [thread-safe] */
int64_t dukd_cache_last_level_bytes(void);

#endif
