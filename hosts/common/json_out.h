/* Writing JSON: what every --json prints and what the run record and metrics.jsonl are made of.
 *
 *     dukd_json j = dukd_json_begin(stdout);
 *     dukd_json_object(&j, NULL);
 *     dukd_json_text(&j, "name", "dukd");
 *     dukd_json_close(&j);
 *     status = dukd_json_end(&j, "standard output", f);
 *
 * `key` is NULL inside an array and for the outermost value. Texts are escaped, and what is not UTF-8 in them becomes
 * U+FFFD; a NULL text is null; a number that is not finite is null too, as JSON has none. One document a line unless
 * `indent` is set. [one thread] */
#ifndef DUKD_JSON_OUT_H
#define DUKD_JSON_OUT_H

#include <stdint.h>
#include <stdio.h>

#include "common/failure.h"

#define DUKD_JSON_DEPTH 16

typedef struct {
    FILE *to;
    int32_t indent; /* spaces a level; 0: everything in one line */
    int32_t depth;
    int32_t broken;                /* nested too deeply or closed too often: a bug of the caller */
    char closing[DUKD_JSON_DEPTH]; /* of the open objects and arrays */
    char filled[DUKD_JSON_DEPTH];  /* whether they have an element yet */
} dukd_json;

dukd_json dukd_json_begin(FILE *to); /* indent 2 */
void dukd_json_object(dukd_json *j, const char *key);
void dukd_json_array(dukd_json *j, const char *key);
void dukd_json_close(dukd_json *j); /* the innermost open one */
void dukd_json_text(dukd_json *j, const char *key, const char *text);
void dukd_json_integer(dukd_json *j, const char *key, int64_t value);
void dukd_json_number(dukd_json *j, const char *key, double value); /* reads back as the same double */
void dukd_json_boolean(dukd_json *j, const char *key, int32_t value);
/* A final newline and a flush; an error where anything could not be written. `where` names the output. */
int dukd_json_end(dukd_json *j, const char *where, dukd_failure *f);

#endif
