/* Between image.c and the three decoders: what a decoder is given and what it gives back. */
#ifndef DUKD_IMAGE_CODEC_H
#define DUKD_IMAGE_CODEC_H

#include <stdint.h>
#include <stdio.h>

#include "data/image.h"

typedef struct {
    const char *name; /* for messages */
    FILE *stream;     /* a regular file, at its start, owned by the caller */
    int64_t size;     /* bytes */
} dukd_image_source;

/* Decodes `source`. On success *out has the size and depth as stored in the file, and *orientation is 1..8 as
 * in EXIF, 1 where the file says nothing. header_only: no pixels are decoded and out->samples stays NULL. On
 * failure *out is as it was. [thread-safe on distinct sources] */
typedef int dukd_image_decoder(const dukd_image_source *source, int header_only, dukd_image *out,
                               int32_t *orientation, dukd_failure *f);
dukd_image_decoder dukd_png_decode, dukd_tiff_decode, dukd_jpeg_decode;

/* Reads an open file of whatever format, oriented; image.h's two functions are this after opening. */
int dukd_image_decode(const dukd_image_source *source, int header_only, dukd_image *out, dukd_failure *f);

/* Refuses sizes outside image.h's limits, naming them: to be called before anything is allocated. */
int dukd_image_check_size(const char *name, int64_t width, int64_t height, dukd_failure *f);

/* Orientation 1..8 from the TIFF structure inside an EXIF block (after "Exif\0\0"); 1 where there is none or
 * it is damaged. */
int32_t dukd_exif_orientation(const unsigned char *exif, size_t bytes);

/* Turns *image upright: orientation 2..8 as EXIF numbers them. On failure *image is as it was. */
int dukd_image_orient(dukd_image *image, int32_t orientation, const char *name, dukd_failure *f);

#endif
