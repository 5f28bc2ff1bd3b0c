/* Recorded steps: a backend's own. */
#include "engine/recording.h"

#include <stdlib.h>

#include "engine/engine_state.h"

struct dukd_recording {
    dukd_engine *engine;
    void *state;
};

int dukd_engine_can_record(const dukd_engine *e) {
    return e->backend->recording != NULL;
}

int dukd_recording_begin(dukd_engine *e, dukd_failure *f) {
    if (!e->backend->recording)
        return dukd_fail(f, DUKD_MISUSED, "the engine %s records no steps", e->info.name);
    return e->backend->recording->begin(e->state, f);
}

int dukd_recording_end(dukd_engine *e, dukd_recording **out, dukd_failure *f) {
    if (!out) return e->backend->recording->end(e->state, NULL, f);
    dukd_recording *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        e->backend->recording->end(e->state, NULL, NULL);
        return dukd_fail_memory(f, "a recorded step", sizeof *r);
    }
    r->engine = e;
    const int status = e->backend->recording->end(e->state, &r->state, f);
    if (status)
        free(r);
    else
        *out = r;
    return status;
}

int dukd_recording_replay(dukd_recording *r, dukd_failure *f) {
    return r->engine->backend->recording->replay(r->engine->state, r->state, f);
}

void dukd_recording_free(dukd_recording *r) {
    if (!r) return;
    r->engine->backend->recording->free(r->engine->state, r->state);
    free(r);
}
