#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/picture.h"
#include "report.h"

enum { WINDOW = 96, ZOOM = 2, GAP = 8, HEADING = 24, CAPTION = 20, TEXT = 2 };

typedef struct {
    int32_t left, top, width, height;
} window;

/* Sum of squared differences over a window, and with it the PSNR of the window (RGB). */
static double squared_error(const dukd_image *a, const dukd_image *b, window w) {
    const uint8_t *p = a->samples, *q = b->samples;
    double sum = 0;
    for (int32_t y = w.top; y < w.top + w.height; y++)
        for (int32_t x = 3 * w.left; x < 3 * (w.left + w.width); x++) {
            size_t at = (size_t)y * 3 * (size_t)a->width + (size_t)x;
            int d = p[at] - q[at];
            sum += d * d;
        }
    return sum;
}

static double window_psnr(const dukd_image *a, const dukd_image *b, window w) {
    double mean = squared_error(a, b, w) / (3.0 * w.width * w.height);
    return mean > 0 ? 10 * log10(255.0 * 255.0 / mean) : INFINITY;
}

/* On a grid of multiples of the scale, so that LR pixels show whole. */
static window worst_window(const dukd_image *bicubic, const dukd_image *hr, int32_t scale) {
    window best = {0, 0, hr->width < WINDOW ? hr->width : WINDOW / scale * scale,
                   hr->height < WINDOW ? hr->height : WINDOW / scale * scale};
    window w = best;
    double most = -1;
    for (w.top = 0; w.top + w.height <= hr->height; w.top += 8 * scale)
        for (w.left = 0; w.left + w.width <= hr->width; w.left += 8 * scale) {
            double error = squared_error(bicubic, hr, w);
            if (error <= most) continue;
            most = error;
            best = w;
        }
    return best;
}

static void label(dukd_image *picture, int column, int row, int line, const char *text) {
    int32_t cell = WINDOW * ZOOM + GAP;
    dukd_picture_text(picture, GAP + column * cell, line + row * (cell + CAPTION), TEXT, text);
}

static int draw_row(const report *r, int64_t image, int row, dukd_image *picture, dukd_failure *f) {
    dukd_image hr = {0}, lr = {0}, bicubic = {0};
    int32_t cell = WINDOW * ZOOM + GAP, y = HEADING + GAP + row * (cell + CAPTION);
    int status = report_hr(r, image, &hr, &lr, f);
    if (status == DUKD_DONE) status = report_image(r, image, 0, &lr, &bicubic, f);
    if (status == DUKD_DONE) {
        window w = worst_window(&bicubic, &hr, r->scale);
        int caption = HEADING + GAP + WINDOW * ZOOM + 4;
        char text[64];
        dukd_picture_place(picture, GAP, y, &lr, w.left / r->scale, w.top / r->scale, w.width / r->scale,
                           w.height / r->scale, ZOOM * r->scale);
        snprintf(text, sizeof text, "%.15s", r->names[image]);
        label(picture, 0, row, caption, text);
        for (int m = 0; m < r->method_count && status == DUKD_DONE; m++) {
            dukd_image sr = {0};
            status = report_image(r, image, m, &lr, &sr, f);
            if (status == DUKD_DONE) {
                dukd_picture_place(picture, GAP + (m + 1) * cell, y, &sr, w.left, w.top, w.width, w.height,
                                   ZOOM);
                snprintf(text, sizeof text, "%.2f dB", window_psnr(&sr, &hr, w));
                label(picture, m + 1, row, caption, text);
            }
            dukd_image_free(&sr);
        }
        dukd_picture_place(picture, GAP + (r->method_count + 1) * cell, y, &hr, w.left, w.top, w.width,
                           w.height, ZOOM);
    }
    dukd_image_free(&hr);
    dukd_image_free(&lr);
    dukd_image_free(&bicubic);
    return status;
}

int report_draw(const report *r, int rows, const char *path, dukd_failure *f) {
    dukd_image picture = {0};
    int32_t cell = WINDOW * ZOOM + GAP;
    if (rows > r->count) rows = (int)r->count;
    int status = dukd_picture_create(&picture, GAP + cell * (r->method_count + 2),
                                     HEADING + 2 * GAP + rows * (cell + CAPTION), f);
    if (status) return status;
    label(&picture, 0, 0, GAP, "LR");
    for (int m = 0; m < r->method_count; m++) label(&picture, m + 1, 0, GAP, r->methods[m].label);
    label(&picture, r->method_count + 1, 0, GAP, "HR");
    for (int i = 0; i < rows && status == DUKD_DONE; i++)
        status = draw_row(r, i * r->count / rows, i, &picture, f);
    if (status == DUKD_DONE) status = dukd_image_write_png(path, &picture, f);
    dukd_image_free(&picture);
    return status;
}
