/* The list of networks; a network's options read from text and checked; its graph built. */
#include "models/model.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/nearest.h"
#include "models/edsr.h"

static const dukd_model_type *const types[] = {
    &dukd_model_edsr,
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

/* The message says in one sentence what the option takes: its kind, its range and what was written. */
static int refuse_value(const dukd_model_type *type, const dukd_model_option *o, const dukd_model_setting *s,
                        const char *text, dukd_failure *f) {
    const char *kind = o->kind == DUKD_MODEL_INT ? "a whole number" : "a number";
    if (o->least == o->most)
        return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be %g, not '%s'", PLACE(s->where), o->name,
                         type->name, o->least, text ? text : "~");
    return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be %s%s from %g to %g, not '%s'", PLACE(s->where),
                     o->name, type->name, kind, o->kind == DUKD_MODEL_FLOATS ? ", each," : "", o->least,
                     o->most, text ? text : "~");
}

static int read_value(dukd_model_value *out, const dukd_model_type *type, const dukd_model_option *o,
                      const dukd_model_setting *s, dukd_failure *f) {
    if (o->kind == DUKD_MODEL_FLOATS && (!s->is_list || s->count != o->count))
        return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be a list of %d numbers", PLACE(s->where),
                         o->name, type->name, (int)o->count);
    if (o->kind != DUKD_MODEL_FLOATS && (s->is_list || s->count != 1))
        return dukd_fail(f, DUKD_MISUSED, "%s%s%s of %s must be one number, not a list", PLACE(s->where),
                         o->name, type->name);
    for (int32_t i = 0; i < s->count; i++) {
        double number;
        if (!read_number(s->texts[i], o->kind == DUKD_MODEL_INT, &number) || number < o->least ||
            number > o->most)
            return refuse_value(type, o, s, s->texts[i], f);
        out->numbers[i] = number;
    }
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
    for (int32_t i = 0; i < a->type->option_count; i++)
        for (int32_t k = 0; k < a->type->options[i].count; k++)
            if (a->values[i].numbers[k] != b->values[i].numbers[k]) return 0;
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
