/* Writing a tree as JSON, for programs that read a run's record. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "yaml_tree.h"

static void write_string(dukd_yaml_buffer *b, const char *text) {
    dukd_yaml_buffer_puts(b, "\"");
    for (; *text; text++) {
        char escape[8];
        if (*text == '"' || *text == '\\')
            snprintf(escape, sizeof escape, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*text);
        else
            snprintf(escape, sizeof escape, "%c", *text);
        dukd_yaml_buffer_puts(b, escape);
    }
    dukd_yaml_buffer_puts(b, "\"");
}

static void write_scalar(dukd_yaml_buffer *b, const dukd_yaml_node *s) {
    char number[DUKD_YAML_NUMBER];
    dukd_yaml_int integer;
    double d;
    bool flag;
    if (s->type == DUKD_YAML_NULL) {
        dukd_yaml_buffer_puts(b, "null");
    } else if (s->type == DUKD_YAML_BOOL && dukd_yaml_read_bool(s->text, &flag)) {
        dukd_yaml_buffer_puts(b, flag ? "true" : "false");
    } else if (s->type == DUKD_YAML_INT && dukd_yaml_read_int(s->text, &integer) && !integer.overflow) {
        dukd_yaml_print_int(integer, number);
        dukd_yaml_buffer_puts(b, number);
    } else if (dukd_yaml_number(s, &d) && isfinite(d)) {
        dukd_yaml_print_double(d, number);
        dukd_yaml_buffer_puts(b, number);
    } else {
        write_string(b, s->text);
    }
}

static void write_node(dukd_yaml_buffer *b, const dukd_yaml_node *node, unsigned indent) {
    if (node->kind == DUKD_YAML_SCALAR) {
        write_scalar(b, node);
        return;
    }
    const bool list = node->kind == DUKD_YAML_LIST;
    bool flat = true; /* on one line: nothing but scalars of a list */
    for (size_t i = 0; i < node->count; i++) flat &= list && node->items[i]->kind == DUKD_YAML_SCALAR;
    dukd_yaml_buffer_puts(b, list ? "[" : "{");
    for (size_t i = 0; i < node->count; i++) {
        if (i) dukd_yaml_buffer_puts(b, flat ? ", " : ",");
        if (!flat) {
            dukd_yaml_buffer_puts(b, "\n");
            dukd_yaml_buffer_indent(b, indent + 2);
        }
        if (!list) {
            write_string(b, node->items[i]->key);
            dukd_yaml_buffer_puts(b, ": ");
        }
        write_node(b, node->items[i], indent + 2);
    }
    if (!flat) {
        dukd_yaml_buffer_puts(b, "\n");
        dukd_yaml_buffer_indent(b, indent);
    }
    dukd_yaml_buffer_puts(b, list ? "]" : "}");
}

char *dukd_yaml_to_json(const dukd_yaml_node *root, size_t *size, dukd_yaml_error *error) {
    dukd_yaml_buffer b = {NULL, 0, 0, false};
    write_node(&b, root, 0);
    dukd_yaml_buffer_puts(&b, "\n");
    return dukd_yaml_buffer_take(&b, size, error);
}
