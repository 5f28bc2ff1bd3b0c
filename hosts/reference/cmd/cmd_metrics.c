/* dukd-host metrics: PSNR and SSIM of a folder of images against their originals. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "common/json_out.h"
#include "data/image.h"
#include "data/image_list.h"
#include "data/metrics.h"

typedef struct {
    int64_t scale, crop_border; /* INT64_MIN: not given */
    int32_t rgb, json;
} metrics_arguments;

typedef struct {
    const char *hr, *sr; /* file names; sr NULL: none found */
    double psnr, ssim;
} metrics_row;

/* Whether an SR file with this stem is an image of the HR file with that stem: "baby", or "baby" followed by what tools add:
 * "babyx4", "baby_x4", "baby_EDSR", "baby-out". */
static int belongs(const char *sr, size_t sr_length, const char *hr, size_t hr_length) {
    if (sr_length < hr_length || memcmp(sr, hr, hr_length)) return 0;
    const char *rest = sr + hr_length;
    if (sr_length == hr_length || *rest == '_' || *rest == '-') return 1;
    return *rest == 'x' && rest[1] >= '0' && rest[1] <= '9';
}

/* Each SR file goes to the HR file with the longest fitting stem ("img_1_out" to "img_1", not to "img"). *extra counts SR files that
 * fit none. */
static int match(const char *sr_dir, const dukd_image_list *sr, const char *hr_dir, const dukd_image_list *hr,
                 metrics_row *rows, int64_t *extra, dukd_failure *f) {
    for (int64_t i = 0; i < hr->count; i++) rows[i] = (metrics_row){.hr = hr->files[i]};
    *extra = 0;
    for (int64_t i = 0; i < sr->count; i++) {
        const char *file = sr->files[i];
        const size_t length = dukd_image_stem_length(file);
        metrics_row *best = NULL;
        size_t best_length = 0;
        for (int64_t k = 0; k < hr->count; k++) {
            const size_t hr_length = dukd_image_stem_length(rows[k].hr);
            if ((!best || hr_length > best_length) && belongs(file, length, rows[k].hr, hr_length)) {
                best = &rows[k];
                best_length = hr_length;
            }
        }
        if (!best) {
            (*extra)++;
        } else if (best->sr) {
            return dukd_fail(f, DUKD_FAILED,
                             "%s: both %s and %s could be the image of %s: keep one of them in the folder",
                             sr_dir, best->sr, file, best->hr);
        } else {
            best->sr = file;
        }
    }
    int64_t missing = 0;
    const char *first = NULL;
    for (int64_t i = 0; i < hr->count; i++) {
        if (rows[i].sr) continue;
        if (!first) first = rows[i].hr;
        missing++;
    }
    if (!missing) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED,
                     "%s: no image of %s (%s): %lld of %lld are missing: add them, or remove their HR files",
                     sr_dir, first, hr_dir, (long long)missing, (long long)hr->count);
}

/* An image in 8 bits. */
static int read_8_bit(const char *path, dukd_image *out, dukd_failure *f) {
    dukd_image image;
    int status = dukd_image_read(path, &image, f);
    if (status) return status;
    if (image.depth == 8) {
        *out = image;
        return DUKD_DONE;
    }
    status = dukd_image_to_8_bit(&image, out, f);
    dukd_image_free(&image);
    return status;
}

static int measure(const metrics_arguments *a, const char *sr_path, const char *hr_path, metrics_row *row,
                   dukd_failure *f) {
    const dukd_metric_options o = {.crop_border = (int32_t)a->crop_border, .y_channel = !a->rgb};
    const int32_t scale = (int32_t)a->scale;
    dukd_image sr = {0}, hr = {0};
    int status = read_8_bit(sr_path, &sr, f);
    if (!status) status = read_8_bit(hr_path, &hr, f);
    if (status) goto done;
    const int32_t width = hr.width / scale * scale, height = hr.height / scale * scale;
    if (sr.width != width || sr.height != height) {
        status = dukd_fail(f, DUKD_FAILED,
                           "%s has %d x %d pixels, but %s has %d x %d, which at scale %d makes %d x %d: "
                           "check --scale and that the "
                           "images belong together",
                           sr_path, sr.width, sr.height, hr_path, hr.width, hr.height, scale, width, height);
        goto done;
    }
    dukd_image_cut(&hr, width, height);
    dukd_failure why = {0};
    status = dukd_metric_psnr(&sr, &hr, o, &row->psnr, &why);
    if (!status) status = dukd_metric_ssim(&sr, &hr, o, &row->ssim, &why);
    if (status) dukd_fail(f, status, "%s: %s", sr_path, why.message);
done:
    dukd_image_free(&sr);
    dukd_image_free(&hr);
    return status;
}

static void print_text(const metrics_arguments *a, const metrics_row *rows, int64_t count,
                       const metrics_row *mean) {
    int width = 5;
    for (int64_t i = 0; i < count; i++) {
        const int length = (int)strlen(rows[i].sr);
        if (length > width) width = length < 60 ? length : 60;
    }
    printf("%-*s  %9s  %7s\n", width, "image", "PSNR", "SSIM");
    for (int64_t i = 0; i < count; i++)
        printf("%-*s  %9.4f  %7.4f\n", width, rows[i].sr, rows[i].psnr, rows[i].ssim);
    printf("%-*s  %9.4f  %7.4f\n", width, "mean", mean->psnr, mean->ssim);
    printf("\nx%lld, %s, %lld pixels cut on each side, %lld images, whole images of 8 bits\n",
           (long long)a->scale, a->rgb ? "RGB" : "Y of YCbCr", (long long)a->crop_border, (long long)count);
}

/* PSNR of equal images is infinite, which is null in JSON. */
static int print_json(const metrics_arguments *a, const metrics_row *rows, int64_t count,
                      const metrics_row *mean, dukd_failure *f) {
    dukd_json j = dukd_json_begin(stdout);
    dukd_json_object(&j, NULL);
    dukd_json_integer(&j, "scale", a->scale);
    dukd_json_integer(&j, "crop_border", a->crop_border);
    dukd_json_text(&j, "channels", a->rgb ? "RGB" : "Y");
    dukd_json_array(&j, "images");
    for (int64_t i = 0; i < count; i++) {
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "sr", rows[i].sr);
        dukd_json_text(&j, "hr", rows[i].hr);
        dukd_json_number(&j, "psnr", rows[i].psnr);
        dukd_json_number(&j, "ssim", rows[i].ssim);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    dukd_json_object(&j, "mean");
    dukd_json_number(&j, "psnr", mean->psnr);
    dukd_json_number(&j, "ssim", mean->ssim);
    dukd_json_close(&j);
    dukd_json_close(&j);
    return dukd_json_end(&j, "standard output", f);
}

static int run(const metrics_arguments *a, const char *sr_dir, const char *hr_dir, dukd_failure *f) {
    dukd_image_list sr = {0}, hr = {0};
    metrics_row *rows = NULL, mean = {0};
    int64_t extra = 0;
    int status = dukd_image_list_read(sr_dir, &sr, f);
    if (!status) status = dukd_image_list_read(hr_dir, &hr, f);
    if (status) goto done;
    rows = calloc((size_t)hr.count, sizeof *rows);
    status = rows ? match(sr_dir, &sr, hr_dir, &hr, rows, &extra, f)
                  : dukd_fail_memory(f, "the table", (unsigned long long)hr.count * sizeof *rows);
    for (int64_t i = 0; !status && i < hr.count; i++) {
        char *sr_path = dukd_image_path(sr_dir, rows[i].sr), *hr_path = dukd_image_path(hr_dir, rows[i].hr);
        status = sr_path && hr_path ? measure(a, sr_path, hr_path, &rows[i], f)
                                    : dukd_fail_memory(f, "a file name", strlen(sr_dir));
        mean.psnr += rows[i].psnr / (double)hr.count;
        mean.ssim += rows[i].ssim / (double)hr.count;
        free(sr_path);
        free(hr_path);
    }
    if (status) goto done;
    if (extra) {
        fprintf(stderr, "dukd-host metrics: %lld images in %s belong to none in %s and are left out\n",
                (long long)extra, sr_dir, hr_dir);
    }
    if (a->json) {
        status = print_json(a, rows, hr.count, &mean, f);
    } else {
        print_text(a, rows, hr.count, &mean);
    }
done:
    free(rows);
    dukd_image_list_free(&sr);
    dukd_image_list_free(&hr);
    return status;
}

static int check(metrics_arguments *a, dukd_failure *f) {
    if (a->scale == INT64_MIN)
        return dukd_fail(f, DUKD_MISUSED, "--scale is missing: give the scale of the images, as --scale 4");
    if (a->scale < 1 || a->scale > 16)
        return dukd_fail(f, DUKD_MISUSED, "--scale wants a number from 1 to 16, not %lld",
                         (long long)a->scale);
    if (a->crop_border == INT64_MIN) a->crop_border = a->scale;
    if (a->crop_border < 0 || a->crop_border > DUKD_IMAGE_MAX_SIDE) {
        return dukd_fail(f, DUKD_MISUSED, "--crop-border wants a number of pixels, not %lld",
                         (long long)a->crop_border);
    }
    return DUKD_DONE;
}

int dukd_cmd_metrics(int argc, char **argv) {
    metrics_arguments a = {.scale = INT64_MIN, .crop_border = INT64_MIN};
    dukd_texts folders = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--scale", "-s", DUKD_ARG_INTEGER, "N", "scale of the SR images", &a.scale},
        {"--crop-border", NULL, DUKD_ARG_INTEGER, "N", "pixels cut on each side (the scale)", &a.crop_border},
        {"--rgb", NULL, DUKD_ARG_FLAG, NULL, "measure R, G and B (default: Y of YCbCr)", &a.rgb},
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "print JSON, for a program", &a.json},
    };
    const dukd_command command = {
        .command = "metrics",
        .summary = "PSNR and SSIM of super-resolved images against their originals, as the papers' tables "
                   "have them.",
        .positionals = "SR_DIR HR_DIR --scale N",
        .details =
            "An SR image belongs to the HR image whose name it has or begins with: baby.png, babyx4.png and\n"
            "baby_EDSR.png to baby.png. HR is cut to a multiple of the scale, top left. PSNR of equal "
            "images\n"
            "is inf, in JSON null.",
        .example = "dukd-host metrics results/visualization/Set5 Set5/HR --scale 4\n"
                   "dukd-host metrics out DIV2K/HR --scale 2 --crop-border 6 --rgb --json",
        .min_positionals = 2,
        .max_positionals = 2,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &folders, &f);
    if (status == DUKD_DONE) status = check(&a, &f);
    if (status == DUKD_DONE) status = run(&a, folders.items[0], folders.items[1], &f);
    dukd_texts_free(&folders);
    return dukd_command_end("metrics", status, &f);
}
