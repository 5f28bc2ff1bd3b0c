/* Reading PNG, TIFF and JPEG of every kind, orientation, files that are damaged or lie, and writing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <png.h>
#include <tiffio.h>

#include "data/image.h"
#include "data/image_codec.h"
#include "data_fixture.h"
#include "image_fixture.h"
#include "support/fill.h"

enum { W = 37, H = 29 };

/* Reads `path`; header and pixels must agree. */
static dukd_image read_good(const char *path) {
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
static void read_bad(const char *path, const char *part) {
    dukd_failure f = {0};
    dukd_image image;
    assert_int_equal(dukd_image_read(path, &image, &f), DUKD_FAILED);
    assert_null(image.samples);
    if (!strstr(f.message, path) || !strstr(f.message, part)) fail_msg("'%s' lacks '%s'", f.message, part);
}

static uint32_t sample(const dukd_image *image, int32_t x, int32_t y, int c) {
    const size_t i = ((size_t)y * (size_t)image->width + (size_t)x) * 3 + (size_t)c;
    return image->depth == 8 ? ((const uint8_t *)image->samples)[i] : ((const uint16_t *)image->samples)[i];
}

/* What a stored pixel should be read as, in the depth of the file. */
typedef uint32_t expected_sample(const stored_samples *s, size_t pixel, int c, const void *extra);

static void check(const char *path, const stored_samples *s, int32_t depth, expected_sample *expected,
                  const void *extra) {
    dukd_image image = read_good(path);
    assert_int_equal(image.width, s->width);
    assert_int_equal(image.height, s->height);
    assert_int_equal(image.depth, depth);
    for (int32_t y = 0; y < s->height; y++) {
        for (int32_t x = 0; x < s->width; x++) {
            for (int c = 0; c < 3; c++) {
                const uint32_t want = expected(s, (size_t)y * (size_t)s->width + (size_t)x, c, extra);
                if (sample(&image, x, y, c) != want) {
                    fail_msg("%s: (%d, %d) channel %d is %u, not %u", path, x, y, c, sample(&image, x, y, c),
                             want);
                }
            }
        }
    }
    dukd_image_free(&image);
}

static uint32_t of_grey(const stored_samples *s, size_t pixel, int c, const void *extra) {
    (void)c;
    (void)extra;
    const uint32_t v = s->samples[pixel * (size_t)s->channels];
    return s->bits < 8 ? v * 255 / ((1u << s->bits) - 1) : v;
}

static uint32_t of_white(const stored_samples *s, size_t pixel, int c, const void *extra) {
    return (s->bits == 16 ? 65535 : 255) - of_grey(s, pixel, c, extra);
}

static uint32_t of_rgb(const stored_samples *s, size_t pixel, int c, const void *extra) {
    (void)extra;
    return s->samples[pixel * (size_t)s->channels + (size_t)c];
}

static uint32_t of_palette(const stored_samples *s, size_t pixel, int c, const void *extra) {
    return ((const uint8_t *)extra)[3 * s->samples[pixel] + c];
}

static uint32_t of_map(const stored_samples *s, size_t pixel, int c, const void *extra) {
    return ((const uint16_t *)extra)[256 * c + s->samples[pixel]] >> 8;
}

static void test_png_kinds(void **state) {
    (void)state;
    static const struct {
        int type, channels, bits;
    } kinds[] = {
        {PNG_COLOR_TYPE_GRAY, 1, 1},    {PNG_COLOR_TYPE_GRAY, 1, 2},        {PNG_COLOR_TYPE_GRAY, 1, 4},
        {PNG_COLOR_TYPE_GRAY, 1, 8},    {PNG_COLOR_TYPE_GRAY, 1, 16},       {PNG_COLOR_TYPE_RGB, 3, 8},
        {PNG_COLOR_TYPE_RGB, 3, 16},    {PNG_COLOR_TYPE_PALETTE, 1, 1},     {PNG_COLOR_TYPE_PALETTE, 1, 2},
        {PNG_COLOR_TYPE_PALETTE, 1, 4}, {PNG_COLOR_TYPE_PALETTE, 1, 8},     {PNG_COLOR_TYPE_GRAY_ALPHA, 2, 8},
        {PNG_COLOR_TYPE_RGBA, 4, 8},    {PNG_COLOR_TYPE_GRAY_ALPHA, 2, 16}, {PNG_COLOR_TYPE_RGBA, 4, 16}};
    uint8_t palette[3 * 256];
    dukd_fill_u8(palette, sizeof palette, 5);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (int variant = 0; variant < 4; variant++) {
            const int has_palette = kinds[i].type == PNG_COLOR_TYPE_PALETTE;
            png_kind kind = {.type = kinds[i].type, .interlaced = variant & 1, .transparency = variant >> 1};
            if (kind.transparency && kinds[i].type & PNG_COLOR_MASK_ALPHA) continue;
            if (has_palette) {
                kind.palette = palette;
                kind.colours = 1 << kinds[i].bits;
            }
            stored_samples s = stored_random(W, H, kinds[i].channels, kinds[i].bits, i + 1);
            const char *path = data_path("kind.png");
            fixture_png(path, &s, &kind);
            check(path, &s, kinds[i].bits == 16 ? 16 : 8,
                  has_palette                            ? of_palette
                  : kinds[i].type & PNG_COLOR_MASK_COLOR ? of_rgb
                                                         : of_grey,
                  palette);
            stored_free(&s);
        }
    }
}

static void test_tiff_kinds(void **state) {
    (void)state;
    static const uint16_t compressions[] = {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE,
                                            COMPRESSION_PACKBITS};
    static const struct {
        uint16_t photometric;
        int channels;
        expected_sample *expected;
    } kinds[] = {{PHOTOMETRIC_MINISBLACK, 1, of_grey},
                 {PHOTOMETRIC_MINISWHITE, 1, of_white},
                 {PHOTOMETRIC_RGB, 3, of_rgb},
                 {PHOTOMETRIC_RGB, 4, of_rgb},
                 {PHOTOMETRIC_MINISBLACK, 2, of_grey}};
    const char *path = data_path("kind.tif");
    int files = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (size_t c = 0; c < sizeof compressions / sizeof *compressions; c++) {
            for (int variant = 0; variant < 2 * 2 * 2 * 4; variant++) {
                const int bits = variant & 1 ? 16 : 8, layout = variant >> 3;
                tiff_kind kind = {.photometric = kinds[k].photometric,
                                  .compression = compressions[c],
                                  .separate = variant >> 1 & 1,
                                  .big_endian = variant >> 2 & 1,
                                  .tile = layout == 2   ? 16
                                          : layout == 3 ? 48
                                                        : 0,
                                  .strip = layout == 1 ? 8 : 0,
                                  .predictor = c == 1 || c == 2,
                                  .big = layout == 1,
                                  .alpha = (uint16_t)(c % 3)};
                if (kind.separate && kinds[k].channels == 1) continue;
                stored_samples s = stored_random(W, H, kinds[k].channels, bits, (uint64_t)variant + 1);
                fixture_tiff(path, &s, &kind);
                check(path, &s, bits, kinds[k].expected, NULL);
                stored_free(&s);
                files++;
            }
        }
    }
    assert_true(files > 300);
}

static void test_tiff_converted(void **state) {
    (void)state;
    const char *path = data_path("kind.tif");
    uint16_t map[3 * 256];
    for (size_t i = 0; i < 3 * 256; i++) map[i] = (uint16_t)(dukd_fill_bits(9, i) >> 48);
    for (int layout = 0; layout < 3; layout++) {
        stored_samples s = stored_random(W, H, 1, 8, 3);
        fixture_tiff(path, &s,
                     &(tiff_kind){.photometric = PHOTOMETRIC_PALETTE,
                                  .map = map,
                                  .tile = layout == 2 ? 16 : 0,
                                  .strip = layout == 1 ? 8 : 0});
        check(path, &s, 8, of_map, map);
        stored_free(&s);
    }
    static const int narrow[] = {1, 2, 4};
    for (int i = 0; i < 3; i++) {
        for (int strip = 0; strip < 2; strip++) {
            stored_samples s = stored_random(W, H, 1, narrow[i], 4);
            fixture_tiff(path, &s,
                         &(tiff_kind){.photometric = PHOTOMETRIC_MINISBLACK, .strip = strip ? 5 : 0});
            check(path, &s, 8, of_grey, NULL);
            fixture_tiff(path, &s,
                         &(tiff_kind){.photometric = PHOTOMETRIC_MINISWHITE, .strip = strip ? 5 : 0});
            check(path, &s, 8, of_white, NULL);
            stored_free(&s);
        }
    }
    stored_samples s = stored_random(W, H, 3, 16, 4);
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .format = SAMPLEFORMAT_INT});
    read_bad(path, "signed");
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .format = SAMPLEFORMAT_IEEEFP});
    read_bad(path, "floating-point");
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_MINISBLACK});
    read_bad(path, "3 unsigned samples of 16 bits");
    stored_free(&s);
}

/* JPEG is lossy: a smooth image at quality 100 comes back nearly as it was. */
static void test_jpeg_kinds(void **state) {
    (void)state;
    const char *path = data_path("kind.jpg");
    for (int variant = 0; variant < 8; variant++) {
        const int grey = variant & 1;
        stored_samples s = stored_random(W, H, grey ? 1 : 3, 8, 1);
        for (int32_t i = 0; i < W * H; i++) {
            for (int c = 0; c < s.channels; c++)
                s.samples[i * s.channels + c] = (uint16_t)(40 + 3 * (i % W) + 2 * (i / W) + 10 * c);
        }
        fixture_jpeg(
            path, &s,
            &(jpeg_kind){
                .quality = 100, .grey = grey, .subsampled = variant >> 1 & 1, .progressive = variant >> 2});
        dukd_image image = read_good(path);
        assert_int_equal(image.width, W);
        assert_int_equal(image.height, H);
        assert_int_equal(image.depth, 8);
        for (int32_t y = 0; y < H; y++) {
            for (int32_t x = 0; x < W; x++) {
                for (int c = 0; c < 3; c++) {
                    const int want = (int)(grey ? of_grey : of_rgb)(&s, (size_t)(y * W + x), c, NULL);
                    assert_in_range(sample(&image, x, y, c), want - 4, want + 4);
                }
            }
        }
        dukd_image_free(&image);
        stored_free(&s);
    }
    /* Inverted CMYK, flat: OpenCV's rule, k - (255 - c) k / 256. */
    stored_samples s = stored_random(W, H, 4, 8, 1);
    for (int32_t i = 0; i < W * H * 4; i++) s.samples[i] = (uint16_t)((int[]){200, 100, 255, 180})[i % 4];
    fixture_jpeg(path, &s, &(jpeg_kind){.quality = 100, .cmyk = 1});
    dukd_image image = read_good(path);
    assert_int_equal(sample(&image, 5, 7, 0), 180 - 55 * 180 / 256); /* flat blocks come back exactly */
    assert_int_equal(sample(&image, 5, 7, 1), 180 - 155 * 180 / 256);
    assert_int_equal(sample(&image, 5, 7, 2), 180);
    dukd_image_free(&image);
    stored_free(&s);
}

/* Where the EXIF standard puts the stored pixel (x, y) of an image of w x h: "row 0 is the top, column 0 the right side" and so on. */
static void upright(int orientation, int32_t w, int32_t h, int32_t x, int32_t y, int32_t *to_x,
                    int32_t *to_y) {
    const int right = orientation == 2 || orientation == 3, bottom = orientation == 3 || orientation == 4;
    if (orientation <= 4) {
        *to_x = right ? w - 1 - x : x;
        *to_y = bottom ? h - 1 - y : y;
        return;
    }
    /* 5 row 0 left, column 0 top; 6 right, top; 7 right, bottom; 8 left, bottom */
    *to_x = orientation == 6 || orientation == 7 ? h - 1 - y : y;
    *to_y = orientation == 7 || orientation == 8 ? w - 1 - x : x;
}

static void check_upright(const char *path, const dukd_image *stored, int orientation) {
    dukd_image image = read_good(path);
    assert_int_equal(image.width, orientation > 4 ? stored->height : stored->width);
    assert_int_equal(image.height, orientation > 4 ? stored->width : stored->height);
    for (int32_t y = 0; y < stored->height; y++) {
        for (int32_t x = 0; x < stored->width; x++) {
            int32_t to_x, to_y;
            upright(orientation, stored->width, stored->height, x, y, &to_x, &to_y);
            for (int c = 0; c < 3; c++)
                assert_int_equal(sample(&image, to_x, to_y, c), sample(stored, x, y, c));
        }
    }
    dukd_image_free(&image);
}

static void test_orientation(void **state) {
    (void)state;
    for (int bits = 8; bits <= 16; bits += 8) {
        stored_samples s = stored_random(W, H, 3, bits, 6);
        const char *png = data_path("o.png"), *tiff = data_path("o.tif"), *jpeg = data_path("o.jpg");
        unsigned char exif[64];
        fixture_png(png, &s, &(png_kind){.type = PNG_COLOR_TYPE_RGB});
        dukd_image plain = read_good(png), plain_jpeg = {0};
        if (bits == 8) {
            fixture_jpeg(jpeg, &s, &(jpeg_kind){.quality = 90});
            plain_jpeg = read_good(jpeg);
        }
        for (int o = 1; o <= 8; o++) {
            for (int variant = 0; variant < 4; variant++) {
                const size_t bytes = fixture_exif(exif, o, variant & 1, 0);
                fixture_png(png, &s,
                            &(png_kind){.type = PNG_COLOR_TYPE_RGB,
                                        .exif = exif,
                                        .exif_bytes = bytes,
                                        .exif_last = variant >> 1});
                check_upright(png, &plain, o);
            }
            fixture_tiff(tiff, &s,
                         &(tiff_kind){.photometric = PHOTOMETRIC_RGB,
                                      .orientation = (uint16_t)o,
                                      .tile = o % 2 ? 16 : 0});
            check_upright(tiff, &plain, o);
            for (int big = 0; bits == 8 && big < 2; big++) {
                const size_t bytes = fixture_exif(exif, o, big, 1);
                fixture_jpeg(jpeg, &s, &(jpeg_kind){.quality = 90, .exif = exif, .exif_bytes = bytes});
                check_upright(jpeg, &plain_jpeg, o);
            }
        }
        dukd_image_free(&plain);
        dukd_image_free(&plain_jpeg);
        stored_free(&s);
    }
}

/* Every prefix and every changed byte of an EXIF block: some orientation, never a byte outside it (the sanitizer sees to that). */
static void test_exif_hostile(void **state) {
    (void)state;
    unsigned char exif[64];
    const size_t bytes = fixture_exif(exif, 6, 0, 0);
    assert_int_equal(dukd_exif_orientation(exif, bytes), 6);
    for (size_t n = 0; n < bytes; n++) {
        unsigned char *cut = malloc(n ? n : 1);
        memcpy(cut, exif, n);
        const int32_t o = dukd_exif_orientation(cut, n);
        assert_true(n < 34 ? o == 1 : o == 6 || o == 1);
        free(cut);
    }
    for (size_t i = 0; i < bytes; i++) {
        for (int v = 0; v < 256; v++) {
            unsigned char *changed = malloc(bytes);
            memcpy(changed, exif, bytes);
            changed[i] = (unsigned char)v;
            assert_in_range(dukd_exif_orientation(changed, bytes), 1, 8);
            free(changed);
        }
    }
    exif[30] = 9; /* no such orientation */
    assert_int_equal(dukd_exif_orientation(exif, bytes), 1);
}

/* One small file of each format, and its decoding. */
static const char *small_file(int format) {
    stored_samples s = stored_random(9, 7, 3, 8, 8);
    const char *path = data_path("small");
    switch (format) {
    case 0:
        fixture_png(path, &s, &(png_kind){.type = PNG_COLOR_TYPE_RGB});
        break;
    case 1:
        fixture_png(path, &s, &(png_kind){.type = PNG_COLOR_TYPE_RGB, .interlaced = 1});
        break;
    case 2:
        fixture_jpeg(path, &s, &(jpeg_kind){.quality = 90});
        break;
    case 3:
        fixture_jpeg(path, &s, &(jpeg_kind){.quality = 90, .progressive = 1});
        break;
    case 4:
        fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .strip = 2});
        break;
    case 5:
        fixture_tiff(
            path, &s,
            &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .tile = 16, .compression = COMPRESSION_LZW});
        break;
    default:
        fixture_tiff(path, &s,
                     &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .compression = COMPRESSION_ADOBE_DEFLATE});
        break;
    }
    stored_free(&s);
    return path;
}
enum { FORMATS = 7 };

static void test_truncated(void **state) {
    (void)state;
    for (int format = 0; format < FORMATS; format++) {
        size_t bytes;
        unsigned char *file = fixture_load(small_file(format), &bytes);
        const char *path = data_path("cut");
        for (size_t n = 1; n < bytes; n++) {
            fixture_save(path, file, n);
            dukd_image image;
            dukd_failure f = {0};
            if (dukd_image_read(path, &image, &f) == DUKD_DONE)
                fail_msg("format %d: %zu of %zu bytes were read as an image", format, n, bytes);
            assert_non_null(strstr(f.message, path));
        }
        free(file);
    }
}

/* A header is enough to see that a file is cut short, and a wrong checksum is seen even behind the last pixel. */
static void test_truncated_header(void **state) {
    (void)state;
    int32_t width, height, depth;
    size_t bytes;
    const char *path = data_path("cut");
    unsigned char *file = fixture_load(small_file(0), &bytes);
    for (size_t n = 1; n < bytes; n++) {
        dukd_failure f = {0};
        fixture_save(path, file, n);
        assert_int_equal(dukd_image_read_header(path, &width, &height, &depth, &f), DUKD_FAILED);
        assert_non_null(strstr(f.message, path));
    }
    file[bytes - 13] ^= 1; /* the last byte of the checksum of the pixels; IEND has 12 */
    fixture_save(path, file, bytes);
    read_bad(path, "CRC");
    free(file);

    file =
        fixture_load(small_file(4), &bytes); /* TIFF of four strips: the last one now ends behind the file */
    const size_t directory = file[4] | (size_t)file[5] << 8, entries = file[directory];
    int changed = 0;
    for (size_t i = 0; i < entries; i++) {
        unsigned char *entry = file + directory + 2 + 12 * i;
        if (entry[0] != 0x17 || entry[1] != 1) continue; /* StripByteCounts */
        assert_int_equal(entry[2], 3);                   /* SHORT, four of them elsewhere in the file */
        file[(entry[8] | (size_t)entry[9] << 8) + 7] = 0x7f;
        changed++;
    }
    assert_int_equal(changed, 1);
    fixture_save(path, file, bytes);
    dukd_failure f = {0};
    assert_int_equal(dukd_image_read_header(path, &width, &height, &depth, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "beyond its end"));
    free(file);
}

/* JPEG inside TIFF: libtiff only warns where pixels are missing. */
static void test_truncated_jpeg_in_tiff(void **state) {
    (void)state;
    if (!TIFFIsCODECConfigured(COMPRESSION_JPEG)) {
        print_message("skipped: this libtiff has no JPEG\n");
        skip();
    }
    const char *path = data_path("jpeg.tif");
    stored_samples s = stored_random(64, 64, 3, 8, 8);
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .compression = COMPRESSION_JPEG});
    stored_free(&s);
    dukd_image image = read_good(path);
    dukd_image_free(&image);
    size_t bytes;
    unsigned char *file = fixture_load(path, &bytes);
    file[bytes / 2] = 0xff; /* an end of image in the middle of it */
    file[bytes / 2 + 1] = 0xd9;
    fixture_save(path, file, bytes);
    read_bad(path, "damaged or truncated TIFF file");
    free(file);
}

/* Any byte may be wrong: an error or an image, never a crash, a leak or a hang. */
static void test_damaged(void **state) {
    (void)state;
    for (int format = 0; format < FORMATS; format++) {
        size_t bytes;
        unsigned char *file = fixture_load(small_file(format), &bytes);
        const char *path = data_path("damaged");
        int failures = 0;
        for (size_t i = 0; i < 3 * bytes; i++) {
            const unsigned char before = file[i / 3];
            file[i / 3] = (unsigned char)(before ^ (i % 3 == 0 ? 1 : i % 3 == 1 ? 0x80 : 0xff));
            fixture_save(path, file, bytes);
            file[i / 3] = before;
            dukd_image image;
            dukd_failure f = {0};
            if (dukd_image_read(path, &image, &f)) {
                failures++;
                assert_non_null(strstr(f.message, path));
                assert_null(image.samples);
            } else if ((int64_t)image.width * image.height <= 1000000) {
                volatile uint32_t last = sample(&image, image.width - 1, image.height - 1, 2);
                (void)last;
            }
            dukd_image_free(&image);
        }
        assert_true(failures > (int)bytes / 4);
        free(file);
    }
}

static void put_u32(unsigned char *at, uint32_t v) {
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* A file may claim any size: it is refused before memory is asked for. */
static void test_absurd_sizes(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {
        {65501, 1}, {1, 65501}, {65500, 65500}, {0x7fffffff, 0x7fffffff}, {40000, 25001}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char png[8 + 25 + 12] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n',
                                          0,    0,   0,   13,  'I',  'H',  'D',  'R'};
        put_u32(png + 16, sizes[i][0]);
        put_u32(png + 20, sizes[i][1]);
        png[24] = 8;
        png[25] = 2;
        uint32_t crc = 0xffffffffu;
        for (int b = 12; b < 29; b++) {
            crc ^= png[b];
            for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
        put_u32(png + 29, ~crc);
        memcpy(png + 37, "IDAT", 4);
        fixture_save(data_path("huge.png"), png, sizeof png);
        read_bad(data_path("huge.png"), "at most 65500 a side");

        stored_samples s = stored_random(1, 1, 3, 8, 1);
        fixture_tiff(data_path("huge.tif"), &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB});
        TIFF *tiff = TIFFOpen(data_path("huge.tif"), "r+");
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, sizes[i][0]);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, sizes[i][1]);
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, sizes[i][1]); /* still one strip */
        TIFFRewriteDirectory(tiff);
        TIFFClose(tiff);
        stored_free(&s);
        read_bad(data_path("huge.tif"), sizes[i][0] < 100000 ? "at most 65500 a side" : "overflow");
    }
    dukd_failure f = {0};
    dukd_image image;
    assert_int_equal(dukd_image_create(&image, 65501, 1, 8, &f), DUKD_FAILED);
    assert_int_equal(dukd_image_create(&image, 0, 1, 8, NULL), DUKD_FAILED);
    assert_int_equal(dukd_image_create(&image, 1, 1, 12, NULL), DUKD_MISUSED);
    assert_null(image.samples);
}

static void test_not_images(void **state) {
    (void)state;
    read_bad(data_path("missing.png"), "No such file");
    fixture_save(data_path("empty.png"), "", 0);
    read_bad(data_path("empty.png"), "empty");
    fixture_save(data_path("text.png"), "hello", 5);
    read_bad(data_path("text.png"), "not a PNG, TIFF or JPEG");
    fixture_save(data_path("webp.jpg"), "RIFF\0\0\0\0WEBPVP8 ", 16);
    read_bad(data_path("webp.jpg"), "convert it");
    mkdir(data_path("folder.png"), 0777);
    read_bad(data_path("folder.png"), "a folder");
    assert_int_equal(mkfifo(data_path("pipe.png"), 0666), 0);
    read_bad(data_path("pipe.png"), "no regular file"); /* and it does not wait for a writer */
    /* The name says nothing: a PNG called .jpg is a PNG. */
    data_png(data_path("png.jpg"), 5, 4, 8, 1);
    dukd_image image = read_good(data_path("png.jpg"));
    assert_int_equal(image.width, 5);
    dukd_image_free(&image);
}

static void test_write_png(void **state) {
    (void)state;
    for (int depth = 8; depth <= 16; depth += 8) {
        dukd_image image = data_image(W, H, depth, 3);
        const char *path = data_path("written.png");
        dukd_failure f = {0};
        assert_int_equal(dukd_image_write_png(path, &image, &f), DUKD_DONE);
        assert_int_equal(access(data_path("written.png.part"), F_OK), -1);
        dukd_image again = read_good(path);
        assert_int_equal(again.depth, depth);
        assert_memory_equal(again.samples, image.samples, (size_t)W * H * 3 * (size_t)(depth / 8));
        dukd_image_free(&again);

        assert_int_equal(dukd_image_write_png("/dev/full", &image, &f), DUKD_FAILED);
        assert_non_null(strstr(f.message, "/dev/full"));
        f = (dukd_failure){0};
        char nowhere[600];
        snprintf(nowhere, sizeof nowhere, "%s/no/such/folder.png", data_path(""));
        assert_int_equal(dukd_image_write_png(nowhere, &image, &f), DUKD_FAILED);
        assert_non_null(strstr(f.message, "No such file"));
        dukd_image_free(&image);
    }
}

static void test_planes(void **state) {
    (void)state;
    for (int depth = 8; depth <= 16; depth += 8) {
        dukd_image image = data_image(7, 5, depth, 2);
        float planes[3 * 35];
        dukd_image_to_planes(&image, planes);
        for (int c = 0; c < 3; c++) {
            for (int32_t i = 0; i < 35; i++) {
                const float most = depth == 8 ? 255.0f : 65535.0f;
                assert_true(planes[c * 35 + i] == (float)sample(&image, i % 7, i / 7, c) / most);
            }
        }
        if (depth == 8) { /* there and back is exact */
            dukd_image back;
            assert_int_equal(dukd_image_from_planes(planes, 7, 5, &back, NULL), DUKD_DONE);
            assert_memory_equal(back.samples, image.samples, 105);
            dukd_image_free(&back);
        }
        dukd_image_free(&image);
    }
    int ties = 0;
    for (int k = 0; k < 255; k++) {
        const float tie = ((float)k + 0.5f) / 255.0f;
        if (tie * 255.0f != (float)k + 0.5f) continue;
        const float pixel[3] = {tie, nextafterf(tie, 0.0f), nextafterf(tie, 1.0f)};
        dukd_image image;
        assert_int_equal(dukd_image_from_planes(pixel, 1, 1, &image, NULL), DUKD_DONE);
        assert_int_equal(sample(&image, 0, 0, 0), k + k % 2); /* half to even */
        assert_in_range(sample(&image, 0, 0, 1), k, k + k % 2);
        assert_in_range(sample(&image, 0, 0, 2), k + k % 2, k + 1);
        dukd_image_free(&image);
        ties++;
    }
    assert_true(ties > 100);
    const float odd[12] = {-1.0f, 2.0f,       NAN,    INFINITY, -INFINITY, 1.0f,
                           0.0f,  0.9999999f, 1e-30f, -0.0f,    0.5f,      1.0000001f};
    const uint8_t want[12] = {0, 255, 0, 255, 0, 255, 0, 255, 0, 0, 128, 255};
    dukd_image image;
    assert_int_equal(dukd_image_from_planes(odd, 4, 1, &image, NULL), DUKD_DONE);
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 4; i++) assert_int_equal(sample(&image, i, 0, c), want[4 * c + i]);
    }
    dukd_image_free(&image);
}

static void test_cut_and_8_bit(void **state) {
    (void)state;
    for (int depth = 8; depth <= 16; depth += 8) {
        dukd_image whole = data_image(W, H, depth, 1), part = data_image(W, H, depth, 1), bytes;
        dukd_image_cut(&part, 20, 11);
        assert_int_equal(part.width, 20);
        assert_int_equal(part.height, 11);
        for (int32_t i = 0; i < 20 * 11 * 3; i++)
            assert_int_equal(sample(&part, i / 3 % 20, i / 60, i % 3),
                             sample(&whole, i / 3 % 20, i / 60, i % 3));
        assert_int_equal(dukd_image_to_8_bit(&whole, &bytes, NULL), DUKD_DONE);
        assert_int_equal(bytes.depth, 8);
        for (int32_t i = 0; i < W * H * 3; i++) {
            const uint32_t v = sample(&whole, i / 3 % W, i / 3 / W, i % 3);
            assert_int_equal(sample(&bytes, i / 3 % W, i / 3 / W, i % 3),
                             depth == 8 ? v : (uint32_t)lround(v / 257.0));
        }
        dukd_image_free(&whole);
        dukd_image_free(&part);
        dukd_image_free(&bytes);
    }
}

#define SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    TIFFSetErrorHandler(NULL); /* of the fixtures */
    TIFFSetWarningHandler(NULL);
    const struct CMUnitTest tests[] = {
        SCRATCH(test_png_kinds),  SCRATCH(test_tiff_kinds),       SCRATCH(test_tiff_converted),
        SCRATCH(test_jpeg_kinds), SCRATCH(test_orientation),      SCRATCH(test_exif_hostile),
        SCRATCH(test_truncated),  SCRATCH(test_truncated_header), SCRATCH(test_truncated_jpeg_in_tiff),
        SCRATCH(test_damaged),    SCRATCH(test_absurd_sizes),     SCRATCH(test_not_images),
        SCRATCH(test_write_png),  SCRATCH(test_planes),           SCRATCH(test_cut_and_8_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
