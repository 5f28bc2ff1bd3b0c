/* Option files of runs: what is read, what is filled in, whose a key is, and what is refused with which words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data_fixture.h"
#include "train/run_changes.h"
#include "train/run_options.h"

static const char full[] = "name: DUKD_x4\n"
                           "model_type: DUKD\n"
                           "scale: 4\n"
                           "num_gpu: 1  # as in the authors' files\n"
                           "manual_seed: 10\n"
                           "datasets:\n"
                           "  train:\n"
                           "    name: DIV2K\n"
                           "    type: PairedImageDataset\n"
                           "    dataroot_gt: ~/HR\n"
                           "    dataroot_lq: data/LR\n"
                           "    filename_tmpl: '{}x4'\n"
                           "    io_backend:\n"
                           "      type: disk\n"
                           "    gt_size: 192\n"
                           "    use_hflip: true\n"
                           "    use_rot: false\n"
                           "    num_worker_per_gpu: 6\n"
                           "    batch_size_per_gpu: 16\n"
                           "    dataset_enlarge_ratio: 100\n"
                           "    prefetch_mode: ~\n"
                           "  val:\n"
                           "    name: Set5\n"
                           "    type: PairedImageDataset\n"
                           "    dataroot_gt: set5\n"
                           "  val_1:\n"
                           "    dataroot_gt: set14\n"
                           "    lq_border: clamp\n"
                           "  test_2: {name: B100, dataroot_gt: b100}\n"
                           "network_g:\n"
                           "  type: EDSR\n"
                           "  num_in_ch: 3\n"
                           "  num_out_ch: 3\n"
                           "  num_feat: 64\n"
                           "  num_block: 32\n"
                           "  upscale: 4\n"
                           "  res_scale: 0.1\n"
                           "  img_range: 255.\n"
                           "  rgb_mean: [0.4488, 0.4371, 0.4040]\n"
                           "network_t: {type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 256, num_block: "
                           "32, upscale: 4, res_scale: 0.1}\n"
                           "path:\n"
                           "  pretrain_network_g: x2.safetensors\n"
                           "  pretrain_network_t: t.safetensors\n"
                           "  param_key_t: params_ema\n"
                           "  strict_load_g: false\n"
                           "  resume_state: ~\n"
                           "train:\n"
                           "  noisy:\n"
                           "    prob: 0.3\n"
                           "  ema_decay: 0.999\n"
                           "  optim_g:\n"
                           "    type: Adam\n"
                           "    lr: !!float 1e-4\n"
                           "    weight_decay: 0\n"
                           "    betas: [0.9, 0.99]\n"
                           "  scheduler:\n"
                           "    type: MultiStepLR\n"
                           "    milestones: [100000, 200000]\n"
                           "    gamma: 0.1\n"
                           "  total_iter: 250000\n"
                           "  warmup_iter: -1\n"
                           "val:\n"
                           "  val_freq: !!float 5e3\n"
                           "  save_img: false\n"
                           "  self_ensemble: true\n"
                           "  metrics:\n"
                           "    psnr:\n"
                           "      type: calculate_psnr\n"
                           "      crop_border: 4\n"
                           "      test_y_channel: true\n"
                           "    mine:\n"
                           "      type: calculate_ssim\n"
                           "      crop_border: 3\n"
                           "      better: lower\n"
                           "logger:\n"
                           "  print_freq: 100\n"
                           "  save_checkpoint_freq: !!float 5e3\n"
                           "  use_tb_logger: true\n"
                           "  wandb: {project: ~, resume_id: ~}\n"
                           "dist_params: {backend: nccl, port: 29500}\n";

/* A plugin's table. */
static const char *const model_types[] = {"DUKD", "SRModel"};
static const dukd_option_info rows[] = {
    {.struct_size = DUKD_OPTION_INFO_SIZE,
     .type = DUKD_OPTION_STRING,
     .name = "model_type",
     .choices = model_types,
     .n_choices = 2},
    {.struct_size = DUKD_OPTION_INFO_SIZE, .type = DUKD_OPTION_FLOAT, .name = "train.noisy.prob"},
    {.struct_size = DUKD_OPTION_INFO_SIZE,
     .type = DUKD_OPTION_STRING | DUKD_OPTION_LIST,
     .name = "train.terms"},
};
static const dukd_option_info *const row_list[] = {&rows[0], &rows[1], &rows[2]};
static const dukd_plugin_info plugin = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE, .n_options = 3, .name = "toy", .version = "1", .options = row_list};

/* Reads `text` with --set arguments; NULL and the failure where it is refused. */
static dukd_run_options *read_text(const char *text, const char *const *set, int32_t sets, dukd_failure *f) {
    dukd_run_options *o = NULL;
    const dukd_run_overrides v = {.set = set, .set_count = sets};
    data_text(data_path("opt.yml"), text);
    int status = dukd_run_options_read(&o, data_path("opt.yml"), &v, &plugin, f);
    assert_true((status == 0) == (o != NULL));
    if (status) assert_int_equal(status, f->status);
    return o;
}

static void refused(const char *text, const char *const *set, int32_t sets, const char *part,
                    const char *part2) {
    dukd_failure f = {0};
    dukd_run_options *o = read_text(text, set, sets, &f);
    if (o) fail_msg("accepted, though %s", part);
    assert_int_equal(f.status, DUKD_MISUSED);
    if (!strstr(f.message, part) || (part2 && !strstr(f.message, part2)))
        fail_msg("the message '%s' does not say '%s' and '%s'", f.message, part, part2 ? part2 : "");
}

static void refused_set(const char *set, const char *part, const char *part2) {
    refused(full, &set, 1, part, part2);
}

/* ---------------------------------------------------------------- reading */

static void the_authors_file(void **state) {
    (void)state;
    dukd_failure f = {0};
    char home_path[600];
    dukd_run_options *o = read_text(full, NULL, 0, &f);
    if (!o) fail_msg("%s", f.message);
    assert_string_equal(o->name, "DUKD_x4");
    assert_string_equal(o->model_type, "DUKD");
    assert_int_equal(o->scale, 4);
    assert_true(o->has_seed && o->seed == 10);
    assert_int_equal(o->precision, DUKD_F32);
    assert_string_equal(o->experiments_root, "experiments/DUKD_x4");

    assert_true(o->has_train);
    snprintf(home_path, sizeof home_path, "%s/HR", getenv("HOME") ? getenv("HOME") : "~");
    assert_string_equal(o->train_set.files.dataroot_gt, home_path);
    assert_string_equal(o->train_set.files.dataroot_lq, "data/LR");
    assert_string_equal(o->train_set.files.filename_tmpl, "{}x4");
    assert_int_equal(o->train_set.files.scale, 4);
    assert_int_equal(o->train_data.gt_size, 192);
    assert_int_equal(o->train_data.batch, 16);
    assert_int_equal(o->train_data.enlarge, 100);
    assert_int_equal(o->train_data.use_hflip, 1);
    assert_int_equal(o->train_data.use_rot, 0);
    assert_int_equal(o->train_data.workers, 6);
    assert_int_equal(o->val_count, 2);
    assert_string_equal(o->val[0].name, "Set5");
    assert_string_equal(o->val[1].name, "val_1");
    assert_int_equal(o->val[1].files.clamp_border, 1);
    assert_int_equal(o->test_count, 1);
    assert_string_equal(o->test[0].key, "test_2");

    assert_true(o->student.is_set && o->teacher.is_set);
    assert_int_equal(dukd_model_spec_int(&o->student.spec, "num_feat"), 64);
    assert_int_equal(dukd_model_spec_int(&o->teacher.spec, "num_feat"), 256);
    assert_string_equal(o->student.param_key, "params");
    assert_string_equal(o->teacher.param_key, "params_ema");
    assert_int_equal(o->student.strict, 0);
    assert_int_equal(o->teacher.strict, 1);
    assert_null(o->resume_state);

    assert_true(o->ema_decay == 0.999 && o->adam.beta1 == 0.9 && o->adam.beta2 == 0.99 &&
                o->adam.eps == 1e-8);
    assert_true(o->schedule.rate == 1e-4 && o->schedule.milestone_count == 2 &&
                o->schedule.milestones[1] == 200000);
    assert_int_equal(o->total_iter, 250000);
    assert_int_equal(o->val_freq, 5000);
    assert_int_equal(o->metric_count, 2);
    assert_string_equal(o->metrics[1].name, "mine");
    assert_int_equal(o->metrics[1].kind, DUKD_METRIC_SSIM);
    assert_int_equal(o->metrics[1].options.crop_border, 3);
    assert_int_equal(o->metrics[1].options.y_channel, 0);
    assert_int_equal(o->metrics[1].lower_is_better, 1);
    assert_int_equal(o->save_checkpoint_freq, 5000);
    assert_int_equal(o->use_tb_logger, 1);
    assert_int_equal(dukd_run_options_need_training(o, &f), 0);
    assert_int_equal(dukd_run_options_need_test(o, &f), 0);
    dukd_run_options_destroy(o);
}

static void the_plugin_gets_its_keys(void **state) {
    (void)state;
    dukd_failure f = {0};
    const char *set[] = {"train.terms=[rec, kd]"};
    dukd_run_options *o = read_text(full, set, 1, &f);
    if (!o) fail_msg("%s", f.message);
    assert_int_equal(o->plugin_option_count, 3);
    const dukd_option *const *p = o->plugin_options;
    assert_string_equal(p[0]->key, "model_type");
    assert_string_equal(p[0]->values[0], "DUKD");
    assert_string_equal(p[1]->key, "train.noisy.prob");
    assert_int_equal(p[1]->struct_size, DUKD_OPTION_SIZE);
    assert_int_equal(p[1]->kind, DUKD_VALUE_SCALAR);
    assert_string_equal(p[1]->values[0], "0.3");
    if (!strstr(p[1]->place, "opt.yml:49:")) fail_msg("%s", p[1]->place);
    assert_string_equal(p[2]->key, "train.terms");
    assert_int_equal(p[2]->kind, DUKD_VALUE_LIST);
    assert_int_equal(p[2]->n_values, 2);
    assert_string_equal(p[2]->values[1], "kd");
    dukd_run_options_destroy(o);
}

static void what_is_ignored_is_said(void **state) {
    (void)state;
    dukd_failure f = {0};
    char all[4096] = "";
    dukd_run_options *o = read_text(full, NULL, 0, &f);
    assert_non_null(o);
    for (int32_t i = 0; i < o->note_count; i++) {
        strcat(all, o->notes[i]);
        strcat(all, "\n");
    }
    assert_non_null(strstr(all, "val.self_ensemble is ignored"));
    assert_non_null(strstr(all, "opt.yml:4:1: num_gpu"));
    assert_non_null(strstr(all, "dist_params.backend"));
    dukd_run_options_destroy(o);
}

/* Keys that BasicSR, or a file that BasicSR wrote down, may have: none is an error, each is named once. */
static void what_does_not_apply_is_left_out(void **state) {
    (void)state;
    static const char *const keys[] = {
        "num_gpu=auto",
        "dist=false",
        "rank=0",
        "world_size=1",
        "auto_resume=false",
        "is_train=true",
        "use_pbar=true",
        "root_path=/home/me/BasicSR",
        "find_unused_parameters=true",
        "suffix=x",
        "crop_border=4",
        "save_img=true",
        "datasets.train.prefetch_mode=cuda",
        "datasets.train.num_prefetch_queue=2",
        "datasets.train.pin_memory=true",
        "datasets.train.persistent_workers=true",
        "datasets.train.use_shuffle=true",
        "datasets.train.phase=train",
        "datasets.val.scale=4",
        "datasets.val.gt_size=192",
        "datasets.test_2.num_worker_per_gpu=2",
        "path.log=experiments/x",
        "path.visualization=results/x/visualization",
        "path.ignore_resume_networks=true",
        "val.pbar=false",
        "val.self_ensemble=true",
        "logger.wandb.project=mine",
        "dist_params.port=29500",
    };
    enum { COUNT = sizeof keys / sizeof *keys };
    dukd_failure f = {0};
    dukd_run_options *o = read_text(full, keys, COUNT, &f);
    if (!o) fail_msg("%s", f.message);
    for (int i = 0; i < COUNT; i++) {
        char said[300];
        int times = 0;
        snprintf(said, sizeof said, " %.*s is ignored: ", (int)strcspn(keys[i], "="), keys[i]);
        for (int32_t k = 0; k < o->note_count; k++) times += strstr(o->notes[k], said) != NULL;
        if (times != 1) fail_msg("'%s' is said %d times", said, times);
    }
    dukd_run_options_destroy(o);
}

static void sections_may_be_empty(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_run_options *o = read_text("scale: 4\n"
                                    "datasets:\n  val: {dataroot_gt: a, io_backend: ~}\n  val_1: ~\n"
                                    "network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3}\n"
                                    "val: {metrics: ~, suffix: ~, save_img: ~}\n"
                                    "logger: {wandb: ~}\ndist_params: ~\n",
                                    NULL, 0, &f);
    if (!o) fail_msg("%s", f.message);
    assert_int_equal(o->val_count, 1);
    assert_int_equal(o->metric_count, 2);
    assert_null(o->suffix);
    assert_int_equal(o->note_count, 0);
    dukd_run_options_destroy(o);
}

static void defaults(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_run_options *o = read_text(
        "scale: 2\nnetwork_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, upscale: 2}\n", NULL, 0, &f);
    if (!o) fail_msg("%s", f.message);
    assert_string_equal(o->name, "opt");
    assert_false(o->has_seed || o->has_train || o->teacher.is_set);
    assert_string_equal(o->engine, "auto");
    assert_int_equal(o->metric_count, 2);
    assert_int_equal(o->metrics[0].options.crop_border, 2);
    assert_int_equal(o->metrics[0].options.y_channel, 1);
    assert_true(o->schedule.kind == DUKD_SCHEDULE_CONSTANT && o->ema_decay == 0);
    assert_int_equal(dukd_run_options_need_training(o, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "datasets.train is missing"));
    memset(&f, 0, sizeof f);
    assert_int_equal(dukd_run_options_need_test(o, &f), DUKD_MISUSED);
    dukd_run_options_destroy(o);
}

static void schedules(void **state) {
    (void)state;
    dukd_failure f = {0};
    const char *cosine[] = {"train.scheduler.type=CosineAnnealingRestartLR",
                            "train.scheduler.periods=[100, 50]", "train.scheduler.restart_weights=[1, 0.5]",
                            "train.scheduler.eta_min=1e-7"};
    dukd_run_options *o = read_text(full, cosine, 4, &f);
    if (!o) fail_msg("%s", f.message);
    assert_int_equal(o->schedule.kind, DUKD_SCHEDULE_COSINE);
    assert_true(o->schedule.period_count == 2 && o->schedule.periods[1] == 50 && o->schedule.eta_min == 1e-7);
    assert_true(o->schedule.restart_weights[1] == 0.5);
    dukd_run_options_destroy(o);
    refused(full, cosine, 2, "restart_weights", "one for each");
}

/* ---------------------------------------------------------------- refusing */

static void unknown_keys(void **state) {
    (void)state;
    refused_set("train.optim_g.learning_rate=1", "train.optim_g.learning_rate", NULL);
    refused_set("train.total_iters=5", "--set argument 1", "total_iter");
    refused_set("train.noisy.prop=0.5", "train.noisy.prop",
                "train.noisy.prob"); /* the plugin's table counts too */
    refused_set("train.term=[rec]", "train.term", "train.terms");
    refused_set("datasets.train.gt_sise=96", "gt_size", NULL);
    refused_set("network_g.num_feats=96", "num_feat", NULL);
    refused("scal: 4\n", NULL, 0, "opt.yml:1:1", "scale");
    /* Not its keys: the model type itself is not there. */
    refused("model_type: FAKD\nscale: 4\ntrain: {feature_opt: {type: L1Loss}}\n", NULL, 0,
            "opt.yml:1:13: model_type: expected", "\"FAKD\"");
}

static void wrong_values(void **state) {
    (void)state;
    refused_set("scale=1", "scale", "2");
    refused_set("scale=three", "scale", NULL);
    refused_set("datasets.train.gt_size=190", "datasets.train.gt_size", "multiple of scale 4");
    refused_set("datasets.train.batch_size_per_gpu=0", "batch_size_per_gpu", NULL);
    refused_set("datasets.train.type=GTDataset", "PairedImageDataset", NULL);
    refused_set("datasets.train.io_backend.type=lmdb", "io_backend.type: 'lmdb' is not read", "disk");
    refused_set("datasets.val.color=y", "datasets.val.color", "RGB");
    refused_set("datasets.train.mean=[0.5, 0.5, 0.5]", "datasets.train.mean", "not normalised");
    refused_set("datasets.train.std=[0.5, 0.5, 0.5]", "datasets.train.std", "not normalised");
    refused_set("datasets.val.name=../up", "datasets.val.name", "folder");
    refused_set("network_g.upscale=2", "network_g.upscale: EDSR enlarges 2 times", "scale is 4 (");
    refused_set("network_t.upscale=3", "network_t.upscale: EDSR enlarges 3 times", "opt.yml:3:1)");
    refused("scale: 2\nnetwork_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3}\n", NULL, 0,
            "opt.yml:2:", "network_g: EDSR enlarges 4 times, but scale is 2");
    refused_set("network_g.type=VDSR", "EDSR", NULL);
    refused_set("train.optim_g.type=RMSprop", "train.optim_g.type", "Adam");
    refused_set("train.optim_g.type=SGD", "train.optim_g.betas", "SGD has none");
    refused_set("train.optim_g.momentum=0.9", "train.optim_g.momentum", "momentum 0");
    refused_set("train.optim_g.betas=[0.9]", "betas", "two");
    refused_set("train.optim_g.lr=-1", "train.optim_g.lr", NULL);
    refused_set("train.scheduler.type=StepLR", "MultiStepLR", NULL);
    refused_set("train.ema_decay=1", "train.ema_decay", NULL);
    refused_set("train.nonfinite=maybe", "stop", "skip");
    refused_set("train.micro_batches=3", "train.micro_batches", "does not divide");
    refused_set("precision=f16", "bf16", NULL);
    refused_set("name=a/b", "name", "folder");
    refused_set("val.metrics.x.crop_border=4", "val.metrics.x.type", "missing");
    refused_set("val.suffix=a/b", "val.suffix", NULL);
    refused_set("path.pretrain_network_t=\"\"", "path.pretrain_network_t", "empty");
    refused("name: x\n", NULL, 0, "scale", "missing");
}

static void what_a_run_needs(void **state) {
    (void)state;
    static const struct {
        const char *set, *part;
    } cases[] = {{"train.total_iter=~", "train.total_iter is missing"},
                 {"path.pretrain_network_t=~", "path.pretrain_network_t is missing"},
                 {"network_t=~", "network_t is missing"},
                 {"network_g=~", "network_g is missing"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dukd_failure f = {0};
        dukd_run_options *o = read_text(full, &cases[i].set, 1, &f);
        if (!o) fail_msg("%s", f.message);
        assert_int_equal(dukd_run_options_need_training(o, &f), DUKD_MISUSED);
        if (!strstr(f.message, cases[i].part)) fail_msg("'%s' does not say '%s'", f.message, cases[i].part);
        dukd_run_options_destroy(o);
    }
}

static void files_that_are_none(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_run_options *o = NULL;
    assert_int_equal(dukd_run_options_read(&o, data_path("missing.yml"), NULL, NULL, &f), DUKD_FAILED);
    assert_null(o);
    assert_non_null(strstr(f.message, "missing.yml"));
    refused("a: [1, 2\n", NULL, 0, "opt.yml", NULL);
    refused("", NULL, 0, "opt.yml", NULL);
}

/* ---------------------------------------------------------------- changing and writing */

static void without_a_plugin_its_keys_pass(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_run_options *o = NULL;
    data_text(data_path("opt.yml"), full);
    assert_int_equal(dukd_run_options_read(&o, data_path("opt.yml"), NULL, NULL, &f), 0);
    assert_int_equal(o->plugin_option_count, 0);
    dukd_run_options_destroy(o);
}

static void what_is_resolved_reads_back(void **state) {
    (void)state;
    dukd_failure f = {0};
    const char *set[] = {"train.micro_batches=2", "precision=bf16", "train.optim_g.betas=~"};
    dukd_run_options *o = read_text(full, set, 3, &f);
    if (!o) fail_msg("%s", f.message);
    dukd_run_options_set_seed(o, 77);
    char *text = dukd_run_options_yaml(o);
    assert_non_null(text);
    assert_non_null(strstr(text, "manual_seed: 77"));
    assert_non_null(strstr(text, "eps:"));
    dukd_run_options *again = read_text(text, NULL, 0, &f);
    if (!again) fail_msg("%s", f.message);
    char *second = dukd_run_options_yaml(again);
    assert_string_equal(text, second);
    assert_int_equal(again->micro_batches, 2);
    assert_int_equal(again->precision, DUKD_BF16);
    assert_true(again->seed == 77 && again->adam.beta2 == o->adam.beta2 && again->adam.beta2 == 0.999);
    free(text);
    free(second);
    dukd_run_options_destroy(o);
    dukd_run_options_destroy(again);
}

static void a_run_for_a_seed(void **state) {
    (void)state;
    dukd_failure f = {0};
    const char *set[] = {"path.experiments_root=runs/here"};
    dukd_run_options *o = read_text(full, NULL, 0, &f);
    assert_int_equal(dukd_run_options_for_seed(o, 3, &f), 0);
    assert_string_equal(o->name, "DUKD_x4_seed3");
    assert_string_equal(o->experiments_root, "experiments/DUKD_x4_seed3");
    assert_true(o->seed == 3);
    char *text = dukd_run_options_yaml(o);
    if (!strstr(text, "DUKD_x4_seed3")) fail_msg("%s", text);
    free(text);
    dukd_run_options_destroy(o);
    o = read_text(full, set, 1, &f);
    assert_int_equal(dukd_run_options_for_seed(o, 4, &f), 0);
    assert_string_equal(o->experiments_root, "runs/here_seed4");
    dukd_run_options_destroy(o);
}

/* ---------------------------------------------------------------- changes at resume */

static char told[4096];
static void hear(void *ctx, const char *message) {
    (void)ctx;
    strncat(told, message, sizeof told - strlen(told) - 1);
    strncat(told, "\n", sizeof told - strlen(told) - 1);
}

static int compare(const char *set_before, const char *set_now, dukd_failure *f) {
    dukd_run_options *before = read_text(full, &set_before, set_before != NULL, f);
    if (!before) fail_msg("%s", f->message);
    char *text = dukd_run_options_yaml(before);
    dukd_run_options_destroy(before);
    dukd_run_options *now = read_text(full, &set_now, set_now != NULL, f);
    if (!now) fail_msg("%s", f->message);
    told[0] = 0;
    const int status = dukd_run_compare(now, text, hear, NULL, f);
    free(text);
    dukd_run_options_destroy(now);
    return status;
}

static void changes_between_state_and_now(void **state) {
    (void)state;
    dukd_failure f = {0};
    assert_int_equal(compare(NULL, NULL, &f), 0);
    assert_string_equal(told, "");
    assert_int_equal(compare(NULL, "logger.print_freq=7", &f), 0);
    assert_string_equal(told, "");
    assert_int_equal(compare(NULL, "datasets.val_1.dataroot_gt=elsewhere", &f), 0);
    assert_string_equal(told, "");
    assert_int_equal(compare(NULL, "train.optim_g.lr=2e-4", &f), 0);
    if (!strstr(told, "train.optim_g.lr was 1e-4")) fail_msg("%s", told);
    assert_non_null(strstr(told, "2e-4 now"));
    assert_int_equal(compare("train.terms=[rec]", NULL, &f), 0);
    assert_non_null(strstr(told, "train.terms was rec when the state was written and is absent now"));
    assert_int_equal(compare(NULL, "manual_seed=11", &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "manual_seed was 10"));
    memset(&f, 0, sizeof f);
    assert_int_equal(compare(NULL, "network_g.num_feat=32", &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "network_g.num_feat"));
    memset(&f, 0, sizeof f);
    assert_int_equal(compare(NULL, "train.ema_decay=0", &f), DUKD_MISUSED);
    memset(&f, 0, sizeof f);
    assert_int_equal(compare(NULL, "train.ema_decay=0.99", &f), 0);
    assert_non_null(strstr(told, "train.ema_decay"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_authors_file),
        TEST(the_plugin_gets_its_keys),
        TEST(what_is_ignored_is_said),
        TEST(what_does_not_apply_is_left_out),
        TEST(sections_may_be_empty),
        TEST(defaults),
        TEST(schedules),
        TEST(unknown_keys),
        TEST(wrong_values),
        TEST(what_a_run_needs),
        TEST(files_that_are_none),
        TEST(without_a_plugin_its_keys_pass),
        TEST(what_is_resolved_reads_back),
        TEST(a_run_for_a_seed),
        TEST(changes_between_state_and_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
