/* The list of what upscale is to do. Nothing is written here. */
#include "cmd/upscale_jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/image_list.h"

typedef struct {
    dukd_upscale_jobs *jobs;
    int64_t room;
    const char *folder, *suffix;
} job_list;

static int add(job_list *l, const char *path, dukd_failure *f) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t size = strlen(l->folder) + strlen(name) + strlen(l->suffix) + sizeof "/.png";
    dukd_upscale_jobs *jobs = l->jobs;
    if (jobs->count == l->room) {
        const int64_t room = 2 * l->room + 64;
        dukd_upscale_job *items = reallocarray(jobs->items, (size_t)room, sizeof *items);
        if (!items)
            return dukd_fail_memory(f, "the list of images", (unsigned long long)room * sizeof *items);
        jobs->items = items;
        l->room = room;
    }
    dukd_upscale_job *job = &jobs->items[jobs->count++];
    *job = (dukd_upscale_job){.in = strdup(path), .out = malloc(size)};
    if (!job->in || !job->out) return dukd_fail_memory(f, "a path", strlen(path) + size);
    snprintf(job->out, size, "%s/%.*s%s.png", l->folder, (int)dukd_image_stem_length(name), name, l->suffix);
    return DUKD_DONE;
}

/* A file, or all images of a folder. */
static int add_input(job_list *l, const char *path, dukd_failure *f) {
    struct stat st;
    dukd_image_list list = {0};
    if (stat(path, &st)) return dukd_fail(f, DUKD_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return add(l, path, f);
    int status = dukd_image_list_read(path, &list, f);
    for (int64_t i = 0; i < list.count && status == DUKD_DONE; i++) {
        char *file = dukd_image_path(path, list.files[i]);
        status = file ? add(l, file, f) : dukd_fail_memory(f, "a path", strlen(path) + 256);
        free(file);
    }
    dukd_image_list_free(&list);
    return status;
}

static int by_output(const void *a, const void *b) {
    return strcmp((*(const dukd_upscale_job *const *)a)->out, (*(const dukd_upscale_job *const *)b)->out);
}

/* Two inputs that would become one file: the second result would take the place of the first. */
static int check_twins(const dukd_upscale_jobs *jobs, dukd_failure *f) {
    const dukd_upscale_job **sorted = malloc((size_t)jobs->count * sizeof *sorted);
    int status = DUKD_DONE;
    if (!sorted)
        return dukd_fail_memory(f, "the list of images", (unsigned long long)jobs->count * sizeof *sorted);
    for (int64_t i = 0; i < jobs->count; i++) sorted[i] = &jobs->items[i];
    qsort(sorted, (size_t)jobs->count, sizeof *sorted, by_output);
    for (int64_t i = 1; i < jobs->count && status == DUKD_DONE; i++)
        if (strcmp(sorted[i - 1]->out, sorted[i]->out) == 0)
            status = dukd_fail(f, DUKD_MISUSED,
                               "%s and %s would both become %s: upscale them into folders of their own",
                               sorted[i - 1]->in, sorted[i]->in, sorted[i]->out);
    free(sorted);
    return status;
}

typedef struct {
    dev_t device;
    ino_t number;
} file_id;

static int by_id(const void *a, const void *b) {
    const file_id *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* A result must not take the place of a photograph: by whatever path, an output is none of the inputs. */
static int check_inputs_stay(const dukd_upscale_jobs *jobs, dukd_failure *f) {
    struct stat st;
    file_id *ids = malloc((size_t)jobs->count * sizeof *ids);
    size_t count = 0;
    int status = DUKD_DONE;
    if (!ids) return dukd_fail_memory(f, "the list of images", (unsigned long long)jobs->count * sizeof *ids);
    for (int64_t i = 0; i < jobs->count; i++)
        if (stat(jobs->items[i].in, &st) == 0) ids[count++] = (file_id){st.st_dev, st.st_ino};
    qsort(ids, count, sizeof *ids, by_id);
    for (int64_t i = 0; i < jobs->count && status == DUKD_DONE; i++) {
        if (stat(jobs->items[i].out, &st)) continue;
        const file_id id = {st.st_dev, st.st_ino};
        if (bsearch(&id, ids, count, sizeof id, by_id))
            status = dukd_fail(f, DUKD_MISUSED,
                               "%s is an input and would be overwritten: choose another folder with -o, or "
                               "other names with --suffix _x4",
                               jobs->items[i].out);
    }
    free(ids);
    return status;
}

int dukd_upscale_jobs_make(dukd_upscale_jobs *out, const char *const *inputs, int32_t count,
                           const char *folder, const char *suffix, dukd_failure *f) {
    *out = (dukd_upscale_jobs){0};
    job_list list = {.jobs = out, .folder = folder, .suffix = suffix ? suffix : ""};
    int status = DUKD_DONE;
    for (int32_t i = 0; i < count && status == DUKD_DONE; i++) status = add_input(&list, inputs[i], f);
    if (status == DUKD_DONE) status = check_twins(out, f);
    if (status == DUKD_DONE) status = check_inputs_stay(out, f);
    return status;
}

void dukd_upscale_jobs_free(dukd_upscale_jobs *jobs) {
    if (!jobs) return;
    for (int64_t i = 0; i < jobs->count; i++) {
        free(jobs->items[i].in);
        free(jobs->items[i].out);
    }
    free(jobs->items);
    *jobs = (dukd_upscale_jobs){0};
}
