/* The sections of an option file, one function each. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "train/run_read.h"

#define LARGE INT64_C(1000000000000) /* iterations */

/* ---------------------------------------------------------------- general */

static const char *stem(dukd_run_reader *r, const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    return dukd_run_format(r, "%.*s", dot && dot > base ? (int)(dot - base) : (int)strlen(base), base);
}

static void check_name(dukd_run_reader *r, const char *name) {
    if (r->failed) return;
    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > 200)
        dukd_run_wrong(r, "name",
                       "'%.40s' cannot be the name of a folder: no '/', no '.' in front, 1 to 200 bytes",
                       name);
}

void dukd_run_read_general(dukd_run_reader *r, dukd_run_options *o) {
    static const char *const precisions[] = {"f32", "bf16", NULL};
    o->name = dukd_run_text(r, "name", NULL);
    if (!o->name) o->name = stem(r, o->file);
    if (o->name) check_name(r, o->name);
    o->model_type = dukd_run_text(r, "model_type", "");
    if (!dukd_yaml_find(r->root, "scale") || dukd_yaml_is_null(r->root, "scale"))
        dukd_run_wrong(r, "scale", "is missing: how many times larger the output is, 2, 3 or 4");
    o->scale = (int32_t)dukd_run_whole(r, "scale", 2, 8, 2);
    o->has_seed = dukd_yaml_find(r->root, "manual_seed") && !dukd_yaml_is_null(r->root, "manual_seed");
    o->seed = (uint64_t)dukd_run_whole(r, "manual_seed", 0, INT64_MAX, 0);
    o->threads = (int32_t)dukd_run_whole(r, "num_threads", 0, 1024, 0);
    o->precision = dukd_run_choice(r, "precision", precisions, 0) ? DUKD_BF16 : DUKD_F32;
    o->engine = dukd_run_text(r, "engine", "auto");
    o->device = (int32_t)dukd_run_whole(r, "device", 0, 1023, -1);
    o->tf32 = dukd_run_flag(r, "tf32", 0);
    o->backend = dukd_run_text(r, "backend", NULL);
    o->resume_state = dukd_run_file(r, "path.resume_state");
    o->experiments_root = dukd_run_file(r, "path.experiments_root");
    o->results_root = dukd_run_file(r, "path.results_root");
}

/* ---------------------------------------------------------------- datasets */

/* "datasets.KEY.ENTRY" in a buffer of the caller's. */
typedef struct {
    char text[300];
} entry_path;

static const char *entry(entry_path *p, const char *key, const char *name) {
    snprintf(p->text, sizeof p->text, "datasets.%s.%s", key, name);
    return p->text;
}

static int is_given(const dukd_run_reader *r, const char *path) {
    return !r->failed && dukd_yaml_find(r->root, path) && !dukd_yaml_is_null(r->root, path);
}

/* Keys of BasicSR's data sets that would change the images: not done here, so not to be ignored either. */
static void refuse_unread(dukd_run_reader *r, const char *key) {
    entry_path p;
    const char *type = NULL, *colour = NULL;
    if (is_given(r, entry(&p, key, "io_backend.type"))) type = dukd_run_text(r, p.text, NULL);
    if (type && strcmp(type, "disk") != 0)
        dukd_run_wrong(
            r, p.text,
            "'%.40s' is not read here: write disk, with dataroot_gt and dataroot_lq folders of images "
            "(BasicSR's lmdb sets are made of such folders; dukd-host prepare makes a fast set of them)",
            type);
    if (is_given(r, entry(&p, key, "color"))) colour = dukd_run_text(r, p.text, NULL);
    if (colour && strcmp(colour, "y") == 0)
        dukd_run_wrong(r, p.text,
                       "y: the networks here take RGB; take the key out (metrics have test_y_channel)");
    if (is_given(r, entry(&p, key, "mean")) || is_given(r, entry(&p, key, "std")))
        dukd_run_wrong(
            r, p.text,
            "images are not normalised here; take the key out (networks have rgb_mean and img_range)");
}

static void read_set(dukd_run_reader *r, const dukd_run_options *o, const dukd_yaml_node *section,
                     dukd_run_dataset *set) {
    static const char *const types[] = {"PairedImageDataset", NULL}, *const borders[] = {"symmetric", "clamp",
                                                                                         NULL};
    entry_path p;
    const char *key = set->key = dukd_run_copy(r, dukd_yaml_node_key(section));
    set->place = dukd_run_place(r, section);
    if (r->failed) return;
    if (strlen(key) > 200) {
        dukd_run_wrong(r, "datasets", "has an entry with a name longer than 200 bytes");
        return;
    }
    set->name = dukd_run_text(r, entry(&p, key, "name"), key);
    dukd_run_choice(r, entry(&p, key, "type"), types, 0);
    refuse_unread(r, key);
    set->files.dataroot_gt = dukd_run_file(r, entry(&p, key, "dataroot_gt"));
    set->files.dataroot_lq = dukd_run_file(r, entry(&p, key, "dataroot_lq"));
    set->files.filename_tmpl = dukd_run_text(r, entry(&p, key, "filename_tmpl"), NULL);
    set->files.meta_info_file = dukd_run_file(r, entry(&p, key, "meta_info_file"));
    set->files.clamp_border = dukd_run_choice(r, entry(&p, key, "lq_border"), borders, 0);
    set->files.scale = o->scale;
    if (!r->failed && (!*set->name || *set->name == '.' || strchr(set->name, '/')))
        dukd_run_wrong(r, entry(&p, key, "name"),
                       "'%.40s' cannot be the name of a folder: no '/', no '.' in front", set->name);
    if (!r->failed && !set->files.dataroot_gt)
        dukd_run_wrong(r, entry(&p, key, "dataroot_gt"),
                       "is missing: the folder of the high-resolution images");
}

static void need(dukd_run_reader *r, const char *path, const char *what) {
    if (!r->failed && !is_given(r, path)) dukd_run_wrong(r, path, "is missing: %s", what);
}

static void read_train_set(dukd_run_reader *r, const dukd_yaml_node *section, dukd_run_options *o) {
    dukd_run_train_data *d = &o->train_data;
    o->has_train = 1;
    read_set(r, o, section, &o->train_set);
    need(r, "datasets.train.gt_size", "the side of a high-resolution patch in pixels");
    need(r, "datasets.train.batch_size_per_gpu", "how many patches a batch has");
    d->gt_size = (int32_t)dukd_run_whole(r, "datasets.train.gt_size", 1, 8192, 192);
    if (!r->failed && d->gt_size % o->scale)
        dukd_run_wrong(r, "datasets.train.gt_size", "%d is no multiple of scale %d", d->gt_size, o->scale);
    d->batch = (int32_t)dukd_run_whole(r, "datasets.train.batch_size_per_gpu", 1, 4096, 1);
    d->enlarge = (int32_t)dukd_run_whole(r, "datasets.train.dataset_enlarge_ratio", 1, 1000000, 1);
    d->use_hflip = dukd_run_flag(r, "datasets.train.use_hflip", 1);
    d->use_rot = dukd_run_flag(r, "datasets.train.use_rot", 1);
    d->workers = (int32_t)dukd_run_whole(r, "datasets.train.num_worker_per_gpu", 0, 256, 1);
}

void dukd_run_read_datasets(dukd_run_reader *r, dukd_run_options *o) {
    const dukd_yaml_node *sets = dukd_yaml_find(r->root, "datasets");
    size_t count = sets ? dukd_yaml_node_count(sets) : 0;
    dukd_run_dataset *val = dukd_run_alloc(r, (count + 1) * sizeof *val);
    dukd_run_dataset *test = dukd_run_alloc(r, (count + 1) * sizeof *test);
    if (r->failed) return;
    for (size_t i = 0; i < count && !r->failed; i++) {
        const dukd_yaml_node *section = dukd_yaml_node_at(sets, i);
        const char *key = dukd_yaml_node_key(section);
        if (dukd_yaml_node_count(section) == 0) continue; /* "val: ~" */
        if (strcmp(key, "train") == 0)
            read_train_set(r, section, o);
        else if (strncmp(key, "val", 3) == 0)
            read_set(r, o, section, &val[o->val_count++]);
        else
            read_set(r, o, section, &test[o->test_count++]);
    }
    o->val = val;
    o->test = test;
}

/* ---------------------------------------------------------------- networks */

static void read_network(dukd_run_reader *r, const dukd_run_options *o, const char *section,
                         dukd_run_network *n) {
    const dukd_yaml_node *node = dukd_yaml_find(r->root, section);
    if (r->failed || !node || dukd_yaml_node_count(node) == 0) return;
    size_t prefix = strlen(section) + 1, count = 0;
    dukd_model_setting *settings = dukd_run_alloc(r, (r->memory->flat->count + 1) * sizeof *settings);
    const char *type = NULL, *type_place = NULL, *place = dukd_run_place(r, node);
    if (r->failed) return;
    for (size_t i = 0; i < r->memory->flat->count; i++) {
        const dukd_yaml_leaf *leaf = &r->memory->flat->leaves[i];
        if (strncmp(leaf->key, section, prefix - 1) != 0 || leaf->key[prefix - 1] != '.') continue;
        if (strcmp(leaf->key + prefix, "type") == 0 && leaf->count == 1 && !leaf->is_list) {
            type = leaf->values[0];
            type_place = leaf->place;
            continue;
        }
        settings[count++] = (dukd_model_setting){
            .key = leaf->key + prefix,
            .texts = leaf->values,
            .count = (int32_t)leaf->count,
            .is_list = leaf->is_list,
            .where = leaf->place,
        };
    }
    if (!type) {
        dukd_fail(r->f, DUKD_MISUSED, "%s: %s.type is missing: the name of a network, such as EDSR", place,
                  section);
        r->failed = 1;
        return;
    }
    if (dukd_model_spec_read(&n->spec, type, type_place, place, settings, (int32_t)count, r->f)) {
        r->failed = 1;
        return;
    }
    n->is_set = 1;
    int64_t upscale = dukd_model_spec_int(&n->spec, "upscale");
    char path[64];
    snprintf(path, sizeof path, "%s.upscale", section);
    if (upscale < 0 || upscale == o->scale) return;
    if (!dukd_yaml_find(r->root, path))
        snprintf(path, sizeof path, "%s", section); /* the network's default */
    const char *scale_place = dukd_run_place(r, dukd_yaml_find(r->root, "scale"));
    dukd_run_wrong(
        r, path,
        "%s enlarges %lld times, but scale is %d (%s): student and teacher may differ in all but that", type,
        (long long)upscale, o->scale, scale_place ? scale_place : "");
}

/* Where a network's weights come from: the keys of `path` that end in _g, _t or _f. */
static void read_source(dukd_run_reader *r, char letter, const char *key, dukd_run_network *n) {
    char path[64];
    snprintf(path, sizeof path, "path.pretrain_network_%c", letter);
    n->pretrained = dukd_run_file(r, path);
    n->pretrained_place =
        r->failed || !n->pretrained ? NULL : dukd_run_place(r, dukd_yaml_find(r->root, path));
    snprintf(path, sizeof path, "path.param_key_%c", letter);
    n->param_key = dukd_yaml_is_null(r->root, path) ? NULL : dukd_run_text(r, path, key);
    snprintf(path, sizeof path, "path.strict_load_%c", letter);
    n->strict = dukd_run_flag(r, path, 1);
}

/* A student that is a part of its teacher has no other beginning, and there must be a teacher. */
static void read_parts(dukd_run_reader *r, dukd_run_options *o) {
    o->init_from_teacher = dukd_run_flag(r, "path.init_from_teacher", 0);
    o->share_weights = dukd_run_flag(r, "train.share_weights", 0);
    const char *key = o->share_weights ? "train.share_weights" : "path.init_from_teacher";
    if (r->failed || (!o->init_from_teacher && !o->share_weights)) return;
    if (!o->teacher.is_set)
        dukd_run_wrong(r, key, "the student is to be a part of its teacher, and there is no network_t");
    else if (o->student.pretrained)
        dukd_run_wrong(r, key,
                       "the student's weights are taken from its teacher: take path.pretrain_network_g out");
}

void dukd_run_read_networks(dukd_run_reader *r, dukd_run_options *o) {
    read_network(r, o, "network_g", &o->student);
    read_source(r, 'g', "params", &o->student);
    read_network(r, o, "network_t", &o->teacher);
    read_source(r, 't', "params", &o->teacher);
    read_network(r, o, "network_f", &o->features);
    read_source(r, 'f', NULL, &o->features);
    o->features.is_features = 1;
    o->features.random = dukd_run_flag(r, "path.random_network_f", 0);
    read_parts(r, o);
}

/* ---------------------------------------------------------------- training */

static void read_multi_step(dukd_run_reader *r, dukd_schedule *s) {
    s->kind = DUKD_SCHEDULE_MULTI_STEP;
    need(r, "train.scheduler.milestones", "the iterations after which the rate is multiplied by gamma");
    s->milestone_count =
        dukd_run_wholes(r, "train.scheduler.milestones", 0, LARGE, DUKD_SCHEDULE_MAX, s->milestones);
    s->gamma = dukd_run_number(r, "train.scheduler.gamma", 0, 1e6, 0.1);
    s->restart_count =
        dukd_run_wholes(r, "train.scheduler.restarts", 0, LARGE, DUKD_SCHEDULE_MAX, s->restarts);
    int32_t weights =
        dukd_run_numbers(r, "train.scheduler.restart_weights", 0, 1e6, DUKD_SCHEDULE_MAX, s->restart_weights);
    if (!r->failed && weights != s->restart_count)
        dukd_run_wrong(r, "train.scheduler.restart_weights", "has %d numbers, restarts has %d: one for each",
                       weights, s->restart_count);
}

static void read_cosine(dukd_run_reader *r, dukd_schedule *s) {
    s->kind = DUKD_SCHEDULE_COSINE;
    need(r, "train.scheduler.periods", "the iterations of each cosine");
    s->period_count = dukd_run_wholes(r, "train.scheduler.periods", 1, LARGE, DUKD_SCHEDULE_MAX, s->periods);
    s->eta_min = dukd_run_number(r, "train.scheduler.eta_min", 0, 1e6, 0);
    int32_t weights =
        dukd_run_numbers(r, "train.scheduler.restart_weights", 0, 1e6, DUKD_SCHEDULE_MAX, s->restart_weights);
    if (!weights && s->period_count == 1) s->restart_weights[weights++] = 1;
    if (!r->failed && (weights != s->period_count || !weights))
        dukd_run_wrong(r, "train.scheduler.restart_weights", "has %d numbers, periods has %d: one for each",
                       weights, s->period_count);
}

static void read_schedule(dukd_run_reader *r, dukd_schedule *s) {
    static const char *const types[] = {"MultiStepLR", "MultiStepRestartLR", "CosineAnnealingRestartLR",
                                        NULL};
    s->rate = dukd_run_number(r, "train.optim_g.lr", 0, 1e6, 0);
    s->warmup_iter = dukd_run_whole(r, "train.warmup_iter", -1, LARGE, -1);
    s->gamma = 0.1;
    int type = dukd_run_choice(r, "train.scheduler.type", types, -1);
    if (r->failed) return;
    if (type == 0 || type == 1)
        read_multi_step(r, s);
    else if (type == 2)
        read_cosine(r, s);
    else {
        const dukd_yaml_node *section = dukd_yaml_find(r->root, "train.scheduler");
        if (section && dukd_yaml_node_count(section))
            dukd_run_wrong(r, "train.scheduler.type", "is missing: MultiStepLR or CosineAnnealingRestartLR");
    }
}

void dukd_run_read_training(dukd_run_reader *r, dukd_run_options *o) {
    static const char *const optimizers[] = {"Adam", "SGD", NULL}, *const policies[] = {"stop", "skip", NULL};
    o->ema_decay = dukd_run_number(r, "train.ema_decay", 0, 1 - DBL_EPSILON / 2, 0);
    o->sgd = dukd_run_choice(r, "train.optim_g.type", optimizers, 0) == 1;
    double betas[2] = {0.9, 0.999}; /* torch's defaults, which BasicSR leaves */
    int32_t given = dukd_run_numbers(r, "train.optim_g.betas", 0, 1 - DBL_EPSILON / 2, 2, betas);
    if (!r->failed && given != 0 && given != 2)
        dukd_run_wrong(r, "train.optim_g.betas", "has %d number, Adam wants two: [0.9, 0.99]", given);
    if (!r->failed && o->sgd && (given || dukd_yaml_find(r->root, "train.optim_g.eps")))
        dukd_run_wrong(r, given ? "train.optim_g.betas" : "train.optim_g.eps", "is Adam's; SGD has none");
    if (dukd_run_number(r, "train.optim_g.momentum", 0, 1, 0) > 0)
        dukd_run_wrong(r, "train.optim_g.momentum",
                       "is not supported: SGD is plain gradient descent, momentum 0");
    o->adam = (dukd_adam_options){
        .beta1 = betas[0],
        .beta2 = betas[1],
        .eps = dukd_run_number(r, "train.optim_g.eps", 0, 1, 1e-8),
        .weight_decay = dukd_run_number(r, "train.optim_g.weight_decay", 0, 1e6, 0),
    };
    read_schedule(r, &o->schedule);
    o->total_iter = dukd_run_whole(r, "train.total_iter", 1, LARGE, 0);
    o->nonfinite =
        dukd_run_choice(r, "train.nonfinite", policies, 0) ? DUKD_NONFINITE_SKIP : DUKD_NONFINITE_STOP;
    o->micro_batches = (int32_t)dukd_run_whole(r, "train.micro_batches", 1, 4096, 1);
    if (!r->failed && o->has_train && o->train_data.batch % o->micro_batches)
        dukd_run_wrong(r, "train.micro_batches", "%d does not divide datasets.train.batch_size_per_gpu %d",
                       o->micro_batches, o->train_data.batch);
}

/* ---------------------------------------------------------------- validation and the log */

static void read_metric(dukd_run_reader *r, const dukd_run_options *o, const char *name, dukd_run_metric *m) {
    static const char *const types[] = {"calculate_psnr", "calculate_ssim", NULL}, *const better[] = {
                                                                                       "higher", "lower",
                                                                                       NULL};
    char path[300];
    m->name = dukd_run_copy(r, name);
    snprintf(path, sizeof path, "val.metrics.%.200s.type", name);
    need(r, path, "calculate_psnr or calculate_ssim");
    m->kind = dukd_run_choice(r, path, types, 0) ? DUKD_METRIC_SSIM : DUKD_METRIC_PSNR;
    snprintf(path, sizeof path, "val.metrics.%.200s.crop_border", name);
    m->options.crop_border = (int32_t)dukd_run_whole(r, path, 0, 10000, o->scale);
    snprintf(path, sizeof path, "val.metrics.%.200s.test_y_channel", name);
    m->options.y_channel = dukd_run_flag(r, path, 0);
    snprintf(path, sizeof path, "val.metrics.%.200s.better", name);
    m->lower_is_better = dukd_run_choice(r, path, better, 0);
}

void dukd_run_read_validation(dukd_run_reader *r, dukd_run_options *o) {
    o->val_freq = dukd_run_whole(r, "val.val_freq", 1, LARGE, 0);
    o->save_img = dukd_run_flag(r, "val.save_img", 0);
    o->suffix = dukd_run_text(r, "val.suffix", NULL);
    if (!r->failed && o->suffix && strchr(o->suffix, '/'))
        dukd_run_wrong(r, "val.suffix", "'%.40s' is a part of a file name: no '/'", o->suffix);
    const dukd_yaml_node *metrics = dukd_yaml_find(r->root, "val.metrics");
    size_t count = metrics ? dukd_yaml_node_count(metrics) : 0;
    if (!r->failed && count > DUKD_RUN_MAX_METRICS)
        dukd_run_wrong(r, "val.metrics", "has %zu metrics; at most %d", count, DUKD_RUN_MAX_METRICS);
    for (size_t i = 0; i < count && !r->failed; i++)
        read_metric(r, o, dukd_yaml_node_key(dukd_yaml_node_at(metrics, i)), &o->metrics[o->metric_count++]);
    if (!count) {
        const dukd_metric_options usual = {.crop_border = o->scale, .y_channel = 1};
        o->metrics[0] = (dukd_run_metric){.name = "psnr", .kind = DUKD_METRIC_PSNR, .options = usual};
        o->metrics[1] = (dukd_run_metric){.name = "ssim", .kind = DUKD_METRIC_SSIM, .options = usual};
        o->metric_count = 2;
    }
    o->print_freq = dukd_run_whole(r, "logger.print_freq", 1, LARGE, 100);
    o->save_checkpoint_freq = dukd_run_whole(r, "logger.save_checkpoint_freq", 1, LARGE, 5000);
    o->use_tb_logger = dukd_run_flag(r, "logger.use_tb_logger", 0);
}
