/* Finished runs, read back from their folders: validations image by image, and what the run has cost. */
#ifndef DUKD_RUNS_H
#define DUKD_RUNS_H

#include <stdint.h>

#include "common/failure.h"

/* One validation of one set. */
typedef struct {
    int64_t iteration;
    double seconds; /* of training until then */
    double *values; /* [image_count of the run], by image */
} dukd_run_point;

typedef struct {
    char name[256];   /* of the run */
    char method[256]; /* the name without _seedN: runs of one method are one row of the table */
    char **images;    /* [image_count] */
    int64_t image_count;
    dukd_run_point *points; /* [point_count], by iteration */
    int64_t point_count;
    int64_t optimizer_steps, images_seen, student_images, teacher_images; /* from run.json; -1: not there */
} dukd_run_history;

/* Reads FOLDER/metrics.jsonl and FOLDER/run.json. `set` NULL: the first set that the file has; its name is written there.
 * A run without a validation, or whose images change, is an error. */
int dukd_run_history_read(dukd_run_history *out, const char *folder, char set[256], const char *metric,
                          dukd_failure *f);
void dukd_run_history_free(dukd_run_history *h); /* zeroed allowed */

/* The last point at or before a limit; NULL: none. */
const dukd_run_point *dukd_run_at_iteration(const dukd_run_history *h, int64_t limit);
const dukd_run_point *dukd_run_at_seconds(const dukd_run_history *h, double limit);

#endif
