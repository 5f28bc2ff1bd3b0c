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

/* Where the parameters of a case lie among those of all that are in a table; what is before them belongs to nobody. */
enum { MOST = 2 * sizeof cases / sizeof *cases, GAP = 5 };

static void *on_device(const gpu_table *t, const void *image) {
    void *table = gpu_alloc(t->bytes);
    gpu_upload(table, image, t->bytes);
    return table;
}

/* ---- packing ---- */

typedef struct {
    conv_of_case conv;
    int64_t first; /* parameter */
    gpu_pair packed, narrow;
    gpu_floats bias;
} packed_case;

/* with: 1 an f32 bias, 2 one in bf16, 4: the parameters have one. */
static gpu_pack_job pack_job(packed_case *c, const weights_case *z, int64_t first, dukd_type type, int with) {
    conv_make(&c->conv, z);
    c->first = first;
    c->bias = gpu_floats_empty(z->out_channels);
    c->narrow = gpu_empty((gpu_size){1, z->out_channels, 1, 1}, DUKD_TYPE_BF16);
    c->packed = gpu_empty((gpu_size){1, (int32_t)c->conv.packed, 1, 1}, type);
    return (gpu_pack_job){.how = gpu_packing_of(&c->conv.run),
                          .weight = first,
                          .bias = with & 4 ? first + c->conv.bias.offset : -1,
                          .packed = c->packed.device.data,
                          .type = type,
                          .packed_bias = with & 1 ? c->bias.device : NULL,
                          .narrow_bias = with & 2 ? c->narrow.device.data : NULL};
}

static void check_packed(packed_case *c, const float *flat, int with) {
    const int32_t outs = c->conv.run.out_channels;
    float *run = malloc((size_t)c->conv.packed * sizeof *run), *run_bias = malloc((size_t)outs * sizeof *run);
    double *want = gpu_doubles(outs);
    assert_non_null(run);
    assert_non_null(run_bias);
    dukd_run_conv_pack(&c->conv.run, flat + c->first, run, run_bias, 0);
    for (int64_t i = 0; i < c->conv.packed; i++)
        gpu_set(&c->packed.host, nhwc_place(&c->conv.run, i), (double)run[i]);
    gpu_check_same("packed", &c->packed, &c->packed.host);
    for (int64_t i = 0; i < outs; i++) {
        want[i] = with & 4 ? (double)run_bias[i] : 0;
        gpu_set(&c->narrow.host, i, want[i]);
    }
    if (with & 1) gpu_check_floats("packed bias", &c->bias, want, 0);
    if (with & 2) gpu_check_same("packed bias, bf16", &c->narrow, &c->narrow.host);
    free(run);
    free(run_bias);
    free(want);
}

/* Cases first .. first + count - 1 in both types, in one launch; with as above, other for each. */
static void check_pack(int first, int count, int with) {
    static packed_case made[MOST];
    gpu_pack_job jobs[MOST];
    int64_t parameters = GAP;
    for (int k = 0; k < 2 * count; k++) {
        jobs[k] = pack_job(&made[k], &cases[first + k / 2], parameters, (dukd_type)(k % 2), (with + k) % 8);
        parameters += made[k].conv.parameters + GAP;
    }
    gpu_floats flat = gpu_floats_random(parameters, 1, -1, 1);
    gpu_table t = gpu_pack_table(NULL, jobs, 2 * count);
    void *image = calloc(1, (size_t)t.bytes);
    assert_non_null(image);
    t = gpu_pack_table(image, jobs, 2 * count);
    void *table = on_device(&t, image);
    GPU_OK(gpu_pack_weights(gpu_stream(), &t, table, flat.device));
    for (int k = 0; k < 2 * count; k++) {
        check_packed(&made[k], flat.host, (with + k) % 8);
        gpu_pair_free(&made[k].packed);
        gpu_pair_free(&made[k].narrow);
        gpu_floats_free(&made[k].bias);
    }
    free(image);
    gpu_free(table);
    gpu_floats_free(&flat);
}

enum { CASES = sizeof cases / sizeof *cases };

static void test_pack(void **state) {
    (void)state;
    for (int k = 0; k < CASES; k++) check_pack(k, 1, 7);
    for (int with = 0; with < 8; with++) check_pack(0, CASES, with);
}

/* ---- unpacking ---- */

/* A gradient's part of the block, as a table's job, and the processor's gradient added to want; pixels: of what parts were made of. */
static gpu_unpack_job unpack_job(const weights_case *z, int64_t first, dukd_type type, int has_bias,
                                 int32_t parts, uint64_t seed, char *block, int64_t *at, float *want) {
    conv_of_case c;
    conv_make(&c, z);
    const gpu_unpack_job job = {.how = gpu_packing_of(&c.run),
                                .weight = first,
                                .bias = has_bias ? first + c.bias.offset : -1,
                                .packed = *at,
                                .parts = *at + (c.packed + 1) / 2 * 2 * dukd_type_bytes(type),
                                .type = type,
                                .part_count = has_bias ? parts : 0};
    const int64_t sums = (int64_t)job.part_count * z->out_channels;
    *at = job.parts + sums * 4;
    if (!block) return job;
    float *d_run = malloc((size_t)c.packed * sizeof *d_run),
          *d_part = calloc((size_t)sums + 1, sizeof *d_part);
    float *d_bias = calloc((size_t)z->out_channels, sizeof *d_bias),
          *got = malloc((size_t)c.parameters * sizeof *got);
    assert_true(d_run && d_part && d_bias && got);
    dukd_fill_f32(d_run, c.packed, seed, -1, 1);
    dukd_fill_f32(d_part, sums, seed + 1, -1, 1);
    const dukd_tensor packed = {.type = type, .data = block + job.packed};
    for (int64_t i = 0; i < c.packed; i++) {
        gpu_set(&packed, nhwc_place(&c.run, i), (double)d_run[i]);
        d_run[i] = (float)gpu_get(&packed, nhwc_place(&c.run, i)); /* rounded to the type */
    }
    memcpy(block + job.parts, d_part, (size_t)sums * sizeof *d_part);
    for (int64_t i = 0; i < sums; i++) d_bias[i % z->out_channels] += d_part[i];
    memcpy(got, want + first, (size_t)c.parameters * sizeof *got);
    dukd_run_conv_unpack(&c.run, got, d_run, d_bias);
    memcpy(want + first, got, (size_t)(has_bias ? c.parameters : c.bias.offset) * sizeof *got);
    free(d_run);
    free(d_part);
    free(d_bias);
    free(got);
    return job;
}

/* Cases first .. first + count - 1, `times` each with the same parameters, in one launch: their gradients add up. */
static void check_unpack(int first, int count, int times, int has_bias, int32_t parts) {
    gpu_unpack_job jobs[MOST];
    assert_true(count * times <= (int)MOST);
    int64_t parameters = GAP, begins[CASES], bytes = 0;
    for (int k = 0; k < count; k++) {
        conv_of_case c;
        conv_make(&c, &cases[first + k]);
        begins[k] = parameters;
        parameters += c.parameters + GAP;
    }
    gpu_floats flat = gpu_floats_random(parameters, 1, -1, 1);
    float *sum = malloc((size_t)parameters * sizeof *sum);
    double *want = gpu_doubles(parameters);
    assert_non_null(sum);
    memcpy(sum, flat.host, (size_t)parameters * sizeof *sum);
    char *block = NULL;
    for (int round = 0; round < 2; round++) { /* the sizes; then the contents */
        if (round) block = calloc(1, (size_t)bytes);
        bytes = 0;
        for (int k = 0; k < count * times; k++)
            jobs[k] = unpack_job(&cases[first + k % count], begins[k % count], (dukd_type)(k / 2 % 2),
                                 has_bias, parts, 10 + 2 * (uint64_t)k, block, &bytes, sum);
    }
    gpu_table t = gpu_unpack_table(NULL, jobs, count * times);
    void *image = calloc(1, (size_t)t.bytes), *gradients = gpu_alloc(bytes);
    assert_non_null(image);
    t = gpu_unpack_table(image, jobs, count * times);
    void *table = on_device(&t, image);
    gpu_upload(gradients, block, bytes);
    GPU_OK(gpu_unpack_gradients(gpu_stream(), &t, table, flat.device, gradients));
    for (int64_t i = 0; i < parameters; i++) want[i] = (double)sum[i]; /* what nobody's is stays */
    gpu_check_floats("gradient", &flat, want, 1e-6);
    free(sum);
    free(want);
    free(block);
    free(image);
    gpu_free(gradients);
    gpu_free(table);
    gpu_floats_free(&flat);
}

static void test_unpack(void **state) {
    static const int32_t parts[] = {1, 7, 8, 9, 65};
    (void)state;
    for (int k = 0; k < CASES; k++)
        for (int has_bias = 0; has_bias < 2; has_bias++) check_unpack(k, 1, 1, has_bias, parts[k % 5]);
    check_unpack(0, CASES, 1, 1, 9);
    check_unpack(0, CASES, 2, 1, 9); /* every parameter used twice */
    check_unpack(3, CASES - 3, 2, 0, 0);
}

/* A NaN gradient of one run weight reaches its parameter alone; of a padding channel, none. */
static void test_not_finite(void **state) {
    const weights_case z = {3, 5, 16, 16, 1, 3, 3, 1, 1, 1, 1};
    conv_of_case c;
    (void)state;
    conv_make(&c, &z);
    gpu_floats flat = gpu_floats_random(c.parameters, 1, -1, 1), d = gpu_floats_random(c.packed, 2, -1, 1);
    const gpu_unpack_job job = {.how = gpu_packing_of(&c.run), .bias = -1};
    const int64_t place = ((1 * 3 + 2) * 3 + 0) * 16 + 4, in_flat = ((1 * 5 + 4) * 3 + 2) * 3 + 0;
    d.host[place] = NAN;
    d.host[place + 1] = NAN;                  /* input 5 of 5 */
    d.host[((3 * 3 + 2) * 3 + 0) * 16] = NAN; /* output 3 of 3 */
    gpu_floats_push(&d);
    char image[4096];
    const gpu_table t = gpu_unpack_table(NULL, &job, 1);
    assert_true(t.bytes <= (int64_t)sizeof image);
    memset(image, 0, sizeof image);
    (void)gpu_unpack_table(image, &job, 1);
    void *table = on_device(&t, image);
    GPU_OK(gpu_unpack_gradients(gpu_stream(), &t, table, flat.device, d.device));
    gpu_floats_pull(&flat);
    for (int64_t i = 0; i < c.parameters; i++) assert_true(isnan(flat.host[i]) == (i == in_flat));
    gpu_free(table);
    gpu_floats_free(&flat);
    gpu_floats_free(&d);
}

/* ---- failures ---- */

static gpu_floats given; /* zeros */
static void *table_of[2];
static gpu_table made_of[2];

static int every_call(int64_t i, void *stream) {
    float *f = given.device;
    return i == 0 ? gpu_pack_weights(stream, &made_of[0], table_of[0], f)
                  : gpu_unpack_gradients(stream, &made_of[1], table_of[1], f, f + 4);
}

static void test_failures(void **state) {
    conv_of_case c;
    char image[4096] = {0};
    (void)state;
    conv_make(&c, &cases[0]);
    given = gpu_floats_zeros(8);
    float *f = given.device;
    const gpu_pack_job pack = {.how = gpu_packing_of(&c.run),
                               .bias = 1,
                               .packed = f + 2,
                               .type = DUKD_TYPE_F32,
                               .packed_bias = f + 3};
    const gpu_unpack_job unpack = {.how = gpu_packing_of(&c.run), .bias = 1, .parts = 4, .part_count = 1};
    made_of[0] = gpu_pack_table(image, &pack, 1);
    table_of[0] = on_device(&made_of[0], image);
    made_of[1] = gpu_unpack_table(image, &unpack, 1);
    table_of[1] = on_device(&made_of[1], image);
    gpu_check_failures(every_call, 2);
    const gpu_table nothing = {0};
    GPU_OK(gpu_pack_weights(gpu_stream(), &nothing, NULL, NULL));
    GPU_OK(gpu_unpack_gradients(gpu_stream(), &nothing, NULL, NULL, NULL));
    for (int i = 0; i < 2; i++) gpu_free(table_of[i]);
    gpu_floats_free(&given);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_unpack),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_weights, tests);
}
