/* An option file becomes a dukd_run_options: reading, overrides, defaults, what each command needs. */
#include "train/run_options.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/run_read.h"

static void apply_overrides(dukd_run_reader *r, const dukd_run_overrides *v) {
    dukd_yaml_error e = {0};
    if (!v) return;
    for (int32_t i = 0; i < v->set_count && !r->failed; i++)
        if (!dukd_yaml_set(r->memory->doc, (unsigned)i + 1, v->set[i], &e)) dukd_run_take_error(r, &e);
    for (int32_t i = 0; i < v->force_count && !r->failed; i++)
        if (!dukd_yaml_force(r->memory->doc, (unsigned)i + 1, v->force[i], &e)) dukd_run_take_error(r, &e);
}

/* ---------------------------------------------------------------- the plugin's part */

static int is_plugin_key(const dukd_plugin_info *plugin, const char *key) {
    for (uint32_t i = 0; i < plugin->n_options; i++)
        if (strcmp(plugin->options[i]->name, key) == 0) return 1;
    return 0;
}

static void collect_plugin_options(dukd_run_reader *r, const dukd_plugin_info *plugin, dukd_run_options *o) {
    if (r->failed || !plugin) return;
    const dukd_yaml_flat *flat = r->memory->flat;
    dukd_option *rows = dukd_run_alloc(r, (flat->count + 1) * sizeof *rows);
    const dukd_option **list = dukd_run_alloc(r, (flat->count + 1) * sizeof *list);
    if (r->failed) return;
    uint32_t count = 0;
    for (size_t i = 0; i < flat->count; i++) {
        const dukd_yaml_leaf *leaf = &flat->leaves[i];
        if (!is_plugin_key(plugin, leaf->key)) continue;
        rows[count] = (dukd_option){
            .struct_size = DUKD_OPTION_SIZE,
            .kind = leaf->is_null   ? DUKD_VALUE_NULL
                    : leaf->is_list ? DUKD_VALUE_LIST
                                    : DUKD_VALUE_SCALAR,
            .key = leaf->key,
            .place = leaf->place,
            .values = leaf->values,
            .n_values = (uint32_t)leaf->count,
        };
        list[count] = &rows[count];
        count++;
    }
    o->plugin_options = list;
    o->plugin_option_count = count;
}

/* ---------------------------------------------------------------- defaults, written into the tree */

static void fill(dukd_run_reader *r, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* key = value, where the file has no such key. */
static void fill(dukd_run_reader *r, const char *key, const char *format, ...) {
    char text[600];
    va_list args;
    if (r->failed || dukd_yaml_find(r->root, key)) return;
    int n = snprintf(text, sizeof text, "%s=", key);
    va_start(args, format);
    vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    dukd_yaml_error e = {0};
    if (!dukd_yaml_set(r->memory->doc, 0, text, &e)) dukd_run_take_error(r, &e);
}

static const char *yes_no(int32_t v) {
    return v ? "true" : "false";
}

static void fill_defaults(dukd_run_reader *r, const dukd_run_options *o) {
    fill(r, "name", "\"%s\"", o->name ? o->name : "");
    fill(r, "num_threads", "%d", o->threads);
    fill(r, "precision", "%s", o->precision == DUKD_BF16 ? "bf16" : "f32");
    fill(r, "engine", "%s", o->engine);
    fill(r, "tf32", "%s", yes_no(o->tf32));
    if (!o->has_train) return;
    fill(r, "datasets.train.dataset_enlarge_ratio", "%d", o->train_data.enlarge);
    fill(r, "datasets.train.use_hflip", "%s", yes_no(o->train_data.use_hflip));
    fill(r, "datasets.train.use_rot", "%s", yes_no(o->train_data.use_rot));
    fill(r, "datasets.train.num_worker_per_gpu", "%d", o->train_data.workers);
    fill(r, "path.param_key_g", "%s", o->student.param_key ? o->student.param_key : "~");
    fill(r, "path.strict_load_g", "%s", yes_no(o->student.strict));
    if (o->teacher.is_set) {
        fill(r, "path.param_key_t", "%s", o->teacher.param_key ? o->teacher.param_key : "~");
        fill(r, "path.strict_load_t", "%s", yes_no(o->teacher.strict));
    }
    if (o->features.is_set) {
        fill(r, "path.param_key_f", "%s", o->features.param_key ? o->features.param_key : "~");
        fill(r, "path.strict_load_f", "%s", yes_no(o->features.strict));
    }
    fill(r, "train.ema_decay", "!!float %.17g", o->ema_decay);
    fill(r, "train.optim_g.type", "%s", o->sgd ? "SGD" : "Adam");
    if (!o->sgd) {
        fill(r, "train.optim_g.betas", "[%.17g, %.17g]", o->adam.beta1, o->adam.beta2);
        fill(r, "train.optim_g.eps", "!!float %.17g", o->adam.eps);
    }
    fill(r, "train.optim_g.weight_decay", "!!float %.17g", o->adam.weight_decay);
    fill(r, "train.warmup_iter", "%lld", (long long)o->schedule.warmup_iter);
    fill(r, "train.nonfinite", "%s", o->nonfinite == DUKD_NONFINITE_SKIP ? "skip" : "stop");
    fill(r, "train.micro_batches", "%d", o->micro_batches);
    fill(r, "logger.print_freq", "%lld", (long long)o->print_freq);
    fill(r, "logger.save_checkpoint_freq", "%lld", (long long)o->save_checkpoint_freq);
    fill(r, "logger.use_tb_logger", "%s", yes_no(o->use_tb_logger));
}

/* ---------------------------------------------------------------- reading */

static void read_all(dukd_run_reader *r, dukd_run_options *o, const dukd_plugin_info *plugin) {
    dukd_yaml_error e = {0};
    dukd_run_check_keys(r, plugin, o);
    if (r->failed) return;
    r->memory->flat = dukd_yaml_flatten(r->root, &e);
    if (!r->memory->flat) {
        dukd_run_take_error(r, &e);
        return;
    }
    dukd_run_read_general(r, o);
    dukd_run_read_datasets(r, o);
    dukd_run_read_networks(r, o);
    dukd_run_read_training(r, o);
    dukd_run_read_validation(r, o);
    collect_plugin_options(r, plugin, o);
    fill_defaults(r, o);
    if (!r->failed && !o->experiments_root)
        o->experiments_root = dukd_run_format(r, "experiments/%s", o->name);
    if (!r->failed && !o->results_root) o->results_root = dukd_run_format(r, "results/%s", o->name);
}

int dukd_run_options_read(dukd_run_options **out, const char *path, const dukd_run_overrides *overrides,
                          const dukd_plugin_info *plugin, dukd_failure *f) {
    dukd_failure local = {0};
    dukd_yaml_error e = {0};
    if (!f) f = &local;
    *out = NULL;
    dukd_run_options *o = calloc(1, sizeof *o);
    dukd_run_memory *memory = o ? calloc(1, sizeof *memory) : NULL;
    if (!memory) {
        free(o);
        return dukd_fail_memory(f, "the options", sizeof *o);
    }
    o->memory = memory;
    dukd_run_reader r = {.memory = memory, .f = f};
    o->file = dukd_run_copy(&r, path);
    memory->doc = r.failed ? NULL : dukd_yaml_read_file(path, &e);
    if (!memory->doc) {
        dukd_run_take_error(&r, &e);
        goto fail;
    }
    apply_overrides(&r, overrides);
    r.root = dukd_yaml_root(memory->doc);
    if (!r.failed) read_all(&r, o, plugin);
    if (r.failed) goto fail;
    *out = o;
    return 0;
fail:
    dukd_run_options_destroy(o);
    return f->status ? f->status : DUKD_FAILED;
}

void dukd_run_options_destroy(dukd_run_options *o) {
    if (!o) return;
    dukd_run_memory *m = o->memory;
    dukd_yaml_flat_destroy(m->flat);
    dukd_yaml_destroy(m->doc);
    for (size_t i = 0; i < m->block_count; i++) free(m->blocks[i]);
    free(m->blocks);
    free(m);
    free(o);
}

/* ---------------------------------------------------------------- what commands need */

int dukd_run_wrong_key(const dukd_run_options *o, const char *key, const dukd_failure *why, dukd_failure *f) {
    dukd_run_reader r = {.memory = o->memory, .root = dukd_yaml_root(o->memory->doc), .f = f};
    dukd_run_wrong(&r, key, "%s", why->message);
    return DUKD_MISUSED;
}

int dukd_run_dataset_open(dukd_dataset **out, const dukd_run_dataset *set, dukd_failure *f) {
    dukd_failure why = {0};
    int status = dukd_dataset_open(out, &set->files, &why);
    return status ? dukd_fail(f, status, "%s: datasets.%s: %s", set->place, set->key, why.message) : 0;
}

int dukd_run_refused(const dukd_run_options *o, const dukd_failure *why, dukd_failure *f) {
    const size_t length = strlen(o->file);
    const int has_place = (!strncmp(why->message, o->file, length) && why->message[length] == ':') ||
                          !strncmp(why->message, "--", 2); /* "--set argument 1:1:4: ..." */
    return dukd_fail(f, why->status, "%s%s%s", has_place ? "" : o->file, has_place ? "" : ": ", why->message);
}

static int missing(const dukd_run_options *o, const char *key, const char *what, dukd_failure *f) {
    return dukd_fail(f, DUKD_MISUSED, "%s: %s is missing: %s", o->file, key, what);
}

static int need_network(const dukd_run_options *o, dukd_failure *f) {
    if (!o->student.is_set) return missing(o, "network_g", "the network that is trained or tested", f);
    if (o->teacher.is_set && !o->teacher.pretrained)
        return missing(o, "path.pretrain_network_t", "the teacher's weights (network_t is there)", f);
    if (!o->teacher.is_set && o->teacher.pretrained)
        return missing(o, "network_t", "the network of path.pretrain_network_t", f);
    return 0;
}

int dukd_run_options_need_training(const dukd_run_options *o, dukd_failure *f) {
    if (!o->has_train) return missing(o, "datasets.train", "the images to train on", f);
    if (need_network(o, f)) return DUKD_MISUSED;
    if (o->features.is_set && !o->features.pretrained && !o->features.random)
        return missing(
            o, "path.pretrain_network_f",
            "the weights of network_f. For VGG19 it is torchvision's vgg19-dcbb9e9d.pth, from "
            "https://download.pytorch.org/models/ (for a test without it: path.random_network_f: true)",
            f);
    if (!o->features.is_set && o->features.pretrained)
        return missing(o, "network_f", "the network of path.pretrain_network_f, {type: VGG19}", f);
    if (!o->total_iter) return missing(o, "train.total_iter", "how many iterations to train", f);
    if (!dukd_yaml_find(dukd_yaml_root(o->memory->doc), "train.optim_g.lr"))
        return missing(o, "train.optim_g.lr", "the learning rate; the paper's is !!float 1e-4", f);
    if (o->val_freq && !o->val_count)
        return missing(o, "datasets.val", "the images to validate on (val.val_freq is there)", f);
    return 0;
}

int dukd_run_options_need_test(const dukd_run_options *o, dukd_failure *f) {
    if (need_network(o, f)) return DUKD_MISUSED;
    if (!o->test_count && !o->val_count)
        return missing(o, "datasets.test_1",
                       "the images to test on; datasets.val is used where there is none", f);
    return 0;
}

/* ---------------------------------------------------------------- changes and texts */

static int set_key(dukd_run_options *o, const char *text, dukd_failure *f) {
    dukd_yaml_error e = {0};
    if (dukd_yaml_set(o->memory->doc, 0, text, &e)) return 0;
    return dukd_fail(f, DUKD_FAILED, "%s", e.message);
}

int dukd_run_options_for_seed(dukd_run_options *o, uint64_t seed, dukd_failure *f) {
    dukd_failure local = {0};
    dukd_run_reader r = {.memory = o->memory, .root = dukd_yaml_root(o->memory->doc), .f = f ? f : &local};
    const int own_root = dukd_yaml_find(r.root, "path.experiments_root") != NULL;
    const char *name = dukd_run_format(&r, "%s_seed%llu", o->name, (unsigned long long)seed);
    const char *experiments =
        dukd_run_format(&r, "%s_seed%llu", o->experiments_root, (unsigned long long)seed);
    const char *results = dukd_run_format(&r, "%s_seed%llu", o->results_root, (unsigned long long)seed);
    const char *line = dukd_run_format(&r, "name=\"%s\"", name ? name : "");
    const char *root_line =
        dukd_run_format(&r, "path.experiments_root=\"%s\"", experiments ? experiments : "");
    if (r.failed || set_key(o, line, f) || (own_root && set_key(o, root_line, f))) return DUKD_FAILED;
    o->name = name;
    o->experiments_root = experiments;
    o->results_root = results;
    dukd_run_options_set_seed(o, seed);
    return 0;
}

int dukd_run_options_for_engine(dukd_run_options *o, const char *engine, dukd_failure *f) {
    dukd_failure local = {0};
    dukd_run_reader r = {.memory = o->memory, .f = f ? f : &local};
    if (!engine) return 0;
    o->engine_flag = engine;
    /* What is no engine's name is refused when it is opened, and need be no YAML. */
    if (engine[strspn(engine, "abcdefghijklmnopqrstuvwxyz")]) return 0;
    const char *line = dukd_run_format(&r, "engine=\"%s\"", engine);
    return r.failed || set_key(o, line, f) ? DUKD_FAILED : 0;
}

void dukd_run_options_set_seed(dukd_run_options *o, uint64_t seed) {
    char text[64];
    o->seed = seed;
    o->has_seed = 1;
    snprintf(text, sizeof text, "manual_seed=%llu", (unsigned long long)seed);
    set_key(o, text, NULL);
}

char *dukd_run_options_yaml(const dukd_run_options *o) {
    return dukd_yaml_to_text(dukd_yaml_root(o->memory->doc), NULL, NULL);
}

static void node_to_json(const dukd_yaml_node *node, dukd_json *j, const char *key) {
    dukd_yaml_kind kind = dukd_yaml_node_kind(node);
    if (kind != DUKD_YAML_SCALAR) {
        if (kind == DUKD_YAML_MAPPING)
            dukd_json_object(j, key);
        else
            dukd_json_array(j, key);
        for (size_t i = 0; i < dukd_yaml_node_count(node); i++) {
            const dukd_yaml_node *child = dukd_yaml_node_at(node, i);
            node_to_json(child, j, dukd_yaml_node_key(child));
        }
        dukd_json_close(j);
        return;
    }
    bool truth = false;
    int64_t whole = 0;
    double number = 0;
    dukd_yaml_type type = dukd_yaml_node_type(node);
    if (type == DUKD_YAML_NULL)
        dukd_json_text(j, key, NULL);
    else if (type == DUKD_YAML_BOOL && dukd_yaml_get_bool(node, "", &truth, NULL))
        dukd_json_boolean(j, key, truth);
    else if (type == DUKD_YAML_INT && dukd_yaml_get_int64(node, "", INT64_MIN, INT64_MAX, &whole, NULL))
        dukd_json_integer(j, key, whole);
    else if (type == DUKD_YAML_FLOAT && dukd_yaml_get_double(node, "", -DBL_MAX, DBL_MAX, &number, NULL))
        dukd_json_number(j, key, number);
    else
        dukd_json_text(j, key, dukd_yaml_node_text(node));
}

void dukd_run_options_to_json(const dukd_run_options *o, dukd_json *j, const char *key) {
    node_to_json(dukd_yaml_root(o->memory->doc), j, key);
}
