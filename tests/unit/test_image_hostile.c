/* Image files that are damaged, cut short, lie about their size, or are none. */
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
    fixture_refused(path, "CRC");
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
    dukd_image image = fixture_read(path);
    dukd_image_free(&image);
    size_t bytes;
    unsigned char *file = fixture_load(path, &bytes);
    file[bytes / 2] = 0xff; /* an end of image in the middle of it */
    file[bytes / 2 + 1] = 0xd9;
    fixture_save(path, file, bytes);
    fixture_refused(path, "damaged or truncated TIFF file");
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
                volatile uint32_t last = fixture_sample(&image, image.width - 1, image.height - 1, 2);
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
        fixture_refused(data_path("huge.png"), "at most 65500 a side");

        stored_samples s = stored_random(1, 1, 3, 8, 1);
        fixture_tiff(data_path("huge.tif"), &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB});
        TIFF *tiff = TIFFOpen(data_path("huge.tif"), "r+");
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, sizes[i][0]);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, sizes[i][1]);
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, sizes[i][1]); /* still one strip */
        TIFFRewriteDirectory(tiff);
        TIFFClose(tiff);
        stored_free(&s);
        fixture_refused(data_path("huge.tif"), sizes[i][0] < 100000 ? "at most 65500 a side" : "overflow");
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
    fixture_refused(data_path("missing.png"), "No such file");
    fixture_save(data_path("empty.png"), "", 0);
    fixture_refused(data_path("empty.png"), "empty");
    fixture_save(data_path("text.png"), "hello", 5);
    fixture_refused(data_path("text.png"), "not a PNG, TIFF or JPEG");
    fixture_save(data_path("webp.jpg"), "RIFF\0\0\0\0WEBPVP8 ", 16);
    fixture_refused(data_path("webp.jpg"), "convert it");
    mkdir(data_path("folder.png"), 0777);
    fixture_refused(data_path("folder.png"), "a folder");
    assert_int_equal(mkfifo(data_path("pipe.png"), 0666), 0);
    fixture_refused(data_path("pipe.png"), "no regular file"); /* and it does not wait for a writer */
    /* The name says nothing: a PNG called .jpg is a PNG. */
    data_png(data_path("png.jpg"), 5, 4, 8, 1);
    dukd_image image = fixture_read(data_path("png.jpg"));
    assert_int_equal(image.width, 5);
    dukd_image_free(&image);
}

#define SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    TIFFSetErrorHandler(NULL); /* of the fixtures */
    TIFFSetWarningHandler(NULL);
    const struct CMUnitTest tests[] = {
        SCRATCH(test_exif_hostile),     SCRATCH(test_truncated),
        SCRATCH(test_truncated_header), SCRATCH(test_truncated_jpeg_in_tiff),
        SCRATCH(test_damaged),          SCRATCH(test_absurd_sizes),
        SCRATCH(test_not_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
