/* The names that a network's authors gave to its layers, made BasicSR's. */
#include <stdio.h>
#include <string.h>

#include "models/model.h"

enum { MAX_NUMBERS = 4, DIGITS = 9 };

/* The digits that the '#'s of a pattern stand for in `text`, which ends at `end`. */
typedef struct {
    char texts[MAX_NUMBERS][DIGITS + 1];
    int count;
} numbers;

static int match(const char *pattern, const char *text, const char *end, numbers *n) {
    n->count = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (text == end || *text++ != *pattern) return 0;
            continue;
        }
        size_t digits = strspn(text, "0123456789");
        if (digits > (size_t)(end - text)) digits = (size_t)(end - text);
        if (!digits || digits > DIGITS || n->count == MAX_NUMBERS) return 0;
        memcpy(n->texts[n->count], text, digits);
        n->texts[n->count++][digits] = '\0';
        text += digits;
    }
    return text == end;
}

/* `pattern` with its '#'s replaced, and what follows the layer's name. 0: too long. */
static int fill(const char *pattern, const numbers *n, const char *rest, char *out, size_t size) {
    size_t used = 0;
    int next = 0;
    for (; *pattern && used < size; pattern++) {
        const int is_number = *pattern == '#' && next < n->count;
        const int length = is_number ? snprintf(out + used, size - used, "%s", n->texts[next++])
                                     : snprintf(out + used, size - used, "%c", *pattern);
        if (length < 0) return 0;
        used += (size_t)length;
    }
    if (used >= size) return 0;
    const int length = snprintf(out + used, size - used, "%s", rest);
    return length >= 0 && (size_t)length < size - used;
}

const dukd_model_alias *dukd_model_find_alias(const dukd_model_type *type, const char *name, char *out,
                                              size_t size) {
    const char *rest = strrchr(name, '.'); /* ".weight" or ".bias" */
    numbers n;
    if (!rest) return NULL;
    for (int32_t i = 0; i < type->alias_count; i++) {
        const dukd_model_alias *a = &type->aliases[i];
        if (!match(a->theirs, name, rest, &n)) continue;
        if (a->mean || !a->ours) return a;
        return fill(a->ours, &n, rest, out, size) ? a : NULL;
    }
    return NULL;
}
