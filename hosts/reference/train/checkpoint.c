/* The training state in a file. */
#include "train/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/plugin_load.h"
#include "common/safetensors.h"
#include "engine/mirror.h"
#include "train/host_networks.h"
#include "train/weights.h"

#define FORMAT "dukd-state 1"

struct dukd_state {
    dukd_tensor_file *file;
    dukd_state_info info;
    char path[4096];
};

/* ---------------------------------------------------------------- the fields of the metadata */

typedef enum { FIELD_INT64, FIELD_INT32, FIELD_UINT64, FIELD_DOUBLE, FIELD_TEXT } field_kind;
typedef struct {
    const char *key;
    field_kind kind;
    size_t offset, size;
    int32_t optional; /* 1: states of earlier versions do not have it: 0 */
} field;

#define FIELD_OF(kind, name, late)                                                                           \
    { #name, kind, offsetof(dukd_state_info, name), sizeof((dukd_state_info *)0)->name, late }
#define FIELD(kind, name)      FIELD_OF(kind, name, 0)
#define LATE_FIELD(kind, name) FIELD_OF(kind, name, 1)
#define LATE_COUNT(name, late)                                                                               \
    { #name, FIELD_INT64, offsetof(dukd_state_info, counts.name), sizeof(int64_t), late }
#define COUNT(name) LATE_COUNT(name, 0)

static const field fields[] = {
    FIELD(FIELD_INT64, iteration),
    FIELD(FIELD_UINT64, seed),
    COUNT(optimizer_steps),
    COUNT(skipped_steps),
    COUNT(images),
    COUNT(student_passes),
    COUNT(student_images),
    COUNT(teacher_passes),
    COUNT(teacher_images),
    LATE_COUNT(feature_passes, 1),
    LATE_COUNT(feature_images, 1),
    FIELD(FIELD_DOUBLE, seconds),
    FIELD(FIELD_DOUBLE, waited),
    FIELD(FIELD_DOUBLE, best_value),
    FIELD(FIELD_INT64, best_iteration),
    FIELD(FIELD_INT32, validation_due),
    FIELD(FIELD_INT32, threads),
    LATE_FIELD(FIELD_INT32, ranks),
    LATE_FIELD(FIELD_INT64, next_sample),
    FIELD(FIELD_TEXT, instruction_set),
    FIELD(FIELD_TEXT, library),
    FIELD(FIELD_TEXT, plugin),
    FIELD(FIELD_TEXT, data_hash),
};
enum { FIELDS = sizeof fields / sizeof *fields, FIELD_ROOM = 200 };

static void show_field(const field *d, const dukd_state_info *info, char text[FIELD_ROOM]) {
    const void *at = (const char *)info + d->offset;
    int64_t whole;
    int32_t small;
    uint64_t large;
    double number;
    switch (d->kind) {
    case FIELD_INT64:
        memcpy(&whole, at, sizeof whole);
        snprintf(text, FIELD_ROOM, "%" PRId64, whole);
        break;
    case FIELD_INT32:
        memcpy(&small, at, sizeof small);
        snprintf(text, FIELD_ROOM, "%" PRId32, small);
        break;
    case FIELD_UINT64:
        memcpy(&large, at, sizeof large);
        snprintf(text, FIELD_ROOM, "%" PRIu64, large);
        break;
    case FIELD_DOUBLE:
        memcpy(&number, at, sizeof number);
        snprintf(text, FIELD_ROOM, "%.17g", number);
        break;
    case FIELD_TEXT:
        snprintf(text, FIELD_ROOM, "%.*s", (int)d->size, (const char *)at);
        break;
    }
}

/* 0 where the text is no such value. */
static int take_field(const field *d, dukd_state_info *info, const char *text) {
    char *at = (char *)info + d->offset, *end = NULL;
    errno = 0;
    if (d->kind == FIELD_TEXT) {
        size_t length = strlen(text);
        if (length >= d->size) return 0;
        memcpy(at, text, length + 1);
        return 1;
    }
    if (d->kind == FIELD_DOUBLE) {
        double number = strtod(text, &end);
        memcpy(at, &number, sizeof number);
    } else if (d->kind == FIELD_UINT64) {
        uint64_t large = strtoull(text, &end, 10);
        memcpy(at, &large, sizeof large);
    } else {
        int64_t whole = strtoll(text, &end, 10);
        int32_t small = (int32_t)whole;
        if (d->kind == FIELD_INT32 && small != whole) return 0;
        if (d->kind == FIELD_INT32)
            memcpy(at, &small, sizeof small);
        else
            memcpy(at, &whole, sizeof whole);
    }
    return end != text && !*end && !errno;
}

/* ---------------------------------------------------------------- writing */

static int read_blob(const dukd_learner *l, const dukd_plugin *plugin, void **blob, uint64_t *size,
                     dukd_failure *f) {
    dukd_session *session = dukd_stepper_session(l->stepper);
    dukd_error e = dukd_error_ready();
    int32_t code = plugin->get_state(session, NULL, size, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "get_state", code, &e);
    *blob = malloc(*size ? (size_t)*size : 1);
    if (!*blob) return dukd_fail_memory(f, "the plugin's state", *size);
    code = plugin->get_state(session, *blob, size, &e);
    return code == DUKD_OK ? 0 : dukd_fail_plugin(f, "get_state", code, &e);
}

/* The arrays of a trained set, by the names that a state has for them. NULL: it has none. */
typedef struct {
    char prefix[64];
    float *values;
} named_array;
enum { ARRAYS = 4 };

static void arrays_of(const dukd_trained *t, named_array out[ARRAYS]) {
    static const char *const names[ARRAYS] = {"params", "exp_avg", "exp_avg_sq", "params_ema"};
    float *const values[ARRAYS] = {t->weights, t->adam ? t->adam->m : NULL, t->adam ? t->adam->v : NULL,
                                   t->ema};
    for (int i = 0; i < ARRAYS; i++) {
        snprintf(out[i].prefix, sizeof out[i].prefix, "%s%s", t->prefix, names[i]);
        out[i].values = values[i];
    }
}

/* What a state's rows are read from, until it is written. */
typedef struct {
    dukd_mirror trained[DUKD_MAX_NETWORKS][ARRAYS], own[DUKD_OWN_ARRAYS];
} state_views;

static void free_views(state_views *v) {
    for (int k = 0; k < DUKD_MAX_NETWORKS; k++)
        for (int i = 0; i < ARRAYS; i++) dukd_mirror_free(&v->trained[k][i]);
    for (int i = 0; i < DUKD_OWN_ARRAYS; i++) dukd_mirror_free(&v->own[i]);
}

/* Appends the rows of one array; -1: no memory. */
static int32_t array_rows(const dukd_trained *t, const named_array *a, dukd_mirror *view,
                          dukd_st_tensor *rows, dukd_failure *f) {
    if (dukd_mirror_of_engine(view, t->engine, a->values, t->count, "the training state", f)) return -1;
    const int32_t made = dukd_weights_rows(rows, t->graph, a->prefix, view->host);
    if (made < 0)
        dukd_fail_memory(f, "the training state",
                         (unsigned long long)dukd_graph_param_count(t->graph) * sizeof *rows);
    return made;
}

/* Appends the rows of all trained sets; -1: no memory. */
static int32_t trained_rows(const dukd_learner *l, state_views *views, dukd_st_tensor *rows,
                            dukd_failure *f) {
    int32_t count = 0;
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS; k++) {
        const dukd_trained *t = dukd_stepper_trained(l->stepper, k);
        named_array arrays[ARRAYS];
        if (!t) continue;
        arrays_of(t, arrays);
        for (int i = 0; i < ARRAYS; i++) {
            if (!arrays[i].values) continue;
            const int32_t made = array_rows(t, &arrays[i], &views->trained[k][i], rows + count, f);
            if (made < 0) {
                dukd_weights_rows_free(rows, count);
                return -1;
            }
            count += made;
        }
    }
    return count;
}

/* All sets take the same steps; a student that shares its teacher's parameters has none of its own. */
static int64_t adam_steps(const dukd_learner *l) {
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS; k++) {
        const dukd_trained *t = dukd_stepper_trained(l->stepper, k);
        if (t && t->adam) return t->adam->steps;
    }
    return 0;
}

/* Rows that a state needs: those of what is trained, the plugin's own, and its blob. */
static size_t row_room(const dukd_learner *l) {
    size_t rows = 1 + (size_t)dukd_own_params_row_count(dukd_stepper_own_params(l->stepper));
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS; k++) {
        const dukd_trained *t = dukd_stepper_trained(l->stepper, k);
        if (t) rows += ARRAYS * (size_t)dukd_graph_param_count(t->graph);
    }
    return rows;
}

int dukd_state_write(const char *path, const dukd_learner *l, const dukd_plugin *plugin,
                     const dukd_state_info *info, const char *options, dukd_failure *f) {
    const size_t room = row_room(l);
    const dukd_own_params *own = dukd_stepper_own_params(l->stepper);
    dukd_st_tensor *rows = calloc(room, sizeof *rows);
    char(*texts)[FIELD_ROOM] = calloc(FIELDS + 1, sizeof *texts);
    dukd_st_entry entries[FIELDS + 3];
    void *blob = NULL;
    state_views views = {0};
    uint64_t blob_size = 0;
    int32_t count = 0, entry_count = 0;
    int status = DUKD_FAILED;
    if (!rows || !texts) {
        dukd_fail_memory(f, "the training state", room * sizeof *rows);
        goto end;
    }
    const int32_t made = trained_rows(l, &views, rows, f);
    if (made < 0) goto end;
    count = made;
    const int32_t own_rows = dukd_own_params_rows(own, views.own, rows + count, f);
    if (own_rows < 0) goto end;
    count += own_rows;
    status = read_blob(l, plugin, &blob, &blob_size, f);
    if (status) goto end;
    rows[count] = (dukd_st_tensor){.name = "plugin",
                                   .type = DUKD_ST_U8,
                                   .ndim = 1,
                                   .dims = {(int64_t)blob_size},
                                   .count = (int64_t)blob_size,
                                   .data = blob};
    for (int i = 0; i < FIELDS; i++) {
        show_field(&fields[i], info, texts[i]);
        entries[entry_count++] = (dukd_st_entry){fields[i].key, texts[i]};
    }
    snprintf(texts[FIELDS], FIELD_ROOM, "%" PRId64, adam_steps(l));
    entries[entry_count++] = (dukd_st_entry){"format", FORMAT};
    entries[entry_count++] = (dukd_st_entry){"adam_steps", texts[FIELDS]};
    entries[entry_count++] = (dukd_st_entry){"options", options};
    status = dukd_tensor_file_write(path, rows, count + 1, entries, entry_count, f);
end:
    if (rows) dukd_weights_rows_free(rows, count);
    free_views(&views);
    free(rows);
    free(texts);
    free(blob);
    return status;
}

/* ---------------------------------------------------------------- reading */

static int bad(const dukd_state *s, const char *what, dukd_failure *f) {
    return dukd_fail(f, DUKD_FAILED, "%s: %s", s->path, what);
}

int dukd_state_open(dukd_state **out, const char *path, dukd_failure *f) {
    *out = NULL;
    dukd_state *s = calloc(1, sizeof *s);
    if (!s) return dukd_fail_memory(f, "the training state", sizeof *s);
    snprintf(s->path, sizeof s->path, "%s", path);
    int status = dukd_tensor_file_open(&s->file, path, f);
    if (status) goto fail;
    const char *format = dukd_tensor_file_metadata(s->file, "format");
    if (!format || strcmp(format, FORMAT) != 0) {
        status = bad(s, "is no training state of this program (format " FORMAT ")", f);
        goto fail;
    }
    for (int i = 0; i < FIELDS; i++) {
        const char *text = dukd_tensor_file_metadata(s->file, fields[i].key);
        if (text ? take_field(&fields[i], &s->info, text) : fields[i].optional) continue;
        status = dukd_fail(f, DUKD_FAILED, "%s: its field '%s' is missing or wrong", path, fields[i].key);
        goto fail;
    }
    if (s->info.iteration < 0 || !dukd_state_options(s)) {
        status = bad(s, "its fields are incomplete", f);
        goto fail;
    }
    *out = s;
    return 0;
fail:
    dukd_state_close(s);
    return status;
}

void dukd_state_close(dukd_state *s) {
    if (!s) return;
    dukd_tensor_file_close(s->file);
    free(s);
}

const dukd_state_info *dukd_state_get_info(const dukd_state *s) {
    return &s->info;
}
const char *dukd_state_options(const dukd_state *s) {
    return dukd_tensor_file_metadata(s->file, "options");
}

static int load_array(const dukd_state *s, const dukd_graph *g, const char *prefix, float *to,
                      dukd_failure *f) {
    char name[900];
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        snprintf(name, sizeof name, "%s.%.500s", prefix, p->name);
        const dukd_st_tensor *t = dukd_tensor_file_find(s->file, name);
        if (!t || t->type != DUKD_ST_F32 || t->ndim != p->ndim ||
            memcmp(t->dims, p->dims, (size_t)p->ndim * sizeof *p->dims) != 0)
            return dukd_fail(f, DUKD_FAILED,
                             "%s: is the state of another network: %s is missing or has another shape",
                             s->path, name);
        memcpy(to + p->offset, t->data, (size_t)p->count * sizeof *to);
    }
    return 0;
}

static int load_trained(const dukd_state *s, const dukd_trained *t, dukd_failure *f) {
    named_array arrays[ARRAYS];
    int status = 0;
    arrays_of(t, arrays);
    for (int i = 0; i < ARRAYS && !status; i++) {
        dukd_mirror m;
        if (!arrays[i].values) continue;
        status = dukd_mirror_of_engine(&m, t->engine, arrays[i].values, t->count, "the training state", f);
        if (!status) status = load_array(s, t->graph, arrays[i].prefix, m.host, f);
        if (!status) status = dukd_mirror_up(&m, t->count, f);
        dukd_mirror_free(&m);
    }
    return status;
}

int dukd_state_load(const dukd_state *s, dukd_learner *l, const dukd_plugin *plugin, dukd_failure *f) {
    const char *text = dukd_tensor_file_metadata(s->file, "adam_steps");
    char *end = NULL;
    long long steps = text ? strtoll(text, &end, 10) : -1;
    if (steps < 0 || end == text || *end) return bad(s, "its field 'adam_steps' is missing or wrong", f);
    int status = 0;
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS && !status; k++) {
        const dukd_trained *t = dukd_stepper_trained(l->stepper, k);
        if (t) status = load_trained(s, t, f);
    }
    if (status) return status;
    const dukd_st_tensor *blob = dukd_tensor_file_find(s->file, "plugin");
    if (!blob || blob->type != DUKD_ST_U8) return bad(s, "it has no state of the plugin", f);
    dukd_error e = dukd_error_ready();
    int32_t code = plugin->set_state(dukd_stepper_session(l->stepper), blob->data, (uint64_t)blob->count, &e);
    if (code != DUKD_OK) {
        dukd_failure inner = {0};
        dukd_fail_plugin(&inner, "set_state", code, &e);
        return dukd_fail(f, DUKD_FAILED, "%s: the plugin cannot go on from it: %s", s->path, inner.message);
    }
    dukd_own_params *own = dukd_stepper_own_params(l->stepper);
    status = dukd_own_params_load(own, s->file, s->path, f);
    if (status) return status;
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS; k++) {
        const dukd_trained *t = dukd_stepper_trained(l->stepper, k);
        if (t && t->adam) t->adam->steps = steps;
    }
    l->adam.steps = own->adam.steps = steps;
    l->iteration = s->info.iteration;
    dukd_stepper_set_counts(l->stepper, &s->info.counts);
    return dukd_stepper_weights_changed(l->stepper, f);
}

/* ---------------------------------------------------------------- the folder of states */

/* The iteration of "1200.state", or -1 where the name is another. */
static int64_t iteration_of(const char *name) {
    char *end = NULL;
    if (name[0] < '0' || name[0] > '9') return -1;
    errno = 0;
    long long n = strtoll(name, &end, 10);
    return !errno && strcmp(end, ".state") == 0 ? n : -1;
}

static int newest_first(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The iterations of all states, newest first: malloc'd; NULL with *count -1 where there is no memory. */
static int64_t *list_states(const char *folder, int32_t *count) {
    int64_t *list = NULL;
    int32_t room = 0;
    *count = 0;
    DIR *dir = opendir(folder);
    if (!dir) return NULL;
    for (const struct dirent *d = readdir(dir); d; d = readdir(dir)) {
        const int64_t n = iteration_of(d->d_name);
        if (n < 0) continue;
        if (*count == room) {
            room = room ? 2 * room : 16;
            int64_t *more = realloc(list, (size_t)room * sizeof *more);
            if (!more) {
                free(list);
                closedir(dir);
                *count = -1;
                return NULL;
            }
            list = more;
        }
        list[(*count)++] = n;
    }
    closedir(dir);
    if (*count) qsort(list, (size_t)*count, sizeof *list, newest_first);
    return list;
}

int dukd_state_newest(dukd_state **out, const char *folder, char *path, size_t path_size,
                      void (*warn)(void *ctx, const char *message), void *ctx, dukd_failure *f) {
    int32_t count = 0;
    int64_t *list = list_states(folder, &count);
    *out = NULL;
    if (count < 0) return dukd_fail_memory(f, "the list of states", 16 * sizeof *list);
    for (int32_t i = 0; i < count && !*out; i++) {
        dukd_failure why = {0};
        snprintf(path, path_size, "%s/%" PRId64 ".state", folder, list[i]);
        if (dukd_state_open(out, path, &why) && warn) warn(ctx, why.message);
    }
    free(list);
    return 0;
}

int32_t dukd_state_set_aside(const char *folder, int64_t last) {
    char from[4096], to[4200];
    int32_t count = 0, moved = 0;
    int64_t *list = list_states(folder, &count);
    for (int32_t i = 0; i < count && list[i] > last; i++) {
        snprintf(from, sizeof from, "%s/%" PRId64 ".state", folder, list[i]);
        snprintf(to, sizeof to, "%s.old", from);
        moved += rename(from, to) == 0;
    }
    free(list);
    return moved;
}

void dukd_state_prune(const char *folder, int32_t keep) {
    char path[4096];
    int32_t count = 0;
    int64_t *list = list_states(folder, &count);
    for (int32_t i = keep; i < count; i++) {
        snprintf(path, sizeof path, "%s/%" PRId64 ".state", folder, list[i]);
        unlink(path);
    }
    free(list);
    DIR *dir = opendir(folder);
    for (const struct dirent *d = dir ? readdir(dir) : NULL; d; d = readdir(dir)) {
        const char *end = strrchr(d->d_name, '.');
        if (!end || strcmp(end, ".part") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        unlink(path);
    }
    if (dir) closedir(dir);
}
