/* Decoding PNG with libpng. */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/image_codec.h"

/* Everything that outlives a longjmp lives here, in the caller's frame. */
typedef struct {
    const dukd_image_source *source;
    png_structp png;
    png_infop info;
    dukd_image image;
    int32_t orientation;
    char problem[256]; /* what libpng said */
} png_reading;

static void on_error(png_structp png, png_const_charp message) {
    png_reading *r = png_get_error_ptr(png);
    snprintf(r->problem, sizeof r->problem, "%s", message);
    png_longjmp(png, 1);
}

/* What libpng only warns about is in chunks that do not carry pixels, or is behind them. */
static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void ask_for_rgb(png_reading *r) {
    const png_byte type = png_get_color_type(r->png, r->info);
    const png_byte bits = png_get_bit_depth(r->png, r->info);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r->png);
    if (!(type & PNG_COLOR_MASK_COLOR)) {
        if (bits < 8) png_set_expand_gray_1_2_4_to_8(r->png);
        png_set_gray_to_rgb(r->png);
    }
    png_set_strip_alpha(
        r->png); /* a palette's tRNS becomes alpha above; without it a colour key is ignored */
    const uint16_t probe = 1;
    if (bits == 16 && *(const unsigned char *)&probe == 1) png_set_swap(r->png);
}

/* Walks the chunks without reading the pixels: orientation, which may stand behind them, and whether the file has its end. A
 * truncated file is so found when a data set is opened, not hours later. */
static int walk_chunks(png_reading *r, dukd_failure *f) {
    enum { SIGNATURE = 8, FRAME = 12 }; /* a chunk is length, type, data, CRC */
    const int fd = fileno(r->source->stream);
    for (int64_t at = SIGNATURE;;) {
        unsigned char head[8];
        if (pread(fd, head, sizeof head, at) != (ssize_t)sizeof head) break;
        const int64_t length = (int64_t)png_get_uint_32(head);
        if (length > r->source->size - at - FRAME) break;
        if (!memcmp(head + 4, "IEND", 4)) return DUKD_DONE;
        if (!memcmp(head + 4, "eXIf", 4)) {
            unsigned char exif[4096]; /* the first directory is at the beginning */
            const size_t bytes = length < (int64_t)sizeof exif ? (size_t)length : sizeof exif;
            if (pread(fd, exif, bytes, at + 8) != (ssize_t)bytes) break;
            r->orientation = dukd_exif_orientation(exif, bytes);
        }
        at += FRAME + length;
    }
    return dukd_fail(f, DUKD_FAILED,
                     "%s: damaged or truncated PNG file (it does not end with IEND): replace it",
                     r->source->name);
}

/* The part that libpng may leave by longjmp. Returns 0, or a status with *f set, or -1 with r->problem set.
 */
static int decode(png_reading *r, int header_only, dukd_failure *f) {
    if (setjmp(png_jmpbuf(r->png))) return -1;
    png_init_io(r->png, r->source->stream);
    png_set_user_limits(r->png, PNG_UINT_31_MAX,
                        PNG_UINT_31_MAX); /* checked below, with a message that says more */
    png_read_info(r->png, r->info);

    const png_uint_32 width = png_get_image_width(r->png, r->info),
                      height = png_get_image_height(r->png, r->info);
    int status = dukd_image_check_size(r->source->name, width, height, f);
    if (status) return status;
    const int32_t depth = png_get_bit_depth(r->png, r->info) == 16 ? 16 : 8;
    status = walk_chunks(r, f);
    if (status) return status;
    if (header_only) {
        r->image = (dukd_image){.width = (int32_t)width, .height = (int32_t)height, .depth = depth};
        return 0;
    }
    ask_for_rgb(r);
    const int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    const size_t row_bytes = (size_t)width * 3 * (size_t)(depth / 8);
    if (png_get_rowbytes(r->png, r->info) != row_bytes) png_error(r->png, "its rows are not RGB");
    status = dukd_image_create(&r->image, (int32_t)width, (int32_t)height, depth, f);
    if (status) return status;
    if (passes > 1) memset(r->image.samples, 0, row_bytes * height); /* passes merge into what is there */
    for (int pass = 0; pass < passes; pass++) {
        png_bytep row = r->image.samples;
        for (png_uint_32 y = 0; y < height; y++, row += row_bytes) png_read_row(r->png, row, NULL);
    }
    png_read_end(r->png, NULL);
    return 0;
}

int dukd_png_decode(const dukd_image_source *source, int header_only, dukd_image *out, int32_t *orientation,
                    dukd_failure *f) {
    png_reading r = {.source = source, .orientation = 1};
    int status;
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    if (r.png) r.info = png_create_info_struct(r.png);
    if (!r.info) {
        status = dukd_fail(f, DUKD_FAILED, "%s: out of memory, or a libpng that does not fit: %s",
                           source->name, r.problem);
    } else {
        status = decode(&r, header_only, f);
        if (status < 0) {
            status = dukd_fail(f, DUKD_FAILED, "%s: damaged or truncated PNG file (libpng: %s): replace it",
                               source->name, r.problem);
        }
    }
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (status) {
        dukd_image_free(&r.image);
        return status;
    }
    *out = r.image;
    *orientation = r.orientation;
    return DUKD_DONE;
}
