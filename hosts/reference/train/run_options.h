/* The option file of a run, read, checked and resolved: what train, test, info and preview all start from.
 *
 * The file is BasicSR's. Keys come in three kinds: those that the host reads (below), those that are accepted
 * and not read (wandb, num_gpu, ...: each is named once in `notes`), and those of the plugin's option table,
 * which are handed to it untouched, with their places. Anything else is an error that names file, line,
 * column and the nearest right key. README.md beside this file lists the host's keys.
 *
 * [one thread while it is read; thread-safe to use afterwards] */
#ifndef DUKD_RUN_OPTIONS_H
#define DUKD_RUN_OPTIONS_H

#include <stdint.h>

#include "common/failure.h"
#include "common/json_out.h"
#include "data/dataset.h"
#include "data/metrics.h"
#include "dukd_plugin.h"
#include "engine/engine.h"
#include "models/model.h"
#include "train/adam.h"
#include "train/schedule.h"

/* One entry of `datasets`: train, val, val_1, test_2, ... */
typedef struct {
    const char *key;            /* "val_1" */
    const char *place;          /* of its section: "opt.yml:31:3" */
    const char *name;           /* "Set5"; the key where there is none */
    dukd_dataset_options files; /* for dukd_dataset_open; scale filled in, ~ expanded */
} dukd_run_dataset;

/* Of datasets.train alone. */
typedef struct {
    int32_t gt_size;            /* HR patch; a multiple of scale */
    int32_t batch;              /* images an iteration (batch_size_per_gpu) */
    int32_t enlarge;            /* dataset_enlarge_ratio */
    int32_t use_hflip, use_rot; /* 0 | 1; both 1 by default */
    int32_t workers;            /* num_worker_per_gpu */
} dukd_run_train_data;

typedef enum { DUKD_METRIC_PSNR, DUKD_METRIC_SSIM } dukd_metric_kind;
typedef struct {
    const char *name; /* the key in val.metrics: any word */
    dukd_metric_kind kind;
    dukd_metric_options options;
    int32_t lower_is_better; /* `better: lower` */
} dukd_run_metric;

/* A network and where its weights come from. */
typedef struct {
    int32_t is_set; /* 0: the file has no such section */
    dukd_model_spec spec;
    const char *pretrained; /* path.pretrain_network_g or _t; NULL: none */
    const char *pretrained_place;
    const char
        *param_key;      /* path.param_key_g or _t: "params" where absent; NULL (~): names without a prefix */
    int32_t strict;      /* path.strict_load_g or _t; 1 where absent */
    int32_t is_features; /* network_f: any number of output channels */
    int32_t random;      /* path.random_network_f: random weights are wanted */
} dukd_run_network;

typedef enum { DUKD_NONFINITE_STOP, DUKD_NONFINITE_SKIP } dukd_nonfinite;

#define DUKD_RUN_MAX_METRICS 8

typedef struct dukd_run_options {
    const char *file;       /* the option file's path */
    const char *name;       /* of the run */
    const char *model_type; /* as written; "" where absent. The plugin gives it its meaning. */
    int32_t scale;          /* 2 .. 8 */
    int32_t has_seed;       /* manual_seed is in the file; else the run draws one */
    uint64_t seed;
    int32_t threads; /* num_threads; 0: as many as there are processors */
    dukd_precision precision;
    const char *engine; /* for dukd_engine_open: "auto" */
    const char *
        engine_flag; /* a command's --engine, which goes before it (dukd_run_options_for_engine); NULL: not given */
    int32_t device;    /* index of the GPU; -1: not given */
    int32_t rank_turn; /* this rank's number on its machine: which it takes then (dukd_engine_options.turn) */
    int32_t tf32;
    const char
        *backend; /* the plugin's, as written; NULL: absent. "cpu" and "cuda" say where the engine is, too */

    int32_t has_train; /* datasets.train is there */
    dukd_run_dataset train_set;
    dukd_run_train_data train_data;
    int32_t val_count, test_count;
    const dukd_run_dataset *val, *test; /* in the file's order */

    dukd_run_network student, teacher, features; /* network_g, network_t, network_f */
    int32_t
        init_from_teacher; /* path.init_from_teacher: the student starts as the first channels of the teacher */
    int32_t share_weights; /* train.share_weights: it stays that while both are trained */

    const char *resume_state;     /* path.resume_state; NULL: none */
    const char *experiments_root; /* where the run's folder is: default experiments/NAME */
    const char *results_root;     /* where test writes images: default results/NAME */

    double ema_decay; /* 0: no average */
    int32_t sgd;      /* 1: optim_g.type is SGD, which uses adam.weight_decay alone */
    dukd_adam_options adam;
    dukd_schedule schedule; /* rate and warm-up included */
    int64_t total_iter;     /* 0: the file has none */
    dukd_nonfinite nonfinite;
    int32_t micro_batches; /* parts into which a batch is split; 1 */

    int64_t val_freq; /* 0: no validation */
    int32_t save_img;
    const char *suffix; /* val.suffix: of saved images; NULL: none */
    int32_t metric_count;
    dukd_run_metric
        metrics[DUKD_RUN_MAX_METRICS]; /* where val.metrics is absent: psnr and ssim on Y, border = scale */

    int64_t print_freq, save_checkpoint_freq;
    int32_t use_tb_logger;

    /* What belongs to the plugin, for dukd_session_params. */
    uint32_t plugin_option_count;
    const dukd_option *const *plugin_options;

    /* Keys of the file that nobody reads, a line each: "opt.yml:88:3: val.self_ensemble is ignored: ...". */
    int32_t note_count;
    const char *const *notes;

    struct dukd_run_memory *memory; /* all of the above; not for users */
} dukd_run_options;

/* Values from the command line that replace those of the file, applied in this order. */
typedef struct {
    const char *const *set; /* --set path.key=value */
    int32_t set_count;
    const char *const *force; /* --force_yml path:key=value */
    int32_t force_count;
} dukd_run_overrides;

/* Reads `path`. `overrides` may be NULL. `plugin`: the plugin whose option table is merged with the host's;
 * NULL where no plugin is used (info, test): keys under `train` and the key `backend` are then not checked,
 * and plugin_options is empty. Whether the parts that a command needs are there is checked by the functions
 * below. */
int dukd_run_options_read(dukd_run_options **out, const char *path, const dukd_run_overrides *overrides,
                          const dukd_plugin_info *plugin, dukd_failure *f);
void dukd_run_options_destroy(dukd_run_options *o); /* NULL allowed */

/* dukd_engine_open with the file's engine, device, tf32 and num_threads (run_engine.c). An engine that cannot be used is refused at
 * its place, as is one elsewhere than the plugin (NULL: the command uses none); "auto" takes one that the plugin can follow. */
int dukd_run_engine_create(dukd_engine **out, const dukd_run_options *o, const dukd_plugin *plugin,
                           dukd_failure *f);

/* dukd_dataset_open; a failure begins with the section's place and key. */
int dukd_run_dataset_open(dukd_dataset **out, const dukd_run_dataset *set, dukd_failure *f);

/* Passes on why a plugin refused the options: a message without a place of its own begins with the file. Returns
 * why->status. */
int dukd_run_refused(const dukd_run_options *o, const dukd_failure *why, dukd_failure *f);

/* The same where one of the host's keys is what has to change: its place, its name, and why. Returns DUKD_MISUSED. */
int dukd_run_wrong_key(const dukd_run_options *o, const char *key, const dukd_failure *why, dukd_failure *f);

/* DUKD_MISUSED, naming the key, where something is missing that a training run (a test) needs. */
int dukd_run_options_need_training(const dukd_run_options *o, dukd_failure *f);
int dukd_run_options_need_test(const dukd_run_options *o, dukd_failure *f);

/* One of several runs of the same file: NAME_seedN with this seed, and its own folders. Once, after reading. */
int dukd_run_options_for_seed(dukd_run_options *o, uint64_t seed, dukd_failure *f);

/* A command's --engine (NULL: not given) in place of the file's: what is saved of the options says it, too. It lives as long as o. */
int dukd_run_options_for_engine(dukd_run_options *o, const char *engine, dukd_failure *f);
/* The seed that a run has drawn or was told: from now on it counts as set. */
void dukd_run_options_set_seed(dukd_run_options *o, uint64_t seed);

/* The whole file after overrides, with every default of the host filled in, as YAML that reads back to the same
 * options (and runs in BasicSR where the file did). malloc'd; NULL: no memory. */
char *dukd_run_options_yaml(const dukd_run_options *o);
/* The same as an object of a JSON document. */
void dukd_run_options_to_json(const dukd_run_options *o, dukd_json *j, const char *key);

#endif
