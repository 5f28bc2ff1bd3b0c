/* Reading and writing safetensors files: named tensors in one file, with string metadata.
 *
 * Reading trusts nothing: header length, JSON, names that repeat, shapes that overflow, offsets outside the file or overlapping,
 * and sizes that do not match are errors that name the tensor. The file is mapped; tensors point into the mapping. */
#ifndef DUKD_SAFETENSORS_H
#define DUKD_SAFETENSORS_H

#include <stdint.h>

#include "common/failure.h"

typedef struct dukd_tensor_file dukd_tensor_file;

typedef enum {
    DUKD_ST_BOOL, DUKD_ST_U8, DUKD_ST_I8, DUKD_ST_I16, DUKD_ST_U16, DUKD_ST_F16, DUKD_ST_BF16,
    DUKD_ST_I32, DUKD_ST_U32, DUKD_ST_F32, DUKD_ST_F64, DUKD_ST_I64, DUKD_ST_U64,
} dukd_st_type;

#define DUKD_ST_MAX_DIMS 8

typedef struct {
    const char *name;
    dukd_st_type type;
    int32_t ndim;
    int64_t dims[DUKD_ST_MAX_DIMS];
    int64_t count; /* product of dims */
    const void *data; /* row-major, little endian; aligned for its type (copied where the file did not align it) */
} dukd_st_tensor;

/* ---- reading ---- */
int dukd_tensor_file_open(dukd_tensor_file **out, const char *path, dukd_failure *f);
void dukd_tensor_file_close(dukd_tensor_file *t);
int32_t dukd_tensor_file_count(const dukd_tensor_file *t);
const dukd_st_tensor *dukd_tensor_file_at(const dukd_tensor_file *t, int32_t i); /* in the file's order */
const dukd_st_tensor *dukd_tensor_file_find(const dukd_tensor_file *t, const char *name); /* NULL: none */
const char *dukd_tensor_file_metadata(const dukd_tensor_file *t, const char *key); /* NULL: none */

/* ---- writing: beside `path` under another name, fsynced, renamed, the folder fsynced ---- */
typedef struct {
    const char *key, *value;
} dukd_st_entry;
int dukd_tensor_file_write(const char *path, const dukd_st_tensor *tensors, int32_t count, const dukd_st_entry *metadata,
                           int32_t metadata_count, dukd_failure *f);

int32_t dukd_st_type_size(dukd_st_type type); /* bytes an element */

#endif
