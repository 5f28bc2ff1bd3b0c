/* gpu_norm.cu against the formula in double and against the processor's layer norm (ops.h): every width of a team, tensors too wide for one,
 * rows that hardly vary or not at all, more pixels than a grid has teams for. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>

#include "engine/ops.h"

static const dukd_worker worker = {.isa = DUKD_ISA_BASE, .threads = 1};
static const float eps = 1e-5f;
/* What follows from the channels is with the kernel: vectors of 1, 4, 8; teams of 1 to 32 lanes; 1 to 4 vectors a lane; wide. */
static const gpu_size sizes[] = {{1, 1, 1, 1},   {3, 3, 5, 3},   {1, 4, 7, 11},  {2, 12, 3, 5},
                                 {1, 17, 9, 9},  {3, 60, 8, 8},  {1, 64, 1, 1},  {1, 99, 3, 7},
                                 {1, 125, 5, 5}, {2, 180, 5, 7}, {1, 256, 4, 9}, {1, 384, 3, 3},
                                 {1, 500, 2, 5}, {2, 131, 3, 3}, {1, 516, 3, 3}, {1, 520, 3, 2}};

typedef struct {
    gpu_pair x, d;
    gpu_floats weight, bias;
    int64_t pixels, channels;
    /* in double: */
    double *out, *stats, *dx, *d_weight, *d_bias; /* gradients without what was there */
} operands;

static operands prepare(gpu_size z, dukd_type type) {
    operands o = {.x = gpu_random(z, type, 1, -2, 2),
                  .d = gpu_random(z, type, 2, -1, 1),
                  .weight = gpu_floats_random(z.channels, 3, .5, 1.5),
                  .bias = gpu_floats_random(z.channels, 4, -1, 1),
                  .pixels = (int64_t)z.images * z.height * z.width,
                  .channels = z.channels};
    for (int64_t c = 0; c < z.channels && o.pixels > 2; c++) {
        gpu_set(&o.x.host, c, .7);                                                       /* does not vary */
        gpu_set(&o.x.host, z.channels + c, 4 + gpu_get(&o.x.host, z.channels + c) / 40); /* hardly */
    }
    gpu_push(&o.x);
    o.out = gpu_doubles(o.pixels * o.channels);
    o.dx = gpu_doubles(o.pixels * o.channels);
    o.stats = gpu_doubles(2 * o.pixels);
    o.d_weight = gpu_doubles(o.channels);
    o.d_bias = gpu_doubles(o.channels);
    return o;
}

static void drop(operands *o) {
    gpu_pair_free(&o->x);
    gpu_pair_free(&o->d);
    gpu_floats_free(&o->weight);
    gpu_floats_free(&o->bias);
    free(o->out);
    free(o->dx);
    free(o->stats);
    free(o->d_weight);
    free(o->d_bias);
}

static void reference(operands *o) {
    const double part = 1 / (double)o->channels;
    for (int64_t p = 0; p < o->pixels; p++) {
        const int64_t first = p * o->channels;
        double mean = 0, variance = 0, mean_g = 0, mean_gy = 0;
        for (int64_t c = 0; c < o->channels; c++) mean += gpu_get(&o->x.host, first + c) * part;
        for (int64_t c = 0; c < o->channels; c++)
            variance += pow(gpu_get(&o->x.host, first + c) - mean, 2) * part;
        const double scale = 1 / sqrt(variance + (double)eps);
        o->stats[2 * p] = mean;
        o->stats[2 * p + 1] = scale;
        for (int64_t c = 0; c < o->channels; c++) {
            const double y = (gpu_get(&o->x.host, first + c) - mean) * scale,
                         d = gpu_get(&o->d.host, first + c);
            o->out[first + c] = y * (double)o->weight.host[c] + (double)o->bias.host[c];
            o->d_weight[c] += d * y;
            o->d_bias[c] += d;
            mean_g += d * (double)o->weight.host[c] * part;
            mean_gy += d * (double)o->weight.host[c] * y * part;
        }
        for (int64_t c = 0; c < o->channels; c++) {
            const double y = (gpu_get(&o->x.host, first + c) - mean) * scale,
                         d = gpu_get(&o->d.host, first + c);
            o->dx[first + c] = scale * (d * (double)o->weight.host[c] - mean_g - y * mean_gy);
        }
    }
}

/* f32's mean of the row that hardly varies is wrong by 2e-7, of which the deviation is 1/30. */
static const double tolerance = 3e-5;

static void check_back(operands *o, const gpu_floats *stats, gpu_size z, dukd_type type, int sum) {
    gpu_pair dx = gpu_random(z, type, 5, -1, 1);
    gpu_floats d_weight = gpu_floats_random(z.channels, 6, -1, 1),
               d_bias = gpu_floats_random(z.channels, 7, -1, 1);
    double *want = gpu_values(&dx.host), *w = gpu_doubles(z.channels), *b = gpu_doubles(z.channels);
    for (int64_t i = 0; i < gpu_count(&dx.host); i++) want[i] = o->dx[i] + (sum ? want[i] : 0);
    for (int64_t c = 0; c < z.channels; c++) {
        w[c] = o->d_weight[c] + (double)d_weight.host[c];
        b[c] = o->d_bias[c] + (double)d_bias.host[c];
    }
    void *scratch = gpu_alloc(gpu_layer_norm_back_scratch(&o->d.device));
    const size_t own_bytes = (size_t)dukd_run_layer_norm_back_scratch(&o->d.host);
    void *own = aligned_alloc(64, (own_bytes + 64) / 64 * 64);
    assert_non_null(own);
    GPU_OK(gpu_layer_norm_back(gpu_stream(), &dx.device, &o->d.device, &o->x.device, o->weight.device,
                               stats->device, d_weight.device, d_bias.device, sum, scratch));
    dukd_run_layer_norm_back(&worker, &dx.host, &o->d.host, &o->x.host, o->weight.host, stats->host,
                             d_weight.host, d_bias.host, sum, own);
    double *cpu = gpu_values(&dx.host);
    gpu_check("gradient, as on the processor", &dx, cpu, 1e-5);
    gpu_check("gradient", &dx, want, tolerance);
    for (int64_t c = 0; c < z.channels; c++) {
        assert_true(fabs((double)d_weight.host[c] - w[c]) < 1e-3 * (double)o->pixels);
        assert_true(fabs((double)d_bias.host[c] - b[c]) < 1e-3 * (double)o->pixels);
    }
    gpu_check_floats("weight's gradient", &d_weight, w, tolerance);
    gpu_check_floats("bias's gradient", &d_bias, b, 1e-6);
    free(own);
    free(cpu);
    free(want);
    free(w);
    free(b);
    gpu_free(scratch);
    gpu_pair_free(&dx);
    gpu_floats_free(&d_weight);
    gpu_floats_free(&d_bias);
}

static void check(gpu_size z, dukd_type type) {
    operands o = prepare(z, type);
    gpu_pair out = gpu_empty(z, type), again = gpu_empty(z, type);
    gpu_floats stats = gpu_floats_empty(2 * o.pixels);
    reference(&o);
    GPU_OK(gpu_layer_norm(gpu_stream(), &out.device, &o.x.device, o.weight.device, o.bias.device, eps,
                          stats.device));
    GPU_OK(
        gpu_layer_norm(gpu_stream(), &again.device, &o.x.device, o.weight.device, o.bias.device, eps, NULL));
    dukd_run_layer_norm(&worker, &out.host, &o.x.host, o.weight.host, o.bias.host, eps, NULL);
    double *cpu = gpu_values(&out.host);
    gpu_check("norm, as on the processor", &out, cpu, 1e-4); /* whose mean of a row of .7 is not .7 */
    gpu_check("norm", &out, o.out, tolerance);
    gpu_check_same("norm without statistics", &again, &out.host);
    gpu_check_floats("statistics", &stats, o.stats, 1e-6);
    for (int sum = 0; sum < 2; sum++) check_back(&o, &stats, z, type, sum);
    free(cpu);
    gpu_floats_free(&stats);
    gpu_pair_free(&out);
    gpu_pair_free(&again);
    drop(&o);
}

static void test_norm(void **state) {
    (void)state;
    gpu_for_each(sizes, (int)(sizeof sizes / sizeof *sizes), check);
}

/* More pixels than the most blocks have teams for. */
static void test_many(void **state) {
    (void)state;
    check((gpu_size){1, 2, 600, 500}, DUKD_TYPE_F32);
}

/* A NaN of a pixel's gradient reaches the pixel, and the parameters of its channel. */
static void test_nan(void **state) {
    (void)state;
    static const int32_t channels[] = {60, 516};
    for (int i = 0; i < 2; i++) {
        const gpu_size z = {1, channels[i], 5, 7};
        operands o = prepare(z, DUKD_TYPE_F32);
        gpu_pair dx = gpu_empty(z, DUKD_TYPE_F32), out = gpu_empty(z, DUKD_TYPE_F32);
        gpu_floats stats = gpu_floats_empty(2 * o.pixels), d_weight = gpu_floats_random(z.channels, 1, 0, 1),
                   d_bias = gpu_floats_random(z.channels, 2, 0, 1);
        void *scratch = gpu_alloc(gpu_layer_norm_back_scratch(&o.d.device));
        gpu_set(&o.d.host, 20 * o.channels + 33, NAN);
        gpu_push(&o.d);
        GPU_OK(gpu_layer_norm(gpu_stream(), &out.device, &o.x.device, o.weight.device, o.bias.device, eps,
                              stats.device));
        GPU_OK(gpu_layer_norm_back(gpu_stream(), &dx.device, &o.d.device, &o.x.device, o.weight.device,
                                   stats.device, d_weight.device, d_bias.device, 0, scratch));
        gpu_pull(&dx);
        gpu_floats_pull(&d_weight);
        gpu_floats_pull(&d_bias);
        for (int64_t k = 0; k < gpu_count(&dx.host); k++)
            assert_int_equal(!!isnan(gpu_get(&dx.host, k)), k / o.channels == 20);
        for (int64_t c = 0; c < o.channels; c++) {
            assert_int_equal(!!isnan(d_weight.host[c]), c == 33);
            assert_int_equal(!!isnan(d_bias.host[c]), c == 33);
        }
        gpu_free(scratch);
        gpu_pair_free(&dx);
        gpu_pair_free(&out);
        gpu_floats_free(&stats);
        gpu_floats_free(&d_weight);
        gpu_floats_free(&d_bias);
        drop(&o);
    }
}

static operands given[2];
static gpu_pair given_out[2];
static gpu_floats given_stats, given_gradient;
static void *given_scratch;

static int call(int64_t i, void *stream) {
    const operands *o = &given[i / 2];
    if (i % 2 == 0)
        return gpu_layer_norm(stream, &given_out[i / 2].device, &o->x.device, o->weight.device,
                              o->bias.device, eps, given_stats.device);
    return gpu_layer_norm_back(stream, &given_out[i / 2].device, &o->d.device, &o->x.device, o->weight.device,
                               given_stats.device, given_gradient.device, given_gradient.device + 600, 0,
                               given_scratch);
}

static void test_failures(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) { /* the second is wide */
        const gpu_size z = {1, i ? 600 : 60, 3, 3};
        given[i] = prepare(z, DUKD_TYPE_F32);
        given_out[i] = gpu_empty(z, DUKD_TYPE_F32);
    }
    given_stats = gpu_floats_random(18, 1, .5, 1);
    given_gradient = gpu_floats_random(1200, 1, -1, 1);
    given_scratch = gpu_alloc(gpu_layer_norm_back_scratch(&given[1].d.device));
    gpu_check_failures(call, 4);
    gpu_wait();
    for (int i = 0; i < 2; i++) {
        gpu_pair_free(&given_out[i]);
        given_out[i].device = (dukd_tensor){.channels = 60, .height = 3, .width = 3};
        drop(&given[i]);
        given[i] = (operands){.x.device = given_out[i].device, .d.device = given_out[i].device};
    }
    gpu_free(given_scratch);
    gpu_floats_free(&given_stats);
    gpu_floats_free(&given_gradient);
    assert_int_equal(gpu_layer_norm_back_scratch(&given[0].d.device), 0);
    for (int i = 0; i < 4; i++) GPU_OK(call(i, gpu_stream())); /* no images */
    gpu_wait();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_norm, tests);
}
