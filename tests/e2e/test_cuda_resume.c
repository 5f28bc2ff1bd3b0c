/* Runs with engine: cuda that are taken up again: on the emulated device to the same bits, and from one engine to the other. */
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

#define ON_CUDA              "--set", "engine=cuda", "--plugin", CUDA_PLUGIN
#define METRICS(name)        "experiments/" name "/metrics.jsonl"
#define STATE(name)          "experiments/" name "/training_states/24.state"
#define MODEL(name, network) "experiments/" name "/models/net_g_" network ".safetensors"

enum { STEPS = 24 };

static int setup(void **state) {
    return setenv("DUKD_ENGINE_CUDA", CUDA_ENGINE, 1) || host_setup(state);
}

/* dukd.yml until iteration `until`, which 0 leaves to the file; taken up again where it has begun. */
static void run(const char *name, const char *until, const char *const *more) {
    const char *args[40] = {"train", "dukd.yml", "-q", "--auto_resume", "--set", "logger.print_freq=1",
                            "--set", name};
    int count = 8;
    if (until) {
        args[count++] = "--set";
        args[count++] = until;
    }
    for (int i = 0; more[i]; i++) args[count++] = more[i];
    host_run(0, args);
}
#define RUN(name, until, ...) run("name=" name, until, (const char *const[]){__VA_ARGS__, NULL})

static void same_as_whole(void) {
    host_same_tensors(STATE("whole"), STATE("parts"));
    host_same_tensors(MODEL("whole", "latest"), MODEL("parts", "latest"));
    host_same_tensors(MODEL("whole", "best"), MODEL("parts", "best"));
    host_same_metrics(METRICS("whole"), METRICS("parts"));
}

/* Stopped twice, where the file validates in any case. The uninterrupted run replays all but its first steps, those that are taken up
 * again begin call by call. */
static void the_same_bits(void **state) {
    (void)state;
    RUN("whole", NULL, ON_CUDA, "--set", "precision=f32");
    assert_true(host_exists(STATE("whole")));
    RUN("parts", "train.total_iter=8", ON_CUDA, "--set", "precision=f32");
    RUN("parts", "train.total_iter=16", ON_CUDA, "--set", "precision=f32");
    RUN("parts", NULL, ON_CUDA, "--set", "precision=f32");
    const char *log = host_load("experiments/parts/train_parts.log");
    assert_true(strstr(log, "resumed after iteration 8") && strstr(log, "resumed after iteration 16"));
    same_as_whole();
}

static void the_same_bits_in_bf16_and_official_mode(void **state) {
#define MODE                                                                                                 \
    "--set", "precision=bf16", "--set", "train.mode=official", "--set", "train.pixel_opt.type=L1Loss",       \
        "--set", "train.kd_opt.type=L1Loss", "--set", "train.dukd_opt.zoom_out=true", "--set",               \
        "train.noisy.prob=0.3"
    (void)state;
    RUN("whole", NULL, ON_CUDA, MODE);
    RUN("parts", "train.total_iter=8", ON_CUDA, MODE);
    RUN("parts", NULL, ON_CUDA, MODE);
    same_as_whole();
    assert_true(host_json_number("experiments/parts/run.json", "optimizer_steps") == 2 * STEPS);
#undef MODE
}

/* A state is of no engine: begun on one, ended on the other, the losses are the processor's. */
static void from_one_engine_to_the_other(void **state) {
    (void)state;
    RUN("host", NULL, "--set", "precision=f32");
    RUN("up", "train.total_iter=8", "--set", "precision=f32");
    RUN("up", NULL, ON_CUDA, "--set", "precision=f32");
    RUN("down", "train.total_iter=8", ON_CUDA, "--set", "precision=f32");
    RUN("down", NULL, "--set", "precision=f32");
    assert_non_null(strstr(host_load("experiments/up/run.json"), "\"name\": \"cuda\""));
    assert_null(strstr(host_load("experiments/down/run.json"), "\"name\": \"cuda\""));
    static const char *const others[] = {METRICS("up"), METRICS("down")};
    for (int i = 0; i < 2; i++) {
        const double apart = host_losses_apart(METRICS("host"), others[i], STEPS);
        print_message("%s: losses of %d steps agree to %.1e\n", others[i], STEPS, apart);
        assert_true(apart <= (host_gpus() ? 1e-3 : 1e-5)); /* a GPU: see test_cuda.c */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_bits, setup, host_teardown),
        cmocka_unit_test_setup_teardown(the_same_bits_in_bf16_and_official_mode, setup, host_teardown),
        cmocka_unit_test_setup_teardown(from_one_engine_to_the_other, setup, host_teardown),
    };
    return cmocka_run_group_tests_name("cuda_resume", tests, NULL, NULL);
}
