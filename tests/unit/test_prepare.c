/* Prepared sets, tiled TIFF and its crops, the manifest, SHA-256, and lists of images. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/downscale.h"
#include "data/image_list.h"
#include "data/prepare.h"
#include "data/sha256.h"
#include "data/tiled.h"
#include "data_fixture.h"
#include "image_fixture.h"
#include "support/fill.h"

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static void message_has(const dukd_failure *f, const char *part) {
    if (!strstr(f->message, part)) fail_msg("'%s' lacks '%s'", f->message, part);
}

static int exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* ---- SHA-256 ---- */

static void test_sha256(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int times;
        const char *hex;
    } cases[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[65];
        dukd_sha256 s;
        dukd_sha256_begin(&s);
        for (int k = 0; k < cases[i].times; k++) dukd_sha256_add(&s, cases[i].text, strlen(cases[i].text));
        dukd_sha256_end(&s, hex);
        assert_string_equal(hex, cases[i].hex);
    }
    /* Any cut gives the same; lengths around a block. */
    unsigned char data[200];
    dukd_fill_u8(data, 200, 1);
    for (size_t bytes = 0; bytes < 200; bytes++) {
        char whole[65], cut[65];
        dukd_sha256 s;
        dukd_sha256_begin(&s);
        dukd_sha256_add(&s, data, bytes);
        dukd_sha256_end(&s, whole);
        dukd_sha256_begin(&s);
        for (size_t at = 0, n; at < bytes; at += n) {
            n = 1 + at % 67 < bytes - at ? 1 + at % 67 : bytes - at;
            dukd_sha256_add(&s, data + at, n);
        }
        dukd_sha256_end(&s, cut);
        assert_string_equal(whole, cut);
    }
    char hex[65];
    dukd_failure f = {0};
    data_text(data_path("abc"), "abc");
    done(dukd_sha256_file(data_path("abc"), hex, &f), &f);
    assert_string_equal(hex, cases[1].hex);
    assert_int_equal(dukd_sha256_file(data_path("none"), hex, &f), DUKD_FAILED);
    message_has(&f, "none");
}

/* ---- tiled TIFF ---- */

/* Every crop equals the image, and exactly the tiles it touches are read. */
static void test_tiled_crops(void **state) {
    (void)state;
    static const int32_t sides[] = {16, 64, 48};
    for (int depth = 8; depth <= 16; depth += 8) {
        for (size_t k = 0; k < 3; k++) {
            const int32_t w = 203, h = 131, side = sides[k], pixel = 3 * depth / 8;
            dukd_image image = data_image(w, h, depth, k);
            const char *path = data_path("t.tif");
            dukd_failure f = {0};
            done(dukd_tiled_write(path, &image, side, k ? "a note" : NULL, &f), &f);
            dukd_tiled *t;
            done(dukd_tiled_open(&t, path, &f), &f);
            const dukd_tiled_info info = dukd_tiled_describe(t);
            assert_int_equal(info.width, w);
            assert_int_equal(info.height, h);
            assert_int_equal(info.depth, depth);
            assert_int_equal(info.tile_width, side);
            assert_int_equal(info.tile_height, side);
            if (k) assert_string_equal(info.description, "a note");
            const int64_t tiles = (int64_t)((w + side - 1) / side) * ((h + side - 1) / side);
            assert_true(dukd_tiled_bytes_read(t) < 1024 + 24 * tiles); /* opening reads no pixels */
            unsigned char *crop = malloc((size_t)(w * h * pixel));
            for (uint64_t i = 0; i < 300; i++) {
                const int32_t row = i ? (int32_t)(dukd_fill_bits(1, 4 * i) % (uint64_t)h) : 0;
                const int32_t col = i ? (int32_t)(dukd_fill_bits(1, 4 * i + 1) % (uint64_t)w) : 0;
                const int32_t height =
                    i ? 1 + (int32_t)(dukd_fill_bits(1, 4 * i + 2) % (uint64_t)(h - row)) : h;
                const int32_t width =
                    i ? 1 + (int32_t)(dukd_fill_bits(1, 4 * i + 3) % (uint64_t)(w - col)) : w;
                const int64_t before = dukd_tiled_bytes_read(t);
                done(dukd_tiled_crop(t, row, col, height, width, crop, &f), &f);
                const int64_t touched = (int64_t)((row + height - 1) / side - row / side + 1) *
                                        ((col + width - 1) / side - col / side + 1);
                assert_int_equal(dukd_tiled_bytes_read(t) - before, touched * side * side * pixel);
                for (int32_t y = 0; y < height; y++) {
                    assert_memory_equal(crop + y * width * pixel,
                                        (unsigned char *)image.samples + ((row + y) * w + col) * pixel,
                                        width * pixel);
                }
            }
            static const int32_t bad[][4] = {{-1, 0, 5, 5},  {0, -1, 5, 5},        {0, 0, 0, 5},
                                             {0, 0, 5, 0},   {127, 0, 5, 5},       {0, 199, 5, 5},
                                             {0, 0, 132, 1}, {INT32_MAX, 0, 1, 1}, {0, 1, 1, INT32_MAX}};
            for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                f = (dukd_failure){0};
                assert_int_equal(dukd_tiled_crop(t, bad[i][0], bad[i][1], bad[i][2], bad[i][3], crop, &f),
                                 DUKD_MISUSED);
                message_has(&f, "203 x 131");
            }
            dukd_tiled_close(t);
            /* It is an ordinary TIFF. */
            dukd_image whole;
            f = (dukd_failure){0};
            done(dukd_image_read(path, &whole, &f), &f);
            assert_int_equal(whole.depth, depth);
            assert_memory_equal(whole.samples, image.samples, (size_t)(w * h * pixel));
            dukd_image_free(&whole);
            dukd_image_free(&image);
            free(crop);
        }
    }
}

static void test_tiled_bad(void **state) {
    (void)state;
    dukd_image image = data_image(70, 50, 8, 1);
    dukd_failure f = {0};
    dukd_tiled *t;
    const char *path = data_path("t.tif");
    assert_int_equal(dukd_tiled_write(path, &image, 8, NULL, NULL), DUKD_MISUSED);
    assert_int_equal(dukd_tiled_write(path, &image, 40, NULL, NULL), DUKD_MISUSED);
    assert_int_equal(dukd_tiled_write(path, &image, 8192, NULL, NULL), DUKD_MISUSED);
    assert_int_equal(dukd_tiled_write("/dev/full", &image, 64, NULL, &f), DUKD_FAILED);
    message_has(&f, "/dev/full");

    data_write_png(data_path("a.png"), &image);
    f = (dukd_failure){0};
    assert_int_equal(dukd_tiled_open(&t, data_path("a.png"), &f), DUKD_FAILED);
    assert_null(t);
    stored_samples s = stored_random(70, 50, 3, 8, 1);
    fixture_tiff(path, &s, &(tiff_kind){.photometric = 2, .strip = 10});
    f = (dukd_failure){0};
    assert_int_equal(dukd_tiled_open(&t, path, &f), DUKD_FAILED);
    message_has(&f, "not a tiled RGB TIFF");
    stored_free(&s);
    assert_int_equal(dukd_tiled_open(&t, data_path("none.tif"), NULL), DUKD_FAILED);
    assert_int_equal(dukd_tiled_open(&t, data_path(""), NULL), DUKD_FAILED);

    /* Cut short or changed anywhere: an error or pixels, never a crash. Cut before the end of the table: always an error. */
    done(dukd_tiled_write(path, &image, 32, NULL, &f), &f);
    size_t bytes;
    unsigned char *file = fixture_load(path, &bytes), crop[70 * 50 * 3];
    for (size_t i = 0; i < 2 * bytes; i += i % bytes < 16 || i % bytes > bytes - 400 ? 1 : 97) {
        const unsigned char before = file[i % bytes];
        if (i >= bytes) file[i % bytes] ^= 0xff;
        fixture_save(path, file, i < bytes ? i : bytes);
        file[i % bytes] = before;
        f = (dukd_failure){0};
        int status = dukd_tiled_open(&t, path, &f);
        if (!status) {
            const dukd_tiled_info info = dukd_tiled_describe(t);
            if (info.width == 70 && info.height == 50 && info.depth == 8)
                status = dukd_tiled_crop(t, 0, 0, 50, 70, crop, &f);
        }
        if (i < bytes) assert_int_equal(status, DUKD_FAILED);
        if (status) message_has(&f, path);
        dukd_tiled_close(t);
    }
    free(file);
    dukd_image_free(&image);
}

/* ---- lists of images ---- */

static void test_list(void **state) {
    (void)state;
    static const char *const files[] = {"l/b.PNG", "l/a.jpeg", "l/c.tif", "l/.d.png",
                                        "l/e.txt", "l/png",    "l/f.JPG", "l/g.tiff.bak"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) data_text(data_path(files[i]), "x");
    mkdir(data_path("l/folder.png"), 0777);
    assert_int_equal(symlink("c.tif", data_path("l/link.tiff")), 0);
    dukd_image_list list;
    dukd_failure f = {0};
    done(dukd_image_list_read(data_path("l"), &list, &f), &f);
    static const char *const want[] = {"a.jpeg", "b.PNG", "c.tif", "f.JPG", "link.tiff"};
    assert_int_equal(list.count, 5);
    for (int i = 0; i < 5; i++) assert_string_equal(list.files[i], want[i]);
    dukd_image_list_free(&list);
    assert_int_equal(dukd_image_stem_length("a.b.png"), 3);
    assert_int_equal(dukd_image_stem_length("none"), 4);
    mkdir(data_path("nothing"), 0777);
    assert_int_equal(dukd_image_list_read(data_path("nothing"), &list, &f), DUKD_FAILED);
    message_has(&f, "no image");
    assert_int_equal(list.count, 0);
    f = (dukd_failure){0};
    assert_int_equal(dukd_image_list_read(data_path("missing"), &list, &f), DUKD_FAILED);
    message_has(&f, "missing");
}

/* ---- sets ---- */

static const int32_t scale_4[] = {4}, scales_23[] = {3, 2, 3};

static dukd_prepare_options options_for(const char *hr, const char *out) {
    return (dukd_prepare_options){.hr_dir = hr,
                                  .out_dir = out,
                                  .scales = scale_4,
                                  .scale_count = 1,
                                  .tile = 32,
                                  .png = 1,
                                  .threads = 2};
}

/* Five sources of every format and depth; names that order differently with and without their extension. */
static void make_sources(void) {
    data_png(data_path("hr/a.png"), 90, 61, 8, 1);
    data_png(data_path("hr/a-b.png"), 64, 64, 8, 2);
    data_png(data_path("hr/deep.png"), 40, 33, 16, 3);
    dukd_image image = data_image(57, 80, 8, 4);
    data_write_tiled(data_path("hr/t.tif"), &image, 16);
    dukd_image_free(&image);
    stored_samples s = stored_random(48, 50, 3, 8, 5);
    fixture_jpeg(data_path("hr/j.jpg"), &s, &(jpeg_kind){.quality = 80});
    stored_free(&s);
}
static const char *const source_names[] = {"a", "a-b", "deep", "j", "t"};
static const char *const source_files[] = {"a.png", "a-b.png", "deep.png", "j.jpg", "t.tif"};

static void same_pixels(const char *path, const dukd_image *want) {
    dukd_image got;
    dukd_failure f = {0};
    done(dukd_image_read(path, &got, &f), &f);
    assert_int_equal(got.width, want->width);
    assert_int_equal(got.height, want->height);
    assert_int_equal(got.depth, want->depth);
    assert_memory_equal(got.samples, want->samples,
                        (size_t)want->width * (size_t)want->height * 3 * (size_t)(want->depth / 8));
    dukd_image_free(&got);
}

static char *joined(char *out, const char *a, const char *b, const char *c) {
    snprintf(out, 1024, "%s%s%s", a, b, c);
    return out;
}

/* The set has everything its manifest says, with the right pixels. */
static void check_set(const char *out, const int32_t *scales, int count, int clamp, int tile, int png) {
    char path[1024];
    dukd_prepared set;
    dukd_failure f = {0};
    done(dukd_prepared_read(out, &set, &f), &f);
    assert_int_equal(set.clamp_border, clamp);
    assert_int_equal(set.tile, tile);
    assert_int_equal(set.has_png, png);
    assert_int_equal(set.count, 5);
    assert_int_equal(set.scale_count, count);
    for (int i = 0; i < count; i++) assert_int_equal(set.scales[i], scales[i]);
    for (int i = 0; i < 5; i++) {
        const dukd_prepared_image *image = &set.images[i];
        char hex[65];
        dukd_image hr, lr;
        assert_string_equal(image->name, source_names[i]);
        assert_string_equal(image->file, source_files[i]);
        done(dukd_sha256_file(joined(path, data_path("hr"), "/", image->file), hex, &f), &f);
        assert_string_equal(image->sha256, hex);
        done(dukd_image_read(path, &hr, &f), &f);
        assert_int_equal(image->width, hr.width);
        assert_int_equal(image->height, hr.height);
        assert_int_equal(image->depth, hr.depth);
        if (tile) same_pixels(strcat(joined(path, out, "/tiled/HR/", image->name), ".tif"), &hr);
        for (int k = 0; k < count; k++) {
            done(dukd_downscale(&hr, scales[k], clamp, &lr, &f), &f);
            char name[256];
            snprintf(name, sizeof name, "LR_bicubic/X%d/%sx%d", scales[k], image->name, scales[k]);
            if (png) same_pixels(strcat(joined(path, out, "/", name), ".png"), &lr);
            if (tile) same_pixels(strcat(joined(path, out, "/tiled/", name), ".tif"), &lr);
            dukd_image_free(&lr);
        }
        dukd_image_free(&hr);
    }
    dukd_prepared_free(&set);
}

static dukd_prepare_report run(const dukd_prepare_options *o) {
    dukd_prepare_report report;
    dukd_failure f = {0};
    done(dukd_prepare_run(o, &report, &f), &f);
    assert_int_equal(report.images, 5);
    return report;
}

static void refused(const dukd_prepare_options *o, int status, const char *part) {
    dukd_prepare_report report;
    dukd_failure f = {0};
    assert_int_equal(dukd_prepare_run(o, &report, &f), status);
    message_has(&f, part);
}

static void count_progress(void *user, int64_t number, int64_t total, const char *file) {
    int64_t *calls = user;
    assert_int_equal(number, ++*calls);
    assert_int_equal(total, 5);
    assert_non_null(file);
}

static void test_prepare(void **state) {
    (void)state;
    make_sources();
    int64_t calls = 0;
    const char *out = data_path("deep/er/out");
    dukd_prepare_options o = options_for(data_path("hr"), out);
    o.progress = count_progress;
    o.user = &calls;
    dukd_prepare_report r = run(&o);
    assert_int_equal(calls, 5);
    assert_int_equal(r.written, 15);
    assert_int_equal(r.kept, 0);
    check_set(out, (int32_t[]){4}, 1, 0, 32, 1);

    /* Again: nothing is touched, not even the manifest's absence in between. */
    struct stat before, after;
    o.progress = NULL;
    assert_int_equal(stat(data_path("deep/er/out/tiled/HR/a.tif"), &before), 0);
    r = run(&o);
    assert_int_equal(r.written, 0);
    assert_int_equal(r.kept, 15);
    assert_int_equal(stat(data_path("deep/er/out/tiled/HR/a.tif"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);

    /* Lost, cut short and changed files are made again, and only they. */
    size_t bytes;
    unlink(data_path("deep/er/out/LR_bicubic/X4/ax4.png"));
    unsigned char *file = fixture_load(data_path("deep/er/out/LR_bicubic/X4/jx4.png"), &bytes);
    fixture_save(data_path("deep/er/out/LR_bicubic/X4/jx4.png"), file, bytes / 2);
    free(file);
    file = fixture_load(data_path("deep/er/out/tiled/HR/t.tif"), &bytes);
    file[100] ^= 1;
    fixture_save(data_path("deep/er/out/tiled/HR/t.tif"), file, bytes);
    free(file);
    r = run(&o);
    assert_int_equal(r.written, 3);
    assert_int_equal(r.kept, 12);
    check_set(out, (int32_t[]){4}, 1, 0, 32, 1);

    /* More scales: those that were there stay. */
    o.scales = scales_23;
    o.scale_count = 3;
    o.tile = 0;
    r = run(&o);
    assert_int_equal(r.scale_count, 3);
    assert_int_equal(r.written, 20);
    assert_int_equal(r.kept, 15);
    check_set(out, (int32_t[]){2, 3, 4}, 3, 0, 32, 1);

    /* A source changed: its files follow. */
    data_png(data_path("hr/a.png"), 90, 61, 8, 77);
    r = run(&o);
    assert_int_equal(r.written, 7);
    check_set(out, (int32_t[]){2, 3, 4}, 3, 0, 32, 1);

    o.clamp_border = 1;
    refused(&o, DUKD_MISUSED, "symmetric border");
    o.out_dir = data_path("clamped");
    o.tile = 16;
    o.png = 0;
    run(&o);
    check_set(o.out_dir, (int32_t[]){2, 3}, 2, 1, 16, 0);
    assert_false(exists(data_path("clamped/LR_bicubic")));
    o.out_dir = data_path("png");
    o.tile = 0;
    o.png = 1;
    run(&o);
    check_set(o.out_dir, (int32_t[]){2, 3}, 2, 1, 0, 1);
    assert_false(exists(data_path("png/tiled")));
}

/* The files do not depend on the number of threads. */
static void test_threads(void **state) {
    (void)state;
    make_sources();
    static const int32_t threads[] = {1, 2, 5, 0};
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "out%d", i);
        dukd_prepare_options o = options_for(data_path("hr"), data_path(name));
        o.threads = threads[i];
        run(&o);
        static const char *const files[] = {"prepared.txt", "tiled/HR/deep.tif", "LR_bicubic/X4/jx4.png",
                                            "tiled/LR_bicubic/X4/ax4.tif"};
        for (int k = 0; i && k < 4; k++) {
            char first[64], other[64];
            size_t first_bytes, other_bytes;
            snprintf(first, sizeof first, "out0/%s", files[k]);
            snprintf(other, sizeof other, "out%d/%s", i, files[k]);
            unsigned char *a = fixture_load(data_path(first), &first_bytes),
                          *b = fixture_load(data_path(other), &other_bytes);
            assert_int_equal(first_bytes, other_bytes);
            assert_memory_equal(a, b, first_bytes);
            free(a);
            free(b);
        }
    }
}

static void test_refused(void **state) {
    (void)state;
    make_sources();
    dukd_prepare_options o = options_for(data_path("hr"), data_path("out"));
    o.scale_count = 0;
    refused(&o, DUKD_MISUSED, "scale");
    o.scale_count = 1;
    o.scales = (const int32_t[]){9};
    refused(&o, DUKD_MISUSED, "scale 9");
    o.scales = scale_4;
    o.tile = 40;
    refused(&o, DUKD_MISUSED, "multiple of 16");
    o.tile = o.png = 0;
    refused(&o, DUKD_MISUSED, "neither");
    o = options_for(data_path("nowhere"), data_path("out"));
    refused(&o, DUKD_FAILED, "nowhere");
    assert_false(exists(data_path("out/prepared.txt")));
    data_text(data_path("file"), "x");
    o = options_for(data_path("hr"), data_path("file/out"));
    refused(&o, DUKD_FAILED, "file");

    /* A run that fails leaves no manifest; what it wrote before is whole, and the next run goes on. */
    o = options_for(data_path("hr"), data_path("out"));
    run(&o);
    size_t bytes;
    unsigned char *file = fixture_load(data_path("hr/t.tif"), &bytes);
    fixture_save(data_path("hr/t.tif"), file, bytes - 300);
    data_png(data_path("hr/a.png"), 90, 61, 8, 9);
    refused(&o, DUKD_FAILED, "t.tif: damaged or truncated");
    assert_false(exists(data_path("out/prepared.txt")));
    fixture_save(data_path("hr/t.tif"), file, bytes);
    free(file);
    run(&o);
    check_set(o.out_dir, (int32_t[]){4}, 1, 0, 32, 1);

    data_png(data_path("hr/tiny.png"), 20, 3, 8, 1);
    refused(&o, DUKD_FAILED, "tiny.png: an image of 20 x 3 pixels is too small for scale 4");
    unlink(data_path("hr/tiny.png"));
    data_png(data_path("hr/t.png"), 20, 30, 8, 1);
    refused(&o, DUKD_FAILED, "t.png and t.tif would have the same LR files");
    unlink(data_path("hr/t.png"));
    data_png(data_path("hr/new\nline.png"), 20, 30, 8, 1);
    refused(&o, DUKD_FAILED, "control character");
}

/* Killed at any moment: every file under its own name is whole, and the next run completes the set. */
static void test_killed(void **state) {
    (void)state;
    make_sources();
    const dukd_prepare_options o = options_for(data_path("hr"), data_path("out"));
    int interrupted = 0;
    for (int i = 0; i < 20; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            dukd_prepare_report report;
            dukd_prepare_options again = o;
            again.threads = 1; /* a child of a sanitized process starts no threads */
            const int32_t scales[] = {2, 3, 4, 5, 6, 7, 8};
            again.scales = scales;
            again.scale_count = 7;
            _exit(dukd_prepare_run(&again, &report, NULL));
        }
        nanosleep(&(struct timespec){.tv_nsec = 500000L << i % 8}, NULL);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        interrupted += WIFSIGNALED(status);
        for (int32_t scale = 2; scale <= 8; scale++) {
            for (int k = 0; k < 5; k++) {
                char *path = dukd_prepared_png_path(o.out_dir, source_names[k], scale);
                dukd_image image;
                dukd_failure f = {0};
                if (exists(path)) done(dukd_image_read(path, &image, &f), &f), dukd_image_free(&image);
                free(path);
            }
        }
        if (i % 4 == 3) {
            dukd_prepare_report report;
            dukd_failure f = {0};
            done(dukd_prepare_run(&o, &report, &f), &f);
            assert_true(dukd_prepared_is(o.out_dir));
            assert_false(exists(data_path("out/LR_bicubic/X4/ax4.png.part")));
            assert_int_equal(unlink(data_path("out/LR_bicubic/X4/ax4.png")), 0);
        }
    }
    assert_true(interrupted > 0);
    run(&o);
}

/* A manifest is text anyone can damage. */
static void test_manifest(void **state) {
    (void)state;
    make_sources();
    const dukd_prepare_options o = options_for(data_path("hr"), data_path("out"));
    run(&o);
    const char *path = data_path("out/prepared.txt");
    size_t bytes;
    unsigned char *text = fixture_load(path, &bytes);
    dukd_prepared set;
    for (size_t n = 0; n < bytes; n++) { /* every prefix */
        fixture_save(path, text, n);
        dukd_failure f = {0};
        assert_int_equal(dukd_prepared_read(o.out_dir, &set, &f), DUKD_FAILED);
        message_has(&f, "prepared.txt:");
        assert_int_equal(set.count, 0);
    }
    int good = 0;
    for (size_t i = 0; i < bytes; i++) { /* every byte */
        static const char others[] = {0, '\n', '\t', '/', ' ', '9', 'f', (char)0xff};
        for (size_t k = 0; k < sizeof others; k++) {
            const unsigned char before = text[i];
            text[i] = (unsigned char)others[k];
            fixture_save(path, text, bytes);
            text[i] = before;
            dukd_failure f = {0};
            const int status = dukd_prepared_read(o.out_dir, &set, &f);
            good += status == DUKD_DONE;
            if (status) message_has(&f, "prepared.txt:");
            dukd_prepared_free(&set);
        }
    }
    assert_in_range(good, 100, bytes * 8 / 2); /* digits of hashes and sizes, letters of names */
    static const char *const bad[] = {
        "dukd-prepared 2\n", "dukd-prepared 1\nborder\tsymmetric\nscales\t4 2\n",
        "dukd-prepared 1\nborder\tsymmetric\nscales\t9\n",
        "dukd-prepared 1\nborder\tsymmetric\nscales\t4\ntile\t64\npng\t1\nimages\t99999999999\n",
        "dukd-prepared 1\nborder\tsymmetric\nscales\t4\ntile\t-1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        data_text(path, bad[i]);
        assert_int_equal(dukd_prepared_read(o.out_dir, &set, NULL), DUKD_FAILED);
    }
    /* Names lead nowhere else, and sizes are those of images. */
    static const char *const lines[] = {"8\t8\t8\ta.png", "8\t8\t8\t../a.png",  "8\t8\t8\t",
                                        "0\t8\t8\ta.png", "8\t65501\t8\ta.png", "8\t8\t12\ta.png"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char whole[512];
        snprintf(whole, sizeof whole,
                 "dukd-prepared 1\nborder\tclamp\nscales\t4\ntile\t64\npng\t1\nimages\t1\n%064d\t%s\n", 0,
                 lines[i]);
        data_text(path, whole);
        assert_int_equal(dukd_prepared_read(o.out_dir, &set, NULL), i ? DUKD_FAILED : DUKD_DONE);
        dukd_prepared_free(&set);
    }
    data_text(path, bad[sizeof bad / sizeof *bad - 1]);
    refused(&o, DUKD_FAILED, "prepared.txt:4: 'tile' should be here");
    free(text);
}

#define SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH(test_sha256),  SCRATCH(test_tiled_crops), SCRATCH(test_tiled_bad),
        SCRATCH(test_list),    SCRATCH(test_prepare),     SCRATCH(test_threads),
        SCRATCH(test_refused), SCRATCH(test_killed),      SCRATCH(test_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
