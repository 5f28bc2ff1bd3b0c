/* Pairing HR files with LR files, by folder or by a prepared set's manifest, and checking every header. */
#include "data/dataset_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/dataset_files.h"
#include "data/image.h"
#include "data/image_list.h"
#include "data/prepared.h"
#include "data/tiled.h"

static int is_tiff(const char *path) {
    const char *base = dukd_files_base(path), *extension = base + dukd_image_stem_length(base);
    return !strcasecmp(extension, ".tif") || !strcasecmp(extension, ".tiff");
}

static int tiled_size(const char *path, dukd_pair_size *size, dukd_failure *f) {
    dukd_tiled *t = NULL;
    const int status = dukd_tiled_open(&t, path, f);
    if (status != DUKD_DONE) return status;
    const dukd_tiled_info info = dukd_tiled_describe(t);
    *size = (dukd_pair_size){info.width, info.height, info.depth};
    dukd_tiled_close(t);
    return DUKD_DONE;
}

static int image_size(const char *path, dukd_pair_size *size, dukd_failure *f) {
    return dukd_image_read_header(path, &size->width, &size->height, &size->depth, f);
}

/* Reads both headers and fills sizes and `tiled`. */
static int read_sizes(dukd_pair_files *pair, const dukd_dataset_options *o, dukd_failure *f) {
    int status;
    if (pair->lr_path && is_tiff(pair->hr_path) && is_tiff(pair->lr_path) &&
        tiled_size(pair->hr_path, &pair->hr, NULL) == DUKD_DONE &&
        tiled_size(pair->lr_path, &pair->lr, NULL) == DUKD_DONE) {
        pair->tiled = 1;
    } else {
        status = image_size(pair->hr_path, &pair->hr, f);
        if (status == DUKD_DONE && pair->lr_path) status = image_size(pair->lr_path, &pair->lr, f);
        if (status != DUKD_DONE) return status;
    }
    const int32_t width = pair->hr.width / o->scale, height = pair->hr.height / o->scale;
    if (width < 1 || height < 1)
        return dukd_fail(f, DUKD_FAILED, "%s: %dx%d is too small for scale %d: remove it", pair->hr_path,
                         pair->hr.width, pair->hr.height, o->scale);
    if (!pair->lr_path) {
        pair->lr = (dukd_pair_size){width, height, 8};
    } else if (pair->lr.width != width || pair->lr.height != height) {
        return dukd_fail(
            f, DUKD_FAILED,
            "%s is %dx%d, but the LR image of %s (%dx%d) at scale %d must be %dx%d: is this the right folder "
            "(dataroot_lq), scale and filename_tmpl?",
            pair->lr_path, pair->lr.width, pair->lr.height, pair->hr_path, pair->hr.width, pair->hr.height,
            o->scale, width, height);
    }
    return DUKD_DONE;
}

static int no_memory(dukd_failure *f) {
    return dukd_fail(f, DUKD_FAILED, "out of memory: the list of images");
}

static int allocate(dukd_pairs *out, int64_t count, dukd_failure *f) {
    out->at = calloc((size_t)count, sizeof *out->at);
    return out->at ? DUKD_DONE : no_memory(f);
}

/* ---- folders ---- */

static int check_template(const char *tmpl, dukd_failure *f) {
    const char *braces = strstr(tmpl, "{}");
    if (!braces || strpbrk(braces + 2, "{}") || strcspn(tmpl, "{}") != (size_t)(braces - tmpl) ||
        strchr(tmpl, '/'))
        return dukd_fail(f, DUKD_MISUSED,
                         "filename_tmpl is '%s': it must hold {} once, in place of the HR file's name, and "
                         "no folder, as in "
                         "'{}x4'",
                         tmpl);
    return DUKD_DONE;
}

/* The place in `lr` of the LR file of `hr_path`, which is called `hr_name`. */
static int find_lr(int64_t *place, const char *hr_path, const char *hr_name, const dukd_files *lr,
                   const dukd_dataset_options *o, const char *tmpl, dukd_failure *f) {
    const char *braces = strstr(tmpl, "{}");
    char *name;
    if (asprintf(&name, "%.*s%s%s", (int)(braces - tmpl), tmpl, hr_name, braces + 2) < 0) return no_memory(f);
    int64_t count;
    int status = DUKD_DONE;
    *place = dukd_files_find(lr, name, &count);
    if (count == 0)
        status = dukd_fail(f, DUKD_FAILED,
                           "%s has no LR image: no image called %s in dataroot_lq %s (filename_tmpl is '%s')",
                           hr_path, name, o->dataroot_lq, tmpl);
    else if (count > 1)
        status = dukd_fail(f, DUKD_FAILED, "%s has several LR images, %s and %s: keep one of them", hr_path,
                           lr->at[*place].path, lr->at[*place + 1].path);
    free(name);
    return status;
}

/* Moves the HR files into pairs; two of one name could not be told apart in results. */
static int take_hr(dukd_pairs *out, dukd_files *hr, dukd_failure *f) {
    int status = allocate(out, hr->count, f);
    for (int64_t i = 0; i < hr->count && status == DUKD_DONE; i++) {
        dukd_file *file = &hr->at[i];
        if (i > 0 && !strcmp(file->name, out->at[i - 1].name)) {
            status = dukd_fail(f, DUKD_FAILED, "%s and %s have the same name: rename or remove one",
                               out->at[i - 1].hr_path, file->path);
        } else {
            out->at[out->count++] = (dukd_pair_files){.name = file->name, .hr_path = file->path};
            *file = (dukd_file){0};
        }
    }
    return status;
}

/* An LR file without HR image hints at folders that do not belong together. */
static int check_leftover(const dukd_files *lr, const char *taken, const dukd_dataset_options *o,
                          dukd_failure *f) {
    for (int64_t i = 0; i < lr->count; i++)
        if (!taken[i])
            return dukd_fail(f, DUKD_FAILED,
                             "%s has no HR image in dataroot_gt %s: remove it, or list the images to use in "
                             "meta_info_file",
                             lr->at[i].path, o->dataroot_gt);
    return DUKD_DONE;
}

static int pair_folders(dukd_pairs *out, const dukd_dataset_options *o, dukd_failure *f) {
    const char *tmpl = o->filename_tmpl ? o->filename_tmpl : "{}";
    dukd_files hr = {0}, lr = {0};
    char *taken = NULL;
    int status = check_template(tmpl, f);
    if (status != DUKD_DONE) return status;
    status = o->meta_info_file ? dukd_files_from_meta_info(&hr, o->dataroot_gt, o->meta_info_file, f)
                               : dukd_files_list(&hr, o->dataroot_gt, "dataroot_gt", f);
    if (status == DUKD_DONE && o->dataroot_lq)
        status = dukd_files_list(&lr, o->dataroot_lq, "dataroot_lq", f);
    if (status == DUKD_DONE) status = take_hr(out, &hr, f);
    if (status == DUKD_DONE && !(taken = calloc((size_t)lr.count + 1, 1))) status = no_memory(f);
    for (int64_t i = 0; i < out->count && status == DUKD_DONE; i++) {
        dukd_pair_files *pair = &out->at[i];
        int64_t place = 0;
        if (o->dataroot_lq) {
            status = find_lr(&place, pair->hr_path, pair->name, &lr, o, tmpl, f);
            if (status != DUKD_DONE) break;
            taken[place] = 1;
            if (!(pair->lr_path = strdup(lr.at[place].path))) status = no_memory(f);
        }
        if (status == DUKD_DONE) status = read_sizes(pair, o, f);
    }
    if (status == DUKD_DONE && !o->meta_info_file) status = check_leftover(&lr, taken, o, f);
    free(taken);
    dukd_files_free(&hr);
    dukd_files_free(&lr);
    return status;
}

/* ---- prepared sets ---- */

static int check_prepared(const dukd_prepared *set, const dukd_dataset_options *o, dukd_failure *f) {
    const char *root = o->dataroot_gt;
    if (o->dataroot_lq || o->meta_info_file)
        return dukd_fail(f, DUKD_MISUSED,
                         "%s is a prepared set, which has its own LR images and list: leave out %s", root,
                         o->dataroot_lq ? "dataroot_lq" : "meta_info_file");
    if (set->tile == 0)
        return dukd_fail(
            f, DUKD_MISUSED,
            "%s was prepared without tiled files: give the folder of HR images as dataroot_gt and "
            "%s/LR_bicubic/X%d as dataroot_lq with filename_tmpl '{}x%d', or prepare it with tiles",
            root, root, o->scale, o->scale);
    if (!dukd_prepared_has_scale(set, o->scale))
        return dukd_fail(f, DUKD_MISUSED,
                         "%s was not prepared for scale %d: run `dukd-host prepare` with --scale %d", root,
                         o->scale, o->scale);
    if (set->clamp_border != (o->clamp_border != 0))
        return dukd_fail(
            f, DUKD_MISUSED,
            "%s was prepared with the %s border, but the %s border is asked for: change the option "
            "or prepare the set again",
            root, set->clamp_border ? "clamped" : "symmetric", o->clamp_border ? "clamped" : "symmetric");
    if (set->count == 0) return dukd_fail(f, DUKD_FAILED, "%s is a prepared set without images", root);
    return DUKD_DONE;
}

static int pair_prepared(dukd_pairs *out, const dukd_dataset_options *o, dukd_failure *f) {
    dukd_prepared set = {0};
    int status = dukd_prepared_read(o->dataroot_gt, &set, f);
    if (status == DUKD_DONE) status = check_prepared(&set, o, f);
    if (status == DUKD_DONE) status = allocate(out, set.count, f);
    for (int64_t i = 0; i < set.count && status == DUKD_DONE; i++) {
        const dukd_prepared_image *image = &set.images[i];
        dukd_pair_files *pair = &out->at[out->count++];
        pair->name = strdup(image->name);
        pair->hr_path = dukd_prepared_tiled_path(o->dataroot_gt, image->name, 0);
        pair->lr_path = dukd_prepared_tiled_path(o->dataroot_gt, image->name, o->scale);
        status = pair->name && pair->hr_path && pair->lr_path ? read_sizes(pair, o, f) : no_memory(f);
        if (status == DUKD_DONE && (pair->hr.width != image->width || pair->hr.height != image->height ||
                                    pair->hr.depth != image->depth))
            status = dukd_fail(f, DUKD_FAILED,
                               "%s is %dx%d with %d bits, but " DUKD_PREPARED_MANIFEST
                               " says %dx%d with %d: run `dukd-host prepare` again",
                               pair->hr_path, pair->hr.width, pair->hr.height, pair->hr.depth, image->width,
                               image->height, image->depth);
    }
    dukd_prepared_free(&set);
    return status;
}

/* ---- both ---- */

static int by_name(const void *a, const void *b) {
    const dukd_pair_files *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int dukd_pairs_find(dukd_pairs *out, const dukd_dataset_options *options, dukd_failure *f) {
    *out = (dukd_pairs){0};
    const int status = dukd_prepared_is(options->dataroot_gt) ? pair_prepared(out, options, f)
                                                              : pair_folders(out, options, f);
    if (status == DUKD_DONE)
        qsort(out->at, (size_t)out->count, sizeof *out->at, by_name);
    else
        dukd_pairs_free(out);
    return status;
}

void dukd_pairs_free(dukd_pairs *pairs) {
    if (!pairs) return;
    for (int64_t i = 0; i < pairs->count; i++) {
        free(pairs->at[i].name);
        free(pairs->at[i].hr_path);
        free(pairs->at[i].lr_path);
    }
    free(pairs->at);
    *pairs = (dukd_pairs){0};
}
