/* A whole step, recorded once and replayed.
 *
 * Between begin and end nothing runs: what the engine is asked for, and what others put on its PLACE.stream (a plugin), is noted down, and
 * dukd_recording_replay enqueues it as one. A replay does the same to the same addresses: what changes from step to step is read from
 * arrays (arrays.h). What runs there must have been compiled and run before. Inside of a recording memory may be released and taken; whatever
 * waits, or moves something from or to the processor, is refused.
 *
 * An engine without it: dukd_engine_can_record is 0, and nobody asks further. [one thread at a time per engine] */
#ifndef DUKD_RECORDING_H
#define DUKD_RECORDING_H

#include "engine/engine.h"

typedef struct dukd_recording dukd_recording;

int dukd_engine_can_record(const dukd_engine *e);
/* A failure leaves the engine as it was, not recording. */
int dukd_recording_begin(dukd_engine *e, dukd_failure *f);
/* Ends it in any case. out NULL: gives up what was recorded. */
int dukd_recording_end(dukd_engine *e, dukd_recording **out, dukd_failure *f);
int dukd_recording_replay(dukd_recording *r, dukd_failure *f);
void dukd_recording_free(
    dukd_recording *r); /* NULL allowed; before the networks in it, and before its engine */

/* ---- what a backend has for it; all or none ---- */
typedef struct {
    int (*begin)(void *engine, dukd_failure *f);
    int (*end)(void *engine, void **out, dukd_failure *f); /* out NULL: gives up */
    int (*replay)(void *engine, void *recording, dukd_failure *f);
    void (*free)(void *engine, void *recording);
} dukd_recording_ops;

#endif
