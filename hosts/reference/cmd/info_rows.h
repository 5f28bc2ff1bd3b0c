/* What `dukd-host info` knows of a network: counted from its graph, measured on an engine. */
#ifndef DUKD_INFO_ROWS_H
#define DUKD_INFO_ROWS_H

#include <stdint.h>

#include "common/failure.h"
#include "engine/engine.h"
#include "models/model.h"

typedef struct {
    double median; /* seconds an image; 0: not measured */
    int32_t runs;
    int64_t memory;       /* bytes the engine held at most */
    dukd_failure problem; /* why it could not be run; status 0: it could, or was not asked to */
} dukd_info_speed;

/* What the paper states of a network in its Table 1. */
typedef struct {
    double parameters;    /* millions */
    double multiply_adds; /* milliards, at 3 x 256 x 256 */
} dukd_info_paper;

typedef struct {
    char name[48];    /* "student", "EDSR 256/32 teacher" */
    int32_t is_known; /* 0: this host does not have the network; `problem` says so, all else is empty */
    dukd_failure problem;
    dukd_model_spec spec;
    int64_t parameters, multiply_adds; /* of height x width */
    int32_t height, width;        /* what is counted and run: the size asked for, up to the next multiple */
    dukd_info_speed speed[2];     /* by dukd_precision */
    const dukd_info_paper *paper; /* NULL: not of Table 1 */
} dukd_info_row;

typedef struct {
    int64_t height, width;
    int64_t runs;    /* timed runs of each network and precision; 0: as many as fit into `seconds` */
    double seconds;  /* at least one run */
    int64_t threads; /* 0: OpenMP's default */
    dukd_engine_options engine;
    int32_t measured[2]; /* by dukd_precision: 1: run in this one; neither: nothing is run */
} dukd_info_plan;

enum { DUKD_INFO_MAX_RUNS = 101 };

/* Parameters and multiply-adds of row->spec, and the size that is run. */
int dukd_info_count(const dukd_info_plan *plan, dukd_info_row *row, dukd_failure *f);
/* Runs it in one precision, with weights at random: the speed does not depend on what they are. What goes wrong is put
 * into the row. */
void dukd_info_measure(const dukd_info_plan *plan, dukd_precision precision, dukd_info_row *row);

/* info_table1.c: the six networks of the paper's Table 1 (arXiv 2309.14162), x4, teacher and student of each pair. */
#define DUKD_INFO_TABLE1 6
void dukd_info_table1(dukd_info_row rows[DUKD_INFO_TABLE1]);

/* info_print.c. `engine` is NULL where nothing was run. */
void dukd_info_print_text(const dukd_info_plan *plan, const dukd_info_row *rows, int32_t count,
                          const dukd_engine_info *engine);
int dukd_info_print_json(const dukd_info_plan *plan, const dukd_info_row *rows, int32_t count,
                         const dukd_engine_info *engine, dukd_failure *f);

#endif
