/* Option values as text. */
#include "option_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_bool(const char *text, double *number) {
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
    for (size_t i = 0; i < sizeof trues / sizeof *trues; i++) {
        if (strcmp(text, falses[i]) == 0 || strcmp(text, trues[i]) == 0) {
            *number = strcmp(text, trues[i]) == 0;
            return true;
        }
    }
    return false;
}

/* strtod also reads hexadecimal, "inf", "nan" and leading blanks: none of them is a number here. */
static bool read_number(const char *text, bool whole, double *number) {
    if (text[0] == '\0' || strspn(text, whole ? "+-0123456789" : "+-.0123456789eE") != strlen(text))
        return false;
    char *end = NULL;
    *number = strtod(text, &end);
    return *end == '\0' && isfinite(*number);
}

bool dukd_option_text_read(const dukd_option_info *row, const char *text, double *number) {
    switch (row->type & ~DUKD_OPTION_LIST) {
    case DUKD_OPTION_BOOL:
        return read_bool(text, number);
    case DUKD_OPTION_INT:
        return read_number(text, true, number) && *number >= row->min && *number <= row->max;
    case DUKD_OPTION_FLOAT:
        return read_number(text, false, number) && *number >= row->min && *number <= row->max;
    default:
        if (row->n_choices == 0) { /* any text: who reads it says more */
            *number = 0;
            return text[0] != '\0';
        }
        for (uint32_t i = 0; i < row->n_choices; i++) {
            if (strcmp(text, row->choices[i]) == 0) {
                *number = i;
                return true;
            }
        }
        return false;
    }
}

/* snprintf that appends and stops at the end of the room. */
static size_t append(char *room, size_t size, size_t at, const char *text) {
    const int n = at < size ? snprintf(room + at, size - at, "%s", text) : 0;
    return n > 0 ? at + (size_t)n : at;
}

const char *dukd_option_text_expected(const dukd_option_info *row, char *room, size_t size) {
    const uint32_t type = row->type & ~DUKD_OPTION_LIST;
    size_t at = append(room, size, 0, (row->type & DUKD_OPTION_LIST) != 0 ? "a list, each " : "");
    if (type == DUKD_OPTION_BOOL) {
        append(room, size, at, "true or false");
    } else if (type == DUKD_OPTION_STRING) {
        if (row->n_choices == 0) append(room, size, at, "a name");
        if (row->n_choices > 1) at = append(room, size, at, "one of ");
        for (uint32_t i = 0; i < row->n_choices; i++) {
            if (i > 0) at = append(room, size, at, ", ");
            at = append(room, size, at, row->choices[i]);
        }
    } else {
        char range[64];
        snprintf(range, sizeof range, row->max >= 1e30 ? " of %g or more" : " from %g to %g", row->min,
                 row->max);
        at = append(room, size, at, type == DUKD_OPTION_INT ? "a whole number" : "a number");
        append(room, size, at, range);
    }
    return room;
}

/* ---------------------------------------------------------------- nearest key */

#define LONGEST 64

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, substitutions and exchanges of neighbours. */
static size_t distance(const char *a, const char *b) {
    const size_t n = strlen(a), m = strlen(b);
    size_t rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

static const char *last_part(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot != NULL ? dot + 1 : key;
}

const char *dukd_option_nearest(const char *wrong, const char *const *names, uint32_t n) {
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (uint32_t i = 0; i < n; i++) {
        size_t d = distance(wrong, names[i]);
        /* the right word in a wrong section counts as two slips */
        if (strcmp(last_part(wrong), last_part(names[i])) == 0) d = least(d, 2);
        if (d < best) {
            best = d;
            nearest = names[i];
        }
    }
    return best <= 1 + strlen(wrong) / 4 ? nearest : NULL;
}
