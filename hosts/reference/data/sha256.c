/* SHA-256 as FIPS 180-4 states it. */
#include "data/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (4.2.2). */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int by) {
    return x >> by | x << (32 - by);
}

static void compress(uint32_t state[8], const unsigned char block[64]) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++) {
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    }
    for (int t = 16; t < 64; t++) {
        const uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        const uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t++) {
        const uint32_t t1 =
            h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t];
        const uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t add[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) state[i] += add[i];
}

void dukd_sha256_begin(dukd_sha256 *s) {
    *s = (dukd_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                                 0x1f83d9ab, 0x5be0cd19}};
}

void dukd_sha256_add(dukd_sha256 *s, const void *data, size_t bytes) {
    const unsigned char *p = data;
    const size_t held = s->bytes % 64;
    s->bytes += bytes;
    if (held) {
        const size_t take = bytes < 64 - held ? bytes : 64 - held;
        if (take) memcpy(s->block + held, p, take);
        p += take;
        bytes -= take;
        if (held + take < 64) return;
        compress(s->state, s->block);
    }
    for (; bytes >= 64; p += 64, bytes -= 64) compress(s->state, p);
    if (bytes) memcpy(s->block, p, bytes);
}

void dukd_sha256_end(dukd_sha256 *s, char hex[65]) {
    static const unsigned char padding[64] = {0x80};
    const uint64_t bits = s->bytes * 8;
    const size_t held = s->bytes % 64;
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(bits >> (56 - 8 * i));
    dukd_sha256_add(s, padding, held < 56 ? 56 - held : 120 - held);
    dukd_sha256_add(s, length, 8);
    for (int i = 0; i < 64; i++) hex[i] = "0123456789abcdef"[s->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[64] = 0;
}

int dukd_sha256_file(const char *path, char hex[65], dukd_failure *f) {
    enum { CHUNK = 1 << 16 };
    int status = DUKD_DONE;
    struct stat info;
    unsigned char *chunk = malloc(CHUNK);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (!chunk) {
        status = dukd_fail_memory(f, "hashing a file", CHUNK);
    } else if (fd < 0 || fstat(fd, &info)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: no regular file", path);
    }
    dukd_sha256 s;
    dukd_sha256_begin(&s);
    while (!status) {
        const ssize_t got = read(fd, chunk, CHUNK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = dukd_fail(f, DUKD_FAILED, "%s: cannot be read: %s", path, strerror(errno));
        if (got <= 0) break;
        dukd_sha256_add(&s, chunk, (size_t)got);
    }
    if (!status) dukd_sha256_end(&s, hex);
    if (fd >= 0) close(fd);
    free(chunk);
    return status;
}
