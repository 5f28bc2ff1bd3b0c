/* Buffers that fault when they are overrun: the byte after the last, or the one before the first, is an
 * unmapped page. */
#ifndef DUKD_TEST_GUARD_H
#define DUKD_TEST_GUARD_H

#include <stddef.h>

/* Which end touches a guard page. The other end has a guard page too, up to a page away. */
typedef enum { DUKD_GUARD_END, DUKD_GUARD_START } dukd_guard_side;

/* `size` bytes, filled with 0xA5. With DUKD_GUARD_END the last byte is followed by a page that cannot be read
 * or written, so the address is only as aligned as `size` is; with DUKD_GUARD_START it is page-aligned and
 * preceded by one. Fails the running cmocka test where there is no memory. Give it back with dukd_guard_free.
 */
void *dukd_guard_alloc(size_t size, dukd_guard_side side);
void dukd_guard_free(void *p, size_t size,
                     dukd_guard_side side); /* the same size and side; NULL is allowed */

#endif
