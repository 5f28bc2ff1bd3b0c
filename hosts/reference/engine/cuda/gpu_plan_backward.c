/* A program's backward half: the nodes in reverse, each handing its value's gradient on to what it read.
 *
 * A gradient is complete when its node's turn comes, and nobody needs it afterwards: a node that hands it on unchanged gives the buffer
 * away instead of copying, and one that works element by element does so in its place. The steps that only the input's gradient needs
 * are marked. */
#include "engine/cuda/gpu_planner.h"

static const dukd_node *node_at(const gpu_planner *s, int32_t i) {
    return &s->program->fused.nodes[i];
}

/* A step of node i for the gradient of `target`. */
static gpu_step step_for(const gpu_planner *s, gpu_step_kind kind, int32_t i, int32_t target) {
    gpu_step step = gpu_step_of(s, kind, i);
    step.for_input = !node_at(s, target)->trained;
    return step;
}

/* The buffer of `target`'s gradient; returns whether something is in it that must be added to. */
static int open_gradient(gpu_planner *s, int32_t target) {
    if (s->gradient[target].buffer >= 0) return 1;
    gpu_new_buffer(s, &s->gradient[target]);
    return 0;
}

/* From the gradient of i and values that forward left, into the gradient of `target`. */
static gpu_step into(gpu_planner *s, gpu_step_kind kind, int32_t i, int32_t target) {
    gpu_step step = step_for(s, kind, i, target);
    step.accumulate = open_gradient(s, target);
    step.a = s->gradient[i];
    step.out = s->gradient[target];
    return step;
}

/* The gradient of i, whole, flows on to `target`: by giving its buffer away, or by addition. */
static void hand_on(gpu_planner *s, int32_t i, int32_t target) {
    gpu_value *to = &s->gradient[target];
    if (to->buffer < 0) {
        to->buffer = s->gradient[i].buffer;
        return;
    }
    gpu_step step = step_for(s, STEP_ADD, i, target);
    step.a = step.out = *to;
    step.b = s->gradient[i];
    gpu_emit(s, step);
}

static void flow(gpu_planner *s, gpu_step_kind kind, int32_t i, int32_t target, gpu_value b) {
    gpu_step step = into(s, kind, i, target);
    step.b = b;
    gpu_emit(s, step);
}

/* In the gradient's own place, which is then handed on to the operand. */
static void change(gpu_planner *s, gpu_step_kind kind, int32_t i, gpu_value a, float factor) {
    gpu_step step = step_for(s, kind, i, i);
    step.a = a;
    step.out = s->gradient[i];
    step.factor = factor;
    gpu_emit(s, step);
}

/* To the gradient of an operand, in that one's type. */
static void cast_on(gpu_planner *s, int32_t i, gpu_value from, int32_t target) {
    gpu_step step = into(s, STEP_CAST, i, target);
    step.a = from;
    gpu_emit(s, step);
}

/* ---- convolutions and sums ---- */

/* A convolution's source as its weights' gradient reads it: kept, or computed again; in f32 for a last layer. */
static gpu_value source_of(gpu_planner *s, int32_t i) {
    const int32_t source = node_at(s, i)->in[0];
    gpu_value v = s->value[source];
    if (s->again[source]) {
        gpu_new_buffer(s, &v);
        gpu_plan_node(s, source, &v);
    }
    return v.type == s->gradient[i].type ? v : gpu_widened(s, i, v);
}

static void data_gradient(gpu_planner *s, int32_t i) {
    const int32_t source = node_at(s, i)->in[0];
    if (s->gradient[i].type == s->gradient[source].type) {
        gpu_emit_data_gradient(s, into(s, STEP_DATA_GRADIENT, i, source), node_at(s, source));
        return;
    }
    /* Of a last layer in f32 that reads bf16. */
    gpu_step step = step_for(s, STEP_DATA_GRADIENT, i, source);
    step.a = s->gradient[i];
    step.out = s->gradient[source];
    step.out.type = DUKD_TYPE_F32;
    gpu_new_buffer(s, &step.out);
    gpu_emit_data_gradient(s, step, node_at(s, source));
    cast_on(s, i, step.out, source);
}

static void back_through_conv(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    if (n->act) change(s, STEP_RELU_BACK, i, s->value[i], n->slope);
    gpu_step step = step_for(s, STEP_WEIGHTS_GRADIENT, i, i);
    step.a = source_of(s, i);
    step.b = s->gradient[i];
    gpu_emit_weights_gradient(s, step, node_at(s, n->in[0]));
    data_gradient(s, i);
    /* Last, because it may give the buffer away that the convolutions read. */
    if (n->in[1] >= 0 && s->gradient[i].type != s->gradient[n->in[1]].type)
        cast_on(s, i, s->gradient[i], n->in[1]);
    else if (n->in[1] >= 0)
        hand_on(s, i, n->in[1]);
}

static void back_through_add(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    const int32_t a = n->in[0], b = n->in[1];
    if (s->gradient[b].buffer < 0 && s->gradient[a].buffer < 0 && a != b) {
        /* Both want the buffer: one gets a copy. */
        cast_on(s, i, s->gradient[i], b);
        hand_on(s, i, a);
        return;
    }
    /* What is added to comes first: the buffer is given away last. */
    const int first = s->gradient[a].buffer >= 0 ? 0 : 1;
    hand_on(s, i, n->in[first]);
    hand_on(s, i, n->in[1 - first]);
}

/* ---- products ---- */

static void back_through_mul(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    const int32_t a = n->in[0], b = n->in[1];
    const gpu_value *x = &s->value[a], *y = &s->value[b];
    const int by_channel = y->height == 1 && y->width == 1 && (x->height > 1 || x->width > 1);
    flow(s, by_channel ? STEP_MUL_BACK_CHANNELS : STEP_MUL_BACK, i, b, *x);
    flow(s, STEP_MUL_BACK, i, a, *y);
    if (n->in[2] >= 0) hand_on(s, i, n->in[2]);
}

static void back_through_drop_path(gpu_planner *s, int32_t i) {
    flow(s, STEP_DROP_PATH, i, node_at(s, i)->in[0], gpu_none);
    if (node_at(s, i)->in[1] >= 0) hand_on(s, i, node_at(s, i)->in[1]);
}

/* ---- channels ---- */

static void copy_back(gpu_planner *s, int32_t i, int32_t target, int32_t from_first, int32_t to_first,
                      int32_t count) {
    gpu_step step = into(s, STEP_COPY_CHANNELS, i, target);
    step.from_first = from_first;
    step.to_first = to_first;
    step.count = count;
    gpu_emit(s, step);
}

static void back_through_concat(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t first = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS && n->in[k] >= 0; k++) {
        const int32_t count = s->value[n->in[k]].channels;
        copy_back(s, i, n->in[k], first, 0, count);
        first += count;
    }
}

static void back_through_slice(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    if (s->gradient[n->in[0]].buffer < 0) { /* the channels that nobody else reads have no gradient */
        gpu_new_buffer(s, &s->gradient[n->in[0]]);
        gpu_step zero = step_for(s, STEP_CLEAR, i, n->in[0]);
        zero.out = s->gradient[n->in[0]];
        gpu_emit(s, zero);
    }
    copy_back(s, i, n->in[0], 0, n->op->first, n->channels);
}

/* These two have parameters of their own: they run even where their source's gradient is not wanted. */
static void back_through_attention(gpu_planner *s, int32_t i) {
    const int32_t source = node_at(s, i)->in[0];
    gpu_step step = into(s, STEP_ATTENTION_BACK, i, source);
    const int sum = step.accumulate;
    step.for_input = step.accumulate = 0;
    step.b = s->value[source];
    if (sum) gpu_new_buffer(s, &step.out); /* it cannot add */
    gpu_emit(s, step);
    if (!sum) return;
    gpu_step add = step_for(s, STEP_ADD, i, source);
    add.a = add.out = s->gradient[source];
    add.b = step.out;
    gpu_emit(s, add);
}

static void back_through_layer_norm(gpu_planner *s, int32_t i) {
    const int32_t source = node_at(s, i)->in[0];
    gpu_step step = into(s, STEP_LAYER_NORM_BACK, i, source);
    step.for_input = 0;
    step.b = s->value[source];
    step.c = s->stats[i];
    gpu_emit(s, step);
}

static void back_through_deviation(gpu_planner *s, int32_t i) {
    const int32_t source = node_at(s, i)->in[0];
    gpu_step step = into(s, STEP_DEVIATION_BACK, i, source);
    step.b = s->value[source];
    step.c = s->value[i];
    gpu_emit(s, step);
}

static void back_through_shuffle(gpu_planner *s, int32_t i) {
    const int32_t source = node_at(s, i)->in[0];
    gpu_step step = into(s, STEP_UNSHUFFLE, i, source);
    step.order = node_at(s, source)->order;
    gpu_emit(s, step);
}

static void back_through_affine(gpu_planner *s, int32_t i) {
    gpu_step step = into(s, STEP_AFFINE, i, node_at(s, i)->in[0]);
    step.factors = gpu_constants(s, node_at(s, i)->factors, node_at(s, i)->op->channels);
    gpu_emit(s, step);
}

static void back_through_ends(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    const int is_output = n->kind == DUKD_NODE_OUTPUT;
    const int32_t target = is_output ? n->in[0] : i;
    gpu_step step = step_for(s, is_output ? STEP_IMPORT : STEP_EXPORT, i, target);
    step.factors = gpu_constants(s, n->factors, n->op->channels);
    if (is_output) {
        step.accumulate = open_gradient(s, target);
        step.out = s->gradient[target];
    } else {
        step.a = s->gradient[i];
    }
    gpu_emit(s, step);
}

static void back_through(gpu_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    const int32_t source = n->in[0];
    switch (n->kind) {
    case DUKD_NODE_OUTPUT:
    case DUKD_NODE_INPUT:
        back_through_ends(s, i);
        break;
    case DUKD_NODE_CONV:
        back_through_conv(s, i);
        break;
    case DUKD_NODE_ADD:
        back_through_add(s, i);
        break;
    case DUKD_NODE_MUL:
        back_through_mul(s, i);
        break;
    case DUKD_NODE_DROP_PATH:
        back_through_drop_path(s, i);
        break;
    case DUKD_NODE_RELU:
        change(s, STEP_RELU_BACK, i, s->value[i], n->op->factor);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_GELU:
        change(s, STEP_GELU_BACK, i, s->value[source], 1);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_SIGMOID:
        change(s, STEP_SIGMOID_BACK, i, s->value[i], 1);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_SCALE:
        change(s, STEP_SCALE, i, s->gradient[i], n->scale);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_AFFINE:
        back_through_affine(s, i);
        break;
    case DUKD_NODE_SHUFFLE:
        back_through_shuffle(s, i);
        break;
    case DUKD_NODE_CONCAT:
        back_through_concat(s, i);
        break;
    case DUKD_NODE_SLICE:
        back_through_slice(s, i);
        break;
    case DUKD_NODE_LAYER_NORM:
        back_through_layer_norm(s, i);
        break;
    case DUKD_NODE_ATTENTION:
        back_through_attention(s, i);
        break;
    case DUKD_NODE_DEVIATION:
        back_through_deviation(s, i);
        break;
    case DUKD_NODE_MEAN:
        flow(s, STEP_MEAN_BACK, i, source, gpu_none);
        break;
    case DUKD_NODE_RESIZE:
        flow(s, STEP_RESIZE_BACK, i, source, gpu_none);
        break;
    case DUKD_NODE_MAX_POOL:
        flow(s, STEP_MAX_POOL_BACK, i, source, s->value[source]);
        break;
    }
}

void gpu_plan_backward(gpu_planner *s) {
    for (int32_t i = s->program->fused.count - 1; i >= 0 && s->status == DUKD_DONE; i--)
        if (s->gradient[i].buffer >= 0 || node_at(s, i)->kind == DUKD_NODE_OUTPUT) back_through(s, i);
    gpu_plan_unpack(s, 1);
}
