/* A DUKD step of EDSR 64c 32b -> 16c 32b on the CUDA engine against the bare convolutions of its shapes: what the engine spends on
 * everything else. Three inputs (LR, zoomed in, zoomed out): the teacher forward, the student forward and backward on each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arrays.h"
#include "engine/bench/bench_edsr.h"
#include "engine/bench/bench_gpu.h"
#include "engine/cuda/gpu_conv.h"
#include "engine/recording.h"

enum { INPUTS = 3, SCALE = 4, MAX_SHAPES = 256 };

/* ---- bare convolutions ---- */

typedef struct {
    gpu_conv_spec spec;
    double times; /* in a step */
    gpu_conv *conv;
    void *memory, *workspace;
    int64_t x, y, filters, bias; /* bytes of a set: source, result, and twice the filters */
    int32_t sets;
} shape;

typedef struct {
    gpu_libraries *libraries;
    dukd_type type;
    int tf32;
    shape shapes[MAX_SHAPES];
    int count;
    double multiply_adds;
} bare;

static int add_shape(bare *b, const gpu_conv_spec *spec, double times, dukd_failure *f) {
    int k = 0;
    while (k < b->count && memcmp(&b->shapes[k].spec, spec, sizeof *spec) != 0) k++;
    if (k == MAX_SHAPES) return dukd_fail(f, DUKD_FAILED, "a benchmark of more than %d shapes", MAX_SHAPES);
    if (k == b->count) b->shapes[b->count++].spec = *spec;
    b->shapes[k].times += times;
    const int64_t pixels = gpu_conv_out_side(spec, spec->height) * gpu_conv_out_side(spec, spec->width);
    b->multiply_adds += times * (double)pixels * spec->images * spec->out_channels * spec->in_channels *
                        spec->side * spec->side / spec->groups;
    return DUKD_DONE;
}

/* Every convolution of the graph, as its layers are (the last one f32, as the engine runs it). */
static int add_graph(bare *b, const dukd_graph *g, gpu_conv_kind kind, int32_t images, int32_t side,
                     double times, dukd_failure *f) {
    int32_t last = -1, first = -1;
    int status = DUKD_DONE;
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        if (dukd_graph_op(g, i)->kind != DUKD_OP_CONV) continue;
        if (first < 0) first = i;
        last = i;
    }
    for (int32_t i = 0; i < dukd_graph_op_count(g) && !status; i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        if (op->kind != DUKD_OP_CONV || (i == first && kind == GPU_CONV_DATA_GRADIENT)) continue;
        int64_t source[2];
        dukd_graph_size(g, op->in[0], side, side, source);
        gpu_conv_spec s;
        memset(&s, 0, sizeof s); /* specs are compared as memory */
        s.kind = kind;
        s.images = images;
        s.in_channels = dukd_graph_op(g, op->in[0])->channels;
        s.height = (int32_t)source[0];
        s.width = (int32_t)source[1];
        s.out_channels = op->channels;
        s.side = op->kernel;
        s.stride = op->stride;
        s.padding = op->padding;
        s.groups = op->groups;
        s.type = i == last ? DUKD_TYPE_F32 : b->type;
        s.has_bias = kind == GPU_CONV_FORWARD && op->bias >= 0;
        s.tf32 = b->tf32;
        status = add_shape(b, &s, times, f);
    }
    return status;
}

static int64_t padded(int64_t bytes) {
    return (bytes + 255) / 256 * 256;
}

static int prepare(const dukd_bench_gpu *g, bare *b, shape *s, dukd_failure *f) {
    const gpu_conv_spec *c = &s->spec;
    const int64_t size = dukd_type_bytes(c->type), h = gpu_conv_out_side(c, c->height),
                  w = gpu_conv_out_side(c, c->width);
    s->x = padded((int64_t)c->images * c->height * c->width * c->in_channels * size);
    s->y = padded((int64_t)c->images * h * w * c->out_channels * size);
    s->filters = padded((int64_t)c->out_channels * c->in_channels / c->groups * c->side * c->side * 4);
    s->bias = padded((int64_t)c->out_channels * 4);
    const int64_t set = s->x + s->y + 2 * s->filters + s->bias;
    s->sets = dukd_bench_gpu_sets(g, s->x + s->y, set);
    int status = gpu_conv_create(&s->conv, b->libraries, c, f);
    if (!status) status = dukd_bench_gpu_alloc(&s->memory, s->sets * set, f);
    if (!status) status = dukd_bench_gpu_alloc(&s->workspace, padded(gpu_conv_workspace(s->conv)) + 256, f);
    return status;
}

static int run_shape(void *ctx, int32_t set) {
    const shape *s = ctx;
    const gpu_conv_kind kind = s->spec.kind;
    char *at = (char *)s->memory + set * (s->x + s->y + 2 * s->filters + s->bias), *y = at + s->x,
         *w = y + s->y, *dw = w + s->filters;
    const gpu_conv_operands o = {
        .x = at,
        .d = y,
        .w = w,
        .bias = s->spec.has_bias ? (const float *)(const void *)(dw + s->filters) : NULL,
        .narrow_bias = s->spec.has_bias ? dw + s->filters : NULL,
        .out = kind == GPU_CONV_FORWARD         ? y
               : kind == GPU_CONV_DATA_GRADIENT ? at
                                                : dw,
        .workspace = s->workspace,
    };
    return gpu_conv_run(s->conv, &o, NULL) != DUKD_DONE;
}

/* Seconds of all of them: with operands from DRAM, and from L2 as far as they fit. */
static int measure_bare(const dukd_bench_gpu *g, bare *b, double *seconds, double *cached, dukd_failure *f) {
    int status = DUKD_DONE;
    *seconds = *cached = 0;
    for (int i = 0; i < b->count && !status; i++) {
        shape *s = &b->shapes[i];
        double far = 0, near = 0;
        status = prepare(g, b, s, f);
        if (!status) status = dukd_bench_gpu_time(g, run_shape, s, s->sets, &far, f);
        if (!status) status = dukd_bench_gpu_time(g, run_shape, s, 1, &near, f);
        *seconds += s->times * far;
        *cached += s->times * near;
        dukd_bench_gpu_free(s->memory);
        dukd_bench_gpu_free(s->workspace);
        s->memory = s->workspace = NULL;
    }
    return status;
}

static void bare_free(bare *b) {
    for (int i = 0; i < b->count; i++) {
        gpu_conv_destroy(b->shapes[i].conv);
    }
    gpu_libraries_close(b->libraries);
    free(b);
}

/* ---- the engine ---- */

typedef struct {
    dukd_engine *engine;
    dukd_graph *graph[2]; /* teacher, student */
    dukd_network *network[2];
    float *weights[2], *d_weights;
    dukd_exec *teacher[INPUTS], *student[INPUTS];
    float *input[INPUTS], *teacher_out[INPUTS], *student_out[INPUTS], *d_out[INPUTS];
    int32_t batch, side[INPUTS];
    dukd_recording *recorded; /* NULL: it cannot record, and steps are enqueued call by call */
    dukd_failure *f;
} step_bench;

static int floats(step_bench *b, float **out, int64_t count, dukd_failure *f) {
    return dukd_engine_alloc(b->engine, count * 4, "a benchmark", (void **)out, f);
}

static int compile(step_bench *b, dukd_precision precision, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int k = 0; k < 2 && !status; k++) {
        b->graph[k] = dukd_bench_edsr(k ? "16" : "64", "32", f);
        if (!b->graph[k]) return f->status;
        const int64_t count = dukd_graph_weights(b->graph[k]);
        float *start = malloc((size_t)count * sizeof *start);
        if (!start) return dukd_fail_memory(f, "a benchmark", (unsigned long long)count * sizeof *start);
        dukd_graph_init(b->graph[k], 1, start);
        status = floats(b, &b->weights[k], count, f);
        if (!status) status = dukd_engine_upload(b->engine, b->weights[k], start, count * 4, f);
        free(start);
        if (!status) status = dukd_network_create(&b->network[k], b->engine, b->graph[k], precision, f);
        if (!status) status = dukd_network_set_weights(b->network[k], b->weights[k], f);
        if (!status && k) status = floats(b, &b->d_weights, count, f);
    }
    for (int i = 0; i < INPUTS && !status; i++) {
        dukd_exec_spec spec = {
            .purpose = DUKD_INFER, .batch = b->batch, .height = b->side[i], .width = b->side[i]};
        const int64_t pixels = (int64_t)b->batch * 3 * b->side[i] * b->side[i];
        status = dukd_network_compile(b->network[0], &spec, &b->teacher[i], f);
        spec.purpose = DUKD_TRAIN;
        if (!status) status = dukd_network_compile(b->network[1], &spec, &b->student[i], f);
        if (!status) status = floats(b, &b->input[i], pixels, f);
        if (!status) status = floats(b, &b->teacher_out[i], pixels * SCALE * SCALE, f);
        if (!status) status = floats(b, &b->student_out[i], pixels * SCALE * SCALE, f);
        if (!status) status = floats(b, &b->d_out[i], pixels * SCALE * SCALE, f);
    }
    return status;
}

static int enqueue_step(step_bench *b) {
    int status =
        dukd_network_set_weights(b->network[1], b->weights[1], b->f); /* as after an optimizer's step */
    for (int i = 0; i < INPUTS && !status; i++) {
        const float *d = b->d_out[i];
        status = dukd_exec_forward(b->teacher[i], b->batch, b->input[i], &b->teacher_out[i], b->f);
        if (!status)
            status = dukd_exec_forward(b->student[i], b->batch, b->input[i], &b->student_out[i], b->f);
        if (!status) status = dukd_exec_backward(b->student[i], &d, b->d_weights, NULL, b->f);
    }
    return status;
}

static int run_step(void *ctx, int32_t set) {
    step_bench *b = ctx;
    (void)set;
    return b->recorded ? dukd_recording_replay(b->recorded, b->f) : enqueue_step(b);
}

/* As dukd-host trains: two steps, which load and take what they need, then one that is recorded. */
static int record_step(step_bench *b) {
    int status = enqueue_step(b);
    if (!status) status = enqueue_step(b);
    if (status || !dukd_engine_can_record(b->engine)) return status;
    status = dukd_recording_begin(b->engine, b->f);
    if (status) return status;
    status = enqueue_step(b);
    const int ended = dukd_recording_end(b->engine, status ? NULL : &b->recorded, b->f);
    return status ? status : ended;
}

static void step_free(step_bench *b) {
    float *const arrays[] = {b->weights[0], b->weights[1], b->d_weights};
    if (!b->engine) return;
    dukd_recording_free(b->recorded);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) dukd_engine_release(b->engine, arrays[i]);
    for (int i = 0; i < INPUTS; i++) {
        dukd_engine_release(b->engine, b->input[i]);
        dukd_engine_release(b->engine, b->teacher_out[i]);
        dukd_engine_release(b->engine, b->student_out[i]);
        dukd_engine_release(b->engine, b->d_out[i]);
    }
    for (int k = 0; k < 2; k++) {
        dukd_network_destroy(b->network[k]);
        dukd_graph_destroy(b->graph[k]);
    }
    dukd_engine_destroy(b->engine);
}

static int add_bare(bare *b, const step_bench *s, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int i = 0; i < INPUTS && !status; i++) {
        status = add_graph(b, s->graph[0], GPU_CONV_FORWARD, s->batch, s->side[i], 1, f);
        for (int kind = GPU_CONV_FORWARD; kind <= GPU_CONV_WEIGHTS_GRADIENT && !status; kind++)
            status = add_graph(b, s->graph[1], (gpu_conv_kind)kind, s->batch, s->side[i], 1, f);
    }
    return status;
}

int dukd_bench_gpu_step(const dukd_bench_gpu *g, int bf16, int tf32, dukd_failure *f) {
    const dukd_engine_options options = {.name = "cuda", .device = 0, .tf32 = tf32};
    const int32_t small = (g->side + SCALE - 1) / SCALE;
    step_bench s = {.batch = g->batch, .side = {g->side, g->side, small}, .f = f};
    bare *b = calloc(1, sizeof *b);
    double whole = 0, alone = 0, cached = 0;
    if (!b) return dukd_fail_memory(f, "a benchmark", sizeof *b);
    b->type = bf16 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32;
    b->tf32 = tf32;
    int status = dukd_engine_open(&s.engine, &options, f);
    if (!status && bf16 && !dukd_engine_get_info(s.engine)->bf16) {
        printf("step bf16: skipped, this GPU does not compute in it (%s)\n",
               dukd_engine_get_info(s.engine)->instruction_set);
        bare_free(b);
        step_free(&s);
        return DUKD_DONE;
    }
    if (!status) status = compile(&s, bf16 ? DUKD_BF16 : DUKD_F32, f);
    if (!status) status = gpu_libraries_open(&b->libraries, g->stream, f);
    if (!status) status = add_bare(b, &s, f);
    if (!status) status = measure_bare(g, b, &alone, &cached, f);
    if (!status) status = record_step(&s);
    if (!status) {
        dukd_bench_gpu on_engine = *g;
        on_engine.stream = dukd_engine_get_place(s.engine)->stream;
        status = dukd_bench_gpu_time_long(&on_engine, run_step, &s, &whole, f);
    }
    if (!status) {
        int64_t now, peak;
        dukd_engine_memory(s.engine, &now, &peak);
        printf(
            "step %-4s %d x 3 x %d^2: engine %.2f ms%s, bare convolutions %.2f ms: %.3f x (goal 1.2); with "
            "operands in L2 %.2f ms: %.3f x; %.1f T multiply-adds/s; %.0f MiB\n",
            bf16   ? "bf16"
            : tf32 ? "tf32"
                   : "f32",
            (int)g->batch, (int)g->side, 1e3 * whole, s.recorded ? "" : " (not recorded)", 1e3 * alone,
            whole / alone, 1e3 * cached, whole / cached, 1e-12 * b->multiply_adds / whole,
            (double)peak / (1 << 20));
    }
    bare_free(b);
    step_free(&s);
    return status;
}
