/* Patterns of known keys against paths. */
#include "yaml_pattern.h"

#include <string.h>

size_t dukd_yaml_pattern_split(const char *pattern, dukd_yaml_element out[DUKD_YAML_MAX_PATH]) {
    size_t n = 0;
    while (n < DUKD_YAML_MAX_PATH) {
        const size_t size = strcspn(pattern, ".");
        out[n++] = (dukd_yaml_element){pattern, size};
        if (!pattern[size]) break;
        pattern += size + 1;
    }
    return n;
}

static bool is_rest(dukd_yaml_element e) {
    return e.size == 2 && e.text[0] == '*' && e.text[1] == '*';
}

/* Does the pattern's element match the key? '*' stands for any characters, also none. */
bool dukd_yaml_element_matches(dukd_yaml_element e, const char *key) {
    const char *p = e.text, *end = e.text + e.size, *star = NULL, *retry = NULL;
    while (*key) {
        if (p < end && *p == '*') {
            star = ++p;
            retry = key;
        } else if (p < end && *p == *key) {
            p++;
            key++;
        } else if (star) {
            p = star;
            key = ++retry;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*') p++;
    return p == end;
}

dukd_yaml_match dukd_yaml_pattern_match(const char *pattern, const char *const *path, size_t depth) {
    dukd_yaml_element e[DUKD_YAML_MAX_PATH];
    const size_t n = dukd_yaml_pattern_split(pattern, e);
    for (size_t i = 0; i < depth; i++) {
        if (i == n) return DUKD_YAML_NO_MATCH;
        if (i == n - 1 && is_rest(e[i])) return DUKD_YAML_IS_ANYTHING;
        if (!dukd_yaml_element_matches(e[i], path[i])) return DUKD_YAML_NO_MATCH;
    }
    return n > depth ? DUKD_YAML_IS_SECTION : DUKD_YAML_IS_VALUE;
}
