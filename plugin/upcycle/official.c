/* Official mode, as the authors' code computes it. First step: clear, backward of A, optimizer:
 *     A = w_pix |S(x) - y| + w_kd |S(x) - T(x)|
 * Second step: backward of B on top of A's gradient, optimizer:
 *     B = w_kd |D~ S(D(x_zi)) - T(x_zi)| + w_pix |S(x_zo) - x| + w_kd |S(x_zo) - T(x_zo)|
 * D~ is D's operations in the same order again. Logged with weights. BaseKD is A alone; SRModel is A without
 * the teacher; FAKD is A and w_feature sum_k mean |A_k(S) - A_k(T)|. */
#include "upcycle/modes.h"

static uint32_t teacher(dukd_pass_recipe *p, const dukd_config *c) {
    return dukd_recipe_tap(p, DUKD_TEACHER, p->plain, c->teacher_train ? DUKD_TAP_MODE_TRAIN : 0);
}

/* w_pix |S - target| + w_kd |S - T| on a pass's images */
static void pixel_and_kd(dukd_recipe *r, dukd_pass_recipe *p, const dukd_config *c, dukd_target_kind target,
                         const char *pixel, const char *kd) {
    const uint32_t answer = c->w_kd > 0 ? teacher(p, c) : DUKD_NO_TAP;
    if (c->w_rec > 0) dukd_recipe_l1(r, p, target, 0, pixel, c->w_rec, c->w_rec);
    if (c->w_kd > 0) dukd_recipe_l1(r, p, DUKD_TARGET_TAP, answer, kd, c->w_kd, c->w_kd);
}

void dukd_recipe_official(dukd_recipe *r, const dukd_config *c) {
    dukd_pass_recipe *p = dukd_recipe_pass(r, DUKD_IMAGES_LR, false);
    pixel_and_kd(r, p, c, DUKD_TARGET_HR, "l_pix", "l_kd");
    dukd_recipe_affinity(r, p, c, "l_feature", c->w_fakd);
    p->flags |= DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_OPTIMIZE_AFTER;
    if (c->crop != DUKD_CROP_NONE) {
        p = dukd_recipe_pass(r, DUKD_IMAGES_ZOOM_IN, dukd_config_augments(c, false));
        dukd_recipe_l1(r, p, DUKD_TARGET_TAP, teacher(p, c), "l_zoom_in", c->w_kd, c->w_kd);
    }
    if (c->zoom_out) {
        p = dukd_recipe_pass(r, DUKD_IMAGES_ZOOM_OUT, false);
        pixel_and_kd(r, p, c, DUKD_TARGET_LR, "l_zoom_out_pix", "l_zoom_out_kd");
    }
    if (r->n_passes > 1)
        p->flags |= DUKD_PASS_OPTIMIZE_AFTER; /* the second step; nothing is cleared in between */
    p->flags |= DUKD_PASS_EMA_AFTER;
}
