/* Overrides: --set, --force_yml, and values that a program puts in. */
#include <stdio.h>
#include <string.h>

#include "yaml_tree.h"

/* How an argument is read. */
typedef struct {
    const char *option;  /* "--set", for messages */
    const char *example; /* what an argument looks like */
    char separator;      /* between the keys of the path */
    bool none;           /* "none" is null (BasicSR) */
} syntax;

/* BasicSR writes None, also inside lists. */
static void none_to_null(dukd_yaml_node *node) {
    static const char *const words[] = {"none", "None", "NONE"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (node->kind == DUKD_YAML_SCALAR && !node->quoted && !node->tag &&
            strcmp(node->text, words[i]) == 0) {
            node->type = DUKD_YAML_NULL;
            node->text = "~";
        }
    }
    for (size_t i = 0; i < node->count; i++) none_to_null(node->items[i]);
}

/* The value text[size] as a node without parent. */
static dukd_yaml_node *read_value(dukd_yaml *y, const char *text, size_t size, dukd_yaml_place place,
                                  bool none, unsigned depth, dukd_yaml_error *error) {
    while (size && (*text == ' ' || *text == '\t')) text++, size--, place.column++;
    while (size && (text[size - 1] == ' ' || text[size - 1] == '\t')) size--;
    dukd_yaml_node *node;
    if (size && strchr("['\"!", *text)) {
        node = dukd_yaml_parse(y, text, size, place.file, depth, place.column - 1, error);
        if (node && node->kind == DUKD_YAML_MAPPING) {
            dukd_yaml_fail(error, DUKD_YAML_WRONG, &place,
                           "a value is a scalar or a list; set the keys of a section one by one");
            return NULL;
        }
    } else {
        if (!dukd_yaml_text_check(text, size, place, error)) return NULL;
        node = dukd_yaml_node_new(y, DUKD_YAML_SCALAR, place, error);
        if (!node) return NULL;
        node->text = dukd_yaml_keep(y, text, size, error);
        if (!node->text) return NULL;
        if (!dukd_yaml_scalar_settle(node, error)) return NULL;
    }
    if (node && none) none_to_null(node);
    return node;
}

/* The node becomes `value`, under its old key and parent. */
static void replace(dukd_yaml_node *node, const dukd_yaml_node *value) {
    const dukd_yaml_node old = *node;
    *node = *value;
    node->parent = old.parent;
    node->key = old.key;
    node->key_place = old.key_place;
    for (size_t i = 0; i < node->count; i++) node->items[i]->parent = node;
}

/* The child of `node` with the key text[size]; made as a null where it is missing. */
static dukd_yaml_node *child_for(dukd_yaml *y, dukd_yaml_node *node, const char *text, size_t size,
                                 dukd_yaml_place place, dukd_yaml_error *error) {
    char path[256], what[DUKD_YAML_DESCRIPTION];
    dukd_yaml_path_text(node, path, sizeof path);
    if (node->kind == DUKD_YAML_SCALAR && node->type != DUKD_YAML_NULL) {
        dukd_yaml_describe(node, what);
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &place, "%s has no keys: it is %s (%s:%u:%u)", path, what,
                       node->place.file, node->place.line, node->place.column);
        return NULL;
    }
    if (node->kind == DUKD_YAML_SCALAR) { /* a null becomes a section */
        node->kind = DUKD_YAML_MAPPING;
        node->type = DUKD_YAML_STRING;
        node->tag = DUKD_YAML_TAG_NONE;
        node->text = "";
        node->place = place;
    }
    dukd_yaml_node *child = dukd_yaml_node_child(node, text, size);
    if (child) return child;
    if (node->kind == DUKD_YAML_LIST) {
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &place,
                       "%s is a list of %zu: its elements are 0 to %zu, not \"%.*s\"", path, node->count,
                       node->count ? node->count - 1 : 0, (int)size, text);
        return NULL;
    }
    child = dukd_yaml_node_new(y, DUKD_YAML_SCALAR, place, error);
    if (!child) return NULL;
    child->type = DUKD_YAML_NULL;
    child->key = dukd_yaml_keep(y, text, size, error);
    return child->key && dukd_yaml_node_append(y, node, child, error) ? child : NULL;
}

/* Are the keys of path[size] well-formed and not too many? `place` is that of its first byte; *depth is their number. */
static bool path_check(const char *path, size_t size, char separator, dukd_yaml_place place, unsigned *depth,
                       dukd_yaml_error *error) {
    *depth = 0;
    for (size_t i = 0; i <= size; ++*depth) {
        const char *end = memchr(path + i, separator, size - i);
        const size_t n = end ? (size_t)(end - path) - i : size - i;
        if (!dukd_yaml_key_check(path + i, n, place, error)) return false;
        place.column += dukd_yaml_columns(path + i, n) + 1;
        i += n + 1;
    }
    if (*depth < DUKD_YAML_MAX_DEPTH) return true;
    return dukd_yaml_fail(error, DUKD_YAML_WRONG, &place, "a path of more than %d keys", DUKD_YAML_MAX_DEPTH);
}

/* Puts `value` at path[size]. Where what is there forbids it, nothing has changed. */
static bool put(dukd_yaml *y, const char *path, size_t size, char separator, const dukd_yaml_node *value,
                dukd_yaml_place place, dukd_yaml_error *error) {
    dukd_yaml_node *node = y->root;
    for (size_t i = 0; i <= size;) {
        const char *end = memchr(path + i, separator, size - i);
        const size_t n = end ? (size_t)(end - path) - i : size - i;
        node = child_for(y, node, path + i, n, place, error);
        if (!node) return false;
        i += n + 1;
    }
    replace(node, value);
    return true;
}

static bool override(dukd_yaml *y, const syntax *s, unsigned number, const char *argument,
                     dukd_yaml_error *error) {
    char name[64];
    snprintf(name, sizeof name, "%s argument %u", s->option, number);
    dukd_yaml_place place = {dukd_yaml_keep(y, name, strlen(name), error), 1, 1};
    if (!place.file) return false;
    const char *equals = strchr(argument, '=');
    if (!equals || equals == argument) {
        return dukd_yaml_fail(error, DUKD_YAML_WRONG, &place, "\"%.100s\" is not of the form %s", argument,
                              s->example);
    }
    unsigned depth;
    size_t size = (size_t)(equals - argument);
    while (size && argument[size - 1] == ' ') size--;
    if (!dukd_yaml_text_check(argument, size, place, error) ||
        !path_check(argument, size, s->separator, place, &depth, error)) {
        return false;
    }
    const dukd_yaml_place value_place = {place.file, 1,
                                         dukd_yaml_columns(argument, (size_t)(equals - argument)) + 2};
    const dukd_yaml_node *value =
        read_value(y, equals + 1, strlen(equals + 1), value_place, s->none, depth, error);
    return value && put(y, argument, size, s->separator, value, place, error);
}

bool dukd_yaml_set(dukd_yaml *yaml, unsigned number, const char *argument, dukd_yaml_error *error) {
    static const syntax s = {"--set", "path.key=value, like train.total_iter=1000", '.', false};
    return override(yaml, &s, number, argument, error);
}

bool dukd_yaml_force(dukd_yaml *yaml, unsigned number, const char *argument, dukd_yaml_error *error) {
    static const syntax s = {"--force_yml", "path:key=value, like train:total_iter=1000", ':', true};
    return override(yaml, &s, number, argument, error);
}

bool dukd_yaml_put(dukd_yaml *yaml, const char *path, const char *value, const char *origin,
                   dukd_yaml_error *error) {
    const dukd_yaml_place place = {dukd_yaml_keep(yaml, origin, strlen(origin), error), 1, 1};
    unsigned depth;
    if (!place.file || !path_check(path, strlen(path), '.', place, &depth, error)) return false;
    const dukd_yaml_node *node = read_value(yaml, value, strlen(value), place, false, depth, error);
    return node && put(yaml, path, strlen(path), '.', node, place, error);
}
