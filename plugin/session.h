/* A session: one training run's plugin side. The recipe says what a step does; the session hands out its
 * passes, checks what comes back, and keeps the books.
 *
 *     session_create.c  params, options, backend, memory; destroy
 *     session_host.c    checks of the host and of the params; log, cancel
 *     session_views.c   the public structs: plan and live passes
 *     session_networks.c  what the networks must take and give
 *     session_step.c    begin_step, next_pass, end_step, cancel_step
 *     session_submit.c  submit_pass
 *     session_graph.c   steps that were captured into a CUDA graph
 *     session_losses.c  the books: losses of a step, read_losses
 *     session_state.c   get_state, set_state */
#ifndef DUKD_SESSION_H
#define DUKD_SESSION_H

#include "backend/backend.h"
#include "config.h"
#include "draws.h"
#include "recipe.h"
#include "upcycle/geometry.h"
#include "upcycle/samples.h"

#include <stddef.h>
#include <sys/types.h>

/* A dukd_tensor with its shape and strides. */
typedef struct {
    dukd_tensor tensor;
    int64_t shape[4], strides[4];
} dukd_held_tensor;

/* A public pass with all that it points to. */
typedef struct {
    dukd_pass pass;
    dukd_input input[DUKD_MAX_INPUTS];
    dukd_held_tensor tensor[DUKD_MAX_INPUTS];
    dukd_origin origin[DUKD_MAX_INPUTS];
    dukd_tap tap[DUKD_MAX_TAPS];
    const dukd_input *inputs[DUKD_MAX_INPUTS];
    const dukd_tap *taps[DUKD_MAX_TAPS];
} dukd_pass_view;

typedef enum {
    DUKD_PHASE_IDLE,   /* between steps */
    DUKD_PHASE_OPEN,   /* in a step */
    DUKD_PHASE_DONE,   /* in a step; next_pass has said DUKD_STEP_DONE */
    DUKD_PHASE_FAILED, /* in a step that can only be cancelled */
} dukd_phase;

/* How the micro-batches of a step are run: all in one way. */
typedef enum { DUKD_WAY_EAGER, DUKD_WAY_CAPTURED, DUKD_WAY_REPLAYED } dukd_way;

/* A micro-batch that was captured into a graph: where its batch lies. */
typedef struct {
    bool captured; /* from begin_step to end_step */
    dukd_held_tensor lr, hr;
} dukd_captured;

struct dukd_session {
    dukd_host host;
    pid_t owner; /* a forked child has another */
    uint32_t flags, micro_count;
    uint32_t network[DUKD_ROLES]; /* the host's indices */
    dukd_config config;
    dukd_recipe recipe;
    dukd_geometry geometry;
    dukd_draws draws;
    dukd_backend *backend;

    dukd_plan plan;
    const dukd_pass *plan_passes[DUKD_MAX_PASSES];
    dukd_pass_view planned[DUKD_MAX_PASSES], live[DUKD_MAX_PASSES];
    int64_t tap_shape[DUKD_MAX_PASSES][DUKD_MAX_TAPS][4]; /* as the host said */
    dukd_samples samples[DUKD_MAX_PASSES];                /* what was chosen, in plain memory */
    dukd_samples placed[DUKD_MAX_PASSES]; /* the same in the backend's memory; on the CPU the same pointers */
    /* The blocks that both lie in; the second NULL on the CPU, on a device [micro_count], as a graph may have all micro-batches. */
    void *choices, *placed_choices;
    uint64_t choices_size;
    void *images[DUKD_MAX_PASSES][DUKD_MAX_INPUTS]; /* what the session makes; NULL where an input is LR */

    /* the step */
    dukd_phase phase;
    int64_t iteration;
    uint32_t micro_index;
    uint32_t handed;    /* passes handed out so far */
    uint32_t submitted; /* a bit a pass */
    dukd_held_tensor lr, hr;
    void *stream;                 /* of a device */
    bool recorded;                /* the step is being captured into a graph: nothing is computed now */
    double mean[DUKD_MAX_LOSSES]; /* of this micro-batch; on a device they come later, in means */
    double *means;         /* [DUKD_MEANS][micro_count][DUKD_MAX_LOSSES] in a device's memory; else NULL */
    uint32_t means_live;   /* which of them this step writes */
    uint32_t means_closed; /* which hold those of the last step that was ended */

    /* across micro-batches */
    uint32_t next_micro;
    dukd_way way;     /* of the last one that was begun or replayed */
    bool may_restart; /* the last micro-batch was cancelled: the step may be begun anew */
    int64_t micro_iteration;
    double micro_sum[DUKD_MAX_LOSSES];

    /* the last step that was ended */
    bool has_losses;
    bool losses_wait;    /* they are still on the device */
    void *losses_stream; /* that they come on */
    int64_t losses_iteration;
    const char *loss_names[DUKD_MAX_LOSSES + 1];
    double loss_values[DUKD_MAX_LOSSES + 1];

    dukd_captured *captured; /* [micro_count] (session_graph.c); NULL on the CPU */
};

/* Places for means: a step that is given up must not touch those of the last step that was ended, and a graph writes where it
 * was captured to write. */
enum { DUKD_MEANS_EVEN, DUKD_MEANS_ODD, DUKD_MEANS_GRAPH, DUKD_MEANS };

/* ---- the functions of dukd_plugin and dukd_ext_draws ---- */
int32_t dukd_session_create(const dukd_session_params *params, dukd_session **out, dukd_error *error);
void dukd_session_destroy(dukd_session *s);
int32_t dukd_session_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error);
int32_t dukd_session_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error);
int32_t dukd_session_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error);
int32_t dukd_session_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error);
int32_t dukd_session_end_step(dukd_session *s, dukd_error *error);
int32_t dukd_session_cancel_step(dukd_session *s, dukd_error *error);
int32_t dukd_session_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error);
int32_t dukd_session_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error);
int32_t dukd_session_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error);
int32_t dukd_session_before_replay(dukd_session *s, const dukd_step *step, dukd_error *error);
int32_t dukd_session_set_draw_source(dukd_session *s, dukd_draw_source source, void *ctx, dukd_error *error);

/* ---- between the files above ---- */

/* NULL, or inherited through fork: an error. The first thing that every function of a session asks. */
int32_t dukd_session_enter(const dukd_session *s, dukd_error *error);
/* The same, and it must be between steps: none open, and with micro-batches none begun that was not given up.
 * `what` is the function, for the message. */
int32_t dukd_session_enter_idle(const dukd_session *s, const char *what, dukd_error *error);
/* DUKD_E_CANCELLED where the host wants to give up. */
int32_t dukd_session_ask_cancel(const dukd_host *host, dukd_error *error);
/* One line to the host's log, if it has one. */
void dukd_session_log(const dukd_host *host, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Where loss `i` of the step in progress goes on a device. */
double *dukd_session_mean_at(const dukd_session *s, uint32_t loss);
/* Enters the means of this micro-batch into the books; after the last they are the losses. */
void dukd_session_close_losses(dukd_session *s);
/* Whether the session's tensors are on a device, whose work is only enqueued. */
static inline bool dukd_session_on_device(const dukd_session *s) {
    return s->backend->begin != NULL;
}
/* Checks a step against the session, its tensors included. */
int32_t dukd_session_check_step(const dukd_session *s, const dukd_step *step, dukd_error *error);
/* A micro-batch after the first must be run as that was; `what` is the function, for the message. */
int32_t dukd_session_check_way(const dukd_session *s, const dukd_step *step, dukd_way way, const char *what,
                               dukd_error *error);
/* On a device, lets placed[] be micro-batch s->micro_index's block. */
void dukd_session_aim(dukd_session *s);
/* Draws all choices of a step. */
int32_t dukd_session_choose(dukd_session *s, const dukd_step *step, dukd_error *error);

/* A step must be open and not failed. */
int32_t dukd_session_enter_step(const dukd_session *s, const char *what, dukd_error *error);

/* Makes the images of the passes that had to wait for pass `of`. */
int32_t dukd_session_make_dependents(dukd_session *s, uint32_t of, dukd_error *error);

/* Whether a call that ended with `status` may have left something half done. */
bool dukd_status_spoils(int32_t status);

/* Checks params and host, and copies what of the host is known into *host. */
int32_t dukd_session_check_params(const dukd_session_params *params, dukd_host *host, dukd_error *error);

/* Fills planned[] and live[] from recipe and geometry; network[] must be known. */
void dukd_session_build_views(dukd_session *s);
/* The live passes of a step: flags of its micro-batch, and LR. */
void dukd_session_refresh_views(dukd_session *s);
void dukd_held_tensor_set(dukd_held_tensor *held,
                          const dukd_tensor *t); /* copies tensor, shape and strides */

/* Finds the networks by name and asks what the host can do. */
int32_t dukd_session_find_networks(dukd_session *s, dukd_error *error);
/* Asks the host for the shape of every tap of the plan, fills tap_shape[], and refuses what does not fit. */
int32_t dukd_session_check_taps(dukd_session *s, dukd_error *error);

#endif
