/* A plan: its values, and the memory of its buffers. */
#include "engine/plan.h"

#include <stdlib.h>

#include "common/checked.h"
#include "engine/arena.h"
#include "engine/planner.h"

/* ---- values ---- */

/* Where it is cheap to compute a convolution's source again, that is not kept. */
static void choose_kept(dukd_planner *s) {
    const dukd_fused *fused = &s->plan->fused;
    if (s->plan->purpose != DUKD_TRAIN) return;
    for (int32_t i = 0; i < fused->count; i++) dukd_fused_note_kept(fused, i, s->keep, s->again);
    for (int32_t i = 0; i < fused->count; i++) {
        const dukd_node_kind kind = fused->nodes[i].kind;
        const int norm = kind == DUKD_NODE_LAYER_NORM && s->backend->norm_again && s->type == DUKD_TYPE_F32;
        if (s->again[i] && kind != DUKD_NODE_GELU && !norm) s->keep[i] = 1;
        if (s->keep[i]) s->again[i] = 0;
    }
}

/* In a bf16 network the last layers are f32: convolutions that only outputs read. So is what they read, where a
 * convolution can write it so and nobody else wants it; else it is cast for them. */
static void choose_wide(dukd_planner *s) {
    const dukd_fused *fused = &s->plan->fused;
    for (int32_t i = 0; i < fused->count; i++) {
        const dukd_node *n = &fused->nodes[i];
        s->wide[i] = n->kind == DUKD_NODE_CONV && (n->last || (s->backend->mixed_types && n->in[1] < 0));
    }
    for (int32_t i = 0; i < fused->count; i++) {
        const dukd_node *n = &fused->nodes[i];
        const int last = n->kind == DUKD_NODE_CONV && n->last;
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0 && !(k == 0 && (last || n->kind == DUKD_NODE_OUTPUT))) s->wide[n->in[k]] = 0;
    }
}

static void describe_value(dukd_planner *s, int32_t i, int32_t height, int32_t width) {
    const dukd_plan *p = s->plan;
    const dukd_node *n = dukd_planner_node(s, i);
    dukd_plan_value v = {.buffer = -1,
                         .channels = n->channels,
                         .height = height,
                         .width = width,
                         .type = s->wide[i] ? DUKD_TYPE_F32 : s->type,
                         .layout = DUKD_NHWC,
                         .rows = height,
                         .up = n->up};
    s->value[i] = s->gradient[i] = v;
    if (s->backend->lay_out) {
        s->backend->lay_out(s->program, n, 0, &s->value[i]);
        s->backend->lay_out(s->program, n, 1, &s->gradient[i]);
    }
    v = s->value[i];
    v.banded = i >= p->band_node;
    v.halo = s->halo[i];
    if (v.banded)
        v.rows = p->band_rows * v.up + 2 * v.halo;
    else
        v.skip = v.halo;
    s->value[i] = v;
    s->stats[i] = s->widened[i] = dukd_plan_none;
    s->last_use[i] = i;
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
        if (n->in[k] >= 0) s->last_use[n->in[k]] = i;
}

static int describe_values(dukd_planner *s) {
    const dukd_plan *p = s->plan;
    choose_wide(s);
    for (int32_t i = 0; i < p->fused.count; i++) {
        int64_t size[2];
        dukd_graph_size(s->graph, dukd_planner_node(s, i)->size_of, p->height, p->width, size);
        if (size[0] < 1 || size[1] < 1 || size[0] > INT32_MAX || size[1] > INT32_MAX)
            return dukd_fail(s->failure, DUKD_MISUSED,
                             "images of %d x %d pixels (width x height) are too small for this network",
                             (int)p->width, (int)p->height);
        describe_value(s, i, (int32_t)size[0], (int32_t)size[1]);
    }
    choose_kept(s);
    return DUKD_DONE;
}

/* ---- memory ---- */

/* When the batch goes through in parts, what is kept lives through all of them; what bands read, through all bands. */
static int plan_memory(dukd_plan *p, dukd_failure *f) {
    dukd_buffer *places = calloc((size_t)p->buffer_count + 1, sizeof *places);
    if (!places)
        return dukd_fail_memory(f, "planning memory", ((size_t)p->buffer_count + 1) * sizeof *places);
    int status = DUKD_DONE;
    for (int32_t i = 0; i < p->buffer_count && status == DUKD_DONE; i++) {
        dukd_plan_buffer *b = &p->buffers[i];
        b->kept = b->first < p->forward_steps && b->last >= p->forward_steps && p->part < p->batch;
        places[i] = (dukd_buffer){.first = b->first, .last = b->last};
        if (p->whole_steps < p->forward_steps && b->first < p->whole_steps && b->last >= p->whole_steps)
            places[i].last = p->step_count;
        if (b->kept) places[i] = (dukd_buffer){.first = 0, .last = p->step_count};
        if (!dukd_checked_mul(b->image_bytes, b->kept ? p->batch : p->part, &places[i].bytes))
            status =
                dukd_fail(f, DUKD_MISUSED,
                          "a batch of %d images of %d x %d pixels needs more memory than can be addressed",
                          (int)p->batch, (int)p->width, (int)p->height);
    }
    if (status == DUKD_DONE) status = dukd_arena_plan(places, p->buffer_count, &p->arena_bytes, f);
    for (int32_t i = 0; i < p->buffer_count; i++) p->buffers[i].offset = places[i].offset;
    free(places);
    return status;
}

/* ---- the whole ---- */

static int plan_nodes(dukd_planner *s) {
    dukd_plan *p = s->plan;
    dukd_planner_choose_bands(s);
    int status = describe_values(s);
    if (status != DUKD_DONE) return status;
    for (int32_t i = 0; i < p->fused.count; i++) {
        if (i == p->band_node) p->whole_steps = p->step_count;
        dukd_planner_node_steps(s, i, NULL);
    }
    p->forward_steps = p->step_count;
    if (p->band_node == p->fused.count) p->whole_steps = p->forward_steps;
    if (p->purpose == DUKD_TRAIN) dukd_planner_backward(s);
    if (s->status != DUKD_DONE) return s->status;
    status = s->backend->finish ? s->backend->finish(s->program, s->failure) : DUKD_DONE;
    return status == DUKD_DONE ? plan_memory(p, s->failure) : status;
}

int dukd_plan_make(dukd_plan *plan, const dukd_plan_backend *backend, void *program, const dukd_graph *g,
                   dukd_type type, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    plan->purpose = spec->purpose;
    plan->batch = plan->part = spec->batch;
    plan->height = spec->height;
    plan->width = spec->width;
    const dukd_fuse_mode mode = {.train = spec->purpose == DUKD_TRAIN, .drops = drops};
    int status = dukd_fuse(&plan->fused, g, spec->outputs, spec->output_count, mode, f);
    if (status == DUKD_DONE && backend->begin) status = backend->begin(program, f);
    if (status != DUKD_DONE) return status;

    const size_t count = (size_t)plan->fused.count;
    dukd_planner s = {
        .plan = plan, .backend = backend, .program = program, .graph = g, .type = type, .failure = f};
    s.value = calloc(4 * count, sizeof *s.value);
    s.last_use = calloc(6 * count, sizeof *s.last_use);
    if (s.value && s.last_use) {
        s.gradient = s.value + count;
        s.stats = s.gradient + count;
        s.widened = s.stats + count;
        s.keep = s.last_use + count;
        s.again = s.keep + count;
        s.passed = s.again + count;
        s.halo = s.passed + count;
        s.wide = s.halo + count;
        status = plan_nodes(&s);
    } else {
        status = dukd_fail_memory(f, "compiling a network",
                                  count * (4 * sizeof *s.value + 6 * sizeof *s.last_use));
    }
    free(s.value);
    free(s.last_use);
    return status;
}

void dukd_plan_free(dukd_plan *plan) {
    dukd_fused_free(&plan->fused);
    free(plan->steps);
    free(plan->buffers);
    *plan = (dukd_plan){0};
}
