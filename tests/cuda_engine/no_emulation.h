/* In place of emulation.h in tests that run on a GPU as well: what cannot be counted there is 0. */
#ifndef DUKD_TEST_NO_EMULATION_H
#define DUKD_TEST_NO_EMULATION_H

#include <stdint.h>

static inline int64_t emulation_alive(void) {
    return 0;
}
static inline int64_t emulation_bytes_allocated(void) {
    return 0;
}
static inline int64_t emulation_waits(void) {
    return 0;
}
static inline int64_t emulation_unloaded(void) {
    return 0;
}
/* More with every call, for a test that wants to see some. */
static inline int64_t emulation_launches(void) {
    static int64_t launches;
    return ++launches;
}

#endif
