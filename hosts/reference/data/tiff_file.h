/* A TIFF handle over an open file: libtiff's messages kept instead of printed, bytes read counted, nothing
 * mapped. */
#ifndef DUKD_TIFF_FILE_H
#define DUKD_TIFF_FILE_H

#include <stdint.h>
#include <tiffio.h>

#include "common/failure.h"

/* Its address must not change while it is open: libtiff holds a pointer to it. */
typedef struct {
    TIFF *tiff;       /* NULL: closed */
    const char *name; /* for messages; the caller's */
    int fd;           /* the caller's; not closed here */
    int64_t position; /* where libtiff thinks the file is */
    int64_t bytes_read;
    int damaged;       /* a codec has warned that pixels were made up */
    char problem[256]; /* libtiff's first error, or a codec's first such warning; "" none */
} dukd_tiff_file;

/* mode: "r", "w" or "w8" (BigTIFF). Reading takes the first image of the file. [thread-safe on distinct t] */
int dukd_tiff_open(dukd_tiff_file *t, const char *name, int fd, const char *mode, dukd_failure *f);
void dukd_tiff_close(dukd_tiff_file *t); /* closed and zeroed allowed; does not close fd */

/* DUKD_FAILED with a message made of `what` and of libtiff's own words. */
int dukd_tiff_fail(const dukd_tiff_file *t, const char *what, dukd_failure *f);

#endif
