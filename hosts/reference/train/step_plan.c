/* Tensors, buffers and executions for each pass of a plugin's plan. */
#include "train/step_plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "train/weights.h"

static int refuse(dukd_failure *f, uint32_t pass, const char *what) {
    return dukd_fail(f, DUKD_FAILED, "pass %u of the plugin's plan: %s", pass, what);
}

static int check_tensor(const dukd_tensor *t, const dukd_engine_place *place) {
    return t && t->ndim == 4 && t->shape && t->dtype.code == DUKD_TYPE_FLOAT && t->dtype.bits == 32 &&
           t->dtype.lanes == 1 && t->device.device_type == place->device_type &&
           t->device.device_id == place->device_id && t->shape[0] >= 1 && t->shape[0] <= INT32_MAX &&
           t->shape[2] >= 1 && t->shape[2] <= INT32_MAX && t->shape[3] >= 1 && t->shape[3] <= INT32_MAX;
}

/* A tap that is there, and whose source comes before it. */
static int check_tap(const dukd_pass *p, uint32_t index, uint32_t i, const dukd_host_networks *networks,
                     dukd_failure *f) {
    const dukd_tap *t = p->taps[i];
    dukd_failure why = {0};
    if (t->flags & ~DUKD_TAP_FLAGS)
        return refuse(f, index, "has a tap with a flag that this host does not know");
    if (t->network >= networks->count) return refuse(f, index, "taps a network that this host does not have");
    if (t->source_kind > DUKD_SOURCE_TAP || t->source_id >= (t->source_kind ? i : p->n_inputs))
        return refuse(f, index, "has a tap whose source is neither an input nor an earlier tap");
    return dukd_host_tap_value(networks, t, &why) < 0 ? refuse(f, index, why.message) : 0;
}

static int check_pass(const dukd_pass *p, uint32_t index, const dukd_engine_place *place,
                      const dukd_host_networks *networks, dukd_failure *f) {
    if (p->plan_index != index) return refuse(f, index, "has another plan_index");
    if (p->flags & ~DUKD_PASS_FLAGS) return refuse(f, index, "has a flag that this host does not know");
    for (uint32_t i = 0; i < p->n_inputs; i++)
        if (!check_tensor(p->inputs[i]->tensor, place))
            return refuse(f, index,
                          place->on_host ? "has an input that is no f32 tensor of 4 dimensions on the CPU"
                                         : "has an input that is no f32 tensor of 4 dimensions on the "
                                           "engine's device");
    int status = 0;
    for (uint32_t i = 0; i < p->n_taps && !status; i++) status = check_tap(p, index, i, networks, f);
    return status;
}

int dukd_plan_trains(const dukd_plan *plan, uint32_t network) {
    for (uint32_t p = 0; p < plan->n_passes; p++)
        for (uint32_t i = 0; i < plan->passes[p]->n_taps; i++) {
            const dukd_tap *t = plan->passes[p]->taps[i];
            if (t->network == network && t->source_kind == DUKD_SOURCE_INPUT && t->flags & DUKD_TAP_WANT_GRAD)
                return 1;
        }
    return network == 0;
}

/* ---------------------------------------------------------------- groups */

/* The group that a tap belongs to: a new one where it is the first. */
static dukd_tap_group *group_of(dukd_pass_slot *s, const dukd_tap *t, uint32_t i) {
    const uint32_t mode = t->flags & DUKD_TAP_MODE_TRAIN;
    for (int32_t k = 0; k < s->group_count; k++) {
        dukd_tap_group *g = &s->groups[k];
        if (g->network == t->network && g->source_kind == t->source_kind && g->source_id == t->source_id &&
            g->mode == mode)
            return g;
    }
    dukd_tap_group *g = &s->groups[s->group_count++];
    *g = (dukd_tap_group){.network = t->network,
                          .source_kind = t->source_kind,
                          .source_id = t->source_id,
                          .mode = mode,
                          .first = i,
                          .ticket = -1};
    return g;
}

static int join_group(dukd_pass_slot *s, const dukd_pass *p, uint32_t i, dukd_value value, dukd_failure *f) {
    const dukd_tap *t = p->taps[i];
    dukd_tap_group *g = group_of(s, t, i);
    if (!g->outputs) { /* a tap adds one output at most */
        g->outputs = malloc((p->n_taps - i) * sizeof *g->outputs);
        g->values = calloc(p->n_taps - i, sizeof *g->values);
        g->d_outputs = calloc(p->n_taps - i, sizeof *g->d_outputs);
        if (!g->outputs || !g->values || !g->d_outputs)
            return dukd_fail_memory(f, "the passes", p->n_taps * sizeof *g->outputs);
    }
    int32_t k = 0;
    while (k < g->output_count && g->outputs[k] != value) k++;
    if (k == g->output_count) g->outputs[g->output_count++] = value;
    if (t->flags & DUKD_TAP_WANT_GRAD) g->wants = 1;
    s->taps[i].group = (int32_t)(g - s->groups);
    s->taps[i].output = k;
    return 0;
}

int64_t dukd_shape_elements(const int64_t shape[4]) {
    return shape[0] * shape[1] * shape[2] * shape[3];
}

/* Shapes, and which taps are computed together. */
static int make_tap(dukd_pass_slot *s, const dukd_pass *p, uint32_t i, const dukd_engine_place *place,
                    const dukd_host_networks *networks, dukd_failure *f) {
    const dukd_tap *tap = p->taps[i];
    dukd_tap_slot *t = &s->taps[i];
    dukd_failure why = {0};
    const int64_t *in = tap->source_kind == DUKD_SOURCE_TAP ? s->taps[tap->source_id].shape
                                                            : p->inputs[tap->source_id]->tensor->shape;
    int status = dukd_host_tap_shape(networks, tap, in, t->shape, &why);
    if (status) /* sizes are for the user to change, whoever asked for them */
        return dukd_fail(f, status, "pass %u of the plugin's plan: %s", p->plan_index, why.message);
    int64_t count = 1;
    for (int d = 0; d < 4; d++)
        if (!dukd_checked_mul(count, t->shape[d], &count))
            return refuse(f, p->plan_index, "a tap is too large");
    t->value = (dukd_tensor){.device = {place->device_type, place->device_id},
                             .ndim = 4,
                             .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                             .shape = t->shape};
    t->grad = t->value;
    s->values[i] = &t->value;
    status = join_group(s, p, i, dukd_host_tap_value(networks, tap, f), f);
    memcpy(s->groups[t->group].in_shape, in, sizeof s->groups[t->group].in_shape);
    return status;
}

/* Memory and execution of a group whose taps are all known. */
static int make_group(dukd_pass_slot *s, dukd_tap_group *g, dukd_engine *e, const dukd_graph *graph,
                      dukd_network *network, uint32_t n_taps, dukd_failure *f) {
    const int64_t *in = g->in_shape, drops = (int64_t)dukd_graph_drop_count(graph) * in[0];
    int status = 0;
    if (drops > 0 && g->mode) status = dukd_mirror_create(&g->drops, e, drops, "drop paths", f);
    g->asked = g->network != 0 && g->source_kind == DUKD_SOURCE_INPUT && !g->wants;
    if (status || g->asked) return status;
    const dukd_exec_spec spec = {.purpose = g->wants ? DUKD_TRAIN : DUKD_INFER,
                                 .batch = (int32_t)in[0],
                                 .height = (int32_t)in[2],
                                 .width = (int32_t)in[3],
                                 .output_count = g->output_count,
                                 .outputs = g->outputs};
    status = dukd_network_compile(network, &spec, &g->exec, f);
    for (uint32_t i = 0; i < n_taps && !status; i++) {
        dukd_tap_slot *t = &s->taps[i];
        if (&s->groups[t->group] != g) continue;
        float **value = &g->values[t->output];
        if (!*value) status = dukd_weights_room(e, dukd_shape_elements(t->shape), "a tap", value, f);
        t->value.data = *value;
    }
    return status;
}

/* Does the gradient of a group's source have to be computed? Where the source does not want its gradient it is a constant. */
static int needs_d_input(const dukd_pass *p, const dukd_tap_group *g) {
    return g->wants && g->source_kind == DUKD_SOURCE_TAP && p->taps[g->source_id]->flags & DUKD_TAP_WANT_GRAD;
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
        used += dukd_shape_elements(t->shape);
    }
    for (int32_t k = 0; k < s->group_count; k++) {
        dukd_tap_group *g = &s->groups[k];
        if (!needs_d_input(p, g)) continue;
        if (base) g->d_input = base + used;
        used += dukd_shape_elements(g->in_shape);
    }
    return used;
}

static int make_pass(dukd_pass_slot *s, const dukd_pass *p, dukd_engine *e,
                     const dukd_host_networks *networks, dukd_network *const *compiled, dukd_failure *f) {
    s->taps = calloc((size_t)p->n_taps + 1, sizeof *s->taps);
    s->groups = calloc((size_t)p->n_taps + 1, sizeof *s->groups);
    s->values = calloc((size_t)p->n_taps + 1, sizeof *s->values);
    s->grads = calloc((size_t)p->n_taps + 1, sizeof *s->grads);
    if (!s->taps || !s->groups || !s->values || !s->grads)
        return dukd_fail_memory(f, "the passes", ((unsigned long long)p->n_taps + 1) * sizeof *s->taps);
    const dukd_engine_place *place = dukd_engine_get_place(e);
    int status = 0;
    for (uint32_t i = 0; i < p->n_taps && !status; i++) status = make_tap(s, p, i, place, networks, f);
    for (int32_t k = 0; k < s->group_count && !status; k++) {
        dukd_tap_group *g = &s->groups[k];
        status = make_group(s, g, e, networks->graphs[g->network], compiled[g->network], p->n_taps, f);
    }
    return status;
}

int dukd_step_plan_create(dukd_step_plan *out, dukd_engine *e, const dukd_plan *plan,
                          const dukd_host_networks *networks, dukd_network *const *compiled,
                          dukd_failure *f) {
    *out = (dukd_step_plan){.engine = e, .plan = plan};
    int status = 0;
    int64_t room = 0;
    out->passes = calloc((size_t)plan->n_passes + 1, sizeof *out->passes);
    if (!out->passes) return dukd_fail_memory(f, "the passes", plan->n_passes * sizeof *out->passes);
    for (uint32_t i = 0; i < plan->n_passes && !status; i++) {
        status = check_pass(plan->passes[i], i, dukd_engine_get_place(e), networks, f);
        if (!status) status = make_pass(&out->passes[i], plan->passes[i], e, networks, compiled, f);
        if (status) break;
        int64_t need = place_gradients(&out->passes[i], plan->passes[i], NULL);
        if (need > room) room = need;
    }
    if (!status) status = dukd_weights_room(e, room + 1, "gradients", &out->gradients, f);
    for (uint32_t i = 0; i < plan->n_passes && !status; i++)
        place_gradients(&out->passes[i], plan->passes[i], out->gradients);
    if (status) dukd_step_plan_free(out);
    return status;
}

void dukd_step_plan_free(dukd_step_plan *p) {
    for (uint32_t i = 0; p->passes && i < p->plan->n_passes; i++) {
        dukd_pass_slot *s = &p->passes[i];
        for (int32_t k = 0; s->groups && k < s->group_count; k++) {
            dukd_tap_group *g = &s->groups[k];
            for (int32_t o = 0; g->values && o < g->output_count; o++)
                dukd_engine_release(p->engine, g->values[o]);
            free(g->outputs);
            free(g->values);
            free(g->d_outputs);
            dukd_mirror_free(&g->drops);
        }
        free(s->taps);
        free(s->groups);
        free((void *)s->values);
        free((void *)s->grads);
    }
    free(p->passes);
    dukd_engine_release(p->engine, p->gradients);
    *p = (dukd_step_plan){0};
}

dukd_question *dukd_step_plan_questions(const dukd_step_plan *p, uint32_t network, int32_t *count) {
    size_t room = 1;
    *count = 0;
    for (uint32_t i = 0; i < p->plan->n_passes; i++) room += (size_t)p->passes[i].group_count;
    dukd_question *list = calloc(room, sizeof *list);
    for (uint32_t i = 0; list && i < p->plan->n_passes; i++)
        for (int32_t k = 0; k < p->passes[i].group_count; k++) {
            const dukd_tap_group *g = &p->passes[i].groups[k];
            if (g->network != network || !g->asked) continue;
            list[(*count)++] = (dukd_question){.images = (int32_t)g->in_shape[0],
                                               .height = (int32_t)g->in_shape[2],
                                               .width = (int32_t)g->in_shape[3],
                                               .output_count = g->output_count,
                                               .outputs = g->outputs};
        }
    return list;
}

static int same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
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
        same = check_tensor(t, dukd_engine_get_place(p->engine)) && t->data &&
               memcmp(t->shape, plan->inputs[i]->tensor->shape, 4 * sizeof *t->shape) == 0;
    }
    for (uint32_t i = 0; same && i < pass->n_taps; i++) {
        const dukd_tap *a = pass->taps[i], *b = plan->taps[i];
        same = a->network == b->network && a->flags == b->flags && a->source_kind == b->source_kind &&
               a->source_id == b->source_id && same_text(a->from_layer, b->from_layer) &&
               same_text(a->layer, b->layer);
    }
    return same ? 0
                : dukd_fail(f, DUKD_FAILED, "pass %u is not as the plugin's plan announced it",
                            pass->plan_index);
}
