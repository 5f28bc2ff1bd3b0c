/* An image in memory, and reading and writing it as PNG, TIFF or JPEG.
 *
 * Reading gives what cv2.IMREAD_COLOR gives, in RGB order: grey and palette images become three channels,
 * alpha is dropped, JPEG's EXIF orientation is applied. 16-bit files stay 16 bit (a stated difference: OpenCV
 * would make them 8 bit). The format is told by the file's first bytes, never by its name. [thread-safe] */
#ifndef DUKD_IMAGE_H
#define DUKD_IMAGE_H

#include <stdint.h>

#include "common/failure.h"

typedef struct {
    int32_t width, height; /* 1 .. DUKD_IMAGE_MAX_SIDE */
    int32_t depth;         /* bits a sample: 8 or 16 */
    int32_t pad0;
    void *samples; /* height x width x 3, RGB interleaved, rows dense: uint8_t or uint16_t (native byte order)
                    */
} dukd_image;

#define DUKD_IMAGE_MAX_SIDE   65500
#define DUKD_IMAGE_MAX_PIXELS 1000000000LL

/* Width, height and depth without decoding the pixels. */
int dukd_image_read_header(const char *path, int32_t *width, int32_t *height, int32_t *depth,
                           dukd_failure *f);
int dukd_image_read(const char *path, dukd_image *out, dukd_failure *f);
/* Allocates; the samples are not initialised. */
int dukd_image_create(dukd_image *out, int32_t width, int32_t height, int32_t depth, dukd_failure *f);
void dukd_image_free(dukd_image *image); /* NULL and zeroed images allowed; zeroes it */

/* Cuts *image to its upper left part, in place; width and height: 1 .. what it has. */
void dukd_image_cut(dukd_image *image, int32_t width, int32_t height);
/* The image in 8 bits: value / 257 rounded, or a copy. */
int dukd_image_to_8_bit(const dukd_image *image, dukd_image *out, dukd_failure *f);

/* Written beside `path` under another name, fsynced and renamed: `path` is never half written. */
int dukd_image_write_png(const char *path, const dukd_image *image, dukd_failure *f);

/* value / 255 or value / 65535, as 3 x height x width f32 planes. */
void dukd_image_to_planes(const dukd_image *image, float *planes);
/* One sample of that: clamped to [0,1], times 255, rounded half to even. What is not a number becomes 0. */
uint8_t dukd_image_sample(float value);
/* Clamps to [0,1], times 255, rounds half to even: planes 3 x height x width -> 8-bit image (created). */
int dukd_image_from_planes(const float *planes, int32_t width, int32_t height, dukd_image *out,
                           dukd_failure *f);

#endif
