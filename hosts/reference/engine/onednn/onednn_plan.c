/* A program's forward half, and its memory. */
#include <stdlib.h>

#include "common/checked.h"
#include "engine/onednn/onednn_planner.h"

enum {
    LANES = 16,
    PART_PIXELS = 2 * 48 * 48, /* of the input, that inference takes at a time at least */
};

/* ---- steps and buffers ---- */

static void stop(onednn_planner *s, int status) {
    if (s->status == DUKD_DONE) s->status = status;
}

/* Makes room for one more element. */
static void *grow(onednn_planner *s, void *array, int32_t count, int32_t *room, size_t element) {
    if (s->status != DUKD_DONE || count < *room) return array;
    int32_t wanted = count ? 2 * count : 128;
    void *larger = realloc(array, (size_t)wanted * element);
    if (!larger) {
        stop(s, dukd_fail_memory(s->failure, "compiling a network", (size_t)wanted * element));
        return array;
    }
    *room = wanted;
    return larger;
}

static void use(onednn_program *p, const onednn_value *v) {
    if (v->buffer >= 0) p->buffers[v->buffer].last = p->step_count;
}

void onednn_emit(onednn_planner *s, onednn_step step) {
    onednn_program *p = s->program;
    p->steps = grow(s, p->steps, p->step_count, &p->step_room, sizeof *p->steps);
    if (s->status != DUKD_DONE) return;
    use(p, &step.a);
    use(p, &step.b);
    use(p, &step.out);
    p->steps[p->step_count++] = step;
}

void onednn_new_buffer(onednn_planner *s, onednn_value *v) {
    onednn_program *p = s->program;
    v->buffer = -1;
    p->buffers = grow(s, p->buffers, p->buffer_count, &p->buffer_room, sizeof *p->buffers);
    if (s->status != DUKD_DONE) return;
    /* At most 2^12 channels x (2^16 x 2^6)^2 pixels x 4: no overflow. */
    int64_t rows = (int64_t)(v->banded ? p->band_rows : p->height) * v->up + 2 * v->halo;
    int64_t bytes = v->channels * dukd_type_bytes(v->type) * rows * ((int64_t)p->width * v->up);
    p->buffers[p->buffer_count] =
        (onednn_buffer){.image_bytes = bytes, .first = p->step_count, .last = p->step_count};
    v->buffer = p->buffer_count++;
}

/* ---- convolutions ---- */

static dukd_conv_spec spec_of(const onednn_program *p, const onednn_value *source, const onednn_value *dest,
                              int32_t side) {
    int32_t pad = side / 2, pad_rows = dest->banded ? 0 : pad; /* a band's source has the rows */
    return (dukd_conv_spec){.images = p->part,
                            .in_channels = source->channels,
                            .out_channels = dest->channels,
                            .height = dest->rows,
                            .width = p->width * dest->up,
                            .side = side,
                            .pad_top = pad_rows,
                            .pad_bottom = pad_rows,
                            .pad_left = pad,
                            .pad_right = pad,
                            .source_type = source->type,
                            .dest_type = dest->type,
                            .source_layout = source->layout,
                            .dest_layout = dest->layout};
}

void onednn_emit_conv(onednn_planner *s, onednn_step step, const dukd_run_conv *run, int32_t transposed,
                      int32_t post) {
    if (s->status != DUKD_DONE) return;
    dukd_conv_spec spec = spec_of(s->program, &step.a, &step.out, run->side);
    spec.kind = DUKD_CONV_FORWARD;
    spec.post = post;
    spec.bias = !transposed && run->bias;
    step.kind = STEP_CONV;
    onednn_network *n = s->program->network;
    stop(s, onednn_get_conv(n->engine, &spec, &step.conv, s->failure));
    if (s->status == DUKD_DONE)
        stop(s, onednn_get_packed(n, run, transposed, step.conv, &step.packed, s->failure));
    onednn_emit(s, step);
}

void onednn_emit_weights_gradient(onednn_planner *s, onednn_step step) {
    if (s->status != DUKD_DONE) return;
    dukd_conv_spec spec = spec_of(s->program, &step.a, &step.b, step.run.side);
    spec.kind = DUKD_CONV_WEIGHTS_GRADIENT;
    step.kind = STEP_WEIGHTS_GRADIENT;
    stop(s, onednn_get_conv(s->program->network->engine, &spec, &step.conv, s->failure));
    onednn_emit(s, step);
}

/* ---- values ---- */

static int32_t in_lanes(int32_t channels) {
    return (channels + LANES - 1) / LANES * LANES;
}

/* Channels in memory. Those that only the output's conversion reads are padded to whole vectors. */
static int32_t channels_in_memory(const dukd_node *n) {
    return n->kind == DUKD_NODE_CONV && n->last && n->in[1] < 0 ? in_lanes(n->channels) : n->channels;
}

/* Training is faster in blocks of 16 channels (the weight gradient is), inference in NHWC. Blocks want every
 * convolution to have whole ones, but for an image's few channels in the first. */
static int32_t can_block(const onednn_program *p) {
    if (p->purpose != DUKD_TRAIN || p->network->engine->worker.isa != DUKD_ISA_AVX512) return 0;
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        if (n->kind == DUKD_NODE_OUTPUT || n->kind == DUKD_NODE_INPUT) continue;
        const dukd_node *source = &p->fused.nodes[n->in[0]];
        if (source->kind == DUKD_NODE_INPUT && (n->kind != DUKD_NODE_CONV || source->channels > 4)) return 0;
        if (channels_in_memory(n) % LANES != 0 ||
            (n->in[1] >= 0 && p->fused.nodes[n->in[1]].kind == DUKD_NODE_INPUT))
            return 0;
    }
    return 1;
}

static void describe_values(onednn_planner *s) {
    onednn_program *p = s->program;
    s->blocked = can_block(p);
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        onednn_value v = {
            .buffer = -1, .channels = channels_in_memory(n), .up = n->up, .type = p->network->type};
        if (s->blocked && v.channels % LANES == 0 && v.channels > LANES) v.layout = DUKD_BLOCK16;
        if (s->blocked && v.channels % LANES != 0) v.layout = DUKD_PLANAR; /* the input */
        v.rows = p->height * v.up;
        s->gradient[i] = v;
        v.banded = i >= p->band_node;
        v.halo = s->halo[i];
        if (v.banded)
            v.rows = p->band_rows * v.up + 2 * v.halo;
        else
            v.skip = v.halo;
        s->value[i] = v;
        if (s->blocked && n->kind == DUKD_NODE_INPUT) { /* whole vectors: no code writes planes */
            s->gradient[i].channels = in_lanes(n->channels);
            s->gradient[i].layout = DUKD_NHWC;
        }
        if (n->last && n->in[1] < 0) s->value[i].type = DUKD_TYPE_F32; /* a residual lies beside its sum */
        s->last_use[i] = i;
        for (int k = 0; k < 2; k++)
            if (n->in[k] >= 0) s->last_use[n->in[k]] = i;
        if (p->purpose != DUKD_TRAIN) continue;
        if (n->kind == DUKD_NODE_CONV) s->keep[n->in[0]] = 1;
        if (n->kind == DUKD_NODE_RELU || n->relu) s->keep[i] = 1;
    }
}

/* ---- forward ---- */

static const onednn_value none = {.buffer = -1};

/* What node i sees of its operand: all rows, or those of its band and `radius` more on both sides. */
static onednn_value operand(const onednn_planner *s, int32_t i, int32_t from, int32_t radius) {
    const onednn_program *p = s->program;
    const dukd_node *n = &p->fused.nodes[i];
    onednn_value v = s->value[from];
    if (i < p->band_node) return v;
    int32_t beside = s->value[i].halo;
    if (n->kind == DUKD_NODE_OUTPUT) beside = 0;
    if (n->kind == DUKD_NODE_SHUFFLE) beside /= n->shuffle;
    v.skip = v.halo - beside - radius;
    v.rows = p->band_rows * v.up + 2 * (beside + radius);
    v.moves = !v.banded;
    return v;
}

/* After a value is written whose halo someone reads. */
static void emit_edges(onednn_planner *s, int32_t i) {
    onednn_step step = {.kind = STEP_EDGES, .a = none, .b = none, .out = s->value[i]};
    if (step.out.halo == 0) return;
    int32_t rows = step.out.banded ? s->program->band_rows : s->program->height;
    step.out.skip = 0;
    step.out.rows = rows * step.out.up + 2 * step.out.halo;
    onednn_emit(s, step);
}

/* Whether the convolution at i can write its sum over the residual. */
static int sums_in_place(const onednn_planner *s, int32_t i) {
    const dukd_node *n = &s->program->fused.nodes[i];
    int32_t residual = n->in[1];
    return s->last_use[residual] == i && !s->keep[residual] && residual != n->in[0] &&
           s->value[residual].type == s->value[i].type && s->value[residual].banded == s->value[i].banded &&
           s->value[residual].halo == s->value[i].halo;
}

static void plan_conv(onednn_planner *s, int32_t i) {
    onednn_program *p = s->program;
    const dukd_node *n = &p->fused.nodes[i];
    onednn_value source = operand(s, i, n->in[0], dukd_node_radius(n));
    dukd_run_conv run = dukd_run_conv_of(p->network->graph, n, &p->fused.nodes[n->in[0]], source.channels,
                                         s->value[i].channels);
    onednn_step step = {.node = n, .a = source, .b = none};
    int32_t post = n->relu ? DUKD_POST_RELU : DUKD_POST_NONE;
    if (n->in[1] < 0) {
        onednn_new_buffer(s, &s->value[i]);
    } else if (sums_in_place(s, i)) {
        s->value[i].buffer = s->value[n->in[1]].buffer;
        post = DUKD_POST_SUM;
    } else {
        onednn_new_buffer(s, &s->value[i]);
        step.b = operand(s, i, n->in[1], 0);
        post = DUKD_POST_ADD;
    }
    step.out = s->value[i];
    onednn_emit_conv(s, step, &run, 0, post);
    if (post != DUKD_POST_ADD || s->status != DUKD_DONE) return;
    onednn_step *last = &p->steps[p->step_count - 1];
    if (dukd_conv_adds(last->conv)) return;
    p->step_count--; /* once more, with the addition as a step of its own */
    step.b = none;
    onednn_emit_conv(s, step, &run, 0, DUKD_POST_NONE);
    step = (onednn_step){
        .kind = STEP_ADD, .node = n, .a = s->value[i], .b = operand(s, i, n->in[1], 0), .out = s->value[i]};
    onednn_emit(s, step);
}

static void plan_node(onednn_planner *s, int32_t i) {
    const dukd_node *n = &s->program->fused.nodes[i];
    onednn_step step = {.node = n, .a = none, .b = none, .out = none};
    if (n->kind == DUKD_NODE_CONV) {
        plan_conv(s, i);
        emit_edges(s, i);
        return;
    }
    if (n->in[0] >= 0) step.a = operand(s, i, n->in[0], 0);
    if (n->in[1] >= 0) step.b = operand(s, i, n->in[1], 0);
    if (n->kind != DUKD_NODE_OUTPUT) {
        onednn_new_buffer(s, &s->value[i]);
        step.out = s->value[i];
    }
    step.factors = n->factors;
    step.shifts = n->shifts;
    step.factor = n->scale;
    switch (n->kind) {
    case DUKD_NODE_INPUT:
        step.kind = STEP_IMPORT;
        break;
    case DUKD_NODE_OUTPUT:
        step.kind = STEP_EXPORT;
        break;
    case DUKD_NODE_RELU:
        step.kind = STEP_RELU;
        break;
    case DUKD_NODE_SCALE:
        step.kind = STEP_SCALE;
        break;
    case DUKD_NODE_ADD:
        step.kind = STEP_ADD;
        break;
    case DUKD_NODE_AFFINE:
        step.kind = STEP_AFFINE;
        break;
    case DUKD_NODE_SHUFFLE:
        step.kind = STEP_SHUFFLE;
        step.order = s->program->fused.nodes[n->in[0]].order;
        break;
    case DUKD_NODE_CONV:
        break;
    }
    onednn_emit(s, step);
    if (n->kind != DUKD_NODE_OUTPUT) emit_edges(s, i);
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

static int32_t choose_part(const dukd_exec_spec *spec) {
    if (spec->purpose == DUKD_TRAIN) return spec->batch;
    int64_t pixels = (int64_t)spec->height * spec->width, images = (PART_PIXELS + pixels - 1) / pixels;
    return images < spec->batch ? (int32_t)images : spec->batch;
}

int onednn_plan(onednn_program *p, const dukd_exec_spec *spec, dukd_failure *f) {
    p->purpose = spec->purpose;
    p->batch = spec->batch;
    p->height = spec->height;
    p->width = spec->width;
    p->part = choose_part(spec);
    p->output_count = spec->output_count;
    int status = dukd_fuse(&p->fused, p->network->graph, spec->outputs, spec->output_count, f);
    if (status != DUKD_DONE) return status;

    size_t count = (size_t)p->fused.count;
    onednn_planner s = {.program = p, .failure = f};
    s.value = calloc(2 * count, sizeof *s.value);
    s.last_use = calloc(3 * count, sizeof *s.last_use);
    if (s.value && s.last_use) {
        s.gradient = s.value + count;
        s.keep = s.last_use + count;
        s.halo = s.keep + count;
        onednn_choose_bands(p, s.halo);
        describe_values(&s);
        for (int32_t i = 0; i < p->fused.count; i++) {
            if (i == p->band_node) p->whole_steps = p->step_count;
            plan_node(&s, i);
        }
        p->forward_steps = p->step_count;
        if (p->band_node == p->fused.count) p->whole_steps = p->forward_steps;
        if (p->purpose == DUKD_TRAIN) onednn_plan_backward(&s);
        if (s.status == DUKD_DONE) s.status = plan_memory(p, f);
    } else {
        s.status = dukd_fail_memory(f, "compiling a network",
                                    2 * count * (sizeof *s.value + 2 * sizeof *s.last_use));
    }
    free(s.value);
    free(s.last_use);
    return s.status;
}
