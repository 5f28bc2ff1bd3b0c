/* gpu_attention.cu against the formula of graph.h in double and against the processor's attention (ops.h), forward and backward: windows of
 * one tile and of several, heads of 1 to 40 channels, shifts, images of one window, more windows than blocks, scores whose powers of e are no
 * numbers without their maximum. */
#include "gpu_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ops.h"

static const dukd_worker worker = {.isa = DUKD_ISA_BASE, .threads = 1};

typedef struct {
    int32_t images, down, across, window, shift, heads, d;
} sample;

static const sample samples[] = {
    {1, 1, 1, 1, 0, 1, 1},  {3, 1, 1, 2, 0, 1, 1},   {2, 3, 2, 2, 1, 2, 3},   {1, 2, 2, 7, 3, 3, 17},
    {3, 1, 2, 8, 4, 6, 10}, {1, 2, 2, 8, 4, 6, 30},  {1, 2, 1, 8, 0, 1, 32},  {1, 1, 2, 8, 4, 3, 16},
    {1, 2, 1, 8, 4, 2, 33}, {1, 1, 2, 9, 8, 1, 40},  {1, 2, 2, 9, 4, 2, 30},  {1, 1, 2, 16, 8, 2, 5},
    {1, 1, 1, 20, 7, 1, 4}, {1, 27, 20, 1, 0, 1, 1}, {1, 24, 23, 2, 1, 2, 2}, {1, 18, 15, 9, 0, 1, 1},
};

typedef struct {
    sample z;
    int64_t h, w, c, tokens, entries; /* of the table */
    const double *qkv, *table, *e;
    double *out, *d_qkv, *d_table;
} reference;

/* Pixel of token t of window (wy, wx) and the side of the seams that it comes from, as BasicSR rolls and masks. */
static int64_t token(const reference *r, int64_t n, int64_t wy, int64_t wx, int64_t t, int *region) {
    const int64_t y = wy * r->z.window + t / r->z.window, x = wx * r->z.window + t % r->z.window,
                  s = r->z.shift;
    *region = 0;
    if (s > 0) {
        const int a = y < r->h - r->z.window ? 0 : y < r->h - s ? 1 : 2;
        const int b = x < r->w - r->z.window ? 0 : x < r->w - s ? 1 : 2;
        *region = 3 * a + b;
    }
    return (n * r->h + (y + s) % r->h) * r->w + (x + s) % r->w;
}

static void head_of_window(const reference *r, int64_t n, int64_t wy, int64_t wx, int64_t head) {
    const int64_t T = r->tokens, d = r->z.d, side = r->z.window, span = 2 * side - 1;
    int64_t pixel[400];
    int region[400];
    double p[400], dp[400];
    assert_true(T <= 400);
    for (int64_t t = 0; t < T; t++) pixel[t] = token(r, n, wy, wx, t, &region[t]);
    for (int64_t i = 0; i < T; i++) {
        const double *q = r->qkv + pixel[i] * 3 * r->c + head * d, *e = r->e + pixel[i] * r->c + head * d;
        double top = -INFINITY, sum = 0, dot = 0;
        for (int64_t j = 0; j < T; j++) {
            const double *k = r->qkv + pixel[j] * 3 * r->c + r->c + head * d;
            const int64_t row = (i / side - j / side + side - 1) * span + i % side - j % side + side - 1;
            double s = 0;
            for (int64_t c = 0; c < d; c++) s += q[c] * k[c];
            p[j] = s / sqrt((double)d) + r->table[row * r->z.heads + head];
            if (region[i] != region[j]) p[j] -= 100;
            if (p[j] > top) top = p[j];
        }
        for (int64_t j = 0; j < T; j++) sum += p[j] = exp(p[j] - top);
        for (int64_t j = 0; j < T; j++) {
            const double *v = r->qkv + pixel[j] * 3 * r->c + 2 * r->c + head * d;
            p[j] /= sum;
            dp[j] = 0;
            for (int64_t c = 0; c < d; c++) {
                r->out[pixel[i] * r->c + head * d + c] += p[j] * v[c];
                r->d_qkv[pixel[j] * 3 * r->c + 2 * r->c + head * d + c] += p[j] * e[c];
                dp[j] += e[c] * v[c];
            }
            dot += p[j] * dp[j];
        }
        for (int64_t j = 0; j < T; j++) {
            const double ds = p[j] * (dp[j] - dot), *k = r->qkv + pixel[j] * 3 * r->c + r->c + head * d;
            const int64_t row = (i / side - j / side + side - 1) * span + i % side - j % side + side - 1;
            r->d_table[row * r->z.heads + head] += ds;
            for (int64_t c = 0; c < d; c++) {
                r->d_qkv[pixel[i] * 3 * r->c + head * d + c] += ds * k[c] / sqrt((double)d);
                r->d_qkv[pixel[j] * 3 * r->c + r->c + head * d + c] += ds * q[c] / sqrt((double)d);
            }
        }
    }
}

static reference prepare(const sample *z) {
    reference r = {.z = *z,
                   .h = (int64_t)z->down * z->window,
                   .w = (int64_t)z->across * z->window,
                   .c = (int64_t)z->heads * z->d,
                   .tokens = (int64_t)z->window * z->window,
                   .entries = (2 * (int64_t)z->window - 1) * (2 * z->window - 1) * z->heads};
    r.out = gpu_doubles(z->images * r.h * r.w * r.c);
    r.d_qkv = gpu_doubles(z->images * r.h * r.w * r.c * 3);
    r.d_table = gpu_doubles(r.entries);
    return r;
}

static void run_reference(const reference *r) {
    for (int64_t n = 0; n < r->z.images; n++)
        for (int64_t i = 0; i < (int64_t)r->z.down * r->z.across; i++)
            for (int64_t head = 0; head < r->z.heads; head++)
                head_of_window(r, n, i / r->z.across, i % r->z.across, head);
}

static double *numbers(const gpu_floats *p) {
    double *x = gpu_doubles(p->count);
    for (int64_t i = 0; i < p->count; i++) x[i] = (double)p->host[i];
    return x;
}

static void *host_scratch(int64_t bytes) {
    void *p = aligned_alloc(64, ((size_t)bytes + 64) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* What the device has, against the processor's; d_table's host has what was there before. */
static void check_with_processor(const reference *r, const gpu_pair *qkv, const gpu_pair *e,
                                 const gpu_pair *out, const gpu_pair *d_qkv, const gpu_floats *table,
                                 const gpu_floats *d_table, double tolerance) {
    const dukd_attention a = {
        .heads = r->z.heads, .window = r->z.window, .shift = r->z.shift, .table = table->host};
    const int64_t bytes = dukd_run_attention_scratch(&worker, &qkv->host, &a),
                  back_bytes = dukd_run_attention_back_scratch(&worker, &qkv->host, &a);
    void *room = host_scratch(bytes > back_bytes ? bytes : back_bytes);
    dukd_run_attention(&worker, &out->host, &qkv->host, &a, room);
    dukd_run_attention_back(&worker, &d_qkv->host, &e->host, &qkv->host, &a, d_table->host, room);
    double *cpu = gpu_values(&out->host), *cpu_back = gpu_values(&d_qkv->host), *cpu_table = numbers(d_table);
    gpu_check("out, as on the processor", out, cpu, tolerance);
    gpu_check("gradient, as on the processor", d_qkv, cpu_back, tolerance);
    gpu_check_floats("table's gradient, as on the processor", d_table, cpu_table, tolerance);
    free(room);
    free(cpu);
    free(cpu_back);
    free(cpu_table);
}

/* `size`: of q and k. */
static void check_sample(const sample *z, dukd_type type, double size, double tolerance) {
    reference r = prepare(z);
    const gpu_size of_out = {z->images, (int32_t)r.c, (int32_t)r.h, (int32_t)r.w},
                   of_qkv = {z->images, 3 * (int32_t)r.c, (int32_t)r.h, (int32_t)r.w};
    gpu_pair qkv = gpu_random(of_qkv, type, 1, -size, size), e = gpu_random(of_out, type, 2, -1, 1);
    gpu_pair out = gpu_empty(of_out, type), d_qkv = gpu_empty(of_qkv, type);
    gpu_floats table = gpu_floats_random(r.entries, 3, -1, 1),
               d_table = gpu_floats_random(r.entries, 4, -1, 1);
    r.qkv = gpu_values(&qkv.host);
    r.e = gpu_values(&e.host);
    r.table = numbers(&table);
    double *wide = numbers(&d_table);
    memcpy(r.d_table, wide, (size_t)r.entries * sizeof *wide);
    free(wide);
    run_reference(&r);

    const gpu_attention a = {
        .heads = z->heads, .window = z->window, .shift = z->shift, .table = table.device};
    void *scratch = gpu_alloc(gpu_attention_scratch(&qkv.device, &a));
    GPU_OK(gpu_attention_run(gpu_stream(), &out.device, &qkv.device, &a, scratch));
    gpu_wait();
    gpu_free(scratch);
    scratch = gpu_alloc(gpu_attention_back_scratch(&qkv.device, &a));
    GPU_OK(
        gpu_attention_back(gpu_stream(), &d_qkv.device, &e.device, &qkv.device, &a, d_table.device, scratch));

    gpu_check("out", &out, r.out, tolerance);
    gpu_check("gradient", &d_qkv, r.d_qkv, tolerance);
    if (r.tokens <= 256) /* more, and the processor's operation has no room for them */
        check_with_processor(&r, &qkv, &e, &out, &d_qkv, &table, &d_table, tolerance);
    gpu_check_floats("table's gradient", &d_table, r.d_table, tolerance);
    gpu_free(scratch);
    free((void *)(uintptr_t)r.qkv);
    free((void *)(uintptr_t)r.e);
    free((void *)(uintptr_t)r.table);
    free(r.out);
    free(r.d_qkv);
    free(r.d_table);
    gpu_pair_free(&qkv);
    gpu_pair_free(&e);
    gpu_pair_free(&out);
    gpu_pair_free(&d_qkv);
    gpu_floats_free(&table);
    gpu_floats_free(&d_table);
}

static void test_attention(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        check_sample(&samples[i], DUKD_TYPE_F32, 2, 1e-5);
        if (i < 13) check_sample(&samples[i], DUKD_TYPE_BF16, 2, 1e-5);
    }
}

static void test_large_scores(void **state) {
    (void)state;
    static const sample one = {1, 1, 2, 8, 4, 1, 10}, many = {1, 1, 2, 12, 5, 1, 10};
    check_sample(&one, DUKD_TYPE_F32, 12, 3e-4);
    check_sample(&many, DUKD_TYPE_F32, 12, 3e-4);
}

/* A NaN of q, k or v reaches what is made of it in its head of its window, and nothing else. */
static void check_nan(int32_t window) {
    const int64_t side = window, row = 2 * side;
    const gpu_size of_qkv = {1, 60, window, 2 * window}, of_out = {1, 20, window, 2 * window};
    gpu_pair qkv = gpu_random(of_qkv, DUKD_TYPE_F32, 1, -1, 1), out = gpu_empty(of_out, DUKD_TYPE_F32);
    gpu_pair e = gpu_random(of_out, DUKD_TYPE_F32, 2, -1, 1), d_qkv = gpu_empty(of_qkv, DUKD_TYPE_F32);
    const int64_t entries = (2 * side - 1) * (2 * side - 1) * 2;
    gpu_floats table = gpu_floats_random(entries, 3, -1, 1), d_table = gpu_floats_random(entries, 4, -1, 1);
    const gpu_attention a = {.heads = 2, .window = window, .table = table.device};
    void *scratch = gpu_alloc(gpu_attention_back_scratch(&qkv.device, &a));
    for (int part = 0; part < 3; part++) { /* of head 0, pixel (2, 3) */
        const int64_t at = (2 * row + 3) * 60 + part * 20 + 4;
        const double before = gpu_get(&qkv.host, at);
        gpu_set(&qkv.host, at, NAN);
        gpu_push(&qkv);
        GPU_OK(gpu_attention_run(gpu_stream(), &out.device, &qkv.device, &a, NULL));
        GPU_OK(gpu_attention_back(gpu_stream(), &d_qkv.device, &e.device, &qkv.device, &a, d_table.device,
                                  scratch));
        gpu_pull(&out);
        gpu_pull(&d_qkv);
        for (int64_t i = 0; i < gpu_count(&out.host); i++) {
            const int64_t c = i % 20, x = i / 20 % row, y = i / 20 / row;
            int hit = x < side && c < 10;
            if (part == 0) hit = hit && x == 3 && y == 2;
            if (part == 2) hit = hit && c == 4;
            assert_int_equal(!!isnan(gpu_get(&out.host, i)), hit);
        }
        for (int64_t i = 0; i < gpu_count(&d_qkv.host); i++) {
            const int64_t c = i % 20, x = i / 60 % row;
            if (x >= side || c >= 10) assert_false(isnan(gpu_get(&d_qkv.host, i)));
        }
        assert_true(isnan(gpu_get(&d_qkv.host, (2 * row + 3) * 60 + 4))); /* of q there */
        gpu_floats_pull(&d_table);
        for (int64_t i = 0; i < entries; i += 2)
            assert_false(isnan(d_table.host[i + 1])); /* of the other head */
        assert_true(isnan(d_table.host[entries / 4 * 2]) || isnan(d_table.host[entries / 2 - 1]));
        gpu_set(&qkv.host, at, before);
        gpu_floats_free(&d_table);
        d_table = gpu_floats_random(entries, 4, -1, 1);
    }
    gpu_free(scratch);
    gpu_pair_free(&qkv);
    gpu_pair_free(&out);
    gpu_pair_free(&e);
    gpu_pair_free(&d_qkv);
    gpu_floats_free(&table);
    gpu_floats_free(&d_table);
}

static void test_nan(void **state) {
    (void)state;
    check_nan(8);
    check_nan(9);
}

static struct {
    gpu_pair qkv, d_qkv, e, out;
    gpu_floats table, d_table;
    void *scratch;
} given;

static int call(int64_t i, void *stream) {
    const gpu_attention a = {.heads = 1, .window = i == 2 ? 9 : 3, .table = given.table.device};
    if (i == 0) return gpu_attention_run(stream, &given.out.device, &given.qkv.device, &a, NULL);
    return gpu_attention_back(stream, &given.d_qkv.device, &given.e.device, &given.qkv.device, &a,
                              given.d_table.device, given.scratch);
}

static void test_failures(void **state) {
    (void)state;
    const gpu_size of_qkv = {1, 6, 9, 9}, of_out = {1, 2, 9, 9};
    const gpu_attention a = {.heads = 1, .window = 9}, small = {.heads = 1, .window = 3};
    given.qkv = gpu_random(of_qkv, DUKD_TYPE_F32, 1, -1, 1);
    given.d_qkv = gpu_empty(of_qkv, DUKD_TYPE_F32);
    given.e = gpu_random(of_out, DUKD_TYPE_F32, 2, -1, 1);
    given.out = gpu_empty(of_out, DUKD_TYPE_F32);
    given.table = gpu_floats_random(17 * 17, 3, -1, 1);
    given.d_table = gpu_floats_random(17 * 17, 4, -1, 1);
    const int64_t bytes = gpu_attention_back_scratch(&given.qkv.device, &a);
    assert_true(bytes > gpu_attention_back_scratch(&given.qkv.device, &small));
    given.scratch = gpu_alloc(bytes);
    gpu_check_failures(call, 3);
    gpu_wait();
    gpu_free(given.scratch);
    gpu_pair_free(&given.qkv);
    gpu_pair_free(&given.d_qkv);
    gpu_pair_free(&given.e);
    gpu_pair_free(&given.out);
    gpu_floats_free(&given.table);
    gpu_floats_free(&given.d_table);
    given.qkv.device = (dukd_tensor){.channels = 6, .height = 9, .width = 9};
    assert_int_equal(gpu_attention_back_scratch(&given.qkv.device, &a), 0);
    for (int i = 0; i < 3; i++) GPU_OK(call(i, gpu_stream())); /* no images */
    gpu_wait();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_failures),
    };
    return GPU_RUN(gpu_load_attention, tests);
}
