/* Named tensors of a file, whatever its format: safetensors (common/safetensors.h) or torch.save's (torch_file.h). Told
 * apart by their contents, not by their names.
 *
 * [thread-safe to read from once open] */
#ifndef DUKD_TENSOR_SOURCE_H
#define DUKD_TENSOR_SOURCE_H

#include <stdint.h>

#include "common/failure.h"
#include "common/safetensors.h"

typedef struct dukd_tensor_source dukd_tensor_source;

/* *out is NULL on failure. A safetensors file stays mapped, so it must not be cut short while it is open. */
int dukd_tensor_source_open(dukd_tensor_source **out, const char *path, dukd_failure *f);
void dukd_tensor_source_close(dukd_tensor_source *s); /* NULL allowed */

/* "safetensors" or "PyTorch". */
const char *dukd_tensor_source_format(const dukd_tensor_source *s);

/* Everything returned lives until the source is closed. */
int32_t dukd_tensor_source_count(const dukd_tensor_source *s);
const dukd_st_tensor *dukd_tensor_source_at(const dukd_tensor_source *s, int32_t i); /* in the file's order */
const dukd_st_tensor *dukd_tensor_source_find(const dukd_tensor_source *s, const char *name); /* NULL: none */
int32_t dukd_tensor_source_metadata_count(const dukd_tensor_source *s);
const dukd_st_entry *dukd_tensor_source_metadata_at(const dukd_tensor_source *s, int32_t i); /* by key */
const char *dukd_tensor_source_metadata(const dukd_tensor_source *s, const char *key);       /* NULL: none */

#endif
