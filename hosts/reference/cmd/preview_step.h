/* One training step, looked at instead of trained: every input that the plugin makes, and what the networks answer. */
#ifndef DUKD_PREVIEW_STEP_H
#define DUKD_PREVIEW_STEP_H

#include "data/loader.h"
#include "dukd_plugin.h"
#include "engine/engine.h"
#include "train/run_options.h"
#include "train/weights.h"

enum { DUKD_PREVIEW_COLUMNS = 48, DUKD_PREVIEW_LABEL = 48 };

/* A column of the picture: N images of one size with a heading, and what was done to each. */
typedef struct {
    char heading[DUKD_PREVIEW_LABEL];
    int64_t shape[4];     /* N x 3 x h x w */
    float *values;        /* owned, dense, [0,1] */
    uint32_t *augment;    /* owned, [N] DUKD_AUGMENT_ bits, or NULL */
    int32_t *rows, *cols; /* owned, [N] where in HR it was cut, or NULL */
} dukd_preview_column;

typedef struct {
    dukd_preview_column columns[DUKD_PREVIEW_COLUMNS];
    int32_t count;
} dukd_preview;

typedef struct {
    const dukd_run_options *options;
    const dukd_plugin *plugin;
    dukd_engine *engine;
    const dukd_ready_network *student, *teacher, *features; /* teacher's graph NULL: none */
    const dukd_batch *batch;
    uint64_t seed;
    int32_t show_student;
} dukd_preview_request;

/* Runs the step without gradients reaching any weight. Frees nothing on failure but what it made. */
int dukd_preview_run(dukd_preview *out, const dukd_preview_request *r, dukd_failure *f);
void dukd_preview_free(dukd_preview *p);

#endif
