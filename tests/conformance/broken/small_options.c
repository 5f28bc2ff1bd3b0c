/* The option table, and reading by it. */
#include "small.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TWO_STEPS, CROPS, W_ZOOM, CROP, TERMS, FLIP, BIAS, NOTE };

static const char *const crops[] = {"random", "corner"};
static const char *const terms[] = {"rec", "zoom_in", "zoom_out"};

#define ROW(row_name, row_type, row_default, row_min, row_max, row_choices, row_n, row_help)                 \
    {                                                                                                        \
        .struct_size = DUKD_OPTION_INFO_SIZE, .type = (row_type), .name = (row_name),                        \
        .default_text = (row_default), .min = (row_min), .max = (row_max), .choices = (row_choices),         \
        .n_choices = (row_n), .help = (row_help)                                                             \
    }

static const dukd_option_info rows[SMALL_OPTIONS] = {
    [TWO_STEPS] = ROW("train.two_steps", DUKD_OPTION_BOOL, "false", -INFINITY, INFINITY, NULL, 0,
                      "an optimizer step after each pass"),
    [CROPS] = ROW("train.crops", DUKD_OPTION_INT, "2", 1, 4, NULL, 0, "crops an image"),
    [W_ZOOM] = ROW("train.w_zoom", DUKD_OPTION_FLOAT, "0.5", 0, 1000, NULL, 0, "weight of the zoomed terms"),
    [CROP] =
        ROW("train.crop", DUKD_OPTION_STRING, "random", -INFINITY, INFINITY, crops, 2, "where crops are"),
    [TERMS] = ROW("train.terms", DUKD_OPTION_STRING | DUKD_OPTION_LIST, "[rec, zoom_in, zoom_out]", -INFINITY,
                  INFINITY, terms, 3, "the terms of the loss"),
    [FLIP] = ROW("train.flip", DUKD_OPTION_FLOAT, "0.5", 0, 1, NULL, 0,
                 "probability that a crop is flipped left-right"),
    [BIAS] = ROW("train.bias", DUKD_OPTION_BOOL, "false", -INFINITY, INFINITY, NULL, 0,
                 "a learned bias in the rec term"),
    [NOTE] = ROW("note", DUKD_OPTION_STRING, NULL, -INFINITY, INFINITY, NULL, 0, "any text; not used"),
};

const dukd_option_info *const small_option_table[SMALL_OPTIONS] = {
    &rows[TWO_STEPS], &rows[CROPS], &rows[W_ZOOM], &rows[CROP],
    &rows[TERMS],     &rows[FLIP],  &rows[BIAS],   &rows[NOTE]};

/* ---- the nearest known name ---- */

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Letters to change, add and drop. */
static size_t distance(const char *a, const char *b) {
    enum { MOST = 63 };
    size_t row[MOST + 1], n = least(strlen(b), MOST);
    for (size_t k = 0; k <= n; k++) row[k] = k;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < n; k++) {
            size_t change = diagonal + (a[i] != b[k]);
            diagonal = row[k + 1];
            row[k + 1] = least(change, least(row[k], row[k + 1]) + 1);
        }
    }
    return row[n];
}

static const char *nearest(const char *key) {
    int best = 0;
    for (int i = 1; i < SMALL_OPTIONS; i++)
        if (distance(key, rows[i].name) < distance(key, rows[best].name)) best = i;
    return rows[best].name;
}

/* ---- values ---- */

/* Reads one value: a number, a bool, or the index of a choice. */
static bool read_value(const dukd_option_info *row, const char *text, double *out) {
    char *end = NULL;
    uint32_t base = row->type & ~DUKD_OPTION_LIST;
    errno = 0;
    if (base == DUKD_OPTION_BOOL) {
        *out = strcmp(text, "true") == 0;
        return *out > 0 || strcmp(text, "false") == 0;
    }
    if (base == DUKD_OPTION_STRING) {
        uint32_t k = 0;
        while (k < row->n_choices && strcmp(text, row->choices[k]) != 0) k++;
        *out = k;
        return !row->n_choices || k < row->n_choices;
    }
    *out = base == DUKD_OPTION_INT ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    if (end == text || (*end && !BROKEN(trailing_letters)) || errno) return false;
    return BROKEN(no_range) ? isfinite(*out) : *out >= row->min && *out <= row->max;
}

static int32_t take(small_config *c, int id, const double *values, uint32_t n) {
    double first = n ? values[0] : 0;
    switch (id) {
    case TWO_STEPS:
        c->two_steps = first > 0;
        break;
    case CROPS:
        c->crops = (int64_t)first;
        break;
    case W_ZOOM:
        c->w_zoom = first;
        break;
    case CROP:
        c->corner = first > 0;
        break;
    case TERMS:
        for (int k = 0; k < PASSES; k++) c->term[k] = false;
        for (uint32_t k = 0; k < n; k++) c->term[(int)values[k]] = true;
        break;
    case FLIP:
        c->flip = first;
        break;
    case BIAS:
        c->bias = first > 0;
        break;
    default:
        break;
    }
    return DUKD_OK;
}

static int32_t check_option(const dukd_option *o, uint32_t i, dukd_error *error) {
    char name[32];
    snprintf(name, sizeof name, "options[%u]", i);
    int32_t status = small_check_struct(o, DUKD_OPTION_SIZE, name, error);
    if (status) return status;
    if (!o->key || o->pad0)
        return small_error(error, DUKD_E_ARGUMENT, "%s: key is NULL, or pad0 is not zero", name);
    if (BROKEN(any_kind)) return DUKD_OK;
    if (o->kind != DUKD_VALUE_SCALAR && o->kind != DUKD_VALUE_LIST && o->kind != DUKD_VALUE_NULL)
        return small_error(error, DUKD_E_ARGUMENT, "%s (%.60s): unknown kind %u", name, o->key, o->kind);
    if ((o->kind == DUKD_VALUE_SCALAR && o->n_values != 1) || (o->kind == DUKD_VALUE_NULL && o->n_values))
        return small_error(error, DUKD_E_ARGUMENT, "%s (%.60s): %u values", name, o->key, o->n_values);
    for (uint32_t k = 0; k < o->n_values; k++)
        if (!o->values || !o->values[k])
            return small_error(error, DUKD_E_ARGUMENT, "%s (%.60s): a value is NULL", name, o->key);
    return DUKD_OK;
}

static int32_t read_option(small_config *c, const dukd_option *o, dukd_error *error) {
    enum { MOST = 8 };
    double values[MOST];
    int id = 0;
    const char *place = o->place ? o->place : "an option";
    while (id < SMALL_OPTIONS && strcmp(o->key, rows[id].name) != 0) id++;
    if (id == SMALL_OPTIONS && BROKEN(no_nearest))
        return small_error(error, DUKD_E_OPTION, "%.70s: unknown option %.80s", place, o->key);
    if (id == SMALL_OPTIONS)
        return small_error(error, DUKD_E_OPTION, "%.70s: unknown option %.80s; is %.60s meant?", place,
                           o->key, strlen(o->key) < 64 ? nearest(o->key) : rows[0].name);
    if (o->kind == DUKD_VALUE_NULL) return DUKD_OK; /* the default stays */
    bool list = (rows[id].type & DUKD_OPTION_LIST) != 0;
    bool fits = list ? o->n_values && o->n_values <= MOST : o->kind == DUKD_VALUE_SCALAR;
    if (BROKEN(no_scalar_for_list) && list && o->kind == DUKD_VALUE_SCALAR) fits = false;
    for (uint32_t k = 0; k < o->n_values && fits; k++) fits = read_value(&rows[id], o->values[k], &values[k]);
    if (!fits)
        return small_error(error, DUKD_E_OPTION, "%.70s: %s: '%.60s' is no value for it", place,
                           rows[id].name, o->n_values ? o->values[0] : "");
    return take(c, id, values, o->n_values);
}

int32_t small_read_options(small_config *c, const dukd_option *const *options, uint32_t n,
                           dukd_error *error) {
    *c = (small_config){.term = {true, true, true}, .crops = 2, .w_zoom = 0.5, .flip = 0.5};
    if (BROKEN(another_default)) c->w_zoom = 0.75;
    if (n && !options) return small_error(error, DUKD_E_ARGUMENT, "params: options is NULL");
    for (uint32_t i = 0; i < n; i++) {
        int32_t status = check_option(options[i], i, error);
        if (!status) status = read_option(c, options[i], error);
        if (status) return status;
    }
    if (c->w_zoom == 0) c->term[PASS_ZOOM_IN] = c->term[PASS_ZOOM_OUT] = false;
    if (!c->term[PASS_REC] && !c->term[PASS_ZOOM_IN] && !c->term[PASS_ZOOM_OUT])
        return small_error(error, DUKD_E_OPTION, "train.terms: no term is left");
    if (!c->term[PASS_REC]) c->bias = false;
    return DUKD_OK;
}
