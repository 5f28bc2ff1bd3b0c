/* What a session remembers: losses of the last step, and the state that a checkpoint keeps. */
#include "small.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int32_t enter_idle(const dukd_session *s, const char *call, dukd_error *error) {
    int32_t status = small_enter(s, error);
    if (!status && ((s->open && !BROKEN(reads_in_step)) || s->next_micro))
        status = small_error(error, DUKD_E_STATE, "%s comes between steps", call);
    return status;
}

int32_t small_read_losses(dukd_session *s, dukd_losses *out, dukd_error *error) {
    int32_t status = enter_idle(s, "read_losses", error);
    if (status) return status;
    if (!s->has_losses) return small_error(error, DUKD_E_STATE, "read_losses: no step was ended yet");
    if (BROKEN(null_losses)) out->n_losses = 0;
    if (!out) return small_error(error, DUKD_E_ARGUMENT, "read_losses: out is NULL");
    if (out->struct_size < DUKD_LOSSES_SIZE && !BROKEN(small_losses))
        return small_error(error, DUKD_E_ARGUMENT, "read_losses: struct_size is %u", out->struct_size);
    if (BROKEN(reads_batch_late)) { /* the batch is the host's again */
        small_view hr = small_view_of(&s->hr);
        s->values[s->n_passes] += 0 * (double)small_load(&hr, 0, 0, 0, 0);
    }
    out->n_losses = s->n_passes + 1;
    out->iteration = s->losses_iteration;
    out->names = s->names;
    if (BROKEN(small_losses) && out->struct_size < DUKD_LOSSES_SIZE) return DUKD_OK;
    out->values = s->values;
    return DUKD_OK;
}

/* ---- the state: numbers that name the configuration, the steps that were ended, and a checksum ---- */

enum { NUMBERS = 14 };

static const char *const number_names[NUMBERS] = {
    "kind of state", "version", "seed",   "scale", "channels",    "height",
    "width",         "crops",   "corner", "terms", "zoom weight", "probability of flips",
    "two_steps",     "bias"};

typedef struct {
    uint64_t number[NUMBERS];
    uint64_t steps;
    uint64_t checksum;
} saved;

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint64_t checksum(const saved *v) {
    const uint8_t *b = (const uint8_t *)v;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < offsetof(saved, checksum); i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static void describe(const dukd_session *s, saved *v) {
    const small_config *c = &s->config;
    const uint64_t terms = (uint64_t)c->term[0] | (uint64_t)c->term[1] << 1 | (uint64_t)c->term[2] << 2;
    *v = (saved){.number = {0x6c6c616d73u, 1, s->seed, (uint64_t)s->scale, (uint64_t)s->channels,
                            (uint64_t)s->h, (uint64_t)s->w, (uint64_t)c->crops, c->corner, terms,
                            bits_of(c->w_zoom), bits_of(c->flip), c->two_steps, c->bias},
                 .steps = s->steps};
    v->checksum = checksum(v);
}

int32_t small_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error) {
    saved v;
    int32_t status = enter_idle(s, "get_state", error);
    if (status) return status;
    if (!size) return small_error(error, DUKD_E_ARGUMENT, "get_state: size is NULL");
    if (data && *size < sizeof v)
        return small_error(error, DUKD_E_ARGUMENT, "get_state: room for %llu bytes, not for %u",
                           (unsigned long long)*size, (unsigned)sizeof v);
    while (BROKEN(hangs) && data) sleep(1);
    *size = sizeof v;
    describe(s, &v);
    if (data) memcpy(data, &v, sizeof v);
    return DUKD_OK;
}

int32_t small_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error) {
    saved v, now;
    int32_t status = enter_idle(s, "set_state", error);
    if (status) return status;
    if (!data || size != sizeof v)
        return small_error(error, DUKD_E_ARGUMENT, "set_state: data is NULL, or not %u bytes",
                           (unsigned)sizeof v);
    memcpy(&v, data, sizeof v);
    if (v.checksum != checksum(&v) && !BROKEN(no_checksum))
        return small_error(error, DUKD_E_ARGUMENT, "set_state: this is damaged, or no state");
    describe(s, &now);
    for (int i = 0; i < NUMBERS && !BROKEN(any_state); i++)
        if (v.number[i] != now.number[i])
            return small_error(error, DUKD_E_ARGUMENT, "set_state: %s is %llu in the state, and %llu here",
                               number_names[i], (unsigned long long)v.number[i],
                               (unsigned long long)now.number[i]);
    s->steps = v.steps;
    if (BROKEN(state_spoils)) s->config.w_zoom *= 1.5;
    return DUKD_OK;
}

/* ---- the seed ---- */

static _Atomic uint64_t last_seed, sessions; /* in breaks alone */

void small_note_seed(dukd_session *s) {
    if (BROKEN(seed_is_global)) atomic_store(&last_seed, s->seed);
    if (BROKEN(seed_0_is_any) && !s->seed) s->seed = atomic_fetch_add(&sessions, 1) + 1;
}

uint64_t small_seed_of(const dukd_session *s) {
    return BROKEN(seed_is_global) ? atomic_load(&last_seed) : s->seed;
}
