/* Duplicate keys, and merge keys ("<<: *defaults"), by sorting: a hostile file must not make this quadratic. */
#include <stdlib.h>
#include <string.h>

#include "yaml_tree.h"

typedef struct {
    dukd_yaml_node *node;
    size_t order; /* its own keys come first, then the sources' in their order */
} entry;

static int by_key(const void *a, const void *b) {
    const entry *x = a, *y = b;
    const int c = strcmp(x->node->key, y->node->key);
    return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

static int by_order(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

bool dukd_yaml_unite(dukd_yaml *y, dukd_yaml_node *mapping, dukd_yaml_node *const *sources, size_t n,
                     unsigned depth, dukd_yaml_error *error) {
    const size_t own = mapping->count;
    size_t total = own, kept = 0;
    for (size_t i = 0; i < n; i++) {
        total += sources[i]->count;
        if (total > DUKD_YAML_MAX_NODES) {
            return dukd_yaml_fail(error, DUKD_YAML_WRONG, &mapping->place,
                                  "merge keys (<<) bring in more than %d keys", DUKD_YAML_MAX_NODES);
        }
    }
    if (total == 0) return true;
    entry *entries = malloc(total * sizeof *entries);
    if (!entries) return dukd_yaml_fail_memory(error);
    size_t k = 0;
    for (; k < own; k++) entries[k] = (entry){mapping->items[k], k};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < sources[i]->count; j++, k++) entries[k] = (entry){sources[i]->items[j], k};
    }
    qsort(entries, total, sizeof *entries, by_key);
    bool ok = true;
    const dukd_yaml_node *first = NULL;
    entry second = {NULL, 0}; /* the duplicate that comes first in the file */
    for (size_t i = 0; i < total; i++) {
        if (kept == 0 || strcmp(entries[kept - 1].node->key, entries[i].node->key) != 0) {
            entries[kept++] = entries[i];
        } else if (entries[i].order < own && (!second.node || entries[i].order < second.order)) {
            first = entries[kept - 1].node;
            second = entries[i];
        }
    }
    if (second.node) {
        ok = dukd_yaml_fail(
            error, DUKD_YAML_WRONG, &second.node->key_place,
            "the key \"%s\" is here a second time; the first is in line %u, column %u: remove one",
            second.node->key, first->key_place.line, first->key_place.column);
        goto done;
    }
    qsort(entries, kept, sizeof *entries, by_order);
    for (size_t i = own; i < kept && ok; i++) {
        dukd_yaml_node *copy = dukd_yaml_node_copy(y, entries[i].node, depth + 1, mapping->place, error);
        if (copy) {
            copy->key = entries[i].node->key;
            copy->key_place = entries[i].node->key_place;
        }
        ok = copy && dukd_yaml_node_append(y, mapping, copy, error);
    }
done:
    free(entries);
    return ok;
}
