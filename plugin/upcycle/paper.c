/* Paper mode:
 *     L = w_rec |S(x) - y| + w_kd |S(x) - T(x)|
 *       + w_dukd ( |D^-1 S(D(x_zo)) - T(x_zo)| + |D^-1 S(D(x_zi)) - T(x_zi)| )
 *       + w_fakd sum_k mean |A_k(S) - A_k(T)| + w_csd L_con + w_csd_teacher |T(x) - y|
 * Logged without weights. Zoom in comes last: at the hardest crop it depends on T(x), and the passes before
 * it can be computed together. */
#include "upcycle/modes.h"

static void upcycled(dukd_recipe *r, const dukd_config *c, dukd_images images, const char *name) {
    dukd_pass_recipe *p =
        dukd_recipe_pass(r, images, dukd_config_augments(c, images == DUKD_IMAGES_ZOOM_OUT));
    const uint32_t answer =
        dukd_recipe_tap(p, DUKD_TEACHER, p->plain, c->teacher_train ? DUKD_TAP_MODE_TRAIN : 0);
    dukd_recipe_l1(r, p, DUKD_TARGET_TAP, answer, name, c->w_dukd, 1);
}

void dukd_recipe_paper(dukd_recipe *r, const dukd_config *c) {
    const bool hardest = c->crop == DUKD_CROP_HARDEST;
    const bool csd = c->w_csd > 0 || c->w_csd_teacher > 0;
    if (c->w_rec > 0 || c->w_kd > 0 || c->w_fakd > 0 || csd || hardest) {
        dukd_pass_recipe *p = dukd_recipe_pass(r, DUKD_IMAGES_LR, false);
        const uint32_t mode = c->teacher_train ? DUKD_TAP_MODE_TRAIN : 0;
        uint32_t answer = DUKD_NO_TAP, learner = DUKD_NO_TAP; /* T(x), held fixed, and as csd trains it */
        if (c->w_kd > 0 || (hardest && !csd)) answer = dukd_recipe_tap(p, DUKD_TEACHER, p->plain, mode);
        if (csd) {
            learner = dukd_recipe_tap(p, DUKD_TEACHER, p->plain,
                                      mode | (dukd_config_trains_teacher(c) ? DUKD_TAP_WANT_GRAD : 0));
        }
        if (hardest) p->hardest = answer != DUKD_NO_TAP ? answer : learner;
        if (c->w_rec > 0) dukd_recipe_l1(r, p, DUKD_TARGET_HR, 0, "l_rec", c->w_rec, 1);
        if (c->w_kd > 0) dukd_recipe_l1(r, p, DUKD_TARGET_TAP, answer, "l_kd", c->w_kd, 1);
        dukd_recipe_affinity(r, p, c, "l_fakd", 1);
        dukd_recipe_contrast(r, p, c, learner);
    }
    if (c->zoom_out) upcycled(r, c, DUKD_IMAGES_ZOOM_OUT, "l_zoom_out");
    if (c->crop != DUKD_CROP_NONE) {
        upcycled(r, c, DUKD_IMAGES_ZOOM_IN, "l_zoom_in");
        if (hardest) r->pass[r->n_passes - 1].after = 0;
    }
    r->pass[0].flags |= DUKD_PASS_ZERO_GRAD_BEFORE;
    r->pass[r->n_passes - 1].flags |= DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER;
}
