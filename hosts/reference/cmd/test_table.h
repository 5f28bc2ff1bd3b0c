/* What `dukd-host test` found out, and printing it: tables as text or Markdown (test_table.c), JSON (test_json.c).
 * Every table states what it was made with: weights, colour space, border, self-ensemble, tiles, where LR came from. */
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
    int32_t tile, overlap;     /* as in dukd_evaluate_options */
    int32_t tiles_exact;       /* tiles give what whole images would */
    int32_t multiple;          /* what the sides of the networks' inputs are padded to; 1: they are not */
    const char *weights, *key; /* of the student */
    const char *teacher, *teacher_key; /* file of its weights; NULL: no teacher */
    const dukd_engine_info *engine;
} dukd_test_report;

/* Fills r->bicubic for the images of r->files. */
int dukd_test_bicubic(dukd_test_result *r, const dukd_run_metric *metrics, int32_t count, int32_t scale,
                      dukd_failure *f);

/* The columns: each has all metrics. */
typedef enum {
    DUKD_TEST_BICUBIC,
    DUKD_TEST_STUDENT,
    DUKD_TEST_ENSEMBLE, /* of the student */
    DUKD_TEST_TEACHER,
    DUKD_TEST_AGREEMENT, /* student against teacher */
    DUKD_TEST_COLUMNS
} dukd_test_column;
int dukd_test_has_column(const dukd_test_report *r, dukd_test_column c);
/* Row i of a set; i == its count is the mean. */
double dukd_test_cell(const dukd_test_result *r, int64_t i, dukd_test_column c, int32_t metric);
const char *dukd_test_row_name(const dukd_test_result *r, int64_t i);

void dukd_test_print_table(const dukd_test_report *r, int markdown);
int dukd_test_print_json(const dukd_test_report *r, dukd_failure *f);

#endif
