/* What FAKD and CSD add to a recipe. */
#include "recipe.h"

#include <assert.h>

static uint32_t teacher_flags(const dukd_config *c) {
    return c->teacher_train ? DUKD_TAP_MODE_TRAIN : 0;
}

/* He et al. 2020: w_fakd times the sum over layers of mean |A_S - A_T|. */
void dukd_recipe_affinity(dukd_recipe *r, dukd_pass_recipe *p, const dukd_config *c, const char *name,
                          double reported) {
    if (c->w_fakd == 0) return;
    const uint32_t loss = dukd_recipe_loss(r, name, c->w_fakd, reported);
    for (uint32_t i = 0; i < c->fakd_student.n; i++) {
        const dukd_tap_recipe student = {.network = DUKD_STUDENT,
                                         .source = p->plain,
                                         .flags = DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD,
                                         .layer = c->fakd_student.name[i]};
        const dukd_tap_recipe teacher = {.network = DUKD_TEACHER,
                                         .source = p->plain,
                                         .flags = teacher_flags(c),
                                         .layer = c->fakd_teacher.name[i]};
        const uint32_t s = dukd_recipe_any_tap(p, &student);
        p->affinity[p->n_affinities++] = (dukd_affinity_recipe){s, dukd_recipe_any_tap(p, &teacher), loss};
    }
    p->flags |= DUKD_PASS_BACKWARD;
}

static uint32_t features(dukd_pass_recipe *p, const char *layer, bool derived, uint32_t source, bool grad) {
    return dukd_recipe_any_tap(p, &(dukd_tap_recipe){.network = DUKD_FEATURES,
                                                     .derived = derived,
                                                     .source = source,
                                                     .flags = grad ? DUKD_TAP_WANT_GRAD : 0,
                                                     .layer = layer});
}

/* Wang et al. 2021: w_csd L_con + w_csd_teacher |T(x) - y|. */
void dukd_recipe_contrast(dukd_recipe *r, dukd_pass_recipe *p, const dukd_config *c, uint32_t answer) {
    if (c->w_csd > 0) {
        const uint32_t output = dukd_recipe_tap(p, DUKD_STUDENT, p->plain, DUKD_TAP_MODE_TRAIN);
        const uint32_t loss = dukd_recipe_loss(r, "l_csd", c->w_csd, 1);
        assert(p->n_inputs < DUKD_MAX_INPUTS);
        p->negatives = p->n_inputs++;
        (void)dukd_recipe_compare(p, output); /* a gradient comes back through the features */
        if (!c->csd_detach) (void)dukd_recipe_compare(p, answer);
        for (uint32_t i = 0; i < c->csd.n; i++) {
            p->contrast[i].student = features(p, c->csd.name[i], true, output, true);
            p->contrast[i].loss = loss;
            p->contrast[i].weight = c->csd_weight[i];
        }
        for (uint32_t i = 0; i < c->csd.n; i++)
            p->contrast[i].teacher = features(p, c->csd.name[i], true, answer, !c->csd_detach);
        for (uint32_t i = 0; i < c->csd.n; i++)
            p->contrast[i].negatives = features(p, c->csd.name[i], false, p->negatives, false);
        p->n_contrasts = c->csd.n;
    }
    if (c->w_csd_teacher > 0)
        dukd_recipe_target(r, dukd_recipe_compare(p, answer), DUKD_TARGET_HR, 0, "l_csd_teacher",
                           c->w_csd_teacher, 1);
}
