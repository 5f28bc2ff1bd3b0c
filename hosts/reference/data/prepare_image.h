/* Everything a prepared set has of one image. */
#ifndef DUKD_PREPARE_IMAGE_H
#define DUKD_PREPARE_IMAGE_H

#include <stdint.h>

#include "common/failure.h"
#include "data/prepared.h"

typedef struct {
    int64_t written, kept; /* files */
} dukd_prepare_counts;

/* Reads hr_dir/image->file once, fills the rest of *image, and writes each of its files that `set` is to have and that is not
 * there with the same pixels. on_change(user) is called before each such file; its failure ends the work. [thread-safe on distinct
 * images] */
int dukd_prepare_image(const char *hr_dir, const char *out_dir, const dukd_prepared *set,
                       dukd_prepared_image *image, int (*on_change)(void *user, dukd_failure *f), void *user,
                       dukd_prepare_counts *counts, dukd_failure *f);

#endif
