/* Planning of a program: onednn_plan.c (values, memory, the whole), onednn_plan_steps.c (steps, buffers, convolutions),
 * onednn_plan_forward.c and onednn_plan_backward.c (nodes). */
#ifndef DUKD_ONEDNN_PLANNER_H
#define DUKD_ONEDNN_PLANNER_H

#include "engine/onednn/onednn_state.h"

/* One value and one gradient a node. A failure stays in `status`; every function does nothing once there is one. */
typedef struct {
    onednn_program *program;
    onednn_value *value, *gradient; /* gradient.buffer -1: nothing has flowed into it yet */
    onednn_value *stats;            /* LAYER_NORM: what it leaves for its gradient */
    int32_t *last_use;              /* the last node that reads the value in forward */
    int32_t *keep;                  /* backward needs the value */
    int32_t *again;                 /* backward computes the value again instead */
    int32_t *passed;                /* GELU: its gradient is its source's already */
    int32_t *halo;                  /* see onednn_bands.c */
    int32_t *wide;                  /* the value and its gradient are f32 in a bf16 network */
    int32_t blocked;                /* values lie in blocks of 16 channels */
    int status;
    dukd_failure *failure;
} onednn_planner;

extern const onednn_value onednn_none; /* no value */

/* ---- onednn_plan_steps.c ---- */

void onednn_stop(onednn_planner *s, int status);
/* Appends a step; the buffers it names live at least until now. */
void onednn_emit(onednn_planner *s, onednn_step step);
/* Gives *v a new buffer that lives from the next step on. */
void onednn_new_buffer(onednn_planner *s, onednn_value *v);

/* STEP_CAST of step.a to step.out. */
void onednn_emit_cast(onednn_planner *s, onednn_step step);
onednn_value onednn_as_f32(onednn_value v); /* without a buffer */

/* STEP_CONV of a node from step.a to step.out, and of its data gradient from step.a to step.out: as a convolution with
 * transposed weights (onednn_is_transposable), or as oneDNN's data gradient, which cannot add. */
void onednn_emit_conv(onednn_planner *s, onednn_step step, const dukd_run_conv *run, dukd_conv_post post);
void onednn_emit_transposed(onednn_planner *s, onednn_step step, const dukd_run_conv *run,
                            dukd_conv_post post);
void onednn_emit_data_gradient(onednn_planner *s, onednn_step step, const dukd_run_conv *run);
void onednn_emit_weights_gradient(onednn_planner *s, onednn_step step);
int onednn_is_transposable(const dukd_node *conv);

/* ---- onednn_plan_forward.c, onednn_plan_backward.c ---- */

/* The steps of node i. `to` NULL: into its value, with a buffer of its own or that of a value that dies; else into
 * *to, once more. */
void onednn_plan_node(onednn_planner *s, int32_t i, const onednn_value *to);
/* In f32 what node i sees of an operand in bf16, in a buffer of its own: of a band, its rows only. */
onednn_value onednn_widened(onednn_planner *s, int32_t i, onednn_value from);
void onednn_plan_backward(onednn_planner *s);

#endif
