/* `dukd-host test`: several sets in one run, what it prints in which form, where images go, which set is to blame; and an
 * option file with every key that the authors' files have. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "unit/data_fixture.h"

#define NETWORK(feat)                                                                                        \
    "  type: EDSR\n  num_in_ch: 3\n  num_out_ch: 3\n  num_feat: " #feat                                      \
    "\n  num_block: 1\n  upscale: 2\n  res_scale: 0.1\n  img_range: 255.\n"                                  \
    "  rgb_mean: [0.4488, 0.4371, 0.4040]\n"

#define SET(key, name, lq)                                                                                   \
    "  " key ":\n    name: " name "\n    type: PairedImageDataset\n    dataroot_gt: val\n" lq                \
    "    io_backend:\n      type: disk\n"
#define ON_DISK "    dataroot_lq: lr/LR_bicubic/X2\n    filename_tmpl: '{}x2'\n"

/* The sections and keys of the released files, training and test; the folders are this test's. */
static const char as_released[] =
    "name: Released_x2\n"
    "suffix: ~  # add suffix to saved images\n"
    "model_type: DUKD\n"
    "scale: 2\n"
    "crop_border: ~\n"
    "num_gpu: auto  # set num_gpu: 0 for cpu mode\n"
    "manual_seed: 10\n"
    "datasets:\n"
    "  train:\n    name: DIV2K\n    type: PairedImageDataset\n    dataroot_gt: train\n"
    "    dataroot_lq: train_lr/LR_bicubic/X2\n    filename_tmpl: '{}x2'\n    io_backend:\n      type: disk\n"
    "    gt_size: 32\n    use_hflip: true\n    use_rot: true\n"
    "    num_worker_per_gpu: 1\n    batch_size_per_gpu: 2\n    dataset_enlarge_ratio: 100\n"
    "    prefetch_mode: ~\n" SET("val", "Set5", ON_DISK) SET("val_1", "Set14", ON_DISK)
        SET("test_1", "B100", "") "network_g:\n" NETWORK(4) "network_t:\n" NETWORK(
            6) "save_img: true\n"
               "path:\n  pretrain_network_g: ~\n  pretrain_network_t: teacher.safetensors\n"
               "  strict_load_g: true\n  resume_state: ~\n"
               "train:\n  noisy:\n    prob: 0.3\n"
               "  dukd_opt:\n    n_gt_sub: [2]\n    zoom_out: true\n"
               "  ema_decay: 0.999\n"
               "  optim_g:\n    type: Adam\n    lr: !!float 1e-4\n    weight_decay: 0\n    betas: [0.9, "
               "0.99]\n"
               "  scheduler:\n    type: MultiStepLR\n    milestones: [100000, 200000]\n    gamma: 0.1\n"
               "  total_iter: 2\n  warmup_iter: -1  # no warm up\n"
               "  pixel_opt:\n    type: L1Loss\n    loss_weight: 5.0\n    reduction: mean\n"
               "  kd_opt:\n    type: L1Loss\n    loss_weight: 1.0\n    reduction: mean\n"
               "val:\n  val_freq: !!float 5e3\n  save_img: true\n  self_ensemble: true\n  suffix: ~\n"
               "  metrics:\n"
               "    psnr: # metric name, can be arbitrary\n      type: calculate_psnr\n      crop_border: 2\n"
               "      test_y_channel: true\n"
               "    ssim:\n      type: calculate_ssim\n      crop_border: 2\n      test_y_channel: true\n"
               "logger:\n  print_freq: 1\n  save_checkpoint_freq: !!float 5e3\n  use_tb_logger: true\n"
               "  wandb:\n    project: dukd\n    resume_id: ~\n"
               "dist_params:\n  backend: nccl\n  port: 29500\n";

#define NETWORK_FILE "experiments/Released_x2/models/net_g_latest.safetensors"

static int setup(void **state) {
    if (host_setup(state)) return 1;
    data_text(data_path("released.yml"), as_released);
    HOST(0, "prepare", "val", "lr", "--scale", "2", "-q");
    HOST(0, "prepare", "train", "train_lr", "--scale", "2", "-q");
    return 0;
}

static int count_of(const char *text, const char *part) {
    int count = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part)) count++;
    return count;
}

static void says(const char *part, int times) {
    const int got = count_of(host_output(), part);
    if (got != times) fail_msg("'%s' is there %d times, not %d, in\n%s", part, got, times, host_output());
}

/* The number of `metric` in the object KEY that follows PLACE. */
static double number_at(const char *place, const char *key, const char *metric) {
    char quoted[64];
    const char *at = strstr(host_output(), place);
    snprintf(quoted, sizeof quoted, "\"%s\": {", key);
    if (at) at = strstr(at, quoted);
    snprintf(quoted, sizeof quoted, "\"%s\": ", metric);
    if (at) at = strstr(at, quoted);
    if (!at) fail_msg("no %s of %s after %s in\n%s", metric, key, place, host_output());
    return strtod(at + strlen(quoted), NULL);
}

/* ---------------------------------------------------------------- the released file */

static void the_released_keys_train_and_test(void **state) {
    (void)state;
    HOST(0, "train", "-opt", "released.yml");
    says("num_gpu is ignored", 1);
    says("logger.wandb.project is ignored", 1);
    says("val.self_ensemble is ignored", 1);
    says("dist_params.backend is ignored", 1);
    says("l_zoom_out_kd", 2); /* the official mode, with all its losses */
    HOST(0, "test", "-opt", "released.yml", "-w", NETWORK_FILE);
    says("num_gpu is ignored", 1);
    says("logger.wandb.project is ignored", 1);
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "--quiet");
    says("is ignored", 0);
    HOST(0, "info", "released.yml", "--no-speed");
    says("num_gpu is ignored", 1);
}

/* ---------------------------------------------------------------- info */

static void info_of_weights(void **state) {
    (void)state;
    HOST(0, "train", "released.yml", "-q");
    HOST(0, "info", "-m", NETWORK_FILE, "--no-speed", "--json", "--size", "24x40");
    says("\"role\": \"network\"", 1);
    says("\"parameters\": 1259", 1);
    HOST(1, "info", "-m", "teacher.safetensors", "--no-speed"); /* does not say what it is */
    says("teacher.safetensors", 1);
    HOST(2, "info", "-m", NETWORK_FILE, "released.yml");
    HOST(2, "info", "-m", NETWORK_FILE, "--set", "scale=2");
}

static void info_counts_and_measures(void **state) {
    (void)state;
    HOST(0, "info", "released.yml", "-q", "--size", "24x40", "--runs", "3", "--threads", "1", "--json");
    says("\"runs\": 3", 4);
    says("\"role\": \"student\"", 1);
    says("\"role\": \"teacher\"", 1);
    says("\"height\": 24", 3);
    says("\"threads\": 1", 1);
    /* EDSR of 4 channels, 1 block, x2: 3x3 convolutions of 3 -> 4, 3 of 4 -> 4, 4 -> 16, and 4 -> 3 at twice the size. */
    const char *expected = "\"parameters\": 1259", *macs = "\"multiply_adds\": 1486080";
    says(expected, 1);
    says(macs, 1);
    assert_true(number_at("\"student\"", "f32", "frames_per_second") > 0);
    assert_true(number_at("\"student\"", "bf16", "peak_bytes") > 24 * 40 * 4);
    HOST(0, "info", "released.yml", "-q", "--no-speed", "--json", "--size", "24x40");
    says("frames_per_second", 0);
    says(expected, 1);
    HOST(0, "info", "released.yml", "-q", "--size", "24x40", "--runs", "1", "--precision", "bf16");
    says("bf16\n", 1);
    says("f32", 0);
    HOST(2, "info", "released.yml", "--precision", "f16");
    HOST(2, "info");
    HOST(2, "info", "--table1", "released.yml");
    says("no OPT.yml", 1);
    HOST(2, "info", "released.yml", "--runs", "3", "--seconds", "1");
    says("choose one", 1);
    HOST(2, "info", "released.yml", "--runs", "0");
    HOST(2, "info", "released.yml", "--threads", "-2");
}

/* The paper's figures come out of the graphs, to the last digit that it states. */
static void table_1(void **state) {
    (void)state;
    HOST(0, "info", "--table1", "--no-speed");
    static const char *const rows[] = {
        "EDSR 256/32 teacher        43.09   43.09     3293.35    3293.35",
        "EDSR 64/32 student          2.70    2.70      207.28     207.28",
        "RCAN 64/20/10 teacher      15.59   15.59     1044.03    1044.03",
        "RCAN 64/6/10 student        5.17    5.17      366.98     366.98",
        "SwinIR 180/6x6 teacher     11.90   11.90      861.27     861.27",
        "SwinIR 60/4x6 student       1.24    1.24      121.48     121.48",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) says(rows[i], 1);
    says("arXiv 2309.14162", 1);
    HOST(0, "info", "--table1", "--no-speed", "--json");
    static const char *const parameters[] = {"43089923", "2699267",  "15592355",
                                             "5171315",  "11900199", "1235439"};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        char text[64];
        snprintf(text, sizeof text, "\"parameters\": %s", parameters[i]);
        says(text, 1);
    }
    says("\"parameters_millions\": 43.09", 1);
    /* At another size there is nothing to compare with, and windows need multiples of 8. */
    HOST(0, "info", "--table1", "--no-speed", "--size", "60x64");
    says("3293.35", 0);
    says("SwinIR 180/6x6 teacher: padded to 64 x 64", 1);
}

/* ---------------------------------------------------------------- sets and tables */

static void a_network(void) {
    HOST(0, "train", "released.yml", "-q");
}

static void every_set_has_its_table(void **state) {
    (void)state;
    a_network();
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--set", "val.save_img=false");
    says("\nSet5\n", 1);
    says("\nSet14\n", 1);
    says("\nB100\n", 1);
    says("\nmeans\n", 1);
    says("weights " NETWORK_FILE " (params), teacher teacher.safetensors (params)", 4);
    says("psnr: PSNR (dB) on Y, border 2; ssim: SSIM on Y, border 2", 4);
    says("no self-ensemble", 4);
    says("whole images, no tiles", 4);
    says("Set5: HR val, LR lr/LR_bicubic/X2\n", 2);
    says("B100: HR val, LR made by bicubic downscaling, symmetric border\n", 2);
    assert_false(host_exists("results"));
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--format", "markdown", "--self-ensemble",
         "--set", "val.save_img=false", "--param-key", "params_ema");
    says("### Set5\n", 1);
    says("### means\n", 1);
    says("---:", 4 * 10);
    says("student ssim |", 4);
    says("(params_ema)", 4);
    says("ensemble: eight orientations averaged before clamping", 4);
}

static void json_has_all_of_it(void **state) {
    (void)state;
    a_network();
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--format", "json", "--self-ensemble", "--set",
         "val.save_img=false");
    says("\"hr\": ", 3);
    says("\"self_ensemble\": {", 3 * 4);
    says("\"student_against_teacher\": {", 3 * 4);
    says("\"crop_border\": 2", 2);
    says("\"colour\": \"Y\"", 2);
    says("\"tiles\": false", 1);
    says("\"lr\": \"lr/LR_bicubic/X2\"", 2);
    says("\"lr_made_with_border\": \"symmetric\"", 1);
    /* The same images, LR read in one set and made in the other. */
    const double read = number_at("\"Set5\"", "mean", "psnr"), made = number_at("\"B100\"", "mean", "psnr");
    assert_true(read > 5 && read < 60 && read == made);
    const double plain = number_at("\"Set5\"", "student", "ssim"),
                 ensemble = number_at("\"Set5\"", "self_ensemble", "ssim");
    assert_true(plain > 0 && ensemble > 0 && plain != ensemble);
}

/* An EDSR teaches a SwinIR, and both are tested. */
static void networks_of_two_kinds(void **state) {
    (void)state;
    data_png(data_path("even/a.png"), 48, 32, 8, 40);
    data_text(
        data_path("swin.yml"),
        "name: swin\nmodel_type: DUKD\nscale: 2\nmanual_seed: 1\n"
        "datasets:\n  train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 2}\n"
        "  val: {name: even, dataroot_gt: even}\n"
        "network_g: {type: SwinIR, upscale: 2, img_size: 16, window_size: 8, img_range: 1., embed_dim: 12, "
        "depths: [2], num_heads: [2], mlp_ratio: 2, upsampler: pixelshuffledirect, resi_connection: 1conv}\n"
        "network_t:\n" NETWORK(
            6) "path: {pretrain_network_t: teacher.safetensors}\n"
               "train:\n  dukd_opt: {n_gt_sub: [1], zoom_out: true}\n  pixel_opt: {type: L1Loss}\n"
               "  kd_opt: {type: L1Loss}\n  optim_g: {type: Adam, lr: !!float 1e-4}\n  total_iter: 2\n");
    HOST(0, "train", "-q", "swin.yml");
    HOST(0, "test", "-q", "swin.yml", "-w", "experiments/swin/models/net_g_latest.safetensors", "--json");
    says("\"padded_to_multiples_of\": 8", 1);
    const double student = number_at("\"mean\": {", "student", "psnr"),
                 teacher = number_at("\"mean\": {", "teacher", "psnr");
    assert_true(student > 5 && teacher > 5 && student != teacher);
    HOST(0, "test", "-q", "swin.yml", "-w", "experiments/swin/models/net_g_latest.safetensors");
    says("sides padded by reflection to multiples of 8", 1);
    /* The scale is the one thing that has to agree. */
    HOST(2, "train", "-q", "swin.yml", "--set", "network_t.upscale=4");
    says("network_t.upscale: EDSR enlarges 4 times, but scale is 2 (swin.yml:3:1)", 1);
}

/* ---------------------------------------------------------------- tiles */

static void tiles_are_said(void **state) {
    (void)state;
    a_network();
    const char *no_images = "val.save_img=false";
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--json", "--set", no_images);
    const double psnr = number_at("\"mean\": {", "student", "psnr"),
                 teacher = number_at("\"mean\": {", "teacher", "psnr");
    /* The networks see 6 pixels around each (five 3x3 convolutions, one more at twice the size): with that margin nothing
     * changes, with none it does. */
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--json", "--tile", "16", "--set", no_images);
    says("\"tile\": 16", 1);
    says("\"tiles_exact\": true", 1);
    assert_true(fabs(number_at("\"mean\": {", "student", "psnr") - psnr) < 1e-5);
    assert_true(fabs(number_at("\"mean\": {", "teacher", "psnr") - teacher) < 1e-5);
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--json", "--tile", "16", "--overlap", "0",
         "--set", no_images);
    says("\"tiles_exact\": false", 1);
    assert_true(fabs(number_at("\"mean\": {", "student", "psnr") - psnr) > 1e-4);
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--tile", "16", "--overlap", "0", "--set",
         no_images);
    says("larger images in tiles of 16 pixels and 0 around them: NOT what whole images give", 4);
    HOST(2, "test", "released.yml", "-w", NETWORK_FILE, "--tile", "8");
    HOST(2, "test", "released.yml", "-w", NETWORK_FILE, "--overlap", "8");
    says("give --tile too", 1);
}

/* ---------------------------------------------------------------- images */

static void images_lie_where_basicsr_puts_them(void **state) {
    (void)state;
    a_network();
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--json");
    const double psnr = number_at("\"mean\": {", "student", "psnr"),
                 ssim = number_at("\"mean\": {", "student", "ssim");
    for (int i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "results/Released_x2/visualization/Set5/v%dx2_Released_x2.png", i);
        if (!host_exists(name)) fail_msg("no %s", name);
        snprintf(name, sizeof name, "results/Released_x2/visualization/B100/v%d_Released_x2.png", i);
        if (!host_exists(name)) fail_msg("no %s", name); /* there is no LR file to be named after */
    }
    /* What was saved is what was measured. */
    HOST(0, "metrics", "results/Released_x2/visualization/B100", "val", "--scale", "2", "--json");
    const char *mean = strstr(host_output(), "\"mean\"");
    assert_non_null(mean);
    assert_true(strstr(mean, "\"psnr\": ") &&
                fabs(strtod(strstr(mean, "\"psnr\": ") + 8, NULL) - psnr) < 1e-9);
    assert_true(strstr(mean, "\"ssim\": ") &&
                fabs(strtod(strstr(mean, "\"ssim\": ") + 8, NULL) - ssim) < 1e-12);
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--set", "val.suffix=mine", "--set",
         "path.results_root=there");
    assert_true(host_exists("there/visualization/Set14/v1x2_mine.png"));
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--save", "here");
    assert_true(host_exists("here/Set14/v1x2_Released_x2.png"));
    /* A prepared set is named after its HR images: its LR files are its own affair. */
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--save", "prepared", "--set",
         "datasets.val_1.dataroot_gt=lr", "--set", "datasets.val_1.dataroot_lq=~");
    assert_true(host_exists("prepared/Set14/v1_Released_x2.png"));
}

/* ---------------------------------------------------------------- what is wrong */

static void refused(int status, const char *set, const char *part, const char *part2) {
    HOST(status, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--set", set);
    if (!strstr(host_output(), part) || !strstr(host_output(), part2))
        fail_msg("'%s' and '%s' are not both in: %s", part, part2, host_output());
    assert_int_equal(count_of(host_output(), "\n"), 1);
    assert_false(host_exists("results")); /* found before anything was run */
}

static void the_set_that_is_wrong_is_named(void **state) {
    (void)state;
    a_network();
    refused(1, "datasets.val_1.dataroot_gt=nosuch", "datasets.val_1: ", "nosuch");
    refused(1, "datasets.val_1.filename_tmpl={}x3", "datasets.val_1: ", "has no LR image");
    refused(2, "datasets.val.name=B100", "datasets.val has the name 'B100', which datasets.test_1 has too",
            "released.yml:");
    refused(2, "val.metrics.ssim.crop_border=17", "datasets.test_1: ", "crop_border of ssim");
    refused(2, "val.metrics.ssim.crop_border=17", "released.yml:", "v0.png");
    HOST(2, "test", "released.yml", "-w", NETWORK_FILE, "--format", "html");
    says("--format is text, markdown or json, not 'html'", 1);
    HOST(2, "test", "released.yml", "-w", NETWORK_FILE, "--format", "json", "--markdown");
    says("choose one", 1);
    /* Without images to save, two sets may have one name. */
    HOST(0, "test", "released.yml", "-w", NETWORK_FILE, "-q", "--set", "datasets.val.name=B100", "--set",
         "val.save_img=false");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_released_keys_train_and_test),
        TEST(info_counts_and_measures),
        TEST(info_of_weights),
        TEST(table_1),
        TEST(every_set_has_its_table),
        TEST(json_has_all_of_it),
        TEST(networks_of_two_kinds),
        TEST(tiles_are_said),
        TEST(images_lie_where_basicsr_puts_them),
        TEST(the_set_that_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
