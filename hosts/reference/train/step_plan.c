/* Tensors, buffers and executions for each pass of a plugin's plan. */
#include "train/step_plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "train/weights.h"

static int refuse(dukd_failure *f, uint32_t pass, const char *what) {
    return dukd_fail(f, DUKD_FAILED, "pass %u of the plugin's plan: %s", pass, what);
}

static int check_tensor(const dukd_tensor *t) {
    return t && t->ndim == 4 && t->shape && t->dtype.code == DUKD_TYPE_FLOAT && t->dtype.bits == 32 &&
           t->dtype.lanes == 1 && t->device.device_type == DUKD_DEVICE_CPU && t->shape[0] >= 1 &&
           t->shape[0] <= INT32_MAX && t->shape[2] >= 1 && t->shape[2] <= INT32_MAX && t->shape[3] >= 1 &&
           t->shape[3] <= INT32_MAX;
}

static int check_pass(const dukd_pass *p, uint32_t index, uint32_t networks, dukd_failure *f) {
    if (p->plan_index != index) return refuse(f, index, "has another plan_index");
    if (p->flags & ~DUKD_PASS_FLAGS) return refuse(f, index, "has a flag that this host does not know");
    for (uint32_t i = 0; i < p->n_inputs; i++)
        if (!check_tensor(p->inputs[i]->tensor))
            return refuse(f, index, "has an input that is no f32 tensor of 4 dimensions on the CPU");
    for (uint32_t i = 0; i < p->n_taps; i++) {
        const dukd_tap *t = p->taps[i];
        if (t->flags & ~DUKD_TAP_FLAGS)
            return refuse(f, index, "has a tap with a flag that this host does not know");
        if (t->network >= networks) return refuse(f, index, "taps a network that this host does not have");
        if (t->source_kind != DUKD_SOURCE_INPUT || t->source_id >= p->n_inputs || t->from_layer || t->layer)
            return refuse(f, index, "taps layers or derives taps, which this host does not offer");
        if (t->network != 0 && t->flags & DUKD_TAP_WANT_GRAD)
            return refuse(f, index, "wants a gradient for the teacher, which this host does not offer");
    }
    return 0;
}

/* An earlier tap of the pass that is the same network's output for the same input, or NULL. */
static const dukd_tap_slot *twin(const dukd_pass *p, const dukd_pass_slot *s, uint32_t i) {
    for (uint32_t k = 0; k < i; k++)
        if (p->taps[k]->network == p->taps[i]->network && p->taps[k]->source_id == p->taps[i]->source_id &&
            ((p->taps[k]->flags ^ p->taps[i]->flags) & DUKD_TAP_MODE_TRAIN) == 0)
            return &s->taps[k];
    return NULL;
}

static int make_tap(dukd_tap_slot *t, const dukd_pass *p, uint32_t i, const dukd_graph *g,
                    dukd_network *student, const dukd_tap_slot *same, dukd_failure *f) {
    const int64_t *in = p->inputs[p->taps[i]->source_id]->tensor->shape, *shape = t->shape;
    t->shape[0] = in[0];
    t->shape[1] = dukd_graph_op(g, dukd_graph_output(g))->channels;
    dukd_graph_size(g, dukd_graph_output(g), in[2], in[3], &t->shape[2]);
    t->value = (dukd_tensor){
        .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = {DUKD_TYPE_FLOAT, 32, 1}, .shape = t->shape};
    t->grad = t->value;
    t->ticket = -1;
    const int64_t drops = (int64_t)dukd_graph_drop_count(g) * in[0];
    if (drops > 0 && p->taps[i]->flags & DUKD_TAP_MODE_TRAIN) {
        t->drops = dukd_weights_alloc(drops);
        if (!t->drops) return dukd_fail_memory(f, "drop paths", 4ull * (unsigned long long)drops);
    }
    if (p->taps[i]->network != 0) return 0;
    const int want = (p->taps[i]->flags & DUKD_TAP_WANT_GRAD) != 0;
    const dukd_exec_spec spec = {.purpose = want ? DUKD_TRAIN : DUKD_INFER,
                                 .batch = (int32_t)in[0],
                                 .height = (int32_t)in[2],
                                 .width = (int32_t)in[3]};
    int status = dukd_network_compile(student, &spec, &t->exec, f);
    if (status || (same && same->exec == t->exec)) return status;
    t->own = dukd_weights_alloc(shape[0] * shape[1] * shape[2] * shape[3]);
    if (!t->own)
        return dukd_fail_memory(f, "the student's output",
                                4ull * (unsigned long long)(shape[0] * shape[1] * shape[2] * shape[3]));
    t->value.data = t->own;
    return 0;
}

/* Gradients of a pass lie one after the other in a buffer that all passes share. Returns the elements needed. */
static int64_t place_gradients(dukd_pass_slot *s, const dukd_pass *p, float *base) {
    int64_t used = 0;
    for (uint32_t i = 0; i < p->n_taps; i++) {
        dukd_tap_slot *t = &s->taps[i];
        if (!(p->taps[i]->flags & DUKD_TAP_WANT_GRAD)) continue;
        if (base) {
            t->grad.data = base + used;
            s->grads[i] = &t->grad;
        }
        used += t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
    }
    return used;
}

static int make_pass(dukd_pass_slot *s, const dukd_pass *p, const dukd_graph *const *networks,
                     dukd_network *student, dukd_failure *f) {
    s->taps = calloc((size_t)p->n_taps + 1, sizeof *s->taps);
    s->values = calloc((size_t)p->n_taps + 1, sizeof *s->values);
    s->grads = calloc((size_t)p->n_taps + 1, sizeof *s->grads);
    if (!s->taps || !s->values || !s->grads)
        return dukd_fail_memory(f, "the passes", ((unsigned long long)p->n_taps + 1) * sizeof *s->taps);
    int status = 0;
    for (uint32_t i = 0; i < p->n_taps && !status; i++) {
        status = make_tap(&s->taps[i], p, i, networks[p->taps[i]->network], student, twin(p, s, i), f);
        s->values[i] = &s->taps[i].value;
    }
    return status;
}

int dukd_step_plan_create(dukd_step_plan *out, const dukd_plan *plan, const dukd_graph *const *networks,
                          uint32_t network_count, dukd_network *student, dukd_failure *f) {
    *out = (dukd_step_plan){.plan = plan};
    int status = 0;
    int64_t room = 0;
    out->passes = calloc((size_t)plan->n_passes + 1, sizeof *out->passes);
    if (!out->passes) return dukd_fail_memory(f, "the passes", plan->n_passes * sizeof *out->passes);
    for (uint32_t i = 0; i < plan->n_passes && !status; i++) {
        status = check_pass(plan->passes[i], i, network_count, f);
        if (!status) status = make_pass(&out->passes[i], plan->passes[i], networks, student, f);
        if (status) break;
        int64_t need = place_gradients(&out->passes[i], plan->passes[i], NULL);
        if (need > room) room = need;
    }
    if (!status) {
        out->gradients = dukd_weights_alloc(room + 1);
        if (!out->gradients) status = dukd_fail_memory(f, "gradients", 4 * (unsigned long long)room);
    }
    for (uint32_t i = 0; i < plan->n_passes && !status; i++)
        place_gradients(&out->passes[i], plan->passes[i], out->gradients);
    if (status) dukd_step_plan_free(out);
    return status;
}

void dukd_step_plan_free(dukd_step_plan *p) {
    for (uint32_t i = 0; p->passes && i < p->plan->n_passes; i++) {
        dukd_pass_slot *s = &p->passes[i];
        for (uint32_t k = 0; s->taps && k < p->plan->passes[i]->n_taps; k++) {
            free(s->taps[k].own);
            free(s->taps[k].drops);
        }
        free(s->taps);
        free((void *)s->values);
        free((void *)s->grads);
    }
    free(p->passes);
    free(p->gradients);
    *p = (dukd_step_plan){0};
}

int dukd_step_plan_check(const dukd_step_plan *p, const dukd_pass *pass, dukd_failure *f) {
    if (pass->plan_index >= p->plan->n_passes)
        return dukd_fail(f, DUKD_FAILED, "the plugin hands out pass %u of a plan of %u", pass->plan_index,
                         p->plan->n_passes);
    const dukd_pass *plan = p->plan->passes[pass->plan_index];
    int same =
        !(pass->flags & ~DUKD_PASS_FLAGS) && plan->n_inputs == pass->n_inputs && plan->n_taps == pass->n_taps;
    for (uint32_t i = 0; same && i < pass->n_inputs; i++) {
        const dukd_tensor *t = pass->inputs[i]->tensor;
        same = check_tensor(t) && t->data &&
               memcmp(t->shape, plan->inputs[i]->tensor->shape, 4 * sizeof *t->shape) == 0;
    }
    for (uint32_t i = 0; same && i < pass->n_taps; i++) {
        const dukd_tap *a = pass->taps[i], *b = plan->taps[i];
        same = a->network == b->network && a->flags == b->flags && a->source_kind == b->source_kind &&
               a->source_id == b->source_id && !a->from_layer && !a->layer;
    }
    return same ? 0
                : dukd_fail(f, DUKD_FAILED, "pass %u is not as the plugin's plan announced it",
                            pass->plan_index);
}
