/* Steps and buffers of a plan, and what steps are called. */
#include "engine/arena.h"
#include "engine/planner.h"

const dukd_plan_value dukd_plan_none = {.buffer = -1};

static void stop(dukd_planner *s, int status) {
    if (s->status == DUKD_DONE) s->status = status;
}

/* Makes room for one more element. */
static void *grow(dukd_planner *s, void *array, int32_t count, int32_t *room, size_t element) {
    if (s->status == DUKD_DONE) stop(s, dukd_grow(&array, count, room, element, s->failure));
    return array;
}

dukd_plan_step dukd_planner_step(const dukd_planner *s, dukd_step_kind kind, int32_t i) {
    const dukd_node *n = dukd_planner_node(s, i);
    return (dukd_plan_step){.kind = kind,
                            .node = n,
                            .a = dukd_plan_none,
                            .b = dukd_plan_none,
                            .c = dukd_plan_none,
                            .out = dukd_plan_none,
                            .back = s->plan->forward_steps > 0,
                            .packed = -1,
                            .factor = n->scale};
}

static void use(dukd_plan *p, const dukd_plan_value *v) {
    if (v->buffer >= 0) p->buffers[v->buffer].last = p->step_count;
}

static void append(dukd_planner *s, dukd_plan_step step) {
    dukd_plan *p = s->plan;
    p->steps = grow(s, p->steps, p->step_count, &p->step_room, sizeof *p->steps);
    if (s->status != DUKD_DONE) return;
    use(p, &step.a);
    use(p, &step.b);
    use(p, &step.c);
    use(p, &step.out);
    stop(s, s->backend->reserve(s->program, &step, s->failure));
    p->steps[p->step_count++] = step;
}

void dukd_planner_emit(dukd_planner *s, dukd_plan_step step) {
    const dukd_plan_value addend = step.b;
    const int conv = step.kind == DUKD_STEP_CONV || step.kind == DUKD_STEP_DATA_GRADIENT ||
                     step.kind == DUKD_STEP_WEIGHTS_GRADIENT;
    if (conv && s->status == DUKD_DONE) stop(s, s->backend->compile(s->program, &step, s->failure));
    append(s, step);
    if (addend.buffer < 0 || step.b.buffer >= 0) return;
    dukd_plan_step add = step; /* what the convolution could not add */
    add.kind = DUKD_STEP_ADD;
    add.conv = NULL;
    add.a = step.out;
    add.b = addend;
    append(s, add);
}

void dukd_planner_new_buffer(dukd_planner *s, dukd_plan_value *v) {
    dukd_plan *p = s->plan;
    v->buffer = -1;
    p->buffers = grow(s, p->buffers, p->buffer_count, &p->buffer_room, sizeof *p->buffers);
    if (s->status != DUKD_DONE) return;
    /* At most 2^12 channels x (2^16 x 2^6)^2 pixels x 4: no overflow. */
    const int64_t rows = (v->banded ? (int64_t)p->band_rows * v->up : v->height) + 2 * (int64_t)v->halo;
    p->buffers[p->buffer_count] =
        (dukd_plan_buffer){.image_bytes = v->channels * dukd_type_bytes(v->type) * rows * v->width,
                           .first = p->step_count,
                           .last = p->step_count};
    v->buffer = p->buffer_count++;
}

dukd_plan_value dukd_planner_widened(dukd_planner *s, int32_t i, dukd_plan_value from) {
    dukd_plan_step step = dukd_planner_step(s, DUKD_STEP_CAST, i);
    step.a = step.out = from;
    step.out.type = DUKD_TYPE_F32;
    step.out.banded = i >= s->plan->band_node;
    step.out.halo = step.out.banded ? (from.rows - s->plan->band_rows * from.up) / 2 : 0;
    step.out.skip = step.out.moves = 0;
    dukd_planner_new_buffer(s, &step.out);
    dukd_planner_emit(s, step);
    return step.out;
}

dukd_tensor dukd_plan_shape(const dukd_plan *plan, const dukd_plan_value *v) {
    if (v->buffer < 0) return (dukd_tensor){0};
    return (dukd_tensor){.images = plan->part,
                         .channels = v->channels,
                         .height = v->rows,
                         .width = v->width,
                         .type = v->type,
                         .layout = v->layout};
}

/* ---- names ---- */

static const char *const kind_names[] = {
    [DUKD_STEP_IMPORT] = "import",
    [DUKD_STEP_EXPORT] = "export",
    [DUKD_STEP_RELU] = "activation",
    [DUKD_STEP_RELU_BACK] = "activation, gradient",
    [DUKD_STEP_GELU] = "activation",
    [DUKD_STEP_GELU_BACK] = "activation, gradient",
    [DUKD_STEP_GELU_BACK_AGAIN] = "activation, gradient",
    [DUKD_STEP_SIGMOID] = "activation",
    [DUKD_STEP_SIGMOID_BACK] = "activation, gradient",
    [DUKD_STEP_SCALE] = "addition, scale",
    [DUKD_STEP_ADD] = "addition, scale",
    [DUKD_STEP_CAST] = "copies",
    [DUKD_STEP_AFFINE] = "addition, scale",
    [DUKD_STEP_SHUFFLE] = "pixel shuffle",
    [DUKD_STEP_UNSHUFFLE] = "pixel shuffle",
    [DUKD_STEP_CLEAR] = "copies",
    [DUKD_STEP_EDGES] = "copies",
    [DUKD_STEP_MUL] = "product",
    [DUKD_STEP_MUL_BACK] = "product, gradient",
    [DUKD_STEP_MUL_BACK_CHANNELS] = "product, channels' gradient",
    [DUKD_STEP_COPY_CHANNELS] = "copies",
    [DUKD_STEP_LAYER_NORM] = "layer norm",
    [DUKD_STEP_LAYER_NORM_BACK] = "layer norm, gradient",
    [DUKD_STEP_ATTENTION] = "attention",
    [DUKD_STEP_ATTENTION_BACK] = "attention, gradient",
    [DUKD_STEP_DROP_PATH] = "drop path",
    [DUKD_STEP_MEAN] = "pooling",
    [DUKD_STEP_MEAN_BACK] = "pooling, gradient",
    [DUKD_STEP_DEVIATION] = "pooling",
    [DUKD_STEP_DEVIATION_BACK] = "pooling, gradient",
    [DUKD_STEP_MAX_POOL] = "pooling",
    [DUKD_STEP_MAX_POOL_BACK] = "pooling, gradient",
    [DUKD_STEP_RESIZE] = "pooling",
    [DUKD_STEP_RESIZE_BACK] = "pooling, gradient",
};

const char *dukd_plan_step_name(const dukd_plan_step *s) {
    if (!s->conv) return kind_names[s->kind];
    const int linear = dukd_node_side(s->node) == 1;
    if (s->kind == DUKD_STEP_WEIGHTS_GRADIENT)
        return linear ? "1 x 1, weights' gradient" : "convolution, weights' gradient";
    if (s->back) return linear ? "1 x 1, data gradient" : "convolution, data gradient";
    return linear ? "1 x 1" : "convolution";
}
