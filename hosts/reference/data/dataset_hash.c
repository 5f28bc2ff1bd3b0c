/* Hashing the files of a data set as a stream: memory for one block, whatever their size. */
#include "data/dataset_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset_files.h"
#include "data/sha256.h"

#define BLOCK_BYTES ((size_t)1 << 18)

static int add_file(dukd_sha256 *hash, const char *path, unsigned char *block, dukd_failure *f) {
    const char *name = dukd_files_base(path);
    struct stat info;
    char size[32];
    int64_t bytes = 0;
    ssize_t got = -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) goto fail;
    snprintf(size, sizeof size, "%lld", (long long)info.st_size);
    dukd_sha256_add(hash, name, strlen(name) + 1);
    dukd_sha256_add(hash, size, strlen(size) + 1);
    while ((got = read(fd, block, BLOCK_BYTES)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) goto fail;
        dukd_sha256_add(hash, block, (size_t)got);
        bytes += got;
    }
    close(fd);
    if (bytes != info.st_size)
        return dukd_fail(f, DUKD_FAILED, "%s has changed while it was read: %lld bytes, then %lld", path,
                         (long long)info.st_size, (long long)bytes);
    return DUKD_DONE;
fail:
    dukd_fail(f, DUKD_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return DUKD_FAILED;
}

int dukd_pairs_hash(const dukd_pairs *pairs, char hex[65], dukd_failure *f) {
    dukd_sha256 hash;
    int status = DUKD_DONE;
    unsigned char *block = malloc(BLOCK_BYTES);
    if (!block) return dukd_fail_memory(f, "hashing files", BLOCK_BYTES);
    dukd_sha256_begin(&hash);
    for (int64_t i = 0; i < pairs->count && status == DUKD_DONE; i++) {
        status = add_file(&hash, pairs->at[i].hr_path, block, f);
        if (status == DUKD_DONE && pairs->at[i].lr_path)
            status = add_file(&hash, pairs->at[i].lr_path, block, f);
    }
    if (status == DUKD_DONE) dukd_sha256_end(&hash, hex);
    free(block);
    return status;
}
