/* CPU memory of a session: from the host where it offers alloc and free, else from the C library. Everything
 * that a session holds comes from here (the session itself, too), so a host that counts or limits memory sees
 * all of it. */
#ifndef DUKD_SESSION_MEMORY_H
#define DUKD_SESSION_MEMORY_H

#include "dukd_plugin.h"

#define DUKD_MEMORY_ALIGN 64u

/* `size` bytes, aligned to DUKD_MEMORY_ALIGN, contents undefined; NULL where there are none. size > 0.
 * [thread-safe] */
void *dukd_memory_alloc(const dukd_host *host, uint64_t size);
void dukd_memory_free(const dukd_host *host, void *p); /* p may be NULL */

#endif
