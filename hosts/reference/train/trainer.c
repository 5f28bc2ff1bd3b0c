/* The training loop: batches, steps, log lines, validation, checkpoints. */
#include "train/trainer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/mirror.h"
#include "train/trainer_run.h"

#define STATES_KEPT 2

/* Times of this process, for the log. */
typedef struct {
    double begun;  /* seconds of iterations when this process began */
    int64_t first; /* the iteration it began after */
    double line;   /* seconds at the last log line */
    double line_waited;
    int64_t line_iteration;
    double shown; /* clock at the last progress line */
} pace;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* All ranks between two iterations: is everybody well, does anybody want to stop? */
static int decide(dukd_run *r, int status, int *stop, dukd_failure *f) {
    uint32_t stopping = r->settings->stop && *r->settings->stop;
    status = dukd_ranks_meet(r->ranks, DUKD_AT_LOOP, status, &stopping, f);
    *stop = stopping != 0;
    return status;
}

/* Images of all ranks in an iteration. */
static int32_t global_batch(const dukd_run *r) {
    return r->o->train_data.batch * dukd_ranks_get_info(r->ranks)->count;
}

/* ---------------------------------------------------------------- the log */

static void show_time(char out[48], double seconds) {
    const int64_t s = seconds > 0 ? (int64_t)seconds : 0;
    const int64_t days = s / 86400;
    char day[24] = "";
    if (days) snprintf(day, sizeof day, "%" PRId64 "d ", days);
    snprintf(out, 48, "%s%d:%02d:%02d", day, (int)(s / 3600 % 24), (int)(s / 60 % 60), (int)(s % 60));
}

static void show_losses(char *out, size_t size, const dukd_losses *l, int digits) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < l->n_losses && used < size; i++) {
        int n = snprintf(out + used, size - used, " %s: %.*e", l->names[i], digits, l->values[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* Seconds an iteration since this process began. */
static double mean_time(const dukd_run *r, const pace *p) {
    const int64_t done = r->learner.iteration - p->first;
    return done > 0 ? (r->info.seconds - p->begun) / (double)done : 0;
}

static void show_progress(dukd_run *r, pace *p) {
    char eta[48], losses[512];
    if (!r->log.is_terminal || now() - p->shown < 0.1) return;
    p->shown = now();
    const double each = mean_time(r, p);
    show_time(eta, each * (double)(r->o->total_iter - r->learner.iteration));
    show_losses(losses, sizeof losses, dukd_stepper_losses(r->learner.stepper), 1);
    dukd_run_log_progress(&r->log, "%" PRId64 "/%" PRId64 " %3d%% eta %s, %.1f images/s, lr %.2e%s",
                          r->learner.iteration, r->o->total_iter,
                          (int)(100 * r->learner.iteration / r->o->total_iter), eta,
                          each > 0 ? global_batch(r) / each : 0, r->learner.rate, losses);
}

static int write_events(dukd_run *r, double seconds, dukd_failure *f) {
    const dukd_losses *l = dukd_stepper_losses(r->learner.stepper);
    const int64_t step = r->learner.iteration;
    char tag[160];
    int status = 0;
    if (!r->events) return 0;
    for (uint32_t i = 0; i < l->n_losses && !status; i++) {
        snprintf(tag, sizeof tag, "losses/%.100s", l->names[i]);
        status = dukd_events_scalar(r->events, tag, step, l->values[i], f);
    }
    if (!status) status = dukd_events_scalar(r->events, "lr", step, r->learner.rate, f);
    return status ? status : dukd_events_scalar(r->events, "time", step, seconds, f);
}

static int log_line(dukd_run *r, pace *p, int64_t epoch, dukd_failure *f) {
    char eta[48], losses[512];
    if (!r->writes) return 0;
    const int64_t it = r->learner.iteration, since = it - p->line_iteration;
    const double each = (r->info.seconds - p->line) / (double)since,
                 waited = (r->info.waited - p->line_waited) / (double)since;
    show_time(eta, mean_time(r, p) * (double)(r->o->total_iter - it));
    show_losses(losses, sizeof losses, dukd_stepper_losses(r->learner.stepper), 4);
    const dukd_step_counts counts = dukd_stepper_counts(r->learner.stepper);
    dukd_run_log_info(&r->log,
                      "[epoch:%4" PRId64 ", iter:%8" PRId64
                      ", lr:(%.3e,)] [eta: %s, time (data): %.3f (%.3f), %.1f images/s]%s",
                      epoch, it, r->learner.rate, eta, each, waited, global_batch(r) / each, losses);
    p->line = r->info.seconds;
    p->line_waited = r->info.waited;
    p->line_iteration = it;
    int status = dukd_metrics_log_losses(&r->metrics, it, r->learner.rate, r->info.seconds, counts.images,
                                         dukd_stepper_losses(r->learner.stepper), f);
    return status ? status : write_events(r, each, f);
}

/* ---------------------------------------------------------------- files */

static int save_one(dukd_run *r, char letter, const dukd_trained *t, const dukd_model_spec *spec,
                    const char *label, dukd_failure *f) {
    char path[8192], iteration[32], scale[16], network[1024];
    if (!r->writes) return 0;
    snprintf(path, sizeof path, "%s/net_%c_%s.safetensors", r->folder.models, letter, label);
    snprintf(iteration, sizeof iteration, "%" PRId64, r->learner.iteration);
    snprintf(scale, sizeof scale, "%d", r->o->scale);
    dukd_model_spec_text(spec, network, sizeof network);
    const dukd_st_entry entries[] = {{"format", "pt"},
                                     {"run", r->o->name},
                                     {"iteration", iteration},
                                     {"scale", scale},
                                     {"network_g", network}};
    dukd_mirror weights, ema = {0};
    int status = dukd_mirror_of_engine(&weights, t->engine, t->weights, t->count, "a network's weights", f);
    if (!status && t->ema)
        status = dukd_mirror_of_engine(&ema, t->engine, t->ema, t->count, "the average", f);
    if (!status)
        status = dukd_weights_save(path, t->graph, weights.host, ema.host, entries,
                                   sizeof entries / sizeof *entries, f);
    dukd_mirror_free(&weights);
    dukd_mirror_free(&ema);
    return status;
}

/* The student, and the teacher where it is trained: each a network of its own, that any command reads. */
static int save_network(dukd_run *r, const char *label, dukd_failure *f) {
    const dukd_trained *student = dukd_stepper_trained(r->learner.stepper, 0),
                       *teacher = r->teacher.graph ? dukd_stepper_trained(r->learner.stepper, 1) : NULL;
    int status = save_one(r, 'g', student, &r->o->student.spec, label, f);
    if (!status && teacher) status = save_one(r, 't', teacher, &r->o->teacher.spec, label, f);
    return status;
}

/* The network first, the state last: a state on disk says that everything of its iteration is there. */
static int save_state(dukd_run *r, dukd_failure *f) {
    char path[8192];
    if (r->saved == r->learner.iteration) return 0;
    r->info.iteration = r->learner.iteration;
    r->info.counts = dukd_stepper_counts(r->learner.stepper);
    r->info.next_sample = r->shift + r->learner.iteration * global_batch(r);
    r->saved = r->learner.iteration;
    if (!r->writes) return 0;
    snprintf(path, sizeof path, "%s/%" PRId64 ".state", r->folder.states, r->learner.iteration);
    int status = dukd_state_write(path, &r->learner, r->plugin, &r->info, r->options_text, f);
    if (status) return status;
    dukd_state_prune(r->folder.states, STATES_KEPT);
    return 0;
}

static int save_checkpoint(dukd_run *r, dukd_failure *f) {
    char label[32];
    snprintf(label, sizeof label, "%" PRId64, r->learner.iteration);
    int status = dukd_run_same_weights(r, f);
    if (!status) status = save_network(r, label, f);
    if (!status) status = save_state(r, f);
    if (!status) dukd_run_log_info(&r->log, "saved network and training state of iteration %s", label);
    return status ? status : dukd_run_write_record(r, "running", f);
}

/* ---------------------------------------------------------------- validation */

static int keep_best(dukd_run *r, dukd_failure *f) {
    const dukd_run_metric *m = &r->o->metrics[0];
    const double value = dukd_validator_result(&r->validator, 0)->mean.plain[0];
    const int first = r->info.best_iteration < 0;
    if (value != value ||
        (!first && (m->lower_is_better ? value > r->info.best_value : value < r->info.best_value)))
        return 0;
    r->info.best_value = value;
    r->info.best_iteration = r->learner.iteration;
    dukd_run_log_info(&r->log, "best %s of %s so far: %.4f", m->name, r->o->val[0].name, value);
    return save_network(r, "best", f);
}

static int validate(dukd_run *r, int *interrupted, dukd_failure *f) {
    const dukd_run_options *o = r->o;
    const int64_t it = r->learner.iteration;
    const float *weights = r->learner.ema ? r->learner.ema : r->learner.weights;
    r->info.validation_due = 1;
    int status = dukd_validator_run(&r->validator, weights, it, interrupted, f);
    if (status || *interrupted) return status;
    for (int32_t i = 0; i < o->val_count && !status && r->writes; i++) {
        const dukd_evaluation *result = dukd_validator_result(&r->validator, i);
        status = dukd_metrics_log_validation(&r->metrics, it, r->info.seconds, o->val[i].name, o->metrics,
                                             o->metric_count, result, f);
        for (int32_t m = 0; r->events && m < o->metric_count && !status; m++) {
            char tag[160];
            snprintf(tag, sizeof tag, "metrics/%.60s/%.60s", o->val[i].name, o->metrics[m].name);
            status = dukd_events_scalar(r->events, tag, it, result->mean.plain[m], f);
        }
    }
    if (!status) status = keep_best(r, f);
    if (!status) r->info.validation_due = 0;
    return status;
}

/* ---------------------------------------------------------------- the loop */

/* While a device computes, the next batch goes there. What is wrong with it is told when it is due. */
static void look_ahead(dukd_run *r) {
    dukd_failure later = {0};
    r->ahead.iteration = 0;
    if (dukd_engine_get_place(r->engine)->on_host || r->learner.iteration == r->o->total_iter) return;
    if (r->batches.next(r->batches.ctx, &r->ahead, &later))
        r->ahead.iteration = 0;
    else
        (void)dukd_learner_prepare(&r->learner, &r->ahead, &later);
}

static int step(dukd_run *r, int64_t *epoch, dukd_failure *f) {
    dukd_batch batch = r->ahead;
    const double start = now();
    int status = batch.iteration ? 0 : r->batches.next(r->batches.ctx, &batch, f);
    if (!status) status = dukd_learner_step(&r->learner, &batch, f);
    if (status) return status;
    *epoch = batch.epoch;
    look_ahead(r);
    r->info.seconds += now() - start;
    r->info.waited = r->waited_before + r->batches.waited(r->batches.ctx);
    return 0;
}

/* On a device the iteration is over only here; on the processor it has been looked at. */
static int look(dukd_run *r, dukd_failure *f) {
    const double start = now();
    const int status = dukd_stepper_look(r->learner.stepper, f);
    r->info.seconds += now() - start;
    return status;
}

static int is_due(int64_t iteration, int64_t every, int64_t last) {
    return every && (iteration % every == 0 || iteration == last);
}

/* What follows an iteration. */
static int after_step(dukd_run *r, pace *p, int64_t epoch, int *interrupted, dukd_failure *f) {
    const dukd_run_options *o = r->o;
    const int64_t it = r->learner.iteration;
    const int shown = it % o->print_freq == 0 || it == o->total_iter,
              validated = is_due(it, o->val_freq, o->total_iter), saved = it % o->save_checkpoint_freq == 0;
    int status = shown || validated || saved ? look(r, f) : 0;
    if (!status && shown) status = log_line(r, p, epoch, f);
    if (!status && validated) status = validate(r, interrupted, f);
    if (!status && !*interrupted && saved) status = save_checkpoint(r, f);
    return status;
}

static int iterate(dukd_run *r, dukd_failure *f) {
    pace p = {.begun = r->info.seconds,
              .first = r->learner.iteration,
              .line = r->info.seconds,
              .line_waited = r->info.waited,
              .line_iteration = r->learner.iteration};
    int status = 0, interrupted = 0, stop = 0;
    int64_t epoch = 0;
    if (r->info.validation_due && r->o->val_freq) status = validate(r, &interrupted, f);
    for (;;) {
        status = decide(r, status, &stop, f);
        if (status || interrupted || stop || r->learner.iteration >= r->o->total_iter) return status;
        status = step(r, &epoch, f);
        if (status) continue; /* to the others, who have to know */
        show_progress(r, &p);
        status = after_step(r, &p, epoch, &interrupted, f);
    }
}

static int finish(dukd_run *r, dukd_failure *f) {
    char time_text[48];
    const int done = r->learner.iteration == r->o->total_iter && !r->info.validation_due;
    int status = look(r, f);
    if (!status) status = dukd_run_same_weights(r, f);
    if (!status) status = save_network(r, "latest", f);
    if (!status) status = save_state(r, f);
    if (!status) status = dukd_run_write_record(r, done ? "done" : "stopped", f);
    if (status) return status;
    if (!done)
        return dukd_fail(f, DUKD_FAILED,
                         "stopped after iteration %" PRId64 " of %" PRId64
                         ", everything is saved; to go on: dukd-host train %s --resume",
                         r->learner.iteration, r->o->total_iter, r->o->file);
    show_time(time_text, r->info.seconds);
    dukd_run_log_info(&r->log,
                      "done: %" PRId64 " iterations in %s; the network is %s/net_g_latest.safetensors",
                      r->o->total_iter, time_text, r->folder.models);
    return 0;
}

/* The log and the record say why it ended. finish() has told the record of a stop that was asked for. */
static void note_failure(dukd_run *r, const dukd_failure *why) {
    dukd_failure other = {0};
    dukd_run_log_warn(&r->log, "%s", why->message);
    if (strcmp(r->record.status, "stopped") == 0) return;
    r->record.message = why->message;
    if (dukd_run_write_record(r, "failed", &other)) dukd_run_log_warn(&r->log, "%s", other.message);
}

int dukd_train(const dukd_train_settings *settings, dukd_failure *f) {
    dukd_run r;
    dukd_failure local = {0};
    if (!f) f = &local;
    int status = dukd_run_open(&r, settings, f);
    const int opened = !status;
    if (opened) status = iterate(&r, f);
    if (opened && !status) status = finish(&r, f);
    status = dukd_ranks_meet(r.ranks, DUKD_AT_END, status, NULL, f);
    if (status && opened && r.writes) note_failure(&r, f);
    r.failed = status != 0;
    dukd_run_close(&r);
    return status;
}
