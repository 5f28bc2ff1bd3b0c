/* A set of training or test images: HR files with their LR files, or HR files whose LR is made.
 *
 * BasicSR's PairedImageDataset: dataroot_gt, dataroot_lq, filename_tmpl ("{}x4": the LR file of HR file
 * "a.png" is "ax4.png", or "ax4" with another extension). Without dataroot_lq the LR image is made of the
 * whole HR image by the bit-exact path of `prepare` (downscale.h) and then cropped.
 *
 * A crop of two tiled TIFF files (a set made by `dukd-host prepare`, or any) reads only the tiles it touches.
 * Of all other files a crop needs the decoded image; the images decoded last are kept, within cache_bytes.
 * Memory for pixels is bounded by cache_bytes or one image pair a thread, whichever is more, and does not
 * depend on the number of images. */
#ifndef DUKD_DATASET_H
#define DUKD_DATASET_H

#include <stdint.h>

#include "common/failure.h"
#include "data/image.h"
#include "data/sampler.h"

typedef struct dukd_dataset dukd_dataset;

#define DUKD_DATASET_CACHE_BYTES (INT64_C(512) << 20)

typedef struct {
    const char *dataroot_gt;    /* a folder, or a prepared set (prepared.h) */
    const char *dataroot_lq;    /* NULL: LR is made on the fly, or comes from the prepared set */
    const char *filename_tmpl;  /* NULL: "{}" */
    const char *meta_info_file; /* NULL, or a text file that lists the HR files to use, one a line (BasicSR's:
                                   paths inside dataroot_gt; text after the first blank is ignored) */
    int32_t scale;              /* 2 .. 8 */
    int32_t
        clamp_border;    /* LR made on the fly: 0 symmetric border (MATLAB today), 1 clamped (older MATLAB) */
    int64_t cache_bytes; /* decoded images kept: 0 is DUKD_DATASET_CACHE_BYTES, less than 0 keeps none */
} dukd_dataset_options;

/* Lists the files and reads their headers; pixels are not read. Of a folder, the images that image_list.h
 * lists are used: subfolders, hidden files and other files are left alone. Errors that name the files and
 * sizes: no images, two HR files of one name, an HR image without its LR image or the other way round (the
 * latter not with meta_info_file), an LR size other than floor(HR / scale), a broken header. Images are
 * ordered by name (bytes, without the extension), so that a prepared set gives the same order as the folder
 * it was made of. */
int dukd_dataset_open(dukd_dataset **out, const dukd_dataset_options *options, dukd_failure *f);
void dukd_dataset_close(dukd_dataset *d); /* NULL allowed */

int64_t dukd_dataset_count(const dukd_dataset *d);
int32_t dukd_dataset_scale(const dukd_dataset *d);
const char *dukd_dataset_name(const dukd_dataset *d,
                              int64_t i); /* HR file name without folder and extension */
const char *dukd_dataset_path(const dukd_dataset *d, int64_t i); /* HR file */
/* What the image made of pair i is called, as in BasicSR: the LR file's name without folder and extension ("babyx4"), the HR
 * file's where LR is made or prepared. Not terminated: *length bytes. */
const char *dukd_dataset_result_name(const dukd_dataset *d, int64_t i, int32_t *length);
/* LR size of image i (HR is at least scale times that). */
void dukd_dataset_size(const dukd_dataset *d, int64_t i, int32_t *lr_width, int32_t *lr_height);
/* DUKD_FAILED, naming the file, the sizes and what to do, where a patch of side x side LR pixels does not fit
 * into an image. */
int dukd_dataset_check_patch(const dukd_dataset *d, int32_t side, dukd_failure *f);
/* SHA-256 (64 hex digits and 0) over names, sizes and contents of all files, for the run record: reads every
 * file once. */
int dukd_dataset_hash(const dukd_dataset *d, char hex[65], dukd_failure *f);

/* A whole pair, HR cropped top left to LR x scale; decoded anew, not kept. lr and hr are created; both are
 * zeroed on failure. [thread-safe] */
int dukd_dataset_read(const dukd_dataset *d, int64_t i, dukd_image *lr, dukd_image *hr, dukd_failure *f);
/* The crop of side x side LR pixels at place.row, place.col of LR and the HR crop under it, both turned as
 * place.orientation says. f32 planes, [0,1]: lr 3 x side x side, hr 3 x (side scale) x (side scale).
 * [thread-safe] */
int dukd_dataset_crop(const dukd_dataset *d, int64_t i, dukd_placement place, int32_t side, float *lr,
                      float *hr, dukd_failure *f);

/* What dukd_dataset_crop has cost so far. [thread-safe] */
typedef struct {
    int64_t tiled_bytes;  /* read from tiled files */
    int64_t decoded;      /* image pairs decoded whole */
    int64_t found;        /* crops that found their pair decoded */
    int64_t cached_bytes; /* decoded pixels held now */
    int64_t peak_bytes;   /* the most held at any time */
} dukd_dataset_traffic;
dukd_dataset_traffic dukd_dataset_measure(const dukd_dataset *d);

#endif
