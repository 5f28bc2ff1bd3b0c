/* The bit-exact bicubic downscaling that made the public LR files of the SR benchmarks (MATLAB's imresize on
 * 8-bit images).
 *
 * Modcrop to a multiple of the scale, height pass, round half up and clamp to 8 bits, width pass, the same.
 * Kernel a = -0.5 widened by the scale, weights normalised in double. */
#ifndef DUKD_DOWNSCALE_H
#define DUKD_DOWNSCALE_H

#include "data/image.h"

/* hr: 8 bit (a 16-bit image is first reduced to 8 by value / 257, rounded). scale: 2..8. clamp_border: 0
 * symmetric (MATLAB today), 1 clamped (older MATLAB). lr is created with floor(size / scale). [thread-safe]
 */
int dukd_downscale(const dukd_image *hr, int32_t scale, int32_t clamp_border, dukd_image *lr,
                   dukd_failure *f);
/* Bicubic upscaling by an integer factor, float, a = -0.5, symmetric border, rounded half up to 8 bits: the
 * "bicubic" row of tables and pictures (MATLAB's imresize to scale times the size). */
int dukd_upscale_bicubic(const dukd_image *lr, int32_t scale, dukd_image *out, dukd_failure *f);

#endif
