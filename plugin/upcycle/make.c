/* The images of a pass. */
#include "upcycle/make.h"

#include <stddef.h>

int32_t dukd_images_make(dukd_backend *backend, const dukd_pass_recipe *pass, const dukd_samples *s,
                         int32_t scale, const dukd_tensor *lr, const dukd_tensor *hr,
                         const dukd_tensor *plain, const dukd_tensor *augmented, const dukd_tensor *negatives,
                         dukd_error *error) {
    const dukd_tensor *other = plain == augmented ? NULL : augmented;
    if (negatives != NULL) {
        const dukd_upscale_args args = {.lr = lr, .out = negatives, .scale = scale};
        const int32_t status = backend->upscale(backend, &args, error);
        if (status != DUKD_OK) return status;
    }
    if (pass->images == DUKD_IMAGES_LR) return DUKD_OK;
    if (pass->images == DUKD_IMAGES_ZOOM_IN) {
        const dukd_zoom_in_args args = {.hr = hr,
                                        .plain = plain,
                                        .augmented = other,
                                        .image = s->image,
                                        .row = s->row,
                                        .col = s->col,
                                        .augment = s->augment};
        return backend->zoom_in(backend, &args, error);
    }
    const dukd_zoom_out_args args = {
        .lr = lr, .plain = plain, .augmented = other, .augment = s->augment, .scale = scale};
    return backend->zoom_out(backend, &args, error);
}
