/* Writing PNG, TIFF and JPEG files for tests. */
#include "image_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jpeglib.h>
#include <png.h>
#include <tiffio.h>

#include "support/fill.h"

stored_samples stored_random(int32_t width, int32_t height, int32_t channels, int32_t bits, uint64_t seed) {
    const size_t count = (size_t)width * (size_t)height * (size_t)channels;
    stored_samples s = {width, height, channels, bits, malloc(count * sizeof(uint16_t))};
    assert_non_null(s.samples);
    for (size_t i = 0; i < count; i++) s.samples[i] = (uint16_t)(dukd_fill_bits(seed, i) >> (64 - bits));
    return s;
}

void stored_free(stored_samples *s) {
    free(s->samples);
    s->samples = NULL;
}

/* A new file: file systems flush one that is cut to nothing and written again, which makes thousands of them slow. */
static FILE *create(const char *path) {
    unlink(path);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    return to;
}

/* One row (of `channels` samples a pixel, `step` apart) as the files have it: packed bits, 16 bit in native order. */
static size_t pack_row(const uint16_t *in, int32_t count, int32_t step, int32_t bits, unsigned char *out) {
    const size_t bytes = ((size_t)count * (size_t)bits + 7) / 8;
    memset(out, 0, bytes);
    for (int32_t i = 0; i < count; i++) {
        const uint16_t v = in[(size_t)i * (size_t)step];
        if (bits == 16) {
            memcpy(out + 2 * (size_t)i, &v, 2);
        } else {
            out[(size_t)i * (size_t)bits / 8] |= (unsigned char)(v << (8 - bits - i * bits % 8));
        }
    }
    return bytes;
}

/* ---- PNG ---- */

static void put_chunk(FILE *to, const char *type, const unsigned char *data, size_t bytes) {
    unsigned char all[80];
    assert_true(bytes <= 64);
    memcpy(all, type, 4);
    memcpy(all + 4, data, bytes);
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < bytes + 4; i++) {
        crc ^= all[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    crc = ~crc;
    for (int i = 3; i >= 0; i--) fputc((int)(bytes >> (8 * i) & 255), to);
    fwrite(all, 1, bytes + 4, to);
    for (int i = 3; i >= 0; i--) fputc((int)(crc >> (8 * i) & 255), to);
}

void fixture_png(const char *path, const stored_samples *s, const png_kind *kind) {
    FILE *to = create(path);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    png_init_io(png, to);
    png_set_IHDR(png, info, (png_uint_32)s->width, (png_uint_32)s->height, s->bits, kind->type,
                 kind->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (kind->palette) {
        png_color colours[256];
        for (int i = 0; i < kind->colours; i++)
            colours[i] =
                (png_color){kind->palette[3 * i], kind->palette[3 * i + 1], kind->palette[3 * i + 2]};
        png_set_PLTE(png, info, colours, kind->colours);
    }
    if (kind->transparency) {
        png_byte alpha[256];
        for (int i = 0; i < 256; i++) alpha[i] = (png_byte)i;
        png_color_16 key = {
            .red = s->samples[0], .green = s->samples[0], .blue = s->samples[0], .gray = s->samples[0]};
        png_set_tRNS(png, info, alpha, kind->palette ? kind->colours : 1, kind->palette ? NULL : &key);
    }
    png_write_info(png, info);
    if (kind->exif && !kind->exif_last) put_chunk(to, "eXIf", kind->exif, kind->exif_bytes);
    const uint16_t probe = 1;
    if (s->bits == 16 && *(const unsigned char *)&probe == 1) png_set_swap(png);
    const int passes = png_set_interlace_handling(png);
    unsigned char *row = malloc((size_t)s->width * 8);
    assert_non_null(row);
    for (int pass = 0; pass < passes; pass++) {
        for (int32_t y = 0; y < s->height; y++) {
            pack_row(s->samples + (size_t)y * (size_t)(s->width * s->channels), s->width * s->channels, 1,
                     s->bits, row);
            png_write_row(png, row);
        }
    }
    free(row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    if (kind->exif && kind->exif_last) {
        assert_int_equal(fseek(to, -12, SEEK_END), 0); /* in the place of IEND, which follows */
        put_chunk(to, "eXIf", kind->exif, kind->exif_bytes);
        put_chunk(to, "IEND", kind->exif, 0);
    }
    assert_int_equal(fclose(to), 0);
}

/* ---- TIFF ---- */

/* The block at (x, y) of `width` x `height` pixels of one plane (or of all channels), padded by zeros. */
static tmsize_t pack_block(const stored_samples *s, int32_t x, int32_t y, int32_t width, int32_t height,
                           int plane, unsigned char *out) {
    const int32_t channels = plane < 0 ? s->channels : 1;
    uint16_t *row = calloc((size_t)(width * channels), sizeof *row);
    assert_non_null(row);
    size_t bytes = 0;
    for (int32_t r = 0; r < height; r++) {
        for (int32_t c = 0; c < width; c++) {
            for (int32_t k = 0; k < channels; k++) {
                const int inside = y + r < s->height && x + c < s->width;
                const size_t pixel = (size_t)(y + r) * (size_t)s->width + (size_t)(x + c);
                row[c * channels + k] =
                    inside ? s->samples[pixel * (size_t)s->channels + (size_t)(plane < 0 ? k : plane)] : 0;
            }
        }
        bytes += pack_row(row, width * channels, 1, s->bits, out + bytes);
    }
    free(row);
    return (tmsize_t)bytes;
}

void fixture_tiff(const char *path, const stored_samples *s, const tiff_kind *kind) {
    char mode[4] = "w";
    strcat(mode, kind->big_endian ? "b" : "l");
    if (kind->big) strcat(mode, "8");
    unlink(path);
    TIFF *tiff = TIFFOpen(path, mode);
    assert_non_null(tiff);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)s->width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)s->height);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, s->bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, s->channels);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, kind->photometric);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, kind->compression ? kind->compression : COMPRESSION_NONE);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, kind->separate ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
    if (kind->predictor) TIFFSetField(tiff, TIFFTAG_PREDICTOR, PREDICTOR_HORIZONTAL);
    if (kind->orientation) TIFFSetField(tiff, TIFFTAG_ORIENTATION, kind->orientation);
    if (kind->format) TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, kind->format);
    if (kind->map) TIFFSetField(tiff, TIFFTAG_COLORMAP, kind->map, kind->map + 256, kind->map + 512);
    const int colours = kind->photometric == PHOTOMETRIC_RGB         ? 3
                        : kind->photometric == PHOTOMETRIC_SEPARATED ? 4
                                                                     : 1;
    if (s->channels > colours) {
        const uint16_t extra[1] = {kind->alpha};
        TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, extra);
    }
    const int32_t width = kind->tile ? kind->tile : s->width;
    const int32_t height = kind->tile ? kind->tile : kind->strip ? kind->strip : s->height;
    if (kind->tile) {
        TIFFSetField(tiff, TIFFTAG_TILEWIDTH, (uint32_t)width);
        TIFFSetField(tiff, TIFFTAG_TILELENGTH, (uint32_t)height);
    } else {
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, (uint32_t)height);
    }
    unsigned char *block = malloc((size_t)width * (size_t)height * (size_t)s->channels * 2 + 8);
    assert_non_null(block);
    for (int plane = kind->separate ? 0 : -1; plane < (kind->separate ? s->channels : 0); plane++) {
        const uint16_t number = (uint16_t)(plane < 0 ? 0 : plane);
        for (int32_t y = 0; y < s->height; y += height) {
            for (int32_t x = 0; x < s->width; x += width) {
                const int32_t rows = kind->tile || height < s->height - y ? height : s->height - y;
                const tmsize_t bytes = pack_block(s, x, y, width, rows, plane, block);
                if (kind->tile) {
                    assert_true(
                        TIFFWriteEncodedTile(tiff, TIFFComputeTile(tiff, (uint32_t)x, (uint32_t)y, 0, number),
                                             block, bytes) > 0);
                } else {
                    assert_true(TIFFWriteEncodedStrip(tiff, TIFFComputeStrip(tiff, (uint32_t)y, number),
                                                      block, bytes) > 0);
                }
            }
        }
    }
    free(block);
    TIFFClose(tiff);
}

/* ---- JPEG ---- */

void fixture_jpeg(const char *path, const stored_samples *s, const jpeg_kind *kind) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    FILE *to = create(path);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, to);
    jpeg.image_width = (JDIMENSION)s->width;
    jpeg.image_height = (JDIMENSION)s->height;
    jpeg.input_components = s->channels;
    jpeg.in_color_space = kind->cmyk ? JCS_CMYK : kind->grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, kind->quality, TRUE);
    if (!kind->subsampled) jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1;
    if (kind->progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    if (kind->exif) jpeg_write_marker(&jpeg, JPEG_APP0 + 1, kind->exif, (unsigned)kind->exif_bytes);
    unsigned char *row = malloc((size_t)s->width * (size_t)s->channels);
    assert_non_null(row);
    for (int32_t y = 0; y < s->height; y++) {
        pack_row(s->samples + (size_t)y * (size_t)(s->width * s->channels), s->width * s->channels, 1, 8,
                 row);
        JSAMPROW rows[1] = {row};
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    free(row);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    assert_int_equal(fclose(to), 0);
}

/* ---- reading ---- */

/* Reads `path`; header and pixels must agree. */
dukd_image fixture_read(const char *path) {
    dukd_failure f = {0};
    dukd_image image;
    int32_t width, height, depth;
    if (dukd_image_read_header(path, &width, &height, &depth, &f) || dukd_image_read(path, &image, &f)) {
        fail_msg("%s", f.message);
    }
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.depth, depth);
    return image;
}

/* Must fail with a message that names the file and holds `part`. */
void fixture_refused(const char *path, const char *part) {
    dukd_failure f = {0};
    dukd_image image;
    assert_int_equal(dukd_image_read(path, &image, &f), DUKD_FAILED);
    assert_null(image.samples);
    if (!strstr(f.message, path) || !strstr(f.message, part)) fail_msg("'%s' lacks '%s'", f.message, part);
}

uint32_t fixture_sample(const dukd_image *image, int32_t x, int32_t y, int c) {
    const size_t i = ((size_t)y * (size_t)image->width + (size_t)x) * 3 + (size_t)c;
    return image->depth == 8 ? ((const uint8_t *)image->samples)[i] : ((const uint16_t *)image->samples)[i];
}

/* ---- EXIF and files ---- */

size_t fixture_exif(unsigned char out[64], int orientation, int big_endian, int prefix) {
    static const unsigned char little[] = {'I', 'I', 42, 0, 8, 0,   0,   0,   2, 0,    0x0f, 1, 2,
                                           0,   4,   0,  0, 0, 'a', 'b', 'c', 0, 0x12, 1,    3, 0,
                                           1,   0,   0,  0, 0, 0,   0,   0,   0, 0,    0,    0};
    static const unsigned char big[] = {'M', 'M', 0, 42, 0,    0, 0, 8, 0, 2, 1, 0x0f, 0, 2, 0, 0, 0, 4, 'a',
                                        'b', 'c', 0, 1,  0x12, 0, 3, 0, 0, 0, 1, 0,    0, 0, 0, 0, 0, 0, 0};
    const size_t skip = prefix ? 6 : 0;
    memcpy(out, "Exif\0\0", 6);
    memcpy(out + skip, big_endian ? big : little, sizeof big);
    out[skip + 30 + (big_endian ? 1 : 0)] = (unsigned char)orientation;
    return skip + sizeof big;
}

unsigned char *fixture_load(const char *path, size_t *bytes) {
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    fseek(from, 0, SEEK_END);
    *bytes = (size_t)ftell(from);
    rewind(from);
    unsigned char *data = malloc(*bytes ? *bytes : 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, from), *bytes);
    fclose(from);
    return data;
}

void fixture_save(const char *path, const void *data, size_t bytes) {
    FILE *to = create(path);
    assert_int_equal(fwrite(data, 1, bytes, to), bytes);
    assert_int_equal(fclose(to), 0);
}
