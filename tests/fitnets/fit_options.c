/* The option table, and reading by it. */
#include "fitnets.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TERMS, W_REC, W_HINT, STUDENT_LAYER, TEACHER_LAYER };

static const char *const terms[FIT_TERMS] = {"rec", "hint"};

#define ROW(row_name, row_type, row_default, row_min, row_max, row_choices, row_n, row_help)                 \
    {                                                                                                        \
        .struct_size = DUKD_OPTION_INFO_SIZE, .type = (row_type), .name = (row_name),                        \
        .default_text = (row_default), .min = (row_min), .max = (row_max), .choices = (row_choices),         \
        .n_choices = (row_n), .help = (row_help)                                                             \
    }

static const dukd_option_info rows[FIT_OPTIONS] = {
    [TERMS] = ROW("train.terms", DUKD_OPTION_STRING | DUKD_OPTION_LIST, "[rec, hint]", -INFINITY, INFINITY,
                  terms, FIT_TERMS, "the terms of the loss"),
    [W_REC] = ROW("train.w_rec", DUKD_OPTION_FLOAT, "1", 0, 1e6, NULL, 0, "weight of mean |S - y|"),
    [W_HINT] = ROW("train.w_hint", DUKD_OPTION_FLOAT, "1", 0, 1e6, NULL, 0, "weight of mean (P F_S - F_T)^2"),
    [STUDENT_LAYER] = ROW("train.hint.student_layer", DUKD_OPTION_STRING, NULL, -INFINITY, INFINITY, NULL, 0,
                          "layer of the student whose output is F_S; absent: the student's output"),
    [TEACHER_LAYER] = ROW("train.hint.teacher_layer", DUKD_OPTION_STRING, NULL, -INFINITY, INFINITY, NULL, 0,
                          "layer of the teacher whose output is F_T; absent: the teacher's output"),
};

const dukd_option_info *const fit_option_table[FIT_OPTIONS] = {&rows[TERMS], &rows[W_REC], &rows[W_HINT],
                                                               &rows[STUDENT_LAYER], &rows[TEACHER_LAYER]};

/* ---- the nearest known name ---- */

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Letters to change, add and drop, of texts up to 63 letters. */
static size_t distance(const char *a, const char *b) {
    enum { MOST = 63 };
    size_t row[MOST + 1], n = least(strlen(b), MOST);
    for (size_t k = 0; k <= n; k++) row[k] = k;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < n; k++) {
            const size_t change = diagonal + (a[i] != b[k]);
            diagonal = row[k + 1];
            row[k + 1] = least(change, least(row[k], row[k + 1]) + 1);
        }
    }
    return row[n];
}

static const char *nearest(const char *key) {
    int best = 0;
    if (strlen(key) > 63) return rows[0].name;
    for (int i = 1; i < FIT_OPTIONS; i++)
        if (distance(key, rows[i].name) < distance(key, rows[best].name)) best = i;
    return rows[best].name;
}

/* ---- values ---- */

static bool read_number(const dukd_option_info *row, const char *text, double *out) {
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && !*end && !errno && *out >= row->min && *out <= row->max;
}

static bool read_term(fit_config *c, const char *text) {
    for (int k = 0; k < FIT_TERMS; k++)
        if (strcmp(text, terms[k]) == 0) return c->term[k] = true;
    return false;
}

static bool read_layer(char out[FIT_LAYER_NAME], const char *text) {
    const size_t length = strlen(text);
    if (!length || length >= FIT_LAYER_NAME) return false;
    memcpy(out, text, length + 1);
    return true;
}

static bool take(fit_config *c, int id, const dukd_option *o) {
    bool fits = o->n_values > 0;
    if (id != TERMS && o->kind == DUKD_VALUE_LIST) return false;
    switch (id) {
    case TERMS:
        for (int k = 0; k < FIT_TERMS; k++) c->term[k] = false;
        for (uint32_t k = 0; k < o->n_values && fits; k++) fits = read_term(c, o->values[k]);
        return fits;
    case W_REC:
        return read_number(&rows[id], o->values[0], &c->weight[FIT_REC]);
    case W_HINT:
        return read_number(&rows[id], o->values[0], &c->weight[FIT_HINT]);
    case STUDENT_LAYER:
        return read_layer(c->student_layer, o->values[0]);
    default:
        return read_layer(c->teacher_layer, o->values[0]);
    }
}

/* Whether it is well-formed: a host's mistake, not the user's. */
static int32_t check_option(const dukd_option *o, uint32_t i, dukd_error *error) {
    char name[32];
    snprintf(name, sizeof name, "options[%u]", i);
    int32_t status = fit_check_struct(o, DUKD_OPTION_SIZE, name, error);
    if (status) return status;
    if (!o->key || o->pad0)
        return fit_error(error, DUKD_E_ARGUMENT, "%s: key is NULL, or pad0 is not zero", name);
    if (o->kind != DUKD_VALUE_SCALAR && o->kind != DUKD_VALUE_LIST && o->kind != DUKD_VALUE_NULL)
        return fit_error(error, DUKD_E_ARGUMENT, "%s (%.60s): unknown kind %u", name, o->key, o->kind);
    if ((o->kind == DUKD_VALUE_SCALAR && o->n_values != 1) || (o->kind == DUKD_VALUE_NULL && o->n_values))
        return fit_error(error, DUKD_E_ARGUMENT, "%s (%.60s): %u values", name, o->key, o->n_values);
    for (uint32_t k = 0; k < o->n_values; k++)
        if (!o->values || !o->values[k])
            return fit_error(error, DUKD_E_ARGUMENT, "%s (%.60s): a value is NULL", name, o->key);
    return DUKD_OK;
}

static int32_t read_option(fit_config *c, const dukd_option *o, dukd_error *error) {
    const char *place = o->place ? o->place : "an option";
    int id = 0;
    while (id < FIT_OPTIONS && strcmp(o->key, rows[id].name) != 0) id++;
    if (id == FIT_OPTIONS)
        return fit_error(error, DUKD_E_OPTION, "%.70s: unknown option %.80s; is %s meant?", place, o->key,
                         nearest(o->key));
    if (o->kind == DUKD_VALUE_NULL) return DUKD_OK; /* the default stays */
    if (take(c, id, o)) return DUKD_OK;
    return fit_error(error, DUKD_E_OPTION, "%.70s: %s: '%.60s' is no value for it (%s)", place, rows[id].name,
                     o->n_values ? o->values[0] : "", rows[id].help);
}

int32_t fit_read_options(fit_config *c, const dukd_option *const *options, uint32_t n, dukd_error *error) {
    *c = (fit_config){.term = {true, true}, .weight = {1, 1}};
    if (n && !options) return fit_error(error, DUKD_E_ARGUMENT, "params: options is NULL");
    for (uint32_t i = 0; i < n; i++) {
        int32_t status = check_option(options[i], i, error);
        if (!status) status = read_option(c, options[i], error);
        if (status) return status;
    }
    for (int k = 0; k < FIT_TERMS; k++)
        if (c->weight[k] == 0) c->term[k] = false;
    if (!c->term[FIT_REC] && !c->term[FIT_HINT])
        return fit_error(error, DUKD_E_OPTION, "train.terms: no term is left that has a weight");
    return DUKD_OK;
}
