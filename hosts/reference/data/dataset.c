/* A set of image pairs: opening it, whole pairs, crops. */
#include "data/dataset.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_cache.h"
#include "data/dataset_crop.h"
#include "data/dataset_files.h"
#include "data/dataset_hash.h"
#include "data/dataset_pairs.h"
#include "data/downscale.h"
#include "data/image_list.h"
#include "data/tiled.h"

struct dukd_dataset {
    dukd_pairs pairs;
    int32_t scale, clamp_border;
    int32_t has_lr_folder; /* dataroot_lq was given */
    dukd_cache *cache;
    _Atomic int64_t *tiled_bytes; /* behind a pointer, so that a const data set can count */
};

static int64_t sample_bytes(dukd_pair_size size) {
    return (int64_t)size.width * size.height * 3 * (size.depth / 8);
}

static int is_of(const dukd_image *image, dukd_pair_size size) {
    return image->width == size.width && image->height == size.height && image->depth == size.depth;
}

/* Decodes a file that had this size and depth when the set was opened. */
static int read_image(const char *path, dukd_pair_size size, dukd_image *out, dukd_failure *f) {
    const int status = dukd_image_read(path, out, f);
    if (status != DUKD_DONE || is_of(out, size)) return status;
    const dukd_pair_size now = {out->width, out->height, out->depth};
    dukd_image_free(out);
    return dukd_fail(f, DUKD_FAILED,
                     "%s has changed since the data set was opened: from %dx%d with %d bits to %dx%d with %d "
                     "bits: leave the "
                     "files alone during a run and start again",
                     path, size.width, size.height, size.depth, now.width, now.height, now.depth);
}

/* A whole pair; both images are zeroed on failure. */
static int make_pair(const void *context, int64_t i, dukd_image_pair *out, dukd_failure *f) {
    const dukd_dataset *d = context;
    const dukd_pair_files *pair = &d->pairs.at[i];
    *out = (dukd_image_pair){0};
    int status = read_image(pair->hr_path, pair->hr, &out->hr, f);
    if (status == DUKD_DONE)
        status = pair->lr_path ? read_image(pair->lr_path, pair->lr, &out->lr, f)
                               : dukd_downscale(&out->hr, d->scale, d->clamp_border, &out->lr, f);
    if (status != DUKD_DONE) {
        dukd_image_free(&out->hr);
        dukd_image_free(&out->lr);
        *out = (dukd_image_pair){0};
        return status;
    }
    assert(is_of(&out->lr, pair->lr));
    return DUKD_DONE;
}

int dukd_dataset_open(dukd_dataset **out, const dukd_dataset_options *options, dukd_failure *f) {
    *out = NULL;
    if (!options->dataroot_gt)
        return dukd_fail(f, DUKD_MISUSED, "dataroot_gt is missing: it names the folder of the HR images");
    if (options->scale < 2 || options->scale > 8)
        return dukd_fail(f, DUKD_MISUSED, "scale is %d: it must be 2 to 8", options->scale);
    dukd_dataset *d = calloc(1, sizeof *d);
    if (d) d->tiled_bytes = calloc(1, sizeof *d->tiled_bytes);
    int status = d && d->tiled_bytes ? DUKD_DONE : dukd_fail_memory(f, "a data set", sizeof *d);
    if (status == DUKD_DONE) status = dukd_pairs_find(&d->pairs, options, f);
    if (status == DUKD_DONE) {
        d->scale = options->scale;
        d->has_lr_folder = options->dataroot_lq != NULL;
        d->clamp_border = options->clamp_border;
        status = dukd_cache_create(&d->cache, d->pairs.count,
                                   options->cache_bytes ? options->cache_bytes : DUKD_DATASET_CACHE_BYTES,
                                   make_pair, d, f);
    }
    if (status == DUKD_DONE)
        *out = d;
    else
        dukd_dataset_close(d);
    return status;
}

void dukd_dataset_close(dukd_dataset *d) {
    if (!d) return;
    dukd_cache_destroy(d->cache);
    dukd_pairs_free(&d->pairs);
    free(d->tiled_bytes);
    free(d);
}

int64_t dukd_dataset_count(const dukd_dataset *d) {
    return d->pairs.count;
}
int32_t dukd_dataset_scale(const dukd_dataset *d) {
    return d->scale;
}
const char *dukd_dataset_name(const dukd_dataset *d, int64_t i) {
    return d->pairs.at[i].name;
}
const char *dukd_dataset_path(const dukd_dataset *d, int64_t i) {
    return d->pairs.at[i].hr_path;
}
const char *dukd_dataset_result_name(const dukd_dataset *d, int64_t i, int32_t *length) {
    const dukd_pair_files *pair = &d->pairs.at[i];
    const char *name = d->has_lr_folder ? dukd_files_base(pair->lr_path) : pair->name;
    *length = (int32_t)(d->has_lr_folder ? dukd_image_stem_length(name) : strlen(name));
    return name;
}

void dukd_dataset_size(const dukd_dataset *d, int64_t i, int32_t *lr_width, int32_t *lr_height) {
    *lr_width = d->pairs.at[i].lr.width;
    *lr_height = d->pairs.at[i].lr.height;
}

static int check_patch(const dukd_dataset *d, int64_t i, int32_t side, dukd_failure *f) {
    const dukd_pair_files *pair = &d->pairs.at[i];
    if (side < 1)
        return dukd_fail(f, DUKD_MISUSED, "a patch of %d LR pixels: gt_size must be the scale or more", side);
    if (side <= pair->lr.width && side <= pair->lr.height) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED,
                     "%s is %dx%d: too small for patches of %lldx%lld (gt_size; %dx%d in LR at scale %d): "
                     "remove it or set a smaller "
                     "gt_size",
                     pair->hr_path, pair->hr.width, pair->hr.height, (long long)side * d->scale,
                     (long long)side * d->scale, side, side, d->scale);
}

int dukd_dataset_check_patch(const dukd_dataset *d, int32_t side, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int64_t i = 0; i < d->pairs.count && status == DUKD_DONE; i++) status = check_patch(d, i, side, f);
    return status;
}

int dukd_dataset_hash(const dukd_dataset *d, char hex[65], dukd_failure *f) {
    return dukd_pairs_hash(&d->pairs, hex, f);
}

int dukd_dataset_read(const dukd_dataset *d, int64_t i, dukd_image *lr, dukd_image *hr, dukd_failure *f) {
    dukd_image_pair pair;
    const int status = make_pair(d, i, &pair, f);
    if (status == DUKD_DONE) dukd_image_cut(&pair.hr, pair.lr.width * d->scale, pair.lr.height * d->scale);
    *lr = pair.lr;
    *hr = pair.hr;
    return status;
}

/* Reads the square at (row, col) of a tiled file and turns it. */
static int crop_tiled(const dukd_dataset *d, const char *path, dukd_pair_size size, int32_t row, int32_t col,
                      int32_t side, int32_t orientation, float *planes, dukd_failure *f) {
    dukd_tiled *t = NULL;
    dukd_image square = {0};
    int status = dukd_tiled_open(&t, path, f);
    if (status != DUKD_DONE) return status;
    const dukd_tiled_info info = dukd_tiled_describe(t);
    if (info.width != size.width || info.height != size.height || info.depth != size.depth)
        status = dukd_fail(f, DUKD_FAILED, "%s has changed since the data set was opened: start again", path);
    if (status == DUKD_DONE) status = dukd_image_create(&square, side, side, info.depth, f);
    if (status == DUKD_DONE) status = dukd_tiled_crop(t, row, col, side, side, square.samples, f);
    if (status == DUKD_DONE) dukd_crop_planes(&square, 0, 0, side, orientation, planes);
    atomic_fetch_add(d->tiled_bytes, dukd_tiled_bytes_read(t));
    dukd_image_free(&square);
    dukd_tiled_close(t);
    return status;
}

int dukd_dataset_crop(const dukd_dataset *d, int64_t i, dukd_placement place, int32_t side, float *lr,
                      float *hr, dukd_failure *f) {
    assert(i >= 0 && i < d->pairs.count);
    const dukd_pair_files *pair = &d->pairs.at[i];
    const int32_t s = d->scale, turned = place.orientation;
    int status = check_patch(d, i, side, f);
    if (status != DUKD_DONE) return status;
    if (place.row < 0 || place.col < 0 || place.row > pair->lr.height - side ||
        place.col > pair->lr.width - side)
        return dukd_fail(f, DUKD_MISUSED,
                         "%s: a crop of %dx%d at row %d, column %d of the LR image leaves its %dx%d",
                         pair->hr_path, side, side, place.row, place.col, pair->lr.width, pair->lr.height);
    if (pair->tiled) {
        status = crop_tiled(d, pair->lr_path, pair->lr, place.row, place.col, side, turned, lr, f);
        if (status == DUKD_DONE)
            status =
                crop_tiled(d, pair->hr_path, pair->hr, place.row * s, place.col * s, side * s, turned, hr, f);
        return status;
    }
    const dukd_image_pair *images;
    status = dukd_cache_get(d->cache, i, sample_bytes(pair->lr) + sample_bytes(pair->hr), &images, f);
    if (status != DUKD_DONE) return status;
    dukd_crop_planes(&images->lr, place.row, place.col, side, turned, lr);
    dukd_crop_planes(&images->hr, place.row * s, place.col * s, side * s, turned, hr);
    dukd_cache_put(d->cache, i);
    return DUKD_DONE;
}

dukd_dataset_traffic dukd_dataset_measure(const dukd_dataset *d) {
    const dukd_cache_counts counts = dukd_cache_measure(d->cache);
    return (dukd_dataset_traffic){.tiled_bytes = atomic_load(d->tiled_bytes),
                                  .decoded = counts.made,
                                  .found = counts.found,
                                  .cached_bytes = counts.bytes,
                                  .peak_bytes = counts.peak_bytes};
}
