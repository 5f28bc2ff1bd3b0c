/* Image files of every kind that is read, made by the libraries that define the formats, from samples the test knows; and reading them. */
#ifndef DUKD_TEST_IMAGE_FIXTURE_H
#define DUKD_TEST_IMAGE_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "data/image.h"

/* Samples as they are stored: height x width x channels, each below 2^bits, native 16-bit words whatever `bits`. */
typedef struct {
    int32_t width, height, channels, bits;
    uint16_t *samples;
} stored_samples;

stored_samples stored_random(int32_t width, int32_t height, int32_t channels, int32_t bits, uint64_t seed);
void stored_free(stored_samples *s);

typedef struct {
    int type; /* PNG_COLOR_TYPE_*; channels and bits are the samples' */
    int interlaced;
    int transparency;       /* a tRNS chunk */
    const uint8_t *palette; /* 3 x colours */
    int colours;
    const unsigned char *exif; /* an eXIf chunk, or NULL */
    size_t exif_bytes;
    int exif_last; /* behind the pixels */
} png_kind;
void fixture_png(const char *path, const stored_samples *s, const png_kind *kind);

typedef struct {
    uint16_t photometric, compression;
    int separate;         /* a plane a channel */
    int32_t tile, strip;  /* side of the tiles, or rows of a strip; 0: not tiled; all rows */
    int big_endian, big;  /* big: BigTIFF */
    int predictor;        /* horizontal differences */
    uint16_t alpha;       /* EXTRASAMPLE_* of the last channel, where it is one too many */
    uint16_t orientation; /* 0: none */
    uint16_t format;      /* SAMPLEFORMAT_*; 0: none */
    const uint16_t *map;  /* 3 x 256 of a palette */
} tiff_kind;
void fixture_tiff(const char *path, const stored_samples *s, const tiff_kind *kind);

typedef struct {
    int quality;
    int cmyk, grey; /* else RGB, stored as YCbCr */
    int subsampled, progressive;
    const unsigned char *exif; /* an APP1 segment's contents, or NULL */
    size_t exif_bytes;
} jpeg_kind;
void fixture_jpeg(const char *path, const stored_samples *s, const jpeg_kind *kind);

/* A TIFF structure with one entry before the orientation's; returns its bytes (below 64). prefix: "Exif\0\0" first, as in JPEG. */
size_t fixture_exif(unsigned char out[64], int orientation, int big_endian, int prefix);

/* The image in `path`; its header, read by itself, must agree. */
dukd_image fixture_read(const char *path);
/* Reading `path` must fail with a message that names it and holds `part`. */
void fixture_refused(const char *path, const char *part);
uint32_t fixture_sample(const dukd_image *image, int32_t x, int32_t y, int channel);

/* A whole file. */
unsigned char *fixture_load(const char *path, size_t *bytes); /* malloc'd */
void fixture_save(const char *path, const void *data, size_t bytes);

#endif
