/* Finding the image pairs of a data set: which LR file belongs to which HR file, and whether their sizes fit. */
#ifndef DUKD_DATASET_PAIRS_H
#define DUKD_DATASET_PAIRS_H

#include <stdint.h>

#include "common/failure.h"
#include "data/dataset.h"

typedef struct {
    int32_t width, height, depth; /* depth: bits a sample */
} dukd_pair_size;

typedef struct {
    char *name; /* of the HR file, without folder and extension */
    char *hr_path;
    char *lr_path; /* NULL: LR is made of HR */
    dukd_pair_size hr, lr;
    int32_t tiled; /* whether both files are tiled TIFF (tiled.h): crops need no decoded image */
} dukd_pair_files;

typedef struct {
    dukd_pair_files *at; /* by name (bytes); names are distinct */
    int64_t count;
} dukd_pairs;

/* What dukd_dataset_open says about pairs and errors. */
int dukd_pairs_find(dukd_pairs *out, const dukd_dataset_options *options, dukd_failure *f);
void dukd_pairs_free(dukd_pairs *pairs); /* NULL and zeroed allowed; zeroes it */

#endif
