/* Tiled TIFF: writing it, and reading crops of it that touch only the tiles they need.
 *
 * Written: one directory, RGB contiguous, 8 or 16 bit, uncompressed, tiles in row order, native byte order.
 * Read: any tiled RGB TIFF of 8 or 16 bit that libtiff knows, contiguous, without alpha, upright (compressed
 * too). */
#ifndef DUKD_TILED_H
#define DUKD_TILED_H

#include <stdint.h>

#include "common/failure.h"
#include "data/image.h"

#define DUKD_TILE_SIDE     64   /* pixels; README.md has the measurement */
#define DUKD_TILE_MAX_SIDE 4096 /* written or read */

/* Written beside `path`, fsynced and renamed. side: a multiple of 16. description: stored as the TIFF's
 * ImageDescription, or NULL. */
int dukd_tiled_write(const char *path, const dukd_image *image, int32_t side, const char *description,
                     dukd_failure *f);

/* An open file. One thread at a time uses a handle; several handles of one file are independent. Opening
 * reads the header and the table of tiles, no pixels. */
typedef struct dukd_tiled dukd_tiled;
int dukd_tiled_open(dukd_tiled **out, const char *path, dukd_failure *f);
void dukd_tiled_close(dukd_tiled *t); /* NULL allowed */

typedef struct {
    int32_t width, height, depth;    /* depth: 8 or 16 bits a sample */
    int32_t tile_width, tile_height; /* pixels */
    const char *description;         /* NULL: none; lives as long as the handle */
} dukd_tiled_info;
dukd_tiled_info dukd_tiled_describe(const dukd_tiled *t);

/* The crop at (row, col) of height x width pixels, inside the image, into samples: height x width x 3, RGB
 * interleaved, rows dense, uint8_t or uint16_t (native byte order) as the file has them. Only the tiles that
 * the crop touches are read. */
int dukd_tiled_crop(dukd_tiled *t, int32_t row, int32_t col, int32_t height, int32_t width, void *samples,
                    dukd_failure *f);

/* Bytes read from the file through this handle so far, the header and the table of tiles included. */
int64_t dukd_tiled_bytes_read(const dukd_tiled *t);

#endif
