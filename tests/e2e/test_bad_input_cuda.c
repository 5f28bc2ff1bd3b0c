/* What a machine can lack for engine: cuda, command by command: on the emulated device, which is told by its environment what it has not
 * (cuda_emulation/emulation.h), and with NVIDIA's libraries missing or of other versions (cuda_engine/CMakeLists.txt makes them). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host_run.h"
#include "test_bad_input_run.h"
#include "unit/data_fixture.h"

static char module_variable[1024];

static void machine(const char *words) {
    assert_int_equal(setenv("DUKD_EMULATION", words, 1), 0);
}

static void use_module(const char *path) {
    snprintf(module_variable, sizeof module_variable, "DUKD_ENGINE_CUDA=%s", path);
    bad_now.environment = module_variable;
}

/* cuda.yml is dukd.yml with engine: cuda in its last line. */
static int setup(void **state) {
    char text[8192];
    unsetenv("LD_LIBRARY_PATH");
    machine("");
    if (bad_setup(state)) return 1;
    bad_now.maps_much = 1;
    use_module(CUDA_ENGINE);
    snprintf(text, sizeof text, "%sengine: cuda\n", host_load("dukd.yml"));
    data_text(data_path("cuda.yml"), text);
    return 0;
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, bad_teardown)

#define TRAIN   "train cuda.yml --plugin " CUDA_PLUGIN
#define TESTS   "test cuda.yml --weights net.safetensors"
#define UPSCALE "upscale -m net.safetensors val/v0.png -o out --engine cuda"

/* By all three; where an option file asked for the engine, at its place there. */
static void refused_by_all(int status, const char *part, const char *what_to_do) {
    REFUSED(status, TRAIN, "cuda.yml:", "engine: ", part);
    REFUSED(status, TRAIN, what_to_do);
    REFUSED(status, TESTS, "cuda.yml:", "engine: ", part);
    REFUSED(status, UPSCALE, "--engine: ", part, what_to_do);
}

static void the_driver_and_its_devices(void **state) {
    (void)state;
    machine("driver=0");
    refused_by_all(1, "there is no NVIDIA driver", "install one for CUDA");
    machine("driver=12020");
    refused_by_all(1, "the NVIDIA driver is too old: it is for CUDA 12.2", "update it");
    machine("devices=0");
    refused_by_all(1, "but no CUDA device", "or use the engine onednn");
    machine("capability=61");
    refused_by_all(1, "has compute capability 6.1", "needs 7.5 or later");
}

static void a_device_that_does_not_exist(void **state) {
    (void)state;
    REFUSED(2, TRAIN " --set device=7", "device: there is no CUDA device 7", "there are 2, counted from 0");
    REFUSED(2, TESTS " --set device=7", "device: there is no CUDA device 7");
    REFUSED(2, "upscale --opt cuda.yml -m net.safetensors val/v0.png -o out --set device=7",
            "device: there is no CUDA device 7");
    machine("devices=1");
    REFUSED(2, TRAIN " --set device=1", "there is no CUDA device 1: there is 1, counted from 0");
    char text[8192];
    snprintf(text, sizeof text, "%sdevice: 7\n", host_load("cuda.yml"));
    data_text(data_path("seven.yml"), text);
    REFUSED(2, "train seven.yml --plugin " CUDA_PLUGIN, "seven.yml:", "device: there is no CUDA device 7");
}

/* STUBS has folders with libraries that are none, or of other versions; the module in them finds nothing beside itself. */
static void nvidias_libraries(void **state) {
    static const struct {
        const char *path, *part, *what_to_do;
    } cases[] = {
        {STUBS "/none", "cuDNN cannot be opened", "install cuDNN 9"},
        {STUBS "/other", "only cuDNN 8 is installed", "install cuDNN 9"},
        {STUBS "/old", "cuDNN 8.9.7 is too old", "install cuDNN 9"},
        {STUBS "/new", "cuDNN 10.1.2 is of a major version", "install cuDNN 9"},
        {STUBS "/lt_none:" CUDNN_ALONE, "cuBLASLt cannot be opened", "install cuBLAS of CUDA"},
        {STUBS "/lt_old:" CUDNN_ALONE, "cuBLASLt 12.9.0 is too old", "install cuBLAS of CUDA"},
    };
    (void)state;
    assert_int_equal(symlink(CUDA_ENGINE, data_path("libdukd-engine-cuda.so")), 0);
    use_module(data_path("libdukd-engine-cuda.so"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("LD_LIBRARY_PATH", cases[i].path, 1);
        refused_by_all(1, cases[i].part, cases[i].what_to_do);
    }
}

static void bf16_on_an_older_device(void **state) {
    (void)state;
    machine("capability=75");
    REFUSED(1, TRAIN " --set precision=bf16", "precision: bf16: the GPU does not compute in it", "sm_75",
            "set precision: f32");
    REFUSED(1, TESTS " --set precision=bf16", "precision: bf16: the GPU does not compute in it", "sm_75",
            "set precision: f32");
    REFUSED(1, UPSCALE " --bf16", "bf16 needs a CUDA device of compute capability 8.0", "use f32");
    machine("capability=80");
    bad_now.may_leave = "out";
    bad_done(UPSCALE " --bf16 -q");
}

/* Little memory fails where networks are placed, more where they are compiled, more where a large image is validated: the files of
 * the iterations before are whole, and what there was no room for is said. */
static void too_little_memory(void **state) {
    static const char *const limits[] = {"memory=0",      "memory=4000",    "memory=40000",  "memory=160000",
                                         "memory=600000", "memory=1000000", "memory=2000000"};
    int in_training = 0;
    (void)state;
    data_png(data_path("val/large.png"), 420, 400, 8, 77);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        machine(limits[i]);
        bad_now.may_leave = "experiments";
        REFUSED(1, TRAIN, "the CUDA device is out of memory: there is no room for ", "use a smaller batch");
        in_training += strstr(bad_output(), "iter:") != NULL;
        bad_now.may_leave = NULL;
    }
    assert_true(in_training > 0 && in_training < 7);
    for (size_t i = 0; i < 5; i += 2) {
        machine(limits[i]);
        REFUSED(1, TESTS, "the CUDA device is out of memory", "no room for");
        bad_now.may_leave = "out"; /* the folder */
        REFUSED(1, "upscale -m net.safetensors val/large.png -o out --engine cuda",
                "the CUDA device is out of memory", "smaller");
        assert_false(bad_exists("out/large.png"));
        bad_now.may_leave = NULL;
    }
}

/* Nothing is wrong: what the machine lacks is passed over, and the log says so once. */
static void auto_passes_over(void **state) {
    static const char *const lacks[] = {"driver=0", "devices=0", "capability=61"};
    (void)state;
    bad_now.may_leave = "experiments";
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++) {
        machine(lacks[i]);
        const char *log =
            bad_done("train dukd.yml --set train.total_iter=1 --set engine=auto --plugin " CUDA_PLUGIN);
        const char *said = strstr(log, "engine: auto takes onednn (");
        assert_non_null(said);
        assert_null(strstr(said + 1, "engine: auto"));
        assert_null(strstr(log, "WARNING"));
    }
    machine("");
    const char *log =
        bad_done("train dukd.yml --set train.total_iter=1 --set engine=auto --plugin " CUDA_PLUGIN);
    assert_non_null(strstr(log, "engine: auto takes cuda\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_driver_and_its_devices), TEST(a_device_that_does_not_exist),
        TEST(nvidias_libraries),          TEST(bf16_on_an_older_device),
        TEST(too_little_memory),          TEST(auto_passes_over),
    };
    return cmocka_run_group_tests_name("bad_input_cuda", tests, NULL, NULL);
}
