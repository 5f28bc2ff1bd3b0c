/* A program's backward half: the nodes in reverse, each handing its value's gradient on to what it read.
 *
 * A gradient is complete when its node's turn comes, and nobody needs it afterwards: a node that hands it on
 * unchanged gives the buffer away instead of copying. The steps that only the input's gradient needs are marked. */
#include "engine/onednn/onednn_planner.h"

static const onednn_value none = {.buffer = -1};

static const dukd_node *node_at(const onednn_planner *s, int32_t i) {
    return &s->program->fused.nodes[i];
}

static onednn_step step_for(const onednn_planner *s, int32_t i, int32_t target) {
    return (onednn_step){
        .node = node_at(s, i), .a = none, .b = none, .out = none, .for_input = !node_at(s, target)->trained};
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
    onednn_step step = step_for(s, i, target);
    step.kind = STEP_ADD;
    step.a = step.out = *to;
    step.b = s->gradient[i];
    onednn_emit(s, step);
}

static void mask(onednn_planner *s, int32_t i) {
    onednn_step step = step_for(s, i, i);
    step.kind = STEP_RELU_MASK;
    step.out = s->gradient[i];
    step.a = s->value[i];
    onednn_emit(s, step);
}

static void back_through_conv(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t source = n->in[0];
    const dukd_graph *g = s->program->network->graph;
    if (n->relu) mask(s, i);

    onednn_step step = step_for(s, i, i);
    step.a = s->value[source];
    step.b = s->gradient[i];
    step.run = dukd_run_conv_of(g, n, node_at(s, source), step.a.channels, step.b.channels);
    onednn_emit_weights_gradient(s, step);

    int sum = open_gradient(s, source);
    step = step_for(s, i, source);
    step.a = s->gradient[i];
    step.out = s->gradient[source];
    dukd_run_conv run = dukd_run_conv_of(g, n, node_at(s, source), step.out.channels, step.a.channels);
    onednn_emit_conv(s, step, &run, 1, sum ? DUKD_POST_SUM : DUKD_POST_NONE);
    /* Last, because it may give the buffer away that the convolutions read. */
    if (n->in[1] >= 0) hand_on(s, i, n->in[1]);
}

static void back_through_add(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    int32_t a = n->in[0], b = n->in[1];
    if (s->gradient[b].buffer < 0 && s->gradient[a].buffer < 0 && a != b) {
        /* Both want the buffer: one gets a copy. */
        onednn_new_buffer(s, &s->gradient[b]);
        onednn_step step = step_for(s, i, b);
        step.kind = STEP_SCALE;
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

static void back_through(onednn_planner *s, int32_t i) {
    const dukd_node *n = node_at(s, i);
    if (n->kind == DUKD_NODE_CONV) {
        back_through_conv(s, i);
        return;
    }
    if (n->kind == DUKD_NODE_ADD) {
        back_through_add(s, i);
        return;
    }
    int32_t target = n->in[0] >= 0 ? n->in[0] : i;
    onednn_step step = step_for(s, i, target);
    step.factors = n->factors;
    switch (n->kind) {
    case DUKD_NODE_OUTPUT:
        step.kind = STEP_IMPORT;
        step.accumulate = open_gradient(s, target);
        step.out = s->gradient[target];
        onednn_emit(s, step);
        break;
    case DUKD_NODE_INPUT:
        step.kind = STEP_EXPORT;
        step.a = s->gradient[i];
        onednn_emit(s, step);
        break;
    case DUKD_NODE_RELU:
        mask(s, i);
        hand_on(s, i, target);
        break;
    case DUKD_NODE_SCALE:
        step.kind = STEP_SCALE;
        step.factor = n->scale;
        step.a = step.out = s->gradient[i];
        onednn_emit(s, step);
        hand_on(s, i, target);
        break;
    case DUKD_NODE_AFFINE:
        step.kind = STEP_AFFINE;
        step.accumulate = open_gradient(s, target);
        step.a = s->gradient[i];
        step.out = s->gradient[target];
        onednn_emit(s, step);
        break;
    case DUKD_NODE_SHUFFLE:
        step.kind = STEP_UNSHUFFLE;
        step.order = node_at(s, target)->order;
        step.accumulate = open_gradient(s, target);
        step.a = s->gradient[i];
        step.out = s->gradient[target];
        onednn_emit(s, step);
        break;
    case DUKD_NODE_CONV:
    case DUKD_NODE_ADD:
        break;
    }
}

void onednn_plan_backward(onednn_planner *s) {
    for (int32_t i = s->program->fused.count - 1; i >= 0 && s->status == DUKD_DONE; i--) back_through(s, i);
}
