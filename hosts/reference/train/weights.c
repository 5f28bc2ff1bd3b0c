/* Weights of a network in safetensors files, and networks of an option file made ready. */
#include "train/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"

float *dukd_weights_alloc(int64_t n) {
    int64_t bytes;
    if (!dukd_checked_mul(n, (int64_t)sizeof(float), &bytes) || !dukd_checked_add(bytes, 63, &bytes))
        return NULL;
    size_t size = (size_t)(bytes / 64) * 64;
    if (!size) size = 64;
    float *p = aligned_alloc(64, size);
    if (p) memset(p, 0, size);
    return p;
}

/* ---------------------------------------------------------------- reading */

static float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023, bits;
    if (exponent == 31)
        bits = sign | 0x7f800000u | fraction << 13;
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    else { /* zero and subnormals: fraction * 2^-24 is exact */
        float value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* 0 where the tensor's type is none of a weight's. */
static int convert(const dukd_st_tensor *t, float *out) {
    const uint16_t *half = t->data;
    switch (t->type) {
    case DUKD_ST_F32:
        memcpy(out, t->data, (size_t)t->count * sizeof *out);
        return 1;
    case DUKD_ST_F64:
        for (int64_t i = 0; i < t->count; i++) out[i] = (float)((const double *)t->data)[i];
        return 1;
    case DUKD_ST_F16:
        for (int64_t i = 0; i < t->count; i++) out[i] = half_to_float(half[i]);
        return 1;
    case DUKD_ST_BF16:
        for (int64_t i = 0; i < t->count; i++) {
            uint32_t bits = (uint32_t)half[i] << 16;
            memcpy(&out[i], &bits, sizeof bits);
        }
        return 1;
    default:
        return 0;
    }
}

typedef struct {
    char text[80];
} shape_text;

static const char *show_shape(shape_text *s, int32_t ndim, const int64_t *dims) {
    size_t used = 0;
    s->text[0] = 0;
    for (int32_t i = 0; i < ndim && used < sizeof s->text; i++) {
        int n = snprintf(s->text + used, sizeof s->text - used, "%s%lld", i ? "x" : "", (long long)dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return ndim ? s->text : "a scalar";
}

static const dukd_st_tensor *find_tensor(const dukd_tensor_file *file, const char *key, const char *name) {
    char full[600];
    const char *dot = *key ? "." : "";
    int n = snprintf(full, sizeof full, "%s%s%s", key, dot, name);
    const dukd_st_tensor *t = n > 0 && (size_t)n < sizeof full ? dukd_tensor_file_find(file, full) : NULL;
    if (t) return t;
    n = snprintf(full, sizeof full, "%s%smodule.%s", key, dot, name);
    return n > 0 && (size_t)n < sizeof full ? dukd_tensor_file_find(file, full) : NULL;
}

static int has_key(const dukd_tensor_file *file, const char *key) {
    size_t length = strlen(key);
    for (int32_t i = 0; i < dukd_tensor_file_count(file); i++) {
        const char *name = dukd_tensor_file_at(file, i)->name;
        if (strncmp(name, key, length) == 0 && name[length] == '.') return 1;
    }
    return 0;
}

/* The first parts of the file's names, for a message: "conv_first, body, upsample". */
static void list_keys(const dukd_tensor_file *file, char *out, size_t size) {
    char last[64] = "";
    size_t used = 0;
    int shown = 0;
    out[0] = 0;
    for (int32_t i = 0; i < dukd_tensor_file_count(file) && shown < 6; i++) {
        char key[64];
        const char *name = dukd_tensor_file_at(file, i)->name;
        snprintf(key, sizeof key, "%.*s", (int)strcspn(name, "."), name);
        if (strcmp(key, last) == 0) continue;
        strcpy(last, key);
        int n = snprintf(out + used, size - used, "%s%s", shown++ ? ", " : "", key);
        if (n < 0 || (size_t)n >= size - used) return;
        used += (size_t)n;
    }
    if (!shown) snprintf(out, size, "none");
}

/* Which key to read with; see weights.h. NULL: none fits. */
static const char *choose_key(const dukd_tensor_file *file, const char *wanted, const dukd_graph *g) {
    if (wanted && *wanted && has_key(file, wanted)) return wanted;
    if (wanted && *wanted && has_key(file, "params")) return "params";
    if (!wanted || !*wanted) return "";
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++)
        if (find_tensor(file, "", dukd_graph_param(g, i)->name)) return "";
    return NULL;
}

/* One parameter. What is not as it should be is counted, and described where it is the first. */
static void load_one(const dukd_tensor_file *file, const char *key, const dukd_param *p, float *weights,
                     dukd_weights_report *r) {
    shape_text a, b;
    char words[sizeof r->first];
    const dukd_st_tensor *t = find_tensor(file, key, p->name);
    if (!t) {
        r->missing++;
        snprintf(words, sizeof words, "%.80s (%s) is missing", p->name, show_shape(&a, p->ndim, p->dims));
    } else if (t->ndim != p->ndim || memcmp(t->dims, p->dims, (size_t)p->ndim * sizeof *p->dims) != 0) {
        r->different++;
        snprintf(words, sizeof words, "%.80s is %s, not %s", p->name, show_shape(&a, t->ndim, t->dims),
                 show_shape(&b, p->ndim, p->dims));
    } else if (!convert(t, weights + p->offset)) {
        r->different++;
        snprintf(words, sizeof words, "%.80s does not hold floating-point numbers", p->name);
    } else {
        r->loaded++;
        return;
    }
    if (!r->first[0]) memcpy(r->first, words, sizeof r->first);
}

static void count_unused(const dukd_tensor_file *file, const char *key, const dukd_graph *g,
                         dukd_weights_report *r) {
    size_t prefix = strlen(key) + (*key != 0);
    for (int32_t i = 0; i < dukd_tensor_file_count(file); i++) {
        const char *name = dukd_tensor_file_at(file, i)->name;
        if (*key && (strncmp(name, key, prefix - 1) != 0 || name[prefix - 1] != '.')) continue;
        const char *bare = name + prefix;
        if (strncmp(bare, "module.", 7) == 0) bare += 7;
        if (dukd_graph_find_param(g, bare) >= 0) continue;
        r->unused++;
        if (!r->first[0]) snprintf(r->first, sizeof r->first, "%.80s is none of its parameters", name);
    }
}

/* A zip archive (torch.save today) or a pickle (before): told apart from a broken file, because people will try. */
static int is_pytorch(const char *path) {
    unsigned char start[4] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t n = fread(start, 1, sizeof start, file);
    fclose(file);
    return n == sizeof start &&
           (memcmp(start, "PK\3\4", 4) == 0 || (start[0] == 0x80 && start[1] >= 2 && start[1] <= 5));
}

int dukd_weights_refuse_pytorch(const char *path, dukd_failure *f) {
    if (!is_pytorch(path)) return 0;
    return dukd_fail(
        f, DUKD_FAILED,
        "%s: is a PyTorch checkpoint, which is not read yet: save its 'params' as safetensors first "
        "(Python: safetensors.torch.save_file(torch.load(FILE)['params'], 'net.safetensors'))",
        path);
}

int dukd_weights_load(const char *path, const char *param_key, int strict, const dukd_graph *g,
                      float *weights, dukd_weights_report *report, dukd_failure *f) {
    dukd_weights_report r = {0};
    dukd_tensor_file *file = NULL;
    char keys[200];
    int status = dukd_weights_refuse_pytorch(path, f);
    if (!status) status = dukd_tensor_file_open(&file, path, f);
    if (status) return status;
    const char *key = choose_key(file, param_key, g);
    if (!key) {
        list_keys(file, keys, sizeof keys);
        status = dukd_fail(f, DUKD_FAILED, "%s: has no weights under the key '%s'; its names begin with: %s",
                           path, param_key, keys);
        goto end;
    }
    snprintf(r.key, sizeof r.key, "%s", key);
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++)
        load_one(file, key, dukd_graph_param(g, i), weights, &r);
    count_unused(file, key, g, &r);
    if (r.missing + r.different + r.unused && (strict || !r.loaded))
        status = dukd_fail(
            f, DUKD_FAILED,
            "%s: holds another network: %s (%d of %d parameters fit, %d are missing, %d have another "
            "shape, %d tensors are unknown); compare the network's options with those it was trained with",
            path, r.first, r.loaded, dukd_graph_param_count(g), r.missing, r.different, r.unused);
    if (report) *report = r;
end:
    dukd_tensor_file_close(file);
    return status;
}

int dukd_weights_check(const dukd_graph *g, const float *weights, const char *path, dukd_failure *f) {
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        for (int64_t k = 0; k < p->count; k++)
            if (!isfinite(weights[p->offset + k]))
                return dukd_fail(f, DUKD_FAILED,
                                 "%s: %.80s holds values that are not finite: take another checkpoint", path,
                                 p->name);
    }
    return 0;
}

/* ---------------------------------------------------------------- writing */

int32_t dukd_weights_rows(dukd_st_tensor *rows, const dukd_graph *g, const char *prefix,
                          const float *weights) {
    const int32_t count = dukd_graph_param_count(g);
    for (int32_t i = 0; i < count; i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        size_t size = strlen(prefix) + strlen(p->name) + 2;
        char *name = malloc(size);
        if (!name) {
            dukd_weights_rows_free(rows, i);
            return -1;
        }
        snprintf(name, size, "%s.%s", prefix, p->name);
        rows[i] = (dukd_st_tensor){.name = name,
                                   .type = DUKD_ST_F32,
                                   .ndim = p->ndim,
                                   .count = p->count,
                                   .data = weights + p->offset};
        memcpy(rows[i].dims, p->dims, (size_t)p->ndim * sizeof *p->dims);
    }
    return count;
}

void dukd_weights_rows_free(dukd_st_tensor *rows, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        union {
            const char *in;
            char *out;
        } name = {
            rows[i]
                .name}; /* the row's name is const to its readers; here it is the malloc of dukd_weights_rows */
        free(name.out);
    }
}

int dukd_weights_save(const char *path, const dukd_graph *g, const float *params, const float *ema,
                      const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f) {
    const int32_t count = dukd_graph_param_count(g);
    dukd_st_tensor *rows = calloc(2 * (size_t)count + 1, sizeof *rows);
    int32_t made = rows ? dukd_weights_rows(rows, g, "params", params) : -1, more = 0;
    int status = DUKD_FAILED;
    if (made >= 0 && ema) more = dukd_weights_rows(rows + made, g, "params_ema", ema);
    if (made < 0 || more < 0) {
        dukd_fail_memory(f, "the names of the parameters", 2 * (unsigned long long)count * sizeof *rows);
        goto end;
    }
    status = dukd_tensor_file_write(path, rows, made + more, metadata, metadata_count, f);
end:
    if (rows) dukd_weights_rows_free(rows, (made > 0 ? made : 0) + (more > 0 ? more : 0));
    free(rows);
    return status;
}

/* ---------------------------------------------------------------- networks of an option file */

int dukd_ready_network_open(dukd_ready_network *out, const dukd_run_network *from, uint64_t seed,
                            dukd_failure *f) {
    *out = (dukd_ready_network){0};
    int status = dukd_model_build(&out->graph, &from->spec, f);
    if (status) return status;
    const int32_t channels = dukd_graph_op(out->graph, 0)->channels,
                  result = dukd_graph_op(out->graph, dukd_graph_output(out->graph))->channels;
    if (channels != 3 || result != 3) {
        status =
            dukd_fail(f, DUKD_MISUSED, "a network with %d input and %d output channels: images have 3 and 3",
                      channels, result);
        goto fail;
    }
    const int64_t count = dukd_graph_weights(out->graph);
    out->weights = dukd_weights_alloc(count);
    if (!out->weights) {
        status = dukd_fail_memory(f, "a network's weights", (unsigned long long)count * sizeof(float));
        goto fail;
    }
    dukd_graph_init(out->graph, seed, out->weights);
    if (from->pretrained) {
        dukd_failure why = {0};
        status = dukd_weights_load(from->pretrained, from->param_key, from->strict, out->graph, out->weights,
                                   &out->report, &why);
        if (!status) status = dukd_weights_check(out->graph, out->weights, from->pretrained, &why);
        if (status && from->pretrained_place)
            dukd_fail(f, status, "%s: %s", from->pretrained_place, why.message);
        else if (status)
            dukd_fail(f, status, "%s", why.message);
    }
    if (!status) return 0;
fail:
    dukd_ready_network_close(out);
    return status;
}

int dukd_ready_network_check_key(const dukd_ready_network *n, const char *key, const char *path,
                                 dukd_failure *f) {
    if (strcmp(n->report.key, key) == 0) return 0;
    return dukd_fail(f, DUKD_FAILED, "%s: has no weights under the key '%s'; there is %s%s%s", path, key,
                     n->report.key[0] ? "'" : "no key", n->report.key, n->report.key[0] ? "'" : "");
}

void dukd_ready_network_close(dukd_ready_network *n) {
    if (!n) return;
    dukd_graph_destroy(n->graph);
    free(n->weights);
    *n = (dukd_ready_network){0};
}
