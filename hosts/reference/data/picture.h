/* A picture made of images and labels: what preview and compare show. 8-bit RGB, white where nothing was put. */
#ifndef DUKD_PICTURE_H
#define DUKD_PICTURE_H

#include "data/image.h"

#define DUKD_PICTURE_GLYPH_WIDTH  6 /* pixels a character at size 1, its gap included */
#define DUKD_PICTURE_GLYPH_HEIGHT 9 /* pixels a line at size 1, its gap included */

/* White. Free it with dukd_image_free. */
int dukd_picture_create(dukd_image *out, int32_t width, int32_t height, dukd_failure *f);
/* One line of ASCII, black, its top left corner at (x, y), each dot `size` pixels wide. What does not fit is cut;
 * other characters show as a box. */
void dukd_picture_text(dukd_image *picture, int32_t x, int32_t y, int32_t size, const char *text);
/* The window (left, top, width, height) of an 8-bit or 16-bit image, each pixel `zoom` x `zoom`, its top left corner at (x, y).
 * What does not fit is cut. */
void dukd_picture_place(dukd_image *picture, int32_t x, int32_t y, const dukd_image *image, int32_t left,
                        int32_t top, int32_t width, int32_t height, int32_t zoom);

#endif
