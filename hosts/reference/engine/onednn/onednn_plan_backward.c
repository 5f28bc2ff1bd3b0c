/* A program's backward half: the nodes in reverse, each handing its value's gradient on to what it read.
 *
 * A gradient is complete when its node's turn comes, and nobody needs it afterwards: a node that hands it on
 * unchanged gives the buffer away instead of copying, and one that works element by element does so in its place.
 * The steps that only the input's gradient needs are marked. */
#include "engine/onednn/onednn_planner.h"

static const dukd_node *node_at(const onednn_planner *s, int32_t i) {
    return &s->program->fused.nodes[i];
}

static onednn_step step_for(const onednn_planner *s, onednn_step_kind kind, int32_t i, int32_t target) {
    return (onednn_step){.kind = kind,
                         .node = node_at(s, i),
                         .a = onednn_none,
                         .b = onednn_none,
                         .c = onednn_none,
                         .out = onednn_none,
                         .factors = node_at(s, i)->factors,
                         .factor = node_at(s, i)->scale,
                         .for_input = !node_at(s, target)->trained};
}

/* The buffer of `target`'s gradient; returns whether something is in it that must be added to. */
static int open_gradient(onednn_planner *s, int32_t target) {
    if (s->gradient[target].buffer >= 0) return 1;
    onednn_new_buffer(s, &s->gradient[target]);
    return 0;
}

/* The gradient of i, whole, flows on to `target`: by giving its buffer away, or by addition. */
static void hand_on(onednn_planner *s, int32_t i, int32_t target) {
    onednn_value *to = &s->gradient[target];
    if (to->buffer < 0) {
        to->buffer = s->gradient[i].buffer;
        return;
    }
    onednn_step step = step_for(s, STEP_ADD, i, target);
    step.a = step.out = *to;
    step.b = s->gradient[i];
    onednn_emit(s, step);
}

/* A step from the gradient of i and a value that forward left, into the gradient of `target`. */
static void flow(onednn_planner *s, onednn_step_kind kind, int32_t i, int32_t target, onednn_value b) {
    onednn_step step = step_for(s, kind, i, target);
    step.accumulate = open_gradient(s, target);
    step.a = s->gradient[i];
    step.b = b;
    step.out = s->gradient[target];
    onednn_emit(s, step);
}

/* In the gradient's own place, which is then handed on to the operand. */
static void change(onednn_planner *s, onednn_step_kind kind, int32_t i, onednn_value a, float factor) {
    onednn_step step = step_for(s, kind, i, i);
    step.a = a;
    step.out = s->gradient[i];
    step.factor = factor;
    onednn_emit(s, step);
}

/* Through a cast, from or to the gradient of a last layer in f32. */
static void cast_gradient(onednn_planner *s, int32_t i, onednn_value from, int32_t target) {
    onednn_step step = step_for(s, STEP_CAST, i, target);
    step.accumulate = open_gradient(s, target);
    step.a = from;
    step.out = s->gradient[target];
    onednn_emit(s, step);
}

/* The gradient of i as what is in front of the last layer reads it. */
static void narrow_gradient(onednn_planner *s, int32_t i) {
    onednn_value from = s->gradient[i];
    s->gradient[i].type = s->program->network->type;
    s->gradient[i].buffer = -1;
    cast_gradient(s, i, from, i);
}

/* ---- convolutions and sums ---- */

/* A convolution's source as its weights' gradient reads it: kept, or computed again. */
static onednn_value source_of(onednn_planner *s, int32_t i) {
    int32_t source = node_at(s, i)->in[0];
    onednn_value v = s->value[source];
    if (s->again[source]) {
        onednn_new_buffer(s, &v);
        onednn_plan_node(s, source, &v);
    }
    return v;
}

/* Of a last layer in f32 that reads bf16. */
static void f32_data_gradient(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t source = n->in[0];
    onednn_step step = step_for(s, STEP_CONV, i, source);
    step.a = s->gradient[i];
    step.out = onednn_as_f32(s->gradient[source]);
    dukd_run_conv run = dukd_run_conv_of(s->program->network->graph, n, node_at(s, source), step.out.channels,
                                         step.a.channels);
    onednn_new_buffer(s, &step.out);
    if (onednn_is_transposable(n))
        onednn_emit_transposed(s, step, &run, DUKD_POST_NONE);
    else
        onednn_emit_data_gradient(s, step, &run);
    cast_gradient(s, i, step.out, source);
}

static void data_gradient(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t source = n->in[0];
    if (s->gradient[i].type != s->gradient[source].type) {
        f32_data_gradient(s, i);
        return;
    }
    int transposable = onednn_is_transposable(n), sum = open_gradient(s, source);
    onednn_step step = step_for(s, STEP_CONV, i, source);
    step.a = s->gradient[i];
    step.out = s->gradient[source];
    dukd_run_conv run = dukd_run_conv_of(s->program->network->graph, n, node_at(s, source), step.out.channels,
                                         step.a.channels);
    if (transposable) {
        onednn_emit_transposed(s, step, &run, sum ? DUKD_POST_SUM : DUKD_POST_NONE);
        return;
    }
    if (sum) onednn_new_buffer(s, &step.out);
    onednn_emit_data_gradient(s, step, &run);
    if (!sum) return;
    onednn_step add = step_for(s, STEP_ADD, i, source);
    add.a = add.out = s->gradient[source];
    add.b = step.out;
    onednn_emit(s, add);
}

/* Whether the convolution behind a GELU can go through it at once: nobody else reads the GELU, which is to be computed
 * again, nor its source, which can so become the GELU. */
static int goes_through_gelu(const onednn_planner *s, int32_t gelu) {
    const dukd_node *n = node_at(s, gelu), *before = node_at(s, n->in[0] >= 0 ? n->in[0] : gelu);
    if (n->kind != DUKD_NODE_GELU || !s->again[gelu] || before->kind != DUKD_NODE_CONV || before->act)
        return 0;
    int32_t readers[2] = {0, 0};
    for (int32_t i = gelu; i < s->program->fused.count; i++)
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) {
            readers[0] += node_at(s, i)->in[k] == gelu;
            readers[1] += node_at(s, i)->in[k] == n->in[0];
        }
    return readers[0] == 1 && readers[1] == 1 && s->last_use[n->in[0]] == gelu;
}

/* The gradient of the GELU's source, in the place of its own; returns the GELU's value, in the place of its source. */
static onednn_value gelu_again(onednn_planner *s, int32_t gelu) {
    onednn_step step = step_for(s, STEP_GELU_BACK_AGAIN, gelu, gelu);
    step.a = s->value[node_at(s, gelu)->in[0]];
    step.out = s->gradient[gelu];
    step.for_input = 0; /* the weights' gradient needs it */
    onednn_emit(s, step);
    s->passed[gelu] = 1;
    return step.a;
}

static void back_through_conv(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    if (n->act) change(s, STEP_RELU_BACK, i, s->value[i], n->slope);
    if (s->wide[i] && !n->last) narrow_gradient(s, i);

    int together = goes_through_gelu(s, n->in[0]);
    if (together) data_gradient(s, i);
    onednn_value source = together ? gelu_again(s, n->in[0]) : source_of(s, i);
    if (source.type != s->gradient[i].type) source = onednn_widened(s, i, source);
    onednn_step step = step_for(s, STEP_WEIGHTS_GRADIENT, i, i);
    step.a = source;
    step.b = s->gradient[i];
    step.run = dukd_run_conv_of(s->program->network->graph, n, node_at(s, n->in[0]), step.a.channels,
                                step.b.channels);
    onednn_emit_weights_gradient(s, step);
    if (!together) data_gradient(s, i);
    /* Last, because it may give the buffer away that the convolutions read. */
    if (n->in[1] >= 0 && s->wide[i])
        cast_gradient(s, i, s->gradient[i], n->in[1]);
    else if (n->in[1] >= 0)
        hand_on(s, i, n->in[1]);
}

static void back_through_add(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t a = n->in[0], b = n->in[1];
    if (s->gradient[b].buffer < 0 && s->gradient[a].buffer < 0 && a != b) {
        /* Both want the buffer: one gets a copy. */
        onednn_new_buffer(s, &s->gradient[b]);
        onednn_step step = step_for(s, STEP_SCALE, i, b);
        step.factor = 1;
        step.a = s->gradient[i];
        step.out = s->gradient[b];
        onednn_emit(s, step);
        hand_on(s, i, a);
        return;
    }
    /* What is added to comes first: the buffer is given away last. */
    int first = s->gradient[a].buffer >= 0 ? 0 : 1;
    hand_on(s, i, n->in[first]);
    hand_on(s, i, n->in[1 - first]);
}

/* ---- products ---- */

static void back_through_mul(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t a = n->in[0], b = n->in[1];
    const onednn_value *x = &s->value[a], *y = &s->value[b];
    int by_channel = y->height == 1 && y->width == 1 && (x->height > 1 || x->width > 1);
    flow(s, by_channel ? STEP_MUL_BACK_CHANNELS : STEP_MUL_BACK, i, b, *x);
    flow(s, STEP_MUL_BACK, i, a, *y);
    if (n->in[2] >= 0) hand_on(s, i, n->in[2]);
}

static void back_through_drop_path(onednn_planner *s, int32_t i) {
    flow(s, STEP_DROP_PATH, i, node_at(s, i)->in[0], onednn_none);
    if (node_at(s, i)->in[1] >= 0) hand_on(s, i, node_at(s, i)->in[1]);
}

/* ---- channels ---- */

static void copy_back(onednn_planner *s, int32_t i, int32_t target, int32_t from_first, int32_t to_first,
                      int32_t count) {
    onednn_step step = step_for(s, STEP_COPY_CHANNELS, i, target);
    step.accumulate = open_gradient(s, target);
    step.a = s->gradient[i];
    step.out = s->gradient[target];
    step.from_first = from_first;
    step.to_first = to_first;
    step.count = count;
    onednn_emit(s, step);
}

static void back_through_concat(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t first = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS && n->in[k] >= 0; k++) {
        int32_t count = s->value[n->in[k]].channels;
        copy_back(s, i, n->in[k], first, 0, count);
        first += count;
    }
}

static void back_through_slice(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    if (s->gradient[n->in[0]].buffer < 0) { /* the channels that nobody else reads have no gradient */
        onednn_new_buffer(s, &s->gradient[n->in[0]]);
        onednn_step zero = step_for(s, STEP_SCALE, i, n->in[0]);
        zero.kind = STEP_CLEAR;
        zero.out = s->gradient[n->in[0]];
        onednn_emit(s, zero);
    }
    copy_back(s, i, n->in[0], 0, n->op->first, n->channels);
}

static void back_through_attention(onednn_planner *s, int32_t i) {
    int32_t source = node_at(s, i)->in[0];
    int sum = open_gradient(s, source);
    onednn_step step = step_for(s, STEP_ATTENTION_BACK, i, i);
    step.a = s->gradient[i];
    step.b = s->value[source];
    step.out = s->gradient[source];
    if (sum) onednn_new_buffer(s, &step.out);
    onednn_emit(s, step);
    if (!sum) return;
    onednn_step add = step_for(s, STEP_ADD, i, source);
    add.a = add.out = s->gradient[source];
    add.b = step.out;
    onednn_emit(s, add);
}

/* It has parameters of its own: it runs even where its source's gradient is not wanted. */
static void back_through_layer_norm(onednn_planner *s, int32_t i) {
    int32_t source = node_at(s, i)->in[0];
    onednn_step step = step_for(s, STEP_LAYER_NORM_BACK, i, i);
    step.accumulate = open_gradient(s, source);
    step.a = s->gradient[i];
    step.b = s->value[source];
    step.c = s->stats[i];
    step.out = s->gradient[source];
    onednn_emit(s, step);
}

static void back_through_deviation(onednn_planner *s, int32_t i) {
    int32_t source = node_at(s, i)->in[0];
    onednn_step step = step_for(s, STEP_DEVIATION_BACK, i, source);
    step.accumulate = open_gradient(s, source);
    step.a = s->gradient[i];
    step.b = s->value[source];
    step.c = s->value[i];
    step.out = s->gradient[source];
    onednn_emit(s, step);
}

static void back_through_shuffle(onednn_planner *s, int32_t i) {
    int32_t target = node_at(s, i)->in[0];
    onednn_step step = step_for(s, STEP_UNSHUFFLE, i, target);
    step.order = node_at(s, target)->order;
    step.accumulate = open_gradient(s, target);
    step.a = s->gradient[i];
    step.out = s->gradient[target];
    onednn_emit(s, step);
}

static void back_through_ends(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t target = n->kind == DUKD_NODE_OUTPUT ? n->in[0] : i;
    onednn_step step = step_for(s, n->kind == DUKD_NODE_OUTPUT ? STEP_IMPORT : STEP_EXPORT, i, target);
    if (n->kind == DUKD_NODE_OUTPUT) {
        step.accumulate = open_gradient(s, target);
        step.out = s->gradient[target];
    } else {
        step.a = s->gradient[i];
    }
    onednn_emit(s, step);
}

static void back_through(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t target = n->in[0];
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
        hand_on(s, i, target);
        break;
    case DUKD_NODE_GELU:
        if (!s->passed[i]) change(s, STEP_GELU_BACK, i, s->value[target], 1);
        hand_on(s, i, target);
        break;
    case DUKD_NODE_SIGMOID:
        change(s, STEP_SIGMOID_BACK, i, s->value[i], 1);
        hand_on(s, i, target);
        break;
    case DUKD_NODE_SCALE:
        change(s, STEP_SCALE, i, s->gradient[i], n->scale);
        hand_on(s, i, target);
        break;
    case DUKD_NODE_AFFINE:
        flow(s, STEP_AFFINE, i, target, onednn_none);
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
        flow(s, STEP_MEAN_BACK, i, target, onednn_none);
        break;
    case DUKD_NODE_RESIZE:
        flow(s, STEP_RESIZE_BACK, i, target, onednn_none);
        break;
    case DUKD_NODE_MAX_POOL:
        flow(s, STEP_MAX_POOL_BACK, i, target, s->value[target]);
        break;
    }
}

void onednn_plan_backward(onednn_planner *s) {
    for (int32_t i = s->program->fused.count - 1; i >= 0 && s->status == DUKD_DONE; i--)
        if (s->gradient[i].buffer >= 0 || node_at(s, i)->kind == DUKD_NODE_OUTPUT) back_through(s, i);
}
