/* The smallest host that can drive a session: networks that are formulas, tensors in plain memory, no weights.
 *
 * A network's output is its input enlarged by repeating pixels, times a gain, plus a pattern that depends on the network and
 * the element; a layer's output is a pattern of 8 channels at the input's size. Nothing here can fail but memory. */
#ifndef TOY_HOST_H
#define TOY_HOST_H

#include "conform.h"

enum { TOY_STUDENT, TOY_TEACHER, TOY_FEATURES, TOY_NETWORKS, TOY_MAX_PASSES = 16, TOY_MAX_TAPS = 8 };

typedef enum { TOY_DENSE, TOY_CHANNELS_LAST, TOY_PADDED } toy_layout;

/* A tensor with its shape, strides and memory. Memory is followed and preceded by canaries. */
typedef struct {
    dukd_tensor t;
    int64_t shape[4], strides[4];
    uint64_t bytes;
    uint8_t *memory; /* with the canaries */
} toy_tensor;

typedef struct {
    dukd_host host;
    int64_t n, channels, height, width; /* of LR */
    int32_t scale;
    toy_tensor lr, hr;
    uint32_t threads;   /* 0: parallel_for is not offered */
    int64_t allocated;  /* bytes that the plugin holds through alloc */
    int64_t fail_after; /* the n-th allocation from now fails; -1: none */
} toy_host;

/* What a step gave, for comparison. */
typedef struct {
    int32_t passes;
    uint64_t inputs_hash; /* over all inputs' bits, shapes and origins */
    uint64_t grads_hash;  /* over all gradients' values in N, C, H, W order */
    uint64_t flags_hash;
    double total; /* l_total */
    int32_t optimizer_steps, zeroed, averaged, wanted;
    double dot;  /* sum over all gradients of gradient * direction */
    double norm; /* sum of |gradient| */
    int32_t canaries_broken, not_written, not_finite;
} toy_result;

/* How a step is run; zero is the plain way. */
typedef struct {
    int64_t iteration, first_sample;
    uint32_t micro_index, micro_count; /* 0: 1 */
    toy_layout layout;                 /* of values and gradients */
    double step_along; /* added to every value that wants a gradient, times a direction of +-1 per element */
    double grad_scale; /* 0: 1 */
    int32_t nan_value; /* 1: the first element of the first value that wants a gradient is NaN */
    int32_t bf16_values; /* 1: values are bf16, gradients f32 */
    int32_t leave_open;  /* 1: the step is given up by cancel_step in the middle */
} toy_run;

int toy_host_open(toy_host *h, int64_t n, int64_t height, int64_t width, int32_t scale);
void toy_host_close(toy_host *h);
dukd_session_params toy_params(const toy_host *h, const conform *c);
/* A whole step. 0, or a message in c->why. */
int toy_step(conform *c, toy_host *h, dukd_session *s, const toy_run *run, toy_result *out);

int toy_tensor_make(toy_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w, dukd_dtype type,
                    toy_layout layout);
void toy_tensor_free(toy_tensor *t);
float toy_get(const dukd_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w);
void toy_put(const toy_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w, float value);

extern const dukd_dtype toy_f32, toy_bf16;

#endif
