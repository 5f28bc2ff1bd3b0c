/* What the oneDNN engine says of itself to the planner (engine/plan.h): parts of the batch, layouts, convolutions. */
#include <stdlib.h>

#include "engine/onednn/onednn_state.h"
#include "engine/ops_kernels.h"

enum {
    LANES = 16,
    PART_PIXELS = 2 * 48 * 48, /* of the input, that inference takes at a time at least */
    PART_BYTES = 4 << 20,      /* of the body's widest value, that training takes at a time */
};

/* ---- values ---- */

static int32_t in_lanes(int32_t channels) {
    return (channels + LANES - 1) / LANES * LANES;
}

/* Channels in memory. Those that only the output's conversion reads are padded to whole vectors. */
static int32_t channels_in_memory(const dukd_node *n) {
    int pads = n->kind == DUKD_NODE_CONV && n->last && n->in[1] < 0 && n->op->groups == 1;
    return pads ? in_lanes(n->channels) : n->channels;
}

static void size_of(const onednn_program *p, const dukd_node *n, int64_t size[2]) {
    dukd_graph_size(p->network->graph, n->size_of, p->plan.height, p->plan.width, size);
}

/* One pixel: its channels lie the same in every layout. */
static int is_pixel(const onednn_program *p, const dukd_node *n) {
    int64_t size[2];
    size_of(p, n, size);
    return size[0] == 1 && size[1] == 1;
}

/* Kinds of nodes that work in blocks: convolutions, and what sees an element or a channel at a time. */
static int knows_blocks(const dukd_node *n) {
    switch (n->kind) {
    case DUKD_NODE_CONV:
        return dukd_node_is_plain(n);
    case DUKD_NODE_RELU:
    case DUKD_NODE_SCALE:
    case DUKD_NODE_ADD:
    case DUKD_NODE_SHUFFLE:
    case DUKD_NODE_AFFINE:
    case DUKD_NODE_GELU:
    case DUKD_NODE_SIGMOID:
    case DUKD_NODE_MUL:
    case DUKD_NODE_MEAN:
    case DUKD_NODE_DEVIATION:
        return 1;
    default:
        return 0;
    }
}

/* Training is faster in blocks of 16 channels (the weight gradient is), inference in NHWC. Blocks want every
 * value to have whole ones, but for an image's few channels in the first and single pixels. */
static int32_t can_block(const onednn_program *p) {
    if (p->plan.purpose != DUKD_TRAIN || p->network->engine->worker.isa < DUKD_ISA_AVX512) return 0;
    for (int32_t i = 0; i < p->plan.fused.count; i++) {
        const dukd_node *n = &p->plan.fused.nodes[i];
        if (n->kind == DUKD_NODE_OUTPUT || n->kind == DUKD_NODE_INPUT) continue;
        const dukd_node *source = &p->plan.fused.nodes[n->in[0]];
        if (source->kind == DUKD_NODE_INPUT && (n->kind != DUKD_NODE_CONV || source->channels > 4)) return 0;
        if (!knows_blocks(n) || (channels_in_memory(n) % LANES != 0 && !is_pixel(p, n))) return 0;
        for (int k = 1; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0 && p->plan.fused.nodes[n->in[k]].kind == DUKD_NODE_INPUT) return 0;
    }
    return 1;
}

static void lay_out(const void *program, const dukd_node *n, int gradient, dukd_plan_value *v) {
    const onednn_program *p = program;
    const int pixel = v->height == 1 && v->width == 1;
    v->channels = channels_in_memory(n);
    if (!p->blocked) return;
    if (gradient && n->kind == DUKD_NODE_INPUT)
        v->channels = in_lanes(n->channels); /* whole vectors: no code writes planes */
    else if (!pixel && v->channels % LANES != 0)
        v->layout = DUKD_PLANAR; /* the input */
    else if (!pixel && v->channels > LANES)
        v->layout = DUKD_BLOCK16;
}

/* ---- parts ---- */

/* Training takes as many images at a time as leave a body's values in the cache, but one for each thread. */
static int32_t choose_train_part(const onednn_program *p) {
    int64_t widest = 1;
    for (int32_t i = 0; i < p->plan.fused.count; i++) {
        const dukd_node *n = &p->plan.fused.nodes[i];
        int64_t size[2], bytes;
        if (n->kind == DUKD_NODE_OUTPUT || n->up != 1) continue;
        size_of(p, n, size);
        bytes = n->channels * size[0] * size[1] * dukd_type_bytes(p->network->type);
        if (bytes > widest) widest = bytes;
    }
    int64_t images = PART_BYTES / widest, threads = p->network->engine->worker.threads;
    if (images < threads) images = threads;
    int32_t part = images < p->plan.batch ? (int32_t)images : p->plan.batch;
    while (p->plan.batch % part != 0) part++; /* a divisor, and rather more images than less */
    return part;
}

static int32_t choose_part(const onednn_program *p) {
    if (p->plan.purpose == DUKD_TRAIN) return choose_train_part(p);
    int64_t pixels = (int64_t)p->plan.height * p->plan.width, images = (PART_PIXELS + pixels - 1) / pixels;
    return images < p->plan.batch ? (int32_t)images : p->plan.batch;
}

/* A window's tokens have a table of fixed size (ops_window.h). */
static int check_windows(const dukd_fused *fused, dukd_failure *f) {
    for (int32_t i = 0; i < fused->count; i++) {
        const dukd_node *n = &fused->nodes[i];
        if (n->kind == DUKD_NODE_ATTENTION && n->op->kernel * n->op->kernel > DUKD_ATTENTION_TOKENS)
            return dukd_fail(
                f, DUKD_MISUSED,
                "attention in windows of %d x %d pixels: the engine on the processor computes windows "
                "of %d pixels at most (16 x 16)",
                (int)n->op->kernel, (int)n->op->kernel, DUKD_ATTENTION_TOKENS);
    }
    return DUKD_DONE;
}

static int begin(void *program, dukd_failure *f) {
    onednn_program *p = program;
    p->plan.part = choose_part(p);
    p->blocked = can_block(p);
    return check_windows(&p->plan.fused, f);
}

/* ---- steps ---- */

static int reserve(void *program, const dukd_plan_step *step, dukd_failure *f) {
    const onednn_program *p = program;
    onednn_engine *e = p->network->engine;
    const onednn_operands o = {.program = p,
                               .a = dukd_plan_shape(&p->plan, &step->a),
                               .b = dukd_plan_shape(&p->plan, &step->b),
                               .out = dukd_plan_shape(&p->plan, &step->out)};
    return dukd_block_reserve(&e->scratch, onednn_op_scratch(step, &o), 0, &e->memory,
                              "an operation's scratch", f);
}

static dukd_conv_spec spec_of(const onednn_program *p, dukd_conv_kind kind, const dukd_plan_value *source,
                              const dukd_plan_value *dest, const dukd_run_conv *run, int32_t pad) {
    int32_t pad_rows = dest->banded ? 0 : pad; /* a band's source has the rows */
    return (dukd_conv_spec){.kind = kind,
                            .images = p->plan.part,
                            .in_channels = source->channels,
                            .out_channels = dest->channels,
                            .groups = run->groups,
                            .height = dest->rows,
                            .width = dest->width,
                            .source_height = source->rows,
                            .source_width = source->width,
                            .side = run->side,
                            .stride = run->stride,
                            .pad_top = pad_rows,
                            .pad_bottom = pad_rows,
                            .pad_left = pad,
                            .pad_right = pad,
                            .source_type = source->type,
                            .dest_type = dest->type,
                            .source_layout = source->layout,
                            .dest_layout = dest->layout};
}

/* The data gradients that are convolutions with transposed weights, which can add; oneDNN's own cannot. */
static int is_transposable(const dukd_node *conv) {
    return conv->op->stride == 1 && conv->op->groups == 1;
}

static dukd_conv_post post_of(const dukd_plan_step *step) {
    if (step->b.buffer >= 0) return step->b.buffer == step->out.buffer ? DUKD_POST_SUM : DUKD_POST_ADD;
    return step->node->act == DUKD_ACT_RELU   ? DUKD_POST_RELU
           : step->node->act == DUKD_ACT_GELU ? DUKD_POST_GELU
                                              : DUKD_POST_NONE;
}

static int get_conv(onednn_program *p, dukd_plan_step *step, const dukd_conv_spec *spec, dukd_failure *f) {
    dukd_conv *conv = NULL;
    const int status = onednn_get_conv(p->network->engine, spec, &conv, f);
    step->conv = conv;
    return status;
}

static int compile(void *program, dukd_plan_step *step, dukd_failure *f) {
    onednn_program *p = program;
    const dukd_node *n = step->node, *source = &p->plan.fused.nodes[n->in[0]];
    const int forward = step->kind == DUKD_STEP_CONV, weights = step->kind == DUKD_STEP_WEIGHTS_GRADIENT;
    const int transposed = !forward && !weights && is_transposable(n);
    const dukd_plan_value *in = forward || weights ? &step->a : &step->out; /* the source or its gradient */
    const dukd_plan_value *out = forward ? &step->out : weights ? &step->b : &step->a;
    const int32_t pad = dukd_node_padding(n);
    step->run = dukd_run_conv_of(p->network->graph, n, source, in->channels, out->channels);
    dukd_conv_spec spec =
        spec_of(p, weights ? DUKD_CONV_WEIGHTS_GRADIENT : DUKD_CONV_DATA_GRADIENT, in, out, &step->run, pad);
    if (transposed) {
        step->kind = DUKD_STEP_CONV;
        spec = spec_of(p, DUKD_CONV_FORWARD, out, in, &step->run, step->run.side - 1 - pad);
        spec.post = step->accumulate ? DUKD_POST_SUM : DUKD_POST_NONE;
    } else if (forward) {
        spec.kind = DUKD_CONV_FORWARD;
        spec.post = post_of(step);
        spec.slope = spec.post == DUKD_POST_RELU ? n->slope : 0;
        spec.bias = step->run.bias != NULL;
    }
    int status = get_conv(p, step, &spec, f);
    if (status == DUKD_DONE && spec.post == DUKD_POST_ADD && !dukd_conv_adds(step->conv)) {
        step->b.buffer = -1;
        spec.post = DUKD_POST_NONE;
        status = get_conv(p, step, &spec, f);
    }
    if (status != DUKD_DONE || weights) return status;
    return onednn_get_packed(p->network, &step->run, transposed, step->conv, &step->packed, f);
}

/* A norm again costs 2 % of a step of SwinIR for a fifth of its memory. */
static const dukd_plan_backend planned = {.bands = 1,
                                          .mixed_types = 1,
                                          .norm_again = 1,
                                          .gelu_back_again = 1,
                                          .begin = begin,
                                          .lay_out = lay_out,
                                          .compile = compile,
                                          .adds_data_gradient = is_transposable,
                                          .reserve = reserve};

int onednn_plan(onednn_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    int status = dukd_plan_make(&p->plan, &planned, p, p->network->graph, p->network->type, spec, drops, f);
    const size_t part = (size_t)p->plan.part * sizeof *p->part_drops;
    if (status == DUKD_DONE && drops && !(p->part_drops = malloc(part)))
        status = dukd_fail_memory(f, "compiling a network", part);
    return status;
}
