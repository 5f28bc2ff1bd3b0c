/* Sizes of what a session works on. */
#include "upcycle/geometry.h"

#include "report.h"
#include "tensor_check.h"

#include <stddef.h>

const char *dukd_images_name(dukd_images images) {
    return images == DUKD_IMAGES_LR        ? "the LR image"
           : images == DUKD_IMAGES_ZOOM_IN ? "the zoomed-in image"
                                           : "the zoomed-out image";
}

void dukd_geometry_images(const dukd_geometry *g, dukd_images images, uint32_t crops, int64_t shape[4]) {
    const bool out = images == DUKD_IMAGES_ZOOM_OUT;
    shape[0] = images == DUKD_IMAGES_ZOOM_IN ? g->n * crops : g->n;
    shape[1] = g->c;
    shape[2] = out ? (g->h - 1) / g->scale + 1 : g->h;
    shape[3] = out ? (g->w - 1) / g->scale + 1 : g->w;
}

void dukd_geometry_input(const dukd_geometry *g, const dukd_config *c, const dukd_pass_recipe *pass,
                         uint32_t input, int64_t shape[4]) {
    if (input != pass->negatives) {
        dukd_geometry_images(g, pass->images, c->crops, shape);
        return;
    }
    dukd_geometry_hr(g, shape);
    if (shape[0] > c->negatives) shape[0] = c->negatives;
}

void dukd_geometry_hr(const dukd_geometry *g, int64_t shape[4]) {
    shape[0] = g->n;
    shape[1] = g->c;
    shape[2] = g->h * g->scale;
    shape[3] = g->w * g->scale;
}

int32_t dukd_geometry_check(dukd_geometry *g, const dukd_session_params *params, uint32_t crops,
                            dukd_error *error) {
    const int64_t *shape = params->lr_shape;
    const int64_t limit = INT32_MAX; /* rows, columns and samples are handed out as int32 */
    *g =
        (dukd_geometry){shape[0], shape[1], shape[2], shape[3], params->scale, params->dtype, params->device};
    if (g->scale < 1 || g->scale > 64) {
        return dukd_report(error, DUKD_E_ARGUMENT, "params: scale is %d, expected 1 to 64", g->scale);
    }
    const int64_t grown[4] = {crops, 1, g->scale, g->scale};
    for (int i = 0; i < 4; i++) {
        if (shape[i] < 1 || shape[i] > limit / grown[i]) {
            return dukd_report(
                error, DUKD_E_ARGUMENT,
                "params: lr_shape is %lld x %lld x %lld x %lld (N, C, h, w): each must be at least 1, and no "
                "larger than 31 bits with %u crops an image and scale %d",
                (long long)shape[0], (long long)shape[1], (long long)shape[2], (long long)shape[3], crops,
                g->scale);
        }
    }
    int64_t room = INT64_MAX / 8 / crops / g->scale / g->scale; /* bytes of the largest tensor, twice over */
    for (int i = 0; i < 4; i++) room /= shape[i];
    if (room == 0) {
        return dukd_report(
            error, DUKD_E_ARGUMENT, "params: a batch of %lld x %lld x %lld x %lld at scale %d is too large",
            (long long)shape[0], (long long)shape[1], (long long)shape[2], (long long)shape[3], g->scale);
    }
    if (dukd_dtype_bit(g->dtype) == 0) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "params: dtype is code %u, %u bits, %u lanes; expected f32, f16 or bf16",
                           g->dtype.code, g->dtype.bits, g->dtype.lanes);
    }
    return DUKD_OK;
}

int32_t dukd_geometry_suits(const dukd_geometry *g, const dukd_config *c, const dukd_options *options,
                            dukd_error *error) {
    const dukd_images kinds[] = {DUKD_IMAGES_ZOOM_IN, DUKD_IMAGES_ZOOM_OUT};
    if (c->mode == DUKD_MODE_OFFICIAL && c->crop != DUKD_CROP_NONE && g->h != g->w) {
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "LR patches are %lld x %lld: official mode cuts its tiles by the width alone and "
                           "needs square patches; "
                           "use them, or train.mode: paper",
                           (long long)g->h, (long long)g->w);
    }
    if (c->mode == DUKD_MODE_OFFICIAL && c->zoom_out && c->w_rec > 0 &&
        (g->h % g->scale != 0 || g->w % g->scale != 0)) {
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "LR patches are %lld x %lld, no multiples of the scale %d: zoom out in official "
                           "mode compares with LR; "
                           "use such patches, or train.dukd_opt.zoom_out: false",
                           (long long)g->h, (long long)g->w, g->scale);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const bool out = kinds[i] == DUKD_IMAGES_ZOOM_OUT;
        int64_t shape[4];
        dukd_geometry_images(g, kinds[i], 1, shape);
        if (c->mode != DUKD_MODE_PAPER || c->p_turn == 0 || shape[2] == shape[3]) continue;
        if (out ? !c->zoom_out : c->crop == DUKD_CROP_NONE) continue;
        char place[96];
        return dukd_report(error, DUKD_E_OPTION,
                           "%strain.augment.rot90 is %g, but %s is %lld x %lld (LR patches %lld x %lld), and "
                           "only square ones can "
                           "be turned: set it to 0, or use square patches",
                           dukd_option_place(options->value[DUKD_OPT_ROT90].given, place), c->p_turn,
                           dukd_images_name(kinds[i]), (long long)shape[2], (long long)shape[3],
                           (long long)g->h, (long long)g->w);
    }
    return DUKD_OK;
}
