/* Runs a program: its steps, for the whole batch. Convolutions and the exchange with the caller are here, all other steps in
 * gpu_run_ops.c. Nothing here waits, allocates or reads the device's memory, so that a step can be recorded (but with a clock: it waits
 * for every step). */
#include <cuda_runtime_api.h>

#include "engine/cuda/gpu_state.h"

typedef struct {
    gpu_program *program;
    int32_t images; /* of this call */
    const float *input;
    float *const *outputs;
    const float *const *d_outputs;
    float *d_weights, *d_input;
} run;

static dukd_tensor tensor_of(const run *r, const dukd_plan_value *v) {
    const gpu_program *p = r->program;
    const gpu_engine *e = p->network->engine;
    char *arena = p->plan.purpose == DUKD_TRAIN ? e->train.data : e->infer.data;
    dukd_tensor t = dukd_plan_shape(&p->plan, v);
    if (v->buffer >= 0) t.data = arena + p->plan.buffers[v->buffer].offset;
    return t;
}

static dukd_exchange exchange_of(const run *r, const dukd_plan_step *s) {
    const dukd_node *n = s->node;
    return (dukd_exchange){.images = r->images,
                           .channels = n->channels,
                           .order = n->order,
                           .spread = n->spread,
                           .factors = s->factors,
                           .shifts = s->shifts};
}

static int run_import(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    const dukd_node *n = s->node;
    const float *caller = n->kind == DUKD_NODE_INPUT ? r->input : r->d_outputs[n->output];
    dukd_exchange x = exchange_of(r, s);
    if (!caller) {
        if (s->accumulate) return DUKD_DONE;
        x.images = 0; /* no gradient is a gradient of zeros */
    }
    const dukd_tensor out = tensor_of(r, &s->out);
    return gpu_check(gpu_import(r->program->network->engine->stream, &out, caller, &x, s->accumulate),
                     "reading a tensor", f);
}

static int run_export(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    const dukd_node *n = s->node;
    float *caller = n->kind == DUKD_NODE_INPUT ? r->d_input : r->outputs[n->output];
    const dukd_exchange x = exchange_of(r, s);
    const dukd_tensor in = tensor_of(r, &s->a);
    return gpu_check(gpu_export(r->program->network->engine->stream, caller, &in, &x), "writing a tensor", f);
}

/* A library loads a convolution's kernels when it runs first. On a full device that fails, in cuDNN by an internal error: once more without
 * the arrays that nobody uses, but for sums, of which a part may have been added. */
static int run_library(gpu_engine *e, gpu_conv *c, const gpu_conv_operands *o, int adds, dukd_failure *f) {
    dukd_failure first = {0};
    int status = gpu_conv_run(c, o, &first);
    if (status == DUKD_DONE) return status;
    (void)cudaGetLastError();
    if (!adds && !e->recording && gpu_array_give_up_unused(e) && gpu_conv_run(c, o, NULL) == DUKD_DONE)
        return DUKD_DONE;
    return dukd_fail(f, status, "%s", first.message);
}

static int run_conv(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    gpu_network *n = r->program->network;
    const int status = gpu_refresh_packed(n, f);
    if (status != DUKD_DONE) return status;
    const gpu_packed *packed = &n->packed[s->packed];
    const dukd_tensor a = tensor_of(r, &s->a), b = tensor_of(r, &s->b), out = tensor_of(r, &s->out);
    gpu_conv_operands o = {.w = packed->weights, .out = out.data, .workspace = n->engine->scratch.data};
    if (s->kind == DUKD_STEP_DATA_GRADIENT) {
        o.d = a.data;
    } else {
        o.x = a.data;
        o.bias = packed->bias;
        o.narrow_bias = packed->narrow_bias;
        o.addend = b.data;
    }
    return run_library(n->engine, s->conv, &o, s->accumulate || (o.addend && o.addend == o.out), f);
}

/* Gradients of packed weights, and of biases in parts, stay in the engine's block of that name until the group's are unpacked. */
static float *parts_of(const run *r, int32_t gradient) {
    const gpu_program *p = r->program;
    if (gradient < 0) return NULL;
    return (float *)(void *)(p->network->engine->gradient.data + p->gradients[gradient].parts);
}

static const gpu_step_gradients *gradients_of(const run *r, const dukd_plan_step *s) {
    return &r->program->step_gradients[s - r->program->plan.steps];
}

static int run_weights_gradient(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    gpu_engine *e = r->program->network->engine;
    const gpu_step_gradients *g = gradients_of(r, s);
    const dukd_tensor a = tensor_of(r, &s->a), b = tensor_of(r, &s->b);
    const gpu_conv_operands o = {.x = a.data,
                                 .d = b.data,
                                 .out = e->gradient.data + r->program->gradients[g->of_out].packed,
                                 .workspace = e->scratch.data};
    const int status = run_library(e, s->conv, &o, 0, f);
    if (status != DUKD_DONE || !g->adds) return status;
    return gpu_check(gpu_channel_parts(e->stream, parts_of(r, g->of_out), &b), "a bias's gradient", f);
}

static int run_relu_back(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    const gpu_step_gradients *g = gradients_of(r, s);
    const dukd_tensor a = tensor_of(r, &s->a), b = tensor_of(r, &s->b), out = tensor_of(r, &s->out);
    return gpu_check(gpu_leaky_relu_back_parts(r->program->network->engine->stream, &out, &a, s->factor,
                                               parts_of(r, g->of_out), g->of_other >= 0 ? &b : NULL,
                                               parts_of(r, g->of_other)),
                     dukd_plan_step_name(s), f);
}

static int run_step(const run *r, int32_t i, dukd_failure *f) {
    const gpu_program *p = r->program;
    const dukd_plan_step *s = &p->plan.steps[i];
    switch (s->kind) {
    case DUKD_STEP_IMPORT:
        return run_import(r, s, f);
    case DUKD_STEP_EXPORT:
        return run_export(r, s, f);
    case DUKD_STEP_CONV:
    case DUKD_STEP_DATA_GRADIENT:
        return run_conv(r, s, f);
    case DUKD_STEP_WEIGHTS_GRADIENT:
        return run_weights_gradient(r, s, f);
    default:
        break;
    }
    if (s->kind == DUKD_STEP_RELU_BACK && gradients_of(r, s)->of_out >= 0 && r->d_weights)
        return run_relu_back(r, s, f);
    gpu_operands o = {.program = p,
                      .a = tensor_of(r, &s->a),
                      .b = tensor_of(r, &s->b),
                      .c = tensor_of(r, &s->c),
                      .out = tensor_of(r, &s->out),
                      .factors = s->factors,
                      .shifts = s->shifts,
                      .d_weights = r->d_weights,
                      .scratch = p->network->engine->scratch.data};
    if (s->kind == DUKD_STEP_DROP_PATH) o.factors = p->drops + (int64_t)s->node->op->drop * p->plan.batch;
    return gpu_check(gpu_run_op(s, &o), dukd_plan_step_name(s), f);
}

static int run_unpack(const run *r, int32_t group, dukd_failure *f) {
    const gpu_program *p = r->program;
    const gpu_engine *e = p->network->engine;
    const gpu_gradient_group *g = &p->groups[group];
    return gpu_check(
        gpu_unpack_gradients(e->stream, &g->table, p->on_device.data + g->at, r->d_weights, e->gradient.data),
        "unpacking gradients", f);
}

/* The i-th of what `work` does; timed under a name. */
static int run_timed(const run *r, int (*work)(const run *, int32_t, dukd_failure *), int32_t i,
                     const char *name, dukd_failure *f) {
    gpu_engine *e = r->program->network->engine;
    if (!e->now || e->recording) return work(r, i, f);
    int status = gpu_check((int)cudaStreamSynchronize(e->stream), "waiting for a step", f);
    const double begin = e->now();
    if (status == DUKD_DONE) status = work(r, i, f);
    if (status == DUKD_DONE) status = gpu_check((int)cudaStreamSynchronize(e->stream), name, f);
    dukd_step_times_note(&e->times, name, e->now() - begin);
    return status;
}

static int run_range(const run *r, int32_t first, int32_t end, const dukd_gradient_listener *listener,
                     dukd_failure *f) {
    const gpu_program *p = r->program;
    int32_t told = 0, unpacked = 0;
    int status = DUKD_DONE;
    for (int32_t i = first; i <= end; i++) {
        /* What is complete before step i. */
        for (; unpacked < p->group_count && p->groups[unpacked].step < i && status == DUKD_DONE; unpacked++)
            if (r->d_weights) status = run_timed(r, run_unpack, unpacked, "gradients unpacked", f);
        if (status != DUKD_DONE) return status;
        for (; listener && told < p->announcement_count && p->announcements[told].step < i; told++)
            listener->ready(listener->ctx, p->announcements[told].first, p->announcements[told].count);
        if (i == end) break;
        const dukd_plan_step *s = &p->plan.steps[i];
        if (s->for_input && !r->d_input) continue;
        if (s->kind == DUKD_STEP_WEIGHTS_GRADIENT && !r->d_weights) continue;
        status = run_timed(r, run_step, i, dukd_plan_step_name(s), f);
        if (status != DUKD_DONE) return status;
    }
    return DUKD_DONE;
}

/* A larger arena for training; what the kept forward has left moves. */
static int grow_train(gpu_engine *e, int64_t bytes, const char *what, dukd_failure *f) {
    const dukd_plan *kept = &e->kept->plan;
    dukd_block larger = {0};
    int status = gpu_block_reserve(e, &larger, bytes, what, f);
    for (int32_t i = 0; i < kept->buffer_count && status == DUKD_DONE; i++) {
        const dukd_plan_buffer *b = &kept->buffers[i];
        if (b->first >= kept->forward_steps || b->last < kept->forward_steps) continue;
        status = gpu_check((int)cudaMemcpyAsync(larger.data + b->offset, e->train.data + b->offset,
                                                (size_t)(b->image_bytes * kept->part),
                                                cudaMemcpyDeviceToDevice, e->stream),
                           "moving a network's activations", f);
    }
    if (status == DUKD_DONE) status = gpu_block_retire(e, &e->train, f);
    if (status != DUKD_DONE) {
        gpu_block_free(e, &larger);
        return status;
    }
    e->train = larger;
    return DUKD_DONE;
}

int gpu_reserve_for(const gpu_program *p, dukd_failure *f) {
    gpu_engine *e = p->network->engine;
    static const char what[] = "a network's activations";
    int status;
    if (p->plan.purpose == DUKD_TRAIN && e->kept && p->plan.arena_bytes > e->train.bytes)
        status = grow_train(e, p->plan.arena_bytes, what, f);
    else
        status = gpu_block_reserve(e, p->plan.purpose == DUKD_TRAIN ? &e->train : &e->infer,
                                   p->plan.arena_bytes, what, f);
    if (status == DUKD_DONE)
        status = gpu_block_reserve(e, &e->scratch, p->scratch_bytes, "an operation's scratch", f);
    if (status == DUKD_DONE)
        status = gpu_block_reserve(e, &e->gradient, p->gradient_bytes, "convolutions' gradients", f);
    return status;
}

/* The blocks are as they were when the program was compiled, unless a larger program did not fit. */
int gpu_forward(void *program, int32_t images, const float *input, float *const *outputs, const float *drops,
                dukd_failure *f) {
    gpu_program *p = program;
    gpu_engine *e = p->network->engine;
    const run r = {.program = p, .images = images, .input = input, .outputs = outputs};
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    p->drops = drops;
    if (p->plan.purpose == DUKD_TRAIN) e->kept = NULL;
    status = gpu_reserve_for(p, f);
    if (status == DUKD_DONE) status = run_range(&r, 0, p->plan.forward_steps, NULL, f);
    if (p->plan.purpose == DUKD_TRAIN && status == DUKD_DONE) e->kept = p;
    return status;
}

int gpu_backward(void *program, const float *const *d_outputs, float *d_weights, float *d_input,
                 const dukd_gradient_listener *listener, dukd_failure *f) {
    gpu_program *p = program;
    gpu_engine *e = p->network->engine;
    const run r = {.program = p,
                   .images = p->plan.batch,
                   .d_outputs = d_outputs,
                   .d_weights = d_weights,
                   .d_input = d_input};
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    if (e->kept != p)
        status = dukd_fail(f, DUKD_MISUSED, "backward without its forward: a recorded step ran in between");
    else
        status = gpu_reserve_for(p, f);
    if (status == DUKD_DONE) status = run_range(&r, p->plan.forward_steps, p->plan.step_count, listener, f);
    e->kept = NULL;
    return status;
}
