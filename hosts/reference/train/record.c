/* run.json and metrics.jsonl. */
#include "train/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/atomic_file.h"
#include "common/json_out.h"
#include "dukd_revision.h"

void dukd_record_time(char out[32]) {
    struct tm parts;
    time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* ---------------------------------------------------------------- run.json */

static void write_program(dukd_json *j, const dukd_record *r) {
    const dukd_plugin_info *p = dukd_library_info(r->library);
    dukd_json_object(j, "program");
    dukd_json_text(j, "name", "dukd-host");
    dukd_json_text(j, "version", DUKD_VERSION);
    dukd_json_text(j, "revision", DUKD_REVISION);
    dukd_json_text(j, "compiler", __VERSION__);
    dukd_json_close(j);
    dukd_json_object(j, "plugin");
    dukd_json_text(j, "name", p->name);
    dukd_json_text(j, "version", p->version);
    dukd_json_text(j, "build", p->build);
    dukd_json_text(j, "path", dukd_library_path(r->library));
    dukd_json_close(j);
    dukd_json_object(j, "engine");
    dukd_json_text(j, "name", r->engine->name);
    dukd_json_text(j, "library", r->engine->library);
    dukd_json_text(j, "instruction_set", r->engine->instruction_set);
    dukd_json_integer(j, "threads", r->engine->threads);
    dukd_json_close(j);
    dukd_json_object(j, "ranks");
    dukd_json_integer(j, "count", r->ranks ? r->ranks->count : 1);
    dukd_json_text(j, "library", r->ranks && r->ranks->library[0] ? r->ranks->library : NULL);
    dukd_json_close(j);
}

/* The most memory that this process has had at once (of this part of a resumed run). */
static int64_t peak_resident_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}

static void write_cost(dukd_json *j, const dukd_record *r) {
    const dukd_step_counts *c = &r->counts;
    dukd_json_object(j, "cost");
    dukd_json_integer(j, "iterations", r->iteration);
    dukd_json_integer(j, "optimizer_steps", c->optimizer_steps);
    dukd_json_integer(j, "skipped_steps", c->skipped_steps);
    dukd_json_integer(j, "images", c->images);
    dukd_json_integer(j, "student_passes", c->student_passes);
    dukd_json_integer(j, "student_images", c->student_images);
    dukd_json_integer(j, "teacher_passes", c->teacher_passes);
    dukd_json_integer(j, "teacher_images", c->teacher_images);
    dukd_json_integer(j, "feature_passes", c->feature_passes);
    dukd_json_integer(j, "feature_images", c->feature_images);
    dukd_json_number(j, "seconds", r->seconds);
    dukd_json_number(j, "seconds_waited_for_data", r->waited);
    dukd_json_integer(j, "peak_resident_bytes", peak_resident_bytes());
    dukd_json_close(j);
}

static void write_best(dukd_json *j, const dukd_record *r) {
    if (r->best_iteration < 0) return;
    dukd_json_object(j, "best");
    dukd_json_text(j, "set", r->options->val_count ? r->options->val[0].name : NULL);
    dukd_json_text(j, "metric", r->options->metrics[0].name);
    dukd_json_number(j, "value", r->best_value);
    dukd_json_integer(j, "iteration", r->best_iteration);
    dukd_json_close(j);
}

int dukd_record_write(const char *path, const dukd_record *r, dukd_failure *f) {
    dukd_atomic_file *file = NULL;
    char now[32];
    int status = dukd_atomic_file_open(&file, path, f);
    if (status) return status;
    dukd_record_time(now);
    dukd_json j = dukd_json_begin(dukd_atomic_file_stream(file));
    dukd_json_object(&j, NULL);
    dukd_json_text(&j, "name", r->options->name);
    dukd_json_text(&j, "status", r->status);
    if (r->message) dukd_json_text(&j, "message", r->message);
    dukd_json_text(&j, "command", r->command);
    dukd_json_text(&j, "started", r->started);
    dukd_json_text(&j, "written", now);
    dukd_json_integer(&j, "seed", (int64_t)r->options->seed);
    dukd_json_integer(&j, "resumed_from", r->resumed_from);
    write_program(&j, r);
    dukd_json_object(&j, "networks");
    dukd_json_integer(&j, "student_parameters", r->student_parameters);
    dukd_json_integer(&j, "teacher_parameters", r->teacher_parameters);
    dukd_json_integer(&j, "feature_parameters", r->feature_parameters);
    dukd_json_close(&j);
    dukd_json_array(&j, "data");
    for (int32_t i = 0; i < r->data_count; i++) {
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "key", r->data[i].key);
        dukd_json_text(&j, "name", r->data[i].name);
        dukd_json_integer(&j, "images", r->data[i].images);
        dukd_json_text(&j, "sha256", r->data[i].sha256);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    write_cost(&j, r);
    write_best(&j, r);
    dukd_run_options_to_json(r->options, &j, "options");
    dukd_json_close(&j);
    status = dukd_json_end(&j, path, f);
    if (status) {
        dukd_atomic_file_abandon(file);
        return status;
    }
    return dukd_atomic_file_commit(file, f);
}

/* ---------------------------------------------------------------- metrics.jsonl */

/* The iteration of a complete line, or -1. Lines begin with it. */
static int64_t iteration_of(const char *line) {
    static const char start[] = "{\"iteration\":";
    size_t length = strlen(line);
    if (!length || line[length - 1] != '\n' || strncmp(line, start, sizeof start - 1) != 0) return -1;
    return strtoll(line + sizeof start - 1, NULL, 10);
}

/* Copies what is to stay to a new file in the old one's place. */
static int drop_after(const char *path, int64_t last, dukd_failure *f) {
    dukd_atomic_file *out = NULL;
    char *line = NULL;
    size_t room = 0;
    FILE *in = fopen(path, "r");
    if (!in && errno == ENOENT) return 0;
    if (!in) return dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
    int status = dukd_atomic_file_open(&out, path, f);
    while (!status && getline(&line, &room, in) >= 0) {
        int64_t n = iteration_of(line);
        if (n >= 0 && n <= last) status = dukd_atomic_file_write(out, line, strlen(line), f);
    }
    if (!status && ferror(in)) status = dukd_fail(f, DUKD_FAILED, "%s: cannot be read", path);
    free(line);
    fclose(in);
    if (status) {
        dukd_atomic_file_abandon(out);
        return status;
    }
    return dukd_atomic_file_commit(out, f);
}

int dukd_metrics_log_open(dukd_metrics_log *m, const char *path, int64_t last, dukd_failure *f) {
    *m = (dukd_metrics_log){0};
    snprintf(m->path, sizeof m->path, "%s", path);
    int status = drop_after(path, last, f);
    if (status) return status;
    m->file = fopen(path, "a");
    return m->file ? 0 : dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
}

void dukd_metrics_log_close(dukd_metrics_log *m) {
    if (m->file) fclose(m->file);
    m->file = NULL;
}

static dukd_json begin_line(dukd_metrics_log *m, int64_t iteration) {
    dukd_json j = dukd_json_begin(m->file);
    j.indent = 0;
    dukd_json_object(&j, NULL);
    dukd_json_integer(&j, "iteration", iteration);
    return j;
}

int dukd_metrics_log_losses(dukd_metrics_log *m, int64_t iteration, double rate, double seconds,
                            int64_t images, const dukd_losses *losses, dukd_failure *f) {
    dukd_json j = begin_line(m, iteration);
    dukd_json_number(&j, "rate", rate);
    dukd_json_number(&j, "seconds", seconds);
    dukd_json_integer(&j, "images", images);
    dukd_json_object(&j, "losses");
    for (uint32_t i = 0; i < losses->n_losses; i++) dukd_json_number(&j, losses->names[i], losses->values[i]);
    dukd_json_close(&j);
    dukd_json_close(&j);
    return dukd_json_end(&j, m->path, f);
}

int dukd_metrics_log_validation(dukd_metrics_log *m, int64_t iteration, double seconds, const char *set,
                                const dukd_run_metric *metrics, int32_t count, const dukd_evaluation *result,
                                dukd_failure *f) {
    dukd_json j = begin_line(m, iteration);
    dukd_json_number(&j, "seconds", seconds);
    dukd_json_object(&j, "validation");
    dukd_json_object(&j, set);
    for (int32_t i = 0; i < count; i++) dukd_json_number(&j, metrics[i].name, result->mean.plain[i]);
    dukd_json_array(&j, "images");
    for (int64_t k = 0; k < result->count; k++) {
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "name", result->images[k].name);
        for (int32_t i = 0; i < count; i++) dukd_json_number(&j, metrics[i].name, result->images[k].plain[i]);
        dukd_json_close(&j);
    }
    for (int open = 0; open < 4; open++) dukd_json_close(&j); /* images, the set, validation, the line */
    return dukd_json_end(&j, m->path, f);
}
