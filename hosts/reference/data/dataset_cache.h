/* Decoded image pairs shared by threads: the ones used last are kept, within a limit of bytes.
 *
 * A pair that is not there is made by the thread that asks for it first, outside the lock; others that ask for the same pair wait
 * for it, others that do not go on. Room is made before a pair is made, so that the bytes held stay within the limit, or, where
 * the pairs in use are more than that, within these. [all thread-safe] */
#ifndef DUKD_DATASET_CACHE_H
#define DUKD_DATASET_CACHE_H

#include <stdint.h>

#include "common/failure.h"
#include "data/image.h"

typedef struct dukd_cache dukd_cache;

typedef struct {
    dukd_image lr, hr;
} dukd_image_pair;

/* Makes pair i; both images are created, or zeroed where it fails. Called by several threads at once. */
typedef int (*dukd_cache_make)(const void *context, int64_t i, dukd_image_pair *out, dukd_failure *f);

/* limit: bytes; below 1 nothing is kept that is not in use. */
int dukd_cache_create(dukd_cache **out, int64_t count, int64_t limit, dukd_cache_make make,
                      const void *context, dukd_failure *f);
void dukd_cache_destroy(dukd_cache *c); /* every pair given back; NULL allowed */
/* Pair i, made now or before; bytes: what its samples need. It stays as it is until dukd_cache_put. What cannot be made is an
 * error for all who wait for it, and is tried again by the next who asks. */
int dukd_cache_get(dukd_cache *c, int64_t i, int64_t bytes, const dukd_image_pair **pair, dukd_failure *f);
void dukd_cache_put(dukd_cache *c, int64_t i);

typedef struct {
    int64_t made, found;       /* calls of get that made their pair; that found it or waited for it */
    int64_t bytes, peak_bytes; /* held now; the most ever */
} dukd_cache_counts;
dukd_cache_counts dukd_cache_measure(dukd_cache *c);

#endif
