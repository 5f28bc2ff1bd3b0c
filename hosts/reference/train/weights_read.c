/* Weights of a network read from a file of tensors: which tensor is which parameter, and what does not fit. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensors/tensor_numbers.h"
#include "train/weights.h"

typedef struct {
    const dukd_tensor_source *source;
    const char *path;
    const char *key; /* "" for none */
    const dukd_model_type *type;
    const dukd_graph *g;
    float *weights;
    const char **taken; /* of each parameter: the tensor that it was read from, or NULL */
    dukd_weights_report *r;
    dukd_failure *f;
} reader;

__attribute__((format(printf, 3, 4))) static void note(dukd_weights_report *r, dukd_weights_kind kind,
                                                       const char *format, ...) {
    const int32_t n = r->counts[kind]++;
    va_list args;
    if (n >= DUKD_WEIGHTS_NAMED) return;
    va_start(args, format);
    vsnprintf(r->words[kind][n], sizeof r->words[kind][n], format, args);
    va_end(args);
}

int32_t dukd_weights_differences(const dukd_weights_report *r) {
    int32_t all = 0;
    for (int k = 0; k < DUKD_WEIGHTS_KINDS; k++) all += r->counts[k];
    return all;
}

/* ---------------------------------------------------------------- keys */

/* The part of a tensor's name behind the key and "module.", or NULL where it belongs to another key. */
static const char *bare_name(const char *name, const char *key) {
    const size_t length = strlen(key);
    if (length) {
        if (strncmp(name, key, length) != 0 || name[length] != '.') return NULL;
        name += length + 1;
    }
    return strncmp(name, "module.", 7) == 0 ? name + 7 : name;
}

int dukd_weights_has_key(const dukd_tensor_source *source, const char *key) {
    for (int32_t i = 0; i < dukd_tensor_source_count(source); i++)
        if (bare_name(dukd_tensor_source_at(source, i)->name, key)) return 1;
    return 0;
}

/* The first parts of the file's names, for a message: "conv_first, body, upsample". */
static void list_keys(const dukd_tensor_source *source, char *out, size_t size) {
    char last[64] = "";
    size_t used = 0;
    int shown = 0;
    for (int32_t i = 0; i < dukd_tensor_source_count(source) && shown < 6; i++) {
        const dukd_st_printable name = dukd_st_print(dukd_tensor_source_at(source, i)->name);
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(name.text, "."), name.text);
        if (strcmp(key, last) == 0) continue;
        strcpy(last, key);
        int n = snprintf(out + used, size - used, "%s%s", shown++ ? ", " : "", key);
        if (n < 0 || (size_t)n >= size - used) return;
        used += (size_t)n;
    }
    if (!shown) snprintf(out, size, "nothing: it has no tensors");
}

/* The parameter that a name without its key is of: by the graph's names, or by the authors' (*aliased). -1: none. */
static int32_t find_param(const reader *d, const char *bare, int *aliased) {
    char ours[256];
    int32_t p = dukd_graph_find_param(d->g, bare);
    *aliased = 0;
    if (p >= 0 || !d->type) return p;
    const dukd_model_alias *a = dukd_model_find_alias(d->type, bare, ours, sizeof ours);
    *aliased = 1;
    return a && !a->mean && a->ours ? dukd_graph_find_param(d->g, ours) : -1;
}

/* Which key to read with; see weights.h. NULL: none fits. */
static const char *choose_key(const reader *d, const char *wanted) {
    int aliased;
    if (!wanted || !*wanted) return "";
    if (dukd_weights_has_key(d->source, wanted)) return wanted;
    if (dukd_weights_has_key(d->source, "params")) return "params";
    for (int32_t i = 0; i < dukd_tensor_source_count(d->source); i++)
        if (find_param(d, bare_name(dukd_tensor_source_at(d->source, i)->name, ""), &aliased) >= 0) return "";
    return NULL;
}

/* ---------------------------------------------------------------- the mean colour */

/* The graph's constants at one end: x * factor[c] + shift[c]. NULL: it has none. */
static const dukd_op *find_affine(const dukd_graph *g, int32_t mean) {
    if (mean > 0) {
        const dukd_op *last = dukd_graph_op(g, dukd_graph_output(g));
        return last->kind == DUKD_OP_AFFINE ? last : NULL;
    }
    for (int32_t i = 1; i < dukd_graph_op_count(g); i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        if (op->kind == DUKD_OP_AFFINE && op->in[0] == 0) return op;
    }
    return NULL;
}

static int near(double a, double b) {
    return fabs(a - b) <= 1e-4 * (fabs(b) > 1 ? fabs(b) : 1);
}

/* sub_mean and add_mean of the authors' networks: a convolution of 1 x 1 that shifts colours of 0 to img_range. */
static void check_mean(const reader *d, const dukd_st_tensor *t, const char *bare, int32_t mean) {
    const dukd_op *op = find_affine(d->g, mean);
    const int is_bias = strcmp(strrchr(bare, '.'), ".bias") == 0;
    float numbers[9];
    double want[3] = {0};
    if (!op || op->channels != 3 || t->count != (is_bias ? 3 : 9) || !dukd_tensor_floats(t, numbers)) {
        note(d->r, DUKD_WEIGHTS_DIFFERENT, "%.60s shifts colours, which this network does not do so", bare);
        return;
    }
    int same = 1;
    if (is_bias)
        for (int c = 0; c < 3; c++) {
            want[c] = mean < 0 ? op->shifts[c] : op->shifts[c] / (double)op->factors[c];
            same = same && near(numbers[c], want[c]);
        }
    else
        for (int c = 0; c < 9; c++) same = same && near(numbers[c], c % 4 == 0);
    if (!same && is_bias)
        note(d->r, DUKD_WEIGHTS_DIFFERENT,
             "%.60s is %g, %g, %g, not %g, %g, %g (rgb_mean times img_range of the option file)", bare,
             (double)numbers[0], (double)numbers[1], (double)numbers[2], want[0], want[1], want[2]);
    else if (!same)
        note(d->r, DUKD_WEIGHTS_DIFFERENT, "%.60s scales or mixes colours, which this network does not",
             bare);
}

/* ---------------------------------------------------------------- tensors */

static int is_constant(const dukd_graph *g, const char *name) {
    for (int32_t i = 0; i < dukd_graph_constant_count(g); i++)
        if (strcmp(dukd_graph_constant(g, i)->name, name) == 0) return 1;
    return 0;
}

static int take_tensor(const reader *d, const dukd_st_tensor *t, const char *bare) {
    char ours[256];
    int aliased;
    const int32_t at = find_param(d, bare, &aliased);
    const dukd_shape_text shape = dukd_shape_show(t->ndim, t->dims);
    if (at < 0) {
        const dukd_model_alias *a = d->type ? dukd_model_find_alias(d->type, bare, ours, sizeof ours) : NULL;
        if (a && a->mean)
            check_mean(d, t, bare, a->mean);
        else if (!(a && !a->ours) && !is_constant(d->g, bare))
            note(d->r, DUKD_WEIGHTS_UNUSED, "%s is none of its parameters (%s)", dukd_st_print(bare).text,
                 shape.text);
        return DUKD_DONE;
    }
    const dukd_param *p = dukd_graph_param(d->g, at);
    const dukd_shape_text want = dukd_shape_show(p->ndim, p->dims);
    if (d->taken[at])
        return dukd_fail(d->f, DUKD_FAILED, "%s: '%s' and '%s' are both the parameter %s: it is damaged",
                         d->path, dukd_st_print(d->taken[at]).text, dukd_st_print(t->name).text, p->name);
    d->taken[at] = t->name;
    if (t->ndim != p->ndim || memcmp(t->dims, p->dims, (size_t)p->ndim * sizeof *p->dims) != 0) {
        note(d->r, DUKD_WEIGHTS_DIFFERENT, "%.80s is %s, not %s", p->name, shape.text, want.text);
    } else if (!dukd_tensor_floats(t, d->weights + p->offset)) {
        note(d->r, DUKD_WEIGHTS_DIFFERENT, "%.80s does not hold floating-point numbers but %s", p->name,
             dukd_st_type_name(t->type));
    } else {
        d->r->loaded++;
        d->r->aliased += aliased;
    }
    return DUKD_DONE;
}

static int take_all(const reader *d) {
    for (int32_t i = 0; i < dukd_tensor_source_count(d->source); i++) {
        const dukd_st_tensor *t = dukd_tensor_source_at(d->source, i);
        const char *bare = bare_name(t->name, d->key);
        int status = bare ? take_tensor(d, t, bare) : DUKD_DONE;
        if (status != DUKD_DONE) return status;
    }
    for (int32_t i = 0; i < dukd_graph_param_count(d->g); i++) {
        const dukd_param *p = dukd_graph_param(d->g, i);
        if (!d->taken[i])
            note(d->r, DUKD_WEIGHTS_MISSING, "%.80s (%s) is missing", p->name,
                 dukd_shape_show(p->ndim, p->dims).text);
    }
    return DUKD_DONE;
}

/* The first two of each kind, and how many there are. */
static int refuse(const reader *d) {
    const dukd_weights_report *r = d->r;
    char words[700];
    size_t used = 0;
    for (int k = 0; k < DUKD_WEIGHTS_KINDS; k++)
        for (int i = 0; i < r->counts[k] && i < 2 && used < sizeof words; i++) {
            const int n =
                snprintf(words + used, sizeof words - used, "%s%s", used ? "; " : "", r->words[k][i]);
            used += n > 0 ? (size_t)n : 0;
        }
    return dukd_fail(
        d->f, DUKD_FAILED,
        "%s: holds another network: %s (%d of %d parameters fit, %d are missing, %d differ, %d tensors are "
        "unknown); compare the network's options with those it was trained with",
        d->path, words, r->loaded, dukd_graph_param_count(d->g), r->counts[DUKD_WEIGHTS_MISSING],
        r->counts[DUKD_WEIGHTS_DIFFERENT], r->counts[DUKD_WEIGHTS_UNUSED]);
}

int dukd_weights_read(const dukd_tensor_source *source, const char *path, const char *param_key, int strict,
                      const dukd_model_type *type, const dukd_graph *g, float *weights,
                      dukd_weights_report *report, dukd_failure *f) {
    dukd_weights_report local;
    char keys[300];
    reader d = {.source = source, .path = path, .type = type, .g = g, .weights = weights, .f = f};
    d.r = report ? report : &local;
    *d.r = (dukd_weights_report){0};
    d.key = choose_key(&d, param_key);
    if (!d.key) {
        list_keys(source, keys, sizeof keys);
        return dukd_fail(f, DUKD_FAILED, "%s: has no weights under the key '%s'; its names begin with: %s",
                         path, param_key, keys);
    }
    snprintf(d.r->key, sizeof d.r->key, "%s", d.key);
    const size_t count = (size_t)dukd_graph_param_count(g) + 1;
    d.taken = calloc(count, sizeof *d.taken);
    if (!d.taken) return dukd_fail_memory(f, "a table of parameters", count * sizeof *d.taken);
    int status = take_all(&d);
    free(d.taken);
    if (status == DUKD_DONE && dukd_weights_differences(d.r) && (strict || !d.r->loaded)) return refuse(&d);
    return status;
}

int dukd_weights_load(const char *path, const char *param_key, int strict, const dukd_model_type *type,
                      const dukd_graph *g, float *weights, dukd_weights_report *report, dukd_failure *f) {
    dukd_tensor_source *source;
    int status = dukd_tensor_source_open(&source, path, f);
    if (status == DUKD_DONE)
        status = dukd_weights_read(source, path, param_key, strict, type, g, weights, report, f);
    dukd_tensor_source_close(source);
    return status;
}
