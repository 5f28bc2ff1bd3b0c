/* Means over ranks on their devices, by NCCL: one process a device, started by MPI, which carries the id around.
 *
 * Means run in a stream of their own: what was enqueued before gpu_ranks_mean is done before it, what is enqueued after it runs beside
 * it until gpu_ranks_join. So gradients are averaged while backward goes on. All of it can be captured into a graph.
 *
 * NCCL is opened at run time (libnccl.so.2: beside this module, then as the loader finds it). Ranks call in the same order with the same
 * counts, and get the same bits; from run to run the bits are the same for a number of ranks and their wiring (NCCL chooses its algorithm by
 * these). [one thread at a time] */
#ifndef DUKD_GPU_RANKS_H
#define DUKD_GPU_RANKS_H

#include <stdint.h>

#include "common/failure.h"

#define GPU_RANKS_ID_BYTES 128

typedef struct gpu_ranks gpu_ranks;

/* On one rank; the others get it from that one, and call with NULL. A machine without NCCL, or with another major version: a message that
 * says so. */
int gpu_ranks_make_id(char id[GPU_RANKS_ID_BYTES], dukd_failure *f);

/* On all ranks at once, each with its device current: waits for the others. `stream`: cudaStream_t of the engine. */
int gpu_ranks_open(gpu_ranks **out, const char id[GPU_RANKS_ID_BYTES], int32_t rank, int32_t ranks,
                   void *stream, dukd_failure *f);
/* Waits for what runs, unless `broken`: then a rank may never come to it. No graph has its sums any more (NCCL waits for that). NULL allowed. */
void gpu_ranks_close(gpu_ranks *r, int broken);

/* x[i] = the mean of all ranks' x[i], f32 in device memory. */
int gpu_ranks_mean(gpu_ranks *r, float *x, int64_t count, dukd_failure *f);
/* *flag (0 or 1, in device memory) = 1 where any rank's is; begun like a mean. */
int gpu_ranks_any(gpu_ranks *r, int32_t *flag, dukd_failure *f);
/* What is enqueued on the engine's stream from now on waits for the means begun. */
int gpu_ranks_join(gpu_ranks *r, dukd_failure *f);
/* Has a rank been lost, the network broken, or a sum been refused, as far as NCCL knows? It does not wait. */
int gpu_ranks_check(gpu_ranks *r, dukd_failure *f);

#endif
