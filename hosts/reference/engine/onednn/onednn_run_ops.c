/* Runs the steps that are operations of ops.h and layout.h. */
#include <string.h>

#include "engine/onednn/onednn_state.h"
#include "engine/ops.h"

/* Operations on each channel by itself see blocks of 16 channels as images of 16 channels in NHWC: the same memory. The
 * single pixels of such images lie so in either layout. */
static dukd_tensor by_block(dukd_tensor t) {
    if (t.channels == 0 || t.channels % 16 != 0) return t;
    t.images *= t.channels / 16;
    t.channels = 16;
    t.layout = DUKD_NHWC;
    return t;
}

static onednn_operands in_blocks(const onednn_operands *o) {
    onednn_operands b = *o;
    if (o->a.layout != DUKD_BLOCK16 && o->b.layout != DUKD_BLOCK16 && o->out.layout != DUKD_BLOCK16) return b;
    b.a = by_block(o->a);
    b.b = by_block(o->b);
    b.c = by_block(o->c);
    b.out = by_block(o->out);
    return b;
}

static dukd_attention attention_of(const dukd_plan_step *s, const onednn_operands *o) {
    const onednn_network *n = o->program->network;
    const dukd_op *op = s->node->op;
    return (dukd_attention){.heads = op->heads,
                            .window = op->kernel,
                            .shift = op->shift,
                            .table = n->weights + dukd_graph_param(n->graph, op->weight)->offset};
}

int64_t onednn_op_scratch(const dukd_plan_step *s, const onednn_operands *whole) {
    const dukd_worker *w = &whole->program->network->engine->worker;
    const onednn_operands o = in_blocks(whole);
    switch (s->kind) {
    case DUKD_STEP_LAYER_NORM_BACK:
        return dukd_run_layer_norm_back_scratch(&o.a);
    case DUKD_STEP_ATTENTION:
    case DUKD_STEP_ATTENTION_BACK: {
        const dukd_op *op = s->node->op;
        dukd_attention a = {.heads = op->heads, .window = op->kernel, .shift = op->shift};
        return s->kind == DUKD_STEP_ATTENTION ? dukd_run_attention_scratch(w, &o.a, &a)
                                              : dukd_run_attention_back_scratch(w, &o.b, &a);
    }
    case DUKD_STEP_MUL_BACK_CHANNELS:
    case DUKD_STEP_MEAN:
    case DUKD_STEP_DEVIATION:
        return s->kind == DUKD_STEP_MUL_BACK_CHANNELS ? dukd_run_mul_back_channels_scratch(&o.a)
                                                      : dukd_run_pool_scratch(&o.a);
    case DUKD_STEP_DEVIATION_BACK:
        return dukd_run_pool_scratch(&o.b);
    case DUKD_STEP_MAX_POOL_BACK:
        return dukd_run_max_pool_back_scratch(&o.a);
    default:
        return 0;
    }
}

static void run_layer_norm(const dukd_plan_step *s, const onednn_operands *o) {
    const onednn_network *n = o->program->network;
    const dukd_worker *w = &n->engine->worker;
    const dukd_op *op = s->node->op;
    int64_t weight = dukd_graph_param(n->graph, op->weight)->offset,
            bias = dukd_graph_param(n->graph, op->bias)->offset;
    if (s->kind == DUKD_STEP_LAYER_NORM)
        dukd_run_layer_norm(w, &o->out, &o->a, n->weights + weight, n->weights + bias, op->factor, o->c.data);
    else
        dukd_run_layer_norm_back(w, &o->out, &o->a, &o->b, n->weights + weight, o->c.data,
                                 o->d_weights + weight, o->d_weights + bias, s->accumulate, o->scratch);
}

static void run_attention(const dukd_plan_step *s, const onednn_operands *o) {
    const onednn_network *n = o->program->network;
    dukd_attention a = attention_of(s, o);
    if (s->kind == DUKD_STEP_ATTENTION)
        dukd_run_attention(&n->engine->worker, &o->out, &o->a, &a, o->scratch);
    else
        dukd_run_attention_back(&n->engine->worker, &o->out, &o->a, &o->b, &a,
                                o->d_weights + dukd_graph_param(n->graph, s->node->op->weight)->offset,
                                o->scratch);
}

/* out (+)= a times each image's factor, plus b. */
static void run_drop_path(const dukd_plan_step *s, const onednn_operands *o) {
    const dukd_worker *w = &o->program->network->engine->worker;
    if (!o->b.data) {
        dukd_run_image_scale(w, &o->out, &o->a, o->drops, s->accumulate);
        return;
    }
    dukd_run_image_add(w, &o->out, &o->a, o->drops, &o->b);
}

static void run_products(const dukd_plan_step *s, const onednn_operands *o) {
    const dukd_worker *w = &o->program->network->engine->worker;
    if (s->kind == DUKD_STEP_MUL)
        dukd_run_mul(w, &o->out, &o->a, &o->b, o->c.data ? &o->c : NULL, s->factor);
    else if (s->kind == DUKD_STEP_MUL_BACK)
        dukd_run_mul_back(w, &o->out, &o->a, &o->b, s->factor, s->accumulate);
    else
        dukd_run_mul_back_channels(w, &o->out, &o->a, &o->b, s->factor, s->accumulate, o->scratch);
}

static void run_pixels(const dukd_plan_step *s, const onednn_operands *o) {
    const dukd_worker *w = &o->program->network->engine->worker;
    const dukd_op *op = s->node->op;
    switch (s->kind) {
    case DUKD_STEP_MEAN:
        dukd_run_mean(w, &o->out, &o->a, o->scratch);
        break;
    case DUKD_STEP_MEAN_BACK:
        dukd_run_mean_back(w, &o->out, &o->a, s->accumulate);
        break;
    case DUKD_STEP_DEVIATION:
        dukd_run_deviation(w, &o->out, &o->a, o->scratch);
        break;
    case DUKD_STEP_DEVIATION_BACK:
        dukd_run_deviation_back(w, &o->out, &o->a, &o->b, &o->c, s->accumulate, o->scratch);
        break;
    case DUKD_STEP_MAX_POOL:
        dukd_run_max_pool(w, &o->out, &o->a, op->kernel, op->stride);
        break;
    case DUKD_STEP_MAX_POOL_BACK:
        dukd_run_max_pool_back(w, &o->out, &o->a, &o->b, op->kernel, op->stride, s->accumulate, o->scratch);
        break;
    case DUKD_STEP_RESIZE:
        dukd_run_resize(w, &o->out, &o->a);
        break;
    default:
        dukd_run_resize_back(w, &o->out, &o->a, s->accumulate);
        break;
    }
}

static void run_elements(const dukd_plan_step *s, const onednn_operands *o) {
    const dukd_worker *w = &o->program->network->engine->worker;
    switch (s->kind) {
    case DUKD_STEP_RELU:
        if (s->factor > 0)
            dukd_run_leaky_relu(w, &o->out, &o->a, s->factor);
        else
            dukd_run_relu(w, &o->out, &o->a);
        break;
    case DUKD_STEP_RELU_BACK:
        if (s->factor > 0)
            dukd_run_leaky_relu_back(w, &o->out, &o->a, s->factor);
        else
            dukd_run_relu_mask(w, &o->out, &o->a);
        break;
    case DUKD_STEP_GELU:
        dukd_run_gelu(w, &o->out, &o->a);
        break;
    case DUKD_STEP_GELU_BACK:
        dukd_run_gelu_back(w, &o->out, &o->a);
        break;
    case DUKD_STEP_GELU_BACK_AGAIN:
        dukd_run_gelu_back_again(w, &o->out, &o->a);
        break;
    case DUKD_STEP_SIGMOID:
        dukd_run_sigmoid(w, &o->out, &o->a);
        break;
    case DUKD_STEP_SIGMOID_BACK:
        dukd_run_sigmoid_back(w, &o->out, &o->a);
        break;
    case DUKD_STEP_SCALE:
        dukd_run_scale(w, &o->out, &o->a, s->factor);
        break;
    default:
        dukd_run_add(w, &o->out, &o->a, &o->b);
        break;
    }
}

static void clear(const dukd_tensor *t) {
    int64_t count = (int64_t)t->images * t->height * t->width * t->channels;
    memset(t->data, 0, (size_t)(count * dukd_type_bytes(t->type)));
}

void onednn_run_op(const dukd_plan_step *s, const onednn_operands *whole) {
    const dukd_worker *w = &whole->program->network->engine->worker;
    const onednn_operands o = in_blocks(whole);
    switch (s->kind) {
    case DUKD_STEP_RELU:
    case DUKD_STEP_RELU_BACK:
    case DUKD_STEP_GELU:
    case DUKD_STEP_GELU_BACK:
    case DUKD_STEP_GELU_BACK_AGAIN:
    case DUKD_STEP_SIGMOID:
    case DUKD_STEP_SIGMOID_BACK:
    case DUKD_STEP_SCALE:
    case DUKD_STEP_ADD:
        run_elements(s, whole);
        break;
    case DUKD_STEP_CAST:
        dukd_run_cast(w, &whole->out, &whole->a, s->accumulate);
        break;
    case DUKD_STEP_AFFINE:
        dukd_run_affine(w, &whole->out, &whole->a, s->factors, s->shifts, s->accumulate);
        break;
    case DUKD_STEP_SHUFFLE:
        dukd_run_shuffle(w, &whole->out, &whole->a, s->node->op->kernel, s->order);
        break;
    case DUKD_STEP_UNSHUFFLE:
        dukd_run_unshuffle(w, &whole->out, &whole->a, s->node->op->kernel, s->order, s->accumulate);
        break;
    case DUKD_STEP_CLEAR:
        clear(&whole->out);
        break;
    case DUKD_STEP_MUL:
    case DUKD_STEP_MUL_BACK:
    case DUKD_STEP_MUL_BACK_CHANNELS:
        run_products(s, &o);
        break;
    case DUKD_STEP_COPY_CHANNELS:
        dukd_run_copy_channels(w, &whole->out, s->to_first, &whole->a, s->from_first, s->count,
                               s->accumulate);
        break;
    case DUKD_STEP_LAYER_NORM:
    case DUKD_STEP_LAYER_NORM_BACK:
        run_layer_norm(s, whole);
        break;
    case DUKD_STEP_ATTENTION:
    case DUKD_STEP_ATTENTION_BACK:
        run_attention(s, whole);
        break;
    case DUKD_STEP_DROP_PATH:
        run_drop_path(s, whole);
        break;
    default:
        run_pixels(s, &o);
        break;
    }
}
