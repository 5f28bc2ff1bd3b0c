#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/downscale.h"
#include "data/image_list.h"
#include "data/metrics.h"
#include "statistics.h"

/* The top left part of an 8-bit image. */
static int cut(const dukd_image *from, int32_t width, int32_t height, dukd_image *out, dukd_failure *f) {
    int status = dukd_image_create(out, width, height, 8, f);
    for (int32_t y = 0; y < height && status == DUKD_DONE; y++)
        for (int32_t x = 0; x < 3 * width; x++) {
            size_t at = (size_t)y * 3 * (size_t)from->width + (size_t)x;
            ((uint8_t *)out->samples)[(size_t)y * 3 * (size_t)width + (size_t)x] =
                from->depth == 16 ? (uint8_t)((((const uint16_t *)from->samples)[at] + 128) / 257)
                                  : ((const uint8_t *)from->samples)[at];
        }
    return status;
}

int report_hr(const report *r, int64_t image, dukd_image *hr, dukd_image *lr, dukd_failure *f) {
    dukd_image whole = {0};
    char *path = dukd_image_path(r->hr_folder, r->files[image]);
    int status = path ? dukd_image_read(path, &whole, f) : dukd_fail_memory(f, "a path", 4096);
    if (status == DUKD_DONE) status = dukd_downscale(&whole, r->scale, 0, lr, f);
    if (status == DUKD_DONE) status = cut(&whole, lr->width * r->scale, lr->height * r->scale, hr, f);
    dukd_image_free(&whole);
    free(path);
    return status;
}

/* NAME.png, or the one NAME_....png that a test or a validation has written. */
static char *find_image(const char *folder, const char *name, dukd_failure *f) {
    dukd_image_list list = {0};
    size_t length = strlen(name);
    char *path = NULL;
    if (dukd_image_list_read(folder, &list, f)) return NULL;
    for (int64_t i = 0; i < list.count && !path; i++) {
        const char *file = list.files[i];
        if (strncmp(file, name, length) == 0 && (file[length] == '.' || file[length] == '_'))
            path = dukd_image_path(folder, file);
    }
    dukd_image_list_free(&list);
    if (!path) dukd_fail(f, DUKD_FAILED, "%s: has no image %s", folder, name);
    return path;
}

int report_image(const report *r, int64_t image, int method, const dukd_image *lr, dukd_image *out,
                 dukd_failure *f) {
    const report_method *m = &r->methods[method];
    if (!m->folder) return dukd_upscale_bicubic(lr, r->scale, out, f);
    char *path = find_image(m->folder, r->names[image], f);
    if (!path) return DUKD_FAILED;
    int status = dukd_image_read(path, out, f);
    if (status == DUKD_DONE &&
        (out->width != lr->width * r->scale || out->height != lr->height * r->scale || out->depth != 8))
        status = dukd_fail(f, DUKD_FAILED, "%s: is %d x %d, want 8 bit and %d x %d", path, out->width,
                           out->height, lr->width * r->scale, lr->height * r->scale);
    free(path);
    return status;
}

static int measure_image(report *r, int64_t i, dukd_failure *f) {
    const dukd_metric_options o = {.crop_border = r->scale, .y_channel = 1};
    dukd_image hr = {0}, lr = {0};
    int status = report_hr(r, i, &hr, &lr, f);
    for (int m = 0; m < r->method_count && status == DUKD_DONE; m++) {
        dukd_image sr = {0};
        status = report_image(r, i, m, &lr, &sr, f);
        if (status == DUKD_DONE) status = dukd_metric_psnr(&sr, &hr, o, &r->methods[m].psnr[i], f);
        if (status == DUKD_DONE) status = dukd_metric_ssim(&sr, &hr, o, &r->methods[m].ssim[i], f);
        dukd_image_free(&sr);
    }
    dukd_image_free(&hr);
    dukd_image_free(&lr);
    return status;
}

int report_measure(report *r, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int64_t i = 0; i < r->count && status == DUKD_DONE; i++) status = measure_image(r, i, f);
    return status;
}

static int find_method(const report *r, const char *label) {
    for (int m = 0; m < r->method_count; m++)
        if (strcmp(r->methods[m].label, label) == 0) return m;
    return -1;
}

void report_print(const report *r) {
    int scratch = find_method(r, "scratch");
    printf("x%d, %lld images that were never trained on; PSNR and SSIM on Y, border %d, whole images, no "
           "self-ensemble\n\n",
           r->scale, (long long)r->count, r->scale);
    printf("  %-10s %9s %8s %8s %9s   %s\n", "", "PSNR (dB)", "SSIM", "updates", "seconds",
           "against scratch [95 %]");
    for (int m = 0; m < r->method_count; m++) {
        const report_method *e = &r->methods[m];
        char updates[24] = "", seconds[24] = "", gain[64] = "";
        if (e->updates >= 0) {
            snprintf(updates, sizeof updates, "%lld", (long long)e->updates);
            snprintf(seconds, sizeof seconds, "%.0f", e->seconds);
        }
        if (scratch >= 0 && m != scratch) {
            const double *own = e->psnr, *base = r->methods[scratch].psnr;
            dukd_paired p = dukd_paired_difference(&own, 1, &base, 1, r->count);
            snprintf(gain, sizeof gain, "   %+.3f dB [%+.3f, %+.3f]", p.mean, p.low, p.high);
        }
        printf("  %-10s %9.3f %8.4f %8s %9s%s\n", e->label, dukd_mean(e->psnr, r->count),
               dukd_mean(e->ssim, r->count), updates, seconds, gain);
    }
    printf("\nThe interval is a bootstrap over images for one seed; differences between seeds are as large "
           "as small gains.\n");
}
