/* The list of networks; a network's options read from text and checked; its graph built. */
#include "models/model.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/nearest.h"
#include "models/carn_m.h"
#include "models/edsr.h"
#include "models/imdn.h"
#include "models/rcan.h"
#include "models/rfdn.h"
#include "models/swinir.h"
#include "models/vgg19.h"

static const dukd_model_type *const types[] = {
    &dukd_model_edsr, &dukd_model_rcan,   &dukd_model_swinir, &dukd_model_imdn,
    &dukd_model_rfdn, &dukd_model_carn_m, &dukd_model_vgg19,
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

int32_t dukd_model_type_count(void) {
    return TYPE_COUNT;
}
const dukd_model_type *dukd_model_type_at(int32_t i) {
    return types[i];
}

/* "WHERE: " or nothing, as the two arguments of "%s%s". */
#define PLACE(where) (where) ? (where) : "", (where) ? ": " : ""

static const dukd_model_type *find_type(const char *name, const char *where, dukd_failure *f) {
    const char *names[TYPE_COUNT];
    for (int32_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(types[i]->name, name) == 0) return types[i];
        names[i] = types[i]->name;
    }
    int32_t near = dukd_nearest(name, names, TYPE_COUNT, sizeof *names);
    if (near >= 0)
        dukd_fail(f, DUKD_MISUSED, "%s%sthere is no network '%s'; did you mean '%s'?", PLACE(where), name,
                  names[near]);
    else
        dukd_fail(f, DUKD_MISUSED, "%s%sthere is no network '%s'; there is, for one, '%s'", PLACE(where),
                  name, names[0]);
    return NULL;
}

static int32_t find_option(const dukd_model_type *type, const char *key) {
    for (int32_t i = 0; i < type->option_count; i++)
        if (strcmp(type->options[i].name, key) == 0) return i;
    return -1;
}

/* Decimal numbers only: strtod alone would also take " 1", "0x10", "inf" and "nan". */
static bool read_number(const char *text, bool whole, double *out) {
    if (!text || !*text || text[strspn(text, whole ? "+-0123456789" : "+-0123456789.eE")] != '\0')
        return false;
    char *end;
    *out = strtod(text, &end);
    return *end == '\0'; /* an overflow gives infinity, which no range holds */
}

static bool is_list(const dukd_model_option *o) {
    return o->kind == DUKD_MODEL_FLOATS || o->kind == DUKD_MODEL_INTS;
}

/* What an option takes: "a whole number from 1 to 16", "true or false". */
static void describe(const dukd_model_option *o, char *out, size_t size) {
    bool whole = o->kind == DUKD_MODEL_INT || o->kind == DUKD_MODEL_INTS;
    size_t used = 0;
    switch (o->kind) {
    case DUKD_MODEL_NULL:
        snprintf(out, size, "null");
        return;
    case DUKD_MODEL_BOOL:
        snprintf(out, size, "%s", o->least == o->most ? o->least != 0 ? "true" : "false" : "true or false");
        return;
    case DUKD_MODEL_WORD:
        for (int i = 0; o->words[i] && used < size; i++)
            used += (size_t)snprintf(out + used, size - used, "%s'%s'",
                                     i == 0            ? ""
                                     : o->words[i + 1] ? ", "
                                                       : " or ",
                                     o->words[i]);
        return;
    case DUKD_MODEL_INT:
    case DUKD_MODEL_FLOAT:
    case DUKD_MODEL_FLOATS:
    case DUKD_MODEL_INTS:
        break;
    }
    if (o->least == o->most)
        snprintf(out, size, "%g", o->least);
    else
        snprintf(out, size, "%s%s from %g to %g", whole ? "a whole number" : "a number",
                 is_list(o) ? ", each," : "", o->least, o->most);
}

/* The message says in one sentence what the option takes and what was written. */
static int refuse_value(const dukd_model_type *type, const dukd_model_option *o, const dukd_model_setting *s,
                        const char *text, dukd_failure *f) {
    char takes[256];
    describe(o, takes, sizeof takes);
    return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be %s, not '%s'", PLACE(s->where), o->name,
                     type->name, takes, text ? text : "~");
}

/* One scalar; NULL is null. */
static bool read_scalar(const dukd_model_option *o, const char *text, double *out) {
    switch (o->kind) {
    case DUKD_MODEL_NULL:
        *out = 0;
        return !text;
    case DUKD_MODEL_BOOL: /* the readers of option files give every spelling of them as one of two */
        *out = text && strcmp(text, "true") == 0;
        return text && (*out == 1 || strcmp(text, "false") == 0) && *out >= o->least && *out <= o->most;
    case DUKD_MODEL_WORD:
        for (int i = 0; o->words[i]; i++) {
            *out = i;
            if (strcmp(o->words[i], text ? text : "") == 0) return true;
        }
        return false;
    case DUKD_MODEL_INT:
    case DUKD_MODEL_FLOAT:
    case DUKD_MODEL_FLOATS:
    case DUKD_MODEL_INTS:
        break;
    }
    return read_number(text, o->kind == DUKD_MODEL_INT || o->kind == DUKD_MODEL_INTS, out) &&
           *out >= o->least && *out <= o->most;
}

static int read_value(dukd_model_value *out, const dukd_model_type *type, const dukd_model_option *o,
                      const dukd_model_setting *s, dukd_failure *f) {
    if (!is_list(o)) {
        if (s->is_list || s->count > 1)
            return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be one value, not a list", PLACE(s->where),
                             o->name, type->name);
        const char *text = s->count == 1 ? s->texts[0] : NULL;
        out->count = 1;
        return read_scalar(o, text, out->numbers) ? DUKD_DONE : refuse_value(type, o, s, text, f);
    }
    if (o->kind == DUKD_MODEL_FLOATS && (!s->is_list || s->count != o->count))
        return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be a list of %d numbers", PLACE(s->where),
                         o->name, type->name, (int)o->count);
    if (!s->is_list || s->count < 1 || s->count > DUKD_MODEL_MAX_LIST)
        return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be a list of 1 to %d numbers", PLACE(s->where),
                         o->name, type->name, DUKD_MODEL_MAX_LIST);
    out->count = s->count;
    for (int32_t i = 0; i < s->count; i++)
        if (!read_scalar(o, s->texts[i], &out->numbers[i])) return refuse_value(type, o, s, s->texts[i], f);
    return DUKD_DONE;
}

static int refuse_key(const dukd_model_type *type, const dukd_model_setting *s, dukd_failure *f) {
    int32_t near = dukd_nearest(s->key, &type->options->name, type->option_count, sizeof *type->options);
    if (near >= 0)
        return dukd_fail(f, DUKD_MISUSED, "%s%snetwork %s has no option '%s'; did you mean '%s'?",
                         PLACE(s->where), type->name, s->key, type->options[near].name);
    return dukd_fail(f, DUKD_MISUSED, "%s%snetwork %s has no option '%s'; take it out", PLACE(s->where),
                     type->name, s->key);
}

int dukd_model_spec_read(dukd_model_spec *out, const char *type, const char *type_where, const char *where,
                         const dukd_model_setting *settings, int32_t count, dukd_failure *f) {
    bool given[DUKD_MODEL_MAX_OPTIONS] = {false};
    *out = (dukd_model_spec){.type = find_type(type, type_where, f)};
    if (!out->type) return DUKD_MISUSED;

    for (int32_t i = 0; i < count; i++) {
        const dukd_model_setting *s = &settings[i];
        int32_t option = find_option(out->type, s->key);
        if (option < 0) return refuse_key(out->type, s, f);
        if (given[option])
            return dukd_fail(f, DUKD_MISUSED, "%s%s%s is given twice; keep one", PLACE(s->where), s->key);
        given[option] = true;
        int status = read_value(&out->values[option], out->type, &out->type->options[option], s, f);
        if (status != DUKD_DONE) return status;
    }
    for (int32_t i = 0; i < out->type->option_count; i++) {
        const dukd_model_option *o = &out->type->options[i];
        if (given[i]) continue;
        if (o->required)
            return dukd_fail(f, DUKD_MISUSED, "%s%snetwork %s needs %s (%s)", PLACE(where), out->type->name,
                             o->name, o->help);
        out->values[i].count = o->count;
        memcpy(out->values[i].numbers, o->start, (size_t)o->count * sizeof *o->start);
    }
    /* What only a builder knows (an upscale that it has no layers for) is refused here too, where the place is known. */
    dukd_graph *g = NULL;
    dukd_failure why = {0};
    const int status = dukd_model_build(&g, out, &why);
    dukd_graph_destroy(g);
    return status ? dukd_fail(f, status, "%s%s%s", PLACE(where), why.message) : DUKD_DONE;
}

int dukd_model_spec_same(const dukd_model_spec *a, const dukd_model_spec *b) {
    if (a->type != b->type) return 0;
    for (int32_t i = 0; i < a->type->option_count; i++) {
        if (a->values[i].count != b->values[i].count) return 0;
        for (int32_t k = 0; k < a->values[i].count; k++)
            if (a->values[i].numbers[k] != b->values[i].numbers[k]) return 0;
    }
    return 1;
}

int64_t dukd_model_spec_int(const dukd_model_spec *spec, const char *name) {
    int32_t i = find_option(spec->type, name);
    return i >= 0 && spec->type->options[i].kind == DUKD_MODEL_INT ? (int64_t)spec->values[i].numbers[0] : -1;
}

int dukd_model_build(dukd_graph **out, const dukd_model_spec *spec, dukd_failure *f) {
    dukd_failure wrong = {0}; /* what the builder says of the options comes before what the graph says */
    dukd_graph *g = dukd_graph_create();
    *out = NULL;
    dukd_value output = spec->type->build(g, spec->values, &wrong);
    if (wrong.status == DUKD_DONE) dukd_graph_finish(g, output, &wrong);
    if (wrong.status == DUKD_DONE) {
        *out = g;
        return DUKD_DONE;
    }
    dukd_graph_destroy(g);
    return dukd_fail(f, wrong.status, "network %s: %s", spec->type->name, wrong.message);
}
