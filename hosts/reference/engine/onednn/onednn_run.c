/* Runs a program: its steps, one part of the batch after another. Convolutions and the exchange with the caller are
 * here, all other steps in onednn_run_ops.c. */
#include <string.h>

#include "engine/onednn/onednn_state.h"

typedef struct {
    onednn_program *program;
    int32_t images; /* of this call */
    int32_t first;  /* image of the part that runs */
    int32_t row;    /* of the band that runs, in the input's resolution */
    const float *input;
    float *const *outputs;
    const float *const *d_outputs;
    float *d_weights, *d_input;
} run;

static dukd_tensor tensor_of(const run *r, const dukd_plan_value *v) {
    const dukd_plan *p = &r->program->plan;
    const onednn_engine *e = r->program->network->engine;
    dukd_tensor t = dukd_plan_shape(p, v);
    if (v->buffer < 0) return t;
    const dukd_plan_buffer *b = &p->buffers[v->buffer];
    char *base = p->purpose == DUKD_TRAIN ? e->train.data : e->infer.data;
    int64_t offset = b->offset + (b->kept ? r->first * b->image_bytes : 0);
    int64_t skip = v->skip + (v->moves ? (int64_t)r->row * v->up : 0);
    t.data = base + offset + skip * v->width * v->channels * dukd_type_bytes(v->type);
    return t;
}

/* Elements of one image of a caller's tensor. */
static int64_t caller_image(const dukd_node *n, const dukd_plan_value *v) {
    return (int64_t)n->channels * v->height * n->spread * v->width * n->spread;
}

static dukd_exchange exchange_of(const run *r, const dukd_plan_step *s) {
    const dukd_node *n = s->node;
    int32_t there = r->images - r->first;
    return (dukd_exchange){.images = there < r->program->plan.part ? there : r->program->plan.part,
                           .channels = n->channels,
                           .order = n->order,
                           .spread = n->spread,
                           .factors = s->factors,
                           .shifts = s->shifts};
}

static void run_import(const run *r, const dukd_plan_step *s) {
    const dukd_node *n = s->node;
    const float *caller = n->kind == DUKD_NODE_INPUT ? r->input : r->d_outputs[n->output];
    dukd_exchange x = exchange_of(r, s);
    if (!caller) {
        if (s->accumulate) return;
        x.images = 0; /* no gradient is a gradient of zeros */
    } else {
        caller += r->first * caller_image(n, &s->out);
    }
    dukd_tensor out = tensor_of(r, &s->out);
    dukd_run_import(&r->program->network->engine->worker, &out, caller, &x, s->accumulate);
}

static void run_export(const run *r, const dukd_plan_step *s) {
    const dukd_node *n = s->node;
    float *caller = n->kind == DUKD_NODE_INPUT ? r->d_input : r->outputs[n->output];
    dukd_exchange x = exchange_of(r, s);
    dukd_tensor in = tensor_of(r, &s->a);
    if (in.height < s->a.height) {
        x.first_row = r->row * s->a.up;
        x.total_rows = s->a.height;
    }
    dukd_run_export(&r->program->network->engine->worker, caller + r->first * caller_image(n, &s->a), &in,
                    &x);
}

static int run_conv(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    onednn_network *n = r->program->network;
    int status = onednn_refresh_packed(n, s->packed, f);
    if (status != DUKD_DONE) return status;
    const onednn_packed *packed = &n->packed[s->packed];
    int back = s->kind == DUKD_STEP_DATA_GRADIENT;
    return dukd_conv_run(s->conv,
                         &(dukd_conv_memory){.source = tensor_of(r, back ? &s->out : &s->a).data,
                                             .weights = packed->weights.data,
                                             .bias = (float *)(void *)packed->bias.data,
                                             .dest = tensor_of(r, back ? &s->a : &s->out).data,
                                             .addend = tensor_of(r, &s->b).data,
                                             .scratch = n->engine->scratch.data},
                         f);
}

static int run_weights_gradient(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    onednn_engine *e = r->program->network->engine;
    float *plain = (float *)(void *)e->plain.data, *bias = plain + dukd_run_conv_elements(&s->run);
    dukd_tensor dest = tensor_of(r, &s->b);
    int status = dukd_conv_run(s->conv,
                               &(dukd_conv_memory){.source = tensor_of(r, &s->a).data,
                                                   .weights = e->packed_gradient.data,
                                                   .bias = bias,
                                                   .dest = dest.data,
                                                   .scratch = e->scratch.data},
                               f);
    if (s->run.bias && dukd_conv_leaves_bias(s->conv)) dukd_run_channel_sums(&e->worker, bias, &dest);
    if (status == DUKD_DONE) status = dukd_conv_unpack(s->conv, plain, e->packed_gradient.data, f);
    if (status == DUKD_DONE) dukd_run_conv_unpack(&s->run, r->d_weights, plain, bias);
    return status;
}

/* Rows of a value, its halo included, that the image does not have. One image. */
static void clear_edges(const run *r, const dukd_plan_value *v, const dukd_tensor *t) {
    int64_t row_bytes = (int64_t)t->width * t->channels * dukd_type_bytes(t->type);
    int64_t first = (v->banded ? (int64_t)r->row * v->up : 0) - v->halo;
    for (int64_t i = 0; i < t->height; i++)
        if (first + i < 0 || first + i >= v->height)
            memset((char *)t->data + i * row_bytes, 0, (size_t)row_bytes);
}

/* The factors of a drop path for the part's images; the last part may be more than the batch. */
static const float *drops_of(const run *r, const dukd_plan_step *s) {
    const onednn_program *p = r->program;
    for (int32_t i = 0; i < p->plan.part; i++) {
        int32_t image = r->first + i;
        p->part_drops[i] =
            image < p->plan.batch ? p->drops[(int64_t)s->node->op->drop * p->plan.batch + image] : 0;
    }
    return p->part_drops;
}

static int run_step(const run *r, const dukd_plan_step *s, dukd_failure *f) {
    onednn_operands o = {.program = r->program,
                         .a = tensor_of(r, &s->a),
                         .b = tensor_of(r, &s->b),
                         .c = tensor_of(r, &s->c),
                         .out = tensor_of(r, &s->out),
                         .d_weights = r->d_weights,
                         .scratch = r->program->network->engine->scratch.data};
    switch (s->kind) {
    case DUKD_STEP_IMPORT:
        run_import(r, s);
        break;
    case DUKD_STEP_EXPORT:
        run_export(r, s);
        break;
    case DUKD_STEP_CONV:
    case DUKD_STEP_DATA_GRADIENT:
        return run_conv(r, s, f);
    case DUKD_STEP_WEIGHTS_GRADIENT:
        return run_weights_gradient(r, s, f);
    case DUKD_STEP_EDGES:
        clear_edges(r, &s->out, &o.out);
        break;
    case DUKD_STEP_DROP_PATH:
        o.drops = drops_of(r, s);
        onednn_run_op(s, &o);
        break;
    default:
        onednn_run_op(s, &o);
        break;
    }
    return DUKD_DONE;
}

static int run_range(const run *r, int32_t first, int32_t end, dukd_failure *f) {
    onednn_engine *e = r->program->network->engine;
    for (int32_t i = first; i < end; i++) {
        const dukd_plan_step *s = &r->program->plan.steps[i];
        if (s->for_input && !r->d_input) continue;
        if (s->kind == DUKD_STEP_WEIGHTS_GRADIENT && !r->d_weights) continue;
        double begin = e->now ? e->now() : 0;
        int status = run_step(r, s, f);
        if (status != DUKD_DONE) return status;
        if (e->now) dukd_step_times_note(&e->times, dukd_plan_step_name(s), e->now() - begin);
    }
    return DUKD_DONE;
}

/* The last band begins early enough to be as high as the others. */
static int run_bands(run *r, dukd_failure *f) {
    const dukd_plan *p = &r->program->plan;
    if (p->whole_steps == p->forward_steps) return DUKD_DONE;
    int status = DUKD_DONE;
    for (int32_t row = 0; row < p->height && status == DUKD_DONE; row += p->band_rows) {
        r->row = row < p->height - p->band_rows ? row : p->height - p->band_rows;
        status = run_range(r, p->whole_steps, p->forward_steps, f);
    }
    return status;
}

int onednn_forward(void *program, int32_t images, const float *input, float *const *outputs,
                   const float *drops, dukd_failure *f) {
    onednn_program *p = program;
    p->drops = drops;
    run r = {.program = p, .images = images, .input = input, .outputs = outputs};
    int status = DUKD_DONE;
    for (r.first = 0; r.first < images && status == DUKD_DONE; r.first += p->plan.part) {
        r.row = 0;
        status = run_range(&r, 0, p->plan.whole_steps, f);
        if (status == DUKD_DONE) status = run_bands(&r, f);
    }
    if (p->plan.purpose == DUKD_TRAIN) p->network->engine->kept = status == DUKD_DONE;
    return status;
}

int onednn_backward(void *program, const float *const *d_outputs, float *d_weights, float *d_input,
                    const dukd_gradient_listener *listener, dukd_failure *f) {
    (void)listener; /* engine.c tells it */
    onednn_program *p = program;
    run r = {.program = p,
             .images = p->plan.batch,
             .d_outputs = d_outputs,
             .d_weights = d_weights,
             .d_input = d_input};
    p->network->engine->kept = 0;
    int status = DUKD_DONE;
    for (r.first = 0; r.first < p->plan.batch && status == DUKD_DONE; r.first += p->plan.part)
        status = run_range(&r, p->plan.forward_steps, p->plan.step_count, f);
    return status;
}
