/* Checkpoints in PyTorch's format: converted in the middle of a run, used wherever weights are read, and misused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "tensors/zip_file.h"
#include "unit/data_fixture.h"

#define NEED_ZIP()                                                                                           \
    if (!dukd_zip_is_built_in()) {                                                                           \
        print_message("SKIP: built without libzip\n");                                                       \
        skip();                                                                                              \
    }

static void says(const char *part) {
    if (!strstr(host_output(), part)) fail_msg("'%s' is not in:\n%s", part, host_output());
}

static void same_files(const char *a, const char *b) {
    static char one[1 << 16], two[1 << 16];
    FILE *x = fopen(data_path(a), "rb"), *y = fopen(data_path(b), "rb");
    assert_true(x && y);
    const size_t n = fread(one, 1, sizeof one, x), m = fread(two, 1, sizeof two, y);
    fclose(x);
    fclose(y);
    assert_true(n > 100 && n < sizeof one);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
}

/* A run's network file and its training state go through PyTorch's format; the run goes on to the same bits. */
static void in_the_middle_of_a_run(void **state) {
    (void)state;
    NEED_ZIP()
    HOST(0, "train", "dukd.yml", "--set", "name=whole");
    HOST(0, "train", "dukd.yml", "--set", "train.total_iter=10");
    const char *net = "experiments/dukd/models/net_g_latest.safetensors";
    HOST(0, "convert", net, "net.pth");
    says("params: 12 tensors");
    says("params_ema: 12 tensors");
    HOST(0, "convert", "net.pth", "net.safetensors");
    host_same_tensors(net, "net.safetensors");
    HOST(0, "convert", "experiments/dukd/training_states/10.state", "middle.pth");
    HOST(0, "convert", "middle.pth", "middle.safetensors");
    host_same_tensors("experiments/dukd/training_states/10.state", "middle.safetensors");
    HOST(0, "train", "dukd.yml", "--set", "path.resume_state=middle.safetensors");
    says("resumed after iteration 10");
    host_same_tensors("experiments/whole/training_states/24.state",
                      "experiments/dukd/training_states/24.state");
    host_same_tensors("experiments/whole/models/net_g_latest.safetensors",
                      "experiments/dukd/models/net_g_latest.safetensors");
}

static void wherever_weights_are_read(void **state) {
    (void)state;
    NEED_ZIP()
    HOST(0, "train", "scratch.yml", "--set", "train.total_iter=5");
    const char *net = "experiments/scratch/models/net_g_latest.safetensors";
    HOST(0, "convert", net, "net.pth", "-q");
    assert_string_equal(host_output(), "");
    HOST(0, "upscale", "-m", net, "val/v0.png", "-o", "a");
    HOST(0, "upscale", "-m", "net.pth", "val/v0.png", "-o", "b"); /* the file says which network it is */
    same_files("a/v0.png", "b/v0.png");
    HOST(0, "test", "scratch.yml", "--weights", "net.pth");
    HOST(0, "convert", "teacher.safetensors", "teacher.pth");
    HOST(0, "train", "dukd.yml", "--set", "name=a", "--set", "train.total_iter=3", "--set",
         "path.pretrain_network_g=net.pth");
    HOST(0, "train", "dukd.yml", "--set", "name=b", "--set", "train.total_iter=3", "--set",
         "path.pretrain_network_g=experiments/scratch/models/net_g_latest.safetensors", "--set",
         "path.pretrain_network_t=teacher.pth");
    host_same_tensors("experiments/a/models/net_g_latest.safetensors",
                      "experiments/b/models/net_g_latest.safetensors");
}

static void a_student_of_scale_4_from_one_of_scale_2(void **state) {
    (void)state;
    HOST(0, "train", "scratch.yml", "--set", "train.total_iter=5");
#define X4                                                                                                   \
    "train", "scratch.yml", "--set", "name=x4", "--set", "scale=4", "--set", "network_g.upscale=4", "--set", \
        "train.total_iter=2", "--set",                                                                       \
        "path.pretrain_network_g=experiments/scratch/models/net_g_latest.safetensors"
    HOST(1, X4);
    says("upsample.2.weight (16x4x3x3) is missing");
    HOST(0, X4, "--set", "path.strict_load_g=false");
    says("12 of 14 parameters fit; 0 differ, 2 are missing, 0 tensors are unknown");
    says("upsample.2.weight (16x4x3x3) is missing");
    says("upsample.2.bias (16) is missing");
}

/* A full disk leaves what was there. */
static void a_full_disk(void **state) {
    (void)state;
    NEED_ZIP()
    static const char *const args[] = {"convert", "teacher.safetensors", "full.pth", NULL};
    host_process p = {.file_limit = 4096};
    data_text(data_path("full.pth"), "what was there");
    host_start(&p, args);
    assert_int_equal(host_wait(&p), 1);
    says("full.pth: cannot be written");
    assert_string_equal(host_load("full.pth"), "what was there");
    assert_false(host_exists("full.pth.part"));
}

static void misused(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *args[8], *part;
    } cases[] = {
        {2, {"convert", "teacher.safetensors"}, "something is missing"},
        {2, {"convert", "teacher.safetensors", "b.onnx"}, "which format"},
        {2, {"convert", "teacher.safetensors", ".pth"}, "which format"},
        {2, {"convert", "teacher.safetensors", "./teacher.safetensors"}, "overwritten by its own conversion"},
        {2,
         {"convert", "teacher.safetensors", "b.pth", "--opt", "dukd.yml", "--network", "EDSR"},
         "give one"},
        {2, {"convert", "teacher.safetensors", "b.pth", "--teacher"}, "--opt OPT.yml"},
        {2, {"convert", "teacher.safetensors", "b.pth", "--network", "EDSX"}, "EDSX"},
        {2, {"convert", "teacher.safetensors", "b.pth", "--network", "EDSR", "num_feat"}, "key=value"},
        {2, {"convert", "teacher.safetensors", "b.pth", "--network", "EDSR", "num_feet=4"}, "num_feat"},
        {2, {"convert", "teacher.safetensors", "b.pth", "--opt", "scratch.yml", "--teacher"}, "no network_t"},
        {1,
         {"convert", "teacher.safetensors", "b.pth", "--opt", "dukd.yml"},
         "conv_first.weight is 6x3x3x3, not 4x3x3x3"},
        {1, {"convert", "teacher.safetensors", "b.pth", "--param-key", "foo"}, "'foo'"},
        {1, {"convert", "nosuch.pth", "b.pth"}, "nosuch.pth"},
        {1, {"convert", "dukd.yml", "b.pth"}, "dukd.yml"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        host_run(cases[i].status, cases[i].args);
        says(cases[i].part);
        assert_false(host_exists("b.pth"));
    }
    HOST(0, "convert", "--help");
    says("Python is not needed");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(in_the_middle_of_a_run),
        TEST(wherever_weights_are_read),
        TEST(a_student_of_scale_4_from_one_of_scale_2),
        TEST(a_full_disk),
        TEST(misused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
