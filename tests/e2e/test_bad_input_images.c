/* Images and folders of images: missing, empty, truncated, absurdly large, of another kind, too small, of sizes that do not match;
 * by every command that reads images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include <cmocka.h>

#include "test_bad_input_run.h"
#include "unit/data_fixture.h"
#include "unit/image_fixture.h"

/* ---------------------------------------------------------------- one broken file */

/* A PNG whose header claims 31623 x 31623 pixels, 10^9 of them, with a right checksum, and holds nothing. */
static void huge_png(const char *path) {
    static const unsigned char png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0, 0,    13,
                                        'I',  'H', 'D', 'R', 0,    0,    0x7b, 0x87, 0,    0, 0x7b, 0x87,
                                        8,    2,   0,   0,   0,    0x80, 0xe9, 0x8c, 0x3b, 0, 0,    0,
                                        0,    'I', 'D', 'A', 'T',  0x35, 0xaf, 0x06, 0x1e};
    fixture_save(path, png, sizeof png);
}

static void huge_tiff(const char *path) {
    stored_samples s = stored_random(1, 1, 3, 8, 1);
    fixture_tiff(path, &s, &(tiff_kind){.photometric = PHOTOMETRIC_RGB});
    stored_free(&s);
    TIFF *tiff = TIFFOpen(path, "r+");
    assert_non_null(tiff);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 65000);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 65000);
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 65000);
    TIFFRewriteDirectory(tiff);
    TIFFClose(tiff);
}

/* The pixels are damaged in the middle; header and end are whole. */
static void spoilt_png(const char *from, const char *to) {
    size_t size;
    unsigned char *data = fixture_load(data_path(from), &size);
    for (size_t i = 0; i < 64; i++) data[size / 2 + i] ^= 0x55;
    fixture_save(data_path(to), data, size);
    free(data);
}

/* Breaks train/t1.png and val/v1.png in this way. */
typedef struct {
    const char *kind, *part;
} broken_kind;

static const broken_kind kinds[] = {
    {"empty", "is empty"}, {"text", "not a PNG, TIFF or JPEG"}, {"cut", "truncated"},
    {"head", "truncated"}, {"huge", "at most 65500"},           {"tiff", "at most 65500"},
    {"spoilt", "damaged"},
};

static void make_broken(const char *kind, const char *name) {
    if (!strcmp(kind, "empty")) fixture_save(data_path(name), "", 0);
    if (!strcmp(kind, "text")) data_text(data_path(name), "this is no picture\n");
    if (!strcmp(kind, "cut")) bad_copy(name, name, -100);
    if (!strcmp(kind, "head")) bad_copy(name, name, 40);
    if (!strcmp(kind, "huge")) huge_png(data_path(name));
    if (!strcmp(kind, "tiff"))
        huge_tiff(data_path(name)); /* told by its first bytes, whatever it is called */
    if (!strcmp(kind, "spoilt")) spoilt_png(name, name);
}

static void one_broken_image(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *part = kinds[i].part;
        data_png(data_path("train/t1.png"), 56, 48, 8, 2);
        data_png(data_path("val/v1.png"), 40, 38, 8, 11);
        make_broken(kinds[i].kind, "train/t1.png");
        make_broken(kinds[i].kind, "val/v1.png");
        bad_now.may_leave = "experiments"; /* pixels are first looked at when a batch is made */
        REFUSED(1, "train scratch.yml --set datasets.val.dataroot_gt=train", "train/t1.png", part);
        assert_false(bad_exists("experiments/scratch/models/net_g_24.safetensors"));
        bad_now.may_leave = "saved";
        REFUSED(1, "test scratch.yml -w net.safetensors --save saved", "val/v1.png", part);
        bad_now.may_leave = NULL;
        REFUSED(1, "test scratch.yml -w net.safetensors --json", "val/v1.png", part);
        REFUSED(1, "preview dukd.yml -o p.png --set datasets.train.batch_size_per_gpu=3", "train/t1.png",
                part);
        REFUSED(1, "metrics val val -s 2", "val/v1.png", part);
        bad_now.may_leave = "up";
        REFUSED(1, "upscale -m net.safetensors val/v1.png -o up", "val/v1.png", part);
        assert_false(bad_exists("up/v1.png"));
        bad_now.may_leave = "out";
        REFUSED(1, "prepare train out -s 2", "train/t1.png", part);
        assert_false(bad_exists("out/prepared.txt")); /* not a set until it is whole */
    }
}

static void missing_images(void **state) {
    (void)state;
    data_text(data_path("empty/readme.txt"), "no image here\n");
    static const bad_case cases[] = {
        {1, "upscale -m net.safetensors nosuch.png -o up", "nosuch.png", "No such file", NULL},
        {1, "upscale -m net.safetensors val nosuch.png -o up", "nosuch.png", NULL,
         NULL}, /* before the first */
        {1, "upscale -m net.safetensors empty -o up", "empty", "no image", ".png"},
        {1, "upscale -m net.safetensors scratch.yml -o up", "scratch.yml", "not a PNG", NULL},
        {1, "prepare nosuch out -s 2", "nosuch", "folder", NULL},
        {1, "prepare empty out -s 2", "empty", "no image", NULL},
        {1, "prepare scratch.yml out -s 2", "scratch.yml", "folder", NULL},
        {1, "prepare val/v0.png out -s 2", "val/v0.png", "folder", NULL},
        {1, "metrics nosuch val -s 2", "nosuch", "folder", NULL},
        {1, "metrics val nosuch -s 2", "nosuch", "folder", NULL},
        {1, "metrics val val/v0.png -s 2", "val/v0.png", "folder", NULL},
        {1, "metrics val empty -s 2", "empty", "no image", NULL},
        {1, "train scratch.yml --set datasets.train.dataroot_gt=nosuch", "datasets.train", "nosuch",
         "folder"},
        {1, "train scratch.yml --set datasets.train.dataroot_gt=empty", "datasets.train", "empty",
         "no image"},
        {1, "train scratch.yml --set datasets.train.dataroot_gt=scratch.yml", "datasets.train", "folder",
         NULL},
        {1, "train scratch.yml --set datasets.val.dataroot_gt=nosuch", "datasets.val", "nosuch", NULL},
        {1, "train scratch.yml --set datasets.train.meta_info_file=nosuch", "meta_info_file", "nosuch", NULL},
        {1, "train scratch.yml --set datasets.train.meta_info_file=net.safetensors", "net.safetensors", NULL,
         NULL},
        {1, "test scratch.yml -w net.safetensors --set datasets.val.dataroot_gt=nosuch", "datasets.val",
         "nosuch", NULL},
        {1, "preview dukd.yml -o p.png --set datasets.train.dataroot_gt=nosuch", "datasets.train", "nosuch",
         NULL},
    };
    REFUSED_ALL(cases);
}

/* ---------------------------------------------------------------- sizes */

static void pairs_that_do_not_match(void **state) {
    (void)state;
    bad_done("prepare train lr -s 2,3 --only lr -q");
    bad_done("prepare val vlr -s 3 --only lr -q");
    static const bad_case cases[] = {
        {1, "train scratch.yml --set datasets.train.dataroot_lq=lr/LR_bicubic/X2", "no LR image",
         "filename_tmpl", NULL},
        {1,
         "train scratch.yml --set datasets.train.dataroot_lq=lr/LR_bicubic/X3 --set "
         "datasets.train.filename_tmpl={}x3",
         "t0x3.png is 17x16", "26x24", "filename_tmpl"},
        {1, "train scratch.yml --set datasets.train.dataroot_lq=val", "no LR image", "val", NULL},
        {1, "train scratch.yml --set datasets.train.dataroot_lq=nosuch", "dataroot_lq", "nosuch", NULL},
        /* the two folders the wrong way round */
        {1,
         "train scratch.yml --set datasets.train.dataroot_gt=lr/LR_bicubic/X2 --set "
         "datasets.train.dataroot_lq=train",
         "no LR image", "dataroot_lq", NULL},
        {1,
         "test scratch.yml -w net.safetensors --set datasets.val.dataroot_lq=vlr/LR_bicubic/X3 "
         "--set datasets.val.filename_tmpl={}x3",
         "v0x3.png", "scale 2", NULL},
        {2, "train scratch.yml --set scale=3", "gt_size", "scale 3", NULL},
        {2, "train scratch.yml --set scale=4", "network_g.upscale", "scale is 4", NULL},
    };
    REFUSED_ALL(cases);
}

static void images_that_are_too_small(void **state) {
    (void)state;
    data_png(data_path("small/v0.png"), 40, 36, 8, 1);
    data_png(data_path("small/zz.png"), 12, 14, 8, 2); /* PSNR could be measured, SSIM could not */
    data_png(data_path("dot/zz.png"), 1, 1, 8, 2);
    static const bad_case cases[] = {
        {1, "train scratch.yml --set datasets.train.dataroot_gt=small", "small/zz.png is 12x14", "gt_size",
         "32x32"},
        {1, "train scratch.yml --set datasets.train.gt_size=64", "train/t0.png is 52x48", "gt_size", "64x64"},
        {1, "preview dukd.yml -o p.png --set datasets.train.gt_size=64", "train/t0.png", "gt_size", NULL},
        /* at once, not at the first validation, after hours */
        {2, "train scratch.yml --set datasets.val.dataroot_gt=small", "small/zz.png", "12 x 14",
         "crop_border of ssim"},
        {2, "test scratch.yml -w net.safetensors --set datasets.val.dataroot_gt=small", "small/zz.png",
         "12 x 14", "border"},
        {2, "metrics small small -s 2", "small/zz.png", "12 x 14", "border"},
        {2, "metrics val val -s 2 --crop-border 50", "val/v0.png", "border of 50", NULL},
        {1, "train scratch.yml --set datasets.train.dataroot_gt=dot", "dot/zz.png", "1x1", "scale 2"},
        {1, "test scratch.yml -w net.safetensors --set datasets.val.dataroot_gt=dot", "dot/zz.png", "1x1",
         NULL},
        {1, "metrics dot dot -s 2", "dot/zz.png", "1 x 1", NULL},
    };
    REFUSED_ALL(cases);
    bad_now.may_leave = "out";
    REFUSED(1, "prepare dot out -s 2", "dot/zz.png", "1 x 1", "scale 2");
}

static void measured_images_that_do_not_match(void **state) {
    (void)state;
    data_png(data_path("odd/v0.png"), 41, 37, 8, 1);
    bad_done("upscale -m net.safetensors val -o up -q");
    static const bad_case cases[] = {
        {1, "metrics up val -s 2", "up/v0.png has 80 x 72", "40 x 36", "--scale"},
        {1, "metrics train val -s 2", "train", "v0.png", "3 of 3 are missing"},
        {1, "metrics val train -s 2", "val", "t0.png", "missing"},
        {1, "metrics odd odd -s 2", "odd/v0.png has 41 x 37", "40 x 36",
         NULL}, /* HR is cut to a multiple, SR is not */
    };
    REFUSED_ALL(cases);
}

/* ---------------------------------------------------------------- what is there stays */

static void inputs_are_not_overwritten(void **state) {
    (void)state;
    data_png(data_path("more/v0.png"), 20, 20, 8, 1);
    static const bad_case cases[] = {
        {2, "upscale -m net.safetensors val -o val", "val/v0.png", "overwritten", "--suffix"},
        {2, "upscale -m net.safetensors val/v0.png -o val/../val/", "v0.png", "overwritten", "-o"},
        {2, "upscale -m net.safetensors val/v0.png more -o val", "v0.png", NULL, NULL},
        {2, "upscale -m net.safetensors val more -o up", "val/v0.png and more/v0.png", "up/v0.png", NULL},
        {2, "upscale -m net.safetensors val val/v0.png -o up", "up/v0.png", NULL, NULL},
        {1, "upscale val/v0.png -m val/v1.png -o up", "val/v1.png", NULL, NULL}, /* -m NET and IN exchanged */
        {2, "preview dukd.yml -o dukd.yml", "dukd.yml", "PNG", NULL},
        {2, "preview dukd.yml -o net.safetensors", "net.safetensors", "PNG", NULL},
    };
    REFUSED_ALL(cases);
    bad_done("upscale -m net.safetensors val -o val --suffix _x2 -q");
    assert_true(bad_exists("val/v0_x2.png"));
}

/* ---------------------------------------------------------------- prepared sets */

static void prepared_sets(void **state) {
    (void)state;
    bad_done("prepare train set -s 2 -q");
    const char *use = "train scratch.yml --set datasets.train.dataroot_gt=set";
    REFUSED(2,
            "train scratch.yml --set datasets.train.dataroot_gt=set --set scale=3 --set network_g.upscale=3 "
            "--set datasets.train.gt_size=24 --set datasets.val=~ --set val=~",
            "set", "scale 3", "dukd-host prepare");
    REFUSED(2, "prepare train set -s 2 --border clamp", "set", "symmetric border", "another folder");
    bad_copy("set/prepared.txt", "prepared.txt", -20);
    static const char *const bad[] = {"", "junk\n", "dukd-prepared 1\nborder\tsymmetric\nscales\t2\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        data_text(data_path("set/prepared.txt"), bad[i]);
        REFUSED(1, use, "set/prepared.txt:", "dukd-host prepare");
        REFUSED(1, "prepare train set -s 2", "set/prepared.txt:", "remove this file");
    }
    bad_copy("prepared.txt", "set/prepared.txt", 1 << 16); /* cut, then zeros */
    REFUSED(1, use, "set/prepared.txt:", "dukd-host prepare");
    assert_int_equal(remove(data_path("set/prepared.txt")), 0); /* as the message says */
    bad_done("prepare train set -s 2 -q");
    bad_copy("set/tiled/HR/t0.tif", "set/tiled/HR/t0.tif", 300);
    REFUSED(1, use, "set/tiled/HR/t0.tif", "truncated");
    assert_int_equal(remove(data_path("set/tiled/HR/t0.tif")), 0);
    REFUSED(1, use, "set/tiled/HR/t0.tif", "No such file");
    bad_done("prepare train set -s 2 -q");
    bad_done("train scratch.yml --quiet --set datasets.train.dataroot_gt=set");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BAD_TEST(one_broken_image),
        BAD_TEST(missing_images),
        BAD_TEST(pairs_that_do_not_match),
        BAD_TEST(images_that_are_too_small),
        BAD_TEST(measured_images_that_do_not_match),
        BAD_TEST(inputs_are_not_overwritten),
        BAD_TEST(prepared_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
