/* Extension dukd.params/1: the projection's weight and bias. The host keeps their memory and trains them. */
#include "fitnets.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Names and shapes; after the shapes of the taps are known. */
void fit_params_describe(dukd_session *s) {
    if (s->config.term[FIT_HINT]) {
        s->weight_shape[0] = s->bias_shape[0] = s->tap_shape[s->target][1];
        s->weight_shape[1] = s->tap_shape[s->hint][1];
        s->weight_shape[2] = s->weight_shape[3] = 1;
        s->list.n_params = FIT_PARAMS;
    }
    s->param[FIT_WEIGHT] = (dukd_param_info){.struct_size = DUKD_PARAM_INFO_SIZE,
                                             .name = "projection.weight",
                                             .shape = s->weight_shape,
                                             .ndim = 4};
    s->param[FIT_BIAS] = (dukd_param_info){
        .struct_size = DUKD_PARAM_INFO_SIZE, .name = "projection.bias", .shape = s->bias_shape, .ndim = 1};
    for (int i = 0; i < FIT_PARAMS; i++) s->params[i] = &s->param[i];
    s->list.struct_size = DUKD_PARAM_LIST_SIZE;
    s->list.params = s->params;
}

static int32_t list(dukd_session *s, const dukd_param_list **out, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (status) return status;
    if (!out) return fit_error(error, DUKD_E_ARGUMENT, "list: out is NULL");
    *out = &s->list;
    return DUKD_OK;
}

/* ---- the first values ---- */

/* The finalizer of splitmix64: near numbers become far ones. */
static uint64_t mix(uint64_t z) {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform within +-bound: a pure function of seed, parameter and place. */
static void draw(uint64_t seed, uint64_t parameter, double bound, float *out, int64_t n) {
    const uint64_t key = mix(mix(seed) + parameter);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(bound * ((double)(mix(key + (uint64_t)i) >> 11) * 0x1p-52 - 1));
}

/* As torch.nn.Conv2d begins: within one over the root of the number of inputs. */
static void initialise(const dukd_session *s, float *weight, float *bias) {
    const int64_t outputs = s->weight_shape[0], inputs = s->weight_shape[1];
    const double bound = 1 / sqrt((double)inputs);
    draw(s->seed, FIT_WEIGHT, bound, weight, outputs * inputs);
    draw(s->seed, FIT_BIAS, bound, bias, outputs);
}

/* ---- bind ---- */

static int32_t check_one(const dukd_session *s, const dukd_tensor *t, int i, const char *which,
                         dukd_error *error) {
    char name[32];
    snprintf(name, sizeof name, "bind: %s[%d]", which, i);
    const dukd_param_info *p = &s->param[i];
    int32_t status = fit_check_tensor(t, (int32_t)p->ndim, p->shape, &fit_f32, 1, name, error);
    if (!status && !fit_is_dense(t))
        status = fit_error(error, DUKD_E_ARGUMENT, "%s: its strides are not dense, row-major", name);
    return status;
}

static int32_t check_bind(const dukd_session *s, const dukd_param_bind *b, dukd_error *error) {
    int32_t status = fit_check_struct(b, DUKD_PARAM_BIND_SIZE, "bind", error);
    if (status) return status;
    if (s->open) return fit_error(error, DUKD_E_STATE, "bind comes between steps");
    if (b->flags & ~DUKD_BIND_INIT)
        return fit_error(error, DUKD_E_ARGUMENT, "bind: unknown flags 0x%x", b->flags);
    if (b->n_params != s->list.n_params)
        return fit_error(error, DUKD_E_ARGUMENT, "bind: n_params is %u, not %u", b->n_params,
                         s->list.n_params);
    if (b->pad0) return fit_error(error, DUKD_E_ARGUMENT, "bind: pad0 is not zero");
    if (!b->n_params) return DUKD_OK;
    if (!b->values) return fit_error(error, DUKD_E_ARGUMENT, "bind: values is NULL");
    if (!b->grads) return fit_error(error, DUKD_E_ARGUMENT, "bind: grads is NULL");
    for (int i = 0; i < FIT_PARAMS && !status; i++) {
        status = check_one(s, b->values[i], i, "values", error);
        if (!status) status = check_one(s, b->grads[i], i, "grads", error);
    }
    return status;
}

static float *data_of(const dukd_tensor *t) {
    return (float *)(void *)((uint8_t *)t->data + t->byte_offset);
}

static int32_t bind(dukd_session *s, const dukd_param_bind *b, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (!status) status = check_bind(s, b, error);
    if (status || !b->n_params) return status;
    float *weight = data_of(b->values[FIT_WEIGHT]), *bias = data_of(b->values[FIT_BIAS]);
    s->projection =
        (fit_projection){weight, bias, data_of(b->grads[FIT_WEIGHT]), data_of(b->grads[FIT_BIAS])};
    if (b->flags & DUKD_BIND_INIT) initialise(s, weight, bias);
    s->bound = true;
    return DUKD_OK;
}

const dukd_ext_params fit_ext_params = {.struct_size = DUKD_EXT_PARAMS_SIZE, .list = list, .bind = bind};
