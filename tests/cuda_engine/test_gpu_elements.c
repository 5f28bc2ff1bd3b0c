/* gpu_elements.cu against libm in double: edge sizes, both types, in place and not, sums, NaN and infinities. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/fill.h"

/* {images, channels, height, width} */
static const gpu_size sizes[] = {{1, 1, 1, 1},   {2, 3, 5, 7},   {1, 16, 1, 1}, {1, 15, 3, 5},  {3, 17, 2, 3},
                                 {2, 64, 12, 9}, {3, 180, 5, 7}, {70, 4, 3, 1}, {1, 1100, 2, 3}};
/* Less is enough where every element goes its own way. */
#define EACH_SIZE sizes, (int)(sizeof sizes / sizeof *sizes)
/* More elements than a grid has threads for; and more pixels of one channel. */
static const gpu_size large[] = {{1, 64, 137, 517}, {1, 3, 700, 711}, {2, 1, 1030, 1031}};
#define EACH_LARGE large, (int)(sizeof large / sizeof *large)

/* ---------------------------------------------------------------- functions */

static double gelu(double x) {
    return x / 2 * erfc(-x / sqrt(2));
}

static double slope_of_gelu(double x) {
    return erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double slope_of_sigmoid(double y) {
    return y * (1 - y);
}

static double leaky(double x) {
    return x > 0 ? x : .2 * x;
}

static double slope_of_leaky(double y) {
    return y > 0 ? 1 : .2;
}

static double relu(double x) {
    return x > 0 ? x : 0;
}

static double slope_of_relu(double y) {
    return y > 0;
}

static double scaled(double x) {
    return -1.5 * x;
}

static int run_leaky(void *stream, const dukd_tensor *out, const dukd_tensor *x) {
    return gpu_leaky_relu(stream, out, x, .2f);
}

static int run_relu(void *stream, const dukd_tensor *out, const dukd_tensor *x) {
    return gpu_leaky_relu(stream, out, x, 0);
}

static int run_scale(void *stream, const dukd_tensor *out, const dukd_tensor *x) {
    return gpu_scale(stream, out, x, -1.5f);
}

static int run_leaky_back(void *stream, const dukd_tensor *d, const dukd_tensor *y) {
    return gpu_leaky_relu_back(stream, d, y, .2f);
}

static int run_relu_back(void *stream, const dukd_tensor *d, const dukd_tensor *y) {
    return gpu_leaky_relu_back(stream, d, y, 0);
}

typedef struct {
    const char *name;
    int (*run)(void *, const dukd_tensor *, const dukd_tensor *);
    double (*want)(double);
} function;

static const function functions[] = {{"leaky", run_leaky, leaky},
                                     {"relu", run_relu, relu},
                                     {"gelu", gpu_gelu, gelu},
                                     {"sigmoid", gpu_sigmoid, sigmoid},
                                     {"scale", run_scale, scaled}};
static const function slopes[] = {{"leaky back", run_leaky_back, slope_of_leaky},
                                  {"relu back", run_relu_back, slope_of_relu},
                                  {"gelu back", gpu_gelu_back, slope_of_gelu},
                                  {"sigmoid back", gpu_sigmoid_back, slope_of_sigmoid}};

static void check_functions(gpu_size z, dukd_type type) {
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        gpu_pair x = gpu_random(z, type, f, -6, 6), out = gpu_empty(z, type);
        double *want = gpu_values(&x.host);
        for (int64_t i = 0; i < gpu_count(&x.host); i++) want[i] = functions[f].want(want[i]);
        GPU_OK(functions[f].run(gpu_stream(), &out.device, &x.device));
        gpu_check(functions[f].name, &out, want, 1e-6);
        GPU_OK(functions[f].run(gpu_stream(), &x.device, &x.device));
        gpu_check("in place", &x, want, 1e-6);
        free(want);
        gpu_pair_free(&x);
        gpu_pair_free(&out);
    }
}

static void check_slopes(gpu_size z, dukd_type type) {
    for (size_t f = 0; f < sizeof slopes / sizeof *slopes; f++) {
        gpu_pair d = gpu_random(z, type, f, -1, 1), y = gpu_random(z, type, f + 9, -4, 4);
        double *want = gpu_values(&y.host);
        for (int64_t i = 0; i < gpu_count(&y.host); i++)
            want[i] = slopes[f].want(want[i]) * gpu_get(&d.host, i);
        GPU_OK(slopes[f].run(gpu_stream(), &d.device, &y.device));
        gpu_check(slopes[f].name, &d, want, 1e-6);
        free(want);
        gpu_pair_free(&d);
        gpu_pair_free(&y);
    }
}

static void test_functions(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_functions);
    gpu_for_each(EACH_SIZE, check_slopes);
    check_functions(large[0], DUKD_TYPE_F32);
    check_slopes(large[0], DUKD_TYPE_BF16);
}

/* The accuracy that ops.h promises, relative to each value: errors of the tails are not hidden by the largest. */
static void test_accuracy(void **state) {
    (void)state;
    enum { POINTS = 2000 };
#ifdef GPU_ON_DEVICE
    const double of_gelu = 8e-7; /* CUDA's erfcf is allowed 4 ulp, the processor's library has 1 */
#else
    const double of_gelu = 6e-7;
#endif
    gpu_pair x = gpu_empty((gpu_size){1, POINTS, 1, 1}, DUKD_TYPE_F32),
             y = gpu_empty((gpu_size){1, POINTS, 1, 1}, DUKD_TYPE_F32);
    for (int i = 0; i < POINTS; i++) gpu_set(&x.host, i, -8.9 + 17.8 * i / POINTS);
    gpu_push(&x);
    GPU_OK(gpu_gelu(gpu_stream(), &y.device, &x.device));
    gpu_pull(&y);
    for (int i = 0; i < POINTS; i++) {
        const double at = gpu_get(&x.host, i), want = gelu(at);
        assert_true(fabs(gpu_get(&y.host, i) - want) <= of_gelu * (1 + at * at / 16) * fabs(want));
        gpu_set(&y.host, i, 1);
    }
    gpu_push(&y);
    GPU_OK(gpu_gelu_back(gpu_stream(), &y.device, &x.device));
    gpu_pull(&y);
    for (int i = 0; i < POINTS; i++)
        assert_true(fabs(gpu_get(&y.host, i) - slope_of_gelu(gpu_get(&x.host, i))) <= 3e-7);
    GPU_OK(gpu_sigmoid(gpu_stream(), &y.device, &x.device));
    gpu_pull(&y);
    for (int i = 0; i < POINTS; i++) {
        const double want = sigmoid(gpu_get(&x.host, i));
        assert_true(fabs(gpu_get(&y.host, i) - want) <= 1e-6 * want);
    }
    gpu_pair_free(&x);
    gpu_pair_free(&y);
}

/* What comes of NaN, infinities and zeros. */
static void test_limits(void **state) {
    static const double in[] = {NAN, INFINITY, -INFINITY, 0, -0., 100, -100};
    enum { COUNT = sizeof in / sizeof *in };
    static const double of_relu[] = {NAN, INFINITY, 0, 0, 0, 100, 0},
                        of_leaky[] = {NAN, INFINITY, -INFINITY, 0, 0, 100, -20},
                        of_sigmoid[] = {NAN, 1, 0, .5, .5, 1, 0};
    const double *const want[] = {of_leaky, of_relu, NULL, of_sigmoid};
    (void)state;
    for (int t = 0; t < 2; t++)
        for (size_t f = 0; f < sizeof want / sizeof *want; f++) {
            if (!want[f]) continue;
            gpu_pair x = gpu_empty((gpu_size){1, COUNT, 1, 1}, (dukd_type)t);
            for (int i = 0; i < COUNT; i++) gpu_set(&x.host, i, in[i]);
            gpu_push(&x);
            GPU_OK(functions[f].run(gpu_stream(), &x.device, &x.device));
            gpu_check(functions[f].name, &x, want[f], 1e-6);
            gpu_pair_free(&x);
        }
    /* a NaN goes through GELU, and 0 stays */
    gpu_pair x = gpu_empty((gpu_size){1, 4, 1, 1}, DUKD_TYPE_F32),
             d = gpu_empty((gpu_size){1, 4, 1, 1}, DUKD_TYPE_F32);
    for (int i = 0; i < 4; i++) {
        gpu_set(&x.host, i, (double[]){NAN, 0, 100, -100}[i]);
        gpu_set(&d.host, i, (double[]){1, NAN, 3, 5}[i]);
    }
    gpu_push(&x);
    gpu_push(&d);
    GPU_OK(gpu_gelu_back(gpu_stream(), &d.device, &x.device));
    gpu_check("gelu back", &d, (double[]){NAN, NAN, 3, 0}, 1e-6);
    GPU_OK(gpu_gelu(gpu_stream(), &x.device, &x.device));
    gpu_check("gelu", &x, (double[]){NAN, 0, 100, 0}, 1e-6);
    gpu_pair_free(&x);
    gpu_pair_free(&d);
}

/* ---------------------------------------------------------------- two tensors and more */

static void check_add(gpu_size z, dukd_type type) {
    gpu_pair a = gpu_random(z, type, 1, -1, 1), b = gpu_random(z, type, 2, -1, 1), out = gpu_empty(z, type);
    double *want = gpu_values(&a.host);
    for (int64_t i = 0; i < gpu_count(&a.host); i++) want[i] += gpu_get(&b.host, i);
    GPU_OK(gpu_add(gpu_stream(), &out.device, &a.device, &b.device));
    gpu_check("add", &out, want, 1e-7);
    GPU_OK(gpu_add(gpu_stream(), &b.device, &a.device, &b.device));
    gpu_check("add in place", &b, want, 1e-7);
    free(want);
    gpu_pair_free(&a);
    gpu_pair_free(&b);
    gpu_pair_free(&out);
}

/* The type of `out`; from both. */
static void check_cast(gpu_size z, dukd_type type) {
    for (int t = 0; t < 2; t++) {
        gpu_pair x = gpu_random(z, (dukd_type)t, 3, -1, 1), out = gpu_empty(z, type);
        dukd_tensor rounded = out.host;
        const int64_t count = gpu_count(&x.host), middle = count / 2;
        gpu_set(&x.host, middle, NAN);
        gpu_push(&x);
        GPU_OK(gpu_cast(gpu_stream(), &out.device, &x.device, 0));
        for (int64_t i = 0; i < count; i++) gpu_set(&rounded, i, gpu_get(&x.host, i));
        gpu_check_same("cast", &out, &rounded); /* rounded to nearest, ties to even */
        double *want = gpu_values(&rounded);
        for (int64_t i = 0; i < count; i++) want[i] += gpu_get(&x.host, i);
        GPU_OK(gpu_cast(gpu_stream(), &out.device, &x.device, 1));
        gpu_check("cast, added", &out, want, 1e-7);
        free(want);
        gpu_pair_free(&x);
        gpu_pair_free(&out);
    }
}

/* Every upper half with a lower half that is just below, at and above a tie. */
static void test_rounding(void **state) {
    enum { CASES = 1 << 14 };
    gpu_pair x = gpu_empty((gpu_size){1, 4, CASES, 1}, DUKD_TYPE_F32),
             out = gpu_empty((gpu_size){1, 4, CASES, 1}, DUKD_TYPE_BF16);
    (void)state;
    for (uint32_t i = 0; i < CASES; i++)
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t bits = i << 18 | (k & 1) << 16 | (uint32_t[]){0x8000, 0x7fff, 0x8001, 0x8000}[k];
            memcpy((float *)x.host.data + 4 * i + k, &bits, sizeof bits);
        }
    for (int64_t i = 0; i < 4 * CASES; i++) gpu_set(&out.host, i, gpu_get(&x.host, i));
    gpu_push(&x);
    GPU_OK(gpu_cast(gpu_stream(), &out.device, &x.device, 0));
    gpu_check_same("rounding", &out, &out.host);
    gpu_pair_free(&x);
    gpu_pair_free(&out);
}

static void check_images(gpu_size z, dukd_type type) {
    gpu_pair x = gpu_random(z, type, 1, -1, 1), b = gpu_random(z, type, 2, -1, 1), out = gpu_empty(z, type);
    gpu_floats factors = gpu_floats_random(z.images, 3, -2, 2);
    const int64_t count = gpu_count(&x.host), image = count / z.images;
    double *want = gpu_values(&x.host), *added = gpu_values(&b.host);
    for (int64_t i = 0; i < count; i++) {
        want[i] *= (double)factors.host[i / image];
        added[i] += want[i];
    }
    GPU_OK(gpu_image_scale(gpu_stream(), &out.device, &x.device, factors.device, 0));
    gpu_check("image scale", &out, want, 1e-6);
    GPU_OK(gpu_image_add(gpu_stream(), &out.device, &x.device, factors.device, &b.device));
    gpu_check("image add", &out, added, 1e-6);
    gpu_push(&b);
    GPU_OK(gpu_image_add(gpu_stream(), &b.device, &x.device, factors.device, &b.device));
    gpu_check("image add in place", &b, added, 1e-6);
    for (int64_t i = 0; i < count; i++) added[i] = gpu_get(&b.host, i) + want[i];
    GPU_OK(gpu_image_scale(gpu_stream(), &b.device, &x.device, factors.device, 1));
    gpu_check("image scale, added", &b, added, 1e-6);
    GPU_OK(gpu_image_scale(gpu_stream(), &x.device, &x.device, factors.device, 0));
    gpu_check("image scale in place", &x, want, 1e-6);
    free(want);
    free(added);
    gpu_floats_free(&factors);
    gpu_pair_free(&x);
    gpu_pair_free(&b);
    gpu_pair_free(&out);
}

static void check_affine(gpu_size z, dukd_type type) {
    gpu_pair x = gpu_random(z, type, 1, -1, 1), out = gpu_random(z, type, 2, -1, 1);
    gpu_floats factors = gpu_floats_random(z.channels, 3, -2, 2),
               shifts = gpu_floats_random(z.channels, 4, -1, 1);
    const int64_t count = gpu_count(&x.host);
    for (int k = 0; k < 8; k++) { /* with factors, with shifts, added */
        const int sum = k / 4;
        double *want = gpu_values(&x.host);
        gpu_pull(&out);
        for (int64_t i = 0; i < count; i++) {
            const int64_t c = i % z.channels;
            if (k & 1) want[i] *= (double)factors.host[c];
            if (k & 2) want[i] += (double)shifts.host[c];
            if (sum) want[i] += gpu_get(&out.host, i);
        }
        GPU_OK(gpu_affine(gpu_stream(), &out.device, &x.device, k & 1 ? factors.device : NULL,
                          k & 2 ? shifts.device : NULL, sum));
        gpu_check("affine", &out, want, 1e-6);
        if (k == 3) {
            gpu_pair y = gpu_random(z, type, 1, -1, 1);
            GPU_OK(gpu_affine(gpu_stream(), &y.device, &y.device, factors.device, shifts.device, 0));
            gpu_check("affine in place", &y, want, 1e-6);
            gpu_pair_free(&y);
        }
        free(want);
    }
    gpu_floats_free(&factors);
    gpu_floats_free(&shifts);
    gpu_pair_free(&x);
    gpu_pair_free(&out);
}

/* b: like a, or a number for each image and channel. */
static void check_mul(gpu_size z, dukd_type type) {
    for (int channels = 0; channels < 2; channels++) {
        const gpu_size zb = channels ? (gpu_size){z.images, z.channels, 1, 1} : z;
        gpu_pair a = gpu_random(z, type, 1, -1, 1), b = gpu_random(zb, type, 2, -1, 1),
                 addend = gpu_random(z, type, 3, -1, 1), out = gpu_empty(z, type);
        const int64_t count = gpu_count(&a.host), image = count / z.images;
        double *want = gpu_values(&a.host), *added = gpu_values(&addend.host);
        for (int64_t i = 0; i < count; i++) {
            want[i] *= gpu_get(&b.host, channels ? i / image * z.channels + i % z.channels : i) * -.5;
            added[i] += want[i];
        }
        GPU_OK(gpu_mul(gpu_stream(), &out.device, &a.device, &b.device, NULL, -.5f));
        gpu_check("mul", &out, want, 1e-6);
        GPU_OK(gpu_mul_back(gpu_stream(), &out.device, &a.device, &b.device, -.5f, 0));
        gpu_check("mul back", &out, want, 1e-6);
        GPU_OK(gpu_mul(gpu_stream(), &out.device, &a.device, &b.device, &addend.device, -.5f));
        gpu_check("mul, addend", &out, added, 1e-6);
        GPU_OK(gpu_mul_back(gpu_stream(), &addend.device, &a.device, &b.device, -.5f, 1));
        gpu_check("mul back, added", &addend, added, 1e-6);
        GPU_OK(gpu_mul(gpu_stream(), &a.device, &a.device, &b.device, NULL, -.5f));
        gpu_check("mul in place", &a, want, 1e-6);
        free(want);
        free(added);
        gpu_pair_free(&a);
        gpu_pair_free(&b);
        gpu_pair_free(&addend);
        gpu_pair_free(&out);
    }
}

static void check_mul_back_channels(gpu_size z, dukd_type type) {
    const gpu_size zb = {z.images, z.channels, 1, 1};
    gpu_pair d = gpu_random(z, type, 1, -1, 2), a = gpu_random(z, type, 2, -1, 2), db = gpu_empty(zb, type);
    const int64_t count = gpu_count(&d.host), image = count / z.images,
                  bytes = gpu_mul_back_channels_scratch(&d.device);
    void *scratch = gpu_alloc(bytes);
    double *want = gpu_doubles(z.images * (int64_t)z.channels);
    for (int64_t i = 0; i < count; i++)
        want[i / image * z.channels + i % z.channels] += -.5 * gpu_get(&d.host, i) * gpu_get(&a.host, i);
    GPU_OK(gpu_mul_back_channels(gpu_stream(), &db.device, &d.device, &a.device, -.5f, 0, scratch));
    gpu_check("mul back channels", &db, want, 1e-6);
    for (int64_t i = 0; i < gpu_count(&db.host); i++) want[i] += gpu_get(&db.host, i);
    GPU_OK(gpu_mul_back_channels(gpu_stream(), &db.device, &d.device, &a.device, -.5f, 1, scratch));
    gpu_check("mul back channels, added", &db, want, 1e-6);
    free(want);
    gpu_free(scratch);
    gpu_pair_free(&d);
    gpu_pair_free(&a);
    gpu_pair_free(&db);
}

/* The parts' sum for each channel, in double. */
static void check_parts(const char *name, gpu_floats *parts, const dukd_tensor *x, const double *values) {
    double *want = gpu_doubles(x->channels);
    gpu_floats sums = gpu_floats_empty(x->channels);
    gpu_floats_pull(parts);
    for (int32_t c = 0; c < x->channels; c++) {
        double sum = 0;
        for (int64_t i = c; i < parts->count; i += x->channels) sum += (double)parts->host[i];
        sums.host[c] = (float)sum;
    }
    gpu_floats_push(&sums);
    for (int64_t i = 0; i < gpu_count(x); i++) want[i % x->channels] += values[i];
    gpu_check_floats(name, &sums, want, 1e-6);
    free(want);
    gpu_floats_free(&sums);
}

static gpu_floats parts_for(const dukd_tensor *x) {
    return gpu_floats_empty((int64_t)gpu_channel_part_count(x) * x->channels);
}

static void check_channel_parts(gpu_size z, dukd_type type) {
    gpu_pair x = gpu_random(z, type, 1, -1, 2);
    gpu_floats parts = parts_for(&x.device);
    double *values = gpu_values(&x.host);
    GPU_OK(gpu_channel_parts(gpu_stream(), parts.device, &x.device));
    check_parts("channel parts", &parts, &x.host, values);
    gpu_set(&x.host, gpu_count(&x.host) - 1, NAN); /* is seen, in its channel and part alone */
    gpu_push(&x);
    GPU_OK(gpu_channel_parts(gpu_stream(), parts.device, &x.device));
    gpu_floats_pull(&parts);
    for (int64_t i = 0; i < parts.count; i++) assert_true(isnan(parts.host[i]) == (i == parts.count - 1));
    free(values);
    gpu_floats_free(&parts);
    gpu_pair_free(&x);
}

/* ReLU's gradient with the parts of sums, alone and beside another tensor's. */
static void check_relu_parts(gpu_size z, dukd_type type) {
    static const float both[] = {0, .2f};
    const gpu_size others[] = {{z.images, z.channels, z.height, z.width}, {1, z.channels, 7, 41}};
    for (int k = 0; k < 6; k++) { /* two slopes; no other, one alike, one of another size */
        const float slope = both[k % 2];
        gpu_pair d = gpu_random(z, type, 1, -1, 2), y = gpu_random(z, type, 2, -1, 1),
                 other = gpu_random(others[k / 4], type, 3, -1, 2);
        gpu_floats parts = parts_for(&d.device), other_parts = parts_for(&other.device);
        double *want = gpu_values(&d.host), *mask = gpu_values(&y.host), *beside = gpu_values(&other.host);
        for (int64_t i = 0; i < gpu_count(&d.host); i++)
            if (!(mask[i] > 0)) want[i] *= (double)slope;
        GPU_OK(gpu_leaky_relu_back_parts(gpu_stream(), &d.device, &y.device, slope, parts.device,
                                         k / 2 ? &other.device : NULL, k / 2 ? other_parts.device : NULL));
        gpu_check("masked", &d, want, 1e-6);
        check_parts("parts of what is masked", &parts, &d.host, want);
        if (k / 2) check_parts("parts of the other", &other_parts, &other.host, beside);
        free(want);
        free(mask);
        free(beside);
        gpu_floats_free(&parts);
        gpu_floats_free(&other_parts);
        gpu_pair_free(&d);
        gpu_pair_free(&y);
        gpu_pair_free(&other);
    }
}

typedef struct {
    int32_t out_channels, out_first, x_channels, x_first, count;
} copy_case;

static const copy_case copies[] = {{1, 0, 1, 0, 1},      {3, 1, 2, 0, 2},
                                   {16, 0, 64, 48, 16},  {64, 40, 24, 0, 24},
                                   {180, 60, 60, 0, 60}, {60, 0, 180, 120, 60},
                                   {24, 4, 20, 12, 8},   {17, 2, 40, 8, 15},
                                   {16, 8, 16, 4, 8},    {1300, 100, 1200, 50, 1100},
                                   {16, 4, 16, 8, 8},    {8, 2, 8, 4, 4}};

static void check_copy(gpu_size z, dukd_type type) {
    for (size_t k = 0; k < sizeof copies / sizeof *copies; k++)
        for (int sum = 0; sum < 2; sum++) {
            const copy_case *c = &copies[k];
            const gpu_size zx = {z.images, c->x_channels, z.height, z.width},
                           zo = {z.images, c->out_channels, z.height, z.width};
            gpu_pair x = gpu_random(zx, type, 1, -1, 1), out = gpu_random(zo, type, 2, -1, 1);
            double *want = gpu_values(&out.host); /* the other channels stay */
            for (int64_t p = 0; p < (int64_t)z.images * z.height * z.width; p++)
                for (int64_t i = 0; i < c->count; i++) {
                    double *to = &want[p * c->out_channels + c->out_first + i];
                    *to = (sum ? *to : 0) + gpu_get(&x.host, p * c->x_channels + c->x_first + i);
                }
            GPU_OK(gpu_copy_channels(gpu_stream(), &out.device, c->out_first, &x.device, c->x_first, c->count,
                                     sum));
            gpu_check("copy channels", &out, want, 1e-7);
            free(want);
            gpu_pair_free(&x);
            gpu_pair_free(&out);
        }
}

/* type: of out and addend; x of both types. */
static void check_epilogue(gpu_size z, dukd_type type) {
    for (int k = 0; k < 2 * 2 * 2 * 4; k++) {
        const dukd_type from = (dukd_type)(k & 1);
        const int with_bias = k >> 1 & 1, with_addend = k >> 2 & 1, act = k >> 3;
        gpu_pair x = gpu_random(z, from, 1, -3, 3), addend = gpu_random(z, type, 2, -1, 1),
                 out = gpu_empty(z, type);
        gpu_floats bias = gpu_floats_random(z.channels, 3, -1, 1);
        double *want = gpu_values(&x.host);
        for (int64_t i = 0; i < gpu_count(&x.host); i++) {
            if (with_bias) want[i] += (double)bias.host[i % z.channels];
            want[i] = act == 0   ? want[i]
                      : act == 1 ? relu(want[i])
                      : act == 2 ? leaky(want[i])
                                 : gelu(want[i]);
            if (with_addend) want[i] += gpu_get(&addend.host, i);
        }
        const dukd_activation name = act == 0 ? DUKD_ACT_NONE : act == 3 ? DUKD_ACT_GELU : DUKD_ACT_RELU;
        const float slope = act == 2 ? .2f : 0;
        const float *b = with_bias ? bias.device : NULL;
        GPU_OK(gpu_epilogue(gpu_stream(), &out.device, &x.device, b, name, slope,
                            with_addend ? &addend.device : NULL));
        gpu_check("epilogue", &out, want, 1e-6);
        if (with_addend) {
            GPU_OK(gpu_epilogue(gpu_stream(), &addend.device, &x.device, b, name, slope, &addend.device));
            gpu_check("epilogue into its addend", &addend, want, 1e-6);
        } else if (from == type) {
            GPU_OK(gpu_epilogue(gpu_stream(), &x.device, &x.device, b, name, slope, NULL));
            gpu_check("epilogue in place", &x, want, 1e-6);
        }
        free(want);
        gpu_floats_free(&bias);
        gpu_pair_free(&x);
        gpu_pair_free(&addend);
        gpu_pair_free(&out);
    }
}

static void test_add_cast(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_add);
    gpu_for_each(EACH_SIZE, check_cast);
    check_cast(large[0], DUKD_TYPE_BF16);
}

static void test_images(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_images);
    check_images(large[0], DUKD_TYPE_F32);
    check_images(large[2], DUKD_TYPE_BF16);
}

static void test_channels(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_affine);
    gpu_for_each(EACH_SIZE, check_mul);
    gpu_for_each(EACH_SIZE, check_epilogue);
    gpu_for_each(sizes, 5, check_copy);
    check_affine(large[1], DUKD_TYPE_F32);
    check_mul(large[2], DUKD_TYPE_F32);
}

static void test_sums(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_mul_back_channels);
    gpu_for_each(EACH_SIZE, check_channel_parts);
    gpu_for_each(EACH_LARGE, check_channel_parts);
    gpu_for_each(&(gpu_size){1, 20, 1, 127}, 1, check_channel_parts); /* a part of 128 pixels and one less */
    gpu_for_each(EACH_SIZE, check_relu_parts);
    gpu_for_each(&(gpu_size){1, 20, 1, 129}, 1, check_relu_parts);
    check_mul_back_channels((gpu_size){3, 64, 41, 37}, DUKD_TYPE_F32);
    check_mul_back_channels((gpu_size){1100, 2, 1, 3}, DUKD_TYPE_F32); /* more images than rows of a grid */
    check_mul_back_channels(large[2], DUKD_TYPE_BF16);
}

/* The same bits from run to run, whatever lay in the memory of the parts. */
static void test_same_bits(void **state) {
    gpu_pair x = gpu_random((gpu_size){2, 20, 61, 59}, DUKD_TYPE_F32, 1, -1, 1);
    const int64_t count = (int64_t)gpu_channel_part_count(&x.device) * 20;
    float *first = malloc((size_t)count * sizeof *first);
    (void)state;
    assert_non_null(first);
    for (int run = 0; run < 3; run++) {
        gpu_floats parts = gpu_floats_random(count, (uint64_t)run, -9, 9);
        GPU_OK(gpu_channel_parts(gpu_stream(), parts.device, &x.device));
        gpu_floats_pull(&parts);
        if (run == 0) memcpy(first, parts.host, (size_t)count * sizeof *first);
        assert_memory_equal(first, parts.host, (size_t)count * sizeof *first);
        gpu_floats_free(&parts);
    }
    free(first);
    gpu_pair_free(&x);
}

/* ---------------------------------------------------------------- nothing to do, and failures */

static dukd_tensor the_tensor, the_other; /* of 4 elements */
static gpu_floats given; /* 16 zeros: the first is the tensor's memory, the other's is in the middle */

static int every_call(int64_t i, void *stream) {
    float *f = given.device + 4;
    const dukd_tensor *t = &the_tensor;
    switch (i) {
    case 0:
        return gpu_leaky_relu(stream, t, t, .1f);
    case 1:
        return gpu_leaky_relu_back(stream, t, t, 0);
    case 2:
        return gpu_gelu(stream, t, t);
    case 3:
        return gpu_gelu_back(stream, t, t);
    case 4:
        return gpu_sigmoid(stream, t, t);
    case 5:
        return gpu_sigmoid_back(stream, t, t);
    case 6:
        return gpu_scale(stream, t, t, 2);
    case 7:
        return gpu_add(stream, t, t, t);
    case 8:
        return gpu_cast(stream, t, t, 0);
    case 9:
        return gpu_image_add(stream, t, t, f, t);
    case 10:
        return gpu_image_scale(stream, t, t, f, 1);
    case 11:
        return gpu_affine(stream, t, t, f, f, 0);
    case 12:
        return gpu_mul(stream, t, t, t, t, 1);
    case 13:
        return gpu_mul_back(stream, t, t, t, 1, 0);
    case 14:
        return gpu_mul_back_channels(stream, t, t, t, 1, 0, f);
    case 15:
        return gpu_copy_channels(stream, t, 0, t, 0, 1, 0);
    case 16:
        return gpu_epilogue(stream, t, t, NULL, DUKD_ACT_NONE, 0, NULL);
    case 17:
        return gpu_channel_parts(stream, f, t);
    case 18:
        return gpu_leaky_relu_back_parts(stream, t, t, 0, f, NULL, NULL);
    default:
        return gpu_leaky_relu_back_parts(stream, t, t, 0, f, &the_other, f + 8);
    }
}
enum { CALLS = 20 };

static void test_failures(void **state) {
    (void)state;
    given = gpu_floats_zeros(16);
    the_tensor = (dukd_tensor){.data = given.device, .images = 1, .channels = 4, .height = 1, .width = 1};
    the_other = the_tensor;
    the_other.data = given.device + 8;
    gpu_check_failures(every_call, CALLS);
    gpu_floats_free(&given);
}

static void test_nothing(void **state) {
    (void)state;
    given = gpu_floats_zeros(16);
    the_tensor = the_other = (dukd_tensor){.channels = 4, .height = 1, .width = 1};
    assert_int_equal(gpu_channel_part_count(&the_tensor), 0);
    for (int64_t i = 0; i < CALLS; i++) GPU_OK(every_call(i, gpu_stream()));
    gpu_wait();
    gpu_floats_free(&given);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),     cmocka_unit_test(test_images),    cmocka_unit_test(test_channels),
        cmocka_unit_test(test_add_cast), cmocka_unit_test(test_functions), cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_rounding),  cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_nothing),  cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_elements, tests);
}
