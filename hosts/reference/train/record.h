/* What a run leaves for programs to read: run.json and metrics.jsonl.
 *
 * run.json: what ran (resolved options, seed, source revision, versions, instruction set, threads, hashes of the data) and what
 * it has cost so far (optimizer steps, images, passes, seconds); rewritten as a whole at every checkpoint and at the end. Its status
 * is "running", then "done", "stopped" (by a signal, everything saved) or "failed" (`message` says why); a run that was killed
 * says "running" for ever, and holds no lock on train.lock.
 * metrics.jsonl: one object a line: {"iteration": 100, "rate": 1e-4, "seconds": 12.5, "losses": {...}} and {"iteration": 5000,
 * "seconds": 800, "validation": {"Set5": {"psnr": ..., "ssim": ..., "images": [{"name":
 * "baby", "psnr": ..., "ssim": ...}, ...]}}}. Seconds are those spent in training iterations, all
 * parts of a resumed run together. [one thread] */
#ifndef DUKD_RECORD_H
#define DUKD_RECORD_H

#include <stdint.h>
#include <stdio.h>

#include "common/failure.h"
#include "common/plugin_load.h"
#include "engine/engine.h"
#include "train/evaluate.h"
#include "train/ranks.h"
#include "train/run_options.h"
#include "train/step.h"

/* A data set in the record. */
typedef struct {
    const char *key, *name;
    int64_t images;
    char sha256[65];
} dukd_record_data;

typedef struct {
    const dukd_run_options *options;
    const char *command; /* the command line; may be NULL */
    const dukd_library *library;
    const dukd_engine_info *engine; /* of each rank */
    const dukd_ranks_info *ranks;   /* NULL: one */
    const dukd_record_data *data;
    int32_t data_count;
    int64_t student_parameters, teacher_parameters, feature_parameters; /* 0: there is no such network */
    char started[32];                                                   /* UTC, ISO 8601 */
    const char *status;              /* "running", "stopped", "done", "failed" */
    const char *message;             /* why it has failed; NULL: it has not */
    int64_t iteration, resumed_from; /* resumed_from 0: not resumed */
    dukd_step_counts counts;
    double seconds, waited;
    double best_value;
    int64_t best_iteration; /* -1: none */
} dukd_record;

int dukd_record_write(const char *path, const dukd_record *r, dukd_failure *f);
void dukd_record_time(char out[32]); /* now, as `started` */

/* metrics.jsonl, opened for appending. Lines after `last` (of an interrupted run that is taken up again at `last`) and a torn
 * line at the end are dropped first; last 0 drops everything. */
typedef struct {
    FILE *file;
    char path[4096];
} dukd_metrics_log;
int dukd_metrics_log_open(dukd_metrics_log *m, const char *path, int64_t last, dukd_failure *f);
void dukd_metrics_log_close(dukd_metrics_log *m); /* zeroed allowed */
int dukd_metrics_log_losses(dukd_metrics_log *m, int64_t iteration, double rate, double seconds,
                            int64_t images, const dukd_losses *losses, dukd_failure *f);
/* One set: means and every image. */
int dukd_metrics_log_validation(dukd_metrics_log *m, int64_t iteration, double seconds, const char *set,
                                const dukd_run_metric *metrics, int32_t count, const dukd_evaluation *result,
                                dukd_failure *f);

#endif
