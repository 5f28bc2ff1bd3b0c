/* A set of training or test images: HR files with their LR files, or HR files whose LR is made.
 *
 * BasicSR's PairedImageDataset: dataroot_gt, dataroot_lq, filename_tmpl ("{}x4": the LR file of HR file "a.png" is
 * "ax4.png" or another extension). Without dataroot_lq the LR image is made of the whole HR image by the bit-exact path of
 * `prepare` (downscale.h) and then cropped. dataroot_gt may also be a set prepared by `dukd-host prepare` (tiled TIFF), of
 * which a crop reads only the tiles it touches. */
#ifndef DUKD_DATASET_H
#define DUKD_DATASET_H

#include <stdint.h>

#include "common/failure.h"
#include "data/image.h"

typedef struct dukd_dataset dukd_dataset;

typedef struct {
    const char *dataroot_gt;   /* a folder, or a prepared set */
    const char *dataroot_lq;   /* NULL: LR is made on the fly */
    const char *filename_tmpl; /* NULL: "{}" */
    const char *meta_info_file; /* NULL, or a text file listing the HR names, one a line (BasicSR's; text after the first blank is ignored) */
    int32_t scale;
    int32_t clamp_border; /* LR made on the fly: 0 symmetric border (MATLAB today), 1 clamped (older MATLAB) */
} dukd_dataset_options;

/* Lists the files and reads their headers: an HR image without its LR image, or an LR size other than floor(HR / scale), is
 * an error that names both files and sizes. Pixels are not read. Files are ordered by name (bytes). */
int dukd_dataset_open(dukd_dataset **out, const dukd_dataset_options *options, dukd_failure *f);
void dukd_dataset_close(dukd_dataset *d);

int64_t dukd_dataset_count(const dukd_dataset *d);
const char *dukd_dataset_name(const dukd_dataset *d, int64_t i); /* HR file name without folder and extension */
/* LR size of image i (HR is at least scale times that). */
void dukd_dataset_size(const dukd_dataset *d, int64_t i, int32_t *lr_width, int32_t *lr_height);
/* SHA-256 (64 hex digits and 0) over names, sizes and contents of all files, for the run record. */
int dukd_dataset_hash(const dukd_dataset *d, char hex[65], dukd_failure *f);

/* A whole pair, HR cropped top left to LR x scale. [thread-safe] */
int dukd_dataset_read(const dukd_dataset *d, int64_t i, dukd_image *lr, dukd_image *hr, dukd_failure *f);
/* The crop of `side` x `side` LR pixels at (row, col) of LR, and the HR crop under it. f32 planes, [0,1]:
 * lr 3 x side x side, hr 3 x (side scale) x (side scale). [thread-safe] */
int dukd_dataset_crop(const dukd_dataset *d, int64_t i, int32_t row, int32_t col, int32_t side, float *lr, float *hr,
                      dukd_failure *f);

#endif
