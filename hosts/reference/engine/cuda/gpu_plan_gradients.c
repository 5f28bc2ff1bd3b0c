/* Weights' gradients: those of packed weights wait in groups for a launch that adds a group to the parameters', and where a bias's gradient
 * is added up.
 *
 * A bias's gradient is a sum over all pixels of what comes back to its convolution. Its first half, sums of parts, is done by a step that reads that
 * tensor anyway: the gradient of the ReLU behind the convolution, or the next such step, beside its own. Only where there is none does it
 * cost a launch. The second half is the group's. */
#include "engine/cuda/gpu_planner.h"

enum {
    ALIGNMENT = 256,
    /* Of a group's gradients and parts: all of a small network's. Larger ones tell of their gradients early enough that ranks average
     * them beside backward: what is averaged together is as large (train/step_ranks.c). */
    GROUP_BYTES = 4 << 20,
};

static int64_t aligned(int64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int32_t first_open(const gpu_program *p) { /* gradient that is in no group yet */
    if (p->group_count == 0) return 0;
    const gpu_gradient_group *last = &p->groups[p->group_count - 1];
    return last->first + last->count;
}

int32_t gpu_plan_gradient(gpu_planner *s, const dukd_run_conv *run, dukd_type type, const gpu_value *d) {
    gpu_program *p = s->program;
    void *gradients = p->gradients;
    if (s->status != DUKD_DONE) return -1;
    gpu_stop(s, gpu_grow(&gradients, p->gradient_count, &p->gradient_room, sizeof *p->gradients, s->failure));
    p->gradients = gradients;
    if (s->status != DUKD_DONE) return -1;
    const dukd_tensor t = gpu_shape_of(p, d);
    gpu_unpack_job job = {.how = gpu_packing_of(run),
                          .weight = run->weight->offset,
                          .bias = run->bias ? run->bias->offset : -1,
                          .packed = p->group_bytes,
                          .type = type,
                          .part_count = run->bias ? gpu_channel_part_count(&t) : 0};
    job.parts = job.packed + aligned(dukd_run_conv_elements(run) * dukd_type_bytes(type));
    p->group_bytes =
        job.parts + aligned((int64_t)job.part_count * run->out_channels * (int64_t)sizeof(float));
    if (p->gradient_bytes < p->group_bytes) p->gradient_bytes = p->group_bytes;
    p->gradients[p->gradient_count] = job;
    return p->gradient_count++;
}

void gpu_plan_unpack(gpu_planner *s, int all) {
    gpu_program *p = s->program;
    const int32_t first = first_open(p), count = p->gradient_count - first;
    if (s->status != DUKD_DONE || count == 0 || (!all && p->group_bytes < GROUP_BYTES)) return;
    void *groups = p->groups;
    gpu_stop(s, gpu_grow(&groups, p->group_count, &p->group_room, sizeof *p->groups, s->failure));
    p->groups = groups;
    if (s->status != DUKD_DONE) return;
    gpu_step step = gpu_step_of(s, STEP_UNPACK, 0);
    step.node = NULL;
    step.group = p->group_count;
    p->groups[p->group_count++] = (gpu_gradient_group){
        .first = first,
        .count = count,
        .step = p->step_count,
        .table = gpu_unpack_table(NULL, &p->gradients[first], count),
    };
    p->group_bytes = 0;
    gpu_emit(s, step);
}

int32_t gpu_gradient_complete(const gpu_program *p, int32_t gradient) {
    int32_t g = 0;
    while (gradient >= p->groups[g].first + p->groups[g].count) g++;
    return p->groups[g].step;
}

/* ---- sums ---- */

static int alike(const gpu_value *a, const gpu_value *b) {
    return a->channels == b->channels && a->type == b->type;
}

/* The ReLU's gradient that has made what step i reads. */
static gpu_step *made_by(const gpu_program *p, int32_t i) {
    const gpu_step *reader = &p->steps[i];
    for (int32_t k = i - 1; k >= p->forward_steps; k--) {
        gpu_step *step = &p->steps[k];
        if (step->kind == STEP_UNPACK) return NULL; /* until then the group's memory is the one before's */
        if (step->out.buffer != reader->b.buffer) continue;
        const int fits = step->kind == STEP_RELU_BACK && step->gradient < 0 && !step->for_input;
        return fits && alike(&step->out, &reader->b) ? step : NULL;
    }
    return NULL;
}

/* The next ReLU's gradient, if what step i reads is still there. */
static gpu_step *next_to(const gpu_program *p, int32_t i) {
    const gpu_step *reader = &p->steps[i];
    for (int32_t k = i + 1; k < p->step_count; k++) {
        gpu_step *step = &p->steps[k];
        if (step->kind == STEP_UNPACK || step->out.buffer == reader->b.buffer) return NULL;
        const int fits = step->kind == STEP_RELU_BACK && step->gradient >= 0 && step->other_gradient < 0;
        if (fits && alike(&step->out, &reader->b)) return step;
    }
    return NULL;
}

void gpu_plan_sums(const gpu_program *p) {
    for (int32_t i = p->forward_steps; i < p->step_count; i++) {
        gpu_step *reader = &p->steps[i], *maker = NULL;
        if (reader->kind != STEP_WEIGHTS_GRADIENT || !reader->adds || reader->for_input) continue;
        if (!(maker = made_by(p, i))) continue;
        maker->gradient = reader->gradient;
        reader->adds = 0;
    }
    for (int32_t i = p->forward_steps; i < p->step_count; i++) {
        gpu_step *reader = &p->steps[i], *next = NULL;
        if (reader->kind != STEP_WEIGHTS_GRADIENT || !reader->adds || reader->for_input) continue;
        if (!(next = next_to(p, i))) continue;
        const int32_t at = (int32_t)(next - p->steps);
        dukd_buffer *lives = &p->buffers[reader->b.buffer];
        next->other_gradient = reader->gradient;
        next->b = reader->b;
        reader->adds = 0;
        if (lives->last < at) lives->last = at;
    }
}
