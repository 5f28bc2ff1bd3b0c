/* Tiled TIFF by libtiff: writing, and crops that read only the tiles they touch. */
#include "data/tiled.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/atomic_file.h"
#include "data/image_codec.h"
#include "data/tiff_file.h"

/* ---- writing ---- */

/* The part of the image under the tile at (row, col), padded at the edges by repeating the last column and row. */
static void cut_tile(const dukd_image *image, int32_t row, int32_t col, int32_t side, unsigned char *tile) {
    const size_t pixel = 3 * (size_t)(image->depth / 8);
    const int32_t width = side < image->width - col ? side : image->width - col;
    const int32_t height = side < image->height - row ? side : image->height - row;
    const unsigned char *samples = image->samples;
    for (int32_t y = 0; y < side; y++) {
        unsigned char *out = tile + (size_t)y * side * pixel;
        const int32_t from = row + (y < height ? y : height - 1);
        memcpy(out, samples + ((size_t)from * image->width + col) * pixel, (size_t)width * pixel);
        for (int32_t x = width; x < side; x++) memcpy(out + x * pixel, out + (x - 1) * pixel, pixel);
    }
}

static int write_tiles(dukd_tiff_file *t, const dukd_image *image, int32_t side, const char *description,
                       dukd_failure *f) {
    TIFF *tiff = t->tiff;
    int status = DUKD_DONE;
    const int64_t tile_bytes = (int64_t)side * side * 3 * (image->depth / 8);
    unsigned char *tile = malloc((size_t)tile_bytes);
    if (!tile) return dukd_fail_memory(f, "a tile", (unsigned long long)tile_bytes);
    int good = TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)image->width) &&
               TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)image->height) &&
               TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, image->depth) &&
               TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3) &&
               TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB) &&
               TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) &&
               TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE) &&
               TIFFSetField(tiff, TIFFTAG_TILEWIDTH, (uint32_t)side) &&
               TIFFSetField(tiff, TIFFTAG_TILELENGTH, (uint32_t)side) &&
               (!description || TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, description));
    for (int32_t row = 0; good && row < image->height; row += side) {
        for (int32_t col = 0; good && col < image->width; col += side) {
            cut_tile(image, row, col, side, tile);
            const uint32_t number = TIFFComputeTile(tiff, (uint32_t)col, (uint32_t)row, 0, 0);
            good = TIFFWriteEncodedTile(tiff, number, tile, tile_bytes) == tile_bytes;
        }
    }
    good = good && TIFFWriteDirectory(tiff);
    if (!good || *t->problem) status = dukd_tiff_fail(t, "cannot be written", f);
    free(tile);
    return status;
}

int dukd_tiled_write(const char *path, const dukd_image *image, int32_t side, const char *description,
                     dukd_failure *f) {
    if (side < 16 || side > DUKD_TILE_MAX_SIDE || side % 16) {
        return dukd_fail(f, DUKD_MISUSED, "tiles of %d pixels: their side is a multiple of 16, up to %d",
                         side, DUKD_TILE_MAX_SIDE);
    }
    dukd_atomic_file *file;
    int status = dukd_atomic_file_open(&file, path, f);
    if (status) return status;
    /* Tiles are whole at the edges; offsets beyond 4 GiB need BigTIFF. */
    const int64_t across = (image->width + side - 1) / side, down = (image->height + side - 1) / side;
    const int64_t bytes = across * down * side * side * 3 * (image->depth / 8);
    dukd_tiff_file tiff;
    status = dukd_tiff_open(&tiff, path, fileno(dukd_atomic_file_stream(file)),
                            bytes > 4000000000LL ? "w8" : "w", f);
    if (!status) status = write_tiles(&tiff, image, side, description, f);
    dukd_tiff_close(&tiff);
    if (!status && *tiff.problem)
        status = dukd_tiff_fail(&tiff, "cannot be written", f); /* found out by closing */
    if (!status) return dukd_atomic_file_commit(file, f);
    dukd_atomic_file_abandon(file);
    return status;
}

/* ---- reading ---- */

struct dukd_tiled {
    dukd_tiff_file file;
    char *path;
    dukd_tiled_info info;
    int64_t tile_bytes;
    unsigned char *tile; /* one, decoded */
};

static int describe(dukd_tiled *t, dukd_failure *f) {
    TIFF *tiff = t->file.tiff;
    uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0;
    uint16_t bits = 0, samples = 0, photometric = 0, planar = 0, format = 0, orientation = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
    if (!TIFFIsTiled(tiff) || photometric != PHOTOMETRIC_RGB || (bits != 8 && bits != 16) || samples != 3 ||
        planar != PLANARCONFIG_CONTIG || format != SAMPLEFORMAT_UINT || orientation != ORIENTATION_TOPLEFT) {
        return dukd_fail(f, DUKD_FAILED,
                         "%s: not a tiled RGB TIFF of 8 or 16 bits: make one by dukd-host prepare", t->path);
    }
    int status = dukd_image_check_size(t->path, width, height, f);
    if (status) return status;
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    if (tile_width < 1 || tile_height < 1 || tile_width > DUKD_TILE_MAX_SIDE ||
        tile_height > DUKD_TILE_MAX_SIDE) {
        return dukd_fail(f, DUKD_FAILED,
                         "%s: its tiles have %u x %u pixels: make it anew by dukd-host prepare", t->path,
                         tile_width, tile_height);
    }
    t->tile_bytes = (int64_t)tile_width * tile_height * 3 * (bits / 8);
    if (TIFFTileSize64(tiff) != (uint64_t)t->tile_bytes) {
        return dukd_tiff_fail(&t->file, "damaged TIFF file: make it anew by dukd-host prepare", f);
    }
    const char *description = NULL;
    TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &description);
    t->info = (dukd_tiled_info){.width = (int32_t)width,
                                .height = (int32_t)height,
                                .depth = bits,
                                .tile_width = (int32_t)tile_width,
                                .tile_height = (int32_t)tile_height,
                                .description = description};
    return DUKD_DONE;
}

int dukd_tiled_open(dukd_tiled **out, const char *path, dukd_failure *f) {
    *out = NULL;
    int status = DUKD_DONE;
    struct stat info;
    dukd_tiled *t = calloc(1, sizeof *t);
    if (!t) return dukd_fail_memory(f, "a file handle", sizeof *t);
    t->file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    t->path = strdup(path);
    if (t->file.fd < 0 || fstat(t->file.fd, &info)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: no regular file", path);
    } else if (!t->path) {
        status = dukd_fail_memory(f, "a file name", strlen(path));
    }
    if (!status) status = dukd_tiff_open(&t->file, t->path, t->file.fd, "rm", f);
    if (!status) status = describe(t, f);
    if (status) {
        dukd_tiled_close(t);
        return status;
    }
    *out = t;
    return DUKD_DONE;
}

void dukd_tiled_close(dukd_tiled *t) {
    if (!t) return;
    dukd_tiff_close(&t->file);
    if (t->file.fd >= 0) close(t->file.fd);
    free(t->path);
    free(t->tile);
    free(t);
}

dukd_tiled_info dukd_tiled_describe(const dukd_tiled *t) {
    return t->info;
}
int64_t dukd_tiled_bytes_read(const dukd_tiled *t) {
    return t->file.bytes_read;
}

int dukd_tiled_crop(dukd_tiled *t, int32_t row, int32_t col, int32_t height, int32_t width, void *samples,
                    dukd_failure *f) {
    const dukd_tiled_info *info = &t->info;
    if (row < 0 || col < 0 || height < 1 || width < 1 || row > info->height - height ||
        col > info->width - width) {
        return dukd_fail(
            f, DUKD_MISUSED,
            "%s: a crop of %d x %d pixels at column %d, row %d is not inside the image's %d x %d", t->path,
            width, height, col, row, info->width, info->height);
    }
    if (!t->tile) t->tile = malloc((size_t)t->tile_bytes);
    if (!t->tile) return dukd_fail_memory(f, "a tile", (unsigned long long)t->tile_bytes);
    const size_t pixel = 3 * (size_t)(info->depth / 8);
    const int64_t tw = info->tile_width, th = info->tile_height;
    const int64_t bottom = (int64_t)row + height, right = (int64_t)col + width;
    for (int64_t y = row / th * th; y < bottom; y += th) {
        for (int64_t x = col / tw * tw; x < right; x += tw) {
            const uint32_t number = TIFFComputeTile(t->file.tiff, (uint32_t)x, (uint32_t)y, 0, 0);
            if (TIFFReadEncodedTile(t->file.tiff, number, t->tile, t->tile_bytes) != t->tile_bytes ||
                t->file.damaged) {
                return dukd_tiff_fail(&t->file, "damaged or truncated: make it anew by dukd-host prepare", f);
            }
            const int64_t top = y > row ? y : row, end = y + th < bottom ? y + th : bottom;
            const int64_t left = x > col ? x : col, stop = x + tw < right ? x + tw : right;
            for (int64_t r = top; r < end; r++) {
                memcpy((unsigned char *)samples + ((r - row) * width + left - col) * (int64_t)pixel,
                       t->tile + ((r - y) * tw + left - x) * (int64_t)pixel, (size_t)(stop - left) * pixel);
            }
        }
    }
    return DUKD_DONE;
}
