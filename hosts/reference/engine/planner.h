/* Making of a plan: plan.c (values, memory, the whole), plan_steps.c (steps and buffers), plan_forward.c and plan_backward.c (nodes),
 * plan_bands.c. Only for these files. */
#ifndef DUKD_PLANNER_H
#define DUKD_PLANNER_H

#include "engine/plan.h"

/* One value and one gradient a node. A failure stays in `status`; every function does nothing once there is one. */
typedef struct {
    dukd_plan *plan;
    const dukd_plan_backend *backend;
    void *program; /* the backend's */
    const dukd_graph *graph;
    dukd_type type;
    dukd_plan_value *value, *gradient; /* gradient.buffer -1: nothing has flowed into it yet */
    dukd_plan_value *stats;            /* LAYER_NORM: what it leaves for its gradient */
    dukd_plan_value *widened;          /* in f32 what forward has read for a last layer; buffer -1: nothing */
    int32_t *last_use;                 /* the last node that reads the value in forward */
    int32_t *keep;                     /* backward needs the value */
    int32_t *again;                    /* backward computes the value again instead */
    int32_t *passed;                   /* GELU: its gradient is its source's already */
    int32_t *halo;                     /* see plan_bands.c */
    int32_t *wide;                     /* the value and its gradient are f32 in a bf16 network */
    int status;
    dukd_failure *failure;
} dukd_planner;

extern const dukd_plan_value dukd_plan_none; /* no value */

static inline const dukd_node *dukd_planner_node(const dukd_planner *s, int32_t i) {
    return &s->plan->fused.nodes[i];
}

/* ---- plan_steps.c ---- */

/* A step of node i without operands. */
dukd_plan_step dukd_planner_step(const dukd_planner *s, dukd_step_kind kind, int32_t i);
/* Appends a step, a convolution once the backend has compiled it; the buffers it names live at least until now. */
void dukd_planner_emit(dukd_planner *s, dukd_plan_step step);
/* Gives *v a new buffer that lives from the next step on. */
void dukd_planner_new_buffer(dukd_planner *s, dukd_plan_value *v);
/* In f32 what node i sees of a value in bf16, in a buffer of its own: of a band, its rows only. */
dukd_plan_value dukd_planner_widened(dukd_planner *s, int32_t i, dukd_plan_value from);

/* ---- plan_bands.c ---- */

/* Decides whether and where bands begin; halo[i] are the rows that value i needs beside its own. */
void dukd_planner_choose_bands(dukd_planner *s);
/* What node i sees of its operand: all rows, or those of its band and `radius` more on both sides. */
dukd_plan_value dukd_planner_operand(const dukd_planner *s, int32_t i, int32_t from, int32_t radius);
/* After a value is written whose halo someone reads. */
void dukd_planner_emit_edges(dukd_planner *s, int32_t i);

/* ---- plan_forward.c, plan_backward.c ---- */

/* The steps of node i. `to` NULL: into its value, with a buffer of its own or that of a value that dies; else into *to, once more. */
void dukd_planner_node_steps(dukd_planner *s, int32_t i, const dukd_plan_value *to);
void dukd_planner_backward(dukd_planner *s);

#endif
