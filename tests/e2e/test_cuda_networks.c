/* dukd-host trains every kind of network with engine: cuda as on the processor, in f32 and in bf16, and rounds products to TF32 only
 * where it is told to: on the emulated device, with the plugin's CUDA backend there as well. */
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

#define ON_CUDA       "--set", "engine=cuda", "--plugin", CUDA_PLUGIN
#define METRICS(name) "experiments/" name "/metrics.jsonl"
#define LATEST(name)  "experiments/" name "/models/net_g_latest.safetensors"

enum { STEPS = 8 }; /* from the fifth on they are replayed */

static int setup(void **state) {
    return setenv("DUKD_ENGINE_CUDA", CUDA_ENGINE, 1) || host_setup(state);
}

/* Two networks of a kind, the teacher from a short run of its own. */
static void make_files(const char *student, const char *teacher, const char *train) {
    static const char common[] =
        "scale: 2\nmanual_seed: 5\nnum_threads: 1\n"
        "datasets: {train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 1}}\n"
        "logger: {print_freq: 1, save_checkpoint_freq: 100}\n";
    char text[2048];
    snprintf(text, sizeof text,
             "%sname: teach\nnetwork_g: %s\ntrain: {terms: [rec], optim_g: {type: Adam, lr: !!float 1e-3}, "
             "total_iter: 1}\n",
             common, teacher);
    data_text(data_path("teach.yml"), text);
    snprintf(text, sizeof text,
             "%snetwork_g: %s\nnetwork_t: %s\npath: {pretrain_network_t: " LATEST(
                 "teach") "}\n"
                          "train:\n  ema_decay: 0.9\n  optim_g: {type: Adam, lr: !!float 1e-3}\n  "
                          "total_iter: %d\n%s",
             common, student, teacher, (int)STEPS, train);
    data_text(data_path("net.yml"), text);
    HOST(0, "train", "teach.yml", "-q");
}

#define SWINIR(dim)                                                                                          \
    "{type: SwinIR, upscale: 2, in_chans: 3, img_size: 16, window_size: 4, img_range: 1., depths: [2], "     \
    "embed_dim: " dim ", num_heads: [2], mlp_ratio: 2, upsampler: pixelshuffle, resi_connection: 1conv, "    \
    "drop_path_rate: 0.2}"
#define RCAN(feat)                                                                                           \
    "{type: RCAN, num_in_ch: 3, num_out_ch: 3, num_feat: " feat ", num_group: 1, num_block: 1, "             \
    "squeeze_factor: 2, upscale: 2, res_scale: 1, img_range: 255., rgb_mean: [0.4488, 0.4371, 0.4040]}"

/* Trains net.yml on both: the losses of every step agree to the bound. */
static void agree(const char *precision, double bound) {
    HOST(0, "train", "net.yml", "-q", "--set", "name=host", "--set", precision);
    HOST(0, "train", "net.yml", "-q", "--set", "name=cuda", "--set", precision, ON_CUDA);
    assert_non_null(strstr(host_load("experiments/cuda/run.json"), "\"name\": \"cuda\""));
    const double apart = host_losses_apart(METRICS("host"), METRICS("cuda"), STEPS);
    print_message("%s: losses of %d steps agree to %.1e\n", precision, STEPS, apart);
    if (host_gpus())
        bound = bound < 1e-3 ? 1e-3 : 4e-2; /* guesses: no GPU has been at hand (see test_cuda.c) */
    if (!(apart <= bound)) fail_msg("losses differ by %.1e, at most %.1e wanted", apart, bound);
}

/* Is there bf16 on this processor and on this GPU, to be compared? */
static int has_bf16_on(const char *engine) {
    const char *const args[] = {"train",      "teach.yml", "-q",   "--set",    "precision=bf16", "--set",
                                "name=probe", "--set",     engine, "--plugin", CUDA_PLUGIN,      NULL};
    host_process p = {0};
    host_start(&p, args);
    if (!host_wait(&p)) return 1;
    if (!strstr(host_output(), "bf16 needs a processor") &&
        !strstr(host_output(), "the GPU does not compute in it"))
        fail_msg("%s", host_output());
    print_message("SKIP: there is no bf16 to compare: %s", host_output());
    return 0;
}

static int has_bf16(void) {
    return has_bf16_on("engine=onednn") && (!host_gpus() || has_bf16_on("engine=cuda"));
}

static void swinir(void **state) {
    (void)state;
    make_files(SWINIR("8"), SWINIR("12"), "  teacher_mode: train\n");
    agree("precision=f32", 1e-5);
    if (has_bf16()) agree("precision=bf16", 1e-2);
}

static void rcan(void **state) {
    (void)state;
    make_files(RCAN("4"), RCAN("6"), "");
    agree("precision=f32", 1e-5);
    if (has_bf16()) agree("precision=bf16", 1e-3);
}

#define EDSR(feat)                                                                                           \
    "{type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: " feat ", num_block: 1, upscale: 2, "               \
    "res_scale: 0.1, img_range: 255., rgb_mean: [0.4488, 0.4371, 0.4040]}"

static void edsr_in_bf16(void **state) {
    (void)state;
    make_files(EDSR("4"), EDSR("6"), "");
    if (!has_bf16()) skip();
    agree("precision=bf16", 2e-3);
}

/* Off, and off where nothing is said; on, products are rounded to 10 bits: far enough to be seen, near enough to be the same. */
static void tf32_only_where_it_is_asked_for(void **state) {
    (void)state;
    make_files(RCAN("4"), RCAN("6"), "");
    HOST(0, "train", "net.yml", "-q", "--set", "name=unsaid", ON_CUDA);
    HOST(0, "train", "net.yml", "-q", "--set", "name=off", "--set", "tf32=false", ON_CUDA);
    HOST(0, "train", "net.yml", "-q", "--set", "name=on", "--set", "tf32=true", ON_CUDA);
    host_same_tensors(LATEST("unsaid"), LATEST("off"));
    host_same_metrics(METRICS("unsaid"), METRICS("off"));
    const double apart = host_losses_apart(METRICS("off"), METRICS("on"), STEPS);
    print_message("tf32: losses of %d steps change by %.1e\n", STEPS, apart);
    assert_true(apart < 2e-2);
    if (!host_gpus()) assert_true(apart > 1e-6); /* of so small a network cuDNN may compute nothing in TF32 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(swinir, setup, host_teardown),
        cmocka_unit_test_setup_teardown(rcan, setup, host_teardown),
        cmocka_unit_test_setup_teardown(edsr_in_bf16, setup, host_teardown),
        cmocka_unit_test_setup_teardown(tf32_only_where_it_is_asked_for, setup, host_teardown),
    };
    return cmocka_run_group_tests_name("cuda_networks", tests, NULL, NULL);
}
