/* Passes, for the plan and for a step. */
#include <stdlib.h>
#include <string.h>

#include "spy.h"

static void make_tap(const dukd_session *s, spy_live *l, const spy_pass *p, uint32_t i) {
    const spy_tap *t = &p->taps[i];
    l->tap[i] = (dukd_tap){.struct_size = DUKD_TAP_SIZE,
                           .id = i,
                           .network = s->network[t->network == 't'],
                           .flags = t->flags,
                           .source_kind = DUKD_SOURCE_INPUT,
                           .source_id = t->input};
    l->taps[i] = &l->tap[i];
}

static int make_input(dukd_session *s, spy_live *l, const spy_pass *p, uint32_t i, int live) {
    l->input[i] = (dukd_input){.struct_size = DUKD_INPUT_SIZE, .id = i, .tensor = &l->image[i].t};
    l->inputs[i] = &l->input[i];
    if (!live) {
        memcpy(l->image[i].shape, s->lr_shape, sizeof s->lr_shape);
        l->image[i].t =
            (dukd_tensor){.device = s->device, .ndim = 4, .dtype = s->dtype, .shape = l->image[i].shape};
        return 0;
    }
    if (spy_fill_input(s, l, i, p->inputs[i])) return -1;
    if (p->inputs[i] == 'l') l->input[i].tensor = &l->alias[i];
    l->origin[i] = (dukd_origin){.struct_size = DUKD_ORIGIN_SIZE,
                                 .kind = p->inputs[i] == 'l' ? DUKD_ORIGIN_LR : DUKD_ORIGIN_OTHER,
                                 .n_samples = (uint32_t)s->lr_shape[0],
                                 .samples = l->samples};
    l->input[i].origin = &l->origin[i];
    return 0;
}

/* In micro-batches gradients are cleared in the first and used in the last. */
static uint32_t flags_of(const dukd_session *s, uint32_t flags) {
    if (s->micro > 0) flags &= ~DUKD_PASS_ZERO_GRAD_BEFORE;
    if (s->micro + 1 < s->micro_count) flags &= ~(DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER);
    return flags;
}

spy_live *spy_live_make(dukd_session *s, uint32_t plan_index, int live) {
    const spy_pass *p = &s->scenario.plan[plan_index];
    const uint64_t images = (uint64_t)s->lr_shape[0];
    spy_live *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->samples = calloc(images, sizeof *l->samples);
    if (!l->samples) goto fail;
    for (uint64_t n = 0; n < images; n++) l->samples[n] = s->first_sample + (int64_t)n;
    l->pass = (dukd_pass){.struct_size = DUKD_PASS_SIZE,
                          .plan_index = plan_index,
                          .flags = live ? flags_of(s, p->flags) : p->flags,
                          .n_inputs = p->n_inputs,
                          .n_taps = p->n_taps,
                          .inputs = l->inputs,
                          .taps = l->taps};
    for (uint32_t i = 0; i < p->n_inputs; i++)
        if (make_input(s, l, p, i, live)) goto fail;
    for (uint32_t i = 0; i < p->n_taps; i++) make_tap(s, l, p, i);
    return l;
fail:
    spy_live_free(l);
    return NULL;
}

void spy_live_free(spy_live *l) {
    if (!l) return;
    for (uint32_t i = 0; i < SPY_INPUTS; i++) toy_tensor_free(&l->image[i]);
    free(l->samples);
    free(l);
}

/* Who still looks at it finds NaN in the images and pointers to nowhere. It is left to lie there. */
void spy_live_poison(spy_live *l) {
    for (uint32_t i = 0; i < SPY_INPUTS; i++)
        if (l->image[i].memory) memset(l->image[i].memory, 0xff, l->image[i].bytes);
    memset(l, 0xa5, sizeof *l);
}
