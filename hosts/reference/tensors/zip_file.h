/* ZIP archives of entries that are stored, not compressed, as torch.save makes them: read from memory and written by libzip.
 * Without libzip (DUKD_LIBZIP is not defined; zip_none.c) opening and writing fail and say so.
 *
 * [one thread at a time per archive] */
#ifndef DUKD_ZIP_FILE_H
#define DUKD_ZIP_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

int dukd_zip_is_built_in(void); /* 1: with libzip */

/* ---- reading ---- */
typedef struct dukd_zip dukd_zip;

/* Reads the directory of the archive and checks that it agrees with the entries' own headers, and that no two have one
 * name. The memory must outlive it. `path` begins the messages and is not copied. */
int dukd_zip_open(dukd_zip **out, const void *bytes, size_t size, const char *path, dukd_failure *f);
void dukd_zip_close(dukd_zip *z); /* NULL allowed */
int64_t dukd_zip_count(const dukd_zip *z);
const char *dukd_zip_name(const dukd_zip *z, int64_t i);

/* Bytes of an entry, at most the archive's own, or -1: there is none, or it is compressed or encrypted (*f says it, where
 * `f` is not NULL). */
int64_t dukd_zip_size(const dukd_zip *z, const char *name, dukd_failure *f);
/* All of an entry, whose size dukd_zip_size has told; its checksum is checked. */
int dukd_zip_read(dukd_zip *z, const char *name, void *to, int64_t size, dukd_failure *f);

/* ---- writing ---- */
typedef struct {
    const char *name;
    const void *bytes; /* may be NULL where size is 0 */
    size_t size;
} dukd_zip_entry;

/* Written aside, fsynced, renamed (atomic_file.h). The same entries give the same bytes: no times are stored. */
int dukd_zip_write(const char *path, const dukd_zip_entry *entries, int32_t count, dukd_failure *f);

#endif
