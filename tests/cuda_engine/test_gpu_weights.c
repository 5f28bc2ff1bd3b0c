/* gpu_weights.cu against packed_weights.c: plain, grouped, padded, reordered and spread convolutions, f32 and bf16, with and without bias. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/fill.h"

typedef struct {
    int32_t out, in; /* of the parameter */
    int32_t out_channels, in_channels, groups, kernel, side, order, source_order, spread;
    float scale;
} weights_case;

static const weights_case cases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {16, 16, 16, 16, 1, 3, 3, 1, 1, 1, 1},
    {64, 64, 64, 64, 1, 3, 3, 1, 1, 1, .1f},
    {180, 60, 180, 60, 1, 1, 1, 1, 1, 1, 1}, /* a linear layer */
    {7, 5, 7, 5, 1, 5, 5, 1, 1, 1, -2},
    {3, 17, 16, 32, 1, 3, 3, 1, 1, 1, .5f}, /* outputs and inputs that only pad */
    {16, 1, 16, 16, 16, 3, 3, 1, 1, 1, 1},  /* a channel by itself */
    {12, 3, 12, 6, 2, 3, 3, 1, 1, 1, 2},
    {64, 16, 64, 16, 1, 3, 3, 2, 1, 1, 1}, /* outputs in the order of a shuffle by 2, 3 */
    {27, 5, 32, 16, 1, 3, 3, 3, 1, 1, 1},
    {16, 64, 16, 64, 1, 3, 3, 1, 2, 1, 1}, /* a source in that order */
    {48, 36, 48, 48, 1, 1, 1, 4, 3, 1, .25f},
    {3, 5, 16, 32, 1, 3, 3, 2, 1, 2, 1}, /* spread: the source has 5 r^2 channels, padded */
    {3, 16, 12, 64, 1, 3, 3, 2, 2, 2, .5f},
    {1, 4, 16, 36, 1, 5, 3, 3, 3, 3, 1},
    {3, 2, 48, 32, 1, 3, 3, 4, 4, 4, 1},
    {2, 3, 32, 48, 1, 1, 1, 4, 1, 4, 3}, /* kernel 1: one low pixel */
    {2, 4, 8, 16, 1, 9, 5, 2, 1, 2, 1},  /* kernel 9: 4 rows on each side, 2 low pixels */
    {3, 5, 16, 32, 1, 3, 3, 1, 1, 2, 1}, /* whatever its order says */
};

typedef struct {
    dukd_param weight, bias;
    dukd_run_conv run;
    int64_t parameters, packed;
} conv_of_case;

static void conv_make(conv_of_case *c, const weights_case *z) {
    *c = (conv_of_case){.weight = {.ndim = 4, .dims = {z->out, z->in, z->kernel, z->kernel}}};
    c->weight.count = (int64_t)z->out * z->in * z->kernel * z->kernel;
    c->bias = (dukd_param){.ndim = 1, .dims = {z->out}, .count = z->out, .offset = c->weight.count};
    c->parameters = c->weight.count + z->out;
    const int32_t side = z->spread == 1 ? z->kernel : 2 * ((z->kernel / 2 + z->spread - 1) / z->spread) + 1;
    c->run = (dukd_run_conv){.out_channels = z->out_channels,
                             .in_channels = z->in_channels,
                             .groups = z->groups,
                             .stride = 1,
                             .kernel = z->kernel,
                             .side = side,
                             .order = z->order,
                             .source_order = z->source_order,
                             .spread = z->spread,
                             .scale = z->scale,
                             .weight = &c->weight,
                             .bias = &c->bias};
    assert_int_equal(side, z->side);
    c->packed = dukd_run_conv_elements(&c->run);
}

/* Where element i of the processor's out x in x side x side lies in out x side x side x in. */
static int64_t nhwc_place(const dukd_run_conv *c, int64_t i) {
    const int64_t area = (int64_t)c->side * c->side, in = c->in_channels / c->groups;
    return (i / area / in * area + i % area) * in + i / area % in;
}

static void check_pack(const weights_case *z, dukd_type type, int with_bias) {
    conv_of_case c;
    conv_make(&c, z);
    gpu_floats flat = gpu_floats_random(c.parameters, 1, -1, 1), bias = gpu_floats_empty(z->out_channels);
    gpu_pair packed = gpu_empty((gpu_size){1, (int32_t)c.packed, 1, 1}, type);
    float *run = malloc((size_t)c.packed * sizeof *run),
          *run_bias = malloc((size_t)z->out_channels * sizeof *run);
    double *want = gpu_doubles(z->out_channels);
    const gpu_packing p = gpu_packing_of(&c.run);
    assert_non_null(run);
    assert_non_null(run_bias);
    dukd_run_conv_pack(&c.run, flat.host, run, run_bias, 0);
    for (int64_t i = 0; i < c.packed; i++) gpu_set(&packed.host, nhwc_place(&c.run, i), (double)run[i]);
    for (int64_t i = 0; i < z->out_channels; i++) want[i] = (double)run_bias[i];
    GPU_OK(gpu_pack_weights(gpu_stream(), &p, flat.device, with_bias ? flat.device + c.bias.offset : NULL,
                            packed.device.data, type, with_bias ? bias.device : NULL));
    gpu_check_same("packed", &packed, &packed.host);
    if (with_bias) gpu_check_floats("packed bias", &bias, want, 0);
    free(run);
    free(run_bias);
    free(want);
    gpu_floats_free(&flat);
    gpu_floats_free(&bias);
    gpu_pair_free(&packed);
}

/* parts: 1 the weights, 2 the bias, 3 both. */
static void check_unpack(const weights_case *z, int parts) {
    conv_of_case c;
    conv_make(&c, z);
    gpu_floats flat = gpu_floats_random(c.parameters, 1, -1, 1),
               d_bias = gpu_floats_random(z->out_channels, 2, -1, 1), d_packed = gpu_floats_empty(c.packed);
    float *d_run = malloc((size_t)c.packed * sizeof *d_run),
          *got = malloc((size_t)c.parameters * sizeof *got);
    double *want = gpu_doubles(c.parameters);
    const gpu_packing p = gpu_packing_of(&c.run);
    assert_non_null(d_run);
    assert_non_null(got);
    dukd_fill_f32(d_run, c.packed, 3, -1, 1);
    for (int64_t i = 0; i < c.packed; i++) d_packed.host[nhwc_place(&c.run, i)] = d_run[i];
    gpu_floats_push(&d_packed);
    memcpy(got, flat.host, (size_t)c.parameters * sizeof *got);
    dukd_run_conv_unpack(&c.run, got, d_run, d_bias.host);
    for (int64_t i = 0; i < c.parameters; i++) /* what was not asked for stays */
        want[i] = (double)(parts & (i < c.bias.offset ? 1 : 2) ? got[i] : flat.host[i]);
    GPU_OK(gpu_unpack_gradient(
        gpu_stream(), &p, parts & 1 ? flat.device : NULL, parts & 1 ? d_packed.device : NULL,
        parts & 2 ? flat.device + c.bias.offset : NULL, parts & 2 ? d_bias.device : NULL));
    gpu_check_floats("gradient", &flat, want, 3e-7);
    free(d_run);
    free(got);
    free(want);
    gpu_floats_free(&flat);
    gpu_floats_free(&d_bias);
    gpu_floats_free(&d_packed);
}

static void test_pack(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int t = 0; t < 2; t++) {
            check_pack(&cases[k], (dukd_type)t, 1);
            check_pack(&cases[k], (dukd_type)t, 0);
        }
}

static void test_unpack(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int parts = 1; parts < 4; parts++) check_unpack(&cases[k], parts);
}

/* A packed bias where the parameter has none is zeros. */
static void test_no_bias(void **state) {
    const weights_case z = {3, 1, 16, 1, 1, 1, 1, 1, 1, 1, 1};
    conv_of_case c;
    (void)state;
    conv_make(&c, &z);
    gpu_floats flat = gpu_floats_random(c.parameters, 1, -1, 1), bias = gpu_floats_empty(16),
               packed = gpu_floats_empty(c.packed);
    const gpu_packing p = gpu_packing_of(&c.run);
    GPU_OK(gpu_pack_weights(gpu_stream(), &p, flat.device, NULL, packed.device, DUKD_TYPE_F32, bias.device));
    gpu_check_floats("bias", &bias, (double[16]){0}, 0);
    gpu_floats_free(&flat);
    gpu_floats_free(&bias);
    gpu_floats_free(&packed);
}

/* A NaN gradient of one run weight reaches its parameter alone; of a padding channel, none. */
static void test_not_finite(void **state) {
    const weights_case z = {3, 5, 16, 16, 1, 3, 3, 1, 1, 1, 1};
    conv_of_case c;
    (void)state;
    conv_make(&c, &z);
    gpu_floats flat = gpu_floats_random(c.parameters, 1, -1, 1), d = gpu_floats_random(c.packed, 2, -1, 1);
    const gpu_packing p = gpu_packing_of(&c.run);
    const int64_t place = ((1 * 3 + 2) * 3 + 0) * 16 + 4, in_flat = ((1 * 5 + 4) * 3 + 2) * 3 + 0;
    d.host[place] = NAN;
    d.host[place + 1] = NAN;                  /* input 5 of 5 */
    d.host[((3 * 3 + 2) * 3 + 0) * 16] = NAN; /* output 3 of 3 */
    gpu_floats_push(&d);
    GPU_OK(gpu_unpack_gradient(gpu_stream(), &p, flat.device, d.device, NULL, NULL));
    gpu_floats_pull(&flat);
    for (int64_t i = 0; i < c.parameters; i++) assert_true(isnan(flat.host[i]) == (i == in_flat));
    gpu_floats_free(&flat);
    gpu_floats_free(&d);
}

static gpu_floats given; /* zeros */

static int every_call(int64_t i, void *stream) {
    float *f = given.device;
    conv_of_case c;
    conv_make(&c, &cases[0]);
    const gpu_packing p = gpu_packing_of(&c.run);
    return i == 0 ? gpu_pack_weights(stream, &p, f, f + 1, f + 2, DUKD_TYPE_F32, f + 3)
                  : gpu_unpack_gradient(stream, &p, f, f + 1, f + 2, f + 3);
}

static void test_failures(void **state) {
    (void)state;
    given = gpu_floats_zeros(4);
    gpu_check_failures(every_call, 2);
    gpu_floats_free(&given);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),       cmocka_unit_test(test_unpack),   cmocka_unit_test(test_no_bias),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_weights, tests);
}
