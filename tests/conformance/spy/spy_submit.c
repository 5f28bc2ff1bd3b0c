/* submit_pass: what the host gives is looked at, its projection noted, and a gradient written that does not depend on it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spy.h"

void spy_look_at_struct(const char *rule, const char *name, const void *p, uint32_t size) {
    uint32_t has;
    memcpy(&has, p, sizeof has);
    if (has < size)
        spy_wrong(rule, "%s: struct_size is %u, of this draft are %u", name, has, size);
    else if (!spy_is_zero((const uint8_t *)p + size, has - size))
        spy_wrong(rule, "%s: its unknown tail is not zero", name);
}

/* ---- is it what was asked for? ---- */

/* First and last byte of the elements. */
static void extent(const dukd_tensor *t, const uint8_t **first, const uint8_t **last) {
    const uint8_t *at = (const uint8_t *)t->data + t->byte_offset, *end = at;
    int64_t dense = 1;
    for (int d = 3; d >= 0; d--) {
        const int64_t stride = (t->strides ? t->strides[d] : dense) * (t->dtype.bits / 8);
        dense *= t->shape[d];
        if (stride < 0)
            at += stride * (t->shape[d] - 1);
        else
            end += stride * (t->shape[d] - 1);
    }
    *first = at;
    *last = end + t->dtype.bits / 8 - 1;
}

static int overlap(const dukd_tensor *a, const dukd_tensor *b) {
    const uint8_t *a0, *a1, *b0, *b1;
    extent(a, &a0, &a1);
    extent(b, &b0, &b1);
    return a0 <= b1 && b0 <= a1;
}

/* Whether the tensor can be read at all. */
static int is_tensor(const char *name, uint32_t i, const dukd_tensor *t, const int64_t shape[4]) {
    if (!t || !t->data) {
        spy_wrong("values", "%s[%u] is NULL", name, i);
        return 0;
    }
    if (t->ndim != 4 || !t->shape || memcmp(t->shape, shape, 4 * sizeof *shape) != 0) {
        spy_wrong("values", "%s[%u] has another shape than tap_shape gave", name, i);
        return 0;
    }
    if (!toy_same_type(t->dtype, toy_f32) && !toy_same_type(t->dtype, toy_f16) &&
        !toy_same_type(t->dtype, toy_bf16)) {
        spy_wrong("values", "%s[%u] is neither f32 nor f16 nor bf16", name, i);
        return 0;
    }
    if (t->device.device_type != DUKD_DEVICE_CPU && t->device.device_type != DUKD_DEVICE_CUDA_HOST) {
        spy_wrong("values", "%s[%u] is not on the session's device", name, i);
        return 0;
    }
    return 1;
}

static int is_submit(const dukd_session *s, const spy_live *l, const dukd_submit *m) {
    int good = 1;
    spy_look_at_struct("values", "submit", m, DUKD_SUBMIT_SIZE);
    if (m->pad0) spy_wrong("values", "submit: pad0 is not zero");
    if (m->n_taps != l->pass.n_taps || !m->values || !m->grads) {
        spy_wrong("values", "submit: %u taps of %u, or a NULL list", m->n_taps, l->pass.n_taps);
        return 0;
    }
    if (!isfinite(m->grad_scale) || m->grad_scale == 0 ||
        (m->grad_scale != 1 && !(s->flags & DUKD_SESSION_LOSS_SCALE)) || m->grad_scale_dev)
        spy_wrong("values", "submit: grad_scale is %g%s", m->grad_scale,
                  m->grad_scale_dev ? ", and there is grad_scale_dev" : "");
    for (uint32_t i = 0; i < m->n_taps; i++) {
        const int wanted = (l->tap[i].flags & DUKD_TAP_WANT_GRAD) != 0;
        if (!is_tensor("values", i, m->values[i], l->shape[i])) good = 0;
        if (wanted != (m->grads[i] != NULL)) {
            spy_wrong("values", "grads[%u] is %s, its tap wants %s", i, m->grads[i] ? "there" : "NULL",
                      wanted ? "one" : "none");
            good = good && !wanted;
        } else if (wanted && !is_tensor("grads", i, m->grads[i], l->shape[i])) {
            good = 0;
        }
    }
    for (uint32_t i = 0; i < m->n_taps && good; i++)
        for (uint32_t k = 0; k < m->n_taps && m->grads[i]; k++)
            if (overlap(m->grads[i], m->values[k]) ||
                (k < i && m->grads[k] && overlap(m->grads[i], m->grads[k])))
                spy_wrong("values", "grads[%u] overlaps values[%u] or grads[%u]", i, k, k);
    return good;
}

/* ---- what there is to note ---- */

/* The loss of one tap: its mean under the pattern. */
static double look_at_value(const dukd_session *s, const spy_live *l, uint32_t i, const dukd_tensor *t) {
    const int64_t *z = l->shape[i], each = z[1] * z[2] * z[3];
    char images[1024] = "";
    double sum = 0, square = 0, used = 0;
    float *values = toy_values(t);
    uint64_t hash = 0;
    if (!values) return 0;
    toy_hash_tensor(&hash, t);
    for (int64_t n = 0; n < z[0]; n++) {
        double own = 0;
        for (int64_t e = 0; e < each; e++) {
            const double v = (double)values[n * each + e];
            sum += v * spy_pattern((int64_t)s->micro * z[0] + n, e, z);
            own += v * spy_pattern(0, e, z); /* the same for each image, so that images can change places */
            square += v * v;
        }
        if (used < 900) used += snprintf(images + (int)used, 64, "%s%.9g", n ? ", " : "", own / (double)each);
    }
    const double count = (double)(z[0] * each);
    spy_note(
        "{\"call\": \"tap\", \"iteration\": %lld, \"micro\": %u, \"pass\": %u, \"tap\": %u, \"dot\": %.17g, "
        "\"size\": %.9g, \"finite\": %d, \"hash\": \"%016llx\", \"images\": [%s]}",
        (long long)s->iteration, s->micro, l->pass.id, i, isfinite(sum) ? sum / count : 0,
        isfinite(square) ? sqrt(square / count) : 0, isfinite(square), (unsigned long long)hash, images);
    free(values);
    return sum / count;
}

static int write_gradient(const dukd_session *s, const spy_live *l, uint32_t i, const dukd_submit *m) {
    const int64_t *z = l->shape[i], each = z[1] * z[2] * z[3];
    float *g = malloc((uint64_t)(z[0] * each) * sizeof *g);
    if (!g) return -1;
    const double factor = s->scenario.plan[l->pass.plan_index].taps[i].coefficient * spy_scale() *
                          m->grad_scale / (double)(z[0] * each) / (double)s->micro_count;
    for (int64_t n = 0; n < z[0]; n++)
        for (int64_t e = 0; e < each; e++)
            g[n * each + e] = (float)(factor * spy_pattern((int64_t)s->micro * z[0] + n, e, z));
    toy_write(m->grads[i], g);
    free(g);
    return 0;
}

static void keep(spy_live *l, uint32_t i, const dukd_tensor *t) {
    l->kept[i].tensor = *t;
    memcpy(l->kept[i].shape, t->shape, sizeof l->kept[i].shape);
    l->kept[i].tensor.shape = l->kept[i].shape;
    if (t->strides) {
        memcpy(l->kept[i].strides, t->strides, sizeof l->kept[i].strides);
        l->kept[i].tensor.strides = l->kept[i].strides;
    }
    l->kept[i].hash = 0;
    toy_hash_tensor(&l->kept[i].hash, t);
}

void spy_look_at_kept(const dukd_session *s) {
    for (uint32_t p = 0; p < s->handed; p++)
        for (uint32_t i = 0; i < s->live[p]->pass.n_taps; i++) {
            uint64_t hash = 0;
            if (!(s->live[p]->tap[i].flags & DUKD_TAP_KEEP) || !s->live[p]->submitted) continue;
            toy_hash_tensor(&hash, &s->live[p]->kept[i].tensor);
            if (hash != s->live[p]->kept[i].hash)
                spy_wrong("keep", "tap %u of pass %u, which was to be kept, has changed by end_step", i, p);
        }
}

static int32_t look_at_pass(dukd_session *s, spy_live *l, const dukd_submit *m, dukd_error *error) {
    if (!is_submit(s, l, m))
        return spy_error(error, DUKD_E_ARGUMENT, "the spy cannot use what was submitted");
    for (uint32_t i = 0; i < m->n_taps; i++) {
        const spy_tap *t = &s->scenario.plan[l->pass.plan_index].taps[i];
        const double mean = look_at_value(s, l, i, m->values[i]);
        s->loss += t->coefficient * mean / (double)s->micro_count;
        if (t->flags & DUKD_TAP_KEEP) keep(l, i, m->values[i]);
    }
    for (uint32_t i = 0; i < m->n_taps; i++)
        if (l->tap[i].flags & DUKD_TAP_WANT_GRAD && write_gradient(s, l, i, m))
            return spy_error(error, DUKD_E_MEMORY, "no memory");
    spy_submit_own(s, l, m->grad_scale);
    return DUKD_OK;
}

int32_t spy_submit_pass(dukd_session *s, const dukd_submit *m, dukd_error *error) {
    int32_t code = spy_enter(s, "submit_pass", error);
    if (code) return code;
    if (!m || !s->in_step || m->pass_id >= s->handed || s->live[m->pass_id]->submitted) {
        spy_wrong("order", !m                        ? "submit_pass(NULL)"
                           : !s->in_step             ? "submit_pass, but there is no step"
                           : m->pass_id >= s->handed ? "submit_pass of a pass that was not handed out"
                                                     : "submit_pass of a pass that was submitted before");
        code = spy_error(error, DUKD_E_STATE, "submit_pass does not come now");
    } else {
        spy_live *l = s->live[m->pass_id];
        spy_note(
            "{\"call\": \"submit_pass\", \"iteration\": %lld, \"micro\": %u, \"pass\": %u, \"plan\": %u}",
            (long long)s->iteration, s->micro, m->pass_id, l->pass.plan_index);
        code = look_at_pass(s, l, m, error);
        l->submitted = code == DUKD_OK;
    }
    spy_leave(s);
    return code;
}
