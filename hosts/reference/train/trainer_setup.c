/* Setting a training run up: what it goes on from, networks, data, session, and then its folder. */
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/atomic_file.h"
#include "dukd_revision.h"
#include "engine/join.h"
#include "train/ranks_launcher.h"
#include "train/run_changes.h"
#include "train/share.h"
#include "train/trainer_run.h"

#define AHEAD 2 /* batches kept ready */

static void warn(void *ctx, const char *message) {
    dukd_run *r = ctx;
    dukd_run_log_warn(&r->log, "%s", message);
}

static void plugin_log(void *ctx, int32_t level, const char *message) {
    dukd_run *r = ctx;
    if (level >= DUKD_LOG_WARNING)
        dukd_run_log_warn(&r->log, "plugin: %s", message);
    else if (level == DUKD_LOG_INFO)
        dukd_run_log_info(&r->log, "plugin: %s", message);
}

/* ---------------------------------------------------------------- what the run goes on from */

static int find_state(dukd_run *r, dukd_failure *f) {
    char folder[4096];
    const dukd_run_options *o = r->o;
    if (o->resume_state) {
        snprintf(r->resumed_path, sizeof r->resumed_path, "%s", o->resume_state);
        return dukd_state_open(&r->resumed, o->resume_state, f);
    }
    if (r->settings->resume == DUKD_RESUME_NO) return 0;
    snprintf(folder, sizeof folder, "%s/training_states", o->experiments_root);
    int status = dukd_state_newest(&r->resumed, folder, r->resumed_path, sizeof r->resumed_path, warn, r, f);
    if (status || r->resumed || r->settings->resume == DUKD_RESUME_IF_ANY) return status;
    return dukd_fail(f, DUKD_FAILED,
                     "%s: no complete training state to resume from; start the run without --resume", folder);
}

static int settle_seed(dukd_run *r, dukd_failure *f) {
    uint64_t seed;
    if (r->o->has_seed) return 0;
    if (dukd_ranks_get_info(r->ranks)->rank)
        seed = 0; /* rank 0 has one */
    else if (r->resumed)
        seed = dukd_state_get_info(r->resumed)->seed;
    else if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        seed = 1 + seed % 10000; /* BasicSR's range */
    else
        return dukd_fail(f, DUKD_FAILED, "no random seed: %s; set manual_seed", strerror(errno));
    dukd_run_options_set_seed(r->o, seed);
    return 0;
}

static void compare_machine(dukd_run *r) {
    const dukd_state_info *was = dukd_state_get_info(r->resumed), *is = &r->info;
    if (was->threads != is->threads)
        dukd_run_log_warn(
            &r->log, "the state was written with %d threads, there are %d now: same training, other bits",
            was->threads, is->threads);
    if ((was->ranks ? was->ranks : 1) != is->ranks)
        dukd_run_log_warn(&r->log,
                          "the state was written by a run of %d ranks, now there are %d: the samples go on "
                          "where they were; the training stays the same where ranks times "
                          "batch_size_per_gpu do, but for the bits",
                          was->ranks ? was->ranks : 1, is->ranks);
    if (strcmp(was->instruction_set, is->instruction_set) != 0)
        dukd_run_log_warn(&r->log, "the state was written on %s, this is %s: same training, other bits",
                          was->instruction_set, is->instruction_set);
    if (strcmp(was->library, is->library) != 0)
        dukd_run_log_warn(&r->log, "the state was written with %s, this is %s: same training, other bits",
                          was->library, is->library);
    if (strcmp(was->plugin, is->plugin) != 0)
        dukd_run_log_warn(&r->log, "the state was written with the plugin %s, this is %s", was->plugin,
                          is->plugin);
    if (strcmp(was->data_hash, is->data_hash) != 0)
        dukd_run_log_warn(
            &r->log,
            "the training images are not those that the state was trained on (other contents or names)");
}

/* ---------------------------------------------------------------- engine and networks */

static int open_engine(dukd_run *r, dukd_failure *f) {
    int status = dukd_run_take_threads(r, f);
    if (status) return status;
    if (r->o->threads) omp_set_num_threads(r->o->threads);
    if (r->ranks) r->o->rank_turn = dukd_ranks_get_info(r->ranks)->local_rank;
    status = dukd_run_engine_create(&r->engine, r->o, r->plugin, f);
    if (status) return status;
    const dukd_engine_info *info = dukd_engine_get_info(r->engine);
    if (r->o->precision == DUKD_BF16 && !info->bf16)
        dukd_run_log_warn(&r->log, "precision: bf16 is emulated on this machine (%s): slower than f32",
                          info->instruction_set);
    r->info.threads = info->threads;
    snprintf(r->info.instruction_set, sizeof r->info.instruction_set, "%s", info->instruction_set);
    snprintf(r->info.library, sizeof r->info.library, "%s", info->library);
    return 0;
}

static void log_load(dukd_run *r, const char *which, const dukd_run_network *from,
                     const dukd_ready_network *n) {
    const dukd_weights_report *w = &n->report;
    if (!from->pretrained) return;
    dukd_run_log_info(&r->log, "%s: weights '%s' of %s", which, w->key[0] ? w->key : "without a key",
                      from->pretrained);
    if (strcmp(w->key, from->param_key ? from->param_key : "") != 0)
        dukd_run_log_warn(&r->log, "%s: the file has no '%s', read were '%s'", which,
                          from->param_key ? from->param_key : "", w->key);
    if (w->aliased)
        dukd_run_log_info(&r->log, "%s: its names are those of the network's authors, not BasicSR's", which);
    if (!dukd_weights_differences(w)) return;
    dukd_run_log_warn(&r->log,
                      "%s: %d of %d parameters fit; %d differ, %d are missing, %d tensors are unknown", which,
                      w->loaded, dukd_graph_param_count(n->graph), w->counts[DUKD_WEIGHTS_DIFFERENT],
                      w->counts[DUKD_WEIGHTS_MISSING], w->counts[DUKD_WEIGHTS_UNUSED]);
    for (int k = 0; k < DUKD_WEIGHTS_KINDS; k++) {
        for (int i = 0; i < w->counts[k] && i < DUKD_WEIGHTS_NAMED; i++)
            dukd_run_log_warn(&r->log, "%s:   %s", which, w->words[k][i]);
        if (w->counts[k] > DUKD_WEIGHTS_NAMED)
            dukd_run_log_warn(&r->log, "%s:   and %d more of the kind", which,
                              w->counts[k] - DUKD_WEIGHTS_NAMED);
    }
}

/* The average starts from params_ema of the student's file, where it has them. */
static int open_average(dukd_run *r, dukd_failure *f) {
    const dukd_run_network *from = &r->o->student;
    dukd_weights_report report = {0};
    if (r->o->ema_decay <= 0 || !from->pretrained || r->resumed) return 0;
    const int64_t count = dukd_graph_weights(r->student.graph);
    r->start_ema = dukd_weights_alloc(count);
    if (!r->start_ema) return dukd_fail_memory(f, "the average", (unsigned long long)count * sizeof(float));
    memcpy(r->start_ema, r->student.weights, (size_t)count * sizeof(float));
    int status = dukd_weights_load(from->pretrained, "params_ema", from->strict, from->spec.type,
                                   r->student.graph, r->start_ema, &report, f);
    if (!status) status = dukd_weights_check(r->student.graph, r->start_ema, from->pretrained, f);
    if (!status) dukd_run_log_info(&r->log, "the average starts from '%s' of the same file", report.key);
    return status;
}

/* The student's first weights where they are the teacher's first channels. (With shared weights the stepper takes them.) */
static int start_from_teacher(dukd_run *r, dukd_failure *f) {
    dukd_share share = {0};
    dukd_failure why = {0};
    const dukd_run_options *o = r->o;
    if (!o->init_from_teacher && !o->share_weights) return 0;
    const int status = dukd_share_open(&share, r->student.graph, r->teacher.graph, &why);
    if (status == DUKD_MISUSED)
        return dukd_run_wrong_key(o, o->share_weights ? "train.share_weights" : "path.init_from_teacher",
                                  &why, f);
    if (status) return dukd_fail(f, status, "%s", why.message);
    dukd_share_take(&share, r->teacher.weights, r->student.weights);
    dukd_share_close(&share);
    if (!r->resumed) dukd_run_log_info(&r->log, "student: starts as the first channels of the teacher");
    return 0;
}

static int open_features(dukd_run *r, dukd_failure *f) {
    const dukd_run_network *from = &r->o->features;
    const int status = dukd_ready_network_open(&r->features, from, r->o->seed, f);
    if (status) return status;
    log_load(r, "features", from, &r->features);
    if (!from->pretrained)
        dukd_run_log_warn(&r->log, "features: RANDOM weights, as path.random_network_f asks: for tests only");
    return 0;
}

static int open_networks(dukd_run *r, dukd_failure *f) {
    dukd_run_network student = r->o->student;
    if (r->resumed) student.pretrained = NULL; /* the state holds its weights */
    int status = dukd_ready_network_open(&r->student, &student, r->o->seed, f);
    if (status) return status;
    log_load(r, "student", &student, &r->student);
    status = open_average(r, f);
    if (!status && r->o->teacher.is_set) {
        status = dukd_ready_network_open(&r->teacher, &r->o->teacher, r->o->seed, f);
        if (!status) log_load(r, "teacher", &r->o->teacher, &r->teacher);
    }
    if (!status) status = start_from_teacher(r, f);
    return status || !r->o->features.is_set ? status : open_features(r, f);
}

/* ---------------------------------------------------------------- data */

static int hash_set(dukd_run *r, const dukd_run_dataset *set, const dukd_dataset *d, dukd_record_data *out,
                    dukd_failure *f) {
    out->key = set->key;
    out->name = set->name;
    out->images = dukd_dataset_count(d);
    dukd_run_log_progress(&r->log, "reading %s for the record: %lld images", set->name,
                          (long long)out->images);
    return dukd_dataset_hash(d, out->sha256, f);
}

static int open_data(dukd_run *r, dukd_failure *f) {
    const dukd_run_options *o = r->o;
    const int32_t val_count = o->val_freq ? o->val_count : 0;
    int status = dukd_run_dataset_open(&r->train_set, &o->train_set, f);
    r->validator = (dukd_validator){.options = o,
                                    .engine = r->engine,
                                    .graph = r->student.graph,
                                    .image_root = r->folder.images,
                                    .log = &r->log,
                                    .ranks = r->ranks,
                                    .stop = r->settings->stop};
    if (!status && val_count) status = dukd_validator_open(&r->validator, f);
    if (status) return status;
    r->data = calloc((size_t)val_count + 1, sizeof *r->data);
    if (!r->data) return dukd_fail_memory(f, "the record", sizeof *r->data);
    status = hash_set(r, &o->train_set, r->train_set, &r->data[0], f);
    for (int32_t i = 0; i < val_count && !status; i++)
        status = hash_set(r, &o->val[i], r->validator.sets[i], &r->data[1 + i], f);
    if (status) return status;
    memcpy(r->info.data_hash, r->data[0].sha256, sizeof r->info.data_hash);
    r->record.data = r->data;
    r->record.data_count = 1 + val_count;
    return 0;
}

static int open_loader(dukd_run *r, dukd_failure *f) {
    const dukd_run_train_data *d = &r->o->train_data;
    const dukd_loader_options options = {
        .dataset = r->train_set,
        .batch = d->batch,
        .lr_side = d->gt_size / r->o->scale,
        .enlarge = d->enlarge,
        .use_hflip = d->use_hflip,
        .use_rot = d->use_rot,
        .workers = d->workers,
        .ahead = AHEAD,
        .rank = dukd_ranks_get_info(r->ranks)->rank,
        .ranks = dukd_ranks_get_info(r->ranks)->count,
        .seed = r->o->seed,
        .first_iteration = r->learner.iteration + 1,
        .shift = r->shift,
    };
    int status = dukd_loader_create(&r->loader, &options, f);
    if (!status) r->batches = dukd_batches_of_loader(r->loader);
    return status;
}

/* ---------------------------------------------------------------- the learner */

/* Why there is no learner. Where there would be one without micro-batches their key is what has to change, and its place is known
 * here alone. */
static int refuse_learner(const dukd_run *r, const dukd_learner_options *options, const dukd_failure *why,
                          dukd_failure *f) {
    dukd_learner other;
    dukd_learner_options whole = *options;
    whole.step.micro_batches = 1;
    if (why->status != DUKD_MISUSED || r->o->micro_batches == 1 || dukd_learner_create(&other, &whole, NULL))
        return dukd_run_refused(r->o, why, f);
    dukd_learner_free(&other);
    return dukd_run_wrong_key(r->o, "train.micro_batches", why, f);
}

static int open_learner(dukd_run *r, dukd_failure *f) {
    const dukd_run_options *o = r->o;
    const int32_t side = o->train_data.gt_size / o->scale;
    const dukd_learner_options options = {
        .step = {.plugin = r->plugin,
                 .plugin_options = o->plugin_options,
                 .plugin_option_count = o->plugin_option_count,
                 .seed = o->seed,
                 .engine = r->engine,
                 .precision = o->precision,
                 .student = r->student.graph,
                 .ema_decay = o->ema_decay,
                 .sgd = o->sgd,
                 .teacher = r->teacher.graph,
                 .teacher_weights = r->teacher.weights,
                 .features = r->features.graph,
                 .features_weights = r->features.weights,
                 .share = o->share_weights,
                 .scale = o->scale,
                 .batch = o->train_data.batch,
                 .height = side,
                 .width = side,
                 .micro_batches = o->micro_batches,
                 .nonfinite = o->nonfinite,
                 .joined = r->joined,
                 .ranks = r->ranks,
                 .log = plugin_log,
                 .log_ctx = r},
        .adam = o->adam,
        .schedule = o->schedule,
        .start = r->student.weights,
        .start_ema = r->start_ema,
    };
    dukd_failure why = {0};
    int status = dukd_learner_create(&r->learner, &options, &why);
    if (status) status = refuse_learner(r, &options, &why, f);
    free(r->start_ema);
    r->start_ema = NULL;
    return status;
}

static int go_on(dukd_run *r, dukd_failure *f) {
    const dukd_state_info *was = dukd_state_get_info(r->resumed);
    if (was->iteration > r->o->total_iter)
        return dukd_fail(f, DUKD_MISUSED, "%s: the state is of iteration %lld, train.total_iter is %lld",
                         r->o->file, (long long)was->iteration, (long long)r->o->total_iter);
    int status = dukd_run_compare(r->o, dukd_state_options(r->resumed), warn, r, f);
    if (!status) status = dukd_state_load(r->resumed, &r->learner, r->plugin, f);
    if (status) return status;
    compare_machine(r);
    r->info.iteration = was->iteration;
    r->info.seconds = was->seconds;
    r->info.best_value = was->best_value;
    r->info.best_iteration = was->best_iteration;
    r->info.validation_due = was->validation_due;
    r->waited_before = was->waited;
    /* The samples go on where they were, also with another number of them in an iteration. */
    const int64_t each = (int64_t)r->o->train_data.batch * dukd_ranks_get_info(r->ranks)->count;
    if (was->next_sample) r->shift = was->next_sample - was->iteration * each;
    r->record.resumed_from = was->iteration;
    return 0;
}

/* ---------------------------------------------------------------- folder and files */

static int write_text(const char *path, const char *text, dukd_failure *f) {
    dukd_atomic_file *file = NULL;
    int status = dukd_atomic_file_open(&file, path, f);
    if (status) return status;
    status = dukd_atomic_file_write(file, text, strlen(text), f);
    if (!status) return dukd_atomic_file_commit(file, f);
    dukd_atomic_file_abandon(file);
    return status;
}

static int open_folder(dukd_run *r, dukd_failure *f) {
    char path[8192];
    int status = dukd_experiment_open(&r->folder, r->o->experiments_root, r->resumed != NULL, f);
    if (status) return status;
    if (r->resumed && dukd_state_set_aside(r->folder.states, r->learner.iteration))
        dukd_run_log_warn(&r->log, "states of later iterations are now called .state.old");
    if (r->folder.archived[0])
        dukd_run_log_info(&r->log, "an older run of this name is now %s", r->folder.archived);
    snprintf(path, sizeof path, "%s/train_%s.log", r->folder.root, r->o->name);
    status = dukd_run_log_open(&r->log, path, f);
    snprintf(path, sizeof path, "%s/options.yml", r->folder.root);
    if (!status) status = write_text(path, r->options_text, f);
    snprintf(path, sizeof path, "%s/metrics.jsonl", r->folder.root);
    if (!status) status = dukd_metrics_log_open(&r->metrics, path, r->learner.iteration, f);
    if (status || !r->o->use_tb_logger) return status;
    status = dukd_make_folders(r->folder.events, f);
    return status ? status
                  : dukd_events_open(&r->events, r->folder.events, r->resumed ? r->learner.iteration : -1, f);
}

/* Who trains, and how many processors are there for it. */
static void log_ranks(dukd_run *r) {
    const dukd_ranks_info *ranks = dukd_ranks_get_info(r->ranks);
    if (!r->threads.processors) return;
    dukd_run_log_info(&r->log, "%d rank%s%s%s, %d of them on this machine, which have %d processors%s",
                      (int)ranks->count, ranks->count > 1 ? "s" : "", ranks->library[0] ? " by " : "",
                      ranks->library, (int)ranks->local_count, (int)r->threads.processors,
                      r->threads.unbound
                          ? "; the launcher had bound this one to fewer, and it may use all of them now"
                          : "");
    if ((int64_t)r->info.threads * ranks->local_count > r->threads.processors)
        dukd_run_log_warn(&r->log,
                          "%d ranks of %d threads are more than %d processors: threads that wait for each "
                          "other take turns. Set "
                          "num_threads to %d, or start fewer ranks",
                          (int)ranks->local_count, (int)r->info.threads, (int)r->threads.processors,
                          (int)(r->threads.processors > ranks->local_count
                                    ? r->threads.processors / ranks->local_count
                                    : 1));
    if (ranks->count > 1 && dukd_launcher_is_openmpi())
        dukd_run_log_info(&r->log, "Ctrl-C: Open MPI's mpirun kills its processes a second after it. Where "
                                   "an iteration and saving take longer, "
                                   "stop the run by kill -USR1 and mpirun's number, which waits for them");
}

/* What the run is, for whoever reads the log. */
static void log_start(dukd_run *r) {
    const dukd_run_options *o = r->o;
    const dukd_engine_info *e = dukd_engine_get_info(r->engine);
    const dukd_plugin_info *p = dukd_library_info(r->settings->library);
    const dukd_ranks_info *ranks = dukd_ranks_get_info(r->ranks);
    dukd_run_log *log = &r->log;
    for (int32_t i = 0; i < o->note_count; i++) dukd_run_log_info(log, "%s", o->notes[i]);
    dukd_run_log_info(log, "dukd-host " DUKD_VERSION " (" DUKD_REVISION "), %s, %s, %d threads, %s",
                      e->library, e->instruction_set, e->threads, o->precision == DUKD_BF16 ? "bf16" : "f32");
    if (strcmp(o->engine, "auto") == 0)
        dukd_run_log_info(log, "engine: auto takes %s%s%.255s%s", e->name, e->passed_over[0] ? " (" : "",
                          e->passed_over, e->passed_over[0] ? ")" : "");
    if (o->tf32 && strcmp(e->name, "onednn") == 0)
        dukd_run_log_info(log, "tf32: is CUDA's, and of no meaning on the processor");
    log_ranks(r);
    dukd_run_log_info(log, "plugin %s %s (%s)", p->name, p->version, dukd_library_path(r->settings->library));
    dukd_run_log_info(log, "student: %s, %lld parameters", o->student.spec.type->name,
                      (long long)r->learner.count);
    const dukd_own_params *own = dukd_stepper_own_params(r->learner.stepper);
    char own_text[512];
    dukd_own_params_text(own, own_text, sizeof own_text);
    if (own->count)
        dukd_run_log_info(log, "the plugin trains %lld parameters of its own: %s", (long long)own->count,
                          own_text);
    if (r->teacher.graph)
        dukd_run_log_info(log, "teacher: %s, %lld parameters", o->teacher.spec.type->name,
                          (long long)dukd_graph_weights(r->teacher.graph));
    if (r->features.graph)
        dukd_run_log_info(log, "features: %s, %lld parameters", o->features.spec.type->name,
                          (long long)dukd_graph_weights(r->features.graph));
    if (r->teacher.graph && dukd_stepper_trained(r->learner.stepper, 1))
        dukd_run_log_info(log, "the teacher is trained, too%s",
                          o->share_weights ? "; the student is the first channels of it" : "");
    dukd_run_log_info(
        log,
        "training images: %lld in %s, patches %d -> %d, batch %d on %d rank%s (global batch %lld), %lld "
        "iterations an epoch",
        (long long)dukd_dataset_count(r->train_set), o->train_set.name, o->train_data.gt_size / o->scale,
        o->train_data.gt_size, o->train_data.batch, (int)ranks->count, ranks->count > 1 ? "s" : "",
        (long long)o->train_data.batch * ranks->count, (long long)dukd_loader_epoch_length(r->loader));
    dukd_run_log_info(log, "seed %llu, %lld iterations, everything goes to %s", (unsigned long long)o->seed,
                      (long long)o->total_iter, r->folder.root);
    if (r->resumed)
        dukd_run_log_info(log, "resumed after iteration %lld from %s", (long long)r->learner.iteration,
                          r->resumed_path);
}

/* ---------------------------------------------------------------- the record */

int dukd_run_write_record(dukd_run *r, const char *status, dukd_failure *f) {
    char path[8192];
    if (!r->writes) return 0;
    snprintf(path, sizeof path, "%s/run.json", r->folder.root);
    r->record.status = status;
    r->record.iteration = r->learner.iteration;
    r->record.counts = dukd_stepper_counts(r->learner.stepper);
    r->record.seconds = r->info.seconds;
    r->record.waited = r->info.waited;
    r->record.best_value = r->info.best_value;
    r->record.best_iteration = r->info.best_iteration;
    return dukd_record_write(path, &r->record, f);
}

static void begin_record(dukd_run *r) {
    r->record.options = r->o;
    r->record.command = r->settings->command;
    r->record.library = r->settings->library;
    r->record.ranks = dukd_ranks_get_info(r->ranks);
    r->record.engine = dukd_engine_get_info(r->engine);
    r->record.student_parameters = r->learner.count;
    r->record.teacher_parameters = r->teacher.graph ? dukd_graph_weights(r->teacher.graph) : 0;
    r->record.feature_parameters = r->features.graph ? dukd_graph_weights(r->features.graph) : 0;
    dukd_record_time(r->record.started);
}

/* ---------------------------------------------------------------- all of it */

int dukd_run_open(dukd_run *r, const dukd_train_settings *settings, dukd_failure *f) {
    const dukd_plugin_info *info = dukd_library_info(settings->library);
    *r = (dukd_run){.settings = settings, .o = settings->options, .saved = -1};
    r->folder.lock = -1;
    r->ranks = settings->ranks;
    r->writes = dukd_ranks_get_info(r->ranks)->rank == 0;
    r->info.ranks = dukd_ranks_get_info(r->ranks)->count;
    r->plugin = dukd_library_plugin(settings->library);
    dukd_run_log_begin(&r->log, r->writes ? settings->screen : NULL);
    r->info.best_iteration = -1;
    snprintf(r->info.plugin, sizeof r->info.plugin, "%s %s", info->name, info->version);
    int status = dukd_run_same_options(r, f);
    if (!status) status = dukd_run_options_need_training(r->o, f);
    if (!status) status = find_state(r, f);
    if (!status) status = settle_seed(r, f);
    if (!status) status = dukd_run_share_seed(r, f);
    if (!status) status = open_engine(r, f);
    if (!status) status = dukd_run_join(r, f);
    if (!status) status = open_networks(r, f);
    if (!status) status = open_learner(r, f); /* the session refuses wrong options before the data are read */
    if (!status) status = open_data(r, f);
    if (!status && r->resumed) status = go_on(r, f);
    if (!status) status = open_loader(r, f);
    if (status) return status;
    r->info.seed = r->o->seed;
    r->options_text = dukd_run_options_yaml(r->o);
    if (!r->options_text) return dukd_fail_memory(f, "the options", 1);
    status = dukd_run_same_start(r, f);
    if (!status && r->writes) status = open_folder(r, f);
    if (!r->writes) dukd_run_log_close(&r->log); /* which nobody reads */
    if (status) return status;
    if (r->resumed && !r->o->resume_state) r->saved = r->learner.iteration;
    begin_record(r);
    log_start(r);
    return dukd_run_write_record(r, "running", f);
}

void dukd_run_close(dukd_run *r) {
    /* Releasing memory waits for a device that may be waiting for a rank that never comes. */
    if (r->joined && r->failed) dukd_join_close(r->engine, 1);
    dukd_loader_destroy(r->loader);
    dukd_learner_free(&r->learner);
    dukd_validator_close(&r->validator);
    dukd_dataset_close(r->train_set);
    dukd_ready_network_close(&r->student);
    dukd_ready_network_close(&r->teacher);
    dukd_ready_network_close(&r->features);
    if (r->joined && !r->failed) dukd_join_close(r->engine, 0);
    dukd_engine_destroy(r->engine);
    dukd_state_close(r->resumed);
    dukd_metrics_log_close(&r->metrics);
    dukd_events_close(r->events);
    dukd_run_log_close(&r->log);
    dukd_experiment_close(&r->folder);
    free(r->start_ema);
    free(r->data);
    free(r->options_text);
}
