/* The example files in yaml/: each parses, has only keys that exist, and says what its name says; the rows of an ablation
 * differ in nothing but what is ablated. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dukd_yaml.h"

#define FOLDER DUKD_SOURCE_DIR "/yaml/"

static dukd_yaml_error e;

static dukd_yaml *example(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, FOLDER "%s", name);
    dukd_yaml *y = dukd_yaml_read_file(path, &e);
    if (!y) fail_msg("%s", e.message);
    return y;
}

static const char *text_at(const dukd_yaml *y, const char *path) {
    const char *text = "";
    if (!dukd_yaml_require(dukd_yaml_root(y), path, &e) ||
        !dukd_yaml_get_string(dukd_yaml_root(y), path, &text, &e)) {
        fail_msg("%s", e.message);
    }
    return text;
}

static int64_t whole_at(const dukd_yaml *y, const char *path) {
    int64_t value = 0;
    if (!dukd_yaml_require(dukd_yaml_root(y), path, &e) ||
        !dukd_yaml_get_int64(dukd_yaml_root(y), path, 0, INT64_MAX, &value, &e)) {
        fail_msg("%s", e.message);
    }
    return value;
}

static bool flag_at(const dukd_yaml *y, const char *path) {
    bool value = false;
    if (!dukd_yaml_get_bool(dukd_yaml_root(y), path, &value, &e)) fail_msg("%s", e.message);
    return value;
}

static double number_at(const dukd_yaml *y, const char *path) {
    double value = -1;
    if (!dukd_yaml_require(dukd_yaml_root(y), path, &e) ||
        !dukd_yaml_get_double(dukd_yaml_root(y), path, 0, 1e9, &value, &e)) {
        fail_msg("%s", e.message);
    }
    return value;
}

/* BasicSR's keys as far as examples use them, the released code's, and this project's own. */
static const dukd_yaml_known known[] = {
    {"name", NULL},
    {"model_type", NULL},
    {"scale", NULL},
    {"num_gpu", NULL},
    {"manual_seed", NULL},
    {"num_threads", NULL},
    {"precision", NULL},
    {"datasets.*.name", NULL},
    {"datasets.*.type", NULL},
    {"datasets.*.dataroot_gt", NULL},
    {"datasets.*.dataroot_lq", NULL},
    {"datasets.*.filename_tmpl", NULL},
    {"datasets.*.io_backend.type", NULL},
    {"datasets.train.gt_size", NULL},
    {"datasets.train.use_hflip", NULL},
    {"datasets.train.use_rot", NULL},
    {"datasets.train.num_worker_per_gpu", NULL},
    {"datasets.train.batch_size_per_gpu", NULL},
    {"datasets.train.dataset_enlarge_ratio", NULL},
    {"datasets.train.prefetch_mode", NULL},
#define NETWORK(section)                                                                                     \
    {section ".type", NULL}, {section ".upscale", NULL}, {section ".img_range", NULL},                       \
        {section ".num_in_ch", NULL}, {section ".num_out_ch", NULL}, {section ".num_feat", NULL},            \
        {section ".num_block", NULL}, {section ".num_group", NULL}, {section ".squeeze_factor", NULL},       \
        {section ".res_scale", NULL}, {section ".rgb_mean", NULL}, {section ".in_chans", NULL},              \
        {section ".img_size", NULL}, {section ".window_size", NULL}, {section ".embed_dim", NULL},           \
        {section ".depths", NULL}, {section ".num_heads", NULL}, {section ".mlp_ratio", NULL},               \
        {section ".upsampler", NULL}, {                                                                      \
        section ".resi_connection", NULL                                                                     \
    }
    NETWORK("network_g"),
    NETWORK("network_t"),
    {"network_f.type", NULL},
    {"path.pretrain_network_f", NULL},
    {"train.share_weights", NULL},
    {"path.pretrain_network_g", NULL},
    {"path.strict_load_g", NULL},
    {"path.pretrain_network_t", NULL},
    {"path.param_key_t", NULL},
    {"path.resume_state", NULL},
    {"train.mode", NULL},
    {"train.terms", NULL},
    {"train.w_rec", NULL},
    {"train.w_kd", NULL},
    {"train.w_dukd", NULL},
    {"train.zoom_in", NULL},
    {"train.zoom_in_count", NULL},
    {"train.zoom_out", NULL},
    {"train.augment.hflip", NULL},
    {"train.augment.vflip", NULL},
    {"train.augment.rot90", NULL},
    {"train.augment.invert", NULL},
    {"train.w_fakd", NULL},
    {"train.w_csd", NULL},
    {"train.w_csd_teacher", NULL},
    {"train.fakd.layers", NULL},
    {"train.csd.layers", NULL},
    {"train.csd.layer_weights", NULL},
    {"train.csd.negatives", NULL},
    {"train.csd.detach_teacher", NULL},
    {"train.feature_distillation.positions", NULL},
    {"train.feature_distillation.type", NULL},
    {"train.feature_opt.type", NULL},
    {"train.feature_opt.loss_weight", NULL},
    {"train.feature_opt.reduction", NULL},
    {"train.pixel_opt.type", NULL},
    {"train.pixel_opt.loss_weight", NULL},
    {"train.pixel_opt.reduction", NULL},
    {"train.kd_opt.type", NULL},
    {"train.kd_opt.loss_weight", NULL},
    {"train.kd_opt.reduction", NULL},
    {"train.noisy.prob", NULL},
    {"train.dukd_opt.n_gt_sub", NULL},
    {"train.dukd_opt.zoom_out", NULL},
    {"train.ema_decay", NULL},
    {"train.optim_g.type", NULL},
    {"train.optim_g.lr", NULL},
    {"train.optim_g.weight_decay", NULL},
    {"train.optim_g.betas", NULL},
    {"train.scheduler.type", NULL},
    {"train.scheduler.milestones", NULL},
    {"train.scheduler.gamma", NULL},
    {"train.total_iter", NULL},
    {"train.warmup_iter", NULL},
    {"val.val_freq", NULL},
    {"val.save_img", NULL},
    {"val.metrics.*.type", NULL},
    {"val.metrics.*.crop_border", NULL},
    {"val.metrics.*.test_y_channel", NULL},
    {"logger.print_freq", NULL},
    {"logger.save_checkpoint_freq", NULL},
    {"logger.use_tb_logger", NULL},
    {"logger.wandb.project", NULL},
    {"logger.wandb.resume_id", NULL},
    {"dist_params.backend", NULL},
    {"dist_params.port", NULL},
};

/* The weight of a term of the loss, 0 where train.terms does not have it. */
static double weight_of(const dukd_yaml *y, const char *term) {
    const char *terms[8];
    size_t n = 0;
    char path[64];
    if (!dukd_yaml_get_strings(dukd_yaml_root(y), "train.terms", 1, 8, terms, &n, &e))
        fail_msg("%s", e.message);
    snprintf(path, sizeof path, "train.w_%s", term);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(terms[i], term) == 0) return number_at(y, path);
    }
    return 0;
}

/* What holds for every example. */
static void check_example(const char *name) {
    dukd_yaml *y = example(name);
    const dukd_yaml_node *root = dukd_yaml_root(y);
    if (!dukd_yaml_check_keys(root, known, sizeof known / sizeof *known, NULL, NULL, &e))
        fail_msg("%s", e.message);
    const int64_t scale = whole_at(y, "scale");
    assert_int_equal(whole_at(y, "network_g.upscale"), scale);
    assert_int_equal(whole_at(y, "datasets.train.gt_size") % scale, 0);
    assert_int_equal(whole_at(y, "val.metrics.psnr.crop_border"), scale);
    assert_true(flag_at(y, "val.metrics.psnr.test_y_channel"));
    assert_true(number_at(y, "train.optim_g.lr") >
                0); /* "1e-4" without !!float would be a text to BasicSR: */
    assert_int_equal(dukd_yaml_node_type(dukd_yaml_find(root, "train.optim_g.lr")), DUKD_YAML_FLOAT);
    assert_true(whole_at(y, "train.total_iter") > 0);
    char folder[32], tmpl[32];
    snprintf(folder, sizeof folder, "X%d", (int)scale);
    snprintf(tmpl, sizeof tmpl, "{}x%d", (int)scale);
    const dukd_yaml_node *sets = dukd_yaml_find(root, "datasets");
    for (size_t i = 0; i < dukd_yaml_node_count(sets); i++) {
        const char *lq = "", *t = "";
        const dukd_yaml_node *set = dukd_yaml_node_at(sets, i);
        assert_true(dukd_yaml_get_string(set, "dataroot_lq", &lq, &e) &&
                    dukd_yaml_get_string(set, "filename_tmpl", &t, &e));
        assert_string_equal(lq + strlen(lq) - 2, folder);
        assert_string_equal(t, tmpl);
    }
    /* A teacher is there exactly where a loss asks for one. */
    const char *type = text_at(y, "model_type");
    const bool ours = strcmp(type, "DUKDPlugin") == 0;
    const bool taught = ours ? weight_of(y, "kd") > 0 || weight_of(y, "dukd") > 0 ||
                                   weight_of(y, "fakd") > 0 || weight_of(y, "csd") > 0
                             : strcmp(type, "DUKD") == 0 || strcmp(type, "FAKD") == 0;
    /* A feature network, and weights that are shared, exactly where CSD is trained. */
    const bool csd = ours && weight_of(y, "csd") > 0;
    assert_int_equal(dukd_yaml_find(root, "network_f") != NULL, csd);
    assert_int_equal(dukd_yaml_find(root, "path.pretrain_network_f") != NULL, csd);
    assert_int_equal(dukd_yaml_find(root, "train.share_weights") != NULL && flag_at(y, "train.share_weights"),
                     csd);
    assert_int_equal(dukd_yaml_find(root, "network_t") != NULL, taught);
    assert_int_equal(dukd_yaml_find(root, "path.pretrain_network_t") != NULL, taught);
    if (taught) assert_int_equal(whole_at(y, "network_t.upscale"), scale);
    /* Paper mode and the released code have keys of their own. */
    assert_int_equal(dukd_yaml_find(root, "train.pixel_opt") != NULL, !ours);
    assert_int_equal(dukd_yaml_find(root, "train.terms") != NULL, ours);
    /* Written and read again it is the same. */
    size_t size = 0;
    char *text = dukd_yaml_to_text(root, &size, &e);
    dukd_yaml *again = dukd_yaml_read_text(text, size, "written", &e);
    assert_non_null(again);
    assert_true(dukd_yaml_equal(root, dukd_yaml_root(again)));
    dukd_yaml_destroy(again);
    free(text);
    dukd_yaml_destroy(y);
}

static void every_example(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        int files;
    } folders[] = {{"demo", 4}, {"table2", 39}, {"table3", 6}, {"table4", 11}};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[1024];
        int files = 0;
        snprintf(path, sizeof path, FOLDER "%s", folders[i].folder);
        DIR *d = opendir(path);
        assert_non_null(d);
        for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
            const size_t size = strlen(entry->d_name);
            if (size < 4 || strcmp(entry->d_name + size - 4, ".yml") != 0) continue;
            snprintf(path, sizeof path, "%s/%s", folders[i].folder, entry->d_name);
            check_example(path);
            files++;
        }
        closedir(d);
        assert_int_equal(files, folders[i].files);
    }
}

/* The sections that a comparison must hold fixed. */
static void same_but_for_the_loss(const dukd_yaml *a, const dukd_yaml *b) {
    static const char *const sections[] = {
        "scale",         "manual_seed",     "datasets",         "network_g",         "train.ema_decay",
        "train.optim_g", "train.scheduler", "train.total_iter", "train.warmup_iter", "val"};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const dukd_yaml_node *x = dukd_yaml_find(dukd_yaml_root(a), sections[i]);
        const dukd_yaml_node *y = dukd_yaml_find(dukd_yaml_root(b), sections[i]);
        if (!x || !y || !dukd_yaml_equal(x, y))
            fail_msg("%s and %s: %s differs", text_at(a, "name"), text_at(b, "name"), sections[i]);
    }
}

static void ablation_of_table_4(void **state) {
    (void)state;
    static const struct {
        const char *file;
        bool kd, zoom_in, zoom_out, consistency;
    } rows[] = {
        {"table4/row1_scratch.yml", false, false, false, false},
        {"table4/row2_kd.yml", true, false, false, false},
        {"table4/row3_kd_zoomin.yml", true, true, false, false},
        {"table4/row4_kd_zoomout.yml", true, false, true, false},
        {"table4/row5_kd_zoomin_zoomout.yml", true, true, true, false},
        {"table4/row6_kd_zoomin_lc.yml", true, true, false, true},
        {"table4/row7_dukd.yml", true, true, true, true},
    };
    static const char *const kinds[] = {"hflip", "vflip", "rot90", "invert"};
    dukd_yaml *first = example(rows[0].file), *teacher = example("table4/teacher_edsr_x4c64b32.yml");
    assert_int_equal(whole_at(first, "network_g.num_feat"), 16);
    assert_int_equal(whole_at(first, "network_g.num_block"), 32);
    assert_int_equal(whole_at(teacher, "network_g.num_feat"), 64);
    assert_int_equal(whole_at(teacher, "network_g.num_block"), 32);
    assert_string_equal(text_at(teacher, "model_type"), "SRModel");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dukd_yaml *y = example(rows[i].file);
        same_but_for_the_loss(first, y);
        assert_true(i == 0 || strcmp(text_at(y, "name"), text_at(first, "name")) != 0);
        assert_true(weight_of(y, "rec") == 1);
        assert_true(weight_of(y, "kd") == rows[i].kd);
        const bool dukd = rows[i].zoom_in || rows[i].zoom_out;
        assert_true(weight_of(y, "dukd") == dukd);
        if (dukd) {
            assert_string_equal(text_at(y, "train.zoom_in"), rows[i].zoom_in ? "random" : "none");
            assert_int_equal(flag_at(y, "train.zoom_out"), rows[i].zoom_out);
            for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
                char path[64];
                snprintf(path, sizeof path, "train.augment.%s", kinds[k]);
                assert_true(number_at(y, path) == (rows[i].consistency ? .3 : 0));
            }
        }
        if (rows[i].kd) {
            char trained[256];
            snprintf(trained, sizeof trained, "experiments/%s/models/net_g_latest.safetensors",
                     text_at(teacher, "name"));
            assert_string_equal(text_at(y, "path.pretrain_network_t"), trained);
            assert_true(dukd_yaml_equal(dukd_yaml_find(dukd_yaml_root(y), "network_t"),
                                        dukd_yaml_find(dukd_yaml_root(teacher), "network_g")));
        }
        dukd_yaml_destroy(y);
    }
    dukd_yaml_destroy(first);
    dukd_yaml_destroy(teacher);
}

/* What the paper calls a network: its options in a file, and in the file's name. */
typedef struct {
    const char *type, *folder, *teacher, *student; /* "EDSR", "edsr", "c256b32", "c64b32" */
} pair;
static const pair pairs[] = {{"EDSR", "edsr", "c256b32", "c64b32"},
                             {"RCAN", "rcan", "c64b20g10", "c64b6g10"},
                             {"SwinIR", "swinir", "c180s36", "c60s24"}};

static bool is_type(const dukd_yaml *y, const char *section, const char *type) {
    char path[64];
    snprintf(path, sizeof path, "%s.type", section);
    return strcmp(text_at(y, path), type) == 0;
}

static int64_t option(const dukd_yaml *y, const char *section, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "%s.%s", section, name);
    return whole_at(y, path);
}

/* The networks of the paper's Table 1. */
static void check_network(const dukd_yaml *y, const char *section, const pair *p, bool teacher) {
    assert_true(is_type(y, section, p->type));
    if (strcmp(p->type, "SwinIR") == 0) {
        char depths[64];
        snprintf(depths, sizeof depths, "%s.depths", section);
        assert_int_equal(option(y, section, "embed_dim"), teacher ? 180 : 60);
        assert_int_equal(dukd_yaml_node_count(dukd_yaml_find(dukd_yaml_root(y), depths)), teacher ? 6 : 4);
        assert_int_equal(option(y, section, "window_size"), 8);
        assert_int_equal(option(y, section, "img_size"), 48);
        return;
    }
    const bool edsr = strcmp(p->type, "EDSR") == 0;
    assert_int_equal(option(y, section, "num_feat"), edsr && teacher ? 256 : 64);
    assert_int_equal(option(y, section, "num_block"), edsr ? 32 : teacher ? 20 : 6);
    if (!edsr) assert_int_equal(option(y, section, "num_group"), 10);
    if (!edsr) assert_int_equal(option(y, section, "squeeze_factor"), 16);
}

static void check_optimiser(const dukd_yaml *y) {
    assert_true(number_at(y, "train.optim_g.lr") == 1e-4);
    assert_true(number_at(y, "train.ema_decay") == .999);
    assert_int_equal(whole_at(y, "train.total_iter"), 250000);
    assert_int_equal(whole_at(y, "train.scheduler.milestones.0"), 100000);
    assert_int_equal(whole_at(y, "train.scheduler.milestones.1"), 200000);
    assert_true(number_at(y, "train.scheduler.gamma") == .1);
    assert_int_equal(whole_at(y, "datasets.train.batch_size_per_gpu"), 16);
}

/* The paper's loss, all of it; SwinIR cannot take the zoomed-out images of x4, and has them at no scale. */
static void check_paper(const dukd_yaml *y, bool zoom_out) {
    assert_string_equal(text_at(y, "train.mode"), "paper");
    assert_true(weight_of(y, "rec") == 1 && weight_of(y, "kd") == 1 && weight_of(y, "dukd") == 1);
    assert_string_equal(text_at(y, "train.zoom_in"), "random");
    assert_true(flag_at(y, "train.zoom_out") == zoom_out);
    check_optimiser(y);
}

/* The settings that were released (the authors' option files), by network and scale. */
static void check_official(const dukd_yaml *y, const pair *p, int scale) {
    const bool edsr = strcmp(p->type, "EDSR") == 0, rcan = strcmp(p->type, "RCAN") == 0;
    const double pixel = !rcan ? 5 : scale == 3 ? 2 : 1;
    assert_string_equal(text_at(y, "model_type"), "DUKD");
    assert_true(number_at(y, "train.pixel_opt.loss_weight") == pixel);
    assert_true(number_at(y, "train.kd_opt.loss_weight") == 1);
    assert_true(flag_at(y, "train.dukd_opt.zoom_out") == (edsr || (rcan && scale == 3)));
    assert_int_equal(whole_at(y, "train.dukd_opt.n_gt_sub.0"), edsr && scale == 2 ? 2 : 1);
    if (rcan && scale == 2)
        assert_null(dukd_yaml_find(dukd_yaml_root(y), "train.noisy"));
    else
        assert_true(number_at(y, "train.noisy.prob") == (rcan && scale == 4 ? 0 : .3));
    check_optimiser(y);
}

/* The file that a comment tells to run is this one. */
static void check_comment(const char *file) {
    char path[1024], line[256], run[300];
    bool found = false;
    snprintf(path, sizeof path, FOLDER "%s", file);
    snprintf(run, sizeof run, "# Run: dukd-host train yaml/%s\n", file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int i = 0; i < 6 && fgets(line, sizeof line, f); i++) found |= strcmp(line, run) == 0;
    fclose(f);
    if (!found) fail_msg("%s: no line %s", file, run);
}

static void all_of_table_2(void **state) {
    (void)state;
    for (int scale = 2; scale <= 4; scale++)
        for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
            const pair *p = &pairs[k];
            char path[128];
            snprintf(path, sizeof path, "table2/official_%s_x%d%s_%s.yml", p->folder, scale, p->teacher,
                     p->student);
            check_comment(path);
            dukd_yaml *official = example(path);
            snprintf(path, sizeof path, "table2/paper_%s_x%d%s_%s.yml", p->folder, scale, p->teacher,
                     p->student);
            check_comment(path);
            dukd_yaml *paper = example(path);
            snprintf(path, sizeof path, "table2/teacher_%s_x%d%s.yml", p->folder, scale, p->teacher);
            check_comment(path);
            dukd_yaml *teacher = example(path);
            same_but_for_the_loss(official, paper);
            assert_int_equal(whole_at(paper, "scale"), scale);
            assert_int_equal(whole_at(paper, "datasets.train.gt_size"), 48 * scale);
            check_network(paper, "network_g", p, false);
            check_network(paper, "network_t", p, true);
            check_official(official, p, scale);
            check_paper(paper, strcmp(p->type, "SwinIR") != 0);
            /* The teacher that can be trained is the one that is loaded. */
            assert_string_equal(text_at(teacher, "model_type"), "SRModel");
            assert_true(dukd_yaml_equal(dukd_yaml_find(dukd_yaml_root(teacher), "network_g"),
                                        dukd_yaml_find(dukd_yaml_root(paper), "network_t")));
            assert_true(dukd_yaml_equal(dukd_yaml_find(dukd_yaml_root(official), "network_t"),
                                        dukd_yaml_find(dukd_yaml_root(paper), "network_t")));
            dukd_yaml_destroy(official);
            dukd_yaml_destroy(paper);
            dukd_yaml_destroy(teacher);
        }
}

/* FAKD's layers: of EDSR with 32 blocks the ends of its thirds, of RCAN two of its groups. */
static void check_layers(const dukd_yaml *y, const char *key, bool edsr) {
    static const char *const names[2][4] = {{"conv_first", "2", "6", "conv_after_body"},
                                            {"conv_first", "10", "21", "conv_after_body"}};
    const char *layers[8];
    size_t n = 0;
    if (!dukd_yaml_get_strings(dukd_yaml_root(y), key, 1, 8, layers, &n, &e)) fail_msg("%s", e.message);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) assert_string_equal(layers[i], names[edsr][i]);
}

/* CSD's student is its teacher with a quarter of the channels. */
static void check_quarter(const dukd_yaml *y, bool edsr) {
    assert_int_equal(4 * option(y, "network_g", "num_feat"), option(y, "network_t", "num_feat"));
    assert_int_equal(option(y, "network_g", "num_block"), option(y, "network_t", "num_block"));
    if (!edsr) assert_int_equal(option(y, "network_g", "num_group"), option(y, "network_t", "num_group"));
    assert_true(weight_of(y, "csd") == 200 && weight_of(y, "rec") == 0 && weight_of(y, "kd") == 0);
}

static void fakd_and_csd(void **state) {
    (void)state;
    for (int scale = 2; scale <= 4; scale++) {
        for (size_t k = 0; k < 2; k++) {
            const pair *p = &pairs[k];
            const bool edsr = k == 0;
            char path[128];
            snprintf(path, sizeof path, "table2/paper_%s_x%d%s_%s.yml", p->folder, scale, p->teacher,
                     p->student);
            dukd_yaml *paper = example(path);
            snprintf(path, sizeof path, "table2/fakd_%s_x%d%s_%s.yml", p->folder, scale, p->teacher,
                     p->student);
            check_comment(path);
            dukd_yaml *fakd = example(path);
            snprintf(path, sizeof path, "table2/csd_%s_x%d%s_%s.yml", p->folder, scale, p->teacher,
                     edsr ? p->student : "c16b20g10");
            check_comment(path);
            dukd_yaml *csd = example(path);
            same_but_for_the_loss(paper, fakd);
            check_network(fakd, "network_t", p, true);
            check_optimiser(fakd);
            check_layers(fakd, "train.feature_distillation.positions", edsr);
            assert_string_equal(text_at(fakd, "model_type"), "FAKD");
            assert_true(number_at(fakd, "train.pixel_opt.loss_weight") == 1 &&
                        number_at(fakd, "train.kd_opt.loss_weight") == 1);
            assert_true(number_at(fakd, "train.feature_opt.loss_weight") == 10);
            check_network(csd, "network_t", p, true);
            check_optimiser(csd);
            check_quarter(csd, edsr);
            dukd_yaml_destroy(paper);
            dukd_yaml_destroy(fakd);
            dukd_yaml_destroy(csd);
        }
    }
    dukd_yaml *row = example("table4/row7_dukd.yml"), *fakd = example("table4/fakd.yml"),
              *csd = example("table4/csd.yml"), *both = example("table4/dukd_fakd.yml");
    same_but_for_the_loss(row, fakd);
    same_but_for_the_loss(row, csd);
    same_but_for_the_loss(row, both);
    check_layers(fakd, "train.fakd.layers", true);
    check_layers(both, "train.fakd.layers", true);
    check_quarter(csd, true);
    assert_true(weight_of(fakd, "fakd") == 10 && weight_of(fakd, "rec") == 0 &&
                weight_of(both, "fakd") == 10);
    assert_true(weight_of(both, "rec") == 1 && weight_of(both, "kd") == 1 && weight_of(both, "dukd") == 1);
    dukd_yaml_destroy(row);
    dukd_yaml_destroy(fakd);
    dukd_yaml_destroy(csd);
    dukd_yaml_destroy(both);
}

static void all_of_table_3(void **state) {
    (void)state;
    for (int scale = 2; scale <= 4; scale++)
        for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
            if (strcmp(pairs[k].type, "RCAN") == 0) continue; /* that is Table 2 */
            char path[128];
            snprintf(path, sizeof path, "table3/paper_%s_rcan_x%d%s_c64b6g10.yml", pairs[k].folder, scale,
                     pairs[k].teacher);
            check_comment(path);
            dukd_yaml *y = example(path);
            snprintf(path, sizeof path, "table2/paper_rcan_x%dc64b20g10_c64b6g10.yml", scale);
            dukd_yaml *same_student = example(path);
            same_but_for_the_loss(y, same_student);
            check_network(y, "network_g", &pairs[1], false);
            check_network(y, "network_t", &pairs[k], true);
            check_paper(y, strcmp(pairs[k].type, "SwinIR") != 0);
            dukd_yaml_destroy(y);
            dukd_yaml_destroy(same_student);
        }
}

static void the_demo(void **state) {
    (void)state;
    dukd_yaml *scratch = example("demo/scratch.yml"), *kd = example("demo/kd.yml"),
              *dukd = example("demo/dukd.yml"), *teacher = example("demo/teacher.yml");
    same_but_for_the_loss(scratch, kd);
    same_but_for_the_loss(scratch, dukd);
    assert_true(weight_of(scratch, "kd") == 0 && weight_of(kd, "kd") == 1 && weight_of(kd, "dukd") == 0);
    assert_true(weight_of(dukd, "dukd") == 1);
    assert_true(whole_at(teacher, "network_g.num_feat") > whole_at(dukd, "network_g.num_feat"));
    assert_true(dukd_yaml_equal(dukd_yaml_find(dukd_yaml_root(dukd), "network_t"),
                                dukd_yaml_find(dukd_yaml_root(teacher), "network_g")));
    assert_true(dukd_yaml_equal(dukd_yaml_find(dukd_yaml_root(dukd), "datasets"),
                                dukd_yaml_find(dukd_yaml_root(teacher), "datasets")));
    dukd_yaml_destroy(scratch);
    dukd_yaml_destroy(kd);
    dukd_yaml_destroy(dukd);
    dukd_yaml_destroy(teacher);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example),  cmocka_unit_test(ablation_of_table_4),
        cmocka_unit_test(all_of_table_2), cmocka_unit_test(all_of_table_3),
        cmocka_unit_test(the_demo),       cmocka_unit_test(fakd_and_csd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
