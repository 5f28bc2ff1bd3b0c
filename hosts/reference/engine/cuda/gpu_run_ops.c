/* Runs the steps that are kernels of gpu_kernels.h. */
#include <cuda_runtime_api.h>

#include "engine/cuda/gpu_state.h"

static gpu_attention attention_of(const dukd_plan_step *s, const gpu_operands *o) {
    const gpu_network *n = o->program->network;
    const dukd_op *op = s->node->op;
    gpu_attention a = {.heads = op->heads, .window = op->kernel, .shift = op->shift};
    if (n->weights) a.table = n->weights + dukd_graph_param(n->graph, op->weight)->offset;
    return a;
}

int64_t gpu_op_scratch(const dukd_plan_step *s, const gpu_operands *o) {
    gpu_attention a;
    switch (s->kind) {
    case DUKD_STEP_LAYER_NORM_BACK:
        return gpu_layer_norm_back_scratch(&o->a);
    case DUKD_STEP_ATTENTION:
        a = attention_of(s, o);
        return gpu_attention_scratch(&o->a, &a);
    case DUKD_STEP_ATTENTION_BACK:
        a = attention_of(s, o);
        return gpu_attention_back_scratch(&o->b, &a);
    case DUKD_STEP_MUL_BACK_CHANNELS:
        return gpu_mul_back_channels_scratch(&o->a);
    case DUKD_STEP_MEAN:
    case DUKD_STEP_DEVIATION:
        return gpu_pool_scratch(&o->a);
    case DUKD_STEP_DEVIATION_BACK:
        return gpu_pool_scratch(&o->b);
    default:
        return 0;
    }
}

static int run_layer_norm(const dukd_plan_step *s, const gpu_operands *o) {
    const gpu_network *n = o->program->network;
    const dukd_op *op = s->node->op;
    const int64_t weight = dukd_graph_param(n->graph, op->weight)->offset,
                  bias = dukd_graph_param(n->graph, op->bias)->offset;
    if (s->kind == DUKD_STEP_LAYER_NORM)
        return gpu_layer_norm(n->engine->stream, &o->out, &o->a, n->weights + weight, n->weights + bias,
                              op->factor, o->c.data);
    return gpu_layer_norm_back(n->engine->stream, &o->out, &o->a, &o->b, n->weights + weight, o->c.data,
                               o->d_weights + weight, o->d_weights + bias, s->accumulate, o->scratch);
}

static int run_attention(const dukd_plan_step *s, const gpu_operands *o) {
    const gpu_network *n = o->program->network;
    const gpu_attention a = attention_of(s, o);
    if (s->kind == DUKD_STEP_ATTENTION)
        return gpu_attention_run(n->engine->stream, &o->out, &o->a, &a, o->scratch);
    return gpu_attention_back(n->engine->stream, &o->out, &o->a, &o->b, &a,
                              o->d_weights + dukd_graph_param(n->graph, s->node->op->weight)->offset,
                              o->scratch);
}

static int run_products(void *stream, const dukd_plan_step *s, const gpu_operands *o) {
    switch (s->kind) {
    case DUKD_STEP_MUL:
        return gpu_mul(stream, &o->out, &o->a, &o->b, o->c.data ? &o->c : NULL, s->factor);
    case DUKD_STEP_MUL_BACK:
        return gpu_mul_back(stream, &o->out, &o->a, &o->b, s->factor, s->accumulate);
    default:
        return gpu_mul_back_channels(stream, &o->out, &o->a, &o->b, s->factor, s->accumulate, o->scratch);
    }
}

static int run_pixels(void *stream, const dukd_plan_step *s, const gpu_operands *o) {
    const dukd_op *op = s->node->op;
    switch (s->kind) {
    case DUKD_STEP_MEAN:
        return gpu_mean(stream, &o->out, &o->a, o->scratch);
    case DUKD_STEP_MEAN_BACK:
        return gpu_mean_back(stream, &o->out, &o->a, s->accumulate);
    case DUKD_STEP_DEVIATION:
        return gpu_deviation(stream, &o->out, &o->a, o->scratch);
    case DUKD_STEP_DEVIATION_BACK:
        return gpu_deviation_back(stream, &o->out, &o->a, &o->b, &o->c, s->accumulate, o->scratch);
    case DUKD_STEP_MAX_POOL:
        return gpu_max_pool(stream, &o->out, &o->a, op->kernel, op->stride);
    case DUKD_STEP_MAX_POOL_BACK:
        return gpu_max_pool_back(stream, &o->out, &o->a, &o->b, op->kernel, op->stride, s->accumulate);
    case DUKD_STEP_RESIZE:
        return gpu_resize(stream, &o->out, &o->a);
    default:
        return gpu_resize_back(stream, &o->out, &o->a, s->accumulate);
    }
}

static int run_elements(void *stream, const dukd_plan_step *s, const gpu_operands *o) {
    switch (s->kind) {
    case DUKD_STEP_RELU:
        return gpu_leaky_relu(stream, &o->out, &o->a, s->factor);
    case DUKD_STEP_RELU_BACK:
        return gpu_leaky_relu_back(stream, &o->out, &o->a, s->factor);
    case DUKD_STEP_GELU:
        return gpu_gelu(stream, &o->out, &o->a);
    case DUKD_STEP_GELU_BACK:
        return gpu_gelu_back(stream, &o->out, &o->a);
    case DUKD_STEP_SIGMOID:
        return gpu_sigmoid(stream, &o->out, &o->a);
    case DUKD_STEP_SIGMOID_BACK:
        return gpu_sigmoid_back(stream, &o->out, &o->a);
    case DUKD_STEP_SCALE:
        return gpu_scale(stream, &o->out, &o->a, s->factor);
    default:
        return gpu_add(stream, &o->out, &o->a, &o->b);
    }
}

static int clear(void *stream, const dukd_tensor *t) {
    const int64_t count = (int64_t)t->images * t->height * t->width * t->channels;
    return (int)cudaMemsetAsync(t->data, 0, (size_t)(count * dukd_type_bytes(t->type)), stream);
}

int gpu_run_op(const dukd_plan_step *s, const gpu_operands *o) {
    void *stream = o->program->network->engine->stream;
    switch (s->kind) {
    case DUKD_STEP_RELU:
    case DUKD_STEP_RELU_BACK:
    case DUKD_STEP_GELU:
    case DUKD_STEP_GELU_BACK:
    case DUKD_STEP_SIGMOID:
    case DUKD_STEP_SIGMOID_BACK:
    case DUKD_STEP_SCALE:
    case DUKD_STEP_ADD:
        return run_elements(stream, s, o);
    case DUKD_STEP_CAST:
        return gpu_cast(stream, &o->out, &o->a, s->accumulate);
    case DUKD_STEP_AFFINE:
        return gpu_affine(stream, &o->out, &o->a, o->factors, o->shifts, s->accumulate);
    case DUKD_STEP_SHUFFLE:
        return gpu_shuffle(stream, &o->out, &o->a, s->node->op->kernel, s->order);
    case DUKD_STEP_UNSHUFFLE:
        return gpu_unshuffle(stream, &o->out, &o->a, s->node->op->kernel, s->order, s->accumulate);
    case DUKD_STEP_CLEAR:
        return clear(stream, &o->out);
    case DUKD_STEP_MUL:
    case DUKD_STEP_MUL_BACK:
    case DUKD_STEP_MUL_BACK_CHANNELS:
        return run_products(stream, s, o);
    case DUKD_STEP_COPY_CHANNELS:
        return gpu_copy_channels(stream, &o->out, s->to_first, &o->a, s->from_first, s->count, s->accumulate);
    case DUKD_STEP_LAYER_NORM:
    case DUKD_STEP_LAYER_NORM_BACK:
        return run_layer_norm(s, o);
    case DUKD_STEP_ATTENTION:
    case DUKD_STEP_ATTENTION_BACK:
        return run_attention(s, o);
    case DUKD_STEP_DROP_PATH: /* out (+)= a times each image's factor, plus b */
        if (!o->b.data) return gpu_image_scale(stream, &o->out, &o->a, o->factors, s->accumulate);
        return gpu_image_add(stream, &o->out, &o->a, o->factors, &o->b);
    default:
        return run_pixels(stream, s, o);
    }
}
