/* Bicubic upscaling of the test images, measured: what every network has to beat. */
#include <stdlib.h>

#include "cmd/test_table.h"
#include "data/downscale.h"

static int measure(const dukd_run_metric *m, const dukd_image *a, const dukd_image *b, double *value,
                   dukd_failure *f) {
    return m->kind == DUKD_METRIC_PSNR ? dukd_metric_psnr(a, b, m->options, value, f)
                                       : dukd_metric_ssim(a, b, m->options, value, f);
}

static int bicubic_image(const dukd_test_result *r, int64_t i, const dukd_run_metric *metrics, int32_t count,
                         int32_t scale, double *values, dukd_failure *f) {
    dukd_image lr = {0}, hr = {0}, up = {0};
    int status = dukd_dataset_read(r->files, i, &lr, &hr, f);
    if (status == DUKD_DONE) status = dukd_upscale_bicubic(&lr, scale, &up, f);
    for (int32_t m = 0; m < count && status == DUKD_DONE; m++)
        status = measure(&metrics[m], &up, &hr, &values[m], f);
    dukd_image_free(&lr);
    dukd_image_free(&hr);
    dukd_image_free(&up);
    return status;
}

int dukd_test_bicubic(dukd_test_result *r, const dukd_run_metric *metrics, int32_t count, int32_t scale,
                      dukd_failure *f) {
    int64_t images = dukd_dataset_count(r->files);
    r->bicubic = calloc((size_t)images + 1, sizeof *r->bicubic);
    if (!r->bicubic)
        return dukd_fail_memory(f, "the bicubic results",
                                ((unsigned long long)images + 1) * sizeof *r->bicubic);
    for (int64_t i = 0; i < images; i++) {
        int status = bicubic_image(r, i, metrics, count, scale, r->bicubic[i], f);
        if (status) return status;
        for (int32_t m = 0; m < count; m++) r->bicubic[images][m] += r->bicubic[i][m] / (double)images;
    }
    return DUKD_DONE;
}
