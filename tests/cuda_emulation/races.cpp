/* Races and uninitialised reads: gcc's -fsanitize=thread calls us at each access of the kernels, in place of its own library.
 *
 * For each byte of device and shared memory: who wrote it last, who has read it since, and whether anyone has. Two threads
 * of a block meet in a race where no barrier lies between them and one of them writes; threads of two blocks always. A
 * launch happens after all before it. Only the kernels are compiled with that option; without it nothing is called. */
#include "internal.hpp"

#include <sys/mman.h>

namespace emulation {

namespace {

struct access {
    uint32_t launch, block;
    uint16_t thread, epoch;
};

const uint16_t many_threads = 0xffff;
const uint32_t many_blocks = 0xffffffff;

struct record {
    access written, read;
    uint8_t allocated, initialised;
};

char *arena;
size_t arena_size;
record *shadow;
uint32_t launch_number;
int block = -1, thread, epoch;

bool concurrent(const access &a) {
    if (a.launch != launch_number) return false;
    if (a.block != static_cast<uint32_t>(block)) return true;
    return a.epoch == epoch && a.thread != thread;
}

/* What every access asks for, and that nobody writes it at the same time. */
void look_at_byte(const record &r, bool write) {
    if (!r.allocated)
        die("thread %d %s memory that nobody has allocated", thread, write ? "writes" : "reads");
    if (!write && !r.initialised) die("thread %d reads memory that nobody has written", thread);
    if (concurrent(r.written)) {
        die("a race: thread %d %s what thread %u of block %u has written", thread, write ? "writes" : "reads",
            r.written.thread, r.written.block);
    }
}

access now() {
    return {launch_number, static_cast<uint32_t>(block), static_cast<uint16_t>(thread),
            static_cast<uint16_t>(epoch)};
}

void look(const void *p, size_t size, bool write) {
    const size_t at = static_cast<size_t>(static_cast<const char *>(p) - arena);
    if (block < 0 || arena == nullptr || at >= arena_size) return;
    for (size_t i = at; i < at + size; i++) {
        record &r = shadow[i];
        look_at_byte(r, write);
        if (write && concurrent(r.read)) {
            die("a race: thread %d writes what thread %d of block %d has read", thread,
                static_cast<int16_t>(r.read.thread), static_cast<int>(r.read.block));
        }
        if (write) {
            r.written = now();
            r.initialised = 1;
            continue;
        }
        access mine = now();
        if (r.read.launch == launch_number && r.read.block != mine.block) mine.block = many_blocks;
        if (r.read.launch == launch_number && r.read.epoch == mine.epoch && r.read.thread != mine.thread)
            mine.thread = many_threads;
        r.read = mine;
    }
}

} // namespace

/* Atomic operations meet each other in any order, but no other write. What reads it plainly at the same time is not seen. */
int atomic_or(int *p, int x) {
    const size_t at = static_cast<size_t>(reinterpret_cast<char *>(p) - arena);
    if (emulation_checks_races() != 0 && block >= 0 && at < arena_size) {
        for (size_t i = at; i < at + sizeof *p; i++) look_at_byte(shadow[i], false);
    }
    const int before = *p;
    *p = before | x;
    return before;
}

void shadow_begin(char *base, size_t size) {
    void *p = mmap(nullptr, size * sizeof(record), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) die("no shadow");
    arena = base;
    arena_size = size;
    shadow = static_cast<record *>(p);
}

/* Untouched unless kernels are instrumented: what is known of memory would cost more than the memory. */
static void mark(const char *p, size_t size, bool allocated, bool initialised) {
    if (emulation_checks_races() == 0) return;
    for (size_t i = static_cast<size_t>(p - arena), end = i + size; i < end; i++) {
        shadow[i] = {};
        shadow[i].allocated = allocated;
        shadow[i].initialised = initialised;
    }
}

void shadow_allocated(const char *p, size_t size) {
    mark(p, size, true, false);
}

void shadow_freed(const char *p, size_t size) {
    mark(p, size, false, false);
}

void shadow_written(const void *p, size_t size) {
    const char *at = static_cast<const char *>(p);
    if (arena != nullptr && at >= arena && at < arena + arena_size) mark(at, size, true, true);
}

void shadow_read(const void *p, size_t size) {
    const char *at = static_cast<const char *>(p);
    if (arena == nullptr || at < arena || at >= arena + arena_size || emulation_checks_races() == 0) return;
    for (size_t i = static_cast<size_t>(at - arena), end = i + size; i < end; i++) {
        if (!shadow[i].initialised) die("a copy reads device memory that nobody has written");
    }
}

void shadow_launch() {
    launch_number++;
}

void shadow_thread(int b, int t) {
    block = b;
    thread = t;
}

void shadow_epoch(int e) {
    epoch = e;
}

} // namespace emulation

/* What was there before anybody looked counts as written. */
void emulation::shadow_existing() {
    memory_each([](const allocation &a) { mark(a.data, a.size, true, true); });
}

/* The compiler's calls. Kernels are instrumented where the module's initialiser has called __tsan_init. */
static bool races_are_checked;

extern "C" {

int32_t emulation_checks_races(void) {
    return races_are_checked;
}

#define CALLBACK EMULATION_EXPORT void
CALLBACK __tsan_init(void);
CALLBACK __tsan_init(void) {
    if (races_are_checked) return;
    races_are_checked = true;
    emulation::shadow_existing();
}
#define ACCESS(size)                                                                                         \
    CALLBACK __tsan_read##size(void *p);                                                                     \
    CALLBACK __tsan_write##size(void *p);                                                                    \
    CALLBACK __tsan_unaligned_read##size(void *p);                                                           \
    CALLBACK __tsan_unaligned_write##size(void *p);                                                          \
    CALLBACK __tsan_read##size(void *p) {                                                                    \
        emulation::look(p, size, false);                                                                     \
    }                                                                                                        \
    CALLBACK __tsan_write##size(void *p) {                                                                   \
        emulation::look(p, size, true);                                                                      \
    }                                                                                                        \
    CALLBACK __tsan_unaligned_read##size(void *p) {                                                          \
        emulation::look(p, size, false);                                                                     \
    }                                                                                                        \
    CALLBACK __tsan_unaligned_write##size(void *p) {                                                         \
        emulation::look(p, size, true);                                                                      \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
CALLBACK __tsan_read_range(void *p, size_t size);
CALLBACK __tsan_read_range(void *p, size_t size) {
    emulation::look(p, size, false);
}
CALLBACK __tsan_write_range(void *p, size_t size);
CALLBACK __tsan_write_range(void *p, size_t size) {
    emulation::look(p, size, true);
}
CALLBACK __tsan_func_entry(void *);
CALLBACK __tsan_func_entry(void *) {}
CALLBACK __tsan_func_exit(void);
CALLBACK __tsan_func_exit(void) {}
CALLBACK __tsan_vptr_update(void *, void *);
CALLBACK __tsan_vptr_update(void *, void *) {}
CALLBACK __tsan_vptr_read(void *);
CALLBACK __tsan_vptr_read(void *) {}
}
