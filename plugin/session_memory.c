/* CPU memory of a session. */
#include "session_memory.h"

#include <stdlib.h>

void *dukd_memory_alloc(const dukd_host *host, uint64_t size) {
    if (size > INT64_MAX - DUKD_MEMORY_ALIGN) return NULL;
    if (host->alloc != NULL) return host->alloc(host->ctx, DUKD_DEVICE_CPU, 0, size, DUKD_MEMORY_ALIGN, NULL);
    const uint64_t whole = (size + DUKD_MEMORY_ALIGN - 1) / DUKD_MEMORY_ALIGN * DUKD_MEMORY_ALIGN;
    return aligned_alloc(DUKD_MEMORY_ALIGN, (size_t)whole);
}

void dukd_memory_free(const dukd_host *host, void *p) {
    if (p == NULL) return;
    if (host->free != NULL) {
        host->free(host->ctx, p, DUKD_DEVICE_CPU, 0, NULL);
    } else {
        free(p);
    }
}
