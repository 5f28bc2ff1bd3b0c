/* Any bytes as an image file: refused with a message that names it, or an image whose header and pixels agree; and as a tiled TIFF, a
 * crop of which is the same part of the image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/image_codec.h"
#include "data/tiled.h"
#include "fuzz.h"

enum { MOST_PIXELS = 1 << 20 }; /* larger images only take longer */

static void check(int condition) {
    if (!condition) abort();
}

static void check_tiled(const char *path, const dukd_image *image) {
    dukd_failure f = {0};
    dukd_tiled *t;
    if (dukd_tiled_open(&t, path, &f)) {
        check(strstr(f.message, path) != NULL);
        return;
    }
    const dukd_tiled_info info = dukd_tiled_describe(t);
    if ((int64_t)info.width * info.height > MOST_PIXELS ||
        (int64_t)info.tile_width * info.tile_height > MOST_PIXELS) {
        dukd_tiled_close(t);
        return;
    }
    const int32_t row = info.height / 3, col = info.width / 2, height = info.height - row,
                  width = info.width - col;
    const size_t pixel = 3 * (size_t)(info.depth / 8), row_bytes = (size_t)width * pixel;
    unsigned char *crop = malloc(row_bytes * (size_t)height);
    check(crop != NULL);
    const int status = dukd_tiled_crop(t, row, col, height, width, crop, &f);
    check(!status || strstr(f.message, path) != NULL);
    if (!status && image->samples) { /* what is refused as a whole image may have this part */
        check(info.width == image->width && info.height == image->height && info.depth == image->depth);
        for (size_t y = 0; y < (size_t)height; y++) {
            const size_t at = ((size_t)row + y) * (size_t)info.width + (size_t)col;
            check(
                !memcmp(crop + y * row_bytes, (const unsigned char *)image->samples + at * pixel, row_bytes));
        }
    }
    free(crop);
    dukd_tiled_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const int fd = memfd_create("input", MFD_CLOEXEC);
    FILE *stream = fd >= 0 ? fdopen(fd, "w+b") : NULL;
    check(stream != NULL);
    check(pwrite(fd, data, size, 0) == (ssize_t)size);
    const dukd_image_source source = {.name = "input", .stream = stream, .size = (int64_t)size};
    dukd_image header = {0}, image = {0};
    dukd_failure f = {0};
    if (dukd_image_decode(&source, 1, &header, &f)) {
        check(f.status == DUKD_FAILED && !strncmp(f.message, "input: ", 7));
    } else if ((int64_t)header.width * header.height <= MOST_PIXELS) {
        check(header.width > 0 && header.height > 0 && !header.samples);
        rewind(stream);
        if (dukd_image_decode(&source, 0, &image, &f)) {
            check(!image.samples && !strncmp(f.message, "input: ", 7));
        } else {
            check(image.width == header.width && image.height == header.height &&
                  image.depth == header.depth);
        }
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        check_tiled(path, &image);
    }
    dukd_image_free(&image);
    fclose(stream);
    return 0;
}
