/* dukd-bench-ops: the operations of ops.h against this machine's own limits in the same run: memory traffic against its copy,
 * attention's products against its multiply-add peak.
 *
 * Shapes: SwinIR's (180 and 60 channels, 6 heads, window 8; 8 images of 48 x 48) and RCAN's (64 channels, 16 images). --cpu
 * counts the processor time of one thread instead of seconds, for machines that others use at the same time. The best of several
 * rounds counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_copy.h"
#include "engine/bench/bench_clock.h"
#include "engine/bench/fma_peak.h"
#include "engine/ops.h"

enum { SIDE = 48, HEADS = 6, WINDOW = 8 };

typedef struct {
    dukd_worker w;
    dukd_type type;
    double seconds, peak, copy; /* for each operation; multiply-adds a second; bytes a second */
    const char *only;
} options;

/* What an operation works on; memory is made once and shared by all. */
typedef struct {
    options o;
    dukd_tensor a, b, c, one, wide; /* wide: three times the channels */
    float *weight, *sums, *table;
    void *scratch;
    dukd_attention attention;
} bench;

static void *memory(int64_t bytes) {
    void *p = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "dukd-bench-ops: out of memory\n");
        exit(1);
    }
    return p;
}

/* Small numbers, which in bf16 are small too. */
static dukd_tensor tensor(dukd_type type, int32_t images, int32_t channels, int32_t side) {
    dukd_tensor t = {.images = images, .channels = channels, .height = side, .width = side, .type = type};
    int64_t count = (int64_t)images * channels * side * side;
    t.data = memory(count * dukd_type_bytes(type));
    for (int64_t i = 0; i < count; i++) {
        float v = (float)(i * 2654435761u % 1000) / 500.f - 1;
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        if (type == DUKD_TYPE_F32)
            ((float *)t.data)[i] = v;
        else
            ((uint16_t *)t.data)[i] = (uint16_t)(bits >> 16);
    }
    return t;
}

static float *floats(int64_t count) {
    float *p = memory(count * (int64_t)sizeof *p);
    for (int64_t i = 0; i < count; i++) p[i] = (float)(i % 7) * .1f;
    return p;
}

/* ---- the operations ---- */

static void gelu(bench *b) {
    dukd_run_gelu(&b->o.w, &b->c, &b->a);
}
static void gelu_back(bench *b) {
    dukd_run_gelu_back(&b->o.w, &b->c, &b->a);
}
static void sigmoid(bench *b) {
    dukd_run_sigmoid(&b->o.w, &b->c, &b->a);
}
static void leaky(bench *b) {
    dukd_run_leaky_relu(&b->o.w, &b->c, &b->a, .1f);
}
static void norm(bench *b) {
    dukd_run_layer_norm(&b->o.w, &b->c, &b->a, b->weight, b->weight, 1e-5f, b->sums);
}
static void norm_back(bench *b) {
    dukd_run_layer_norm_back(&b->o.w, &b->c, &b->b, &b->a, b->weight, b->sums, b->table, b->table + 1024, 0,
                             b->scratch);
}
static void norm_back_sum(bench *b) {
    dukd_run_layer_norm_back(&b->o.w, &b->c, &b->b, &b->a, b->weight, b->sums, b->table, b->table + 1024, 1,
                             b->scratch);
}
static void mean(bench *b) {
    dukd_run_mean(&b->o.w, &b->one, &b->a, b->scratch);
}
static void mean_back(bench *b) {
    dukd_run_mean_back(&b->o.w, &b->c, &b->one, 1);
}
static void mul(bench *b) {
    dukd_run_mul(&b->o.w, &b->c, &b->a, &b->one, &b->b, 1);
}
static void mul_back(bench *b) {
    dukd_run_mul_back(&b->o.w, &b->c, &b->a, &b->one, 1, 0);
}
static void mul_back_channels(bench *b) {
    dukd_run_mul_back_channels(&b->o.w, &b->one, &b->b, &b->a, 1, 0, b->scratch);
}
static void slice(bench *b) {
    dukd_run_copy_channels(&b->o.w, &b->c, 0, &b->wide, b->c.channels, b->c.channels, 0);
}
static void attention(bench *b) {
    dukd_run_attention(&b->o.w, &b->c, &b->wide, &b->attention, b->scratch);
}
static dukd_tensor d_wide;
static void attention_back(bench *b) {
    dukd_run_attention_back(&b->o.w, &d_wide, &b->c, &b->wide, &b->attention, b->table, b->scratch);
}

typedef struct {
    const char *name;
    void (*run)(bench *);
    double maps;  /* maps of C channels read and written */
    int products; /* of attention, each of d multiply-adds a pair of tokens */
} operation;

static const operation operations[] = {
    {"gelu", gelu, 2, 0},
    {"gelu back", gelu_back, 3, 0},
    {"sigmoid", sigmoid, 2, 0},
    {"leaky relu", leaky, 2, 0},
    {"layer norm", norm, 2, 0},
    {"layer norm back", norm_back, 3, 0},
    {"layer norm back, sum", norm_back_sum, 4, 0},
    {"mean", mean, 1, 0},
    {"mean back, sum", mean_back, 2, 0},
    {"mul by channels + addend", mul, 3, 0},
    {"mul back", mul_back, 2, 0},
    {"mul back, channels", mul_back_channels, 2, 0},
    {"slice", slice, 2, 0},
    {"attention", attention, 4, 2},
    {"attention back", attention_back, 7, 5},
};

static void measure(bench *b, const operation *p) {
    double best = 1e30, spent = 0;
    p->run(b);
    for (int rounds = 0; rounds < 3 || spent < b->o.seconds; rounds++) {
        double begin = dukd_bench_now();
        p->run(b);
        double took = dukd_bench_now() - begin;
        spent += took;
        if (took < best) best = took;
    }
    double numbers = (double)b->a.images * SIDE * SIDE * b->a.channels;
    double bytes = numbers * p->maps * (double)dukd_type_bytes(b->o.type);
    double adds = numbers * p->products * WINDOW * WINDOW;
    printf("  %-26s %8.3f ms  %6.1f GB/s  %5.2f of copying", p->name, best * 1e3, bytes / best * 1e-9,
           bytes / best / b->o.copy);
    if (adds > 0)
        printf("  %6.1f G multiply-adds/s, %4.1f %% of the peak", adds / best * 1e-9,
               b->o.peak > 0 ? 100 * adds / best / b->o.peak : 0.);
    printf("\n");
}

static void bench_shape(const options *o, int32_t images, int32_t channels) {
    bench b = {.o = *o};
    b.a = tensor(o->type, images, channels, SIDE);
    b.b = tensor(o->type, images, channels, SIDE);
    b.c = tensor(o->type, images, channels, SIDE);
    b.one = tensor(o->type, images, channels, 1);
    b.wide = tensor(o->type, images, 3 * channels, SIDE);
    d_wide = tensor(o->type, images, 3 * channels, SIDE);
    b.weight = floats(channels);
    b.sums = floats(2 * (int64_t)images * SIDE * SIDE);
    b.table = floats((2 * WINDOW - 1) * (2 * WINDOW - 1) * HEADS + 2048);
    b.attention = (dukd_attention){.heads = HEADS, .window = WINDOW, .shift = WINDOW / 2, .table = b.table};
    int64_t bytes[] = {dukd_run_attention_back_scratch(&o->w, &b.wide, &b.attention),
                       dukd_run_attention_scratch(&o->w, &b.wide, &b.attention), dukd_run_pool_scratch(&b.a),
                       dukd_run_mul_back_channels_scratch(&b.a), dukd_run_layer_norm_back_scratch(&b.a)};
    int64_t most = 0;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        if (bytes[i] > most) most = bytes[i];
    b.scratch = memory(most);
    printf("%d images of %d x %d, %d channels:\n", (int)images, SIDE, SIDE, (int)channels);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        const operation *p = &operations[i];
        if (p->products && channels % HEADS) continue;
        if (o->only && !strstr(p->name, o->only)) continue;
        measure(&b, p);
    }
    void *gone[] = {b.a.data,    b.b.data, b.c.data, b.one.data, b.wide.data,
                    d_wide.data, b.weight, b.sums,   b.table,    b.scratch};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) free(gone[i]);
}

/* The fastest way of copying as much as one map of the shapes, bytes read and written a second. */
static double copy_rate(int threads) {
    enum { BYTES = 16 << 20 };
    bench_copy kinds[BENCH_COPIES];
    char *from = memory(BYTES), *to = memory(BYTES);
    double best = 0;
    memset(from, 1, BYTES);
    memset(to, 2, BYTES);
    int count = bench_list_copies(kinds);
    for (int k = 0; k < count; k++)
        for (int round = 0; round < 8; round++) {
            double begin = dukd_bench_now();
            bench_run_copy(kinds[k].copy, to, from, BYTES, threads);
            double rate = 2. * BYTES / (dukd_bench_now() - begin);
            if (rate > best) best = rate;
        }
    free(from);
    free(to);
    return best;
}

static const char usage[] =
    "usage: dukd-bench-ops [--bf16] [--isa base|avx2|avx512|avx512_bf16] [--threads N] [--cpu] [--seconds S] "
    "[--only "
    "NAME]\n"
    "Times the engine's operations. Example: dukd-bench-ops --bf16 --only attention\n";

static int read_options(options *o, int argc, char **argv) {
    static const char *const isas[] = {"base", "avx2", "avx512", "avx512_bf16"};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(a, "--bf16") == 0) {
            o->type = DUKD_TYPE_BF16;
        } else if (strcmp(a, "--cpu") == 0) {
            dukd_bench_count_cpu();
            o->w.threads = 1;
        } else if (strcmp(a, "--threads") == 0) {
            o->w.threads = atoi(value);
            i++;
        } else if (strcmp(a, "--seconds") == 0) {
            o->seconds = atof(value);
            i++;
        } else if (strcmp(a, "--only") == 0) {
            o->only = value;
            i++;
        } else if (strcmp(a, "--isa") == 0) {
            int k = 0;
            while (k < DUKD_ISA_COUNT && strcmp(value, isas[k]) != 0) k++;
            if (k == DUKD_ISA_COUNT) return 0;
            o->w.isa = (dukd_isa)k;
            i++;
        } else {
            return 0;
        }
    }
    return o->w.threads > 0;
}

static dukd_isa best_isa(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return __builtin_cpu_supports("avx512bf16") ? DUKD_ISA_AVX512_BF16 : DUKD_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return DUKD_ISA_AVX2;
#endif
    return DUKD_ISA_BASE;
}

int main(int argc, char **argv) {
    options o = {.w = {.isa = best_isa(), .threads = 1}, .seconds = .2};
    if (!read_options(&o, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    o.copy = copy_rate(o.w.threads);
    o.peak = dukd_fma_peak(o.w.threads, 0);
    printf("%s, %d threads; copying %.1f GB/s; f32 multiply-add peak %.1f G/s\n",
           o.type == DUKD_TYPE_BF16 ? "bf16" : "f32", (int)o.w.threads, o.copy * 1e-9, o.peak * 1e-9);
    bench_shape(&o, 8, 180);
    bench_shape(&o, 8, 60);
    bench_shape(&o, 16, 64);
    return 0;
}
