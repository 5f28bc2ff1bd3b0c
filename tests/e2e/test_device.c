/* dukd-host with an engine whose memory it cannot touch (tests/device): every command gives what it gives with the processor's memory,
 * bit by bit, and none dies of touching what is not its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "unit/data_fixture.h"

#define ON_DEVICE              "--set", "engine=cuda", "--plugin", DEVICE_MODULE
#define STATE(name, iteration) "experiments/" name "/training_states/" iteration ".state"
#define MODEL(name, file)      "experiments/" name "/models/" file ".safetensors"
#define LATEST(name)           MODEL(name, "net_g_latest")

#define SWINIR(dim)                                                                                          \
    "{type: SwinIR, upscale: 2, in_chans: 3, img_size: 16, window_size: 8, img_range: 1., depths: [2], "     \
    "embed_dim: " dim ", num_heads: [2], mlp_ratio: 2, upsampler: pixelshuffledirect, "                      \
    "resi_connection: 1conv, drop_path_rate: 0.3}"
#define EDSR(feat)                                                                                           \
    "{type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: " feat ", num_block: 1, upscale: 2, "               \
    "res_scale: 0.1, img_range: 255., rgb_mean: [0.4488, 0.4371, 0.4040]}\n"

static int setup(void **state) {
    unsetenv("DEVICE_TEST_PLUGIN");
    return setenv("DUKD_ENGINE_CUDA", DEVICE_MODULE, 1) || host_setup(state);
}

/* Trains twice, on the processor as "host" and there as "device", and compares what is left after 24 iterations. */
#define COMPARE(file, ...)                                                                                   \
    do {                                                                                                     \
        HOST(0, "train", file, "-q", "--set", "name=host", __VA_ARGS__);                                     \
        HOST(0, "train", file, "-q", "--set", "name=device", ON_DEVICE, __VA_ARGS__);                        \
        host_same_tensors(STATE("host", "20"), STATE("device", "20"));                                       \
        host_same_tensors(LATEST("host"), LATEST("device"));                                                 \
        host_same_metrics("experiments/host/metrics.jsonl", "experiments/device/metrics.jsonl");             \
        same_costs();                                                                                        \
    } while (0)

static void same_costs(void) {
    static const char *const keys[] = {"optimizer_steps", "skipped_steps",  "images",        "student_passes",
                                       "teacher_passes",  "teacher_images", "feature_passes"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const double host = host_json_number("experiments/host/run.json", keys[i]),
                     device = host_json_number("experiments/device/run.json", keys[i]);
        if (host != device) fail_msg("%s: %g and %g", keys[i], host, device);
    }
}

static void a_whole_run(void **state) {
    (void)state;
#define RUN "--set", "train.augment.hflip=0.5", "--set", "logger.print_freq=4"
    COMPARE("dukd.yml", RUN);
    assert_non_null(strstr(host_load("experiments/device/run.json"), "\"name\": \"device\""));
    assert_non_null(strstr(host_load("experiments/device/metrics.jsonl"), "validation"));
    /* stopped, and taken up again */
    HOST(0, "train", "dukd.yml", "-q", "--set", "name=parts", RUN, "--set", "train.total_iter=16", ON_DEVICE);
    HOST(0, "train", "dukd.yml", "-q", "--set", "name=parts", RUN, "--resume", ON_DEVICE);
#undef RUN
    host_same_tensors(STATE("host", "20"), STATE("parts", "20"));
    host_same_tensors(LATEST("host"), LATEST("parts"));
    host_same_metrics("experiments/host/metrics.jsonl", "experiments/parts/metrics.jsonl");
}

#define SMALL                                                                                                \
    "scale: 2\nmanual_seed: 5\nnum_threads: 1\n"                                                             \
    "datasets: {train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 2}}\n"                          \
    "logger: {print_freq: 3, save_checkpoint_freq: 5}\n"

static void micro_batches_and_plain_descent(void **state) {
    (void)state;
    data_text(data_path("sgd.yml"), SMALL "network_g: " EDSR("4") "network_t: " EDSR(
                                        "6") "path: {pretrain_network_t: teacher.safetensors}\n"
                                             "train: {ema_decay: 0.9, micro_batches: 2, total_iter: 24, "
                                             "optim_g: {type: SGD, lr: 0.01, weight_decay: 0.1}}\n");
    COMPARE("sgd.yml", "--set", "precision=f32");
}

/* The flag is read before each step, and the one that the hardest crop depends on is handed out late. */
static void steps_that_may_be_skipped(void **state) {
    (void)state;
    COMPARE("dukd.yml", "--set", "train.nonfinite=skip", "--set", "train.zoom_in=hardest");
}

static void official_mode(void **state) {
    (void)state;
    COMPARE("dukd.yml", "--set", "train.mode=official", "--set", "train.pixel_opt.type=L1Loss", "--set",
            "train.pixel_opt.loss_weight=5", "--set", "train.kd_opt.type=L1Loss", "--set",
            "train.noisy.prob=0.5", "--set", "train.dukd_opt.n_gt_sub=[1]", "--set",
            "train.dukd_opt.zoom_out=true");
    assert_int_equal((int)host_json_number("experiments/device/run.json", "optimizer_steps"), 48);
}

/* Drop paths of a student and, in training mode, of its teacher. */
static void drop_paths(void **state) {
    (void)state;
    data_text(data_path("teach.yml"),
              "scale: 2\nmanual_seed: 3\nnum_threads: 1\nname: teach\n"
              "datasets: {train: {dataroot_gt: train, gt_size: 32, "
              "batch_size_per_gpu: 2}}\nnetwork_g: " SWINIR(
                  "16") "\n"
                        "train: {terms: [rec], optim_g: {type: Adam, lr: !!float 1e-3}, "
                        "total_iter: 2}\n");
    HOST(0, "train", "teach.yml", "-q");
    data_text(
        data_path("swin.yml"),
        "scale: 2\nmanual_seed: 5\nnum_threads: 1\n"
        "datasets: {train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 2}}\n"
        "network_g: " SWINIR("8") "\nnetwork_t: " SWINIR(
            "16") "\n"
                  "path: {pretrain_network_t: " LATEST(
                      "teach") "}\n"
                               "train:\n  terms: [rec, kd, dukd]\n  zoom_out: false\n  teacher_mode: train\n"
                               "  ema_decay: 0.9\n  optim_g: {type: Adam, lr: !!float 1e-3}\n  total_iter: "
                               "24\n"
                               "logger: {print_freq: 3, save_checkpoint_freq: 5}\n");
    COMPARE("swin.yml", "--set", "precision=f32");
}

/* Layers, features, a teacher that is trained, and one that shares its weights with the student. */
#define CSD                                                                                                  \
    "--set", "train.terms=[rec, csd]", "--set", "train.csd.layers=[features.1, features.6]", "--set",        \
        "train.csd.layer_weights=[0.5, 1]", "--set", "network_f.type=VGG19", "--set",                        \
        "path.random_network_f=true", "--set", "train.csd.negatives=1"

static void features_and_a_trained_teacher(void **state) {
    (void)state;
    COMPARE("dukd.yml", CSD, "--set", "train.share_weights=true");
    host_same_tensors(MODEL("host", "net_t_latest"), MODEL("device", "net_t_latest"));
}

static void layers(void **state) {
    (void)state;
    COMPARE("dukd.yml", "--set", "train.terms=[rec, fakd]", "--set",
            "train.fakd.layers=[conv_first, 0, conv_after_body]", "--set", "precision=bf16");
}

/* The parameters of another plugin (tests/fitnets). */
static void a_plugins_own_parameters(void **state) {
    (void)state;
    setenv("DEVICE_TEST_PLUGIN", FITNETS_PLUGIN, 1);
    data_text(data_path("fitnets.yml"),
              SMALL "network_g: " EDSR("4") "network_t: " EDSR(
                  "6") "path: {pretrain_network_t: teacher.safetensors}\n"
                       "train: {terms: [rec, hint], w_hint: 5, ema_decay: 0.9, total_iter: 24, "
                       "optim_g: {type: Adam, lr: !!float 1e-2}}\n");
    HOST(0, "train", "fitnets.yml", "-q", "--set", "name=host", "--plugin", FITNETS_PLUGIN);
    HOST(0, "train", "fitnets.yml", "-q", "--set", "name=device", ON_DEVICE);
    unsetenv("DEVICE_TEST_PLUGIN");
    host_same_tensors(STATE("host", "20"), STATE("device", "20"));
    host_same_tensors(LATEST("host"), LATEST("device"));
    assert_non_null(strstr(host_load("experiments/device/train_device.log"), "of its own"));
}

/* What is not finite ends the run on both, at the same iteration, and nothing is written of it. Where each iteration is looked at the
 * words are the same; else the device tells it one iteration later, when losses can no longer be named. */
static void what_is_not_finite(void **state) {
    (void)state;
    char said[512];
#define EXPLODE "train", "dukd.yml", "-q", "--set", "train.optim_g.lr=1000000", "--set"
    HOST(1, EXPLODE, "logger.print_freq=1", "--set", "name=host");
    snprintf(said, sizeof said, "%s", host_output());
    assert_non_null(strstr(said, "is not finite"));
    HOST(1, EXPLODE, "logger.print_freq=1", "--set", "name=device", ON_DEVICE);
    if (strcmp(said, host_output()) != 0)
        fail_msg("on the processor: %s\non the device: %s", said, host_output());
    HOST(1, EXPLODE, "logger.print_freq=50", "--set", "name=late", ON_DEVICE, "--set", "val.val_freq=50");
    const size_t same = (size_t)(strchr(strstr(said, "iteration "), ':') - said);
    assert_true(strncmp(said, host_output(), same) == 0);
    assert_non_null(strstr(host_output(), "an output or the gradient is not finite"));
#undef EXPLODE
    assert_false(host_exists(LATEST("device")));
    assert_false(host_exists(LATEST("late")));
}

static char *first_image(const char *folder) {
    static char path[512];
    snprintf(path, sizeof path, "%s/v0.png", folder);
    return path;
}

static void same_files(const char *a, const char *b) {
    FILE *x = fopen(data_path(a), "rb"), *y = fopen(data_path(b), "rb");
    if (!x || !y) fail_msg("%s or %s is not there", a, b);
    int64_t bytes = 0;
    for (int c = fgetc(x); c != EOF; c = fgetc(x), bytes++)
        if (c != fgetc(y)) fail_msg("%s and %s differ at byte %lld", a, b, (long long)bytes);
    assert_int_equal(fgetc(y), EOF);
    assert_true(bytes > 100);
    fclose(x);
    fclose(y);
}

/* The network of a short run, for the commands below. */
static void train_a_little(void) {
    HOST(0, "train", "dukd.yml", "-q", "--set", "name=net", "--set", "train.total_iter=2");
}

static void images_of_any_size(void **state) {
    (void)state;
    train_a_little();
    HOST(0, "upscale", "--opt", "dukd.yml", "-m", LATEST("net"), "val", "-o", "host", "--tile", "16");
    HOST(0, "upscale", "--opt", "dukd.yml", "-m", LATEST("net"), "val", "-o", "device", "--tile", "16",
         "--engine", "cuda");
    char on_host[512];
    snprintf(on_host, sizeof on_host, "%s", first_image("host"));
    same_files(on_host, first_image("device"));
}

static void testing_a_network(void **state) {
    (void)state;
    train_a_little();
    HOST(0, "test", "dukd.yml", "-w", LATEST("net"), "--self-ensemble", "--format", "markdown");
    char *host = strdup(host_output());
    HOST(0, "test", "dukd.yml", "-w", LATEST("net"), "--self-ensemble", "--format", "markdown", "--set",
         "engine=cuda");
    assert_non_null(host);
    /* all lines but the one that has seconds */
    char *end = strrchr(host, '|');
    assert_non_null(end);
    if (strncmp(host, host_output(), (size_t)(end - host)) != 0) fail_msg("%s\nand\n%s", host, host_output());
    free(host);
}

static void a_picture_of_a_step(void **state) {
    (void)state;
    HOST(0, "preview", "dukd.yml", "-o", "host.png");
    HOST(0, "preview", "dukd.yml", "-o", "device.png", "--engine", "cuda", "--plugin", DEVICE_MODULE);
    same_files("host.png", "device.png");
}

/* auto: the device where no plugin has to follow it there; this one is for a device that plugins know as the processor. */
static void which_engine_is_taken(void **state) {
    (void)state;
    static const char *const device = "\"engine\": \"device\"", *const host = "\"engine\": \"onednn\"";
#define INFO "info", "dukd.yml", "--json", "--runs", "1", "--size", "16x16"
    HOST(0, INFO);
    assert_non_null(strstr(host_output(), device));
    HOST(0, INFO, "--engine", "cuda", "--set", "engine=onednn");
    assert_non_null(strstr(host_output(), device));
    HOST(0, INFO, "--set", "engine=onednn");
    assert_non_null(strstr(host_output(), host));
    setenv("DUKD_ENGINE_CUDA", "none", 1);
    HOST(0, INFO);
    assert_non_null(strstr(host_output(), host));
    assert_non_null(strstr(host_output(), "\"cuda_not_taken\": \"there is no CUDA engine at 'none'"));
    HOST(2, INFO, "--engine", "cuda");
    assert_non_null(strstr(host_output(), "--engine: there is no CUDA engine at 'none'"));
    HOST(2, "train", "dukd.yml", "--engine", "a\"b");
    assert_non_null(strstr(host_output(), "--engine: there is no engine 'a\"b'"));
    HOST(2, "train", "dukd.yml", "--engine", "cuda");
    assert_non_null(strstr(host_output(), "--engine: there is no CUDA engine at 'none'"));
    HOST(0, "train", "dukd.yml", "--set", "train.total_iter=1");
    assert_non_null(
        strstr(host_load("experiments/dukd/train_dukd.log"), "engine: auto takes onednn (the plugin"));
    HOST(0, "plugin");
    assert_non_null(strstr(host_output(), "engines of dukd-host"));
#undef INFO
}

/* The tests above would see nothing if the memory could be touched. */
static void the_memory_cannot_be_touched(void **state) {
    (void)state;
    host_process p = {0};
    host_start(&p, (const char *const[]){"train", "dukd.yml", "-q", "--set", "engine=cuda", NULL});
    const int status = host_wait(&p); /* with the project's own plugin, which does not open it */
    if (status != -11 && status != 1) fail_msg("status %d: %s", status, host_output());
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_run),
        TEST(micro_batches_and_plain_descent),
        TEST(steps_that_may_be_skipped),
        TEST(official_mode),
        TEST(drop_paths),
        TEST(features_and_a_trained_teacher),
        TEST(layers),
        TEST(a_plugins_own_parameters),
        TEST(what_is_not_finite),
        TEST(images_of_any_size),
        TEST(testing_a_network),
        TEST(a_picture_of_a_step),
        TEST(which_engine_is_taken),
        TEST(the_memory_cannot_be_touched),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
