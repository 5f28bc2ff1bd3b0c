/* A program: what the CUDA engine says of itself to the planner (engine/plan.h), and what a planned program has beside its plan. Every value
 * is NHWC and holds the whole batch. */
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/gpu_state.h"

enum { TABLE_ALIGNMENT = 16 };

static void at_least(int64_t *bytes, int64_t needed) {
    if (*bytes < needed) *bytes = needed;
}

static int reserve(void *program, const dukd_plan_step *step, dukd_failure *f) {
    (void)f;
    gpu_program *p = program;
    const gpu_operands o = {.program = p,
                            .a = dukd_plan_shape(&p->plan, &step->a),
                            .b = dukd_plan_shape(&p->plan, &step->b),
                            .out = dukd_plan_shape(&p->plan, &step->out)};
    at_least(&p->scratch_bytes, gpu_op_scratch(step, &o));
    if (step->conv) at_least(&p->scratch_bytes, gpu_conv_workspace(step->conv));
    return DUKD_DONE;
}

static gpu_conv_spec spec_of(const gpu_program *p, const dukd_plan_step *step) {
    const dukd_node *n = step->node;
    const int forward = step->kind == DUKD_STEP_CONV, data = step->kind == DUKD_STEP_DATA_GRADIENT;
    const dukd_plan_value *in = data ? &step->out : &step->a; /* the source or its gradient */
    const dukd_plan_value *out =
        forward ? &step->out : (data ? &step->a : &step->b); /* the node's value or its gradient */
    return (gpu_conv_spec){.kind = forward ? GPU_CONV_FORWARD
                                   : data  ? GPU_CONV_DATA_GRADIENT
                                           : GPU_CONV_WEIGHTS_GRADIENT,
                           .images = p->plan.batch,
                           .in_channels = in->channels,
                           .height = in->height,
                           .width = in->width,
                           .out_channels = out->channels,
                           .side = dukd_node_side(n),
                           .stride = n->op->stride,
                           .padding = dukd_node_padding(n),
                           .groups = n->op->groups,
                           .type = in->type,
                           .has_bias = forward && step->run.bias != NULL,
                           .act = forward ? n->act : DUKD_ACT_NONE,
                           .slope = forward && n->act == DUKD_ACT_RELU ? n->slope : 0,
                           .has_addend = forward ? step->b.buffer >= 0 : data && step->accumulate,
                           .tf32 = p->network->engine->tf32};
}

static int compile(void *program, dukd_plan_step *step, dukd_failure *f) {
    gpu_program *p = program;
    gpu_network *n = p->network;
    const dukd_node *source = &p->plan.fused.nodes[step->node->in[0]];
    step->run = dukd_run_conv_of(n->graph, step->node, source, source->channels, 1);
    const gpu_conv_spec spec = spec_of(p, step);
    gpu_conv *conv = NULL;
    int status = gpu_get_conv(n->engine, &spec, &conv, f);
    step->conv = conv;
    if (status == DUKD_DONE && step->kind != DUKD_STEP_WEIGHTS_GRADIENT)
        status = gpu_get_packed(n, &step->run, spec.type, &step->packed, f);
    return status;
}

/* Where a product of matrices does; a graph of cuDNN's would need another pass. */
static int sums_in_place(const dukd_node *conv) {
    return dukd_node_side(conv) == 1 && conv->op->stride == 1 && dukd_node_padding(conv) == 0 &&
           conv->op->groups == 1;
}

static const dukd_plan_backend planned = {
    .compile = compile, .sums_in_place = sums_in_place, .reserve = reserve, .finish = gpu_plan_gradients};

/* ---- announcements ---- */

/* The parameters whose gradients a step adds to; -1: none. */
static void params_of(const dukd_plan_step *s, int32_t out[2]) {
    const int both = s->kind == DUKD_STEP_WEIGHTS_GRADIENT || s->kind == DUKD_STEP_LAYER_NORM_BACK;
    out[0] = both || s->kind == DUKD_STEP_ATTENTION_BACK ? s->node->op->weight : -1;
    out[1] = both ? s->node->op->bias : -1;
}

static int earlier(const void *a, const void *b) {
    const gpu_announcement *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* After which step each part of the gradient is complete; parameters that no step adds to are so from the beginning. Neighbours that are
 * complete together are told together. */
static int plan_announcements(gpu_program *p, dukd_failure *f) {
    const dukd_graph *g = p->network->graph;
    const dukd_plan *plan = &p->plan;
    const int32_t count = dukd_graph_param_count(g);
    int32_t *last = malloc(((size_t)count + 1) * sizeof *last);
    p->announcements = malloc(((size_t)count + 1) * sizeof *p->announcements);
    if (!last || !p->announcements) {
        free(last);
        return dukd_fail_memory(f, "compiling a network", ((size_t)count + 1) * sizeof *p->announcements);
    }
    for (int32_t i = 0; i < count; i++) last[i] = plan->forward_steps - 1;
    for (int32_t i = plan->forward_steps; i < plan->step_count; i++) {
        int32_t params[2];
        params_of(&plan->steps[i], params);
        const int waits = plan->steps[i].kind == DUKD_STEP_WEIGHTS_GRADIENT;
        for (int k = 0; k < 2; k++)
            if (params[k] >= 0)
                last[params[k]] = waits ? gpu_gradient_complete(p, p->step_gradients[i].of_out) : i;
    }
    for (int32_t i = 0; i < count; i++) { /* in the order of their offsets */
        const dukd_param *param = dukd_graph_param(g, i);
        gpu_announcement *before =
            p->announcement_count ? &p->announcements[p->announcement_count - 1] : NULL;
        if (before && before->step == last[i] && before->first + before->count == param->offset)
            before->count += param->count;
        else
            p->announcements[p->announcement_count++] =
                (gpu_announcement){.step = last[i], .first = param->offset, .count = param->count};
    }
    free(last);
    qsort(p->announcements, (size_t)p->announcement_count, sizeof *p->announcements, earlier);
    return DUKD_DONE;
}

/* ---- the whole ---- */

int gpu_plan(gpu_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    const int status =
        dukd_plan_make(&p->plan, &planned, p, p->network->graph, p->network->type, spec, drops, f);
    return status == DUKD_DONE && spec->purpose == DUKD_TRAIN ? plan_announcements(p, f) : status;
}

/* Writes the steps' factors and shifts to `values`, and where they will be on the device into the steps; NULL: only counts them. */
static int64_t collect_constants(dukd_plan *plan, float *values, const float *device) {
    int64_t count = 0;
    for (int32_t i = 0; i < 2 * plan->step_count; i++) {
        dukd_plan_step *s = &plan->steps[i / 2];
        const float **constants = i % 2 ? &s->shifts : &s->factors;
        if (!*constants) continue;
        if (values) {
            memcpy(values + count, *constants, (size_t)s->node->op->channels * sizeof *values);
            *constants = device + count;
        }
        count += s->node->op->channels;
    }
    return count;
}

/* The constants, and the tables by which gradients are unpacked. */
static int place_constants(gpu_program *p, dukd_failure *f) {
    gpu_engine *e = p->network->engine;
    int64_t bytes = collect_constants(&p->plan, NULL, NULL) * (int64_t)sizeof(float);
    for (int32_t i = 0; i < p->group_count; i++) {
        p->groups[i].at = (bytes + TABLE_ALIGNMENT - 1) / TABLE_ALIGNMENT * TABLE_ALIGNMENT;
        bytes = p->groups[i].at + p->groups[i].table.bytes;
    }
    if (bytes == 0) return DUKD_DONE;
    char *image = calloc((size_t)bytes, 1);
    if (!image) return dukd_fail_memory(f, "compiling a network", (unsigned long long)bytes);
    int status = gpu_block_reserve(e, &p->on_device, bytes, "a network's constants", f);
    if (status == DUKD_DONE) {
        (void)collect_constants(&p->plan, (float *)(void *)image,
                                (const float *)(const void *)p->on_device.data);
        for (int32_t i = 0; i < p->group_count; i++) {
            const gpu_gradient_group *g = &p->groups[i];
            (void)gpu_unpack_table(image + g->at, &p->gradients[g->first], g->count);
        }
        status = gpu_upload(e, p->on_device.data, image, bytes, f);
    }
    free(image);
    return status;
}

int gpu_place_program(gpu_program *p, dukd_failure *f) {
    int status = gpu_place_packed(p->network, f);
    if (status == DUKD_DONE) status = place_constants(p, f);
    return status == DUKD_DONE ? gpu_reserve_for(p, f) : status;
}
