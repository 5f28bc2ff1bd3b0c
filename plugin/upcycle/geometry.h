/* Sizes of what a session works on. */
#ifndef DUKD_GEOMETRY_H
#define DUKD_GEOMETRY_H

#include "recipe.h"

typedef struct {
    int64_t n, c, h, w; /* of LR */
    int32_t scale;      /* HR is n x c x scale h x scale w */
    dukd_dtype dtype;
    dukd_device device;
} dukd_geometry;

/* Fills *g. DUKD_E_ARGUMENT: a size below 1, or so large that a tensor of the session could not be addressed;
 * an unknown type. `crops`: zoomed-in images for each of the batch. */
int32_t dukd_geometry_check(dukd_geometry *g, const dukd_session_params *params, uint32_t crops,
                            dukd_error *error);

/* Shape of a pass's inputs, N x C x H x W. */
void dukd_geometry_images(const dukd_geometry *g, dukd_images images, uint32_t crops, int64_t shape[4]);
/* Shape of input `input` of a pass: the above, or that of the negatives (at most `negatives` images of HR's size). */
void dukd_geometry_input(const dukd_geometry *g, const dukd_config *c, const dukd_pass_recipe *pass,
                         uint32_t input, int64_t shape[4]);
/* Shape of HR. */
void dukd_geometry_hr(const dukd_geometry *g, int64_t shape[4]);

/* What a configuration asks of the sizes: D may turn square images only; official mode needs square patches,
 * and sides that are multiples of the scale where it compares with LR. DUKD_E_OPTION or DUKD_E_UNSUPPORTED,
 * with the sizes. */
int32_t dukd_geometry_suits(const dukd_geometry *g, const dukd_config *c, const dukd_options *options,
                            dukd_error *error);

/* "the LR image", "the zoomed-in image", "the zoomed-out image" */
const char *dukd_images_name(dukd_images images);

#endif
