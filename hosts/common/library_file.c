/* The headers of an ELF file, read without trust. */
#include "common/library_file.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int not_whole(const char *path, unsigned long long needed, long long size, dukd_failure *f) {
    return dukd_fail(
        f, DUKD_FAILED,
        "%s: is a library cut short (%lld bytes, its contents end at %llu): copy or build it again", path,
        size, needed);
}

/* The file's bytes that its loadable segments and its table of segments take up must be there. */
static int check_segments(const char *path, int fd, const ElfW(Ehdr) * header, long long size,
                          dukd_failure *f) {
    for (unsigned i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) segment;
        const unsigned long long at =
            (unsigned long long)header->e_phoff + (unsigned long long)i * sizeof segment;
        if (at > (unsigned long long)size - sizeof segment ||
            pread(fd, &segment, sizeof segment, (off_t)at) != (ssize_t)sizeof segment)
            return not_whole(path, at, size, f);
        if (segment.p_type != PT_LOAD) continue;
        if (segment.p_filesz > (unsigned long long)size ||
            segment.p_offset > (unsigned long long)size - segment.p_filesz)
            return not_whole(path, (unsigned long long)segment.p_offset + segment.p_filesz, size, f);
    }
    return DUKD_DONE;
}

int dukd_library_file_check(const char *path, dukd_failure *f) {
    ElfW(Ehdr) header;
    struct stat st;
    int status = DUKD_DONE;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return DUKD_DONE;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) goto done;
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        status = dukd_fail(f, DUKD_FAILED, "%s: is not a shared library (its first bytes say so)", path);
    else if (header.e_phentsize ==
             sizeof(ElfW(Phdr))) /* another machine's file is refused by dlopen, with its reason */
        status = check_segments(path, fd, &header, (long long)st.st_size, f);
done:
    close(fd);
    return status;
}
