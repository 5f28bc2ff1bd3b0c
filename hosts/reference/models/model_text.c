/* A network's options as one line of JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/model.h"

typedef struct {
    char *out;
    size_t size, length; /* length counts what did not fit as well */
} text;

__attribute__((format(printf, 2, 3))) static void append(text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(t->length < t->size ? t->out + t->length : NULL,
                           t->length < t->size ? t->size - t->length : 0, format, args);
    va_end(args);
    if (length > 0) t->length += (size_t)length;
}

/* The shortest decimal that reads back as the same number. */
static void append_number(text *t, double number) {
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number) break;
    }
    append(t, "%s", digits);
}

static void append_value(text *t, const dukd_model_option *o, double number) {
    switch (o->kind) {
    case DUKD_MODEL_INT:
    case DUKD_MODEL_INTS:
        append(t, "%.0f", number);
        return;
    case DUKD_MODEL_BOOL:
        append(t, "%s", number != 0 ? "true" : "false");
        return;
    case DUKD_MODEL_WORD:
        append(t, "\"%s\"", o->words[(int)number]); /* words of our own tables: nothing to escape */
        return;
    case DUKD_MODEL_NULL:
        append(t, "null");
        return;
    case DUKD_MODEL_FLOAT:
    case DUKD_MODEL_FLOATS:
        append_number(t, number);
        return;
    }
}

size_t dukd_model_spec_text(const dukd_model_spec *spec, char *out, size_t size) {
    text t = {out, size, 0};
    append(&t, "{\"type\": \"%s\"", spec->type->name);
    for (int32_t i = 0; i < spec->type->option_count; i++) {
        const dukd_model_option *o = &spec->type->options[i];
        int list = o->kind == DUKD_MODEL_FLOATS || o->kind == DUKD_MODEL_INTS;
        append(&t, ", \"%s\": %s", o->name, list ? "[" : "");
        for (int32_t k = 0; k < spec->values[i].count; k++) {
            if (k > 0) append(&t, ", ");
            append_value(&t, o, spec->values[i].numbers[k]);
        }
        if (list) append(&t, "]");
    }
    append(&t, "}");
    return t.length;
}
