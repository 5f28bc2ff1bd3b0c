/* A program: its values, its steps, and their memory. */
#include <stdlib.h>

#include "common/checked.h"
#include "engine/onednn/onednn_planner.h"
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
    dukd_graph_size(p->network->graph, n->size_of, p->height, p->width, size);
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
    if (p->purpose != DUKD_TRAIN || p->network->engine->worker.isa < DUKD_ISA_AVX512) return 0;
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        if (n->kind == DUKD_NODE_OUTPUT || n->kind == DUKD_NODE_INPUT) continue;
        const dukd_node *source = &p->fused.nodes[n->in[0]];
        if (source->kind == DUKD_NODE_INPUT && (n->kind != DUKD_NODE_CONV || source->channels > 4)) return 0;
        if (!knows_blocks(n) || (channels_in_memory(n) % LANES != 0 && !is_pixel(p, n))) return 0;
        for (int k = 1; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0 && p->fused.nodes[n->in[k]].kind == DUKD_NODE_INPUT) return 0;
    }
    return 1;
}

/* Where it is cheap to compute a convolution's source again, that is not kept. */
static void choose_kept(onednn_planner *s) {
    onednn_program *p = s->program;
    if (p->purpose != DUKD_TRAIN) return;
    for (int32_t i = 0; i < p->fused.count; i++) dukd_fused_note_kept(&p->fused, i, s->keep, s->again);
    for (int32_t i = 0; i < p->fused.count; i++) {
        dukd_node_kind kind = p->fused.nodes[i].kind;
        /* A norm again costs 2 % of a step of SwinIR for a fifth of its memory: not where numbers are small. */
        int cheap =
            kind == DUKD_NODE_GELU || (kind == DUKD_NODE_LAYER_NORM && p->network->type == DUKD_TYPE_F32);
        if (s->again[i] && !cheap) s->keep[i] = 1;
        if (s->keep[i]) s->again[i] = 0;
    }
}

/* In a bf16 network the last layers are f32: convolutions that only outputs read. So is what they read, where a
 * convolution can write it so and nobody else wants it; else it is cast for them (onednn_plan_forward.c). */
static void choose_wide(onednn_planner *s) {
    const onednn_program *p = s->program;
    if (p->network->type == DUKD_TYPE_F32) return;
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        s->wide[i] = n->kind == DUKD_NODE_CONV && (n->last || n->in[1] < 0);
    }
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        int last = n->kind == DUKD_NODE_CONV && n->last;
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0 && !(k == 0 && (last || n->kind == DUKD_NODE_OUTPUT))) s->wide[n->in[k]] = 0;
    }
}

static int describe_values(onednn_planner *s) {
    onednn_program *p = s->program;
    s->blocked = can_block(p);
    choose_wide(s);
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        int64_t size[2];
        size_of(p, n, size);
        if (size[0] < 1 || size[1] < 1 || size[0] > INT32_MAX || size[1] > INT32_MAX)
            return dukd_fail(s->failure, DUKD_MISUSED,
                             "images of %d x %d pixels (width x height) are too small for this network",
                             (int)p->width, (int)p->height);
        onednn_value v = {.buffer = -1,
                          .channels = channels_in_memory(n),
                          .up = n->up,
                          .height = (int32_t)size[0],
                          .width = (int32_t)size[1],
                          .type = s->wide[i] ? DUKD_TYPE_F32 : p->network->type};
        int pixel = v.height == 1 && v.width == 1;
        if (s->blocked && v.channels % LANES == 0 && v.channels > LANES && !pixel) v.layout = DUKD_BLOCK16;
        if (s->blocked && v.channels % LANES != 0 && !pixel) v.layout = DUKD_PLANAR; /* the input */
        v.rows = v.height;
        s->gradient[i] = v;
        v.banded = i >= p->band_node;
        v.halo = s->halo[i];
        if (v.banded)
            v.rows = p->band_rows * v.up + 2 * v.halo;
        else
            v.skip = v.halo;
        s->value[i] = v;
        s->stats[i] = onednn_none;
        if (s->blocked && n->kind == DUKD_NODE_INPUT) { /* whole vectors: no code writes planes */
            s->gradient[i].channels = in_lanes(n->channels);
            s->gradient[i].layout = DUKD_NHWC;
        }
        s->last_use[i] = i;
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0) s->last_use[n->in[k]] = i;
    }
    choose_kept(s);
    return DUKD_DONE;
}

/* ---- memory ---- */

/* When the batch goes through in parts, what is kept lives through all of them. */
static int plan_memory(onednn_program *p, dukd_failure *f) {
    dukd_buffer *plan = calloc((size_t)p->buffer_count + 1, sizeof *plan);
    if (!plan) return dukd_fail_memory(f, "planning memory", ((size_t)p->buffer_count + 1) * sizeof *plan);
    int status = DUKD_DONE;
    for (int32_t i = 0; i < p->buffer_count && status == DUKD_DONE; i++) {
        onednn_buffer *b = &p->buffers[i];
        b->kept = b->first < p->forward_steps && b->last >= p->forward_steps && p->part < p->batch;
        plan[i] = (dukd_buffer){.first = b->first, .last = b->last};
        if (b->first < p->whole_steps && b->last >= p->whole_steps)
            plan[i].last = p->step_count; /* all bands */
        if (b->kept) plan[i] = (dukd_buffer){.first = 0, .last = p->step_count};
        if (!dukd_checked_mul(b->image_bytes, b->kept ? p->batch : p->part, &plan[i].bytes))
            status =
                dukd_fail(f, DUKD_MISUSED,
                          "a batch of %d images of %d x %d pixels needs more memory than can be addressed",
                          (int)p->batch, (int)p->width, (int)p->height);
    }
    if (status == DUKD_DONE) status = dukd_arena_plan(plan, p->buffer_count, &p->arena_bytes, f);
    for (int32_t i = 0; i < p->buffer_count; i++) p->buffers[i].offset = plan[i].offset;
    free(plan);
    return status;
}

/* Training takes as many images at a time as leave a body's values in the cache, but one for each thread. */
static int32_t choose_train_part(const onednn_program *p) {
    int64_t widest = 1;
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        int64_t size[2], bytes;
        if (n->kind == DUKD_NODE_OUTPUT || n->up != 1) continue;
        size_of(p, n, size);
        bytes = n->channels * size[0] * size[1] * dukd_type_bytes(p->network->type);
        if (bytes > widest) widest = bytes;
    }
    int64_t images = PART_BYTES / widest, threads = p->network->engine->worker.threads;
    if (images < threads) images = threads;
    int32_t part = images < p->batch ? (int32_t)images : p->batch;
    while (p->batch % part != 0) part++; /* a divisor, and rather more images than less */
    return part;
}

static int32_t choose_part(const onednn_program *p) {
    if (p->purpose == DUKD_TRAIN) return choose_train_part(p);
    int64_t pixels = (int64_t)p->height * p->width, images = (PART_PIXELS + pixels - 1) / pixels;
    return images < p->batch ? (int32_t)images : p->batch;
}

static int plan_nodes(onednn_planner *s) {
    onednn_program *p = s->program;
    onednn_choose_bands(p, s->halo);
    int status = describe_values(s);
    if (status != DUKD_DONE) return status;
    for (int32_t i = 0; i < p->fused.count; i++) {
        if (i == p->band_node) p->whole_steps = p->step_count;
        onednn_plan_node(s, i, NULL);
    }
    p->forward_steps = p->step_count;
    if (p->band_node == p->fused.count) p->whole_steps = p->forward_steps;
    if (p->purpose == DUKD_TRAIN) onednn_plan_backward(s);
    return s->status == DUKD_DONE ? plan_memory(p, s->failure) : s->status;
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

int onednn_plan(onednn_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    p->purpose = spec->purpose;
    p->batch = spec->batch;
    p->height = spec->height;
    p->width = spec->width;
    p->output_count = spec->output_count;
    dukd_fuse_mode mode = {.train = spec->purpose == DUKD_TRAIN, .drops = drops};
    int status = dukd_fuse(&p->fused, p->network->graph, spec->outputs, spec->output_count, mode, f);
    if (status == DUKD_DONE) status = check_windows(&p->fused, f);
    if (status != DUKD_DONE) return status;
    p->part = choose_part(p);
    size_t part = (size_t)p->part * sizeof *p->part_drops;
    if (drops && !(p->part_drops = malloc(part))) return dukd_fail_memory(f, "compiling a network", part);

    size_t count = (size_t)p->fused.count;
    onednn_planner s = {.program = p, .failure = f};
    s.value = calloc(3 * count, sizeof *s.value);
    s.last_use = calloc(6 * count, sizeof *s.last_use);
    if (s.value && s.last_use) {
        s.gradient = s.value + count;
        s.stats = s.gradient + count;
        s.keep = s.last_use + count;
        s.again = s.keep + count;
        s.passed = s.again + count;
        s.halo = s.passed + count;
        s.wide = s.halo + count;
        status = plan_nodes(&s);
    } else {
        status = dukd_fail_memory(f, "compiling a network",
                                  count * (3 * sizeof *s.value + 6 * sizeof *s.last_use));
    }
    free(s.value);
    free(s.last_use);
    return status;
}
