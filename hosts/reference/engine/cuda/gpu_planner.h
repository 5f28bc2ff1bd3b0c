/* Planning of a program: gpu_plan.c (values, memory, the whole), gpu_plan_steps.c (steps, buffers, convolutions), gpu_plan_forward.c and
 * gpu_plan_backward.c (nodes), gpu_plan_gradients.c (weights' gradients). */
#ifndef DUKD_GPU_PLANNER_H
#define DUKD_GPU_PLANNER_H

#include "engine/cuda/gpu_state.h"

/* One value and one gradient a node. A failure stays in `status`; every function does nothing once there is one. */
typedef struct {
    gpu_program *program;
    gpu_value *value, *gradient; /* gradient.buffer -1: nothing has flowed into it yet */
    gpu_value *stats;            /* LAYER_NORM: what it leaves for its gradient */
    int32_t *last_use;           /* the last node that reads the value in forward */
    int32_t *keep;               /* backward needs the value */
    int32_t *again;              /* backward computes the value again instead: a GELU */
    int status;
    dukd_failure *failure;
} gpu_planner;

extern const gpu_value gpu_none; /* no value */

/* ---- gpu_plan_steps.c ---- */

void gpu_stop(gpu_planner *s, int status);
/* A step of node i without operands. */
gpu_step gpu_step_of(const gpu_planner *s, gpu_step_kind kind, int32_t i);
/* Appends a step; the buffers it names live at least until now. */
void gpu_emit(gpu_planner *s, gpu_step step);
/* Gives *v a new buffer that lives from the next step on. */
void gpu_new_buffer(gpu_planner *s, gpu_value *v);
/* `count` floats among the program's constants; -1 for NULL. */
int64_t gpu_constants(gpu_planner *s, const float *values, int32_t count);
/* In f32 what node i sees of a value in bf16, in a buffer of its own. */
gpu_value gpu_widened(gpu_planner *s, int32_t i, gpu_value from);

/* The convolution of step.node, a CONV node that reads the node `source`: from step.a to step.out with b as addend; its data gradient, from
 * step.a to step.out (step.accumulate: added to it); its weights' gradient, from step.a and step.b. */
void gpu_emit_conv(gpu_planner *s, gpu_step step, const dukd_node *source);
void gpu_emit_data_gradient(gpu_planner *s, gpu_step step, const dukd_node *source);
void gpu_emit_weights_gradient(gpu_planner *s, gpu_step step, const dukd_node *source);

/* ---- gpu_plan_gradients.c ---- */

/* A gradient of `run`'s packed weights, of this type, of a convolution whose value has the gradient d; its index among the program's. Its step
 * is emitted next, then gpu_plan_unpack. */
int32_t gpu_plan_gradient(gpu_planner *s, const dukd_run_conv *run, dukd_type type, const gpu_value *d);
/* The step that adds those to the parameters' gradients that wait for it, if they are many, or at the end of backward (all). */
void gpu_plan_unpack(gpu_planner *s, int all);
/* The step after which a gradient has been added. */
int32_t gpu_gradient_complete(const gpu_program *p, int32_t gradient);
/* When all steps are there, and before memory is planned: which of them add up biases' gradients. */
void gpu_plan_sums(const gpu_program *p);

/* ---- gpu_plan_forward.c, gpu_plan_backward.c ---- */

/* The steps of node i. `to` NULL: into its value, with a buffer of its own or that of a value that dies; else into *to, once more. */
void gpu_plan_node(gpu_planner *s, int32_t i, const gpu_value *to);
void gpu_plan_backward(gpu_planner *s);

#endif
