/* Which known key was meant by one that nobody knows. */
#include <stdio.h>
#include <string.h>

#include "yaml_pattern.h"

typedef struct {
    const dukd_yaml_known *known;
    size_t n;
    const char *const *path;
    size_t depth;
} question;

/* A known path that may have been meant. Lower is nearer. */
typedef struct {
    unsigned cost;
    const char *pattern;
    size_t elements; /* of the pattern, from its front */
} guess;

/* The first `n` elements of the pattern against the unknown path. */
static unsigned cost_of(const question *q, const dukd_yaml_element *e, size_t n) {
    const char *key = q->path[q->depth - 1];
    const size_t size = strlen(key);
    const dukd_yaml_element last = e[n - 1];
    unsigned above = 0; /* how far its section is from the one here */
    size_t same = 0;
    while (same < n - 1 && same < q->depth - 1 && dukd_yaml_element_matches(e[same], q->path[same])) same++;
    above = (unsigned)(n - 1 - same + q->depth - 1 - same);
    if (above && dukd_yaml_element_matches(last, key) && !memchr(last.text, '*', last.size))
        return 20 + above; /* right, but elsewhere */
    if (memchr(last.text, '*', last.size)) return UINT32_MAX;
    const unsigned d = dukd_yaml_distance(key, size, last.text, last.size);
    const size_t longer = size > last.size ? size : last.size;
    if (above == 0 && d <= 1 + longer / 4) return d;              /* misspelled */
    if (above == 0 && d <= longer / 2 && d <= 5) return 40 + d;   /* perhaps misspelled */
    if (above && d <= 1 && longer > 3) return 60 + above * 4 + d; /* misspelled, and elsewhere */
    return UINT32_MAX;
}

static guess nearest(const question *q) {
    guess best = {UINT32_MAX, NULL, 0};
    for (size_t k = 0; k < q->n; k++) {
        dukd_yaml_element e[DUKD_YAML_MAX_PATH];
        const size_t n = dukd_yaml_pattern_split(q->known[k].pattern, e);
        for (size_t i = 1; i <= n; i++) {
            const unsigned cost = cost_of(q, e, i);
            if (cost < best.cost) best = (guess){cost, q->known[k].pattern, i};
        }
    }
    return best;
}

/* The guess as a path that can be typed: wildcards filled from the file where it goes the same way. */
static void write_guess(const question *q, const guess *g, char *buf, size_t size) {
    dukd_yaml_element e[DUKD_YAML_MAX_PATH];
    dukd_yaml_pattern_split(g->pattern, e);
    bool same = true;
    size_t n = 0;
    buf[0] = 0;
    for (size_t i = 0; i < g->elements && n < size; i++) {
        const bool wild = memchr(e[i].text, '*', e[i].size);
        same = same && i + 1 < q->depth && dukd_yaml_element_matches(e[i], q->path[i]);
        const char *text = e[i].text;
        size_t length = e[i].size;
        if (wild && same) {
            text = q->path[i];
            length = strlen(text);
        } else if (wild && length == 1) {
            text = "NAME";
            length = 4;
        } else if (wild) {
            length = strcspn(text, "*"); /* "val*": val */
        }
        n += (size_t)snprintf(buf + n, size - n, "%s%.*s", i ? "." : "", (int)length, text);
    }
}

/* The keys that the section of the unknown one does have, as many as fit into a line. */
static void list_keys(const question *q, char *buf, size_t size) {
    size_t n = 0, shown = 0;
    buf[0] = 0;
    for (size_t k = 0; k < q->n; k++) {
        dukd_yaml_element e[DUKD_YAML_MAX_PATH], earlier[DUKD_YAML_MAX_PATH];
        const size_t elements = dukd_yaml_pattern_split(q->known[k].pattern, e), at = q->depth - 1;
        if (elements <= at || memchr(e[at].text, '*', e[at].size)) continue;
        if (dukd_yaml_pattern_match(q->known[k].pattern, q->path, at) != DUKD_YAML_IS_SECTION) continue;
        bool again = false;
        for (size_t j = 0; j < k && !again; j++) {
            again = dukd_yaml_pattern_split(q->known[j].pattern, earlier) > at &&
                    earlier[at].size == e[at].size && memcmp(earlier[at].text, e[at].text, e[at].size) == 0 &&
                    dukd_yaml_pattern_match(q->known[j].pattern, q->path, at) == DUKD_YAML_IS_SECTION;
        }
        if (again) continue;
        if (shown == 12 || n + e[at].size + 8 > size) {
            snprintf(buf + n, size - n, ", ...");
            return;
        }
        n += (size_t)snprintf(buf + n, size - n, "%s%.*s", shown++ ? ", " : "", (int)e[at].size, e[at].text);
    }
}

void dukd_yaml_guess(const dukd_yaml_known *known, size_t n, const char *const *path, size_t depth,
                     char *hint, size_t size) {
    const question q = {known, n, path, depth};
    const guess g = nearest(&q);
    char text[256];
    if (g.pattern) {
        write_guess(&q, &g, text, sizeof text);
        snprintf(hint, size, g.cost >= 20 && g.cost < 40 ? "there is %s: move it there" : "did you mean %s?",
                 text);
    } else {
        list_keys(&q, text, sizeof text);
        snprintf(hint, size, *text ? "known here: %s" : "no key is like it", text);
    }
}
