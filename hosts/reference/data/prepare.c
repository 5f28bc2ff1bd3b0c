/* Preparing a set: the plan, and the threads that work through it. What is done with one image is in prepare_image.c. */
#include "data/prepare.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/image_list.h"
#include "data/prepare_image.h"
#include "data/resample.h"
#include "data/tiled.h"

enum { MOST_THREADS = 64, USUAL_THREADS = 8 };

/* What the threads share. */
typedef struct {
    const dukd_prepare_options *options;
    dukd_prepared set;    /* becomes the manifest */
    pthread_mutex_t lock; /* guards what is below */
    int64_t next, done;
    int32_t manifest_there; /* the old one, until the first file changes */
    dukd_prepare_report report;
    dukd_failure failure;
} prepare_job;

static int by_name(const void *a, const void *b) {
    return strcmp(((const dukd_prepared_image *)a)->name, ((const dukd_prepared_image *)b)->name);
}

/* Names from the folder into the set, ordered; control characters would break the manifest's lines. */
static int list_sources(const char *folder, dukd_prepared *set, dukd_failure *f) {
    dukd_image_list list;
    int status = dukd_image_list_read(folder, &list, f);
    if (status) return status;
    set->images = calloc((size_t)list.count, sizeof *set->images);
    if (!set->images)
        status =
            dukd_fail_memory(f, "the list of images", (unsigned long long)list.count * sizeof *set->images);
    for (int64_t i = 0; !status && i < list.count; i++) {
        dukd_prepared_image *image = &set->images[i];
        const char *file = list.files[i];
        for (const char *c = file; *c; c++) {
            if ((unsigned char)*c < 32) {
                status = dukd_fail(f, DUKD_FAILED,
                                   "%s: a file name with a control character (image %lld): rename it", folder,
                                   (long long)i + 1);
            }
        }
        image->file = strdup(file);
        image->name = strndup(file, dukd_image_stem_length(file));
        set->count = i + 1;
        if (!image->file || !image->name) status = dukd_fail_memory(f, "a file name", strlen(file));
    }
    if (!status) qsort(set->images, (size_t)set->count, sizeof *set->images, by_name);
    for (int64_t i = 1; !status && i < set->count; i++) {
        if (!by_name(&set->images[i - 1], &set->images[i])) {
            status = dukd_fail(f, DUKD_FAILED, "%s: %s and %s would have the same LR files: rename one",
                               folder, set->images[i - 1].file, set->images[i].file);
        }
    }
    dukd_image_list_free(&list);
    return status;
}

static void add_scale(dukd_prepared *set, int32_t scale) {
    if (dukd_prepared_has_scale(set, scale)) return;
    int32_t i = set->scale_count++;
    for (; i > 0 && set->scales[i - 1] > scale; i--) set->scales[i] = set->scales[i - 1];
    set->scales[i] = scale;
}

/* What the set is to contain: what is asked for, and what an earlier run has put there. */
static int plan(prepare_job *job, dukd_failure *f) {
    const dukd_prepare_options *o = job->options;
    dukd_prepared *set = &job->set;
    if (o->scale_count < 1) return dukd_fail(f, DUKD_MISUSED, "no scale to prepare for: give --scale 4");
    for (int32_t i = 0; i < o->scale_count; i++) {
        if (o->scales[i] < 2 || o->scales[i] > DUKD_RESAMPLE_MAX_SCALE) {
            return dukd_fail(f, DUKD_MISUSED, "scale %d: sets are prepared for scales from 2 to %d",
                             o->scales[i], DUKD_RESAMPLE_MAX_SCALE);
        }
        add_scale(set, o->scales[i]);
    }
    if (o->tile && (o->tile < 16 || o->tile > DUKD_TILE_MAX_SIDE || o->tile % 16)) {
        return dukd_fail(f, DUKD_MISUSED, "tiles of %d pixels: their side is a multiple of 16, up to %d",
                         o->tile, DUKD_TILE_MAX_SIDE);
    }
    if (!o->tile && !o->png)
        return dukd_fail(f, DUKD_MISUSED, "neither PNG files nor tiled files are asked for");
    set->clamp_border = o->clamp_border;
    set->tile = o->tile;
    set->has_png = o->png;
    if (dukd_prepared_is(o->out_dir)) {
        dukd_prepared old;
        int status = dukd_prepared_read(o->out_dir, &old, f);
        if (status) return status;
        const int other_border = old.clamp_border != o->clamp_border;
        for (int32_t i = 0; i < old.scale_count; i++) add_scale(set, old.scales[i]);
        if (!set->tile) set->tile = old.tile;
        if (old.has_png) set->has_png = 1;
        job->manifest_there = 1;
        dukd_prepared_free(&old);
        if (other_border) {
            return dukd_fail(
                f, DUKD_MISUSED,
                "%s was prepared with the %s border: name another folder, or use the same border", o->out_dir,
                o->clamp_border ? "symmetric" : "clamp");
        }
    }
    return list_sources(o->hr_dir, set, f);
}

/* mkdir -p */
static int make_folder(const char *path, dukd_failure *f) {
    char *part = strdup(path);
    if (!part) return dukd_fail_memory(f, "a folder name", strlen(path));
    int status = DUKD_DONE;
    for (char *c = part + 1; !status; c++) {
        if (*c && *c != '/') continue;
        const char cut = *c;
        *c = 0;
        if (mkdir(part, 0777) && errno != EEXIST) {
            status = dukd_fail(f, DUKD_FAILED, "%s: the folder cannot be made: %s", part, strerror(errno));
        }
        *c = cut;
        if (!cut) break;
    }
    free(part);
    return status;
}

static int make_folders(const prepare_job *job, dukd_failure *f) {
    const char *out = job->options->out_dir;
    int status =
        *out ? make_folder(out, f) : dukd_fail(f, DUKD_MISUSED, "the folder to write to has no name");
    for (int32_t i = -1; !status && i < job->set.scale_count; i++) { /* -1: HR */
        for (int tiled = 0; !status && tiled < 2; tiled++) {
            if (tiled ? !job->set.tile : i < 0 || !job->set.has_png) continue;
            const int32_t scale = i < 0 ? 0 : job->set.scales[i];
            char *path =
                tiled ? dukd_prepared_tiled_path(out, NULL, scale) : dukd_prepared_png_path(out, NULL, scale);
            status = path ? make_folder(path, f) : dukd_fail_memory(f, "a folder name", strlen(out));
            free(path);
        }
    }
    return status;
}

/* Before the first file changes the manifest goes: a set is either as its manifest says or has none. */
static int on_change(void *user, dukd_failure *f) {
    prepare_job *job = user;
    int status = DUKD_DONE;
    pthread_mutex_lock(&job->lock);
    if (job->manifest_there) {
        char *path = dukd_image_path(job->options->out_dir, DUKD_PREPARED_MANIFEST);
        if (!path || (unlink(path) && errno != ENOENT)) {
            status = dukd_fail(f, DUKD_FAILED, "%s/%s: cannot be removed: %s", job->options->out_dir,
                               DUKD_PREPARED_MANIFEST, strerror(errno));
        }
        free(path);
        job->manifest_there = 0;
    }
    pthread_mutex_unlock(&job->lock);
    return status;
}

static void *work(void *user) {
    prepare_job *job = user;
    for (;;) {
        pthread_mutex_lock(&job->lock);
        const int64_t i = job->failure.status ? job->set.count : job->next;
        if (i < job->set.count) job->next++;
        pthread_mutex_unlock(&job->lock);
        if (i == job->set.count) return NULL;

        dukd_prepared_image *image = &job->set.images[i];
        dukd_failure failure = {0};
        dukd_prepare_counts counts = {0};
        dukd_prepare_image(job->options->hr_dir, job->options->out_dir, &job->set, image, on_change, job,
                           &counts, &failure);

        pthread_mutex_lock(&job->lock);
        job->report.written += counts.written;
        job->report.kept += counts.kept;
        if (failure.status && !job->failure.status) job->failure = failure;
        if (!failure.status) {
            job->done++;
            if (job->options->progress)
                job->options->progress(job->options->user, job->done, job->set.count, image->file);
        }
        pthread_mutex_unlock(&job->lock);
    }
}

static int32_t thread_count(int32_t asked, int64_t images) {
    int64_t count = asked;
    if (asked < 1) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        count = sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : CPU_COUNT(&cpus);
        if (count > USUAL_THREADS) count = USUAL_THREADS;
    }
    if (count > MOST_THREADS) count = MOST_THREADS;
    return (int32_t)(count < images ? count : images);
}

int dukd_prepare_run(const dukd_prepare_options *options, dukd_prepare_report *report, dukd_failure *f) {
    *report = (dukd_prepare_report){0};
    prepare_job job = {.options = options};
    int status = plan(&job, f);
    if (!status) status = make_folders(&job, f);
    if (!status) {
        pthread_mutex_init(&job.lock, NULL);
        pthread_t threads[MOST_THREADS];
        const int32_t wanted = thread_count(options->threads, job.set.count);
        int32_t started = 0;
        while (started < wanted - 1 && !pthread_create(&threads[started], NULL, work, &job)) started++;
        work(&job); /* this thread works too, so fewer threads than wanted do no harm */
        for (int32_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
        pthread_mutex_destroy(&job.lock);
        status = job.failure.status;
        if (status) dukd_fail(f, status, "%s", job.failure.message);
    }
    if (!status) status = dukd_prepared_write(options->out_dir, &job.set, f);
    if (!status) {
        job.report.images = job.set.count;
        job.report.scale_count = job.set.scale_count;
        memcpy(job.report.scales, job.set.scales, sizeof job.report.scales);
        *report = job.report;
    }
    dukd_prepared_free(&job.set);
    return status;
}
