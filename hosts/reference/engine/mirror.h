/* Numbers that both the processor and an engine use: an array for each of them, and the way between.
 *
 * Where the engine is on the processor both are one array, and nothing is ever copied: code that goes through a mirror costs nothing
 * there. [one thread at a time per engine] */
#ifndef DUKD_MIRROR_H
#define DUKD_MIRROR_H

#include "engine/arrays.h"

typedef struct {
    dukd_engine *engine;
    int64_t count;
    float *host;  /* [count] for the processor; aligned to 64 where it is the mirror's own */
    float *there; /* [count] in the engine's memory */
    int32_t owns_host, owns_there;
} dukd_mirror;

/* Two new arrays; what they hold is not defined. count >= 0. */
int dukd_mirror_create(dukd_mirror *m, dukd_engine *e, int64_t count, const char *what, dukd_failure *f);
/* What the processor has, as the engine can read it: m->there holds it. `host` must stay while m is used; only read. */
int dukd_mirror_of_host(dukd_mirror *m, dukd_engine *e, const float *host, int64_t count, const char *what,
                        dukd_failure *f);
/* What the engine has, as the processor can read it: m->host holds it. `there` must stay while m is used; only read, unless
 * dukd_mirror_up is called. */
int dukd_mirror_of_engine(dukd_mirror *m, dukd_engine *e, const float *there, int64_t count, const char *what,
                          dukd_failure *f);
void dukd_mirror_free(dukd_mirror *m); /* zeroed allowed */

/* The first `count` elements, from the processor's array to the engine's, and back. */
int dukd_mirror_up(const dukd_mirror *m, int64_t count, dukd_failure *f);
int dukd_mirror_down(const dukd_mirror *m, int64_t count, dukd_failure *f);

#endif
