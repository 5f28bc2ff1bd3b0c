/* fitnets.so: a distillation plugin with trainable parts of its own, after FitNets (Romero et al., "FitNets: hints for thin deep
 * nets", 2015). An example for authors of methods; README.md walks through it.
 *
 *     loss = w_rec mean |S - y| + w_hint mean (P F_S - F_T)^2
 *
 * S is the student's output and y the HR batch; F_S and F_T are features of student and teacher, the outputs of the layers that the
 * options name, N x C_S x H x W and N x C_T x H x W. P is a learned 1x1 convolution from C_S to C_T channels with a bias. Means are over
 * all elements. Everything is computed in double precision, image by image. */
#ifndef FITNETS_H
#define FITNETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "dukd_ext_params.h"
#include "dukd_plugin.h"

/* ---- options (fit_options.c) ---- */

enum { FIT_REC, FIT_HINT, FIT_TERMS };
enum { FIT_OPTIONS = 5, FIT_LAYER_NAME = 128 };

typedef struct {
    bool term[FIT_TERMS];
    double weight[FIT_TERMS];
    /* "": the network's output */
    char student_layer[FIT_LAYER_NAME], teacher_layer[FIT_LAYER_NAME];
} fit_config;

extern const dukd_option_info *const fit_option_table[FIT_OPTIONS];
int32_t fit_read_options(fit_config *c, const dukd_option *const *options, uint32_t n, dukd_error *error);

/* ---- a session ---- */

enum { FIT_MAX_TAPS = 3, FIT_PARAMS = 2, FIT_WEIGHT = 0, FIT_BIAS = 1 };

/* The one pass of a step with all that it points to. */
typedef struct {
    dukd_pass pass;
    dukd_input input;
    dukd_tensor tensor; /* LR */
    dukd_origin origin;
    dukd_tap tap[FIT_MAX_TAPS];
    const dukd_input *inputs[1];
    const dukd_tap *taps[FIT_MAX_TAPS];
    int64_t shape[4], strides[4]; /* of LR */
} fit_pass;

/* What a submit_pass reads of the parameters and adds to their gradients; dense f32. */
typedef struct {
    const float *weight, *bias;     /* C_T x C_S, C_T */
    float *weight_grad, *bias_grad; /* the same */
} fit_projection;

struct dukd_session {
    dukd_host host;
    pid_t owner;
    fit_config config;
    uint32_t flags, micro_count;
    uint64_t seed;
    int64_t lr_shape[4], hr_shape[4];
    int32_t scale;
    dukd_dtype type;
    uint32_t student, teacher; /* indices of the host's networks */

    /* the plan */
    uint32_t n_taps;
    uint32_t output, hint,
        target; /* taps: S, F_S (the same as S, where no layer is named), F_T; FIT_MAX_TAPS: none */
    int64_t tap_shape[FIT_MAX_TAPS][4];
    fit_pass planned, live;
    const dukd_pass *plan_passes[1];
    dukd_plan plan;
    int64_t *samples; /* [N], of the origin */
    double *work;     /* [N] rows of fit_row(s) doubles */

    /* the parameters (fit_params.c) */
    dukd_param_info param[FIT_PARAMS];
    const dukd_param_info *params[FIT_PARAMS];
    dukd_param_list list;
    int64_t weight_shape[4], bias_shape[1];
    fit_projection projection;
    bool bound;

    /* the step */
    bool open, handed, submitted, done, failed;
    int64_t iteration;
    uint32_t micro_index;
    dukd_tensor hr;
    int64_t hr_strides[4];
    double mean[FIT_TERMS]; /* of this micro-batch */

    /* between steps */
    uint32_t next_micro;
    bool may_restart; /* the last micro-batch was given up: the step may be begun anew */
    double micro_sum[FIT_TERMS];
    bool has_losses;
    uint32_t n_losses;
    int64_t losses_iteration;
    const char *names[FIT_TERMS + 1];
    double values[FIT_TERMS + 1];
};

/* fit_session.c */
int32_t fit_create(const dukd_session_params *params, dukd_session **out, dukd_error *error);
void fit_destroy(dukd_session *s);
int32_t fit_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error);
int32_t fit_enter(const dukd_session *s, dukd_error *error); /* not NULL, not forked */
int32_t fit_cancelled(const dukd_host *host, dukd_error *error);

/* fit_plan.c: the networks, the one pass and its shapes, which the host is asked for */
int32_t fit_plan_make(dukd_session *s, dukd_error *error);
void fit_pass_build(dukd_session *s, fit_pass *p, bool in_plan);

/* fit_params.c */
void fit_params_describe(dukd_session *s);
extern const dukd_ext_params fit_ext_params;

/* fit_step.c */
int32_t fit_begin_step(dukd_session *s, const dukd_step *step, dukd_error *error);
int32_t fit_next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error);
int32_t fit_end_step(dukd_session *s, dukd_error *error);
int32_t fit_cancel_step(dukd_session *s, dukd_error *error);
int32_t fit_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error);

/* fit_submit.c */
int32_t fit_submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error);

/* fit_loss.c: both terms of all images. Gradients are written (taps) and added to (parameters), times grad_scale / micro_count;
 * s->mean becomes the terms' means. */
void fit_loss(dukd_session *s, const dukd_submit *submit);
uint64_t fit_row(const dukd_session *s); /* doubles that an image needs */

/* fit_state.c */
int32_t fit_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error);
int32_t fit_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error);

/* ---- arguments (fit_check.c) ---- */

int32_t fit_error(dukd_error *error, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The rule of struct_size: not smaller than `known`, zero past it. */
int32_t fit_check_struct(const void *object, uint32_t known, const char *name, dukd_error *error);
/* Of this shape, on the CPU, of one of the types. */
int32_t fit_check_tensor(const dukd_tensor *t, int32_t ndim, const int64_t *shape, const dukd_dtype *types,
                         int n_types, const char *name, dukd_error *error);
bool fit_overlaps(const dukd_tensor *t); /* ndim 4: two of its elements may be one */
bool fit_is_dense(const dukd_tensor *t); /* row-major, without gaps */

/* ---- elements of tensors of any strides and type (fit_tensor.c) ---- */

typedef struct {
    uint8_t *base;
    int64_t stride[4]; /* bytes */
    dukd_dtype type;
} fit_view;

extern const dukd_dtype fit_f32, fit_f16, fit_bf16;
fit_view fit_view_of(const dukd_tensor *t);
/* Of the element at this place of a view; `at` is made by fit_at. */
uint8_t *fit_at(const fit_view *v, int64_t n, int64_t c, int64_t y, int64_t x);
double fit_load(const fit_view *v, const uint8_t *at);
void fit_store(const fit_view *v, uint8_t *at, double value);

#endif
