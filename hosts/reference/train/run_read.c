/* Getters whose first error sticks, and the memory of a run's options. */
#include "train/run_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *dukd_run_alloc(dukd_run_reader *r, size_t bytes) {
    dukd_run_memory *m = r->memory;
    void **blocks = realloc(m->blocks, (m->block_count + 1) * sizeof *blocks);
    if (blocks) m->blocks = blocks;
    void *block = blocks ? calloc(1, bytes ? bytes : 1) : NULL;
    if (!block) {
        dukd_fail_memory(r->f, "the options", bytes);
        r->failed = 1;
        return NULL;
    }
    m->blocks[m->block_count++] = block;
    return block;
}

const char *dukd_run_copy(dukd_run_reader *r, const char *text) {
    if (!text) return NULL;
    size_t size = strlen(text) + 1;
    char *copy = dukd_run_alloc(r, size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

const char *dukd_run_format(dukd_run_reader *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : dukd_run_alloc(r, (size_t)length + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

const char *dukd_run_place(dukd_run_reader *r, const dukd_yaml_node *node) {
    dukd_yaml_place p = dukd_yaml_node_key_place(node);
    return dukd_run_format(r, "%s:%u:%u", p.file, p.line, p.column);
}

void dukd_run_take_error(dukd_run_reader *r, const dukd_yaml_error *e) {
    if (!r->failed)
        dukd_fail(r->f, e->status == DUKD_YAML_WRONG ? DUKD_MISUSED : DUKD_FAILED, "%s", e->message);
    r->failed = 1;
}

void dukd_run_wrong(dukd_run_reader *r, const char *path, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (r->failed) return;
    const dukd_yaml_node *node = dukd_yaml_find(r->root, path);
    if (node) {
        dukd_yaml_error e = {0};
        dukd_yaml_fail_at(&e, node, "%s", text);
        dukd_run_take_error(r, &e);
        return;
    }
    dukd_yaml_place p = dukd_yaml_node_place(r->root);
    dukd_fail(r->f, DUKD_MISUSED, "%s: %s: %s", p.file, path, text);
    r->failed = 1;
}

int64_t dukd_run_whole(dukd_run_reader *r, const char *path, int64_t least, int64_t most, int64_t start) {
    dukd_yaml_error e = {0};
    int64_t value = start;
    if (!r->failed && !dukd_yaml_get_int64(r->root, path, least, most, &value, &e))
        dukd_run_take_error(r, &e);
    return value;
}

double dukd_run_number(dukd_run_reader *r, const char *path, double least, double most, double start) {
    dukd_yaml_error e = {0};
    double value = start;
    if (!r->failed && !dukd_yaml_get_double(r->root, path, least, most, &value, &e))
        dukd_run_take_error(r, &e);
    return value;
}

int32_t dukd_run_flag(dukd_run_reader *r, const char *path, int32_t start) {
    dukd_yaml_error e = {0};
    bool value = start != 0;
    if (!r->failed && !dukd_yaml_get_bool(r->root, path, &value, &e)) dukd_run_take_error(r, &e);
    return value;
}

const char *dukd_run_text(dukd_run_reader *r, const char *path, const char *start) {
    dukd_yaml_error e = {0};
    const char *value = start;
    if (!r->failed && !dukd_yaml_get_string(r->root, path, &value, &e)) dukd_run_take_error(r, &e);
    return r->failed ? start : dukd_run_copy(r, value);
}

int dukd_run_choice(dukd_run_reader *r, const char *path, const char *const *choices, int start) {
    dukd_yaml_error e = {0};
    int value = start;
    if (!r->failed && !dukd_yaml_get_choice(r->root, path, choices, &value, &e)) dukd_run_take_error(r, &e);
    return value;
}

const char *dukd_run_file(dukd_run_reader *r, const char *path) {
    const char *text = dukd_run_text(r, path, NULL), *home = getenv("HOME");
    if (text && !*text) {
        dukd_run_wrong(r, path, "is empty; write a path, or ~ for none");
        return NULL;
    }
    if (!text || strncmp(text, "~/", 2) != 0 || !home) return text;
    return dukd_run_format(r, "%s%s", home, text + 1);
}

int32_t dukd_run_wholes(dukd_run_reader *r, const char *path, int64_t least, int64_t most, int32_t room,
                        int64_t *values) {
    dukd_yaml_error e = {0};
    size_t count = 0;
    if (!r->failed &&
        !dukd_yaml_get_int64s(r->root, path, least, most, 0, (size_t)room, values, &count, &e)) {
        dukd_run_take_error(r, &e);
        count = 0;
    }
    return (int32_t)count;
}

int32_t dukd_run_numbers(dukd_run_reader *r, const char *path, double least, double most, int32_t room,
                         double *values) {
    dukd_yaml_error e = {0};
    size_t count = 0;
    if (!r->failed &&
        !dukd_yaml_get_doubles(r->root, path, least, most, 0, (size_t)room, values, &count, &e)) {
        dukd_run_take_error(r, &e);
        count = 0;
    }
    return (int32_t)count;
}
