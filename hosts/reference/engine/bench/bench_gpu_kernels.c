/* The CUDA engine's own kernels against the bandwidth of a copy. Each case says how many bytes it must move: every operand once. Operands
 * come from DRAM: there are so many sets of them that none is in L2 when its turn comes. */
#include <stdio.h>
#include <string.h>

#include "engine/bench/bench_gpu.h"
#include "engine/cuda/gpu_kernels.h"

enum { TABLE = 15 * 15 * 6 };

/* Operands of one call: three tensors of the case's shape, one three times as wide, flat arrays; all in one piece of memory. */
typedef struct {
    dukd_tensor a, b, c, wide, pooled;
    float *arrays[4], *table;
    dukd_optimizer_scalars *scalars;
    int32_t *flag;
} operands;

typedef struct kernel_case kernel_case;
struct kernel_case {
    const char *name;
    int (*launch)(void *stream, const operands *o, void *scratch);
    double reads, writes; /* tensors of the case's shape; of arrays: of `count` f32 */
    int32_t on_arrays;    /* on flat arrays, not on tensors */
    int32_t channels;     /* of the tensors */
    double multiply_adds; /* a pixel; 0: bound by memory alone */
};

static int64_t count_of(const dukd_tensor *t) {
    return (int64_t)t->images * t->height * t->width * t->channels;
}

/* ---- what is launched ---- */

static int relu(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_leaky_relu(s, &o->b, &o->a, 0);
}
static int relu_back(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_leaky_relu_back(s, &o->b, &o->a, 0);
}
static int gelu(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_gelu(s, &o->b, &o->a);
}
static int gelu_back(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_gelu_back(s, &o->b, &o->a);
}
static int add(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_add(s, &o->c, &o->a, &o->b);
}
static int epilogue(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_epilogue(s, &o->b, &o->a, o->arrays[0], DUKD_ACT_RELU, 0, NULL);
}
static int image_add(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_image_add(s, &o->c, &o->a, o->arrays[0], &o->b);
}
static int channel_sums(void *s, const operands *o, void *scratch) {
    return gpu_channel_parts(s, scratch, &o->a);
}
static int import(void *s, const operands *o, void *scratch) {
    const dukd_exchange x = {.images = o->a.images, .channels = o->a.channels, .order = 1, .spread = 1};
    (void)scratch;
    return gpu_import(s, &o->a, o->b.data, &x, 0);
}
static int export(void *s, const operands *o, void *scratch) {
    const dukd_exchange x = {.images = o->a.images, .channels = o->a.channels, .order = 1, .spread = 1};
    (void)scratch;
    return gpu_export(s, o->b.data, &o->a, &x);
}
static int shuffle(void *s, const operands *o, void *scratch) {
    dukd_tensor out = o->b;
    (void)scratch;
    out.channels /= 4;
    out.height *= 2;
    out.width *= 2;
    return gpu_shuffle(s, &out, &o->a, 2, 2);
}
static int mean(void *s, const operands *o, void *scratch) {
    return gpu_mean(s, &o->pooled, &o->a, scratch);
}
static int deviation(void *s, const operands *o, void *scratch) {
    return gpu_deviation(s, &o->pooled, &o->a, scratch);
}
static int channel_factors(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_mul(s, &o->c, &o->a, &o->pooled, &o->b, 1);
}
static int norm(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_layer_norm(s, &o->b, &o->a, o->arrays[0], o->arrays[1], 1e-5f, o->arrays[2]);
}
static int norm_back(void *s, const operands *o, void *scratch) {
    return gpu_layer_norm_back(s, &o->c, &o->b, &o->a, o->arrays[0], o->arrays[2], o->arrays[1], o->arrays[3],
                               0, scratch);
}
static gpu_attention attention_of(const operands *o) {
    return (gpu_attention){.heads = 6, .window = 8, .shift = 4, .table = o->table};
}
static int attention(void *s, const operands *o, void *scratch) {
    const gpu_attention a = attention_of(o);
    return gpu_attention_run(s, &o->a, &o->wide, &a, scratch);
}
static int attention_back(void *s, const operands *o, void *scratch) {
    const gpu_attention a = attention_of(o);
    dukd_tensor d_qkv = o->wide; /* over the source: what is timed does not depend on what is in it */
    d_qkv.data = o->arrays[0];
    return gpu_attention_back(s, &d_qkv, &o->a, &o->wide, &a, o->table, scratch);
}
static int adam(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_array_adam(s, o->scalars, o->flag, o->arrays[0], o->arrays[1], o->arrays[2], o->arrays[3],
                          count_of(&o->a));
}
static int average(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_array_average(s, o->flag, o->arrays[0], o->arrays[1], .999f, .001f, count_of(&o->a));
}
static int nonfinite(void *s, const operands *o, void *scratch) {
    (void)scratch;
    return gpu_array_note_nonfinite(s, o->arrays[0], count_of(&o->a), o->flag);
}

/* Products of attention: 2 C 64 multiply-adds a pixel forward, 5 of these products with what is computed again. */
static const kernel_case cases[] = {
    {"relu", relu, 1, 1, 0, 64, 0},
    {"relu, gradient", relu_back, 2, 1, 0, 64, 0},
    {"gelu", gelu, 1, 1, 0, 360, 0},
    {"gelu, gradient", gelu_back, 2, 1, 0, 360, 0},
    {"add", add, 2, 1, 0, 64, 0},
    {"bias and relu", epilogue, 1, 1, 0, 64, 0},
    {"drop path", image_add, 2, 1, 0, 180, 0},
    {"bias, gradient", channel_sums, 1, 0, 0, 64, 0},
    {"import", import, 1, 1, 0, 64, 0},
    {"export", export, 1, 1, 0, 64, 0},
    {"import of images", import, 1, 1, 0, 3, 0},
    {"pixel shuffle", shuffle, 1, 1, 0, 64, 0},
    {"mean", mean, 1, 0, 0, 64, 0},
    {"deviation", deviation, 1, 0, 0, 64, 0},
    {"channel factors", channel_factors, 2, 1, 0, 64, 0},
    {"layer norm", norm, 1, 1, 0, 180, 0},
    {"layer norm, gradient", norm_back, 2, 1, 0, 180, 0},
    {"attention", attention, 3, 1, 0, 180, 2. * 180 * 64},
    {"attention, gradient", attention_back, 4, 3, 0, 180, 5. * 180 * 64},
    {"adam", adam, 4, 3, 1, 64, 0},
    {"average of weights", average, 2, 1, 1, 64, 0},
    {"finite?", nonfinite, 1, 0, 1, 64, 0},
};

/* ---- measuring ---- */

typedef struct {
    const kernel_case *of;
    void *stream, *scratch;
    char *memory;
    operands sets[DUKD_BENCH_GPU_SETS];
} kernel_run;

static int launch(void *ctx, int32_t set) {
    const kernel_run *r = ctx;
    return r->of->launch(r->stream, &r->sets[set], r->scratch);
}

static int64_t padded(int64_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* Room of one set: 3 tensors, one of three times the channels, its gradient and the flat arrays behind. */
static int64_t layout(operands *o, char *at, const dukd_bench_gpu *b, const kernel_case *c, dukd_type type) {
    const dukd_tensor t = {NULL, b->batch, c->channels, b->side, b->side, type, DUKD_NHWC};
    const int64_t one = padded(count_of(&t) * 4);
    const char *begin = at;
    dukd_tensor *const tensors[] = {&o->a, &o->b, &o->c};
    for (int i = 0; i < 3; i++, at += one) {
        *tensors[i] = t;
        tensors[i]->data = at;
    }
    o->pooled = t;
    o->pooled.height = o->pooled.width = 1;
    o->pooled.data = at;
    at += padded((int64_t)b->batch * c->channels * 4);
    o->wide = t;
    o->wide.channels *= 3;
    o->wide.data = at;
    at += 3 * one;
    for (int i = 0; i < 4; i++, at += one) o->arrays[i] = (float *)(void *)at;
    o->table = (float *)(void *)at;
    at += padded(TABLE * 4);
    o->scalars = (dukd_optimizer_scalars *)(void *)at;
    at += padded(sizeof *o->scalars);
    o->flag = (int32_t *)(void *)at;
    at += 256;
    return at - begin;
}

static int64_t scratch_of(const operands *o) {
    const gpu_attention a = attention_of(o);
    const int64_t all[] = {
        (int64_t)gpu_channel_part_count(&o->a) * o->a.channels * (int64_t)sizeof(float),
        gpu_pool_scratch(&o->a), gpu_layer_norm_back_scratch(&o->a),
        o->a.channels % 6 == 0 && o->a.height % 8 == 0 ? gpu_attention_back_scratch(&o->wide, &a) : 0,
        o->a.channels % 6 == 0 && o->a.height % 8 == 0 ? gpu_attention_scratch(&o->wide, &a) : 0};
    int64_t most = 256;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] > most) most = all[i];
    return most;
}

static int measure(const dukd_bench_gpu *b, const kernel_case *c, dukd_type type, dukd_failure *f) {
    static kernel_run r; /* too large for a stack */
    operands empty;
    const int64_t each = layout(&empty, NULL, b, c, type);
    const double elements = (double)count_of(&empty.a),
                 size = c->on_arrays ? 4 : (double)dukd_type_bytes(type);
    const double bytes = (c->reads + c->writes) * elements * size;
    const int32_t sets = dukd_bench_gpu_sets(b, (int64_t)bytes, each);
    double seconds = 0;
    r = (kernel_run){.of = c, .stream = b->stream};
    int status = dukd_bench_gpu_alloc((void **)&r.memory, sets * each, f);
    for (int32_t i = 0; i < sets && !status; i++) (void)layout(&r.sets[i], r.memory + i * each, b, c, type);
    if (!status) status = dukd_bench_gpu_alloc(&r.scratch, scratch_of(&r.sets[0]), f);
    if (!status) status = dukd_bench_gpu_time(b, launch, &r, sets, &seconds, f);
    if (!status) {
        printf("  %-22s %4d x %2d^2 x %-3d %-5s %8.1f us  %6.0f GB/s  %5.1f %% of a copy", c->name,
               (int)b->batch, (int)b->side, (int)c->channels, type == DUKD_TYPE_F32 ? "f32" : "bf16",
               1e6 * seconds, 1e-9 * bytes / seconds, 100 * bytes / seconds / b->bandwidth);
        if (c->multiply_adds > 0)
            printf("  %6.0f G multiply-adds/s", 1e-9 * c->multiply_adds * elements / c->channels / seconds);
        printf("\n");
    }
    dukd_bench_gpu_free(r.memory);
    dukd_bench_gpu_free(r.scratch);
    return status;
}

int dukd_bench_gpu_kernels(const dukd_bench_gpu *b, dukd_failure *f) {
    int (*const loads[])(void) = {gpu_load_elements,  gpu_load_exchange, gpu_load_weights, gpu_load_norm,
                                  gpu_load_attention, gpu_load_pool,     gpu_load_arrays};
    int status = DUKD_DONE;
    for (size_t i = 0; i < sizeof loads / sizeof *loads && !status; i++)
        status = dukd_bench_gpu_check(loads[i](), "the engine's kernels", f);
    printf("kernels of the engine\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases && !status; i++)
        for (int type = 0; type < (cases[i].on_arrays ? 1 : 2) && !status; type++)
            status = measure(b, &cases[i], type ? DUKD_TYPE_BF16 : DUKD_TYPE_F32, f);
    return status;
}
