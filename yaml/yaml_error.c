/* Errors of this folder: one line each, with their place in front. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "yaml_tree.h"

/* A message is one line of UTF-8: control characters, and characters cut in two by a limit, become '?'. */
static void tidy(char *text) {
    const size_t size = strlen(text);
    for (size_t i = 0; i < size;) {
        uint32_t point = 0;
        const size_t n = dukd_yaml_utf8_decode((const unsigned char *)text + i, size - i, &point);
        if (n == 0 || !dukd_yaml_printable(point) || point == 0x85) memset(text + i, '?', n ? n : 1);
        i += n ? n : 1;
    }
}

static bool fail_with(dukd_yaml_error *error, int status, const dukd_yaml_place *place, const char *subject,
                      const char *format, va_list args) {
    if (!error) return false;
    memset(error, 0, sizeof *error);
    error->status = status;
    char *out = error->message;
    size_t room = sizeof error->message;
    if (place && place->file) {
        error->line = place->line;
        error->column = place->line ? place->column : 0;
        snprintf(error->file, sizeof error->file, "%s", place->file);
        tidy(error->file);
        const int n = place->line ? snprintf(out, room, "%s:%u:%u: ", error->file, place->line, place->column)
                                  : snprintf(out, room, "%s: ", error->file);
        out += n;
        room -= (size_t)n; /* file has 255 bytes at most */
    }
    if (subject && *subject) {
        const int n = snprintf(out, room, "%s: ", subject); /* 255 bytes at most */
        out += n;
        room -= (size_t)n;
    }
    vsnprintf(out, room, format, args);
    tidy(error->message);
    return false;
}

bool dukd_yaml_fail(dukd_yaml_error *error, int status, const dukd_yaml_place *place, const char *format,
                    ...) {
    va_list args;
    va_start(args, format);
    fail_with(error, status, place, NULL, format, args);
    va_end(args);
    return false;
}

bool dukd_yaml_fail_at(dukd_yaml_error *error, const dukd_yaml_node *node, const char *format, ...) {
    char path[256];
    dukd_yaml_path_text(node, path, sizeof path);
    va_list args;
    va_start(args, format);
    fail_with(error, DUKD_YAML_WRONG, &node->place, path, format, args);
    va_end(args);
    return false;
}

bool dukd_yaml_fail_memory(dukd_yaml_error *error) {
    return dukd_yaml_fail(error, DUKD_YAML_FAILED, NULL, "out of memory while working on an option file");
}

void dukd_yaml_describe(const dukd_yaml_node *node, char buf[DUKD_YAML_DESCRIPTION]) {
    static const char *const types[] = {"nothing (null)", "the boolean", "the integer", "the number",
                                        "the text"};
    if (node->kind == DUKD_YAML_MAPPING) {
        snprintf(buf, DUKD_YAML_DESCRIPTION, "a section");
    } else if (node->kind == DUKD_YAML_LIST) {
        snprintf(buf, DUKD_YAML_DESCRIPTION, "a list of %zu", node->count);
    } else if (node->type == DUKD_YAML_NULL) {
        snprintf(buf, DUKD_YAML_DESCRIPTION, "%s", types[0]);
    } else if (node->type == DUKD_YAML_STRING) {
        snprintf(buf, DUKD_YAML_DESCRIPTION, "%s \"%.80s%s\"",
                 node->quoted ? "the quoted text" : types[node->type], node->text,
                 strlen(node->text) > 80 ? "..." : "");
    } else {
        snprintf(buf, DUKD_YAML_DESCRIPTION, "%s %.80s%s", types[node->type], node->text,
                 strlen(node->text) > 80 ? "..." : "");
    }
    tidy(buf);
}
