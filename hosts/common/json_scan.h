/* Scanning JSON from memory, token by token, trusting nothing.
 *
 * The caller knows what it expects and asks for it; there is no tree and no recursion, so depth costs nothing. Each call
 * returns false on what it did not expect and keeps the first reason; later calls then return false as well.
 * Strings must be UTF-8 without NUL. [one thread at a time per scanner] */
#ifndef DUKD_JSON_SCAN_H
#define DUKD_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const unsigned char *start, *at, *end;
    char *strings;     /* where unescaped strings go, the next free byte */
    const char *wrong; /* NULL, or what was wrong, at `at` */
} dukd_json_scan;

/* `text` need not end with a NUL. `strings` must have room for `size` bytes: a string with its NUL is never longer than
 * what it was written as. Both must outlive the scan, `strings` also the strings. */
void dukd_json_scan_start(dukd_json_scan *s, const void *text, size_t size, char *strings);

/* Skips white space; then takes `c`, or says that it is missing. */
bool dukd_json_scan_expect(dukd_json_scan *s, char c);
/* Skips white space; then takes `c` if it is next. Says nothing. */
bool dukd_json_scan_take(dukd_json_scan *s, char c);
/* A string, unescaped; it lives as long as `strings`. */
bool dukd_json_scan_string(dukd_json_scan *s, const char **out);
/* A non-negative integer without fraction and exponent, of at most INT64_MAX. */
bool dukd_json_scan_integer(dukd_json_scan *s, int64_t *out);
/* Nothing but white space is left. */
bool dukd_json_scan_finish(dukd_json_scan *s);
/* Keeps the first reason; returns false, so that a caller can `return dukd_json_scan_fail(s, "...")`. */
bool dukd_json_scan_fail(dukd_json_scan *s, const char *wrong);

#endif
