/* All values of a tree as a flat list: what a host hands to a plugin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yaml_tree.h"

typedef struct {
    dukd_yaml_flat flat; /* first: what the caller holds is this */
    dukd_yaml_leaf *leaves;
    size_t room;
    dukd_yaml_arena arena;
} flat_list;

/* The value as a program reads it that knows no YAML. NULL without memory. */
static const char *canonical(flat_list *f, const dukd_yaml_node *s) {
    char number[DUKD_YAML_NUMBER];
    dukd_yaml_int integer;
    bool b;
    double d;
    const char *text = s->text;
    if (s->type == DUKD_YAML_NULL) return "~";
    if (s->type == DUKD_YAML_BOOL && dukd_yaml_read_bool(text, &b)) return b ? "true" : "false";
    if (s->type == DUKD_YAML_INT && dukd_yaml_read_int(text, &integer) && !integer.overflow) {
        dukd_yaml_print_int(integer, number);
        return dukd_yaml_arena_text(&f->arena, number, strlen(number));
    }
    /* A float that C reads the same stays as it is written: 0.1 and not 0.10000000000000001. */
    const bool known = strspn(text, "+-.0123456789eE") == strlen(text);
    if (!known && dukd_yaml_number(s, &d)) {
        dukd_yaml_print_double(d, number);
        return dukd_yaml_arena_text(&f->arena, number, strlen(number));
    }
    return text; /* lives in the document */
}

static bool add_leaf(flat_list *f, const dukd_yaml_node *node) {
    if (f->flat.count == f->room) {
        const size_t room = f->room ? f->room * 2 : 64; /* bounded by the number of nodes */
        dukd_yaml_leaf *leaves = realloc(f->leaves, room * sizeof *leaves);
        if (!leaves) return false;
        f->leaves = leaves;
        f->flat.leaves = leaves;
        f->room = room;
    }
    const bool list = node->kind == DUKD_YAML_LIST;
    const bool null = !list && node->type == DUKD_YAML_NULL;
    const size_t n = list ? node->count : !null;
    const char **values = dukd_yaml_arena_alloc(&f->arena, (n ? n : 1) * sizeof *values);
    char *path = dukd_yaml_node_path(node);
    char *key = path ? dukd_yaml_arena_text(&f->arena, path, strlen(path)) : NULL;
    const size_t place_size = strlen(node->place.file) + 32;
    char *place = dukd_yaml_arena_alloc(&f->arena, place_size);
    free(path);
    if (!values || !key || !place) return false;
    snprintf(place, place_size, "%s:%u:%u", node->place.file, node->place.line, node->place.column);
    for (size_t i = 0; i < n; i++) {
        values[i] = canonical(f, list ? node->items[i] : node);
        if (!values[i]) return false;
    }
    f->leaves[f->flat.count++] = (dukd_yaml_leaf){key, place, list, null, values, n, node};
    return true;
}

static bool add_below(flat_list *f, const dukd_yaml_node *node) {
    bool leaf = node->kind != DUKD_YAML_MAPPING;
    for (size_t i = 0; i < node->count && node->kind == DUKD_YAML_LIST; i++) {
        leaf &= node->items[i]->kind == DUKD_YAML_SCALAR;
    }
    if (leaf) return add_leaf(f, node);
    for (size_t i = 0; i < node->count; i++) {
        if (!add_below(f, node->items[i])) return false;
    }
    return true;
}

dukd_yaml_flat *dukd_yaml_flatten(const dukd_yaml_node *from, dukd_yaml_error *error) {
    flat_list *f = calloc(1, sizeof *f);
    if (f && add_below(f, from)) return &f->flat;
    if (f) dukd_yaml_flat_destroy(&f->flat);
    dukd_yaml_fail_memory(error);
    return NULL;
}

void dukd_yaml_flat_destroy(dukd_yaml_flat *flat) {
    if (!flat) return;
    flat_list *f = (flat_list *)flat;
    dukd_yaml_arena_free(&f->arena);
    free(f->leaves);
    free(f);
}
