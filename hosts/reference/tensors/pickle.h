/* A pickle as torch.save writes it, read without running anything.
 *
 * A pickle is a program for a stack machine; Python's own reader calls whatever functions it names. This one makes values
 * of the kinds below and of no other, and knows a fixed list of names (dukd_py_name): any other name is an error that
 * says it. Source of the opcodes: PEP 307, PEP 3154 and CPython's Lib/pickletools.py (documentation of the format).
 *
 * Nothing is trusted: lengths are checked against the memory, memo numbers against what was written before, counts against
 * DUKD_PICKLE_MAX_STEPS. Nothing here recurses, so depth costs nothing; whoever walks the values must bound it, because
 * a dictionary may hold itself.
 *
 * [one thread at a time while it is read; thread-safe to read from afterwards] */
#ifndef DUKD_PICKLE_H
#define DUKD_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/safetensors.h"

#define DUKD_PICKLE_MAX_BYTES (64 << 20) /* of one pickle: a network's takes some hundred kilobytes */
#define DUKD_PICKLE_MAX_STEPS (4 << 20)  /* values pushed, each of 40 bytes at most */

typedef uint32_t dukd_py; /* a value: its index in the pickle */

typedef enum {
    DUKD_PY_NONE,
    DUKD_PY_BOOL,
    DUKD_PY_INT,
    DUKD_PY_LONG, /* an integer of more than 8 bytes: `text` holds them, little endian */
    DUKD_PY_FLOAT,
    DUKD_PY_TEXT,
    DUKD_PY_LIST,
    DUKD_PY_TUPLE,
    DUKD_PY_DICT, /* also OrderedDict; its keys and values in the order of the file, repeated keys included */
    DUKD_PY_NAME, /* something of Python that a file of tensors refers to */
    DUKD_PY_STORAGE,
    DUKD_PY_TENSOR,
} dukd_py_kind;

/* What a pickle may refer to. Storages come from DUKD_PY_STORAGE_NAME on, in the order of dukd_st_type. */
typedef enum {
    DUKD_PY_ORDERED_DICT,
    DUKD_PY_REBUILD_TENSOR,
    DUKD_PY_REBUILD_TENSOR_V2,
    DUKD_PY_REBUILD_PARAMETER,
    DUKD_PY_STORAGE_NAME,
} dukd_py_name;

typedef struct {
    const unsigned char *at; /* inside the pickle, without a NUL at its end; any bytes */
    size_t size;
} dukd_py_text;

typedef struct {
    dukd_py_kind kind;
    int32_t ordered; /* DICT: 1 for an OrderedDict */
    union {
        int64_t integer; /* BOOL, INT, NAME */
        double real;
        dukd_py_text text;
        struct {
            dukd_py *at;
            uint32_t count, room;
        } items; /* LIST, TUPLE; DICT: key, value, key, value, ... */
        struct {
            dukd_st_type type;
            dukd_py key;   /* TEXT */
            int64_t count; /* numbers; as the file has it, not negative */
        } storage;
        struct {
            dukd_py storage, dims, strides; /* STORAGE, TUPLEs of INT of the same length */
            int64_t offset;                 /* in numbers; as the file has it, may be negative */
        } tensor;
    } is;
} dukd_py_value;

typedef struct dukd_pickle dukd_pickle;

/* Reads one pickle at the beginning of `size` bytes, which must outlive it; *used: how many it took. `path` begins the
 * messages, `place` is added to the byte numbers in them. On failure *out is NULL. */
int dukd_pickle_read(dukd_pickle **out, const unsigned char *bytes, size_t size, size_t place, size_t *used,
                     const char *path, dukd_failure *f);
void dukd_pickle_destroy(dukd_pickle *p); /* NULL allowed */

dukd_py dukd_pickle_root(const dukd_pickle *p);
uint32_t dukd_pickle_count(const dukd_pickle *p); /* all values */
const dukd_py_value *dukd_pickle_at(const dukd_pickle *p, dukd_py i);

/* 1 where value i is a text of these characters. */
int dukd_pickle_is_text(const dukd_pickle *p, dukd_py i, const char *text);
/* The value of a DICT's text key, or NULL; the last one where it repeats, as in Python. */
const dukd_py_value *dukd_pickle_find(const dukd_pickle *p, const dukd_py_value *dict, const char *key);

#endif
