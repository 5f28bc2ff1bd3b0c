/* Is every key of a file known to somebody? */
#include <stdio.h>
#include <string.h>

#include "yaml_pattern.h"
#include "yaml_tree.h"

typedef struct {
    const dukd_yaml_known *known;
    size_t n;
    dukd_yaml_warn warn;
    void *ctx;
    const char *path[DUKD_YAML_MAX_PATH]; /* the keys down to the node at hand */
    size_t depth;
    const dukd_yaml_node *unknown[4]; /* the first few */
    size_t n_unknown;
    dukd_yaml_error *error;
} check;

/* The unknown key at hand: the first one fills the error. */
static void found_unknown(check *c, const dukd_yaml_node *node) {
    if (c->n_unknown < sizeof c->unknown / sizeof *c->unknown) c->unknown[c->n_unknown] = node;
    if (c->n_unknown++ || !c->error) return;
    char path[256], hint[320];
    dukd_yaml_path_text(node, path, sizeof path);
    dukd_yaml_guess(c->known, c->n, c->path, c->depth, hint, sizeof hint);
    dukd_yaml_fail(c->error, DUKD_YAML_WRONG, &node->key_place, "unknown option %s; %s", path, hint);
}

static void tell_ignored(const check *c, const dukd_yaml_node *node, const char *why) {
    char path[256], message[1024];
    if (!c->warn) return;
    dukd_yaml_path_text(node, path, sizeof path);
    const dukd_yaml_place at = node->key_place;
    snprintf(message, sizeof message, "%.255s:%u:%u: %s is ignored: %s", at.file, at.line, at.column, path,
             why);
    c->warn(c->ctx, message);
}

/* What all patterns together say of the path at hand; *ignored: why nobody reads it, NULL where somebody does. */
static dukd_yaml_match match_all(const check *c, bool *section, const char **ignored) {
    dukd_yaml_match best = DUKD_YAML_NO_MATCH;
    *section = false;
    *ignored = NULL;
    for (size_t k = 0; k < c->n; k++) {
        const dukd_yaml_match m = dukd_yaml_pattern_match(c->known[k].pattern, c->path, c->depth);
        if (m == DUKD_YAML_IS_SECTION) *section = true;
        if (m >= DUKD_YAML_IS_VALUE &&
            (best < DUKD_YAML_IS_VALUE || *ignored)) { /* read by one is read, whoever ignores it */
            *ignored = c->known[k].ignored;
            best = m;
        } else if (m > best) {
            best = m;
        }
    }
    return best;
}

/* False: a value where a section belongs, or the reverse (error set). */
static bool check_node(check *c, const dukd_yaml_node *node) {
    const bool null = node->kind == DUKD_YAML_SCALAR && node->type == DUKD_YAML_NULL;
    bool section = true, below = node->kind == DUKD_YAML_MAPPING;
    for (size_t i = 0; i < node->count; i++) below |= node->items[i]->kind == DUKD_YAML_MAPPING;
    if (c->depth) {
        const char *ignored;
        const dukd_yaml_match m = match_all(c, &section, &ignored);
        if (m == DUKD_YAML_NO_MATCH) found_unknown(c, node);
        if (m >= DUKD_YAML_IS_VALUE && ignored && !null) tell_ignored(c, node, ignored);
        if (m == DUKD_YAML_NO_MATCH || m == DUKD_YAML_IS_ANYTHING || null ||
            (m == DUKD_YAML_IS_VALUE && ignored && !section))
            return true;
        if (c->n_unknown == 0 && below != section && !(m == DUKD_YAML_IS_VALUE && !below)) {
            char what[DUKD_YAML_DESCRIPTION];
            dukd_yaml_describe(node, what);
            return dukd_yaml_fail_at(
                c->error, node, "expected %s, found %s",
                section ? "a section (its keys indented in the lines below it)" : "a value", what);
        }
    }
    for (size_t i = 0; below && section && i < node->count; i++) {
        char position[24];
        snprintf(position, sizeof position, "%zu", i);
        c->path[c->depth++] = node->items[i]->key ? node->items[i]->key : position;
        const bool ok = check_node(c, node->items[i]);
        c->depth--;
        if (!ok) return false;
    }
    return true;
}

bool dukd_yaml_check_keys(const dukd_yaml_node *root, const dukd_yaml_known *known, size_t n,
                          dukd_yaml_warn warn, void *ctx, dukd_yaml_error *error) {
    check c = {.known = known, .n = n, .warn = warn, .ctx = ctx, .error = error};
    if (!check_node(&c, root)) return false;
    for (size_t i = 1; i < c.n_unknown && error; i++) {
        const size_t used = strlen(error->message), room = sizeof error->message - used;
        if (i == sizeof c.unknown / sizeof *c.unknown) {
            snprintf(error->message + used, room, " and %zu more", c.n_unknown - i);
            break;
        }
        char path[256];
        dukd_yaml_path_text(c.unknown[i], path, sizeof path);
        snprintf(error->message + used, room, "%s %s (line %u)", i == 1 ? "; unknown too:" : ",", path,
                 c.unknown[i]->key_place.line);
    }
    return c.n_unknown == 0;
}
