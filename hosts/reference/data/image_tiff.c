/* Decoding TIFF with libtiff.
 *
 * Grey and RGB of 8 and 16 bits and palettes of 8 are unpacked here, from strips or tiles, contiguous or one plane
 * a colour, in any compression libtiff knows. Everything else that has a colour (1 to 4 bits, YCbCr, CMYK, Lab)
 * goes through libtiff's own conversion to 8-bit RGB. */
#include <stdlib.h>
#include <string.h>

#include "data/image_codec.h"
#include "data/tiff_file.h"

static const int64_t LARGEST_TILE = (int64_t)1 << 30; /* bytes; a tile may be larger than its image */

typedef struct {
    dukd_tiff_file file;
    int32_t width, height, depth; /* as they come out: depth 8 or 16 */
    int32_t orientation;
    uint16_t bits, samples, photometric, planar, format; /* as stored */
    int tiled;
    int64_t block_width, block_height; /* pixels of a tile, or of a strip */
    int direct;                        /* unpacked here */
    uint8_t colours[256][3];           /* of an 8-bit sample that is not RGB: grey or palette */
} tiff_reading;

/* Which colour an 8-bit sample stands for. Returns 0 where a palette has none. */
static int fill_colours(tiff_reading *r) {
    uint16_t *map[3] = {NULL, NULL, NULL};
    const int palette = r->photometric == PHOTOMETRIC_PALETTE;
    if (palette && !TIFFGetField(r->file.tiff, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2])) return 0;
    int shift = 0; /* 8 where the palette has 16 bits, as it should; old files have 8 */
    for (int i = 0; palette && i < 256; i++) {
        if (map[0][i] > 255 || map[1][i] > 255 || map[2][i] > 255) shift = 8;
    }
    const int flip = r->photometric == PHOTOMETRIC_MINISWHITE ? 255 : 0;
    for (int i = 0; i < 256; i++) {
        for (int c = 0; c < 3; c++) r->colours[i][c] = (uint8_t)(palette ? map[c][i] >> shift : i ^ flip);
    }
    return 1;
}

/* A truncated file is found when its header is read: all its strips or tiles must lie inside it. */
static int check_extent(tiff_reading *r, int64_t size, dukd_failure *f) {
    TIFF *tiff = r->file.tiff;
    const uint32_t count = r->tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t offset = TIFFGetStrileOffset(tiff, i), bytes = TIFFGetStrileByteCount(tiff, i);
        if (offset > (uint64_t)size || bytes > (uint64_t)size - offset) {
            return dukd_tiff_fail(&r->file,
                                  "damaged or truncated TIFF file (pixels beyond its end): replace it", f);
        }
    }
    return DUKD_DONE;
}

static int read_tags(tiff_reading *r, dukd_failure *f) {
    TIFF *tiff = r->file.tiff;
    uint32_t width = 0, height = 0;
    uint16_t orientation = 1;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    int status = dukd_image_check_size(r->file.name, width, height, f);
    if (status) return status;
    r->width = (int32_t)width;
    r->height = (int32_t)height;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &r->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &r->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &r->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &r->format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
    r->orientation = orientation;
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &r->photometric)) {
        r->photometric = r->samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
    }
    r->tiled = TIFFIsTiled(tiff);
    uint32_t block_width = width, block_height = height;
    if (r->tiled) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height);
    } else {
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
        if (block_height > height) block_height = height; /* "all rows" is 2^32 - 1 */
    }
    if (!block_width || !block_height)
        return dukd_tiff_fail(&r->file, "damaged TIFF file: empty strips or tiles", f);
    r->block_width = block_width;
    r->block_height = block_height;

    if (r->format == SAMPLEFORMAT_VOID) r->format = SAMPLEFORMAT_UINT; /* "untyped" */
    /* At most one sample more than the colour needs: alpha. More are measurements, not an image. */
    const int shades = r->photometric == PHOTOMETRIC_MINISBLACK || r->photometric == PHOTOMETRIC_MINISWHITE;
    const int grey = shades && r->samples <= 2,
              palette = r->photometric == PHOTOMETRIC_PALETTE && r->samples <= 2;
    const int colour = r->photometric == PHOTOMETRIC_RGB && r->samples >= 3 && r->samples <= 4;
    r->direct = r->format == SAMPLEFORMAT_UINT &&
                (((grey || colour) && (r->bits == 8 || r->bits == 16)) || (palette && r->bits == 8));
    r->depth = r->direct ? r->bits : 8;
    char why[1024] = ""; /* libtiff's measure */
    if (r->direct ? !fill_colours(r)
                  : r->format != SAMPLEFORMAT_UINT || r->bits > 8 || r->samples > 5 ||
                        !TIFFRGBAImageOK(tiff, why)) {
        return dukd_fail(
            f, DUKD_FAILED,
            "%s: a TIFF of %d %s samples of %d bits that is not read here%s%s: convert it to RGB of 8 or "
            "16 bits",
            r->file.name, r->samples,
            r->format == SAMPLEFORMAT_UINT     ? "unsigned"
            : r->format == SAMPLEFORMAT_INT    ? "signed"
            : r->format == SAMPLEFORMAT_IEEEFP ? "floating-point"
                                               : "complex",
            r->bits, *why ? ": " : "", why);
    }
    return DUKD_DONE;
}

/* What unpacking one block needs to know. */
typedef struct {
    int32_t x, y, width, height; /* the part of the image it covers */
    int64_t row_bytes;           /* of the block */
    int32_t step;                /* samples from pixel to pixel in the block */
} tiff_block;

/* `count` samples of each pixel become channels to .. to + count - 1 of the image, or one sample all three. */
static void unpack8(const tiff_reading *r, const tiff_block *b, const uint8_t *block, int to, int count,
                    uint8_t *out) {
    const int colour = r->photometric == PHOTOMETRIC_RGB;
    for (int32_t y = 0; y < b->height; y++) {
        const uint8_t *in = block + y * b->row_bytes;
        uint8_t *row = out + ((int64_t)(b->y + y) * r->width + b->x) * 3;
        for (int32_t x = 0; x < b->width; x++, in += b->step, row += 3) {
            if (colour) {
                for (int c = 0; c < count; c++) row[to + c] = in[c];
            } else {
                memcpy(row, r->colours[in[0]], 3);
            }
        }
    }
}

static void unpack16(const tiff_reading *r, const tiff_block *b, const uint8_t *block, int to, int count,
                     uint16_t *out) {
    const int colour = r->photometric == PHOTOMETRIC_RGB;
    const uint16_t flip = r->photometric == PHOTOMETRIC_MINISWHITE ? 0xffff : 0;
    for (int32_t y = 0; y < b->height; y++) {
        const uint8_t *in = block + y * b->row_bytes;
        uint16_t *row = out + ((int64_t)(b->y + y) * r->width + b->x) * 3;
        for (int32_t x = 0; x < b->width; x++, in += 2 * b->step, row += 3) {
            uint16_t pixel[3];
            if (colour) {
                memcpy(pixel, in, 2 * (size_t)count);
                for (int c = 0; c < count; c++) row[to + c] = pixel[c];
            } else {
                memcpy(pixel, in, 2);
                row[0] = row[1] = row[2] = (uint16_t)(pixel[0] ^ flip);
            }
        }
    }
}

/* Decodes the strip or tile at (x, y) of plane `plane`; short data are an error, never zeros. */
static int read_block(tiff_reading *r, int64_t x, int64_t y, uint16_t plane, int64_t bytes, void *block,
                      dukd_failure *f) {
    TIFF *tiff = r->file.tiff;
    int64_t got;
    if (r->tiled) {
        got = TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, (uint32_t)x, (uint32_t)y, 0, plane), block,
                                  bytes);
    } else {
        got = TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, (uint32_t)y, plane), block, bytes);
    }
    if (got != bytes || r->file.damaged) {
        return dukd_tiff_fail(&r->file, "damaged or truncated TIFF file: replace it", f);
    }
    return DUKD_DONE;
}

static int read_direct(tiff_reading *r, dukd_image *image, dukd_failure *f) {
    const int separate = r->planar == PLANARCONFIG_SEPARATE && r->samples > 1;
    const int colour = r->photometric == PHOTOMETRIC_RGB;
    const int planes = separate && colour ? 3 : 1;
    const int32_t step = separate ? 1 : r->samples;
    const int64_t row_bytes = r->tiled ? TIFFTileRowSize64(r->file.tiff) : TIFFScanlineSize64(r->file.tiff);
    const int64_t expected = r->block_width * step * (r->depth / 8);
    if (row_bytes != expected || row_bytes > INT64_MAX / r->block_height) {
        return dukd_tiff_fail(&r->file, "damaged TIFF file: its strips or tiles do not fit its size", f);
    }
    if (r->tiled && row_bytes * r->block_height > LARGEST_TILE) {
        return dukd_fail(f, DUKD_FAILED,
                         "%s: tiles of %lld x %lld pixels are larger than is read here: save it again",
                         r->file.name, (long long)r->block_width, (long long)r->block_height);
    }
    void *block = malloc((size_t)(row_bytes * r->block_height));
    if (!block)
        return dukd_fail_memory(f, "a strip or tile of a TIFF",
                                (unsigned long long)(row_bytes * r->block_height));
    int status = DUKD_DONE;
    for (int plane = 0; !status && plane < planes; plane++) {
        for (int64_t y = 0; !status && y < r->height; y += r->block_height) {
            const int64_t rows = r->block_height < r->height - y ? r->block_height : r->height - y;
            const int64_t bytes =
                row_bytes * (r->tiled ? r->block_height : rows); /* tiles are whole at the edge */
            for (int64_t x = 0; !status && x < r->width; x += r->block_width) {
                const int64_t columns = r->block_width < r->width - x ? r->block_width : r->width - x;
                const tiff_block b = {(int32_t)x,    (int32_t)y, (int32_t)columns,
                                      (int32_t)rows, row_bytes,  step};
                status = read_block(r, x, y, (uint16_t)plane, bytes, block, f);
                if (status) break;
                if (r->depth == 8) {
                    unpack8(r, &b, block, plane, planes == 3 ? 1 : 3, image->samples);
                } else {
                    unpack16(r, &b, block, plane, planes == 3 ? 1 : 3, image->samples);
                }
            }
        }
    }
    free(block);
    return status;
}

/* libtiff's own conversion, a band of rows at a time: one strip's or tile's height. */
static int read_converted(tiff_reading *r, dukd_image *image, dukd_failure *f) {
    char why[1024] = "";
    const int64_t band = r->block_height < r->height ? r->block_height : r->height;
    uint32_t *raster = malloc((size_t)(band * r->width) * 4);
    if (!raster) return dukd_fail_memory(f, "rows of a TIFF", (unsigned long long)(band * r->width) * 4);
    TIFFRGBAImage conversion;
    if (!TIFFRGBAImageBegin(&conversion, r->file.tiff, 1, why)) {
        free(raster);
        return dukd_fail(f, DUKD_FAILED,
                         "%s: a TIFF that is not read here: %s: convert it to RGB of 8 or 16 bits",
                         r->file.name, why);
    }
    conversion.orientation = conversion.req_orientation = ORIENTATION_TOPLEFT; /* turned later, if at all */
    int status = DUKD_DONE;
    uint8_t *out = image->samples;
    for (int64_t y = 0; y < r->height; y += band) {
        const int64_t rows = band < r->height - y ? band : r->height - y;
        conversion.row_offset = (int)y;
        conversion.col_offset = 0;
        if (!TIFFRGBAImageGet(&conversion, raster, (uint32_t)r->width, (uint32_t)rows) || r->file.damaged) {
            status = dukd_tiff_fail(&r->file, "damaged or truncated TIFF file: replace it", f);
            break;
        }
        for (int64_t i = 0; i < rows * r->width; i++, out += 3) {
            out[0] = (uint8_t)TIFFGetR(raster[i]);
            out[1] = (uint8_t)TIFFGetG(raster[i]);
            out[2] = (uint8_t)TIFFGetB(raster[i]);
        }
    }
    TIFFRGBAImageEnd(&conversion);
    free(raster);
    return status;
}

int dukd_tiff_decode(const dukd_image_source *source, int header_only, dukd_image *out, int32_t *orientation,
                     dukd_failure *f) {
    tiff_reading r = {0};
    dukd_image image = {0};
    int status = dukd_tiff_open(&r.file, source->name, fileno(source->stream), "rm", f);
    if (!status) status = read_tags(&r, f);
    if (!status) status = check_extent(&r, source->size, f);
    if (!status && header_only) image = (dukd_image){.width = r.width, .height = r.height, .depth = r.depth};
    if (!status && !header_only) {
        status = dukd_image_create(&image, r.width, r.height, r.depth, f);
        if (!status) status = r.direct ? read_direct(&r, &image, f) : read_converted(&r, &image, f);
    }
    dukd_tiff_close(&r.file);
    if (status) {
        dukd_image_free(&image);
        return status;
    }
    *out = image;
    *orientation = r.orientation;
    return DUKD_DONE;
}
