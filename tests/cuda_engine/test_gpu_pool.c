/* gpu_pool.cu against plain loops in double and against the processor's operations (ops.h): means, deviations, maxima and resizing, and
 * their gradients; sides of one pixel, windows that overlap and that leave gaps, equal maxima, NaN, channels that do not vary, more parts of
 * a sum than one. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>

#include "engine/ops.h"

static const dukd_worker worker = {.isa = DUKD_ISA_BASE, .threads = 1};
static const gpu_size sizes[] = {{1, 1, 1, 1}, {1, 3, 7, 9}, {3, 60, 9, 7}, {2, 8, 16, 17}, {1, 180, 8, 8}};
#define EACH_SIZE sizes, (int)(sizeof sizes / sizeof *sizes)

static void *host_scratch(int64_t bytes) {
    void *p = aligned_alloc(64, ((size_t)bytes + 64) / 64 * 64);
    assert_non_null(p);
    return p;
}

static gpu_size pixel_of(gpu_size z) {
    return (gpu_size){z.images, z.channels, 1, 1};
}

static int64_t at(const dukd_tensor *t, int64_t n, int64_t y, int64_t x, int64_t c) {
    return ((n * t->height + y) * t->width + x) * t->channels + c;
}

/* ---------------------------------------------------------------- mean and deviation */

/* mean and deviation of each channel of each image. */
static void moments(const dukd_tensor *x, double *mean, double *deviation) {
    const int64_t pixels = (int64_t)x->height * x->width, c = x->channels;
    for (int64_t i = 0; i < x->images * c; i++) {
        const int64_t first = i / c * pixels * c + i % c;
        for (int64_t p = 0; p < pixels; p++) mean[i] += gpu_get(x, first + p * c) / (double)pixels;
        for (int64_t p = 0; p < pixels; p++)
            deviation[i] += pow(gpu_get(x, first + p * c) - mean[i], 2) / (double)pixels;
        deviation[i] = sqrt(deviation[i]);
    }
}

/* Numbers about 3 that vary little; the last channel of the first image does not vary at all where there is more than one. */
static gpu_pair varied(gpu_size z, dukd_type type) {
    gpu_pair x = gpu_random(z, type, 1, 2.5, 3.5);
    for (int64_t p = 0; p < (int64_t)z.height * z.width && z.channels > 1; p++)
        gpu_set(&x.host, p * z.channels + z.channels - 1, 3);
    gpu_push(&x);
    return x;
}

static void check_mean(gpu_size z, dukd_type type) {
    gpu_pair x = varied(z, type), out = gpu_empty(pixel_of(z), type),
             d = gpu_random(pixel_of(z), type, 2, -1, 1);
    const int64_t bytes = gpu_pool_scratch(&x.device), count = gpu_count(&out.host),
                  pixels = z.height * z.width;
    void *scratch = gpu_alloc(bytes), *own = host_scratch(dukd_run_pool_scratch(&x.host));
    double *mean = gpu_doubles(count), *deviation = gpu_doubles(count);
    moments(&x.host, mean, deviation);
    GPU_OK(gpu_mean(gpu_stream(), &out.device, &x.device, scratch));
    gpu_check("mean", &out, mean, 1e-6);
    dukd_run_mean(&worker, &out.host, &x.host, own);
    double *cpu = gpu_values(&out.host);
    gpu_check("mean, as on the processor", &out, cpu, 1e-6);
    for (int sum = 0; sum < 2; sum++) {
        gpu_pair dx = gpu_random(z, type, 3, -1, 1);
        double *want = gpu_values(&dx.host);
        for (int64_t i = 0; i < gpu_count(&dx.host); i++)
            want[i] =
                (sum ? want[i] : 0) +
                gpu_get(&d.host, i / (pixels * z.channels) * z.channels + i % z.channels) / (double)pixels;
        GPU_OK(gpu_mean_back(gpu_stream(), &dx.device, &d.device, sum));
        dukd_run_mean_back(&worker, &dx.host, &d.host, sum);
        double *own_back = gpu_values(&dx.host);
        gpu_check("mean's gradient", &dx, want, 1e-6);
        gpu_check("mean's gradient, as on the processor", &dx, own_back, 1e-6);
        free(want);
        free(own_back);
        gpu_pair_free(&dx);
    }
    free(mean);
    free(deviation);
    free(cpu);
    free(own);
    gpu_free(scratch);
    gpu_pair_free(&x);
    gpu_pair_free(&out);
    gpu_pair_free(&d);
}

static void check_deviation(gpu_size z, dukd_type type) {
    gpu_pair x = varied(z, type), y = gpu_empty(pixel_of(z), type),
             d = gpu_random(pixel_of(z), type, 2, -1, 1);
    const int64_t bytes = gpu_pool_scratch(&x.device), count = gpu_count(&y.host),
                  pixels = z.height * z.width;
    void *scratch = gpu_alloc(bytes), *own = host_scratch(dukd_run_pool_scratch(&x.host));
    double *mean = gpu_doubles(count), *deviation = gpu_doubles(count);
    moments(&x.host, mean, deviation);
    GPU_OK(gpu_deviation(gpu_stream(), &y.device, &x.device, scratch));
    dukd_run_deviation(&worker, &y.host, &x.host, own);
    double *cpu = gpu_values(&y.host);
    gpu_check("deviation, as on the processor", &y, cpu, 1e-6);
    gpu_check("deviation", &y, deviation, 1e-6);
    for (int sum = 0; sum < 2; sum++) {
        gpu_pair dx = gpu_random(z, type, 3, -1, 1);
        double *want = gpu_values(&dx.host);
        for (int64_t i = 0; i < gpu_count(&dx.host); i++) {
            const int64_t of = i / (pixels * z.channels) * z.channels + i % z.channels;
            const double s = gpu_get(&y.host, of);
            want[i] = sum ? want[i] : 0;
            if (s != 0)
                want[i] += (gpu_get(&x.host, i) - mean[of]) * gpu_get(&d.host, of) / (double)pixels / s;
        }
        GPU_OK(gpu_deviation_back(gpu_stream(), &dx.device, &d.device, &x.device, &y.device, sum, scratch));
        dukd_run_deviation_back(&worker, &dx.host, &d.host, &x.host, &y.host, sum, own);
        double *own_back = gpu_values(&dx.host);
        gpu_check("deviation's gradient", &dx, want, 3e-6);
        gpu_check("deviation's gradient, as on the processor", &dx, own_back, 3e-6);
        free(want);
        free(own_back);
        gpu_pair_free(&dx);
    }
    free(mean);
    free(deviation);
    free(cpu);
    free(own);
    gpu_free(scratch);
    gpu_pair_free(&x);
    gpu_pair_free(&y);
    gpu_pair_free(&d);
}

static void test_moments(void **state) {
    (void)state;
    static const gpu_size large[] = {{1, 1, 129, 1}, {2, 3, 32, 9}, {1, 1, 363, 363}};
    gpu_for_each(EACH_SIZE, check_mean);
    gpu_for_each(EACH_SIZE, check_deviation);
    gpu_for_each(large, 3, check_mean); /* several parts; the last: parts of more than 128 pixels */
    gpu_for_each(large, 2, check_deviation);
}

/* A NaN in a channel of an image stays there, and is lost by nobody. */
static void test_moments_nan(void **state) {
    (void)state;
    const gpu_size z = {3, 12, 20, 13};
    gpu_pair x = gpu_random(z, DUKD_TYPE_F32, 1, -1, 1), out = gpu_empty(pixel_of(z), DUKD_TYPE_F32);
    void *scratch = gpu_alloc(gpu_pool_scratch(&x.device));
    gpu_set(&x.host, at(&x.host, 1, 19, 12, 5), NAN);
    gpu_push(&x);
    for (int op = 0; op < 2; op++) {
        GPU_OK((op ? gpu_deviation : gpu_mean)(gpu_stream(), &out.device, &x.device, scratch));
        gpu_pull(&out);
        for (int64_t i = 0; i < 36; i++) assert_int_equal(!!isnan(gpu_get(&out.host, i)), i == 12 + 5);
    }
    gpu_free(scratch);
    gpu_pair_free(&x);
    gpu_pair_free(&out);
}

/* ---------------------------------------------------------------- maxima */

/* out, and dx += d where the maximum is: the first of the largest, the last NaN. */
static void pool_reference(const dukd_tensor *o, const dukd_tensor *x, int kernel, int stride, double *out,
                           const dukd_tensor *d, double *dx) {
    for (int64_t i = 0; i < gpu_count(o); i++) {
        const int64_t c = i % o->channels, w = i / o->channels % o->width,
                      y = i / o->channels / o->width % o->height, n = i / o->channels / o->width / o->height;
        int64_t best = at(x, n, y * stride, w * stride, c);
        for (int k = 0; k < kernel * kernel; k++) {
            const int64_t other = at(x, n, y * stride + k / kernel, w * stride + k % kernel, c);
            if (gpu_get(x, other) > gpu_get(x, best) || isnan(gpu_get(x, other))) best = other;
        }
        out[i] = gpu_get(x, best);
        dx[best] += gpu_get(d, i);
    }
}

static void check_window(gpu_size z, dukd_type type, int kernel, int stride, int sum) {
    if (kernel > z.height || kernel > z.width) return;
    const gpu_size small = {z.images, z.channels, (z.height - kernel) / stride + 1,
                            (z.width - kernel) / stride + 1};
    gpu_pair x = gpu_random(z, type, 1, -1, 1), dx = gpu_random(z, type, 2, -1, 1);
    gpu_pair out = gpu_empty(small, type), d = gpu_random(small, type, 3, -1, 1);
    for (int64_t i = 0; i < gpu_count(&x.host); i += 3) gpu_set(&x.host, i, .75); /* equals */
    for (int64_t i = 11; i < gpu_count(&x.host); i += 97) gpu_set(&x.host, i, NAN);
    gpu_push(&x);
    double *want = gpu_doubles(gpu_count(&out.host)), *back = gpu_values(&dx.host);
    for (int64_t i = 0; i < gpu_count(&dx.host) && !sum; i++) back[i] = 0;
    pool_reference(&out.host, &x.host, kernel, stride, want, &d.host, back);
    GPU_OK(gpu_max_pool(gpu_stream(), &out.device, &x.device, kernel, stride));
    dukd_run_max_pool(&worker, &out.host, &x.host, kernel, stride);
    gpu_check_same("maxima, as on the processor", &out, &out.host);
    gpu_check("maxima", &out, want, 0);
    void *own = host_scratch(dukd_run_max_pool_back_scratch(&d.host));
    GPU_OK(gpu_max_pool_back(gpu_stream(), &dx.device, &d.device, &x.device, kernel, stride, sum));
    dukd_run_max_pool_back(&worker, &dx.host, &d.host, &x.host, kernel, stride, sum, own);
    gpu_check_same("maxima's gradient, as on the processor", &dx, &dx.host);
    gpu_check("maxima's gradient", &dx, back, 1e-6);
    free(own);
    free(want);
    free(back);
    gpu_pair_free(&x);
    gpu_pair_free(&dx);
    gpu_pair_free(&out);
    gpu_pair_free(&d);
}

static void check_maxima(gpu_size z, dukd_type type) {
    static const int windows[][2] = {{1, 1}, {2, 2}, {7, 3}, {3, 1}, {2, 5}};
    for (int i = 0; i < 5; i++) check_window(z, type, windows[i][0], windows[i][1], i % 2);
    check_window(z, type, 2, 1, 0);
}

static void test_maxima(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_maxima);
}

/* ---------------------------------------------------------------- resizing */

/* Row o of the matrix that resizes a side. */
static void weights_of(double *row, int64_t o, int64_t in, int64_t out) {
    const double from = fmax(((double)o + .5) * (double)in / (double)out - .5, 0);
    const int64_t first = (int64_t)floor(from), second = first + 1 < in ? first + 1 : first;
    for (int64_t i = 0; i < in; i++) row[i] = 0;
    row[first] += 1 - (from - (double)first);
    row[second] += from - (double)first;
}

static void resize_reference(const dukd_tensor *o, const dukd_tensor *x, double *out, const dukd_tensor *d,
                             double *dx) {
    double *down = gpu_doubles(x->height), *across = gpu_doubles(x->width);
    for (int64_t y = 0; y < o->height; y++) {
        weights_of(down, y, x->height, o->height);
        for (int64_t w = 0; w < o->width; w++) {
            weights_of(across, w, x->width, o->width);
            for (int64_t i = 0; i < (int64_t)x->height * x->width; i++) {
                const double weight = down[i / x->width] * across[i % x->width];
                for (int64_t k = 0; k < (int64_t)o->images * o->channels && weight != 0; k++) {
                    const int64_t n = k / o->channels, c = k % o->channels;
                    out[at(o, n, y, w, c)] += weight * gpu_get(x, at(x, n, i / x->width, i % x->width, c));
                    dx[at(x, n, i / x->width, i % x->width, c)] += weight * gpu_get(d, at(o, n, y, w, c));
                }
            }
        }
    }
    free(down);
    free(across);
}

static void check_resize_to(gpu_size z, dukd_type type, int height, int width, int sum) {
    const gpu_size other = {z.images, z.channels, height, width};
    gpu_pair x = gpu_random(z, type, 1, -1, 1), dx = gpu_random(z, type, 2, -1, 1);
    gpu_pair out = gpu_empty(other, type), d = gpu_random(other, type, 3, -1, 1);
    double *want = gpu_doubles(gpu_count(&out.host)), *back = gpu_values(&dx.host);
    for (int64_t i = 0; i < gpu_count(&dx.host) && !sum; i++) back[i] = 0;
    resize_reference(&out.host, &x.host, want, &d.host, back);
    GPU_OK(gpu_resize(gpu_stream(), &out.device, &x.device));
    dukd_run_resize(&worker, &out.host, &x.host);
    double *cpu = gpu_values(&out.host);
    gpu_check("resized, as on the processor", &out, cpu, 1e-5);
    gpu_check("resized", &out, want, 1e-5); /* positions are f32, as in PyTorch */
    free(cpu);
    GPU_OK(gpu_resize_back(gpu_stream(), &dx.device, &d.device, sum));
    dukd_run_resize_back(&worker, &dx.host, &d.host, sum);
    cpu = gpu_values(&dx.host);
    gpu_check("resizing's gradient, as on the processor", &dx, cpu, 1e-5);
    gpu_check("resizing's gradient", &dx, back, 1e-5);
    free(cpu);
    free(want);
    free(back);
    gpu_pair_free(&x);
    gpu_pair_free(&dx);
    gpu_pair_free(&out);
    gpu_pair_free(&d);
}

static void check_resize(gpu_size z, dukd_type type) {
    static const int to[][2] = {{1, 1}, {7, 9}, {20, 3}, {5, 33}};
    for (int i = 0; i < 4; i++) check_resize_to(z, type, to[i][0], to[i][1], i % 2);
    check_resize_to(z, type, 16, 17, 0);
}

static void test_resize(void **state) {
    (void)state;
    gpu_for_each(EACH_SIZE, check_resize);
}

/* ---------------------------------------------------------------- failures, and nothing to do */

typedef struct {
    gpu_pair x, dx, small;
    void *scratch;
} operands;
static operands given;

static int call(int64_t i, void *stream) {
    const dukd_tensor *x = &given.x.device, *dx = &given.dx.device, *s = &given.small.device;
    switch (i) {
    case 0:
        return gpu_mean(stream, s, x, given.scratch);
    case 1:
        return gpu_mean_back(stream, dx, s, 0);
    case 2:
        return gpu_deviation(stream, s, x, given.scratch);
    case 3:
        return gpu_deviation_back(stream, dx, s, x, s, 0, given.scratch);
    case 4:
        return gpu_max_pool(stream, s, x, 4, 4);
    case 5:
        return gpu_max_pool_back(stream, dx, s, x, 4, 4, 0);
    case 6:
        return gpu_resize(stream, s, x);
    default:
        return gpu_resize_back(stream, dx, s, 0);
    }
}

static void test_failures(void **state) {
    (void)state;
    const gpu_size z = {2, 3, 4, 4};
    given.x = gpu_random(z, DUKD_TYPE_F32, 1, -1, 1);
    given.dx = gpu_random(z, DUKD_TYPE_F32, 3, -1, 1);
    given.small = gpu_random(pixel_of(z), DUKD_TYPE_F32, 2, -1, 1);
    given.scratch = gpu_alloc(gpu_pool_scratch(&given.x.device));
    gpu_check_failures(call, 8);
    gpu_wait();
    gpu_free(given.scratch);
    gpu_pair_free(&given.x);
    gpu_pair_free(&given.dx);
    gpu_pair_free(&given.small);
    given = (operands){.x.device = {.images = 0, .channels = 3, .height = 4, .width = 4},
                       .dx.device = {.images = 0, .channels = 3, .height = 4, .width = 4},
                       .small.device = {.images = 0, .channels = 3, .height = 1, .width = 1}};
    for (int64_t i = 0; i < 8; i++) GPU_OK(call(i, gpu_stream())); /* no images */
    gpu_wait();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments), cmocka_unit_test(test_moments_nan), cmocka_unit_test(test_maxima),
        cmocka_unit_test(test_resize),  cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_pool, tests);
}
