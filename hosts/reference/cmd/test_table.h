/* What `dukd-host test` prints: tables as text or Markdown, and JSON. Every table states what it was made with. */
#ifndef DUKD_TEST_TABLE_H
#define DUKD_TEST_TABLE_H

#include "train/evaluate.h"
#include "train/run_options.h"

typedef struct {
    const dukd_run_dataset *set;
    dukd_dataset *files;
    dukd_evaluation networks;
    /* Bicubic upscaling against HR: [image count + 1][DUKD_RUN_MAX_METRICS], the mean last. malloc'd. */
    double (*bicubic)[DUKD_RUN_MAX_METRICS];
} dukd_test_result;

typedef struct {
    const dukd_run_options *options;
    const dukd_test_result *results; /* [count] */
    int32_t count;
    int32_t ensemble;
    const char *weights, *key; /* of the student */
    const char *teacher;       /* file of its weights; NULL: no teacher */
    const dukd_engine_info *engine;
} dukd_test_report;

/* Fills r->bicubic for the images of r->files. */
int dukd_test_bicubic(dukd_test_result *r, const dukd_run_metric *metrics, int32_t count, int32_t scale,
                      dukd_failure *f);
void dukd_test_print_table(const dukd_test_report *r, int markdown);
int dukd_test_print_json(const dukd_test_report *r, dukd_failure *f);

#endif
