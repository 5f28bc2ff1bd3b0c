/* The parameters that a plugin brings itself. */
#include "train/own_params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/plugin_load.h"
#include "train/sgd.h"
#include "train/weights.h"

#define ARRAYS 4 /* of a parameter in a state */
enum { NAME_ROOM = 64, MOST_PARAMS = 4096 };

/* ---------------------------------------------------------------- the list */

static int check_info(const dukd_param_info *info, uint32_t i, int64_t *count, dukd_failure *f) {
    int64_t n = 1;
    if (!info || info->struct_size < DUKD_PARAM_INFO_SIZE || !info->name || !info->name[0] ||
        strlen(info->name) >= NAME_ROOM || info->ndim > DUKD_ST_MAX_DIMS || (info->ndim && !info->shape) ||
        info->flags)
        return dukd_fail(f, DUKD_FAILED,
                         "the plugin's parameter %u is not described as " DUKD_EXT_PARAMS " says", i);
    for (uint32_t d = 0; d < info->ndim; d++)
        if (info->shape[d] < 1 || !dukd_checked_mul(n, info->shape[d], &n))
            return dukd_fail(f, DUKD_FAILED, "the plugin's parameter %s has no shape that memory could hold",
                             info->name);
    if (!dukd_checked_add(*count, n, count))
        return dukd_fail(f, DUKD_FAILED, "the plugin's parameters are too large");
    return 0;
}

static int64_t elements(const dukd_param_info *info) {
    int64_t n = 1;
    for (uint32_t d = 0; d < info->ndim; d++) n *= info->shape[d];
    return n;
}

/* ---------------------------------------------------------------- life */

static int make_memory(dukd_own_params *p, dukd_adam_options adam, int average, dukd_failure *f) {
    p->values = dukd_weights_alloc(p->count);
    p->gradient = dukd_weights_alloc(p->count);
    if (average) p->ema = dukd_weights_alloc(p->count);
    if (!p->values || !p->gradient || (average && !p->ema))
        return dukd_fail_memory(f, "the plugin's parameters", (unsigned long long)p->count * sizeof(float));
    return dukd_adam_create(&p->adam, adam, p->count, f);
}

/* A view of one parameter in a flat array. */
static dukd_tensor view(const dukd_param_info *info, float *at) {
    return (dukd_tensor){.data = at,
                         .device = {DUKD_DEVICE_CPU, 0},
                         .ndim = (int32_t)info->ndim,
                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                         .shape =
                             (int64_t *)(uintptr_t)info->shape}; /* DLPack's is not const; nobody writes it */
}

static int bind(dukd_own_params *p, const dukd_ext_params *ext, dukd_session *session, dukd_failure *f) {
    const uint32_t n = p->list->n_params;
    dukd_tensor *tensors = calloc(2 * (size_t)n, sizeof *tensors);
    const dukd_tensor **lists = calloc(2 * (size_t)n, sizeof *lists);
    int status = 0;
    if (!tensors || !lists) {
        status = dukd_fail_memory(f, "the plugin's parameters", 2 * (unsigned long long)n * sizeof *tensors);
        goto end;
    }
    int64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        tensors[i] = view(p->list->params[i], p->values + at);
        tensors[n + i] = view(p->list->params[i], p->gradient + at);
        lists[i] = &tensors[i];
        lists[n + i] = &tensors[n + i];
        at += elements(p->list->params[i]);
    }
    const dukd_param_bind message = {.struct_size = DUKD_PARAM_BIND_SIZE,
                                     .flags = DUKD_BIND_INIT,
                                     .n_params = n,
                                     .values = lists,
                                     .grads = lists + n};
    dukd_error e = dukd_error_ready();
    int32_t code = ext->bind(session, &message, &e);
    if (code != DUKD_OK) status = dukd_fail_plugin(f, "bind", code, &e);
end:
    free(tensors);
    free((void *)lists);
    return status;
}

int dukd_own_params_open(dukd_own_params *p, const dukd_plugin *plugin, dukd_session *session,
                         dukd_adam_options adam, int average, dukd_failure *f) {
    *p = (dukd_own_params){0};
    const dukd_ext_params *ext = plugin->get_extension(DUKD_EXT_PARAMS);
    if (!ext) return 0;
    if (ext->struct_size < DUKD_EXT_PARAMS_SIZE || !ext->list || !ext->bind)
        return dukd_fail(f, DUKD_FAILED, "the plugin's extension " DUKD_EXT_PARAMS " is incomplete");
    dukd_error e = dukd_error_ready();
    const dukd_param_list *list = NULL;
    int32_t code = ext->list(session, &list, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "list", code, &e);
    if (!list || list->struct_size < DUKD_PARAM_LIST_SIZE || list->n_params > MOST_PARAMS ||
        (list->n_params && !list->params))
        return dukd_fail(f, DUKD_FAILED,
                         "the plugin's list of parameters is not as " DUKD_EXT_PARAMS " says");
    if (!list->n_params) return 0;
    int64_t count = 0;
    int status = 0;
    for (uint32_t i = 0; i < list->n_params && !status; i++)
        status = check_info(list->params[i], i, &count, f);
    if (status) return status;
    p->list = list;
    p->count = count;
    status = make_memory(p, adam, average, f);
    if (!status) status = bind(p, ext, session, f);
    if (status)
        dukd_own_params_free(p);
    else if (p->ema)
        memcpy(p->ema, p->values, (size_t)p->count * sizeof *p->ema);
    return status;
}

void dukd_own_params_free(dukd_own_params *p) {
    free(p->values);
    free(p->gradient);
    free(p->ema);
    dukd_adam_free(&p->adam);
    *p = (dukd_own_params){0};
}

/* ---------------------------------------------------------------- training */

void dukd_own_params_clear(dukd_own_params *p) {
    if (p->count) memset(p->gradient, 0, (size_t)p->count * sizeof *p->gradient);
}

void dukd_own_params_optimize(dukd_own_params *p, int sgd, double rate) {
    if (!p->count) return;
    if (sgd)
        dukd_sgd_step(rate, p->adam.options.weight_decay, p->gradient, p->values, p->count);
    else
        dukd_adam_step(&p->adam, rate, p->gradient, p->values);
}

void dukd_own_params_average(dukd_own_params *p, double decay) {
    if (p->ema) dukd_ema_update(p->ema, p->values, p->count, decay);
}

/* ---------------------------------------------------------------- in a training state */

static const char *const prefixes[ARRAYS] = {"plugin", "plugin_exp_avg", "plugin_exp_avg_sq", "plugin_ema"};

static void arrays_of(const dukd_own_params *p, float *out[ARRAYS]) {
    out[0] = p->values;
    out[1] = p->adam.m;
    out[2] = p->adam.v;
    out[3] = p->ema;
}

int32_t dukd_own_params_row_count(const dukd_own_params *p) {
    return p->count ? (int32_t)p->list->n_params * (p->ema ? ARRAYS : ARRAYS - 1) : 0;
}

int32_t dukd_own_params_rows(const dukd_own_params *p, dukd_st_tensor *rows) {
    float *arrays[ARRAYS];
    int32_t made = 0;
    arrays_of(p, arrays);
    for (int k = 0; k < ARRAYS && p->count && arrays[k]; k++) {
        const float *at = arrays[k];
        for (uint32_t i = 0; i < p->list->n_params; i++) {
            const dukd_param_info *info = p->list->params[i];
            const size_t size = strlen(prefixes[k]) + strlen(info->name) + 2;
            char *name = malloc(size);
            if (!name) {
                dukd_weights_rows_free(rows, made);
                return -1;
            }
            snprintf(name, size, "%s.%s", prefixes[k], info->name);
            rows[made] = (dukd_st_tensor){.name = name,
                                          .type = DUKD_ST_F32,
                                          .ndim = (int32_t)info->ndim,
                                          .count = elements(info),
                                          .data = at};
            for (uint32_t d = 0; d < info->ndim; d++) rows[made].dims[d] = info->shape[d];
            at += rows[made++].count;
        }
    }
    return made;
}

int dukd_own_params_load(dukd_own_params *p, const dukd_tensor_file *file, const char *path,
                         dukd_failure *f) {
    float *arrays[ARRAYS];
    char name[NAME_ROOM + 32];
    arrays_of(p, arrays);
    for (int k = 0; k < ARRAYS && p->count && arrays[k]; k++) {
        float *to = arrays[k];
        for (uint32_t i = 0; i < p->list->n_params; i++) {
            const dukd_param_info *info = p->list->params[i];
            snprintf(name, sizeof name, "%s.%s", prefixes[k], info->name);
            const dukd_st_tensor *t = dukd_tensor_file_find(file, name);
            if (!t || t->type != DUKD_ST_F32 || t->ndim != (int32_t)info->ndim ||
                (t->ndim && memcmp(t->dims, info->shape, (size_t)t->ndim * sizeof *t->dims) != 0))
                return dukd_fail(
                    f, DUKD_FAILED,
                    "%s: is the state of a run whose plugin trains other parameters: %s is missing or has "
                    "another shape",
                    path, name);
            memcpy(to, t->data, (size_t)t->count * sizeof *to);
            to += t->count;
        }
    }
    return 0;
}

void dukd_own_params_text(const dukd_own_params *p, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; p->count && i < p->list->n_params; i++) {
        const dukd_param_info *info = p->list->params[i];
        int n = snprintf(out + used, size - used, "%s%s", i ? ", " : "", info->name);
        used += n > 0 ? (size_t)n : 0;
        for (uint32_t d = 0; d < info->ndim && used < size; d++) {
            n = snprintf(out + used, size - used, "%c%" PRId64, d ? 'x' : ' ', info->shape[d]);
            used += n > 0 ? (size_t)n : 0;
        }
        if (used >= size) return;
    }
}
