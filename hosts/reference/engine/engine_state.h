/* An engine's insides. Only for engine.c and arrays.c. */
#ifndef DUKD_ENGINE_STATE_H
#define DUKD_ENGINE_STATE_H

#include "engine/arrays.h"
#include "engine/engine_backend.h"

struct dukd_engine {
    const dukd_backend *backend;
    void *state;
    dukd_engine_info info;
    dukd_engine_place place;
    const dukd_exec *kept; /* whose forward backward can follow */
};

/* OpenMP's thread count belongs to the calling thread: it is set for the length of a call, and put back by leave. */
int dukd_engine_enter(const dukd_engine *e);
void dukd_engine_leave(int before);

#endif
