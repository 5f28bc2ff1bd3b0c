/* Files that are there as a whole or not at all.
 *
 * A file is written beside its place, as PATH.part, and takes its name only when everything is on the disk: the file
 * is fsynced, renamed, and its folder fsynced. Whoever opens PATH sees the old file or the new one, also after a
 * power cut. What a killed writer left as PATH.part is overwritten by the next one; two writers of one path at a
 * time are refused (the part is locked while it is written).
 *
 * Only regular files are replaced: a device or a folder of that name is an error, and so is a symbolic link to one; a
 * link to a regular file is itself replaced.
 *
 * [one thread at a time per file] */
#ifndef DUKD_ATOMIC_FILE_H
#define DUKD_ATOMIC_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "common/failure.h"

typedef struct dukd_atomic_file dukd_atomic_file;

/* Opens PATH.part for reading and writing, empty, readable by whom the umask allows. *out is NULL on failure. The path
 * is copied. */
int dukd_atomic_file_open(dukd_atomic_file **out, const char *path, dukd_failure *f);

/* What to write into: buffered, seekable, closed by commit and abandon. Its descriptor is fileno(stream); who
 * writes by the descriptor flushes the stream first. */
FILE *dukd_atomic_file_stream(const dukd_atomic_file *a);

/* fwrite, with a failure that says why. Writing straight to the stream is as good: commit sees what went wrong, but not
 * always why. */
int dukd_atomic_file_write(dukd_atomic_file *a, const void *bytes, size_t size, dukd_failure *f);

/* Puts the file in its place and frees `a`, or removes the part, frees `a` and leaves what was there before. Where only
 * the folder's fsync fails the new file is in its place, but a power cut may undo it: that is DUKD_FAILED too. */
int dukd_atomic_file_commit(dukd_atomic_file *a, dukd_failure *f);

/* Removes the part and frees `a`. NULL is allowed. */
void dukd_atomic_file_abandon(dukd_atomic_file *a);

#endif
