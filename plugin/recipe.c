/* Recipes: what the modes write with. */
#include "recipe.h"

#include "upcycle/modes.h"

#include <assert.h>

dukd_pass_recipe *dukd_recipe_pass(dukd_recipe *r, dukd_images images, bool augments) {
    assert(r->n_passes < DUKD_MAX_PASSES);
    dukd_pass_recipe *p = &r->pass[r->n_passes++];
    *p = (dukd_pass_recipe){
        .images = images, .n_inputs = augments ? 2 : 1, .hardest = DUKD_NO_TAP, .after = -1};
    p->plain = 0;
    p->augmented = p->n_inputs - 1;
    return p;
}

uint32_t dukd_recipe_tap(dukd_pass_recipe *p, dukd_role network, uint32_t input, uint32_t flags) {
    for (uint32_t i = 0; i < p->n_taps; i++) {
        if (p->tap[i].network == network && p->tap[i].input == input) {
            p->tap[i].flags |= flags;
            return i;
        }
    }
    assert(p->n_taps < DUKD_MAX_TAPS);
    p->tap[p->n_taps] = (dukd_tap_recipe){network, input, flags};
    return p->n_taps++;
}

void dukd_recipe_l1(dukd_recipe *r, dukd_pass_recipe *p, dukd_target_kind kind, uint32_t tap,
                    const char *name, double weight, double reported) {
    const uint32_t value =
        dukd_recipe_tap(p, DUKD_STUDENT, p->augmented, DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD);
    uint32_t at = 0;
    while (at < p->n_compares && p->compare[at].value != value) at++;
    if (at == p->n_compares) {
        assert(p->n_compares < DUKD_MAX_COMPARES);
        p->compare[p->n_compares++] =
            (dukd_compare_recipe){.value = value, .map_back = p->augmented != p->plain};
        p->flags |= DUKD_PASS_BACKWARD;
    }
    dukd_compare_recipe *c = &p->compare[at];
    assert(c->n_targets < 2 && r->n_losses < DUKD_MAX_LOSSES);
    c->target[c->n_targets++] = (dukd_target_recipe){kind, tap, r->n_losses};
    r->loss[r->n_losses++] = (dukd_loss_recipe){name, weight, reported};
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
