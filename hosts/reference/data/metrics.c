/* PSNR and SSIM in double precision. */
#include "data/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 11 }; /* of SSIM */

typedef struct {
    const dukd_image *a, *b;
    int32_t top, left, width, height; /* what is left of the images without their border */
    int32_t channels;                 /* 1: Y, 3: RGB */
} metric_area;

int dukd_metric_check_size(int32_t width, int32_t height, dukd_metric_options o, int ssim, dukd_failure *f) {
    const int64_t border = o.crop_border, least = 2 * border + (ssim ? WINDOW : 1);
    if (border >= 0 && width >= least && height >= least) return DUKD_DONE;
    return dukd_fail(f, DUKD_MISUSED,
                     "an image of %d x %d pixels is too small for a border of %d%s: take a smaller border",
                     width, height, o.crop_border, ssim ? " and SSIM's window of 11" : "");
}

static int area_of(metric_area *area, const dukd_image *a, const dukd_image *b, dukd_metric_options o,
                   int ssim, dukd_failure *f) {
    if (a->depth != 8 || b->depth != 8) {
        return dukd_fail(f, DUKD_MISUSED, "PSNR and SSIM compare 8-bit images; these have %d and %d bits",
                         a->depth, b->depth);
    }
    if (a->width != b->width || a->height != b->height) {
        return dukd_fail(f, DUKD_FAILED, "images of different size cannot be compared: %d x %d and %d x %d",
                         a->width, a->height, b->width, b->height);
    }
    int status = dukd_metric_check_size(a->width, a->height, o, ssim, f);
    if (status) return status;
    const int32_t border = o.crop_border, width = a->width - 2 * border, height = a->height - 2 * border;
    *area = (metric_area){.a = a,
                          .b = b,
                          .top = border,
                          .left = border,
                          .width = width,
                          .height = height,
                          .channels = o.y_channel ? 1 : 3};
    return DUKD_DONE;
}

/* Row y of channel c inside the area, 0..255. Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 of bytes. */
static void row_of(const metric_area *area, const dukd_image *image, int32_t y, int32_t c, double *out) {
    const uint8_t *in =
        (const uint8_t *)image->samples + ((int64_t)(area->top + y) * image->width + area->left) * 3;
    if (area->channels == 3) {
        for (int32_t x = 0; x < area->width; x++) out[x] = in[3 * x + c];
        return;
    }
    for (int32_t x = 0; x < area->width; x++, in += 3) {
        out[x] = 16.0 + (65.481 * in[0] + 128.553 * in[1] + 24.966 * in[2]) / 255.0;
    }
}

int dukd_metric_psnr(const dukd_image *a, const dukd_image *b, dukd_metric_options o, double *psnr,
                     dukd_failure *f) {
    metric_area area;
    int status = area_of(&area, a, b, o, 0, f);
    if (status) return status;
    double *rows = malloc(2 * (size_t)area.width * sizeof *rows);
    if (!rows)
        return dukd_fail_memory(f, "two rows of an image", 2 * (unsigned long long)area.width * sizeof *rows);
    double *row_a = rows, *row_b = rows + area.width, sum = 0.0;
    for (int32_t c = 0; c < area.channels; c++) {
        for (int32_t y = 0; y < area.height; y++) {
            row_of(&area, a, y, c, row_a);
            row_of(&area, b, y, c, row_b);
            double row_sum = 0.0; /* sums of sums: the error does not grow with the image */
            for (int32_t x = 0; x < area.width; x++) row_sum += (row_a[x] - row_b[x]) * (row_a[x] - row_b[x]);
            sum += row_sum;
        }
    }
    free(rows);
    const double mean = sum / ((double)area.width * area.height * area.channels);
    *psnr = mean > 0.0 ? 10.0 * log10(255.0 * 255.0 / mean) : INFINITY;
    return DUKD_DONE;
}

static void gaussian(double window[WINDOW]) {
    double sum = 0.0;
    for (int i = 0; i < WINDOW; i++) sum += window[i] = exp(-(i - 5) * (i - 5) / (2.0 * 1.5 * 1.5));
    for (int i = 0; i < WINDOW; i++) window[i] /= sum;
}

/* The five moments SSIM needs: of a, b, a a, b b, a b. */
enum { MOMENTS = 5 };

/* The moments of row y, filtered along the row: MOMENTS x (width - 10). */
static void filter_row(const metric_area *area, int32_t y, int32_t c, const double *window, double *scratch,
                       double *out) {
    const int32_t width = area->width, valid = width - WINDOW + 1;
    double *row_a = scratch, *row_b = scratch + width;
    row_of(area, area->a, y, c, row_a);
    row_of(area, area->b, y, c, row_b);
    memset(out, 0, MOMENTS * (size_t)valid * sizeof *out);
    for (int i = 0; i < WINDOW; i++) {
        for (int32_t x = 0; x < valid; x++) {
            const double va = row_a[x + i], vb = row_b[x + i];
            out[x] += window[i] * va;
            out[valid + x] += window[i] * vb;
            out[2 * valid + x] += window[i] * (va * va);
            out[3 * valid + x] += window[i] * (vb * vb);
            out[4 * valid + x] += window[i] * (va * vb);
        }
    }
}

/* The sum of SSIM over one row of the map; m: MOMENTS x count. */
static double ssim_row(const double *m, int32_t count) {
    const double c1 = (0.01 * 255) * (0.01 * 255), c2 = (0.03 * 255) * (0.03 * 255);
    double sum = 0.0;
    for (int32_t x = 0; x < count; x++) {
        const double ma = m[x], mb = m[count + x];
        const double va = m[2 * count + x] - ma * ma, vb = m[3 * count + x] - mb * mb,
                     ab = m[4 * count + x] - ma * mb;
        sum += (2 * ma * mb + c1) * (2 * ab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
    }
    return sum;
}

int dukd_metric_ssim(const dukd_image *a, const dukd_image *b, dukd_metric_options o, double *ssim,
                     dukd_failure *f) {
    metric_area area;
    int status = area_of(&area, a, b, o, 1, f);
    if (status) return status;
    const int32_t valid = area.width - WINDOW + 1;
    const size_t moments = MOMENTS * (size_t)valid; /* doubles of one row of moments */
    const size_t doubles = 2 * (size_t)area.width + (WINDOW + 1) * moments;
    double *memory = malloc(doubles * sizeof *memory);
    if (!memory) return dukd_fail_memory(f, "rows of an image for SSIM", doubles * sizeof *memory);
    double *scratch = memory, *sums = scratch + 2 * (size_t)area.width, *ring = sums + moments;
    double window[WINDOW], total = 0.0;
    gaussian(window);
    for (int32_t c = 0; c < area.channels; c++) {
        for (int32_t y = 0; y < area.height; y++) { /* the last 11 filtered rows are in the ring */
            filter_row(&area, y, c, window, scratch, ring + (size_t)(y % WINDOW) * moments);
            if (y < WINDOW - 1) continue;
            memset(sums, 0, moments * sizeof *sums);
            for (int i = 0; i < WINDOW; i++) {
                const double *row = ring + (size_t)((y - WINDOW + 1 + i) % WINDOW) * moments;
                for (size_t j = 0; j < moments; j++) sums[j] += window[i] * row[j];
            }
            total += ssim_row(sums, valid);
        }
    }
    free(memory);
    *ssim = total / ((double)valid * (area.height - WINDOW + 1) * area.channels);
    return DUKD_DONE;
}
