/* gpu_exchange.cu against the processor's operations (layout.h): shuffles to the last bit, and the exchange with planar tensors, at the
 * edges of tiles, with padding channels, missing images, factors and shifts, all orders and spreads. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const dukd_worker worker = {.isa = DUKD_ISA_BASE, .threads = 1};

/* ---------------------------------------------------------------- shuffles */

typedef struct {
    gpu_size small; /* channels: of the larger tensor */
    int32_t r;
} shuffle_case;

static const shuffle_case shuffles[] = {
    {{1, 1, 1, 1}, 1},  {{2, 3, 5, 7}, 2},    {{1, 3, 4, 65}, 3}, {{2, 16, 3, 5}, 2},   {{1, 15, 2, 9}, 4},
    {{2, 64, 3, 6}, 2}, {{1, 60, 2, 33}, 2},  {{1, 1, 70, 3}, 2}, {{1, 1, 2, 1100}, 4}, {{1, 300, 2, 3}, 4},
    {{1, 4, 1, 2}, 8},  {{5000, 2, 1, 1}, 2}, {{1, 17, 3, 5}, 1}, {{1, 2, 1, 3}, 32},   {{1, 180, 1, 2}, 2}};

static void check_shuffle(const shuffle_case *c, dukd_type type, int32_t order) {
    const gpu_size zx = {c->small.images, c->small.channels * c->r * c->r, c->small.height, c->small.width},
                   zo = {c->small.images, c->small.channels, c->small.height * c->r, c->small.width * c->r};
    gpu_pair x = gpu_random(zx, type, 1, -1, 1), out = gpu_empty(zo, type);
    dukd_run_shuffle(&worker, &out.host, &x.host, c->r, order);
    GPU_OK(gpu_shuffle(gpu_stream(), &out.device, &x.device, c->r, order));
    gpu_check_same("shuffle", &out, &out.host);
    for (int sum = 0; sum < 2; sum++) {
        gpu_pair d = gpu_random(zo, type, 2, -1, 1), dx = gpu_empty(zx, type);
        if (sum) {
            gpu_pair_free(&dx);
            dx = gpu_random(zx, type, 3, -1, 1);
        }
        dukd_run_unshuffle(&worker, &dx.host, &d.host, c->r, order, sum);
        GPU_OK(gpu_unshuffle(gpu_stream(), &dx.device, &d.device, c->r, order, sum));
        gpu_check_same(sum ? "unshuffle, added" : "unshuffle", &dx, &dx.host);
        gpu_pair_free(&d);
        gpu_pair_free(&dx);
    }
    gpu_pair_free(&x);
    gpu_pair_free(&out);
}

static void test_shuffles(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof shuffles / sizeof *shuffles; k++)
        for (int t = 0; t < 2; t++) {
            check_shuffle(&shuffles[k], (dukd_type)t, shuffles[k].r);
            if (shuffles[k].r > 1) check_shuffle(&shuffles[k], (dukd_type)t, 1);
        }
}

/* ---------------------------------------------------------------- the caller's tensors */

typedef struct {
    gpu_size memory;
    int32_t images, channels, order, spread;
} exchange_case;

static const exchange_case exchanges[] = {
    {{1, 1, 1, 1}, 1, 1, 1, 1},
    {{2, 3, 5, 7}, 2, 3, 1, 1},
    {{2, 4, 5, 7}, 2, 3, 1, 1},  /* a channel that only pads */
    {{3, 16, 9, 8}, 2, 3, 1, 1}, /* and an image that is not there */
    {{2, 16, 2, 3}, 0, 16, 1, 1},
    {{1, 64, 12, 11}, 1, 64, 1, 1},  /* two chunks of channels; a tile and 4 pixels */
    {{2, 180, 3, 43}, 2, 180, 1, 1}, /* 129 pixels, a last chunk of 20 channels */
    {{1, 17, 16, 8}, 1, 17, 1, 1},
    {{1, 40, 1, 3}, 1, 33, 1, 1},   /* a chunk of one channel */
    {{1, 33, 20, 20}, 1, 33, 1, 1}, /* more than a tile in every chunk */
    {{1, 64, 3, 5}, 1, 64, 2, 1},   /* reordered for a shuffle */
    {{2, 27, 4, 6}, 2, 27, 3, 1},
    {{1, 48, 2, 9}, 1, 48, 4, 1},
    {{2, 12, 5, 7}, 2, 3, 2, 2}, /* spread: the caller's has r times the rows and columns */
    {{2, 16, 5, 7}, 1, 3, 2, 2},
    {{1, 27, 3, 50}, 1, 3, 3, 3},
    {{1, 48, 4, 90}, 1, 3, 4, 4}, /* a tile and some of a row */
    {{1, 64, 2, 5}, 1, 1, 8, 8},
    {{1, 200, 2, 21}, 1, 3, 8, 8},    /* more groups than a chunk has: 3 x 8 = 24 are, 32 would fit */
    {{1, 640, 2, 3}, 1, 40, 4, 4},    /* 160 groups in chunks of 64 */
    {{1, 1, 700, 700}, 1, 1, 1, 1},   /* a plane of many tiles */
    {{5000, 3, 1, 1}, 4999, 3, 1, 1}, /* more images than a grid has rows of blocks */
    {{4, 12, 1200, 1}, 4, 3, 2, 2},   /* more lines likewise */
};

static int64_t caller_count(const exchange_case *c) {
    return (int64_t)c->images * c->channels * c->memory.height * c->memory.width * c->spread * c->spread;
}

/* factors, shifts: 0 without, 1 with. */
static void check_exchange(const exchange_case *c, dukd_type type, int factors, int shifts) {
    gpu_floats caller = gpu_floats_random(caller_count(c), 1, -1, 1),
               f = gpu_floats_random(c->channels, 2, -2, 2), s = gpu_floats_random(c->channels, 3, -1, 1);
    const dukd_exchange on_host = {.images = c->images,
                                   .channels = c->channels,
                                   .order = c->order,
                                   .spread = c->spread,
                                   .factors = factors ? f.host : NULL,
                                   .shifts = shifts ? s.host : NULL};
    dukd_exchange on_device = on_host;
    on_device.factors = factors ? f.device : NULL;
    on_device.shifts = shifts ? s.device : NULL;
    for (int sum = 0; sum < 2; sum++) {
        gpu_pair out = sum ? gpu_random(c->memory, type, 4, -1, 1) : gpu_empty(c->memory, type);
        dukd_run_import(&worker, &out.host, caller.host, &on_host, sum);
        GPU_OK(gpu_import(gpu_stream(), &out.device, caller.device, &on_device, sum));
        double *want = gpu_values(&out.host);
        gpu_check(sum ? "import, added" : "import", &out, want, 1e-6);
        if (!factors && !shifts) {
            for (int64_t i = 0; i < gpu_count(&out.host); i++) gpu_set(&out.host, i, want[i]);
            gpu_check_same("import, bits", &out, &out.host);
        }
        free(want);
        gpu_pair_free(&out);
    }
    gpu_pair in = gpu_random(c->memory, type, 5, -1, 1);
    gpu_floats to = gpu_floats_empty(caller_count(c));
    double *want = gpu_doubles(to.count);
    dukd_run_export(&worker, to.host, &in.host, &on_host);
    for (int64_t i = 0; i < to.count; i++) want[i] = (double)to.host[i];
    GPU_OK(gpu_export(gpu_stream(), to.device, &in.device, &on_device));
    gpu_check_floats("export", &to, want, 1e-6);
    free(want);
    gpu_pair_free(&in);
    gpu_floats_free(&to);
    gpu_floats_free(&caller);
    gpu_floats_free(&f);
    gpu_floats_free(&s);
}

static void test_exchanges(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof exchanges / sizeof *exchanges; k++)
        for (int t = 0; t < 2; t++) {
            check_exchange(&exchanges[k], (dukd_type)t, 1, 1);
            if (caller_count(&exchanges[k]) > 100000) continue;
            check_exchange(&exchanges[k], (dukd_type)t, 0, 0);
            check_exchange(&exchanges[k], (dukd_type)t, 1, 0);
            check_exchange(&exchanges[k], (dukd_type)t, 0, 1);
        }
}

/* A NaN and infinities come through, at their places. */
static void test_not_finite(void **state) {
    static const double in[] = {NAN, INFINITY, -INFINITY, 1, 2, 3};
    const dukd_exchange x = {.images = 1, .channels = 3, .order = 1, .spread = 1};
    (void)state;
    for (int t = 0; t < 2; t++) {
        gpu_floats caller = gpu_floats_random(6, 1, 0, 1), back = gpu_floats_empty(6);
        gpu_pair out = gpu_empty((gpu_size){1, 3, 1, 2}, (dukd_type)t);
        for (int i = 0; i < 6; i++) caller.host[i] = (float)in[i];
        gpu_floats_push(&caller);
        GPU_OK(gpu_import(gpu_stream(), &out.device, caller.device, &x, 0));
        gpu_check("import", &out, (double[]){in[0], in[2], in[4], in[1], in[3], in[5]}, 0);
        GPU_OK(gpu_export(gpu_stream(), back.device, &out.device, &x));
        gpu_check_floats("export", &back, in, 0);
        gpu_floats_free(&caller);
        gpu_floats_free(&back);
        gpu_pair_free(&out);
    }
}

/* ---------------------------------------------------------------- nothing to do, and failures */

static dukd_tensor the_small, the_large; /* a pixel of 4 channels, and its shuffle by 2 */
static gpu_floats given;                 /* their memory, and the caller's */

static int every_call(int64_t i, void *stream) {
    const dukd_exchange x = {.images = 1, .channels = 4, .order = 1, .spread = 1};
    switch (i) {
    case 0:
        return gpu_shuffle(stream, &the_large, &the_small, 2, 2);
    case 1:
        return gpu_shuffle(stream, &the_large, &the_small, 2, 1);
    case 2:
        return gpu_unshuffle(stream, &the_small, &the_large, 2, 2, 0);
    case 3:
        return gpu_unshuffle(stream, &the_small, &the_large, 2, 1, 1);
    case 4:
        return gpu_import(stream, &the_small, given.device + 8, &x, 0);
    default:
        return gpu_export(stream, given.device + 8, &the_small, &x);
    }
}
enum { CALLS = 6 };

static void give(int32_t images) {
    given = gpu_floats_zeros(12);
    the_small = (dukd_tensor){.data = given.device, .images = images, .channels = 4, .height = 1, .width = 1};
    the_large =
        (dukd_tensor){.data = given.device + 4, .images = images, .channels = 1, .height = 2, .width = 2};
}

static void test_failures(void **state) {
    (void)state;
    give(1);
    gpu_check_failures(every_call, CALLS);
    /* an order 1 shuffle that no graph has is refused, not run with too small a tile */
    assert_int_not_equal(gpu_shuffle(gpu_stream(), &the_large, &the_small, 65, 1), 0);
    gpu_floats_free(&given);
}

static void test_nothing(void **state) {
    (void)state;
    give(0);
    for (int64_t i = 0; i < CALLS; i++) GPU_OK(every_call(i, gpu_stream()));
    gpu_wait();
    gpu_floats_free(&given);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shuffles), cmocka_unit_test(test_exchanges), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_nothing),  cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_exchange, tests);
}
