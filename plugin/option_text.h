/* Option values as text: reading one, and saying what one would have been right. */
#ifndef DUKD_OPTION_TEXT_H
#define DUKD_OPTION_TEXT_H

#include "dukd_plugin.h"

#include <stdbool.h>
#include <stddef.h>

/* Reads one value (of a list: one item) as the row says: the number; false 0, true 1 (also no, yes, off, on,
 * as YAML 1.1 has them); a choice's place; 0 for free text. False where it is none or out of range. Numbers are decimal, with
 * a point whatever the locale is, provided that the caller's thread is in the C locale (session_create.c sees
 * to it). [thread-safe] */
bool dukd_option_text_read(const dukd_option_info *row, const char *text, double *number);

/* "a number from 0 to 1", "one of random, grid, hardest, none", "a list of ..." Writes into room and returns
 * it. */
const char *dukd_option_text_expected(const dukd_option_info *row, char *room, size_t size);

/* The name among names[0 .. n - 1] that `wrong` was probably meant to be, or NULL where none is near. Letters
 * apart, transposed or missing are counted; for dotted keys a right last part in the wrong section is near,
 * too. */
const char *dukd_option_nearest(const char *wrong, const char *const *names, uint32_t n);

#endif
