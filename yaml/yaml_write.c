/* Writing a tree as YAML: blocks indented by two, lists of scalars in brackets, everything plain that may be plain. */
#include <stdio.h>
#include <string.h>

#include "yaml_tree.h"

/* Is the text, written without quotes, read back as the same plain scalar? `flow`: inside [ ]. */
static bool plain_safe(const char *text, bool flow) {
    const size_t size = strlen(text);
    const unsigned char *t = (const unsigned char *)text;
    if (size == 0 || text[0] == ' ' || text[size - 1] == ' ' || text[size - 1] == ':') return false;
    if (strcmp(text, "=") == 0) return false; /* PyYAML gives it a type of its own */
    if (strchr(",[]{}#&*!|>'\"%@`?:", text[0])) return false;
    const char after = text[1];
    const bool word =
        (after >= '0' && after <= '9') || (after >= 'a' && after <= 'z') || (after >= 'A' && after <= 'Z');
    if (text[0] == '-' && !word && after != '.' && after != '_') return false;
    if (strncmp(text, "...", 3) == 0) return false; /* the end of a document */
    for (size_t i = 0; i < size;) {
        uint32_t point;
        const size_t n = dukd_yaml_utf8_decode(t + i, size - i, &point);
        if (n == 0 || !dukd_yaml_printable(point) || point == 0x85 || point == 0x2028 || point == 0x2029)
            return false;
        if (flow && point < 0x80 && strchr(",[]{}", (int)point)) return false;
        if (point == ':' && (text[i + 1] == ' ' || (flow && strchr(",[]{}?", text[i + 1])))) return false;
        if (point == '#' && text[i - 1] == ' ') return false; /* it is not the first */
        i += n;
    }
    return true;
}

/* In single quotes where that is enough, else in double quotes with escapes. */
static void write_quoted(dukd_yaml_buffer *b, const char *text) {
    const size_t size = strlen(text);
    const unsigned char *t = (const unsigned char *)text;
    bool simple = true;
    for (size_t i = 0; i < size && simple;) {
        uint32_t point;
        const size_t n = dukd_yaml_utf8_decode(t + i, size - i, &point);
        simple = n && dukd_yaml_printable(point) && point != 0x85 && point != 0x2028 && point != 0x2029;
        i += n;
    }
    dukd_yaml_buffer_puts(b, simple ? "'" : "\"");
    for (size_t i = 0; i < size;) {
        uint32_t p = '?';
        size_t n = dukd_yaml_utf8_decode(t + i, size - i, &p);
        char escape[16] = "";
        if (n == 0) n = 1; /* cannot be: texts are checked when they are read */
        if (simple) {
            if (p == '\'') snprintf(escape, sizeof escape, "''");
        } else if (p == '"' || p == '\\') {
            snprintf(escape, sizeof escape, "\\%c", (char)p);
        } else if (p == '\n') {
            snprintf(escape, sizeof escape, "\\n");
        } else if (p == '\t') {
            snprintf(escape, sizeof escape, "\\t");
        } else if (!dukd_yaml_printable(p) || p == 0x85 || p == 0x2028 || p == 0x2029) {
            snprintf(escape, sizeof escape, "\\U%08X", (unsigned)p);
        }
        if (*escape)
            dukd_yaml_buffer_puts(b, escape);
        else
            dukd_yaml_buffer_add(b, text + i, n);
        i += n;
    }
    dukd_yaml_buffer_puts(b, simple ? "'" : "\"");
}

static void write_scalar(dukd_yaml_buffer *b, const dukd_yaml_node *s, bool flow) {
    static const char *const tags[] = {"", "!!null ", "!!bool ", "!!int ", "!!float ", "!!str "};
    dukd_yaml_buffer_puts(b, tags[s->tag]);
    if (s->type == DUKD_YAML_NULL)
        dukd_yaml_buffer_puts(b, "~");
    else if (s->quoted || !plain_safe(s->text, flow))
        write_quoted(b, s->text);
    else
        dukd_yaml_buffer_puts(b, s->text);
}

/* Keys stay plain where no reader could take them for anything else. */
static void write_key(dukd_yaml_buffer *b, const char *key) {
    const size_t word = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (!key[word] && dukd_yaml_resolve(key) != DUKD_YAML_NULL)
        dukd_yaml_buffer_puts(b, key);
    else
        write_quoted(b, key);
}

/* Can it stand behind "key: " or "- " on the same line? */
static bool one_line(const dukd_yaml_node *node) {
    if (node->kind == DUKD_YAML_SCALAR || node->count == 0) return true;
    if (node->kind == DUKD_YAML_MAPPING) return false;
    for (size_t i = 0; i < node->count; i++) {
        const dukd_yaml_node *s = node->items[i];
        if (s->kind != DUKD_YAML_SCALAR) return false;
        /* A plain text with brackets or commas would have to be quoted inside [ ]: such a list becomes a block. */
        const bool quoted = s->quoted || s->type == DUKD_YAML_NULL;
        if (!quoted && plain_safe(s->text, false) != plain_safe(s->text, true)) return false;
    }
    return true;
}

static void write_line(dukd_yaml_buffer *b, const dukd_yaml_node *node) {
    if (node->kind == DUKD_YAML_SCALAR) {
        write_scalar(b, node, false);
    } else {
        dukd_yaml_buffer_puts(b, node->kind == DUKD_YAML_LIST ? "[" : "{");
        for (size_t i = 0; i < node->count; i++) {
            if (i) dukd_yaml_buffer_puts(b, ", ");
            write_scalar(b, node->items[i], true);
        }
        dukd_yaml_buffer_puts(b, node->kind == DUKD_YAML_LIST ? "]" : "}");
    }
    dukd_yaml_buffer_puts(b, "\n");
}

static void write_block(dukd_yaml_buffer *b, const dukd_yaml_node *node, unsigned indent) {
    for (size_t i = 0; i < node->count; i++) {
        const dukd_yaml_node *item = node->items[i];
        dukd_yaml_buffer_indent(b, indent);
        if (node->kind == DUKD_YAML_LIST) {
            dukd_yaml_buffer_puts(b, "-");
        } else {
            write_key(b, item->key);
            dukd_yaml_buffer_puts(b, ":");
        }
        if (one_line(item)) {
            dukd_yaml_buffer_puts(b, " ");
            write_line(b, item);
        } else {
            dukd_yaml_buffer_puts(b, "\n");
            write_block(b, item, indent + 2);
        }
    }
}

char *dukd_yaml_to_text(const dukd_yaml_node *root, size_t *size, dukd_yaml_error *error) {
    dukd_yaml_buffer b = {NULL, 0, 0, false};
    if (one_line(root))
        write_line(&b, root);
    else
        write_block(&b, root, 0);
    return dukd_yaml_buffer_take(&b, size, error);
}
