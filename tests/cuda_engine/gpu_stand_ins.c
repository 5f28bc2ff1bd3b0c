/* Until a kernel or a library call of the CUDA engine is there: what it computes, by the processor's own code, at its place in the emulated
 * stream. All weak: what is there takes its place. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulation.h"
#include "engine/cuda/gpu_conv.h"
#include "engine/cuda/gpu_kernels.h"
#include "engine/ops.h"

#define WEAK __attribute__((weak))

typedef struct job {
    void (*run)(const struct job *j);
    dukd_tensor a, b, c, d;
    const float *p, *p2, *p3;
    float *q, *q2;
    int32_t i, i2, i3, i4;
    float x, slope;
    gpu_packing packing;
    dukd_exchange exchange;
    gpu_attention attention;
    gpu_conv_spec spec;
    gpu_conv_operands o;
    dukd_type type;
} job;

static const dukd_worker worker = {.isa = DUKD_ISA_BASE, .threads = 1};

static int64_t count_of(const dukd_tensor *t) {
    return (int64_t)t->images * t->channels * t->height * t->width;
}

static void work(void *ctx) {
    const job *j = ctx;
    j->run(j);
    if (j->a.data) emulation_wrote(j->a.data, count_of(&j->a) * dukd_type_bytes(j->a.type));
}

static int enqueue(void *stream, job j) {
    job *copy = malloc(sizeof *copy);
    *copy = j;
    return emulation_enqueue(stream, work, free, copy);
}

static void *scratch_of(int64_t bytes) {
    return aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64 + 64);
}

static float get(const void *p, dukd_type type, int64_t i) {
    if (type == DUKD_TYPE_F32) return ((const float *)p)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void put(void *p, dukd_type type, int64_t i, float f) {
    if (type == DUKD_TYPE_F32) {
        ((float *)p)[i] = f;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits += 0x7fff + (bits >> 16 & 1);
    ((uint16_t *)p)[i] = (uint16_t)(bits >> 16);
}

#define T(x) (x ? *x : (dukd_tensor){0})
/* NAME(stream, a, b, ...) -> expression on the job */
#define STAND_IN2(name, params, fill, call)                                                                  \
    static void do_##name(const job *j) {                                                                    \
        call;                                                                                                \
    }                                                                                                        \
    WEAK int name params {                                                                                   \
        job j = {.run = do_##name};                                                                          \
        fill;                                                                                                \
        return enqueue(stream, j);                                                                           \
    }

STAND_IN2(gpu_leaky_relu, (void *stream, const dukd_tensor *out, const dukd_tensor *x, float slope),
          (j.a = *out, j.b = *x, j.x = slope), dukd_run_leaky_relu(&worker, &j->a, &j->b, j->x))
STAND_IN2(gpu_leaky_relu_back, (void *stream, const dukd_tensor *d, const dukd_tensor *y, float slope),
          (j.a = *d, j.b = *y, j.x = slope), dukd_run_leaky_relu_back(&worker, &j->a, &j->b, j->x))
STAND_IN2(gpu_gelu, (void *stream, const dukd_tensor *out, const dukd_tensor *x), (j.a = *out, j.b = *x),
          dukd_run_gelu(&worker, &j->a, &j->b))
STAND_IN2(gpu_gelu_back, (void *stream, const dukd_tensor *out, const dukd_tensor *x), (j.a = *out, j.b = *x),
          dukd_run_gelu_back(&worker, &j->a, &j->b))
STAND_IN2(gpu_sigmoid, (void *stream, const dukd_tensor *out, const dukd_tensor *x), (j.a = *out, j.b = *x),
          dukd_run_sigmoid(&worker, &j->a, &j->b))
STAND_IN2(gpu_sigmoid_back, (void *stream, const dukd_tensor *out, const dukd_tensor *x),
          (j.a = *out, j.b = *x), dukd_run_sigmoid_back(&worker, &j->a, &j->b))
STAND_IN2(gpu_scale, (void *stream, const dukd_tensor *out, const dukd_tensor *x, float factor),
          (j.a = *out, j.b = *x, j.x = factor), dukd_run_scale(&worker, &j->a, &j->b, j->x))
STAND_IN2(gpu_add, (void *stream, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b),
          (j.a = *out, j.b = *a, j.c = *b), dukd_run_add(&worker, &j->a, &j->b, &j->c))
static void cast(const job *j) {
    for (int64_t i = 0; i < count_of(&j->a); i++)
        put(j->a.data, j->a.type, i,
            get(j->b.data, j->b.type, i) + (j->i ? get(j->a.data, j->a.type, i) : 0));
}
STAND_IN2(gpu_cast, (void *stream, const dukd_tensor *out, const dukd_tensor *x, int sum),
          (j.a = *out, j.b = *x, j.i = sum), cast(j))
STAND_IN2(gpu_image_add,
          (void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
           const dukd_tensor *b),
          (j.a = *out, j.b = *x, j.p = factors, j.c = *b),
          dukd_run_image_add(&worker, &j->a, &j->b, j->p, &j->c))
STAND_IN2(gpu_image_scale,
          (void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors, int sum),
          (j.a = *out, j.b = *x, j.p = factors, j.i = sum),
          dukd_run_image_scale(&worker, &j->a, &j->b, j->p, j->i))
STAND_IN2(gpu_affine,
          (void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
           const float *shifts, int sum),
          (j.a = *out, j.b = *x, j.p = factors, j.p2 = shifts, j.i = sum),
          dukd_run_affine(&worker, &j->a, &j->b, j->p, j->p2, j->i))
STAND_IN2(gpu_mul,
          (void *stream, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b,
           const dukd_tensor *addend, float factor),
          (j.a = *out, j.b = *a, j.c = *b, j.d = T(addend), j.x = factor),
          dukd_run_mul(&worker, &j->a, &j->b, &j->c, j->d.data ? &j->d : NULL, j->x))
STAND_IN2(gpu_mul_back,
          (void *stream, const dukd_tensor *da, const dukd_tensor *d, const dukd_tensor *b, float factor,
           int sum),
          (j.a = *da, j.b = *d, j.c = *b, j.x = factor, j.i = sum),
          dukd_run_mul_back(&worker, &j->a, &j->b, &j->c, j->x, j->i))
WEAK int64_t gpu_mul_back_channels_scratch(const dukd_tensor *d) {
    (void)d;
    return 0;
}
static void mul_back_channels(const job *j) {
    void *s = scratch_of(dukd_run_mul_back_channels_scratch(&j->b));
    dukd_run_mul_back_channels(&worker, &j->a, &j->b, &j->c, j->x, j->i, s);
    free(s);
}
STAND_IN2(gpu_mul_back_channels,
          (void *stream, const dukd_tensor *db, const dukd_tensor *d, const dukd_tensor *a, float factor,
           int sum, void *scratch),
          (j.a = *db, j.b = *d, j.c = *a, j.x = factor, j.i = sum, (void)scratch), mul_back_channels(j))
STAND_IN2(gpu_copy_channels,
          (void *stream, const dukd_tensor *out, int32_t out_first, const dukd_tensor *x, int32_t x_first,
           int32_t count, int sum),
          (j.a = *out, j.i = out_first, j.b = *x, j.i2 = x_first, j.i3 = count, j.i4 = sum),
          dukd_run_copy_channels(&worker, &j->a, j->i, &j->b, j->i2, j->i3, j->i4))
WEAK int64_t gpu_channel_sums_scratch(const dukd_tensor *x) {
    (void)x;
    return 0;
}
static void channel_sums(const job *j) {
    for (int32_t c = 0; c < j->b.channels; c++) {
        double sum = 0;
        for (int64_t i = c; i < count_of(&j->b); i += j->b.channels) sum += get(j->b.data, j->b.type, i);
        j->q[c] += (float)(j->x * sum);
    }
    emulation_wrote(j->q, 4 * j->b.channels);
}
STAND_IN2(gpu_channel_sums, (void *stream, float *out, const dukd_tensor *x, float factor, void *scratch),
          (j.q = out, j.b = *x, j.x = factor, (void)scratch), channel_sums(j))
STAND_IN2(gpu_shuffle, (void *stream, const dukd_tensor *out, const dukd_tensor *x, int32_t r, int32_t order),
          (j.a = *out, j.b = *x, j.i = r, j.i2 = order), dukd_run_shuffle(&worker, &j->a, &j->b, j->i, j->i2))
STAND_IN2(gpu_unshuffle,
          (void *stream, const dukd_tensor *dx, const dukd_tensor *d, int32_t r, int32_t order, int sum),
          (j.a = *dx, j.b = *d, j.i = r, j.i2 = order, j.i3 = sum),
          dukd_run_unshuffle(&worker, &j->a, &j->b, j->i, j->i2, j->i3))
STAND_IN2(gpu_import,
          (void *stream, const dukd_tensor *out, const float *caller, const dukd_exchange *x, int sum),
          (j.a = *out, j.p = caller, j.exchange = *x, j.i = sum),
          dukd_run_import(&worker, &j->a, j->p, &j->exchange, j->i))
static void export(const job *j) {
    dukd_run_export(&worker, j->q, &j->b, &j->exchange);
    emulation_wrote(j->q, 4 * (int64_t)j->exchange.images * j->exchange.channels * j->b.height * j->b.width *
                              j->exchange.spread * j->exchange.spread);
}
STAND_IN2(gpu_export, (void *stream, float *caller, const dukd_tensor *in, const dukd_exchange *x),
          (j.q = caller, j.b = *in, j.exchange = *x), export(j))

/* ---- weights ---- */

WEAK gpu_packing gpu_packing_of(const dukd_run_conv *c) {
    return (gpu_packing){.out_channels = c->out_channels,
                         .in_channels = c->in_channels,
                         .groups = c->groups,
                         .kernel = c->kernel,
                         .side = c->side,
                         .order = c->order,
                         .source_order = c->source_order,
                         .spread = c->spread,
                         .param_out = (int32_t)c->weight->dims[0],
                         .param_in = (int32_t)c->weight->dims[1],
                         .scale = c->scale};
}

static dukd_run_conv run_of(const gpu_packing *p, dukd_param *weight) {
    *weight = (dukd_param){.ndim = 4, .dims = {p->param_out, p->param_in, p->kernel, p->kernel}};
    weight->count = (int64_t)p->param_out * p->param_in * p->kernel * p->kernel;
    return (dukd_run_conv){.out_channels = p->out_channels,
                           .in_channels = p->in_channels,
                           .groups = p->groups,
                           .kernel = p->kernel,
                           .side = p->side,
                           .order = p->order,
                           .source_order = p->source_order,
                           .spread = p->spread,
                           .scale = p->scale,
                           .weight = weight};
}

static void pack(const job *j) {
    dukd_param weight, bias = {.ndim = 1};
    dukd_run_conv c = run_of(&j->packing, &weight);
    const int64_t n = dukd_run_conv_elements(&c), in = c.in_channels / c.groups,
                  s2 = (int64_t)c.side * c.side;
    float *plain = malloc((size_t)n * sizeof *plain);
    if (j->p2) {
        bias.offset = j->p2 - j->p;
        c.bias = &bias;
    }
    dukd_run_conv_pack(&c, j->p, plain, j->q, 0);
    for (int64_t o = 0; o < c.out_channels; o++)
        for (int64_t k = 0; k < s2; k++)
            for (int64_t i = 0; i < in; i++)
                put(j->o.out, j->type, (o * s2 + k) * in + i, plain[(o * in + i) * s2 + k]);
    emulation_wrote(j->o.out, n * dukd_type_bytes(j->type));
    if (j->q) emulation_wrote(j->q, 4 * c.out_channels);
    free(plain);
}
STAND_IN2(gpu_pack_weights,
          (void *stream, const gpu_packing *p, const float *weight, const float *bias, void *packed,
           dukd_type type, float *packed_bias),
          (j.packing = *p, j.p = weight, j.p2 = bias, j.o.out = packed, j.type = type, j.q = packed_bias),
          pack(j))

static void unpack(const job *j) {
    dukd_param weight, bias = {.ndim = 1};
    dukd_run_conv c = run_of(&j->packing, &weight);
    const int64_t n = dukd_run_conv_elements(&c), in = c.in_channels / c.groups,
                  s2 = (int64_t)c.side * c.side;
    float *plain = malloc((size_t)n * sizeof *plain);
    for (int64_t o = 0; o < c.out_channels; o++)
        for (int64_t k = 0; k < s2; k++)
            for (int64_t i = 0; i < in; i++) plain[(o * in + i) * s2 + k] = j->p[(o * s2 + k) * in + i];
    if (j->q2) {
        bias.offset = j->q2 - j->q;
        c.bias = &bias;
    }
    dukd_run_conv_unpack(&c, j->q, plain, j->p2);
    free(plain);
}
STAND_IN2(gpu_unpack_gradient,
          (void *stream, const gpu_packing *p, float *d_weight, const float *d_packed, float *d_bias,
           const float *d_packed_bias),
          (j.packing = *p, j.q = d_weight, j.p = d_packed, j.q2 = d_bias, j.p2 = d_packed_bias), unpack(j))

/* ---- the rest of ops.h ---- */

STAND_IN2(gpu_layer_norm,
          (void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *weight, const float *bias,
           float eps, float *stats),
          (j.a = *out, j.b = *x, j.p = weight, j.p2 = bias, j.x = eps, j.q = stats),
          dukd_run_layer_norm(&worker, &j->a, &j->b, j->p, j->p2, j->x, j->q))
WEAK int64_t gpu_layer_norm_back_scratch(const dukd_tensor *d) {
    (void)d;
    return 0;
}
static void layer_norm_back(const job *j) {
    void *s = scratch_of(dukd_run_layer_norm_back_scratch(&j->b));
    dukd_run_layer_norm_back(&worker, &j->a, &j->b, &j->c, j->p, j->p2, j->q, j->q2, j->i, s);
    free(s);
}
STAND_IN2(gpu_layer_norm_back,
          (void *stream, const dukd_tensor *dx, const dukd_tensor *d, const dukd_tensor *x,
           const float *weight, const float *stats, float *d_weight, float *d_bias, int sum, void *scratch),
          (j.a = *dx, j.b = *d, j.c = *x, j.p = weight, j.p2 = stats, j.q = d_weight, j.q2 = d_bias,
           j.i = sum, (void)scratch),
          layer_norm_back(j))
WEAK int64_t gpu_attention_scratch(const dukd_tensor *qkv, const gpu_attention *a) {
    (void)qkv;
    (void)a;
    return 0;
}
WEAK int64_t gpu_attention_back_scratch(const dukd_tensor *qkv, const gpu_attention *a) {
    (void)qkv;
    (void)a;
    return 0;
}
static void attention(const job *j, int back) {
    dukd_attention a = {.heads = j->attention.heads,
                        .window = j->attention.window,
                        .shift = j->attention.shift,
                        .table = j->attention.table};
    void *s = scratch_of(back ? dukd_run_attention_back_scratch(&worker, &j->c, &a)
                              : dukd_run_attention_scratch(&worker, &j->b, &a));
    if (back)
        dukd_run_attention_back(&worker, &j->a, &j->b, &j->c, &a, j->q, s);
    else
        dukd_run_attention(&worker, &j->a, &j->b, &a, s);
    free(s);
}
STAND_IN2(gpu_attention_run,
          (void *stream, const dukd_tensor *out, const dukd_tensor *qkv, const gpu_attention *a,
           void *scratch),
          (j.a = *out, j.b = *qkv, j.attention = *a, (void)scratch), attention(j, 0))
STAND_IN2(gpu_attention_back,
          (void *stream, const dukd_tensor *d_qkv, const dukd_tensor *d, const dukd_tensor *qkv,
           const gpu_attention *a, float *d_table, void *scratch),
          (j.a = *d_qkv, j.b = *d, j.c = *qkv, j.attention = *a, j.q = d_table, (void)scratch),
          attention(j, 1))
WEAK int64_t gpu_pool_scratch(const dukd_tensor *x) {
    (void)x;
    return 0;
}
static void pool(const job *j, int kind) {
    void *s = scratch_of(dukd_run_pool_scratch(kind == 2 ? &j->c : &j->b));
    if (kind == 0) dukd_run_mean(&worker, &j->a, &j->b, s);
    if (kind == 1) dukd_run_deviation(&worker, &j->a, &j->b, s);
    if (kind == 2) dukd_run_deviation_back(&worker, &j->a, &j->b, &j->c, &j->d, j->i, s);
    free(s);
}
STAND_IN2(gpu_mean, (void *stream, const dukd_tensor *out, const dukd_tensor *x, void *scratch),
          (j.a = *out, j.b = *x, (void)scratch), pool(j, 0))
STAND_IN2(gpu_mean_back, (void *stream, const dukd_tensor *dx, const dukd_tensor *d, int sum),
          (j.a = *dx, j.b = *d, j.i = sum), dukd_run_mean_back(&worker, &j->a, &j->b, j->i))
STAND_IN2(gpu_deviation, (void *stream, const dukd_tensor *out, const dukd_tensor *x, void *scratch),
          (j.a = *out, j.b = *x, (void)scratch), pool(j, 1))
STAND_IN2(gpu_deviation_back,
          (void *stream, const dukd_tensor *dx, const dukd_tensor *d, const dukd_tensor *x,
           const dukd_tensor *y, int sum, void *scratch),
          (j.a = *dx, j.b = *d, j.c = *x, j.d = *y, j.i = sum, (void)scratch), pool(j, 2))
STAND_IN2(gpu_max_pool,
          (void *stream, const dukd_tensor *out, const dukd_tensor *x, int32_t kernel, int32_t stride),
          (j.a = *out, j.b = *x, j.i = kernel, j.i2 = stride),
          dukd_run_max_pool(&worker, &j->a, &j->b, j->i, j->i2))
static void max_pool_back(const job *j) {
    void *s = scratch_of(dukd_run_max_pool_back_scratch(&j->b));
    dukd_run_max_pool_back(&worker, &j->a, &j->b, &j->c, j->i, j->i2, j->i3, s);
    free(s);
}
STAND_IN2(gpu_max_pool_back,
          (void *stream, const dukd_tensor *dx, const dukd_tensor *d, const dukd_tensor *x, int32_t kernel,
           int32_t stride, int sum),
          (j.a = *dx, j.b = *d, j.c = *x, j.i = kernel, j.i2 = stride, j.i3 = sum), max_pool_back(j))
STAND_IN2(gpu_resize, (void *stream, const dukd_tensor *out, const dukd_tensor *x), (j.a = *out, j.b = *x),
          dukd_run_resize(&worker, &j->a, &j->b))
STAND_IN2(gpu_resize_back, (void *stream, const dukd_tensor *dx, const dukd_tensor *d, int sum),
          (j.a = *dx, j.b = *d, j.i = sum), dukd_run_resize_back(&worker, &j->a, &j->b, j->i))

/* ---- convolutions ---- */

struct gpu_libraries {
    void *stream;
};
struct gpu_conv {
    gpu_conv_spec spec;
    gpu_libraries *libraries;
};

WEAK int gpu_libraries_open(gpu_libraries **out, void *stream, dukd_failure *f) {
    (void)f;
    *out = malloc(sizeof **out);
    (*out)->stream = stream;
    return DUKD_DONE;
}
WEAK void gpu_libraries_close(gpu_libraries *l) {
    free(l);
}
WEAK void gpu_libraries_text(const gpu_libraries *l, char *out, size_t room) {
    (void)l;
    snprintf(out, room, "stand-in");
}
WEAK int64_t gpu_conv_out_side(const gpu_conv_spec *s, int32_t size) {
    return (size + 2 * (int64_t)s->padding - s->side) / s->stride + 1;
}
WEAK int gpu_conv_create(gpu_conv **out, gpu_libraries *l, const gpu_conv_spec *spec, dukd_failure *f) {
    (void)f;
    *out = malloc(sizeof **out);
    **out = (gpu_conv){.spec = *spec, .libraries = l};
    return DUKD_DONE;
}
WEAK void gpu_conv_destroy(gpu_conv *c) {
    free(c);
}
WEAK int64_t gpu_conv_workspace(const gpu_conv *c) {
    (void)c;
    return 0;
}

/* Visits every product: x(n, y, x, in) w(out, ky, kx, in) -> out(n, oy, ox, out). */
static void conv(const job *j) {
    const gpu_conv_spec *s = &j->spec;
    const gpu_conv_operands *o = &j->o;
    const int64_t H = s->height, W = s->width, OH = gpu_conv_out_side(s, s->height),
                  OW = gpu_conv_out_side(s, s->width), C = s->in_channels, K = s->out_channels,
                  in = C / s->groups, outs = K / s->groups, k = s->side;
    const int64_t xs = s->images * H * W * C, ws = K * k * k * in, ds = s->images * OH * OW * K;
    double *x = calloc((size_t)xs, sizeof *x), *w = calloc((size_t)ws, sizeof *w),
           *d = calloc((size_t)ds, sizeof *d);
    if (o->x)
        for (int64_t i = 0; i < xs; i++) x[i] = get(o->x, s->type, i);
    if (o->w)
        for (int64_t i = 0; i < ws; i++) w[i] = get(o->w, s->type, i);
    if (o->d)
        for (int64_t i = 0; i < ds; i++) d[i] = get(o->d, s->type, i);
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t oy = 0; oy < OH; oy++)
            for (int64_t ox = 0; ox < OW; ox++)
                for (int64_t m = 0; m < K; m++)
                    for (int64_t ky = 0; ky < k; ky++)
                        for (int64_t kx = 0; kx < k; kx++) {
                            const int64_t y = oy * s->stride + ky - s->padding,
                                          xx = ox * s->stride + kx - s->padding;
                            if (y < 0 || xx < 0 || y >= H || xx >= W) continue;
                            double *px = x + ((n * H + y) * W + xx) * C + m / outs * in,
                                   *pw = w + ((m * k + ky) * k + kx) * in,
                                   *pd = d + ((n * OH + oy) * OW + ox) * K + m;
                            for (int64_t c = 0; c < in; c++) {
                                if (s->kind == GPU_CONV_FORWARD) *pd += px[c] * pw[c];
                                if (s->kind == GPU_CONV_DATA_GRADIENT) px[c] += *pd * pw[c];
                                if (s->kind == GPU_CONV_WEIGHTS_GRADIENT) pw[c] += *pd * px[c];
                            }
                        }
    if (s->kind == GPU_CONV_FORWARD)
        for (int64_t i = 0; i < ds; i++) {
            double v = d[i] + (s->has_bias ? o->bias[i % K] : 0);
            if (s->act == DUKD_ACT_RELU && v < 0) v *= s->slope;
            if (s->act == DUKD_ACT_GELU) v = v / 2 * (1 + erf(v * M_SQRT1_2));
            if (s->has_addend) v += get(o->addend, s->type, i);
            put(o->out, s->type, i, (float)v);
        }
    if (s->kind == GPU_CONV_DATA_GRADIENT)
        for (int64_t i = 0; i < xs; i++)
            put(o->out, s->type, i, (float)(x[i] + (s->has_addend ? get(o->out, s->type, i) : 0)));
    if (s->kind == GPU_CONV_WEIGHTS_GRADIENT)
        for (int64_t i = 0; i < ws; i++) ((float *)o->out)[i] = (float)w[i];
    if (s->kind == GPU_CONV_WEIGHTS_GRADIENT)
        emulation_wrote(o->out, ws * 4);
    else
        emulation_wrote(o->out, (s->kind == GPU_CONV_FORWARD ? ds : xs) * dukd_type_bytes(s->type));
    free(x);
    free(w);
    free(d);
}
WEAK int gpu_conv_run(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f) {
    const int error = enqueue(c->libraries->stream, (job){.run = conv, .spec = c->spec, .o = *o});
    return error ? dukd_fail(f, DUKD_FAILED, "a convolution failed") : DUKD_DONE;
}

#define LOAD(name)                                                                                           \
    WEAK int gpu_load_##name(void) {                                                                         \
        return 0;                                                                                            \
    }
LOAD(elements)
LOAD(exchange)
LOAD(weights)
LOAD(norm)
LOAD(attention)
LOAD(pool)
LOAD(arrays)
