/* The arena: a list of blocks, each handed out from its front. */
#include "yaml_arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16384 };

typedef struct dukd_yaml_block {
    struct dukd_yaml_block *next;
    size_t used, size;
    max_align_t data[];
} dukd_yaml_block;

void *dukd_yaml_arena_alloc(dukd_yaml_arena *arena, size_t size) {
    const size_t align = sizeof(max_align_t);
    if (size > SIZE_MAX / 2) return NULL;
    const size_t need = (size + align - 1) / align * align;
    dukd_yaml_block *b = arena->blocks;
    if (!b || b->size - b->used < need) {
        const size_t room = need > BLOCK ? need : BLOCK;
        b = calloc(1, sizeof *b + room);
        if (!b) return NULL;
        b->size = room;
        b->next = arena->blocks;
        arena->blocks = b;
    }
    void *p = (char *)b->data + b->used;
    b->used += need;
    return p;
}

char *dukd_yaml_arena_text(dukd_yaml_arena *arena, const char *text, size_t size) {
    if (size == SIZE_MAX) return NULL;
    char *copy = dukd_yaml_arena_alloc(arena, size + 1);
    if (copy && size) memcpy(copy, text, size);
    return copy;
}

void dukd_yaml_arena_free(dukd_yaml_arena *arena) {
    for (dukd_yaml_block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    arena->blocks = NULL;
}
