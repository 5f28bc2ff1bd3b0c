/* Validation during training. */
#include "train/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/experiment.h"

int dukd_validator_open(dukd_validator *v, dukd_failure *f) {
    const int32_t count = v->options->val_count;
    v->sets = calloc((size_t)count + 1, sizeof *v->sets);
    v->results = calloc((size_t)count + 1, sizeof *v->results);
    int status = 0;
    if (!v->sets || !v->results)
        status = dukd_fail_memory(f, "the validation sets", (unsigned long long)count * 64);
    for (int32_t i = 0; i < count && !status; i++)
        status = dukd_run_dataset_open(&v->sets[i], &v->options->val[i], f);
    for (int32_t i = 0; i < count && !status; i++) /* now, not after hours of training */
        status = dukd_evaluate_check(v->sets[i], v->options->metrics, v->options->metric_count, f);
    if (status) dukd_validator_close(v);
    return status;
}

void dukd_validator_close(dukd_validator *v) {
    for (int32_t i = 0; v->sets && i < v->options->val_count; i++) dukd_dataset_close(v->sets[i]);
    for (int32_t i = 0; v->results && i < v->options->val_count; i++) dukd_evaluation_free(&v->results[i]);
    free(v->sets);
    free(v->results);
    v->sets = NULL;
    v->results = NULL;
}

const dukd_evaluation *dukd_validator_result(const dukd_validator *v, int32_t set) {
    return &v->results[set];
}

typedef struct {
    dukd_validator *v;
    const char *set;
} watcher;

static int after_image(void *ctx, int64_t done, int64_t count, const dukd_evaluated_image *image) {
    const watcher *w = ctx;
    dukd_run_log_progress(w->v->log, "validation %s: %lld/%lld %s", w->set, (long long)done, (long long)count,
                          image->name);
    return w->v->stop && *w->v->stop;
}

static int run_set(dukd_validator *v, int32_t i, const float *weights, int64_t iteration, dukd_failure *f) {
    const dukd_run_options *o = v->options;
    char folder[4096], suffix[32];
    watcher w = {v, o->val[i].name};
    dukd_evaluation result = {0};
    dukd_evaluate_options e = {
        .engine = v->engine,
        .precision = o->precision,
        .graph = v->graph,
        .weights = weights,
        .metrics = o->metrics,
        .metric_count = o->metric_count,
        .on_image = after_image,
        .ctx = &w,
    };
    const dukd_ranks_info *ranks = dukd_ranks_get_info(v->ranks);
    int status = 0;
    if (v->ranks) {
        e.part = ranks->rank;
        e.parts = o->save_img ? 1 : ranks->count; /* of one part rank 0 has all, the others none */
    }
    if (o->save_img && !ranks->rank) {
        snprintf(folder, sizeof folder, "%s/%s", v->image_root, o->val[i].name);
        snprintf(suffix, sizeof suffix, "%lld", (long long)iteration);
        e.image_folder = folder;
        e.image_suffix = suffix;
        status = dukd_make_folders(folder, f);
    }
    if (!status) status = dukd_evaluate(&result, &e, v->sets[i], f);
    if (!status) {
        dukd_evaluation_free(&v->results[i]);
        v->results[i] = result;
    }
    return status;
}

/* Everybody's numbers for all: nobody has what another has. */
static int exchange(dukd_validator *v, int32_t i, dukd_failure *f) {
    dukd_evaluation *e = &v->results[i];
    int status = 0;
    if (!v->ranks) return 0;
    for (int64_t k = 0; k < e->count && !status; k++)
        status = dukd_ranks_sum(v->ranks, e->images[k].plain, v->options->metric_count, f);
    dukd_evaluation_average(e);
    return status;
}

static void log_set(const dukd_validator *v, int32_t i, int64_t iteration) {
    const dukd_run_options *o = v->options;
    char line[1024];
    int used =
        snprintf(line, sizeof line, "validation %-12s iter: %lld", o->val[i].name, (long long)iteration);
    for (int32_t m = 0; m < o->metric_count && used > 0 && (size_t)used < sizeof line; m++)
        used += snprintf(line + used, sizeof line - (size_t)used, "  %s: %.4f", o->metrics[m].name,
                         dukd_validator_result(v, i)->mean.plain[m]);
    dukd_run_log_info(v->log, "%s", line);
}

int dukd_validator_run(dukd_validator *v, const float *weights, int64_t iteration, int *interrupted,
                       dukd_failure *f) {
    int status = 0;
    *interrupted = 0;
    for (int32_t i = 0; i < v->options->val_count; i++) {
        dukd_failure local = {0};
        uint32_t stopped = 0; /* on any rank */
        status = run_set(v, i, weights, iteration, &local);
        if (status && v->stop && *v->stop) {
            stopped = 1;
            status = 0;
        }
        if (status) dukd_fail(f, status, "%s", local.message);
        status = dukd_ranks_meet(v->ranks, DUKD_AT_VALIDATION, status, &stopped, f);
        if (!status && stopped) {
            *interrupted = 1;
            return 0;
        }
        if (!status) status = exchange(v, i, f);
        if (status) return status;
    }
    for (int32_t i = 0; i < v->options->val_count; i++) log_set(v, i, iteration);
    return 0;
}
