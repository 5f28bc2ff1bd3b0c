/* The steps of a node: what it reads, where it writes, and which step or steps compute it. */
#include "engine/cuda/gpu_planner.h"

static const dukd_node *node_at(const gpu_planner *s, int32_t i) {
    return &s->program->fused.nodes[i];
}

static gpu_value operand(const gpu_planner *s, int32_t from) {
    return from < 0 ? gpu_none : s->value[from];
}

/* Whether node i can write over its operand `from`: nobody reads that any more, and it lies as the result will. */
static int dies_alike(const gpu_planner *s, int32_t i, int32_t from) {
    const gpu_value *a = &s->value[from], *b = &s->value[i];
    int32_t times = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) times += node_at(s, i)->in[k] == from;
    return times == 1 && s->last_use[from] == i && !s->keep[from] && a->type == b->type &&
           a->channels == b->channels && a->height == b->height && a->width == b->width;
}

/* The operand that node i writes over, element by element; -1: none. */
static int32_t overwritten(const gpu_planner *s, int32_t i) {
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

static void place_value(gpu_planner *s, int32_t i) {
    const int32_t over = overwritten(s, i);
    if (over >= 0)
        s->value[i].buffer = s->value[over].buffer;
    else
        gpu_new_buffer(s, &s->value[i]);
}

/* A last layer in f32 in a bf16 network sees its source, and what is added to it, in f32. */
static void plan_conv(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    const int32_t residual = n->in[1];
    gpu_step step = gpu_step_of(s, STEP_CONV, i);
    step.a = s->value[n->in[0]];
    if (step.a.type != s->value[i].type) step.a = gpu_widened(s, i, step.a);
    if (residual >= 0 && s->value[residual].type != s->value[i].type) {
        step.b = gpu_widened(s, i, s->value[residual]);
        s->value[i].buffer = step.b.buffer;
    } else if (residual >= 0 && dies_alike(s, i, residual)) {
        step.b = s->value[residual];
        s->value[i].buffer = step.b.buffer;
    } else {
        step.b = operand(s, residual);
        gpu_new_buffer(s, &s->value[i]);
    }
    step.out = s->value[i];
    gpu_emit_conv(s, step, node_at(s, n->in[0]));
}

static void plan_concat(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    gpu_new_buffer(s, &s->value[i]);
    int32_t first = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS && n->in[k] >= 0; k++) {
        gpu_step step = gpu_step_of(s, STEP_COPY_CHANNELS, i);
        step.a = s->value[n->in[k]];
        step.out = s->value[i];
        step.to_first = first;
        step.count = step.a.channels;
        first += step.count;
        gpu_emit(s, step);
    }
}

/* What layer norm leaves for its gradient: two numbers a pixel. */
static gpu_value stats_of(gpu_planner *s, int32_t i) {
    gpu_value v = s->value[i];
    v.channels = 2;
    v.type = DUKD_TYPE_F32;
    gpu_new_buffer(s, &v);
    s->stats[i] = v;
    return v;
}

static const gpu_step_kind step_of[] = {
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

void gpu_plan_node(gpu_planner *s, int32_t i, const gpu_value *to) {
    const dukd_node *n = node_at(s, i);
    if (n->kind == DUKD_NODE_CONV) {
        plan_conv(s, i);
        return;
    }
    if (n->kind == DUKD_NODE_CONCAT) {
        plan_concat(s, i);
        return;
    }
    gpu_step step = gpu_step_of(s, step_of[n->kind], i);
    step.a = operand(s, n->in[0]);
    step.b = operand(s, n->in[1]);
    step.c = operand(s, n->in[2]);
    step.factors = gpu_constants(s, n->factors, n->op->channels);
    step.shifts = gpu_constants(s, n->shifts, n->op->channels);
    if (n->kind == DUKD_NODE_RELU) step.factor = n->op->factor;
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
    gpu_emit(s, step);
}
