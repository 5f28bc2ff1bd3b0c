/* A program's backward half: the nodes in reverse, each handing its value's gradient on to what it read.
 *
 * A gradient is complete when its node's turn comes, and nobody needs it afterwards: a node that hands it on unchanged gives the buffer
 * away instead of copying, and one that works element by element does so in its place. The steps that only the input's gradient needs
 * are marked. */
#include "engine/planner.h"

/* A step of node i for the gradient of `target`. */
static dukd_plan_step step_for(const dukd_planner *s, dukd_step_kind kind, int32_t i, int32_t target) {
    dukd_plan_step step = dukd_planner_step(s, kind, i);
    step.factors = step.node->factors;
    step.for_input = !dukd_planner_node(s, target)->trained;
    return step;
}

/* The buffer of `target`'s gradient; returns whether something is in it that must be added to. */
static int open_gradient(dukd_planner *s, int32_t target) {
    if (s->gradient[target].buffer >= 0) return 1;
    dukd_planner_new_buffer(s, &s->gradient[target]);
    return 0;
}

/* From the gradient of i and values that forward left, into the gradient of `target`. */
static dukd_plan_step into(dukd_planner *s, dukd_step_kind kind, int32_t i, int32_t target) {
    dukd_plan_step step = step_for(s, kind, i, target);
    step.accumulate = open_gradient(s, target);
    step.a = s->gradient[i];
    step.out = s->gradient[target];
    return step;
}

/* The gradient of i, whole, flows on to `target`: by giving its buffer away, or by addition. */
static void hand_on(dukd_planner *s, int32_t i, int32_t target) {
    dukd_plan_value *to = &s->gradient[target];
    if (to->buffer < 0) {
        to->buffer = s->gradient[i].buffer;
        return;
    }
    dukd_plan_step step = step_for(s, DUKD_STEP_ADD, i, target);
    step.a = step.out = *to;
    step.b = s->gradient[i];
    dukd_planner_emit(s, step);
}

static void flow(dukd_planner *s, dukd_step_kind kind, int32_t i, int32_t target, dukd_plan_value b) {
    dukd_plan_step step = into(s, kind, i, target);
    step.b = b;
    dukd_planner_emit(s, step);
}

/* In the gradient's own place, which is then handed on to the operand. */
static void change(dukd_planner *s, dukd_step_kind kind, int32_t i, dukd_plan_value a, float factor) {
    dukd_plan_step step = step_for(s, kind, i, i);
    step.a = a;
    step.out = s->gradient[i];
    step.factor = factor;
    dukd_planner_emit(s, step);
}

/* To the gradient of an operand, in that one's type. */
static void cast_on(dukd_planner *s, int32_t i, dukd_plan_value from, int32_t target) {
    dukd_plan_step step = into(s, DUKD_STEP_CAST, i, target);
    step.a = from;
    dukd_planner_emit(s, step);
}

/* The gradient of i as what is in front of the last layer reads it. */
static void narrow_gradient(dukd_planner *s, int32_t i) {
    const dukd_plan_value from = s->gradient[i];
    s->gradient[i].type = s->type;
    s->gradient[i].buffer = -1;
    cast_on(s, i, from, i);
}

/* A step that cannot add to the gradient of `target`: what is there is added to it in a step of its own. */
static void emit_and_add(dukd_planner *s, dukd_plan_step step, int32_t i, int32_t target) {
    const int sum = step.accumulate;
    step.accumulate = 0;
    if (sum) dukd_planner_new_buffer(s, &step.out);
    dukd_planner_emit(s, step);
    if (!sum) return;
    dukd_plan_step add = step_for(s, DUKD_STEP_ADD, i, target);
    add.a = add.out = s->gradient[target];
    add.b = step.out;
    dukd_planner_emit(s, add);
}

/* ---- convolutions and sums ---- */

/* A convolution's source as its weights' gradient reads it: kept, of a last layer as forward has read it; or computed again. */
static dukd_plan_value source_of(dukd_planner *s, int32_t i) {
    const int32_t source = dukd_planner_node(s, i)->in[0];
    dukd_plan_value v = s->value[source];
    if (v.type != s->gradient[i].type && s->widened[source].buffer >= 0) return s->widened[source];
    if (s->again[source]) {
        dukd_planner_new_buffer(s, &v);
        dukd_planner_node_steps(s, source, &v);
    }
    return v;
}

static void data_gradient(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    const int32_t source = n->in[0];
    if (s->gradient[i].type == s->gradient[source].type) {
        const dukd_plan_step step = into(s, DUKD_STEP_DATA_GRADIENT, i, source);
        if (!s->backend->adds_data_gradient || s->backend->adds_data_gradient(n))
            dukd_planner_emit(s, step);
        else
            emit_and_add(s, step, i, source);
        return;
    }
    /* Of a last layer in f32 that reads bf16. */
    dukd_plan_step step = step_for(s, DUKD_STEP_DATA_GRADIENT, i, source);
    step.a = s->gradient[i];
    step.out = s->gradient[source];
    step.out.type = DUKD_TYPE_F32;
    dukd_planner_new_buffer(s, &step.out);
    dukd_planner_emit(s, step);
    cast_on(s, i, step.out, source);
}

/* Whether the convolution behind a GELU can go through it at once: nobody else reads the GELU, which is to be computed
 * again, nor its source, which can so become the GELU. */
static int goes_through_gelu(const dukd_planner *s, int32_t gelu) {
    const dukd_node *n = dukd_planner_node(s, gelu),
                    *before = dukd_planner_node(s, n->in[0] >= 0 ? n->in[0] : gelu);
    if (!s->backend->gelu_back_again || n->kind != DUKD_NODE_GELU || !s->again[gelu] ||
        before->kind != DUKD_NODE_CONV || before->act)
        return 0;
    int32_t readers[2] = {0, 0};
    for (int32_t i = gelu; i < s->plan->fused.count; i++)
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) {
            readers[0] += dukd_planner_node(s, i)->in[k] == gelu;
            readers[1] += dukd_planner_node(s, i)->in[k] == n->in[0];
        }
    return readers[0] == 1 && readers[1] == 1 && s->last_use[n->in[0]] == gelu;
}

/* The gradient of the GELU's source, in the place of its own; returns the GELU's value, in the place of its source. */
static dukd_plan_value gelu_again(dukd_planner *s, int32_t gelu) {
    dukd_plan_step step = step_for(s, DUKD_STEP_GELU_BACK_AGAIN, gelu, gelu);
    step.a = s->value[dukd_planner_node(s, gelu)->in[0]];
    step.out = s->gradient[gelu];
    step.for_input = 0; /* the weights' gradient needs it */
    dukd_planner_emit(s, step);
    s->passed[gelu] = 1;
    return step.a;
}

static void back_through_conv(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    if (n->act) change(s, DUKD_STEP_RELU_BACK, i, s->value[i], n->slope);
    if (!n->last && s->gradient[i].type != s->type) narrow_gradient(s, i);

    const int together = goes_through_gelu(s, n->in[0]);
    if (together) data_gradient(s, i);
    dukd_plan_step step = step_for(s, DUKD_STEP_WEIGHTS_GRADIENT, i, i);
    step.a = together ? gelu_again(s, n->in[0]) : source_of(s, i);
    if (step.a.type != s->gradient[i].type) step.a = dukd_planner_widened(s, i, step.a);
    step.b = s->gradient[i];
    dukd_planner_emit(s, step);
    if (!together) data_gradient(s, i);
    /* Last, because it may give the buffer away that the convolutions read. */
    if (n->in[1] >= 0 && s->gradient[i].type != s->gradient[n->in[1]].type)
        cast_on(s, i, s->gradient[i], n->in[1]);
    else if (n->in[1] >= 0)
        hand_on(s, i, n->in[1]);
}

static void back_through_add(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    const int32_t a = n->in[0], b = n->in[1];
    if (s->gradient[b].buffer < 0 && s->gradient[a].buffer < 0 && a != b) {
        /* Both want the buffer: one gets a copy. */
        dukd_plan_step copy = into(s, DUKD_STEP_SCALE, i, b);
        copy.factor = 1;
        dukd_planner_emit(s, copy);
        hand_on(s, i, a);
        return;
    }
    /* What is added to comes first: the buffer is given away last. */
    const int first = s->gradient[a].buffer >= 0 ? 0 : 1;
    hand_on(s, i, n->in[first]);
    hand_on(s, i, n->in[1 - first]);
}

/* ---- products ---- */

static void back_through_mul(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    const int32_t a = n->in[0], b = n->in[1];
    const dukd_plan_value *x = &s->value[a], *y = &s->value[b];
    const int by_channel = y->height == 1 && y->width == 1 && (x->height > 1 || x->width > 1);
    flow(s, by_channel ? DUKD_STEP_MUL_BACK_CHANNELS : DUKD_STEP_MUL_BACK, i, b, *x);
    flow(s, DUKD_STEP_MUL_BACK, i, a, *y);
    if (n->in[2] >= 0) hand_on(s, i, n->in[2]);
}

static void back_through_drop_path(dukd_planner *s, int32_t i) {
    flow(s, DUKD_STEP_DROP_PATH, i, dukd_planner_node(s, i)->in[0], dukd_plan_none);
    if (dukd_planner_node(s, i)->in[1] >= 0) hand_on(s, i, dukd_planner_node(s, i)->in[1]);
}

/* ---- channels ---- */

static void copy_back(dukd_planner *s, int32_t i, int32_t target, int32_t from_first, int32_t to_first,
                      int32_t count) {
    dukd_plan_step step = into(s, DUKD_STEP_COPY_CHANNELS, i, target);
    step.from_first = from_first;
    step.to_first = to_first;
    step.count = count;
    dukd_planner_emit(s, step);
}

static void back_through_concat(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    int32_t first = 0;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS && n->in[k] >= 0; k++) {
        const int32_t count = s->value[n->in[k]].channels;
        copy_back(s, i, n->in[k], first, 0, count);
        first += count;
    }
}

static void back_through_slice(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    if (s->gradient[n->in[0]].buffer < 0) { /* the channels that nobody else reads have no gradient */
        dukd_planner_new_buffer(s, &s->gradient[n->in[0]]);
        dukd_plan_step zero = step_for(s, DUKD_STEP_CLEAR, i, n->in[0]);
        zero.out = s->gradient[n->in[0]];
        dukd_planner_emit(s, zero);
    }
    copy_back(s, i, n->in[0], 0, n->op->first, n->channels);
}

/* These two have parameters of their own: they run even where their source's gradient is not wanted. */
static void back_through_attention(dukd_planner *s, int32_t i) {
    const int32_t source = dukd_planner_node(s, i)->in[0];
    dukd_plan_step step = into(s, DUKD_STEP_ATTENTION_BACK, i, source);
    step.for_input = 0;
    step.b = s->value[source];
    emit_and_add(s, step, i, source);
}

static void back_through_layer_norm(dukd_planner *s, int32_t i) {
    const int32_t source = dukd_planner_node(s, i)->in[0];
    dukd_plan_step step = into(s, DUKD_STEP_LAYER_NORM_BACK, i, source);
    step.for_input = 0;
    step.b = s->value[source];
    step.c = s->stats[i];
    dukd_planner_emit(s, step);
}

static void back_through_deviation(dukd_planner *s, int32_t i) {
    const int32_t source = dukd_planner_node(s, i)->in[0];
    dukd_plan_step step = into(s, DUKD_STEP_DEVIATION_BACK, i, source);
    step.b = s->value[source];
    step.c = s->value[i];
    dukd_planner_emit(s, step);
}

static void back_through_shuffle(dukd_planner *s, int32_t i) {
    const int32_t source = dukd_planner_node(s, i)->in[0];
    dukd_plan_step step = into(s, DUKD_STEP_UNSHUFFLE, i, source);
    step.order = dukd_planner_node(s, source)->order;
    dukd_planner_emit(s, step);
}

static void back_through_ends(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    const int is_output = n->kind == DUKD_NODE_OUTPUT;
    const int32_t target = is_output ? n->in[0] : i;
    dukd_plan_step step = step_for(s, is_output ? DUKD_STEP_IMPORT : DUKD_STEP_EXPORT, i, target);
    if (is_output) {
        step.accumulate = open_gradient(s, target);
        step.out = s->gradient[target];
    } else {
        step.a = s->gradient[i];
    }
    dukd_planner_emit(s, step);
}

static void back_through(dukd_planner *s, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
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
        change(s, DUKD_STEP_RELU_BACK, i, s->value[i], n->op->factor);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_GELU:
        if (!s->passed[i]) change(s, DUKD_STEP_GELU_BACK, i, s->value[source], 1);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_SIGMOID:
        change(s, DUKD_STEP_SIGMOID_BACK, i, s->value[i], 1);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_SCALE:
        change(s, DUKD_STEP_SCALE, i, s->gradient[i], n->scale);
        hand_on(s, i, source);
        break;
    case DUKD_NODE_AFFINE:
        flow(s, DUKD_STEP_AFFINE, i, source, dukd_plan_none);
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
        flow(s, DUKD_STEP_MEAN_BACK, i, source, dukd_plan_none);
        break;
    case DUKD_NODE_RESIZE:
        flow(s, DUKD_STEP_RESIZE_BACK, i, source, dukd_plan_none);
        break;
    case DUKD_NODE_MAX_POOL:
        flow(s, DUKD_STEP_MAX_POOL_BACK, i, source, s->value[source]);
        break;
    }
}

void dukd_planner_backward(dukd_planner *s) {
    for (int32_t i = s->plan->fused.count - 1; i >= 0 && s->status == DUKD_DONE; i--)
        if (s->gradient[i].buffer >= 0 || dukd_planner_node(s, i)->kind == DUKD_NODE_OUTPUT)
            back_through(s, i);
}
