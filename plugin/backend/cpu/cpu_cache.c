/* Size of the last-level cache, from the processor itself. */
#include "cpu_cache.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define GUESS (8 * 1024 * 1024)

#if defined(__x86_64__)
/* Intel lists its caches in leaf 4, AMD in leaf 0x8000001d, in the same form. */
static int64_t largest_listed(unsigned leaf) {
    int64_t largest = 0;
    for (unsigned i = 0; i < 16; i++) {
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (__get_cpuid_count(leaf, i, &a, &b, &c, &d) == 0 || (a & 0x1fu) == 0) break;
        const int64_t ways = (int64_t)((b >> 22) & 0x3ffu) + 1, parts = (int64_t)((b >> 12) & 0x3ffu) + 1;
        const int64_t line = (int64_t)(b & 0xfffu) + 1, sets = (int64_t)c + 1;
        const int64_t bytes = ways * parts * line * sets;
        if (bytes > largest) largest = bytes;
    }
    return largest;
}
#endif

int64_t dukd_cache_last_level_bytes(void) {
    int64_t bytes = 0;
#if defined(__x86_64__)
    bytes = largest_listed(0x8000001du);
    if (bytes == 0) bytes = largest_listed(4u);
#endif
    return bytes > 0 ? bytes : GUESS;
}
