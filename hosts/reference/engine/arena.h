/* Memory of an engine: counted allocations, and a plan that lets buffers with disjoint lifetimes share addresses. */
#ifndef DUKD_ARENA_H
#define DUKD_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

/* Bytes held now and the most ever held. */
typedef struct {
    int64_t now, peak;
} dukd_memory_count;

/* A block aligned for vectors and pages; grows, never shrinks. */
typedef struct {
    char *data;
    int64_t bytes;
} dukd_block;

/* Makes the block at least `bytes` large. `keep`: its contents survive (old and new exist together for a moment). After a failure it is
 * as before, or empty when `keep` is 0. `what` is for the message. */
int dukd_block_reserve(dukd_block *b, int64_t bytes, int keep, dukd_memory_count *count, const char *what,
                       dukd_failure *f);
void dukd_block_free(dukd_block *b, dukd_memory_count *count);

/* Makes room for one more element of a growing array of the processor's memory, which is not counted. */
int dukd_grow(void **array, int32_t count, int32_t *room, size_t element, dukd_failure *f);

/* A buffer of a plan. It holds its bytes from step `first` to step `last`, both included. */
typedef struct {
    int64_t bytes;
    int32_t first, last;
    int64_t offset; /* filled by dukd_arena_plan, a multiple of 4 KiB */
} dukd_buffer;

/* Chooses offsets so that buffers that live at a common step do not overlap; best fit, largest first. *total: bytes needed. */
int dukd_arena_plan(dukd_buffer *buffers, int32_t count, int64_t *total, dukd_failure *f);

#endif
