/* What the demo shows at its end: how good each method's images are, and where one can see it. */
#ifndef DUKD_REPORT_H
#define DUKD_REPORT_H

#include "data/image.h"

enum { REPORT_MAX_METHODS = 12, REPORT_MAX_IMAGES = 512 };

/* One way to get an HR image from an LR image. */
typedef struct {
    char label[32];
    const char *folder; /* its images, NAME.png or NAME_*.png; NULL: bicubic upscaling */
    const char *run;    /* folder of the training run, for updates and seconds; NULL: none */
    double psnr[REPORT_MAX_IMAGES], ssim[REPORT_MAX_IMAGES];
    int64_t updates; /* -1: none */
    double seconds;
} report_method;

typedef struct {
    const char *hr_folder;
    int32_t scale;
    char **names; /* [count] of the HR files, without extension */
    char **files; /* [count] */
    int64_t count;
    report_method methods[REPORT_MAX_METHODS];
    int method_count;
} report;

/* The HR image cut to a multiple of the scale, its LR image (made by the bit-exact downscaling), and a method's image. */
int report_hr(const report *r, int64_t image, dukd_image *hr, dukd_image *lr, dukd_failure *f);
int report_image(const report *r, int64_t image, int method, const dukd_image *lr, dukd_image *out,
                 dukd_failure *f);

/* Fills psnr and ssim of all methods: Y, border of `scale` pixels. */
int report_measure(report *r, dukd_failure *f);
void report_print(const report *r);

/* A PNG: for up to `rows` images the window that bicubic upscaling gets most wrong, as LR, by every method, and as HR, with
 * the PSNR of each window. */
int report_draw(const report *r, int rows, const char *path, dukd_failure *f);

#endif
