/* A square crop of an image, turned, as f32 planes. */
#ifndef DUKD_DATASET_CROP_H
#define DUKD_DATASET_CROP_H

#include <stdint.h>

#include "data/image.h"

/* planes: 3 x side x side, value / 255 or value / 65535 of the side x side pixels at (row, col), which lie inside the image,
 * turned as `orientation` says (sampler.h). [thread-safe] */
void dukd_crop_planes(const dukd_image *image, int32_t row, int32_t col, int32_t side, int32_t orientation,
                      float *planes);

#endif
