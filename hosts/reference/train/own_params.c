/* The parameters that a plugin brings itself. */
#include "train/own_params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/plugin_load.h"
#include "train/weights.h"

#define ARRAYS DUKD_OWN_ARRAYS
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
    static const char what[] = "the plugin's parameters";
    int status = dukd_weights_room(p->engine, p->count, what, &p->values, f);
    if (!status) status = dukd_weights_room(p->engine, p->count, what, &p->gradient, f);
    if (!status && average) status = dukd_weights_room(p->engine, p->count, what, &p->ema, f);
    return status ? status : dukd_adam_create(&p->adam, p->engine, adam, p->count, f);
}

/* A view of one parameter in a flat array. */
static dukd_tensor view(const dukd_engine_place *place, const dukd_param_info *info, float *at) {
    return (dukd_tensor){.data = at,
                         .device = {place->device_type, place->device_id},
                         .ndim = (int32_t)info->ndim,
                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                         .shape =
                             (int64_t *)(uintptr_t)info->shape}; /* DLPack's is not const; nobody writes it */
}

static int bind(dukd_own_params *p, const dukd_ext_params *ext, dukd_session *session, dukd_failure *f) {
    const uint32_t n = p->list->n_params;
    const dukd_engine_place *place = dukd_engine_get_place(p->engine);
    dukd_tensor *tensors = calloc(2 * (size_t)n, sizeof *tensors);
    const dukd_tensor **lists = calloc(2 * (size_t)n, sizeof *lists);
    int status = 0;
    if (!tensors || !lists) {
        status = dukd_fail_memory(f, "the plugin's parameters", 2 * (unsigned long long)n * sizeof *tensors);
        goto end;
    }
    int64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        tensors[i] = view(place, p->list->params[i], p->values + at);
        tensors[n + i] = view(place, p->list->params[i], p->gradient + at);
        lists[i] = &tensors[i];
        lists[n + i] = &tensors[n + i];
        at += elements(p->list->params[i]);
    }
    const dukd_param_bind message = {.struct_size = DUKD_PARAM_BIND_SIZE,
                                     .flags = DUKD_BIND_INIT,
                                     .n_params = n,
                                     .values = lists,
                                     .grads = lists + n,
                                     .stream = place->stream};
    dukd_error e = dukd_error_ready();
    int32_t code = ext->bind(session, &message, &e);
    if (code != DUKD_OK) status = dukd_fail_plugin(f, "bind", code, &e);
end:
    free(tensors);
    free((void *)lists);
    return status;
}

int dukd_own_params_open(dukd_own_params *p, dukd_engine *engine, const dukd_plugin *plugin,
                         dukd_session *session, dukd_adam_options adam, int average, dukd_failure *f) {
    *p = (dukd_own_params){.engine = engine};
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
    if (!status && p->ema)
        status = dukd_engine_copy(engine, p->ema, p->values, p->count * (int64_t)sizeof *p->ema, f);
    if (status) dukd_own_params_free(p);
    return status;
}

void dukd_own_params_free(dukd_own_params *p) {
    dukd_engine_release(p->engine, p->values);
    dukd_engine_release(p->engine, p->gradient);
    dukd_engine_release(p->engine, p->ema);
    dukd_adam_free(&p->adam);
    *p = (dukd_own_params){0};
}

/* ---------------------------------------------------------------- training */

int dukd_own_params_clear(dukd_own_params *p, dukd_failure *f) {
    if (!p->count) return 0;
    return dukd_engine_clear(p->engine, p->gradient, p->count * (int64_t)sizeof *p->gradient, f);
}

int dukd_own_params_optimize(dukd_own_params *p, int sgd, const dukd_optimizer_scalars *scalars,
                             const int32_t *broken, dukd_failure *f) {
    if (!p->count) return 0;
    if (sgd) return dukd_sgd_step(&p->adam, scalars, broken, p->gradient, p->values, f);
    return dukd_adam_step(&p->adam, scalars, broken, p->gradient, p->values, f);
}

int dukd_own_params_average(dukd_own_params *p, double decay, const int32_t *broken, dukd_failure *f) {
    if (!p->ema) return 0;
    return dukd_ema_update(p->engine, broken, p->ema, p->values, p->count, decay, f);
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

int32_t dukd_own_params_rows(const dukd_own_params *p, dukd_mirror views[ARRAYS], dukd_st_tensor *rows,
                             dukd_failure *f) {
    float *arrays[ARRAYS];
    int32_t made = 0;
    arrays_of(p, arrays);
    for (int k = 0; k < ARRAYS && p->count && arrays[k]; k++) {
        if (dukd_mirror_of_engine(&views[k], p->engine, arrays[k], p->count, "the plugin's parameters", f)) {
            dukd_weights_rows_free(rows, made);
            return -1;
        }
        const float *at = views[k].host;
        for (uint32_t i = 0; i < p->list->n_params; i++) {
            const dukd_param_info *info = p->list->params[i];
            const size_t size = strlen(prefixes[k]) + strlen(info->name) + 2;
            char *name = malloc(size);
            if (!name) {
                dukd_fail_memory(f, "the training state", size);
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

/* One array of all parameters; `to` is the processor's. */
static int load_array(const dukd_own_params *p, const char *prefix, float *to, const dukd_tensor_file *file,
                      const char *path, dukd_failure *f) {
    char name[NAME_ROOM + 32];
    for (uint32_t i = 0; i < p->list->n_params; i++) {
        const dukd_param_info *info = p->list->params[i];
        snprintf(name, sizeof name, "%s.%s", prefix, info->name);
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
    return 0;
}

int dukd_own_params_load(dukd_own_params *p, const dukd_tensor_file *file, const char *path,
                         dukd_failure *f) {
    float *arrays[ARRAYS];
    int status = 0;
    arrays_of(p, arrays);
    for (int k = 0; k < ARRAYS && p->count && arrays[k] && !status; k++) {
        dukd_mirror m;
        status = dukd_mirror_of_engine(&m, p->engine, arrays[k], p->count, "the plugin's parameters", f);
        if (!status) status = load_array(p, prefixes[k], m.host, file, path, f);
        if (!status) status = dukd_mirror_up(&m, p->count, f);
        dukd_mirror_free(&m);
    }
    return status;
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
