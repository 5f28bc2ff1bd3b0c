/* Reading and writing safetensors files: named tensors in one file, with string metadata.
 *
 * Format: 8 bytes little endian N, N bytes of JSON (name -> dtype, shape, data_offsets; __metadata__ -> strings), the data.
 * Source: https://github.com/huggingface/safetensors, "Format".
 *
 * Reading trusts nothing: header length, JSON, names that repeat, shapes that overflow, offsets outside the file, with
 * gaps or overlapping, and sizes that do not match are errors that name the tensor. The file is mapped; tensors point
 * into the mapping, so it must not be cut short while it is open (a file replaced by rename stays as it was). */
#ifndef DUKD_SAFETENSORS_H
#define DUKD_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

/* [thread-safe to read from once open] */
typedef struct dukd_tensor_file dukd_tensor_file;

typedef enum {
    DUKD_ST_BOOL,
    DUKD_ST_U8,
    DUKD_ST_I8,
    DUKD_ST_I16,
    DUKD_ST_U16,
    DUKD_ST_F16,
    DUKD_ST_BF16,
    DUKD_ST_I32,
    DUKD_ST_U32,
    DUKD_ST_F32,
    DUKD_ST_F64,
    DUKD_ST_I64,
    DUKD_ST_U64,
} dukd_st_type;

#define DUKD_ST_MAX_DIMS 8

typedef struct {
    const char *name; /* UTF-8, not empty */
    dukd_st_type type;
    int32_t ndim; /* 0: a single number */
    int64_t dims[DUKD_ST_MAX_DIMS];
    int64_t count; /* product of dims; may be 0 */
    /* Row-major, little endian; aligned for its type (copied where the file did not align it). Reading never gives NULL;
     * writing takes NULL where count is 0. */
    const void *data;
} dukd_st_tensor;

typedef struct {
    const char *key, *value;
} dukd_st_entry;

/* ---- reading; everything returned belongs to the file and lives until it is closed ---- */

/* *out is NULL on failure. */
int dukd_tensor_file_open(dukd_tensor_file **out, const char *path, dukd_failure *f);
/* The same for `size` bytes of memory, which must outlive the file and should be aligned to 8 (else all is copied). `name`
 * begins the error messages. */
int dukd_tensor_file_open_memory(dukd_tensor_file **out, const void *bytes, size_t size, const char *name,
                                 dukd_failure *f);
void dukd_tensor_file_close(dukd_tensor_file *t); /* NULL is allowed */
int32_t dukd_tensor_file_count(const dukd_tensor_file *t);
const dukd_st_tensor *dukd_tensor_file_at(const dukd_tensor_file *t, int32_t i); /* in the header's order */
const dukd_st_tensor *dukd_tensor_file_find(const dukd_tensor_file *t, const char *name); /* NULL: none */
const char *dukd_tensor_file_metadata(const dukd_tensor_file *t, const char *key);        /* NULL: none */
int32_t dukd_tensor_file_metadata_count(const dukd_tensor_file *t);
const dukd_st_entry *dukd_tensor_file_metadata_at(const dukd_tensor_file *t, int32_t i); /* sorted by key */

/* ---- writing: beside `path`, fsynced, renamed, the folder fsynced (atomic_file.h) ---- */
/* Tensors are written in the given order, except that types of larger elements come first, which aligns every tensor without
 * gaps. Names and keys must be UTF-8, unique and not empty, and shapes must agree with counts: DUKD_MISUSED
 * otherwise. Values may hold any bytes (a path, say): what is not UTF-8 is written as U+FFFD. */
int dukd_tensor_file_write(const char *path, const dukd_st_tensor *tensors, int32_t count,
                           const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f);

int32_t dukd_st_type_size(dukd_st_type type);     /* bytes an element */
const char *dukd_st_type_name(dukd_st_type type); /* as in the file: "F32" */

/* A name for a message: at most 80 bytes of it, without control characters. */
typedef struct {
    char text[88];
} dukd_st_printable;
dukd_st_printable dukd_st_print(const char *name);

#endif
