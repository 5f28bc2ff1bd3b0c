/* Typed values by dotted path: one or a list, type and range checked. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "yaml_tree.h"

static bool unexpected(const dukd_yaml_node *node, dukd_yaml_error *error, const char *expected) {
    char what[DUKD_YAML_DESCRIPTION];
    dukd_yaml_describe(node, what);
    return dukd_yaml_fail_at(error, node, "expected %s, found %s", expected, what);
}

/* ---------------------------------------------------------------- one value of each type */

/* What an element must be; which fields count depends on `read`. */
typedef struct {
    int64_t int_min, int_max;
    uint64_t uint_min, uint_max;
    double min, max;
} limits;

/* Reads one scalar into *out. */
typedef bool (*read_value)(const dukd_yaml_node *node, const limits *limit, void *out,
                           dukd_yaml_error *error);

static bool read_bool(const dukd_yaml_node *node, const limits *limit, void *out, dukd_yaml_error *error) {
    (void)limit;
    if (node->kind == DUKD_YAML_SCALAR && node->type == DUKD_YAML_BOOL)
        return dukd_yaml_read_bool(node->text, out);
    return unexpected(node, error, "true or false");
}

static bool read_string(const dukd_yaml_node *node, const limits *limit, void *out, dukd_yaml_error *error) {
    (void)limit;
    if (node->kind != DUKD_YAML_SCALAR || node->type == DUKD_YAML_NULL)
        return unexpected(node, error, "a text");
    *(const char **)out = node->text;
    return true;
}

/* An integer, also one written as a float ("!!float 5e3"); false where it is none. */
static bool integer_of(const dukd_yaml_node *node, dukd_yaml_int *value) {
    double d;
    if (node->kind != DUKD_YAML_SCALAR || !dukd_yaml_number(node, &d) || d != floor(d) || isinf(d))
        return false;
    if (node->tag != DUKD_YAML_TAG_FLOAT && dukd_yaml_read_int(node->text, value)) return true;
    /* 2^64 and above do not fit; below, a whole double is exactly an integer. */
    *value = (dukd_yaml_int){.negative = d < 0, .overflow = fabs(d) >= 18446744073709551616.0};
    if (!value->overflow) value->magnitude = (uint64_t)fabs(d);
    return true;
}

static bool read_int64(const dukd_yaml_node *node, const limits *limit, void *out, dukd_yaml_error *error) {
    dukd_yaml_int v;
    if (integer_of(node, &v) && !v.overflow && v.magnitude <= (uint64_t)INT64_MAX + v.negative) {
        const int64_t i =
            v.negative ? (v.magnitude ? -(int64_t)(v.magnitude - 1) - 1 : 0) : (int64_t)v.magnitude;
        if (i >= limit->int_min && i <= limit->int_max) {
            *(int64_t *)out = i;
            return true;
        }
    }
    char expected[96];
    const long long low = limit->int_min, high = limit->int_max;
    if (low == INT64_MIN && high == INT64_MAX)
        snprintf(expected, sizeof expected, "an integer");
    else if (high == INT64_MAX)
        snprintf(expected, sizeof expected, "an integer of at least %lld", low);
    else
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", low, high);
    return unexpected(node, error, expected);
}

static bool read_uint64(const dukd_yaml_node *node, const limits *limit, void *out, dukd_yaml_error *error) {
    dukd_yaml_int v;
    if (integer_of(node, &v) && !v.overflow && !(v.negative && v.magnitude) &&
        v.magnitude >= limit->uint_min && v.magnitude <= limit->uint_max) {
        *(uint64_t *)out = v.magnitude;
        return true;
    }
    char expected[96];
    const unsigned long long low = limit->uint_min, high = limit->uint_max;
    if (high == UINT64_MAX)
        snprintf(expected, sizeof expected, "an integer of at least %llu", low);
    else
        snprintf(expected, sizeof expected, "an integer from %llu to %llu", low, high);
    return unexpected(node, error, expected);
}

static bool read_double(const dukd_yaml_node *node, const limits *limit, void *out, dukd_yaml_error *error) {
    double d;
    if (node->kind == DUKD_YAML_SCALAR && dukd_yaml_number(node, &d) && d >= limit->min && d <= limit->max) {
        *(double *)out = d;
        return true;
    }
    char low[DUKD_YAML_NUMBER], high[DUKD_YAML_NUMBER], expected[128];
    dukd_yaml_print_double(limit->min, low);
    dukd_yaml_print_double(limit->max, high);
    if (isinf(limit->min) && isinf(limit->max))
        snprintf(expected, sizeof expected, "a number");
    else if (isinf(limit->max))
        snprintf(expected, sizeof expected, "a number of at least %s", low);
    else if (isinf(limit->min))
        snprintf(expected, sizeof expected, "a number of at most %s", high);
    else
        snprintf(expected, sizeof expected, "a number from %s to %s", low, high);
    return unexpected(node, error, expected);
}

static bool get_one(const dukd_yaml_node *from, const char *path, read_value read, const limits *limit,
                    void *out, dukd_yaml_error *error) {
    const dukd_yaml_node *node;
    if (!dukd_yaml_look_up(from, path, &node, error)) return false;
    return !node || read(node, limit, out, error);
}

bool dukd_yaml_get_bool(const dukd_yaml_node *from, const char *path, bool *value, dukd_yaml_error *error) {
    return get_one(from, path, read_bool, NULL, value, error);
}

bool dukd_yaml_get_int64(const dukd_yaml_node *from, const char *path, int64_t min, int64_t max,
                         int64_t *value, dukd_yaml_error *error) {
    const limits r = {.int_min = min, .int_max = max};
    return get_one(from, path, read_int64, &r, value, error);
}

bool dukd_yaml_get_uint64(const dukd_yaml_node *from, const char *path, uint64_t min, uint64_t max,
                          uint64_t *value, dukd_yaml_error *error) {
    const limits r = {.uint_min = min, .uint_max = max};
    return get_one(from, path, read_uint64, &r, value, error);
}

bool dukd_yaml_get_double(const dukd_yaml_node *from, const char *path, double min, double max, double *value,
                          dukd_yaml_error *error) {
    const limits r = {.min = min, .max = max};
    return get_one(from, path, read_double, &r, value, error);
}

bool dukd_yaml_get_string(const dukd_yaml_node *from, const char *path, const char **value,
                          dukd_yaml_error *error) {
    return get_one(from, path, read_string, NULL, value, error);
}

bool dukd_yaml_get_choice(const dukd_yaml_node *from, const char *path, const char *const *choices,
                          int *value, dukd_yaml_error *error) {
    const dukd_yaml_node *node;
    if (!dukd_yaml_look_up(from, path, &node, error)) return false;
    if (!node) return true;
    char expected[256] = "one of";
    for (int i = 0; choices[i]; i++) {
        if (node->kind == DUKD_YAML_SCALAR && strcmp(node->text, choices[i]) == 0) {
            *value = i;
            return true;
        }
        const size_t n = strlen(expected);
        snprintf(expected + n, sizeof expected - n, "%s %s", i ? "," : "", choices[i]);
    }
    return unexpected(node, error, expected);
}

/* ---------------------------------------------------------------- lists */

static bool get_list(const dukd_yaml_node *from, const char *path, read_value read, const limits *limit,
                     size_t least, size_t room, void *values, size_t size, size_t *count,
                     dukd_yaml_error *error) {
    const dukd_yaml_node *node;
    if (!dukd_yaml_look_up(from, path, &node, error)) return false;
    if (!node) return true;
    if (node->kind != DUKD_YAML_LIST || node->count < least || node->count > room) {
        char expected[96];
        if (least == room)
            snprintf(expected, sizeof expected, "a list of %zu, like [a, b]", least);
        else
            snprintf(expected, sizeof expected, "a list of %zu to %zu, like [a, b]", least, room);
        return unexpected(node, error, expected);
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!read(node->items[i], limit, (char *)values + i * size, error)) return false;
    }
    *count = node->count;
    return true;
}

bool dukd_yaml_get_bools(const dukd_yaml_node *from, const char *path, size_t least, size_t room,
                         bool *values, size_t *count, dukd_yaml_error *error) {
    return get_list(from, path, read_bool, NULL, least, room, values, sizeof *values, count, error);
}

bool dukd_yaml_get_int64s(const dukd_yaml_node *from, const char *path, int64_t min, int64_t max,
                          size_t least, size_t room, int64_t *values, size_t *count, dukd_yaml_error *error) {
    const limits r = {.int_min = min, .int_max = max};
    return get_list(from, path, read_int64, &r, least, room, values, sizeof *values, count, error);
}

bool dukd_yaml_get_uint64s(const dukd_yaml_node *from, const char *path, uint64_t min, uint64_t max,
                           size_t least, size_t room, uint64_t *values, size_t *count,
                           dukd_yaml_error *error) {
    const limits r = {.uint_min = min, .uint_max = max};
    return get_list(from, path, read_uint64, &r, least, room, values, sizeof *values, count, error);
}

bool dukd_yaml_get_doubles(const dukd_yaml_node *from, const char *path, double min, double max, size_t least,
                           size_t room, double *values, size_t *count, dukd_yaml_error *error) {
    const limits r = {.min = min, .max = max};
    return get_list(from, path, read_double, &r, least, room, values, sizeof *values, count, error);
}

bool dukd_yaml_get_strings(const dukd_yaml_node *from, const char *path, size_t least, size_t room,
                           const char **values, size_t *count, dukd_yaml_error *error) {
    return get_list(from, path, read_string, NULL, least, room, values, sizeof *values, count, error);
}
