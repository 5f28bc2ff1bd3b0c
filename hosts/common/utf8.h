/* Telling UTF-8 from other bytes. */
#ifndef DUKD_UTF8_H
#define DUKD_UTF8_H

#include <stddef.h>

/* Length in bytes (1 to 4) of the UTF-8 sequence at p, of which `left` bytes are there; 0 where there is none: cut
 * short, overlong, a surrogate, above U+10FFFF. [thread-safe] */
int dukd_utf8_length(const unsigned char *p, size_t left);

#endif
