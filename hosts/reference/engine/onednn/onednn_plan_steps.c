/* Steps and buffers of a program, and the convolutions that steps run. */
#include <stdlib.h>

#include "engine/onednn/onednn_planner.h"

const onednn_value onednn_none = {.buffer = -1};

void onednn_stop(onednn_planner *s, int status) {
    if (s->status == DUKD_DONE) s->status = status;
}

/* Makes room for one more element. */
static void *grow(onednn_planner *s, void *array, int32_t count, int32_t *room, size_t element) {
    if (s->status != DUKD_DONE || count < *room) return array;
    int32_t wanted = count ? 2 * count : 128;
    void *larger = realloc(array, (size_t)wanted * element);
    if (!larger) {
        onednn_stop(s, dukd_fail_memory(s->failure, "compiling a network", (size_t)wanted * element));
        return array;
    }
    *room = wanted;
    return larger;
}

static void use(onednn_program *p, const onednn_value *v) {
    if (v->buffer >= 0) p->buffers[v->buffer].last = p->step_count;
}

static void reserve_scratch(onednn_planner *s, const onednn_step *step) {
    onednn_program *p = s->program;
    onednn_engine *e = p->network->engine;
    onednn_operands o = {.program = p};
    if (step->a.buffer >= 0) o.a = onednn_shape_of(p, &step->a);
    if (step->b.buffer >= 0) o.b = onednn_shape_of(p, &step->b);
    if (step->out.buffer >= 0) o.out = onednn_shape_of(p, &step->out);
    onednn_stop(s, dukd_block_reserve(&e->scratch, onednn_op_scratch(step, &o), 0, &e->memory,
                                      "an operation's scratch", s->failure));
}

void onednn_emit(onednn_planner *s, onednn_step step) {
    onednn_program *p = s->program;
    p->steps = grow(s, p->steps, p->step_count, &p->step_room, sizeof *p->steps);
    if (s->status != DUKD_DONE) return;
    use(p, &step.a);
    use(p, &step.b);
    use(p, &step.c);
    use(p, &step.out);
    reserve_scratch(s, &step);
    step.back = p->forward_steps > 0;
    p->steps[p->step_count++] = step;
}

void onednn_new_buffer(onednn_planner *s, onednn_value *v) {
    onednn_program *p = s->program;
    v->buffer = -1;
    p->buffers = grow(s, p->buffers, p->buffer_count, &p->buffer_room, sizeof *p->buffers);
    if (s->status != DUKD_DONE) return;
    /* At most 2^12 channels x (2^16 x 2^6)^2 pixels x 4: no overflow. */
    int64_t rows = (v->banded ? (int64_t)p->band_rows * v->up : v->height) + 2 * (int64_t)v->halo;
    int64_t bytes = v->channels * dukd_type_bytes(v->type) * rows * v->width;
    p->buffers[p->buffer_count] =
        (onednn_buffer){.image_bytes = bytes, .first = p->step_count, .last = p->step_count};
    v->buffer = p->buffer_count++;
}

void onednn_emit_cast(onednn_planner *s, onednn_step step) {
    step.kind = STEP_CAST;
    step.b = step.c = onednn_none;
    onednn_emit(s, step);
}

onednn_value onednn_as_f32(onednn_value v) {
    v.type = DUKD_TYPE_F32;
    v.buffer = -1;
    return v;
}

dukd_tensor onednn_shape_of(const onednn_program *p, const onednn_value *v) {
    return (dukd_tensor){.images = p->part,
                         .channels = v->channels,
                         .height = v->rows,
                         .width = v->width,
                         .type = v->type,
                         .layout = v->layout};
}

/* ---- convolutions ---- */

static dukd_conv_spec spec_of(const onednn_program *p, dukd_conv_kind kind, const onednn_value *source,
                              const onednn_value *dest, const dukd_run_conv *run, int32_t pad) {
    int32_t pad_rows = dest->banded ? 0 : pad; /* a band's source has the rows */
    return (dukd_conv_spec){.kind = kind,
                            .images = p->part,
                            .in_channels = source->channels,
                            .out_channels = dest->channels,
                            .groups = run->groups,
                            .height = dest->rows,
                            .width = dest->width,
                            .source_height = source->rows,
                            .source_width = source->width,
                            .side = run->side,
                            .stride = run->stride,
                            .pad_top = pad_rows,
                            .pad_bottom = pad_rows,
                            .pad_left = pad,
                            .pad_right = pad,
                            .source_type = source->type,
                            .dest_type = dest->type,
                            .source_layout = source->layout,
                            .dest_layout = dest->layout};
}

static void emit(onednn_planner *s, onednn_step step, const dukd_conv_spec *spec, const dukd_run_conv *run,
                 int32_t transposed) {
    if (s->status != DUKD_DONE) return;
    onednn_network *n = s->program->network;
    onednn_stop(s, onednn_get_conv(n->engine, spec, &step.conv, s->failure));
    if (s->status == DUKD_DONE && spec->kind != DUKD_CONV_WEIGHTS_GRADIENT)
        onednn_stop(s, onednn_get_packed(n, run, transposed, step.conv, &step.packed, s->failure));
    onednn_emit(s, step);
}

void onednn_emit_conv(onednn_planner *s, onednn_step step, const dukd_run_conv *run, dukd_conv_post post) {
    dukd_conv_spec spec =
        spec_of(s->program, DUKD_CONV_FORWARD, &step.a, &step.out, run, dukd_node_padding(step.node));
    spec.post = post;
    spec.slope = post == DUKD_POST_RELU ? step.node->slope : 0;
    spec.bias = run->bias != NULL;
    step.kind = STEP_CONV;
    emit(s, step, &spec, run, 0);
}

int onednn_is_transposable(const dukd_node *conv) {
    return conv->op->stride == 1 && conv->op->groups == 1;
}

void onednn_emit_transposed(onednn_planner *s, onednn_step step, const dukd_run_conv *run,
                            dukd_conv_post post) {
    int32_t pad = run->side - 1 - dukd_node_padding(step.node);
    dukd_conv_spec spec = spec_of(s->program, DUKD_CONV_FORWARD, &step.a, &step.out, run, pad);
    spec.post = post;
    step.kind = STEP_CONV;
    emit(s, step, &spec, run, 1);
}

void onednn_emit_data_gradient(onednn_planner *s, onednn_step step, const dukd_run_conv *run) {
    dukd_conv_spec spec =
        spec_of(s->program, DUKD_CONV_DATA_GRADIENT, &step.out, &step.a, run, dukd_node_padding(step.node));
    step.kind = STEP_DATA_GRADIENT;
    emit(s, step, &spec, run, 0);
}

void onednn_emit_weights_gradient(onednn_planner *s, onednn_step step) {
    dukd_conv_spec spec = spec_of(s->program, DUKD_CONV_WEIGHTS_GRADIENT, &step.a, &step.b, &step.run,
                                  dukd_node_padding(step.node));
    step.kind = STEP_WEIGHTS_GRADIENT;
    emit(s, step, &spec, &step.run, 0);
}
