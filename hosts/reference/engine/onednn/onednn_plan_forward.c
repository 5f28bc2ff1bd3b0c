/* The steps of a node: what it reads, where it writes, and which step or steps compute it. */
#include "engine/onednn/onednn_planner.h"

static const dukd_node *node_at(const onednn_planner *s, int32_t i) {
    return &s->program->fused.nodes[i];
}

/* What node i sees of its operand: all rows, or those of its band and `radius` more on both sides. */
static onednn_value operand(const onednn_planner *s, int32_t i, int32_t from, int32_t radius) {
    const onednn_program *p = s->program;
    const dukd_node *n = node_at(s, i);
    if (from < 0) return onednn_none;
    onednn_value v = s->value[from];
    if (i < p->band_node) return v;
    int32_t beside = s->value[i].halo;
    if (n->kind == DUKD_NODE_OUTPUT) beside = 0;
    if (n->kind == DUKD_NODE_SHUFFLE) beside /= n->op->kernel;
    v.skip = v.halo - beside - radius;
    v.rows = p->band_rows * v.up + 2 * (beside + radius);
    v.moves = !v.banded;
    return v;
}

/* After a value is written whose halo someone reads. */
static void emit_edges(onednn_planner *s, int32_t i) {
    onednn_step step = {
        .kind = STEP_EDGES, .a = onednn_none, .b = onednn_none, .c = onednn_none, .out = s->value[i]};
    if (step.out.halo == 0) return;
    int32_t rows = step.out.banded ? s->program->band_rows * step.out.up : step.out.height;
    step.out.skip = 0;
    step.out.rows = rows + 2 * step.out.halo;
    onednn_emit(s, step);
}

/* Whether node i can write over its operand `from`: nobody reads that any more, and it lies as the result will. */
static int dies_alike(const onednn_planner *s, int32_t i, int32_t from) {
    const onednn_value *a = &s->value[from], *b = &s->value[i];
    int32_t times = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) times += node_at(s, i)->in[k] == from;
    return times == 1 && s->last_use[from] == i && !s->keep[from] && a->type == b->type &&
           a->channels == b->channels && a->height == b->height && a->width == b->width &&
           a->layout == b->layout && a->banded == b->banded && a->halo == b->halo;
}

/* The operand that node i writes over, element by element; -1: none. */
static int32_t overwritten(const onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    switch (n->kind) {
    case DUKD_NODE_RELU:
    case DUKD_NODE_GELU:
    case DUKD_NODE_SIGMOID:
    case DUKD_NODE_SCALE:
        return dies_alike(s, i, n->in[0]) ? n->in[0] : -1;
    case DUKD_NODE_ADD:
        if (dies_alike(s, i, n->in[0])) return n->in[0];
        return dies_alike(s, i, n->in[1]) ? n->in[1] : -1;
    case DUKD_NODE_MUL:
        if (dies_alike(s, i, n->in[0])) return n->in[0];
        return n->in[2] >= 0 && dies_alike(s, i, n->in[2]) ? n->in[2] : -1;
    default:
        return -1;
    }
}

static void place_value(onednn_planner *s, int32_t i) {
    int32_t over = overwritten(s, i);
    if (over >= 0)
        s->value[i].buffer = s->value[over].buffer;
    else
        onednn_new_buffer(s, &s->value[i]);
}

onednn_value onednn_widened(onednn_planner *s, int32_t i, onednn_value from) {
    onednn_value to = onednn_as_f32(from);
    int32_t own = s->program->band_rows * from.up;
    to.banded = i >= s->program->band_node;
    to.halo = to.banded ? (from.rows - own) / 2 : 0;
    to.skip = to.moves = 0;
    onednn_new_buffer(s, &to);
    onednn_emit_cast(s, (onednn_step){.node = node_at(s, i), .a = from, .out = to});
    return to;
}

/* A last layer's sum begins with its residual, in f32. */
static void plan_f32_residual(onednn_planner *s, int32_t i) {
    onednn_new_buffer(s, &s->value[i]);
    onednn_emit_cast(s, (onednn_step){.node = node_at(s, i),
                                      .a = operand(s, i, node_at(s, i)->in[1], 0),
                                      .out = s->value[i]});
}

static void plan_conv(onednn_planner *s, int32_t i) {
    onednn_program *p = s->program;
    const dukd_node *n = node_at(s, i);
    int32_t residual = n->in[1];
    onednn_value source = operand(s, i, n->in[0], dukd_node_padding(n));
    int in_f32 = s->wide[i] && n->last;
    if (in_f32 && source.type == DUKD_TYPE_BF16) source = onednn_widened(s, i, source);
    dukd_run_conv run =
        dukd_run_conv_of(p->network->graph, n, node_at(s, n->in[0]), source.channels, s->value[i].channels);
    onednn_step step = {.node = n, .a = source, .b = onednn_none, .c = onednn_none};
    dukd_conv_post post = n->act == DUKD_ACT_RELU   ? DUKD_POST_RELU
                          : n->act == DUKD_ACT_GELU ? DUKD_POST_GELU
                                                    : DUKD_POST_NONE;
    if (residual < 0) {
        onednn_new_buffer(s, &s->value[i]);
    } else if (in_f32) {
        plan_f32_residual(s, i);
        post = DUKD_POST_SUM;
    } else if (dies_alike(s, i, residual)) {
        s->value[i].buffer = s->value[residual].buffer;
        post = DUKD_POST_SUM;
    } else {
        onednn_new_buffer(s, &s->value[i]);
        step.b = operand(s, i, residual, 0);
        post = DUKD_POST_ADD;
    }
    step.out = s->value[i];
    onednn_emit_conv(s, step, &run, post);
    if (post != DUKD_POST_ADD || s->status != DUKD_DONE) return;
    onednn_step *last = &p->steps[p->step_count - 1];
    if (dukd_conv_adds(last->conv)) return;
    p->step_count--; /* once more, with the addition as a step of its own */
    step.b = onednn_none;
    onednn_emit_conv(s, step, &run, DUKD_POST_NONE);
    step = (onednn_step){.kind = STEP_ADD,
                         .node = n,
                         .a = s->value[i],
                         .b = operand(s, i, residual, 0),
                         .c = onednn_none,
                         .out = s->value[i]};
    onednn_emit(s, step);
}

static void plan_concat(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    onednn_new_buffer(s, &s->value[i]);
    int32_t first = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS && n->in[k] >= 0; k++) {
        onednn_step step = {.kind = STEP_COPY_CHANNELS,
                            .node = n,
                            .a = s->value[n->in[k]],
                            .b = onednn_none,
                            .c = onednn_none,
                            .out = s->value[i],
                            .to_first = first,
                            .count = s->value[n->in[k]].channels};
        first += step.count;
        onednn_emit(s, step);
    }
}

/* What layer norm leaves for its gradient: two numbers a pixel. */
static onednn_value stats_of(onednn_planner *s, int32_t i) {
    onednn_value v = s->value[i];
    v.channels = 2;
    v.type = DUKD_TYPE_F32;
    v.layout = DUKD_NHWC;
    onednn_new_buffer(s, &v);
    s->stats[i] = v;
    return v;
}

static const onednn_step_kind step_of[] = {
    [DUKD_NODE_INPUT] = STEP_IMPORT,
    [DUKD_NODE_CONV] = STEP_CONV,
    [DUKD_NODE_RELU] = STEP_RELU,
    [DUKD_NODE_SCALE] = STEP_SCALE,
    [DUKD_NODE_ADD] = STEP_ADD,
    [DUKD_NODE_SHUFFLE] = STEP_SHUFFLE,
    [DUKD_NODE_AFFINE] = STEP_AFFINE,
    [DUKD_NODE_GELU] = STEP_GELU,
    [DUKD_NODE_SIGMOID] = STEP_SIGMOID,
    [DUKD_NODE_MUL] = STEP_MUL,
    [DUKD_NODE_CONCAT] = STEP_COPY_CHANNELS,
    [DUKD_NODE_SLICE] = STEP_COPY_CHANNELS,
    [DUKD_NODE_LAYER_NORM] = STEP_LAYER_NORM,
    [DUKD_NODE_ATTENTION] = STEP_ATTENTION,
    [DUKD_NODE_DROP_PATH] = STEP_DROP_PATH,
    [DUKD_NODE_MEAN] = STEP_MEAN,
    [DUKD_NODE_DEVIATION] = STEP_DEVIATION,
    [DUKD_NODE_MAX_POOL] = STEP_MAX_POOL,
    [DUKD_NODE_RESIZE] = STEP_RESIZE,
    [DUKD_NODE_OUTPUT] = STEP_EXPORT,
};

void onednn_plan_node(onednn_planner *s, int32_t i, const onednn_value *to) {
    const dukd_node *n = node_at(s, i);
    if (n->kind == DUKD_NODE_CONV) plan_conv(s, i);
    if (n->kind == DUKD_NODE_CONCAT) plan_concat(s, i);
    if (n->kind == DUKD_NODE_CONV || n->kind == DUKD_NODE_CONCAT) {
        emit_edges(s, i);
        return;
    }
    onednn_step step = {.kind = step_of[n->kind],
                        .node = n,
                        .a = operand(s, i, n->in[0], 0),
                        .b = operand(s, i, n->in[1], 0),
                        .c = operand(s, i, n->in[2], 0),
                        .out = onednn_none,
                        .factors = n->factors,
                        .shifts = n->shifts,
                        .factor = n->kind == DUKD_NODE_RELU ? n->op->factor : n->scale};
    if (to) {
        step.out = *to;
    } else if (n->kind != DUKD_NODE_OUTPUT) {
        place_value(s, i);
        step.out = s->value[i];
    }
    if (n->kind == DUKD_NODE_SHUFFLE) step.order = node_at(s, n->in[0])->order;
    if (n->kind == DUKD_NODE_SLICE) {
        step.from_first = n->op->first;
        step.count = n->channels;
    }
    if (n->kind == DUKD_NODE_LAYER_NORM && s->program->purpose == DUKD_TRAIN && !to) step.c = stats_of(s, i);
    onednn_emit(s, step);
    if (n->kind != DUKD_NODE_OUTPUT) emit_edges(s, i);
}
