/* EXIF orientation: the one tag of an EXIF block that matters here, and turning an image by it. */
#include <stdlib.h>
#include <string.h>

#include "data/image_codec.h"

static uint32_t number(const unsigned char *p, int bytes, int big_endian) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | p[big_endian ? i : bytes - 1 - i];
    return value;
}

int32_t dukd_exif_orientation(const unsigned char *exif, size_t bytes) {
    enum { HEADER = 8, ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3, LONG = 4 };
    if (bytes < HEADER) return 1;
    int big_endian;
    if (!memcmp(exif, "II*\0", 4)) {
        big_endian = 0;
    } else if (!memcmp(exif, "MM\0*", 4)) {
        big_endian = 1;
    } else {
        return 1;
    }
    const size_t directory = number(exif + 4, 4, big_endian);
    if (directory > bytes || bytes - directory < 2) return 1;
    const size_t entries = number(exif + directory, 2, big_endian);
    const size_t room = (bytes - directory - 2) / ENTRY; /* a damaged count must not lead outside the block */
    const unsigned char *entry = exif + directory + 2;
    for (size_t i = 0; i < entries && i < room; i++, entry += ENTRY) {
        if (number(entry, 2, big_endian) != ORIENTATION) continue;
        const uint32_t type = number(entry + 2, 2, big_endian);
        if ((type != SHORT && type != LONG) || number(entry + 4, 4, big_endian) != 1) return 1;
        const uint32_t value = number(entry + 8, type == SHORT ? 2 : 4, big_endian);
        return value >= 1 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

/* out[r][c] = the pixel `row` and `column` steps from `first`, all counted in pixels. */
static void gather8(const uint8_t *in, int64_t first, int64_t row, int64_t column, int32_t width,
                    int32_t height, uint8_t *out) {
    for (int32_t r = 0; r < height; r++) {
        for (int32_t c = 0; c < width; c++, out += 3) memcpy(out, in + 3 * (first + r * row + c * column), 3);
    }
}

static void gather16(const uint16_t *in, int64_t first, int64_t row, int64_t column, int32_t width,
                     int32_t height, uint16_t *out) {
    for (int32_t r = 0; r < height; r++) {
        for (int32_t c = 0; c < width; c++, out += 3) memcpy(out, in + 3 * (first + r * row + c * column), 6);
    }
}

int dukd_image_orient(dukd_image *image, int32_t orientation, const char *name, dukd_failure *f) {
    const int64_t w = image->width, h = image->height;
    const int transposes = orientation >= 5;
    if (!image->samples) { /* a header */
        if (transposes) {
            image->width = (int32_t)h;
            image->height = (int32_t)w;
        }
        return DUKD_DONE;
    }
    dukd_image out;
    int status = dukd_image_create(&out, (int32_t)(transposes ? h : w), (int32_t)(transposes ? w : h),
                                   image->depth, f);
    if (status) return dukd_fail(f, status, "%s: cannot be turned upright", name);
    /* Where the upright image's first pixel lies in the stored one, and what a step down and a step right are
     * there. */
    const struct {
        int64_t first, row, column;
    } walks[8] = {
        {0, w, 1},            /* 1 upright */
        {w - 1, w, -1},       /* 2 mirrored left-right */
        {h * w - 1, -w, -1},  /* 3 turned by 180 degrees */
        {(h - 1) * w, -w, 1}, /* 4 mirrored up-down */
        {0, 1, w},            /* 5 transposed */
        {(h - 1) * w, 1, -w}, /* 6 to be turned clockwise by 90 degrees */
        {h * w - 1, -1, -w},  /* 7 transposed along the other diagonal */
        {w - 1, -1, w},       /* 8 to be turned counter-clockwise by 90 degrees */
    };
    const int64_t first = walks[orientation - 1].first, row = walks[orientation - 1].row,
                  column = walks[orientation - 1].column;
    if (image->depth == 8) {
        gather8(image->samples, first, row, column, out.width, out.height, out.samples);
    } else {
        gather16(image->samples, first, row, column, out.width, out.height, out.samples);
    }
    dukd_image_free(image);
    *image = out;
    return DUKD_DONE;
}
