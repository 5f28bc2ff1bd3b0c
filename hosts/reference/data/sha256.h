/* SHA-256 (FIPS 180-4). [thread-safe on distinct states] */
#ifndef DUKD_SHA256_H
#define DUKD_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

typedef struct {
    uint32_t state[8];
    uint64_t bytes; /* hashed so far, those in `block` included */
    unsigned char block[64];
} dukd_sha256;

void dukd_sha256_begin(dukd_sha256 *s);
void dukd_sha256_add(dukd_sha256 *s, const void *data, size_t bytes);
/* 64 lower-case hex digits and a 0. The state is spent. */
void dukd_sha256_end(dukd_sha256 *s, char hex[65]);

/* Of a regular file's contents. */
int dukd_sha256_file(const char *path, char hex[65], dukd_failure *f);

#endif
