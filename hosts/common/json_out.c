#include "common/json_out.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

dukd_json dukd_json_begin(FILE *to) {
    return (dukd_json){.to = to, .indent = 2};
}

static void quoted(FILE *to, const char *text) {
    fputc('"', to);
    size_t left = strlen(text);
    for (const unsigned char *c = (const unsigned char *)text; left > 0; c++, left--) {
        if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", to);
        else if (*c == '\t')
            fputs("\\t", to);
        else if (*c < 0x20)
            fprintf(to, "\\u%04x", *c);
        else if (*c < 0x80)
            fputc(*c, to);
        else {
            /* A file name may be any bytes, JSON may not: what is not UTF-8 becomes U+FFFD. */
            const int length = dukd_utf8_length(c, left);
            if (length == 0)
                fputs("\xEF\xBF\xBD", to);
            else {
                fwrite(c, 1, (size_t)length, to);
                c += length - 1;
                left -= (size_t)length - 1;
            }
        }
    }
    fputc('"', to);
}

static void line(dukd_json *j) {
    if (j->indent) fprintf(j->to, "\n%*s", j->indent * j->depth, "");
}

/* What comes before every value: the comma, the new line, the key. */
static void element(dukd_json *j, const char *key) {
    if (j->depth) {
        char *filled = &j->filled[j->depth - 1];
        if (*filled) fputs(j->indent ? "," : ", ", j->to);
        *filled = 1;
        line(j);
    }
    if (!key) return;
    quoted(j->to, key);
    fputs(": ", j->to);
}

static void open_level(dukd_json *j, const char *key, char opening, char closing) {
    if (j->depth == DUKD_JSON_DEPTH) {
        j->broken = 1;
        return;
    }
    element(j, key);
    fputc(opening, j->to);
    j->closing[j->depth] = closing;
    j->filled[j->depth++] = 0;
}

void dukd_json_object(dukd_json *j, const char *key) {
    open_level(j, key, '{', '}');
}
void dukd_json_array(dukd_json *j, const char *key) {
    open_level(j, key, '[', ']');
}

void dukd_json_close(dukd_json *j) {
    if (!j->depth) {
        j->broken = 1;
        return;
    }
    j->depth--;
    if (j->filled[j->depth]) line(j);
    fputc(j->closing[j->depth], j->to);
}

void dukd_json_text(dukd_json *j, const char *key, const char *text) {
    element(j, key);
    if (text)
        quoted(j->to, text);
    else
        fputs("null", j->to);
}

void dukd_json_integer(dukd_json *j, const char *key, int64_t value) {
    element(j, key);
    fprintf(j->to, "%lld", (long long)value);
}

void dukd_json_number(dukd_json *j, const char *key, double value) {
    char text[32];
    element(j, key);
    if (!isfinite(value)) {
        fputs("null", j->to);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fputs(text, j->to);
}

void dukd_json_boolean(dukd_json *j, const char *key, int32_t value) {
    element(j, key);
    fputs(value ? "true" : "false", j->to);
}

int dukd_json_end(dukd_json *j, const char *where, dukd_failure *f) {
    if (j->broken || j->depth)
        return dukd_fail(f, DUKD_FAILED, "%s: the JSON is not complete (a bug)", where);
    fputc('\n', j->to);
    if (fflush(j->to) || ferror(j->to))
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", where, strerror(errno));
    return DUKD_DONE;
}
