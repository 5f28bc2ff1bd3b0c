/* A small plugin, whole and correct: rec |S(x) - y|, and |S - T| for crops of HR (zoom in) and for LR scaled down (zoom out).
 *
 * It has nothing in common with the plugin of this project but the header, so that dukd-conform is seen to pass another one; and
 * it can be broken: BROKEN(name) marks each place where it does something wrong when it is built to (breaks.def). */
#ifndef SMALL_H
#define SMALL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "dukd_ext_draws.h"
#include "dukd_ext_params.h"
#include "dukd_plugin.h"

/* ---- what is broken ---- */

typedef enum {
    BREAK_nothing,
#define BREAK(name, checks, arguments, what) BREAK_##name,
#include "breaks.def"
#undef BREAK
} small_break;

extern const small_break small_broken; /* break_switch.c */
#define BROKEN(name) (small_broken == BREAK_##name)

/* ---- configuration ---- */

typedef enum { PASS_REC, PASS_ZOOM_IN, PASS_ZOOM_OUT, PASSES } small_kind;

typedef struct {
    bool two_steps; /* an optimizer step after each pass */
    bool corner;    /* crops at the top left, not drawn */
    bool bias;      /* rec is |S(x) + b - y|, with a learned b for each channel */
    bool term[PASSES];
    int64_t crops;
    double w_zoom, flip;
} small_config;

enum { SMALL_OPTIONS = 8 };
extern const dukd_option_info *const small_option_table[SMALL_OPTIONS];

int32_t small_read_options(small_config *c, const dukd_option *const *options, uint32_t n, dukd_error *error);

/* ---- a session ---- */

/* A public pass with all that it points to. */
typedef struct {
    dukd_pass pass;
    dukd_input input;
    dukd_tensor tensor;
    dukd_origin origin;
    dukd_tap tap[2]; /* student, teacher */
    const dukd_input *inputs[1];
    const dukd_tap *taps[2];
    int64_t shape[4], strides[4], tap_shape[4];
} small_pass;

struct dukd_session {
    dukd_host host;
    pid_t owner;
    pthread_t maker;
    small_config config;
    uint32_t flags, micro_count;
    uint64_t seed;
    int64_t n, channels, h, w;
    int32_t scale;
    dukd_dtype type;
    uint32_t student, teacher; /* indices of the host's networks */

    uint32_t n_passes;
    small_kind kind[PASSES];
    small_pass planned[PASSES], live[PASSES];
    const dukd_pass *plan_passes[PASSES];
    dukd_plan plan;
    void *images[PASSES];    /* made inputs; NULL for rec, whose input is LR */
    int64_t *chosen[PASSES]; /* what origin points to */
    double *partial;         /* an image's sum */
    uint64_t partial_room;

    /* the step */
    bool open, done, failed;
    int64_t iteration;
    uint32_t micro_index, handed, submitted; /* submitted: a bit a pass */
    dukd_tensor lr, hr;
    int64_t lr_shape[4], lr_strides[4], hr_shape[4], hr_strides[4];
    double mean[PASSES];

    /* between steps */
    uint32_t next_micro;
    bool may_restart; /* the last micro-batch was given up: the step may be begun anew */
    double micro_sum[PASSES];
    uint64_t steps; /* ended so far; kept in the state */
    bool has_losses;
    int64_t losses_iteration;
    const char *names[PASSES + 1];
    double values[PASSES + 1];

    /* the learned bias */
    int64_t bias_shape[1];
    dukd_param_info bias_info;
    const dukd_param_info *own_params[1];
    dukd_param_list own_list;
    float *bias, *bias_grad; /* the host's; NULL: not bound, or there is none */

    dukd_draw_source source;
    void *source_ctx;
    pthread_t idler; /* only where it is broken */
    bool idles;
};

/* small_session.c */
int32_t small_create(const dukd_session_params *params, dukd_session **out, dukd_error *error);
void small_destroy(dukd_session *s);
int32_t small_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error);
int32_t small_enter(const dukd_session *s, dukd_error *error); /* not NULL, not forked */
int32_t small_cancelled(const dukd_host *host, dukd_error *error);

/* small_step.c */
int32_t small_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error);
int32_t small_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error);
int32_t small_end_step(dukd_session *s, dukd_error *error);
int32_t small_cancel_step(dukd_session *s, dukd_error *error);
int32_t small_set_source(dukd_session *s, dukd_draw_source source, void *ctx, dukd_error *error);
int32_t small_make_images(dukd_session *s, const dukd_step *step, dukd_error *error); /* small_images.c */

/* small_submit.c */
int32_t small_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error);

/* small_state.c */
int32_t small_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error);
int32_t small_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error);
int32_t small_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error);
uint64_t small_seed_of(const dukd_session *s);
void small_note_seed(dukd_session *s);

/* small_params.c */
void small_params_describe(dukd_session *s);
/* Adds to the bias's gradient what this submit_pass of the rec term gives. */
void small_params_add(dukd_session *s, const dukd_submit *submit, double step);
extern const dukd_ext_params small_ext_params;

/* ---- small_common.c ---- */

int32_t small_error(dukd_error *error, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The rule of struct_size. */
int32_t small_check_struct(const void *object, uint32_t known, const char *name, dukd_error *error);
int32_t small_check_tensor(const dukd_tensor *t, const int64_t shape[4], const dukd_dtype *types, int n_types,
                           const char *name, dukd_error *error);
bool small_overlaps(const dukd_tensor *t);

/* A tensor to read and write: strides in bytes. */
typedef struct {
    uint8_t *base;
    int64_t stride[4];
    dukd_dtype type;
} small_view;

small_view small_view_of(const dukd_tensor *t);
float small_load(const small_view *v, int64_t n, int64_t c, int64_t y, int64_t x);
void small_store(const small_view *v, int64_t n, int64_t c, int64_t y, int64_t x, float value);

extern const dukd_dtype small_f32, small_f16, small_bf16;

#endif
