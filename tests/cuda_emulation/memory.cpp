/* Device memory: an arena of its own, in which only the device may look while it runs.
 *
 * An allocation ends (to 256 bytes) where a page begins that nobody may touch; with AddressSanitizer its end is exact. Freed
 * memory is given back at once and faults. */
#include "internal.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#if EMULATION_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#endif

namespace emulation {

namespace {

const size_t arena_size = size_t(1) << 30, page = 4096, unit = 256;
char *arena;
std::vector<allocation> allocations; /* by address */
int open_count[2];
int64_t limit = INT64_MAX; /* of a device's memory */

void set_open(const allocation &a, bool open) {
    if (mprotect(a.pages, a.length, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) die("mprotect");
    if (open) {
        ASAN_POISON_MEMORY_REGION(a.pages, a.length);
        ASAN_UNPOISON_MEMORY_REGION(a.data, a.size);
    } else {
        ASAN_POISON_MEMORY_REGION(a.pages, a.length);
    }
}

} // namespace

char *memory_take(size_t size, int device, bool counted) {
    if (arena == nullptr) {
        void *p = mmap(nullptr, arena_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) die("no arena");
        arena = static_cast<char *>(p);
        shadow_begin(arena, arena_size);
    }
    if (size == 0 || size > arena_size / 2) return nullptr;
    int64_t used = static_cast<int64_t>(size);
    for (const allocation &a : allocations)
        if (a.device == device && a.counted) used += static_cast<int64_t>(a.size);
    if (counted && used > limit) return nullptr;
    const size_t length = (size + page - 1) / page * page;
    char *at = arena + page; /* a page before the first, too */
    size_t before = 0;
    for (; before < allocations.size(); before++) {
        if (allocations[before].pages >= at + length + page) break;
        at = allocations[before].pages + allocations[before].length + page;
    }
    if (at + length + page > arena + arena_size) return nullptr;
    const allocation a = {at + length - (size + unit - 1) / unit * unit, size, at, length, device, counted};
    allocations.insert(allocations.begin() + static_cast<ptrdiff_t>(before), a);
    set_open(a, true);
    memset(a.data, 0xff, size);
    shadow_allocated(a.data, size);
    if (open_count[device] == 0) set_open(a, false);
    return a.data;
}

bool memory_give_back(void *p) {
    for (size_t i = 0; i < allocations.size(); i++) {
        const allocation a = allocations[i];
        if (a.data != p || !a.counted) continue;
        ASAN_POISON_MEMORY_REGION(a.pages, a.length);
        if (mprotect(a.pages, a.length, PROT_NONE) != 0 || madvise(a.pages, a.length, MADV_DONTNEED) != 0)
            die("mprotect");
        shadow_freed(a.data, a.size);
        allocations.erase(allocations.begin() + static_cast<ptrdiff_t>(i));
        return true;
    }
    return false;
}

const allocation *memory_find(const void *p) {
    for (const allocation &a : allocations) {
        if (p >= a.data && p < a.data + a.size) return &a;
    }
    return nullptr;
}

void memory_each(void (*look)(const allocation &)) {
    for (const allocation &a : allocations) look(a);
}

void memory_limit(int64_t bytes) {
    limit = bytes;
}

int64_t memory_count() {
    int64_t count = 0;
    for (const allocation &a : allocations) count += a.counted;
    return count;
}

void memory_open_one(const void *p, bool open) {
    const allocation *a = memory_find(p);
    if (a != nullptr && open_count[a->device] == 0) set_open(*a, open);
}

void memory_open(int device) {
    if (open_count[device]++ > 0) return;
    for (const allocation &a : allocations) {
        if (a.device == device) set_open(a, true);
    }
}

void memory_close(int device) {
    if (--open_count[device] > 0) return;
    for (const allocation &a : allocations) {
        if (a.device == device) set_open(a, false);
    }
}

} // namespace emulation
