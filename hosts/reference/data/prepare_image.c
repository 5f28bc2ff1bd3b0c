/* One image of a prepared set: its LR at every scale, as PNG and tiled, and its HR tiled. */
#include "data/prepare_image.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/downscale.h"
#include "data/image.h"
#include "data/image_list.h"
#include "data/sha256.h"
#include "data/tiled.h"

static int is_png_of(const char *path, const dukd_image *image) {
    dukd_image there;
    if (access(path, F_OK) || dukd_image_read(path, &there, NULL)) return 0;
    const int same =
        there.width == image->width && there.height == image->height && there.depth == image->depth &&
        !memcmp(there.samples, image->samples, (size_t)image->width * image->height * 3 * (image->depth / 8));
    dukd_image_free(&there);
    return same;
}

/* Compared a row of tiles at a time. */
static int is_tiled_of(const char *path, const dukd_image *image, int32_t side) {
    dukd_tiled *there;
    if (access(path, F_OK) || dukd_tiled_open(&there, path, NULL)) return 0;
    const dukd_tiled_info info = dukd_tiled_describe(there);
    int same = info.width == image->width && info.height == image->height && info.depth == image->depth &&
               info.tile_width == side && info.tile_height == side;
    const size_t row_bytes = (size_t)image->width * 3 * (image->depth / 8);
    unsigned char *rows = same ? malloc(row_bytes * side) : NULL;
    if (!rows) same = 0;
    for (int32_t y = 0; same && y < image->height; y += side) {
        const int32_t height = side < image->height - y ? side : image->height - y;
        same = !dukd_tiled_crop(there, y, 0, height, image->width, rows, NULL) &&
               !memcmp(rows, (const unsigned char *)image->samples + y * row_bytes, height * row_bytes);
    }
    free(rows);
    dukd_tiled_close(there);
    return same;
}

typedef struct {
    const char *out_dir;
    const dukd_prepared *set;
    const char *name;
    int (*on_change)(void *user, dukd_failure *f);
    void *user;
    dukd_prepare_counts *counts;
} image_work;

/* Writes one file unless it is there. scale 0: HR. */
static int put(const image_work *w, const dukd_image *pixels, int32_t scale, int tiled, dukd_failure *f) {
    char *path = tiled ? dukd_prepared_tiled_path(w->out_dir, w->name, scale)
                       : dukd_prepared_png_path(w->out_dir, w->name, scale);
    if (!path) return dukd_fail_memory(f, "a file name", strlen(w->name));
    int status = DUKD_DONE;
    if (tiled ? is_tiled_of(path, pixels, w->set->tile) : is_png_of(path, pixels)) {
        w->counts->kept++;
    } else {
        status = w->on_change(w->user, f);
        if (!status) {
            status = tiled ? dukd_tiled_write(path, pixels, w->set->tile, NULL, f)
                           : dukd_image_write_png(path, pixels, f);
        }
        if (!status) w->counts->written++;
    }
    free(path);
    return status;
}

int dukd_prepare_image(const char *hr_dir, const char *out_dir, const dukd_prepared *set,
                       dukd_prepared_image *image, int (*on_change)(void *user, dukd_failure *f), void *user,
                       dukd_prepare_counts *counts, dukd_failure *f) {
    const image_work w = {out_dir, set, image->name, on_change, user, counts};
    dukd_image hr = {0};
    char *path = dukd_image_path(hr_dir, image->file);
    if (!path) return dukd_fail_memory(f, "a file name", strlen(hr_dir));
    int status = dukd_sha256_file(path, image->sha256, f);
    if (!status) status = dukd_image_read(path, &hr, f);
    if (status) goto done;
    image->width = hr.width;
    image->height = hr.height;
    image->depth = hr.depth;
    for (int32_t i = 0; !status && i < set->scale_count; i++) {
        const int32_t scale = set->scales[i];
        dukd_failure why = {0};
        dukd_image lr;
        status = dukd_downscale(&hr, scale, set->clamp_border, &lr, &why);
        if (status) {
            dukd_fail(f, status, "%s: %s", path, why.message);
            break;
        }
        if (set->has_png) status = put(&w, &lr, scale, 0, f);
        if (!status && set->tile) status = put(&w, &lr, scale, 1, f);
        dukd_image_free(&lr);
    }
    if (!status && set->tile) status = put(&w, &hr, 0, 1, f);
done:
    dukd_image_free(&hr);
    free(path);
    return status;
}
