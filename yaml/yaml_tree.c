/* The tree: making nodes within the limits, walking, paths, comparing. */
#include "yaml_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dukd_yaml *dukd_yaml_create(dukd_yaml_error *error) {
    dukd_yaml *y = calloc(1, sizeof *y);
    if (!y) dukd_yaml_fail_memory(error);
    return y;
}

void dukd_yaml_destroy(dukd_yaml *yaml) {
    if (!yaml) return;
    dukd_yaml_arena_free(&yaml->arena);
    free(yaml);
}

dukd_yaml_node *dukd_yaml_node_new(dukd_yaml *y, dukd_yaml_kind kind, dukd_yaml_place place,
                                   dukd_yaml_error *error) {
    if (y->nodes >= DUKD_YAML_MAX_NODES) {
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &place,
                       "more than %d values (aliases count each time they are used)", DUKD_YAML_MAX_NODES);
        return NULL;
    }
    dukd_yaml_node *node = dukd_yaml_arena_alloc(&y->arena, sizeof *node);
    if (!node) {
        dukd_yaml_fail_memory(error);
        return NULL;
    }
    y->nodes++;
    node->kind = kind;
    node->type = DUKD_YAML_STRING;
    node->place = node->key_place = place;
    node->text = "";
    return node;
}

bool dukd_yaml_node_append(dukd_yaml *y, dukd_yaml_node *parent, dukd_yaml_node *child,
                           dukd_yaml_error *error) {
    if (parent->count == parent->room) {
        const size_t room = parent->room ? parent->room * 2 : 4; /* bounded by the number of nodes */
        dukd_yaml_node **items = dukd_yaml_arena_alloc(&y->arena, room * sizeof *items);
        if (!items) return dukd_yaml_fail_memory(error);
        if (parent->count) memcpy(items, parent->items, parent->count * sizeof *items);
        parent->items = items;
        parent->room = room;
    }
    parent->items[parent->count++] = child;
    child->parent = parent;
    return true;
}

static dukd_yaml_node *copy_below(dukd_yaml *y, const dukd_yaml_node *node, unsigned depth,
                                  dukd_yaml_error *error) {
    if (depth > DUKD_YAML_MAX_DEPTH) {
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &node->place, "nested deeper than %d levels",
                       DUKD_YAML_MAX_DEPTH);
        return NULL;
    }
    dukd_yaml_node *copy = dukd_yaml_node_new(y, node->kind, node->place, error);
    if (!copy) return NULL;
    copy->type = node->type;
    copy->tag = node->tag;
    copy->quoted = node->quoted;
    copy->text = node->text;
    for (size_t i = 0; i < node->count; i++) {
        dukd_yaml_node *child = copy_below(y, node->items[i], depth + 1, error);
        if (!child) return NULL;
        child->key = node->items[i]->key;
        child->key_place = node->items[i]->key_place;
        if (!dukd_yaml_node_append(y, copy, child, error)) return NULL;
    }
    return copy;
}

dukd_yaml_node *dukd_yaml_node_copy(dukd_yaml *y, const dukd_yaml_node *node, unsigned depth,
                                    dukd_yaml_place at, dukd_yaml_error *error) {
    dukd_yaml_error inner;
    dukd_yaml_node *copy = copy_below(y, node, depth, &inner);
    if (copy) return copy;
    if (inner.status != DUKD_YAML_WRONG) {
        dukd_yaml_fail_memory(error);
    } else {
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &at,
                       "what this refers to makes more than %d values in all, or nests deeper than %d levels",
                       DUKD_YAML_MAX_NODES, DUKD_YAML_MAX_DEPTH);
    }
    return NULL;
}

bool dukd_yaml_position_read(const char *text, size_t size, size_t *position) {
    size_t p = 0;
    if (size == 0 || size > 9) return false; /* nine digits: more than any list has, and no overflow */
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        p = p * 10 + (size_t)(text[i] - '0');
    }
    *position = p;
    return true;
}

dukd_yaml_node *dukd_yaml_node_child(const dukd_yaml_node *node, const char *text, size_t size) {
    size_t position;
    if (node->kind == DUKD_YAML_LIST) {
        if (!dukd_yaml_position_read(text, size, &position) || position >= node->count) return NULL;
        return node->items[position];
    }
    for (size_t i = 0; i < node->count; i++) {
        if (strncmp(node->items[i]->key, text, size) == 0 && !node->items[i]->key[size])
            return node->items[i];
    }
    return NULL;
}

bool dukd_yaml_key_check(const char *text, size_t size, dukd_yaml_place place, dukd_yaml_error *error) {
    if (size == 0) return dukd_yaml_fail(error, DUKD_YAML_WRONG, &place, "a key is missing (empty) here");
    if (size > DUKD_YAML_MAX_KEY) {
        return dukd_yaml_fail(error, DUKD_YAML_WRONG, &place, "a key of %zu bytes; %d are allowed", size,
                              DUKD_YAML_MAX_KEY);
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return dukd_yaml_fail(error, DUKD_YAML_WRONG, &place, "a key with a control character");
        }
        if (text[i] == '.') {
            return dukd_yaml_fail(
                error, DUKD_YAML_WRONG, &place,
                "the key \"%.*s\" contains a dot, which separates keys in paths; name it without", (int)size,
                text);
        }
    }
    return true;
}

char *dukd_yaml_keep(dukd_yaml *y, const char *text, size_t size, dukd_yaml_error *error) {
    char *kept = dukd_yaml_arena_text(&y->arena, text, size);
    if (!kept) dukd_yaml_fail_memory(error);
    return kept;
}

const dukd_yaml_node *dukd_yaml_root(const dukd_yaml *yaml) {
    return yaml->root;
}
dukd_yaml_kind dukd_yaml_node_kind(const dukd_yaml_node *node) {
    return node->kind;
}
const char *dukd_yaml_node_key(const dukd_yaml_node *node) {
    return node->key;
}
dukd_yaml_place dukd_yaml_node_place(const dukd_yaml_node *node) {
    return node->place;
}
dukd_yaml_place dukd_yaml_node_key_place(const dukd_yaml_node *node) {
    return node->key_place;
}
size_t dukd_yaml_node_count(const dukd_yaml_node *node) {
    return node->count;
}
const dukd_yaml_node *dukd_yaml_node_at(const dukd_yaml_node *node, size_t i) {
    return node->items[i];
}
const char *dukd_yaml_node_text(const dukd_yaml_node *node) {
    return node->text;
}
dukd_yaml_type dukd_yaml_node_type(const dukd_yaml_node *node) {
    return node->type;
}
bool dukd_yaml_node_quoted(const dukd_yaml_node *node) {
    return node->quoted;
}
dukd_yaml_tag dukd_yaml_node_tag(const dukd_yaml_node *node) {
    return node->tag;
}

/* Appends to buf at *n, as much as fits; *n counts all. */
static void add(char *buf, size_t size, size_t *n, const char *text) {
    const size_t length = strlen(text);
    for (size_t i = 0; i < length; i++, ++*n) {
        if (*n + 1 < size) buf[*n] = text[i];
    }
}

/* Writes the path; returns its length, also where it does not fit. */
static size_t path_write(const dukd_yaml_node *node, char *buf, size_t size) {
    size_t n = 0;
    if (node->parent) {
        n = path_write(node->parent, buf, size);
        if (n) add(buf, size, &n, ".");
        char number[24];
        const char *name = node->key;
        if (!name) {
            size_t i = 0;
            while (i < node->parent->count && node->parent->items[i] != node) i++;
            snprintf(number, sizeof number, "%zu", i);
            name = number;
        }
        add(buf, size, &n, name);
    }
    if (size) buf[n < size ? n : size - 1] = 0;
    return n;
}

void dukd_yaml_path_text(const dukd_yaml_node *node, char *buf, size_t size) {
    path_write(node, buf, size);
}

char *dukd_yaml_node_path(const dukd_yaml_node *node) {
    const size_t n = path_write(node, NULL, 0);
    char *path = malloc(n + 1);
    if (path) path_write(node, path, n + 1);
    return path;
}

bool dukd_yaml_equal(const dukd_yaml_node *a, const dukd_yaml_node *b) {
    if (a->kind != b->kind || a->count != b->count) return false;
    if (a->kind == DUKD_YAML_SCALAR) {
        double v; /* of two equal texts one may be quoted, and no number */
        return a->type == b->type && (a->type == DUKD_YAML_NULL || strcmp(a->text, b->text) == 0) &&
               dukd_yaml_number(a, &v) == dukd_yaml_number(b, &v);
    }
    for (size_t i = 0; i < a->count; i++) {
        const dukd_yaml_node *x = a->items[i], *y = b->items[i];
        if (a->kind == DUKD_YAML_MAPPING && strcmp(x->key, y->key) != 0) return false;
        if (!dukd_yaml_equal(x, y)) return false;
    }
    return true;
}
