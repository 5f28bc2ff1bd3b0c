/* PSNR and SSIM as the paper's tables have them (design: BasicSR's calculate_psnr and calculate_ssim).
 * [thread-safe] */
#ifndef DUKD_METRICS_H
#define DUKD_METRICS_H

#include <stdint.h>

#include "common/failure.h"
#include "data/image.h"

typedef struct {
    int32_t crop_border; /* pixels cut on each side */
    int32_t y_channel;   /* 1: Y = 16 + 65.481 R + 128.553 G + 24.966 B of [0,1], not rounded; 0: RGB */
} dukd_metric_options;

/* a, b: 8-bit images of equal size, larger than twice the border (SSIM: by 11 pixels at least). PSNR in dB
 * against 255, INFINITY for equal images. SSIM: 11x11 Gaussian, sigma 1.5, valid region, mean over the pixels
 * and, in RGB, the channels. */
/* DUKD_MISUSED where images of this size are too small for PSNR (ssim 0) or SSIM (ssim 1). */
int dukd_metric_check_size(int32_t width, int32_t height, dukd_metric_options o, int ssim, dukd_failure *f);
int dukd_metric_psnr(const dukd_image *a, const dukd_image *b, dukd_metric_options o, double *psnr,
                     dukd_failure *f);
int dukd_metric_ssim(const dukd_image *a, const dukd_image *b, dukd_metric_options o, double *ssim,
                     dukd_failure *f);

#endif
