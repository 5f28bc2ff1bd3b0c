/* Patterns of known keys ("val.metrics.*.type") against paths, and which of them an unknown path may have meant. */
#ifndef DUKD_YAML_PATTERN_H
#define DUKD_YAML_PATTERN_H

#include "dukd_yaml.h"

enum { DUKD_YAML_MAX_PATH = DUKD_YAML_MAX_DEPTH + 1 }; /* elements */

/* One element of a pattern or path: text[size]. */
typedef struct {
    const char *text;
    size_t size;
} dukd_yaml_element;

/* ANYTHING: the pattern ends in "**", and the path is below that. */
typedef enum {
    DUKD_YAML_NO_MATCH,
    DUKD_YAML_IS_SECTION,
    DUKD_YAML_IS_VALUE,
    DUKD_YAML_IS_ANYTHING
} dukd_yaml_match;

/* Splits at dots; returns how many. More elements than fit are not looked at: no tree is that deep. */
size_t dukd_yaml_pattern_split(const char *pattern, dukd_yaml_element out[DUKD_YAML_MAX_PATH]);
bool dukd_yaml_element_matches(dukd_yaml_element e, const char *key);
/* What the pattern says of the path. */
dukd_yaml_match dukd_yaml_pattern_match(const char *pattern, const char *const *path, size_t depth);

/* Writes what to say of the unknown path: "did you mean train.ema_decay?", or the keys that are known there. */
void dukd_yaml_guess(const dukd_yaml_known *known, size_t n, const char *const *path, size_t depth,
                     char *hint, size_t size);

#endif
