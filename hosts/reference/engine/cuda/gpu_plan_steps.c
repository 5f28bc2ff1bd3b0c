/* Steps and buffers of a program, and the convolutions that steps run. */
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "engine/cuda/gpu_planner.h"

const gpu_value gpu_none = {.buffer = -1};

void gpu_stop(gpu_planner *s, int status) {
    if (s->status == DUKD_DONE) s->status = status;
}

/* Makes room for one more element. */
static void *grow(gpu_planner *s, void *array, int32_t count, int32_t *room, size_t element) {
    if (s->status == DUKD_DONE) gpu_stop(s, gpu_grow(&array, count, room, element, s->failure));
    return array;
}

gpu_step gpu_step_of(const gpu_planner *s, gpu_step_kind kind, int32_t i) {
    const dukd_node *n = &s->program->fused.nodes[i];
    return (gpu_step){.kind = kind,
                      .node = n,
                      .a = gpu_none,
                      .b = gpu_none,
                      .c = gpu_none,
                      .out = gpu_none,
                      .packed = -1,
                      .gradient = -1,
                      .other_gradient = -1,
                      .factors = -1,
                      .shifts = -1,
                      .factor = n->scale};
}

dukd_tensor gpu_shape_of(const gpu_program *p, const gpu_value *v) {
    return (dukd_tensor){.images = p->batch,
                         .channels = v->channels,
                         .height = v->height,
                         .width = v->width,
                         .type = v->type,
                         .layout = DUKD_NHWC};
}

static void use(gpu_program *p, const gpu_value *v) {
    if (v->buffer >= 0) p->buffers[v->buffer].last = p->step_count;
}

static void at_least(int64_t *bytes, int64_t needed) {
    if (*bytes < needed) *bytes = needed;
}

void gpu_emit(gpu_planner *s, gpu_step step) {
    gpu_program *p = s->program;
    p->steps = grow(s, p->steps, p->step_count, &p->step_room, sizeof *p->steps);
    if (s->status != DUKD_DONE) return;
    use(p, &step.a);
    use(p, &step.b);
    use(p, &step.c);
    use(p, &step.out);
    gpu_operands o = {.program = p};
    if (step.a.buffer >= 0) o.a = gpu_shape_of(p, &step.a);
    if (step.b.buffer >= 0) o.b = gpu_shape_of(p, &step.b);
    if (step.out.buffer >= 0) o.out = gpu_shape_of(p, &step.out);
    at_least(&p->scratch_bytes, gpu_op_scratch(&step, &o));
    p->steps[p->step_count++] = step;
}

void gpu_new_buffer(gpu_planner *s, gpu_value *v) {
    gpu_program *p = s->program;
    v->buffer = -1;
    p->buffers = grow(s, p->buffers, p->buffer_count, &p->buffer_room, sizeof *p->buffers);
    if (s->status != DUKD_DONE) return;
    /* At most 2^12 channels x (2^16 x 2^6)^2 pixels x 4: no overflow. */
    const int64_t image = v->channels * dukd_type_bytes(v->type) * v->height * v->width;
    dukd_buffer b = {.first = p->step_count, .last = p->step_count};
    if (!dukd_checked_mul(image, p->batch, &b.bytes))
        gpu_stop(s,
                 dukd_fail(s->failure, DUKD_MISUSED,
                           "a batch of %d images of %d x %d pixels needs more memory than can be addressed",
                           (int)p->batch, (int)p->width, (int)p->height));
    p->buffers[p->buffer_count] = b;
    v->buffer = p->buffer_count++;
}

int64_t gpu_constants(gpu_planner *s, const float *values, int32_t count) {
    gpu_program *p = s->program;
    const int64_t first = p->constant_count;
    if (!values) return -1;
    for (int32_t i = 0; i < count; i++) {
        p->constants = grow(s, p->constants, p->constant_count, &p->constant_room, sizeof *p->constants);
        if (s->status != DUKD_DONE) return -1;
        p->constants[p->constant_count++] = values[i];
    }
    return first;
}

gpu_value gpu_widened(gpu_planner *s, int32_t i, gpu_value from) {
    gpu_step step = gpu_step_of(s, STEP_CAST, i);
    step.a = from;
    step.out = from;
    step.out.type = DUKD_TYPE_F32;
    gpu_new_buffer(s, &step.out);
    gpu_emit(s, step);
    return step.out;
}

/* ---- convolutions ---- */

/* `in`: the source or its gradient, `out`: the node's value or its gradient. */
static gpu_conv_spec spec_of(const gpu_planner *s, gpu_conv_kind kind, const dukd_node *n,
                             const gpu_value *in, const gpu_value *out) {
    return (gpu_conv_spec){.kind = kind,
                           .images = s->program->batch,
                           .in_channels = in->channels,
                           .height = in->height,
                           .width = in->width,
                           .out_channels = out->channels,
                           .side = dukd_node_side(n),
                           .stride = n->op->stride,
                           .padding = dukd_node_padding(n),
                           .groups = n->op->groups,
                           .type = in->type,
                           .act = DUKD_ACT_NONE,
                           .tf32 = s->program->network->engine->tf32};
}

static dukd_run_conv run_of(const gpu_planner *s, const dukd_node *n, const dukd_node *source) {
    return dukd_run_conv_of(s->program->network->graph, n, source, source->channels, 1);
}

static int get_conv(gpu_planner *s, gpu_step *step, const gpu_conv_spec *spec) {
    if (s->status == DUKD_DONE)
        gpu_stop(s, gpu_get_conv(s->program->network->engine, spec, &step->conv, s->failure));
    if (s->status != DUKD_DONE) return 0;
    at_least(&s->program->scratch_bytes, gpu_conv_workspace(step->conv));
    return 1;
}

static void emit(gpu_planner *s, gpu_step step, const gpu_conv_spec *spec, const dukd_run_conv *run) {
    if (!get_conv(s, &step, spec)) return;
    gpu_stop(s, gpu_get_packed(s->program->network, run, spec->type, &step.packed, s->failure));
    if (s->status == DUKD_DONE) gpu_emit(s, step);
}

void gpu_emit_conv(gpu_planner *s, gpu_step step, const dukd_node *source) {
    const dukd_run_conv run = run_of(s, step.node, source);
    gpu_conv_spec spec = spec_of(s, GPU_CONV_FORWARD, step.node, &step.a, &step.out);
    spec.has_bias = run.bias != NULL;
    spec.act = step.node->act;
    spec.slope = step.node->act == DUKD_ACT_RELU ? step.node->slope : 0;
    spec.has_addend = step.b.buffer >= 0;
    step.kind = STEP_CONV;
    emit(s, step, &spec, &run);
}

void gpu_emit_data_gradient(gpu_planner *s, gpu_step step, const dukd_node *source) {
    const dukd_run_conv run = run_of(s, step.node, source);
    gpu_conv_spec spec = spec_of(s, GPU_CONV_DATA_GRADIENT, step.node, &step.out, &step.a);
    spec.has_addend = step.accumulate;
    step.kind = STEP_DATA_GRADIENT;
    emit(s, step, &spec, &run);
}

void gpu_emit_weights_gradient(gpu_planner *s, gpu_step step, const dukd_node *source) {
    gpu_conv_spec spec = spec_of(s, GPU_CONV_WEIGHTS_GRADIENT, step.node, &step.a, &step.b);
    const dukd_run_conv run = run_of(s, step.node, source);
    step.kind = STEP_WEIGHTS_GRADIENT;
    if (!get_conv(s, &step, &spec)) return;
    step.gradient = gpu_plan_gradient(s, &run, gpu_conv_gradient_type(step.conv), &step.b);
    step.adds = run.bias != NULL;
    gpu_emit(s, step);
    gpu_plan_unpack(s, 0);
}
