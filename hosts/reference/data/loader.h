/* Batches of random crops, made by worker threads ahead of the trainer.
 *
 * What a batch holds is a pure function of (files, options, iteration), of seed foremost: nothing needs to be saved to resume, and
 * neither workers nor ahead change a bit. Which image, crop and orientation sample k is, sampler.h says. With r ranks and a
 * batch of b on each, rank i of iteration t (from 1) holds samples ((t-1) r + i) b .. + b - 1,
 * plus `shift`. */
#ifndef DUKD_LOADER_H
#define DUKD_LOADER_H

#include <stdint.h>

#include "common/failure.h"
#include "data/dataset.h"

typedef struct dukd_loader dukd_loader;

typedef struct {
    const dukd_dataset *dataset; /* outlives the loader */
    int32_t batch;               /* images a batch on this rank, >= 1 */
    int32_t lr_side;             /* LR patch; the HR patch (gt_size) is lr_side * scale */
    int32_t enlarge;             /* dataset_enlarge_ratio, >= 1 */
    int32_t use_hflip, use_rot;  /* BasicSR: rot = vertical flip and transpose, each with .5 */
    int32_t workers;     /* threads, 0 .. 256; 0: batches are made in dukd_loader_next, by the caller */
    int32_t ahead;       /* batches that workers make beyond the caller's, 1 .. 256 */
    int32_t rank, ranks; /* 0 .. ranks - 1; ranks >= 1 */
    uint64_t seed;
    int64_t first_iteration; /* the first batch that dukd_loader_next gives: 1, or where a run is resumed */
    int64_t
        shift; /* added to the index of every sample: 0, or what an earlier part of a run with another r b is ahead by */
} dukd_loader_options;

typedef struct {
    int64_t iteration;    /* from 1 */
    int64_t epoch;        /* from 0 */
    int64_t first_sample; /* global index of the first sample */
    const float *lr;      /* batch x 3 x side x side, [0,1] */
    const float *hr;      /* batch x 3 x (side scale) x (side scale) */
} dukd_batch;

/* Checks the options and that every image holds a patch, allocates (ahead + 1) batches (workers 0: one) and starts the workers,
 * in which all signals are blocked. */
int dukd_loader_create(dukd_loader **out, const dukd_loader_options *options, dukd_failure *f);
/* Stops the workers, which finish the crop they are at. At any time, but not during dukd_loader_next. NULL allowed. */
void dukd_loader_destroy(dukd_loader *l);
/* The next iteration's batch; it stays valid until the next call. Waits for a worker where none is ready. A file that can no
 * longer be read is reported when the batch that needs it is due (of several the first sample's), and again by every later
 * call. [one thread] */
int dukd_loader_next(dukd_loader *l, dukd_batch *out, dukd_failure *f);
/* Iterations in an epoch. */
int64_t dukd_loader_epoch_length(const dukd_loader *l);
/* Seconds that dukd_loader_next has waited so far; with 0 workers: seconds it took to make the batches. [the same thread] */
double dukd_loader_waited(const dukd_loader *l);

#endif
