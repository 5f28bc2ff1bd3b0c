/* dukd-spy: a plugin that teaches nothing and notes everything. dukd-conform --host has a host load it, tells it by the
 * environment what to hand out, and reads afterwards what it has seen.
 *
 *     DUKD_SPY        the scenario (spy_scenario.c): which passes each step hands out
 *     DUKD_SPY_LOG    file to which it appends JSON, a line for each call
 *     DUKD_SPY_TEST   words with commas between them: poison, slow, services, shapes, draft, params
 *     DUKD_SPY_FAIL   CALL@N: the N-th call of CALL fails, with SPY_MESSAGE
 *     DUKD_SPY_SCALE  a factor of all gradients
 *
 * What it can judge by itself it does: a line with "call": "wrong" names the rule, which is a check of dukd-conform. Memory it
 * is given back too late or twice is not freed: the process is short. */
#ifndef DUKD_SPY_H
#define DUKD_SPY_H

#include <stdatomic.h>
#include <stdint.h>

#include "dukd_ext_params.h"
#include "dukd_plugin.h"
#include "toy_tensor.h"

#define SPY_MESSAGE      "the spy was told to fail here, and its message is for the user (7c1f)"
#define SPY_WARNING      "the spy has a warning for the user (9d02)"
#define SPY_UNKNOWN_FLAG 0x100u

enum {
    SPY_PASSES = 16,
    SPY_STEPS = 8,
    SPY_INPUTS = 4,
    SPY_TAPS = 6,
    SPY_MAX_IMAGES = 4096,
    SPY_PARAMS = 2,
    SPY_OWN = 7
};

/* ---- the scenario ---- */

typedef struct {
    int32_t network;      /* 's' student, 't' teacher */
    uint32_t input;       /* index in the pass */
    uint32_t flags, pad0; /* DUKD_TAP_... */
    double coefficient;   /* the loss has so much of this tap */
} spy_tap;

typedef struct {
    uint32_t flags; /* DUKD_PASS_... */
    int waits;      /* next_pass says WAIT before it while a pass is not submitted */
    char inputs[SPY_INPUTS + 1];
    uint32_t n_inputs, n_taps;
    spy_tap taps[SPY_TAPS];
} spy_pass;

typedef struct {
    uint32_t n_passes,
        passes[SPY_PASSES]; /* indices into the plan, in the order in which they are handed out */
} spy_step;

typedef struct {
    uint32_t n_plan, n_steps; /* steps after the last are like the last */
    spy_pass plan[SPY_PASSES];
    spy_step steps[SPY_STEPS];
} spy_scenario;

/* 0, or -1 where the text is none. */
int spy_scenario_read(spy_scenario *out, const char *text);

/* ---- what it was told ---- */

int spy_told(const char *word);       /* whether DUKD_SPY_TEST has the word */
int spy_shall_fail(const char *call); /* counts the call */
double spy_scale(void);

/* ---- what it notes ---- */

void spy_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One wrong thing, by the rule that it breaks. */
void spy_wrong(const char *rule, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A text as JSON, cut where it does not fit. Returns out. */
const char *spy_json(char *out, uint64_t size, const char *text);
/* `rest` bytes at p are zero. */
int spy_is_zero(const void *p, uint64_t size);

/* ---- the session ---- */

/* A pass as it is handed out, or as it stands in the plan. Not to be copied. */
typedef struct {
    dukd_pass pass;
    dukd_input input[SPY_INPUTS];
    dukd_origin origin[SPY_INPUTS];
    toy_tensor image[SPY_INPUTS];
    dukd_tensor alias[SPY_INPUTS]; /* of the host's own LR */
    dukd_tap tap[SPY_TAPS];
    const dukd_input *inputs[SPY_INPUTS];
    const dukd_tap *taps[SPY_TAPS];
    int64_t shape[SPY_TAPS][4]; /* that tap_shape gave */
    int64_t *samples;           /* [images] */
    int submitted;
    /* of KEEP: the value and what it was */
    struct {
        dukd_tensor tensor;
        int64_t shape[4], strides[4];
        uint64_t hash;
    } kept[SPY_TAPS];
} spy_live;

/* The spy's own parameters, and what the host must have left of them. */
typedef struct {
    int bound, known;                              /* known: the numbers below were seen */
    float *values[SPY_PARAMS], *grads[SPY_PARAMS]; /* the host's */
    double value[SPY_OWN], gradient[SPY_OWN];
    int optimized; /* an optimizer step was asked for since */
} spy_own;

struct dukd_session {
    dukd_host host;
    uint64_t caps;
    uint32_t flags, micro_count;
    int64_t lr_shape[4];
    int32_t scale;
    dukd_dtype dtype;
    dukd_device device;
    uint32_t network[2]; /* of 's' and 't'; UINT32_MAX: none */
    spy_scenario scenario;
    spy_live *planned[SPY_PASSES];
    const dukd_pass *plan_list[SPY_PASSES];
    dukd_plan plan;
    atomic_int inside;
    int destroyed, in_step, done, failed;
    spy_live *live[SPY_PASSES]; /* of the step; NULL: not handed out */
    uint32_t handed;
    int64_t iteration, steps, last_iteration;
    uint32_t micro, next_micro;
    int64_t first_sample;
    const dukd_tensor *lr, *hr; /* copies, below */
    dukd_tensor batch[2];
    int64_t batch_shape[2][4], batch_strides[2][4];
    uint64_t batch_hash[2];
    spy_own own;
    double loss;
    const char *names[2];
    double values[2];
};

/* Fills the error; returns the code. */
int32_t spy_error(dukd_error *error, int32_t code, const char *message);

/* spy_images.c: inputs and patterns */
int spy_fill_input(dukd_session *s, spy_live *l, uint32_t i, char kind);
/* Weight of element e of image n in the loss: of order 1, its sign by channel. */
double spy_pattern(int64_t image, int64_t element, const int64_t shape[4]);

/* spy_passes.c */
spy_live *spy_live_make(dukd_session *s, uint32_t plan_index, int live);
void spy_live_free(spy_live *l);
void spy_live_poison(spy_live *l);

/* spy_submit.c */
int32_t spy_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error);
/* Whether what was to be kept is as it was. */
void spy_look_at_kept(const dukd_session *s);
/* Whether a struct of the host's is one of this draft. */
void spy_look_at_struct(const char *rule, const char *name, const void *p, uint32_t size);

/* spy_session.c */
int32_t spy_create_session(const dukd_session_params *params, dukd_session **out, dukd_error *error);
void spy_destroy_session(dukd_session *s);
int32_t spy_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error);

/* spy_services.c */
void spy_try_services(const dukd_session *s);
void spy_try_shapes(const dukd_session *s);

/* spy_step.c */
int32_t spy_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error);
int32_t spy_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error);
int32_t spy_end_step(dukd_session *s, dukd_error *error);
int32_t spy_cancel_step(dukd_session *s, dukd_error *error);
int32_t spy_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error);

/* spy_params.c. Whether the values are what they must be now; and the same for gradients, and what the pass adds. */
extern const dukd_ext_params spy_ext_params;
void spy_look_at_own(dukd_session *s);
void spy_submit_own(dukd_session *s, const spy_live *l, double grad_scale);

/* spy_state.c */
int32_t spy_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error);
int32_t spy_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error);

/* spy_plugin.c: entering and leaving a session's function: notes two at once, and what comes after a failure or the end.
 * Not 0: the function ends with this code, and spy_leave is not called; DUKD_E_BACKEND where it was told to fail. */
int32_t spy_enter(dukd_session *s, const char *call, dukd_error *error);
void spy_leave(dukd_session *s);

#endif
