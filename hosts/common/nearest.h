/* The known name that a mistyped one probably meant. */
#ifndef DUKD_NEAREST_H
#define DUKD_NEAREST_H

#include <stddef.h>
#include <stdint.h>

/* Finds the nearest of names[0..count) to `name` by edit distance (insert, delete, replace, exchange
 * neighbours; case alone costs nothing), the first of equals. Returns its index, or -1 where none is near
 * enough to be worth a suggestion: farther than a third of the name's length, rounded up. Names longer than
 * 63 bytes are not compared. `stride` is the distance in bytes from one name's pointer to the next, so that
 * `names` can point at the first field of the first row of a table. [thread-safe] */
int32_t dukd_nearest(const char *name, const char *const *names, int32_t count, size_t stride);

#endif
