/* What has changed in the options since a state was written. */
#include "train/run_changes.h"

#include <stdio.h>
#include <string.h>

#include "train/run_read.h"

/* Keys and sections, by what their change means. The first that fits counts; all others are announced. */
typedef enum { REFUSED, SILENT } meaning;
static const struct {
    const char *prefix;
    meaning meaning;
} rules[] = {
    {"network_g", REFUSED},
    {"train.share_weights", REFUSED},
    {"scale", REFUSED},
    {"manual_seed", REFUSED},
    {"train.optim_g.type", REFUSED},
    {"name", SILENT},
    {"num_gpu", SILENT},
    {"num_threads", SILENT}, /* the engine's own number of threads is compared */
    {"dist_params", SILENT},
    {"logger", SILENT},
    {"val", SILENT},
    {"datasets.val", SILENT},
    {"datasets.test", SILENT},
    {"datasets.train.name", SILENT},
    {"datasets.train.num_worker_per_gpu", SILENT},
    {"datasets.train.prefetch_mode", SILENT},
    {"path.resume_state", SILENT},
    {"path.experiments_root", SILENT},
    {"path.results_root", SILENT},
    {"path.pretrain_network_g", SILENT}, /* the state holds these weights */
    {"path.param_key_g", SILENT},
    {"path.strict_load_g", SILENT},
    {"path.init_from_teacher", SILENT},
};

/* Is `key` the prefix, or in that section? "datasets.val" also stands for val_1. */
static int fits(const char *key, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(key, prefix, n) == 0 && (!key[n] || key[n] == '.' || key[n] == '_');
}

static const dukd_yaml_leaf *find_leaf(const dukd_yaml_flat *flat, const char *key) {
    for (size_t i = 0; i < flat->count; i++)
        if (strcmp(flat->leaves[i].key, key) == 0) return &flat->leaves[i];
    return NULL;
}

static void show(const dukd_yaml_leaf *leaf, char *out, size_t size) {
    size_t used = 0;
    if (!leaf || leaf->is_null) {
        snprintf(out, size, leaf ? "~" : "absent");
        return;
    }
    out[0] = 0;
    for (size_t i = 0; i < leaf->count && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%.60s", i ? ", " : "", leaf->values[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

static int differ(const dukd_yaml_leaf *a, const dukd_yaml_leaf *b) {
    if (!a || !b) return !(a ? a : b)->is_null;
    return !dukd_yaml_equal(a->node, b->node);
}

typedef struct {
    void (*announce)(void *ctx, const char *message);
    void *ctx;
    dukd_failure *f;
} teller;

/* One key that differs. */
static int tell(const teller *t, const char *key, const dukd_yaml_leaf *before, const dukd_yaml_leaf *now) {
    char was[200], is[200], text[600];
    int refused = 0;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (fits(key, rules[i].prefix)) {
            if (rules[i].meaning == SILENT) return 0;
            refused = 1;
            break;
        }
    show(before, was, sizeof was);
    show(now, is, sizeof is);
    /* The average can be given another decay, but not be made up or thrown away. */
    if (strcmp(key, "train.ema_decay") == 0) {
        double a = 0, b = 0;
        if (before) dukd_yaml_get_double(before->node, "", 0, 1, &a, NULL);
        if (now) dukd_yaml_get_double(now->node, "", 0, 1, &b, NULL);
        refused = (a > 0) != (b > 0);
    }
    if (refused)
        return dukd_fail(
            t->f, DUKD_MISUSED,
            "%s was %s when the state was written and is %s now: the run cannot go on from it; restore the "
            "value, or start a new run",
            key, was, is);
    snprintf(text, sizeof text,
             "%s was %s when the state was written and is %s now: the run will not be the one that "
             "was interrupted",
             key, was, is);
    if (t->announce) t->announce(t->ctx, text);
    return 0;
}

int dukd_run_compare(const dukd_run_options *now, const char *before,
                     void (*announce)(void *ctx, const char *message), void *ctx, dukd_failure *f) {
    dukd_yaml_error e = {0};
    const teller t = {announce, ctx, f};
    dukd_yaml_flat *old_flat = NULL, *new_flat = NULL;
    int status = 0;
    dukd_yaml *doc = dukd_yaml_read_text(before, strlen(before), "the state's options", &e);
    if (doc) old_flat = dukd_yaml_flatten(dukd_yaml_root(doc), &e);
    if (old_flat) new_flat = dukd_yaml_flatten(dukd_yaml_root(now->memory->doc), &e);
    if (!new_flat) {
        status = dukd_fail(f, DUKD_FAILED, "the options in the training state cannot be read: %s", e.message);
        goto end;
    }
    for (size_t i = 0; i < new_flat->count && !status; i++) {
        const dukd_yaml_leaf *leaf = &new_flat->leaves[i], *other = find_leaf(old_flat, leaf->key);
        if (differ(other, leaf)) status = tell(&t, leaf->key, other, leaf);
    }
    for (size_t i = 0; i < old_flat->count && !status; i++) {
        const dukd_yaml_leaf *leaf = &old_flat->leaves[i];
        if (!find_leaf(new_flat, leaf->key) && differ(leaf, NULL)) status = tell(&t, leaf->key, leaf, NULL);
    }
end:
    dukd_yaml_flat_destroy(old_flat);
    dukd_yaml_flat_destroy(new_flat);
    dukd_yaml_destroy(doc);
    return status;
}
