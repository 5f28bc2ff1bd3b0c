/* Planning of a program, shared by its forward and its backward half. */
#ifndef DUKD_ONEDNN_PLANNER_H
#define DUKD_ONEDNN_PLANNER_H

#include "engine/onednn/onednn_state.h"

/* One value and one gradient a node. A failure stays in `status`; every function does nothing once there is one. */
typedef struct {
    onednn_program *program;
    onednn_value *value, *gradient; /* gradient.buffer -1: nothing has flowed into it yet */
    int32_t *last_use;              /* the last node that reads the value in forward */
    int32_t *keep;                  /* backward needs the value */
    int32_t *halo;                  /* see onednn_bands.c */
    int32_t blocked;                /* values lie in blocks of 16 channels */
    int status;
    dukd_failure *failure;
} onednn_planner;

/* Appends a step; the buffers it names live at least until now. */
void onednn_emit(onednn_planner *s, onednn_step step);
/* Gives *v a new buffer that lives from the next step on. */
void onednn_new_buffer(onednn_planner *s, onednn_value *v);
/* The convolution of `spec` whose images, type and counts are those of source and dest. */
void onednn_emit_conv(onednn_planner *s, onednn_step step, const dukd_run_conv *run, int32_t transposed,
                      int32_t post);
void onednn_emit_weights_gradient(onednn_planner *s, onednn_step step);

void onednn_plan_backward(onednn_planner *s);

#endif
