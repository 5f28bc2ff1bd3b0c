/* Buffers between two inaccessible pages. */
#include "support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static size_t page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t inner_size(size_t size) {
    return (size + page_size() - 1) / page_size() * page_size();
}

void *dukd_guard_alloc(size_t size, dukd_guard_side side) {
    size_t page = page_size(), inner = inner_size(size);
    assert_true(size < SIZE_MAX / 2);
    unsigned char *all = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true((void *)all != MAP_FAILED);
    if (inner > 0) assert_int_equal(mprotect(all + page, inner, PROT_READ | PROT_WRITE), 0);
    unsigned char *p = all + page + (side == DUKD_GUARD_END ? inner - size : 0);
    memset(p, 0xA5, size);
    return p;
}

void dukd_guard_free(void *p, size_t size, dukd_guard_side side) {
    if (!p) return;
    size_t page = page_size(), inner = inner_size(size);
    unsigned char *start = (unsigned char *)p - (side == DUKD_GUARD_END ? inner - size : 0);
    assert_int_equal(munmap(start - page, inner + 2 * page), 0);
}
