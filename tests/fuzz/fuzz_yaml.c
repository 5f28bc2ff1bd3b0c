/* Any bytes as an option file, with an override behind a zero byte: refused with a place, or a tree that can be asked, checked,
 * flattened, and written so that it reads back equal. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dukd_yaml.h"
#include "fuzz.h"

static void check(int condition) {
    if (!condition) abort();
}

static void check_error(const dukd_yaml_error *e, const char *file) {
    check(e->status == DUKD_YAML_WRONG && strncmp(e->message, file, strlen(file)) == 0);
    for (const char *p = e->message; *p; p++) check((unsigned char)*p >= 0x20);
}

static void ask(const dukd_yaml_node *root, const dukd_yaml_leaf *leaf) {
    static const char *const choices[] = {"a", "b", NULL};
    double d;
    int64_t i, list[4];
    uint64_t u;
    bool b;
    size_t n;
    int choice;
    const char *text;
    dukd_yaml_error e;
    if (!dukd_yaml_get_double(root, leaf->key, -1e9, INFINITY, &d, &e)) check_error(&e, "");
    if (!dukd_yaml_get_int64(root, leaf->key, -10, 10, &i, &e)) check_error(&e, "");
    if (!dukd_yaml_get_uint64(root, leaf->key, 0, 10, &u, &e)) check_error(&e, "");
    if (!dukd_yaml_get_bool(root, leaf->key, &b, &e)) check_error(&e, "");
    if (!dukd_yaml_get_choice(root, leaf->key, choices, &choice, &e)) check_error(&e, "");
    if (!dukd_yaml_get_int64s(root, leaf->key, -10, 10, 0, 4, list, &n, &e)) check_error(&e, "");
    check(dukd_yaml_get_string(root, leaf->key, &text, &e) || leaf->is_list);
    check(dukd_yaml_find(root, leaf->key) == leaf->node);
    check(dukd_yaml_is_null(root, leaf->key) == leaf->is_null);
}

static void use(const dukd_yaml *y) {
    static const dukd_yaml_known known[] = {{"name", NULL},
                                            {"train.*.lr", NULL},
                                            {"datasets.val*.name", NULL},
                                            {"path.**", NULL},
                                            {"logger", "no reason"}};
    const dukd_yaml_node *root = dukd_yaml_root(y);
    dukd_yaml_error e;
    dukd_yaml_flat *flat = dukd_yaml_flatten(root, &e);
    check(flat != NULL);
    for (size_t i = 0; i < flat->count && i < 50; i++) ask(root, &flat->leaves[i]);
    if (!dukd_yaml_check_keys(root, known, sizeof known / sizeof *known, NULL, NULL, &e)) check_error(&e, "");
    size_t size = 0, size2 = 0;
    char *text = dukd_yaml_to_text(root, &size, &e), *json = dukd_yaml_to_json(root, NULL, &e);
    check(text && json);
    dukd_yaml *again = dukd_yaml_read_text(text, size, "written", &e);
    /* Quotes and indentation may make it larger than a file may be. */
    check(again || (e.status == DUKD_YAML_WRONG && size > DUKD_YAML_MAX_BYTES));
    if (again) {
        char *text2 = dukd_yaml_to_text(dukd_yaml_root(again), &size2, &e);
        check(dukd_yaml_equal(root, dukd_yaml_root(again)));
        check(text2 && size == size2 && memcmp(text, text2, size) == 0);
        free(text2);
    }
    dukd_yaml_destroy(again);
    free(text);
    free(json);
    dukd_yaml_flat_destroy(flat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t first = zero ? (size_t)(zero - data) : size;
    dukd_yaml_error e = {0};
    dukd_yaml *y = dukd_yaml_read_text((const char *)data, first, "input", &e);
    if (!y) {
        check_error(&e, "input:");
        check(e.line > 0 && e.column > 0);
        return 0;
    }
    check(dukd_yaml_node_kind(dukd_yaml_root(y)) == DUKD_YAML_MAPPING);
    use(y);
    if (zero) {
        char *argument = malloc(size - first);
        check(argument != NULL);
        memcpy(argument, zero + 1, size - first - 1);
        argument[size - first - 1] = 0;
        const bool set = dukd_yaml_set(y, 1, argument, &e);
        if (!set) check_error(&e, "--set argument 1:");
        if (!dukd_yaml_force(y, 2, argument, &e)) check_error(&e, "--force_yml argument 2:");
        use(y);
        free(argument);
    }
    dukd_yaml_destroy(y);
    return 0;
}
