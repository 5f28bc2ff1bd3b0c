/* See engine_net.h. */
#include "cuda_engine/engine_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/arrays.h"
#include "models/model.h"
#include "support/compare.h"
#include "support/fill.h"

#define COLOURS "num_in_ch=3 num_out_ch=3 "

const engine_net engine_nets[] = {
    {"EDSR", "EDSR", COLOURS "num_feat=16 num_block=3 upscale=4 res_scale=0.1", 2, 7, 5, 0, 0, {0}},
    {"EDSR, taps",
     "EDSR",
     COLOURS "num_feat=8 num_block=2 upscale=2",
     2,
     6,
     7,
     0,
     0,
     {"conv_first", "body.0", "conv_after_body", "conv_last"}},
    {"EDSR, frozen", "EDSR", COLOURS "num_feat=8 num_block=1 upscale=3", 1, 5, 6, 0, 1, {0}},
    {"RCAN",
     "RCAN",
     COLOURS "num_feat=16 num_group=2 num_block=2 squeeze_factor=4 upscale=4",
     2,
     6,
     7,
     0,
     0,
     {0}},
    {"SwinIR",
     "SwinIR",
     "upscale=4 img_size=8 window_size=4 mlp_ratio=2 upsampler=pixelshuffle embed_dim=12 depths=[2,2] "
     "num_heads=[2,3]",
     2,
     8,
     12,
     0,
     0,
     {0}},
    {"SwinIR, drop paths",
     "SwinIR",
     "upscale=2 img_size=8 window_size=4 mlp_ratio=2 upsampler=pixelshuffledirect embed_dim=10 depths=[2,2] "
     "num_heads=[2,2] drop_path_rate=0.3",
     3,
     8,
     8,
     1,
     0,
     {0}},
    {"CARN_M", "CARN_M", "num_feat=8 group=2 upscale=2", 2, 7, 6, 0, 0, {0}},
    {"RFDN", "RFDN", "num_feat=12 num_block=2 upscale=4", 1, 18, 17, 0, 0, {0}},
    {"IMDN", "IMDN", "num_feat=16 num_block=2 upscale=3", 2, 6, 6, 0, 0, {0}},
    {"VGG19, taps, frozen",
     "VGG19",
     "use_input_norm=true",
     1,
     16,
     16,
     0,
     1,
     {"features.1", "features.4", "features.6"}},
};
const int32_t engine_net_count = (int32_t)(sizeof engine_nets / sizeof *engine_nets);

/* ---- building ---- */

dukd_graph *engine_net_build(const engine_net *n) {
    dukd_failure f = {0};
    char text[512];
    const char *items[32];
    dukd_model_setting settings[16];
    int32_t count = 0, item_count = 0;
    assert_true(strlen(n->options) < sizeof text);
    memcpy(text, n->options, strlen(n->options) + 1);
    char *rest = text;
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " ")) {
        char *value = strchr(word, '=');
        if (!value) continue;
        *value++ = 0;
        dukd_model_setting s = {.key = word, .texts = &items[item_count], .is_list = *value == '['};
        if (s.is_list) value[strlen(value) - 1] = 0;
        value += s.is_list;
        for (char *item = strsep(&value, ","); item; item = strsep(&value, ",")) {
            items[item_count++] = item;
            s.count++;
        }
        settings[count++] = s;
    }
    dukd_model_spec spec;
    dukd_graph *g = NULL;
    if (dukd_model_spec_read(&spec, n->type, NULL, NULL, settings, count, &f) != DUKD_DONE ||
        dukd_model_build(&g, &spec, &f) != DUKD_DONE)
        fail_msg("%s: %s", n->name, f.message);
    return g;
}

/* ---- running ---- */

static float *zeros(int64_t count) {
    float *p = calloc((size_t)count + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

float *engine_net_place(dukd_engine *e, const float *from, int64_t count) {
    dukd_failure f = {0};
    void *p = NULL;
    if (dukd_engine_alloc(e, count * (int64_t)sizeof(float), "a test", &p, &f) != DUKD_DONE ||
        (from && dukd_engine_upload(e, p, from, count * (int64_t)sizeof(float), &f) != DUKD_DONE))
        fail_msg("%s", f.message);
    return p;
}

void engine_net_fetch(dukd_engine *e, float *to, const float *from, int64_t count) {
    dukd_failure f = {0};
    if (dukd_engine_download(e, to, from, count * (int64_t)sizeof(float), &f) != DUKD_DONE)
        fail_msg("%s", f.message);
}

/* The same in a run that may fail. */
static int place(dukd_engine *e, void **out, const float *from, int64_t count, dukd_failure *f) {
    int status = dukd_engine_alloc(e, count * (int64_t)sizeof(float), "a test", out, f);
    if (status == DUKD_DONE && from)
        status = dukd_engine_upload(e, *out, from, count * (int64_t)sizeof(float), f);
    return status;
}

static int fetch(dukd_engine *e, float *to, const void *from, int64_t count, dukd_failure *f) {
    return dukd_engine_download(e, to, from, count * (int64_t)sizeof(float), f);
}

typedef struct {
    dukd_network *network;
    dukd_exec *infer, *train;
    void *weights, *input, *drops, *d_weights, *d_input, *out[ENGINE_NET_OUTPUTS], *d_out[ENGINE_NET_OUTPUTS];
} on_engine;

static int prepare(on_engine *o, engine_result *r, dukd_engine *e, const engine_net *n, const dukd_graph *g,
                   dukd_precision precision, uint64_t seed, dukd_failure *f) {
    dukd_value values[ENGINE_NET_OUTPUTS] = {dukd_graph_output(g)};
    dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = n->batch, .height = n->height, .width = n->width, .outputs = values};
    for (; spec.output_count < ENGINE_NET_OUTPUTS && n->layers[spec.output_count]; spec.output_count++)
        values[spec.output_count] = dukd_graph_find_layer(g, n->layers[spec.output_count]);
    if (spec.output_count == 0) spec.output_count = 1;
    r->output_count = spec.output_count;
    r->weight_count = dukd_graph_weights(g);
    r->input_count = (int64_t)n->batch * dukd_graph_op(g, 0)->channels * n->height * n->width;
    r->d_input = zeros(r->input_count);
    r->d_weights = zeros(r->weight_count);
    const int64_t factors = (int64_t)dukd_graph_drop_count(g) * n->batch;
    float *weights = zeros(r->weight_count), *input = zeros(r->input_count), *drops = zeros(factors);
    dukd_graph_init(g, seed, weights);
    /* Biases begin as constants in places; everything is to differ. */
    for (int64_t i = 0; i < r->weight_count; i++)
        weights[i] += (float)(dukd_fill_bits(seed + 7, (uint64_t)i) % 97) * 2e-4f;
    dukd_fill_f32(input, r->input_count, seed + 1, 0, 1);
    for (int64_t i = 0; i < factors; i++) drops[i] = i % 3 == 1 ? 0 : 1.25f;
    int status = place(e, &o->weights, weights, r->weight_count, f);
    if (status == DUKD_DONE) status = place(e, &o->input, input, r->input_count, f);
    if (status == DUKD_DONE) status = place(e, &o->drops, drops, factors, f);
    if (status == DUKD_DONE) status = place(e, &o->d_weights, NULL, r->weight_count, f);
    if (status == DUKD_DONE) status = place(e, &o->d_input, NULL, r->input_count, f);
    free(weights);
    free(input);
    free(drops);
    for (int32_t i = 0; i < r->output_count && status == DUKD_DONE; i++) {
        int64_t size[2];
        dukd_graph_size(g, values[i], n->height, n->width, size);
        r->counts[i] = n->batch * dukd_graph_op(g, values[i])->channels * size[0] * size[1];
        r->infer[i] = zeros(r->counts[i]);
        r->train[i] = zeros(r->counts[i]);
        dukd_fill_f32(r->train[i], r->counts[i], seed + 2 + (uint64_t)i, -1, 1); /* until it has the output */
        status = place(e, &o->out[i], NULL, r->counts[i], f);
        if (status == DUKD_DONE) status = place(e, &o->d_out[i], r->train[i], r->counts[i], f);
    }
    if (status == DUKD_DONE) status = dukd_network_create(&o->network, e, g, precision, f);
    if (status == DUKD_DONE) status = dukd_network_set_weights(o->network, o->weights, f);
    if (status == DUKD_DONE) status = dukd_network_compile(o->network, &spec, &o->infer, f);
    spec.purpose = DUKD_TRAIN;
    if (status == DUKD_DONE) status = dukd_network_compile(o->network, &spec, &o->train, f);
    return status;
}

static int forward(on_engine *o, dukd_exec *x, float *const *to, const engine_result *r, dukd_engine *e,
                   const engine_net *n, dukd_failure *f) {
    float *outputs[ENGINE_NET_OUTPUTS];
    for (int32_t i = 0; i < r->output_count; i++) outputs[i] = o->out[i];
    dukd_exec_set_drops(x, n->drops ? o->drops : NULL);
    int status = dukd_exec_forward(x, n->batch, o->input, outputs, f);
    for (int32_t i = 0; i < r->output_count && status == DUKD_DONE; i++)
        status = fetch(e, to[i], o->out[i], r->counts[i], f);
    return status;
}

static int backward(on_engine *o, const engine_result *r, dukd_engine *e, const engine_net *n,
                    dukd_failure *f) {
    const float *d_outputs[ENGINE_NET_OUTPUTS];
    for (int32_t i = 0; i < r->output_count; i++) d_outputs[i] = o->d_out[i];
    int status = dukd_exec_backward(o->train, d_outputs, n->frozen ? NULL : o->d_weights, o->d_input, f);
    if (status == DUKD_DONE) status = fetch(e, r->d_input, o->d_input, r->input_count, f);
    if (status == DUKD_DONE) status = fetch(e, r->d_weights, o->d_weights, r->weight_count, f);
    return status;
}

int engine_net_run(engine_result *out, dukd_engine *e, const engine_net *n, const dukd_graph *g,
                   dukd_precision precision, uint64_t seed, dukd_failure *f) {
    on_engine o = {0};
    engine_result r = {0};
    int status = prepare(&o, &r, e, n, g, precision, seed, f);
    if (status == DUKD_DONE) status = forward(&o, o.infer, r.infer, &r, e, n, f);
    if (status == DUKD_DONE) status = forward(&o, o.train, r.train, &r, e, n, f);
    if (status == DUKD_DONE) status = backward(&o, &r, e, n, f);
    dukd_network_destroy(o.network);
    void *const arrays[] = {o.weights, o.input, o.drops, o.d_weights, o.d_input};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) dukd_engine_release(e, arrays[i]);
    for (int32_t i = 0; i < ENGINE_NET_OUTPUTS; i++) {
        dukd_engine_release(e, o.out[i]);
        dukd_engine_release(e, o.d_out[i]);
    }
    if (status != DUKD_DONE) engine_result_free(&r);
    *out = r;
    return status;
}

void engine_result_free(engine_result *r) {
    for (int32_t i = 0; i < ENGINE_NET_OUTPUTS; i++) {
        free(r->infer[i]);
        free(r->train[i]);
    }
    free(r->d_input);
    free(r->d_weights);
    *r = (engine_result){0};
}

/* ---- comparing ---- */

static double worse(double a, double b) {
    return a >= b ? a : b; /* a NaN stays */
}

engine_gap engine_result_gap(const dukd_graph *g, const engine_result *a, const engine_result *b) {
    engine_gap gap = {0};
    for (int32_t i = 0; i < a->output_count; i++) {
        gap.infer = worse(dukd_relative_error(a->infer[i], b->infer[i], a->counts[i]), gap.infer);
        gap.train = worse(dukd_relative_error(a->train[i], b->train[i], a->counts[i]), gap.train);
    }
    gap.d_input = dukd_relative_error(a->d_input, b->d_input, a->input_count);
    double delta = 0, whole = 0;
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        gap.d_weights = worse(
            dukd_relative_error(a->d_weights + p->offset, b->d_weights + p->offset, p->count), gap.d_weights);
    }
    for (int64_t i = 0; i < a->weight_count; i++) {
        const double d = (double)a->d_weights[i] - (double)b->d_weights[i];
        delta += d * d;
        whole += (double)b->d_weights[i] * (double)b->d_weights[i];
    }
    gap.d_norm = whole > 0 ? sqrt(delta / whole) : delta > 0 ? INFINITY : 0;
    return gap;
}

static int same(const float *a, const float *b, int64_t count) {
    return count == 0 || memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

int engine_result_same(const engine_result *a, const engine_result *b) {
    int is =
        same(a->d_input, b->d_input, a->input_count) && same(a->d_weights, b->d_weights, a->weight_count);
    for (int32_t i = 0; i < a->output_count; i++)
        is = is && same(a->infer[i], b->infer[i], a->counts[i]) &&
             same(a->train[i], b->train[i], a->counts[i]);
    return is;
}
