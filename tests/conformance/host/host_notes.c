/* Reading the spy's notes: one JSON object a line, made by the spy alone, so that a key stands where it is looked for. */
#include "host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value_of(const char *line, const char *key) {
    char name[64];
    snprintf(name, sizeof name, "\"%s\": ", key);
    const char *at = strstr(line, name);
    return at ? at + strlen(name) : NULL;
}

int host_text(const char *line, const char *key, char *out, size_t size) {
    const char *at = value_of(line, key);
    size_t n = 0;
    if (!at || *at++ != '"') return 0;
    for (; *at && *at != '"' && n + 1 < size; at++) {
        if (*at == '\\' && at[1]) at++;
        out[n++] = *at;
    }
    out[n] = 0;
    return 1;
}

int host_is(const char *line, const char *call) {
    char name[64];
    return host_text(line, "call", name, sizeof name) && strcmp(name, call) == 0;
}

double host_number(const char *line, const char *key) {
    const char *at = line ? value_of(line, key) : NULL;
    return at ? strtod(at, NULL) : NAN;
}

int host_count(const host_run *r, const char *call) {
    int n = 0;
    for (int i = 0; i < r->n_lines; i++) n += host_is(r->lines[i], call);
    return n;
}

const char *host_find(const host_run *r, const char *call, int from, int *at) {
    for (int i = from; i < r->n_lines; i++) {
        if (!host_is(r->lines[i], call)) continue;
        if (at) *at = i;
        return r->lines[i];
    }
    return NULL;
}

const char *host_tap(const host_run *r, int iteration, int pass, int tap) {
    for (int i = 0; i < r->n_lines; i++)
        if (host_is(r->lines[i], "tap") && host_number(r->lines[i], "iteration") == iteration &&
            host_number(r->lines[i], "pass") == pass && host_number(r->lines[i], "tap") == tap)
            return r->lines[i];
    return NULL;
}

conform_result host_rule(conform *c, const host_run *r, const char *rule) {
    char name[64], what[512] = "";
    for (int i = 0; i < r->n_lines; i++) {
        if (!host_is(r->lines[i], "wrong") || !host_text(r->lines[i], "rule", name, sizeof name)) continue;
        if (strcmp(name, rule) != 0) continue;
        host_text(r->lines[i], "what", what, sizeof what);
        return conform_fail(c, "%s", what);
    }
    return CONFORM_PASS;
}

conform_result host_dot(conform *c, const host_run *r, int iteration, int pass, int tap, double *dot) {
    const char *line = host_tap(r, iteration, pass, tap);
    REQUIRE(c, line, "tap %d of pass %d was not submitted in iteration %d", tap, pass, iteration);
    REQUIRE(c, host_number(line, "finite") == 1, "tap %d of pass %d is not finite in iteration %d", tap, pass,
            iteration);
    *dot = host_number(line, "dot");
    return CONFORM_PASS;
}

int host_images(const char *line, double *out, int room) {
    const char *at = line ? value_of(line, "images") : NULL;
    int n = 0;
    if (!at || *at++ != '[') return 0;
    while (*at && *at != ']' && n < room) {
        char *end;
        out[n++] = strtod(at, &end);
        if (end == at) return 0;
        at = end + strspn(end, ", ");
    }
    return n;
}

conform_result host_dots(conform *c, host_request q, const host_at *at, int n, double *out) {
    host_run r;
    conform_result got = host_succeed(c, &r, q);
    for (int i = 0; i < n && got == CONFORM_PASS; i++)
        got = host_dot(c, &r, at[i].iteration, at[i].pass, at[i].tap, &out[i]);
    host_free(&r);
    return got;
}

int host_same(const conform *c, double a, double b) {
    return fabs(a - b) <= 0.02 * c->host->move + 2e-6 * c->host->size;
}

conform_result host_still(conform *c, double before, double after, const char *what) {
    if (host_same(c, before, after)) return CONFORM_PASS;
    return conform_fail(c, "%s: the student's output has moved by %.3g, a whole step moves it by %.3g", what,
                        after - before, c->host->move);
}
