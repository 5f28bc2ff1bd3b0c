#include "toy_params.h"

#include <stdlib.h>
#include <string.h>

#include "toy_tensor.h"

enum { CANARY = 8, PATTERN = 0xa5 }; /* floats before and behind; no number that anybody writes */

static int make(toy_param *q, const dukd_param_info *info) {
    q->count = 1;
    for (uint32_t d = 0; d < info->ndim; d++) q->count *= q->shape[d] = info->shape[d];
    const uint64_t size = ((uint64_t)q->count + 2 * CANARY) * sizeof(float);
    for (int k = 0; k < 2; k++) {
        q->whole[k] = malloc(size);
        if (!q->whole[k]) return -1;
        memset(q->whole[k], PATTERN, size);
        q->tensor[k] = (dukd_tensor){.data = q->whole[k],
                                     .device = {DUKD_DEVICE_CPU, 0},
                                     .ndim = (int32_t)info->ndim,
                                     .dtype = toy_f32,
                                     .shape = q->shape,
                                     .byte_offset = CANARY * sizeof(float)};
    }
    return 0;
}

static conform_result sane(conform *c, const dukd_param_info *info, uint32_t i) {
    int64_t count = 1;
    REQUIRE(c, info && info->struct_size >= DUKD_PARAM_INFO_SIZE && info->name && info->ndim <= TOY_MAX_DIMS,
            "parameter %u: incomplete, or of more than %d dimensions", i, TOY_MAX_DIMS);
    for (uint32_t d = 0; d < info->ndim; d++) {
        REQUIRE(c, info->shape && info->shape[d] >= 1 && info->shape[d] < 1 << 24,
                "parameter %u (%s): dimension %u is none", i, info->name, d);
        count *= info->shape[d];
        REQUIRE(c, count < 1 << 24, "parameter %u (%s) is too large for this suite", i, info->name);
    }
    return CONFORM_PASS;
}

conform_result toy_params_find(conform *c, toy_params *p, dukd_session *s) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    if (p->ext) return CONFORM_PASS;
    const dukd_ext_params *ext = c->plugin->get_extension(DUKD_EXT_PARAMS);
    if (!ext) return CONFORM_PASS;
    int32_t code = ext->list(s, &p->list, &e);
    REQUIRE(c, code == DUKD_OK, "list of " DUKD_EXT_PARAMS " gave %d: %s", code, e.message);
    REQUIRE(c, p->list && p->list->struct_size >= DUKD_PARAM_LIST_SIZE && p->list->n_params <= TOY_MAX_PARAMS,
            "list of " DUKD_EXT_PARAMS " is incomplete, or longer than %d", TOY_MAX_PARAMS);
    for (uint32_t i = 0; i < p->list->n_params; i++) {
        TRY(sane(c, p->list->params[i], i));
        REQUIRE(c, !make(&p->param[i], p->list->params[i]), "the suite is out of memory");
    }
    p->ext = ext;
    p->n = p->list->n_params;
    return CONFORM_PASS;
}

int32_t toy_params_bind(toy_params *p, dukd_session *s, uint32_t flags, dukd_error *e) {
    const dukd_tensor *list[2][TOY_MAX_PARAMS];
    for (uint32_t i = 0; i < p->n; i++)
        for (int k = 0; k < 2; k++) list[k][i] = &p->param[i].tensor[k];
    const dukd_param_bind bind = {.struct_size = DUKD_PARAM_BIND_SIZE,
                                  .flags = flags,
                                  .n_params = p->n,
                                  .values = list[0],
                                  .grads = list[1]};
    int32_t code = p->ext->bind(s, &bind, e);
    p->bound |= code == DUKD_OK;
    return code;
}

conform_result toy_params_open(conform *c, toy_params *p, dukd_session *s) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_params_find(c, p, s));
    if (p->bound || !p->n) return CONFORM_PASS;
    int32_t code = toy_params_bind(p, s, DUKD_BIND_INIT, &e);
    REQUIRE(c, code == DUKD_OK, "bind of " DUKD_EXT_PARAMS " gave %d: %s", code, e.message);
    return CONFORM_PASS;
}

void toy_params_free(toy_params *p) {
    for (uint32_t i = 0; i < TOY_MAX_PARAMS; i++)
        for (int k = 0; k < 2; k++) free(p->param[i].whole[k]);
    *p = (toy_params){0};
}

/* ---- what is in them ---- */

float *toy_param_values(toy_params *p, uint32_t i) {
    return p->param[i].whole[0] + CANARY;
}

float *toy_param_grads(toy_params *p, uint32_t i) {
    return p->param[i].whole[1] + CANARY;
}

void toy_params_clear(toy_params *p, float value) {
    for (uint32_t i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->param[i].count; k++) toy_param_grads(p, i)[k] = value;
}

uint64_t toy_params_hash(toy_params *p, int grads) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < p->n; i++)
        toy_hash(&h, p->param[i].whole[grads] + CANARY, (uint64_t)p->param[i].count * sizeof(float));
    return h;
}

int64_t toy_params_unwritten(toy_params *p) {
    static const uint8_t pattern[sizeof(float)] = {PATTERN, PATTERN, PATTERN, PATTERN};
    int64_t n = 0;
    for (uint32_t i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->param[i].count; k++)
            n += memcmp(toy_param_values(p, i) + k, pattern, sizeof pattern) == 0;
    return n;
}

int toy_params_spilled(const toy_params *p) {
    int spilled = 0;
    for (uint32_t i = 0; i < p->n; i++)
        for (int k = 0; k < 2; k++) {
            const uint8_t *first = (const uint8_t *)p->param[i].whole[k];
            const uint8_t *behind = (const uint8_t *)(p->param[i].whole[k] + CANARY + p->param[i].count);
            for (uint64_t b = 0; b < CANARY * sizeof(float); b++)
                spilled |= first[b] != PATTERN || behind[b] != PATTERN;
        }
    return spilled;
}
