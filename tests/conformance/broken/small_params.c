/* Extension dukd.params/1: a bias for each channel of the student's output, in the rec term. */
#include "small.h"

#include <math.h>

void small_params_describe(dukd_session *s) {
    s->bias_shape[0] = s->channels;
    s->bias_info = (dukd_param_info){.struct_size = DUKD_PARAM_INFO_SIZE,
                                     .name = BROKEN(bias_name) ? "the bias" : "bias",
                                     .shape = s->bias_shape,
                                     .ndim = 1};
    s->own_params[0] = &s->bias_info;
    s->own_list = (dukd_param_list){DUKD_PARAM_LIST_SIZE, s->config.bias ? 1 : 0, s->own_params};
}

static int32_t list(dukd_session *s, const dukd_param_list **out, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (status) return status;
    if (!out) return small_error(error, DUKD_E_ARGUMENT, "list: out is NULL");
    *out = &s->own_list;
    return DUKD_OK;
}

static int32_t check_one(const dukd_session *s, const dukd_tensor *t, const char *name, dukd_error *error) {
    if (!t || !t->data)
        return small_error(error, DUKD_E_ARGUMENT, "bind: %s has no tensor, or no data", name);
    if (t->ndim != 1 || !t->shape || (t->shape[0] != s->channels && !BROKEN(bias_any_shape)))
        return small_error(error, DUKD_E_ARGUMENT, "bind: %s is not of %lld elements", name,
                           (long long)s->channels);
    if (t->dtype.code != DUKD_TYPE_FLOAT || t->dtype.bits != 32 || t->dtype.lanes != 1)
        return small_error(error, DUKD_E_ARGUMENT, "bind: %s is not f32", name);
    if (t->strides && t->strides[0] != 1 && s->channels > 1)
        return small_error(error, DUKD_E_ARGUMENT, "bind: %s is not dense", name);
    if (t->device.device_type != DUKD_DEVICE_CPU && t->device.device_type != DUKD_DEVICE_CUDA_HOST)
        return small_error(error, DUKD_E_ARGUMENT, "bind: %s is not in memory of the CPU", name);
    return DUKD_OK;
}

static int32_t check_bind(const dukd_session *s, const dukd_param_bind *b, dukd_error *error) {
    int32_t status = small_check_struct(b, DUKD_PARAM_BIND_SIZE, "bind", error);
    if (status) return status;
    if (s->open) return small_error(error, DUKD_E_STATE, "bind comes between steps");
    if (b->flags & ~DUKD_BIND_INIT || b->pad0)
        return small_error(error, DUKD_E_ARGUMENT, "bind: unknown flags, or pad0 is not zero");
    if (b->n_params != s->own_list.n_params)
        return small_error(error, DUKD_E_ARGUMENT, "bind: n_params is %u, not %u", b->n_params,
                           s->own_list.n_params);
    if (!b->n_params) return DUKD_OK;
    if (!b->values || !b->grads) return small_error(error, DUKD_E_ARGUMENT, "bind: values or grads is NULL");
    status = check_one(s, b->values[0], "values[0]", error);
    return status ? status : check_one(s, b->grads[0], "grads[0]", error);
}

static float *data_of(const dukd_tensor *t) {
    return (float *)(void *)((uint8_t *)t->data + t->byte_offset);
}

static int32_t bind(dukd_session *s, const dukd_param_bind *b, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (!status) status = check_bind(s, b, error);
    if (status || !b->n_params) return status;
    float *values = data_of(b->values[0]);
    if (b->flags & DUKD_BIND_INIT || BROKEN(bias_always_new))
        for (int64_t c = 0; c < s->channels; c++) {
            values[c] = 0.01f * (float)(1 + (small_seed_of(s) + (uint64_t)c) % 8);
            if (BROKEN(bias_drifts)) values[c] += 0.01f * (float)s->steps;
        }
    if (BROKEN(bias_stays) && s->bias) return DUKD_OK;
    s->bias = values;
    s->bias_grad = data_of(b->grads[0]);
    return DUKD_OK;
}

void small_params_add(dukd_session *s, const dukd_submit *submit, double step) {
    const small_view value = small_view_of(submit->values[0]), hr = small_view_of(&s->hr);
    const int64_t *z = s->live[submit->pass_id].tap_shape;
    if (BROKEN(bias_unscaled)) step /= submit->grad_scale;
    if (BROKEN(bias_half) && s->micro_count == 1) step /= 2;
    if (BROKEN(bias_micro)) step *= s->micro_count;
    for (int64_t c = 0; c < z[1]; c++) {
        double sum = 0;
        for (int64_t n = 0; n < z[0]; n++)
            for (int64_t y = 0; y < z[2]; y++)
                for (int64_t x = 0; x < z[3]; x++) {
                    const double d = (double)small_load(&value, n, c, y, x) + (double)s->bias[c] -
                                     (double)small_load(&hr, n, c, y, x);
                    sum += isnan(d) ? d : d > 0 ? 1 : d < 0 ? -1 : 0;
                }
        const float was = BROKEN(bias_overwritten) && s->micro_count == 1 ? 0 : s->bias_grad[c];
        s->bias_grad[c] = (float)((double)was + step * sum);
    }
}

const dukd_ext_params small_ext_params = {.struct_size = DUKD_EXT_PARAMS_SIZE, .list = list, .bind = bind};
