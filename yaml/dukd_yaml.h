/* Option files: YAML with BasicSR's conventions, read into a tree, asked by dotted path, checked, overridden
 * from the command line, flattened and written out again. The rules of the format are in README.md beside
 * this file.
 *
 * A document (dukd_yaml) owns everything that is reached from it: nodes, texts and places live until it is
 * destroyed or the node is replaced by an override. Functions that can fail return false (or NULL) and fill
 * *error, which may be NULL; the outputs are then untouched. Every message names file, line and column.
 *
 * Threads: a document may be read by several threads at once as long as none overrides it; documents are
 * independent. */
#ifndef DUKD_YAML_H
#define DUKD_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* dukd_yaml_error.status; the values are those of an exit status. */
enum {
    DUKD_YAML_FAILED = 1, /* a file that cannot be read, no memory */
    DUKD_YAML_WRONG = 2,  /* what is written in the file, or on the command line, is wrong */
};

typedef struct dukd_yaml_error {
    int status;
    unsigned line, column; /* from 1; 0: the message is about no single place */
    char file[256];        /* name of the file, or "--set argument 2" */
    char message[1024];    /* one line of UTF-8, ready to print: "opt.yml:3:9: what is wrong; what to do" */
} dukd_yaml_error;

/* ---------------------------------------------------------------- the tree */

typedef struct dukd_yaml dukd_yaml;           /* a document */
typedef struct dukd_yaml_node dukd_yaml_node; /* a scalar, list or mapping in it */

typedef enum { DUKD_YAML_SCALAR, DUKD_YAML_LIST, DUKD_YAML_MAPPING } dukd_yaml_kind;

/* What a scalar is, as PyYAML's SafeLoader resolves it (dates are strings here). "1e-4" is DUKD_YAML_STRING,
 * but the getters below take it for the number that its writer meant. */
typedef enum {
    DUKD_YAML_NULL,
    DUKD_YAML_BOOL,
    DUKD_YAML_INT,
    DUKD_YAML_FLOAT,
    DUKD_YAML_STRING
} dukd_yaml_type;

/* The tag written in front of a scalar: "!!float 1e-4". */
typedef enum {
    DUKD_YAML_TAG_NONE,
    DUKD_YAML_TAG_NULL,
    DUKD_YAML_TAG_BOOL,
    DUKD_YAML_TAG_INT,
    DUKD_YAML_TAG_FLOAT,
    DUKD_YAML_TAG_STR,
} dukd_yaml_tag;

typedef struct dukd_yaml_place {
    const char *file;      /* lives as long as the document */
    unsigned line, column; /* from 1; columns count characters */
} dukd_yaml_place;

/* Limits of what is read; anything beyond is refused with a message. */
enum {
    DUKD_YAML_MAX_BYTES = 1 << 20, /* of a file */
    DUKD_YAML_MAX_NODES = 100000,  /* after aliases are expanded */
    DUKD_YAML_MAX_DEPTH = 32,      /* of nesting */
    DUKD_YAML_MAX_KEY = 200,       /* bytes of one key */
    DUKD_YAML_MAX_ANCHORS = 1000,
};

/* Reads the file at `path`, or `size` bytes of text that messages call `name`. The result's root is a
 * mapping. */
dukd_yaml *dukd_yaml_read_file(const char *path, dukd_yaml_error *error);
dukd_yaml *dukd_yaml_read_text(const char *text, size_t size, const char *name, dukd_yaml_error *error);
void dukd_yaml_destroy(dukd_yaml *yaml); /* NULL is fine */

const dukd_yaml_node *dukd_yaml_root(const dukd_yaml *yaml);
dukd_yaml_kind dukd_yaml_node_kind(const dukd_yaml_node *node);
const char *dukd_yaml_node_key(const dukd_yaml_node *node); /* NULL where the parent is no mapping */
dukd_yaml_place dukd_yaml_node_place(const dukd_yaml_node *node);
dukd_yaml_place dukd_yaml_node_key_place(const dukd_yaml_node *node); /* the value's where there is no key */
size_t dukd_yaml_node_count(const dukd_yaml_node *node); /* children of a list or mapping, else 0 */
const dukd_yaml_node *dukd_yaml_node_at(const dukd_yaml_node *node,
                                        size_t i); /* in the file's order; i < count */
/* Of scalars: the text without quotes and tag ("" for lists and mappings); its type; was it quoted or block
 * text; its tag. */
const char *dukd_yaml_node_text(const dukd_yaml_node *node);
dukd_yaml_type dukd_yaml_node_type(const dukd_yaml_node *node);
bool dukd_yaml_node_quoted(const dukd_yaml_node *node);
dukd_yaml_tag dukd_yaml_node_tag(const dukd_yaml_node *node);
/* The dotted path from the root ("train.optim_g.betas.1"; "" for the root), malloc'd; NULL without memory. */
char *dukd_yaml_node_path(const dukd_yaml_node *node);

/* Do both trees hold the same values under the same keys in the same order? Places do not count, nor how a
 * null or a string is spelled (plain, quoted, block). */
bool dukd_yaml_equal(const dukd_yaml_node *a, const dukd_yaml_node *b);

/* ---------------------------------------------------------------- asking by dotted path
 * Paths are relative to `from`; elements are keys, or positions in a list from 0: "datasets.train.gt_size",
 * "train.x.0". */

/* The node at `path`, or NULL when there is none. */
const dukd_yaml_node *dukd_yaml_find(const dukd_yaml_node *from, const char *path);
/* The same, where one must be there: an absent or null one is an error that names the section where it
 * belongs. */
const dukd_yaml_node *dukd_yaml_require(const dukd_yaml_node *from, const char *path, dukd_yaml_error *error);
/* Is it there and null (~)? */
bool dukd_yaml_is_null(const dukd_yaml_node *from, const char *path);

/* One value. *value holds the default beforehand, and keeps it when the key is absent or null. A value of
 * another type or outside min..max (inclusive) is an error that names place, path, what was found and what is
 * expected. Integers may be written as floats ("!!float 5e3"), numbers as PyYAML would not take them
 * ("1e-4"); quoted ones are strings. Strings take any scalar as it is written, and live as long as the node.
 */
bool dukd_yaml_get_bool(const dukd_yaml_node *from, const char *path, bool *value, dukd_yaml_error *error);
bool dukd_yaml_get_int64(const dukd_yaml_node *from, const char *path, int64_t min, int64_t max,
                         int64_t *value, dukd_yaml_error *error);
bool dukd_yaml_get_uint64(const dukd_yaml_node *from, const char *path, uint64_t min, uint64_t max,
                          uint64_t *value, dukd_yaml_error *error);
bool dukd_yaml_get_double(const dukd_yaml_node *from, const char *path, double min, double max, double *value,
                          dukd_yaml_error *error);
bool dukd_yaml_get_string(const dukd_yaml_node *from, const char *path, const char **value,
                          dukd_yaml_error *error);
/* One of `choices` (NULL-terminated): its number. */
bool dukd_yaml_get_choice(const dukd_yaml_node *from, const char *path, const char *const *choices,
                          int *value, dukd_yaml_error *error);

/* Lists of at least `least` and at most `room` elements, each as above. `values` has room for `room`; *count
 * is the number of elements. Both hold the default beforehand and keep it when the key is absent or null;
 * after an error `values` is unspecified. */
bool dukd_yaml_get_bools(const dukd_yaml_node *from, const char *path, size_t least, size_t room,
                         bool *values, size_t *count, dukd_yaml_error *error);
bool dukd_yaml_get_int64s(const dukd_yaml_node *from, const char *path, int64_t min, int64_t max,
                          size_t least, size_t room, int64_t *values, size_t *count, dukd_yaml_error *error);
bool dukd_yaml_get_uint64s(const dukd_yaml_node *from, const char *path, uint64_t min, uint64_t max,
                           size_t least, size_t room, uint64_t *values, size_t *count,
                           dukd_yaml_error *error);
bool dukd_yaml_get_doubles(const dukd_yaml_node *from, const char *path, double min, double max, size_t least,
                           size_t room, double *values, size_t *count, dukd_yaml_error *error);
bool dukd_yaml_get_strings(const dukd_yaml_node *from, const char *path, size_t least, size_t room,
                           const char **values, size_t *count, dukd_yaml_error *error);

/* An error about `node` in the same form, for checks of the caller's own: "opt.yml:3:9: train.x: " and the
 * message. Returns false. */
bool dukd_yaml_fail_at(dukd_yaml_error *error, const dukd_yaml_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---------------------------------------------------------------- known keys */

/* A key that somebody reads. `pattern` is a dotted path in which '*' stands for any part of one element
 * ("datasets.val*.name", "val.metrics.*.type"), and a last element "**" for everything below. What lies above
 * a pattern is a section. */
typedef struct dukd_yaml_known {
    const char *pattern;
    const char *ignored; /* NULL: it is read. Else it is accepted, and this is why nobody reads it: "only for
                            wandb" */
} dukd_yaml_known;

/* Told of each ignored key that the file has: "opt.yml:88:3: val.self_ensemble is ignored: no code reads it".
 */
typedef void (*dukd_yaml_warn)(void *ctx, const char *message);

/* Is every key of the tree one of known[n]? The error is about the first that is not: it names the nearest
 * known key (misspelled here, or right in another section), and the places of further unknown ones. A section
 * where a value belongs, and the reverse, are errors as well. `warn` may be NULL. */
bool dukd_yaml_check_keys(const dukd_yaml_node *root, const dukd_yaml_known *known, size_t n,
                          dukd_yaml_warn warn, void *ctx, dukd_yaml_error *error);

/* Edit distance of two words of n and m bytes (insert, delete, replace, exchange neighbours; case alone costs nothing). Words of
 * more than DUKD_YAML_WORD bytes are not compared: DUKD_YAML_WORD. [thread-safe] */
#define DUKD_YAML_WORD 64
unsigned dukd_yaml_distance(const char *a, size_t n, const char *b, size_t m);

/* ---------------------------------------------------------------- overrides from the command line */

/* One argument of --set: "path.key=value". The value is a list "[0.9, 0.99]", a quoted or tagged scalar, or a
 * plain scalar as it stands ("{}x4" needs no quotes). Keys, and sections on the way, are made where they are
 * missing; in a list the element must exist. `number` counts the arguments from 1: messages and places say
 * "--set argument 2". */
bool dukd_yaml_set(dukd_yaml *yaml, unsigned number, const char *argument, dukd_yaml_error *error);
/* One argument of BasicSR's --force_yml: "train:optim_g:lr=1e-4". As above, but none (in any case) is null
 * too. */
bool dukd_yaml_force(dukd_yaml *yaml, unsigned number, const char *argument, dukd_yaml_error *error);
/* The same from a program: a plain scalar, or a list, at a dotted path; `origin` is its place: "drawn at the start". */
bool dukd_yaml_put(dukd_yaml *yaml, const char *path, const char *value, const char *origin,
                   dukd_yaml_error *error);

/* ---------------------------------------------------------------- all values, flat */

/* One scalar, list of scalars or null of the tree. */
typedef struct dukd_yaml_leaf {
    const char *key;   /* "train.optim_g.betas" */
    const char *place; /* "opt.yml:12:5" */
    bool is_list, is_null;
    /* [count] Scalar: 1, null: 0. Strings as they are; booleans as true and false, integers in decimal and
     * floats as C reads them, whatever YAML spelling they had (yes, 0x10, 1_000.0, .inf). A null inside a
     * list is "~". */
    const char *const *values;
    size_t count;
    const dukd_yaml_node *node;
} dukd_yaml_leaf;

typedef struct dukd_yaml_flat {
    const dukd_yaml_leaf
        *leaves; /* [count] in the file's order; a list of sections counts as sections 0, 1, ... */
    size_t count;
} dukd_yaml_flat;

/* Everything under `from`, keys from the root. It refers to the document. NULL without memory. */
dukd_yaml_flat *dukd_yaml_flatten(const dukd_yaml_node *from, dukd_yaml_error *error);
void dukd_yaml_flat_destroy(dukd_yaml_flat *flat); /* NULL is fine */

/* ---------------------------------------------------------------- writing */

/* The tree as YAML that reads back to an equal tree and is written the same again; and as JSON (numbers
 * become numbers, .inf and .nan strings). malloc'd, zero-terminated, *size (may be NULL) without the zero.
 * NULL without memory. */
char *dukd_yaml_to_text(const dukd_yaml_node *root, size_t *size, dukd_yaml_error *error);
char *dukd_yaml_to_json(const dukd_yaml_node *root, size_t *size, dukd_yaml_error *error);

#endif
