#include "common/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map(dukd_mapped_file *out, int fd, const char *path, dukd_failure *f) {
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0)
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be read: it is %s", path,
                         S_ISDIR(s.st_mode) ? "a folder" : "no regular file");
    if ((uintmax_t)s.st_size > SIZE_MAX / 2)
        return dukd_fail(f, DUKD_FAILED, "%s: is too large: %lld bytes", path, (long long)s.st_size);
    out->bytes = (const unsigned char *)"";
    out->size = (size_t)s.st_size;
    if (!out->size) return DUKD_DONE; /* nothing can be mapped of an empty file */
    void *mapping = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED)
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be mapped: %s", path, strerror(errno));
    out->bytes = out->mapping = mapping;
    return DUKD_DONE;
}

int dukd_mapped_file_open(dukd_mapped_file *out, const char *path, dukd_failure *f) {
    *out = (dukd_mapped_file){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
    const int status = map(out, fd, path, f);
    if (fd >= 0) close(fd);
    if (status != DUKD_DONE) *out = (dukd_mapped_file){0};
    return status;
}

void dukd_mapped_file_close(dukd_mapped_file *m) {
    if (!m) return;
    if (m->mapping) munmap(m->mapping, m->size);
    *m = (dukd_mapped_file){0};
}
