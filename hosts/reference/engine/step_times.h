/* Seconds that a backend's steps took, added up by kind (dukd_engine_times). A table belongs to an engine; zeroed: nothing yet. */
#ifndef DUKD_STEP_TIMES_H
#define DUKD_STEP_TIMES_H

#include "engine/engine.h"

enum { DUKD_STEP_KINDS = 48 }; /* kinds of any backend, and more; what comes after is counted with the last */

typedef struct {
    dukd_engine_time of[DUKD_STEP_KINDS];
} dukd_step_times;

void dukd_step_times_note(dukd_step_times *t, const char *kind, double seconds);
/* As dukd_engine_times. */
int32_t dukd_step_times_take(dukd_step_times *t, dukd_engine_time *out, int32_t room);

#endif
