/* Memory that is freed all at once: what a document's nodes and texts live in. */
#ifndef DUKD_YAML_ARENA_H
#define DUKD_YAML_ARENA_H

#include <stddef.h>

typedef struct dukd_yaml_arena {
    struct dukd_yaml_block *blocks;
} dukd_yaml_arena;

/* Zeroed, aligned for any type; NULL without memory. */
void *dukd_yaml_arena_alloc(dukd_yaml_arena *arena, size_t size);
/* The `size` bytes at `text`, and a zero after them. */
char *dukd_yaml_arena_text(dukd_yaml_arena *arena, const char *text, size_t size);
void dukd_yaml_arena_free(dukd_yaml_arena *arena);

#endif
