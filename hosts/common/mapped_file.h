/* A whole file in memory, to be read. */
#ifndef DUKD_MAPPED_FILE_H
#define DUKD_MAPPED_FILE_H

#include <stddef.h>

#include "common/failure.h"

typedef struct {
    const unsigned char *bytes; /* not NULL once mapped, also where size is 0 */
    size_t size;
    void *mapping; /* NULL: nothing to unmap */
} dukd_mapped_file;

/* Maps a regular file; a folder, a device or a FIFO is refused (the last without waiting for it). The file must not be cut
 * short while it is mapped; one replaced by rename stays as it was. On failure *out is zeroed. */
int dukd_mapped_file_open(dukd_mapped_file *out, const char *path, dukd_failure *f);
void dukd_mapped_file_close(dukd_mapped_file *m); /* NULL and zeroed allowed */

#endif
