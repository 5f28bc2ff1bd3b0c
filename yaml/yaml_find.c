/* Finding a node by its dotted path. */
#include <string.h>

#include "yaml_tree.h"

/* Walks down to `path`. False: something on the way is no section (error set). *found is NULL where it ends early. */
static bool walk(const dukd_yaml_node *from, const char *path, const dukd_yaml_node **found,
                 dukd_yaml_error *error) {
    const dukd_yaml_node *node = from;
    *found = NULL;
    while (*path) {
        const size_t size = strcspn(path, ".");
        if (node->kind == DUKD_YAML_SCALAR) {
            if (node->type == DUKD_YAML_NULL) return true;
            char what[DUKD_YAML_DESCRIPTION];
            dukd_yaml_describe(node, what);
            return dukd_yaml_fail_at(error, node, "expected a section (with the key %.*s in it), found %s",
                                     (int)size, path, what);
        }
        node = dukd_yaml_node_child(node, path, size);
        if (!node) return true;
        path += size;
        path += *path == '.';
    }
    *found = node;
    return true;
}

const dukd_yaml_node *dukd_yaml_find(const dukd_yaml_node *from, const char *path) {
    const dukd_yaml_node *node;
    return walk(from, path, &node, NULL) ? node : NULL;
}

bool dukd_yaml_is_null(const dukd_yaml_node *from, const char *path) {
    const dukd_yaml_node *node = dukd_yaml_find(from, path);
    return node && node->kind == DUKD_YAML_SCALAR && node->type == DUKD_YAML_NULL;
}

bool dukd_yaml_look_up(const dukd_yaml_node *from, const char *path, const dukd_yaml_node **found,
                       dukd_yaml_error *error) {
    if (!walk(from, path, found, error)) return false;
    if (*found && (*found)->kind == DUKD_YAML_SCALAR && (*found)->type == DUKD_YAML_NULL) *found = NULL;
    return true;
}

const dukd_yaml_node *dukd_yaml_require(const dukd_yaml_node *from, const char *path,
                                        dukd_yaml_error *error) {
    const dukd_yaml_node *node, *section = from;
    if (!dukd_yaml_look_up(from, path, &node, error) || node) return node;
    const dukd_yaml_node *empty;
    if (walk(from, path, &empty, NULL) && empty) {
        dukd_yaml_fail_at(error, empty, "is null, but it is required");
        return NULL;
    }
    const char *rest = path; /* the part below the deepest section that exists */
    for (;;) {
        const size_t size = strcspn(rest, ".");
        const dukd_yaml_node *child = dukd_yaml_node_child(section, rest, size);
        if (!child || child->kind == DUKD_YAML_SCALAR) break;
        section = child;
        rest += size + 1;
    }
    char above[256];
    dukd_yaml_path_text(section, above, sizeof above);
    if (*above) {
        dukd_yaml_fail(
            error, DUKD_YAML_WRONG, &section->key_place,
            "the required option %s.%s is missing; it belongs into the section %s that begins here", above,
            rest, above);
    } else {
        const dukd_yaml_place file = {section->place.file, 0, 0};
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &file, "the required option %s is missing", rest);
    }
    return NULL;
}
