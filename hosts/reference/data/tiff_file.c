/* libtiff's input, output and messages, over pread and pwrite. */
#include "data/tiff_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One block of memory inside libtiff: more than a strip of the largest image that is read. */
static const tmsize_t LARGEST_BLOCK = (tmsize_t)8 << 30;

static void keep(dukd_tiff_file *t, const char *format, va_list args) {
    if (!*t->problem) vsnprintf(t->problem, sizeof t->problem, format, args);
}

static int on_error(TIFF *tiff, void *user, const char *module, const char *format, va_list args) {
    (void)tiff;
    (void)module;
    keep(user, format, args);
    return 1; /* handled: libtiff prints nothing */
}

/* Most warnings are about tags nobody reads here. Those of the JPEG and fax codecs are about pixels that were
 * made up. */
static int on_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list args) {
    (void)tiff;
    dukd_tiff_file *t = user;
    if (module && (!strncmp(module, "JPEG", 4) || !strncmp(module, "Fax", 3))) {
        t->damaged = 1;
        keep(t, format, args);
    }
    return 1;
}

static tmsize_t on_read(thandle_t user, void *buffer, tmsize_t bytes) {
    dukd_tiff_file *t = user;
    tmsize_t done = 0;
    while (done < bytes) {
        const ssize_t got = pread(t->fd, (char *)buffer + done, (size_t)(bytes - done), t->position);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += got;
        t->position += got;
        t->bytes_read += got;
    }
    return done;
}

static tmsize_t on_write(thandle_t user, void *buffer, tmsize_t bytes) {
    dukd_tiff_file *t = user;
    tmsize_t done = 0;
    while (done < bytes) {
        const ssize_t put = pwrite(t->fd, (const char *)buffer + done, (size_t)(bytes - done), t->position);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            if (!*t->problem) snprintf(t->problem, sizeof t->problem, "%s", strerror(put < 0 ? errno : EIO));
            break;
        }
        done += put;
        t->position += put;
    }
    return done;
}

static toff_t on_size(thandle_t user) {
    const dukd_tiff_file *t = user;
    struct stat info;
    return fstat(t->fd, &info) ? 0 : (toff_t)info.st_size;
}

static toff_t on_seek(thandle_t user, toff_t offset, int whence) {
    dukd_tiff_file *t = user;
    uint64_t base = whence == SEEK_CUR ? (uint64_t)t->position : whence == SEEK_END ? on_size(user) : 0;
    base += offset; /* libtiff passes differences modulo 2^64 */
    if (base > INT64_MAX) return (toff_t)-1;
    t->position = (int64_t)base;
    return base;
}

static int on_close(thandle_t user) {
    (void)user;
    return 0;
}

int dukd_tiff_open(dukd_tiff_file *t, const char *name, int fd, const char *mode, dukd_failure *f) {
    *t = (dukd_tiff_file){.name = name, .fd = fd};
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return dukd_fail(f, DUKD_FAILED, "%s: out of memory", name);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, LARGEST_BLOCK);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, t);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, t);
    t->tiff =
        TIFFClientOpenExt(name, mode, t, on_read, on_write, on_seek, on_close, on_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    if (!t->tiff) {
        return dukd_tiff_fail(t, *mode == 'r' ? "damaged or truncated TIFF file" : "cannot be written", f);
    }
    return DUKD_DONE;
}

void dukd_tiff_close(dukd_tiff_file *t) {
    if (t->tiff) TIFFClose(t->tiff);
    t->tiff = NULL;
}

int dukd_tiff_fail(const dukd_tiff_file *t, const char *what, dukd_failure *f) {
    if (!*t->problem) return dukd_fail(f, DUKD_FAILED, "%s: %s", t->name, what);
    return dukd_fail(f, DUKD_FAILED, "%s: %s (libtiff: %s)", t->name, what, t->problem);
}
