/* The host's table of option keys, merged with the plugin's. */
#include "train/run_read.h"

#include <stdlib.h>
#include <string.h>

#define ONE_PROCESS   "this host trains in one process"
#define FOLLOWS       "it follows from path.experiments_root and path.results_root"
#define TRAINING_ONLY "only datasets.train has it"

static const dukd_yaml_known host_keys[] = {
    {"name", NULL},
    {"model_type", NULL},
    {"scale", NULL},
    {"manual_seed", NULL},
    {"num_threads", NULL},
    {"precision", NULL},
    {"engine", NULL},
    {"device", NULL},
    {"tf32", NULL},
    {"num_gpu", "this host trains on the CPU"},
    {"dist_params.**", ONE_PROCESS},
    {"dist", ONE_PROCESS},
    {"rank", ONE_PROCESS},
    {"world_size", ONE_PROCESS},
    {"find_unused_parameters", ONE_PROCESS},
    {"use_pbar", "progress is always shown on a terminal"},
    {"is_train", "the command says what is done"},
    {"auto_resume", "dukd-host train --resume (or --auto_resume) is what asks for it"},
    {"root_path", "paths are relative to the folder where dukd-host is started"},
    {"suffix", "val.suffix is the one that is read"},
    {"crop_border", "each metric has its own, val.metrics.NAME.crop_border"},
    {"save_img", "val.save_img is the one that is read"},

    {"datasets.train.gt_size", NULL},
    {"datasets.train.use_hflip", NULL},
    {"datasets.train.use_rot", NULL},
    {"datasets.train.num_worker_per_gpu", NULL},
    {"datasets.train.batch_size_per_gpu", NULL},
    {"datasets.train.dataset_enlarge_ratio", NULL},
    {"datasets.train.prefetch_mode", "batches are always made ahead, by num_worker_per_gpu threads"},
    {"datasets.train.num_prefetch_queue", "batches are always made ahead, by num_worker_per_gpu threads"},
    {"datasets.train.pin_memory", "this host trains on the CPU"},
    {"datasets.train.persistent_workers", "worker threads always live as long as the run"},
    {"datasets.train.use_shuffle", "the order is always a new permutation each epoch"},
#define NOT_TRAINED(phase)                                                                                   \
    {"datasets." phase ".gt_size", TRAINING_ONLY}, {"datasets." phase ".use_hflip", TRAINING_ONLY},          \
        {"datasets." phase ".use_rot", TRAINING_ONLY}, {"datasets." phase ".use_shuffle", TRAINING_ONLY},    \
        {"datasets." phase ".num_worker_per_gpu", TRAINING_ONLY},                                            \
        {"datasets." phase ".batch_size_per_gpu", TRAINING_ONLY},                                            \
        {"datasets." phase ".dataset_enlarge_ratio", TRAINING_ONLY},                                         \
        {"datasets." phase ".prefetch_mode", TRAINING_ONLY}, {                                               \
        "datasets." phase ".pin_memory", TRAINING_ONLY                                                       \
    }
    NOT_TRAINED("val*"),
    NOT_TRAINED("test*"),
#undef NOT_TRAINED
#define SET(phase)                                                                                           \
    {"datasets." phase ".name", NULL}, {"datasets." phase ".type", NULL},                                    \
        {"datasets." phase ".dataroot_gt", NULL}, {"datasets." phase ".dataroot_lq", NULL},                  \
        {"datasets." phase ".filename_tmpl", NULL}, {"datasets." phase ".meta_info_file", NULL},             \
        {"datasets." phase ".io_backend.type", NULL}, {"datasets." phase ".io_backend.db_paths", NULL},      \
        {"datasets." phase ".io_backend.client_keys", NULL}, {"datasets." phase ".color", NULL},             \
        {"datasets." phase ".mean", NULL}, {"datasets." phase ".std", NULL},                                 \
        {"datasets." phase ".phase", "the name of the section says it"},                                     \
        {"datasets." phase ".scale", "the file's scale holds for all sets"}, {                               \
        "datasets." phase ".lq_border", NULL                                                                 \
    }
    SET("train"),
    SET("val*"),
    SET("test*"),
#undef SET

    {"network_g.**", NULL},
    {"network_t.**", NULL},
    {"network_f.**", NULL},

    {"path.pretrain_network_g", NULL},
    {"path.param_key_g", NULL},
    {"path.strict_load_g", NULL},
    {"path.pretrain_network_t", NULL},
    {"path.param_key_t", NULL},
    {"path.pretrain_network_f", NULL},
    {"path.param_key_f", NULL},
    {"path.strict_load_f", NULL},
    {"path.random_network_f", NULL},
    {"path.init_from_teacher", NULL},
    {"path.resume_state", NULL},
    {"path.experiments_root", NULL},
    {"path.results_root", NULL},
    {"path.ignore_resume_networks", "a training state of this host holds its networks"},
    {"path.strict_load_t", NULL},
    {"path.root", "paths are relative to the folder where dukd-host is started"},
    {"path.models", FOLLOWS},
    {"path.training_states", FOLLOWS},
    {"path.log", FOLLOWS},
    {"path.visualization", FOLLOWS},

    {"train.ema_decay", NULL},
    {"train.optim_g.type", NULL},
    {"train.optim_g.lr", NULL},
    {"train.optim_g.weight_decay", NULL},
    {"train.optim_g.betas", NULL},
    {"train.optim_g.eps", NULL},
    {"train.optim_g.momentum", NULL},
    {"train.scheduler.type", NULL},
    {"train.scheduler.milestones", NULL},
    {"train.scheduler.gamma", NULL},
    {"train.scheduler.restarts", NULL},
    {"train.scheduler.restart_weights", NULL},
    {"train.scheduler.periods", NULL},
    {"train.scheduler.eta_min", NULL},
    {"train.total_iter", NULL},
    {"train.warmup_iter", NULL},
    {"train.nonfinite", NULL},
    {"train.micro_batches", NULL},
    {"train.share_weights", NULL},

    {"val.val_freq", NULL},
    {"val.save_img", NULL},
    {"val.suffix", NULL},
    {"val.metrics.*.type", NULL},
    {"val.metrics.*.crop_border", NULL},
    {"val.metrics.*.test_y_channel", NULL},
    {"val.metrics.*.better", NULL},
    {"val.metrics.*.input_order", "images have one order here"},
    {"val.self_ensemble",
     "no code reads it, BasicSR's and the authors' included; dukd-host test has --self-ensemble"},
    {"val.pbar", "progress is always shown on a terminal"},
    {"val.use_pbar", "progress is always shown on a terminal"},

    {"logger.print_freq", NULL},
    {"logger.save_checkpoint_freq", NULL},
    {"logger.use_tb_logger", NULL},
    {"logger.wandb.**", "metrics.jsonl and TensorBoard's event files hold what it would be sent"},
};

/* What stands for a plugin's table where there is no plugin. */
static const dukd_yaml_known some_plugin[] = {{"train.**", NULL}, {"backend", NULL}};

typedef struct {
    dukd_run_reader *r;
    const char **notes;
    int32_t count, room;
} notes;

static void take_note(void *ctx, const char *message) {
    notes *n = ctx;
    if (n->count == n->room) {
        int32_t room = n->room ? 2 * n->room : 16;
        const char **more = dukd_run_alloc(n->r, (size_t)room * sizeof *more);
        if (!more) return;
        if (n->count) memcpy(more, n->notes, (size_t)n->count * sizeof *more);
        n->notes = more;
        n->room = room;
    }
    n->notes[n->count] = dukd_run_copy(n->r, message);
    if (n->notes[n->count]) n->count++;
}

/* A model type that the plugin does not have comes with keys that it does not know: what is wrong is the model type. */
static void check_model_type(dukd_run_reader *r, const dukd_plugin_info *plugin) {
    for (uint32_t i = 0; plugin && i < plugin->n_options; i++) {
        const dukd_option_info *row = plugin->options[i];
        if (strcmp(row->name, "model_type") != 0 || !row->n_choices) continue;
        const char **choices = dukd_run_alloc(r, ((size_t)row->n_choices + 1) * sizeof *choices);
        if (!choices) return;
        for (uint32_t k = 0; k < row->n_choices; k++) choices[k] = row->choices[k];
        dukd_run_choice(r, row->name, choices, 0);
    }
}

void dukd_run_check_keys(dukd_run_reader *r, const dukd_plugin_info *plugin, dukd_run_options *o) {
    if (!r->failed) check_model_type(r, plugin);
    if (r->failed) return;
    const size_t own = sizeof host_keys / sizeof *host_keys,
                 guessed = sizeof some_plugin / sizeof *some_plugin;
    const size_t more = plugin ? plugin->n_options : guessed;
    dukd_yaml_known *known = dukd_run_alloc(r, (own + more) * sizeof *known);
    if (!known) return;
    memcpy(known, host_keys, sizeof host_keys);
    for (size_t i = 0; i < more; i++)
        known[own + i] = plugin ? (dukd_yaml_known){plugin->options[i]->name, NULL} : some_plugin[i];
    notes n = {.r = r};
    dukd_yaml_error e = {0};
    if (!dukd_yaml_check_keys(r->root, known, own + more, take_note, &n, &e)) dukd_run_take_error(r, &e);
    o->notes = n.notes;
    o->note_count = n.count;
}
