/* Recipes: what the modes write with. */
#include "recipe.h"

#include "upcycle/modes.h"

#include <assert.h>
#include <string.h>

dukd_pass_recipe *dukd_recipe_pass(dukd_recipe *r, dukd_images images, bool augments) {
    assert(r->n_passes < DUKD_MAX_PASSES);
    dukd_pass_recipe *p = &r->pass[r->n_passes++];
    *p = (dukd_pass_recipe){.images = images,
                            .n_inputs = augments ? 2 : 1,
                            .negatives = DUKD_NO_INPUT,
                            .hardest = DUKD_NO_TAP,
                            .after = -1};
    p->plain = 0;
    p->augmented = p->n_inputs - 1;
    return p;
}

uint32_t dukd_recipe_any_tap(dukd_pass_recipe *p, const dukd_tap_recipe *tap) {
    for (uint32_t i = 0; i < p->n_taps; i++) {
        dukd_tap_recipe *t = &p->tap[i];
        if (t->network != tap->network || t->derived != tap->derived || t->source != tap->source) continue;
        if ((t->layer == NULL) != (tap->layer == NULL)) continue;
        if (t->layer != NULL && strcmp(t->layer, tap->layer) != 0) continue;
        if (t->network != DUKD_STUDENT && ((t->flags ^ tap->flags) & DUKD_TAP_WANT_GRAD) != 0) continue;
        t->flags |= tap->flags;
        return i;
    }
    assert(p->n_taps < DUKD_MAX_TAPS);
    p->tap[p->n_taps] = *tap;
    return p->n_taps++;
}

uint32_t dukd_recipe_tap(dukd_pass_recipe *p, dukd_role network, uint32_t input, uint32_t flags) {
    return dukd_recipe_any_tap(p, &(dukd_tap_recipe){.network = network, .source = input, .flags = flags});
}

dukd_compare_recipe *dukd_recipe_compare(dukd_pass_recipe *p, uint32_t value) {
    for (uint32_t i = 0; i < p->n_compares; i++) {
        if (p->compare[i].value == value) return &p->compare[i];
    }
    assert(p->n_compares < DUKD_MAX_COMPARES);
    dukd_compare_recipe *c = &p->compare[p->n_compares++];
    *c = (dukd_compare_recipe){.value = value};
    p->tap[value].flags |= DUKD_TAP_WANT_GRAD;
    p->flags |= DUKD_PASS_BACKWARD;
    return c;
}

uint32_t dukd_recipe_loss(dukd_recipe *r, const char *name, double weight, double reported) {
    assert(r->n_losses < DUKD_MAX_LOSSES);
    r->loss[r->n_losses] = (dukd_loss_recipe){name, weight, reported};
    return r->n_losses++;
}

void dukd_recipe_target(dukd_recipe *r, dukd_compare_recipe *compare, dukd_target_kind kind, uint32_t tap,
                        const char *name, double weight, double reported) {
    assert(compare->n_targets < 2);
    compare->target[compare->n_targets++] =
        (dukd_target_recipe){kind, tap, dukd_recipe_loss(r, name, weight, reported)};
}

void dukd_recipe_l1(dukd_recipe *r, dukd_pass_recipe *p, dukd_target_kind kind, uint32_t tap,
                    const char *name, double weight, double reported) {
    const uint32_t value =
        dukd_recipe_tap(p, DUKD_STUDENT, p->augmented, DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD);
    dukd_compare_recipe *compare = dukd_recipe_compare(p, value);
    compare->map_back = p->augmented != p->plain;
    dukd_recipe_target(r, compare, kind, tap, name, weight, reported);
}

void dukd_recipe_build(dukd_recipe *r, const dukd_config *c) {
    *r = (dukd_recipe){0};
    if (c->mode == DUKD_MODE_PAPER) {
        dukd_recipe_paper(r, c);
    } else {
        dukd_recipe_official(r, c);
    }
    assert(r->n_passes > 0);
}
