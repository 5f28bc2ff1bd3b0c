/* Between the files of the emulation. */
#pragma once

#include "cuda_emulation.h"
#include "emulation.h"

#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#define EMULATION_ASAN 1
#else
#define EMULATION_ASAN 0
#endif

namespace emulation {

/* Ends the process with a message: the program under test is wrong. */
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- memory.cpp: what devices and blocks have. Closed, it is a fault to touch it. ---- */

struct allocation {
    char *data;
    size_t size;   /* as asked for */
    char *pages;   /* where its pages begin; a page that nobody may touch is behind the last */
    size_t length; /* of its pages */
    int device;
    bool counted; /* asked for by cudaMalloc; else a block's */
};

char *memory_take(size_t size, int device, bool counted); /* NULL: there is none */
bool memory_give_back(void *p);                           /* false: not an allocation */
const allocation *memory_find(const void *p);             /* the one that p points into, or NULL */
int64_t memory_count();
void memory_limit(int64_t bytes); /* of what cudaMalloc may have on a device */
void memory_each(void (*look)(const allocation &));
/* Opens what the device may touch, and closes it again. They nest. */
void memory_open(int device);
void memory_close(int device);
/* The same for the allocation that p points into, if any: for a copy. */
void memory_open_one(const void *p, bool open);

/* ---- environment.cpp, and what it needs of runtime.cpp: which of the named calls fail ---- */
bool from_environment(); /* true */
void fail_named_at(int64_t first, bool once);
/* See emulation.h. */
void run_promptly();

/* ---- fibres.cpp ---- */
void run_grid(dim3 grid, dim3 block, size_t bytes, int device, const std::function<void()> &thread);

/* ---- races.cpp: what is known of each byte of the arena ---- */
void shadow_begin(char *arena, size_t size);
void shadow_allocated(const char *p, size_t size); /* nobody has written it */
void shadow_freed(const char *p, size_t size);
void shadow_written(const void *p, size_t size); /* by a copy or a fill */
void shadow_read(const void *p, size_t size);    /* likewise */
void shadow_existing();
void shadow_launch();                      /* a new kernel: all before happened before */
void shadow_thread(int block, int thread); /* which CUDA thread runs now; block -1: none */
void shadow_epoch(int epoch);              /* barriers that its block has passed */

} // namespace emulation
