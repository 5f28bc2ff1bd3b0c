/* Turning while copying: every orientation is a first pixel and two steps through the source. */
#include "data/dataset_crop.h"

#include <assert.h>
#include <stddef.h>

#include "data/sampler.h"

/* Where the crop's upper left pixel comes from, and how far one pixel down and right in the crop is in the source (samples). */
typedef struct {
    ptrdiff_t first, down, right;
} walk;

static walk walk_of(const dukd_image *image, int32_t row, int32_t col, int32_t side, int32_t orientation) {
    const ptrdiff_t pixel = 3, line = (ptrdiff_t)image->width * pixel;
    walk w = {.first = row * line + col * pixel, .down = line, .right = pixel};
    if (orientation & DUKD_FLIP_LEFT_RIGHT) {
        w.first += (side - 1) * w.right;
        w.right = -w.right;
    }
    if (orientation & DUKD_FLIP_TOP_BOTTOM) {
        w.first += (side - 1) * w.down;
        w.down = -w.down;
    }
    if (orientation & DUKD_TRANSPOSE) {
        const ptrdiff_t down = w.down;
        w.down = w.right;
        w.right = down;
    }
    return w;
}

void dukd_crop_planes(const dukd_image *image, int32_t row, int32_t col, int32_t side, int32_t orientation,
                      float *planes) {
    assert(row >= 0 && col >= 0 && side >= 1 && row <= image->height - side && col <= image->width - side);
    const walk w = walk_of(image, row, col, side, orientation);
    const ptrdiff_t plane = (ptrdiff_t)side * side;
    float fraction[256];
    if (image->depth == 8) /* a table of the 256 quotients: a division is not the product with 1 / 255 */
        for (int i = 0; i < 256; i++) fraction[i] = (float)i / 255.0f;
    for (ptrdiff_t y = 0; y < side; y++) {
        float *red = planes + y * side, *green = red + plane, *blue = green + plane;
        if (image->depth == 8) {
            const uint8_t *from = (const uint8_t *)image->samples + w.first + y * w.down;
            for (ptrdiff_t x = 0; x < side; x++, from += w.right) {
                red[x] = fraction[from[0]];
                green[x] = fraction[from[1]];
                blue[x] = fraction[from[2]];
            }
        } else {
            const uint16_t *from = (const uint16_t *)image->samples + w.first + y * w.down;
            for (ptrdiff_t x = 0; x < side; x++, from += w.right) {
                red[x] = (float)from[0] / 65535.0f;
                green[x] = (float)from[1] / 65535.0f;
                blue[x] = (float)from[2] / 65535.0f;
            }
        }
    }
}
