/* Writing aside, fsync and rename. */
#include "common/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether `path` still names the file that fd has open. */
static int is_at(const char *path, int fd) {
    struct stat here, there;
    return !fstat(fd, &here) && !stat(path, &there) && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

/* A locked, empty file at `part`, or -1 with errno. Whoever holds the lock owns the name: a file that can be
 * locked was left by a process that died. A name can pass to another writer between opening and locking, so
 * it is checked again after. */
static int open_part(const char *part) {
    for (int attempt = 0; attempt < 16; attempt++) {
        int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) || (is_at(part, fd) && ftruncate(fd, 0))) {
            const int why = errno;
            close(fd);
            errno = why;
            return -1;
        }
        if (is_at(part, fd)) return fd;
        close(fd);
    }
    errno = EWOULDBLOCK;
    return -1;
}

int dukd_replace_begin(dukd_replacement *r, const char *path, dukd_failure *f) {
    *r = (dukd_replacement){.fd = -1};
    const size_t length = strlen(path);
    r->path = strdup(path);
    r->part = malloc(length + sizeof ".part");
    int status;
    if (!r->path || !r->part) {
        status = dukd_fail_memory(f, "a file name", 2 * length);
        goto fail;
    }
    memcpy(r->part, path, length);
    memcpy(r->part + length, ".part", sizeof ".part");
    r->fd = open_part(r->part);
    if (r->fd < 0) {
        status =
            errno == EWOULDBLOCK
                ? dukd_fail(f, DUKD_FAILED, "%s: another process is writing it: wait for it or stop it", path)
                : dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", r->part, strerror(errno));
        goto fail;
    }
    return DUKD_DONE;
fail:
    free(r->path);
    free(r->part);
    *r = (dukd_replacement){.fd = -1};
    return status;
}

int dukd_replace_add(dukd_replacement *r, const void *data, size_t bytes, dukd_failure *f) {
    const char *p = data;
    while (bytes > 0) {
        const ssize_t put = write(r->fd, p, bytes);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", r->path, strerror(errno));
        p += put;
        bytes -= (size_t)put;
    }
    return DUKD_DONE;
}

/* The new name must survive a crash too. A folder that cannot be opened for reading is left to the system. */
static int sync_folder(char *path) {
    const int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* dirname cuts `path` in place */
    if (fd < 0) return errno == EACCES ? 0 : -1;
    const int failed = fsync(fd) && errno != EINVAL; /* EINVAL: a file system without it */
    const int why = errno;
    close(fd);
    errno = why;
    return failed ? -1 : 0;
}

int dukd_replace_commit(dukd_replacement *r, dukd_failure *f) {
    if (fsync(r->fd) || rename(r->part, r->path)) {
        int status = dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", r->path, strerror(errno));
        dukd_replace_abandon(r);
        return status;
    }
    int status = DUKD_DONE;
    close(r->fd); /* after the rename: until then the lock owns the name */
    strcpy(r->part, r->path);
    if (sync_folder(r->part))
        status = dukd_fail(f, DUKD_FAILED, "%s: its folder cannot be synced: %s", r->path, strerror(errno));
    free(r->path);
    free(r->part);
    *r = (dukd_replacement){.fd = -1};
    return status;
}

void dukd_replace_abandon(dukd_replacement *r) {
    if (!r || !r->path) return;
    unlink(r->part);
    close(r->fd);
    free(r->path);
    free(r->part);
    *r = (dukd_replacement){.fd = -1};
}
