/* Parameters of the spy's own, where it was told to have some ("params"): what the host does with them is followed from call to
 * call. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "spy.h"

static const int64_t shape[2] = {2, 3};
static const dukd_param_info infos[SPY_PARAMS] = {
    {.struct_size = DUKD_PARAM_INFO_SIZE, .name = "own.values", .shape = shape, .ndim = 2},
    {.struct_size = DUKD_PARAM_INFO_SIZE, .name = "own.factor"}};
static const dukd_param_info *const info_list[SPY_PARAMS] = {&infos[0], &infos[1]};
static const dukd_param_list some = {
    .struct_size = DUKD_PARAM_LIST_SIZE, .n_params = SPY_PARAMS, .params = info_list};
static const dukd_param_list none = {.struct_size = DUKD_PARAM_LIST_SIZE, .params = info_list};

static int64_t count_of(uint32_t i) {
    return i == 0 ? shape[0] * shape[1] : 1;
}

static int32_t list(dukd_session *s, const dukd_param_list **out, dukd_error *error) {
    int32_t code = spy_enter(s, "list", error);
    if (code) return code;
    if (out) *out = spy_told("params") ? &some : &none;
    spy_leave(s);
    return out ? DUKD_OK : spy_error(error, DUKD_E_ARGUMENT, "list(NULL)");
}

/* ---- bind ---- */

static int is_param(const char *which, uint32_t i, const dukd_tensor *t) {
    int64_t dense = 1;
    int good = t && t->data && t->ndim == (int32_t)infos[i].ndim && (!t->ndim || t->shape);
    for (int32_t d = good ? t->ndim - 1 : -1; d >= 0; d--) {
        good &= t->shape[d] == infos[i].shape[d] && (!t->strides || t->strides[d] == dense);
        dense *= infos[i].shape[d];
    }
    good = good && toy_same_type(t->dtype, toy_f32) &&
           (t->device.device_type == DUKD_DEVICE_CPU || t->device.device_type == DUKD_DEVICE_CUDA_HOST);
    if (!good)
        spy_wrong("own-bound", "bind: %s[%u] is not the dense f32 tensor of %s on the session's device",
                  which, i, infos[i].name);
    return good;
}

static int take(float *to[SPY_PARAMS], const char *which, const dukd_tensor *const *tensors) {
    int good = tensors != NULL;
    if (!good) spy_wrong("own-bound", "bind: %s is NULL", which);
    for (uint32_t i = 0; i < SPY_PARAMS && good; i++) {
        good = is_param(which, i, tensors[i]);
        if (good) to[i] = (float *)(void *)((uint8_t *)tensors[i]->data + tensors[i]->byte_offset);
    }
    return good;
}

static int32_t bind(dukd_session *s, const dukd_param_bind *b, dukd_error *error) {
    int32_t code = spy_enter(s, "bind", error);
    if (code) return code;
    const uint32_t n = spy_told("params") ? SPY_PARAMS : 0;
    spy_own own = s->own;
    if (b) spy_look_at_struct("own-bound", "bind", b, DUKD_PARAM_BIND_SIZE);
    if (!b || s->in_step || b->n_params != n || b->flags & ~DUKD_BIND_INIT || b->pad0 || b->stream) {
        spy_wrong("own-bound", "bind in a step, or with another n_params, flags, pad0 or stream");
        code = spy_error(error, DUKD_E_ARGUMENT, "bind: not now, or not so");
    } else if (n && (!take(own.values, "values", b->values) || !take(own.grads, "grads", b->grads))) {
        code = spy_error(error, DUKD_E_ARGUMENT, "bind: the spy cannot use these tensors");
    } else {
        spy_note("{\"call\": \"bind\", \"init\": %u}", b->flags & DUKD_BIND_INIT);
        own.bound = 1;
        own.known = 0;
        s->own = own;
        for (uint32_t i = 0; i < n && b->flags & DUKD_BIND_INIT; i++)
            for (int64_t k = 0; k < count_of(i); k++) own.values[i][k] = (float)(0.5 + 0.1 * (double)(i + k));
    }
    spy_leave(s);
    return code;
}

const dukd_ext_params spy_ext_params = {.struct_size = DUKD_EXT_PARAMS_SIZE, .list = list, .bind = bind};

/* ---- following them ---- */

static void read_all(float *const from[SPY_PARAMS], double out[SPY_OWN]) {
    int at = 0;
    for (uint32_t i = 0; i < SPY_PARAMS; i++)
        for (int64_t k = 0; k < count_of(i); k++) out[at++] = (double)from[i][k];
}

static void note(const dukd_session *s, const char *call, uint32_t pass, const double values[SPY_OWN]) {
    char text[256] = "";
    int used = 0;
    for (int k = 0; k < SPY_OWN; k++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%.9g", k ? ", " : "",
                         isfinite(values[k]) ? values[k] : 0);
    spy_note("{\"call\": \"%s\", \"iteration\": %lld, \"micro\": %u, \"pass\": %u, \"images\": [%s]}", call,
             (long long)s->iteration, s->micro, pass, text);
}

void spy_look_at_own(dukd_session *s) {
    spy_own *o = &s->own;
    double now[SPY_OWN], moved = 0, downhill = 0, gradient = 0;
    if (!o->bound || !spy_told("params")) return;
    read_all(o->values, now);
    for (int k = 0; k < SPY_OWN && o->known; k++) {
        moved += fabs(now[k] - o->value[k]);
        downhill -= (now[k] - o->value[k]) * o->gradient[k];
        gradient += fabs(o->gradient[k]);
    }
    if (o->known && !o->optimized && moved > 0)
        spy_wrong("own-optimizes", "values of the plugin's parameters have moved without OPTIMIZE_AFTER");
    if (o->known && o->optimized && gradient > 0 && !(downhill > 0))
        spy_wrong("own-optimizes", "OPTIMIZE_AFTER has moved the plugin's parameters %s",
                  moved > 0 ? "uphill" : "nowhere");
    memcpy(o->value, now, sizeof now);
    o->optimized = 0;
}

/* Before a pass's own gradients are added, and that. */
void spy_submit_own(dukd_session *s, const spy_live *l, double grad_scale) {
    spy_own *o = &s->own;
    double was[SPY_OWN];
    int at = 0, differs = 0, left = 0;
    double coefficient = 0;
    if (!o->bound || !spy_told("params")) return;
    spy_look_at_own(s);
    read_all(o->grads, was);
    for (int k = 0; k < SPY_OWN; k++) {
        left |= was[k] != 0;
        differs |= was[k] != o->gradient[k];
    }
    if (l->pass.flags & DUKD_PASS_ZERO_GRAD_BEFORE && left)
        spy_wrong("own-clears",
                  "ZERO_GRAD_BEFORE: gradients of the plugin's parameters are not zero in submit_pass");
    if (!(l->pass.flags & DUKD_PASS_ZERO_GRAD_BEFORE) && o->known && differs)
        spy_wrong("own-accumulates",
                  "gradients of the plugin's parameters are not what the pass before has left");
    note(s, "own_values", l->pass.id, o->value);
    const spy_pass *p = &s->scenario.plan[l->pass.plan_index];
    for (uint32_t i = 0; i < p->n_taps; i++) coefficient += p->taps[i].coefficient;
    if (!(l->pass.flags & DUKD_PASS_BACKWARD)) coefficient = 0;
    for (uint32_t i = 0; i < SPY_PARAMS; i++)
        for (int64_t k = 0; k < count_of(i); k++, at++)
            o->grads[i][k] +=
                (float)(coefficient * grad_scale / s->micro_count * (at % 2 ? -0.1 : 0.1) * (at + 1));
    read_all(o->grads, o->gradient);
    o->known = 1;
    o->optimized = (l->pass.flags & DUKD_PASS_OPTIMIZE_AFTER) != 0;
    note(s, "own_grads", l->pass.id, o->gradient);
}
