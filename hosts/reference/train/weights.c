/* Weights of a network: memory, checks, writing them, and networks of an option file made ready. */
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

int dukd_weights_room(dukd_engine *e, int64_t n, const char *what, float **out, dukd_failure *f) {
    int64_t bytes;
    void *p = NULL;
    *out = NULL;
    if (!dukd_checked_mul(n, (int64_t)sizeof **out, &bytes))
        return dukd_fail_memory(f, what, (unsigned long long)n * sizeof **out);
    const int status = dukd_engine_alloc(e, bytes, what, &p, f);
    *out = p;
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

/* Random features that say something in every layer: U(+-1/sqrt(fan in)) shrinks by each ReLU; with +-sqrt(6 / fan in) (He et al.
 * 2015) and no biases the values keep their size. */
static void widen(const dukd_graph *g, float *weights) {
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        for (int64_t k = 0; k < p->count; k++) weights[p->offset + k] *= p->ndim == 4 ? sqrtf(6) : 0;
    }
}

int dukd_ready_network_open(dukd_ready_network *out, const dukd_run_network *from, uint64_t seed,
                            dukd_failure *f) {
    *out = (dukd_ready_network){0};
    int status = dukd_model_build(&out->graph, &from->spec, f);
    if (status) return status;
    const int32_t channels = dukd_graph_op(out->graph, 0)->channels,
                  result = dukd_graph_op(out->graph, dukd_graph_output(out->graph))->channels;
    if (channels != 3 || (result != 3 && !from->is_features)) {
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
    if (from->is_features) widen(out->graph, out->weights);
    if (from->pretrained) {
        dukd_failure why = {0};
        status = dukd_weights_load(from->pretrained, from->param_key, from->strict, from->spec.type,
                                   out->graph, out->weights, &out->report, &why);
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
