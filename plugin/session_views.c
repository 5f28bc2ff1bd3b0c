/* The public structs of a session: the plan's passes, which never change, and the live ones, which each step
 * brings up to date. */
#include "session.h"

#include <stddef.h>
#include <string.h>

void dukd_held_tensor_set(dukd_held_tensor *held, const dukd_tensor *t) {
    held->tensor = *t;
    memcpy(held->shape, t->shape, sizeof held->shape);
    held->tensor.shape = held->shape;
    if (t->strides == NULL) return;
    memcpy(held->strides, t->strides, sizeof held->strides);
    held->tensor.strides = held->strides;
}

/* A dense tensor of the session's type. */
static void set_dense(dukd_held_tensor *held, const dukd_geometry *g, const int64_t shape[4], void *data) {
    const dukd_device cpu = {DUKD_DEVICE_CPU, 0};
    *held =
        (dukd_held_tensor){.tensor = {.data = data,
                                      .device = g->device.device_type == DUKD_DEVICE_CUDA ? g->device : cpu,
                                      .ndim = 4,
                                      .dtype = g->dtype}};
    memcpy(held->shape, shape, sizeof held->shape);
    held->tensor.shape = held->shape;
}

static void build_origin(const dukd_session *s, uint32_t at, dukd_pass_view *view, uint32_t i) {
    const dukd_pass_recipe *recipe = &s->recipe.pass[at];
    /* The hardest crops are known to the device alone; all other choices are handed out where anyone can read them. */
    const bool hidden = s->backend != NULL && dukd_session_on_device(s) && recipe->after >= 0;
    const dukd_samples *samples = hidden ? &s->placed[at] : &s->samples[at];
    const bool window = recipe->images == DUKD_IMAGES_ZOOM_IN;
    view->origin[i] = (dukd_origin){.struct_size = DUKD_ORIGIN_SIZE,
                                    .kind = window                                   ? DUKD_ORIGIN_HR
                                            : recipe->images == DUKD_IMAGES_ZOOM_OUT ? DUKD_ORIGIN_LR_DOWN
                                                                                     : DUKD_ORIGIN_LR,
                                    .flags = hidden ? DUKD_ORIGIN_ON_DEVICE : 0,
                                    .n_samples = samples->count,
                                    .samples = samples->sample,
                                    .rows = window ? samples->row : NULL,
                                    .cols = window ? samples->col : NULL,
                                    .augment = i == recipe->plain ? NULL : samples->augment};
    if (i == recipe->negatives) {
        view->origin[i] = (dukd_origin){.struct_size = DUKD_ORIGIN_SIZE,
                                        .kind = DUKD_ORIGIN_OTHER,
                                        .n_samples = (uint32_t)view->tensor[i].shape[0],
                                        .samples = samples->sample}; /* the first of the batch */
    }
}

static void build_inputs(dukd_session *s, uint32_t at, dukd_pass_view *view, bool live) {
    const dukd_pass_recipe *recipe = &s->recipe.pass[at];
    int64_t shape[4];
    for (uint32_t i = 0; i < recipe->n_inputs; i++) {
        dukd_geometry_input(&s->geometry, &s->config, recipe, i, shape);
        set_dense(&view->tensor[i], &s->geometry, shape, live ? s->images[at][i] : NULL);
        view->input[i] =
            (dukd_input){.struct_size = DUKD_INPUT_SIZE, .id = i, .tensor = &view->tensor[i].tensor};
        view->inputs[i] = &view->input[i];
        if (!live) continue;
        build_origin(s, at, view, i);
        view->input[i].origin = &view->origin[i];
    }
}

static void build_taps(const dukd_session *s, const dukd_pass_recipe *recipe, dukd_pass_view *view) {
    for (uint32_t i = 0; i < recipe->n_taps; i++) {
        const dukd_tap_recipe *tap = &recipe->tap[i];
        view->tap[i] = (dukd_tap){.struct_size = DUKD_TAP_SIZE,
                                  .id = i,
                                  .network = s->network[tap->network],
                                  .flags = tap->flags,
                                  .source_kind = tap->derived ? DUKD_SOURCE_TAP : DUKD_SOURCE_INPUT,
                                  .source_id = tap->source,
                                  .layer = tap->layer};
        view->taps[i] = &view->tap[i];
    }
}

static void build_view(dukd_session *s, uint32_t at, dukd_pass_view *view, bool live) {
    const dukd_pass_recipe *recipe = &s->recipe.pass[at];
    build_inputs(s, at, view, live);
    build_taps(s, recipe, view);
    view->pass = (dukd_pass){.struct_size = DUKD_PASS_SIZE,
                             .id = at,
                             .plan_index = at,
                             .flags = recipe->flags,
                             .n_inputs = recipe->n_inputs,
                             .n_taps = recipe->n_taps,
                             .inputs = view->inputs,
                             .taps = view->taps};
}

void dukd_session_build_views(dukd_session *s) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        build_view(s, i, &s->planned[i], false);
        build_view(s, i, &s->live[i], true);
        s->plan_passes[i] = &s->planned[i].pass;
    }
    s->plan =
        (dukd_plan){.struct_size = DUKD_PLAN_SIZE, .n_passes = s->recipe.n_passes, .passes = s->plan_passes};
}

/* Gradients are cleared before the first micro-batch and used after the last. */
static uint32_t micro_flags(uint32_t flags, uint32_t index, uint32_t count) {
    if (index > 0) flags &= ~DUKD_PASS_ZERO_GRAD_BEFORE;
    if (index + 1 < count) flags &= ~(DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER);
    return flags;
}

void dukd_session_refresh_views(dukd_session *s) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const dukd_pass_recipe *recipe = &s->recipe.pass[i];
        s->live[i].pass.flags = micro_flags(recipe->flags, s->micro_index, s->micro_count);
        /* choices on the device lie elsewhere for each micro-batch */
        for (uint32_t k = 0; k < recipe->n_inputs; k++) build_origin(s, i, &s->live[i], k);
        if (recipe->images == DUKD_IMAGES_LR)
            dukd_held_tensor_set(&s->live[i].tensor[recipe->plain], &s->lr.tensor);
    }
}
