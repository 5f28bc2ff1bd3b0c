#include "runs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dukd_yaml.h"

enum { LINE_LIMIT = 64 << 20 };

/* ---- one line of metrics.jsonl (JSON is YAML) ---- */

typedef struct {
    dukd_run_history *h;
    char *set; /* [256], empty: not chosen yet */
    const char *metric, *path;
    int64_t line;
    dukd_failure *f;
} run_reader;

static int bad(const run_reader *r, const char *what) {
    return dukd_fail(r->f, DUKD_FAILED, "%s:%lld: %s", r->path, (long long)r->line, what);
}

static const dukd_yaml_node *child(const dukd_yaml_node *from, const char *key) {
    for (size_t i = 0; from && i < dukd_yaml_node_count(from); i++) {
        const dukd_yaml_node *n = dukd_yaml_node_at(from, i);
        const char *name = dukd_yaml_node_key(n);
        if (name && strcmp(name, key) == 0) return n;
    }
    return NULL;
}

static int number(const dukd_yaml_node *from, const char *key, double *out) {
    const dukd_yaml_node *n = child(from, key);
    const char *text = n ? dukd_yaml_node_text(n) : NULL;
    char *end = NULL;
    if (!text || !*text) return -1;
    *out = strcmp(text, "null") == 0 ? NAN : strtod(text, &end);
    return end && *end ? -1 : 0;
}

static int first_images(run_reader *r, const dukd_yaml_node *images) {
    dukd_run_history *h = r->h;
    size_t n = dukd_yaml_node_count(images);
    h->images = calloc(n + 1, sizeof *h->images);
    if (!h->images) return dukd_fail_memory(r->f, "the images' names", (n + 1) * sizeof *h->images);
    for (size_t i = 0; i < n; i++) {
        const dukd_yaml_node *name = child(dukd_yaml_node_at(images, i), "name");
        const char *text = name ? dukd_yaml_node_text(name) : NULL;
        if (!text || !(h->images[i] = strdup(text))) return bad(r, "an image has no name");
        h->image_count++;
    }
    return n ? DUKD_DONE : bad(r, "a validation without images");
}

static int add_point(run_reader *r, const dukd_yaml_node *line, const dukd_yaml_node *images) {
    dukd_run_history *h = r->h;
    double iteration, seconds;
    if (number(line, "iteration", &iteration) || number(line, "seconds", &seconds))
        return bad(r, "no iteration or seconds");
    if (!h->images) {
        int status = first_images(r, images);
        if (status) return status;
    }
    dukd_run_point *points = realloc(h->points, ((size_t)h->point_count + 1) * sizeof *points);
    double *values = calloc((size_t)h->image_count, sizeof *values);
    if (points) h->points = points;
    if (!points || !values) {
        free(values);
        return dukd_fail_memory(r->f, "a validation", (unsigned long long)h->image_count * sizeof *values);
    }
    h->points[h->point_count++] = (dukd_run_point){(int64_t)iteration, seconds, values};
    if (dukd_yaml_node_count(images) != (size_t)h->image_count)
        return bad(r, "the images of the set have changed");
    for (int64_t i = 0; i < h->image_count; i++) {
        const dukd_yaml_node *image = dukd_yaml_node_at(images, (size_t)i), *name = child(image, "name");
        const char *text = name ? dukd_yaml_node_text(name) : NULL;
        if (!text || strcmp(text, h->images[i])) return bad(r, "the images of the set have changed");
        if (number(image, r->metric, &values[i]))
            return bad(r, "an image does not have this metric (see val.metrics)");
    }
    return DUKD_DONE;
}

static int take_line(run_reader *r, const char *text, size_t size) {
    dukd_yaml_error error = {0};
    dukd_yaml *doc = dukd_yaml_read_text(text, size, r->path, &error);
    if (!doc)
        return dukd_fail(r->f, DUKD_FAILED, "%s:%lld: is no line of JSON: %s", r->path, (long long)r->line,
                         error.message);
    int status = DUKD_DONE;
    const dukd_yaml_node *line = dukd_yaml_root(doc), *sets = child(line, "validation");
    if (sets && !r->set[0] && dukd_yaml_node_count(sets))
        snprintf(r->set, 256, "%s", dukd_yaml_node_key(dukd_yaml_node_at(sets, 0)));
    const dukd_yaml_node *images = sets ? child(child(sets, r->set), "images") : NULL;
    if (images) status = add_point(r, line, images);
    dukd_yaml_destroy(doc);
    return status;
}

static int read_metrics(run_reader *r) {
    char *text = NULL;
    size_t room = 0;
    ssize_t size;
    int status = DUKD_DONE;
    FILE *file = fopen(r->path, "r");
    if (!file)
        return dukd_fail(r->f, DUKD_FAILED, "%s: cannot be read: %s (is this the folder of a run?)", r->path,
                         strerror(errno));
    while (status == DUKD_DONE && (size = getline(&text, &room, file)) > 0) {
        r->line++;
        if (text[size - 1] != '\n') break; /* torn: the run was stopped in the middle */
        if (size > LINE_LIMIT)
            status = bad(r, "is too long");
        else if (strstr(text, "\"validation\""))
            status = take_line(r, text, (size_t)size);
    }
    free(text);
    fclose(file);
    if (status == DUKD_DONE && !r->h->point_count)
        status = dukd_fail(r->f, DUKD_FAILED, "%s: has no validation%s%s", r->path,
                           r->set[0] ? " of set " : "", r->set);
    return status;
}

/* ---- run.json ---- */

static void read_record(dukd_run_history *h, const char *path) {
    dukd_yaml_error error = {0};
    dukd_yaml *doc = dukd_yaml_read_file(path, &error);
    const struct {
        const char *key;
        int64_t *to;
    } fields[] = {{"optimizer_steps", &h->optimizer_steps},
                  {"images", &h->images_seen},
                  {"student_images", &h->student_images},
                  {"teacher_images", &h->teacher_images}};
    const dukd_yaml_node *cost = doc ? child(dukd_yaml_root(doc), "cost") : NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        double value;
        *fields[i].to = cost && !number(cost, fields[i].key, &value) ? (int64_t)value : -1;
    }
    const dukd_yaml_node *name = doc ? child(dukd_yaml_root(doc), "name") : NULL;
    if (name && dukd_yaml_node_text(name)) snprintf(h->name, sizeof h->name, "%s", dukd_yaml_node_text(name));
    dukd_yaml_destroy(doc);
}

static void name_method(dukd_run_history *h) {
    snprintf(h->method, sizeof h->method, "%s", h->name);
    char *seed = strstr(h->method, "_seed");
    if (seed && seed[5] && strspn(seed + 5, "0123456789") == strlen(seed + 5)) *seed = 0;
}

int dukd_run_history_read(dukd_run_history *out, const char *folder, char set[256], const char *metric,
                          dukd_failure *f) {
    char path[4096];
    size_t length = strlen(folder);
    *out = (dukd_run_history){0};
    while (length > 1 && folder[length - 1] == '/') length--;
    const char *base = folder + length;
    while (base > folder && base[-1] != '/') base--;
    snprintf(out->name, sizeof out->name, "%.*s", (int)(folder + length - base), base);
    snprintf(path, sizeof path, "%s/run.json", folder);
    read_record(out, path);
    name_method(out);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    run_reader r = {.h = out, .set = set, .metric = metric, .path = path, .f = f};
    return read_metrics(&r);
}

void dukd_run_history_free(dukd_run_history *h) {
    for (int64_t i = 0; i < h->image_count; i++) free(h->images[i]);
    for (int64_t i = 0; i < h->point_count; i++) free(h->points[i].values);
    free(h->images);
    free(h->points);
    *h = (dukd_run_history){0};
}

const dukd_run_point *dukd_run_at_iteration(const dukd_run_history *h, int64_t limit) {
    const dukd_run_point *best = NULL;
    for (int64_t i = 0; i < h->point_count; i++)
        if (h->points[i].iteration <= limit) best = &h->points[i];
    return best;
}

const dukd_run_point *dukd_run_at_seconds(const dukd_run_history *h, double limit) {
    const dukd_run_point *best = NULL;
    for (int64_t i = 0; i < h->point_count; i++)
        if (h->points[i].seconds <= limit) best = &h->points[i];
    return best;
}
