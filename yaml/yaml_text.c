/* A text that grows, for the writers. */
#include <stdlib.h>
#include <string.h>

#include "yaml_tree.h"

void dukd_yaml_buffer_add(dukd_yaml_buffer *b, const char *text, size_t size) {
    if (b->failed) return;
    if (b->room - b->size <= size) {
        size_t room = b->room ? b->room : 4096;
        while (room - b->size <= size && room <= SIZE_MAX / 2) room *= 2;
        char *data = room - b->size > size ? realloc(b->data, room) : NULL;
        if (!data) {
            b->failed = true;
            return;
        }
        b->data = data;
        b->room = room;
    }
    memcpy(b->data + b->size, text, size);
    b->size += size;
}

void dukd_yaml_buffer_puts(dukd_yaml_buffer *b, const char *text) {
    dukd_yaml_buffer_add(b, text, strlen(text));
}

void dukd_yaml_buffer_indent(dukd_yaml_buffer *b, unsigned spaces) {
    while (spaces--) dukd_yaml_buffer_add(b, " ", 1);
}

char *dukd_yaml_buffer_take(dukd_yaml_buffer *b, size_t *size, dukd_yaml_error *error) {
    dukd_yaml_buffer_add(b, "", 1); /* the zero, and memory even for an empty text */
    if (b->failed) {
        free(b->data);
        dukd_yaml_fail_memory(error);
        return NULL;
    }
    if (size) *size = b->size - 1;
    return b->data;
}
