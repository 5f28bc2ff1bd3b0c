/* Bicubic down and up by whole factors, in exact integer arithmetic. */
#include "data/downscale.h"

#include <stdlib.h>
#include <string.h>

#include "data/image_codec.h"
#include "data/resample.h"

static int check_scale(int32_t scale, dukd_failure *f) {
    if (scale >= 2 && scale <= DUKD_RESAMPLE_MAX_SCALE) return DUKD_DONE;
    return dukd_fail(f, DUKD_MISUSED, "scale %d: bicubic images are made for whole scales from 2 to %d",
                     scale, DUKD_RESAMPLE_MAX_SCALE);
}

/* The nearest byte of sum / total, halves up, clamped. Dividing non-negative integers rounds down. */
static uint8_t to_byte(int64_t sum, int64_t total) {
    if (sum <= 0) return 0;
    const int64_t value = (2 * sum + total) / (2 * total);
    return (uint8_t)(value < 255 ? value : 255);
}

/* The same in 32 bits, for downscaling: sums stay below 2^25. */
static uint8_t to_byte_down(int32_t sum, int32_t total) {
    if (sum <= 0) return 0;
    const uint32_t value = (2 * (uint32_t)sum + (uint32_t)total) / (2 * (uint32_t)total);
    return (uint8_t)(value < 255 ? value : 255);
}

/* 8-bit samples of an image: its own, or those of *made (which the caller frees). */
static int bytes_of(const dukd_image *image, dukd_image *made, const uint8_t **samples, dukd_failure *f) {
    *made = (dukd_image){0};
    int status = image->depth == 8 ? DUKD_DONE : dukd_image_to_8_bit(image, made, f);
    *samples = image->depth == 8 ? image->samples : made->samples;
    return status;
}

/* sums[j] = sum over taps of weight * rows[tap][j]. */
static void add_rows(const dukd_resample_taps *t, const uint8_t *const *rows, int64_t count, int32_t *sums) {
    memset(sums, 0, (size_t)count * sizeof *sums);
    for (int32_t i = 0; i < t->count; i++) {
        const int32_t weight = t->weights[i];
        const uint8_t *row = rows[i];
        for (int64_t j = 0; j < count; j++) sums[j] += weight * row[j];
    }
}

typedef struct {
    dukd_resample_taps taps;
    int32_t scale, clamp_border;
    int32_t width, height; /* of HR, multiples of scale */
    int64_t stride;        /* samples from row to row of HR */
} down_plan;

/* One LR row: height pass over whole HR rows, rounded to bytes, then the width pass. */
static void down_row(const down_plan *p, const uint8_t *hr, int32_t y, int32_t *sums, uint8_t *middle,
                     uint8_t *out) {
    const dukd_resample_taps *t = &p->taps;
    const int64_t count = (int64_t)p->width * 3;
    const uint8_t *rows[DUKD_RESAMPLE_MAX_TAPS];
    for (int32_t i = 0; i < t->count; i++) {
        rows[i] = hr + dukd_resample_index((int64_t)y * p->scale + t->first + i, p->height, p->clamp_border) *
                           p->stride;
    }
    add_rows(t, rows, count, sums);
    /* The middle row has its border around it: `left` pixels before, as many as the taps need behind. */
    const int32_t left = -t->first, right = t->first + t->count - p->scale;
    uint8_t *inner = middle + (int64_t)left * 3;
    for (int64_t j = 0; j < count; j++) inner[j] = to_byte_down(sums[j], t->total);
    for (int32_t i = 1; i <= left; i++) {
        memcpy(inner - 3 * i, inner + 3 * (int64_t)dukd_resample_index(-i, p->width, p->clamp_border), 3);
    }
    for (int32_t i = 0; i < right; i++) {
        memcpy(inner + count + 3 * i,
               inner + 3 * (int64_t)dukd_resample_index((int64_t)p->width + i, p->width, p->clamp_border), 3);
    }
    for (int32_t x = 0; x < p->width / p->scale; x++) {
        const uint8_t *in = middle + (int64_t)x * p->scale * 3;
        int32_t sum[3] = {0, 0, 0};
        for (int32_t i = 0; i < t->count; i++) {
            for (int c = 0; c < 3; c++) sum[c] += t->weights[i] * in[3 * i + c];
        }
        for (int c = 0; c < 3; c++) out[3 * x + c] = to_byte_down(sum[c], t->total);
    }
}

int dukd_downscale(const dukd_image *hr, int32_t scale, int32_t clamp_border, dukd_image *lr,
                   dukd_failure *f) {
    *lr = (dukd_image){0};
    int status = check_scale(scale, f);
    if (status) return status;
    const int32_t width = hr->width / scale, height = hr->height / scale;
    if (width < 1 || height < 1) {
        return dukd_fail(f, DUKD_FAILED, "an image of %d x %d pixels is too small for scale %d", hr->width,
                         hr->height, scale);
    }
    down_plan plan = {.scale = scale,
                      .clamp_border = clamp_border,
                      .width = width * scale,
                      .height = height * scale,
                      .stride = (int64_t)hr->width * 3};
    dukd_resample_down(&plan.taps, scale);
    const int64_t count = (int64_t)plan.width * 3;
    dukd_image made = {0};
    const uint8_t *samples;
    int32_t *sums = malloc((size_t)count * sizeof *sums);
    uint8_t *middle = malloc((size_t)count + 3 * DUKD_RESAMPLE_MAX_TAPS);
    if (!sums || !middle) {
        status = dukd_fail_memory(f, "a row of an image", (unsigned long long)count * 5);
        goto done;
    }
    status = bytes_of(hr, &made, &samples, f);
    if (!status) status = dukd_image_create(lr, width, height, 8, f);
    if (status) goto done;
    for (int32_t y = 0; y < height; y++) {
        down_row(&plan, samples, y, sums, middle, (uint8_t *)lr->samples + (int64_t)y * width * 3);
    }
done:
    free(sums);
    free(middle);
    dukd_image_free(&made);
    return status;
}

int dukd_upscale_bicubic(const dukd_image *lr, int32_t scale, dukd_image *out, dukd_failure *f) {
    *out = (dukd_image){0};
    int status = check_scale(scale, f);
    if (status) return status;
    status = dukd_image_check_size("the bicubic image", (int64_t)lr->width * scale,
                                   (int64_t)lr->height * scale, f);
    if (status) return status;
    dukd_resample_taps taps[DUKD_RESAMPLE_MAX_SCALE];
    for (int32_t phase = 0; phase < scale; phase++) dukd_resample_up(&taps[phase], scale, phase);
    const int64_t count = (int64_t)lr->width * 3;
    dukd_image made = {0};
    const uint8_t *samples;
    int32_t *sums = malloc((size_t)count * sizeof *sums);
    if (!sums) {
        status = dukd_fail_memory(f, "a row of an image", (unsigned long long)count * sizeof *sums);
        goto done;
    }
    status = bytes_of(lr, &made, &samples, f);
    if (!status) status = dukd_image_create(out, lr->width * scale, lr->height * scale, 8, f);
    if (status) goto done;
    uint8_t *pixel = out->samples;
    for (int32_t y = 0; y < out->height; y++) {
        const dukd_resample_taps *down = &taps[y % scale];
        const uint8_t *rows[DUKD_RESAMPLE_MAX_TAPS];
        for (int32_t i = 0; i < down->count; i++) {
            rows[i] =
                samples + dukd_resample_index((int64_t)y / scale + down->first + i, lr->height, 0) * count;
        }
        add_rows(down, rows, count, sums);
        for (int32_t x = 0; x < out->width; x++, pixel += 3) {
            const dukd_resample_taps *across = &taps[x % scale];
            int64_t sum[3] = {0, 0, 0};
            for (int32_t i = 0; i < across->count; i++) {
                const int32_t *in = sums + 3 * (int64_t)dukd_resample_index(
                                                   (int64_t)x / scale + across->first + i, lr->width, 0);
                for (int c = 0; c < 3; c++) sum[c] += (int64_t)across->weights[i] * in[c];
            }
            const int64_t total = (int64_t)down->total * across->total;
            for (int c = 0; c < 3; c++) pixel[c] = to_byte(sum[c], total);
        }
    }
done:
    free(sums);
    dukd_image_free(&made);
    return status;
}
