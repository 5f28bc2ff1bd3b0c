/* Reading PNG, TIFF and JPEG of every kind, orientation, and writing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <png.h>
#include <tiffio.h>

#include "data/image.h"
#include "data_fixture.h"
#include "image_fixture.h"
#include "support/fill.h"

enum { W = 37, H = 29 };

/* What a stored pixel should be read as, in the depth of the file. */
typedef uint32_t expected_sample(const stored_samples *s, size_t pixel, int c, const void *extra);

static void check(const char *path, const stored_samples *s, int32_t depth, expected_sample *expected,
                  const void *extra) {
    dukd_image image = fixture_read(path);
    assert_int_equal(image.width, s->width);
    assert_int_equal(image.height, s->height);
    assert_int_equal(image.depth, depth);
    for (int32_t y = 0; y < s->height; y++) {
        for (int32_t x = 0; x < s->width; x++) {
            for (int c = 0; c < 3; c++) {
                const uint32_t want = expected(s, (size_t)y * (size_t)s->width + (size_t)x, c, extra);
                if (fixture_sample(&image, x, y, c) != want) {
                    fail_msg("%s: (%d, %d) channel %d is %u, not %u", path, x, y, c,
                             fixture_sample(&image, x, y, c), want);
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
    fixture_refused(path, "signed");
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB, .format = SAMPLEFORMAT_IEEEFP});
    fixture_refused(path, "floating-point");
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_MINISBLACK});
    fixture_refused(path, "3 unsigned samples of 16 bits");
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
        dukd_image image = fixture_read(path);
        assert_int_equal(image.width, W);
        assert_int_equal(image.height, H);
        assert_int_equal(image.depth, 8);
        for (int32_t y = 0; y < H; y++) {
            for (int32_t x = 0; x < W; x++) {
                for (int c = 0; c < 3; c++) {
                    const int want = (int)(grey ? of_grey : of_rgb)(&s, (size_t)(y * W + x), c, NULL);
                    assert_in_range(fixture_sample(&image, x, y, c), want - 4, want + 4);
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
    dukd_image image = fixture_read(path);
    assert_int_equal(fixture_sample(&image, 5, 7, 0),
                     180 - 55 * 180 / 256); /* flat blocks come back exactly */
    assert_int_equal(fixture_sample(&image, 5, 7, 1), 180 - 155 * 180 / 256);
    assert_int_equal(fixture_sample(&image, 5, 7, 2), 180);
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
    dukd_image image = fixture_read(path);
    assert_int_equal(image.width, orientation > 4 ? stored->height : stored->width);
    assert_int_equal(image.height, orientation > 4 ? stored->width : stored->height);
    for (int32_t y = 0; y < stored->height; y++) {
        for (int32_t x = 0; x < stored->width; x++) {
            int32_t to_x, to_y;
            upright(orientation, stored->width, stored->height, x, y, &to_x, &to_y);
            for (int c = 0; c < 3; c++)
                assert_int_equal(fixture_sample(&image, to_x, to_y, c), fixture_sample(stored, x, y, c));
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
        dukd_image plain = fixture_read(png), plain_jpeg = {0};
        if (bits == 8) {
            fixture_jpeg(jpeg, &s, &(jpeg_kind){.quality = 90});
            plain_jpeg = fixture_read(jpeg);
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

static void test_write_png(void **state) {
    (void)state;
    for (int depth = 8; depth <= 16; depth += 8) {
        dukd_image image = data_image(W, H, depth, 3);
        const char *path = data_path("written.png");
        dukd_failure f = {0};
        assert_int_equal(dukd_image_write_png(path, &image, &f), DUKD_DONE);
        assert_int_equal(access(data_path("written.png.part"), F_OK), -1);
        dukd_image again = fixture_read(path);
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
                assert_true(planes[c * 35 + i] == (float)fixture_sample(&image, i % 7, i / 7, c) / most);
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
        assert_int_equal(fixture_sample(&image, 0, 0, 0), k + k % 2); /* half to even */
        assert_in_range(fixture_sample(&image, 0, 0, 1), k, k + k % 2);
        assert_in_range(fixture_sample(&image, 0, 0, 2), k + k % 2, k + 1);
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
        for (int i = 0; i < 4; i++) assert_int_equal(fixture_sample(&image, i, 0, c), want[4 * c + i]);
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
            assert_int_equal(fixture_sample(&part, i / 3 % 20, i / 60, i % 3),
                             fixture_sample(&whole, i / 3 % 20, i / 60, i % 3));
        assert_int_equal(dukd_image_to_8_bit(&whole, &bytes, NULL), DUKD_DONE);
        assert_int_equal(bytes.depth, 8);
        for (int32_t i = 0; i < W * H * 3; i++) {
            const uint32_t v = fixture_sample(&whole, i / 3 % W, i / 3 / W, i % 3);
            assert_int_equal(fixture_sample(&bytes, i / 3 % W, i / 3 / W, i % 3),
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
        SCRATCH(test_png_kinds),  SCRATCH(test_tiff_kinds),    SCRATCH(test_tiff_converted),
        SCRATCH(test_jpeg_kinds), SCRATCH(test_orientation),   SCRATCH(test_write_png),
        SCRATCH(test_planes),     SCRATCH(test_cut_and_8_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
