/* Telling the caller what went wrong: fills a dukd_error. */
#ifndef DUKD_REPORT_H
#define DUKD_REPORT_H

#include "dukd_plugin.h"

/* Writes code and message into *error and returns code, so that a caller can write
 *     return dukd_report(error, DUKD_E_ARGUMENT, "step->lr is NULL");
 * error may be NULL, and one whose struct_size is too small is not touched. A message that is too long is cut
 * between characters and ends in "..."; control characters become spaces and bytes that are no
 * UTF-8 "?", so that it stays one line of text whatever the host's strings hold. [thread-safe] */
int32_t dukd_report(dukd_error *error, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* error, or NULL where its struct_size is too small to write to: for handing it on to what does not look. */
dukd_error *dukd_report_to(dukd_error *error);

#endif
