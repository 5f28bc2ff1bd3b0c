/* Data sets: which files are taken and paired, and what is refused and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "data_fixture.h"

/* ---- which files ---- */

static void images_of_the_folder_are_listed_by_name(void **state) {
    (void)state;
    data_png(data_path("hr/b.png"), 20, 17, 8, 1);
    data_png(data_path("hr/a.PNG"), 16, 12, 8, 2);
    data_png(data_path("hr/a-1.png"), 12, 16, 8, 3);
    data_png(data_path("hr/c.d.Tiff"), 40, 30, 16, 4); /* the bytes decide how it is read */
    data_png(data_path("hr/.hidden.png"), 16, 16, 8, 5);
    data_png(data_path("hr/sub/inner.png"), 16, 16, 8, 6);
    data_text(data_path("hr/notes.txt"), "not an image");
    dukd_dataset *d = data_open(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 4});
    assert_int_equal(dukd_dataset_count(d), 4);
    const char *names[] = {"a", "a-1", "b", "c.d"};
    const int32_t sizes[][2] = {{4, 3}, {3, 4}, {5, 4}, {10, 7}};
    for (int64_t i = 0; i < 4; i++) {
        int32_t width, height;
        assert_string_equal(dukd_dataset_name(d, i), names[i]);
        dukd_dataset_size(d, i, &width, &height);
        assert_int_equal(width, sizes[i][0]);
        assert_int_equal(height, sizes[i][1]);
    }
    assert_non_null(strstr(dukd_dataset_path(d, 2), "/hr/b.png"));
    dukd_dataset_close(d);
}

static void folders_that_hold_no_images_are_refused(void **state) {
    (void)state;
    data_text(data_path("empty/notes.txt"), "");
    data_refused(&(dukd_dataset_options){.dataroot_gt = data_path("empty"), .scale = 4}, DUKD_FAILED,
                 "dataroot_gt", "empty");
    data_refused(&(dukd_dataset_options){.dataroot_gt = data_path("none"), .scale = 4}, DUKD_FAILED,
                 "dataroot_gt", "none");
    data_refused(&(dukd_dataset_options){.dataroot_gt = data_path("empty/notes.txt"), .scale = 4},
                 DUKD_FAILED, "dataroot_gt", "notes.txt");
    data_refused(&(dukd_dataset_options){.scale = 4}, DUKD_MISUSED, "dataroot_gt is missing", NULL);
    data_png(data_path("hr/a.png"), 16, 12, 8, 2);
    data_refused(
        &(dukd_dataset_options){.dataroot_gt = data_path("hr"), .dataroot_lq = data_path("none"), .scale = 4},
        DUKD_FAILED, "dataroot_lq", "none");
    data_refused(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 1}, DUKD_MISUSED,
                 "scale is 1", NULL);
    data_refused(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 9}, DUKD_MISUSED,
                 "scale is 9", NULL);
}

static void broken_images_are_named(void **state) {
    (void)state;
    const char *hr = data_path("hr");
    data_png(data_path("hr/good.png"), 16, 12, 8, 2);
    data_text(data_path("hr/bad.png"), "");
    data_refused(&(dukd_dataset_options){.dataroot_gt = hr, .scale = 4}, DUKD_FAILED, "bad.png", NULL);
    data_text(data_path("hr/bad.png"), "this is text, whatever its name says");
    data_refused(&(dukd_dataset_options){.dataroot_gt = hr, .scale = 4}, DUKD_FAILED, "bad.png", NULL);
    remove(data_path("hr/bad.png"));
    data_png(data_path("hr/tiny.png"), 3, 40, 8, 2);
    data_refused(&(dukd_dataset_options){.dataroot_gt = hr, .scale = 4}, DUKD_FAILED, "tiny.png: 3x40",
                 "scale 4");
    remove(data_path("hr/tiny.png"));
    data_png(data_path("hr/good.tif"), 16, 12, 8, 2);
    data_refused(&(dukd_dataset_options){.dataroot_gt = hr, .scale = 4}, DUKD_FAILED, "good.png", "good.tif");
}

/* ---- pairing ---- */

static void lr_files_are_found_by_the_template(void **state) {
    (void)state;
    const char *hr = data_path("hr"), *lr = data_path("lr");
    dukd_image small = data_image(6, 4, 8, 9);
    data_png(data_path("hr/a.png"), 25, 19, 8, 1);
    data_png(data_path("hr/b.tif"), 24, 16, 8, 2);
    data_png(data_path("lr/ax4.png"), 6, 4, 8, 3);
    data_write_tiled(data_path("lr/bx4.tif"), &small, 16);
    const dukd_dataset_options o = {
        .dataroot_gt = hr, .dataroot_lq = lr, .filename_tmpl = "{}x4", .scale = 4};
    dukd_dataset *d = data_open(&o);
    dukd_image got_lr, got_hr, wanted = data_image(6, 4, 8, 3);
    assert_int_equal(dukd_dataset_read(d, 0, &got_lr, &got_hr, NULL), DUKD_DONE);
    data_same(&got_lr, &wanted);
    assert_int_equal(got_hr.width, 24); /* of 25 x 19 */
    assert_int_equal(got_hr.height, 16);
    dukd_image_free(&got_lr);
    dukd_image_free(&got_hr);
    assert_int_equal(dukd_dataset_read(d, 1, &got_lr, &got_hr, NULL), DUKD_DONE);
    data_same(&got_lr, &small);
    dukd_image_free(&got_lr);
    dukd_image_free(&got_hr);
    dukd_image_free(&wanted);
    dukd_image_free(&small);
    dukd_dataset_close(d);
}

static void pairs_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const char *hr = data_path("hr"), *lr = data_path("lr");
    dukd_dataset_options o = {.dataroot_gt = hr, .dataroot_lq = lr, .filename_tmpl = "{}x4", .scale = 4};
    data_png(data_path("hr/a.png"), 25, 19, 8, 1);
    data_png(data_path("hr/b.png"), 24, 16, 8, 2);
    data_png(data_path("lr/ax4.png"), 6, 4, 8, 3);
    data_refused(&o, DUKD_FAILED, "hr/b.png has no LR image", "bx4");
    data_png(data_path("lr/bx4.png"), 6, 5, 8, 3);
    data_refused(&o, DUKD_FAILED, "bx4.png is 6x5", "must be 6x4");
    data_png(data_path("lr/bx4.png"), 6, 4, 8, 3);
    dukd_dataset_close(data_open(&o));
    data_png(data_path("lr/bx4.tif"), 6, 4, 8, 3);
    data_refused(&o, DUKD_FAILED, "several LR images", "bx4.tif");
    remove(data_path("lr/bx4.tif"));
    data_png(data_path("lr/cx4.png"), 6, 4, 8, 3);
    data_refused(&o, DUKD_FAILED, "cx4.png has no HR image", "meta_info_file");
    remove(data_path("lr/cx4.png"));
    const char *templates[] = {"x4", "{}{}", "{", "}", "{x}", "{}}", "../{}", ""};
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        o.filename_tmpl = templates[i];
        data_refused(&o, DUKD_MISUSED, "filename_tmpl is", "{}x4");
    }
    o.filename_tmpl = NULL; /* "{}": the LR files are called otherwise */
    data_refused(&o, DUKD_FAILED, "has no LR image", NULL);
}

static void meta_info_chooses_the_images(void **state) {
    (void)state;
    const char *meta = data_path("meta.txt");
    data_png(data_path("hr/a.png"), 24, 16, 8, 1);
    data_png(data_path("hr/b.png"), 24, 16, 8, 2);
    data_png(data_path("hr/sub/c.png"), 24, 16, 8, 3);
    data_png(data_path("lr/a.png"), 6, 4, 8, 3);
    data_png(data_path("lr/b.png"), 6, 4, 8, 3);
    data_png(data_path("lr/c.png"), 6, 4, 8, 3);
    const dukd_dataset_options o = {
        .dataroot_gt = data_path("hr"), .dataroot_lq = data_path("lr"), .meta_info_file = meta, .scale = 4};
    data_text(meta, "sub/c.png (16,24,3)\r\n\n a blank first\na.png");
    dukd_dataset *d = data_open(&o);
    assert_int_equal(dukd_dataset_count(d), 2);
    assert_string_equal(dukd_dataset_name(d, 0), "a");
    assert_string_equal(dukd_dataset_name(d, 1), "c");
    dukd_dataset_close(d);
    data_text(meta, "a.png\nb.png\na.png 1\n");
    data_refused(&o, DUKD_FAILED, "meta.txt", "twice");
    data_text(meta, "a.png\nz.png\n");
    data_refused(&o, DUKD_FAILED, "hr/z.png", NULL);
    const char *outside[] = {"../secret.png", "/etc/image.png", "a/../../b.png", "a/.."};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char text[64];
        snprintf(text, sizeof text, "a.png\n%s\n", outside[i]);
        data_text(meta, text);
        data_refused(&o, DUKD_FAILED, "meta.txt:2", outside[i]);
    }
    data_text(meta, "\n\n");
    data_refused(&o, DUKD_FAILED, "meta.txt lists no image", NULL);
    char *line = malloc(10001);
    assert_non_null(line);
    memset(line, 'x', 10000);
    line[10000] = 0;
    data_text(meta, line);
    free(line);
    data_refused(&o, DUKD_FAILED, "meta.txt:1", NULL);
    remove(meta);
    data_refused(&o, DUKD_FAILED, "meta_info_file", "meta.txt");
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(images_of_the_folder_are_listed_by_name),
        IN_SCRATCH(folders_that_hold_no_images_are_refused),
        IN_SCRATCH(broken_images_are_named),
        IN_SCRATCH(lr_files_are_found_by_the_template),
        IN_SCRATCH(pairs_that_do_not_fit_are_refused),
        IN_SCRATCH(meta_info_chooses_the_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
