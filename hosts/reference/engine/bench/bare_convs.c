/* See bare_convs.h. */
#include "engine/bench/bare_convs.h"
#include "engine/bench/bench_clock.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 4, LAYOUTS = 3, MAX_SHAPES = 256 };
static const double time_for_shape = .006, time_to_choose = .01; /* seconds */

typedef struct {
    dukd_conv_spec spec; /* layouts as chosen */
    double times[GROUPS];
    dukd_conv *conv;
    double seconds;
} shape;

struct dukd_bare_convs {
    dukd_dnnl *dnnl;
    dukd_type type;
    shape shapes[MAX_SHAPES];
    int count;
    char *memory; /* source, weights, bias, dest, scratch of the largest */
    int64_t bytes;
};

int dukd_bare_create(dukd_bare_convs **out, dukd_type type, dukd_failure *f) {
    *out = NULL;
    dukd_bare_convs *b = calloc(1, sizeof *b);
    if (!b) return dukd_fail_memory(f, "a benchmark", sizeof *b);
    b->type = type;
    int status = dukd_dnnl_create(&b->dnnl, f);
    if (status != DUKD_DONE) {
        free(b);
        return status;
    }
    *out = b;
    return DUKD_DONE;
}

void dukd_bare_destroy(dukd_bare_convs *b) {
    if (!b) return;
    for (int i = 0; i < b->count; i++) dukd_conv_destroy(b->shapes[i].conv);
    dukd_dnnl_destroy(b->dnnl);
    free(b->memory);
    free(b);
}

int dukd_bare_add(dukd_bare_convs *b, int group, const dukd_graph *g, dukd_conv_kind kind, int32_t images,
                  int32_t height, int32_t width, double times, dukd_failure *f) {
    int first = 1;
    int32_t last = -1; /* it is f32 in bf16 networks too */
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++)
        if (dukd_graph_op(g, i)->kind == DUKD_OP_CONV) last = i;
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        if (op->kind != DUKD_OP_CONV) continue;
        int skip = first && kind == DUKD_CONV_DATA_GRADIENT;
        first = 0;
        if (skip) continue;
        int64_t dest[2], source[2];
        dukd_graph_size(g, i, height, width, dest);
        dukd_graph_size(g, op->in[0], height, width, source);
        dukd_conv_spec spec = {.kind = kind,
                               .bias = kind == DUKD_CONV_FORWARD && op->bias >= 0,
                               .images = images,
                               .in_channels = dukd_graph_op(g, op->in[0])->channels,
                               .out_channels = op->channels,
                               .groups = op->groups,
                               .height = (int32_t)dest[0],
                               .width = (int32_t)dest[1],
                               .source_height = (int32_t)source[0],
                               .source_width = (int32_t)source[1],
                               .side = op->kernel,
                               .stride = op->stride,
                               .pad_top = op->padding,
                               .pad_bottom = op->padding,
                               .pad_left = op->padding,
                               .pad_right = op->padding,
                               .source_type = i == last ? DUKD_TYPE_F32 : b->type,
                               .dest_type = i == last ? DUKD_TYPE_F32 : b->type,
                               .source_layout = DUKD_ANY_LAYOUT,
                               .dest_layout = DUKD_ANY_LAYOUT};
        int k = 0;
        while (k < b->count && memcmp(&b->shapes[k].spec, &spec, sizeof spec) != 0) k++;
        if (k == MAX_SHAPES)
            return dukd_fail(f, DUKD_FAILED, "a benchmark of more than %d shapes", MAX_SHAPES);
        if (k == b->count) b->shapes[b->count++] = (shape){.spec = spec, .seconds = INFINITY};
        b->shapes[k].times[group] += times;
    }
    return DUKD_DONE;
}

static int64_t page_up(int64_t n) {
    return (n + 4095) / 4096 * 4096;
}

static int run_for(dukd_bare_convs *b, dukd_conv *c, double seconds, double *best, dukd_failure *f) {
    int64_t parts[5] = {dukd_conv_source_bytes(c), dukd_conv_packed_bytes(c),
                        4 * (int64_t)dukd_conv_get_spec(c)->out_channels, dukd_conv_dest_bytes(c),
                        dukd_conv_scratch_bytes(c)};
    int64_t total = 0, at[5];
    for (int i = 0; i < 5; i++) {
        at[i] = total;
        total += page_up(parts[i]);
    }
    if (total > b->bytes) {
        free(b->memory);
        b->bytes = 0;
        b->memory = aligned_alloc(4096, (size_t)total);
        if (!b->memory) return dukd_fail_memory(f, "a benchmark", (unsigned long long)total);
        b->bytes = total;
        memset(b->memory, 0, (size_t)total);
    }
    dukd_conv_memory m = {.source = b->memory + at[0],
                          .weights = b->memory + at[1],
                          .bias = (float *)(void *)(b->memory + at[2]),
                          .dest = b->memory + at[3],
                          .scratch = b->memory + at[4]};
    double end = dukd_bench_now() + seconds;
    for (int runs = 0; runs < 3 || dukd_bench_now() < end; runs++) {
        double begin = dukd_bench_now();
        int status = dukd_conv_run(c, &m, f);
        if (status != DUKD_DONE) return status;
        double took = dukd_bench_now() - begin;
        if (took < *best) *best = took;
    }
    return DUKD_DONE;
}

/* Candidates are both layouts for source and dest, and oneDNN's own choice; the data gradient is tried as a forward
 * convolution too. What oneDNN cannot do is passed over. */
static int choose(dukd_bare_convs *b, shape *s, dukd_failure *f) {
    static const int32_t layouts[LAYOUTS] = {DUKD_NHWC, DUKD_BLOCK16, DUKD_ANY_LAYOUT};
    int status = DUKD_DONE;
    for (int32_t turned = 0; turned <= (s->spec.kind == DUKD_CONV_DATA_GRADIENT) && status == DUKD_DONE;
         turned++) {
        for (int l = 0; l < LAYOUTS && status == DUKD_DONE; l++) {
            dukd_conv_spec spec = s->spec;
            spec.source_layout = spec.in_channels % 16 && layouts[l] == DUKD_BLOCK16 ? DUKD_NHWC : layouts[l];
            spec.dest_layout = spec.out_channels % 16 && layouts[l] == DUKD_BLOCK16 ? DUKD_NHWC : layouts[l];
            if (turned) {
                if (spec.stride > 1 || spec.groups > 1) continue;
                spec.kind = DUKD_CONV_FORWARD;
                spec.height = s->spec.source_height;
                spec.width = s->spec.source_width;
                spec.source_height = s->spec.height;
                spec.source_width = s->spec.width;
                spec.pad_top = spec.pad_bottom = spec.pad_left = spec.pad_right =
                    spec.side - 1 - spec.pad_top;
                spec.in_channels = s->spec.out_channels;
                spec.out_channels = s->spec.in_channels;
            }
            dukd_conv *c = NULL;
            if (dukd_conv_create(&c, b->dnnl, &spec, NULL) != DUKD_DONE) continue;
            double seconds = INFINITY;
            if (strncmp(dukd_conv_implementation(c), "ref", 3) == 0 &&
                s->conv) { /* plain loops, seconds of them */
                dukd_conv_destroy(c);
                continue;
            }
            status = run_for(b, c, time_to_choose, &seconds, f);
            if (seconds < s->seconds) {
                dukd_conv_destroy(s->conv);
                s->conv = c;
                s->seconds = seconds;
            } else {
                dukd_conv_destroy(c);
            }
        }
    }
    if (status == DUKD_DONE && !s->conv)
        status = dukd_fail(f, DUKD_FAILED, "oneDNN has none of a shape's convolutions");
    return status;
}

int dukd_bare_measure(dukd_bare_convs *b, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int i = 0; i < b->count && status == DUKD_DONE; i++) {
        shape *s = &b->shapes[i];
        if (!s->conv) status = choose(b, s, f);
        if (status == DUKD_DONE) status = run_for(b, s->conv, time_for_shape, &s->seconds, f);
    }
    return status;
}

double dukd_bare_seconds(const dukd_bare_convs *b, int group) {
    double sum = 0;
    for (int i = 0; i < b->count; i++) sum += b->shapes[i].times[group] * b->shapes[i].seconds;
    return sum;
}

double dukd_bare_multiply_adds(const dukd_bare_convs *b, int group) {
    double sum = 0;
    for (int i = 0; i < b->count; i++)
        sum += b->shapes[i].times[group] * dukd_conv_multiply_adds(&b->shapes[i].spec);
    return sum;
}

void dukd_bare_print(const dukd_bare_convs *b) {
    static const char *const kinds[] = {"forward", "weights gradient", "data gradient"};
    static const char *const layouts[] = {"any", "nhwc", "block16"};
    for (int i = 0; i < b->count; i++) {
        const shape *s = &b->shapes[i];
        const dukd_conv_spec *run = dukd_conv_get_spec(s->conv);
        printf("  %-16s %4d -> %4d  %4d x %4d  x %2d: %9.3f ms  %6.1f GFMA/s  %s%s, %s\n",
               kinds[s->spec.kind], (int)s->spec.in_channels, (int)s->spec.out_channels, (int)s->spec.width,
               (int)s->spec.height, (int)s->spec.images, s->seconds * 1e3,
               dukd_conv_multiply_adds(&s->spec) / s->seconds * 1e-9, layouts[run->source_layout + 1],
               run->kind != s->spec.kind ? " (turned)" : "", dukd_conv_implementation(s->conv));
    }
}
