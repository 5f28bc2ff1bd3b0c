#include "device_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ROOM  ((size_t)4 << 30) /* reserved, not used */
#define PAGE  ((size_t)4096)
#define ALIGN ((size_t)256)

typedef struct block {
    struct block *next; /* by address */
    size_t at, size;
} block;

static char *base;
static block *blocks;
static size_t used; /* pages up to here have been given out once */
static int depth;

void device_require(int right, const char *what) {
    if (right) return;
    fprintf(stderr, "the test's device: %s\n", what);
    abort();
}

static void protect(int access) {
    if (used) device_require(mprotect(base, used, access) == 0, "mprotect fails");
}

void device_open(void) {
    if (!depth++) protect(PROT_READ | PROT_WRITE);
}

void device_close(void) {
    if (!--depth) protect(PROT_NONE);
}

void *device_alloc(size_t bytes) {
    const size_t size = (bytes + ALIGN - 1) / ALIGN * ALIGN + (bytes ? 0 : ALIGN);
    if (!base) {
        base = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        device_require(base != MAP_FAILED, "mmap fails");
    }
    block **link = &blocks;
    size_t at = 0; /* the first gap that is large enough */
    for (; *link && (*link)->at - at < size; link = &(*link)->next) at = (*link)->at + (*link)->size;
    block *b = size < ROOM && at + size <= ROOM ? malloc(sizeof *b) : NULL;
    if (!b) return NULL;
    *b = (block){.next = *link, .at = at, .size = size};
    *link = b;
    device_open();
    if (at + size > used) {
        used = (at + size + PAGE - 1) / PAGE * PAGE;
        protect(PROT_READ | PROT_WRITE);
    }
    memset(base + at, 0, size);
    device_close();
    return base + at;
}

void device_release(void *p) {
    if (!p) return;
    block **link = &blocks;
    while (*link && base + (*link)->at != (char *)p) link = &(*link)->next;
    device_require(*link != NULL, "what is released was not allocated there");
    block *b = *link;
    *link = b->next;
    device_open();
    memset(p, 0xff, b->size);
    device_close();
    free(b);
}

int device_has(const void *p) {
    return base && (uintptr_t)p >= (uintptr_t)base && (uintptr_t)p < (uintptr_t)base + ROOM;
}

size_t device_held(void) {
    size_t sum = 0;
    for (const block *b = blocks; b; b = b->next) sum += b->size;
    return sum;
}
