/* Steps of the toy host, whole or call by call.
 *
 * A network's output is its source enlarged by repeating pixels, times a gain, plus a pattern that depends on the network and
 * on the place in the image, not in the batch; a layer's output has 8 channels at the source's size. */
#ifndef TOY_STEP_H
#define TOY_STEP_H

#include "toy_host.h"

enum { TOY_MAX_PASSES = 16, TOY_MAX_TAPS = 32, TOY_MAX_WANTED = 32 };

typedef enum {
    TOY_ONE_BY_ONE,
    TOY_TOGETHER,           /* as many passes are taken as the plugin gives before one is submitted */
    TOY_TOGETHER_BACKWARDS, /* and the last of them is submitted first */
} toy_order;

struct toy_pass;

/* How a step is run; zero is the plain way. */
typedef struct {
    int64_t iteration, first_sample; /* iteration 0: 1 */
    uint32_t micro_index;
    toy_order order;
    toy_layout values, grads;         /* layouts */
    dukd_dtype value_type, grad_type; /* 0: f32 */
    dukd_dtype round_to;              /* values are rounded to this type first; 0: they are not */
    int same_channels;                /* all channels of a value are one */
    double grad_scale;                /* 0: 1 */
    int nan_value;                    /* the first element of the first value that wants a gradient is NaN */
    int wipe;                         /* values are destroyed after submit_pass, but for DUKD_TAP_KEEP */
    int keep_batch;                   /* LR and HR stay as they are; else toy_fill(first_sample) */
    int give_up;                      /* cancel_step after so many calls of next_pass and submit_pass, + 1 */
    int32_t probe;                /* which gradient's value is moved (index as in toy_result.wanted) ... */
    double probe_step;            /* ... by this, 0: none ... */
    const float *probe_direction; /* ... times this, dense */
    uint32_t param;               /* which parameter's values are moved by probe_step ... */
    const float *param_direction; /* ... times this; NULL: none */
    float param_fill;             /* what gradients of parameters are when they are cleared */
    /* Looks at a pass when it is handed out; may be NULL. */
    conform_result (*look)(conform *c, toy_session *t, const dukd_pass *pass, void *arg);
    void *arg;
} toy_run;

/* One gradient of a step: dense floats. */
typedef struct {
    uint32_t pass, tap;
    int64_t count;
    float *grad;
} toy_wanted;

/* What a step gave. */
typedef struct {
    int32_t passes, waits;
    int32_t zeroed, optimizer_steps, averaged; /* passes with these flags */
    uint64_t inputs_hash;                      /* all inputs' values, samples, places and augmentations */
    double total;                              /* l_total, after the last micro-batch */
    toy_wanted wanted[TOY_MAX_WANTED];         /* in the order of passes and taps */
    int32_t n_wanted;
    struct {
        int64_t count;
        float *grad;
    } params[TOY_MAX_PARAMS]; /* gradients of the plugin's parameters, after the step */
    uint32_t n_params;
    int32_t params_spilled,
        params_touched;     /* memory beside them was written; gradients changed where they must not */
    int32_t params_written; /* values changed */
    double norm;            /* sum of |gradient| */
    int64_t not_finite, not_written; /* elements of gradients */
    int32_t spilled;                 /* gradients with memory beside them written */
    /* by the plugin, when it must not */
    int32_t inputs_changed, structs_changed, values_changed, batch_changed, grads_changed;
    int32_t gave_up;     /* what cancel_step gave, where the step was given up */
    int32_t moved;       /* a pass with OPTIMIZE_AFTER had been submitted then */
    int32_t over, ended; /* all was submitted before give_up was reached; end_step was DUKD_OK */
} toy_result;

/* A whole step. 0; what the plugin gave where it failed (the step is then still open), with a message in c->why; TOY_STOPPED
 * where the suite itself cannot go on or `look` does not pass (c->why says why). */
enum { TOY_STOPPED = INT32_MIN };
int32_t toy_step(conform *c, toy_session *t, const toy_run *run, toy_result *out);
void toy_result_free(toy_result *r);

/* A session, one step of it, and the end of it: PASS, FAIL, or SKIP as toy_open does. */
conform_result toy_once(conform *c, toy_setup setup, toy_run run, toy_result *out);

/* max|difference| / max|a| over all gradients; INFINITY where they are not alike. */
double toy_difference(const toy_result *a, const toy_result *b);
/* Whether gradients, inputs and total have the same bits. */
int toy_identical(const toy_result *a, const toy_result *b);

/* ---- call by call ---- */

typedef struct toy_pass {
    const dukd_pass *pass;
    toy_tensor values[TOY_MAX_TAPS], grads[TOY_MAX_TAPS];
    uint64_t inputs_hash, structs_hash, values_hash, grads_hash;
    int submitted;
} toy_pass;

typedef struct {
    dukd_submit submit;
    const dukd_tensor *values[TOY_MAX_TAPS], *grads[TOY_MAX_TAPS];
} toy_submit;

/* A dukd_step for the session's batch. */
dukd_step toy_step_of(const toy_session *t, const toy_run *run);
/* Computes the taps of p->pass, and makes room for gradients. 0, or -1 with a message. */
int toy_pass_make(conform *c, toy_session *t, toy_pass *p, const toy_run *run, int32_t first_wanted);
void toy_pass_free(toy_pass *p);
/* The submit struct of a computed pass; points into p and out. */
void toy_submit_of(toy_pass *p, const toy_run *run, toy_submit *out);
/* Begins a step and goes to the first pass that wants a gradient: p is that pass, computed and not submitted. */
conform_result toy_to_gradient(conform *c, toy_session *t, const toy_run *run, toy_pass *p);
/* From wherever the step is, with nothing handed out that is not submitted, to its end. */
conform_result toy_finish(conform *c, toy_session *t, const toy_run *run);

#endif
