/* Weights' gradients: those of packed weights wait in groups for a launch that adds a group to the parameters', and where a bias's gradient
 * is added up.
 *
 * A bias's gradient is a sum over all pixels of what comes back to its convolution. Its first half, sums of parts, is done by a step that reads that
 * tensor anyway: the gradient of the ReLU behind the convolution, or the next such step, beside its own. Only where there is none does it
 * cost a launch. The second half is the group's. */
#include <stdlib.h>

#include "engine/cuda/gpu_state.h"

enum {
    ALIGNMENT = 256,
    /* Of a group's gradients and parts: all of a small network's. Larger ones tell of their gradients early enough that ranks average
     * them beside backward: what is averaged together is as large (train/step_ranks.c). */
    GROUP_BYTES = 4 << 20,
};

static int64_t aligned(int64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Behind `bytes` of the group's; returns its end. */
static int64_t add_gradient(gpu_program *p, int32_t i, int64_t bytes) {
    const dukd_plan_step *step = &p->plan.steps[i];
    const dukd_run_conv *run = &step->run;
    const dukd_type type = gpu_conv_gradient_type(step->conv);
    const dukd_tensor d = dukd_plan_shape(&p->plan, &step->b);
    gpu_unpack_job job = {.how = gpu_packing_of(run),
                          .weight = run->weight->offset,
                          .bias = run->bias ? run->bias->offset : -1,
                          .packed = bytes,
                          .type = type,
                          .part_count = run->bias ? gpu_channel_part_count(&d) : 0};
    job.parts = job.packed + aligned(dukd_run_conv_elements(run) * dukd_type_bytes(type));
    bytes = job.parts + aligned((int64_t)job.part_count * run->out_channels * (int64_t)sizeof(float));
    if (p->gradient_bytes < bytes) p->gradient_bytes = bytes;
    p->step_gradients[i].of_out = p->gradient_count;
    p->step_gradients[i].adds = run->bias != NULL;
    p->gradients[p->gradient_count++] = job;
    return bytes;
}

/* Those that are in none yet; done behind step i. */
static void add_group(gpu_program *p, int32_t i) {
    const gpu_gradient_group *last = p->group_count ? &p->groups[p->group_count - 1] : NULL;
    const int32_t first = last ? last->first + last->count : 0, count = p->gradient_count - first;
    if (count == 0) return;
    p->groups[p->group_count++] = (gpu_gradient_group){
        .first = first,
        .count = count,
        .step = i,
        .table = gpu_unpack_table(NULL, &p->gradients[first], count),
    };
}

static const gpu_gradient_group *group_of(const gpu_program *p, int32_t gradient) {
    const gpu_gradient_group *g = p->groups;
    while (gradient >= g->first + g->count) g++;
    return g;
}

int32_t gpu_gradient_complete(const gpu_program *p, int32_t gradient) {
    return group_of(p, gradient)->step;
}

/* ---- sums ---- */

static int alike(const dukd_plan_value *a, const dukd_plan_value *b) {
    return a->channels == b->channels && a->type == b->type;
}

/* The ReLU's gradient that has made what step i reads. Before the group's first step its memory is that of the one before. */
static int32_t made_by(const gpu_program *p, int32_t i) {
    const dukd_plan *plan = &p->plan;
    const dukd_plan_step *reader = &plan->steps[i];
    const gpu_gradient_group *group = group_of(p, p->step_gradients[i].of_out);
    const int32_t first = group > p->groups ? group[-1].step + 1 : plan->forward_steps;
    for (int32_t k = i - 1; k >= first; k--) {
        const dukd_plan_step *step = &plan->steps[k];
        if (step->out.buffer != reader->b.buffer) continue;
        const int fits =
            step->kind == DUKD_STEP_RELU_BACK && p->step_gradients[k].of_out < 0 && !step->for_input;
        return fits && alike(&step->out, &reader->b) ? k : -1;
    }
    return -1;
}

/* The next ReLU's gradient, if what step i reads is still there. */
static int32_t next_to(const gpu_program *p, int32_t i) {
    const dukd_plan_step *reader = &p->plan.steps[i];
    const int32_t last = group_of(p, p->step_gradients[i].of_out)->step;
    for (int32_t k = i + 1; k <= last; k++) {
        const dukd_plan_step *step = &p->plan.steps[k];
        const gpu_step_gradients *g = &p->step_gradients[k];
        if (step->out.buffer == reader->b.buffer) return -1;
        const int fits = step->kind == DUKD_STEP_RELU_BACK && g->of_out >= 0 && g->of_other < 0;
        if (fits && alike(&step->out, &reader->b)) return k;
    }
    return -1;
}

/* Finds steps that add up biases' gradients, of those that would do it by themselves. */
static void plan_sums(gpu_program *p, int32_t (*find)(const gpu_program *, int32_t), int other) {
    for (int32_t i = p->plan.forward_steps; i < p->plan.step_count; i++) {
        const dukd_plan_step *reader = &p->plan.steps[i];
        gpu_step_gradients *g = &p->step_gradients[i];
        if (!g->adds || reader->for_input) continue;
        const int32_t at = find(p, i);
        if (at < 0) continue;
        g->adds = 0;
        if (!other) {
            p->step_gradients[at].of_out = g->of_out;
            continue;
        }
        p->step_gradients[at].of_other = g->of_out;
        p->plan.steps[at].b = reader->b;
        dukd_plan_buffer *lives = &p->plan.buffers[reader->b.buffer];
        if (lives->last < at) lives->last = at;
    }
}

int gpu_plan_gradients(void *program, dukd_failure *f) {
    gpu_program *p = program;
    const dukd_plan *plan = &p->plan;
    const size_t count = (size_t)plan->step_count;
    if (plan->purpose != DUKD_TRAIN) return DUKD_DONE;
    p->step_gradients = malloc(count * sizeof *p->step_gradients);
    p->gradients = calloc(count, sizeof *p->gradients);
    p->groups = calloc(count, sizeof *p->groups);
    if (!p->step_gradients || !p->gradients || !p->groups)
        return dukd_fail_memory(f, "compiling a network", count * sizeof *p->gradients);
    int64_t bytes = 0;
    for (int32_t i = 0; i < plan->step_count; i++) {
        p->step_gradients[i] = (gpu_step_gradients){.of_out = -1, .of_other = -1};
        if (plan->steps[i].kind == DUKD_STEP_WEIGHTS_GRADIENT) bytes = add_gradient(p, i, bytes);
        if (bytes < GROUP_BYTES && i + 1 < plan->step_count) continue;
        add_group(p, i);
        bytes = 0;
    }
    plan_sums(p, made_by, 0);
    plan_sums(p, next_to, 1);
    return DUKD_DONE;
}
