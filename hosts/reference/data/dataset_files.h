/* The image files of a data set's folder with their names: all of them (image_list.h), or those a meta info file lists. */
#ifndef DUKD_DATASET_FILES_H
#define DUKD_DATASET_FILES_H

#include <stdint.h>

#include "common/failure.h"

typedef struct {
    char *path; /* folder/file */
    char *name; /* the file name without folder and extension */
} dukd_file;

typedef struct {
    dukd_file *at; /* by name (bytes), then by path */
    int64_t count;
} dukd_files;

/* The images of `folder`; `key` is the option that names it, for messages. No image at all is an error. */
int dukd_files_list(dukd_files *out, const char *folder, const char *key, dukd_failure *f);
/* The files that `meta_info_file` lists, paths inside `folder`: the first word of each line that is not empty. That they exist
 * is not checked. Absolute paths, "..", and the same path twice are errors that name the line or the path. */
int dukd_files_from_meta_info(dukd_files *out, const char *folder, const char *meta_info_file,
                              dukd_failure *f);
/* The files called `name`: *count of them from the returned place on; 0 where there is none. */
int64_t dukd_files_find(const dukd_files *files, const char *name, int64_t *count);
void dukd_files_free(dukd_files *files); /* NULL and zeroed allowed; zeroes it */

const char *dukd_files_base(const char *path); /* the file name in a path */

#endif
