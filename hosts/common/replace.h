/* A file that takes another's place only when it is complete.
 *
 * It is written as PATH.part, fsynced, renamed to PATH, and the folder fsynced: PATH is the old file or the
 * whole new one, also after a crash. What a killed process left as PATH.part is overwritten by the next
 * writer; of two at once the second fails. */
#ifndef DUKD_REPLACE_H
#define DUKD_REPLACE_H

#include <stddef.h>

#include "common/failure.h"

typedef struct {
    int fd; /* open for reading and writing, empty; write to it directly or by dukd_replace_add. -1: not open
             */
    char *path, *part;
} dukd_replacement;

/* The folder must exist. Permissions are those of any new file (0666 less the umask). [thread-safe on
 * distinct r] */
int dukd_replace_begin(dukd_replacement *r, const char *path, dukd_failure *f);
/* Appends at the file offset; a full disk is told as such. */
int dukd_replace_add(dukd_replacement *r, const void *data, size_t bytes, dukd_failure *f);
/* Puts the file in its place. Done or failed, *r is spent. */
int dukd_replace_commit(dukd_replacement *r, dukd_failure *f);
/* Removes what was written. After commit, and on a zeroed *r, it does nothing. */
void dukd_replace_abandon(dukd_replacement *r);

#endif
