/* What a run says: lines to its log file and to the terminal, and one line there that is written over and over.
 *
 * Lines are "2024-05-01 12:00:00 INFO: text", as BasicSR's. Where the output is no terminal there is no progress line.
 * [one thread] */
#ifndef DUKD_RUN_LOG_H
#define DUKD_RUN_LOG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/failure.h"

typedef struct {
    FILE *file;  /* NULL until dukd_run_log_open */
    FILE *early; /* what was said before, in memory */
    char *early_text;
    size_t early_size;
    FILE *screen; /* NULL: quiet */
    int32_t is_terminal;
    int32_t dirty;       /* a progress line is on the screen */
    int32_t file_broken; /* the file could not be written: said once */
} dukd_run_log;

/* A log that speaks to `screen` (which may be NULL), and remembers it for the file until that is opened. */
void dukd_run_log_begin(dukd_run_log *log, FILE *screen);
int dukd_run_log_open(dukd_run_log *log, const char *path, dukd_failure *f); /* appends */
void dukd_run_log_close(dukd_run_log *log);

void dukd_run_log_info(dukd_run_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dukd_run_log_warn(dukd_run_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The line that is written over; for the terminal alone. */
void dukd_run_log_progress(dukd_run_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
