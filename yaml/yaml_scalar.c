/* YAML 1.1 scalars as PyYAML's SafeLoader resolves them (its regular expressions, by hand), and the numbers they stand for.
 * Independent of the locale. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yaml_tree.h"

enum { MAX_NUMBER = 256 }; /* longer texts are no numbers */

static bool one_of(const char *text, const char *const *words) {
    for (; *words; words++) {
        if (strcmp(text, *words) == 0) return true;
    }
    return false;
}

static bool is_null(const char *text) {
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
    return one_of(text, words);
}

bool dukd_yaml_read_bool(const char *text, bool *value) {
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", NULL};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", NULL};
    const bool is = one_of(text, yes);
    if (!is && !one_of(text, no)) return false;
    *value = is;
    return true;
}

/* ---------------------------------------------------------------- integers */

static int digit_of(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

static void push(dukd_yaml_int *v, unsigned base, unsigned digit) {
    if (v->overflow || v->magnitude > (UINT64_MAX - digit) / base) {
        v->overflow = true;
    } else {
        v->magnitude = v->magnitude * base + digit;
    }
}

/* One part of a number in base 60 after its first: ":59", ":5". Advances *p past it. */
static bool sixty_part(const char **p, unsigned *part) {
    const char *s = *p;
    if (*s != ':' || digit_of(s[1]) > 9) return false;
    if (digit_of(s[2]) > 9) {
        *part = (unsigned)digit_of(s[1]);
        *p = s + 2;
        return true;
    }
    if (s[1] > '5') return false;
    *part = (unsigned)(digit_of(s[1]) * 10 + digit_of(s[2]));
    *p = s + 3;
    return true;
}

static bool read_int(const char *text, bool also_0o, dukd_yaml_int *value) {
    dukd_yaml_int v = {.negative = *text == '-'};
    const char *p = text + (*text == '-' || *text == '+');
    unsigned base = 10;
    if (strlen(text) > MAX_NUMBER) return false;
    if (*p == '0' && p[1] == 'b')
        base = 2, p += 2;
    else if (*p == '0' && p[1] == 'x')
        base = 16, p += 2;
    else if (*p == '0' && p[1] == 'o' && also_0o)
        base = 8, p += 2;
    else if (*p == '0' && p[1])
        base = 8; /* the zero counts as its first digit */
    else if (digit_of(*p) > 9)
        return false;
    bool digits = false;
    for (; *p == '_' || digit_of(*p) < (int)base; p++) {
        if (*p == '_') continue;
        digits = true;
        push(&v, base, (unsigned)digit_of(*p));
    }
    while (base == 10 && *p == ':') {
        unsigned part;
        if (!sixty_part(&p, &part)) return false;
        push(&v, 60, part);
    }
    if (*p || !digits) return false;
    *value = v;
    return true;
}

bool dukd_yaml_read_int(const char *text, dukd_yaml_int *value) {
    return read_int(text, true, value);
}

/* ---------------------------------------------------------------- floats */

/* The C locale's strtod: the host may have set one with a decimal comma. */
static double parse_decimal(const char *text) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const double v = c ? strtod_l(text, NULL, c) : strtod(text, NULL);
    if (c) freelocale(c);
    return v;
}

/* The shape of a float's text. */
typedef struct {
    bool strict; /* PyYAML takes it for a float; else only a getter does */
    bool sixty;  /* 1:30.5 */
} float_shape;

static bool float_grammar(const char *text, float_shape *shape) {
    static const char *const inf[] = {".inf", ".Inf", ".INF", NULL}, *const nan[] = {".nan", ".NaN", ".NAN",
                                                                                     NULL};
    const bool sign = *text == '-' || *text == '+';
    const char *p = text + sign;
    *shape = (float_shape){.strict = true};
    if (one_of(p, inf) || one_of(text, nan)) return true;
    if (strlen(text) > MAX_NUMBER) return false;
    const bool whole = digit_of(*p) <= 9;
    if (whole) {
        while (digit_of(*p) <= 9 || *p == '_') p++;
        for (unsigned part; *p == ':'; shape->sixty = true) {
            if (!sixty_part(&p, &part)) return false;
        }
    } else if (*p != '.' || digit_of(p[1]) > 9) {
        return false;
    }
    const bool point = *p == '.';
    if (point) {
        p++;
        while (digit_of(*p) <= 9 || *p == '_') p++;
    }
    shape->strict = point && (whole || !sign);
    if (shape->sixty) return point && !*p;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '-' || *p == '+')
            p++;
        else
            shape->strict = false; /* YAML 1.1 wants the exponent's sign */
        if (digit_of(*p) > 9) return false;
        while (digit_of(*p) <= 9) p++;
    }
    return !*p;
}

/* 1:30.5 is 90.5. Parts are added as PyYAML adds them, from the last. */
static double parse_sixty(const char *digits) {
    double v = 0, base = 1;
    const char *end = digits + strlen(digits);
    for (const char *p = end; p > digits;) {
        p--;
        if (p == digits || p[-1] == ':') {
            v += parse_decimal(p) * base; /* stops at the next colon */
            base *= 60;
        }
    }
    return v;
}

static void strip_underscores(const char *text, char buf[MAX_NUMBER + 1]) {
    size_t n = 0;
    for (; *text && n < MAX_NUMBER; text++) {
        if (*text != '_') buf[n++] = *text;
    }
    buf[n] = 0;
}

static bool read_int_as_double(const char *text, double *value) {
    dukd_yaml_int v;
    if (!read_int(text, true, &v) || v.overflow) return false; /* a long decimal is read as a float is */
    *value = v.negative ? -(double)v.magnitude : (double)v.magnitude;
    return true;
}

/* Any text of the float grammar, PyYAML's and the getters'. */
static bool read_float(const char *text, double *value) {
    char digits[MAX_NUMBER + 1];
    float_shape shape;
    if (!float_grammar(text, &shape)) return false;
    const bool negative = *text == '-';
    const char *p = text + (negative || *text == '+');
    double v;
    if (*p == '.' && (p[1] == 'i' || p[1] == 'I')) {
        v = INFINITY;
    } else if (*p == '.' && (p[1] == 'n' || p[1] == 'N')) {
        v = NAN;
    } else {
        strip_underscores(p, digits);
        v = shape.sixty ? parse_sixty(digits) : parse_decimal(digits);
    }
    *value = negative ? -v : v;
    return true;
}

/* ---------------------------------------------------------------- types */

dukd_yaml_type dukd_yaml_resolve(const char *text) {
    bool b;
    dukd_yaml_int i;
    float_shape f;
    if (is_null(text)) return DUKD_YAML_NULL;
    if (dukd_yaml_read_bool(text, &b)) return DUKD_YAML_BOOL;
    if (read_int(text, false, &i)) return DUKD_YAML_INT;
    return float_grammar(text, &f) && f.strict ? DUKD_YAML_FLOAT : DUKD_YAML_STRING;
}

bool dukd_yaml_number(const dukd_yaml_node *scalar, double *value) {
    const char *text = scalar->text;
    const bool plain_text = !scalar->quoted && scalar->tag == DUKD_YAML_TAG_NONE;
    /* "!!float 010" is ten, "010" is eight. */
    if (scalar->tag == DUKD_YAML_TAG_FLOAT) return read_float(text, value) || read_int_as_double(text, value);
    dukd_yaml_int v;
    if (scalar->type == DUKD_YAML_INT && read_int(text, true, &v) && v.overflow &&
        text[strspn(text, "+-")] == '0') {
        return false; /* octal, hexadecimal or binary: no float is written like that */
    }
    if (scalar->type == DUKD_YAML_INT || scalar->type == DUKD_YAML_FLOAT ||
        (scalar->type == DUKD_YAML_STRING && plain_text)) {
        return read_int_as_double(text, value) || read_float(text, value);
    }
    return false;
}

bool dukd_yaml_scalar_settle(dukd_yaml_node *s, dukd_yaml_error *error) {
    static const char *const names[] = {"", "!!null", "!!bool", "!!int", "!!float", "!!str"};
    static const dukd_yaml_type types[] = {DUKD_YAML_STRING, DUKD_YAML_NULL,  DUKD_YAML_BOOL,
                                           DUKD_YAML_INT,    DUKD_YAML_FLOAT, DUKD_YAML_STRING};
    bool b, fits = true;
    dukd_yaml_int i;
    double d;
    if (s->tag == DUKD_YAML_TAG_NONE) {
        s->type = s->quoted ? DUKD_YAML_STRING : dukd_yaml_resolve(s->text);
        return true;
    }
    s->type = types[s->tag];
    if (s->tag == DUKD_YAML_TAG_NULL) fits = is_null(s->text);
    if (s->tag == DUKD_YAML_TAG_BOOL) fits = dukd_yaml_read_bool(s->text, &b);
    if (s->tag == DUKD_YAML_TAG_INT) fits = read_int(s->text, true, &i);
    if (s->tag == DUKD_YAML_TAG_FLOAT) fits = dukd_yaml_number(s, &d);
    if (fits) return true;
    return dukd_yaml_fail(error, DUKD_YAML_WRONG, &s->place, "%s in front of \"%.80s\", which is none",
                          names[s->tag], s->text);
}

/* ---------------------------------------------------------------- printing */

void dukd_yaml_print_double(double value, char buf[DUKD_YAML_NUMBER]) {
    if (isnan(value) || isinf(value)) {
        snprintf(buf, DUKD_YAML_NUMBER, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const locale_t before = c ? uselocale(c) : (locale_t)0;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, DUKD_YAML_NUMBER, "%.*g", digits, value);
        if (strtod(buf, NULL) == value) break;
    }
    if (c) {
        uselocale(before);
        freelocale(c);
    }
}

void dukd_yaml_print_int(dukd_yaml_int value, char buf[DUKD_YAML_NUMBER]) {
    snprintf(buf, DUKD_YAML_NUMBER, "%s%llu", value.negative && value.magnitude ? "-" : "",
             (unsigned long long)value.magnitude);
}
