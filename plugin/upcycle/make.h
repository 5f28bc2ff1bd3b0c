/* The data hook's work: the images of a pass, made by the backend. */
#ifndef DUKD_MAKE_H
#define DUKD_MAKE_H

#include "backend/backend.h"
#include "upcycle/samples.h"

/* Makes the images of a pass that are not LR itself: `plain` from lr or hr by what s says, `augmented` =
 * D(plain); the same tensor twice where the pass has no D. negatives, NULL where the pass has none: the first images of lr,
 * scaled up. Errors are the backend's. */
int32_t dukd_images_make(dukd_backend *backend, const dukd_pass_recipe *pass, const dukd_samples *s,
                         int32_t scale, const dukd_tensor *lr, const dukd_tensor *hr,
                         const dukd_tensor *plain, const dukd_tensor *augmented, const dukd_tensor *negatives,
                         dukd_error *error);

#endif
