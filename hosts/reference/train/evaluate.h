/* Runs a network over a data set and measures it: PSNR and SSIM of every image, their means, images on disk.
 *
 * Whole images unless tiles are asked for, which is for want of memory: networks that see the whole image give something
 * else in tiles. Outputs become 8-bit images (clamped,
 * rounded half to even) before they are compared or saved. Self-ensemble is a second result beside the plain
 * one: eight orientations averaged in float before clamping. Memory: one image and the engine's plan for its
 * shape; plans of earlier shapes are dropped.
 *
 * [one thread at a time per engine] */
#ifndef DUKD_EVALUATE_H
#define DUKD_EVALUATE_H

#include <stdint.h>

#include "common/failure.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "train/run_options.h"

typedef struct {
    const char *name;                       /* of the image; lives as long as the data set */
    double plain[DUKD_RUN_MAX_METRICS];     /* student against HR, by metric */
    double ensemble[DUKD_RUN_MAX_METRICS];  /* self-ensemble against HR */
    double teacher[DUKD_RUN_MAX_METRICS];   /* teacher against HR */
    double agreement[DUKD_RUN_MAX_METRICS]; /* student against teacher */
} dukd_evaluated_image;                     /* NaN where it was not asked for */

typedef struct {
    int64_t count;
    dukd_evaluated_image *images; /* [count], in the data set's order */
    dukd_evaluated_image
        mean; /* over the images; name is "mean". PSNR of equal images is infinite, and so is its mean. */
    double seconds; /* of the networks alone */
} dukd_evaluation;

typedef struct {
    dukd_engine *engine;
    dukd_precision precision;
    const dukd_graph *graph;
    const float *weights;            /* in the engine's memory */
    const dukd_graph *teacher_graph; /* NULL: no teacher */
    const float *teacher_weights;    /* in the engine's memory */
    const dukd_run_metric *metrics;
    int32_t metric_count;
    int32_t self_ensemble;
    int32_t tile;    /* images with a longer side than this are run in tiles of it (tiles.h); 0: never */
    int32_t overlap; /* of tiles; see dukd_evaluate_overlap */
    /* Of the images only every parts-th from `part` on (0 parts: all): the others' numbers are 0, and so is the mean until
     * dukd_evaluation_average. */
    int32_t part, parts;
    /* Where images are saved, as FOLDER/NAME_SUFFIX.png (FOLDER must exist; dukd_dataset_result_name); NULL: nowhere. */
    const char *image_folder, *image_suffix;
    /* After each image; a result other than 0 ends the evaluation with DUKD_FAILED, "interrupted". NULL:
     * none. */
    int (*on_image)(void *ctx, int64_t done, int64_t count, const dukd_evaluated_image *image);
    void *ctx;
} dukd_evaluate_options;

/* DUKD_MISUSED, naming the image, where one is too small to be measured. dukd_evaluate begins with it. */
int dukd_evaluate_check(const dukd_dataset *set, const dukd_run_metric *metrics, int32_t count,
                        dukd_failure *f);
/* The margin that tiles of this network have by default: its receptive radius, or DUKD_EVALUATE_OVERLAP where that is more.
 * *exact (may be NULL): whether tiles with this margin (a negative one: the default) give what the whole image gives. */
#define DUKD_EVALUATE_OVERLAP 64
int32_t dukd_evaluate_overlap(const dukd_graph *g, int32_t overlap, int32_t *exact);
int dukd_evaluate(dukd_evaluation *out, const dukd_evaluate_options *options, const dukd_dataset *set,
                  dukd_failure *f);
void dukd_evaluation_average(dukd_evaluation *e); /* the mean, anew */
void dukd_evaluation_free(dukd_evaluation *e);    /* NULL and zeroed allowed */

#endif
