/* Whether a file is a whole shared library, looked at before it is opened: dlopen maps what the file's headers claim, and a
 * file that was cut short then ends the process by a signal instead of an error. */
#ifndef DUKD_LIBRARY_FILE_H
#define DUKD_LIBRARY_FILE_H

#include "common/failure.h"

/* DUKD_FAILED where `path` is no ELF library or ends before its contents do. DUKD_DONE where it cannot be opened or is no
 * regular file: dlopen says why, or finds the name in the system's folders. */
int dukd_library_file_check(const char *path, dukd_failure *f);

#endif
