/* Writing PNG with libpng. */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "common/atomic_file.h"
#include "data/image.h"

/* Everything that outlives a longjmp lives here, in the caller's frame. */
typedef struct {
    dukd_atomic_file *file;
    png_structp png;
    png_infop info;
    dukd_failure *failure;
    char problem[256]; /* what libpng said */
} png_writing;

static void on_error(png_structp png, png_const_charp message) {
    png_writing *w = png_get_error_ptr(png);
    snprintf(w->problem, sizeof w->problem, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_write(png_structp png, png_bytep data, size_t bytes) {
    png_writing *w = png_get_io_ptr(png);
    if (dukd_atomic_file_write(w->file, data, bytes, w->failure)) png_error(png, "write error");
}

static void on_flush(png_structp png) {
    (void)png;
}

/* The part that libpng may leave by longjmp. */
static int encode(png_writing *w, const dukd_image *image) {
    if (setjmp(png_jmpbuf(w->png))) return -1;
    png_set_write_fn(w->png, w, on_write, on_flush);
    png_set_IHDR(w->png, w->info, (png_uint_32)image->width, (png_uint_32)image->height, image->depth,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    const uint16_t probe = 1;
    if (image->depth == 16 && *(const unsigned char *)&probe == 1) png_set_swap(w->png);
    const size_t row_bytes = (size_t)image->width * 3 * (size_t)(image->depth / 8);
    const unsigned char *row = image->samples;
    for (int32_t y = 0; y < image->height; y++, row += row_bytes) png_write_row(w->png, row);
    png_write_end(w->png, NULL);
    return 0;
}

int dukd_image_write_png(const char *path, const dukd_image *image, dukd_failure *f) {
    png_writing w = {.failure = f};
    int status = dukd_atomic_file_open(&w.file, path, f);
    if (status) return status;
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning);
    if (w.png) w.info = png_create_info_struct(w.png);
    if (!w.info) {
        status = dukd_fail(f, DUKD_FAILED, "%s: out of memory, or a libpng that does not fit: %s", path,
                           w.problem);
    } else if (encode(&w, image)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", path,
                           w.problem); /* unless on_write has said why */
    }
    png_destroy_write_struct(&w.png, &w.info);
    if (!status) return dukd_atomic_file_commit(w.file, f);
    dukd_atomic_file_abandon(w.file);
    return status;
}
