/* The nearest of a list of names. */
#include "common/nearest.h"

#include <string.h>

#include "dukd_yaml.h"

int32_t dukd_nearest(const char *name, const char *const *names, int32_t count, size_t stride) {
    size_t length = strlen(name);
    if (length == 0 || length >= DUKD_YAML_WORD) return -1;
    unsigned best = (unsigned)(length + 2) / 3 + 1;
    int32_t found = -1;
    for (int32_t i = 0; i < count; i++) {
        const char *other = *(const char *const *)((const char *)names + (size_t)i * stride);
        size_t other_length = strlen(other);
        if (other_length >= DUKD_YAML_WORD) continue;
        const unsigned d = dukd_yaml_distance(name, length, other, other_length);
        if (d >= best) continue;
        best = d;
        found = i;
    }
    return found;
}
