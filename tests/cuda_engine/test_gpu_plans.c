/* What the real cuDNN would do for the networks' convolutions on devices that are not here: it is told their properties, as for plans that
 * are made ahead of time, and proposes engines and makes plans. Shows which graphs it fuses, and that every convolution gets a plan that
 * keeps our rules. A skip where cuDNN is not installed, or does not take the properties. */
#include "gpu_fixture.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "doubles/doubles.h"
#include "emulation.h"
#include "engine/cuda/gpu_conv_state.h"

#include <cudnn.h>

typedef struct {
    const char *name;
    int32_t capability, processors, shared, shared_optin, threads, blocks, l2_mib, memory_gib, clock_mhz,
        memory_mhz;
} device;

/* From the CUDA programming guide's table of capabilities and the products' data sheets. */
static const device devices[] = {
    {"Tesla T4", 750, 40, 49152, 65536, 1024, 16, 4, 15, 1590, 5001},
    {"NVIDIA A100-SXM4-40GB", 800, 108, 49152, 166912, 2048, 32, 40, 40, 1410, 1215},
    {"NVIDIA GeForce RTX 3090", 860, 82, 49152, 101376, 1536, 16, 6, 24, 1695, 9751},
    {"NVIDIA GeForce RTX 4090", 890, 128, 49152, 101376, 1536, 24, 72, 24, 2520, 10501},
    {"NVIDIA H100 80GB HBM3", 900, 132, 49152, 232448, 2048, 32, 50, 80, 1980, 2619},
    {"NVIDIA GeForce RTX 5090", 1200, 170, 49152, 101376, 1536, 24, 96, 32, 2407, 14001},
};
enum { DEVICES = sizeof devices / sizeof *devices };

static void describe(const device *d, char *out, size_t room) {
    (void)snprintf(
        out, room,
        "{\"deviceName\": \"%s\", \"deviceVer\": %d, \"driverVer\": 13000, \"cudaDeviceId\": 0, "
        "\"pciDeviceId\": 0, "
        "\"totalGlobalMem\": %lld, \"multiProcessorCount\": %d, \"maxSharedMemoryPerBlock\": %d, "
        "\"maxSharedMemoryPerBlockOptin\": %d, \"reservedSharedMemoryPerBlock\": %d, \"regsPerBlock\": "
        "65536, "
        "\"maxRegistersPerSM\": 65536, \"warpSize\": 32, \"maxGridSize\": [2147483647, 65535, 65535], "
        "\"maxBlockSize\": [1024, 1024, 64], \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": %d, "
        "\"maxCtasPerSM\": %d, \"l2CacheSize\": %d, \"smClockRateKHz\": %d, \"memClockRateKHz\": %d, "
        "\"isTccDriver\": 0, \"supportCoopLaunch\": 1}",
        d->name, d->capability, (long long)d->memory_gib << 30, d->processors, d->shared, d->shared_optin,
        d->capability >= 800 ? 1024 : 0, d->threads, d->blocks, d->l2_mib << 20, d->clock_mhz * 1000,
        d->memory_mhz * 1000);
}

/* Training's batch of EDSR (16 images of 48 x 48), its last layers, and SwinIR's convolutions. */
static const struct {
    const char *name;
    gpu_conv_spec spec;
} convolutions[] = {
    {"3 to 64",
     {.images = 16,
      .in_channels = 3,
      .height = 48,
      .width = 48,
      .out_channels = 64,
      .side = 3,
      .padding = 1}},
    {"64 to 64",
     {.images = 16,
      .in_channels = 64,
      .height = 48,
      .width = 48,
      .out_channels = 64,
      .side = 3,
      .padding = 1}},
    {"16 to 16",
     {.images = 16,
      .in_channels = 16,
      .height = 48,
      .width = 48,
      .out_channels = 16,
      .side = 3,
      .padding = 1}},
    {"64 to 256",
     {.images = 16,
      .in_channels = 64,
      .height = 48,
      .width = 48,
      .out_channels = 256,
      .side = 3,
      .padding = 1}},
    {"64 to 48",
     {.images = 16,
      .in_channels = 64,
      .height = 48,
      .width = 48,
      .out_channels = 48,
      .side = 3,
      .padding = 1}},
    {"64 to 3, 192",
     {.images = 16,
      .in_channels = 64,
      .height = 192,
      .width = 192,
      .out_channels = 3,
      .side = 3,
      .padding = 1}},
    {"180 to 180",
     {.images = 2,
      .in_channels = 180,
      .height = 64,
      .width = 64,
      .out_channels = 180,
      .side = 3,
      .padding = 1}},
    {"64 to 64, groups",
     {.images = 4,
      .in_channels = 64,
      .height = 48,
      .width = 48,
      .out_channels = 64,
      .side = 3,
      .padding = 1,
      .groups = 4}},
    {"64 to 64, stride",
     {.images = 4,
      .in_channels = 64,
      .height = 48,
      .width = 48,
      .out_channels = 64,
      .side = 3,
      .stride = 2,
      .padding = 1}},
    {"64 to 128, VGG",
     {.images = 4,
      .in_channels = 64,
      .height = 96,
      .width = 96,
      .out_channels = 128,
      .side = 3,
      .padding = 1}},
};
enum { CONVOLUTIONS = sizeof convolutions / sizeof *convolutions };

static const struct {
    const char *name;
    gpu_conv_kind kind;
    int32_t bias, act, addend;
    float slope;
} works[] = {
    {"forward", GPU_CONV_FORWARD, 0, DUKD_ACT_NONE, 0, 0},
    {"+ bias", GPU_CONV_FORWARD, 1, DUKD_ACT_NONE, 0, 0},
    {"+ bias, ReLU", GPU_CONV_FORWARD, 1, DUKD_ACT_RELU, 0, 0},
    {"+ bias, leaky", GPU_CONV_FORWARD, 1, DUKD_ACT_RELU, 0, .2f},
    {"+ bias, GELU", GPU_CONV_FORWARD, 1, DUKD_ACT_GELU, 0, 0},
    {"+ bias, addend", GPU_CONV_FORWARD, 1, DUKD_ACT_NONE, 1, 0},
    {"+ bias, ReLU, addend", GPU_CONV_FORWARD, 1, DUKD_ACT_RELU, 1, 0},
    {"data gradient", GPU_CONV_DATA_GRADIENT, 0, DUKD_ACT_NONE, 0, 0},
    {"data gradient, sum", GPU_CONV_DATA_GRADIENT, 0, DUKD_ACT_NONE, 1, 0},
    {"weights gradient", GPU_CONV_WEIGHTS_GRADIENT, 0, DUKD_ACT_NONE, 0, 0},
};
enum { WORKS = sizeof works / sizeof *works };

static gpu_libraries *libraries;

static void plan_one(int convolution, int work, dukd_type type, int32_t tf32) {
    gpu_conv_spec s = convolutions[convolution].spec;
    s.kind = works[work].kind;
    s.type = type;
    s.tf32 = tf32;
    s.stride = s.stride ? s.stride : 1;
    s.groups = s.groups ? s.groups : 1;
    s.has_bias = works[work].bias;
    s.act = (dukd_activation)works[work].act;
    s.slope = works[work].slope;
    s.has_addend = works[work].addend;
    dukd_failure f = {0};
    gpu_conv *c = NULL;
    const int status = gpu_conv_create(&c, libraries, &s, &f);
    const doubles_plan p = doubles_last_plan();
    const int wanted =
        1 + (s.kind == GPU_CONV_FORWARD) * (s.has_bias + (s.act != DUKD_ACT_NONE) + s.has_addend);
    if (status != DUKD_DONE) {
        printf("    %-17s %-21s NONE: %s\n", convolutions[convolution].name, works[work].name, f.message);
    } else {
        printf("    %-17s %-21s %lld of %d operations, engine %lld, notes %x, %.1f MiB of %.1f\n",
               convolutions[convolution].name, works[work].name, (long long)p.operations, wanted,
               (long long)p.engine, (unsigned)p.notes, (double)p.workspace / 1048576,
               (double)gpu_conv_workspace(c) / 1048576);
    }
    gpu_conv_destroy(c);
    assert_int_equal(status, DUKD_DONE);
    const int32_t never = 1 << CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC |
                          1 << CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS |
                          1 << CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
    assert_int_equal(p.notes & never, 0);
    assert_false(gpu_avoids_engine(libraries, s.kind, p.engine));
    if (type == DUKD_TYPE_F32 && !tf32) assert_int_equal(p.notes & 1 << CUDNN_NUMERICAL_NOTE_TENSOR_CORE, 0);
}

static const device *the_device;

static void test_plans(void **state) {
    (void)state;
    static const char *const modes[] = {"f32", "f32, TF32", "bf16"};
    for (int mode = 0; mode < 3; mode++) {
        if (mode > 0 && the_device->capability < 800) continue; /* has neither */
        printf("%s, %s\n", the_device->name, modes[mode]);
        for (int i = 0; i < CONVOLUTIONS * WORKS; i++)
            plan_one(i / WORKS, i % WORKS, mode == 2 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32, mode == 1);
    }
}

/* Whether cuDNN takes the properties. */
static int tell(char *why, size_t room) {
    char json[2048];
    describe(the_device, json, sizeof json);
    doubles_device(json);
    doubles_check_device_fn check = NULL;
    void *library = dlopen("libcudnn.so.9", RTLD_NOW),
         *symbol = library ? dlsym(library, DOUBLES_CHECK_DEVICE) : NULL;
    memcpy(&check, &symbol, sizeof check);
    if (check == NULL) {
        (void)snprintf(why, room, "this is not the double of cuDNN");
        return 0;
    }
    return check(why, room);
}

/* test_gpu_plans DEVICE: a part of a device's name. One a process: cuDNN's heuristics keep to the first that they are told. */
int main(int argc, char **argv) {
    for (int d = 0; d < DEVICES && argc == 2; d++) {
        if (strstr(devices[d].name, argv[1]) != NULL) the_device = &devices[d];
    }
    if (the_device == NULL) {
        printf("usage: test_gpu_plans DEVICE\n");
        return 2;
    }
    gpu_open(gpu_load_elements);
    emulation_capability(the_device->capability / 10);
    dukd_failure f = {0};
    char why[512] = "";
    if (gpu_libraries_open(&libraries, gpu_stream(), &f) != DUKD_DONE) {
        printf("%s\n", f.message);
        return 1;
    }
    int failed = 0;
    const int told = tell(why, sizeof why);
    if (told) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_plans)};
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    } else {
        printf("SKIP: cuDNN cannot be asked about a device that is not here: %s\n", why);
    }
    gpu_libraries_close(libraries);
    failed = gpu_close(failed + (doubles_alive() != 0));
    return failed == 0 && !told ? 77 : failed;
}
