/* The images of a folder, as every command that takes a folder sees them. */
#ifndef DUKD_IMAGE_LIST_H
#define DUKD_IMAGE_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

typedef struct {
    int64_t count;
    char **files; /* names without the folder, ordered by bytes */
} dukd_image_list;

/* Regular files (and links to them) directly in `folder` that end in .png .tif .tiff .jpg .jpeg in any case
 * and do not start with a dot. A folder without one is DUKD_FAILED. [thread-safe] */
int dukd_image_list_read(const char *folder, dukd_image_list *out, dukd_failure *f);
void dukd_image_list_free(dukd_image_list *list); /* NULL and zeroed allowed */

/* Length of a file name without its extension: "a.b.png" -> 3. */
size_t dukd_image_stem_length(const char *file);

/* "folder/file"; allocated, the caller frees; NULL: no memory. */
char *dukd_image_path(const char *folder, const char *file);

#endif
