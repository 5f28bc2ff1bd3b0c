/* Data sets: that whole images and crops are the right pixels, of tiled files without reading more than is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "data/downscale.h"
#include "data/prepared.h"
#include "data/sha256.h"
#include "data/tiled.h"
#include "data_fixture.h"
#include "support/golden.h"

/* The LR image of an HR image, by the function that `prepare` uses. */
static dukd_image lr_of(const dukd_image *hr, int32_t scale) {
    dukd_image lr;
    dukd_failure f = {0};
    if (dukd_downscale(hr, scale, 0, &lr, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return lr;
}

/* ---- pixels ---- */

static void whole_pairs_are_the_files_or_made_of_them(void **state) {
    (void)state;
    dukd_image hr = data_image(61, 47, 8, 1), lr = lr_of(&hr, 3), got_lr, got_hr;
    data_write_png(data_path("hr/a.png"), &hr);
    dukd_dataset *d = data_open(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 3});
    assert_int_equal(dukd_dataset_read(d, 0, &got_lr, &got_hr, NULL), DUKD_DONE);
    data_same(&got_lr, &lr);
    assert_int_equal(got_hr.width, 60);
    assert_int_equal(got_hr.height, 45);
    for (size_t y = 0; y < 45; y++)
        assert_memory_equal((const uint8_t *)got_hr.samples + y * 180, (const uint8_t *)hr.samples + y * 183,
                            180);
    dukd_image_free(&got_lr);
    dukd_image_free(&got_hr);
    assert_int_equal(truncate(data_path("hr/a.png"), 300), 0);
    dukd_failure f = {0};
    assert_int_equal(dukd_dataset_read(d, 0, &got_lr, &got_hr, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "hr/a.png"));
    assert_true(!got_lr.samples && !got_hr.samples);
    dukd_dataset_close(d);
    dukd_image_free(&hr);
    dukd_image_free(&lr);
}

/* All eight orientations at corners and inside, against the plain way; bits must match. */
static void check_crops(const dukd_dataset *d, int64_t i, const dukd_image *lr, const dukd_image *hr,
                        int32_t scale) {
    const int32_t side = 7, big = side * scale;
    const int32_t down = lr->height - side, right = lr->width - side;
    const int32_t corners[][2] = {{0, 0}, {0, right}, {down, 0}, {down, right}, {down / 2, right / 3}};
    const size_t lr_bytes = sizeof(float) * 3 * (size_t)side * (size_t)side,
                 hr_bytes = lr_bytes * (size_t)(scale * scale);
    float *got_lr = malloc(lr_bytes), *got_hr = malloc(hr_bytes), *lr_ref = malloc(lr_bytes),
          *hr_ref = malloc(hr_bytes);
    assert_true(got_lr && got_hr && lr_ref && hr_ref);
    for (size_t place = 0; place < sizeof corners / sizeof *corners; place++)
        for (int32_t orientation = 0; orientation < 8; orientation++) {
            const int32_t row = corners[place][0], col = corners[place][1];
            dukd_failure f = {0};
            memset(got_lr, 0xff, lr_bytes); /* NaN */
            memset(got_hr, 0xff, hr_bytes);
            const dukd_placement p = {.row = row, .col = col, .orientation = orientation};
            if (dukd_dataset_crop(d, i, p, side, got_lr, got_hr, &f) != DUKD_DONE) fail_msg("%s", f.message);
            data_crop_ref(lr, row, col, side, orientation, lr_ref);
            data_crop_ref(hr, row * scale, col * scale, big, orientation, hr_ref);
            assert_memory_equal(got_lr, lr_ref, lr_bytes);
            assert_memory_equal(got_hr, hr_ref, hr_bytes);
        }
    free(got_lr);
    free(got_hr);
    free(lr_ref);
    free(hr_ref);
}

static void crops_are_the_right_pixels_turned_as_basicsr_does(void **state) {
    (void)state;
    for (int32_t depth = 8; depth <= 16; depth += 8) {
        for (int tiled = 0; tiled <= 1; tiled++) {
            dukd_image hr = data_image(83, 58, depth, 1), lr = lr_of(&hr, 4),
                       lr_file = data_image(20, 14, depth, 7);
            assert_int_equal(lr.depth, 8);
            if (tiled) {
                data_write_tiled(data_path("hr/a.tif"), &hr, 16);
                data_write_tiled(data_path("lr/a.tif"), &lr_file, 16);
            } else {
                data_write_png(data_path("hr/a.tif"), &hr);
                data_write_png(data_path("lr/a.tif"), &lr_file);
            }
            dukd_dataset *d = data_open(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 4});
            check_crops(d, 0, &lr, &hr, 4); /* made on the fly */
            assert_int_equal(dukd_dataset_measure(d).tiled_bytes, 0);
            assert_int_equal(dukd_dataset_measure(d).decoded, 1);
            dukd_dataset_close(d);
            d = data_open(&(dukd_dataset_options){
                .dataroot_gt = data_path("hr"), .dataroot_lq = data_path("lr"), .scale = 4});
            check_crops(d, 0, &lr_file, &hr, 4);
            assert_int_equal(dukd_dataset_measure(d).decoded, !tiled);
            assert_true((dukd_dataset_measure(d).tiled_bytes > 0) == tiled);
            dukd_dataset_close(d);
            dukd_image_free(&hr);
            dukd_image_free(&lr);
            dukd_image_free(&lr_file);
        }
    }
}

static void crops_that_do_not_fit_are_refused(void **state) {
    (void)state;
    float lr[3 * 49], hr[3 * 49 * 16];
    data_png(data_path("hr/big.png"), 60, 44, 8, 1);
    data_png(data_path("hr/small.png"), 31, 24, 8, 2);
    dukd_dataset *d = data_open(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 4});
    const int32_t places[][2] = {{-1, 0}, {0, -1}, {5, 0}, {0, 9}, {INT32_MAX, 0}, {0, INT32_MAX}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        dukd_failure f = {0};
        assert_int_equal(
            dukd_dataset_crop(d, 0, (dukd_placement){places[i][0], places[i][1], 0}, 7, lr, hr, &f),
            DUKD_MISUSED);
        assert_non_null(strstr(f.message, "big.png"));
    }
    dukd_failure f = {0};
    assert_int_equal(dukd_dataset_crop(d, 1, (dukd_placement){0}, 7, lr, hr, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "small.png is 31x24: too small for patches of 28x28"));
    assert_int_equal(dukd_dataset_check_patch(d, 6, NULL), DUKD_DONE);
    f = (dukd_failure){0};
    assert_int_equal(dukd_dataset_check_patch(d, 7, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "small.png"));
    assert_int_equal(dukd_dataset_check_patch(d, 0, NULL), DUKD_MISUSED);
    assert_int_equal(dukd_dataset_check_patch(d, INT32_MAX, NULL), DUKD_FAILED);
    dukd_dataset_close(d);
}

static void files_that_change_under_an_open_set_are_named(void **state) {
    (void)state;
    float lr[3 * 16], hr[3 * 16 * 4];
    data_png(data_path("hr/a.png"), 20, 20, 8, 1);
    data_png(data_path("hr/b.png"), 20, 20, 8, 1);
    dukd_dataset *d = data_open(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 2});
    data_png(data_path("hr/a.png"), 22, 20, 8, 1);
    remove(data_path("hr/b.png"));
    dukd_failure f = {0}, g = {0};
    assert_int_equal(dukd_dataset_crop(d, 0, (dukd_placement){0}, 4, lr, hr, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "a.png has changed"));
    assert_int_equal(dukd_dataset_crop(d, 1, (dukd_placement){0}, 4, lr, hr, &g), DUKD_FAILED);
    assert_non_null(strstr(g.message, "b.png"));
    data_png(data_path("hr/b.png"), 20, 20, 8, 1); /* back again */
    assert_int_equal(dukd_dataset_crop(d, 1, (dukd_placement){0}, 4, lr, hr, &g), DUKD_DONE);
    dukd_dataset_close(d);
}

/* ---- tiled files ---- */

/* Bytes that this process has asked the kernel to read so far: a count of its own beside the data set's. */
static int64_t kernel_bytes(void) {
    long long bytes = -1;
    FILE *file = fopen("/proc/self/io", "r");
    if (!file || fscanf(file, "rchar: %lld", &bytes) != 1) bytes = -1;
    if (file) fclose(file);
    return bytes;
}

static int64_t tiles_touched(int32_t from, int32_t length, int32_t side) {
    return (from + length - 1) / side - from / side + 1;
}

static void a_crop_reads_only_the_tiles_it_touches(void **state) {
    (void)state;
    enum { TILE = 32, SIDE = 12, SCALE = 4, BIG = SIDE * SCALE, HEADER = 16 * 1024 };
    dukd_image hr = data_image(1200, 900, 8, 1), lr = lr_of(&hr, SCALE);
    data_write_tiled(data_path("hr/a.tif"), &hr, TILE);
    data_write_tiled(data_path("lr/a.tif"), &lr, TILE);
    dukd_dataset *d = data_open(&(dukd_dataset_options){
        .dataroot_gt = data_path("hr"), .dataroot_lq = data_path("lr"), .scale = SCALE});
    static float small[3 * SIDE * SIDE], big[3 * BIG * BIG];
    const int64_t first_look = kernel_bytes(), second_look = kernel_bytes(),
                  looking = second_look - first_look;
    const int32_t places[][2] = {{0, 0}, {213, 288}, {100, 100}, {31, 63}, {7, 240}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const int32_t row = places[i][0], col = places[i][1];
        const int64_t before = dukd_dataset_measure(d).tiled_bytes, kernel_before = kernel_bytes();
        assert_int_equal(dukd_dataset_crop(d, 0, (dukd_placement){row, col, 5}, SIDE, small, big, NULL),
                         DUKD_DONE);
        const int64_t kernel_after = kernel_bytes(), bytes = dukd_dataset_measure(d).tiled_bytes - before;
        const int64_t tiles = tiles_touched(row, SIDE, TILE) * tiles_touched(col, SIDE, TILE) +
                              tiles_touched(row * SCALE, BIG, TILE) * tiles_touched(col * SCALE, BIG, TILE);
        const int64_t pixels = tiles * TILE * TILE * 3;
        assert_true(bytes >= pixels);
        assert_true(bytes <= pixels + HEADER);
        assert_true(bytes < 1200 * 900 * 3 / 20);
        if (kernel_before >= 0) /* the text of the count may have grown by a digit */
            assert_in_range(kernel_after - kernel_before - looking, bytes, bytes + 16);
        data_crop_ref(&lr, row, col, SIDE, 5, small);
    }
    dukd_dataset_close(d);
    dukd_image_free(&hr);
    dukd_image_free(&lr);
}

/* ---- prepared sets ---- */

/* A prepared set of two images, made here by hand after prepared.h. */
static void make_prepared(const char *root, const dukd_image *a, const dukd_image *b, int32_t tile) {
    dukd_prepared_image images[2] = {{.file = (char[]){"p.png"},
                                      .name = (char[]){"p"},
                                      .width = a->width,
                                      .height = a->height,
                                      .depth = a->depth},
                                     {.file = (char[]){"q.jpg"},
                                      .name = (char[]){"q"},
                                      .width = b->width,
                                      .height = b->height,
                                      .depth = b->depth}};
    const dukd_prepared set = {
        .tile = tile, .has_png = 1, .scale_count = 2, .scales = {2, 4}, .count = 2, .images = images};
    const dukd_image *hr[2] = {a, b};
    dukd_failure f = {0};
    for (int i = 0; i < 2; i++) {
        memset(images[i].sha256, 'a', 64);
        for (int32_t scale = 0; scale <= 4 && tile; scale += 2) {
            char *path = dukd_prepared_tiled_path(root, images[i].name, scale);
            assert_non_null(path);
            const char *made = data_path(path + strlen(root) - strlen("set"));
            dukd_image lr = scale ? lr_of(hr[i], scale) : *hr[i];
            data_write_tiled(made, &lr, tile);
            if (scale) dukd_image_free(&lr);
            free(path);
        }
    }
    data_path("set/x");
    if (dukd_prepared_write(root, &set, &f) != DUKD_DONE) fail_msg("%s", f.message);
}

static void a_prepared_set_gives_what_its_folder_gives(void **state) {
    (void)state;
    dukd_image a = data_image(90, 71, 8, 1), b = data_image(64, 100, 16, 2);
    data_write_png(data_path("hr/p.png"), &a);
    data_write_png(data_path("hr/q.png"), &b);
    char root[512];
    snprintf(root, sizeof root, "%s", data_path("set"));
    make_prepared(root, &a, &b, 16);
    dukd_dataset *folder = data_open(&(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = 4});
    dukd_dataset *set = data_open(&(dukd_dataset_options){.dataroot_gt = root, .scale = 4});
    assert_int_equal(dukd_dataset_count(set), 2);
    for (int64_t i = 0; i < 2; i++) {
        dukd_image lr, hr, set_lr, set_hr;
        assert_string_equal(dukd_dataset_name(folder, i), dukd_dataset_name(set, i));
        assert_int_equal(dukd_dataset_read(folder, i, &lr, &hr, NULL), DUKD_DONE);
        assert_int_equal(dukd_dataset_read(set, i, &set_lr, &set_hr, NULL), DUKD_DONE);
        data_same(&lr, &set_lr);
        data_same(&hr, &set_hr);
        check_crops(set, i, &lr, &hr, 4);
        dukd_image_free(&lr);
        dukd_image_free(&hr);
        dukd_image_free(&set_lr);
        dukd_image_free(&set_hr);
    }
    assert_int_equal(dukd_dataset_measure(set).decoded, 0);
    assert_true(dukd_dataset_measure(set).tiled_bytes > 0);
    dukd_dataset_close(folder);
    dukd_dataset_close(set);

    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .scale = 3}, DUKD_MISUSED,
                 "not prepared for scale 3", NULL);
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .scale = 4, .clamp_border = 1}, DUKD_MISUSED,
                 "symmetric", "clamped");
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .dataroot_lq = data_path("hr"), .scale = 4},
                 DUKD_MISUSED, "prepared set", "dataroot_lq");
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .meta_info_file = "m.txt", .scale = 4},
                 DUKD_MISUSED, "prepared set", "meta_info_file");
    char *path = dukd_prepared_tiled_path(root, "p", 0);
    dukd_image other = data_image(90, 71, 16, 1); /* another picture in its place */
    data_write_tiled(path, &other, 16);
    dukd_image_free(&other);
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .scale = 4}, DUKD_FAILED,
                 "p.tif is 90x71 with 16 bits", "90x71 with 8");
    remove(path);
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .scale = 4}, DUKD_FAILED, "p.tif", NULL);
    free(path);
    data_text(data_path("set/prepared.txt"), "dukd-prepared 1\nborder\tsymm");
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .scale = 4}, DUKD_FAILED, "prepared.txt", NULL);
    make_prepared(root, &a, &b, 0);
    data_refused(&(dukd_dataset_options){.dataroot_gt = root, .scale = 4}, DUKD_MISUSED,
                 "without tiled files", "LR_bicubic/X4");
    dukd_image_free(&a);
    dukd_image_free(&b);
}

/* ---- hash ---- */

static void hash_of(const char *hr, const char *lr, int32_t scale, char hex[65]) {
    dukd_failure f = {0};
    dukd_dataset *d =
        data_open(&(dukd_dataset_options){.dataroot_gt = hr, .dataroot_lq = lr, .scale = scale});
    if (dukd_dataset_hash(d, hex, &f) != DUKD_DONE) fail_msg("%s", f.message);
    dukd_dataset_close(d);
}

static void the_hash_is_of_names_sizes_and_contents(void **state) {
    (void)state;
    char first[65], other[65], wanted[65];
    data_png(data_path("hr/a.png"), 40, 32, 8, 1);
    data_png(data_path("hr/b.png"), 40, 32, 8, 2);
    hash_of(data_path("hr"), NULL, 4, first);

    dukd_sha256 hash;
    dukd_sha256_begin(&hash);
    for (char name = 'a'; name <= 'b'; name++) {
        char file[] = {'h', 'r', '/', name, '.', 'p', 'n', 'g', 0}, size[32];
        struct stat info;
        assert_int_equal(stat(data_path(file), &info), 0);
        char *bytes = malloc((size_t)info.st_size);
        FILE *opened = fopen(data_path(file), "rb");
        assert_true(bytes && opened && fread(bytes, 1, (size_t)info.st_size, opened) == (size_t)info.st_size);
        fclose(opened);
        snprintf(size, sizeof size, "%lld", (long long)info.st_size);
        dukd_sha256_add(&hash, file + 3, strlen(file + 3) + 1);
        dukd_sha256_add(&hash, size, strlen(size) + 1);
        dukd_sha256_add(&hash, bytes, (size_t)info.st_size);
        free(bytes);
    }
    dukd_sha256_end(&hash, wanted);
    assert_string_equal(first, wanted);

    hash_of(data_path("hr"), NULL, 2, other); /* the same files */
    assert_string_equal(first, other);
    data_png(data_path("elsewhere/a.png"), 40, 32, 8, 1);
    data_png(data_path("elsewhere/b.png"), 40, 32, 8, 2);
    hash_of(data_path("elsewhere"), NULL, 4, other);
    assert_string_equal(first, other);
    data_png(data_path("lr/a.png"), 10, 8, 8, 1);
    data_png(data_path("lr/b.png"), 10, 8, 8, 1);
    hash_of(data_path("hr"), data_path("lr"), 4, other); /* LR files count */
    assert_string_not_equal(first, other);
    data_png(data_path("elsewhere/b.png"), 40, 32, 8, 3);
    hash_of(data_path("elsewhere"), NULL, 4, other);
    assert_string_not_equal(first, other);
    rename(data_path("hr/b.png"), data_path("hr/c.png"));
    hash_of(data_path("hr"), NULL, 4, other);
    assert_string_not_equal(first, other);
}

/* ---- memory ---- */

/* The peak memory (KiB) of a process that takes a crop of each of the first `count` files several times. */
static int64_t peak_of(const char *folder, int64_t count) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static float lr[3 * 24 * 24], hr[3 * 96 * 96];
        dukd_dataset *d = NULL;
        int status = dukd_dataset_open(
            &d, &(dukd_dataset_options){.dataroot_gt = folder, .scale = 4, .cache_bytes = 4 << 20}, NULL);
        for (int round = 0; round < 3 && status == DUKD_DONE; round++)
            for (int64_t i = 0; i < count && status == DUKD_DONE; i++)
                status = dukd_dataset_crop(d, i, (dukd_placement){(int32_t)i, 3, 1}, 24, lr, hr, NULL);
        const dukd_dataset_traffic traffic = dukd_dataset_measure(d);
        if (status == DUKD_DONE && (traffic.peak_bytes > 4 << 20 || traffic.decoded < count))
            status = DUKD_MISUSED;
        struct rusage use;
        getrusage(RUSAGE_SELF, &use);
        const int64_t peak = status == DUKD_DONE ? use.ru_maxrss : -1;
        if (write(ends[1], &peak, sizeof peak) != sizeof peak) _exit(1);
        _exit(0);
    }
    int64_t peak = -1;
    assert_int_equal(read(ends[0], &peak, sizeof peak), sizeof peak);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    assert_true(peak > 0);
    return peak;
}

static void memory_does_not_grow_with_the_number_of_images(void **state) {
    (void)state;
    if (DUKD_TEST_SANITIZED) {
        print_message("SKIP: peak memory is not measured under a sanitizer, which keeps freed memory\n");
        skip();
    }
    enum { MANY = 96, MIB = 1024 };
    for (int i = 0; i < MANY; i++) { /* .9 MB decoded each, 90 MB together */
        char name[32];
        snprintf(name, sizeof name, "hr/%03d.png", i);
        if (i == 0)
            data_png(data_path(name), 640, 480, 8, 1);
        else if (symlink("000.png", data_path(name)))
            fail_msg("symlink");
    }
    const int64_t few = peak_of(data_path("hr"), 8), many = peak_of(data_path("hr"), MANY);
    print_message("peak memory: %lld KiB for 8 images, %lld KiB for %d\n", (long long)few, (long long)many,
                  MANY);
    assert_true(many < few + 3 * MIB);
}

/* ---- real photographs ---- */

static void lr_made_of_set5_equals_its_public_files(void **state) {
    (void)state;
    char hr[512], lr[512];
    for (int32_t scale = 2; scale <= 4; scale++) {
        char relative[64];
        snprintf(relative, sizeof relative, "data/Set5/LR_bicubic/X%d", scale);
        dukd_shared_path(hr, sizeof hr, "data/Set5/HR");
        dukd_shared_path(lr, sizeof lr, relative);
        char tmpl[8];
        snprintf(tmpl, sizeof tmpl, "{}x%d", scale);
        dukd_dataset *made = data_open(&(dukd_dataset_options){.dataroot_gt = hr, .scale = scale});
        dukd_dataset *files = data_open(&(dukd_dataset_options){
            .dataroot_gt = hr, .dataroot_lq = lr, .filename_tmpl = tmpl, .scale = scale});
        assert_int_equal(dukd_dataset_count(files), 5);
        for (int64_t i = 0; i < 5; i++) {
            dukd_image a_lr, a_hr, b_lr, b_hr;
            assert_int_equal(dukd_dataset_read(made, i, &a_lr, &a_hr, NULL), DUKD_DONE);
            assert_int_equal(dukd_dataset_read(files, i, &b_lr, &b_hr, NULL), DUKD_DONE);
            data_same(&a_lr, &b_lr);
            data_same(&a_hr, &b_hr);
            dukd_image_free(&a_lr);
            dukd_image_free(&a_hr);
            dukd_image_free(&b_lr);
            dukd_image_free(&b_hr);
        }
        dukd_dataset_close(made);
        dukd_dataset_close(files);
    }
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(whole_pairs_are_the_files_or_made_of_them),
        IN_SCRATCH(crops_are_the_right_pixels_turned_as_basicsr_does),
        IN_SCRATCH(crops_that_do_not_fit_are_refused),
        IN_SCRATCH(files_that_change_under_an_open_set_are_named),
        IN_SCRATCH(a_crop_reads_only_the_tiles_it_touches),
        IN_SCRATCH(a_prepared_set_gives_what_its_folder_gives),
        IN_SCRATCH(the_hash_is_of_names_sizes_and_contents),
        IN_SCRATCH(memory_does_not_grow_with_the_number_of_images),
        cmocka_unit_test(lr_made_of_set5_equals_its_public_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
