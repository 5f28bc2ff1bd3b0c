/* gpu_conv.h against plain loops in double: shapes, types, what follows a convolution, gradients, and devices that can do less.
 * Emulated, the libraries are doubles (doubles/); on a device they are the real ones. */
#include "gpu_fixture.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv_reference.h"

#ifdef GPU_ON_DEVICE
enum {
    DOUBLES_NO_FUSION = 1,
    DOUBLES_NO_FUSED_ADDEND = 2,
    DOUBLES_NO_BETA = 4,
    DOUBLES_NO_MIXED = 8,
    DOUBLES_NO_HEURISTICS = 16,
    DOUBLES_NO_PRODUCT = 64,
    DOUBLES_NO_MIXED_BIAS = 128,
    DOUBLES_NO_NARROW = 512
};
static void doubles_refuse(int32_t what) {
    (void)what;
}
#else
#include "doubles/doubles.h"
#include "emulation.h"
#endif

static gpu_libraries *libraries;
static int types = 2; /* f32, and bf16 where the device has it */

static const gpu_conv_spec shapes[] = {
    {.images = 1, .in_channels = 3, .height = 7, .width = 9, .out_channels = 64, .side = 3, .padding = 1},
    {.images = 1, .in_channels = 64, .height = 5, .width = 6, .out_channels = 64, .side = 3, .padding = 1},
    {.images = 3, .in_channels = 64, .height = 5, .width = 7, .out_channels = 3, .side = 3, .padding = 1},
    {.images = 1, .in_channels = 180, .height = 3, .width = 5, .out_channels = 540, .side = 1},
    {.images = 3, .in_channels = 20, .height = 4, .width = 3, .out_channels = 33, .side = 1},
    {.images = 1, .in_channels = 4, .height = 9, .width = 11, .out_channels = 6, .side = 5, .padding = 2},
    {.images = 1,
     .in_channels = 6,
     .height = 9,
     .width = 8,
     .out_channels = 4,
     .side = 3,
     .stride = 2,
     .padding = 1,
     .groups = 2},
    {.images = 2, .in_channels = 8, .height = 7, .width = 6, .out_channels = 8, .side = 3, .groups = 8},
    {.images = 1, .in_channels = 6, .height = 5, .width = 4, .out_channels = 4, .side = 1, .groups = 2},
    {.images = 2, .in_channels = 5, .height = 7, .width = 6, .out_channels = 9, .side = 1, .stride = 2},
    {.images = 1, .in_channels = 3, .height = 6, .width = 5, .out_channels = 2, .side = 1, .padding = 1},
    {.images = 1, .in_channels = 3, .height = 1, .width = 1, .out_channels = 4, .side = 3, .padding = 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Devices: the best, and such as refuse what a library may refuse. */
static const int32_t devices[] = {
    0,
    DOUBLES_NO_FUSION,
    DOUBLES_NO_MIXED_BIAS | DOUBLES_NO_MIXED,
    DOUBLES_NO_FUSED_ADDEND | DOUBLES_NO_MIXED_BIAS | DOUBLES_NO_PRODUCT,
    DOUBLES_NO_PRODUCT,
    DOUBLES_NO_PRODUCT | DOUBLES_NO_FUSION | DOUBLES_NO_BETA | DOUBLES_NO_MIXED | DOUBLES_NO_NARROW |
        DOUBLES_NO_HEURISTICS,
};
#ifdef GPU_ON_DEVICE
enum { DEVICES = 1 };
#else
enum { DEVICES = sizeof devices / sizeof *devices };
#endif

static gpu_conv_spec spec_of(int shape, gpu_conv_kind kind, dukd_type type) {
    gpu_conv_spec s = shapes[shape];
    s.kind = kind;
    s.type = type;
    if (s.stride == 0) s.stride = 1;
    if (s.groups == 0) s.groups = 1;
    return s;
}

/* A convolution's tensors, on both sides; w as images of its outputs. */
typedef struct {
    gpu_pair x, w, d, addend;
    gpu_floats bias;
    gpu_pair narrow_bias;
    double *vx, *vw, *vd;
} operands;

static operands make_operands(const gpu_conv_spec *s, uint64_t seed) {
    const gpu_size x = {s->images, s->in_channels, s->height, s->width},
                   w = {s->out_channels, s->in_channels / s->groups, s->side, s->side},
                   d = {s->images, s->out_channels, (int32_t)gpu_conv_out_side(s, s->height),
                        (int32_t)gpu_conv_out_side(s, s->width)};
    operands o = {
        .x = gpu_random(x, s->type, seed, -1, 1),
        .w = gpu_random(w, s->type, seed + 1, -.5, .5),
        .d = gpu_random(d, s->type, seed + 2, -1, 1),
        .addend = gpu_random(d, s->type, seed + 3, -1, 1),
        .bias = gpu_floats_random(s->out_channels, seed + 4, -1, 1),
    };
    o.narrow_bias = gpu_empty((gpu_size){1, s->out_channels, 1, 1}, DUKD_TYPE_BF16);
    for (int32_t c = 0; c < s->out_channels; c++) gpu_set(&o.narrow_bias.host, c, (double)o.bias.host[c]);
    gpu_push(&o.narrow_bias);
    o.vx = gpu_values(&o.x.host);
    o.vw = gpu_values(&o.w.host);
    o.vd = gpu_values(&o.d.host);
    return o;
}

static void free_operands(operands *o) {
    gpu_pair *pairs[] = {&o->x, &o->w, &o->d, &o->addend, &o->narrow_bias};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) gpu_pair_free(pairs[i]);
    gpu_floats_free(&o->bias);
    free(o->vx);
    free(o->vw);
    free(o->vd);
}

/* Makes a convolution, runs it in a workspace of exactly the bytes that it asks for, and destroys it. */
static void run(const gpu_conv_spec *s, gpu_conv_operands o) {
    dukd_failure f = {0};
    gpu_conv *c = NULL;
    if (gpu_conv_create(&c, libraries, s, &f) != DUKD_DONE) fail_msg("%s", f.message);
    void *workspace = gpu_alloc(gpu_conv_workspace(c));
    o.workspace = workspace;
    if (gpu_conv_run(c, &o, &f) != DUKD_DONE) fail_msg("%s", f.message);
    gpu_conv_destroy(c);
    gpu_wait();
    gpu_free(workspace);
}

typedef enum { NO_ADDEND, APART, IN_PLACE } addend_kind;

/* Sums in f32. On a device convolutions of 3 x 3 may go by Winograd's transforms in f32, which lose about a digit (gpu_conv_graph.c). */
static double tolerance_of_sums(const gpu_conv_spec *s) {
#ifdef GPU_ON_DEVICE
    if (s->type == DUKD_TYPE_F32 && s->side == 3) return 1e-5;
#endif
    (void)s;
    return 1e-6;
}

/* Where a library cannot fuse them, bf16 is rounded once more between the convolution and what follows it. */
static double tolerance(const gpu_conv_spec *s, int32_t device) {
#ifdef GPU_ON_DEVICE
    device = 1;
#endif
    return s->type == DUKD_TYPE_BF16 && device != 0 ? 1. / 256 : tolerance_of_sums(s);
}

static void check_forward(gpu_conv_spec s, operands *o, const double *bare, addend_kind addend,
                          int32_t device) {
    gpu_pair out = gpu_empty(
        (gpu_size){o->d.host.images, o->d.host.channels, o->d.host.height, o->d.host.width}, s.type);
    const int64_t count = gpu_count(&out.host);
    double *want = gpu_doubles(count);
    s.has_addend = addend != NO_ADDEND;
    for (int64_t i = 0; i < count; i++)
        want[i] = conv_reference_rest(&s, bare[i], s.has_bias ? o->bias.host[i % s.out_channels] : 0,
                                      s.has_addend ? gpu_get(&o->addend.host, i) : 0);
    if (addend == IN_PLACE) gpu_upload(out.device.data, o->addend.host.data, count * dukd_type_bytes(s.type));
    run(&s, (gpu_conv_operands){
                .x = o->x.device.data,
                .w = o->w.device.data,
                .bias = s.has_bias ? o->bias.device : NULL,
                .narrow_bias = s.has_bias && s.type == DUKD_TYPE_BF16 ? o->narrow_bias.device.data : NULL,
                .addend = addend == NO_ADDEND ? NULL
                          : addend == APART   ? o->addend.device.data
                                              : out.device.data,
                .out = out.device.data});
    char name[128];
    (void)snprintf(name, sizeof name, "%d to %d, side %d, bias %d, act %d slope %g, addend %d", s.in_channels,
                   s.out_channels, s.side, s.has_bias, s.act, (double)s.slope, addend);
    gpu_check(name, &out, want, tolerance(&s, device));
    free(want);
    gpu_pair_free(&out);
}

static void test_forward(void **state) {
    (void)state;
    static const struct {
        dukd_activation act;
        float slope;
    } acts[] = {{DUKD_ACT_NONE, 0}, {DUKD_ACT_RELU, 0}, {DUKD_ACT_RELU, .2f}, {DUKD_ACT_GELU, 0}};
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int type = 0; type < types; type++) {
            gpu_conv_spec s = spec_of(shape, GPU_CONV_FORWARD, (dukd_type)type);
            operands o = make_operands(&s, (uint64_t)shape * 10);
            double *bare = gpu_doubles(gpu_count(&o.d.host));
            conv_reference(&s, bare, o.vx, o.vw);
            for (int i = 0; i < DEVICES * 2 * 4 * 3; i++) {
                doubles_refuse(devices[i / 24]);
                s.has_bias = i % 2;
                s.act = acts[i / 2 % 4].act;
                s.slope = acts[i / 2 % 4].slope;
                check_forward(s, &o, bare, (addend_kind)(i / 8 % 3), devices[i / 24]);
            }
            doubles_refuse(0);
            free(bare);
            free_operands(&o);
        }
    }
}

static void check_data_gradient(gpu_conv_spec s, operands *o, const double *want_alone, int32_t device) {
    gpu_pair dx = gpu_random((gpu_size){s.images, s.in_channels, s.height, s.width}, s.type, 77, -1, 1);
    const int64_t count = gpu_count(&dx.host);
    double *want = gpu_doubles(count);
    for (int64_t i = 0; i < count; i++) want[i] = want_alone[i] + (s.has_addend ? gpu_get(&dx.host, i) : 0);
    run(&s, (gpu_conv_operands){.d = o->d.device.data, .w = o->w.device.data, .out = dx.device.data});
    gpu_check(s.has_addend ? "data gradient, added" : "data gradient", &dx, want, tolerance(&s, device));
    free(want);
    gpu_pair_free(&dx);
}

/* In f32, or rounded once to bf16. */
static void check_weights_gradient(gpu_conv_spec s, operands *o, const double *want, int32_t device) {
    dukd_failure f = {0};
    gpu_conv *c = NULL;
    if (gpu_conv_create(&c, libraries, &s, &f) != DUKD_DONE) fail_msg("%s", f.message);
    const dukd_type type = gpu_conv_gradient_type(c);
    gpu_conv_destroy(c);
#ifdef GPU_ON_DEVICE
    (void)device;
    assert_true(type == DUKD_TYPE_F32 || s.type == DUKD_TYPE_BF16);
#else
    const int narrow = s.type == DUKD_TYPE_BF16 && device & DOUBLES_NO_MIXED && !(device & DOUBLES_NO_NARROW);
    assert_int_equal(type, narrow ? DUKD_TYPE_BF16 : DUKD_TYPE_F32);
#endif
    gpu_pair dw = gpu_empty((gpu_size){s.out_channels, s.in_channels / s.groups, s.side, s.side}, type);
    run(&s, (gpu_conv_operands){.x = o->x.device.data, .d = o->d.device.data, .out = dw.device.data});
    gpu_check("weights gradient", &dw, want, tolerance_of_sums(&s));
    gpu_pair_free(&dw);
}

static void test_gradients(void **state) {
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int type = 0; type < types; type++) {
            gpu_conv_spec s = spec_of(shape, GPU_CONV_DATA_GRADIENT, (dukd_type)type);
            operands o = make_operands(&s, (uint64_t)shape * 10 + 5);
            double *dx = gpu_doubles(gpu_count(&o.x.host)), *dw = gpu_doubles(gpu_count(&o.w.host));
            conv_reference_data(&s, dx, o.vd, o.vw);
            conv_reference_weights(&s, dw, o.vx, o.vd);
            for (int device = 0; device < DEVICES; device++) {
                doubles_refuse(devices[device]);
                s.kind = GPU_CONV_DATA_GRADIENT;
                for (s.has_addend = 0; s.has_addend < 2; s.has_addend++)
                    check_data_gradient(s, &o, dx, devices[device]);
                s.has_addend = 0;
                s.kind = GPU_CONV_WEIGHTS_GRADIENT;
                check_weights_gradient(s, &o, dw, devices[device]);
            }
            doubles_refuse(0);
            free(dx);
            free(dw);
            free_operands(&o);
        }
    }
}

int main(void) {
    gpu_open(gpu_load_elements);
    dukd_failure f = {0};
    if (gpu_libraries_open(&libraries, gpu_stream(), &f) != DUKD_DONE) {
#ifdef GPU_ON_DEVICE
        printf("SKIP: %s\n", f.message);
        return gpu_close(0), 77;
#else
        printf("%s\n", f.message);
        return 1;
#endif
    }
#ifdef GPU_ON_DEVICE
    int device = 0, major = 0;
    GPU_OK(cudaGetDevice(&device));
    GPU_OK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    if (major < 8) {
        printf("SKIP: convolutions in bf16: they need compute capability 8.0\n");
        types = 1;
    }
#endif
    char text[128];
    gpu_libraries_text(libraries, text, sizeof text);
    printf("%s\n", text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_gradients),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gpu_libraries_close(libraries);
#ifndef GPU_ON_DEVICE
    doubles_report();
    if (doubles_alive() != 0) {
        printf("%lld descriptors or handles are left\n", (long long)doubles_alive());
        return gpu_close(1);
    }
#endif
    return gpu_close(failed);
}
