/* The tree behind a document, and the helpers that the files of this folder share. Not for users of the library. */
#ifndef DUKD_YAML_TREE_H
#define DUKD_YAML_TREE_H

#include "dukd_yaml.h"
#include "yaml_arena.h"

struct dukd_yaml_node {
    dukd_yaml_node *parent; /* NULL: the root */
    const char *key;        /* NULL unless the parent is a mapping */
    dukd_yaml_place key_place, place;
    dukd_yaml_kind kind;
    dukd_yaml_type type;
    dukd_yaml_tag tag;
    bool quoted;
    const char *text; /* of a scalar, never NULL; "" else */
    dukd_yaml_node **items;
    size_t count, room;
};

struct dukd_yaml {
    dukd_yaml_arena arena;
    dukd_yaml_node *root;
    size_t nodes; /* made so far, for the limit */
};

/* ---- yaml_tree.c: building. All take an error for "out of memory" and the limits. */
dukd_yaml *dukd_yaml_create(dukd_yaml_error *error);
dukd_yaml_node *dukd_yaml_node_new(dukd_yaml *y, dukd_yaml_kind kind, dukd_yaml_place place,
                                   dukd_yaml_error *error);
bool dukd_yaml_node_append(dukd_yaml *y, dukd_yaml_node *parent, dukd_yaml_node *child,
                           dukd_yaml_error *error);
/* A copy of the subtree for a place `depth` levels below the root, without key and parent; errors are about `at`. */
dukd_yaml_node *dukd_yaml_node_copy(dukd_yaml *y, const dukd_yaml_node *node, unsigned depth,
                                    dukd_yaml_place at, dukd_yaml_error *error);
/* The child with the key text[size], or the list element with that number; NULL: none. */
dukd_yaml_node *dukd_yaml_node_child(const dukd_yaml_node *node, const char *text, size_t size);
/* May text[size] be a key? If not, the error says why. */
bool dukd_yaml_key_check(const char *text, size_t size, dukd_yaml_place place, dukd_yaml_error *error);
/* A position in a list: decimal digits only, no more than fit. */
bool dukd_yaml_position_read(const char *text, size_t size, size_t *position);
/* Keeps a text in the document; NULL without memory (error set). */
char *dukd_yaml_keep(dukd_yaml *y, const char *text, size_t size, dukd_yaml_error *error);
/* The node's path, cut short to what fits into buf. */
void dukd_yaml_path_text(const dukd_yaml_node *node, char *buf, size_t size);

/* ---- yaml_find.c. The node at `path`; *found is NULL where there is none or a null. False: a scalar stands
 * where a section on the way belongs. */
bool dukd_yaml_look_up(const dukd_yaml_node *from, const char *path, const dukd_yaml_node **found,
                       dukd_yaml_error *error);

/* ---- yaml_error.c. Each returns false. */
bool dukd_yaml_fail(dukd_yaml_error *error, int status, const dukd_yaml_place *place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool dukd_yaml_fail_memory(dukd_yaml_error *error);
/* "the text \"abc\"", "a list of 3 elements", "nothing (null)": what a node is, for messages. */
enum { DUKD_YAML_DESCRIPTION = 160 };
void dukd_yaml_describe(const dukd_yaml_node *node, char buf[DUKD_YAML_DESCRIPTION]);

/* ---- yaml_scalar.c: YAML 1.1 scalars as PyYAML resolves them. `text` is a plain scalar. */
typedef struct {
    bool negative, overflow; /* overflow: beyond uint64_t, magnitude is not set */
    uint64_t magnitude;
} dukd_yaml_int;
dukd_yaml_type dukd_yaml_resolve(const char *text);
bool dukd_yaml_read_bool(const char *text, bool *value);
bool dukd_yaml_read_int(const char *text,
                        dukd_yaml_int *value); /* "0o17" too, which PyYAML takes for a string */
/* The number that a scalar stands for: any integer, any float, and the plain texts that PyYAML takes for strings: "1e-4",
 * "1.5e3", "-.5". False: none, or an untagged quoted text. */
bool dukd_yaml_number(const dukd_yaml_node *scalar, double *value);
/* Gives a scalar its type from text, tag and quotes; an error where the tag does not fit the text. */
bool dukd_yaml_scalar_settle(dukd_yaml_node *scalar, dukd_yaml_error *error);
/* The shortest decimal that reads back the same; "inf", "-inf", "nan". Not touched by the locale. */
enum { DUKD_YAML_NUMBER = 40 };
void dukd_yaml_print_double(double value, char buf[DUKD_YAML_NUMBER]);
void dukd_yaml_print_int(dukd_yaml_int value, char buf[DUKD_YAML_NUMBER]);

/* ---- yaml_bytes.c: a file's bytes, and whether they are text. */
char *dukd_yaml_load(const char *path, size_t *size, dukd_yaml_error *error); /* malloc'd */
/* UTF-8 without control characters, at most DUKD_YAML_MAX_BYTES; else the place of the first byte that is not. `at` is the
 * place of the first. */
bool dukd_yaml_text_check(const char *text, size_t size, dukd_yaml_place at, dukd_yaml_error *error);
/* Characters in valid UTF-8. */
unsigned dukd_yaml_columns(const char *text, size_t size);
/* Decodes one character of text[size]: its length in bytes, 0 where it is not valid UTF-8. */
size_t dukd_yaml_utf8_decode(const unsigned char *text, size_t size, uint32_t *point);
bool dukd_yaml_printable(uint32_t point); /* may it stand in a YAML file as it is? */

/* ---- yaml_read.c. The one node that text[size] holds, of any kind, as it will stand `depth` levels below
 * the root; NULL: error. Places in line 1 get `column` added. */
dukd_yaml_node *dukd_yaml_parse(dukd_yaml *y, const char *text, size_t size, const char *file, unsigned depth,
                                unsigned column, dukd_yaml_error *error);

/* ---- yaml_merge.c */
/* Refuses keys that a mapping has twice, then adds the keys of sources[n] (merge keys, each a mapping) that it lacks,
 * copied; earlier sources win. */
bool dukd_yaml_unite(dukd_yaml *y, dukd_yaml_node *mapping, dukd_yaml_node *const *sources, size_t n,
                     unsigned depth, dukd_yaml_error *error);

/* ---- yaml_text.c: a text that grows. After a failed allocation it stays failed. */
typedef struct {
    char *data;
    size_t size, room;
    bool failed;
} dukd_yaml_buffer;
void dukd_yaml_buffer_add(dukd_yaml_buffer *b, const char *text, size_t size);
void dukd_yaml_buffer_puts(dukd_yaml_buffer *b, const char *text);
void dukd_yaml_buffer_indent(dukd_yaml_buffer *b, unsigned spaces);
/* The text, zero-terminated, now the caller's; NULL (and nothing to free, error set) after a failure. */
char *dukd_yaml_buffer_take(dukd_yaml_buffer *b, size_t *size, dukd_yaml_error *error);

#endif
