/* The state of a session: some bytes that nobody else could make up. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "spy.h"

enum { MAGIC = 0x31797073 };

typedef struct {
    uint64_t magic, steps, nonce;
    uint8_t fill[77]; /* of the nonce; an odd size, as states may have */
    uint8_t last;
} spy_state;

enum { STATE_SIZE = 102 }; /* without what the compiler pads */

static void make(const dukd_session *s, spy_state *b) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    memset(b, 0, sizeof *b);
    b->magic = MAGIC;
    b->steps = (uint64_t)s->steps;
    b->nonce = (uint64_t)t.tv_nsec + (uint64_t)getpid() * 1000003u;
    for (uint64_t i = 0; i < sizeof b->fill; i++) b->fill[i] = (uint8_t)(256 * toy_unit(b->nonce + i));
    b->last = 0x5a;
}

static int is_whole(const spy_state *b) {
    int good = b->magic == MAGIC && b->last == 0x5a;
    for (uint64_t i = 0; i < sizeof b->fill; i++)
        good &= b->fill[i] == (uint8_t)(256 * toy_unit(b->nonce + i));
    return good;
}

int32_t spy_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error) {
    int32_t code = spy_enter(s, "get_state", error);
    if (code) return code;
    if (!size || s->in_step || s->next_micro) {
        spy_wrong("order", size ? "get_state in a step" : "get_state without a size");
        code = spy_error(error, DUKD_E_STATE, "get_state does not come now");
    } else if (data && *size < STATE_SIZE) {
        spy_wrong("state", "get_state: room for %llu bytes, it had said %d", (unsigned long long)*size,
                  STATE_SIZE);
        code = spy_error(error, DUKD_E_ARGUMENT, "get_state: too little room");
    } else {
        spy_state b;
        make(s, &b);
        *size = STATE_SIZE;
        if (data) {
            memcpy(data, &b, STATE_SIZE);
            spy_note("{\"call\": \"get_state\", \"iteration\": %lld, \"nonce\": %llu}",
                     (long long)s->last_iteration, (unsigned long long)b.nonce);
        }
    }
    spy_leave(s);
    return code;
}

int32_t spy_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error) {
    int32_t code = spy_enter(s, "set_state", error);
    if (code) return code;
    spy_state b = {0};
    if (data && size == STATE_SIZE) memcpy(&b, data, STATE_SIZE);
    if (s->in_step || s->last_iteration) {
        spy_wrong("state", "set_state after the first step");
        code = spy_error(error, DUKD_E_STATE, "set_state does not come now");
    } else if (!is_whole(&b)) {
        spy_wrong("state", "set_state: %llu bytes that get_state has not given", (unsigned long long)size);
        code = spy_error(error, DUKD_E_ARGUMENT, "set_state: this is not a state of the spy");
    } else {
        s->steps = (int64_t)b.steps;
        spy_note("{\"call\": \"set_state\", \"steps\": %lld, \"nonce\": %llu}", (long long)s->steps,
                 (unsigned long long)b.nonce);
    }
    spy_leave(s);
    return code;
}
