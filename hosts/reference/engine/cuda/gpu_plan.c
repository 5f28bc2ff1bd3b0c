/* A program: its values, its steps, and their memory. */
#include <stdlib.h>

#include "engine/cuda/gpu_planner.h"

/* ---- values ---- */

/* A GELU, whose source is kept anyway, is computed again for the convolution behind it. */
static void choose_kept(gpu_planner *s) {
    const gpu_program *p = s->program;
    if (p->purpose != DUKD_TRAIN) return;
    for (int32_t i = 0; i < p->fused.count; i++) dukd_fused_note_kept(&p->fused, i, s->keep, s->again);
    for (int32_t i = 0; i < p->fused.count; i++) {
        if (s->again[i] && p->fused.nodes[i].kind != DUKD_NODE_GELU) s->keep[i] = 1;
        if (s->keep[i]) s->again[i] = 0;
    }
}

/* In a bf16 network the last layers are f32: convolutions that only outputs read. */
static dukd_type type_of(const gpu_program *p, const dukd_node *n) {
    return n->kind == DUKD_NODE_CONV && n->last ? DUKD_TYPE_F32 : p->network->type;
}

static int describe_values(gpu_planner *s) {
    const gpu_program *p = s->program;
    for (int32_t i = 0; i < p->fused.count; i++) {
        const dukd_node *n = &p->fused.nodes[i];
        int64_t size[2];
        dukd_graph_size(p->network->graph, n->size_of, p->height, p->width, size);
        if (size[0] < 1 || size[1] < 1 || size[0] > INT32_MAX || size[1] > INT32_MAX)
            return dukd_fail(s->failure, DUKD_MISUSED,
                             "images of %d x %d pixels (width x height) are too small for this network",
                             (int)p->width, (int)p->height);
        s->value[i] = s->gradient[i] = (gpu_value){.buffer = -1,
                                                   .channels = n->channels,
                                                   .height = (int32_t)size[0],
                                                   .width = (int32_t)size[1],
                                                   .type = type_of(p, n)};
        s->stats[i] = gpu_none;
        s->last_use[i] = i;
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0) s->last_use[n->in[k]] = i;
    }
    choose_kept(s);
    return DUKD_DONE;
}

/* ---- announcements ---- */

/* The parameters whose gradients a step adds to; -1: none. */
static void params_of(const gpu_step *s, int32_t out[2]) {
    const int both = s->kind == STEP_WEIGHTS_GRADIENT || s->kind == STEP_LAYER_NORM_BACK;
    out[0] = both || s->kind == STEP_ATTENTION_BACK ? s->node->op->weight : -1;
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
    const int32_t count = dukd_graph_param_count(g);
    int32_t *last = malloc(((size_t)count + 1) * sizeof *last);
    p->announcements = malloc(((size_t)count + 1) * sizeof *p->announcements);
    if (!last || !p->announcements) {
        free(last);
        return dukd_fail_memory(f, "compiling a network", ((size_t)count + 1) * sizeof *p->announcements);
    }
    for (int32_t i = 0; i < count; i++) last[i] = p->forward_steps - 1;
    for (int32_t i = p->forward_steps; i < p->step_count; i++) {
        int32_t params[2];
        params_of(&p->steps[i], params);
        const int waits = p->steps[i].kind == STEP_WEIGHTS_GRADIENT;
        for (int k = 0; k < 2; k++)
            if (params[k] >= 0) last[params[k]] = waits ? gpu_gradient_complete(p, p->steps[i].gradient) : i;
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

static int plan_nodes(gpu_planner *s) {
    gpu_program *p = s->program;
    int status = describe_values(s);
    if (status != DUKD_DONE) return status;
    for (int32_t i = 0; i < p->fused.count && s->status == DUKD_DONE; i++) gpu_plan_node(s, i, NULL);
    p->forward_steps = p->step_count;
    if (p->purpose == DUKD_TRAIN) gpu_plan_backward(s);
    status = s->status;
    if (status == DUKD_DONE) gpu_plan_sums(p);
    if (status == DUKD_DONE && p->purpose == DUKD_TRAIN) status = plan_announcements(p, s->failure);
    if (status == DUKD_DONE)
        status = dukd_arena_plan(p->buffers, p->buffer_count, &p->arena_bytes, s->failure);
    return status;
}

int gpu_plan(gpu_program *p, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    p->purpose = spec->purpose;
    p->batch = spec->batch;
    p->height = spec->height;
    p->width = spec->width;
    const dukd_fuse_mode mode = {.train = spec->purpose == DUKD_TRAIN, .drops = drops};
    int status = dukd_fuse(&p->fused, p->network->graph, spec->outputs, spec->output_count, mode, f);
    if (status != DUKD_DONE) return status;

    const size_t count = (size_t)p->fused.count;
    gpu_planner s = {.program = p, .failure = f};
    s.value = calloc(3 * count, sizeof *s.value);
    s.last_use = calloc(3 * count, sizeof *s.last_use);
    if (s.value && s.last_use) {
        s.gradient = s.value + count;
        s.stats = s.gradient + count;
        s.keep = s.last_use + count;
        s.again = s.keep + count;
        status = plan_nodes(&s);
    } else {
        status = dukd_fail_memory(f, "compiling a network",
                                  count * (3 * sizeof *s.value + 3 * sizeof *s.last_use));
    }
    free(s.value);
    free(s.last_use);
    return status;
}
