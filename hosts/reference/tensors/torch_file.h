/* Named tensors in the files of torch.save, read without Python and without running anything.
 *
 * Read are the ZIP format (PyTorch 1.6 and later) and the format before it; what may be in them is in pickle.h. Tensors are
 * those that lie in dictionaries under names, in dictionaries of dictionaries too: {"params": {"conv.weight": T}} gives
 * "params.conv.weight". Everything else is left out: numbers and texts, lists, dictionaries under numbers (optimizers'
 * states). Tensors of any strides come out row-major.
 *
 * Refused: names that repeat; tensors that reach outside their storage, or show one number in several places; storages
 * that are not as large as they say, or together larger than the file; big-endian files; the tar format of before 0.4; TorchScript.
 *
 * [thread-safe to read from once open] */
#ifndef DUKD_TORCH_FILE_H
#define DUKD_TORCH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/safetensors.h"

typedef struct dukd_torch_file dukd_torch_file;

/* 1 where the bytes begin as a file of torch.save's does (or as any ZIP archive). */
int dukd_torch_file_is(const void *bytes, size_t size);

/* Reads all tensors; the memory may go afterwards. `path` begins the messages. *out is NULL on failure. */
int dukd_torch_file_open_memory(dukd_torch_file **out, const void *bytes, size_t size, const char *path,
                                dukd_failure *f);
void dukd_torch_file_close(dukd_torch_file *t); /* NULL allowed */

/* As dukd_tensor_file_* of safetensors.h. Metadata are those that dukd_torch_file_write has stored. */
int32_t dukd_torch_file_count(const dukd_torch_file *t);
const dukd_st_tensor *dukd_torch_file_at(const dukd_torch_file *t, int32_t i);
const dukd_st_tensor *dukd_torch_file_find(const dukd_torch_file *t, const char *name);
int32_t dukd_torch_file_metadata_count(const dukd_torch_file *t);
const dukd_st_entry *dukd_torch_file_metadata_at(const dukd_torch_file *t, int32_t i);

/* Writes the ZIP format, which torch.load(weights_only=True) reads. Names "params.X", "params_ema.X" and "state_dict.X" go
 * into dictionaries of those names, as BasicSR has them; others stay as they are. Metadata go into an entry of the
 * archive that PyTorch does not look at. DUKD_MISUSED for names that repeat and types that PyTorch does not store. */
int dukd_torch_file_write(const char *path, const dukd_st_tensor *tensors, int32_t count,
                          const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f);

#endif
