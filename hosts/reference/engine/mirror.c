/* Numbers that both the processor and an engine use. */
#include "engine/mirror.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/checked.h"

enum { ALIGNMENT = 64 };

/* -1: no memory could hold so many. */
static int64_t bytes_of(const dukd_mirror *m, const char *what, dukd_failure *f) {
    int64_t bytes = 0;
    if (dukd_checked_mul(m->count, (int64_t)sizeof(float), &bytes) && bytes <= INT64_MAX - ALIGNMENT)
        return bytes;
    dukd_fail_memory(f, what, (unsigned long long)m->count * sizeof(float));
    return -1;
}

static int make_host(dukd_mirror *m, const char *what, dukd_failure *f) {
    const int64_t bytes = bytes_of(m, what, f);
    if (bytes < 0) return DUKD_FAILED;
    const size_t size = ((size_t)bytes / ALIGNMENT + 1) * ALIGNMENT;
    m->host = aligned_alloc(ALIGNMENT, size);
    m->owns_host = 1;
    return m->host ? 0 : dukd_fail_memory(f, what, size);
}

static int make_there(dukd_mirror *m, const char *what, dukd_failure *f) {
    const int64_t bytes = bytes_of(m, what, f);
    void *p = NULL;
    if (bytes < 0) return DUKD_FAILED;
    const int status = dukd_engine_alloc(m->engine, bytes, what, &p, f);
    m->there = p;
    m->owns_there = 1;
    return status;
}

static int is_one(const dukd_mirror *m) {
    return dukd_engine_get_place(m->engine)->on_host;
}

static int made(dukd_mirror *m, int status) {
    if (status) dukd_mirror_free(m);
    return status;
}

int dukd_mirror_create(dukd_mirror *m, dukd_engine *e, int64_t count, const char *what, dukd_failure *f) {
    *m = (dukd_mirror){.engine = e, .count = count};
    int status = make_host(m, what, f);
    if (is_one(m))
        m->there = m->host;
    else if (!status)
        status = make_there(m, what, f);
    return made(m, status);
}

/* The arrays below are somebody else's and const to a mirror's callers, who write only into those that they gave themselves. */
static float *writable(const float *p) {
    return (float *)(uintptr_t)p;
}

int dukd_mirror_of_host(dukd_mirror *m, dukd_engine *e, const float *host, int64_t count, const char *what,
                        dukd_failure *f) {
    *m = (dukd_mirror){.engine = e, .count = count, .host = writable(host), .there = writable(host)};
    if (is_one(m)) return 0;
    int status = make_there(m, what, f);
    if (!status) status = dukd_mirror_up(m, count, f);
    return made(m, status);
}

int dukd_mirror_of_engine(dukd_mirror *m, dukd_engine *e, const float *there, int64_t count, const char *what,
                          dukd_failure *f) {
    *m = (dukd_mirror){.engine = e, .count = count, .host = writable(there), .there = writable(there)};
    if (is_one(m)) return 0;
    int status = make_host(m, what, f);
    if (!status) status = dukd_mirror_down(m, count, f);
    return made(m, status);
}

void dukd_mirror_free(dukd_mirror *m) {
    if (m->owns_host) free(m->host);
    if (m->owns_there) dukd_engine_release(m->engine, m->there);
    *m = (dukd_mirror){0};
}

int dukd_mirror_up(const dukd_mirror *m, int64_t count, dukd_failure *f) {
    if (m->host == m->there) return 0;
    return dukd_engine_upload(m->engine, m->there, m->host, count * (int64_t)sizeof(float), f);
}

int dukd_mirror_down(const dukd_mirror *m, int64_t count, dukd_failure *f) {
    if (m->host == m->there) return 0;
    return dukd_engine_download(m->engine, m->host, m->there, count * (int64_t)sizeof(float), f);
}
