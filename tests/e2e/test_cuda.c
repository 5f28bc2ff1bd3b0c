/* dukd-host trains with engine: cuda as on the processor: on the emulated device, with the plugin's CUDA backend there as well; or on a
 * GPU, where libraries sum in f32 in an order of their own, and Adam's first steps turn the sign of a gradient near 0 into a whole step. */
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

enum { STEPS = 20 };
static const double ON_GPU = 1e-3; /* a guess: no GPU has been at hand */

static int setup(void **state) {
    return setenv("DUKD_ENGINE_CUDA", CUDA_ENGINE, 1) || host_setup(state);
}

/* Twenty steps on both; the losses agree to the bound at each. */
static void compare(const char *file, double bound, const char *const *more) {
    const char *args[40] = {
        "train", file,       "-q", "--set", "logger.print_freq=1", "--set", "train.total_iter=20",
        "--set", "name=host"};
    int count = 9;
    for (int i = 0; more[i]; i++) args[count++] = more[i];
    host_run(0, args);
    args[8] = "name=cuda";
    const char *const on[] = {ON_CUDA, NULL};
    for (int i = 0; on[i]; i++) args[count++] = on[i];
    args[count] = NULL;
    host_run(0, args);
    assert_non_null(strstr(host_load("experiments/cuda/run.json"), "\"name\": \"cuda\""));
    const double worst = host_losses_apart(METRICS("host"), METRICS("cuda"), STEPS);
    print_message("%s: losses of %d steps agree to %.1e\n", file, STEPS, worst);
    if (host_gpus()) bound = ON_GPU;
    if (!(worst <= bound)) fail_msg("losses differ by %.1e, at most %.1e wanted", worst, bound);
}
#define COMPARE(file, bound, ...) compare(file, bound, (const char *const[]){__VA_ARGS__, NULL})

static void paper_mode(void **state) {
    (void)state;
    COMPARE("dukd.yml", 1e-5, "--set", "precision=f32");
}

static void official_mode(void **state) {
    (void)state;
    COMPARE("dukd.yml", 1e-5, "--set", "precision=f32", "--set", "train.mode=official", "--set",
            "train.pixel_opt.type=L1Loss", "--set", "train.pixel_opt.loss_weight=5", "--set",
            "train.kd_opt.type=L1Loss", "--set", "train.noisy.prob=0.5", "--set",
            "train.dukd_opt.n_gt_sub=[1]", "--set", "train.dukd_opt.zoom_out=true");
}

/* Two ranks, each with a device of its own, average on the devices, and are one with the whole batch. */
static void ranks_join(const char *const *more) {
    const char *args[40] = {"train",
                            "dukd.yml",
                            "-q",
                            "--set",
                            "logger.print_freq=1",
                            "--set",
                            "train.total_iter=20",
                            ON_CUDA,
                            "--set",
                            "precision=f32",
                            "--set",
                            "num_threads=1",
                            "--set",
                            "datasets.train.dataset_enlarge_ratio=4",
                            "--set",
                            "name=host",
                            "--set",
                            "datasets.train.batch_size_per_gpu=4"};
    int count = 0, name = 0;
    while (args[count]) count++;
    while (strcmp(args[name], "name=host") != 0) name++;
    const int batch = count - 1;
    for (int i = 0; more && more[i]; i++) args[count++] = more[i];
    host_run(0, args);
    args[name] = "name=cuda";
    args[batch] = "datasets.train.batch_size_per_gpu=2";
    host_run_ranks(2, 0, args);
    if (host_gpus() && strstr(host_load("experiments/cuda/train_cuda.log"), "in the processor's memory")) {
        print_message("SKIP: ranks average in the processor's memory here (is NCCL installed?)\n");
        skip();
    }
    assert_null(strstr(host_load("experiments/cuda/train_cuda.log"), "in the processor's memory"));
    const double worst = host_losses_apart(METRICS("host"), METRICS("cuda"), STEPS);
    print_message("two ranks: losses of %d steps agree with one's to %.1e\n", STEPS, worst);
    if (!(worst <= (host_gpus() ? ON_GPU : 1e-5))) fail_msg("losses differ by %.1e", worst);
}

static void two_ranks(void **state) {
    (void)state;
    host_needs_ranks_with_cuda();
    ranks_join(NULL);
}

/* Adam hardly sees how long a gradient is; plain descent does. Two optimizer steps an iteration, and no clearing between. */
static void two_ranks_in_official_mode(void **state) {
    static const char *const more[] = {
        "--set", "train.mode=official",           "--set", "train.pixel_opt.type=L1Loss",
        "--set", "train.pixel_opt.loss_weight=1", "--set", "train.kd_opt.type=L1Loss",
        "--set", "train.dukd_opt.n_gt_sub=[1]",   "--set", "train.dukd_opt.zoom_out=true",
        "--set", "train.optim_g.type=SGD",        "--set", "train.optim_g.betas=~",
        "--set", "train.optim_g.lr=0.02",         NULL};
    (void)state;
    host_needs_ranks_with_cuda();
    ranks_join(more);
}

static void one_device_for_two_ranks_is_refused(void **state) {
    (void)state;
    host_needs_ranks_with_cuda();
    RANKS(2, 2, "train", "dukd.yml", "-q", ON_CUDA, "--set", "precision=f32", "--set", "device=0");
    assert_non_null(strstr(host_output(), "take the key out"));
}

/* Launchers show each process its own GPU, which is device 0 there (srun --gpus-per-task=1); or all the same one, by mistake. */
static void processes_that_see_one_device(void **state) {
    (void)state;
    host_needs_ranks_with_cuda();
    if (host_gpus()) skip();
    setenv("DUKD_EMULATION", "devices=1,first=rank", 1);
    RANKS(2, 0, "train", "dukd.yml", "-q", ON_CUDA, "--set", "precision=f32", "--set", "train.total_iter=2");
    assert_null(strstr(host_load("experiments/dukd/train_dukd.log"), "in the processor's memory"));
    setenv("DUKD_EMULATION", "devices=1", 1);
    RANKS(2, 2, "train", "dukd.yml", "-q", ON_CUDA, "--set", "precision=f32");
    unsetenv("DUKD_EMULATION");
    assert_non_null(strstr(host_output(), "ranks 0 and 1 would share a GPU (d0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paper_mode, setup, host_teardown),
        cmocka_unit_test_setup_teardown(official_mode, setup, host_teardown),
        cmocka_unit_test_setup_teardown(two_ranks, setup, host_teardown),
        cmocka_unit_test_setup_teardown(two_ranks_in_official_mode, setup, host_teardown),
        cmocka_unit_test_setup_teardown(one_device_for_two_ranks_is_refused, setup, host_teardown),
        cmocka_unit_test_setup_teardown(processes_that_see_one_device, setup, host_teardown),
    };
    return cmocka_run_group_tests_name("cuda", tests, NULL, NULL);
}
