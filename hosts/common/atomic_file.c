/* Writing beside, locked; then fsync, rename, fsync of the folder. */
#include "common/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct dukd_atomic_file {
    FILE *stream;
    char *path, *part;
};

static void free_atomic_file(dukd_atomic_file *a) {
    if (!a) return;
    free(a->path);
    free(a->part);
    free(a);
}

static bool make_names(dukd_atomic_file *a, const char *path) {
    size_t length = strlen(path);
    a->path = malloc(length + 1);
    a->part = malloc(length + sizeof ".part");
    if (!a->path || !a->part) return false;
    memcpy(a->path, path, length + 1);
    memcpy(a->part, path, length);
    memcpy(a->part + length, ".part", sizeof ".part");
    return true;
}

/* Whether `path` names the file that fd has open. */
static bool is_named(const char *path, int fd) {
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && stat(path, &named) == 0 && named.st_ino == mine.st_ino &&
           named.st_dev == mine.st_dev;
}

/* The part, open, empty and locked by us, or -1 with errno: EWOULDBLOCK where another writer has it. Who holds the lock
 * owns the name; a part that can be locked was left by a process that died. The name may pass to another writer
 * between opening and locking, so it is looked at again after. */
static int open_part(const char *part) {
    for (;;) {
        int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) return -1;
        /* A file system without locks still gets whole files, only not the check for a second writer. */
        bool taken = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!taken && is_named(part, fd) && ftruncate(fd, 0) == 0) return fd;
        int error = errno;
        bool renamed = !taken && !is_named(part, fd);
        close(fd);
        errno = error;
        if (!renamed) return -1;
    }
}

int dukd_atomic_file_open(dukd_atomic_file **out, const char *path, dukd_failure *f) {
    struct stat old;
    size_t length = strlen(path);
    *out = NULL;
    if (length == 0 || path[length - 1] == '/')
        return dukd_fail(f, DUKD_FAILED, "'%s' cannot be written: it names no file", path);
    if (stat(path, &old) == 0 && !S_ISREG(old.st_mode)) /* rename would replace even a device */
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be written: it is %s; choose another name", path,
                         S_ISDIR(old.st_mode) ? "a folder" : "no regular file");
    dukd_atomic_file *a = calloc(1, sizeof *a);
    if (!a || !make_names(a, path)) {
        free_atomic_file(a);
        return dukd_fail_memory(f, "the name of a file to write", 2 * length + sizeof *a);
    }
    int fd = open_part(a->part);
    if (fd < 0 && errno == EWOULDBLOCK) {
        dukd_fail(f, DUKD_FAILED, "%s: another process is writing it; wait for it or choose another name",
                  path);
        goto fail;
    }
    a->stream = fd < 0 ? NULL : fdopen(fd, "r+b");
    if (!a->stream) {
        dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", a->part, strerror(errno));
        if (fd >= 0) {
            unlink(a->part);
            close(fd);
        }
        goto fail;
    }
    *out = a;
    return DUKD_DONE;
fail:
    free_atomic_file(a);
    return DUKD_FAILED;
}

FILE *dukd_atomic_file_stream(const dukd_atomic_file *a) {
    return a->stream;
}

int dukd_atomic_file_write(dukd_atomic_file *a, const void *bytes, size_t size, dukd_failure *f) {
    if (size == 0 || fwrite(bytes, 1, size, a->stream) == size) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", a->path, strerror(errno));
}

/* Makes the new name last. */
static int sync_folder(const char *path, dukd_failure *f) {
    const char *slash = strrchr(path, '/');
    size_t length = slash && slash != path ? (size_t)(slash - path) : 1;
    char *folder = malloc(length + 1);
    if (!folder) return dukd_fail_memory(f, "the name of a folder", length + 1);
    memcpy(folder, slash ? path : ".", length);
    folder[length] = '\0';
    int status = DUKD_DONE;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system that knows no fsync of folders; EACCES: one we may write into but not read. */
    if (fd < 0 ? errno != EACCES : fsync(fd) != 0 && errno != EINVAL)
        status = dukd_fail(f, DUKD_FAILED, "%s: written, but its folder cannot be synced: %s", path,
                           strerror(errno));
    if (fd >= 0) close(fd);
    free(folder);
    return status;
}

int dukd_atomic_file_commit(dukd_atomic_file *a, dukd_failure *f) {
    errno = 0;
    if (ferror(a->stream) || fflush(a->stream) != 0 || fsync(fileno(a->stream)) != 0) {
        dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", a->path,
                  errno ? strerror(errno) : "is the disk full?");
        goto fail;
    }
    /* Renamed before it is closed: closing gives up the lock, and an unlocked part belongs to the next writer. */
    if (rename(a->part, a->path) != 0) {
        dukd_fail(f, DUKD_FAILED, "%s: cannot be replaced: %s", a->path, strerror(errno));
        goto fail;
    }
    fclose(a->stream);
    int status = sync_folder(a->path, f);
    free_atomic_file(a);
    return status;
fail:
    dukd_atomic_file_abandon(a);
    return DUKD_FAILED;
}

void dukd_atomic_file_abandon(dukd_atomic_file *a) {
    if (!a) return;
    unlink(a->part);
    fclose(a->stream);
    free_atomic_file(a);
}
