/* The steps of a node: what it reads, where it writes, and which step or steps compute it. */
#include "engine/planner.h"

/* Whether node i can write over its operand `from`: nobody reads that any more, and it lies as the result will. */
static int dies_alike(const dukd_planner *s, int32_t i, int32_t from) {
    const dukd_plan_value *a = &s->value[from], *b = &s->value[i];
    int32_t times = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) times += dukd_planner_node(s, i)->in[k] == from;
    return times == 1 && s->last_use[from] == i && !s->keep[from] && a->type == b->type &&
           a->channels == b->channels && a->height == b->height && a->width == b->width &&
           a->layout == b->layout && a->banded == b->banded && a->halo == b->halo;
}

/* The operand that node i writes over, element by element; -1: none. */
static int32_t overwritten(const dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
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

static void place_value(dukd_planner *s, int32_t i) {
    int32_t over = overwritten(s, i);
    if (over >= 0)
        s->value[i].buffer = s->value[over].buffer;
    else
        dukd_planner_new_buffer(s, &s->value[i]);
}

/* A last layer in f32 in a bf16 network sees its source, and what is added to it, in f32. The sum is in the residual's place where nobody needs
 * that any more. */
static void plan_conv(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    const int32_t residual = n->in[1];
    dukd_plan_value *out = &s->value[i];
    dukd_plan_step step = dukd_planner_step(s, DUKD_STEP_CONV, i);
    step.a = dukd_planner_operand(s, i, n->in[0], dukd_node_padding(n));
    step.b = dukd_planner_operand(s, i, residual, 0);
    if (n->last && step.a.type != out->type) {
        step.a = dukd_planner_widened(s, i, step.a);
        if (s->plan->purpose == DUKD_TRAIN) s->widened[n->in[0]] = step.a;
    }
    const int widens = residual >= 0 && step.b.type != out->type;
    if (widens) step.b = dukd_planner_widened(s, i, step.b);
    if (residual >= 0 && (widens || dies_alike(s, i, residual)) &&
        (!s->backend->sums_in_place || s->backend->sums_in_place(n)))
        out->buffer = step.b.buffer;
    else
        dukd_planner_new_buffer(s, out);
    step.out = *out;
    dukd_planner_emit(s, step);
}

static void plan_concat(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    dukd_planner_new_buffer(s, &s->value[i]);
    int32_t first = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS && n->in[k] >= 0; k++) {
        dukd_plan_step step = dukd_planner_step(s, DUKD_STEP_COPY_CHANNELS, i);
        step.a = s->value[n->in[k]];
        step.out = s->value[i];
        step.to_first = first;
        step.count = step.a.channels;
        first += step.count;
        dukd_planner_emit(s, step);
    }
}

/* What layer norm leaves for its gradient: two numbers a pixel. */
static dukd_plan_value stats_of(dukd_planner *s, int32_t i) {
    dukd_plan_value v = s->value[i];
    v.channels = 2;
    v.type = DUKD_TYPE_F32;
    v.layout = DUKD_NHWC;
    dukd_planner_new_buffer(s, &v);
    s->stats[i] = v;
    return v;
}

static const dukd_step_kind step_of[] = {
    [DUKD_NODE_INPUT] = DUKD_STEP_IMPORT,
    [DUKD_NODE_CONV] = DUKD_STEP_CONV,
    [DUKD_NODE_RELU] = DUKD_STEP_RELU,
    [DUKD_NODE_SCALE] = DUKD_STEP_SCALE,
    [DUKD_NODE_ADD] = DUKD_STEP_ADD,
    [DUKD_NODE_SHUFFLE] = DUKD_STEP_SHUFFLE,
    [DUKD_NODE_AFFINE] = DUKD_STEP_AFFINE,
    [DUKD_NODE_GELU] = DUKD_STEP_GELU,
    [DUKD_NODE_SIGMOID] = DUKD_STEP_SIGMOID,
    [DUKD_NODE_MUL] = DUKD_STEP_MUL,
    [DUKD_NODE_CONCAT] = DUKD_STEP_COPY_CHANNELS,
    [DUKD_NODE_SLICE] = DUKD_STEP_COPY_CHANNELS,
    [DUKD_NODE_LAYER_NORM] = DUKD_STEP_LAYER_NORM,
    [DUKD_NODE_ATTENTION] = DUKD_STEP_ATTENTION,
    [DUKD_NODE_DROP_PATH] = DUKD_STEP_DROP_PATH,
    [DUKD_NODE_MEAN] = DUKD_STEP_MEAN,
    [DUKD_NODE_DEVIATION] = DUKD_STEP_DEVIATION,
    [DUKD_NODE_MAX_POOL] = DUKD_STEP_MAX_POOL,
    [DUKD_NODE_RESIZE] = DUKD_STEP_RESIZE,
    [DUKD_NODE_OUTPUT] = DUKD_STEP_EXPORT,
};

void dukd_planner_node_steps(dukd_planner *s, int32_t i, const dukd_plan_value *to) {
    const dukd_node *n = dukd_planner_node(s, i);
    if (n->kind == DUKD_NODE_CONV) plan_conv(s, i);
    if (n->kind == DUKD_NODE_CONCAT) plan_concat(s, i);
    if (n->kind == DUKD_NODE_CONV || n->kind == DUKD_NODE_CONCAT) {
        dukd_planner_emit_edges(s, i);
        return;
    }
    dukd_plan_step step = dukd_planner_step(s, step_of[n->kind], i);
    step.a = dukd_planner_operand(s, i, n->in[0], 0);
    step.b = dukd_planner_operand(s, i, n->in[1], 0);
    step.c = dukd_planner_operand(s, i, n->in[2], 0);
    step.factors = n->factors;
    step.shifts = n->shifts;
    if (n->kind == DUKD_NODE_RELU) step.factor = n->op->factor;
    if (to) {
        step.out = *to;
    } else if (n->kind != DUKD_NODE_OUTPUT) {
        place_value(s, i);
        step.out = s->value[i];
    }
    if (n->kind == DUKD_NODE_SHUFFLE) step.order = dukd_planner_node(s, n->in[0])->order;
    if (n->kind == DUKD_NODE_SLICE) {
        step.from_first = n->op->first;
        step.count = n->channels;
    }
    if (n->kind == DUKD_NODE_LAYER_NORM && s->plan->purpose == DUKD_TRAIN && !to) step.c = stats_of(s, i);
    dukd_planner_emit(s, step);
    if (n->kind != DUKD_NODE_OUTPUT) dukd_planner_emit_edges(s, i);
}
